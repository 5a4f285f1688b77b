// Package portalaction makes events of what people do in Intune's own portal:
//
//	record → Reset passcode, by somebody else → adopted: followed to its end like one of ours, and nothing ever sent for it
//	       → Reset passcode, while one of ours has not ended → noted there, and operators are warned
//	       → a policy or a service principal was changed → the tenant's audit, at once
//	       → anything else → kept and counted
//
// Records come from outside, by POST /v1/events or the queue, and by reading the audit log for those that nobody sent. Each has
// an id, is kept under it, and is taken once however often and by whichever way it comes. Package portal says what a record
// looks like and what of that is assumed. Nothing in a record is an error.
//
// It does not believe a record: who sends one can make pinreset read a device, and no more. A code is only ever taken from the
// device's own results in Graph.
package portalaction

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/shared/diag"
	"pinreset/shared/dispatch"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/passcode"
	"pinreset/shared/portal"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

// intune is what the function needs of Graph.
type intune interface {
	ManagedDevice(ctx context.Context, tenant, id string) (graph.ManagedDevice, error)
	AuditRecords(ctx context.Context, tenant string, since time.Time) iter.Seq2[json.RawMessage, error]
}

// Handler handles records.
type Handler struct {
	Intune intune
	Store  work.Store // for the register of tenants
	Own    []string   // client ids of our applications
	// Audit stages the request of the unit's tenant's audit, due at the time. Nil asks for none.
	Audit func(ctx context.Context, u *work.Unit, due time.Time) error
	// Counted, where it is set, is told of each record that was kept and what was made of it, once.
	Counted func(portal.Decision)
}

// Route binds the handler to its queue.
func (h *Handler) Route() dispatch.Route {
	return dispatch.Route{Function: "portalaction", Queue: portal.Queue, Handlers: []dispatch.Handler{
		dispatch.On(h.recorded, nil),
		dispatch.On(h.catchUp, nil),
	}}
}

const (
	// codeLife is how long Intune's portal shows a code (page "Reset the passcode on Windows, iOS and Android devices").
	codeLife = 7 * 24 * time.Hour
	// pause is the least time between two audits that records ask for: a change in the portal makes several of them.
	pause = time.Minute
	// overlap is read again each time, because records may show up late and in any order.
	overlap = time.Hour
	// ahead is how far Microsoft's clock may be before ours for a record to be believed.
	ahead = 10 * time.Minute
	// maxNew is how many records one run of a catch-up takes.
	maxNew = 200
)

// recorded takes the records of one message, each in a commit of its own.
func (h *Handler) recorded(ctx context.Context, u *work.Unit, _ events.Event, d events.PortalActionRecorded) error {
	if _, err := tenant.Get(ctx, h.Store, u.Partition()); errors.Is(err, work.ErrNotFound) {
		return fault.Permanent(fault.TenantUnknown, err)
	} else if err != nil {
		return err
	}
	for _, r := range portal.Parse(json.RawMessage(d.Record)) {
		if _, err := h.take(ctx, u, r); err != nil {
			return err
		}
	}
	return nil
}

// catchUp reads the audit log from where it was read to, and takes what is new in it.
func (h *Handler) catchUp(ctx context.Context, u *work.Unit, _ events.Event, d events.PortalCatchUpDue) error {
	mark, err := portal.ReadMark(ctx, u)
	if err != nil {
		return err
	}
	since := mark.Through.Add(-overlap)
	if oldest := u.Now().Add(-codeLife); since.Before(oldest) {
		since = oldest
	}
	latest, taken := mark.Through, 0
	for raw, err := range h.Intune.AuditRecords(ctx, u.Partition(), since) {
		if err != nil {
			return err
		}
		if taken == maxNew {
			_, err := u.Send(ctx, portal.Queue.Bulk(), time.Time{}, events.PortalCatchUpDue{RequestID: d.RequestID})
			return err
		}
		for _, r := range portal.Parse(raw) {
			isNew, err := h.take(ctx, u, r)
			if err != nil {
				return err
			}
			if isNew {
				taken++
			}
			if r.At.After(latest) && !r.At.After(u.Now()) {
				latest = r.At
			}
		}
	}
	if taken > 0 {
		diag.Decide(ctx, u.Now(), fmt.Sprintf("found %d records that had not come by themselves", taken))
	}
	if mark, err = portal.ReadMark(ctx, u); err != nil || !latest.After(mark.Through) {
		return err
	}
	mark.Through = latest
	return portal.WriteMark(u, mark)
}

// take commits what follows from the record, with the record itself, and counts it then: a run that comes to nothing has counted
// nothing. One that was taken before is not taken again.
func (h *Handler) take(ctx context.Context, u *work.Unit, r portal.Record) (isNew bool, err error) {
	if seen, err := portal.Seen(ctx, u, r); err != nil || seen {
		return false, err
	}
	decision, reset, err := h.decide(ctx, u, r)
	if err != nil {
		return false, err
	}
	diag.Decide(ctx, u.Now(), fmt.Sprintf("record %s of Intune's audit log: %s", r.ID, decision))
	if err := portal.Keep(ctx, u, r, decision, reset); err != nil {
		return false, err
	}
	if err := u.Checkpoint(ctx); err != nil {
		return false, fmt.Errorf("keep record %s: %w", r.ID, err)
	}
	if h.Counted != nil {
		h.Counted(decision)
	}
	return true, nil
}

func (h *Handler) decide(ctx context.Context, u *work.Unit, r portal.Record) (_ portal.Decision, reset string, err error) {
	own := slices.ContainsFunc(h.Own, func(id string) bool { return id != "" && strings.EqualFold(id, r.Actor.AppID) })
	switch kind := r.Kind(); {
	case r.Tenant != "" && r.Tenant != u.Partition():
		return portal.Elsewhere, "", nil
	case kind == portal.Other:
		return portal.Ignored, "", nil
	case own:
		return portal.Own, "", nil
	case !r.Succeeded():
		return portal.Refused, "", nil
	case kind == portal.ResetPasscode:
		return h.reset(ctx, u, r)
	default:
		return portal.Audited, "", h.audit(ctx, u)
	}
}

// reset follows a reset that somebody else has started.
func (h *Handler) reset(ctx context.Context, u *work.Unit, r portal.Record) (_ portal.Decision, reset string, err error) {
	switch {
	case r.Device() == "" || r.At.IsZero() || r.At.After(u.Now().Add(ahead)):
		return portal.Ignored, "", nil // a reset of tomorrow would be waited for, and no other begun on the device meanwhile
	case !u.Now().Before(r.At.Add(codeLife)):
		return portal.TooOld, "", nil
	}
	f := passcode.Foreign{RecordID: r.ID, DeviceID: r.Device(), StartedAt: r.At, By: r.Actor.Name()}
	kept, err := passcode.ReadDevice(ctx, u, f.DeviceID)
	if err != nil {
		return "", "", err
	}
	if kept.Pending != "" {
		pending, err := passcode.Read(ctx, u, kept.Pending)
		if err != nil {
			return "", "", err
		}
		if called := pending.IntentAt; r.Actor.AppID == "" && pending.Origin == "" && !called.IsZero() && r.At.Sub(called).Abs() <= passcode.StartSkew {
			return portal.Own, pending.ID, nil // it does not say by which application, and ours called then
		}
		if _, err := passcode.Cross(ctx, u, pending, f); err != nil {
			return "", "", err
		}
		return portal.Crossed, pending.ID, nil
	}
	device, err := h.Intune.ManagedDevice(ctx, u.Partition(), f.DeviceID)
	if errors.Is(err, graph.ErrNotFound) || err == nil && device.Enrolled.After(r.At) {
		return portal.Gone, "", nil // and a code of whoever had it before is not shown
	}
	if err != nil {
		return "", "", err
	}
	settings, err := tenant.ReadSettings(ctx, u)
	if err != nil {
		return "", "", err
	}
	f.Deadline = settings.ResetDeadline()
	f.Device = passcode.Owner{
		Name: device.DeviceName, Platform: device.OperatingSystem, OSVersion: device.OSVersion, Serial: device.SerialNumber,
		UserID: device.UserID, User: device.UserPrincipalName, Enrolled: device.Enrolled, LastSync: device.LastSync,
		Effect: passcode.Check(passcode.Facts{OperatingSystem: device.OperatingSystem, OSVersion: device.OSVersion,
			EnrollmentType: device.EnrollmentType, ManagementAgent: device.ManagementAgent, Owner: device.OwnerType}).Effect,
	}
	adopted, _, err := passcode.Adopt(ctx, u, f)
	return portal.Adopted, adopted.ID, err
}

// audit asks for the tenant's audit at once, unless one that was asked for is still to begin. One that began within the last
// moment may have missed the change, so that another one follows it after a pause.
func (h *Handler) audit(ctx context.Context, u *work.Unit) error {
	mark, err := portal.ReadMark(ctx, u)
	if err != nil || h.Audit == nil || mark.Audit.After(u.Now()) {
		return err
	}
	due := u.Now()
	if next := mark.Audit.Add(pause); next.After(due) {
		due = next
	}
	mark.Audit = due
	return errors.Join(h.Audit(ctx, u, due), portal.WriteMark(u, mark))
}
