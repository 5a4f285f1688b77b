package servicebus

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
)

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

// TestTopicsOnly: with the queues elsewhere only the topic gets something, and only it is looked at.
func TestTopicsOnly(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *Options) { o.Topics, o.TopicsOnly = map[work.Queue]string{queue: topic}, true })
	again, elsewhere := parcel("again"), parcel("elsewhere")
	again.Attributes[outbox.AttributeAttempt] = "2"
	elsewhere.Queue = other
	r.send(t, parcel("first"), again, elsewhere)
	r.wantLeft(t, string(queue), 0, 0, 0)
	r.wantLeft(t, string(other), 0, 0, 0)
	r.wantLeft(t, topic+"/Subscriptions/siem", 1, 0, 0)
	if err := r.Check(r.ctx, []work.Queue{queue, "no-such-queue"}); err != nil {
		t.Errorf("Check: %v", err)
	}
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
