// Package dispatchtest runs handlers in tests: a real store, the real dispatcher, and a clock that is moved by hand.
//
// A [Bench] delivers what is due in the queues that have a route, one delivery at a time; when nothing is due it moves the clock to the next due time. So a
// reset that takes seven days takes milliseconds, and every run is the same. It can crash the process at any boundary
// between two effects (see [Bench.CrashAt]) and start it again, which is how a handler shows that nothing is lost and
// nothing is done twice.
//
// It is a tool for tests and is imported by nothing else.
package dispatchtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"pinreset/shared/clocktest"
	"pinreset/shared/dispatch"
	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
	"pinreset/shared/work/outbox/outboxtest"
	"pinreset/shared/work/sqlitework"
)

// Start is the time at which every bench begins.
var Start = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

// backend is a store under test.
type backend interface {
	work.Store
	work.Source
	// due returns the queues that have a message to hand out now.
	due(context.Context) ([]work.Queue, error)
	waiting(ctx context.Context, queue work.Queue) (due, later int, err error)
	// sweep is what a new process does first.
	sweep(context.Context) error
}

// whole is a store that commits at once.
type whole struct{ *sqlitework.Store }

func (w whole) due(ctx context.Context) (queues []work.Queue, err error) {
	stats, err := w.Stats(ctx)
	for _, q := range stats.Queues {
		if q.Due > 0 {
			queues = append(queues, q.Queue)
		}
	}
	return queues, err
}

func (w whole) waiting(ctx context.Context, queue work.Queue) (due, later int, err error) {
	stats, err := w.Stats(ctx)
	for _, q := range stats.Queues {
		if q.Queue == queue {
			due, later = q.Due, q.Later
		}
	}
	return due, later, err
}

func (whole) sweep(context.Context) error { return nil }

// torn is a store that commits in steps, over two services in memory.
type torn struct {
	*outbox.Store
	queue *outboxtest.Queue
}

func (t torn) due(context.Context) ([]work.Queue, error) { return t.queue.Due(), nil }

func (t torn) waiting(_ context.Context, queue work.Queue) (due, later int, err error) {
	due, later = t.queue.Waiting(queue)
	return due, later, nil
}

func (t torn) sweep(ctx context.Context) error { return t.Sweep(ctx) }

// Bench is a store, a dispatcher and a clock.
type Bench struct {
	T       testing.TB
	Clock   *clocktest.Clock
	Log     *slog.Logger
	Runs    []dispatch.Observation
	backend backend
	effects *effects
	routes  []dispatch.Route
	serial  int
	// patience is how long the next receive waits: short, since mostly a duplicate was dropped and nothing comes, and longer
	// after each one that brought nothing.
	patience time.Duration
}

const (
	lease    = time.Minute
	attempts = 8 // dispatch's own default
	shortest = 5 * time.Millisecond
	longest  = 400 * time.Millisecond
)

// New opens a store of the test's own. A torn one commits in the steps that Table storage and Service Bus have.
func New(t testing.TB, inSteps bool) *Bench {
	t.Helper()
	b := &Bench{T: t, Clock: clocktest.New(Start), Log: slog.New(slog.DiscardHandler), patience: shortest, effects: &effects{}}
	if inSteps {
		queue, commits := &outboxtest.Queue{Now: b.Clock.Now, Lock: lease}, 0
		b.backend = torn{outbox.New(&outboxtest.Rows{}, queue, outbox.Options{
			Now: b.Clock.Now, Logger: b.Log,
			NewID:  func() string { commits++; return fmt.Sprintf("commit-%06d", commits) },
			Before: func(step string) error { return b.effects.boundary("torn before " + step) },
		}), queue}
	} else {
		store, err := sqlitework.Open(t.TempDir(), sqlitework.Options{Now: b.Clock.Now, Lease: lease, Alone: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		})
		b.backend = whole{store}
	}
	b.effects.backend = b.backend
	return b
}

// Store returns the store, with the crash points in it.
func (b *Bench) Store() work.Store { return b.effects }

// Source returns the store's messages, with the crash points in it.
func (b *Bench) Source() work.Source { return b.effects }

// NewID returns ids in order, the same in every run.
func (b *Bench) NewID() string {
	b.serial++
	return fmt.Sprintf("01%024d", b.serial)
}

// Unit starts a unit of work in the partition.
func (b *Bench) Unit(partition string) *work.Unit {
	return work.NewUnit(b.effects, partition, b.Clock.Now(), b.NewID)
}

// Waiting returns how many messages of the queue nobody holds: those that are due now, and those that are due later.
func (b *Bench) Waiting(queue work.Queue) (due, later int) {
	b.T.Helper()
	due, later, err := b.backend.waiting(b.T.Context(), queue)
	if err != nil {
		b.T.Fatal(err)
	}
	return due, later
}

// Serve sets the routes.
func (b *Bench) Serve(routes ...dispatch.Route) { b.routes = routes }

// CrashAt makes the process die at the n-th boundary from now: before or after a commit or a settlement. 0 is never. The
// process is started again by itself, once the leases it held have ended.
func (b *Bench) CrashAt(n int) { b.effects.arm(n) }

// Boundaries returns how many boundaries were passed since the last CrashAt, and whether the crash happened.
func (b *Bench) Boundaries() (passed int, crashed string) { return b.effects.state() }

// RunUntil delivers and moves the clock until done reports true. It fails the test after limit of the clock's time, or when
// nothing is left to do.
func (b *Bench) RunUntil(limit time.Duration, done func() bool) {
	b.T.Helper()
	end := b.Clock.Now().Add(limit)
	for !done() {
		if b.step() {
			continue
		}
		next, ok := b.effects.nextDue(b.Clock.Now())
		if !ok {
			b.T.Fatalf("nothing is left to do and it is not done at %s", b.Clock.Now().Format(time.RFC3339))
		}
		if next.After(end) {
			b.T.Fatalf("not done after %s; next due %s", limit, next.Format(time.RFC3339))
		}
		b.Clock.Advance(next.Sub(b.Clock.Now()))
	}
}

// Drain delivers everything that is due until at, moving the clock there.
func (b *Bench) Drain(at time.Time) {
	b.T.Helper()
	for {
		if b.step() {
			continue
		}
		next, ok := b.effects.nextDue(b.Clock.Now())
		if !ok || next.After(at) {
			b.Clock.Advance(max(0, at.Sub(b.Clock.Now())))
			return
		}
		b.Clock.Advance(next.Sub(b.Clock.Now()))
	}
}

// Restart starts the process again where it died outside a delivery; in a delivery the bench does so by itself.
func (b *Bench) Restart() { b.restart() }

// step processes one due delivery, if there is one.
func (b *Bench) step() bool {
	b.T.Helper()
	ctx := b.T.Context()
	due, err := b.backend.due(ctx)
	if err != nil {
		b.T.Fatal(err)
	}
	for _, q := range due {
		if !slices.ContainsFunc(b.routes, func(r dispatch.Route) bool { return r.Queue == q || r.Queue.Bulk() == q }) {
			continue
		}
		receive, cancel := context.WithTimeout(ctx, b.patience) // Receive drops a duplicate by itself and waits on
		deliveries, err := b.effects.Receive(receive, q, 1)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			b.patience = min(2*b.patience, longest)
			return true // what was due was dropped, or the machine is slow: look again, and for longer
		}
		if err != nil {
			b.T.Fatal(err)
		}
		b.patience = shortest
		d := b.dispatcher()
		for _, delivery := range deliveries {
			b.effects.due(delivery.LeasedUntil)
			if err := d.Process(ctx, delivery); err != nil && !b.effects.crashed() && !errors.Is(err, work.ErrLeaseLost) {
				b.T.Fatalf("process %s: %v", delivery.ID, err)
			}
		}
		b.restart()
		return true
	}
	return false
}

func (b *Bench) dispatcher() *dispatch.Dispatcher {
	return dispatch.New(b.effects, b.effects, b.routes, dispatch.Options{
		Now: b.Clock.Now, NewID: b.NewID, Logger: b.Log, Jitter: func() float64 { return 0.5 },
		Observe: func(o dispatch.Observation) { b.Runs = append(b.Runs, o) },
	})
}

// Overtake lets a run of the queue's next message be overtaken: whoever has it after that run comes to nothing, the message is
// set aside at the end of its attempts, and only then does the first run begin. The test fails unless that run is refused.
func (b *Bench) Overtake(queue work.Queue) {
	b.T.Helper()
	receive := func() work.Delivery {
		ctx, cancel := context.WithTimeout(b.T.Context(), 10*time.Second)
		defer cancel()
		d, err := b.effects.Receive(ctx, queue, 1)
		if err != nil {
			b.T.Fatal(err)
		}
		return d[0]
	}
	first := receive()
	for seen := len(b.Runs); len(b.Runs) == seen; {
		b.Clock.Advance(lease + time.Second)
		if last := receive(); last.ID != first.ID {
			b.T.Fatalf("received %s, want %s again", last.ID, first.ID)
		} else if last.Deliveries <= attempts {
			continue
		} else if err := b.dispatcher().Process(b.T.Context(), last); err != nil {
			b.T.Fatal(err)
		}
	}
	if run := b.Runs[len(b.Runs)-1]; !run.Dead {
		b.T.Fatalf("the last attempt: %+v, want the message set aside", run)
	}
	if err := b.dispatcher().Process(b.T.Context(), first); !errors.Is(err, work.ErrLeaseLost) {
		b.T.Fatalf("the run that was overtaken: %v, want %v", err, work.ErrLeaseLost)
	}
}

// restart is what a new process does first: it re-sends what the crash left between two steps.
func (b *Bench) restart() {
	if !b.effects.restart() {
		return
	}
	if err := b.backend.sweep(b.T.Context()); err != nil {
		b.T.Fatal(err)
	}
}
