package sqs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
	"pinreset/shared/work/sqs"
	"pinreset/shared/work/sqs/sqstest"
	"pinreset/shared/work/worktest"
)

const queue work.Queue = "queue"

func parcel(id string) outbox.Parcel {
	return outbox.Parcel{ID: id, Queue: queue, Body: []byte(`{"for":"` + id + `"}`), Attributes: map[string]string{
		outbox.AttributePartition: "tenant-a", outbox.AttributeMessage: id, outbox.AttributeAttempt: "1",
		outbox.AttributeTraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}
}

func take(t *testing.T, q *sqs.Queues) outbox.Received {
	t.Helper()
	got, err := q.Receive(t.Context(), queue, 1)
	if err != nil || len(got) != 1 {
		t.Fatalf("Receive: %d parcels, %v, want one", len(got), err)
	}
	return got[0]
}

func TestParcelComesAsItWasSent(t *testing.T) {
	t.Parallel()
	clock := worktest.NewClock()
	server := serve(t, clock.Now, queue)
	q := connect(t, server, clock.Now)
	for i, body := range [][]byte{[]byte(`{"a":"ü"}`), bytes.Repeat([]byte("b"), work.MaxBodyBytes), {0, 1, 2}, []byte("a\r\n"), {}} {
		p := parcel(fmt.Sprintf("id-%d", i))
		p.Body = body
		if err := q.Send(t.Context(), []outbox.Parcel{p}); err != nil {
			t.Fatal(err)
		}
		got := take(t, q)
		if !bytes.Equal(got.Body, body) || !maps.Equal(got.Attributes, p.Attributes) || got.Deliveries != 1 || !got.LockedUntil.Equal(clock.Now().Add(time.Minute)) {
			t.Errorf("%d: came %d bytes with %v, delivery %d until %s", i, len(got.Body), got.Attributes, got.Deliveries, got.LockedUntil)
		}
		if err := q.Complete(t.Context(), queue, got.Token); err != nil {
			t.Error(err)
		}
	}
	if left := server.Messages(string(queue)); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

// TestBatches: a call has ten messages and 1 MiB at most, and one that is too large keeps no other from being sent.
func TestBatches(t *testing.T) {
	t.Parallel()
	server := serve(t, nil, queue)
	q := connect(t, server, nil)
	var all []outbox.Parcel
	for i := range 25 {
		all = append(all, parcel(fmt.Sprint(i)))
	}
	large := parcel("large")
	large.Body = bytes.Repeat([]byte("l"), 1<<20)
	for i := range 6 {
		p := parcel(fmt.Sprintf("long-%d", i))
		p.Body = bytes.Repeat([]byte("l"), 192<<10)
		all = append(all, p)
	}
	if err := q.Send(t.Context(), append(all, large)); !errors.Is(err, work.ErrTooLarge) {
		t.Errorf("Send: %v, want ErrTooLarge", err)
	}
	if n := len(server.Messages(string(queue))); n != len(all) {
		t.Errorf("%d messages arrived, want %d", n, len(all))
	}
	if n := server.Calls("SendMessageBatch"); n != 4 { // 10, 10, 5 and 5 long ones less than 1 MiB, 1
		t.Errorf("%d calls, want 4", n)
	}
}

// TestFaults: every call goes on after what passes by itself, and nothing is lost by it.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, fault := range []sqstest.Fault{sqstest.Throttled, sqstest.Broken, sqstest.Lost, sqstest.Unreachable} {
		t.Run(fmt.Sprint(fault), func(t *testing.T) {
			t.Parallel()
			clock := worktest.NewClock()
			server := serve(t, clock.Now, queue)
			q := connect(t, server, clock.Now)
			server.Fail("SendMessageBatch", fault)
			if err := q.Send(t.Context(), []outbox.Parcel{parcel("m")}); err != nil {
				t.Fatal(err)
			}
			got := take(t, q)
			server.Fail("ChangeMessageVisibility", fault)
			if _, err := q.Renew(t.Context(), queue, got.Token); err != nil {
				t.Errorf("Renew: %v", err)
			}
			server.Fail("DeleteMessage", fault)
			if err := q.Complete(t.Context(), queue, got.Token); err != nil {
				t.Errorf("Complete: %v", err)
			}
			want := 0
			if fault == sqstest.Lost {
				want = 1 // sent twice; the inbox of package outbox drops it
			}
			if n := len(server.Messages(string(queue))); n != want {
				t.Errorf("%d messages left, want %d", n, want)
			}
		})
	}
}

// TestDelayAndVisibility: nothing comes before it is due; a lock that ended is lost; the count goes up; in the end SQS sets it aside.
func TestDelayAndVisibility(t *testing.T) {
	t.Parallel()
	clock := worktest.NewClock()
	server := sqstest.New(t, sqstest.Config{Now: clock.Now, Queues: []sqstest.Queue{{Name: "queue", DeadLetter: "queue-dead", MaxReceives: 2}, {Name: "queue-dead"}}})
	q := connect(t, server, clock.Now)
	late := parcel("late")
	late.Due = clock.Now().Add(90*time.Second + time.Millisecond)
	if err := q.Send(t.Context(), []outbox.Parcel{late}); err != nil {
		t.Fatal(err)
	}
	advance := func(d time.Duration) { clock.Advance(d); server.Wake() }
	nothing := func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if got, err := q.Receive(ctx, queue, 1); !errors.Is(err, context.DeadlineExceeded) || len(got) > 0 {
			t.Fatalf("Receive: %d parcels, %v", len(got), err)
		}
	}
	advance(90 * time.Second)
	nothing()
	advance(time.Second)
	first := take(t, q)
	advance(time.Minute)
	if _, err := q.Renew(t.Context(), queue, first.Token); !errors.Is(err, work.ErrLeaseLost) {
		t.Errorf("Renew: %v, want ErrLeaseLost", err)
	}
	second := take(t, q)
	if second.Deliveries != 2 {
		t.Errorf("delivery %d, want 2", second.Deliveries)
	}
	if err := q.Return(t.Context(), queue, second.Token, 30*time.Second); err != nil {
		t.Error(err)
	}
	nothing()
	advance(30 * time.Second)
	nothing()
	if dead := server.Messages("queue-dead"); len(dead) != 1 {
		t.Errorf("%d dead letters, want 1", len(dead))
	}
}

func TestDeadLetterKeepsTheReason(t *testing.T) {
	t.Parallel()
	server := serve(t, nil, queue)
	q := connect(t, server, nil)
	if err := q.Send(t.Context(), []outbox.Parcel{parcel("m")}); err != nil {
		t.Fatal(err)
	}
	got := take(t, q)
	if err := connect(t, server, nil).DeadLetter(t.Context(), queue, got.Token, "foreign", "x"); !errors.Is(err, sqs.ErrNotHeld) {
		t.Errorf("DeadLetter by another process: %v, want ErrNotHeld", err)
	}
	if err := q.DeadLetter(t.Context(), queue, got.Token, "foreign", strings.Repeat("ü", 2000)); err != nil {
		t.Fatal(err)
	}
	dead := server.Messages("queue-dead")
	if len(dead) != 1 || len(server.Messages("queue")) != 0 {
		t.Fatalf("dead %v", dead)
	}
	a := dead[0].Attributes
	if a[sqs.AttributeReason] != "foreign" || len(a[sqs.AttributeDescription]) != 2048 || a[outbox.AttributeMessage] != "m" || dead[0].Body != `{"for":"m"}` {
		t.Errorf("dead letter %+v", dead[0])
	}
}

func TestCheckNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	server := serve(t, nil, queue)
	q := connect(t, server, nil)
	if err := q.Check(t.Context(), []work.Queue{queue}); err != nil {
		t.Error(err)
	}
	err := q.Check(t.Context(), []work.Queue{queue, "other"})
	if !errors.Is(err, sqs.ErrNoQueue) || !strings.Contains(err.Error(), "other-dead") || strings.Contains(err.Error(), "queue-dead") {
		t.Errorf("Check: %v", err)
	}
}

// TestLookAtWhatTheRoleMayLookAt: a role that may look at one queue alone can do so, and what it may not is named.
func TestLookAtWhatTheRoleMayLookAt(t *testing.T) {
	t.Parallel()
	closed := []string{"GetQueueAttributes"}
	server := sqstest.New(t, sqstest.Config{Queues: []sqstest.Queue{{Name: "queue", DeadLetter: "queue-dead", MaxReceives: 2}, {Name: "queue-dead", Forbidden: closed}}})
	q := connect(t, server, nil)
	if err := q.Look(t.Context(), []work.Queue{queue}); err != nil {
		t.Errorf("Look: %v", err)
	}
	if n := server.Calls("GetQueueAttributes"); n != 1 {
		t.Errorf("%d queues were looked at, want 1", n)
	}
	if err := q.Check(t.Context(), []work.Queue{queue}); !errors.Is(err, sqs.ErrRefused) || !strings.Contains(err.Error(), "queue-dead") {
		t.Errorf("Check: %v, want ErrRefused of queue-dead", err)
	}
}

// TestPrefix: the names of the queues begin with what the URL ends with, in every call and in what is told.
func TestPrefix(t *testing.T) {
	t.Parallel()
	server := serve(t, nil, "dev-queue", queue)
	q, err := sqs.Open(sqs.Options{URL: server.URL() + "dev-", Account: account(server)})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Send(t.Context(), []outbox.Parcel{parcel("m"), parcel("n")}); err != nil {
		t.Fatal(err)
	}
	if with, without := len(server.Messages("dev-queue")), len(server.Messages("queue")); with != 2 || without != 0 {
		t.Errorf("%d messages in dev-queue and %d in queue, want both in the first", with, without)
	}
	got := take(t, q)
	if _, err := q.Renew(t.Context(), queue, got.Token); err != nil || got.Queue != queue {
		t.Errorf("a parcel of %s, Renew: %v", got.Queue, err)
	}
	if err := q.DeadLetter(t.Context(), queue, got.Token, "foreign", "x"); err != nil || len(server.Messages("dev-queue-dead")) != 1 {
		t.Errorf("DeadLetter: %v, %d dead letters", err, len(server.Messages("dev-queue-dead")))
	}
	if err := q.Complete(t.Context(), queue, take(t, q).Token); err != nil || len(server.Messages("dev-queue")) != 0 {
		t.Errorf("Complete: %v, %d messages are left", err, len(server.Messages("dev-queue")))
	}
	if err := q.Check(t.Context(), []work.Queue{queue, "other"}); !errors.Is(err, sqs.ErrNoQueue) || !strings.Contains(err.Error(), "dev-other") || strings.Contains(err.Error(), "dev-queue") {
		t.Errorf("Check: %v, want dev-other alone", err)
	}
}

// TestAttributesWithoutText: SQS refuses them, and they arrive nevertheless, by Receive and where a host pushes.
func TestAttributesWithoutText(t *testing.T) {
	t.Parallel()
	server := serve(t, nil, queue)
	q := connect(t, server, nil)
	for _, body := range []string{"text", "\x00bytes"} {
		p := parcel("m")
		p.Body = []byte(body)
		p.Attributes["none"], p.Attributes["nothing"] = "", ""
		if err := q.Send(t.Context(), []outbox.Parcel{p}); err != nil {
			t.Fatal(err)
		}
		raw := server.Messages(string(queue))[0]
		if decoded, ok := sqs.Decode(raw.Body, raw.Attributes); !ok || string(decoded) != body || raw.Attributes["none"] != "" || !has(raw.Attributes, "nothing") || has(raw.Attributes, sqs.AttributeEmpty) {
			t.Errorf("decoded %q with %v", decoded, raw.Attributes)
		}
		got := take(t, q)
		if !maps.Equal(got.Attributes, p.Attributes) || string(got.Body) != body {
			t.Errorf("came %q with %v, want %q with %v", got.Body, got.Attributes, body, p.Attributes)
		}
		if err := q.Complete(t.Context(), queue, got.Token); err != nil {
			t.Error(err)
		}
	}
}

func has(m map[string]string, name string) bool { _, ok := m[name]; return ok }

// TestSizeThatTheServiceRefuses is an ErrTooLarge, as one that the driver refuses.
func TestSizeThatTheServiceRefuses(t *testing.T) {
	t.Parallel()
	server := sqstest.New(t, sqstest.Config{Queues: []sqstest.Queue{{Name: "queue", DeadLetter: "queue-dead", MaxReceives: 2, MaxBytes: 1000}, {Name: "queue-dead"}}})
	p := parcel("m")
	p.Body = bytes.Repeat([]byte("b"), 1000)
	if err := connect(t, server, nil).Send(t.Context(), []outbox.Parcel{p}); !errors.Is(err, work.ErrTooLarge) || !strings.Contains(err.Error(), "queue") {
		t.Errorf("Send: %v, want ErrTooLarge of the queue", err)
	}
}

// TestModelTakesTheSDK: the SDK's own client, unchanged, agrees with the model, and with what the driver sends.
func TestModelTakesTheSDK(t *testing.T) {
	t.Parallel()
	server := serve(t, nil, queue)
	client := sdk.New(sdk.Options{Region: sqstest.Region, BaseEndpoint: aws.String(server.Endpoint()), Credentials: aws.CredentialsProviderFunc(account(server).Credentials)})
	named, err := client.GetQueueUrl(t.Context(), &sdk.GetQueueUrlInput{QueueName: aws.String("queue")})
	if err != nil {
		t.Fatal(err)
	}
	if err := connect(t, server, nil).Send(t.Context(), []outbox.Parcel{parcel("ours")}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.SendMessageBatch(t.Context(), &sdk.SendMessageBatchInput{QueueUrl: named.QueueUrl, Entries: []types.SendMessageBatchRequestEntry{
		{Id: aws.String("a"), MessageBody: aws.String("theirs")}}}); err != nil {
		t.Fatal(err)
	}
	got, err := client.ReceiveMessage(t.Context(), &sdk.ReceiveMessageInput{QueueUrl: named.QueueUrl, MaxNumberOfMessages: 10, MessageAttributeNames: []string{"All"}})
	if err != nil || len(got.Messages) != 2 || *got.Messages[0].Body != `{"for":"ours"}` ||
		*got.Messages[0].MessageAttributes[outbox.AttributeMessage].StringValue != "ours" {
		t.Fatalf("ReceiveMessage: %v, %v", got, err)
	}
	for _, m := range got.Messages {
		if _, err := client.DeleteMessage(t.Context(), &sdk.DeleteMessageInput{QueueUrl: named.QueueUrl, ReceiptHandle: m.ReceiptHandle}); err != nil {
			t.Error(err)
		}
	}
	var missing *types.QueueDoesNotExist
	if _, err := client.GetQueueUrl(t.Context(), &sdk.GetQueueUrlInput{QueueName: aws.String("no")}); !errors.As(err, &missing) {
		t.Errorf("GetQueueUrl: %v", err)
	}
}
