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

// withdraw takes a rollout back: false first, then time for devices, then what was asked for. It needs no guard: with the
// value false a user's PIN reset falls back to the destructive one, whatever is consented.
func (h *Handler) withdraw(ctx context.Context, u *work.Unit, r rollout.Rollout) error {
	b := r.Rollback
	giveUp := b.RequestedAt.Add(h.Schedule.Withdraw + rollout.BeginWithin)
	if err := h.turn(ctx, u, r, giveUp); err != nil {
		return err
	}
	ours, err := h.read(ctx, u, r)
	if gone(err) {
		return h.takenBack(ctx, u, r, "The policy was gone or somebody else's already. Devices may keep the value it gave them.")
	}
	if err != nil {
		return wait(ctx, u, r, giveUp, err)
	}
	if ours.Value != policy.Off {
		if !b.FalseAt.IsZero() {
			diag.Decide(ctx, u.Now(), "somebody switched the policy on again: writing false anew")
		}
		if err := h.switchOff(ctx, u, &r, ours); err != nil {
			return wait(ctx, u, r, giveUp, err)
		}
		b.FalseAt = time.Time{}
	}
	if b.FalseAt.IsZero() {
		b.FalseAt, r.Checks, r.Why = u.Now(), 0, fault.WaitingForCheckIns
		if b.WaitUntil.IsZero() { // not put off by somebody who switches it on again and again
			b.WaitUntil = u.Now().Add(h.Schedule.Withdraw)
		}
		note(ctx, u, &r, "read back: the value is false; devices get time to take it")
		return h.lookAgain(ctx, u, r, h.delay(r), b.WaitUntil)
	}
	p, err := h.progress(ctx, u, r, policy.Off, b.FalseAt)
	if err != nil && !gone(err) && u.Now().Before(b.WaitUntil) {
		return wait(ctx, u, r, giveUp, err)
	}
	if err == nil {
		b.Progress = &p
	}
	r.Checks++
	if !p.Everywhere() && u.Now().Before(b.WaitUntil) {
		r.Why = fault.WaitingForCheckIns
		return h.lookAgain(ctx, u, r, h.delay(r), b.WaitUntil)
	}
	if b.Unassign {
		if err := h.unassign(ctx, u, &r); err != nil {
			return wait(ctx, u, r, giveUp, err)
		}
	}
	return h.takenBack(ctx, u, r, remains(*b, p))
}

func (h *Handler) switchOff(ctx context.Context, u *work.Unit, r *rollout.Rollout, ours policy.Found) error {
	if err := h.claim(ctx, u, *r); err != nil {
		return err
	}
	if err := h.Policies.SetPolicyValue(ctx, u.Partition(), ours, policy.Off); err != nil {
		return refused(fmt.Errorf("switch policy %s off: %w", r.PolicyID, err))
	}
	r.Writes++
	note(ctx, u, r, "wrote the value false")
	again, err := h.read(ctx, u, *r)
	if err != nil {
		return err
	}
	if again.Value != policy.Off {
		return fault.Permanentf(fault.AssignmentChanged, "policy %s is %s after false was written", r.PolicyID, again.Value)
	}
	return nil
}

// unassign takes away the targets that the rollout added, and deletes the policy where that was asked for and nobody else's
// target is left on it.
func (h *Handler) unassign(ctx context.Context, u *work.Unit, r *rollout.Rollout) error {
	existing, err := h.Policies.Assignments(ctx, u.Partition(), r.Ref())
	if err != nil {
		return fmt.Errorf("read assignments of policy %s: %w", r.PolicyID, err)
	}
	rest := policy.Without(existing, r.Added)
	if len(rest) != len(existing) {
		if err := h.claim(ctx, u, *r); err != nil {
			return err
		}
		if err := h.Policies.Assign(ctx, u.Partition(), r.Ref(), rest); err != nil {
			return fmt.Errorf("unassign policy %s: %w", r.PolicyID, err)
		}
		r.Writes++
		note(ctx, u, r, "took %d targets away; %d are somebody else's and stay", len(existing)-len(rest), len(rest))
		left, err := h.Policies.Assignments(ctx, u.Partition(), r.Ref())
		if err != nil {
			return fmt.Errorf("read assignments of policy %s back: %w", r.PolicyID, err)
		}
		if !policy.Equal(left, rest) {
			return fault.Permanentf(fault.AssignmentChanged, "policy %s has %d targets after %d were to be left", r.PolicyID, len(left), len(rest))
		}
	}
	r.Rollback.Unassigned = true
	if !r.Rollback.Delete {
		return nil
	}
	if len(rest) > 0 {
		note(ctx, u, r, "not deleted: others assign it too")
		return nil
	}
	if err := h.claim(ctx, u, *r); err != nil {
		return err
	}
	if err := h.Policies.DeletePolicy(ctx, u.Partition(), r.Ref()); err != nil && !errors.Is(err, graph.ErrNotFound) {
		return fmt.Errorf("delete policy %s: %w", r.PolicyID, err)
	}
	r.Writes++
	r.Rollback.Deleted = true
	note(ctx, u, r, "deleted the policy")
	return nil
}

// remains says what may stay on devices.
func remains(b rollout.Rollback, p rollout.Progress) string {
	switch {
	case p.Everywhere():
		return "Every device has reported the value false. What a device kept of an earlier PIN recovery secret is not removed by this."
	case !p.Known():
		return "Nothing tells which devices took the value false. Those that did not check in may keep the value true."
	default:
		text := fmt.Sprintf("%d of %d devices have reported the value false; the others may keep the value true.", p.Succeeded, p.Applies())
		if b.Unassigned {
			text += " They are not told any more, since the policy is unassigned."
		}
		return text
	}
}

func (h *Handler) takenBack(ctx context.Context, u *work.Unit, r rollout.Rollout, text string) error {
	r.Rollback.Remains, r.Rollback.EndedAt = text, u.Now()
	note(ctx, u, &r, "taken back. %s", text)
	_, err := u.Send(ctx, work.Announcements, time.Time{}, events.PolicyRolloutCompleted{
		RequestID: r.Rollback.ID, RolloutID: r.ID, PolicyID: r.PolicyID, Shape: string(r.Shape), Outcome: events.RolloutTakenBack,
	})
	return errors.Join(err, rollout.End(ctx, u, r, rollout.RolledBack), h.audit(ctx, u), audit.Append(u, audit.Entry{
		Actor: events.Pinreset(), Action: audit.RolloutTakenBack, RequestID: r.Rollback.ID, Change: map[string]string{"policy": r.PolicyID, "rollout": r.ID},
	}))
}
