package readiness_test

import (
	"strings"
	"testing"

	"pinreset/shared/fault"
	"pinreset/shared/policy"
	"pinreset/shared/readiness"
	"pinreset/shared/reading"
)

// tenantCheck finds a check of a tenant's verdict.
func tenantCheck(t *testing.T, v readiness.TenantVerdict, id string) readiness.Check {
	t.Helper()
	for _, c := range v.Checks {
		if c.ID == id {
			return c
		}
	}
	t.Fatalf("the verdict has no check %s", id)
	return readiness.Check{}
}

// TestState has a case for each combination of the two applications and the policy, every one of them read, disabled, missing
// or unread.
func TestState(t *testing.T) {
	t.Parallel()
	everybody := policy.Assignment{Kind: policy.AllDevices}
	applications := map[string]reading.Of[readiness.ServicePrincipal]{
		"enabled":  reading.Read(readiness.ServicePrincipal{Present: true, AccountEnabled: true}),
		"disabled": reading.Read(readiness.ServicePrincipal{Present: true}),
		"missing":  reading.Read(readiness.ServicePrincipal{}),
		"unread":   reading.Unread[readiness.ServicePrincipal](fault.GraphForbidden, ""),
	}
	policies := map[string]func(readiness.TenantFacts) readiness.TenantFacts{
		"on": func(f readiness.TenantFacts) readiness.TenantFacts { return with(f, recovery(policy.On, everybody)) },
		"on, another store unread": func(f readiness.TenantFacts) readiness.TenantFacts {
			f = with(f, recovery(policy.On, everybody))
			f.Policies[policy.Intents] = reading.Unread[[]policy.Found](fault.GraphForbidden, "")
			return f
		},
		"no":         func(f readiness.TenantFacts) readiness.TenantFacts { return with(f) },
		"unassigned": func(f readiness.TenantFacts) readiness.TenantFacts { return with(f, recovery(policy.On)) },
		"excluded only": func(f readiness.TenantFacts) readiness.TenantFacts {
			return with(f, recovery(policy.On, policy.Assignment{Kind: policy.ExcludeGroup, GroupID: groupID}))
		},
		"off": func(f readiness.TenantFacts) readiness.TenantFacts { return with(f, recovery(policy.Off, everybody)) },
		"encrypted": func(f readiness.TenantFacts) readiness.TenantFacts {
			return with(f, recovery(policy.Unknown, everybody))
		},
		"unread": func(f readiness.TenantFacts) readiness.TenantFacts { f.Policies = nil; return f },
	}
	on := map[string]reading.Answer{"on": reading.Yes, "on, another store unread": reading.Yes, "no": reading.No, "unassigned": reading.No, "excluded only": reading.No, "off": reading.No, "encrypted": reading.Unknown, "unread": reading.Unknown}
	for service, s := range applications {
		for client, c := range applications {
			for rolled, change := range policies {
				t.Run(service+"/"+client+"/"+rolled, func(t *testing.T) {
					t.Parallel()
					f := readyTenant()
					f.Service, f.Client = s, c
					got := readiness.Tenant(change(f))
					bad := service == "disabled" || service == "missing" || client == "disabled" || client == "missing"
					var want readiness.State
					switch {
					case on[rolled] == reading.Yes && bad: // certain, whatever the other one is
						want = readiness.Broken
					case service == "unread" || client == "unread" || on[rolled] == reading.Unknown:
						want = readiness.Undetermined
					case on[rolled] == reading.Yes:
						want = readiness.Ready
					case !bad:
						want = readiness.Onboarded
					case service == "missing" && client == "missing":
						want = readiness.NotStarted
					default:
						want = readiness.HalfConsented
					}
					if got.State != want || (got.Reason == "") != (want == readiness.Ready) || got.Text == "" {
						t.Errorf("%s %s %q, want %s", got.State, got.Reason, got.Text, want)
					}
					answer := map[readiness.State]reading.Answer{readiness.Ready: reading.Yes, readiness.Undetermined: reading.Unknown}[want]
					if answer == "" {
						answer = reading.No
					}
					paths := map[readiness.Path]readiness.Verdict{}
					for _, p := range got.Paths {
						paths[p.Path] = p
					}
					if len(paths) != len(readiness.Paths()) || got.Answer() != answer {
						t.Errorf("%d paths, answer %s", len(paths), got.Answer())
					}
					keep, destroy := paths[readiness.KeepSettings], paths[readiness.DestroySettings]
					// What is missing for certain rules the path out, even where something else could not be read.
					if certain := bad || on[rolled] == reading.No; keep.Answer != answer && (want != readiness.Undetermined || !certain || keep.Answer != reading.No) {
						t.Errorf("non-destructive: %s", keep.Answer)
					}
					// A destructive reset works unless recovery is on without the applications.
					works := reading.Yes
					switch {
					case want == readiness.Broken:
						works = reading.No
					case (service != "enabled" || client != "enabled") && on[rolled] != reading.No:
						works = reading.Unknown
					}
					if destroy.Answer != works {
						t.Errorf("destructive: %s, want %s", destroy.Answer, works)
					}
				})
			}
		}
	}
}

func TestReadyTenantHasNothingToDo(t *testing.T) {
	t.Parallel()
	got := readiness.Tenant(readyTenant())
	if got.State != readiness.Ready || !got.ReadAt.Equal(now) || got.AllowList != "" {
		t.Errorf("%+v", got)
	}
	for _, c := range got.Checks {
		if c.Outcome == readiness.Failed || c.Outcome == readiness.Unread && c.ID != "group-policy" {
			t.Errorf("%+v", c)
		}
	}
	for _, p := range got.Paths {
		onPremises := p.Path == readiness.OnPremSettings || p.Path == readiness.OnPremLockScreen
		if (p.Answer == reading.Yes) == onPremises {
			t.Errorf("%s: %s %s", p.Path, p.Answer, p.Text)
		}
	}
}

// TestModifiers: what does not decide the verdict is shown beside it.
func TestModifiers(t *testing.T) {
	t.Parallel()
	everybody := policy.Assignment{Kind: policy.AllDevices}
	finding := func(code policy.Code, s policy.Severity) func(*readiness.TenantFacts) {
		return func(f *readiness.TenantFacts) {
			f.Findings = []policy.Finding{{Code: code, Severity: s, Text: "It is so.", Fix: "Do this.", PolicyID: "p-on"}}
		}
	}
	covered := func(change func(*readiness.Coverage)) func(*readiness.TenantFacts) {
		return func(f *readiness.TenantFacts) {
			c, _ := f.Coverage.Get()
			change(&c)
			f.Coverage = reading.Read(c)
		}
	}
	federated := func(hosts ...string) func(*readiness.TenantFacts) {
		return func(f *readiness.TenantFacts) {
			d := readiness.Domain{Name: "contoso.example", Federated: true}
			if len(hosts) > 0 {
				d.SignIn = reading.Read(hosts)
			}
			f.Domains = reading.Read([]readiness.Domain{d})
		}
	}
	list := func(value string, a ...policy.Assignment) policy.Found {
		return policy.Found{ID: "list", Name: "allow list", Shape: policy.SettingsCatalog, Setting: policy.WebSignInAllowList, List: value, Assignments: a}
	}
	on := recovery(policy.On, everybody)
	const passed, failed, none, unread = readiness.Passed, readiness.Failed, readiness.NotApplicable, readiness.Unread
	for _, c := range []struct {
		name    string
		change  func(*readiness.TenantFacts)
		check   string
		outcome readiness.Outcome
		reason  fault.Code
		says    string // in the evidence or the fix
	}{
		{"several places", finding(policy.Duplicate, policy.Warning), "lint/policy_duplicate", failed, fault.PolicyConflict, "Do this."},
		{"conflicting values", finding(policy.Contradiction, policy.Error), "lint/policy_contradiction", failed, fault.PolicyConflict, "It is so"},
		{"user and device groups mixed", finding(policy.MixedExclusion, policy.Warning), "lint/exclusion_of_other_kind", failed, fault.PolicyNotAssigned, ""},
		{"a group's kind not known", finding(policy.UnknownExclusion, policy.Warning), "lint/exclusion_kind_unknown", unread, fault.UnknownPolicy, ""},
		{"wrong OMA-URI", finding(policy.WrongPath, policy.Error), "lint/oma_uri_wrong_path", failed, fault.PolicyMissing, ""},
		{"another tenant's id", finding(policy.OtherTenant, policy.Error), "lint/oma_uri_other_tenant", failed, fault.PolicyMissing, ""},
		{"unassigned", finding(policy.Unassigned, policy.Warning), "lint/policy_unassigned", failed, fault.PolicyNotAssigned, ""},
		{"quotation marks in the allow list", finding(policy.ListQuotes, policy.Error), "lint/allow_list_quotes", failed, fault.WebSignInNotAllowed, ""},
		{"worth knowing", finding(policy.RetiredShape, policy.Info), "lint/policy_retired_shape", passed, "", ""},
		{"the same twice", func(f *readiness.TenantFacts) {
			one := policy.Finding{Code: policy.Braces, Severity: policy.Error, Text: "It is so.", Fix: "Do this.", PolicyID: "somewhere"}
			f.Findings = []policy.Finding{one, one}
		}, "lint/oma_uri_braces/2", failed, fault.PolicyMissing, ""},
		{"nothing wrong", func(*readiness.TenantFacts) {}, "lint", passed, "", ""},
		{"nothing wrong in what was read", func(f *readiness.TenantFacts) {
			f.Policies[policy.Intents] = reading.Unread[[]policy.Found](fault.GraphForbidden, "")
		}, "lint", unread, fault.UnknownPolicy, "intents"},
		{"a store refused", func(f *readiness.TenantFacts) {
			f.Policies[policy.Intents] = reading.Unread[[]policy.Found](fault.GraphForbidden, "")
		}, "store/intents", unread, fault.GraphForbidden, ""},
		{"a store read", func(*readiness.TenantFacts) {}, "store/deviceConfigurations", passed, "", "1 found"},

		{"not federated", func(*readiness.TenantFacts) {}, "web-sign-in", none, "", ""},
		{"domains refused", func(f *readiness.TenantFacts) {
			f.Domains = reading.Unread[[]readiness.Domain](fault.GraphForbidden, "")
		}, "web-sign-in", unread, fault.UnknownWebSignIn, ""},
		{"federated without a list", federated("sts.contoso.example"), "web-sign-in", failed, fault.WebSignInNotAllowed, "to: sts.contoso.example"},
		{"federated, page not known", federated(), "web-sign-in", unread, fault.UnknownWebSignIn, "without quotation marks"},
		{"federated with a list", func(f *readiness.TenantFacts) {
			federated("sts.contoso.example")(f)
			*f = with(*f, on, list("portal.contoso.example;sts.contoso.example", everybody))
		}, "web-sign-in", passed, "", ""},
		{"federated with another list", func(f *readiness.TenantFacts) {
			federated("STS.contoso.example")(f)
			*f = with(*f, on, list("portal.contoso.example", everybody))
		}, "web-sign-in", failed, fault.WebSignInNotAllowed, "to: portal.contoso.example;sts.contoso.example"},
		{"federated with a list for nobody", func(f *readiness.TenantFacts) {
			federated("sts.contoso.example")(f)
			*f = with(*f, on, list("sts.contoso.example"))
		}, "web-sign-in", failed, fault.WebSignInNotAllowed, ""},
		{"federated with a list in quotation marks", func(f *readiness.TenantFacts) {
			federated("sts.contoso.example")(f)
			*f = with(*f, on, list(`"portal.contoso.example;sts.contoso.example"`, everybody))
		}, "web-sign-in", failed, fault.WebSignInNotAllowed, "to: sts.contoso.example"},
		{"federated with the domain above", func(f *readiness.TenantFacts) {
			federated("sts.contoso.example")(f)
			*f = with(*f, on, list("contoso.example", everybody))
		}, "web-sign-in", unread, fault.UnknownWebSignIn, "to: contoso.example;sts.contoso.example"},
		{"federated, a store refused", func(f *readiness.TenantFacts) {
			federated("sts.contoso.example")(f)
			f.Policies[policy.ConfigurationPolicies] = reading.Unread[[]policy.Found](fault.GraphForbidden, "")
		}, "web-sign-in", unread, fault.UnknownWebSignIn, "to: sts.contoso.example"},
		{"US Government", func(f *readiness.TenantFacts) { f.Cloud = readiness.USGovernment }, "web-sign-in", failed, fault.WebSignInNotAllowed, "to: login.microsoftonline.us"},
		{"US Government's cloud", func(f *readiness.TenantFacts) { f.Cloud = readiness.USGovernment }, "cloud", unread, fault.UnknownCloud, ""},

		{"coverage", func(*readiness.TenantFacts) {}, "coverage", passed, "", "6 of 6"},
		{"coverage counts iOS apart", covered(func(c *readiness.Coverage) { c.NotApplicable = 4 }), "coverage", passed, "", "6 of 6 targeted, beside 4"},
		{"coverage with failures", covered(func(c *readiness.Coverage) { c.Failed = 2 }), "coverage", failed, fault.PolicyConflict, "2 failed"},
		{"nobody targeted", covered(func(c *readiness.Coverage) { c.Targeted = 0 }), "coverage", none, "", ""},
		{"coverage refused", func(f *readiness.TenantFacts) {
			f.Coverage = reading.Unread[readiness.Coverage](fault.GraphForbidden, "")
		}, "coverage", unread, fault.GraphForbidden, ""},
		{"ineligible devices", covered(func(c *readiness.Coverage) { c.Ineligible = 3 }), "eligible", failed, fault.EditionNotSupported, "3 of 6"},
		{"key trust", covered(func(c *readiness.Coverage) { c.KeyTrust = 2 }), "key-trust", failed, fault.JoinNotSupported, "2 of 6"},
		{"lock screen blocked by a baseline", covered(func(c *readiness.Coverage) { c.LockScreen = 5 }), "lock-screen", failed, fault.LockScreenBlocked, "5 of 6"},
		{"no device reported", covered(func(c *readiness.Coverage) { c.Reported = 0 }), "key-trust", unread, fault.DeviceNotReporting, ""},

		{"grants", func(*readiness.TenantFacts) {}, "grants", passed, "", "service: User.Read; client: nothing"},
		{"grants refused", func(f *readiness.TenantFacts) {
			f.Client = reading.Read(readiness.ServicePrincipal{Present: true, AccountEnabled: true, Grants: reading.Unread[[]string](fault.GraphForbidden, "")})
		}, "grants", unread, fault.GraphForbidden, "client"},
		{"grants of nobody", func(f *readiness.TenantFacts) {
			f.Service, f.Client = reading.Read(readiness.ServicePrincipal{}), reading.Read(readiness.ServicePrincipal{})
		}, "grants", none, "", ""},
		{"Group Policy is not in Graph", func(*readiness.TenantFacts) {}, "group-policy", unread, fault.UnknownPolicy, "wins over Intune"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := readyTenant()
			before := readiness.Tenant(f)
			c.change(&f)
			got := readiness.Tenant(f)
			one := tenantCheck(t, got, c.check)
			if one.Outcome != c.outcome || one.Reason != c.reason || !one.Advice && c.check != "policy" {
				t.Errorf("check %+v, want %s %s", one, c.outcome, c.reason)
			}
			if !strings.Contains(one.Evidence+" "+strings.Join(one.Fix, " "), c.says) {
				t.Errorf("%q is in neither %q nor %q", c.says, one.Evidence, one.Fix)
			}
			if one.Outcome == failed && len(one.Fix) == 0 {
				t.Errorf("no fix: %+v", one)
			}
			if got.State != before.State && c.name != "grants of nobody" {
				t.Errorf("the state became %s", got.State)
			}
		})
	}
}

// TestAllowList: domains, semicolons, no quotation marks; what is listed stays.
func TestAllowList(t *testing.T) {
	t.Parallel()
	f := readyTenant()
	f.Cloud = readiness.USGovernment
	f.Domains = reading.Read([]readiness.Domain{
		{Name: "a.example", Federated: true, SignIn: reading.Read([]string{"STS.a.example", "mfa.a.example"})},
		{Name: "b.example"},
		{Name: "c.example", Federated: true, SignIn: reading.Read([]string{"mfa.a.example"})},
	})
	f = with(f, policy.Found{ID: "l", Shape: policy.OMAURI, Setting: policy.WebSignInAllowList, List: "portal.a.example;;Portal.A.example", Assignments: []policy.Assignment{{Kind: policy.AllDevices}}})
	const want = "portal.a.example;login.microsoftonline.us;sts.a.example;mfa.a.example"
	if got, ok := f.AllowList().Get(); !ok || got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := readiness.Tenant(f).AllowList; got != want {
		t.Errorf("the verdict has %q", got)
	}
	f.Domains = reading.Read([]readiness.Domain{{Name: "a.example", Federated: true}})
	if got := f.AllowList(); got.OK() {
		t.Errorf("a sign-in page that is not known made %+v", got)
	}
}

func TestNotAudited(t *testing.T) {
	t.Parallel()
	got := readiness.Tenant(readiness.NotAudited(tenantID))
	if got.State != readiness.Undetermined || got.Reason != fault.UnknownConsent || got.Answer() != reading.Unknown || !got.ReadAt.IsZero() || !strings.Contains(got.Text, string(fault.NotAudited)) {
		t.Errorf("%s %s: %s", got.State, got.Reason, got.Text)
	}
	for _, p := range got.Paths {
		if onPremises := p.Path == readiness.OnPremSettings || p.Path == readiness.OnPremLockScreen; !onPremises && p.Answer != reading.Unknown {
			t.Errorf("%s: %s", p.Path, p.Answer)
		}
	}
}

func TestOnPremisesTenant(t *testing.T) {
	t.Parallel()
	got := readiness.Tenant(readiness.Unvisited(tenantID))
	if got.State != readiness.WithoutEntra || got.Answer() != reading.No {
		t.Errorf("%s: %s", got.State, got.Text)
	}
	for _, p := range got.Paths {
		want := p.Path == readiness.OnPremSettings || p.Path == readiness.OnPremLockScreen
		if (p.Answer == reading.Yes) != want || want && len(p.Steps) < 4 || !want && (p.Reason == "" || p.Answer != reading.No) {
			t.Errorf("%s: %s %s %q", p.Path, p.Answer, p.Reason, p.Steps)
		}
	}
	for _, id := range []string{"service-application", "client-application", "policy"} {
		if c := tenantCheck(t, got, id); c.Outcome != readiness.NotApplicable || c.Reason != "" || len(c.Fix) != 0 {
			t.Errorf("%+v", c)
		}
	}
	for _, id := range []string{"domain-controller", "federation"} {
		if c := tenantCheck(t, got, id); c.Outcome != readiness.Unread || !c.Advice {
			t.Errorf("%+v", c)
		}
	}
}

// TestPhones: whether an operator can reset a passcode at all depends on the tenant's devices.
func TestPhones(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		coverage reading.Of[readiness.Coverage]
		want     reading.Answer
	}{
		{reading.Read(readiness.Coverage{Devices: 9, Phones: 1}), reading.Yes},
		{reading.Read(readiness.Coverage{Devices: 9, Windows: 9}), reading.No},
		{reading.Unread[readiness.Coverage](fault.GraphForbidden, ""), reading.Unknown},
	} {
		f := readyTenant()
		f.Coverage = c.coverage
		for _, p := range readiness.Tenant(f).Paths {
			if p.Path == readiness.RemotePasscode && p.Answer != c.want {
				t.Errorf("%+v: %s", c.coverage, p.Answer)
			}
		}
	}
}
