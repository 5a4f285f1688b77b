package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"pinreset/shared/client"
	"pinreset/shared/devicereport"
	"pinreset/shared/fault"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/readiness"
	"pinreset/shared/reading"
	"pinreset/shared/tenant"
	"pinreset/shared/webhook"
)

// agent is what runs on a device and reports with a key of its own.
type agent struct {
	api            *client.Client
	tenant, device string
	callback       string
	key            webhook.Signer
	sequence       int64
}

// install gives a device a key. device is its id in Intune; on premises, any that its owner has chosen.
func (d *demo) install(ctx context.Context, tenantID, device string) (*agent, error) {
	k, err := d.api.CreateDeviceKey(ctx, tenantID, device, client.NewDeviceKey{Reason: "demo: an agent was installed"})
	if err != nil {
		return nil, fmt.Errorf("make a key of device %s: %w", device, err)
	}
	key, err := webhook.ParseSigner(k.Secret.Clear())
	return &agent{api: d.api, tenant: tenantID, device: device, callback: k.Callback, key: key}, err
}

// report sends a report through the webhook and waits until it was read.
func (a *agent) report(ctx context.Context, r devicereport.Report) error {
	a.sequence++
	r.Version, r.Sequence, r.CollectedAt, r.Agent = devicereport.Version, a.sequence, time.Now().UTC(), "pinreset demo"
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	id, err := a.api.SendReport(ctx, a.callback, a.key, "msg_"+rand.Text(), time.Now(), body)
	if err != nil {
		return fmt.Errorf("send report: %w", err)
	}
	for {
		for seen, err := range a.api.DeviceReports(ctx, a.tenant, a.device) {
			if err != nil {
				return err
			}
			if seen.ID == id && !seen.ReadAt.IsZero() {
				return nil
			}
		}
		if err := rest(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

// expect reads the device's verdict about a path, and the check of it that the story is about. Both must be as told.
func (a *agent) expect(ctx context.Context, p readiness.Path, answer reading.Answer, check string, outcome readiness.Outcome) (readiness.Verdict, readiness.Check, error) {
	all, err := a.api.DeviceReadiness(ctx, a.tenant, a.device)
	if err != nil {
		return readiness.Verdict{}, readiness.Check{}, err
	}
	for _, v := range all.Paths {
		for _, c := range v.Checks {
			if v.Path != p || c.ID != check {
				continue
			}
			if v.Answer != answer || c.Outcome != outcome {
				err = fmt.Errorf("the answer is %s and not %s (%s), %s is %s and not %s (%s)", v.Answer, answer, v.Text, check, c.Outcome, outcome, c.Evidence)
			}
			return v, c, err
		}
	}
	return readiness.Verdict{}, readiness.Check{}, fmt.Errorf("no check %s of %s", check, p)
}

func (d *demo) device(ctx context.Context, name string) (client.Device, error) {
	for device, err := range d.api.Devices(ctx, demoTenant, name) {
		return device, err
	}
	return client.Device{}, fmt.Errorf("no device is named %s", name)
}

// reported lets the laptop that was switched off report, then take the policy, then report again.
func (d *demo) reported(ctx context.Context) (string, string, error) {
	laptop, err := d.device(ctx, lateLaptop)
	if err != nil {
		return "", "", err
	}
	if err := d.audit(ctx); err != nil { // what the tenant has is half of a device's verdict
		return "", "", err
	}
	a, err := d.install(ctx, demoTenant, laptop.ID)
	if err != nil {
		return "", "", err
	}
	collect := func() (devicereport.Report, error) {
		seen, err := d.sim.DeviceReport(demoTenant, lateLaptop)
		return collected(seen), err
	}
	r, err := collect()
	if err != nil {
		return "", "", err
	}
	if err := a.report(ctx, r); err != nil {
		return "", "", err
	}
	_, red, err := a.expect(ctx, readiness.KeepSettings, reading.No, "can-reset", readiness.Failed)
	if err != nil {
		return "", "", fmt.Errorf("before the policy: %w", err)
	}
	on := true
	if err := errors.Join(d.sim.AdjustDevice(demoTenant, lateLaptop, graphsim.DeviceKnobs{Online: &on}), d.sim.CheckIn(demoTenant, lateLaptop)); err != nil {
		return "", "", err
	}
	if r, err = collect(); err != nil {
		return "", "", err
	}
	forger := *a
	forger.key = webhook.NewPair()
	if err := forger.report(ctx, r); !client.IsCode(err, fault.Unauthenticated) {
		return "", "", fmt.Errorf("signed with another key, the report was not refused: %v", err)
	}
	if _, _, err := a.expect(ctx, readiness.KeepSettings, reading.No, "can-reset", readiness.Failed); err != nil {
		return "", "", fmt.Errorf("after a forged report: %w", err)
	}
	if err := a.report(ctx, r); err != nil {
		return "", "", err
	}
	keep, green, err := a.expect(ctx, readiness.KeepSettings, reading.Yes, "can-reset", readiness.Passed)
	if err != nil {
		return "", "", fmt.Errorf("with the policy: %w", err)
	}
	return fmt.Sprintf("%q %s (%s); the same from a forger is refused; policy taken and reported: %s (%s). %s", red.Title, red.Outcome, red.Evidence, green.Outcome, green.Evidence, keep.Text), "", nil
}

// collected is the report that an agent makes of what a simulated device shows.
func collected(seen graphsim.DeviceReport) devicereport.Report {
	r := devicereport.Report{Edition: seen.EditionID, OSVersion: seen.Version, Status: seen.Dsregcmd}
	for _, place := range devicereport.Places(seen.TenantID, "S-1-12-1-1-2-3-4") {
		place.State = devicereport.Absent
		if n, ok := seen.Registry[place.Key+`\`+place.Name]; ok {
			place.State, place.Data = devicereport.Set, strconv.FormatUint(uint64(n), 10)
		}
		r.Registry = append(r.Registry, place)
	}
	return r
}

// counterPC is a device of the tenant on premises, and domainStatus what dsregcmd prints on it. The simulated cloud has no such
// tenants: nothing of them is in Microsoft's.
const (
	counterPC    = "5e7a0c3e-7e57-4c10-8d01-0000000000a1"
	domainStatus = "| Device State |\n AzureAdJoined : NO\n EnterpriseJoined : YES\n DomainJoined : YES\n| User State |\n NgcSet : YES\n CanReset : DestructiveOnly\n WorkplaceJoined : NO\n"
)

// withoutEntra adds a tenant that has Active Directory alone, and asks for its verdict and that of a device, away from the
// corporate network and in it.
func (d *demo) withoutEntra(ctx context.Context) (string, string, error) {
	t, err := d.api.AddTenant(ctx, client.NewTenant{Kind: tenant.OnPremises, Domain: "corp.example", DisplayName: "Northwind"})
	if err != nil {
		return "", "", err
	}
	v, err := d.api.TenantReadiness(ctx, t.ID)
	if err != nil || v.State != readiness.WithoutEntra {
		return "", "", errors.Join(err, fmt.Errorf("the tenant is %s: %s", v.State, v.Text))
	}
	for _, p := range v.Paths {
		want := reading.No
		if p.Path == readiness.OnPremSettings || p.Path == readiness.OnPremLockScreen {
			want = reading.Yes
		}
		if p.Answer != want || want == reading.Yes && len(p.Steps) == 0 {
			return "", "", fmt.Errorf("path %s: %s with %d steps: %s", p.Path, p.Answer, len(p.Steps), p.Text)
		}
	}
	a, err := d.install(ctx, t.ID, counterPC)
	if err != nil {
		return "", "", err
	}
	r := devicereport.Report{Edition: "Professional", OSVersion: "10.0.19045.4291", Status: domainStatus, DomainController: devicereport.No, Federation: devicereport.No}
	if err := a.report(ctx, r); err != nil {
		return "", "", err
	}
	away, _, err := a.expect(ctx, readiness.OnPremSettings, reading.No, "domain-controller", readiness.Failed)
	if err != nil {
		return "", "", fmt.Errorf("away from the network: %w", err)
	}
	r.DomainController, r.Federation = devicereport.Yes, devicereport.Yes
	if err := a.report(ctx, r); err != nil {
		return "", "", err
	}
	there, _, err := a.expect(ctx, readiness.OnPremSettings, reading.Yes, "domain-controller", readiness.Passed)
	if err != nil || len(there.Steps) == 0 {
		return "", "", errors.Join(err, fmt.Errorf("in the network: %d steps", len(there.Steps)))
	}
	return fmt.Sprintf("%s A device at home: %s In the office: %d steps to read aloud, the first: %s", v.Text, away.Text, len(there.Steps), there.Steps[0]), "", nil
}
