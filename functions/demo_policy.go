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

// everyone is the rollout of the story. It reaches all devices of all users, phones among them.
var everyone = client.Target{Shape: policy.OMAURI, AllUsers: true}

// lateLaptop is switched off while the others take the policy; it reports itself later.
const lateLaptop = "fab-hr-laptop-11"

// guarded consents to pinreset's own applications, and asks for a rollout that lacks Microsoft's two.
func (d *demo) guarded(ctx context.Context) (string, string, error) {
	c, err := d.api.Consent(ctx, demoTenant)
	if err != nil {
		return "", "", err
	}
	ours := []string{onboarding.StepApp, onboarding.StepPrivileged}
	for _, step := range c.Steps {
		if !slices.Contains(ours, step.Name) {
			continue
		}
		if _, err := accept(ctx, step.Link); err != nil {
			return "", "", fmt.Errorf("accept %s: %w", step.Title, err)
		}
	}
	for slices.Contains(ours, c.Next) {
		if err := rest(ctx, 100*time.Millisecond); err != nil {
			return "", "", err
		}
		if c, err = d.api.Consent(ctx, demoTenant); err != nil {
			return "", "", err
		}
	}
	r, err := d.rollOut(ctx, placed)
	if err != nil {
		return "", r.Diagnostics, err
	}
	d.show(r.Diagnostics)
	if r.State != rollout.Failed || r.FailureCode != fault.ConsentMissing || len(r.Links) != 2 {
		return "", r.Diagnostics, fmt.Errorf("the rollout is %s %s, with %d consent links", r.State, r.FailureCode, len(r.Links))
	}
	all, err := d.sim.Policies(demoTenant)
	if err != nil || len(all) != 0 {
		return "", r.Diagnostics, errors.Join(err, fmt.Errorf("the tenant has %d policies", len(all)))
	}
	return r.FailureTitle + ". With the policy and without Microsoft's two applications nobody could reset a PIN, so nothing was written; the page has both consent links", r.Diagnostics, nil
}

// placed is when a rollout has ended its writes, well or not.
func placed(r client.Rollout) bool { return !r.Open || r.Placed }

// rollOut plans the rollout of the story, asks for exactly that plan, and waits until done says so of it.
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

// linted makes a policy as somebody does who copies the OMA-URI that Microsoft's page "Reset the PIN" prints.
func (d *demo) linted(ctx context.Context) (string, string, error) {
	id, err := d.sim.AddPolicy(demoTenant, graphsim.PolicySpec{
		Store: graphsim.DeviceConfigurations, Name: "PIN reset, as on the page", Value: true, Include: []string{"PIN recovery pilot"},
		URI: "./Device/Vendor/MSFT/Policy/PassportForWork/" + demoTenant + "/Policies/EnablePinRecovery",
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
		return "", "", fmt.Errorf("it is not among %d findings", len(p.Findings))
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

// covered rolls the policy out and lets devices check in: two laptops and an iPhone, then all that are on. What pinreset counts
// must be what the devices did.
func (d *demo) covered(ctx context.Context) (string, string, error) {
	off := false
	if err := d.sim.AdjustDevice(demoTenant, lateLaptop, graphsim.DeviceKnobs{Online: &off}); err != nil {
		return "", "", err
	}
	r, err := d.rollOut(ctx, func(r client.Rollout) bool { return !r.Open || r.Progress != nil })
	if err != nil || !r.Placed {
		return "", r.Diagnostics, errors.Join(err, fmt.Errorf("the rollout is %s %s", r.State, r.FailureCode))
	}
	cloud, err := d.sim.Tenant(demoTenant)
	if err != nil {
		return "", "", err
	}
	targeted, laptops, phones := 0, 0, 0 // the latter two of those that are on
	for _, device := range cloud.Devices {
		if device.User == "" {
			continue
		}
		targeted++
		switch {
		case !device.Online:
		case device.OperatingSystem == "Windows":
			laptops++
		default:
			phones++
		}
	}
	few := func() error {
		var errs []error
		for _, name := range []string{"fab-dev-laptop-10", "fab-school-laptop-11", "fab-ceo-iphone"} {
			errs = append(errs, d.sim.CheckIn(demoTenant, name))
		}
		return errors.Join(errs...)
	}
	curve := []string{share(r)}
	for _, next := range []struct {
		checkIn         func() error
		laptops, phones int
	}{{few, 2, 1}, {func() error { return d.sim.CheckInAll(demoTenant) }, laptops, phones}} {
		if err := next.checkIn(); err != nil {
			return "", "", err
		}
		r, err = d.api.WaitRollout(ctx, demoTenant, r.ID, func(r client.Rollout) bool {
			return !r.Open || r.Progress.Succeeded == next.laptops && r.Progress.NotApplicable == next.phones
		}, nil)
		curve = append(curve, share(r))
		waiting := targeted - next.laptops - next.phones
		if err != nil || r.Progress.Pending != waiting || r.Percent == nil || *r.Percent != 100*next.laptops/(next.laptops+waiting) {
			return strings.Join(curve, " → "), r.Diagnostics, errors.Join(err, fmt.Errorf("not %d with it, %d apart and %d to come", next.laptops, next.phones, waiting))
		}
	}
	return fmt.Sprintf("%s; %d phones and tablets, whose users are meant too, are in no ratio", strings.Join(curve, " → "), r.Progress.NotApplicable), "", nil
}

// share is a rollout's progress in a few words.
func share(r client.Rollout) string {
	if r.Progress == nil || r.Percent == nil {
		return "unknown"
	}
	return fmt.Sprintf("%d %% (%d of %d)", *r.Percent, r.Progress.Succeeded, r.Progress.Applies())
}
