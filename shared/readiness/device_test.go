package readiness_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"pinreset/shared/fault"
	"pinreset/shared/passcode"
	"pinreset/shared/policy"
	"pinreset/shared/readiness"
	"pinreset/shared/reading"
	"pinreset/shared/userreset"
)

// TestReady: where nothing is in the way, every path of an Entra joined Windows device but those of other deployments is
// possible, and every check has passed or does not apply.
func TestReady(t *testing.T) {
	t.Parallel()
	for p, v := range verdicts(readyTenant(), readyDevice()) {
		possible := p != readiness.OnPremSettings && p != readiness.OnPremLockScreen && p != readiness.RemotePasscode
		if (v.Answer == reading.Yes) != possible {
			t.Errorf("%s: %s %s: %s", p, v.Answer, v.Reason, v.Text)
		}
		if possible && (v.Reason != "" || len(v.Steps) < 3 || v.FirstFix() != "") {
			t.Errorf("%s: reason %q, fix %q, steps %q", p, v.Reason, v.FirstFix(), v.Steps)
		}
		for _, c := range v.Checks {
			if possible && c.Outcome != readiness.Passed && c.Outcome != readiness.NotApplicable {
				t.Errorf("%s: %+v", p, c)
			}
		}
	}
}

func inGroup(kind policy.Target, id string) policy.Assignment {
	return policy.Assignment{Kind: kind, GroupID: id}
}

// silentOn is a device that reports all but the policy's values.
func silentOn() readiness.DeviceFacts {
	return reported(readyDevice(), func(r *readiness.DeviceReport) {
		r.Policies = readiness.PolicyValues{}
		s, _ := r.Status.Get()
		s.CanReset = "" // it would settle what is not known
		r.Status = reading.Read(s)
	})
}

// TestChecks changes one fact at a time, and says which check it is about, how that ends, and what becomes of the path.
func TestChecks(t *testing.T) {
	t.Parallel()
	type device = readiness.DeviceFacts
	type tenant = readiness.TenantFacts
	const keep, keepLock, destroy, destroyLock, onPrem = readiness.KeepSettings, readiness.KeepLockScreen, readiness.DestroySettings, readiness.DestroyLockScreen, readiness.OnPremSettings
	const passed, failed, none, unread = readiness.Passed, readiness.Failed, readiness.NotApplicable, readiness.Unread
	const y, n, u = reading.Yes, reading.No, reading.Unknown
	report := func(change func(*readiness.DeviceReport)) func(*tenant, *device) {
		return func(_ *tenant, f *device) { *f = reported(*f, change) }
	}
	says := func(change func(*readiness.Status)) func(*tenant, *device) {
		return func(_ *tenant, f *device) { *f = status(*f, change) }
	}
	intune := func(change func(*readiness.Managed)) func(*tenant, *device) {
		return func(_ *tenant, f *device) { *f = managed(*f, change) }
	}
	// policies puts policies in Intune, for a device that does not say which value it has.
	policies := func(found ...policy.Found) func(*tenant, *device) {
		return func(t *tenant, f *device) { *t, *f = with(*t, found...), silentOn() }
	}
	also := func(changes ...func(*tenant, *device)) func(*tenant, *device) {
		return func(t *tenant, f *device) {
			for _, c := range changes {
				c(t, f)
			}
		}
	}
	noReport := func(_ *tenant, f *device) {
		f.Report = reading.Unread[readiness.DeviceReport](fault.DeviceNotReporting, "")
	}
	hybrid := says(func(s *readiness.Status) { s.DomainJoined = true })
	groupsUnread := func(_ *tenant, f *device) {
		f.Groups, f.UserGroups = reading.Unread[[]string](fault.GraphForbidden, ""), reading.Unread[[]string](fault.GraphForbidden, "")
	}
	federated := func(hosts ...string) func(*tenant, *device) {
		return func(t *tenant, _ *device) {
			d := readiness.Domain{Name: "contoso.example", Federated: true, Default: true}
			if len(hosts) > 0 {
				d.SignIn = reading.Read(hosts)
			}
			t.Domains = reading.Read([]readiness.Domain{d, {Name: "contoso.onmicrosoft.example"}})
		}
	}
	list := func(value string) func(*tenant, *device) {
		return report(func(r *readiness.DeviceReport) { r.AllowedURLs = reading.Read(value) })
	}
	noList := report(func(r *readiness.DeviceReport) { r.AllowedURLs = reading.Of[string]{} })
	allowed := func(value string, a ...policy.Assignment) policy.Found {
		return policy.Found{ID: "list", Name: "allow list", Shape: policy.SettingsCatalog, Setting: policy.WebSignInAllowList, List: value, Assignments: a}
	}
	sp := func(change func(*readiness.ServicePrincipal)) reading.Of[readiness.ServicePrincipal] {
		s := readiness.ServicePrincipal{Present: true, AccountEnabled: true}
		change(&s)
		return reading.Read(s)
	}
	missing := reading.Read(readiness.ServicePrincipal{})
	refused := reading.Unread[readiness.ServicePrincipal](fault.GraphForbidden, "")
	everybody := policy.Assignment{Kind: policy.AllDevices}
	for _, c := range []struct {
		name    string
		change  func(*tenant, *device)
		path    readiness.Path
		check   string
		outcome readiness.Outcome
		reason  fault.Code // of the check
		answer  reading.Answer
	}{
		{"platform: a phone", intune(func(m *readiness.Managed) { m.OperatingSystem = "iOS" }), keep, "platform", passed, "", y}, // it says dsregcmd, so it is Windows
		{"platform: a phone without a report", also(noReport, intune(func(m *readiness.Managed) { m.OperatingSystem = "iOS" })), keep, "platform", failed, fault.PlatformNotSupported, n},
		{"platform: HoloLens", also(noReport, intune(func(m *readiness.Managed) { m.OperatingSystem = "Windows Holographic" })), destroy, "platform", failed, fault.PlatformNotSupported, n},
		{"platform: not told", also(noReport, intune(func(m *readiness.Managed) { m.OperatingSystem = "Unknown" })), keep, "platform", unread, fault.UnknownPlatform, u},
		{"platform: Intune refused", also(noReport, func(_ *tenant, f *device) { f.Managed = reading.Unread[readiness.Managed](fault.GraphForbidden, "") }), keep, "platform", unread, fault.UnknownPlatform, u},
		{"the version does not matter on a phone", also(noReport, intune(func(m *readiness.Managed) { m.OperatingSystem, m.OSVersion = "Android", "9" })), keep, "version", none, "", n},

		{"device: disabled", func(_ *tenant, f *device) { f.Directory = reading.Read(readiness.Directory{Present: true}) }, keep, "device-enabled", failed, fault.DeviceDisabled, n},
		{"device: not in the directory", func(_ *tenant, f *device) { f.Directory = reading.Read(readiness.Directory{}) }, destroy, "device-enabled", failed, fault.DeviceDisabled, n},
		{"device: says so itself", also(func(_ *tenant, f *device) {
			f.Directory = reading.Unread[readiness.Directory](fault.GraphForbidden, "")
		}, says(func(s *readiness.Status) { s.DeviceAuth = "FAILED. Device is either disabled or deleted" })), keep, "device-enabled", failed, fault.DeviceDisabled, n},
		{"device: directory refused, the device says it", func(_ *tenant, f *device) {
			f.Directory = reading.Unread[readiness.Directory](fault.GraphForbidden, "")
		}, keep, "device-enabled", passed, "", y},
		{"device: nobody says it", also(func(_ *tenant, f *device) {
			f.Directory = reading.Unread[readiness.Directory](fault.GraphForbidden, "")
		}, says(func(s *readiness.Status) { s.DeviceAuth = "" })), keep, "device-enabled", unread, fault.GraphForbidden, y}, // it warns
		{"PIN: none", says(func(s *readiness.Status) { s.HelloSet = false }), destroy, "pin-set", failed, fault.PINNotSet, n},
		{"PIN: not told", noReport, destroy, "pin-set", unread, fault.DeviceNotReporting, y},

		{"cloud: US Government, CanReset proves it", func(t *tenant, _ *device) { t.Cloud = readiness.USGovernment }, keep, "cloud", unread, fault.UnknownCloud, y},
		{"cloud: US Government", also(func(t *tenant, _ *device) { t.Cloud = readiness.USGovernment }, says(func(s *readiness.Status) { s.CanReset = "" })), keep, "cloud", unread, fault.UnknownCloud, u},
		{"cloud: China", also(func(t *tenant, _ *device) { t.Cloud = readiness.China }, says(func(s *readiness.Status) { s.CanReset = "" })), keep, "cloud", unread, fault.UnknownCloud, u},
		{"cloud: destructive does not need the service", func(t *tenant, _ *device) { t.Cloud = readiness.China }, destroy, "cloud", none, "", y},

		{"service application: missing", func(t *tenant, _ *device) { t.Service = missing }, keep, "service-application", failed, fault.ConsentMissing, n},
		{"service application: disabled", func(t *tenant, _ *device) {
			t.Service = sp(func(s *readiness.ServicePrincipal) { s.AccountEnabled = false })
		}, keep, "service-application", failed, fault.ServicePrincipalOff, n},
		{"service application: isDisabled", func(t *tenant, _ *device) {
			t.Service = sp(func(s *readiness.ServicePrincipal) { s.IsDisabled = true })
		}, keep, "service-application", failed, fault.ServicePrincipalOff, n},
		{"service application: disabled by Microsoft", func(t *tenant, _ *device) {
			t.Service = sp(func(s *readiness.ServicePrincipal) {
				s.DisabledByMicrosoft = "DisabledDueToViolationOfServicesAgreement"
			})
		}, keep, "service-application", failed, fault.ServicePrincipalOff, n},
		{"service application: explicitly not disabled", func(t *tenant, _ *device) {
			t.Service = sp(func(s *readiness.ServicePrincipal) { s.DisabledByMicrosoft = "NotDisabled" })
		}, keep, "service-application", passed, "", y},
		{"service application: refused is not missing", func(t *tenant, _ *device) { t.Service = refused }, keep, "service-application", unread, fault.UnknownConsent, u},
		{"client application: missing", func(t *tenant, _ *device) { t.Client = missing }, keep, "client-application", failed, fault.ConsentMissing, n},
		{"client application: refused", func(t *tenant, _ *device) { t.Client = refused }, keepLock, "client-application", unread, fault.UnknownConsent, u},
		{"client application: destructive does not use it", func(t *tenant, _ *device) { t.Client = refused }, destroy, "client-application", none, "", u},

		{"trap: recovery on without the service", func(t *tenant, _ *device) { t.Service = missing }, destroy, "recovery-trap", failed, fault.ConsentMissing, n},
		{"trap: recovery on without the client", func(t *tenant, _ *device) { t.Client = missing }, destroyLock, "recovery-trap", failed, fault.ConsentMissing, n},
		{"trap: recovery off without the service", also(func(t *tenant, _ *device) { t.Service = missing }, report(func(r *readiness.DeviceReport) { r.Policies.DeviceMDM = reading.Read(readiness.Off) })), destroy, "recovery-trap", passed, "", y},
		{"trap: recovery not known without the service", also(policies(), func(t *tenant, _ *device) {
			t.Service = missing
			t.Policies = map[policy.Store]reading.Of[[]policy.Found]{}
		}), destroy, "recovery-trap", unread, fault.UnknownPolicy, u},
		{"trap: recovery in conflict without the service", also(policies(recovery(policy.On, everybody), recovery(policy.Off, everybody)), func(t *tenant, _ *device) { t.Service = missing }), destroy, "recovery-trap", unread, fault.UnknownPolicy, u},
		{"trap: recovery on, service refused", func(t *tenant, _ *device) { t.Service = refused }, destroy, "recovery-trap", unread, fault.UnknownConsent, u},

		{"policy: the device has it from its user's MDM", report(func(r *readiness.DeviceReport) {
			r.Policies.UserMDM, r.Policies.DeviceMDM = reading.Read(readiness.On), reading.Read(readiness.Off)
		}), keep, "policy", passed, "", y},
		{"policy: off for its user wins over on for the device", report(func(r *readiness.DeviceReport) { r.Policies.UserMDM = reading.Read(readiness.Off) }), keep, "policy", failed, fault.PolicyOff, n},
		{"policy: computer Group Policy off wins over MDM", report(func(r *readiness.DeviceReport) { r.Policies.ComputerGroupPolicy = reading.Read(readiness.Off) }), keep, "group-policy", failed, fault.PolicyOff, n},
		{"policy: Group Policy on wins over MDM", report(func(r *readiness.DeviceReport) {
			r.Policies.ComputerGroupPolicy, r.Policies.DeviceMDM = reading.Read(readiness.On), reading.Read(readiness.Off)
		}), keep, "policy", passed, "", y},
		{"policy: user Group Policy wins over the computer's", report(func(r *readiness.DeviceReport) {
			r.Policies.UserGroupPolicy, r.Policies.ComputerGroupPolicy = reading.Read(readiness.Off), reading.Read(readiness.On)
		}), keep, "group-policy", failed, fault.PolicyOff, n},
		{"policy: user Group Policy not looked at", report(func(r *readiness.DeviceReport) { r.Policies.UserGroupPolicy = reading.Of[readiness.Setting]{} }), keep, "group-policy", passed, "", y},
		{"policy: Group Policy not known on a hybrid device", also(policies(recovery(policy.On, everybody)), hybrid), keep, "group-policy", unread, fault.UnknownPolicy, u},
		{"policy: Group Policy not known on an Entra joined device", policies(recovery(policy.On, everybody)), keep, "group-policy", none, "", u}, // the secret is not known
		{"policy: not arrived at the device", report(func(r *readiness.DeviceReport) { r.Policies.DeviceMDM = reading.Read(readiness.NotSet) }), keep, "policy", failed, fault.PolicyMissing, n},
		{"policy: changed after the report", also(report(func(r *readiness.DeviceReport) {
			r.Policies.DeviceMDM, r.ReportedAt = reading.Read(readiness.Off), now.Add(-time.Hour)
		}), says(func(s *readiness.Status) { s.CanReset = "" }), func(t *tenant, _ *device) {
			p := recovery(policy.On, everybody)
			p.Modified = now.Add(-time.Minute)
			*t = with(*t, p)
		}), keep, "policy", unread, fault.UnknownPolicy, u},
		{"policy: none in Intune", policies(), keep, "policy", failed, fault.PolicyMissing, n},
		{"policy: assigned to a group of the device", policies(recovery(policy.On, inGroup(policy.IncludeGroup, strings.ToUpper(groupID)))), keep, "policy", passed, "", u},
		{"policy: assigned to another group", policies(recovery(policy.On, inGroup(policy.IncludeGroup, deviceID))), keep, "policy", failed, fault.PolicyNotAssigned, n},
		{"policy: assigned to nobody", policies(recovery(policy.On)), keep, "policy", failed, fault.PolicyNotAssigned, n},
		{"policy: all devices without a group of the device", policies(recovery(policy.On, everybody, inGroup(policy.ExcludeGroup, groupID))), keep, "policy", failed, fault.PolicyNotAssigned, n},
		{"policy: all users", policies(recovery(policy.On, policy.Assignment{Kind: policy.AllUsers})), keep, "policy", passed, "", u},
		{"policy: all users, a device without one", also(policies(recovery(policy.On, policy.Assignment{Kind: policy.AllUsers})), intune(func(m *readiness.Managed) { m.UserID, m.User = "", "" })), keep, "policy", failed, fault.PolicyNotAssigned, n},
		{"policy: an exclusion of the other kind does not apply", policies(recovery(policy.On, policy.Assignment{Kind: policy.AllUsers}, inGroup(policy.ExcludeGroup, groupID))), keep, "policy", passed, "", u},
		{"policy: a filter decides", policies(recovery(policy.On, policy.Assignment{Kind: policy.AllDevices, Filter: deviceID, FilterMode: "include"})), keep, "policy", unread, fault.UnknownAssignment, u},
		{"policy: another kind of target", policies(recovery(policy.On, policy.Assignment{Kind: policy.OtherTarget})), keep, "policy", unread, fault.UnknownAssignment, u},
		{"policy: groups refused", also(policies(recovery(policy.On, inGroup(policy.IncludeGroup, groupID))), groupsUnread), keep, "policy", unread, fault.UnknownAssignment, u},
		{"policy: off", policies(recovery(policy.Off, everybody)), keep, "policy", failed, fault.PolicyOff, n},
		{"policy: on and off", policies(recovery(policy.On, everybody), recovery(policy.Off, everybody)), keep, "policy", failed, fault.PolicyConflict, n},
		{"policy: off for others", policies(recovery(policy.On, everybody), recovery(policy.Off, inGroup(policy.IncludeGroup, deviceID))), keep, "policy", passed, "", u},
		{"policy: encrypted", policies(recovery(policy.Unknown, everybody)), keep, "policy", unread, fault.UnknownAssignment, u},
		{"policy: misspelt", policies(func() policy.Found { f := recovery(policy.On, everybody); f.Misspelt = true; return f }()), keep, "policy", unread, fault.UnknownAssignment, u},
		{"policy: one store refused", also(policies(), func(t *tenant, _ *device) {
			t.Policies[policy.Intents] = reading.Unread[[]policy.Found](fault.GraphForbidden, "")
		}), keep, "policy", unread, fault.UnknownPolicy, u},
		{"policy: one store refused, on in another", also(policies(recovery(policy.On, everybody)), func(t *tenant, _ *device) {
			t.Policies[policy.Intents] = reading.Unread[[]policy.Found](fault.GraphForbidden, "")
		}), keep, "policy", unread, fault.UnknownPolicy, u},
		{"policy: one store refused, off in another", also(policies(recovery(policy.Off, everybody)), func(t *tenant, _ *device) {
			t.Policies[policy.Intents] = reading.Unread[[]policy.Found](fault.GraphForbidden, "")
		}), keep, "policy", failed, fault.PolicyOff, n},
		{"policy: CanReset settles what is refused", also(report(func(r *readiness.DeviceReport) { r.Policies = readiness.PolicyValues{} }), func(t *tenant, _ *device) { t.Policies = nil }), keep, "policy", unread, fault.UnknownPolicy, y},
		{"policy: destructive needs none", policies(), destroy, "policy", none, "", y},

		{"secret: not made", says(func(s *readiness.Status) { s.CanReset = "DestructiveOnly" }), keep, "can-reset", failed, fault.ProtectorNotCreated, n},
		{"secret: only non-destructive", says(func(s *readiness.Status) { s.CanReset = "NonDestructiveOnly" }), keep, "can-reset", passed, "", y},
		{"secret: dsregcmd could not tell", says(func(s *readiness.Status) { s.CanReset = "Unknown" }), keep, "can-reset", unread, fault.UnknownProtector, u},
		{"secret: no report", noReport, keep, "can-reset", unread, fault.UnknownProtector, u},
		{"secret: destructive needs none", says(func(s *readiness.Status) { s.CanReset = "DestructiveOnly" }), destroy, "can-reset", none, "", y},

		{"web sign-in: not federated", list(`"x"`), keepLock, "web-sign-in", none, "", y},
		{"web sign-in: not from Settings", federated("sts.contoso.example"), keep, "web-sign-in", none, "", y},
		{"web sign-in: not on hybrid devices", also(federated("sts.contoso.example"), hybrid), keepLock, "web-sign-in", none, "", y},
		{"web sign-in: listed", also(federated("sts.contoso.example"), list("login.other.example;STS.contoso.example")), keepLock, "web-sign-in", passed, "", y},
		{"web sign-in: not listed", also(federated("sts.contoso.example"), list("login.other.example")), keepLock, "web-sign-in", failed, fault.WebSignInNotAllowed, n},
		{"web sign-in: no list", also(federated("sts.contoso.example"), list("")), destroyLock, "web-sign-in", failed, fault.WebSignInNotAllowed, n},
		{"web sign-in: quotation marks", also(federated("sts.contoso.example"), list(`"sts.contoso.example"`)), keepLock, "web-sign-in", failed, fault.WebSignInNotAllowed, n},
		{"web sign-in: https://", also(federated("sts.contoso.example"), list("https://sts.contoso.example")), keepLock, "web-sign-in", failed, fault.WebSignInNotAllowed, n},
		{"web sign-in: the domain above", also(federated("sts.contoso.example"), list("contoso.example")), keepLock, "web-sign-in", unread, fault.UnknownWebSignIn, u},
		{"web sign-in: sign-in page not known", also(federated(), list("sts.contoso.example")), keepLock, "web-sign-in", unread, fault.UnknownWebSignIn, u},
		{"web sign-in: sign-in page not known, no list", also(federated(), list("")), keepLock, "web-sign-in", failed, fault.WebSignInNotAllowed, n},
		{"web sign-in: domains refused", func(t *tenant, _ *device) {
			t.Domains = reading.Unread[[]readiness.Domain](fault.GraphForbidden, "")
		}, keepLock, "web-sign-in", unread, fault.UnknownWebSignIn, u},
		{"web sign-in: the user's domain is not the federated one", also(federated("sts.contoso.example"), intune(func(m *readiness.Managed) { m.User = "ada@contoso.onmicrosoft.example" })), keepLock, "web-sign-in", none, "", y},
		{"web sign-in: the user is not known", also(federated("sts.contoso.example"), intune(func(m *readiness.Managed) { m.User = "" })), keepLock, "web-sign-in", unread, fault.UnknownWebSignIn, u},
		{"web sign-in: US Government", func(t *tenant, _ *device) { t.Cloud = readiness.USGovernment }, keepLock, "web-sign-in", failed, fault.WebSignInNotAllowed, n},
		{"web sign-in: US Government, listed", also(func(t *tenant, _ *device) { t.Cloud = readiness.USGovernment }, list("login.microsoftonline.us")), destroyLock, "web-sign-in", passed, "", y},
		{"web sign-in: Intune assigns a list", also(federated("sts.contoso.example"), noList, func(t *tenant, _ *device) {
			*t = with(*t, recovery(policy.On, everybody), allowed("sts.contoso.example", everybody))
		}), keepLock, "web-sign-in", passed, "", y},
		{"web sign-in: Intune's list is for others", also(federated("sts.contoso.example"), noList, func(t *tenant, _ *device) {
			*t = with(*t, allowed("sts.contoso.example", inGroup(policy.IncludeGroup, deviceID)))
		}), keepLock, "web-sign-in", failed, fault.WebSignInNotAllowed, n},
		{"web sign-in: Intune's list may be for it", also(federated("sts.contoso.example"), noList, groupsUnread, func(t *tenant, _ *device) {
			*t = with(*t, allowed("sts.contoso.example", inGroup(policy.IncludeGroup, deviceID)))
		}), keepLock, "web-sign-in", unread, fault.UnknownWebSignIn, u},
		{"web sign-in: Intune refused", also(federated("sts.contoso.example"), noList, func(t *tenant, _ *device) { t.Policies = nil }), destroyLock, "web-sign-in", unread, fault.UnknownWebSignIn, u},

		{"federation: certificate trust over AD FS", also(federated("sts.contoso.example"), hybrid, report(func(r *readiness.DeviceReport) {
			r.Trust, r.Federation = reading.Read(readiness.CertificateTrust), reading.Read(false)
		})), keep, "federation", failed, fault.LineOfSightNeeded, n},
		{"federation: certificate trust, not federated", also(hybrid, report(func(r *readiness.DeviceReport) {
			r.Trust, r.Federation = reading.Read(readiness.CertificateTrust), reading.Read(false)
		})), keep, "federation", none, "", y},
		{"federation: cloud Kerberos trust over AD FS", also(federated("sts.contoso.example"), hybrid, report(func(r *readiness.DeviceReport) { r.Federation = reading.Read(false) })), keep, "federation", none, "", y},
		{"federation: trust not known, it warns", also(federated("sts.contoso.example"), hybrid, report(func(r *readiness.DeviceReport) {
			r.Trust, r.Federation = reading.Of[readiness.Trust]{}, reading.Read(false)
		})), keep, "federation", failed, fault.LineOfSightNeeded, y},

		{"token: none, it warns", says(func(s *readiness.Status) { s.PrimaryToken = "NO" }), keep, "primary-token", failed, fault.DeviceDisabled, y},
		{"token: not told", says(func(s *readiness.Status) { s.PrimaryToken = "" }), keep, "primary-token", unread, fault.NotRead, y},
		{"token: no report", noReport, destroy, "primary-token", unread, fault.DeviceNotReporting, y},

		{"on premises: another deployment", func(*tenant, *device) {}, onPrem, "join", failed, fault.JoinNotSupported, n},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			facts, f := readyTenant(), readyDevice()
			c.change(&facts, &f)
			got := verdicts(facts, f)[c.path]
			one := check(t, got, c.check)
			if one.Outcome != c.outcome || one.Reason != c.reason {
				t.Errorf("check %+v, want %s %s", one, c.outcome, c.reason)
			}
			if got.Answer != c.answer {
				t.Errorf("%s: %s %s: %s", c.path, got.Answer, got.Reason, got.Text)
			}
			if (one.Outcome == readiness.Failed || one.Outcome == readiness.Unread) && (len(one.Fix) == 0 || one.Evidence == "") {
				t.Errorf("no evidence or no fix: %+v", one)
			}
			if one.Outcome == readiness.Failed && !one.Advice && got.Reason == c.reason && got.FirstFix() == "" {
				t.Error("the verdict has no fix")
			}
		})
	}
}

// TestLockScreen: each limitation blocks the paths above the lock screen, those that only some configurations of block warn,
// and Settings is never affected.
func TestLockScreen(t *testing.T) {
	t.Parallel()
	old := func(f readiness.DeviceFacts) readiness.DeviceFacts { // where CTRL+ALT+DEL still matters
		return reported(f, func(r *readiness.DeviceReport) {
			r.Edition, r.Version = reading.Read("Core"), reading.Read("10.0.16299.15")
		})
	}
	if n := len(readiness.Limitations()); n != 14 {
		t.Errorf("%d limitations", n)
	}
	for _, l := range readiness.Limitations() {
		t.Run(l.ID, func(t *testing.T) {
			t.Parallel()
			f := readyDevice()
			if l.ID == readiness.CtrlAltDel {
				if c := check(t, verdicts(readyTenant(), f)[readiness.DestroyLockScreen], "lock-screen/"+l.ID); c.Outcome != readiness.NotApplicable {
					t.Errorf("on Enterprise of today: %+v", c)
				}
				f = old(f)
			}
			for name, held := range map[string]reading.Of[bool]{"held": reading.Read(true), "not looked at": {}, "refused": reading.Unread[bool](fault.Forbidden, "No.")} {
				f := reported(f, func(r *readiness.DeviceReport) { r.LockScreen[l.ID] = held })
				got := verdicts(readyTenant(), f)
				for _, p := range []readiness.Path{readiness.KeepLockScreen, readiness.DestroyLockScreen} {
					c := check(t, got[p], "lock-screen/"+l.ID)
					want, reason, answer := readiness.Failed, fault.LockScreenBlocked, reading.No
					if !held.OK() {
						want, reason, answer = readiness.Unread, fault.UnknownLockScreen, reading.Unknown
					}
					if l.Warns {
						answer = reading.Yes
					}
					if p == readiness.KeepLockScreen && l.ID == readiness.CtrlAltDel {
						answer = reading.No // Home never keeps its keys
					}
					if c.Outcome != want || c.Reason != reason || c.Advice != l.Warns || got[p].Answer != answer {
						t.Errorf("%s, %s: %s; %+v", name, p, got[p].Answer, c)
					}
				}
				for _, p := range []readiness.Path{readiness.KeepSettings, readiness.DestroySettings} {
					before := verdicts(readyTenant(), readyDevice())[p]
					if l.ID != readiness.CtrlAltDel && got[p].Answer != before.Answer {
						t.Errorf("%s, %s: %s", name, p, got[p].Answer)
					}
				}
			}
			if l.Key != "" && (!l.Holds(l.Blocks, true) || l.Holds(l.Blocks, false) || l.Holds(1-l.Blocks, true)) {
				t.Errorf("%s holds with another value than %d", l.Name, l.Blocks)
			}
			if got, ok := readiness.LimitationByID(l.ID); !ok || got != l || l.Fix == "" || (l.Key == "") != (l.Name == "") {
				t.Errorf("%+v", l)
			}
		})
	}
	for shell, holds := range map[string]bool{"": false, "explorer.exe": false, " Explorer.EXE": false, `C:\Windows\explorer.exe`: false, `C:\kiosk\shell.exe`: true, "cmd.exe": true} {
		if got := readiness.ShellHolds(shell); got != holds {
			t.Errorf("shell %q holds: %t", shell, got)
		}
	}
	if _, ok := readiness.LimitationByID("nothing"); ok {
		t.Error("a limitation by no id")
	}
}

// TestOnPremises: the second half of Microsoft's page of 2020, with its requirements and steps.
func TestOnPremises(t *testing.T) {
	t.Parallel()
	tenant := readiness.Unvisited(tenantID)
	joined := status(readyDevice(), func(s *readiness.Status) {
		s.EntraJoined, s.EnterpriseJoined, s.DomainJoined, s.CanReset = false, true, true, "DestructiveOnly"
	})
	joined.Managed, joined.Directory = reading.Of[readiness.Managed]{}, reading.Of[readiness.Directory]{} // there is no Intune
	at := func(version string) readiness.DeviceFacts {
		return reported(joined, func(r *readiness.DeviceReport) { r.Version = reading.Read(version) })
	}
	for _, c := range []struct {
		name           string
		facts          readiness.DeviceFacts
		settings, lock reading.Answer
		reason         fault.Code // of Settings, else of the lock screen
	}{
		{"1607", at("10.0.14393.0"), reading.No, reading.No, fault.VersionTooOld},
		{"1703", at("10.0.15063.0"), reading.Yes, reading.No, fault.VersionTooOld},
		{"1709", at("10.0.16299.0"), reading.Yes, reading.Yes, ""},
		{"Windows 11", at("10.0.22631.1"), reading.Yes, reading.Yes, ""},
		{"version not known", at(""), reading.Unknown, reading.Unknown, fault.UnknownVersion},
		{"Professional", reported(joined, func(r *readiness.DeviceReport) { r.Edition = reading.Read("Professional") }), reading.Yes, reading.Yes, ""},
		{"Education", reported(joined, func(r *readiness.DeviceReport) { r.Edition = reading.Read("Education") }), reading.Yes, reading.Yes, ""},
		{"Home", reported(joined, func(r *readiness.DeviceReport) { r.Edition = reading.Read("Core") }), reading.No, reading.No, fault.EditionNotSupported},
		{"SE", reported(joined, func(r *readiness.DeviceReport) { r.Edition = reading.Read("CloudEdition") }), reading.Unknown, reading.Unknown, fault.UnknownEdition},
		{"edition not told", reported(joined, func(r *readiness.DeviceReport) { r.Edition = reading.Of[string]{} }), reading.Unknown, reading.Unknown, fault.UnknownEdition},
		{"smart card required", reported(joined, func(r *readiness.DeviceReport) { r.LockScreen["smart-card"] = reading.Read(true) }), reading.No, reading.No, fault.PasswordNeeded},
		{"smart card not looked at", reported(joined, func(r *readiness.DeviceReport) { delete(r.LockScreen, "smart-card") }), reading.Yes, reading.Unknown, fault.UnknownLockScreen},
		{"a PIN and no registration service", status(joined, func(s *readiness.Status) { s.EnterpriseJoined = false }), reading.Yes, reading.Yes, ""},
		{"no PIN and no registration service", status(joined, func(s *readiness.Status) { s.EnterpriseJoined, s.HelloSet = false, false }), reading.No, reading.No, fault.JoinNotSupported},
		{"dsregcmd not run", reported(joined, func(r *readiness.DeviceReport) { r.Status = reading.Of[readiness.Status]{} }), reading.Unknown, reading.Unknown, fault.UnknownPlatform},
	} {
		got := verdicts(tenant, c.facts)
		settings, lock := got[readiness.OnPremSettings], got[readiness.OnPremLockScreen]
		reason := settings.Reason
		if reason == "" {
			reason = lock.Reason
		}
		if settings.Answer != c.settings || lock.Answer != c.lock || reason != c.reason {
			t.Errorf("%s: Settings %s %s, lock screen %s %s", c.name, settings.Answer, settings.Reason, lock.Answer, lock.Reason)
		}
		for _, p := range []readiness.Path{readiness.KeepSettings, readiness.KeepLockScreen, readiness.DestroySettings, readiness.DestroyLockScreen} {
			if c.name != "dsregcmd not run" && got[p].Answer != reading.No {
				t.Errorf("%s: %s is %s", c.name, p, got[p].Answer)
			}
		}
	}
	// What the user does is what package userreset says of that version, and of the deployment.
	for _, c := range []struct {
		name, version string
		tenant        readiness.TenantFacts
		facts         readiness.DeviceFacts
		path          readiness.Path
		want          userreset.Guidance
	}{
		{"on premises, 1703", "10.0.15063.0", tenant, joined, readiness.OnPremSettings, userreset.Destructive(userreset.Settings, userreset.OnPremises, 15063)},
		{"on premises, Windows 11", "10.0.22631.1", tenant, joined, readiness.OnPremSettings, userreset.Destructive(userreset.Settings, userreset.OnPremises, 22631)},
		{"on premises above the lock screen", "10.0.19045.1", tenant, joined, readiness.OnPremLockScreen, userreset.Destructive(userreset.LockScreen, userreset.OnPremises, 19045)},
		{"on premises, version not known", "", tenant, joined, readiness.OnPremSettings, userreset.Destructive(userreset.Settings, userreset.OnPremises, 0)},
		{"Entra joined", "10.0.22631.1", readyTenant(), readyDevice(), readiness.DestroyLockScreen, userreset.Destructive(userreset.LockScreen, userreset.EntraJoined, 22631)},
		{"hybrid joined", "10.0.22631.1", readyTenant(), status(readyDevice(), func(s *readiness.Status) { s.DomainJoined = true }), readiness.DestroySettings, userreset.Destructive(userreset.Settings, userreset.HybridJoined, 22631)},
	} {
		f := reported(c.facts, func(r *readiness.DeviceReport) { r.Version = reading.Read(c.version) })
		got := verdicts(c.tenant, f)[c.path]
		if !slices.Equal(got.Before, c.want.Before) || !slices.Equal(got.Steps, c.want.Steps) || !slices.Equal(got.After, c.want.After) || len(got.Steps) == 0 {
			t.Errorf("%s: %q %q %q", c.name, got.Before, got.Steps, got.After)
		}
	}
	hybrid := verdicts(readyTenant(), status(readyDevice(), func(s *readiness.Status) { s.DomainJoined = true }))[readiness.KeepLockScreen]
	if all := strings.Join(append(hybrid.Before, hybrid.After...), " "); strings.Contains(all, "domain controller") || strings.Contains(all, "are gone") || !strings.Contains(strings.Join(hybrid.Steps, " "), "password") {
		t.Errorf("non-destructive, hybrid joined: %q %q %q", hybrid.Before, hybrid.Steps, hybrid.After)
	}
}

// TestRemotePasscode: the verdict is that of package passcode's table, for each of its rows.
func TestRemotePasscode(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name                      string
		os, version, enrol, agent string
		check                     string
		outcome                   readiness.Outcome
		reason                    fault.Code
	}{
		{"Windows desktop", "Windows", "10.0.22631.3447", "windowsAzureADJoin", "", "platform", readiness.Failed, fault.PlatformNotSupported},
		{"Windows 10 Mobile", "Windows 10 Mobile", "10.0.15063", "", "", "version", readiness.Passed, ""},
		{"Windows 10 Mobile before 1703", "Windows 10 Mobile", "10.0.14393", "", "", "version", readiness.Failed, fault.VersionTooOld},
		{"Windows 10 Mobile, no version", "Windows 10 Mobile", "", "", "", "version", readiness.Unread, fault.UnknownVersion},
		{"Android device administrator 6", "Android", "6.0", "", "", "version", readiness.Passed, ""},
		{"Android device administrator 7", "Android", "7.0", "", "", "enrolment", readiness.Failed, fault.EnrolmentNotSupported},
		{"Android, no version", "Android", "", "", "", "version", readiness.Unread, fault.UnknownVersion},
		{"Android Enterprise device owner", "AndroidEnterprise", "13", "androidEnterpriseFullyManaged", "", "platform", readiness.Passed, ""},
		{"Android Enterprise personal work profile 8", "AndroidForWork", "8.0", "", "", "enrolment", readiness.Passed, ""},
		{"Android Enterprise work profile 7", "AndroidForWork", "7.1", "", "", "version", readiness.Failed, fault.VersionTooOld},
		{"Android Enterprise work profile, no version", "AndroidForWork", "", "", "", "version", readiness.Unread, fault.UnknownVersion},
		{"Android Enterprise corporate work profile", "Android", "12", "androidEnterpriseCorporateWorkProfile", "", "version", readiness.Passed, ""},
		{"Android Enterprise, mode not told", "Android", "13", "", "googleCloudDevicePolicyController", "enrolment", readiness.Unread, fault.UnknownEnrolment},
		{"AOSP", "AndroidAOSP", "12", "", "", "version", readiness.Passed, ""},
		{"iOS", "iOS", "17.4", "", "", "version", readiness.Passed, ""},
		{"iOS User Enrollment", "iOS", "17.4", "appleUserEnrollment", "", "enrolment", readiness.Failed, fault.EnrolmentNotSupported},
		{"macOS", "macOS", "14", "", "", "platform", readiness.Failed, fault.PlatformNotSupported},
		{"no platform", "", "", "", "", "platform", readiness.Unread, fault.UnknownPlatform},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := readiness.DeviceFacts{DeviceID: deviceID, Managed: reading.Read(readiness.Managed{OperatingSystem: c.os, OSVersion: c.version, EnrollmentType: c.enrol, ManagementAgent: c.agent})}
			got := verdicts(readyTenant(), f)[readiness.RemotePasscode]
			want := passcode.Check(passcode.Facts{OperatingSystem: c.os, OSVersion: c.version, EnrollmentType: c.enrol, ManagementAgent: c.agent})
			if got.Answer != want.Answer || want.Code != "" && got.Reason != want.Code {
				t.Errorf("%s %s, and the table says %s %s", got.Answer, got.Reason, want.Answer, want.Code)
			}
			if one := check(t, got, c.check); one.Outcome != c.outcome || one.Reason != c.reason {
				t.Errorf("check %+v", one)
			}
			if len(got.Checks) != 3 || (got.Answer != reading.Yes) != (got.Reason != "") {
				t.Errorf("%+v", got)
			}
		})
	}
	unread := readiness.DeviceFacts{DeviceID: deviceID}
	if got := verdicts(readyTenant(), unread)[readiness.RemotePasscode]; got.Answer != reading.Unknown || got.Reason != fault.UnknownPlatform {
		t.Errorf("Intune refused: %s %s", got.Answer, got.Reason)
	}
	unread.Report = readyDevice().Report
	if got := verdicts(readyTenant(), unread)[readiness.RemotePasscode]; got.Answer != reading.No || got.Reason != fault.PlatformNotSupported {
		t.Errorf("Intune refused, and the device says that it is Windows: %s %s", got.Answer, got.Reason)
	}
}

// TestNobodyResetsAPINRemotely: no text about Windows speaks of an operator, and every verdict is told in one sentence.
func TestNobodyResetsAPINRemotely(t *testing.T) {
	t.Parallel()
	onPremises := readiness.TenantFacts{Kind: readiness.OnPremises}
	for _, tenant := range []readiness.TenantFacts{readyTenant(), onPremises, readiness.NotAudited(tenantID)} {
		for _, f := range []readiness.DeviceFacts{readyDevice(), silentOn(), {DeviceID: deviceID}} {
			for p, v := range verdicts(tenant, f) {
				if strings.Count(v.Text, ". ") > 0 || !strings.HasSuffix(v.Text, ".") || strings.HasSuffix(v.Text, "..") {
					t.Errorf("%s: not one sentence: %q", p, v.Text)
				}
				if p == readiness.RemotePasscode {
					continue
				}
				for _, text := range slices.Concat(v.Before, v.Steps, v.After, []string{v.Text}) {
					if lower := strings.ToLower(text); strings.Contains(lower, "remote") || strings.Contains(lower, "operator") {
						t.Errorf("%s: %q", p, text)
					}
				}
			}
		}
	}
}

// TestOrder: of several things in the way, the reason is the first of the documented order.
func TestOrder(t *testing.T) {
	t.Parallel()
	order := []string{"platform", "version", "edition", "join", "device-enabled", "pin-set", "cloud", "service-application", "client-application", "recovery-trap", "policy", "group-policy", "can-reset", "web-sign-in"}
	for p, v := range verdicts(readyTenant(), readyDevice()) {
		if p == readiness.RemotePasscode {
			continue
		}
		var ids []string
		seen := map[string]bool{}
		for _, c := range v.Checks {
			if seen[c.ID] {
				t.Errorf("%s: check %s twice", p, c.ID)
			}
			seen[c.ID] = true
			ids = append(ids, c.ID)
		}
		if !slices.Equal(ids[:len(order)], order) {
			t.Errorf("%s: order %v", p, ids)
		}
	}
	f := reported(readyDevice(), func(r *readiness.DeviceReport) {
		r.Version = reading.Read("10.0.14393.0")
		r.Policies.DeviceMDM = reading.Read(readiness.Off)
	})
	tenant := readyTenant()
	tenant.Service = reading.Read(readiness.ServicePrincipal{})
	if got := verdicts(tenant, f)[readiness.KeepSettings]; got.Reason != fault.VersionTooOld {
		t.Errorf("version, consent and policy: %s", got.Reason)
	}
	f = reported(f, func(r *readiness.DeviceReport) { r.Version = reading.Read("10.0.22631.1") })
	if got := verdicts(tenant, f)[readiness.KeepSettings]; got.Reason != fault.ConsentMissing {
		t.Errorf("consent and policy: %s", got.Reason)
	}
	// A failed check wins over an unread one before it: "no" is certain.
	f = reported(f, func(r *readiness.DeviceReport) { r.Version = reading.Of[string]{} })
	f.Managed = reading.Unread[readiness.Managed](fault.GraphForbidden, "")
	if got := verdicts(tenant, f)[readiness.KeepSettings]; got.Answer != reading.No || got.Reason != fault.ConsentMissing {
		t.Errorf("version unread, consent missing: %s %s", got.Answer, got.Reason)
	}
}

// TestFactsAreStored: facts come back from their JSON as they were, unread ones too.
func TestFactsAreStored(t *testing.T) {
	t.Parallel()
	tenant, f := readyTenant(), readyDevice()
	tenant.Client = reading.Unread[readiness.ServicePrincipal](fault.GraphForbidden, "No.")
	for _, pair := range [][2]any{{tenant, new(readiness.TenantFacts)}, {f, new(readiness.DeviceFacts)}} {
		data, err := json.Marshal(pair[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, pair[1]); err != nil {
			t.Fatalf("%v in %s", err, data)
		}
		again, err := json.Marshal(pair[1])
		if err != nil || string(again) != string(data) {
			t.Errorf("%s became %s, %v", data, again, err)
		}
	}
}

// TestLineOfSightOfAnUnknownJoin: on premises, what a device says of the servers it must reach counts although it is not known
// how it is joined.
func TestLineOfSightOfAnUnknownJoin(t *testing.T) {
	t.Parallel()
	f := readiness.DeviceFacts{Report: reading.Read(readiness.DeviceReport{DomainController: reading.Read(false), Federation: reading.Read(true)})}
	looked := 0
	for _, v := range readiness.Device(readiness.Unvisited("5e7a0c3e-7e57-4c10-8d01-0000000000a0"), f) {
		if v.Path != readiness.OnPremSettings && v.Path != readiness.OnPremLockScreen {
			continue
		}
		for _, c := range v.Checks {
			switch {
			case c.ID == "join" && c.Outcome != readiness.Unread,
				c.ID == "domain-controller" && (c.Outcome != readiness.Failed || c.Reason != fault.LineOfSightNeeded),
				c.ID == "federation" && c.Outcome != readiness.Passed:
				t.Errorf("%s: %s is %s: %s", v.Path, c.ID, c.Outcome, c.Evidence)
			}
			if c.ID == "join" || c.ID == "domain-controller" || c.ID == "federation" {
				looked++
			}
		}
		if v.Answer != reading.No {
			t.Errorf("%s: %s", v.Path, v.Answer)
		}
	}
	if looked != 6 {
		t.Errorf("%d of 6 checks are there", looked)
	}
}
