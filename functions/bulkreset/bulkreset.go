// Package bulkreset resets the passcodes of many devices of one tenant:
//
//	asked for → its devices found through Graph, page by page → agreed? → begun a few at a time, at Graph's own pace
//	          → counted until each has ended → done
//
// It calls no device itself. Each device gets a reset like any other one, which package passcodereset carries out, on the bulk
// side of its queue and of Graph's limits, so that a reset somebody waits for overtakes it. A device whose platform has no
// passcode reset is counted and nothing is sent for it; the reset itself looks at the device once more before its call.
//
// One reminder at a time drives it, and what a run did is committed with the next reminder: a crash loses nothing and begins no
// device twice. Resets are begun about one window of Graph's limits ahead of what may be called, so that the limiter always has
// some to give a permit to and the queue holds no more of them than that.
package bulkreset

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pinreset/events"
	"pinreset/shared/diag"
	"pinreset/shared/dispatch"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/passcode"
	"pinreset/shared/work"
)

// intune is what a bulk reset needs of Graph.
type intune interface {
	DevicePage(ctx context.Context, tenant string, filter graph.DeviceFilter, after string) (devices []graph.ManagedDevice, next string, err error)
	DeviceOwners(ctx context.Context, tenant, group string) (graph.DeviceOwners, error)
	BulkWrites(graph.Family) graph.Window
}

// Handler handles bulk resets.
type Handler struct {
	Intune intune
	Store  work.Store
}

// Route binds the handler to its queue.
func (h *Handler) Route() dispatch.Route {
	return dispatch.Route{Function: "bulkreset", Queue: passcode.BulkQueue, Handlers: []dispatch.Handler{dispatch.On(h.due, h.failed)}}
}

const (
	chunk    = 80 // devices that are found in one commit
	pages    = 20 // of devices that are found in one run
	begun    = 15 // devices that are begun in one commit: six operations each, of the 98 that it has
	soonest  = 2 * time.Second
	latest   = 15 * time.Minute
	patience = 30 // devices are counted again after so small a part of the time that the bulk reset has run
)

func (h *Handler) due(ctx context.Context, u *work.Unit, e events.Event, d events.BulkResetDue) error {
	b, err := passcode.ReadBulk(ctx, u, d.RequestID)
	if errors.Is(err, work.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if b.State == passcode.BulkFailed && b.FailureCode == fault.AttemptsExhausted {
		// Its dead letter was replayed. It goes on in a run of its own: one that was overtaken by the run which failed takes its
		// message for a replay too, and this commit is refused to it.
		b.State, b.FailedIn, b.FailureCode, b.Diagnostics, b.EndedAt = b.FailedIn, "", "", "", time.Time{}
		return h.goOn(ctx, u, b, time.Time{})
	}
	if b.DueID != e.ID {
		return nil // a later reminder has taken over
	}
	switch b.State {
	case passcode.BulkFinding:
		return h.find(ctx, u, b)
	case passcode.BulkRunning, passcode.BulkCancelled:
		return h.advance(ctx, u, b)
	default:
		return nil
	}
}

// find reads the devices, and keeps each page of them before it reads the next.
func (h *Handler) find(ctx context.Context, u *work.Unit, b passcode.Bulk) error {
	var members graph.DeviceOwners
	if b.Group != "" {
		var err error
		if members, err = h.Intune.DeviceOwners(ctx, u.Partition(), b.Group); errors.Is(err, graph.ErrNotFound) {
			return fault.Permanent(fault.GroupNotFound, err)
		} else if err != nil {
			return err
		}
	}
	resumed := b.Place != ""
	if !resumed {
		b.Ineligible = 0 // a run that died after the last page has counted them already
	}
	for range pages {
		devices, next, err := h.Intune.DevicePage(ctx, u.Partition(), graph.DeviceFilter{}, b.Place)
		if verdict, ok := fault.As(err); ok && verdict.Permanent() && resumed {
			// Graph does not know its place in the list any more: from the beginning, which writes the same rows again.
			resumed, b.Place, b.Ineligible = false, "", 0
			continue
		}
		if err != nil {
			return err
		}
		resumed = false
		for _, device := range devices {
			if b.Group != "" && !members.Has(device) {
				continue
			}
			if err := h.found(ctx, u, &b, device); err != nil {
				return err
			}
		}
		if b.Place = next; next == "" {
			return h.agree(ctx, u, b)
		}
		if err := errors.Join(passcode.WriteBulk(u, b), u.Checkpoint(ctx)); err != nil {
			return fmt.Errorf("keep devices of %s: %w", b.ID, err)
		}
	}
	return h.goOn(ctx, u, b, time.Time{})
}

// found stages a device. Of those without a passcode reset a group's are kept, so that who asked sees which; of a whole tenant
// they are mostly its desktops, and are counted.
func (h *Handler) found(ctx context.Context, u *work.Unit, b *passcode.Bulk, d graph.ManagedDevice) error {
	i := passcode.Item{At: u.Now(), DeviceID: d.ID, DeviceName: d.DeviceName, User: d.UserPrincipalName, State: passcode.ItemPlanned}
	eligible := passcode.Check(passcode.Facts{OperatingSystem: d.OperatingSystem, OSVersion: d.OSVersion, EnrollmentType: d.EnrollmentType,
		ManagementAgent: d.ManagementAgent, Owner: d.OwnerType})
	if eligible.Answer == passcode.No {
		b.Ineligible++
		if b.Group == "" {
			return nil
		}
		i.State, i.Code = passcode.ItemIneligible, eligible.Code
	}
	if err := passcode.WriteItem(u, b.ID, i); err != nil {
		return err
	}
	if len(u.Batch().Writes) < chunk {
		return nil
	}
	if err := u.Checkpoint(ctx); err != nil {
		return fmt.Errorf("keep devices of %s: %w", b.ID, err)
	}
	return nil
}

// agree compares what was found with what whoever asked has seen, and starts.
func (h *Handler) agree(ctx context.Context, u *work.Unit, b passcode.Bulk) error {
	if err := errors.Join(passcode.WriteBulk(u, b), u.Checkpoint(ctx)); err != nil { // what is counted must be there
		return fmt.Errorf("keep devices of %s: %w", b.ID, err)
	}
	tally, hash, err := passcode.Count(ctx, h.Store, u.Partition(), b)
	if err != nil {
		return err
	}
	b.Tally, b.TalliedAt, b.Found = tally, u.Now(), hash
	b.CalledBy = h.calledBy(u.Now(), tally.Total, true)
	if err := passcode.WriteBulk(u, b); err != nil {
		return err
	}
	switch {
	case tally.Total > passcode.MaxBulk:
		return fault.Permanentf(fault.BulkTooLarge, "found %d devices", tally.Total)
	case b.Plan:
		b.State = passcode.BulkPlanned
		return h.end(ctx, u, b, events.BulkPlanned)
	case b.Hash != "" && b.Hash != hash, b.Count > 0 && b.Count != tally.Total:
		return fault.Permanentf(fault.BulkPlanChanged, "found %d devices, hash %s", tally.Total, hash)
	}
	b.State, b.StartedAt = passcode.BulkRunning, u.Now()
	return h.goOn(ctx, u, b, time.Time{})
}

// advance begins as many devices as Graph's limits will let through soon, or counts.
func (h *Handler) advance(ctx context.Context, u *work.Unit, b passcode.Bulk) error {
	next := latest
	if b.State == passcode.BulkRunning && !b.BegunAll {
		allowed, more := h.allowed(u.Now().Sub(b.StartedAt))
		if room := allowed - b.Begun; room > 0 {
			if err := h.begin(ctx, u, &b, min(room, begun)); err != nil {
				return err
			}
			if allowed > b.Begun {
				more = 0
			}
		}
		next = more
	}
	if u.Now().Sub(b.TalliedAt) >= soonest || next > 0 {
		tally, _, err := passcode.Count(ctx, h.Store, u.Partition(), b)
		if err != nil {
			return err
		}
		b.Tally, b.TalliedAt = tally, u.Now()
		b.CalledBy = h.calledBy(u.Now(), tally.Uncalled(), false)
		if tally.Ended() == tally.Total && (b.BegunAll || b.State == passcode.BulkCancelled) {
			if b.State == passcode.BulkCancelled {
				return passcode.WriteBulk(u, b) // its end was told when it was given up
			}
			b.State = passcode.BulkDone
			return h.end(ctx, u, b, events.BulkDone)
		}
		// With a clock that was set back since, the distance is as good.
		next = min(next, max(soonest, (u.Now().Sub(b.StartedAt).Abs()/patience).Truncate(time.Second)))
	}
	return h.goOn(ctx, u, b, u.Now().Add(next))
}

// begin stages the resets of the next devices.
func (h *Handler) begin(ctx context.Context, u *work.Unit, b *passcode.Bulk, n int) error {
	items, next, err := passcode.Items(ctx, h.Store, u.Partition(), b.ID, n, b.Place)
	if errors.Is(err, work.ErrBadPage) && b.Place != "" {
		b.Place = "" // the store gives out other tokens now: from the beginning, where nothing is begun again
		items, next, err = passcode.Items(ctx, h.Store, u.Partition(), b.ID, n, "")
	}
	if err != nil {
		return err
	}
	for _, i := range items {
		turn, err := passcode.Begin(ctx, u, *b, i.DeviceID)
		if err != nil {
			return fmt.Errorf("begin reset of %s: %w", i.DeviceID, err)
		}
		if turn {
			b.Begun++
		}
	}
	b.Place, b.BegunAll = next, next == ""
	return nil
}

// allowed is how many devices may have been begun after so long, and in how long there will be more.
func (h *Handler) allowed(after time.Duration) (n int, more time.Duration) {
	w := h.Intune.BulkWrites(graph.Devices)
	if w.Limit == 0 {
		return passcode.MaxBulk, 0
	}
	spans := after / w.Per
	return w.Limit * int(spans+2), (spans+1)*w.Per - after
}

// calledBy is when the last of n devices will have been called. fresh says that nothing of the limit is used up yet.
func (h *Handler) calledBy(now time.Time, n int, fresh bool) time.Time {
	w := h.Intune.BulkWrites(graph.Devices)
	if w.Limit == 0 || n == 0 {
		return now
	}
	if fresh {
		n = max(0, n-w.Limit)
	}
	return now.Add(time.Duration(n) * w.Per / time.Duration(w.Limit))
}

func (h *Handler) end(ctx context.Context, u *work.Unit, b passcode.Bulk, outcome string) error {
	b.EndedAt, b.DueID = u.Now(), ""
	_, err := u.Send(ctx, work.Announcements, time.Time{}, events.BulkResetEnded{RequestID: b.ID, Outcome: outcome})
	return errors.Join(err, passcode.WriteBulk(u, b))
}

// goOn stages the next reminder.
func (h *Handler) goOn(ctx context.Context, u *work.Unit, b passcode.Bulk, at time.Time) (err error) {
	if b.DueID, err = u.Send(ctx, passcode.BulkQueue.Bulk(), at, events.BulkResetDue{RequestID: b.ID}); err != nil {
		return err
	}
	return passcode.WriteBulk(u, b)
}

// failed stages the failed end of a bulk reset. Resets that were begun and not called give themselves up.
func (h *Handler) failed(ctx context.Context, u *work.Unit, d events.BulkResetDue, code fault.Code) error {
	b, err := passcode.ReadBulk(ctx, u, d.RequestID)
	if errors.Is(err, work.ErrNotFound) || err == nil && !b.Open() {
		return nil
	}
	if err != nil {
		return err
	}
	b.FailureCode, b.FailedIn, b.Diagnostics = code, b.State, diag.Link(u.Partition(), diag.IDFor(u.Partition(), b.ID))
	b.State, b.EndedAt = passcode.BulkFailed, u.Now()
	if b.Tally, _, err = passcode.Count(ctx, h.Store, u.Partition(), b); err != nil {
		return err
	}
	b.TalliedAt = u.Now()
	return passcode.WriteBulk(u, b)
}
