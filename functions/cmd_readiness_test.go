package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pinreset/shared/client"
	"pinreset/shared/fault"
	"pinreset/shared/policy"
	"pinreset/shared/readiness"
	"pinreset/shared/reading"
)

// auditedFacts are of a federated tenant whose client application is missing while the policy is on.
func auditedFacts() readiness.TenantFacts {
	f := readiness.NotAudited(contosoID)
	f.ReadAt = fakeNow
	f.Service = reading.Read(readiness.ServicePrincipal{Present: true, AccountEnabled: true, Grants: reading.Read([]string{"User.Read"})})
	f.Client = reading.Read(readiness.ServicePrincipal{})
	f.Domains = reading.Read([]readiness.Domain{{Name: "contoso.example", Federated: true, SignIn: reading.Read([]string{"sts.contoso.example"})}})
	f.Coverage = reading.Read(readiness.Coverage{Devices: 3, Windows: 2, Phones: 1, Targeted: 2, Succeeded: 2, NotApplicable: 1})
	for _, s := range policy.Stores {
		f.Policies[s] = reading.Read([]policy.Found{})
	}
	f.Policies[policy.DeviceConfigurations] = reading.Read([]policy.Found{{ID: "p1", Name: "PIN\x1b[2J recovery", Shape: policy.OMAURI, Setting: policy.PINRecovery,
		Scope: policy.Device, Value: policy.On, Assignments: []policy.Assignment{{Kind: policy.AllDevices}}}})
	return f
}

func laptopFacts() readiness.DeviceFacts {
	return readiness.DeviceFacts{
		DeviceID: laptopID, ReadAt: fakeNow,
		Managed: reading.Read(readiness.Managed{Name: "hr-laptop-11", OperatingSystem: "Windows", OSVersion: "10.0.17763.1", SKUFamily: "Pro", JoinType: "hybridAzureADJoined", UserID: "u", User: "ada@contoso.example"}),
		Report:  reading.Unread[readiness.DeviceReport](fault.DeviceNotReporting, ""),
	}
}

func TestTenantReadiness(t *testing.T) {
	t.Parallel()
	consent := fault.Lookup(fault.ConsentMissing).Fix[0]
	f := startFake(t)
	f.piped("tenant", "readiness").want(t, exitDone, `tenant   8f1e0c52-7d7a-4c0e-9a53-1f5b1c1d2e3f
state    unknown
verdict  It is not known where this tenant stands: This tenant has not been audited yet (not_audited).
reason   unknown_consent

PATH                        POSSIBLE  FIRST FIX
non-destructive-settings    unknown   Start an audit of the tenant: `+"`pinreset audit run`"+`.
non-destructive-lockscreen  unknown   Start an audit of the tenant: `+"`pinreset audit run`"+`.
destructive-settings        unknown   Start an audit of the tenant: `+"`pinreset audit run`"+`.
destructive-lockscreen      unknown   Start an audit of the tenant: `+"`pinreset audit run`"+`.
on-premises-settings        no        Look at the destructive paths.
on-premises-lockscreen      no        Look at the destructive paths.
remote-passcode             unknown   Start an audit of the tenant: `+"`pinreset audit run`"+`.
`, "no audit of this tenant has ended\n")

	f.change(func() { f.facts = auditedFacts() })
	f.piped("tenant", "readiness", "Contoso").want(t, exitDone, `tenant      8f1e0c52-7d7a-4c0e-9a53-1f5b1c1d2e3f
state       broken
verdict     Users are affected now: PIN recovery is on, and Microsoft Pin Reset Client Production is missing, so every PIN reset fails with CAA20004.
reason      consent_missing
audited     2026-11-22T08:14:03Z
allow list  sts.contoso.example

PATH                        POSSIBLE  FIRST FIX
non-destructive-settings    no        `+consent+`
non-destructive-lockscreen  no        `+consent+`
destructive-settings        no        Consent to both applications at once, or let the policy write false and keep it assigned.
destructive-lockscreen      no        Consent to both applications at once, or let the policy write false and keep it assigned.
on-premises-settings        no        Look at the destructive paths.
on-premises-lockscreen      no        Look at the destructive paths.
remote-passcode             yes       -
`, "")
	// Every check, and nothing of a policy's name that moves the cursor.
	whole := f.piped("tenant", "readiness", "Contoso", "--verbose")
	whole.has(t, exitDone, "   client-application [failed] Microsoft Pin Reset Client Production (9115dd05-fad5-4f9c-acc7-305d08b1b04e): the directory has no service principal of it\n",
		"   web-sign-in [failed, advice] The sign-in page is on the allow list of web sign-in: no assigned policy lists sts.contoso.example\n      fix   Set ConfigureWebSignInAllowedUrls to: sts.contoso.example\n      page  https://learn.microsoft.com/",
		"   group-policy [unread, advice] ", "   coverage [passed] Devices took the policy: 2 of 2 targeted, beside 1 that the policy can't apply to\n", `PIN\u001b[2J recovery`)
	if strings.Contains(whole.out, "\x1b") {
		t.Errorf("a control character reached the terminal: %q", whole.out)
	}
	for _, c := range readiness.Tenant(auditedFacts()).Checks {
		if !strings.Contains(whole.out, "   "+c.ID+" [") {
			t.Errorf("check %s is not shown", c.ID)
		}
	}
	var got client.TenantReadiness
	if a := f.piped("tenant", "readiness", "-o", "json"); json.Unmarshal([]byte(a.out), &got) != nil || got.State != readiness.Broken || len(got.Checks) != len(readiness.Tenant(auditedFacts()).Checks) {
		t.Errorf("JSON: %s", a.out)
	}
	f.piped("tenant", "readiness", "--fields", "state,reason", "-o", "tsv").want(t, exitDone, "broken\tconsent_missing\n", "")
}

func TestDeviceReadiness(t *testing.T) {
	t.Parallel()
	consent := fault.Lookup(fault.ConsentMissing).Fix[0]
	f := startFake(t)
	f.change(func() { f.facts, f.laptop = auditedFacts(), laptopFacts() })
	f.piped("device", "readiness", "hr-laptop-11").want(t, exitDone, `device   7d0e5f31-1a2b-4c3d-9e8f-5a6b7c8d9e0f
name     hr-laptop-11
user     ada@contoso.example
audited  2026-11-22T08:14:03Z

PATH                        POSSIBLE  FIRST FIX
non-destructive-settings    no        Update to version 1903 or later on Pro, Education or Enterprise.
non-destructive-lockscreen  no        Update to version 1903 or later on Pro, Education or Enterprise.
destructive-settings        no        `+consent+`
destructive-lockscreen      no        `+consent+`
on-premises-settings        no        Look at the paths of this kind of deployment.
on-premises-lockscreen      no        Look at the paths of this kind of deployment.
remote-passcode             no        Windows: the user clicks "I forgot my PIN" on the sign-in screen, or in Settings > Accounts > Sign-in options > PIN, and signs in with multifactor authentication.
`, "the device has not reported: what only it can tell is not known\n")
	whole := f.piped("device", "readiness", laptopID, "--verbose")
	whole.has(t, exitDone, "   can-reset [unread] The device made its recovery secret: The device has not reported about itself (device_not_reporting)\n      fix   as for pin-set\n")
	for _, v := range readiness.Device(auditedFacts(), laptopFacts()) {
		if !strings.Contains(whole.out, "\n"+string(v.Path)+": "+string(v.Answer)+"\n"+clean(v.Text)+"\n") {
			t.Errorf("%s is not told", v.Path)
		}
		for _, c := range v.Checks {
			if !strings.Contains(whole.out, "   "+c.ID+" ["+string(c.Outcome)) {
				t.Errorf("%s: check %s is not shown", v.Path, c.ID)
			}
		}
	}
	f.change(func() { f.facts.ReadAt = time.Time{} })
	f.piped("device", "readiness", "sales-pixel-12", "-v").has(t, exitDone, "no audit of this tenant has ended: what it allows is not known", "remote-passcode: yes\n", "   1. The operator starts the reset", "   platform [failed] Windows desktop: this is AndroidForWork")
	f.piped("device", "readiness", "nothing").has(t, exitError, "No device of this tenant", "code: device_not_found")
	f.piped("device", "readiness", "00000000-0000-4000-8000-000000000000").has(t, exitError, "not_found")
}
