package servicebustest_test

import (
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"pinreset/shared/work/servicebus/servicebustest"
)

func TestSendReceiveComplete(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{})
	f.check(f.sender.SendMessage(t.Context(), &azservicebus.Message{
		Body: []byte("hello"), MessageID: ptr("id-1"), Subject: ptr("greeting"), ContentType: ptr("text/plain"), CorrelationID: ptr("c"),
		TimeToLive:            ptr(time.Hour),
		ApplicationProperties: map[string]any{"n": int64(7), "f": 1.5, "b": true, "s": "text", "at": start, "i": int32(-3)},
	}, nil))
	f.has("q", servicebustest.Counts{Active: 1})
	m := f.receiveOne(f.receiver)
	f.has("q", servicebustest.Counts{Locked: 1})
	if string(m.Body) != "hello" || m.MessageID != "id-1" || *m.Subject != "greeting" || *m.ContentType != "text/plain" || *m.CorrelationID != "c" {
		t.Errorf("content %+v", m)
	}
	if m.DeliveryCount != 1 || *m.SequenceNumber != 1 || *m.EnqueuedSequenceNumber != 1 || *m.TimeToLive != time.Hour || m.State != azservicebus.MessageStateActive {
		t.Errorf("delivery %d, sequence %d, %d, lives for %v, state %v", m.DeliveryCount, *m.SequenceNumber, *m.EnqueuedSequenceNumber, *m.TimeToLive, m.State)
	}
	if !m.EnqueuedTime.Equal(start) || !m.LockedUntil.Equal(start.Add(time.Minute)) || !m.ExpiresAt.Equal(start.Add(time.Hour)) || m.LockToken == [16]byte{} {
		t.Errorf("enqueued %v, locked until %v, expires %v, token %v", m.EnqueuedTime, m.LockedUntil, m.ExpiresAt, m.LockToken)
	}
	p := m.ApplicationProperties
	if at, _ := p["at"].(time.Time); p["n"] != int64(7) || p["f"] != 1.5 || p["b"] != true || p["s"] != "text" || p["i"] != int32(-3) || !at.Equal(start) {
		t.Errorf("application properties %v", p)
	}
	f.complete(f.receiver, m)
	if got := f.server.Counts("q"); got != (servicebustest.Counts{}) {
		t.Errorf("left: %+v", got)
	}
}

func TestAbandonUntilDeadLettered(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{Delivery: servicebustest.Delivery{MaxDeliveryCount: 3}})
	f.send("m")
	for i := range 3 {
		m := f.receiveOne(f.receiver)
		if m.DeliveryCount != uint32(i+1) {
			t.Fatalf("delivery %d is counted as %d", i+1, m.DeliveryCount)
		}
		f.check(f.receiver.AbandonMessage(t.Context(), m, &azservicebus.AbandonMessageOptions{PropertiesToModify: map[string]any{"try": int32(i)}}))
	}
	f.has("q", servicebustest.Counts{DeadLettered: 1})
	m := f.receiveOne(f.deadLetters())
	if *m.DeadLetterReason != "MaxDeliveryCountExceeded" || *m.DeadLetterErrorDescription == "" || m.ApplicationProperties["try"] != int32(2) {
		t.Errorf("dead letter %+v", m)
	}
}

func TestDeadLetter(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{})
	f.send("m")
	m := f.receiveOne(f.receiver)
	f.check(f.receiver.DeadLetterMessage(t.Context(), m, &azservicebus.DeadLetterOptions{
		Reason: ptr("why"), ErrorDescription: ptr("because"), PropertiesToModify: map[string]any{"x": "y"},
	}))
	f.has("q", servicebustest.Counts{DeadLettered: 1})
	r := f.deadLetters()
	d := f.receiveOne(r)
	if *d.DeadLetterReason != "why" || *d.DeadLetterErrorDescription != "because" || d.ApplicationProperties["x"] != "y" || *d.SequenceNumber != *m.SequenceNumber {
		t.Errorf("dead letter %+v", d)
	}
	// A dead letter is given back as often as one likes.
	for range 12 {
		f.check(r.AbandonMessage(t.Context(), d, nil))
		d = f.receiveOne(r)
	}
	if err := r.DeadLetterMessage(t.Context(), d, nil); err == nil {
		t.Error("a dead letter was dead lettered")
	}
	f.complete(r, &azservicebus.ReceivedMessage{LockToken: d.LockToken}) // the client takes d for settled, whatever the answer was
	f.has("q", servicebustest.Counts{})
}

func TestScheduleCancelPeek(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{})
	at := start.Add(time.Hour)
	numbers, err := f.sender.ScheduleMessages(t.Context(), []*azservicebus.Message{{Body: []byte("a")}, {Body: []byte("b")}}, at, nil)
	f.check(err)
	f.check(f.sender.SendMessage(t.Context(), &azservicebus.Message{Body: []byte("c"), ScheduledEnqueueTime: &at}, nil))
	f.has("q", servicebustest.Counts{Scheduled: 3})
	f.check(f.sender.CancelScheduledMessages(t.Context(), numbers[:1], nil))
	f.wantCode(f.sender.CancelScheduledMessages(t.Context(), numbers[:1], nil), azservicebus.CodeNotFound)
	peeked, err := f.receiver.PeekMessages(t.Context(), 10, nil)
	f.check(err)
	if bodies(peeked) != "[b c]" || peeked[0].State != azservicebus.MessageStateScheduled || !peeked[0].ScheduledEnqueueTime.Equal(at) {
		t.Fatalf("peeked %s, %+v", bodies(peeked), peeked[0])
	}
	f.clock.Advance(time.Hour - time.Second)
	f.has("q", servicebustest.Counts{Scheduled: 2})
	f.clock.Advance(time.Second)
	f.has("q", servicebustest.Counts{Active: 2})
	got := f.receive(f.receiver, 2)
	if bodies(got) != "[b c]" || *got[0].SequenceNumber <= numbers[1] || *got[0].EnqueuedSequenceNumber != numbers[1] || !got[0].EnqueuedTime.Equal(at) {
		t.Fatalf("received %s, %+v", bodies(got), got[0])
	}
	f.complete(f.receiver, got...)
}

func TestRenew(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{Delivery: servicebustest.Delivery{LockDuration: 30 * time.Second}})
	f.send("m")
	m := f.receiveOne(f.receiver)
	f.clock.Advance(20 * time.Second)
	f.check(f.receiver.RenewMessageLock(t.Context(), m, nil))
	if !m.LockedUntil.Equal(start.Add(50 * time.Second)) {
		t.Errorf("locked until %v", m.LockedUntil)
	}
	f.clock.Advance(29 * time.Second)
	f.has("q", servicebustest.Counts{Locked: 1})
	f.complete(f.receiver, m)
	f.has("q", servicebustest.Counts{})
}

func TestLockLost(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{Delivery: servicebustest.Delivery{LockDuration: 30 * time.Second}})
	f.send("m")
	m := f.receiveOne(f.receiver)
	f.clock.Advance(30 * time.Second)
	f.has("q", servicebustest.Counts{Active: 1})
	f.wantCode(f.receiver.CompleteMessage(t.Context(), m, nil), azservicebus.CodeLockLost)
	f.wantCode(f.receiver.RenewMessageLock(t.Context(), m, nil), azservicebus.CodeLockLost)
	f.wantCode(f.receiver.CompleteMessage(t.Context(), &azservicebus.ReceivedMessage{LockToken: m.LockToken}, nil), azservicebus.CodeLockLost)
	m = f.receiveOne(f.receiver)
	if m.DeliveryCount != 2 {
		t.Errorf("delivery count %d", m.DeliveryCount)
	}
	f.complete(f.receiver, m)
}

func TestDropConnections(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{})
	f.send("a")
	m := f.receiveOne(f.receiver)
	f.server.DropConnections()
	f.has("q", servicebustest.Counts{Locked: 1}) // the lock outlives the connection
	f.send("b")
	f.reopen(f.receiver)
	f.check(f.receiver.CompleteMessage(t.Context(), &azservicebus.ReceivedMessage{LockToken: m.LockToken}, nil))
	f.complete(f.receiver, f.receiveOne(f.receiver))
	f.has("q", servicebustest.Counts{})
	if n := f.server.Stats().Connections; n < 2 {
		t.Errorf("%d connections", n)
	}
}
