package policyrollout

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pinreset/events"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/policy"
	"pinreset/shared/rollout"
	"pinreset/shared/work"
)

// watch looks at what devices made of the policy. Nothing that it sees is a failure of the rollout, except that the policy is
// gone.
func (h *Handler) watch(ctx context.Context, u *work.Unit, r rollout.Rollout) error {
	before := r.Progress
	p, err := h.progress(ctx, u, r, policy.On, time.Time{})
	if err != nil {
		if late := !u.Now().Before(r.WatchUntil); late && !gone(err) {
			return h.complete(ctx, u, r, events.RolloutWatched) // nobody could look at the end; what was seen is shown
		}
		return wait(ctx, u, r, r.WatchUntil, err)
	}
	r.See(p)
	r.Checks++
	switch {
	case p.Everywhere() && before != nil && before.Everywhere():
		return h.complete(ctx, u, r, events.RolloutEverywhere)
	case u.Now().Before(r.WatchUntil):
		r.Why = fault.WaitingForCheckIns
		return h.lookAgain(ctx, u, r, h.delay(r), r.WatchUntil)
	case p.Known():
		return h.complete(ctx, u, r, events.RolloutWatched)
	default:
		return h.complete(ctx, u, r, events.RolloutUnknown)
	}
}

func gone(err error) bool { return fault.CodeOf(err) == fault.PolicyGone }

func (h *Handler) complete(ctx context.Context, u *work.Unit, r rollout.Rollout, outcome string) error {
	note(ctx, u, &r, "watching has ended: %s", outcome)
	_, err := u.Send(ctx, work.Announcements, time.Time{}, events.PolicyRolloutCompleted{
		RequestID: r.ID, RolloutID: r.ID, PolicyID: r.PolicyID, Shape: string(r.Shape), Outcome: outcome,
	})
	return errors.Join(err, rollout.End(ctx, u, r, rollout.Completed))
}

// progress counts devices by what they made of the policy, which was to bring them the wanted value. With since, only what a
// device has reported after it counts, and the others are pending. A shape for which Graph keeps no status of devices is known from what devices report themselves, else
// it is unknown: it is never invented.
func (h *Handler) progress(ctx context.Context, u *work.Unit, r rollout.Rollout, want policy.Value, since time.Time) (rollout.Progress, error) {
	p := rollout.Progress{At: u.Now(), Source: rollout.FromNowhere}
	if r.Shape.HasDeviceStatus() {
		statuses, err := h.Policies.DeviceStatuses(ctx, u.Partition(), r.PolicyID)
		switch {
		case errors.Is(err, graph.ErrNotFound):
			return p, fault.Permanent(fault.PolicyGone, err)
		case fault.CodeOf(err) == fault.GraphForbidden && err != nil:
			p.Why = "Graph does not let pinreset read the status of devices"
			return p, nil
		case err != nil:
			return p, fmt.Errorf("read device statuses of policy %s: %w", r.PolicyID, err)
		}
		p.Source = rollout.FromIntune
		for _, s := range statuses {
			count(&p, s, since)
		}
		return p, nil
	}
	if since.IsZero() {
		since = r.PlacedAt
	}
	reported, some, err := rollout.Reported(ctx, u, want, since)
	if err != nil {
		return p, fmt.Errorf("read device reports: %w", err)
	}
	if some {
		return reported, nil
	}
	p.Why = "Graph keeps no status of devices for this shape, and no device has reported"
	return p, nil
}

// count adds a device's status. The names are those of the enum complianceStatus.
func count(p *rollout.Progress, s graph.DeviceStatus, since time.Time) {
	fresh := since.IsZero() || s.Reported.After(since)
	switch s.State {
	case "notApplicable", "notAssigned":
		p.NotApplicable++
	case "compliant", "remediated":
		if fresh {
			p.Succeeded++
		} else {
			p.Pending++
		}
	case "error", "nonCompliant":
		p.Failed++
	case "conflict":
		p.Conflict++
	default: // "unknown", and members that are not known yet: nothing was reported
		p.Pending++
	}
}
