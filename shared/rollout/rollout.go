// Package rollout is the domain of rolling EnablePinRecovery out to a tenant: what was asked for, how far it got, what devices
// made of it over time, and how it is taken back.
//
// A rollout is one row of its tenant's partition, which the function policyrollout moves forward. Only one rollout or rollback
// of a tenant writes at a time: it holds the tenant's turn, so that two of them can't create the same policy twice or undo each
// other. Watching devices needs no turn.
//
// It is not the place of what a policy looks like in Graph (package policy), and calls nothing.
package rollout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"pinreset/events"
	"pinreset/shared/audit"
	"pinreset/shared/fault"
	"pinreset/shared/policy"
	"pinreset/shared/work"
)

// Queue is where rollout work waits.
const Queue work.Queue = "policy"

// State is where a rollout stands.
type State string

// States of a rollout.
const (
	Accepted    State = "accepted"    // stored; nothing was written to the tenant
	Creating    State = "creating"    // the call that creates the policy is about to be made, or was
	Assigning   State = "assigning"   // the policy is there; its value and assignments are being brought in order
	Watching    State = "watching"    // in place; devices take it at their next contact
	Completed   State = "completed"   // nothing is left to watch
	Failed      State = "failed"      // see FailureCode and Diagnostics
	Withdrawing State = "withdrawing" // being rolled back
	RolledBack  State = "rolledback"
)

// ConsentLink is a link that an administrator must follow before the rollout can be asked for again.
type ConsentLink struct {
	Step    string `json:"step"`
	URL     string `json:"url"`
	Warning string `json:"warning,omitempty"`
}

// Note is something that was done for a rollout.
type Note struct {
	At   time.Time `json:"at"`
	Text string    `json:"text"`
}

// Rollout is one request to roll the policy out.
type Rollout struct {
	ID          string       `json:"id"`
	State       State        `json:"state"`
	Shape       policy.Shape `json:"shape"`
	Include     []string     `json:"include,omitempty"`
	Exclude     []string     `json:"exclude,omitempty"`
	AllDevices  bool         `json:"allDevices,omitempty"`
	AllUsers    bool         `json:"allUsers,omitempty"`
	PlanHash    string       `json:"planHash,omitempty"` // the plan that it must carry out
	Reason      string       `json:"reason"`
	By          events.Actor `json:"by"`
	RequestedAt time.Time    `json:"requestedAt"`
	BeginBy     time.Time    `json:"beginBy,omitzero"` // when it is too late to begin
	EndedAt     time.Time    `json:"endedAt,omitzero"`

	PolicyID   string              `json:"policyId,omitempty"`
	PolicyName string              `json:"policyName,omitempty"`
	Created    bool                `json:"created,omitempty"`  // the policy was created by this rollout, and not found
	IntentAt   time.Time           `json:"intentAt,omitzero"`  // when a create was about to be made
	PlacedAt   time.Time           `json:"placedAt,omitzero"`  // value and assignments read back as asked
	Writes     int                 `json:"writes"`             // calls to Graph that changed something
	Steps      []Note              `json:"steps,omitempty"`    // newest last, at most keptSteps
	Added      []policy.Assignment `json:"added,omitempty"`    // targets that it added, which a rollback may take away
	Findings   []policy.Finding    `json:"findings,omitempty"` // wrong among the tenant's policies when it read them, at most keptFindings
	Links      []ConsentLink       `json:"links,omitempty"`    // where consent was missing

	Progress   *Progress `json:"progress,omitempty"` // the latest; nil: nothing was looked at yet
	Samples    []Sample  `json:"samples,omitempty"`  // progress over time, oldest first
	WatchUntil time.Time `json:"watchUntil,omitzero"`

	CheckID   string     `json:"checkId,omitempty"` // the one reminder that counts
	Checks    int        `json:"checks,omitempty"`
	NextCheck time.Time  `json:"nextCheck,omitzero"`
	Why       fault.Code `json:"why,omitempty"` // why it waits

	Rollback *Rollback `json:"rollback,omitempty"` // the latest

	FailureCode fault.Code `json:"failureCode,omitempty"`
	FailedIn    State      `json:"failedIn,omitempty"` // the state it was in before it failed
	Diagnostics string     `json:"diagnostics,omitempty"`
}

// Rollback is a request to take a rollout back.
type Rollback struct {
	ID          string       `json:"id"`
	Unassign    bool         `json:"unassign,omitempty"`
	Delete      bool         `json:"delete,omitempty"`
	Reason      string       `json:"reason"`
	By          events.Actor `json:"by"`
	RequestedAt time.Time    `json:"requestedAt"`
	FalseAt     time.Time    `json:"falseAt,omitzero"` // the value was read back as false
	WaitUntil   time.Time    `json:"waitUntil,omitzero"`
	Progress    *Progress    `json:"progress,omitempty"` // of devices that took the false
	Unassigned  bool         `json:"unassigned,omitempty"`
	Deleted     bool         `json:"deleted,omitempty"`
	Remains     string       `json:"remains,omitempty"` // what may stay on devices
	EndedAt     time.Time    `json:"endedAt,omitzero"`
}

const (
	keptSteps    = 40
	keptFindings = 50
	// BeginWithin is how long a rollout waits for its turn, or for a cloud that can't be reached, before it is given up.
	BeginWithin = 24 * time.Hour
)

// Open reports whether the rollout, or its rollback, has not ended.
func (r Rollout) Open() bool { return r.Writing() || r.State == Watching }

// Writing reports whether it may still write to the tenant, for which it needs the turn.
func (r Rollout) Writing() bool {
	switch r.State {
	case Accepted, Creating, Assigning, Withdrawing:
		return true
	}
	return false
}

// Run is the request that the rollout is worked on for: the rollback's while there is one.
func (r Rollout) Run() string {
	if r.State == Withdrawing && r.Rollback != nil {
		return r.Rollback.ID
	}
	return r.ID
}

// Desired is what it asks the policy to be.
func (r Rollout) Desired() policy.Desired {
	return policy.Desired{
		Shape: r.Shape, Value: policy.On, Include: r.Include, Exclude: r.Exclude, AllDevices: r.AllDevices, AllUsers: r.AllUsers,
	}.Normal()
}

// Ref names the policy.
func (r Rollout) Ref() policy.Ref { return policy.Ref{Store: r.Shape.Store(), ID: r.PolicyID} }

// Same reports whether the two ask for the same.
func (r Rollout) Same(want events.PolicyRolloutRequested) bool {
	return string(r.Shape) == want.Shape && sameSet(r.Include, want.Include) && sameSet(r.Exclude, want.Exclude) &&
		r.AllDevices == want.AllDevices && r.AllUsers == want.AllUsers
}

func sameSet(a, b []string) bool {
	return slices.Equal(slices.Compact(slices.Sorted(slices.Values(a))), slices.Compact(slices.Sorted(slices.Values(b))))
}

// Note adds what was done.
func (r *Rollout) Note(at time.Time, format string, args ...any) {
	r.Steps = append(r.Steps, Note{At: at, Text: fmt.Sprintf(format, args...)})
	r.Steps = r.Steps[max(0, len(r.Steps)-keptSteps):]
}

// Found keeps what was wrong among the tenant's policies.
func (r *Rollout) Found(findings []policy.Finding) {
	r.Findings = findings[:min(len(findings), keptFindings)]
}

// Prefix is the row prefix of rollouts; they list newest first.
const Prefix = "rollout|"

// turnRow says who may write.
const turnRow = "rollouts"

func row(id string) string { return Prefix + work.Descending(id) }

// turn is who may write to the tenant's policy, and which rollout stands.
type turn struct {
	Holder  string    `json:"holder,omitempty"`  // id of the rollout that may write
	Current string    `json:"current,omitempty"` // id of the rollout that was placed last
	WriteAt time.Time `json:"writeAt,omitzero"`  // a run was about to write to the tenant, and has not said that the call was answered
}

// Read returns a rollout of the unit's tenant, or work.ErrNotFound.
func Read(ctx context.Context, u *work.Unit, id string) (Rollout, error) {
	var r Rollout
	err := u.Get(ctx, row(id), &r)
	if errors.Is(err, work.ErrBadKey) {
		err = work.ErrNotFound
	}
	return r, err
}

// Write stages the rollout.
func Write(u *work.Unit, r Rollout) error { return u.Put(row(r.ID), r) }

// List returns a page of a tenant's rollouts, newest first.
func List(ctx context.Context, s work.Store, tenant string, limit int, page string) (rollouts []Rollout, next string, err error) {
	p, err := s.List(ctx, work.Query{Partition: tenant, Prefix: Prefix, Limit: limit, Page: page})
	if err != nil {
		return nil, "", fmt.Errorf("list rollouts of %s: %w", tenant, err)
	}
	for _, row := range p.Rows {
		var r Rollout
		if err := json.Unmarshal(row.Value, &r); err != nil {
			return nil, "", fmt.Errorf("decode %s: %w", row.Row, err)
		}
		rollouts = append(rollouts, r)
	}
	return rollouts, p.Next, nil
}

// Current returns the rollout that was placed last and not taken back, or work.ErrNotFound.
func Current(ctx context.Context, u *work.Unit) (Rollout, error) {
	t, err := readTurn(ctx, u)
	if err != nil {
		return Rollout{}, err
	}
	if t.Current == "" {
		return Rollout{}, fmt.Errorf("current rollout: %w", work.ErrNotFound)
	}
	return Read(ctx, u, t.Current)
}

func readTurn(ctx context.Context, u *work.Unit) (turn, error) {
	var t turn
	if err := u.Get(ctx, turnRow, &t); err != nil && !errors.Is(err, work.ErrNotFound) {
		return t, err
	}
	return t, nil
}

// Record stages a new rollout with its audit entry.
func Record(u *work.Unit, want events.PolicyRolloutRequested) (Rollout, error) {
	r := Rollout{
		ID: want.RequestID, State: Accepted, Shape: policy.Shape(want.Shape), Include: want.Include, Exclude: want.Exclude,
		AllDevices: want.AllDevices, AllUsers: want.AllUsers, PlanHash: want.PlanHash, Reason: want.Reason, By: want.By,
		RequestedAt: u.Now(), BeginBy: u.Now().Add(BeginWithin),
	}
	return r, errors.Join(u.Create(row(r.ID), r), audit.Append(u, audit.Entry{
		Actor: r.By, Action: audit.RolloutRequested, RequestID: r.ID, Reason: r.Reason, Change: map[string]string{"shape": string(r.Shape)},
	}))
}

// Accept stages a new rollout and its first message; it is accepted once the unit commits. While another one that asks for the
// same may still write, it stages nothing and returns that one, with existing true; one that asks for something else is ErrBusy.
func Accept(ctx context.Context, u *work.Unit, want events.PolicyRolloutRequested) (r Rollout, existing bool, err error) {
	t, other, err := holder(ctx, u)
	switch {
	case err != nil:
		return r, false, err
	case other.ID != "" && other.State != Withdrawing && other.Same(want):
		return other, true, nil
	case other.ID != "":
		return other, false, fmt.Errorf("%s is %s: %w", other.ID, other.State, ErrBusy)
	}
	if r, err = Record(u, want); err != nil {
		return r, false, err
	}
	t.Holder = r.ID
	if err := u.Put(turnRow, t); err != nil {
		return r, false, err
	}
	_, err = u.Send(ctx, Queue, time.Time{}, want)
	return r, false, err
}

// ErrBusy: another rollout or rollback of the tenant has not done its writing.
var ErrBusy = errors.New("another rollout of the tenant is being written")

// Holder returns the rollout that has the tenant's turn; its ID is "" where there is none.
func Holder(ctx context.Context, u *work.Unit) (Rollout, error) {
	_, r, err := holder(ctx, u)
	return r, err
}

// holder reads the turn once: who takes it must write over what he judged by, and not over what came since.
func holder(ctx context.Context, u *work.Unit) (turn, Rollout, error) {
	t, err := readTurn(ctx, u)
	if err != nil || t.Holder == "" {
		return t, Rollout{}, err
	}
	r, err := Read(ctx, u, t.Holder)
	if errors.Is(err, work.ErrNotFound) || err == nil && !r.Writing() {
		return t, Rollout{}, nil // its row says that it has ended
	}
	return t, r, err
}

// Take stages the turn of a rollout, or returns ErrBusy where another one has it.
func Take(ctx context.Context, u *work.Unit, id string) error {
	t, other, err := holder(ctx, u)
	if err != nil {
		return err
	}
	if other.ID != "" && other.ID != id {
		return fmt.Errorf("%s is %s: %w", other.ID, other.State, ErrBusy)
	}
	if t.Holder == id {
		return nil
	}
	t.Holder = id
	return u.Put(turnRow, t)
}

// InFlight returns how long a write to the tenant may still be on its way, of a run that came to no end that it could tell: at most
// longest, which is longer than a call may take. Until then nobody else writes, because that call could go over what he wrote.
func InFlight(ctx context.Context, u *work.Unit, longest time.Duration) (time.Duration, error) {
	t, err := readTurn(ctx, u)
	if err != nil || t.WriteAt.IsZero() {
		return 0, err
	}
	ago := u.Now().Sub(t.WriteAt)
	if ago < -longest {
		return 0, nil // the clock was set back since
	}
	return min(max(longest-ago, 0), longest), nil
}

// Claim stages that a run of the rollout is about to write to the tenant. It is committed before the write, which a run that has
// been overtaken can't.
func Claim(ctx context.Context, u *work.Unit, r Rollout) error {
	t, err := readTurn(ctx, u)
	if err != nil {
		return err
	}
	t.WriteAt = u.Now()
	return errors.Join(u.Put(turnRow, t), Write(u, r))
}

// Answered stages that what the rollout claimed got its answer: nothing of it is on its way any more.
func Answered(ctx context.Context, u *work.Unit, id string) error {
	t, err := readTurn(ctx, u)
	if err != nil || t.WriteAt.IsZero() || t.Holder != id {
		return err
	}
	t.WriteAt = time.Time{}
	return u.Put(turnRow, t)
}

// Place stages a rollout that is in place: it stands from now on, gives up its turn, and devices are watched. What the one that
// stood before it had added to the same policy is its own from now on, so that its rollback takes all of it away.
func Place(ctx context.Context, u *work.Unit, r *Rollout) error {
	before, err := Current(ctx, u)
	switch {
	case errors.Is(err, work.ErrNotFound):
	case err != nil:
		return err
	case before.ID != r.ID && before.PolicyID == r.PolicyID:
		r.Added = append(r.Added, policy.Missing(before.Added, r.Added)...)
	}
	return leave(ctx, u, *r, func(t *turn) { t.Current, t.WriteAt = r.ID, time.Time{} })
}

// End stages a rollout that has ended in the state.
func End(ctx context.Context, u *work.Unit, r Rollout, state State) error {
	r.State, r.EndedAt, r.Why, r.CheckID, r.NextCheck = state, u.Now(), "", "", time.Time{}
	return leave(ctx, u, r, func(t *turn) {
		if state == RolledBack && t.Current == r.ID {
			t.Current = ""
		}
		if t.Holder == r.ID && state != Failed { // whoever records a failure can't know whether a call of the run that failed is still on its way
			t.WriteAt = time.Time{}
		}
	})
}

func leave(ctx context.Context, u *work.Unit, r Rollout, also func(*turn)) error {
	before, err := readTurn(ctx, u)
	if err != nil {
		return err
	}
	after := before
	also(&after)
	if after.Holder == r.ID {
		after.Holder = ""
	}
	if after == before {
		return Write(u, r)
	}
	return errors.Join(Write(u, r), u.Put(turnRow, after))
}

// ErrNothing: the rollout has written nothing that could be taken back, it was taken back, or a later one stands in its place.
var ErrNothing = errors.New("there is nothing to take back")

// Withdraw stages the rollback of a rollout and its audit entry, or returns ErrBusy or ErrNothing. Where the same rollback is
// recorded already it stages nothing.
func Withdraw(ctx context.Context, u *work.Unit, want events.PolicyRollbackRequested) (Rollout, error) {
	r, err := Read(ctx, u, want.RolloutID)
	if err != nil {
		return r, err
	}
	switch {
	case r.Rollback != nil && r.Rollback.ID == want.RequestID:
		return r, nil
	case r.Writing():
		return r, fmt.Errorf("%s is %s: %w", r.ID, r.State, ErrBusy)
	case r.PolicyID == "" || r.State == RolledBack:
		return r, fmt.Errorf("%s is %s: %w", r.ID, r.State, ErrNothing)
	}
	switch standing, err := Current(ctx, u); {
	case errors.Is(err, work.ErrNotFound):
	case err != nil:
		return r, err
	case standing.ID != r.ID && standing.PolicyID == r.PolicyID:
		return r, fmt.Errorf("%s stands in place of %s: %w", standing.ID, r.ID, ErrNothing)
	}
	if err := Take(ctx, u, r.ID); err != nil {
		return r, err
	}
	r.State, r.EndedAt, r.FailureCode, r.FailedIn, r.Diagnostics, r.CheckID, r.Checks, r.NextCheck = Withdrawing, time.Time{}, "", "", "", "", 0, time.Time{}
	r.Rollback = &Rollback{
		ID: want.RequestID, Unassign: want.Unassign || want.Delete, Delete: want.Delete, Reason: want.Reason, By: want.By, RequestedAt: u.Now(),
	}
	return r, errors.Join(Write(u, r), audit.Append(u, audit.Entry{
		Actor: want.By, Action: audit.RollbackRequested, RequestID: want.RequestID, Reason: want.Reason, Change: map[string]string{"rollout": r.ID},
	}))
}

// Reopen stages a rollout that had failed and goes on in the state it failed in.
func Reopen(ctx context.Context, u *work.Unit, r Rollout) (Rollout, error) {
	r.State, r.FailureCode, r.FailedIn, r.Diagnostics, r.EndedAt = r.FailedIn, "", "", "", time.Time{}
	r.BeginBy = u.Now().Add(BeginWithin)
	r.NextCheck = u.Now() // it goes on right here: without this, it looks like one whose reminder was lost long ago
	if r.Writing() {
		if err := Take(ctx, u, r.ID); errors.Is(err, ErrBusy) {
			return r, fault.Permanent(fault.StateConflict, err)
		} else if err != nil {
			return r, err
		}
	}
	return r, Write(u, r)
}

// Forget stages the removal of a rollout that has ended, and reports false for one that stands.
func Forget(ctx context.Context, u *work.Unit, r Rollout) (bool, error) {
	t, err := readTurn(ctx, u)
	if err != nil || t.Current == r.ID || r.Open() {
		return false, err
	}
	u.Delete(row(r.ID))
	return true, nil
}
