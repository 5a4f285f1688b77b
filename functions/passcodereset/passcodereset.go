// Package passcodereset resets the passcode of a device:
//
//	requested → eligible? → intent on stable storage → resetPasscode → look at the device, again and again
//	          → done: code sealed, to be revealed until its expiry      → expiry due: key destroyed
//	          → done, no code (iOS)
//	          → failed, refused, unreachable: a failure with its page
//
// A reset that somebody started in Intune's own portal enters at the look: nothing is called for it. Its code is sealed for
// what is left of its seven days where the tenant has chosen so, else its end is only told.
//
// The call to Graph is not repeatable: a second one replaces a code that somebody may already have read out. So the intent is
// committed before it, and whoever finds an intent without a result looks at the device and never calls again. The one
// exception is a call that Graph throttled: it is made again once the device has shown no trace of it for [Schedule.Trace].
//
// Facts: Microsoft's page "Reset the passcode on Windows, iOS and Android devices"; the resources managedDevice and
// resetPasscodeActionResult of Graph v1.0. Results carry no id and no expiry, so both are kept here.
package passcodereset

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"pinreset/events"
	"pinreset/shared/approval"
	"pinreset/shared/audit"
	"pinreset/shared/diag"
	"pinreset/shared/dispatch"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/passcode"
	"pinreset/shared/secret"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

// devices is what a reset needs of Graph.
type devices interface {
	ManagedDevice(ctx context.Context, tenant, id string) (graph.ManagedDevice, error)
	PrepareReset(ctx context.Context, tenant string) error
	ResetPasscode(ctx context.Context, tenant, id string) (graph.Accepted, error)
	PasscodeResult(ctx context.Context, tenant, id string, notBefore time.Time) (graph.PasscodeReading, error)
	UserRoles(ctx context.Context, tenant, userID string) ([]string, error)
	PasscodeResultBeta(ctx context.Context, tenant, id string, notBefore time.Time) (graph.PasscodeReading, error)
}

// vault seals codes and destroys them.
type vault interface {
	Seal(ctx context.Context, id string, b secret.Binding, text secret.Text, expires time.Time) (secret.Envelope, error)
	Destroy(ctx context.Context, tenant, id string) error
}

// Schedule says when the device is looked at.
type Schedule struct {
	Looks []time.Duration // delays between looks; the last one repeats
	// Trace is how long the entry of a call that was answered 429 or 503 may take to show up. Only after it the call is made
	// again, so an entry that came later still, of a call that was carried out though it was answered so, would mean a second
	// reset. Nothing that Microsoft publishes says how long entries take.
	Trace time.Duration
	Lost  time.Duration // after a lost answer: how long to look for a trace before a person must decide
}

// DefaultSchedule looks often while somebody may be on the phone, and then at a pace that thousands of offline devices
// of one tenant can share.
var DefaultSchedule = Schedule{
	Looks: []time.Duration{2 * time.Second, 3 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute},
	Trace: 2 * time.Minute,
	Lost:  10 * time.Minute,
}

// patience is the number of looks during which a person is taken to be waiting.
const patience = 6

// Handler handles the events of a reset.
type Handler struct {
	Devices  devices
	Vault    vault
	Store    work.Store // for the register of tenants
	Schedule Schedule
	// Called, where it is set, is told of each call that Graph accepted, as soon as it has, and of when its request was.
	Called func(requested time.Time)
}

// Route binds the handler to its queue.
func (h *Handler) Route() dispatch.Route {
	return dispatch.Route{Function: "passcodereset", Queue: passcode.Queue, Handlers: []dispatch.Handler{
		dispatch.On(h.requested, failed[events.PasscodeResetRequested]),
		dispatch.On(h.look, failed[events.PasscodeResetCheckDue]),
		dispatch.On(h.expire, nil),
	}}
}

func (h *Handler) requested(ctx context.Context, u *work.Unit, _ events.Event, d events.PasscodeResetRequested) error {
	r, err := passcode.Read(ctx, u, d.RequestID)
	if errors.Is(err, work.ErrNotFound) {
		r, err = h.adopt(ctx, u, d)
	}
	if err != nil {
		return err
	}
	switch {
	case r.ID != d.RequestID:
		diag.Decide(ctx, u.Now(), "the device has a reset that has not ended; this request adds nothing")
		return nil
	case r.State == passcode.Failed && r.FailureCode == fault.AttemptsExhausted:
		// Its dead letter was replayed. Where the intent had been reached, the call is not made again.
		r.State, r.FailureCode, r.FailedIn, r.Diagnostics, r.EndedAt = r.FailedIn, "", "", "", time.Time{}
		settings, err := tenant.ReadSettings(ctx, u)
		if err != nil {
			return err
		}
		r.Deadline = u.Now().Add(settings.ResetDeadline()) // somebody wants it now
		if r, err = passcode.Reopen(ctx, u, r); err != nil {
			return err
		}
		if r.State == passcode.Accepted {
			// In a run of its own: one that was overtaken by the run which failed takes its message for a replay too, and this
			// commit is refused to it, while a call would not be.
			_, err := u.Send(ctx, r.Queue(), time.Time{}, d)
			return err
		}
	}
	switch r.State {
	case passcode.Accepted:
		return h.call(ctx, u, r)
	case passcode.Calling:
		diag.Decide(ctx, u.Now(), "an earlier run reached the call and left no result: looking at the device instead of calling again")
		r.Why = fault.WaitingForTrace
		return h.lookAgain(ctx, u, r, 0)
	default:
		return nil // delivered again after its work was done
	}
}

// adopt records a request that arrived as a message and not through our own interface.
func (h *Handler) adopt(ctx context.Context, u *work.Unit, d events.PasscodeResetRequested) (passcode.Reset, error) {
	if t, err := tenant.Get(ctx, h.Store, u.Partition()); errors.Is(err, work.ErrNotFound) {
		return passcode.Reset{}, fault.Permanent(fault.TenantUnknown, err)
	} else if err = cmp.Or(err, t.InEntra()); err != nil {
		return passcode.Reset{}, err
	}
	r, _, err := passcode.Record(ctx, u, d)
	return r, err
}

// call checks the device, commits the intent, and makes the call.
func (h *Handler) call(ctx context.Context, u *work.Unit, r passcode.Reset) error {
	if r.Bulk == "" {
		ctx = graph.WithPriority(ctx, graph.People)
	} else if b, err := passcode.ReadBulk(ctx, u, r.Bulk); err != nil && !errors.Is(err, work.ErrNotFound) {
		return err
	} else if err != nil || !b.Open() {
		_, err := passcode.Cancel(ctx, u, r.ID, "the bulk reset was given up", events.Pinreset())
		return err
	}
	settings, err := tenant.ReadSettings(ctx, u)
	if err != nil {
		return err
	}
	if r.Deadline.IsZero() {
		r.Deadline = r.RequestedAt.Add(settings.ResetDeadline())
	}
	if !u.Now().Before(r.Deadline) {
		// Nobody waits for it any more, and the call would take the passcode from whoever uses the device.
		code := fault.NotBegunInTime
		if r.Why == fault.GraphThrottled || r.Why == fault.GraphUnavailable {
			code = r.Why // what kept it
		}
		return fault.Permanentf(code, "not called by its deadline, %s", r.Deadline.Format(time.RFC3339))
	}
	device, err := h.Devices.ManagedDevice(ctx, u.Partition(), r.DeviceID)
	if errors.Is(err, graph.ErrNotFound) {
		return fault.Permanent(fault.DeviceNotFound, err)
	}
	if err != nil {
		return wait(u, r, err)
	}
	r.DeviceName, r.Platform, r.OSVersion, r.Serial = device.DeviceName, device.OperatingSystem, device.OSVersion, device.SerialNumber
	r.UserID, r.User, r.EnrolledAt, r.LastSync = device.UserID, device.UserPrincipalName, device.Enrolled, device.LastSync
	eligible := passcode.Check(facts(device))
	diag.Decide(ctx, u.Now(), "eligible: "+string(eligible.Answer)+". "+eligible.Text)
	if eligible.Answer == passcode.No {
		// Committed apart, so that the failure shows which device it was.
		if err := passcode.Write(u, r); err != nil {
			return err
		}
		if err := u.Commit(ctx); err != nil {
			return err
		}
		return fault.Permanentf(eligible.Code, "%s %s: %s", r.Platform, r.OSVersion, eligible.Text)
	}
	if err := h.second(ctx, u, r, settings); err != nil {
		return wait(u, r, err)
	}
	kept, err := passcode.ReadDevice(ctx, u, r.DeviceID)
	if err != nil {
		return err
	}
	serverNow := device.ReadAt
	if serverNow.IsZero() {
		serverNow = u.Now()
	}
	if early := kept.ClearAt().Sub(serverNow); early > 0 {
		// So soon after an earlier call, its result could be taken for this one's.
		return wait(u, r, fault.After(early, fault.WaitingForEarlier, errors.New("an earlier reset of the device was called a moment ago")))
	}
	// The token now, so that nothing but the call itself stands between the intent and the call.
	if err := h.Devices.PrepareReset(ctx, u.Partition()); err != nil {
		return wait(u, r, err)
	}
	r.State, r.IntentAt, r.CalledAt, r.Effect = passcode.Calling, u.Now(), serverNow, eligible.Effect
	if err := passcode.Write(u, r); err != nil {
		return err
	}
	if err := u.Checkpoint(ctx); err != nil {
		return fmt.Errorf("record intent of %s: %w", r.ID, err)
	}

	accepted, err := h.Devices.ResetPasscode(ctx, u.Partition(), r.DeviceID)
	verdict, _ := fault.As(err)
	switch {
	case err == nil:
		if h.Called != nil {
			h.Called(r.RequestedAt)
		}
		r.State, r.Why = passcode.Waiting, fault.WaitingForDevice
		if accepted.ServerDate.After(r.CalledAt) {
			r.CalledAt = accepted.ServerDate // closer to the call than the read before it
		}
		return h.lookAgain(ctx, u, r, 0)
	case errors.Is(err, graph.ErrOutcomeUnknown):
		diag.Decide(ctx, u.Now(), "no clear answer to the call: it may have been carried out, so it is not repeated")
		r.Why = fault.WaitingForTrace
		delay := time.Duration(0)
		if verdict != nil && verdict.Code == fault.GraphThrottled {
			r.Throttled, r.Why, delay = true, fault.GraphThrottled, verdict.Delay
		}
		if said, ok := errors.AsType[*graph.Error](err); ok && !said.Date.IsZero() {
			// By Graph's clock, which also dates the result. With ours ahead of it, no trace of the reset would ever be found.
			r.RefusedAt = said.Date
			if said.Date.Before(r.CalledAt) {
				r.CalledAt = said.Date
			}
		}
		return h.lookAgain(ctx, u, r, delay)
	case verdict != nil && !verdict.Permanent():
		// Nothing was sent: the intent is taken back and the same message makes the call later.
		r.State, r.IntentAt, r.CalledAt = passcode.Accepted, time.Time{}, time.Time{}
		return wait(u, r, err)
	default:
		return err
	}
}

// second refuses a reset that two people are needed for and that one asked for alone, and one that the user should have confirmed. The interface asks before it accepts a reset; a
// message that reached the queue by another way, a bulk reset from before the tenant wanted two, or a device that has another user since
// meets it here. An approval is for one user, unless it is of a bulk reset.
func (h *Handler) second(ctx context.Context, u *work.Unit, r passcode.Reset, s tenant.Settings) error {
	if s.CallerCheck == tenant.CallerForReset && r.Bulk == "" && r.CallerAt.IsZero() {
		return fault.Permanentf(fault.CallerNotConfirmed, "the device's user has not confirmed the call")
	}
	if a := r.Approved; a != nil {
		if r.Bulk == "" && a.UserID != r.UserID {
			return fault.Permanentf(fault.DeviceChangedHands, "approved for user %s, now of user %s", a.UserID, r.UserID)
		}
		return nil
	}
	why, err := approval.Rule(ctx, h.Devices, u.Partition(), s, r.UserID)
	if err == nil && why != "" {
		return fault.Permanentf(fault.SecondPersonRequired, "nobody approved it: %s", why)
	}
	return err
}

// look reads the device's results and decides.
func (h *Handler) look(ctx context.Context, u *work.Unit, e events.Event, d events.PasscodeResetCheckDue) error {
	r, err := passcode.Read(ctx, u, d.RequestID)
	if errors.Is(err, work.ErrNotFound) || err == nil && (r.CheckID != e.ID || !r.Open()) {
		return nil // ended meanwhile, or a later reminder has taken over
	}
	if err != nil {
		return err
	}
	if r.Checks < patience && r.Bulk == "" {
		ctx = graph.WithPriority(ctx, graph.People)
	}
	kept, err := passcode.ReadDevice(ctx, u, r.DeviceID)
	if err != nil {
		return err
	}
	reading, err := h.Devices.PasscodeResult(ctx, u.Partition(), r.DeviceID, r.CalledAt)
	if errors.Is(err, graph.ErrNotFound) {
		return fault.Permanent(fault.DeviceNotFound, err)
	}
	if err != nil {
		return wait(u, r, err)
	}
	device, result := reading.Device, reading.Action
	if device.UserID != r.UserID || !device.Enrolled.Equal(r.EnrolledAt) {
		return fault.Permanentf(fault.DeviceChangedHands, "enrolled %s for user %s, now %s for user %s",
			r.EnrolledAt.Format(time.RFC3339), r.UserID, device.Enrolled.Format(time.RFC3339), device.UserID)
	}
	r.LastSync = device.LastSync
	if result == nil || !result.Started.After(kept.LastResult) {
		return h.noResult(ctx, u, r, device.ReadAt)
	}
	r.ResultAt = result.Started
	switch result.State {
	case graph.ActionDone:
		return h.done(ctx, u, r, *result)
	case graph.ActionFailed:
		return fault.Permanentf(fault.DeviceActionFailed, "Intune reports errorCode %d", result.ErrorCode)
	case graph.ActionNotSupported:
		if r.Effect == passcode.EffectWorkProfile {
			return fault.Permanentf(fault.ResetTokenNotActive, "Intune reports notSupported, errorCode %d", result.ErrorCode)
		}
		return fault.Permanentf(fault.ActionNotSupported, "Intune reports notSupported, errorCode %d", result.ErrorCode)
	case graph.ActionCanceled:
		return fault.Permanentf(fault.ActionCancelled, "Intune reports canceled")
	default:
		if r.State == passcode.Calling {
			diag.Decide(ctx, u.Now(), "the device's action list shows the reset: the call had been carried out")
			r.State, r.Throttled = passcode.Waiting, false
		}
		r.Why = fault.WaitingForDevice
		return h.untilDeadline(ctx, u, r)
	}
}

// noResult: the device shows no trace of the reset, at a time that Graph told with its answer.
func (h *Handler) noResult(ctx context.Context, u *work.Unit, r passcode.Reset, seen time.Time) error {
	since := u.Now().Sub(r.IntentAt)
	traced := since
	if !r.RefusedAt.IsZero() && !seen.IsZero() {
		traced = seen.Sub(r.RefusedAt) // ours may have been set, or the machine have slept, in between
	}
	switch {
	case r.State == passcode.Calling && r.Throttled && traced >= h.Schedule.Trace:
		diag.Decide(ctx, u.Now(), "Graph throttled the call and the device shows no trace of it: calling again")
		r.State, r.IntentAt, r.CalledAt, r.RefusedAt, r.Throttled, r.CheckID, r.Why = passcode.Accepted, time.Time{}, time.Time{}, time.Time{}, false, "", fault.GraphThrottled
		_, err := u.Send(ctx, r.Queue(), time.Time{}, events.PasscodeResetRequested{
			RequestID: r.ID, DeviceID: r.DeviceID, Reason: r.Reason, Ticket: r.Ticket, By: r.By})
		return errors.Join(err, passcode.Write(u, r))
	case r.State == passcode.Calling && !r.Throttled && since >= h.Schedule.Lost:
		return fault.Permanentf(fault.OutcomeUnknown, "no trace of the reset %s after the call", since.Round(time.Second))
	default:
		return h.untilDeadline(ctx, u, r)
	}
}

func (h *Handler) untilDeadline(ctx context.Context, u *work.Unit, r passcode.Reset) error {
	if !u.Now().Before(r.Deadline) {
		return fault.Permanentf(fault.DeviceDidNotRespond, "no answer since %s; last contact %s", r.IntentAt.Format(time.RFC3339), r.LastSync.Format(time.RFC3339))
	}
	return h.lookAgain(ctx, u, r, 0)
}

// done seals the code, where there is one, and ends the reset.
func (h *Handler) done(ctx context.Context, u *work.Unit, r passcode.Reset, result graph.PasscodeAction) error {
	if r.Effect == passcode.EffectRemoved {
		diag.Decide(ctx, u.Now(), "the device removed its passcode; there is no code")
		return finish(ctx, u, r, passcode.Removed, events.OutcomeRemoved)
	}
	settings, err := tenant.ReadSettings(ctx, u)
	if err != nil {
		return err
	}
	// The seven days run from the device's answer; Graph gives no expiry.
	made := u.Now()
	if !result.Updated.IsZero() && result.Updated.Before(made) {
		made = result.Updated
	} else if result.Updated.IsZero() && r.Origin == passcode.FromPortal {
		made = r.RequestedAt // the answer may be days old
	}
	r.IssuedAt = made
	if expires := made.Add(settings.PasscodeLife()); r.Origin == passcode.FromPortal && (!settings.SealPortalCodes || !u.Now().Before(expires)) {
		diag.Decide(ctx, u.Now(), "the device carried out a reset of Intune's own portal, which shows its code; none is kept here")
		return finish(ctx, u, r, passcode.Observed, events.OutcomeObserved)
	}
	code := result.Passcode
	if code.Empty() {
		// Some tenants were seen to return codes through the beta version only.
		diag.Decide(ctx, u.Now(), "done without a passcode: reading once through the beta version")
		again, err := h.Devices.PasscodeResultBeta(ctx, u.Partition(), r.DeviceID, r.CalledAt)
		if err != nil {
			return wait(u, r, err)
		}
		if again.Action == nil || again.Action.Passcode.Empty() {
			return fault.Permanentf(fault.PasscodeNotReturned, "action done at %s", result.Updated.Format(time.RFC3339))
		}
		code = again.Action.Passcode
	}
	r.ExpiresAt = made.Add(settings.PasscodeLife())
	diag.Decide(ctx, u.Now(), "the device has a new passcode; it is sealed until "+r.ExpiresAt.Format(time.RFC3339))
	if !u.Now().Before(r.ExpiresAt) {
		return fault.Permanentf(fault.PasscodeNotReturned, "the code was made at %s and has expired", made.Format(time.RFC3339))
	}
	env, err := h.Vault.Seal(ctx, u.NewID(), secret.Binding{Tenant: u.Partition(), Device: r.DeviceID, Request: r.ID}, code, r.ExpiresAt)
	if err != nil {
		return fmt.Errorf("seal code of %s: %w", r.ID, err)
	}
	r.Code = &env
	if _, err := u.Send(ctx, passcode.Queue.Bulk(), r.ExpiresAt, events.PasscodeExpiryDue{RequestID: r.ID, DeviceID: r.DeviceID}); err != nil {
		return err
	}
	return finish(ctx, u, r, passcode.Issued, events.OutcomePasscode)
}

func finish(ctx context.Context, u *work.Unit, r passcode.Reset, state passcode.State, outcome string) error {
	r, err := passcode.End(ctx, u, r, state)
	if err != nil {
		return err
	}
	_, err = u.Send(ctx, work.Announcements, time.Time{}, events.PasscodeResetIssued{RequestID: r.ID, DeviceID: r.DeviceID, Outcome: outcome, ExpiresAt: r.ExpiresAt})
	return errors.Join(err, audit.Append(u, audit.Entry{Actor: events.Pinreset(), Action: audit.ResetIssued, DeviceID: r.DeviceID, RequestID: r.ID}))
}

// expire destroys the code's key, and then what it sealed.
func (h *Handler) expire(ctx context.Context, u *work.Unit, _ events.Event, d events.PasscodeExpiryDue) error {
	r, err := passcode.Read(ctx, u, d.RequestID)
	if errors.Is(err, work.ErrNotFound) || err == nil && r.Code == nil {
		return nil
	}
	if err != nil {
		return err
	}
	if early := r.ExpiresAt.Sub(u.Now()); early > 0 {
		return fault.After(early, fault.WaitingForExpiry, errors.New("code has not expired yet"))
	}
	if err := h.Vault.Destroy(ctx, u.Partition(), r.Code.ID); err != nil {
		// Never given up: a code whose destruction became a dead letter would stay.
		return fault.After(time.Minute, fault.Unavailable, err)
	}
	r.State, r.Code = passcode.Expired, nil
	_, err = u.Send(ctx, work.Announcements, time.Time{}, events.PasscodeExpired{RequestID: r.ID, DeviceID: r.DeviceID})
	return errors.Join(err, passcode.Write(u, r),
		audit.Append(u, audit.Entry{Actor: events.Pinreset(), Action: audit.PasscodeExpired, DeviceID: r.DeviceID, RequestID: r.ID}))
}

// failed stages the failed end of a reset.
func failed[D events.Data](ctx context.Context, u *work.Unit, d D, code fault.Code) error {
	r, err := passcode.Read(ctx, u, d.Request())
	if errors.Is(err, work.ErrNotFound) || err == nil && !r.Open() {
		return nil
	}
	if err != nil {
		return err
	}
	r.FailureCode, r.FailedIn, r.Diagnostics = code, r.State, diag.Link(u.Partition(), diag.IDFor(u.Partition(), r.ID))
	if r, err = passcode.End(ctx, u, r, passcode.Failed); err != nil {
		return err
	}
	return audit.Append(u, audit.Entry{Actor: events.Pinreset(), Action: audit.ResetFailed, DeviceID: r.DeviceID, RequestID: r.ID, Reason: string(code)})
}

// lookAgain stages the reset and the reminder to look, no sooner than atLeast.
func (h *Handler) lookAgain(ctx context.Context, u *work.Unit, r passcode.Reset, atLeast time.Duration) error {
	delay := max(atLeast, h.Schedule.Looks[min(r.Checks, len(h.Schedule.Looks)-1)])
	at := u.Now().Add(delay)
	if !r.Deadline.IsZero() && at.After(r.Deadline) {
		at = r.Deadline
	}
	id, err := u.Send(ctx, r.Queue(), at, events.PasscodeResetCheckDue{RequestID: r.ID, DeviceID: r.DeviceID})
	if err != nil {
		return err
	}
	r.CheckID, r.NextCheck = id, at
	r.Checks++
	return passcode.Write(u, r)
}

// wait notes on the reset why it waits, where err is a wait, and returns err. A wait beyond the deadline is the end: no
// request stays open because Graph is out of reach.
func wait(u *work.Unit, r passcode.Reset, err error) error {
	if v, ok := fault.As(err); ok && !v.Permanent() {
		left := r.Deadline.Sub(u.Now())
		if left <= 0 {
			return fault.Permanent(v.Code, err)
		}
		delay := min(v.Delay, left)
		r.Why, r.NextCheck = v.Code, u.Now().Add(delay)
		if e := passcode.Write(u, r); e != nil {
			return e
		}
		return fault.After(delay, v.Code, err)
	}
	return err
}

func facts(d graph.ManagedDevice) passcode.Facts {
	return passcode.Facts{OperatingSystem: d.OperatingSystem, OSVersion: d.OSVersion, EnrollmentType: d.EnrollmentType, ManagementAgent: d.ManagementAgent, Owner: d.OwnerType}
}
