package servicebus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"pinreset/shared/work/outbox"
	"pinreset/shared/work/outbox/outboxtest"
	"pinreset/shared/work/servicebus/servicebustest"
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

// TestConformance: rows in memory and messages on the model of the service keep the contract, a commit cut at any step included.
func TestConformance(t *testing.T) {
	t.Parallel()
	worktest.Run(t, func(t *testing.T) worktest.Backend {
		return compose(t, &outboxtest.Rows{})
	})
}

// TestConformanceOverTables: the same with the rows in Table storage, as in production.
func TestConformanceOverTables(t *testing.T) {
	t.Parallel()
	worktest.Run(t, func(t *testing.T) worktest.Backend {
		return compose(t, tablestest.Open(t, tables.Options{}))
	})
}

// compose puts the rows and a server of their own together, on a clock that stands until it is moved.
func compose(t *testing.T, rows outbox.Rows) worktest.Backend {
	clock := servicebustest.NewManualClock(time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC))
	c := servicebustest.Config{Clock: clock}
	for _, q := range worktest.Queues {
		c.Queues = append(c.Queues, servicebustest.Queue{
			Name: string(q), DuplicateWindow: 10 * time.Minute,
			Delivery: servicebustest.Delivery{LockDuration: lock, MaxDeliveryCount: 1000},
		})
	}
	server := servicebustest.New(t, c)
	b := outboxOver(t, rows, Options{ConnectionString: server.ConnectionString(), Now: clock.Now})
	b.Lease, b.Now, b.Advance = lock, clock.Now, clock.Advance
	return b
}

// outboxOver is a backend of the rows and the namespace that the options name. Its Reopen is another process.
func outboxOver(t *testing.T, rows outbox.Rows, o Options) worktest.Backend {
	var crash atomic.Pointer[string]
	newID := numbered()
	open := func() *outbox.Store {
		bus, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := bus.Close(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		})
		return outbox.New(rows, bus, outbox.Options{
			NewID: newID, Now: o.Now, Logger: slog.New(slog.DiscardHandler),
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
		Store: s, Source: s,
		Reopen: func(*testing.T) worktest.Backend {
			s := open()
			return worktest.Backend{Store: s, Source: s}
		},
		Steps: []string{outbox.StepRows, outbox.StepMessages, outbox.StepSettle, outbox.StepClear},
		Crash: func(step string) { crash.Store(&step) },
		Sweep: s.Sweep,
	}
}
