package policyrollout

import (
	"context"
	"errors"
	"fmt"

	"pinreset/shared/diag"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/onboarding"
	"pinreset/shared/rollout"
	"pinreset/shared/work"
)

var applications = []struct{ step, id, name string }{
	{onboarding.StepService, onboarding.ServiceAppID, "Microsoft Pin Reset Service Production"},
	{onboarding.StepClient, onboarding.ClientAppID, "Microsoft Pin Reset Client Production"},
}

// guard is nil when both service principals are there and enabled now. One that is not makes it consent_missing; one that
// could not be read makes it what kept it from being read, which is never taken for missing and never for present.
func (h *Handler) guard(ctx context.Context, u *work.Unit) error {
	for _, app := range applications {
		sp, err := h.Directory.ServicePrincipal(ctx, u.Partition(), app.id)
		switch {
		case errors.Is(err, graph.ErrNotFound):
			if wait, err := h.replicating(ctx, u, app.step); err != nil {
				return err
			} else if wait {
				return fault.After(h.Schedule.Turn, fault.WaitingForDirectory, fmt.Errorf("%s (%s) is not shown yet", app.name, app.id))
			}
			return h.refuse(ctx, u, "%s (%s) is missing in the tenant", app.name, app.id)
		case err != nil:
			return fmt.Errorf("prove %s: %w", app.name, err)
		case !sp.Enabled():
			return h.refuse(ctx, u, "%s (%s) is disabled in the tenant", app.name, app.id)
		}
	}
	return nil
}

// refuse is the guard's no. The record gets the links, so that the failure's page has them.
func (h *Handler) refuse(ctx context.Context, u *work.Unit, format string, args ...any) error {
	why := fmt.Errorf(format, args...)
	diag.Decide(ctx, u.Now(), why.Error()+": with the policy on, users could not reset their PIN at all, so nothing is assigned")
	for _, l := range h.links(u.Partition()) {
		diag.Decide(ctx, u.Now(), "consent link ("+l.Step+"), for an administrator of the tenant: "+l.URL)
	}
	return fault.Permanent(fault.ConsentMissing, why)
}

// replicating reports whether the tenant's consent was proven so lately that a replica may not know of it.
func (h *Handler) replicating(ctx context.Context, u *work.Unit, step string) (bool, error) {
	c, err := onboarding.Read(ctx, u)
	if errors.Is(err, work.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	s := c.Step(step)
	return s != nil && s.State == onboarding.StepProven && u.Now().Sub(s.ProvenAt) < h.Schedule.Replicas, nil
}

// links are where an administrator of the tenant consents to Microsoft's two applications.
func (h *Handler) links(tenantID string) []rollout.ConsentLink {
	var links []rollout.ConsentLink
	for _, app := range applications {
		l := h.Links.For(tenantID, onboarding.Consent{}, onboarding.Step{Name: app.step, AppID: app.id}, "")
		links = append(links, rollout.ConsentLink{Step: l.Step, URL: l.URL, Warning: l.Warning})
	}
	return links
}
