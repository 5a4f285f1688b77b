package tables_test

import (
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"pinreset/shared/work/outbox"
	"pinreset/shared/work/outbox/outboxtest"
	"pinreset/shared/work/tables"
	"pinreset/shared/work/tables/tablestest"
	"pinreset/shared/work/worktest"
)

func TestMain(m *testing.M) { os.Exit(tablestest.Run(m)) }

// numbered gives ids that never repeat.
func numbered() func() string {
	var n atomic.Int64
	return func() string { return fmt.Sprintf("01%024d", n.Add(1)) }
}

// TestConformance: the contract holds with the rows in Table storage and the messages in a queue in memory, with a commit cut at
// any of its steps.
func TestConformance(t *testing.T) {
	t.Parallel()
	worktest.Run(t, func(t *testing.T) worktest.Backend {
		clock, crasher, newID := worktest.NewClock(), &worktest.Crasher{}, numbered()
		rows, queue := tablestest.Open(t, tables.Options{}), &outboxtest.Queue{Now: clock.Now}
		open := func() *outbox.Store {
			return outbox.New(rows, queue, outbox.Options{
				NewID: newID, Now: clock.Now, Logger: slog.New(slog.DiscardHandler), Before: crasher.Before,
			})
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
