package housekeeping

import (
	"context"
	"encoding/json"
	"errors"

	"pinreset/events"
	"pinreset/shared/rollout"
	"pinreset/shared/work"
)

// rollouts looks for rollouts and rollbacks whose next step is overdue, as lookAt does for resets.
func (h *Handler) rollouts(ctx context.Context, u *work.Unit, page string) (next string, looked int, err error) {
	p, err := u.List(ctx, rollout.Prefix, pageOf(2), page)
	if err != nil {
		return "", 0, err
	}
	for _, row := range p.Rows {
		var r rollout.Rollout
		if err := json.Unmarshal(row.Value, &r); err != nil {
			note(ctx, u, "%s can't be read and is left as it is", row.Row)
			continue
		}
		if !r.Open() {
			continue
		}
		if err := h.goOnWith(ctx, u, r); err != nil {
			return "", 0, err
		}
	}
	return p.Next, len(p.Rows), nil
}

// goOnWith reminds of a rollout whose reminder, or whose own request, was lost. A reminder makes it go on from wherever it is.
func (h *Handler) goOnWith(ctx context.Context, u *work.Unit, r rollout.Rollout) error {
	due := r.RequestedAt
	if r.Rollback != nil && r.Rollback.RequestedAt.After(due) {
		due = r.Rollback.RequestedAt
	}
	if r.NextCheck.After(due) {
		due = r.NextCheck
	}
	n := h.times(u.Now(), due)
	if n == 0 {
		return nil
	}
	reminder := events.PolicyRolloutCheckDue{RequestID: r.Run(), RolloutID: r.ID}
	if n == 1 && r.CheckID != "" {
		again(ctx, u, rollout.Queue, r.CheckID, due, reminder)
		return nil
	}
	id := againID("rollout", r.Run(), due, n)
	fresh, err := rollout.Read(ctx, u, r.ID)
	if errors.Is(err, work.ErrNotFound) || err == nil && (fresh.State != r.State || fresh.CheckID != r.CheckID || !fresh.NextCheck.Equal(r.NextCheck)) {
		return nil // it went on meanwhile
	}
	if err != nil || fresh.CheckID == id {
		return err
	}
	fresh.CheckID = id
	again(ctx, u, rollout.Queue, id, due, reminder)
	return rollout.Write(u, fresh)
}

// oldRollouts forgets rollouts that ended long ago. The one that stands is kept: whoever takes it back must know what it did.
func (h *Handler) oldRollouts(ctx context.Context, u *work.Unit, page string) (next string, looked int, err error) {
	p, err := u.List(ctx, rollout.Prefix, pageOf(1), page)
	if err != nil {
		return "", 0, err
	}
	for _, row := range p.Rows {
		var r rollout.Rollout
		if json.Unmarshal(row.Value, &r) != nil || r.EndedAt.IsZero() || u.Now().Sub(r.EndedAt) < h.Keep.History {
			continue
		}
		fresh, err := rollout.Read(ctx, u, r.ID)
		if errors.Is(err, work.ErrNotFound) || err == nil && !fresh.EndedAt.Equal(r.EndedAt) {
			continue // a dead letter of it was replayed meanwhile
		}
		if err != nil {
			return "", 0, err
		}
		if _, err := rollout.Forget(ctx, u, fresh); err != nil {
			return "", 0, err
		}
	}
	return p.Next, len(p.Rows), nil
}
