package tenantaudit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"pinreset/events"
	"pinreset/shared/survey"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

// DefaultCron audits every tenant four times a day.
const DefaultCron = "0 0 */6 * * *"

// Timer begins the scheduled runs, and sends what is left to be sent of any run: one message for each tenant, and nothing more.
// It remembers nothing itself, so it may be started again at any time and may run in several processes at once: a run is
// named by the time it is due, and its place in the register is in the store.
type Timer struct {
	Store  work.Store
	Cron   Cron
	Now    func() time.Time
	NewID  func() string
	Logger *slog.Logger
	// Since keeps a process that starts for the first time from making up for what was due before it; the zero time makes up for it. A
	// restart makes up for what was missed, whatever it is.
	Since time.Time
	// Wake, where it is set, makes the timer look at once: somebody has asked for a run.
	Wake <-chan struct{}
}

// longestWait is for machines that sleep and clocks that are set: timers don't count that.
const longestWait = time.Minute

// Run begins and sends runs until ctx ends.
func (t *Timer) Run(ctx context.Context) {
	for ctx.Err() == nil {
		wait := longestWait
		if err := t.Tick(ctx); err != nil && ctx.Err() == nil {
			t.Logger.ErrorContext(ctx, "begin audits; it is tried again", "cause", err.Error())
			wait = time.Second
		} else if next := t.Cron.Next(t.Now()); !next.IsZero() {
			wait = min(max(next.Sub(t.Now()), 10*time.Millisecond), longestWait)
		}
		select {
		case <-ctx.Done():
		case <-t.Wake:
		case <-time.After(wait):
		}
	}
}

// Woken looks each time that Wake is told, until ctx ends: for hosts whose own timer calls Tick.
func (t *Timer) Woken(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.Wake:
			if err := t.Tick(ctx); err != nil && ctx.Err() == nil {
				t.Logger.ErrorContext(ctx, "begin audits; the next tick tries again", "cause", err.Error())
			}
		}
	}
}

// Tick begins the run that is due last, unless it was begun before, and sends every run that is not sent. A schedule that was
// missed while nothing ran is made up for once.
func (t *Timer) Tick(ctx context.Context) error {
	if due := t.Cron.Last(t.Now()); !due.IsZero() {
		if begun, err := t.everBegun(ctx); err != nil {
			return err
		} else if begun || !due.Before(t.Since) {
			if err := t.begin(ctx, due); err != nil {
				return err
			}
		}
	}
	for page := ""; ; {
		runs, next, err := survey.Runs(ctx, t.Store, 100, page)
		if err != nil {
			return err
		}
		for _, r := range runs {
			if err := t.send(ctx, r); err != nil {
				return fmt.Errorf("send run %s: %w", r.ID, err)
			}
		}
		if page = next; page == "" {
			return nil
		}
	}
}

func (t *Timer) unit() *work.Unit {
	return work.NewUnit(t.Store, tenant.Partition, t.Now(), t.NewID)
}

// everBegun reports whether there was a run of the schedule before.
func (t *Timer) everBegun(ctx context.Context) (bool, error) {
	for page := ""; ; {
		runs, next, err := survey.Runs(ctx, t.Store, 100, page)
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(runs, func(r survey.Run) bool { return r.Cause == events.AuditBySchedule }) {
			return true, nil
		}
		if page = next; page == "" {
			return false, nil
		}
	}
}

// begin starts the run of a time of the schedule. Its id is the time's, so that it is begun once. It begins as a ULID does, so that
// reports of scheduled audits and of others sort by time together.
func (t *Timer) begin(ctx context.Context, due time.Time) error {
	id := ulidAt(due)
	switch _, err := survey.ReadRun(ctx, t.unit(), id); {
	case err == nil:
		return nil
	case !errors.Is(err, work.ErrNotFound):
		return err
	}
	u := t.unit()
	if _, err := survey.StartRun(u, id, events.AuditBySchedule, "", events.Pinreset()); err != nil {
		return err
	}
	if err := u.Commit(ctx); err != nil && !errors.Is(err, work.ErrConflict) {
		return err
	}
	return nil
}

// send sends what is left of a run, page after page, each in a commit of its own.
func (t *Timer) send(ctx context.Context, r survey.Run) error {
	for !r.Sent {
		u := t.unit()
		var err error
		if r, err = survey.Send(ctx, t.Store, u, r.ID); err != nil {
			return err
		}
		switch err := u.Commit(ctx); {
		case errors.Is(err, work.ErrConflict):
			r.Sent = false // another process sends it too: go on from where it is
		case err != nil:
			return err
		}
	}
	return nil
}

// ulidAt is the ULID of a moment without anything random: 48 bits of milliseconds, then zeros.
func ulidAt(at time.Time) string {
	const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	id := []byte("00000000000000000000000000")
	for i, ms := 9, at.UnixMilli(); i >= 0; i, ms = i-1, ms>>5 {
		id[i] = crockford[ms&31]
	}
	return string(id)
}
