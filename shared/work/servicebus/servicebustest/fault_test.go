package servicebustest_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"pinreset/shared/work/servicebus/servicebustest"
)

var (
	busy     = servicebustest.Error{Condition: "com.microsoft:server-busy", Description: "try again"}
	detached = servicebustest.Error{Condition: "amqp:link:detach-forced", Description: "an upgrade"}
	forced   = servicebustest.Error{Condition: "amqp:connection:forced", Description: "an upgrade"}
)

func TestServerBusy(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{})
	f.server.Fail(servicebustest.Send, "q", 2, busy)
	f.send("a")
	f.server.Fail(servicebustest.Management, "q", 2, busy)
	_, err := f.receiver.PeekMessages(t.Context(), 1, nil)
	f.check(err)
	if s := f.server.Stats(); s.Messages != 1 || s.Requests != 3 {
		t.Errorf("%+v", s)
	}
	f.server.Fail(servicebustest.Send, "", 100, busy)
	if err := f.sender.SendMessage(t.Context(), &azservicebus.Message{}, nil); err == nil {
		t.Error("sent to a server that is always busy")
	}
	f.has("q", servicebustest.Counts{Active: 1})
	f.server.Heal()
	f.send("b")
	f.has("q", servicebustest.Counts{Active: 2})
}

func TestForcedDetach(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{})
	f.send("a")
	f.server.Fail(servicebustest.Send, "q", 1, detached)
	f.send("b")
	m := f.receiveOne(f.receiver)
	if n := f.server.DetachLinks("q", detached); n != 2 {
		t.Errorf("%d links detached", n)
	}
	f.send("c")
	// The client settles over $management by itself, as the link is gone.
	f.complete(f.receiver, m)
	f.has("q", servicebustest.Counts{Active: 2})
	got := f.receive(f.receiver, 2)
	f.server.Fail(servicebustest.Settle, "q", 1, detached)
	f.complete(f.receiver, got...)
	f.server.Fail(servicebustest.Management, "q", 1, detached)
	_, err := f.receiver.PeekMessages(t.Context(), 1, nil)
	f.check(err)
	f.has("q", servicebustest.Counts{})
}

func TestForcedConnection(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{})
	f.send("a")
	f.server.Fail(servicebustest.Send, "q", 1, forced)
	f.send("b")
	f.server.Fail(servicebustest.Attach, "q", 1, forced)
	f.complete(f.receiver, f.receive(f.receiver, 2)...)
	if n := f.server.Stats().Connections; n != 3 {
		t.Errorf("%d connections", n)
	}
}

func TestAttachRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{})
	f.server.Fail(servicebustest.Attach, "q", 1, servicebustest.Error{Condition: "com.microsoft:entity-disabled", Description: "switched off"})
	if err := f.sender.SendMessage(t.Context(), &azservicebus.Message{}, nil); err == nil {
		t.Error("sent to an entity that is disabled")
	}
	f.send("a")
	f.server.Fail(servicebustest.Attach, "q", 2, busy)
	f.complete(f.receiver, f.receiveOne(f.receiver))
}

// TestLostAnswerToSend: the message is there although the client had to send it twice.
func TestLostAnswerToSend(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{})
	f.server.LoseAnswer(servicebustest.Send, "q", 1)
	f.send("a")
	f.has("q", servicebustest.Counts{Active: 2})
}

func TestLostAnswerToSendWithDuplicateDetection(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{DuplicateWindow: time.Minute})
	f.server.LoseAnswer(servicebustest.Send, "q", 1)
	f.send("a")
	f.has("q", servicebustest.Counts{Active: 1})
	if n := f.server.Stats().Messages; n != 2 {
		t.Errorf("%d messages arrived", n)
	}
}

// TestLostAnswerToSettle: the message is gone, the client can't know, and asking again by token finds no lock.
func TestLostAnswerToSettle(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{})
	f.send("a", "b")
	got := f.receive(f.receiver, 2)
	f.server.LoseAnswer(servicebustest.Settle, "q", 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := f.receiver.CompleteMessage(ctx, got[0], nil); err == nil {
		t.Error("no error although no answer came")
	}
	f.has("q", servicebustest.Counts{Locked: 1})
	f.reopen(f.receiver)
	byToken := func(m *azservicebus.ReceivedMessage) error {
		return f.receiver.CompleteMessage(t.Context(), &azservicebus.ReceivedMessage{LockToken: m.LockToken}, nil)
	}
	f.wantCode(byToken(got[0]), azservicebus.CodeLockLost)
	f.check(byToken(got[1]))
	f.has("q", servicebustest.Counts{})
}

func TestLostAnswerToRequest(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{})
	f.server.LoseAnswer(servicebustest.Management, "q", 1)
	_, err := f.sender.ScheduleMessages(t.Context(), []*azservicebus.Message{{Body: []byte("a")}}, start.Add(time.Hour), nil)
	f.check(err)
	f.has("q", servicebustest.Counts{Scheduled: 2})
}

// TestStall: without an answer a call lasts as long as its context.
func TestStall(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{})
	f.send("a")
	m := f.receiveOne(f.receiver)
	f.server.Stall(servicebustest.Send, "q", 1)
	f.server.Stall(servicebustest.Settle, "q", 1)
	f.server.Stall(servicebustest.Management, "q", 1)
	var calling sync.WaitGroup
	for name, call := range map[string]func(context.Context) error{
		"send":   func(ctx context.Context) error { return f.sender.SendMessage(ctx, &azservicebus.Message{}, nil) },
		"settle": func(ctx context.Context) error { return f.receiver.CompleteMessage(ctx, m, nil) },
		"renew":  func(ctx context.Context) error { return f.receiver.RenewMessageLock(ctx, m, nil) },
	} {
		calling.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	calling.Wait()
	f.has("q", servicebustest.Counts{Locked: 1})
	f.complete(f.receiver, m)
	f.has("q", servicebustest.Counts{})
}

// TestSettleRefused: azservicebus v1.11.0 takes a delivery for settled once any answer has come, so that its second try,
// four seconds later, reports a success that is none.
func TestSettleRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{})
	f.send("a")
	m := f.receiveOne(f.receiver)
	f.server.Fail(servicebustest.Settle, "q", 1, busy)
	f.check(f.receiver.CompleteMessage(t.Context(), m, nil))
	f.has("q", servicebustest.Counts{Locked: 1})
	f.check(f.receiver.CompleteMessage(t.Context(), &azservicebus.ReceivedMessage{LockToken: m.LockToken}, nil))
	f.has("q", servicebustest.Counts{})
}

// TestSettleByToken settles in every way after the connection is gone.
func TestSettleByToken(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{})
	f.send("completed", "abandoned", "deferred", "dead")
	var tokens []*azservicebus.ReceivedMessage
	for _, m := range f.receive(f.receiver, 4) {
		tokens = append(tokens, &azservicebus.ReceivedMessage{LockToken: m.LockToken})
	}
	f.server.DropConnections()
	f.reopen(f.receiver)
	properties := map[string]any{"k": "v"}
	f.complete(f.receiver, tokens[0])
	f.check(f.receiver.AbandonMessage(t.Context(), tokens[1], &azservicebus.AbandonMessageOptions{PropertiesToModify: properties}))
	f.check(f.receiver.DeferMessage(t.Context(), tokens[2], &azservicebus.DeferMessageOptions{PropertiesToModify: properties}))
	f.check(f.receiver.DeadLetterMessage(t.Context(), tokens[3], &azservicebus.DeadLetterOptions{
		Reason: ptr("why"), ErrorDescription: ptr("because"), PropertiesToModify: properties}))
	f.has("q", servicebustest.Counts{Active: 1, Deferred: 1, DeadLettered: 1})
	back := f.receiveOne(f.receiver)
	if string(back.Body) != "abandoned" || back.DeliveryCount != 2 || back.ApplicationProperties["k"] != "v" {
		t.Errorf("abandoned: %+v", back)
	}
	later, err := f.receiver.ReceiveDeferredMessages(t.Context(), []int64{3}, nil)
	f.check(err)
	if string(later[0].Body) != "deferred" || later[0].ApplicationProperties["k"] != "v" {
		t.Errorf("deferred: %+v", later[0])
	}
	dead := f.receiveOne(f.deadLetters())
	if string(dead.Body) != "dead" || *dead.DeadLetterReason != "why" || *dead.DeadLetterErrorDescription != "because" || dead.ApplicationProperties["k"] != "v" {
		t.Errorf("dead letter: %+v", dead)
	}
}
