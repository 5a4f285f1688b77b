package tables_test

import (
	"errors"
	"fmt"
	"io"
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

// clock is a clock that stands until it is moved.
type clock struct{ now atomic.Pointer[time.Time] }

func newClock() *clock {
	c := &clock{}
	start := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	c.now.Store(&start)
	return c
}

func (c *clock) Now() time.Time { return *c.now.Load() }

func (c *clock) advance(d time.Duration) {
	later := c.Now().Add(d)
	c.now.Store(&later)
}

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
		clock := newClock()
		rows, queue := tablestest.Open(t, tables.Options{}), &outboxtest.Queue{Now: clock.Now}
		var crash atomic.Pointer[string]
		newID := numbered()
		open := func() *outbox.Store {
			return outbox.New(rows, queue, outbox.Options{
				NewID: newID, Now: clock.Now, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
				Before: func(step string) error {
					if at := crash.Load(); at != nil && *at == step && crash.CompareAndSwap(at, nil) {
						return errors.New("the process died")
					}
					return nil
				},
			})
		}
		s := open()
		return worktest.Backend{
			Store: s, Source: s, Lease: time.Minute, Now: clock.Now,
			Advance: func(d time.Duration) { clock.advance(d); queue.Wake() },
			Reopen: func(*testing.T) worktest.Backend {
				s := open()
				return worktest.Backend{Store: s, Source: s}
			},
			Steps: []string{outbox.StepRows, outbox.StepMessages, outbox.StepSettle, outbox.StepClear},
			Crash: func(step string) { crash.Store(&step) },
			Sweep: s.Sweep,
		}
	})
}
