// Package housekeeping keeps a tenant's partition in order, a little at a time, behind everybody's work:
//
//	watch      every quarter of an hour: codes past their expiry, keys that nothing needs, requests that came to a standstill
//	retention  once a day: history that is older than it is kept; subscriptions to Graph are asked to be looked after
//
//	timer → one message for each tenant and round → a page of rows → … the rest by a follow-up message
//
// It is the second line throughout. A code expires by a reminder of its own, a reset goes on by the reminders it sends itself;
// housekeeping finds those whose reminder was lost and sends it again, so that the one handler that knows what to do does it:
// the request goes on, or fails with its page.
//
// A round is named by the time it is due, and so is its message: whoever sends it again, after a restart or from a second
// process, adds nothing. Nothing here re-schedules itself, so there is no chain that could break. What a message stages is
// committed with it, in at most a page's writes; a crash between two pages costs nothing.
package housekeeping

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pinreset/events"
	"pinreset/shared/diag"
	"pinreset/shared/dispatch"
	"pinreset/shared/fault"
	"pinreset/shared/work"
)

// Queue is where housekeeping waits; its messages go to the bulk side.
const Queue work.Queue = "housekeeping"

// Schedule says when housekeeping is done. The intervals are of the wall clock, in UTC.
type Schedule struct {
	Watch     time.Duration // between two rounds of the watch
	Retention time.Duration // between two rounds of the retention
	// Grace is how late a reminder must be before it counts as lost. It is longer than a message takes through all its
	// attempts. When the reminder that was sent in its place is late too, the next one follows at twice the delay, and so on: a
	// queue that is hours behind gets a handful of messages more, not one every round.
	Grace time.Duration
}

// DefaultSchedule finds a lost reminder within half an hour.
var DefaultSchedule = Schedule{Watch: 15 * time.Minute, Retention: 24 * time.Hour, Grace: 10 * time.Minute}

// vault destroys keys that nothing needs.
type vault interface {
	Sweep(ctx context.Context, tenant, page string, needed func(ctx context.Context, request, id string) (bool, error)) (destroyed int, next string, err error)
}

// Handler handles a tenant's rounds.
type Handler struct {
	Vault    vault
	Keep     Keep
	Schedule Schedule
}

// Route binds the handler to its queue. It panics when something would be kept for no time at all, or looked at without a
// pause.
func (h *Handler) Route() dispatch.Route {
	if h.Keep.Audit <= 0 || h.Keep.History <= 0 || h.Keep.Feed <= 0 || h.Schedule.Grace <= 0 {
		panic(fmt.Sprintf("housekeeping: keep %+v, schedule %+v", h.Keep, h.Schedule))
	}
	return dispatch.Route{Function: "housekeeping", Queue: Queue, Handlers: []dispatch.Handler{dispatch.On(h.due, nil)}}
}

// task does one page of one kind of work in the unit's partition. It returns where to go on, "" when it is done, and how many
// rows it looked at.
type task struct {
	name string
	do   func(ctx context.Context, u *work.Unit, page string) (next string, looked int, err error)
}

// Rounds, as in the ids of their messages.
const (
	roundWatch     = "watch"
	roundRetention = "retention"
)

// Bounds of what one message does.
const (
	// maxStaged leaves room, below the limits of one transaction, for what dispatch adds.
	maxStaged = 80
	// maxLooked keeps a run short where there is nothing to do.
	maxLooked = 2000
)

// pageOf is how many rows a page may have, each of which stages at most the number of writes and messages.
func pageOf(each int) int { return maxStaged / each }

// due goes through the tasks from the one named on. It ends with the first page that staged something, so that each page's
// work is a commit of its own.
func (h *Handler) due(ctx context.Context, u *work.Unit, _ events.Event, d events.HousekeepingDue) error {
	tasks, place := h.find(d.Task)
	if place < 0 {
		return fault.Permanentf(fault.MessageInvalid, "housekeeping has no task %s", d.Task)
	}
	page, looked := d.Page, 0
	for ; place < len(tasks); place++ {
		for {
			next, n, err := tasks[place].do(ctx, u, page)
			if errors.Is(err, work.ErrBadPage) && page != "" {
				page = "" // the store gives out other tokens now: from the beginning, which repeats nothing that was done
				continue
			}
			if err != nil {
				return fmt.Errorf("housekeeping, %s: %w", tasks[place].name, err)
			}
			page, looked = next, looked+n
			if staged(u) > 0 || looked >= maxLooked {
				return goOn(ctx, u, d, tasks, place, page)
			}
			if page == "" {
				break
			}
		}
	}
	return nil
}

// goOn stages the message for what is left of the round.
func goOn(ctx context.Context, u *work.Unit, d events.HousekeepingDue, tasks []task, place int, page string) error {
	if page == "" {
		place++
	}
	if place == len(tasks) {
		return nil
	}
	_, err := u.Send(ctx, Queue.Bulk(), time.Time{}, events.HousekeepingDue{RequestID: d.RequestID, Task: tasks[place].name, Page: page})
	return err
}

// find returns the round that has the task, and the task's place in it; -1 when there is none.
func (h *Handler) find(name string) ([]task, int) {
	for _, tasks := range [][]task{h.watch(), h.retention()} {
		if i := slices.IndexFunc(tasks, func(t task) bool { return t.name == name }); i >= 0 {
			return tasks, i
		}
	}
	return nil, -1
}

func staged(u *work.Unit) int {
	b := u.Batch()
	return len(b.Writes) + len(b.Messages)
}

// note says on the round's record what was done.
func note(ctx context.Context, u *work.Unit, format string, args ...any) {
	diag.Decide(ctx, u.Now(), fmt.Sprintf(format, args...))
}
