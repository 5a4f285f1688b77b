package housekeeping_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/functions/housekeeping"
	"pinreset/shared/dispatch/dispatchtest"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

// sweeps counts looks into the outbox, and fails while it has an error.
type sweeps struct {
	n   int
	err error
}

func (s *sweeps) Sweep(context.Context) error {
	s.n++
	return s.err
}

// commits counts the commits that reach the store.
type commits struct {
	work.Store
	n int
}

func (c *commits) Commit(ctx context.Context, b work.Batch) error {
	c.n++
	return c.Store.Commit(ctx, b)
}

// TestLook: whoever looks every minute sends what is in the outbox each time, and begins the rounds when they are due; a look that
// failed begins them the next time.
func TestLook(t *testing.T) {
	t.Parallel()
	now := dispatchtest.Start
	store, err := sqlitework.Open(t.TempDir(), sqlitework.Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	n := 0
	newID := func() string { n++; return fmt.Sprintf("01%024d", n) }
	u := work.NewUnit(store, tenant.Partition, now, newID)
	if _, err := tenant.Add(u, contoso, "Contoso", events.Pinreset()); err != nil {
		t.Fatal(err)
	}
	if err := u.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	counted, swept := &commits{Store: store}, &sweeps{err: errors.New("away")}
	timer := &housekeeping.Timer{Store: counted, Outbox: swept, Now: func() time.Time { return now }, NewID: newID, Logger: slog.New(slog.DiscardHandler),
		Handler: &housekeeping.Handler{Keep: housekeeping.DefaultKeep, Schedule: housekeeping.DefaultSchedule}}
	if err := timer.Look(t.Context()); !errors.Is(err, swept.err) || counted.n != 0 {
		t.Errorf("%v, %d commits", err, counted.n)
	}
	swept.err = nil
	for _, c := range []struct {
		after time.Duration
		begun bool
	}{{0, true}, {time.Minute, false}, {time.Minute, false}, {housekeeping.DefaultSchedule.Watch, true}, {0, false}} {
		now = now.Add(c.after)
		before, looked := counted.n, swept.n
		if err := timer.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
		if begun := counted.n > before; begun != c.begun || swept.n != looked+1 {
			t.Errorf("at %s: begun %v, want %v; %d sweeps", now, begun, c.begun, swept.n-looked)
		}
	}
}
