package servicebustest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"pinreset/shared/work/servicebus/servicebustest"
)

func TestDefer(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{Delivery: servicebustest.Delivery{LockDuration: time.Minute}})
	f.send("a", "b")
	m := f.receiveOne(f.receiver)
	f.check(f.receiver.DeferMessage(t.Context(), m, &azservicebus.DeferMessageOptions{PropertiesToModify: map[string]any{"because": "early"}}))
	f.has("q", servicebustest.Counts{Active: 1, Deferred: 1})
	if next := f.receiveOne(f.receiver); string(next.Body) != "b" {
		t.Fatalf("%q was delivered", next.Body)
	} else {
		f.complete(f.receiver, next)
	}
	again := func() *azservicebus.ReceivedMessage {
		t.Helper()
		got, err := f.receiver.ReceiveDeferredMessages(t.Context(), []int64{*m.SequenceNumber}, nil)
		f.check(err)
		if len(got) != 1 || string(got[0].Body) != "a" || got[0].State != azservicebus.MessageStateDeferred || got[0].ApplicationProperties["because"] != "early" {
			t.Fatalf("deferred: %+v", got)
		}
		return got[0]
	}
	if d := again(); d.DeliveryCount != 2 {
		t.Errorf("delivery count %d", d.DeliveryCount)
	}
	_, err := f.receiver.ReceiveDeferredMessages(t.Context(), []int64{*m.SequenceNumber}, nil)
	f.wantCode(err, azservicebus.CodeNotFound) // it is locked
	f.clock.Advance(time.Minute)
	f.has("q", servicebustest.Counts{Deferred: 1}) // and does not become active by itself
	f.check(f.receiver.AbandonMessage(t.Context(), again(), nil))
	f.has("q", servicebustest.Counts{Deferred: 1})
	f.complete(f.receiver, again())
	f.has("q", servicebustest.Counts{})
}

func TestDeferredExpiresWhenAskedFor(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{Delivery: servicebustest.Delivery{TTL: time.Minute, DeadLetterExpired: true}})
	f.send("a")
	m := f.receiveOne(f.receiver)
	f.check(f.receiver.DeferMessage(t.Context(), m, nil))
	f.clock.Advance(time.Hour)
	f.has("q", servicebustest.Counts{Deferred: 1})
	_, err := f.receiver.ReceiveDeferredMessages(t.Context(), []int64{*m.SequenceNumber}, nil)
	f.wantCode(err, azservicebus.CodeNotFound)
	f.has("q", servicebustest.Counts{DeadLettered: 1})
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{Delivery: servicebustest.Delivery{TTL: time.Hour, LockDuration: time.Minute, DeadLetterExpired: true}})
	send := func(body string, ttl *time.Duration) {
		t.Helper()
		f.check(f.sender.SendMessage(t.Context(), &azservicebus.Message{Body: []byte(body), TimeToLive: ttl}, nil))
	}
	send("short", ptr(time.Second))
	send("long", ptr(100*time.Hour)) // the queue's own bound holds
	send("plain", nil)
	f.clock.Advance(time.Second)
	f.has("q", servicebustest.Counts{Active: 2, DeadLettered: 1})
	f.clock.Advance(time.Hour - 31*time.Second)
	m := f.receiveOne(f.receiver)
	f.clock.Advance(30 * time.Second)
	f.has("q", servicebustest.Counts{Locked: 1, DeadLettered: 2}) // a locked message does not expire under its receiver
	f.clock.Advance(30 * time.Second)
	f.has("q", servicebustest.Counts{DeadLettered: 3})
	if string(m.Body) != "long" || *m.TimeToLive != time.Hour {
		t.Errorf("%q lives for %v", m.Body, *m.TimeToLive)
	}
	r := f.deadLetters()
	for _, d := range f.receive(r, 3) {
		if *d.DeadLetterReason != "TTLExpiredException" {
			t.Errorf("%q: reason %q", d.Body, *d.DeadLetterReason)
		}
		f.complete(r, d)
	}
}

func TestExpiryWithoutDeadLetter(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{Delivery: servicebustest.Delivery{TTL: time.Minute}})
	f.send("a")
	f.clock.Advance(time.Minute)
	if got := f.server.Counts("q"); got != (servicebustest.Counts{}) {
		t.Errorf("left: %+v", got)
	}
}

func TestScheduledLivesFromItsTime(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{Delivery: servicebustest.Delivery{TTL: time.Minute}})
	at := start.Add(time.Hour)
	_, err := f.sender.ScheduleMessages(t.Context(), []*azservicebus.Message{{Body: []byte("a"), TimeToLive: ptr(time.Hour)}}, at, nil)
	f.check(err)
	lives := func(want time.Duration) {
		t.Helper()
		peeked, err := f.receiver.PeekMessages(t.Context(), 1, &azservicebus.PeekMessagesOptions{FromSequenceNumber: ptr(int64(0))})
		f.check(err)
		if len(peeked) != 1 || *peeked[0].TimeToLive != want {
			t.Errorf("peeked %+v, want a message that lives for %v", peeked, want)
		}
	}
	lives(time.Hour) // as its sender said
	f.clock.Advance(time.Hour + 59*time.Second)
	f.has("q", servicebustest.Counts{Active: 1})
	lives(time.Minute) // as the queue allows
	f.clock.Advance(time.Second)
	f.has("q", servicebustest.Counts{})
}

func TestDuplicates(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{DuplicateWindow: 10 * time.Minute})
	f.send("a", "a", "b")
	f.has("q", servicebustest.Counts{Active: 2})
	f.complete(f.receiver, f.receive(f.receiver, 2)...)
	f.clock.Advance(10*time.Minute - time.Second)
	f.send("a")
	f.has("q", servicebustest.Counts{}) // the window knows of messages that are gone
	f.clock.Advance(time.Second)
	f.send("a")
	f.has("q", servicebustest.Counts{Active: 1})
	_, err := f.sender.ScheduleMessages(t.Context(), []*azservicebus.Message{{Body: []byte("x"), MessageID: ptr("a")}}, start.Add(time.Hour), nil)
	f.check(err)
	f.has("q", servicebustest.Counts{Active: 1}) // a scheduled message is compared too
	// Messages without an id are never compared.
	for range 2 {
		f.check(f.sender.SendMessage(t.Context(), &azservicebus.Message{Body: []byte("y")}, nil))
	}
	f.has("q", servicebustest.Counts{Active: 3})
}

func TestBatchInSeveralFrames(t *testing.T) {
	t.Parallel()
	f := newFixtureOf(t, servicebustest.Config{
		Queues: []servicebustest.Queue{{Name: "q"}},
		Topics: []servicebustest.Topic{{Name: "t", Subscriptions: []servicebustest.Subscription{{Name: "one"}, {Name: "two"}}}},
	})
	sender := f.newSender("t")
	batch, err := sender.NewMessageBatch(t.Context(), nil)
	f.check(err)
	n := 0
	for {
		err := batch.AddMessage(&azservicebus.Message{Body: fmt.Appendf(make([]byte, 5000), " %d", n)}, nil)
		if errors.Is(err, azservicebus.ErrMessageTooLarge) {
			break
		}
		f.check(err)
		n++
	}
	if size := n * 5000; size < 3*(64<<10) {
		t.Fatalf("a batch of %d bytes takes too few frames", size)
	}
	f.check(sender.SendMessageBatch(t.Context(), batch, nil))
	for _, name := range []string{"one", "two"} {
		f.has("t/subscriptions/"+name, servicebustest.Counts{Active: n})
		r, err := f.client.NewReceiverForSubscription("t", name, nil)
		f.check(err)
		for i, m := range f.receive(r, n) {
			if want := fmt.Sprintf(" %d", i); string(m.Body[5000:]) != want || *m.SequenceNumber != int64(i+1) {
				t.Fatalf("message %d of %s is %q, number %d", i, name, m.Body[5000:], *m.SequenceNumber)
			}
			f.complete(r, m)
		}
		f.has("T/Subscriptions/"+name, servicebustest.Counts{})
	}
	if got := f.server.Counts("t"); got != (servicebustest.Counts{}) {
		t.Errorf("left at the topic: %+v", got)
	}
}

func TestTopic(t *testing.T) {
	t.Parallel()
	f := newFixtureOf(t, servicebustest.Config{
		Queues: []servicebustest.Queue{{Name: "q"}},
		Topics: []servicebustest.Topic{{Name: "t", DuplicateWindow: time.Hour, Subscriptions: []servicebustest.Subscription{
			{Name: "one"}, {Name: "two", Delivery: servicebustest.Delivery{MaxDeliveryCount: 1}}}}},
	})
	sender := f.newSender("t")
	for range 2 {
		f.check(sender.SendMessage(t.Context(), &azservicebus.Message{Body: []byte("a"), MessageID: ptr("a")}, nil))
	}
	numbers, err := sender.ScheduleMessages(t.Context(), []*azservicebus.Message{{Body: []byte("b")}, {Body: []byte("c")}}, start.Add(time.Hour), nil)
	f.check(err)
	f.check(sender.CancelScheduledMessages(t.Context(), numbers[1:], nil))
	f.has("t", servicebustest.Counts{Scheduled: 1})
	f.clock.Advance(time.Hour)
	one, err := f.client.NewReceiverForSubscription("t", "one", nil)
	f.check(err)
	two, err := f.client.NewReceiverForSubscription("t", "two", nil)
	f.check(err)
	got := f.receive(one, 2)
	if bodies(got) != "[a b]" {
		t.Fatalf("one received %s", bodies(got))
	}
	// What one subscriber does with its copy is no matter of the other's.
	f.check(one.DeadLetterMessage(t.Context(), got[0], &azservicebus.DeadLetterOptions{Reason: ptr("mine"), PropertiesToModify: map[string]any{"k": "v"}}))
	other := f.receive(two, 2)
	if bodies(other) != "[a b]" || len(other[0].ApplicationProperties) != 0 {
		t.Fatalf("two received %s, %+v", bodies(other), other[0])
	}
	f.check(two.AbandonMessage(t.Context(), other[1], nil))
	f.has("t/Subscriptions/one", servicebustest.Counts{Locked: 1, DeadLettered: 1})
	f.has("t/Subscriptions/two", servicebustest.Counts{Locked: 1, DeadLettered: 1})
	dead, err := f.client.NewReceiverForSubscription("t", "two", &azservicebus.ReceiverOptions{SubQueue: azservicebus.SubQueueDeadLetter})
	f.check(err)
	if m := f.receiveOne(dead); string(m.Body) != "b" || *m.DeadLetterReason != "MaxDeliveryCountExceeded" {
		t.Errorf("dead letter %+v", m)
	}
	f.has("t/Subscriptions/two/$DeadLetterQueue", servicebustest.Counts{Locked: 1})
}

func TestReceiveAndDelete(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{})
	f.send("a", "b")
	r := f.newReceiver(&azservicebus.ReceiverOptions{ReceiveMode: azservicebus.ReceiveModeReceiveAndDelete})
	got, err := r.ReceiveMessages(t.Context(), 2, &azservicebus.ReceiveMessagesOptions{TimeAfterFirstMessage: 10 * time.Millisecond})
	f.check(err)
	if bodies(got) != "[a b]" {
		t.Fatalf("received %s", bodies(got))
	}
	if got[0].DeliveryCount != 1 || got[0].LockedUntil != nil {
		t.Errorf("%+v", got[0])
	}
	f.has("q", servicebustest.Counts{})
	f.send("c")
	m := f.receiveOne(f.receiver)
	f.check(f.receiver.DeferMessage(t.Context(), m, nil))
	deferred, err := r.ReceiveDeferredMessages(t.Context(), []int64{*m.SequenceNumber}, nil)
	f.check(err)
	if bodies(deferred) != "[c]" || deferred[0].DeliveryCount != 2 {
		t.Errorf("deferred: %+v", deferred)
	}
	f.has("q", servicebustest.Counts{})
}

// TestOrder: what comes back takes its old place, before what came later.
func TestOrder(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{})
	f.send("a", "b", "c", "d")
	first := f.receive(f.receiver, 3)
	f.check(f.receiver.AbandonMessage(t.Context(), first[2], nil))
	f.check(f.receiver.AbandonMessage(t.Context(), first[0], nil))
	if again := f.receive(f.receiver, 3); bodies(again) != "[a c d]" {
		t.Errorf("received %s", bodies(again))
	}
}

// TestLateArrivals: credit that a receiver left out brings it messages that it hands back unseen, which is no delivery.
func TestLateArrivals(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{})
	f.send("a")
	got, err := f.receiver.ReceiveMessages(t.Context(), 10, nil) // leaves nine
	f.check(err)
	f.complete(f.receiver, got...)
	f.send("b", "c", "d")
	f.await("q", servicebustest.Counts{Active: 3})
	for _, m := range f.receive(f.receiver, 3) {
		if m.DeliveryCount != 1 {
			t.Errorf("%s: delivery count %d", m.Body, m.DeliveryCount)
		}
	}
	if n := f.server.Stats().Delivered; n < 7 {
		t.Errorf("only %d deliveries: nothing was handed back", n)
	}
}

func TestPeekSeesEveryState(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{})
	f.send("deferred", "locked", "active")
	got := f.receive(f.receiver, 2)
	f.check(f.receiver.DeferMessage(t.Context(), got[0], nil))
	f.check(f.sender.SendMessage(t.Context(), &azservicebus.Message{Body: []byte("scheduled"), ScheduledEnqueueTime: ptr(start.Add(time.Hour))}, nil))
	peeked, err := f.receiver.PeekMessages(t.Context(), 10, nil)
	f.check(err)
	if bodies(peeked) != "[deferred locked active scheduled]" {
		t.Errorf("peeked %s", bodies(peeked))
	}
	peeked, err = f.receiver.PeekMessages(t.Context(), 1, &azservicebus.PeekMessagesOptions{FromSequenceNumber: ptr(int64(2))})
	f.check(err)
	if bodies(peeked) != "[locked]" {
		t.Errorf("peeked %s from the second on", bodies(peeked))
	}
	peeked, err = f.receiver.PeekMessages(t.Context(), 1, &azservicebus.PeekMessagesOptions{FromSequenceNumber: ptr(int64(99))})
	if f.check(err); len(peeked) != 0 {
		t.Errorf("peeked %s", bodies(peeked))
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{MaxBytes: 4000})
	big := func(n int) error {
		return f.sender.SendMessage(t.Context(), &azservicebus.Message{Body: make([]byte, n)}, nil)
	}
	if err := big(servicebustest.StandardMessageSize); !errors.Is(err, azservicebus.ErrMessageTooLarge) {
		t.Errorf("a message over the size: %v", err)
	}
	f.check(big(1500))
	f.check(big(1500))
	if err := big(1500); err == nil {
		t.Error("the queue is full and took another message")
	}
	f.has("q", servicebustest.Counts{Active: 2})
	f.complete(f.receiver, f.receiveOne(f.receiver))
	f.check(big(1500))
	// A batch that does not fit is refused as a whole.
	batch, err := f.sender.NewMessageBatch(t.Context(), nil)
	f.check(err)
	for range 2 {
		f.check(batch.AddMessage(&azservicebus.Message{Body: make([]byte, 600)}, nil))
	}
	if err := f.sender.SendMessageBatch(t.Context(), batch, nil); err == nil {
		t.Error("the queue is full and took a batch")
	}
	f.has("q", servicebustest.Counts{Active: 2})
}

func TestPremiumMessageSize(t *testing.T) {
	t.Parallel()
	f := newFixtureOf(t, servicebustest.Config{Queues: []servicebustest.Queue{{Name: "q"}}, MaxMessageSize: servicebustest.PremiumMessageSize})
	body := make([]byte, 1_000_000)
	body[999_999] = 7
	f.check(f.sender.SendMessage(t.Context(), &azservicebus.Message{Body: body}, nil))
	m := f.receiveOne(f.receiver)
	if len(m.Body) != len(body) || m.Body[999_999] != 7 {
		t.Errorf("received %d bytes", len(m.Body))
	}
}

// TestWindow sends more transfers than a client takes at once, so that it has to ask for more.
func TestWindow(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{})
	const n = 5_200 // a client takes 5,000
	for sent := 0; sent < n; {
		batch, err := f.sender.NewMessageBatch(t.Context(), nil)
		f.check(err)
		for sent < n && batch.AddMessage(&azservicebus.Message{Body: fmt.Append(nil, sent)}, nil) == nil {
			sent++
		}
		f.check(f.sender.SendMessageBatch(t.Context(), batch, nil))
	}
	r := f.newReceiver(&azservicebus.ReceiverOptions{ReceiveMode: azservicebus.ReceiveModeReceiveAndDelete})
	for got := 0; got < n; {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		messages, err := r.ReceiveMessages(ctx, min(5000, n-got), nil)
		cancel()
		f.check(err)
		for _, m := range messages {
			if string(m.Body) != fmt.Sprint(got) {
				t.Fatalf("message %d is %q", got, m.Body)
			}
			got++
		}
	}
}
