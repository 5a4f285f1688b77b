package servicebus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
)

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
