package servicebus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
)

const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestParcelComesAsItWasSent(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for i, body := range [][]byte{[]byte(`{"a":"ü"}`), bytes.Repeat([]byte("b"), work.MaxBodyBytes), {0, 1, 2}} {
		p := parcel(fmt.Sprintf("id-%d", i))
		p.Body = body
		p.Attributes[outbox.AttributeMessage] = strings.Repeat("k", work.MaxKeyBytes)
		p.Attributes[outbox.AttributePartition] = strings.Repeat("k", work.MaxKeyBytes)
		r.send(t, p)
		got := r.take(t)
		if got.Queue != queue || !bytes.Equal(got.Body, body) || !maps.Equal(got.Attributes, p.Attributes) {
			t.Errorf("came %d bytes on %s with %v, want %d bytes with %v", len(got.Body), got.Queue, got.Attributes, len(body), p.Attributes)
		}
		if got.Deliveries != 1 || got.Token == "" || !got.LockedUntil.Equal(r.clock.Now().Add(lock)) || got.LockedUntil.Location() != time.UTC {
			t.Errorf("delivery %d under %q until %s", got.Deliveries, got.Token, got.LockedUntil)
		}
		r.complete(t, got)
	}
	r.wantLeft(t, string(queue), 0, 0, 0)
}

// TestMessageOnTheWire reads a message as anybody else would.
func TestMessageOnTheWire(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := parcel("0af7651916cd43dd8448eb211c80319c")
	p.Body = []byte(`{"specversion":"1.0","type":"example.failure.raised.v1","data":{"type":"other"}}`)
	p.Attributes[outbox.AttributeTraceParent] = trace
	r.send(t, p)
	receiver, err := r.client(t).NewReceiverForQueue(string(queue), nil)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := receiver.ReceiveMessages(r.ctx, 1, nil)
	if err != nil || len(messages) != 1 {
		t.Fatalf("%d messages: %v", len(messages), err)
	}
	m := messages[0]
	if m.MessageID != p.ID || m.ContentType == nil || *m.ContentType != "application/cloudevents+json" || !bytes.Equal(m.Body, p.Body) {
		t.Errorf("message %s of type %v: %s", m.MessageID, m.ContentType, m.Body)
	}
	if m.Subject == nil || *m.Subject != "example.failure.raised.v1" {
		t.Errorf("subject is %v, want the event's type", m.Subject)
	}
	if m.ApplicationProperties["traceparent"] != trace || m.ApplicationProperties["Diagnostic-Id"] != trace {
		t.Errorf("properties are %v, want the trace under both names", m.ApplicationProperties)
	}
}

// TestMessageOfOthers: what others put on a queue comes with what it has, and a trace under the older name counts.
func TestMessageOfOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	sender, err := r.client(t).NewSender(string(queue), nil)
	if err != nil {
		t.Fatal(err)
	}
	strange := &azservicebus.Message{Body: []byte("hello"), ApplicationProperties: map[string]any{"n": int64(1), "text": "x", "Diagnostic-Id": trace}}
	if err := sender.SendMessage(r.ctx, strange, nil); err != nil {
		t.Fatal(err)
	}
	got := r.take(t)
	if want := map[string]string{"text": "x", outbox.AttributeTraceParent: trace}; !maps.Equal(got.Attributes, want) {
		t.Errorf("attributes are %v, want %v", got.Attributes, want)
	}
	if string(got.Body) != "hello" || got.Deliveries != 1 {
		t.Errorf("delivery %d of %q", got.Deliveries, got.Body)
	}
}

// TestMessageThatTheLibraryCannotRead: a property of an unexpected type, which makes the library panic, stops nobody else's
// message, and the service sets it aside.
func TestMessageThatTheLibraryCannotRead(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	sender, err := r.client(t).NewSender(string(queue), nil)
	if err != nil {
		t.Fatal(err)
	}
	bad := &azservicebus.Message{Body: []byte("x"), ApplicationProperties: map[string]any{"DeadLetterReason": int64(1)}}
	if err := sender.SendMessage(r.ctx, bad, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Receive(r.ctx, queue, 1); err == nil {
		t.Errorf("Receive: %v, want an error", got)
	}
	r.send(t, parcel("good"))
	r.complete(t, r.take(t))
	r.wantLeft(t, string(queue), 0, 1, 0)
}

func TestScheduled(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	now, later, past := parcel("now"), parcel("later"), parcel("past")
	later.Due = r.clock.Now().Add(time.Hour)
	past.Due = r.clock.Now().Add(-time.Hour)
	r.send(t, later, now, past)
	var came []string
	for range 2 {
		got := r.take(t)
		came = append(came, got.Attributes[outbox.AttributeMessage])
		r.complete(t, got)
	}
	slices.Sort(came)
	if !slices.Equal(came, []string{"now", "past"}) {
		t.Errorf("%v came, want now and past", came)
	}
	r.wantNothingDue(t)
	r.clock.Advance(time.Hour - time.Second)
	r.wantNothingDue(t)
	r.clock.Advance(time.Second)
	got := r.take(t)
	if got.Attributes[outbox.AttributeMessage] != "later" || got.Deliveries != 1 {
		t.Errorf("delivery %d of %v, want the first of later", got.Deliveries, got.Attributes)
	}
}

func TestSentTwiceComesOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p, q := parcel("twice"), parcel("fresh")
	r.send(t, p, p)
	r.send(t, p, q)
	var came []string
	for range 2 {
		got := r.take(t)
		came = append(came, got.Attributes[outbox.AttributeMessage])
		r.complete(t, got)
	}
	slices.Sort(came)
	if !slices.Equal(came, []string{"fresh", "twice"}) {
		t.Errorf("%v came, want each once", came)
	}
	r.wantNothingDue(t)
}

// TestSendersShareTheWay: callers that send at the same time do so in few batches, whatever the queue.
func TestSendersShareTheWay(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const callers, each = 64, 5
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			var parcels []outbox.Parcel
			for j := range each {
				p := parcel(fmt.Sprintf("id-%d-%d", i, j))
				if j == 0 {
					p.Queue = other
				}
				parcels = append(parcels, p)
			}
			if err := r.Send(r.ctx, parcels); err != nil {
				t.Errorf("Send: %v", err)
			}
		})
	}
	all.Wait()
	r.wantLeft(t, string(queue), callers*(each-1), 0, 0)
	r.wantLeft(t, string(other), callers, 0, 0)
	if s := r.server.Stats(); s.Messages != callers*each || s.Transfers >= callers {
		t.Errorf("%d messages went in %d transfers, want %d in fewer than the %d callers", s.Messages, s.Transfers, callers*each, callers)
	}
}

// TestLargeSendGoesInSeveralBatches: more than a batch takes by number and by size.
func TestLargeSendGoesInSeveralBatches(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var parcels []outbox.Parcel
	for i := range maxBatch + 20 {
		p := parcel(fmt.Sprintf("id-%d", i))
		if i%30 == 0 {
			p.Body = bytes.Repeat([]byte("b"), work.MaxBodyBytes)
		}
		parcels = append(parcels, p)
	}
	r.send(t, parcels...)
	r.wantLeft(t, string(queue), len(parcels), 0, 0)
	// 256 KiB take one large message, and what is small beside it.
	if n := r.server.Stats().Transfers; n < 4 || n > 6 {
		t.Errorf("sent in %d batches, want 4 to 6", n)
	}
}

func TestTooLargeIsRefusedAlone(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	large := parcel("large")
	large.Body = make([]byte, 300<<10)
	err := r.Send(r.ctx, []outbox.Parcel{parcel("before"), large, parcel("after")})
	if !errors.Is(err, work.ErrTooLarge) || !strings.Contains(err.Error(), "307200 bytes") {
		t.Errorf("Send: %v, want ErrTooLarge that says how large", err)
	}
	r.wantLeft(t, string(queue), 2, 0, 0)
}

func TestTopicGetsACopyOfWhatIsNew(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *Options) { o.Topics = map[work.Queue]string{queue: topic} })
	first, again, elsewhere := parcel("first"), parcel("again"), parcel("elsewhere")
	again.Attributes[outbox.AttributeAttempt] = "2"
	elsewhere.Queue = other
	r.send(t, first, again, elsewhere)
	r.wantLeft(t, string(queue), 2, 0, 0)
	r.wantLeft(t, topic+"/Subscriptions/siem", 1, 0, 0)
	receiver, err := r.client(t).NewReceiverForSubscription(topic, "siem", nil)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := receiver.ReceiveMessages(r.ctx, 1, nil)
	if err != nil || len(messages) != 1 || messages[0].MessageID != first.ID || !bytes.Equal(messages[0].Body, first.Body) {
		t.Errorf("subscribers got %v: %v", messages, err)
	}
}

func TestLockEnds(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.send(t, parcel("m"))
	late := r.take(t)
	r.clock.Advance(lock)
	holder := r.take(t)
	if holder.Deliveries != 2 || holder.Token == late.Token {
		t.Errorf("delivery %d, same token: %v, want the second under another", holder.Deliveries, holder.Token == late.Token)
	}
	if _, err := r.Renew(r.ctx, queue, late.Token); !errors.Is(err, work.ErrLeaseLost) {
		t.Errorf("Renew of a lost lock: %v", err)
	}
	for name, token := range map[string]string{"late": late.Token, "nobody's": strings.Repeat("0", 32), "no token": "x", "empty": ""} {
		if err := r.Complete(r.ctx, queue, token); err != nil {
			t.Errorf("Complete by %s: %v", name, err)
		}
		if err := r.DeadLetter(r.ctx, queue, token, "reason", ""); err != nil {
			t.Errorf("DeadLetter by %s: %v", name, err)
		}
		if _, err := r.Renew(r.ctx, queue, token); !errors.Is(err, work.ErrLeaseLost) {
			t.Errorf("Renew by %s: %v", name, err)
		}
	}
	r.wantLeft(t, string(queue), 0, 1, 0)
	r.complete(t, holder)
	r.wantLeft(t, string(queue), 0, 0, 0)
}

func TestRenewHoldsOn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.send(t, parcel("m"))
	got := r.take(t)
	for range 3 {
		r.clock.Advance(lock * 2 / 3)
		until, err := r.Renew(r.ctx, queue, got.Token)
		if err != nil || !until.Equal(r.clock.Now().Add(lock)) {
			t.Fatalf("Renew: until %s, %v, want %s", until, err, r.clock.Now().Add(lock))
		}
		r.wantNothingDue(t)
	}
	// Another process that knows the token can do so too: a host that receives for us gives no more than that.
	if _, err := r.open(t).Renew(r.ctx, queue, got.Token); err != nil {
		t.Errorf("Renew by another process: %v", err)
	}
	if err := r.open(t).Complete(r.ctx, queue, got.Token); err != nil {
		t.Errorf("Complete by another process: %v", err)
	}
	r.wantLeft(t, string(queue), 0, 0, 0)
}

func TestDeadLetterSaysWhy(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.send(t, parcel("m"))
	long := strings.Repeat("ü", maxDescription)
	if err := r.DeadLetter(r.ctx, queue, r.take(t).Token, "NotAMessage", long); err != nil {
		t.Fatal(err)
	}
	r.wantLeft(t, string(queue), 0, 0, 1)
	dead, err := r.client(t).NewReceiverForQueue(string(queue), &azservicebus.ReceiverOptions{SubQueue: azservicebus.SubQueueDeadLetter})
	if err != nil {
		t.Fatal(err)
	}
	messages, err := dead.ReceiveMessages(r.ctx, 1, nil)
	if err != nil || len(messages) != 1 {
		t.Fatalf("%d messages: %v", len(messages), err)
	}
	m := messages[0]
	if m.DeadLetterReason == nil || *m.DeadLetterReason != "NotAMessage" {
		t.Errorf("reason is %v", m.DeadLetterReason)
	}
	if m.DeadLetterErrorDescription == nil || *m.DeadLetterErrorDescription != long[:maxDescription] {
		t.Errorf("description is %v", m.DeadLetterErrorDescription)
	}
}

func TestReceiveEndsWithItsContext(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx, cancel := context.WithCancel(r.ctx)
	got := make(chan error)
	for range 3 { // more than there are receivers
		go func() {
			_, err := r.Receive(ctx, queue, 5)
			got <- err
		}()
	}
	cancel()
	for range 3 {
		if err := <-got; !errors.Is(err, context.Canceled) {
			t.Errorf("Receive: %v", err)
		}
	}
	r.send(t, parcel("m"))
	if p := r.take(t); p.Deliveries != 1 {
		t.Errorf("delivery %d, want the first", p.Deliveries)
	}
}

func TestManyReceivers(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *Options) { o.Receivers = map[work.Queue]int{queue: 4} })
	const count, callers = 200, 8
	var (
		all  sync.WaitGroup
		mu   sync.Mutex
		seen = map[string]int{}
	)
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	for range callers {
		all.Go(func() {
			for {
				got, err := r.Receive(ctx, queue, 3)
				if ctx.Err() != nil {
					return
				}
				if err != nil {
					t.Errorf("Receive: %v", err)
					return
				}
				for _, p := range got {
					if err := r.Complete(r.ctx, queue, p.Token); err != nil {
						t.Errorf("Complete: %v", err)
					}
					mu.Lock()
					seen[p.Attributes[outbox.AttributeMessage]]++
					if len(seen) == count {
						cancel()
					}
					mu.Unlock()
				}
			}
		})
	}
	for i := range count {
		r.send(t, parcel(fmt.Sprintf("id-%d", i)))
	}
	all.Wait()
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s came %d times", id, n)
		}
	}
	if len(seen) != count {
		t.Errorf("%d came, want %d", len(seen), count)
	}
	if in := r.inlet(queue); len(in.taps) > 4 {
		t.Errorf("%d receivers were made, want at most 4", len(in.taps))
	}
}

// TestForgetsWhatIsNeverSettled: memory is bounded by what is held, though nobody settles.
func TestForgetsWhatIsNeverSettled(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const count = 300
	var parcels []outbox.Parcel
	for i := range count {
		parcels = append(parcels, parcel(fmt.Sprintf("id-%d", i)))
	}
	r.send(t, parcels...)
	for range 4 {
		for came := 0; came < count; {
			got, err := r.Receive(r.ctx, queue, count-came)
			if err != nil {
				t.Fatal(err)
			}
			came += len(got)
		}
		r.clock.Advance(lock + time.Second)
	}
	if n := len(r.inlet(queue).held); n > 2*count {
		t.Errorf("%d messages are remembered, of which %d are held", n, count)
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.open(t)
	r.send(t, parcel("m"))
	got, err := b.Receive(r.ctx, queue, 1)
	if err != nil {
		t.Fatal(err)
	}
	waiting := make(chan error, 1)
	started := make(chan struct{})
	go func() {
		close(started)
		_, err := b.Receive(r.ctx, other, 1)
		waiting <- err
	}()
	<-started
	if err := b.Close(r.ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-waiting; !errors.Is(err, ErrClosed) {
		t.Errorf("Receive: %v, want ErrClosed", err)
	}
	_, receive := b.Receive(r.ctx, queue, 1)
	_, renew := b.Renew(r.ctx, queue, got[0].Token)
	for name, err := range map[string]error{
		"Receive": receive, "Renew": renew, "Send": b.Send(r.ctx, []outbox.Parcel{parcel("n")}), "Check": b.Check(r.ctx, []work.Queue{queue}),
		"Complete": b.Complete(r.ctx, queue, got[0].Token), "DeadLetter": b.DeadLetter(r.ctx, queue, got[0].Token, "", ""),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
	if err := b.Close(r.ctx); err != nil {
		t.Errorf("second Close: %v", err)
	}
	r.wantLeft(t, string(queue), 0, 1, 0)
}

// TestCloseSendsWhatWaits: callers that are sending when Close begins get their answer.
func TestCloseSendsWhatWaits(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.open(t)
	const callers = 32
	results := make(chan error, callers)
	for i := range callers {
		go func() { results <- b.Send(r.ctx, []outbox.Parcel{parcel(fmt.Sprintf("id-%d", i))}) }()
	}
	if err := b.Close(r.ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
	sent := 0
	for range callers {
		switch err := <-results; {
		case err == nil:
			sent++
		case !errors.Is(err, ErrClosed):
			t.Errorf("Send: %v", err)
		}
	}
	r.wantLeft(t, string(queue), sent, 0, 0)
}
