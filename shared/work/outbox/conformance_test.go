package outbox_test

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"pinreset/shared/clocktest"
	"pinreset/shared/work/outbox"
	"pinreset/shared/work/outbox/outboxtest"
	"pinreset/shared/work/worktest"
)

// numbered gives ids that never repeat.
func numbered() func() string {
	var n atomic.Int64
	return func() string { return fmt.Sprintf("01%024d", n.Add(1)) }
}

var silent = slog.New(slog.DiscardHandler)

// TestConformance: the contract holds over two services, with a commit cut at any of its steps.
func TestConformance(t *testing.T) {
	t.Parallel()
	conformance(t, 0)
}

// TestConformanceOverQueueThatCannotWait: the same where most of what is put off is longer than the queue can wait.
func TestConformanceOverQueueThatCannotWait(t *testing.T) {
	t.Parallel()
	conformance(t, 21*time.Second)
}

func conformance(t *testing.T, maxDelay time.Duration) {
	worktest.Run(t, func(t *testing.T) worktest.Backend {
		clock, crasher, newID := worktest.NewClock(), &worktest.Crasher{}, numbered()
		rows, queue := &outboxtest.Rows{}, &outboxtest.Queue{Now: clock.Now, MaxDelay: maxDelay}
		open := func() *outbox.Store {
			return outbox.New(rows, queue, outbox.Options{NewID: newID, Now: clock.Now, MaxDelay: maxDelay, Logger: silent, Before: crasher.Before})
		}
		s := open()
		advance := func(d time.Duration) { clock.Advance(d); queue.Wake() }
		if maxDelay > 0 {
			advance = func(d time.Duration) { sweepAlong(t, s, clock, queue, maxDelay/3, d) }
		}
		return worktest.Backend{
			Store: s, Source: s, Lease: time.Minute, Now: clock.Now,
			Advance: advance,
			Reopen: func(*testing.T) worktest.Backend {
				s := open()
				return worktest.Backend{Store: s, Source: s}
			},
			Steps: []string{outbox.StepRows, outbox.StepMessages, outbox.StepSettle, outbox.StepClear},
			Crash: crasher.Crash, Sweep: s.Sweep,
		}
	})
}

// sweepAlong lets the time pass, with a sweep whenever the period is over.
func sweepAlong(t *testing.T, s *outbox.Store, clock *clocktest.Clock, queue *outboxtest.Queue, period, d time.Duration) {
	t.Helper()
	for d > 0 {
		step := min(d, period)
		if err := s.Sweep(t.Context()); err != nil {
			t.Errorf("Sweep: %v", err)
		}
		clock.Advance(step)
		queue.Wake()
		d -= step
	}
}
