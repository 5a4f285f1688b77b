package desk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"pinreset/functions/web/internal/problem"
	"pinreset/shared/approval"
	"pinreset/shared/budget"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/identity"
	"pinreset/shared/passcode"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

// rule is the answer to whether a reset of a device needs a second person, with whose device it is.
type rule struct {
	why        approval.Why // "" for no
	userID     string
	user       string
	deviceName string
	caller     bool // the user has to confirm the call
}

// second says whether a reset of the device needs a second person, and the caller's word. Where the tenant asks for neither, nothing is
// read from Graph.
func (r *Room) second(ctx context.Context, device string) (rule, error) {
	s, err := tenant.ReadSettings(ctx, r.unit())
	if err != nil {
		return rule{}, fmt.Errorf("read settings of %s: %w", r.ID(), err)
	}
	caller := s.CallerCheck == tenant.CallerForReset
	if s.SecondPerson != tenant.SecondForEvery && s.SecondPerson != tenant.SecondForPrivileged && !caller {
		return rule{}, nil
	}
	ctx = graph.WithPriority(ctx, graph.People)
	d, err := r.desk.o.Devices.ManagedDevice(ctx, r.ID(), device)
	if errors.Is(err, graph.ErrNotFound) {
		return rule{}, missing(err)
	}
	if err != nil {
		return rule{}, fmt.Errorf("check who has device %s: %w", device, err)
	}
	why, err := approval.Rule(ctx, r.desk.o.Devices, r.ID(), s, d.UserID)
	return rule{why, d.UserID, d.UserPrincipalName, d.DeviceName, caller}, err
}

// hold stages a reset that waits for a second person, unless the device has one that has not ended.
func (r *Room) hold(ctx context.Context, u *work.Unit, device string, in NewReset, second rule, confirmed time.Time) (Answer[Reset], error) {
	var none Answer[Reset]
	d, err := passcode.ReadDevice(ctx, u, device)
	if err != nil {
		return none, err
	}
	if d.Pending != "" {
		reset, err := r.readReset(ctx, u, d.Pending)
		return Answer[Reset]{Status: http.StatusOK, Location: r.resetPath(d.Pending), Body: r.show(reset)}, err
	}
	a, err := r.ask(u, approval.Approval{
		Request: approval.Request{Action: approval.Reset, DeviceID: device, Reason: in.Reason, Ticket: in.Ticket},
		Why:     second.why, UserID: second.userID, User: second.user, DeviceName: second.deviceName, CallerAt: confirmed,
	})
	if err != nil {
		return none, err
	}
	return Answer[Reset]{Status: http.StatusAccepted, Location: r.resetPath(a.ID), Body: r.showHeld(a)}, r.spend(ctx, u, budget.Resets)
}

// showHeld shows a reset that waits for a second person, or that none approved. It has the id that it will have.
func (r *Room) showHeld(a approval.Approval) Reset {
	shown := Reset{
		ID: a.ID, DeviceID: a.DeviceID, DeviceName: a.DeviceName, User: a.User, Reason: a.Reason, Ticket: a.Ticket, By: a.By, RequestedAt: a.At,
		Approval: a.ID, State: passcode.Cancelled,
	}
	switch a.StateAt(r.desk.o.Now()) {
	case approval.Waiting:
		shown.State, shown.Open, shown.Deadline = passcode.Unapproved, true, a.ExpiresAt
		shown.Why, shown.WhyText = fault.WaitingForApproval, titleOf(fault.WaitingForApproval)
	case approval.Expired:
		shown.EndedAt = a.ExpiresAt
	default:
		shown.EndedAt = a.DecidedAt
	}
	return shown
}

// showHeldBulk is showHeld of a bulk reset.
func (r *Room) showHeldBulk(a approval.Approval) Bulk {
	shown := Bulk{
		ID: a.ID, Group: a.Group, Reason: a.Reason, Ticket: a.Ticket, By: a.By, AskedAt: a.At, Approval: a.ID, State: passcode.BulkCancelled,
	}
	switch a.StateAt(r.desk.o.Now()) {
	case approval.Waiting:
		shown.State, shown.Open = passcode.BulkUnapproved, true
	case approval.Expired:
		shown.EndedAt = a.ExpiresAt
	default:
		shown.EndedAt = a.DecidedAt
	}
	return shown
}

// held returns the approval of a reset or bulk reset that has not begun.
func (r *Room) held(ctx context.Context, id string, action approval.Action) (approval.Approval, error) {
	a, err := r.readApproval(ctx, r.unit(), id)
	if err == nil && a.Action != action {
		err = missing(nil)
	}
	return a, err
}

// AskReveal asks for a second person so that who is in the room may see a code.
func (r *Room) AskReveal(ctx context.Context, key, id string, in Viewing) (Answer[Approval], error) {
	var none Answer[Approval]
	if err := r.Need(identity.PasscodeReveal); err != nil {
		return none, err
	}
	reset, err := r.readReset(ctx, r.unit(), id)
	if err != nil {
		return none, err
	}
	if err := checkWhy(in.Reason, in.Ticket, true); err != nil {
		return none, err
	}
	c, err := r.call(key, "ask to reveal "+id, in)
	if err != nil {
		return none, err
	}
	second, err := r.second(ctx, reset.DeviceID)
	if err != nil {
		return none, err
	}
	return once(ctx, r.desk, r.ID(), c, func(u *work.Unit) (Answer[Approval], error) {
		reset, err := r.readReset(ctx, u, id)
		if err != nil {
			return none, err
		}
		switch {
		case !reset.Readable(u.Now()):
			return none, notRevealable(reset, nil)
		case second.why == "" || r.approvedFor(reset):
			return none, problem.Refuse(fault.StateConflict, "Nobody has to approve this: the code can be shown to you.")
		}
		a, err := r.ask(u, approval.Approval{
			Request: r.revealing(reset, in), Why: second.why, UserID: second.userID, User: second.user, DeviceName: second.deviceName,
		})
		return Answer[Approval]{Status: http.StatusAccepted, Location: r.approvalPath(a.ID), Body: r.showApproval(a)}, err
	})
}

// revealing is what a second person approves of a reveal.
func (r *Room) revealing(reset passcode.Reset, in Viewing) approval.Request {
	return approval.Request{Action: approval.Reveal, DeviceID: reset.DeviceID, ResetID: reset.ID, Reason: in.Reason, Ticket: in.Ticket, By: r.who.Operator()}
}

// approvedFor reports whether the reset was approved for who is in the room: then so is seeing its code.
func (r *Room) approvedFor(reset passcode.Reset) bool {
	return reset.Approved != nil && reset.By.ID == r.who.ID
}

// useSecond stages the use of the approval that seeing the code needs, where it needs one.
func (r *Room) useSecond(ctx context.Context, u *work.Unit, reset passcode.Reset, in Viewing, second rule) error {
	switch {
	case second.why == "" || r.approvedFor(reset):
		return nil
	case in.Approval == "":
		return problem.Refuse(fault.SecondPersonRequired, "A second person has to approve that you see this code.")
	}
	a, err := approval.Use(ctx, u, in.Approval, r.revealing(reset, in))
	if err != nil {
		return notValid(a, err)
	}
	return nil
}

// holdBulk stages a bulk reset that waits for a second person.
func (r *Room) holdBulk(u *work.Unit, in NewBulk) (Answer[Bulk], error) {
	a, err := r.ask(u, approval.Approval{Why: approval.ForBulk, Request: approval.Request{
		Action: approval.Bulk, Group: in.Group, Expected: in.Expected, PlanHash: in.PlanHash, Reason: in.Reason, Ticket: in.Ticket,
	}})
	if err != nil {
		return Answer[Bulk]{}, err
	}
	return Answer[Bulk]{Status: http.StatusAccepted, Location: r.bulkPath(a.ID), Body: r.showHeldBulk(a)}, nil
}
