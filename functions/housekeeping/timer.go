package housekeeping

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"pinreset/events"
	"pinreset/shared/dispatch"
	"pinreset/shared/grant"
	"pinreset/shared/identity"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

// outbox sends what a crash left between the rows of a commit and its messages, and what was due later than the queue can wait. Stores that
// commit both in one transaction have none.
type outbox interface {
	Sweep(ctx context.Context) error
}

// Timer begins the rounds: one message for each tenant of the register. What it remembers is only what it need not do again, so it may
// be started again at any time and may run in several processes at once.
type Timer struct {
	Store   work.Store
	Outbox  outbox   // nil where the store has none
	Handler *Handler // for its schedule, and for the partitions that are no tenant's
	Now     func() time.Time
	NewID   func() string
	Logger  *slog.Logger

	mu    sync.Mutex
	begun time.Time // the rounds that were begun last
}

// longestWait is for machines that sleep and clocks that are set: timers don't count that. It is also how long what a crash left in
// the outbox waits at most, and much less than a third of what any queue can wait (SQS: a quarter of an hour), which sweeps must keep to.
const longestWait = time.Minute

// Run looks until ctx ends; the first rounds begin at once, unless they were begun before.
func (t *Timer) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := t.Look(ctx); err != nil && ctx.Err() == nil {
			t.Logger.ErrorContext(ctx, "begin housekeeping; it is tried again", "cause", err.Error())
		}
		now := t.Now()
		next := t.slot(now).Add(t.Handler.Schedule.Watch).Sub(now)
		select {
		case <-ctx.Done():
		case <-time.After(min(max(next, time.Second), longestWait)):
		}
	}
}

func (t *Timer) slot(now time.Time) time.Time { return now.UTC().Truncate(t.Handler.Schedule.Watch) }

// Look is for whoever calls it more often than rounds are due: it sends what is left in the outbox, and begins the rounds unless it
// began them before.
func (t *Timer) Look(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	slot := t.slot(t.Now())
	if slot.Equal(t.begun) {
		return t.sweep(ctx)
	}
	if err := t.Tick(ctx); err != nil {
		return err
	}
	t.begun = slot
	return nil
}

func (t *Timer) sweep(ctx context.Context) error {
	if t.Outbox == nil {
		return nil
	}
	return t.Outbox.Sweep(ctx)
}

// Tick sends what is left in the outbox, begins the rounds that are due now, and tidies the partitions that are no tenant's.
// A round that was begun before is not begun again.
func (t *Timer) Tick(ctx context.Context) error {
	if err := t.sweep(ctx); err != nil {
		return err
	}
	page := ""
	for {
		tenants, next, err := tenant.List(ctx, t.Store, maxStaged/2, page)
		if err != nil {
			return err
		}
		if err := t.begin(ctx, tenants); err != nil {
			return err
		}
		if page = next; page == "" {
			break
		}
	}
	for _, partition := range []string{tenant.Partition, identity.Partition, identity.SessionPartition, grant.PeoplePartition, dispatch.SystemPartition} {
		if err := t.tidy(ctx, partition); err != nil {
			return fmt.Errorf("tidy %s: %w", partition, err)
		}
	}
	return nil
}

// begin sends both rounds' messages to the tenants in one commit. A message that was sent before changes nothing.
func (t *Timer) begin(ctx context.Context, tenants []tenant.Tenant) error {
	u := work.NewUnit(t.Store, tenant.Partition, t.Now(), t.NewID)
	for _, one := range tenants {
		for _, round := range []struct {
			name  string
			every time.Duration
			task  task
		}{
			{roundWatch, t.Handler.Schedule.Watch, t.Handler.watch()[0]},
			{roundRetention, t.Handler.Schedule.Retention, t.Handler.retention()[0]},
		} {
			id := fmt.Sprintf("housekeeping.%s.%d", round.name, u.Now().Truncate(round.every).Unix())
			err := u.Forward(Queue.Bulk(), time.Time{}, events.Event{ID: id, Tenant: one.ID, Time: u.Now(),
				Data: events.HousekeepingDue{RequestID: id, Task: round.task.name}})
			if err != nil {
				return err
			}
		}
	}
	return u.Commit(ctx)
}

// tidy applies the retention to a partition that no message can be for, because it is no tenant's. There is little in it.
func (t *Timer) tidy(ctx context.Context, partition string) error {
	for _, task := range t.Handler.retention() {
		page := ""
		for {
			u := work.NewUnit(t.Store, partition, t.Now(), t.NewID)
			next, _, err := task.do(ctx, u, page)
			if err == nil {
				err = u.Commit(ctx)
			}
			// A row changed meanwhile: it is looked at in the next round.
			if err != nil && !errors.Is(err, work.ErrConflict) {
				return err
			}
			if page = next; page == "" {
				break
			}
		}
	}
	return nil
}
