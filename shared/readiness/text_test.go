package readiness_test

import (
	"strings"
	"testing"
	"time"

	"pinreset/shared/fault"
	"pinreset/shared/policy"
	"pinreset/shared/readiness"
	"pinreset/shared/reading"
)

// TestEvidence: a check says what was seen and what to do about just that.
func TestEvidence(t *testing.T) {
	t.Parallel()
	type tenant = readiness.TenantFacts
	type device = readiness.DeviceFacts
	const keep, destroy, destroyLock = readiness.KeepSettings, readiness.DestroySettings, readiness.DestroyLockScreen
	everybody := policy.Assignment{Kind: policy.AllDevices}
	joined := func(entra, enterprise, domain, workplace, hello bool, trust reading.Of[readiness.Trust]) func(*tenant, *device) {
		return func(_ *tenant, f *device) {
			*f = status(*f, func(s *readiness.Status) {
				s.EntraJoined, s.EnterpriseJoined, s.DomainJoined, s.WorkplaceJoined, s.HelloSet, s.CanReset = entra, enterprise, domain, workplace, hello, ""
			})
			*f = reported(*f, func(r *readiness.DeviceReport) { r.Trust = trust })
		}
	}
	key, none := reading.Read(readiness.KeyTrust), reading.Of[readiness.Trust]{}
	policies := func(found ...policy.Found) func(*tenant, *device) {
		return func(t *tenant, f *device) { *t, *f = with(*t, found...), silentOn() }
	}
	service := func(code fault.Code) func(*tenant, *device) {
		return func(t *tenant, _ *device) { t.Service = reading.Unread[readiness.ServicePrincipal](code, "") }
	}
	canReset := func(said string) func(*tenant, *device) {
		return func(_ *tenant, f *device) { *f = status(*f, func(s *readiness.Status) { s.CanReset = said }) }
	}
	ownFix := func(code fault.Code) string { return fault.Lookup(code).Fix[0] }
	for _, c := range []struct {
		name   string
		change func(*tenant, *device)
		path   readiness.Path
		check  string
		says   string
		fix    string // "" is none
	}{
		{"key trust above the lock screen", joined(true, false, true, false, true, key), destroyLock, "join", "hybrid joined with key trust: a new key must be synchronised", "Roll out non-destructive reset: it works above the lock screen with key trust."},
		{"trust not known", joined(true, false, true, false, true, none), destroyLock, "join", "the trust type decides about this path", ownFix(fault.UnknownTrust)},
		{"registered", joined(false, false, false, true, true, none), keep, "join", "registered, not joined", ownFix(fault.UnknownJoin)},
		{"domain only", joined(false, false, true, false, false, none), keep, "join", "without Windows Hello for Business has no PIN", ownFix(fault.JoinNotSupported)},
		{"workgroup", joined(false, false, false, false, false, none), destroyLock, "join", "joined to nothing", ownFix(fault.JoinNotSupported)},
		{"Microsoft account", joined(false, false, false, false, true, none), keep, "join", "for organizations only", ownFix(fault.JoinNotSupported)},
		{"on premises, keys kept", joined(false, true, true, false, true, none), keep, "join", "relies on Microsoft Entra identities", ownFix(fault.JoinNotSupported)},
		{"on premises, new keys", joined(false, true, true, false, true, none), destroy, "join", "see its own paths", "Look at the paths of this kind of deployment."},
		{"Entra joined, on premises", func(*tenant, *device) {}, readiness.OnPremLockScreen, "join", "no on-premises deployment", "Look at the paths of this kind of deployment."},

		{"policy on", policies(recovery(policy.On, everybody), recovery(policy.Off, inGroup(policy.IncludeGroup, deviceID))), keep, "policy", `Intune turns it on by "PIN recovery on"`, ""},
		{"policy off", policies(recovery(policy.On, inGroup(policy.IncludeGroup, deviceID)), recovery(policy.Off, everybody)), keep, "policy", `Intune turns it off by "PIN recovery off"`, ownFix(fault.PolicyOff)},
		{"policies in conflict", policies(recovery(policy.On, everybody), recovery(policy.Off, everybody)), keep, "policy", `"PIN recovery on" turns it on and "PIN recovery off" off`, ownFix(fault.PolicyConflict)},
		{"policy for all users, a user without a name", func(t *tenant, f *device) {
			policies(recovery(policy.On, policy.Assignment{Kind: policy.AllUsers}))(t, f)
			*f = managed(*f, func(m *readiness.Managed) { m.User = "" })
		}, keep, "policy", `Intune turns it on`, ""},
		{"a policy for others changed after the report", func(t *tenant, f *device) {
			other := recovery(policy.On, inGroup(policy.IncludeGroup, deviceID))
			other.Modified = now.Add(time.Hour)
			*t = with(*t, recovery(policy.On, everybody), other)
			*f = reported(*f, func(r *readiness.DeviceReport) { r.Policies.DeviceMDM = reading.Read(readiness.Off) })
		}, keep, "policy", "the device reports EnablePinRecovery = 0 from MDM, as of 2026-11-22T08:00:00Z", ownFix(fault.PolicyOff)},
		{"no store read", func(t *tenant, f *device) { policies()(t, f); t.Policies = nil }, keep, "policy", "deviceConfigurations, configurationPolicies, intents: Nobody has looked at this yet (not_read)", ownFix(fault.NotRead)},

		{"a cause with a fix of its own", service(fault.NotAudited), keep, "service-application", "(not_audited)", ownFix(fault.NotAudited)},
		{"a cause that passes", service(fault.GraphThrottled), keep, "service-application", "(graph_throttled)", ownFix(fault.UnknownConsent)},
		{"a cause of Graph's", service(fault.GraphUnavailable), keep, "service-application", "(graph_unavailable)", ownFix(fault.UnknownConsent)},
		{"a cause without a name", service("of_a_newer_version"), keep, "service-application", "(of_a_newer_version)", ownFix(fault.UnknownConsent)},
		{"a cause inside pinreset", service(fault.Internal), keep, "service-application", "(internal)", ownFix(fault.UnknownConsent)},
		{"the trap's fix is that of what was not read", service(fault.NotAudited), destroy, "recovery-trap", "could not be read", ownFix(fault.NotAudited)},

		{"CanReset not told", canReset(""), keep, "can-reset", "dsregcmd does not say CanReset", ownFix(fault.UnknownProtector)},
		{"CanReset told as unknown", canReset("Unknown"), keep, "can-reset", "dsregcmd: CanReset Unknown", ownFix(fault.UnknownProtector)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			facts, f := readyTenant(), readyDevice()
			c.change(&facts, &f)
			got := check(t, verdicts(facts, f)[c.path], c.check)
			first := ""
			if len(got.Fix) > 0 {
				first = got.Fix[0]
			}
			if !strings.Contains(got.Evidence, c.says) || first != c.fix {
				t.Errorf("%q, fix %q; want %q, fix %q", got.Evidence, first, c.says, c.fix)
			}
		})
	}
}

// TestFirstFix: of a path that is possible, only what was found wrong is worth a person's time.
func TestFirstFix(t *testing.T) {
	t.Parallel()
	token := func(said string) readiness.Verdict {
		return verdicts(readyTenant(), status(readyDevice(), func(s *readiness.Status) { s.PrimaryToken = said }))[readiness.KeepSettings]
	}
	if v := token("NO"); v.Answer != reading.Yes || !strings.HasPrefix(v.FirstFix(), "Let the user sign out and in") {
		t.Errorf("%s: %q", v.Answer, v.FirstFix())
	}
	if v := token(""); v.Answer != reading.Yes || v.FirstFix() != "" {
		t.Errorf("%s: %q", v.Answer, v.FirstFix())
	}
}

func TestFindingsNameTheirPolicy(t *testing.T) {
	t.Parallel()
	f := with(readyTenant(), recovery(policy.Off), recovery(policy.On, policy.Assignment{Kind: policy.AllDevices}))
	f.Findings = []policy.Finding{
		{Code: policy.Braces, Severity: policy.Error, Text: "It is so.", Fix: "Do this.", PolicyID: "p-on"},
		{Code: policy.WrongPath, Severity: policy.Error, Text: "It is so.", Fix: "Do this.", PolicyID: "p-gone"},
	}
	v := readiness.Tenant(f)
	if got := tenantCheck(t, v, "lint/oma_uri_braces").Title; got != `Policy "PIN recovery on"` {
		t.Errorf("title %s", got)
	}
	if got := tenantCheck(t, v, "lint/oma_uri_wrong_path").Title; got != "Policy p-gone" {
		t.Errorf("title %s", got)
	}
}
