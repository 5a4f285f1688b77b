package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pinreset/shared/work"
)

// lease of the source's deliveries.
const lease = time.Minute

// channels is a source whose deliveries the test puts into channels. Make it in the bubble of the test.
type channels struct {
	queues map[work.Queue]chan work.Delivery

	mu     sync.Mutex
	limits []int
	failed int // receives that are yet to fail
	renew  func(work.Delivery) (time.Time, error)
	renews map[string][]time.Time
}

func newChannels(queues ...work.Queue) *channels {
	c := &channels{queues: map[work.Queue]chan work.Delivery{}, renews: map[string][]time.Time{}}
	for _, q := range queues {
		c.queues[q] = make(chan work.Delivery, 100)
	}
	c.renew = func(work.Delivery) (time.Time, error) { return time.Now().Add(lease), nil }
	return c
}

func (c *channels) put(q work.Queue, ids ...string) {
	for _, id := range ids {
		c.queues[q] <- work.Delivery{Message: work.Message{ID: id, Queue: q}, LeasedUntil: time.Now().Add(lease)}
	}
}

var errStore = errors.New("store is down")

func (c *channels) Receive(ctx context.Context, q work.Queue, limit int) ([]work.Delivery, error) {
	c.mu.Lock()
	c.limits = append(c.limits, limit)
	fail := c.failed > 0
	if fail {
		c.failed--
	}
	c.mu.Unlock()
	if fail {
		return nil, errStore
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case d := <-c.queues[q]:
		out := []work.Delivery{d}
		for len(out) < limit {
			select {
			case d := <-c.queues[q]:
				out = append(out, d)
				continue
			default:
			}
			break
		}
		return out, nil
	}
}

func (c *channels) Renew(_ context.Context, d work.Delivery) (time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.renews[d.ID] = append(c.renews[d.ID], time.Now())
	return c.renew(d)
}

func (c *channels) renewals(id string) []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.renews[id])
}

// asked returns the limits of all receives so far.
func (c *channels) asked() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.limits)
}

// held is a processor whose runs go on until the test lets them go, or their context ends.
type held struct {
	mu      sync.Mutex
	running map[string]chan error
	most    int
	ended   map[string]error // what the run's context said at its end
}

func newHeld() *held { return &held{running: map[string]chan error{}, ended: map[string]error{}} }

func (h *held) Process(ctx context.Context, d work.Delivery) error {
	release := make(chan error, 1)
	h.mu.Lock()
	h.running[d.ID] = release
	h.most = max(h.most, len(h.running))
	h.mu.Unlock()
	var err error
	select {
	case err = <-release:
	case <-ctx.Done():
		err = ctx.Err()
	}
	h.mu.Lock()
	delete(h.running, d.ID)
	h.ended[d.ID] = ctx.Err()
	h.mu.Unlock()
	return err
}

func (h *held) release(id string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.running[id] <- err
}

func (h *held) state() (running, ended []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id := range h.running {
		running = append(running, id)
	}
	for id := range h.ended {
		ended = append(ended, id)
	}
	slices.Sort(running)
	slices.Sort(ended)
	return running, ended
}

// end returns what the context of the run said at its end.
func (h *held) end(id string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ended[id]
}

// atOnce returns how many ran at once at most.
func (h *held) atOnce() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.most
}

// wantRunning waits until nothing moves any more and compares.
func (h *held) wantRunning(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	if running, _ := h.state(); !slices.Equal(running, want) {
		t.Fatalf("running %v, want %v", running, want)
	}
}

// start runs the host until the test ends it; stopped is closed when Run has returned.
func start(t *testing.T, s source, p processor, queues ...Queue) (stop context.CancelFunc, stopped chan struct{}) {
	ctx, cancel := context.WithCancel(t.Context())
	stopped = make(chan struct{})
	h := New(s, p, queues, slog.New(slog.NewTextHandler(io.Discard, nil)))
	go func() {
		defer close(stopped)
		h.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-stopped
	})
	return cancel, stopped
}

func TestRunsUpToItsWorkers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newChannels("q"), newHeld()
		start(t, s, p, Queue{"q", 3})
		s.put("q", "a", "b", "c", "d", "e")
		p.wantRunning(t, "a", "b", "c")
		p.release("b", nil)
		p.wantRunning(t, "a", "c", "d")
		p.release("a", errors.New("not settled")) // frees its worker too
		p.wantRunning(t, "c", "d", "e")
		for _, id := range []string{"c", "d", "e"} {
			p.release(id, nil)
		}
		p.wantRunning(t)
		s.put("q", "f", "g", "h", "i")
		p.wantRunning(t, "f", "g", "h")
		if most := p.atOnce(); most != 3 {
			t.Errorf("%d ran at once, want 3", most)
		}
		if most := slices.Max(s.asked()); most > 3 {
			t.Errorf("asked for %d deliveries with 3 workers", most)
		}
		if _, ended := p.state(); !slices.Equal(ended, []string{"a", "b", "c", "d", "e"}) {
			t.Errorf("ended %v", ended)
		}
	})
}

// TestQueuesDoNotStarveEachOther floods one queue with work that does not end.
func TestQueuesDoNotStarveEachOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newChannels("people", "people-bulk"), newHeld()
		start(t, s, p, Queue{"people", 1}, Queue{"people-bulk", 2})
		for i := range 50 {
			s.put("people-bulk", fmt.Sprintf("bulk-%02d", i))
		}
		p.wantRunning(t, "bulk-00", "bulk-01")
		for range 3 {
			s.put("people", "person")
			p.wantRunning(t, "bulk-00", "bulk-01", "person")
			p.release("person", nil)
			p.wantRunning(t, "bulk-00", "bulk-01")
		}
	})
}

// TestRenewsLeases proves that a lease is renewed well before its end for as long as the run takes, and no longer.
func TestRenewsLeases(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newChannels("q"), newHeld()
		start(t, s, p, Queue{"q", 2})
		began := time.Now()
		s.put("q", "slow", "quick")
		p.wantRunning(t, "quick", "slow")
		time.Sleep(time.Second)
		p.release("quick", nil)
		time.Sleep(10 * time.Minute)
		p.wantRunning(t, "slow")
		p.release("slow", nil)
		p.wantRunning(t)
		last := began
		for i, at := range s.renewals("slow") {
			if wait := at.Sub(last); wait < lease/4 || wait > lease/2 {
				t.Errorf("renewal %d comes %s after the one before", i, wait)
			}
			last = at
		}
		n := len(s.renewals("slow"))
		if n < 20 || began.Add(10*time.Minute).Sub(last) > lease/2 {
			t.Errorf("%d renewals, the last at %s", n, last.Sub(began))
		}
		if got := s.renewals("quick"); len(got) != 0 {
			t.Errorf("a run of a second was renewed %d times", len(got))
		}
		time.Sleep(time.Hour)
		if got := len(s.renewals("slow")); got != n {
			t.Errorf("%d renewals after the run", got-n)
		}
	})
}

// TestLosingTheLeaseEndsTheRun, and no other one.
func TestLosingTheLeaseEndsTheRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newChannels("q"), newHeld()
		s.renew = func(d work.Delivery) (time.Time, error) {
			if d.ID == "lost" {
				return time.Time{}, fmt.Errorf("renew: %w", work.ErrLeaseLost)
			}
			return time.Now().Add(lease), nil
		}
		start(t, s, p, Queue{"q", 2})
		s.put("q", "kept", "lost")
		p.wantRunning(t, "kept", "lost")
		time.Sleep(lease / 2)
		p.wantRunning(t, "kept")
		if end := p.end("lost"); end == nil || len(s.renewals("lost")) != 1 {
			t.Errorf("the run that lost its lease ended with %v after %d renewals", end, len(s.renewals("lost")))
		}
		s.put("q", "next") // its worker is free
		p.wantRunning(t, "kept", "next")
		time.Sleep(lease)
		p.release("kept", nil)
		p.wantRunning(t, "next")
		if end := p.end("kept"); end != nil {
			t.Errorf("the other run ended with %v", end)
		}
	})
}

// TestRenewalThatFails proves that an error which does not say that the lease is lost is tried again while it lasts.
func TestRenewalThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newChannels("q"), newHeld()
		fails := 0
		s.renew = func(work.Delivery) (time.Time, error) {
			if fails++; fails <= 2 {
				return time.Time{}, errStore
			}
			return time.Now().Add(lease), nil
		}
		start(t, s, p, Queue{"q", 1})
		began := time.Now()
		s.put("q", "a")
		time.Sleep(5 * time.Minute)
		p.wantRunning(t, "a")
		got := s.renewals("a")
		if len(got) < 3 {
			t.Fatalf("%d renewals", len(got))
		}
		if after := got[2].Sub(began); after >= lease {
			t.Errorf("the third renewal comes after %s of a lease of %s", after, lease)
		}
	})
}

// TestShutdown proves that the host takes nothing more, tells its runs, and waits for them.
func TestShutdown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newChannels("q", "r")
		var mu sync.Mutex
		told, gaveBack := 0, 0
		settle := make(chan struct{})
		p := processorFunc(func(ctx context.Context, _ work.Delivery) error {
			<-ctx.Done()
			mu.Lock()
			told++
			mu.Unlock()
			<-settle // giving the message back takes its time
			mu.Lock()
			gaveBack++
			mu.Unlock()
			return nil
		})
		stop, stopped := start(t, s, p, Queue{"q", 2}, Queue{"r", 1})
		s.put("q", "a", "b", "c")
		synctest.Wait()
		stop()
		synctest.Wait()
		select {
		case <-stopped:
			t.Error("the host did not wait for its runs")
		default:
		}
		mu.Lock()
		if told != 2 || gaveBack != 0 {
			t.Errorf("%d runs were told, %d are through", told, gaveBack)
		}
		mu.Unlock()
		close(settle)
		<-stopped
		if gaveBack != 2 || len(s.queues["q"]) != 1 {
			t.Errorf("%d runs gave back, %d messages are left in the queue; want 2 and 1", gaveBack, len(s.queues["q"]))
		}
	})
}

type processorFunc func(context.Context, work.Delivery) error

func (f processorFunc) Process(ctx context.Context, d work.Delivery) error { return f(ctx, d) }

// TestStoreInTrouble proves that the host neither gives up nor hurries while it gets errors.
func TestStoreInTrouble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, p := newChannels("q"), newHeld()
		s.failed = 5
		stop, stopped := start(t, s, p, Queue{"q", 2})
		s.put("q", "a", "b")
		time.Sleep(4*pause + pause/2)
		p.wantRunning(t)
		if n := len(s.asked()); n != 5 {
			t.Errorf("asked %d times in %s", n, 4*pause+pause/2)
		}
		time.Sleep(pause)
		p.wantRunning(t, "a", "b") // with both workers: none was lost on the way
		p.release("a", nil)
		p.release("b", nil)
		synctest.Wait()
		s.mu.Lock()
		s.failed = 1000
		s.mu.Unlock()
		s.put("q", "c")
		p.wantRunning(t, "c")
		p.release("c", nil)
		time.Sleep(10 * pause)
		stop() // in the middle of a pause
		synctest.Wait()
		select {
		case <-stopped:
		default:
			t.Error("the host does not stop while the store is in trouble")
		}
	})
}

func TestQueueWithoutWorker(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, -1} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("a queue with %d workers was taken", n)
				}
			}()
			New(nil, nil, []Queue{{"good", 1}, {"bad", n}}, nil)
		}()
	}
}
