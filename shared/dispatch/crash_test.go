package dispatch_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/shared/diag"
	"pinreset/shared/dispatch"
	"pinreset/shared/dispatch/dispatchtest"
	"pinreset/shared/fault"
	"pinreset/shared/work"
)

type counter struct {
	N int `json:"n"`
}

func increment(ctx context.Context, u *work.Unit, row string) error {
	var c counter
	if err := u.Get(ctx, row, &c); err != nil && !errors.Is(err, work.ErrNotFound) {
		return err
	}
	c.N++
	return u.Put(row, c)
}

// TestCrashAtEveryBoundary lets the process die at each boundary between two effects of a handler with two rows and one
// message, on a store that commits at once and on one that commits in the steps of table storage and a queue: everything
// happens exactly once.
func TestCrashAtEveryBoundary(t *testing.T) {
	t.Parallel()
	for _, end := range []struct {
		name string
		err  func(run int) error
		// what is there in the end
		rows, followed, failures int
	}{
		{"done", func(int) error { return nil }, 1, 1, 0},
		{"waits, then done", func(n int) error {
			if n == 0 {
				return fault.After(time.Minute, fault.WaitingForDevice, nil)
			}
			return nil
		}, 2, 2, 0},
		{"fails", func(int) error { return fault.Permanent(fault.DeviceNotFound, nil) }, 0, 0, 1},
	} {
		t.Run(end.name, func(t *testing.T) {
			t.Parallel()
			dispatchtest.EachCrash(t, 2, 2, func(t *testing.T, torn bool, n int) (int, string) {
				b := dispatchtest.New(t, torn)
				b.Serve(dispatch.Route{Function: "passcodereset", Queue: queue, Handlers: []dispatch.Handler{
					dispatch.On(func(ctx context.Context, u *work.Unit, _ events.Event, d events.PasscodeResetRequested) error {
						var waited counter
						if err := u.Get(ctx, "left", &waited); err != nil && !errors.Is(err, work.ErrNotFound) {
							return err
						}
						_, err := u.Send(ctx, queue, time.Time{}, events.PasscodeExpiryDue{RequestID: d.RequestID, DeviceID: d.DeviceID})
						return errors.Join(increment(ctx, u, "left"), increment(ctx, u, "right"), err, end.err(waited.N))
					}, func(ctx context.Context, u *work.Unit, _ events.PasscodeResetRequested, _ fault.Code) error {
						return increment(ctx, u, "end")
					}),
					dispatch.On(func(ctx context.Context, u *work.Unit, _ events.Event, _ events.PasscodeExpiryDue) error {
						return increment(ctx, u, "followed")
					}, nil),
				}})
				u := b.Unit(contoso)
				_, err := u.Send(t.Context(), queue, time.Time{}, asked(request))
				if err := errors.Join(err, u.Commit(t.Context())); err != nil {
					t.Fatal(err)
				}
				b.CrashAt(n)
				b.Drain(dispatchtest.Start.Add(24 * time.Hour))
				passed, crashed := b.Boundaries()
				for row, want := range map[string]int{"left": end.rows, "right": end.rows, "followed": end.followed, "end": end.failures} {
					var c counter
					if err := b.Unit(contoso).Get(t.Context(), row, &c); err != nil && !errors.Is(err, work.ErrNotFound) {
						t.Fatal(err)
					}
					if c.N != want {
						t.Errorf("crash %d (%s): %s happened %d times, want %d", n, crashed, row, c.N, want)
					}
				}
				p, err := b.Store().List(t.Context(), work.Query{Partition: contoso, Prefix: diag.FailurePrefix})
				if err != nil || len(p.Rows) != end.failures {
					t.Errorf("crash %d (%s): %d failures, want %d: %v", n, crashed, len(p.Rows), end.failures, err)
				}
				if got := announced(b); got != end.failures {
					t.Errorf("crash %d (%s): %d announcements, want %d", n, crashed, got, end.failures)
				}
				return passed, crashed
			})
		})
	}
}

// announced counts the announcements by taking what a route of their own is handed.
func announced(b *dispatchtest.Bench) int {
	b.T.Helper()
	n := 0
	b.Serve(dispatch.Route{Function: "announcement", Queue: work.Announcements, Handlers: []dispatch.Handler{
		dispatch.On(func(context.Context, *work.Unit, events.Event, events.FailureRaised) error { n++; return nil }, nil)}})
	b.CrashAt(0)
	b.Drain(b.Clock.Now().Add(time.Minute))
	return n
}
