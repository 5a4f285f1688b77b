package outbox_test

import (
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

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
	worktest.Run(t, func(*testing.T) worktest.Backend {
		clock, crasher, newID := worktest.NewClock(), &worktest.Crasher{}, numbered()
		rows, queue := &outboxtest.Rows{}, &outboxtest.Queue{Now: clock.Now}
		open := func() *outbox.Store {
			return outbox.New(rows, queue, outbox.Options{NewID: newID, Now: clock.Now, Logger: silent, Before: crasher.Before})
		}
		s := open()
		return worktest.Backend{
			Store: s, Source: s, Lease: time.Minute, Now: clock.Now,
			Advance: func(d time.Duration) { clock.Advance(d); queue.Wake() },
			Reopen: func(*testing.T) worktest.Backend {
				s := open()
				return worktest.Backend{Store: s, Source: s}
			},
			Steps: []string{outbox.StepRows, outbox.StepMessages, outbox.StepSettle, outbox.StepClear},
			Crash: crasher.Crash, Sweep: s.Sweep,
		}
	})
}
