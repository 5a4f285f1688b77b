// Package local hosts the handlers in this process: it takes deliveries from the store, keeps their leases, and runs them
// side by side. It is transport only and knows no handler.
package local

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"pinreset/shared/work"
)

// Queue says how many deliveries of a queue run at once.
type Queue struct {
	Name    work.Queue
	Workers int
}

// source hands out deliveries and keeps their leases.
type source interface {
	Receive(context.Context, work.Queue, int) ([]work.Delivery, error)
	Renew(context.Context, work.Delivery) (time.Time, error)
}

// processor runs one delivery to its settlement.
type processor interface {
	Process(context.Context, work.Delivery) error
}

// Host runs deliveries until its context ends.
type Host struct {
	source    source
	processor processor
	queues    []Queue
	logger    *slog.Logger
}

// New returns a host. It panics on a queue without a worker.
func New(s source, p processor, queues []Queue, logger *slog.Logger) *Host {
	for _, q := range queues {
		if q.Workers < 1 {
			panic("local: queue " + string(q.Name) + " has no worker")
		}
	}
	return &Host{source: s, processor: p, queues: queues, logger: logger}
}

// Run works until ctx ends, then waits for the runs under way, which give their messages back at once. Each queue has
// workers of its own, so a flood in one takes nothing from another.
func (h *Host) Run(ctx context.Context) {
	var queues sync.WaitGroup
	for _, q := range h.queues {
		queues.Go(func() { h.serve(ctx, q) })
	}
	queues.Wait()
}

// pause after a failed receive: the store is in trouble, and asking faster does not help it.
const pause = time.Second

func (h *Host) serve(ctx context.Context, q Queue) {
	var runs sync.WaitGroup
	defer runs.Wait()
	free := make(chan struct{}, q.Workers)
	for range q.Workers {
		free <- struct{}{}
	}
	for {
		select {
		case <-free:
		case <-ctx.Done():
			return
		}
		slots := 1
		for more := true; more && slots < q.Workers; {
			select {
			case <-free:
				slots++
			default:
				more = false
			}
		}
		deliveries, err := h.source.Receive(ctx, q.Name, slots)
		if ctx.Err() != nil && len(deliveries) == 0 {
			return
		}
		if err != nil {
			h.logger.ErrorContext(ctx, "receive", "queue", string(q.Name), "cause", err.Error())
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return
			}
		}
		for range slots - len(deliveries) {
			free <- struct{}{}
		}
		for _, d := range deliveries {
			runs.Go(func() {
				defer func() { free <- struct{}{} }()
				h.run(ctx, d)
			})
		}
	}
}

// run processes one delivery and renews its lease meanwhile. Losing the lease ends the run: somebody else has the message.
func (h *Host) run(ctx context.Context, d work.Delivery) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Most runs end long before their lease has to be renewed: until then no goroutine waits for that.
	ended := make(chan struct{})
	renewal := time.AfterFunc(untilRenewal(d.LeasedUntil), func() {
		defer close(ended)
		h.renew(ctx, cancel, d)
	})
	defer func() {
		cancel()
		if !renewal.Stop() {
			<-ended
		}
	}()
	if err := h.processor.Process(ctx, d); err != nil {
		h.logger.WarnContext(ctx, "delivery not settled; it comes back when its lease ends", "message", d.ID, "queue", string(d.Queue), "cause", err.Error())
	}
}

// untilRenewal is a third of what is left of the lease: that leaves two more tries before it ends.
func untilRenewal(until time.Time) time.Duration {
	return max(time.Until(until)/3, 50*time.Millisecond)
}

// renew renews the lease now and again until ctx ends, which it does when the lease is lost.
func (h *Host) renew(ctx context.Context, lost func(), d work.Delivery) {
	for until := d.LeasedUntil; ; {
		renewed, err := h.source.Renew(ctx, d)
		switch {
		case err == nil:
			until = renewed
		case errors.Is(err, work.ErrLeaseLost):
			lost()
			return
		case ctx.Err() == nil:
			h.logger.WarnContext(ctx, "renew lease", "message", d.ID, "cause", err.Error())
		}
		timer := time.NewTimer(untilRenewal(until))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}
