package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/shared/client"
	"pinreset/shared/fault"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/passcode"
	"pinreset/shared/survey"
)

// inPortal does what an administrator does on the page that stands for Microsoft's own portals: pinreset is not asked.
func (d *demo) inPortal(ctx context.Context, action, target string) error {
	form := url.Values{"action": {action}, "target": {target}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.sim.PagesURL()+"/sim/intune/"+demoTenant, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := (&http.Client{Timeout: 10 * time.Second}).Do(req) // follows the way back to the page
	if err != nil {
		return err
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s of %s in the portal: %s", action, target, res.Status)
	}
	return nil
}

// audit runs an audit of the tenant to its end, as the timer does every few hours.
func (d *demo) audit(ctx context.Context) error {
	a, err := d.api.StartAudit(ctx, demoTenant, "demo: instead of the timer")
	if err != nil {
		return fmt.Errorf("start an audit: %w", err)
	}
	if a, err = d.api.WaitAudit(ctx, demoTenant, a.ID); err != nil {
		return err
	}
	if a.Outcome != events.AuditWhole {
		return fmt.Errorf("the audit is %s %s", a.Outcome, a.CodeTitle)
	}
	return nil
}

// drifted deletes the policy in the portal, in a tenant that wants such things put right.
func (d *demo) drifted(ctx context.Context) (string, string, error) {
	yes := true
	if _, err := d.api.ChangeSettings(ctx, demoTenant, client.SettingsChange{RemediatePolicy: &yes, Reason: "demo: put right what drifts"}); err != nil {
		return "", "", err
	}
	all, err := d.sim.Policies(demoTenant)
	if err != nil || len(all) != 1 {
		return "", "", errors.Join(err, fmt.Errorf("the tenant has %d policies", len(all)))
	}
	gone := all[0].ID
	if err := d.inPortal(ctx, "deletePolicy", gone); err != nil {
		return "", "", err
	}
	if err := d.audit(ctx); err != nil {
		return "", "", err
	}
	drift, err := d.driftOf(ctx, gone)
	if err != nil {
		return "", "", err
	}
	d.show(drift.Diagnostics)
	if drift.Code != fault.PolicyRemoved || drift.RemedyID == "" {
		return "", drift.Diagnostics, fmt.Errorf("the drift is %s, its remedy %q", drift.Code, drift.RemedyID)
	}
	r, err := d.api.WaitRollout(ctx, demoTenant, drift.RemedyID, placed, nil)
	if err != nil || !r.Placed || !r.Created || r.By.Kind != events.System {
		return "", drift.Diagnostics, errors.Join(err, fmt.Errorf("the remedy is %s %s", r.State, r.FailureCode))
	}
	all, err = d.sim.Policies(demoTenant)
	if err != nil || len(all) != 1 || all[0].ID == gone || len(all[0].Include) != 1 || len(all[0].Values) != 1 || !all[0].Values[0] {
		return "", drift.Diagnostics, errors.Join(err, fmt.Errorf("the tenant's policies are %+v", all))
	}
	return fmt.Sprintf("%s. The tenant opted into remedies: rolled out again, on, to %s", drift.Detail, all[0].Include[0]), drift.Diagnostics, nil
}

// driftOf finds what an audit has told of the policy: the one that was asked for, or one that the portal's own record brought before
// it.
func (d *demo) driftOf(ctx context.Context, policyID string) (survey.Drift, error) {
	for a, err := range d.api.TenantAudits(ctx, demoTenant) {
		if err != nil {
			return survey.Drift{}, err
		}
		for _, drift := range a.Drift {
			if strings.EqualFold(drift.PolicyID, policyID) {
				return drift, nil
			}
		}
	}
	return survey.Drift{}, errors.New("no audit has found that the policy is gone")
}

// clicked resets two devices in the portal and looks what becomes of them here.
func (d *demo) clicked(ctx context.Context) (string, string, error) {
	yes := true
	if _, err := d.api.ChangeSettings(ctx, demoTenant, client.SettingsChange{SealPortalCodes: &yes, Reason: "demo: keep codes of the portal's resets"}); err != nil {
		return "", "", err
	}
	const phone, tablet = "fab-legal-galaxy-05", "fab-flaky-tablet-03"
	before := d.sim.Counters().Families[graphsim.Devices].Writes
	for _, name := range []string{phone, tablet} {
		device, err := d.device(ctx, name)
		if err != nil {
			return "", "", err
		}
		if err := d.inPortal(ctx, "resetPasscode", device.ID); err != nil {
			return "", "", err
		}
	}
	if err := d.audit(ctx); err != nil {
		return "", "", err
	}
	good, err := d.adopted(ctx, phone)
	if err != nil || good.State != passcode.Issued || !good.Readable {
		return "", good.Diagnostics, unexpected(err, good)
	}
	bad, err := d.adopted(ctx, tablet)
	if err != nil || bad.State != passcode.Failed || bad.Diagnostics == "" {
		return "", bad.Diagnostics, unexpected(err, bad)
	}
	d.show(bad.Diagnostics)
	if n := d.sim.Counters().Families[graphsim.Devices].Writes - before; n != 0 {
		return "", "", fmt.Errorf("pinreset itself has made %d calls that change a device", n)
	}
	return fmt.Sprintf("clicked by %s, found in Intune's audit log, followed without a call of our own: the phone's code is sealed here until %s; the tablet's reset failed: %s",
		good.By.Name, good.ExpiresAt.Format("Mon 2 Jan 15:04 MST"), bad.FailureTitle), bad.Diagnostics, nil
}

// adopted waits for the end of the device's reset that was started in the portal.
func (d *demo) adopted(ctx context.Context, name string) (client.Reset, error) {
	for {
		for r, err := range d.api.Resets(ctx, demoTenant, "") {
			if err != nil {
				return r, err
			}
			if r.Origin == passcode.FromPortal && r.DeviceName == name {
				return d.api.WaitReset(ctx, demoTenant, r.ID, nil)
			}
		}
		if err := rest(ctx, 100*time.Millisecond); err != nil {
			return client.Reset{}, err
		}
	}
}
