package housekeeping

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"pinreset/events"
	"pinreset/shared/onboarding"
	"pinreset/shared/passcode"
	"pinreset/shared/work"
)

// watch are the tasks of the frequent round.
func (h *Handler) watch() []task {
	return []task{{"resets", h.resets}, {"consent", h.consent}, {"rollouts", h.rollouts}, {"keys", h.keys}}
}

// resets looks for resets whose next step is overdue.
func (h *Handler) resets(ctx context.Context, u *work.Unit, page string) (next string, looked int, err error) {
	p, err := u.List(ctx, passcode.ResetPrefix, pageOf(2), page)
	if err != nil {
		return "", 0, err
	}
	for _, row := range p.Rows {
		var r passcode.Reset
		if err := json.Unmarshal(row.Value, &r); err != nil {
			note(ctx, u, "%s can't be read and is left as it is", row.Row)
			continue
		}
		if r.State == passcode.Issued {
			h.expire(ctx, u, r)
		} else if r.State == passcode.Accepted {
			h.begin(ctx, u, r)
		} else if r.Open() {
			if err := h.lookAt(ctx, u, r); err != nil {
				return "", 0, err
			}
		}
	}
	return p.Next, len(p.Rows), nil
}

// expire reminds of a code that should have been destroyed. Its key may be gone already: see keys.
func (h *Handler) expire(ctx context.Context, u *work.Unit, r passcode.Reset) {
	if n := h.times(u.Now(), r.ExpiresAt); n > 0 {
		again(ctx, u, passcode.Queue.Bulk(), againID("expire", r.ID, r.ExpiresAt, n), r.ExpiresAt,
			events.PasscodeExpiryDue{RequestID: r.ID, DeviceID: r.DeviceID})
	}
}

// begin asks again for a reset that was accepted and has not been called. Two such messages are harmless: only one of their
// runs can commit the intent.
func (h *Handler) begin(ctx context.Context, u *work.Unit, r passcode.Reset) {
	due := r.RequestedAt
	if r.NextCheck.After(due) {
		due = r.NextCheck
	}
	if n := h.times(u.Now(), due); n > 0 {
		again(ctx, u, r.Queue(), againID("begin", r.ID, due, n), due, events.PasscodeResetRequested{
			RequestID: r.ID, DeviceID: r.DeviceID, Reason: r.Reason, Ticket: r.Ticket, By: r.By})
	}
}

// lookAt reminds of a reset that was called and is to be looked at. The first time the reminder is sent under the id it had:
// that adds nothing when it is only late. From the second time on it is a new one that takes its place.
func (h *Handler) lookAt(ctx context.Context, u *work.Unit, r passcode.Reset) error {
	due := r.NextCheck
	if due.IsZero() {
		due = r.CalledAt // the run that made the call never came to its end
	}
	n := h.times(u.Now(), due)
	if n == 0 {
		return nil
	}
	reminder := events.PasscodeResetCheckDue{RequestID: r.ID, DeviceID: r.DeviceID}
	if n == 1 && r.CheckID != "" {
		again(ctx, u, r.Queue(), r.CheckID, due, reminder)
		return nil
	}
	id := againID("look", r.ID, due, n)
	fresh, err := passcode.Read(ctx, u, r.ID)
	if errors.Is(err, work.ErrNotFound) || err == nil && (fresh.State != r.State || fresh.CheckID != r.CheckID || !fresh.NextCheck.Equal(r.NextCheck)) {
		return nil // it went on meanwhile
	}
	if err != nil || fresh.CheckID == id {
		return err
	}
	fresh.CheckID = id
	again(ctx, u, r.Queue(), id, due, reminder)
	return passcode.Write(u, fresh)
}

// consent reminds of a consent run whose look at the directory is overdue, as lookAt does.
func (h *Handler) consent(ctx context.Context, u *work.Unit, _ string) (next string, looked int, err error) {
	c, err := onboarding.Read(ctx, u)
	if errors.Is(err, work.ErrNotFound) || err == nil && c.State != onboarding.Pending {
		return "", 1, nil
	}
	if err != nil {
		return "", 0, err
	}
	n := h.times(u.Now(), c.NextCheck)
	if n == 0 {
		return "", 1, nil
	}
	id := c.CheckID
	if n > 1 || id == "" {
		id = againID("consent", c.RequestID, c.NextCheck, n)
		if c.CheckID == id {
			return "", 1, nil
		}
		c.CheckID = id
		if err := onboarding.Write(u, c); err != nil {
			return "", 0, err
		}
	}
	again(ctx, u, onboarding.Queue, id, c.NextCheck, events.ConsentCheckDue{RequestID: c.RequestID})
	return "", 1, nil
}

// keys destroys the keys of codes that have expired and those without a code. It is what makes a code unreadable for ever
// when everything else about its expiry was lost.
func (h *Handler) keys(ctx context.Context, u *work.Unit, page string) (next string, looked int, err error) {
	destroyed, next, err := h.Vault.Sweep(ctx, u.Partition(), page, func(ctx context.Context, request, id string) (bool, error) {
		r, err := passcode.Read(ctx, u, request)
		if errors.Is(err, work.ErrNotFound) {
			return false, nil
		}
		return err == nil && r.Code != nil && r.Code.ID == id, err
	})
	if destroyed > 0 {
		note(ctx, u, "destroyed %d keys that had expired or that no code needed", destroyed)
	}
	return next, destroyed, err
}

// times returns how often a reminder that was due at the time should have been sent again by now: once after Grace, and
// once more whenever the delay has doubled.
func (h *Handler) times(now, due time.Time) int {
	n, late := 0, now.Sub(due)
	for wait := h.Schedule.Grace; late >= wait && n < 40; wait *= 2 {
		n++
	}
	return n
}

// againID names the n-th reminder in place of one that was due at the time. The same reminder has the same id, and is sent
// once; when another one of the same request is lost later, that has another.
func againID(what, request string, due time.Time, n int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d\x00%d", what, request, due.UnixMicro(), n))
	return "again." + hex.EncodeToString(sum[:16])
}

// again stages a reminder in place of one that was due at the time. One that can't be sent must not keep the others from it.
func again(ctx context.Context, u *work.Unit, q work.Queue, id string, due time.Time, data events.Data) {
	e := events.Event{ID: id, Tenant: u.Partition(), Time: u.Now(), TraceParent: events.TraceFrom(ctx), Data: data}
	if err := u.Forward(q, time.Time{}, e); err != nil {
		note(ctx, u, "%s of %s is overdue and can't be sent again: %v", data.Kind(), data.Request(), err)
		return
	}
	note(ctx, u, "%s of %s was due at %s: sent again", data.Kind(), data.Request(), due.UTC().Format(time.RFC3339))
}
