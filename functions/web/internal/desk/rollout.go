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
	"pinreset/shared/diag"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
	"pinreset/shared/policy"
	"pinreset/shared/rollout"
	"pinreset/shared/work"
)

// Rollout is a rollout of the PIN recovery policy as it is shown.
type Rollout struct {
	ID           string                `json:"id"`
	State        rollout.State         `json:"state" enum:"accepted,creating,assigning,watching,completed,failed,withdrawing,rolledback"`
	Open         bool                  `json:"open" doc:"Whether it, or its rollback, has not ended"`
	Placed       bool                  `json:"placed" doc:"Whether the policy was read back as asked"`
	Shape        policy.Shape          `json:"shape"`
	Include      []string              `json:"include" nullable:"false" doc:"Groups that get the policy"`
	Exclude      []string              `json:"exclude" nullable:"false" doc:"Groups that do not"`
	AllDevices   bool                  `json:"allDevices"`
	AllUsers     bool                  `json:"allUsers"`
	PlanHash     string                `json:"planHash,omitempty"`
	Reason       string                `json:"reason"`
	By           events.Actor          `json:"by"`
	RequestedAt  time.Time             `json:"requestedAt"`
	PolicyID     string                `json:"policyId,omitempty" doc:"Intune's id"`
	PolicyName   string                `json:"policyName,omitempty"`
	Created      bool                  `json:"created" doc:"Whether the policy was created for it, and not found"`
	Writes       int                   `json:"writes" doc:"Calls that changed something in the tenant"`
	PlacedAt     time.Time             `json:"placedAt,omitzero"`
	Steps        []rollout.Note        `json:"steps" nullable:"false" doc:"What was done, oldest first"`
	Findings     []policy.Finding      `json:"findings" nullable:"false" doc:"What was wrong among the tenant's policies"`
	Links        []rollout.ConsentLink `json:"links" nullable:"false" doc:"Where an administrator of the tenant consents, when consent was missing"`
	Progress     *rollout.Progress     `json:"progress,omitempty" doc:"Devices by state; absent until they were looked at"`
	Percent      *int                  `json:"percent,omitempty" doc:"Share of the devices that have it, of those it applies to; absent where it is unknown"`
	Samples      []rollout.Progress    `json:"samples" nullable:"false" doc:"Progress over time, oldest first"`
	WatchUntil   time.Time             `json:"watchUntil,omitzero" doc:"When devices are no longer watched; that is no failure"`
	Why          fault.Code            `json:"why,omitempty" doc:"Why it waits"`
	WhyText      string                `json:"whyText,omitempty"`
	NextCheck    time.Time             `json:"nextCheck,omitzero"`
	Rollback     *rollout.Rollback     `json:"rollback,omitempty"`
	EndedAt      time.Time             `json:"endedAt,omitzero"`
	FailureCode  fault.Code            `json:"failureCode,omitempty"`
	FailureTitle string                `json:"failureTitle,omitempty"`
	Diagnostics  string                `json:"diagnostics,omitempty" doc:"Path of the page of the failure"`
}

// RolloutDetail is a rollout with what was done for it, and for its rollback.
type RolloutDetail struct {
	Rollout
	Timeline []diag.Attempt `json:"timeline" nullable:"false"`
}

// NewRollout asks for EnablePinRecovery to be switched on and assigned.
type NewRollout struct {
	Target
	PlanHash string `json:"planHash,omitempty" doc:"Hash of a plan: with any other nothing is written, and the answer is 409"`
	Reason   string `json:"reason" doc:"Why, for the audit log; at most 500 characters"`
}

// NewRollback asks for a rollout to be taken back: the value is written false first, and devices get time to take it.
type NewRollback struct {
	Unassign bool   `json:"unassign,omitempty" doc:"Take the rollout's assignments away afterwards"`
	Delete   bool   `json:"delete,omitempty" doc:"Delete the policy afterwards, where nobody else's assignment is on it"`
	Reason   string `json:"reason" doc:"Why, for the audit log; at most 500 characters"`
}

// StartRollout accepts a rollout. While one that asks for the same is being written, the answer is that one with status 200;
// beside one that asks for something else it is refused.
func (r *Room) StartRollout(ctx context.Context, key string, in NewRollout) (Answer[Rollout], error) {
	var none Answer[Rollout]
	if err := r.needInEntra(identity.PolicyWrite); err != nil {
		return none, err
	}
	if err := checkWhy(in.Reason, "", true); err != nil {
		return none, err
	}
	target, err := in.Target.normal(r.ID())
	if err != nil {
		return none, err
	}
	c, err := r.call(key, "start rollout", in)
	if err != nil {
		return none, err
	}
	// The plan is compared once, and not when the same call is answered again: by then the tenant looks different.
	compare := once1(func() error { return r.samePlan(ctx, target, in.PlanHash) })
	return once(ctx, r.desk, r.ID(), c, func(u *work.Unit) (Answer[Rollout], error) {
		if err := compare(); err != nil {
			return none, err
		}
		started, existing, err := rollout.Accept(ctx, u, target.request(u.NewID(), in, r.who.Operator()))
		if err != nil {
			return none, busy(err, started)
		}
		a := Answer[Rollout]{Status: http.StatusAccepted, Location: r.rolloutPath(started.ID), Body: showRollout(started)}
		if existing {
			a.Status = http.StatusOK
		}
		return a, nil
	})
}

// once1 runs fn the first time only, and gives its error ever after.
func once1(fn func() error) func() error {
	var err error
	done := false
	return func() error {
		if !done {
			done, err = true, fn()
		}
		return err
	}
}

func busy(err error, other rollout.Rollout) error {
	switch {
	case errors.Is(err, rollout.ErrBusy):
		return &problem.Refusal{Code: fault.StateConflict, Err: err, Instance: other.Diagnostics,
			Detail: "Rollout " + other.ID + " is " + string(other.State) + "; only one of a tenant is written at a time."}
	case errors.Is(err, rollout.ErrNothing):
		return &problem.Refusal{Code: fault.StateConflict, Err: err, Detail: "There is nothing to take back: the rollout put no policy in place, was taken back already, or a later one stands in its place."}
	case errors.Is(err, work.ErrNotFound):
		return missing(err)
	}
	return err
}

func (r *Room) rolloutPath(id string) string { return "/v1/tenants/" + r.ID() + "/rollouts/" + id }

// Rollouts lists the tenant's rollouts, newest first.
func (r *Room) Rollouts(ctx context.Context, page Page) (List[Rollout], error) {
	if err := r.Need(identity.PolicyRead); err != nil {
		return List[Rollout]{}, err
	}
	return paged(r, "rollouts", page, func(limit int, place string) (shown []Rollout, next string, err error) {
		rows, next, err := rollout.List(ctx, r.desk.o.Store, r.ID(), limit, place)
		for _, row := range rows {
			shown = append(shown, showRollout(row))
		}
		return shown, next, err
	})
}

// Rollout shows one rollout with what was done for it.
func (r *Room) Rollout(ctx context.Context, id string) (RolloutDetail, error) {
	// Who may start a rollout may see what becomes of it.
	if err := r.Need(identity.PolicyRead); err != nil && !r.Can(identity.PolicyWrite) {
		return RolloutDetail{}, err
	}
	found, err := rollout.Read(ctx, r.unit(), id)
	if errors.Is(err, work.ErrNotFound) {
		return RolloutDetail{}, missing(err)
	}
	if err != nil {
		return RolloutDetail{}, fmt.Errorf("read rollout %s: %w", id, err)
	}
	timeline, err := diag.Timeline(ctx, r.desk.o.Store, r.ID(), found.ID)
	if err == nil && found.Rollback != nil {
		var more []diag.Attempt
		more, err = diag.Timeline(ctx, r.desk.o.Store, r.ID(), found.Rollback.ID)
		timeline = slices.Concat(timeline, more)
	}
	if err != nil {
		return RolloutDetail{}, err
	}
	if timeline == nil {
		timeline = []diag.Attempt{}
	}
	return RolloutDetail{Rollout: showRollout(found), Timeline: timeline}, nil
}

// StartRollback accepts the rollback of a rollout.
func (r *Room) StartRollback(ctx context.Context, key, id string, in NewRollback) (Answer[Rollout], error) {
	var none Answer[Rollout]
	if err := r.Need(identity.PolicyWrite); err != nil {
		return none, err
	}
	if err := checkWhy(in.Reason, "", true); err != nil {
		return none, err
	}
	c, err := r.call(key, "roll back "+id, in)
	if err != nil {
		return none, err
	}
	return once(ctx, r.desk, r.ID(), c, func(u *work.Unit) (Answer[Rollout], error) {
		asked := events.PolicyRollbackRequested{
			RequestID: u.NewID(), RolloutID: id, Unassign: in.Unassign, Delete: in.Delete, Reason: in.Reason, By: r.who.Operator(),
		}
		if asked.Validate() != nil {
			return none, missing(nil) // the only value that is not checked yet is the id of the path
		}
		withdrawn, err := rollout.Withdraw(ctx, u, asked)
		if err != nil {
			return none, busy(err, withdrawn)
		}
		_, err = u.Send(ctx, rollout.Queue, time.Time{}, asked)
		return Answer[Rollout]{Status: http.StatusAccepted, Location: r.rolloutPath(id), Body: showRollout(withdrawn)}, err
	})
}

func showRollout(p rollout.Rollout) Rollout {
	out := Rollout{
		ID: p.ID, State: p.State, Open: p.Open(), Placed: !p.PlacedAt.IsZero(), Shape: p.Shape, Include: list(p.Include), Exclude: list(p.Exclude),
		AllDevices: p.AllDevices, AllUsers: p.AllUsers, PlanHash: p.PlanHash, Reason: p.Reason, By: p.By, RequestedAt: p.RequestedAt,
		PolicyID: p.PolicyID, PolicyName: p.PolicyName, Created: p.Created, Writes: p.Writes, PlacedAt: p.PlacedAt,
		Steps: list(p.Steps), Findings: list(p.Findings), Links: list(p.Links), Progress: p.Progress, Samples: list(p.Samples),
		WatchUntil: p.WatchUntil, Why: p.Why, WhyText: strings.TrimSpace(titleOf(p.Why)), NextCheck: p.NextCheck, Rollback: p.Rollback,
		EndedAt: p.EndedAt, FailureCode: p.FailureCode, FailureTitle: titleOf(p.FailureCode), Diagnostics: p.Diagnostics,
	}
	if p.Progress != nil {
		if percent, ok := p.Progress.Percent(); ok {
			out.Percent = &percent
		}
	}
	return out
}

// list makes an empty list of none, so that it is [] in JSON.
func list[T any](items []T) []T {
	if items == nil {
		return []T{}
	}
	return items
}
