package desk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"pinreset/events"
	"pinreset/functions/web/internal/problem"
	"pinreset/shared/audit"
	"pinreset/shared/budget"
	"pinreset/shared/callercheck"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/identity"
	"pinreset/shared/notice"
	"pinreset/shared/passcode"
	"pinreset/shared/secret"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

// Viewing asks for a code.
type Viewing struct {
	Reason string `json:"reason" doc:"Why, for the audit log"`
	Ticket string `json:"ticket,omitempty"`
	// Approval is needed where two people are.
	Approval string `json:"approval,omitempty" maxLength:"64" doc:"Id of the approval that was asked for with this reason and ticket, where two people are needed"`
}

// Revealed is a code that may be shown to who asked, once.
type Revealed struct {
	Passcode   secret.Text
	ExpiresAt  time.Time
	Views      int // how often it was revealed, this time included
	DeviceID   string
	DeviceName string
	User       string
}

// Reveal returns the code of a reset, once the view is counted and its audit entry is on stable storage. Every call is a
// view: it is not repeatable, and an answer that was lost shows as two views, which is what happened.
func (r *Room) Reveal(ctx context.Context, id string, in Viewing) (Revealed, error) {
	if err := r.Need(identity.PasscodeReveal); err != nil {
		return Revealed{}, err
	}
	if err := checkWhy(in.Reason, in.Ticket, true); err != nil {
		return Revealed{}, err
	}
	if err := r.needStepUp(ctx); err != nil {
		return Revealed{}, err
	}
	device, err := r.sameHands(ctx, id)
	if err != nil {
		return Revealed{}, err
	}
	second, err := r.second(ctx, device)
	if err != nil {
		return Revealed{}, err
	}
	var (
		reset   passcode.Reset
		receipt audit.Receipt
	)
	err = r.desk.change(ctx, r.ID(), func(u *work.Unit) error {
		var err error
		if reset, err = r.readReset(ctx, u, id); err != nil {
			return err
		}
		if !reset.Readable(u.Now()) {
			return notRevealable(reset, nil)
		}
		if err := r.callerOf(ctx, u, reset); err != nil {
			return err
		}
		if err := r.useSecond(ctx, u, reset, in, second); err != nil {
			return err
		}
		if err := r.spend(ctx, u, budget.Reveals); err != nil {
			return err
		}
		reset.Views++
		reset.ViewedAt, reset.ViewedBy = u.Now(), r.who.Name
		if err := errors.Join(passcode.Write(u, reset), notice.Tell(ctx, u, notice.Notice{
			What: events.NoticePasscodeRevealed, ResetID: reset.ID, DeviceID: reset.DeviceID, By: r.who.Operator(),
		})); err != nil {
			return err
		}
		receipt, err = audit.Commit(ctx, u, audit.Entry{
			Actor: r.who.Operator(), Action: audit.PasscodeRevealed, DeviceID: reset.DeviceID, RequestID: reset.ID,
			Reason: in.Reason, Ticket: in.Ticket, Change: approvedBy(in.Approval),
		}, reset.Code.ID)
		return err
	})
	if err != nil {
		return Revealed{}, r.spent(ctx, reset.DeviceID, err)
	}
	text, err := r.desk.o.Vault.Open(ctx, *reset.Code, secret.Binding{Tenant: r.ID(), Device: reset.DeviceID, Request: reset.ID}, receipt)
	if errors.Is(err, secret.ErrGone) {
		return Revealed{}, notRevealable(reset, err)
	}
	if err != nil {
		return Revealed{}, fmt.Errorf("open code of %s: %w", id, err)
	}
	return Revealed{
		Passcode: text, ExpiresAt: reset.ExpiresAt, Views: reset.Views, DeviceID: reset.DeviceID, DeviceName: reset.DeviceName, User: reset.User,
	}, nil
}

// callerOf stages the use of the caller's word for seeing a code, where the tenant wants it.
func (r *Room) callerOf(ctx context.Context, u *work.Unit, reset passcode.Reset) error {
	s, err := tenant.ReadSettings(ctx, u)
	if err != nil {
		return fmt.Errorf("read settings of %s: %w", r.ID(), err)
	}
	if s.CallerCheck != tenant.CallerForReveal {
		return nil
	}
	return r.useCaller(ctx, u, callercheck.Reveal, reset.ID, reset.UserID)
}

// approvedBy is what the audit log says of the approval that was used.
func approvedBy(id string) map[string]string {
	if id == "" {
		return nil
	}
	return map[string]string{"approval": id}
}

// sameHands returns the device of a code and makes sure, by asking Graph, that the device is still enrolled as it was and still belongs to whom the code was made
// for. A code of a device that changed hands is not shown and is destroyed at once. When Graph can't be asked nothing is shown:
// a code can be asked for again, and can't be taken back.
func (r *Room) sameHands(ctx context.Context, id string) (device string, err error) {
	reset, err := r.readReset(ctx, r.unit(), id)
	if err != nil {
		return "", err
	}
	if !reset.Readable(r.desk.o.Now()) {
		return "", notRevealable(reset, nil)
	}
	d, err := r.desk.o.Devices.ManagedDevice(graph.WithPriority(ctx, graph.People), r.ID(), reset.DeviceID)
	switch {
	case err == nil && d.UserID == reset.UserID && d.Enrolled.Equal(reset.EnrolledAt):
		return reset.DeviceID, nil
	case err != nil && !errors.Is(err, graph.ErrNotFound):
		return "", fmt.Errorf("check who has device %s: %w", reset.DeviceID, err)
	}
	err = r.desk.change(ctx, r.ID(), func(u *work.Unit) error {
		reset, err := r.readReset(ctx, u, id)
		if err != nil || !reset.Readable(u.Now()) {
			return err
		}
		return r.void(ctx, u, reset, "")
	})
	if err != nil {
		return "", err
	}
	return "", &problem.Refusal{Code: fault.NotRevealable, Instance: reset.Diagnostics,
		Detail: "Since the code was made the device was enrolled again, got another user, or left Intune. The code is not shown to anybody and is destroyed."}
}

// void stages the early end of a code: nobody is shown it from this commit on, and the work that it sends destroys it.
func (r *Room) void(ctx context.Context, u *work.Unit, reset passcode.Reset, reason string) error {
	reset.ExpiresAt = u.Now()
	if _, err := u.Send(ctx, passcode.Queue, time.Time{}, events.PasscodeExpiryDue{RequestID: reset.ID, DeviceID: reset.DeviceID}); err != nil {
		return err
	}
	return errors.Join(passcode.Write(u, reset), audit.Append(u, audit.Entry{
		Actor: r.who.Operator(), Action: audit.PasscodeVoided, DeviceID: reset.DeviceID, RequestID: reset.ID, Reason: reason,
	}))
}

// Tell notes how a code worked that was seen. The last word counts.
func (r *Room) Tell(ctx context.Context, key, id string, outcome passcode.Outcome) (Answer[Reset], error) {
	return r.after(ctx, key, "tell "+string(outcome)+" ", id, func(u *work.Unit, reset passcode.Reset) (passcode.Reset, error) {
		if reset.Views == 0 {
			return reset, problem.Refuse(fault.StateConflict, "Nobody has seen the code yet.")
		}
		reset.Outcome = outcome
		return reset, errors.Join(passcode.Write(u, reset), audit.Append(u, audit.Entry{
			Actor: r.who.Operator(), Action: audit.PasscodeOutcome, DeviceID: reset.DeviceID, RequestID: reset.ID,
			Change: map[string]string{"outcome": string(outcome)},
		}))
	})
}

// Delete destroys a code before its time. A code that is gone already is no mistake.
func (r *Room) Delete(ctx context.Context, key, id string) (Answer[Reset], error) {
	return r.after(ctx, key, "delete code ", id, func(u *work.Unit, reset passcode.Reset) (passcode.Reset, error) {
		if !reset.Readable(u.Now()) {
			return reset, nil
		}
		if err := r.void(ctx, u, reset, "no more need of it"); err != nil {
			return reset, err
		}
		return r.readReset(ctx, u, id)
	})
}

// after makes a change to a reset by somebody who may see its code.
func (r *Room) after(ctx context.Context, key, what, id string, fn func(*work.Unit, passcode.Reset) (passcode.Reset, error)) (Answer[Reset], error) {
	var none Answer[Reset]
	if err := r.Need(identity.PasscodeReveal); err != nil {
		return none, err
	}
	c, err := r.call(key, what+id, nil)
	if err != nil {
		return none, err
	}
	return once(ctx, r.desk, r.ID(), c, func(u *work.Unit) (Answer[Reset], error) {
		reset, err := r.readReset(ctx, u, id)
		if err != nil {
			return none, err
		}
		if reset, err = fn(u, reset); err != nil {
			return none, err
		}
		return Answer[Reset]{Status: http.StatusOK, Location: r.resetPath(id), Body: r.show(reset)}, nil
	})
}

func notRevealable(reset passcode.Reset, err error) error {
	detail := "The reset is " + string(reset.State) + " and has no code that can be shown."
	if reset.State == passcode.Issued {
		detail = "The code has expired and was destroyed."
	}
	return &problem.Refusal{Code: fault.NotRevealable, Detail: detail, Instance: reset.Diagnostics, Err: err}
}
