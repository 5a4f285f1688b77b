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
	"pinreset/shared/approval"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
	"pinreset/shared/passcode"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

// Bulk is a bulk reset as it is shown.
type Bulk struct {
	ID           string             `json:"id"`
	State        passcode.BulkState `json:"state" enum:"unapproved,finding,running,planned,done,cancelled,failed"`
	Open         bool               `json:"open" doc:"Whether more devices are to be found, begun or followed"`
	Group        string             `json:"group,omitempty" doc:"Object id of the group; absent for all devices of the tenant"`
	Plan         bool               `json:"plan" doc:"Only finds and counts its devices"`
	PlanHash     string             `json:"planHash,omitempty" doc:"Names the devices that were found; start with it, and no other device is reset"`
	Counts       passcode.BulkTally `json:"counts"`
	CountedAt    time.Time          `json:"countedAt,omitzero"`
	CalledBy     time.Time          `json:"calledBy,omitzero" doc:"When the last device will have been called, as far as Graph's limits for bulk work alone decide: (limit − reserve) in 20 s"`
	Reason       string             `json:"reason"`
	Ticket       string             `json:"ticket,omitempty"`
	By           events.Actor       `json:"by"`
	AskedAt      time.Time          `json:"askedAt"`
	StartedAt    time.Time          `json:"startedAt,omitzero"`
	EndedAt      time.Time          `json:"endedAt,omitzero"`
	Approval     string             `json:"approval,omitempty" doc:"Id of the approval by a second person that it waits for, or had"`
	ApprovedBy   string             `json:"approvedBy,omitempty" doc:"Who that was"`
	FailureCode  fault.Code         `json:"failureCode,omitempty"`
	FailureTitle string             `json:"failureTitle,omitempty"`
	Diagnostics  string             `json:"diagnostics,omitempty" doc:"Path of the page of the failure"`
}

// NewBulk asks for many devices of the tenant to be reset.
type NewBulk struct {
	Group    string `json:"group,omitempty" doc:"Object id of a group: the devices of its members, and those that are members themselves"`
	All      bool   `json:"all,omitempty" doc:"All devices of the tenant"`
	PlanOnly bool   `json:"planOnly,omitempty" doc:"Find and count the devices, and begin nothing"`
	Expected int    `json:"expected,omitempty" minimum:"1" doc:"How many devices you expect; with another number nothing is begun"`
	PlanHash string `json:"planHash,omitempty" maxLength:"64" doc:"The planHash of a plan; with other devices nothing is begun"`
	Reason   string `json:"reason,omitempty" doc:"Why, for the audit log; a plan may do without"`
	Ticket   string `json:"ticket,omitempty"`
}

// StartBulk accepts a bulk reset. Which devices they are is found afterwards, so whoever asks must say how many there should
// be or name a plan.
func (r *Room) StartBulk(ctx context.Context, key string, in NewBulk) (Answer[Bulk], error) {
	var none Answer[Bulk]
	if err := r.needInEntra(identity.BulkReset); err != nil {
		return none, err
	}
	in.Group = strings.ToLower(in.Group)
	switch {
	case in.All == (in.Group != ""):
		return none, invalid("body", "must name either group or all")
	case in.Group != "" && !events.IsGUID(in.Group):
		return none, invalid("body.group", "must be a GUID")
	case !in.PlanOnly && in.Expected <= 0 && in.PlanHash == "":
		return none, invalid("body", "must have expected or planHash")
	case in.PlanOnly && (in.Expected != 0 || in.PlanHash != ""):
		return none, invalid("body", "a plan has neither expected nor planHash")
	}
	if err := checkWhy(in.Reason, in.Ticket, !in.PlanOnly); err != nil {
		return none, err
	}
	c, err := r.call(key, "bulk reset", in)
	if err != nil {
		return none, err
	}
	return once(ctx, r.desk, r.ID(), c, func(u *work.Unit) (Answer[Bulk], error) {
		s, err := tenant.ReadSettings(ctx, u)
		if err != nil {
			return none, fmt.Errorf("read settings of %s: %w", r.ID(), err)
		}
		if s.SecondPerson.ForBulk() && !in.PlanOnly {
			if in.PlanHash == "" { // the devices that are approved are those that are reset
				return none, invalid("body.planHash", "is needed where a second person approves: ask for a plan first")
			}
			return r.holdBulk(u, in)
		}
		b, err := passcode.AcceptBulk(ctx, u, passcode.Bulk{
			Group: in.Group, Plan: in.PlanOnly, Count: in.Expected, Hash: in.PlanHash, Reason: in.Reason, Ticket: in.Ticket, By: r.who.Operator(),
		})
		if err != nil {
			return none, fmt.Errorf("accept bulk reset: %w", err)
		}
		return Answer[Bulk]{Status: http.StatusAccepted, Location: r.bulkPath(b.ID), Body: showBulk(b)}, nil
	})
}

func (r *Room) bulkPath(id string) string { return "/v1/tenants/" + r.ID() + "/bulk-resets/" + id }

// Bulks lists the tenant's bulk resets, newest first.
func (r *Room) Bulks(ctx context.Context, page Page) (List[Bulk], error) {
	if err := r.Need(identity.TenantRead); err != nil {
		return List[Bulk]{}, err
	}
	return paged(r, "bulk resets", page, func(limit int, place string) (shown []Bulk, next string, err error) {
		bulks, next, err := passcode.ListBulks(ctx, r.desk.o.Store, r.ID(), limit, place)
		for _, b := range bulks {
			shown = append(shown, showBulk(b))
		}
		return shown, next, err
	})
}

// Bulk shows one bulk reset. Its counts are as old as they say.
func (r *Room) Bulk(ctx context.Context, id string) (Bulk, error) {
	if err := r.Need(identity.TenantRead); err != nil && !r.Can(identity.BulkReset) {
		return Bulk{}, err
	}
	b, err := r.readBulk(ctx, id)
	if isMissing(err) {
		a, err := r.held(ctx, id, approval.Bulk)
		return r.showHeldBulk(a), err
	}
	return showBulk(b), err
}

// BulkItems lists the devices of a bulk reset by id, with what has become of each.
func (r *Room) BulkItems(ctx context.Context, id string, page Page) (List[passcode.Item], error) {
	if err := r.Need(identity.TenantRead); err != nil {
		return List[passcode.Item]{}, err
	}
	b, err := r.readBulk(ctx, id)
	if err != nil {
		return List[passcode.Item]{}, err
	}
	return paged(r, "bulk items "+b.ID, page, func(limit int, place string) ([]passcode.Item, string, error) {
		items, next, err := passcode.Items(ctx, r.desk.o.Store, r.ID(), b.ID, limit, place)
		for i := range items {
			items[i].State = items[i].StateIn(b)
		}
		return items, next, err
	})
}

func (r *Room) readBulk(ctx context.Context, id string) (passcode.Bulk, error) {
	b, err := passcode.ReadBulk(ctx, r.unit(), id)
	if errors.Is(err, work.ErrNotFound) {
		return b, missing(err)
	}
	if err != nil {
		return b, fmt.Errorf("read bulk reset %s: %w", id, err)
	}
	return b, nil
}

// CancelBulk gives a bulk reset up: no further device is called. Those that were called may still carry it out, and are followed.
func (r *Room) CancelBulk(ctx context.Context, key, id string, in Cancellation) (Answer[Bulk], error) {
	var none Answer[Bulk]
	if err := r.Need(identity.BulkReset); err != nil {
		return none, err
	}
	if _, err := r.Bulk(ctx, id); err != nil {
		return none, err
	}
	if err := checkWhy(in.Reason, "", true); err != nil {
		return none, err
	}
	c, err := r.call(key, "cancel bulk reset "+id, in)
	if err != nil {
		return none, err
	}
	return once(ctx, r.desk, r.ID(), c, func(u *work.Unit) (Answer[Bulk], error) {
		b, err := passcode.CancelBulk(ctx, u, id, in.Reason, r.who.Operator())
		if errors.Is(err, work.ErrNotFound) {
			a, err := approval.Withdraw(ctx, u, approval.Bulk, id, in.Reason, r.who.Operator())
			if err != nil {
				return none, notValid(a, err)
			}
			return Answer[Bulk]{Status: http.StatusOK, Location: r.bulkPath(id), Body: r.showHeldBulk(a)}, nil
		}
		switch {
		case errors.Is(err, passcode.ErrEnded):
			return none, &problem.Refusal{Code: fault.StateConflict, Detail: "The bulk reset has ended: it is " + string(b.State) + ".", Instance: b.Diagnostics, Err: err}
		case err != nil:
			return none, fmt.Errorf("cancel bulk reset %s: %w", id, err)
		}
		return Answer[Bulk]{Status: http.StatusOK, Location: r.bulkPath(id), Body: showBulk(b)}, nil
	})
}

func showBulk(b passcode.Bulk) Bulk {
	open := b.Open() || b.State == passcode.BulkCancelled && b.Tally.Ended() < b.Tally.Total
	shown := Bulk{
		ID: b.ID, State: b.State, Open: open, Group: b.Group, Plan: b.Plan, PlanHash: b.Found, Counts: b.Tally, CountedAt: b.TalliedAt,
		CalledBy: b.CalledBy, Reason: b.Reason, Ticket: b.Ticket, By: b.By, AskedAt: b.AskedAt, StartedAt: b.StartedAt, EndedAt: b.EndedAt,
		FailureCode: b.FailureCode, FailureTitle: titleOf(b.FailureCode), Diagnostics: b.Diagnostics,
	}
	if b.Approved != nil {
		shown.Approval, shown.ApprovedBy = b.Approved.ID, b.Approved.By.Name
	}
	return shown
}
