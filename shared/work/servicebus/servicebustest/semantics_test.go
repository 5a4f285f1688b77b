package servicebustest_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"pinreset/shared/work/servicebus/servicebustest"
)

// TestSemantics states, without a clock, what the model takes the service to do. To compare the model with a real namespace
// or with the vendor's emulator, set PINRESET_TEST_SERVICEBUS to its connection string
// and PINRESET_TEST_SERVICEBUS_QUEUE to a queue of your own with a maximum
// delivery count of 3 and without sessions. The test empties it and its dead-letter queue.
func TestSemantics(t *testing.T) {
	t.Run("model", func(t *testing.T) {
		t.Parallel()
		server := servicebustest.New(t, servicebustest.Config{Queues: []servicebustest.Queue{{Name: "q", Delivery: servicebustest.Delivery{MaxDeliveryCount: 3}}}})
		semantics(t, connect(t, server), "q")
	})
	t.Run("real", func(t *testing.T) {
		connection, queue := os.Getenv("PINRESET_TEST_SERVICEBUS"), os.Getenv("PINRESET_TEST_SERVICEBUS_QUEUE")
		if !strings.HasPrefix(connection, "Endpoint=") || queue == "" {
			t.Skip("PINRESET_TEST_SERVICEBUS is no connection string, or PINRESET_TEST_SERVICEBUS_QUEUE names no queue to compare with")
		}
		client, err := azservicebus.NewClientFromConnectionString(connection, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close(context.Background())
		semantics(t, client, queue)
	})
}

func semantics(t *testing.T, client *azservicebus.Client, queue string) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	receiver := func(o azservicebus.ReceiverOptions) *azservicebus.Receiver {
		t.Helper()
		r, err := client.NewReceiverForQueue(queue, &o)
		check(err)
		return r
	}
	empty := func() {
		t.Helper()
		for _, sub := range []azservicebus.SubQueue{0, azservicebus.SubQueueDeadLetter} {
			r := receiver(azservicebus.ReceiverOptions{ReceiveMode: azservicebus.ReceiveModeReceiveAndDelete, SubQueue: sub})
			for {
				peeked, err := r.PeekMessages(ctx, 1, nil)
				check(err)
				if len(peeked) == 0 {
					break
				}
				_, err = r.ReceiveMessages(ctx, 100, &azservicebus.ReceiveMessagesOptions{TimeAfterFirstMessage: 10 * time.Millisecond})
				check(err)
			}
			check(r.Close(ctx))
		}
	}
	empty()
	sender, err := client.NewSender(queue, nil)
	check(err)
	r, dead := receiver(azservicebus.ReceiverOptions{}), receiver(azservicebus.ReceiverOptions{SubQueue: azservicebus.SubQueueDeadLetter})
	send := func(body string) {
		t.Helper()
		check(sender.SendMessage(ctx, &azservicebus.Message{Body: []byte(body), MessageID: &body}, nil))
	}
	one := func(r *azservicebus.Receiver, body string, deliveries uint32) *azservicebus.ReceivedMessage {
		t.Helper()
		for {
			got, err := r.ReceiveMessages(ctx, 1, nil)
			check(err)
			if len(got) == 0 {
				continue
			}
			if string(got[0].Body) != body || got[0].DeliveryCount != deliveries {
				t.Fatalf("%q was delivered for the %d. time, want %q, %d", got[0].Body, got[0].DeliveryCount, body, deliveries)
			}
			return got[0]
		}
	}
	lost := func(err error) {
		t.Helper()
		var e *azservicebus.Error
		if !errors.As(err, &e) || e.Code != azservicebus.CodeLockLost {
			t.Errorf("error %v, want a lost lock", err)
		}
	}

	// What is abandoned comes back, with what was added to it, as often as the queue allows; then it is a dead letter.
	send("abandoned")
	var number int64
	for i := range uint32(3) {
		m := one(r, "abandoned", i+1)
		number = *m.SequenceNumber
		check(r.AbandonMessage(ctx, m, &azservicebus.AbandonMessageOptions{PropertiesToModify: map[string]any{"try": int32(i)}}))
	}
	d := one(dead, "abandoned", 4)
	if *d.DeadLetterReason != "MaxDeliveryCountExceeded" || d.ApplicationProperties["try"] != int32(2) || d.DeadLetterSource != nil || *d.SequenceNumber != number {
		t.Errorf("dead letter %+v, was number %d", d, number)
	}
	check(dead.CompleteMessage(ctx, d, nil))
	lost(dead.CompleteMessage(ctx, &azservicebus.ReceivedMessage{LockToken: d.LockToken}, nil))

	// A dead letter says why.
	send("dead")
	check(r.DeadLetterMessage(ctx, one(r, "dead", 1), &azservicebus.DeadLetterOptions{Reason: ptr("why"), ErrorDescription: ptr("because")}))
	d = one(dead, "dead", 2)
	if *d.DeadLetterReason != "why" || *d.DeadLetterErrorDescription != "because" {
		t.Errorf("dead letter %+v", d)
	}
	check(dead.CompleteMessage(ctx, d, nil))

	// A deferred message is received by its number only, and keeps it.
	send("deferred")
	m := one(r, "deferred", 1)
	check(r.DeferMessage(ctx, m, nil))
	send("next")
	check(r.CompleteMessage(ctx, one(r, "next", 1), nil))
	got, err := r.ReceiveDeferredMessages(ctx, []int64{*m.SequenceNumber}, nil)
	check(err)
	if len(got) != 1 || *got[0].SequenceNumber != *m.SequenceNumber || got[0].State != azservicebus.MessageStateDeferred || got[0].DeliveryCount != 2 {
		t.Errorf("deferred %+v", got)
	}
	check(r.CompleteMessage(ctx, got[0], nil))

	// A scheduled message can be seen and cancelled, and is enqueued as a new one when its time has come.
	soon := time.Now().Add(time.Second)
	numbers, err := sender.ScheduleMessages(ctx, []*azservicebus.Message{{Body: []byte("never")}, {Body: []byte("soon")}}, soon, nil)
	check(err)
	check(sender.CancelScheduledMessages(ctx, numbers[:1], nil))
	peeked, err := r.PeekMessages(ctx, 10, &azservicebus.PeekMessagesOptions{FromSequenceNumber: ptr(int64(0))})
	check(err)
	if bodies(peeked) != "[soon]" || peeked[0].State != azservicebus.MessageStateScheduled || *peeked[0].SequenceNumber != numbers[1] {
		t.Errorf("peeked %s, %+v", bodies(peeked), peeked)
	}
	m = one(r, "soon", 1)
	if *m.SequenceNumber <= numbers[1] || *m.EnqueuedSequenceNumber != numbers[1] || m.EnqueuedTime.Before(soon.Add(-100*time.Millisecond)) {
		t.Errorf("scheduled as %d for %v: %+v", numbers[1], soon, m)
	}
	check(r.CompleteMessage(ctx, m, nil))

	// A lock lasts longer when it is renewed, and outlives the link that it was taken over.
	send("held")
	m = one(r, "held", 1)
	until := *m.LockedUntil
	for !m.LockedUntil.After(until) { // at once or, where the clock has not moved on by a millisecond, soon
		check(r.RenewMessageLock(ctx, m, nil))
	}
	check(r.Close(ctx))
	r = receiver(azservicebus.ReceiverOptions{})
	check(r.CompleteMessage(ctx, &azservicebus.ReceivedMessage{LockToken: m.LockToken}, nil))
	lost(r.RenewMessageLock(ctx, m, nil))
	peeked, err = r.PeekMessages(ctx, 1, nil)
	check(err)
	if len(peeked) != 0 {
		t.Errorf("left: %s", bodies(peeked))
	}
}
