package desk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/functions/web/internal/problem"
	"pinreset/shared/approval"
	"pinreset/shared/budget"
	"pinreset/shared/diag"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
	"pinreset/shared/passcode"
	"pinreset/shared/work"
)

// Reset is a reset as it is shown. It never has the code, sealed or not.
type Reset struct {
	ID           string           `json:"id"`
	DeviceID     string           `json:"deviceId"`
	DeviceName   string           `json:"deviceName,omitempty"`
	User         string           `json:"user,omitempty"`
	Platform     string           `json:"platform,omitempty"`
	OSVersion    string           `json:"osVersion,omitempty"`
	Serial       string           `json:"serial,omitempty"`
	State        passcode.State   `json:"state" enum:"unapproved,accepted,calling,waiting,issued,removed,failed,cancelled,expired,observed"`
	Open         bool             `json:"open" doc:"Whether it has not ended"`
	Effect       string           `json:"effect,omitempty" doc:"What the reset does: passcode, work-profile or removed"`
	Why          fault.Code       `json:"why,omitempty" doc:"Why it waits"`
	WhyText      string           `json:"whyText,omitempty"`
	NextCheck    time.Time        `json:"nextCheck,omitzero" doc:"When the device is looked at next"`
	Origin       string           `json:"origin,omitempty" enum:"portal" doc:"Set for one that somebody started in Intune's own portal: it is only followed here"`
	Bulk         string           `json:"bulk,omitempty" doc:"Id of the bulk reset that it is part of"`
	Crossed      *Crossed         `json:"crossed,omitempty" doc:"Somebody reset the device in Intune's own portal while this one had not ended: only the later code works"`
	Reason       string           `json:"reason"`
	Ticket       string           `json:"ticket,omitempty"`
	By           events.Actor     `json:"by"`
	RequestedAt  time.Time        `json:"requestedAt"`
	Deadline     time.Time        `json:"deadline,omitzero" doc:"When it stops waiting for the device"`
	IssuedAt     time.Time        `json:"issuedAt,omitzero"`
	ExpiresAt    time.Time        `json:"expiresAt,omitzero" doc:"When the code is destroyed"`
	Readable     bool             `json:"readable" doc:"Whether there is a code that can be revealed now"`
	SupersededBy string           `json:"supersededBy,omitempty" doc:"A later reset gave the device another code"`
	Views        int              `json:"views" doc:"How often the code was revealed"`
	ViewedAt     time.Time        `json:"viewedAt,omitzero"`
	ViewedBy     string           `json:"viewedBy,omitempty"`
	Outcome      passcode.Outcome `json:"outcome,omitempty" enum:"worked,failed" doc:"What somebody who saw the code said of how it worked"`
	EndedAt      time.Time        `json:"endedAt,omitzero"`
	FailureCode  fault.Code       `json:"failureCode,omitempty"`
	FailureTitle string           `json:"failureTitle,omitempty"`
	Diagnostics  string           `json:"diagnostics,omitempty" doc:"Path of the page of the failure"`
	Approval     string           `json:"approval,omitempty" doc:"Id of the approval by a second person that it waits for, or had"`
	ApprovedBy   string           `json:"approvedBy,omitempty" doc:"Who that was"`
	LastSync     time.Time        `json:"lastSync,omitzero" doc:"The device's last contact when it was looked at"`
}

// Crossed is a reset of the same device that somebody started in Intune's own portal.
type Crossed struct {
	RecordID string    `json:"recordId" doc:"Intune's audit record"`
	By       string    `json:"by,omitempty" doc:"Whom that record names"`
	At       time.Time `json:"at"`
}

// ResetDetail is a reset with what was done for it.
type ResetDetail struct {
	Reset
	Timeline []diag.Attempt `json:"timeline" nullable:"false"`
}

// NewReset asks for a device's passcode to be reset.
type NewReset struct {
	Reason string `json:"reason" doc:"Why, for the audit log"`
	Ticket string `json:"ticket,omitempty"`
}

// Cancellation asks to give a reset up.
type Cancellation struct {
	Reason string `json:"reason" doc:"Why, for the audit log"`
}

// open as a state to list stands for every state of a reset that has not ended.
const open = "open"

// StartReset accepts a reset of the device's passcode. While the device has one that has not ended, the answer is that one
// with status 200, and nothing new is started.
func (r *Room) StartReset(ctx context.Context, key, device string, in NewReset) (Answer[Reset], error) {
	var none Answer[Reset]
	if err := r.needInEntra(identity.ResetStart); err != nil {
		return none, err
	}
	device = strings.ToLower(device)
	if !events.IsGUID(device) {
		return none, missing(nil)
	}
	if err := checkWhy(in.Reason, in.Ticket, true); err != nil {
		return none, err
	}
	c, err := r.call(key, "reset "+device, in)
	if err != nil {
		return none, err
	}
	second, err := r.second(ctx, device)
	if err != nil {
		return none, err
	}
	a, err := once(ctx, r.desk, r.ID(), c, func(u *work.Unit) (Answer[Reset], error) {
		confirmed, err := r.confirmed(ctx, u, device, second)
		if err != nil {
			return none, err
		}
		if second.why != "" {
			return r.hold(ctx, u, device, in, second, confirmed)
		}
		reset, existing, err := passcode.Accept(ctx, u, events.PasscodeResetRequested{
			RequestID: u.NewID(), DeviceID: device, Reason: in.Reason, Ticket: in.Ticket, By: r.who.Operator(),
		})
		if err != nil {
			return none, fmt.Errorf("accept reset of %s: %w", device, err)
		}
		a := Answer[Reset]{Status: http.StatusAccepted, Location: r.resetPath(reset.ID), Body: r.show(reset)}
		if existing {
			a.Status = http.StatusOK
			return a, nil
		}
		if !confirmed.IsZero() {
			reset.CallerAt = confirmed
			if err := passcode.Write(u, reset); err != nil {
				return none, err
			}
		}
		return a, r.spend(ctx, u, budget.Resets)
	})
	return a, r.spent(ctx, device, err)
}

func (r *Room) resetPath(id string) string { return "/v1/tenants/" + r.ID() + "/resets/" + id }

// Resets lists the tenant's resets, newest first: all, those in one state, or those that have not ended ("open").
func (r *Room) Resets(ctx context.Context, state string, page Page) (List[Reset], error) {
	if err := r.Need(identity.TenantRead); err != nil {
		return List[Reset]{}, err
	}
	wanted, err := inState(state)
	if err != nil {
		return List[Reset]{}, err
	}
	return paged(r, "resets "+state, page, func(limit int, place string) (resets []Reset, next string, err error) {
		next = place
		// A state that is rare would else make an empty page of each page of rows; the bound keeps a request short.
		for range 20 {
			var rows []passcode.Reset
			rows, next, err = passcode.List(ctx, r.desk.o.Store, r.ID(), limit, next, wanted...)
			if err != nil {
				return nil, "", err
			}
			for _, row := range rows {
				resets = append(resets, r.show(row))
			}
			if len(resets) > 0 || next == "" {
				break
			}
		}
		return resets, next, nil
	})
}

// inState is the states that a filter names; none for "", which is all.
func inState(state string) ([]passcode.State, error) {
	switch state {
	case "":
		return nil, nil
	case open:
		return passcode.OpenStates(), nil
	}
	known := append(passcode.OpenStates(), passcode.Issued, passcode.Removed, passcode.Failed, passcode.Cancelled, passcode.Expired, passcode.Observed)
	if !slices.Contains(known, passcode.State(state)) {
		return nil, invalid("query.state", "is not a state of a reset")
	}
	return []passcode.State{passcode.State(state)}, nil
}

// Reset shows one reset with what was done for it.
func (r *Room) Reset(ctx context.Context, id string) (ResetDetail, error) {
	// Who may start a reset may see what becomes of it.
	if err := r.Need(identity.TenantRead); err != nil && !r.Can(identity.ResetStart) {
		return ResetDetail{}, err
	}
	reset, err := r.readReset(ctx, r.unit(), id)
	if isMissing(err) {
		a, err := r.held(ctx, id, approval.Reset)
		return ResetDetail{Reset: r.showHeld(a), Timeline: []diag.Attempt{}}, err
	}
	if err != nil {
		return ResetDetail{}, err
	}
	timeline, err := diag.Timeline(ctx, r.desk.o.Store, r.ID(), reset.ID)
	if err != nil {
		return ResetDetail{}, err
	}
	if timeline == nil {
		timeline = []diag.Attempt{}
	}
	return ResetDetail{Reset: r.show(reset), Timeline: timeline}, nil
}

func (r *Room) readReset(ctx context.Context, u *work.Unit, id string) (passcode.Reset, error) {
	reset, err := passcode.Read(ctx, u, id)
	if errors.Is(err, work.ErrNotFound) {
		return reset, missing(err)
	}
	if err != nil {
		return reset, fmt.Errorf("read reset %s: %w", id, err)
	}
	return reset, nil
}

// Cancel gives a reset up that has not ended. The device may still carry it out: Intune takes nothing back.
func (r *Room) Cancel(ctx context.Context, key, id string, in Cancellation) (Answer[Reset], error) {
	var none Answer[Reset]
	if err := r.Need(identity.ResetStart); err != nil {
		return none, err
	}
	if err := checkWhy(in.Reason, "", true); err != nil {
		return none, err
	}
	c, err := r.call(key, "cancel "+id, in)
	if err != nil {
		return none, err
	}
	return once(ctx, r.desk, r.ID(), c, func(u *work.Unit) (Answer[Reset], error) {
		reset, err := passcode.Cancel(ctx, u, id, in.Reason, r.who.Operator())
		if errors.Is(err, work.ErrNotFound) {
			a, err := approval.Withdraw(ctx, u, approval.Reset, id, in.Reason, r.who.Operator())
			if err != nil {
				return none, notValid(a, err)
			}
			return Answer[Reset]{Status: http.StatusOK, Location: r.resetPath(id), Body: r.showHeld(a)}, nil
		}
		switch {
		case errors.Is(err, passcode.ErrEnded):
			return none, &problem.Refusal{
				Code: fault.StateConflict, Detail: "The reset has ended: it is " + string(reset.State) + ".", Instance: reset.Diagnostics, Err: err,
			}
		case err != nil:
			return none, fmt.Errorf("cancel reset %s: %w", id, err)
		}
		return Answer[Reset]{Status: http.StatusOK, Location: r.resetPath(id), Body: r.show(reset)}, nil
	})
}

func (r *Room) show(p passcode.Reset) Reset {
	shown := Reset{
		ID: p.ID, DeviceID: p.DeviceID, DeviceName: p.DeviceName, User: p.User, Platform: p.Platform, OSVersion: p.OSVersion,
		Origin: p.Origin, Bulk: p.Bulk, Crossed: (*Crossed)(p.Crossed),
		Serial: p.Serial, State: p.State, Open: p.Open(), Effect: p.Effect, Why: p.Why, WhyText: titleOf(p.Why),
		NextCheck: p.NextCheck, Reason: p.Reason, Ticket: p.Ticket, By: p.By, RequestedAt: p.RequestedAt, Deadline: p.Deadline,
		IssuedAt: p.IssuedAt, ExpiresAt: p.ExpiresAt, Readable: p.Readable(r.desk.o.Now()), SupersededBy: p.SupersededBy,
		Views: p.Views, ViewedAt: p.ViewedAt, ViewedBy: p.ViewedBy, Outcome: p.Outcome, EndedAt: p.EndedAt, FailureCode: p.FailureCode,
		FailureTitle: titleOf(p.FailureCode), Diagnostics: p.Diagnostics, LastSync: p.LastSync,
	}
	if p.Approved != nil {
		shown.Approval, shown.ApprovedBy = p.Approved.ID, p.Approved.By.Name
	}
	return shown
}
