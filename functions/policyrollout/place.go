package policyrollout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pinreset/events"
	"pinreset/shared/audit"
	"pinreset/shared/diag"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/policy"
	"pinreset/shared/rollout"
	"pinreset/shared/work"
)

// policies is what a rollout needs of Graph beside the directory.
type policies interface {
	Policies(ctx context.Context, tenant string) ([]policy.Found, error)
	Policy(ctx context.Context, tenant string, ref policy.Ref) ([]policy.Found, error)
	Assignments(ctx context.Context, tenant string, ref policy.Ref) ([]policy.Assignment, error)
	CreatePolicy(ctx context.Context, tenant string, shape policy.Shape) (id string, err error)
	SetPolicyValue(ctx context.Context, tenant string, f policy.Found, v policy.Value) error
	Assign(ctx context.Context, tenant string, ref policy.Ref, all []policy.Assignment) error
	DeletePolicy(ctx context.Context, tenant string, ref policy.Ref) error
	DeviceStatuses(ctx context.Context, tenant, id string) ([]graph.DeviceStatus, error)
	GroupKind(ctx context.Context, tenant, id string) (policy.GroupKind, error)
}

// place brings the tenant to what was asked for, from wherever an earlier run left it.
func (h *Handler) place(ctx context.Context, u *work.Unit, r rollout.Rollout) error {
	if !u.Now().Before(r.BeginBy) {
		return fault.Permanentf(fault.RolloutTooLate, "not in place by %s; it waited: %s", r.BeginBy.Format(time.RFC3339), r.Why)
	}
	if err := r.Desired().Validate(); err != nil {
		return fault.Permanent(fault.InvalidRequest, err)
	}
	if err := h.turn(ctx, u, r, r.BeginBy); err != nil {
		return err
	}
	if err := h.guard(ctx, u); err != nil {
		return wait(ctx, u, r, r.BeginBy, err)
	}
	found, err := h.Policies.Policies(ctx, u.Partition())
	if err != nil {
		return wait(ctx, u, r, r.BeginBy, fmt.Errorf("read policies: %w", err))
	}
	plan, err := r.Desired().Plan(u.Partition(), found, policy.PublishedPace)
	if err != nil {
		return refused(err)
	}
	if r.PlanHash != "" && r.State == rollout.Accepted && plan.Hash != r.PlanHash {
		return fault.Permanentf(fault.PlanChanged, "agreed to %s, and now it is %s", r.PlanHash, plan.Hash)
	}
	r.Found(rollout.Findings(rollout.After(found, r.Desired(), plan.Set), func(id string) (policy.GroupKind, error) {
		return h.Policies.GroupKind(ctx, u.Partition(), id)
	}))
	ours, ok := policy.Ours(found, r.Shape)
	if !ok {
		if ours, err = h.create(ctx, u, &r); err != nil {
			return err
		}
	} else if r.PolicyID == "" {
		// With an intent on disk it is what an earlier run created, whose answer was lost.
		r.PolicyID, r.PolicyName, r.Created, r.State = ours.ID, ours.Name, !r.IntentAt.IsZero(), rollout.Assigning
		note(ctx, u, &r, "found pinreset's policy of this shape: %s", ours.Name)
	}
	if err := h.bring(ctx, u, &r, ours); err != nil {
		return wait(ctx, u, r, r.BeginBy, err)
	}
	return h.inPlace(ctx, u, r)
}

// turn stages the tenant's turn, where nobody else writes. Waiting for a write that may still be on its way is not cut short by the
// deadline: ended, the rollout would lose its turn under another run of it that is writing.
func (h *Handler) turn(ctx context.Context, u *work.Unit, r rollout.Rollout, deadline time.Time) error {
	switch err := rollout.Take(ctx, u, r.ID); {
	case errors.Is(err, rollout.ErrBusy):
		return wait(ctx, u, r, deadline, fault.After(h.Schedule.Turn, fault.WaitingForTurn, err))
	case err != nil:
		return err
	}
	switch left, err := rollout.InFlight(ctx, u, h.Schedule.Trace); {
	case err != nil:
		return err
	case left > 0:
		return wait(ctx, u, r, u.Now().Add(left), fault.After(left, fault.WaitingForTurn, errors.New("a write of an earlier run may still be on its way")))
	}
	return nil
}

// claim puts on stable storage that this run is about to write to the tenant, and proves that it has not been overtaken.
func (h *Handler) claim(ctx context.Context, u *work.Unit, r rollout.Rollout) error {
	if err := errors.Join(rollout.Claim(ctx, u, r), u.Checkpoint(ctx)); err != nil {
		return fmt.Errorf("record turn of %s: %w", r.ID, err)
	}
	return nil
}

// create makes the policy. The intent is on stable storage before the call, and the policy's id right after it.
func (h *Handler) create(ctx context.Context, u *work.Unit, r *rollout.Rollout) (policy.Found, error) {
	early, err := h.early(ctx, u, *r)
	if err != nil {
		return policy.Found{}, err
	}
	if early > 0 {
		diag.Decide(ctx, u.Now(), "a create was reached a moment ago, and what it made may not be listed yet: looking again before one is made")
		return policy.Found{}, wait(ctx, u, *r, r.BeginBy, fault.After(early, fault.WaitingForPolicy, errors.New("a create may not show in the list yet")))
	}
	if r.State == rollout.Creating {
		diag.Decide(ctx, u.Now(), "the list shows no trace of the create: it was not carried out")
	}
	r.State, r.IntentAt, r.Why = rollout.Creating, u.Now(), ""
	if err := errors.Join(rollout.Write(u, *r), u.Checkpoint(ctx)); err != nil {
		return policy.Found{}, fmt.Errorf("record intent of %s: %w", r.ID, err)
	}
	id, err := h.Policies.CreatePolicy(ctx, u.Partition(), r.Shape)
	switch v, ok := fault.As(err); {
	case err == nil:
	case errors.Is(err, graph.ErrOutcomeUnknown):
		diag.Decide(ctx, u.Now(), "no clear answer to the create: the tenant's list will show whether it was carried out")
		delay := h.Schedule.Trace
		if ok {
			delay = max(delay, v.Delay)
		}
		return policy.Found{}, wait(ctx, u, *r, r.BeginBy, fault.After(delay, fault.WaitingForPolicy, err))
	case ok && !v.Permanent():
		// Nothing was sent: the intent is taken back.
		r.State, r.IntentAt = rollout.Accepted, time.Time{}
		return policy.Found{}, wait(ctx, u, *r, r.BeginBy, err)
	default:
		return policy.Found{}, fmt.Errorf("create policy: %w", err)
	}
	r.State, r.PolicyID, r.PolicyName, r.Created = rollout.Assigning, id, policy.Name, true
	r.Writes++
	note(ctx, u, r, "created the policy %s (%s)", policy.Name, r.Shape.Title())
	if err := errors.Join(rollout.Write(u, *r), u.Checkpoint(ctx)); err != nil {
		return policy.Found{}, fmt.Errorf("record policy of %s: %w", r.ID, err)
	}
	return h.read(ctx, u, *r)
}

// latest is how many of the tenant's latest rollouts are looked at for a create of a moment ago.
const latest = 10

// early is how long the list can't be relied on to show what a create has made: one of this rollout, or of another one of the
// tenant that has ended meanwhile.
func (h *Handler) early(ctx context.Context, u *work.Unit, r rollout.Rollout) (time.Duration, error) {
	others, _, err := rollout.List(ctx, h.Store, u.Partition(), latest, "")
	if err != nil {
		return 0, err
	}
	var early time.Duration
	for _, o := range append(others, r) {
		if o.Shape == r.Shape && !o.IntentAt.IsZero() {
			early = max(early, h.Schedule.Trace-u.Now().Sub(o.IntentAt))
		}
	}
	return min(early, h.Schedule.Trace), nil // a clock that was set back makes it no longer
}

// read reads the rollout's policy, which must be there and pinreset's own still.
func (h *Handler) read(ctx context.Context, u *work.Unit, r rollout.Rollout) (policy.Found, error) {
	found, err := h.Policies.Policy(ctx, u.Partition(), r.Ref())
	if errors.Is(err, graph.ErrNotFound) {
		return policy.Found{}, fault.Permanent(fault.PolicyGone, err)
	}
	if err != nil {
		return policy.Found{}, fmt.Errorf("read policy %s: %w", r.PolicyID, err)
	}
	ours, ok := policy.Ours(found, r.Shape)
	if !ok {
		return policy.Found{}, fault.Permanentf(fault.PolicyGone, "policy %s is not marked as pinreset's any more, or does not make the setting", r.PolicyID)
	}
	return ours, nil
}

// bring writes value and assignments where they are not as asked, and reads back what it wrote.
func (h *Handler) bring(ctx context.Context, u *work.Unit, r *rollout.Rollout, ours policy.Found) error {
	if ours.Value != policy.On {
		if err := h.guard(ctx, u); err != nil { // again: it may be assigned, and then this reaches devices
			return err
		}
		if err := h.claim(ctx, u, *r); err != nil {
			return err
		}
		if err := h.Policies.SetPolicyValue(ctx, u.Partition(), ours, policy.On); err != nil {
			return refused(fmt.Errorf("switch policy %s on: %w", r.PolicyID, err))
		}
		r.Writes++
		note(ctx, u, r, "wrote the value true")
	}
	existing, err := h.Policies.Assignments(ctx, u.Partition(), r.Ref())
	if err != nil {
		return fmt.Errorf("read assignments of policy %s: %w", r.PolicyID, err)
	}
	merged, err := policy.Merge(existing, r.Desired())
	if err != nil {
		return refused(err)
	}
	if added := policy.Added(existing, r.Desired()); len(added) > 0 {
		if err := h.guard(ctx, u); err != nil { // again: this reaches devices
			return err
		}
		// Recorded before it is written: a rollback takes away no more and no less, whatever happens in between.
		r.Added = append(r.Added, policy.Missing(added, r.Added)...)
		if err := h.claim(ctx, u, *r); err != nil {
			return err
		}
		if err := h.Policies.Assign(ctx, u.Partition(), r.Ref(), merged); err != nil {
			return fmt.Errorf("assign policy %s: %w", r.PolicyID, err)
		}
		r.Writes++
		note(ctx, u, r, "assigned %d targets beside %d that were there", len(added), len(existing))
	} else if r.Writes == 0 {
		note(ctx, u, r, "value and assignments are as asked already: nothing is written")
		return nil // read a moment ago
	}
	return h.compare(ctx, u, *r, merged)
}

// compare reads back what was written.
func (h *Handler) compare(ctx context.Context, u *work.Unit, r rollout.Rollout, want []policy.Assignment) error {
	again, err := h.read(ctx, u, r)
	if err != nil {
		return err
	}
	got, err := h.Policies.Assignments(ctx, u.Partition(), r.Ref())
	if err != nil {
		return fmt.Errorf("read assignments of policy %s back: %w", r.PolicyID, err)
	}
	if again.Value != policy.On || len(policy.Missing(want, got)) > 0 {
		return fault.Permanentf(fault.AssignmentChanged, "policy %s is %s with %d of %d targets after the write",
			r.PolicyID, again.Value, len(want)-len(policy.Missing(want, got)), len(want))
	}
	return nil
}

// inPlace stages the end of the writing and the first look at devices.
func (h *Handler) inPlace(ctx context.Context, u *work.Unit, r rollout.Rollout) error {
	r.State, r.PlacedAt, r.WatchUntil, r.Checks, r.Why = rollout.Watching, u.Now(), u.Now().Add(h.Schedule.Watch), 0, fault.WaitingForCheckIns
	note(ctx, u, &r, "read back: in place")
	if err := rollout.Place(ctx, u, &r); err != nil {
		return err
	}
	return errors.Join(h.lookAgain(ctx, u, r, h.delay(r), r.WatchUntil), h.audit(ctx, u), audit.Append(u, audit.Entry{
		Actor: events.Pinreset(), Action: audit.RolloutPlaced, RequestID: r.ID, Change: map[string]string{"policy": r.PolicyID, "shape": string(r.Shape)},
	}))
}

// refused turns what somebody has to decide into the end of the request: a wish that contradicts what is assigned, and a policy
// whose value can't be changed without changing something else in it.
func refused(err error) error {
	if _, ok := errors.AsType[*policy.ContradictionError](err); ok || errors.Is(err, policy.ErrNotWritable) || errors.Is(err, policy.ErrShape) {
		return fault.Permanent(fault.StateConflict, err)
	}
	return err
}
