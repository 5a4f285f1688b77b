package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pinreset/shared/client"
	"pinreset/shared/fault"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/onboarding"
	"pinreset/shared/policy"
	"pinreset/shared/rollout"
)

// everyone is the rollout of the story: it reaches every user's devices, phones among them.
var everyone = client.Target{Shape: policy.OMAURI, AllUsers: true}

// offlineLaptop is switched off while the others take the policy.
const offlineLaptop = "fab-hr-laptop-11"

// guarded consents to pinreset's own applications and asks for a rollout, which Microsoft's two still stand in the way of.
func (d *demo) guarded(ctx context.Context) (string, string, error) {
	c, err := d.api.Consent(ctx, demoTenant)
	if err != nil {
		return "", "", err
	}
	for _, step := range c.Steps {
		if step.Name != onboarding.StepApp && step.Name != onboarding.StepPrivileged {
			continue
		}
		if _, err := accept(ctx, step.Link); err != nil {
			return "", "", fmt.Errorf("accept %s: %w", step.Title, err)
		}
	}
	for c.Next == onboarding.StepApp || c.Next == onboarding.StepPrivileged {
		if err := rest(ctx, 100*time.Millisecond); err != nil {
			return "", "", err
		}
		if c, err = d.api.Consent(ctx, demoTenant); err != nil {
			return "", "", err
		}
	}
	r, err := d.rollOut(ctx, func(r client.Rollout) bool { return !r.Open || r.Placed })
	if err != nil {
		return "", r.Diagnostics, err
	}
	d.links = append(d.links, r.Diagnostics)
	all, err := d.sim.Policies(demoTenant)
	switch {
	case err != nil:
		return "", r.Diagnostics, err
	case r.State != rollout.Failed || r.FailureCode != fault.ConsentMissing || len(r.Links) != 2:
		return "", r.Diagnostics, fmt.Errorf("the rollout is %s %s, with %d consent links", r.State, r.FailureCode, len(r.Links))
	case len(all) != 0:
		return "", r.Diagnostics, fmt.Errorf("the tenant has %d policies", len(all))
	}
	return r.FailureTitle + ": with the policy and without Microsoft's two applications, nobody could reset a PIN; nothing was written, and their two consent links are on the page", r.Diagnostics, nil
}

// rollOut asks for the rollout of the story and waits until done says so of it.
func (d *demo) rollOut(ctx context.Context, done func(client.Rollout) bool) (client.Rollout, error) {
	plan, err := d.api.PlanRollout(ctx, demoTenant, everyone)
	if err != nil {
		return client.Rollout{}, fmt.Errorf("plan the rollout: %w", err)
	}
	r, _, err := d.api.StartRollout(ctx, demoTenant, client.NewRollout{Target: everyone, PlanHash: plan.Hash, Reason: "demo: PINs are forgotten"})
	if err != nil {
		return r, fmt.Errorf("start the rollout: %w", err)
	}
	return d.api.WaitRollout(ctx, demoTenant, r.ID, done, nil)
}

// linted makes the policy that Microsoft's page on PIN reset prints, as an administrator who copied it has.
func (d *demo) linted(ctx context.Context) (string, string, error) {
	id, err := d.sim.AddPolicy(demoTenant, graphsim.PolicySpec{
		Store: graphsim.DeviceConfigurations, Name: "PIN reset, copied from the page", Value: true,
		URI: "./Device/Vendor/MSFT/Policy/PassportForWork/" + demoTenant + "/Policies/EnablePinRecovery", Include: []string{"PIN recovery pilot"},
	})
	if err != nil {
		return "", "", err
	}
	p, err := d.api.Policies(ctx, demoTenant)
	if err != nil {
		return "", "", err
	}
	i := slices.IndexFunc(p.Findings, func(f policy.Finding) bool { return f.PolicyID == id && f.Code == policy.WrongPath })
	if i < 0 {
		return "", "", fmt.Errorf("not among %d findings", len(p.Findings))
	}
	found := p.Findings[i]
	if err := d.inPortal(ctx, "deletePolicy", id); err != nil {
		return "", "", err
	}
	if p, err = d.api.Policies(ctx, demoTenant); err != nil || len(p.Findings) != 0 {
		return "", "", errors.Join(err, fmt.Errorf("%d findings are left after it was deleted", len(p.Findings)))
	}
	return fmt.Sprintf("%s Fix: %s", found.Text, found.Fix), "", nil
}

// covered rolls the policy out and lets devices check in, first the laptops of two people and then all that are on.
func (d *demo) covered(ctx context.Context) (string, string, error) {
	r, err := d.rollOut(ctx, func(r client.Rollout) bool { return !r.Open || r.Placed && r.Progress != nil })
	if err != nil || !r.Placed {
		return "", r.Diagnostics, errors.Join(err, fmt.Errorf("the rollout is %s %s", r.State, r.FailureCode))
	}
	off := false
	if err := d.sim.AdjustDevice(demoTenant, offlineLaptop, graphsim.DeviceKnobs{Online: &off}); err != nil {
		return "", "", err
	}
	curve := []rollout.Progress{*r.Progress}
	for _, checkIn := range []func() error{
		func() error {
			return errors.Join(d.sim.CheckIn(demoTenant, "fab-dev-laptop-10"), d.sim.CheckIn(demoTenant, "fab-school-laptop-11"), d.sim.CheckIn(demoTenant, "fab-ceo-iphone"))
		},
		func() error { return d.sim.CheckInAll(demoTenant) },
	} {
		if err := checkIn(); err != nil {
			return "", "", err
		}
		before := curve[len(curve)-1]
		if r, err = d.api.WaitRollout(ctx, demoTenant, r.ID, func(r client.Rollout) bool { return !r.Open || r.Progress.Succeeded > before.Succeeded }, nil); err != nil {
			return "", r.Diagnostics, err
		}
		curve = append(curve, *r.Progress)
	}
	info, err := d.sim.Tenant(demoTenant)
	if err != nil {
		return "", "", err
	}
	_ = info
	var steps []string
	for _, p := range curve {
		steps = append(steps, fmt.Sprintf("%+v", p))
	}
	return strings.Join(steps, " → "), "", nil
}
