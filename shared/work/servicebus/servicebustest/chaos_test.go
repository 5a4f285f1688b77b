package servicebustest_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"pinreset/shared/work/servicebus/servicebustest"
)

// TestChaos has three clients work a queue while connections are cut, links detached and answers lost at random. Every
// message must reach somebody, nothing may be left over, and nothing that a client was told is completed may come again. A
// completion whose answer was lost is neither known to have happened nor not; so receipts count, not completions.
func TestChaos(t *testing.T) {
	t.Parallel()
	const messages, workers, lock = 400, 3, time.Minute
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	f := newFixture(t, servicebustest.Queue{Delivery: servicebustest.Delivery{LockDuration: lock, MaxDeliveryCount: 10_000}})

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var received, completed sync.Map // bodies; delivery counts by sequence number
	var receipts, repeated, unknown atomic.Int64
	work := func(ctx context.Context, client *azservicebus.Client) {
		receiver, err := client.NewReceiverForQueue("q", nil)
		if err != nil {
			t.Error(err)
			return
		}
		for ctx.Err() == nil {
			got, _ := receiver.ReceiveMessages(ctx, 10, nil) // whatever went wrong: again
			for _, m := range got {
				receipts.Add(1)
				if _, twice := received.LoadOrStore(string(m.Body), true); twice {
					repeated.Add(1)
				}
				// (An earlier delivery may be looked at later: its receiver was slow and has lost the lock.)
				if count, done := completed.Load(*m.SequenceNumber); done && m.DeliveryCount > count.(uint32) {
					t.Errorf("message %s, number %d, came again after it was completed", m.Body, *m.SequenceNumber)
				}
				// Short, so that the client has no time to try again: its second try would report a success that is none.
				brief, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
				if err := receiver.CompleteMessage(brief, m, nil); err == nil {
					completed.Store(*m.SequenceNumber, m.DeliveryCount)
				} else {
					unknown.Add(1)
				}
				cancel()
			}
		}
	}
	working, rest := context.WithCancel(ctx)
	var running sync.WaitGroup
	for range workers {
		client := connect(t, f.server)
		running.Go(func() { work(working, client) })
	}
	trouble := rand.New(rand.NewPCG(seed, 0))
	running.Go(func() {
		for next := int64(0); working.Err() == nil; {
			next += 20 + trouble.Int64N(40) // deliveries
			if f.server.Await(working, "q", func(servicebustest.Counts) bool { return receipts.Load() >= next }) != nil {
				return
			}
			switch trouble.IntN(4) {
			case 0:
				f.server.DropConnections()
			case 1:
				f.server.DetachLinks("q", detached)
			case 2:
				f.server.LoseAnswer(servicebustest.Settle, "q", 1)
			case 3:
				f.server.LoseAnswer(servicebustest.Send, "q", 1)
			}
		}
	})
	for i := range messages {
		m := &azservicebus.Message{Body: fmt.Append(nil, i)}
		for err := f.sender.SendMessage(ctx, m, nil); err != nil; err = f.sender.SendMessage(ctx, m, nil) {
			if ctx.Err() != nil {
				t.Fatal(err)
			}
		}
	}
	// Messages that were under way to a client when it was cut off come back when their locks end.
	for !f.server.Counts("q").Empty() && ctx.Err() == nil {
		wait, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		_ = f.server.Await(wait, "q", servicebustest.Counts.Empty)
		cancel()
		f.clock.Advance(lock)
	}
	rest()
	running.Wait()
	for i := range messages {
		if _, ok := received.Load(fmt.Sprint(i)); !ok {
			t.Errorf("message %d reached nobody", i)
		}
	}
	if c := f.server.Counts("q"); c != (servicebustest.Counts{}) {
		t.Errorf("left: %+v", c)
	}
	s := f.server.Stats()
	if s.Connections < 2*workers || repeated.Load() == 0 {
		t.Errorf("%+v with %d repeated receipts: nothing went wrong, so this has shown nothing", s, repeated.Load())
	}
	t.Logf("%+v; %d receipts, %d of them repeated, %d completions unknown", s, receipts.Load(), repeated.Load(), unknown.Load())
}
