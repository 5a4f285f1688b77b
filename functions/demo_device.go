package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"pinreset/shared/client"
	"pinreset/shared/devicereport"
	"pinreset/shared/fault"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/passcode"
	"pinreset/shared/policy"
	"pinreset/shared/readiness"
	"pinreset/shared/reading"
	"pinreset/shared/survey"
	"pinreset/shared/tenant"
	"pinreset/shared/webhook"
)

// inPortal does what an administrator does on the page that stands for Microsoft's own portals.
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

// audit runs an audit of the tenant to its end.
func (d *demo) audit(ctx context.Context, reason string) (client.TenantAudit, error) {
	a, err := d.api.StartAudit(ctx, demoTenant, reason)
	if err != nil {
		return a, fmt.Errorf("start an audit: %w", err)
	}
	if a, err = d.api.WaitAudit(ctx, demoTenant, a.ID); err != nil {
		return a, err
	}
	for _, p := range a.Parts {
		if !p.Read {
			return a, fmt.Errorf("the audit could not read %s: %s", p.Name, p.Text)
		}
	}
	return a, nil
}

func (d *demo) device(ctx context.Context, name string) (client.Device, error) {
	for device, err := range d.api.Devices(ctx, demoTenant, name) {
		return device, err
	}
	return client.Device{}, fmt.Errorf("no device is named %s", name)
}

// reported lets the laptop report before it has the policy and after, and looks what that does to its readiness.
func (d *demo) reported(ctx context.Context) (string, string, error) {
	laptop, err := d.device(ctx, offlineLaptop)
	if err != nil {
		return "", "", err
	}
	k, err := d.api.CreateDeviceKey(ctx, demoTenant, laptop.ID, client.NewDeviceKey{Reason: "demo: an agent was installed"})
	if err != nil {
		return "", "", err
	}
	signer, err := webhook.ParseSigner(k.Secret.Clear())
	if err != nil {
		return "", "", err
	}
	if _, err := d.audit(ctx, "demo: what the tenant has"); err != nil {
		return "", "", err
	}
	before, keep, err := d.report(ctx, laptop.ID, k.Callback, signer)
	if err != nil || before.Outcome != readiness.Failed || keep.Answer != reading.No {
		return "", "", errors.Join(err, fmt.Errorf("before the policy, %s is %s and the answer %s: %s", before.ID, before.Outcome, keep.Answer, keep.Text))
	}
	on := true
	if err := errors.Join(d.sim.AdjustDevice(demoTenant, offlineLaptop, graphsim.DeviceKnobs{Online: &on}), d.sim.CheckIn(demoTenant, offlineLaptop)); err != nil {
		return "", "", err
	}
	if _, _, err := d.report(ctx, laptop.ID, k.Callback, webhook.NewPair()); !client.IsCode(err, fault.Unauthenticated) {
		return "", "", fmt.Errorf("a forged report was not refused: %w", err)
	}
	after, keep, err := d.report(ctx, laptop.ID, k.Callback, signer)
	if err != nil || after.Outcome != readiness.Passed || keep.Answer != reading.Yes {
		return "", "", errors.Join(err, fmt.Errorf("with the policy, %s is %s and the answer %s: %s", after.ID, after.Outcome, keep.Answer, keep.Text))
	}
	return fmt.Sprintf("%q was %s (%s); switched on, policy taken, reported again: %s (%s). %s A forged report was refused", after.Title, before.Outcome, before.Evidence, after.Outcome, after.Evidence, keep.Text), "", nil
}

// report collects what the laptop would tell now, signs and sends it, and returns the check of the device's recovery secret with
// the verdict that it is part of.
func (d *demo) report(ctx context.Context, device, callback string, key webhook.Signer) (readiness.Check, readiness.Verdict, error) {
	seen, err := d.sim.DeviceReport(demoTenant, device)
	if err != nil {
		return readiness.Check{}, readiness.Verdict{}, err
	}
	d.reports++
	r := devicereport.Report{Version: devicereport.Version, Sequence: d.reports, CollectedAt: seen.CollectedAt, Agent: "pinreset demo",
		Edition: seen.EditionID, OSVersion: seen.Version, Status: seen.Dsregcmd}
	for _, place := range devicereport.Places(demoTenant, "S-1-12-1-1-2-3-4") {
		place.State = devicereport.Absent
		if n, ok := seen.Registry[place.Key+`\`+place.Name]; ok {
			place.State, place.Data = devicereport.Set, strconv.FormatUint(uint64(n), 10)
		}
		r.Registry = append(r.Registry, place)
	}
	body, err := json.Marshal(r)
	if err != nil {
		return readiness.Check{}, readiness.Verdict{}, err
	}
	id, err := d.api.SendReport(ctx, callback, key, "msg_"+rand.Text(), time.Now(), body)
	if err != nil {
		return readiness.Check{}, readiness.Verdict{}, err
	}
	for read := false; !read; {
		if err := rest(ctx, 50*time.Millisecond); err != nil {
			return readiness.Check{}, readiness.Verdict{}, err
		}
		for report, err := range d.api.DeviceReports(ctx, demoTenant, device) {
			if err != nil {
				return readiness.Check{}, readiness.Verdict{}, err
			}
			read = read || report.ID == id && !report.ReadAt.IsZero()
		}
	}
	verdicts, err := d.api.DeviceReadiness(ctx, demoTenant, device)
	if err != nil {
		return readiness.Check{}, readiness.Verdict{}, err
	}
	for _, v := range verdicts.Paths {
		for _, c := range v.Checks {
			if v.Path == readiness.KeepSettings && c.ID == "can-reset" {
				return c, v, nil
			}
		}
	}
	return readiness.Check{}, readiness.Verdict{}, errors.New("the device's readiness does not tell of its recovery secret")
}

// drifted deletes the policy in the portal, after the tenant has opted into remedies, and waits for what the next audit makes of it.
func (d *demo) drifted(ctx context.Context) (string, string, error) {
	yes := true
	if _, err := d.api.ChangeSettings(ctx, demoTenant, client.SettingsChange{RemediatePolicy: &yes, Reason: "demo: put right what drifts"}); err != nil {
		return "", "", err
	}
	all, err := d.sim.Policies(demoTenant)
	if err != nil || len(all) != 1 {
		return "", "", errors.Join(err, fmt.Errorf("%d policies, not the one that was rolled out", len(all)))
	}
	gone := all[0].ID
	if err := d.inPortal(ctx, "deletePolicy", gone); err != nil {
		return "", "", err
	}
	if _, err := d.audit(ctx, "demo: the next scheduled audit, now"); err != nil {
		return "", "", err
	}
	drift, err := d.driftOf(ctx, gone)
	if err != nil {
		return "", "", err
	}
	d.links = append(d.links, drift.Diagnostics)
	if drift.Code != fault.PolicyRemoved || drift.RemedyID == "" {
		return "", drift.Diagnostics, fmt.Errorf("the drift is %s, its remedy %q", drift.Code, drift.RemedyID)
	}
	r, err := d.api.WaitRollout(ctx, demoTenant, drift.RemedyID, func(r client.Rollout) bool { return !r.Open || r.Placed }, nil)
	if err != nil || !r.Placed || !r.Created {
		return "", drift.Diagnostics, errors.Join(err, fmt.Errorf("the remedy is %s %s", r.State, r.FailureCode))
	}
	if all, err = d.sim.Policies(demoTenant); err != nil || len(all) != 1 || all[0].ID == gone || len(all[0].Include) != 1 || len(all[0].Values) != 1 || !all[0].Values[0] {
		return "", drift.Diagnostics, errors.Join(err, fmt.Errorf("the tenant's policies are %+v", all))
	}
	return fmt.Sprintf("%s. Rolled out again by %s: policy on, assigned to %s", drift.Detail, r.By.Name, all[0].Include[0]), drift.Diagnostics, nil
}

// driftOf finds what an audit has told of the policy. The portal's record may have brought an audit of its own before ours.
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

// clicked resets two devices in the portal and waits for what becomes of them here.
func (d *demo) clicked(ctx context.Context) (string, string, error) {
	yes := true
	if _, err := d.api.ChangeSettings(ctx, demoTenant, client.SettingsChange{SealPortalCodes: &yes, Reason: "demo: codes of the portal's resets are kept"}); err != nil {
		return "", "", err
	}
	before := d.sim.Counters().Families[graphsim.Devices].Writes
	for _, name := range []string{"fab-legal-galaxy-05", "fab-flaky-tablet-03"} {
		device, err := d.device(ctx, name)
		if err != nil {
			return "", "", err
		}
		if err := d.inPortal(ctx, "resetPasscode", device.ID); err != nil {
			return "", "", err
		}
	}
	if _, err := d.audit(ctx, "demo: Intune's audit log is read with it"); err != nil {
		return "", "", err
	}
	galaxy, err := d.adopted(ctx, "fab-legal-galaxy-05")
	if err != nil || galaxy.State != passcode.Issued || !galaxy.Readable {
		return "", galaxy.Diagnostics, unexpected(err, galaxy)
	}
	tablet, err := d.adopted(ctx, "fab-flaky-tablet-03")
	if err != nil || tablet.State != passcode.Failed || tablet.Diagnostics == "" {
		return "", tablet.Diagnostics, unexpected(err, tablet)
	}
	d.links = append(d.links, tablet.Diagnostics)
	if n := d.sim.Counters().Families[graphsim.Devices].Writes - before; n != 0 {
		return "", "", fmt.Errorf("pinreset itself has made %d calls that change a device", n)
	}
	return fmt.Sprintf("by %s, found in Intune's audit log: the phone's code is sealed here until %s; the tablet's reset failed: %s",
		galaxy.By.Name, galaxy.ExpiresAt.Format("Mon 2 Jan 15:04 MST"), tablet.FailureTitle), tablet.Diagnostics, nil
}

// adopted waits for the end of the reset of the device that was started in the portal.
func (d *demo) adopted(ctx context.Context, name string) (client.Reset, error) {
	for {
		for r, err := range d.api.Resets(ctx, demoTenant, "") {
			if err != nil {
				return r, err
			}
			if r.Origin != "" && r.DeviceName == name {
				return d.api.WaitReset(ctx, demoTenant, r.ID, nil)
			}
		}
		if err := rest(ctx, 100*time.Millisecond); err != nil {
			return client.Reset{}, err
		}
	}
}

// withoutEntra adds a tenant that has Active Directory alone.
func (d *demo) withoutEntra(ctx context.Context) (string, string, error) {
	t, err := d.api.AddTenant(ctx, client.NewTenant{Kind: tenant.OnPremises, Domain: "corp.example", DisplayName: "Northwind"})
	if err != nil {
		return "", "", err
	}
	v, err := d.api.TenantReadiness(ctx, t.ID)
	if err != nil {
		return "", "", err
	}
	b, _ := json.MarshalIndent(v, "", " ")
	return string(b), "", nil
}

var _ = policy.OMAURI
