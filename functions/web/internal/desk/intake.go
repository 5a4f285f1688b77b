package desk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/functions/web/internal/problem"
	"pinreset/shared/approval"
	"pinreset/shared/budget"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
	"pinreset/shared/onboarding"
	"pinreset/shared/passcode"
	"pinreset/shared/policy"
	"pinreset/shared/portal"
	"pinreset/shared/rollout"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

// Accepted says that an event's work is on stable storage.
type Accepted struct {
	ID        string `json:"id" doc:"The event's id"`
	RequestID string `json:"requestId" doc:"Names the request in every later event. While a device has a reset that has not ended, it is that one's"`
	Location  string `json:"location,omitempty" doc:"Where the request can be read"`
}

// Take accepts one event of a system beside pinreset: a request, by the rules of the same request from a person. Whoever
// the event says it is by, it is by the principal. Its id is its idempotency key, for all senders of the tenant's events.
func (d *Desk) Take(ctx context.Context, who identity.Principal, raw []byte) (Answer[Accepted], error) {
	var none Answer[Accepted]
	e, err := events.Parse(raw)
	switch field, isField := errors.AsType[*events.FieldError](err); {
	case isField:
		return none, invalid("body."+field.Field, field.Problem)
	case errors.Is(err, events.ErrTooLarge):
		return none, &problem.Refusal{Code: fault.RequestTooLarge, Err: err}
	case err != nil:
		return none, &problem.Refusal{Code: fault.InvalidRequest, Detail: "The body is not one CloudEvent in JSON.", Err: err}
	}
	if !events.FromOutside(e.Data.Kind()) {
		return none, invalid("body.type", "is a kind that only pinreset sends")
	}
	var sent bytes.Buffer
	if err := json.Compact(&sent, raw); err != nil {
		return none, &problem.Refusal{Code: fault.InvalidRequest, Err: err}
	}
	c := call{key: "event " + e.Tenant + " " + e.ID, what: "event", body: json.RawMessage(sent.Bytes())}
	if e.Time.IsZero() {
		e.Time = d.o.Now().UTC()
	}
	e.TraceParent = events.TraceFrom(ctx)
	if added, ok := e.Data.(events.TenantAdded); ok {
		return d.takeTenant(ctx, who, e, added, c)
	}
	room, err := d.Enter(ctx, who, e.Tenant)
	if err != nil {
		return none, err
	}
	switch data := e.Data.(type) {
	case events.ConsentRequested:
		return room.takeConsent(ctx, e, data, c)
	case events.TenantAuditRequested:
		return room.takeAudit(ctx, e, data, c)
	case events.PasscodeResetRequested:
		return room.takeReset(ctx, e, data, c)
	case events.PortalActionRecorded:
		return room.takeRecord(ctx, e, data, c)
	case events.PolicyRolloutRequested:
		return room.takeRollout(ctx, e, data, c)
	case events.PolicyRollbackRequested:
		return room.takeRollback(ctx, e, data, c)
	default:
		return none, fmt.Errorf("no way to take %s", e.Data.Kind())
	}
}

func (d *Desk) takeTenant(ctx context.Context, who identity.Principal, e events.Event, added events.TenantAdded, c call) (Answer[Accepted], error) {
	if !who.Sees(e.Tenant) {
		return Answer[Accepted]{}, missing(nil)
	}
	if err := needEverywhere(who, identity.TenantOnboard); err != nil {
		return Answer[Accepted]{}, err
	}
	if added.Domain != "" {
		return Answer[Accepted]{}, invalid("body.data.domain", "is not taken from outside: a tenant on premises is added through the API, which chooses its id")
	}
	added.By = who.Sender()
	e.Data = added
	return once(ctx, d, tenant.Partition, c, func(u *work.Unit) (Answer[Accepted], error) {
		_, err := register(ctx, u, e, added)
		return accepted(e, added.RequestID, "/v1/tenants/"+e.Tenant), err
	})
}

func (r *Room) takeConsent(ctx context.Context, e events.Event, asked events.ConsentRequested, c call) (Answer[Accepted], error) {
	if err := r.needInEntra(identity.TenantOnboard); err != nil {
		return Answer[Accepted]{}, err
	}
	asked.By = r.who.Sender()
	e.Data = asked
	return once(ctx, r.desk, r.ID(), c, func(u *work.Unit) (Answer[Accepted], error) {
		return accepted(e, asked.RequestID, "/v1/tenants/"+r.ID()+"/consent"), u.Relay(onboarding.Queue, e)
	})
}

func (r *Room) takeReset(ctx context.Context, e events.Event, asked events.PasscodeResetRequested, c call) (Answer[Accepted], error) {
	if err := r.needInEntra(identity.ResetStart); err != nil {
		return Answer[Accepted]{}, err
	}
	asked.By = r.who.Sender()
	second, err := r.second(ctx, asked.DeviceID)
	if err != nil {
		return Answer[Accepted]{}, err
	}
	a, err := once(ctx, r.desk, r.ID(), c, func(u *work.Unit) (Answer[Accepted], error) {
		// The sender chose the reset's id, so it may be taken; a new reset would then never be accepted. One that waits for a second
		// person has its id, too.
		_, begun := passcode.Read(ctx, u, asked.RequestID)
		_, held := approval.Read(ctx, u, asked.RequestID)
		for _, err := range []error{begun, held} {
			switch {
			case err == nil:
				return Answer[Accepted]{}, problem.Refuse(fault.StateConflict, "There is a reset with this requestId already.")
			case !errors.Is(err, work.ErrNotFound):
				return Answer[Accepted]{}, err
			}
		}
		if second.why != "" {
			return Answer[Accepted]{}, problem.Refuse(fault.SecondPersonRequired, "")
		}
		if second.caller {
			return Answer[Accepted]{}, problem.Refuse(fault.CallerNotConfirmed, "")
		}
		reset, existing, err := passcode.Accept(ctx, u, asked)
		if err != nil {
			return Answer[Accepted]{}, fmt.Errorf("accept reset of %s: %w", asked.DeviceID, err)
		}
		a := accepted(e, reset.ID, r.resetPath(reset.ID))
		if existing {
			return a, nil
		}
		return a, r.spend(ctx, u, budget.Resets)
	})
	return a, r.spent(ctx, asked.DeviceID, err)
}

// takeRecord accepts a record of Intune's audit log, or several. What becomes of them is for the function portalaction.
func (r *Room) takeRecord(ctx context.Context, e events.Event, d events.PortalActionRecorded, c call) (Answer[Accepted], error) {
	if err := r.needInEntra(identity.PortalRecord); err != nil {
		return Answer[Accepted]{}, err
	}
	d.By = r.who.Sender()
	e.Data = d
	return once(ctx, r.desk, r.ID(), c, func(u *work.Unit) (Answer[Accepted], error) {
		return accepted(e, d.RequestID, ""), u.Relay(portal.Queue.Bulk(), e)
	})
}

func (r *Room) takeRollout(ctx context.Context, e events.Event, asked events.PolicyRolloutRequested, c call) (Answer[Accepted], error) {
	if err := r.needInEntra(identity.PolicyWrite); err != nil {
		return Answer[Accepted]{}, err
	}
	target, err := Target{
		Shape: policy.Shape(asked.Shape), Include: asked.Include, Exclude: asked.Exclude, AllDevices: asked.AllDevices, AllUsers: asked.AllUsers,
	}.normal(r.ID())
	if err != nil {
		return Answer[Accepted]{}, inEvent(err)
	}
	asked = target.request(asked.RequestID, NewRollout{PlanHash: asked.PlanHash, Reason: asked.Reason}, r.who.Sender())
	return once(ctx, r.desk, r.ID(), c, func(u *work.Unit) (Answer[Accepted], error) {
		// The sender chose the rollout's id, so it may be taken.
		switch _, err := rollout.Read(ctx, u, asked.RequestID); {
		case err == nil:
			return Answer[Accepted]{}, problem.Refuse(fault.StateConflict, "There is a rollout with this requestId already.")
		case !errors.Is(err, work.ErrNotFound):
			return Answer[Accepted]{}, err
		}
		started, _, err := rollout.Accept(ctx, u, asked)
		if err != nil {
			return Answer[Accepted]{}, busy(err, started)
		}
		return accepted(e, started.ID, r.rolloutPath(started.ID)), nil
	})
}

func (r *Room) takeRollback(ctx context.Context, e events.Event, asked events.PolicyRollbackRequested, c call) (Answer[Accepted], error) {
	if err := r.Need(identity.PolicyWrite); err != nil {
		return Answer[Accepted]{}, err
	}
	asked.By = r.who.Sender()
	return once(ctx, r.desk, r.ID(), c, func(u *work.Unit) (Answer[Accepted], error) {
		withdrawn, err := rollout.Withdraw(ctx, u, asked)
		if err != nil {
			return Answer[Accepted]{}, busy(err, withdrawn)
		}
		_, err = u.Send(ctx, rollout.Queue, time.Time{}, asked)
		return accepted(e, asked.RequestID, r.rolloutPath(asked.RolloutID)), err
	})
}

// inEvent moves the places of a refusal from a request's body into the event's data.
func inEvent(err error) error {
	if refusal, ok := errors.AsType[*problem.Refusal](err); ok {
		for i, f := range refusal.Fields {
			refusal.Fields[i].Location = strings.Replace(f.Location, "body.", "body.data.", 1)
		}
	}
	return err
}

func accepted(e events.Event, request, location string) Answer[Accepted] {
	return Answer[Accepted]{
		Status: http.StatusAccepted, Location: location, Body: Accepted{ID: e.ID, RequestID: request, Location: location},
	}
}
