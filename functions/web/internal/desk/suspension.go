package desk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"pinreset/events"
	"pinreset/functions/web/internal/problem"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
	"pinreset/shared/suspension"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

// Suspension is somebody who was stopped, as it is shown.
type Suspension struct {
	ID       string        `json:"id" doc:"Of the person or token, as the audit log has it"`
	Name     string        `json:"name"`
	Active   bool          `json:"active" doc:"Whether the person is still stopped"`
	At       time.Time     `json:"at"`
	Asked    int           `json:"asked" doc:"How many resets and codes were asked for, the last one included"`
	Minutes  int           `json:"minutes" doc:"Within how many minutes"`
	LiftedAt time.Time     `json:"liftedAt,omitzero"`
	LiftedBy *events.Actor `json:"liftedBy,omitempty"`
}

// Lifting asks to let somebody go on.
type Lifting struct {
	Reason string `json:"reason" doc:"Why, for the audit log"`
}

func showSuspension(s suspension.Suspension) Suspension {
	return Suspension{ID: s.Who.ID, Name: s.Who.Name, Active: s.Active(), At: s.At, Asked: s.Asked, Minutes: int(s.Within / time.Minute), LiftedAt: s.EndedAt, LiftedBy: s.LiftedBy}
}

// notSuspended refuses somebody who was stopped in the tenant.
func (d *Desk) notSuspended(ctx context.Context, who, tenantID string) error {
	s, err := suspension.Read(ctx, work.NewUnit(d.o.Store, tenantID, d.o.Now(), d.o.NewID), who)
	if err == nil && s.Active() {
		return problem.Refuse(fault.PersonSuspended, "")
	}
	return err
}

// Suspensions lists who was stopped, those who were let go on included.
func (r *Room) Suspensions(ctx context.Context, page Page) (List[Suspension], error) {
	if err := r.Need(identity.GrantWrite); err != nil {
		return List[Suspension]{}, err
	}
	return paged(r, "suspensions", page, func(limit int, place string) (shown []Suspension, next string, err error) {
		all, next, err := suspension.List(ctx, r.desk.o.Store, r.ID(), limit, place)
		for _, s := range all {
			shown = append(shown, showSuspension(s))
		}
		return shown, next, err
	})
}

// Lift lets somebody who was stopped go on, from the next request on. Nobody lifts his own suspension: it lets him into no room.
func (r *Room) Lift(ctx context.Context, key, id string, in Lifting) (Answer[Suspension], error) {
	var none Answer[Suspension]
	if err := r.Need(identity.GrantWrite); err != nil {
		return none, err
	}
	if s, err := suspension.Read(ctx, r.unit(), id); err != nil {
		return none, err
	} else if s.At.IsZero() {
		return none, missing(nil)
	}
	if err := checkWhy(in.Reason, "", true); err != nil {
		return none, err
	}
	c, err := r.call(key, "lift suspension "+id, in)
	if err != nil {
		return none, err
	}
	return once(ctx, r.desk, r.ID(), c, func(u *work.Unit) (Answer[Suspension], error) {
		s, err := suspension.Lift(ctx, u, id, in.Reason, r.who.Operator())
		if errors.Is(err, work.ErrNotFound) {
			return none, problem.Refuse(fault.StateConflict, "The suspension was lifted already.")
		}
		return Answer[Suspension]{Status: http.StatusOK, Body: showSuspension(s)}, err
	})
}

// rate is what the tenant takes for too fast.
func (r *Room) rate(ctx context.Context, u *work.Unit) (suspension.Rate, error) {
	s, err := tenant.ReadSettings(ctx, u)
	if err != nil {
		return suspension.Rate{}, fmt.Errorf("read settings of %s: %w", r.ID(), err)
	}
	return suspension.Rate{Above: s.SuspendAt(), Within: time.Duration(s.SuspendMinutes) * time.Minute}, nil
}

// suspend stops who is in the room, and returns what the person is told.
func (r *Room) suspend(ctx context.Context) error {
	err := r.desk.change(ctx, r.ID(), func(u *work.Unit) error {
		rate, err := r.rate(ctx, u)
		if err != nil {
			return err
		}
		return suspension.Suspend(ctx, u, r.who.Operator(), rate)
	})
	if err != nil {
		return fmt.Errorf("suspend %s: %w", r.who.ID, err)
	}
	return problem.Refuse(fault.PersonSuspended, "")
}
