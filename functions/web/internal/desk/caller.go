package desk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/functions/web/internal/problem"
	"pinreset/shared/callercheck"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/identity"
	"pinreset/shared/passcode"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

// CallerCheck is where a check of the caller stands, for the operator who asked for it.
type CallerCheck struct {
	State     callercheck.State `json:"state" enum:"off,none,waiting,confirmed,locked" doc:"off: the tenant asks for no check here"`
	Code      string            `json:"code,omitempty" doc:"Six digits that the caller types after signing in; while the check waits"`
	ExpiresAt time.Time         `json:"expiresAt,omitzero" doc:"Until when the code can be typed; once confirmed, until when you can act"`
	TriesLeft int               `json:"triesLeft,omitempty" doc:"How many wrong codes may still be typed"`
}

// notAsked is the state of a check that the tenant does not ask for.
const notAsked callercheck.State = "off"

// showCheck shows a check with its code, which is nowhere kept.
func (d *Desk) showCheck(c callercheck.Check) CallerCheck {
	shown := CallerCheck{State: c.StateAt(d.o.Now())}
	if shown.State == callercheck.None {
		return shown
	}
	shown.ExpiresAt = c.ExpiresAt
	if shown.State == callercheck.Waiting {
		shown.Code, shown.TriesLeft = callercheck.Code(d.callers, c.ID), callercheck.MaxTries-c.Tries
	}
	return shown
}

// ChecksCaller reports whether the tenant asks for a check of the caller there.
func (r *Room) ChecksCaller(ctx context.Context, action callercheck.Action) (bool, error) {
	s, err := tenant.ReadSettings(ctx, r.unit())
	if err != nil {
		return false, fmt.Errorf("read settings of %s: %w", r.ID(), err)
	}
	return string(s.CallerCheck) == string(action), nil
}

// checked is what a check in the room is about, with the device.
func (r *Room) checked(ctx context.Context, action callercheck.Action, id string) (s callercheck.Subject, device string, err error) {
	s = callercheck.Subject{Action: action, Of: id, Operator: r.who.ID}
	if action == callercheck.Reset {
		id = strings.ToLower(id)
		if s.Of, device = id, id; !events.IsGUID(id) {
			return s, "", missing(nil)
		}
		d, err := r.desk.o.Devices.ManagedDevice(graph.WithPriority(ctx, graph.People), r.ID(), id)
		if errors.Is(err, graph.ErrNotFound) {
			return s, "", missing(err)
		}
		if err != nil {
			return s, "", fmt.Errorf("check who has device %s: %w", id, err)
		}
		s.UserID = d.UserID
	} else {
		reset, err := r.readReset(ctx, r.unit(), id)
		if err != nil {
			return s, "", err
		}
		s.UserID, device = reset.UserID, reset.DeviceID
	}
	return s, device, nil
}

// checkNeeds is the permission to check a caller: that for what it leads to.
func checkNeeds(action callercheck.Action) identity.Permission {
	if action == callercheck.Reset {
		return identity.ResetStart
	}
	return identity.PasscodeReveal
}

// CallerCheck shows where the operator's check stands.
func (r *Room) CallerCheck(ctx context.Context, action callercheck.Action, id string) (CallerCheck, error) {
	if err := r.Need(checkNeeds(action)); err != nil {
		return CallerCheck{}, err
	}
	s, _, err := r.checked(ctx, action, id)
	if err != nil {
		return CallerCheck{}, err
	}
	if asked, err := r.ChecksCaller(ctx, action); err != nil || !asked {
		return CallerCheck{State: notAsked}, err
	}
	c, err := callercheck.Read(ctx, r.unit(), s)
	return r.desk.showCheck(c), err
}

// AskCaller makes a code for the caller, in place of the one before.
func (r *Room) AskCaller(ctx context.Context, key string, action callercheck.Action, id string) (Answer[CallerCheck], error) {
	var none Answer[CallerCheck]
	if err := r.Need(checkNeeds(action)); err != nil {
		return none, err
	}
	s, device, err := r.checked(ctx, action, id)
	if err != nil {
		return none, err
	}
	switch asked, err := r.ChecksCaller(ctx, action); {
	case err != nil:
		return none, err
	case !asked:
		return none, problem.Refuse(fault.StateConflict, "This tenant does not check the caller here.")
	case s.UserID == "":
		return none, problem.Refuse(fault.StateConflict, "Intune tells no user of this device, so nobody can confirm.")
	}
	c, err := r.call(key, "check caller "+string(action)+" "+s.Of, nil)
	if err != nil {
		return none, err
	}
	a, err := once(ctx, r.desk, r.ID(), c, func(u *work.Unit) (Answer[CallerCheck], error) {
		_, err := callercheck.Ask(ctx, u, s, device, r.who.Operator())
		return Answer[CallerCheck]{Status: http.StatusCreated}, err // the code is not kept with the answer
	})
	if err != nil {
		return none, err
	}
	check, err := callercheck.Read(ctx, r.unit(), s)
	a.Body = r.desk.showCheck(check)
	return a, err
}

// useCaller stages the use of the caller's confirmation.
func (r *Room) useCaller(ctx context.Context, u *work.Unit, action callercheck.Action, id, userID string) error {
	if userID == "" {
		return problem.Refuse(fault.CallerNotConfirmed, "Intune tells no user of this device, so nobody can confirm.")
	}
	err := callercheck.Use(ctx, u, callercheck.Subject{Action: action, Of: id, UserID: userID, Operator: r.who.ID})
	if errors.Is(err, callercheck.ErrUnconfirmed) {
		return &problem.Refusal{Code: fault.CallerNotConfirmed, Err: err}
	}
	return err
}

// confirmed stages that the caller's confirmation was used for a reset that is to begin, and says when. A device that has a reset which
// has not ended gets none, so nothing is used.
func (r *Room) confirmed(ctx context.Context, u *work.Unit, device string, rule rule) (time.Time, error) {
	if !rule.caller {
		return time.Time{}, nil
	}
	d, err := passcode.ReadDevice(ctx, u, device)
	if err != nil || d.Pending != "" {
		return time.Time{}, err
	}
	return u.Now(), r.useCaller(ctx, u, callercheck.Reset, device, rule.userID)
}

// ConfirmCaller takes the code that a user typed who calls the help desk. Whatever is wrong with it, the answer is the same.
func (d *Desk) ConfirmCaller(ctx context.Context, who identity.Principal, code string) error {
	person := who.Person
	if person == nil {
		return problem.Refuse(fault.Forbidden, "A caller signs in with Microsoft; a token does not tell who holds it.")
	}
	wrong := invalid("body.code", "is not right or has expired; the help desk can make another one")
	if _, err := tenant.Get(ctx, d.o.Store, person.Tenant); errors.Is(err, work.ErrNotFound) || person.Guest {
		return wrong
	} else if err != nil {
		return err
	}
	code = strings.Join(strings.Fields(code), "")
	var confirmed bool
	err := d.change(ctx, person.Tenant, func(u *work.Unit) (err error) {
		confirmed, err = callercheck.Confirm(ctx, u, d.callers, person.Object, code, who.Operator())
		return err
	})
	if err == nil && !confirmed {
		return wrong
	}
	return err
}
