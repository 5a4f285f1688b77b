package readiness

import (
	"fmt"
	"slices"
	"strings"

	"pinreset/shared/fault"
	"pinreset/shared/policy"
	"pinreset/shared/reading"
)

// Tenant gives the verdict for a tenant.
func Tenant(t TenantFacts) TenantVerdict {
	v := TenantVerdict{ReadAt: t.ReadAt}
	if t.Kind == OnPremises {
		v.State = WithoutEntra
		v.Text = "There is no Microsoft Entra ID here, so a forgotten PIN is reset by its user with the password, and the keys are made anew."
		v.Checks = []Check{skipped(t.service(), "there is no Microsoft Entra ID"), skipped(t.client(), "there is no Microsoft Entra ID"), skipped(policyCheck(), "the non-destructive reset needs Microsoft Entra ID")}
		for i := range v.Checks {
			v.Checks[i].Reason, v.Checks[i].Fix = "", nil
		}
		v.Checks = append(v.Checks, t.onPremises()...)
		v.Paths = t.paths(v)
		return v
	}
	service, client, rolled := t.service(), t.client(), t.rolledOut()
	v.Checks = append([]Check{service, client, rolled}, t.stores()...)
	v.Checks = append(v.Checks, t.lint()...)
	v.Checks = append(v.Checks, t.grants(), t.groupPolicy(), t.cloudCheck(), t.allowList())
	v.Checks = append(v.Checks, t.coverage()...)
	v.AllowList, _ = t.AllowList().Get()
	v.State, v.Reason, v.Text = state(service, client, rolled, present(t.Service), present(t.Client))
	v.Paths = t.paths(v)
	return v
}

func present(o reading.Of[ServicePrincipal]) bool {
	sp, ok := o.Get()
	return ok && sp.Present
}

// state draws the state from the three checks that decide. It is certain as soon as what could not be read can't change it.
func state(service, client, rolled Check, hasService, hasClient bool) (State, fault.Code, string) {
	off := service
	if service.Outcome != Failed {
		off = client
	}
	bad := off.Outcome == Failed
	switch on := rolled.Outcome; {
	case on == Passed && bad:
		return Broken, off.Reason, "Users are affected now: PIN recovery is on, and " + short(off) + ", so every PIN reset fails with CAA20004."
	case service.Outcome == Unread, client.Outcome == Unread, on == Unread:
		for _, c := range []Check{service, client, rolled} {
			if c.Outcome == Unread {
				return Undetermined, c.Reason, "It is not known where this tenant stands: " + c.Evidence + "."
			}
		}
	case on == Passed:
		return Ready, "", "Ready: both applications are enabled, and PIN recovery is on and assigned; CanReset on a device is the proof for that device."
	case !bad:
		return Onboarded, rolled.Reason, "Both applications are enabled, and no policy turns PIN recovery on for anybody: a PIN reset works, and makes new keys."
	case !hasService && !hasClient:
		return NotStarted, fault.ConsentMissing, "Neither of Microsoft's applications is consented and no policy is on: a PIN reset works, and makes new keys."
	}
	return HalfConsented, off.Reason, "The consent is half done: " + short(off) + "."
}

func short(c Check) string {
	name, _, _ := strings.Cut(c.Title, " (")
	if c.Reason == fault.ConsentMissing {
		return name + " is missing"
	}
	return name + " is disabled"
}

func policyCheck() Check {
	return Check{ID: "policy", Title: "A policy turns PIN recovery on and is assigned", Link: pageCSP}
}

// rolledOut checks whether some policy turns recovery on for somebody.
func (t TenantFacts) rolledOut() Check {
	c := policyCheck()
	all, unreadStores := t.found(policy.PINRecovery)
	var on, idle, unsure, off []string
	for _, f := range all {
		switch value := f.Effective(); {
		case value == policy.On && f.Assigned():
			on = append(on, f.Name)
		case value == policy.On:
			idle = append(idle, f.Name)
		case value == policy.Unknown && f.Assigned():
			unsure = append(unsure, f.Name)
		case value == policy.Off:
			off = append(off, f.Name)
		}
	}
	switch {
	case len(on) > 0:
		return passed(c, "Intune: "+quotedNames(on))
	case len(unreadStores) > 0:
		return unread(c, fault.UnknownPolicy, t.unreadStores(unreadStores))
	case len(unsure) > 0:
		return unread(c, fault.UnknownPolicy, "what "+quotedNames(unsure)+" sets can't be told")
	case len(idle) > 0:
		return failed(c, fault.PolicyNotAssigned, quotedNames(idle)+" turns it on and is assigned to nobody")
	case len(off) > 0:
		return failed(c, fault.PolicyOff, quotedNames(off)+" turns it off")
	}
	return failed(c, fault.PolicyMissing, "no policy of Intune turns it on")
}

// stores checks that each place was read: an unread one may hold another value.
func (t TenantFacts) stores() []Check {
	out := make([]Check, 0, len(policy.Stores))
	for _, s := range policy.Stores {
		c := Check{ID: "store/" + string(s), Title: "Intune's " + string(s) + " were read", Advice: true}
		list, ok := t.Policies[s].Get()
		if !ok {
			c = unread(c, t.Policies[s].Why().Code, causeOf(t.Policies[s]))
		} else {
			n := 0
			for _, f := range list {
				if f.Setting == policy.PINRecovery {
					n++
				}
			}
			c = passed(c, fmt.Sprintf("%d found with EnablePinRecovery", n))
		}
		out = append(out, c)
	}
	return out
}

// lint shows the findings about policies. They modify the verdict and do not decide it.
func (t TenantFacts) lint() []Check {
	c := Check{ID: "lint", Title: "Nothing is wrong with the policies found", Advice: true, Link: pageCSP}
	if _, stores := t.found(policy.PINRecovery); len(t.Findings) == 0 {
		if len(stores) > 0 {
			return []Check{unread(c, fault.UnknownPolicy, t.unreadStores(stores))}
		}
		return []Check{passed(c, "nothing found")}
	}
	seen := map[policy.Code]int{}
	var out []Check
	for _, f := range t.Findings {
		id := "lint/" + string(f.Code)
		if seen[f.Code]++; seen[f.Code] > 1 {
			id += fmt.Sprintf("/%d", seen[f.Code])
		}
		code := fault.PolicyConflict
		switch f.Code {
		case policy.Unassigned:
			code = fault.PolicyNotAssigned
		case policy.Encrypted, policy.UnknownExclusion:
			code = fault.UnknownPolicy
		case policy.ListQuotes, policy.ListScheme, policy.ListPath, policy.ListComma, policy.ListSpace, policy.ListEmpty:
			code = fault.WebSignInNotAllowed
		case policy.WrongPath, policy.Braces, policy.OtherTenant, policy.NoTenant, policy.NoScope, policy.WrongURI, policy.NotBoolean, policy.TenantInCatalog:
			code = fault.PolicyMissing
		case policy.MixedExclusion, policy.IncludedExcluded:
			code = fault.PolicyNotAssigned
		}
		made := Check{ID: id, Title: "Policy " + nameOfPolicy(t, f.PolicyID), Advice: true, Link: pageCSP}
		evidence := strings.TrimSuffix(f.Text, ".")
		switch {
		case f.Severity == policy.Info:
			made = passed(made, evidence)
		case code == fault.UnknownPolicy:
			made = unread(made, code, evidence, f.Fix)
		default:
			made = failed(made, code, evidence, f.Fix)
		}
		out = append(out, made)
	}
	return out
}

func nameOfPolicy(t TenantFacts, id string) string {
	for _, s := range policy.Stores {
		list, _ := t.Policies[s].Get()
		for _, f := range list {
			if f.ID == id {
				return "\"" + f.Name + "\""
			}
		}
	}
	return id
}

func (t TenantFacts) grants() Check {
	c := Check{ID: "grants", Title: "What the two applications hold", Advice: true, Link: pagePINReset}
	var said []string
	for _, a := range []struct {
		name string
		of   reading.Of[ServicePrincipal]
	}{{"service", t.Service}, {"client", t.Client}} {
		sp, ok := a.of.Get()
		if ok && !sp.Present {
			continue
		}
		grants, ok := reading.Then(a.of, func(sp ServicePrincipal) reading.Of[[]string] { return sp.Grants }).Get()
		if !ok {
			why := reading.Then(a.of, func(sp ServicePrincipal) reading.Of[[]string] { return sp.Grants })
			return unread(c, why.Why().Code, a.name+": "+causeOf(why))
		}
		said = append(said, a.name+": "+orNothing(grants))
	}
	if len(said) == 0 {
		return skipped(c, "neither application is there")
	}
	return passed(c, strings.Join(said, "; ")+" (Microsoft does not document what they should hold)")
}

func orNothing(list []string) string {
	if len(list) == 0 {
		return "nothing"
	}
	return strings.Join(list, ", ")
}

func (t TenantFacts) groupPolicy() Check {
	return advice(unread(Check{ID: "group-policy", Title: "Group Policy", Link: pagePrecedence}, fault.UnknownPolicy,
		"Graph does not show Group Policy, which wins over Intune; only reports of devices do", "Let devices report."))
}

func (t TenantFacts) cloudCheck() Check { return advice(view{t: t}.cloud(KeepSettings)) }

// AllowList is the value to write for ConfigureWebSignInAllowedUrls: the hosts that the tenant's sign-in needs, after those
// that are listed now. It is "" if none is needed, and unread if a sign-in page is not known.
func (t TenantFacts) AllowList() reading.Of[string] {
	return reading.Map(t.signInHosts(""), func(hosts []string) string {
		if len(hosts) == 0 {
			return ""
		}
		all, _ := t.found(policy.WebSignInAllowList)
		var value []string
		for _, f := range all {
			if mistakeIn(f.List) != "" || !f.Assigned() {
				continue
			}
			for entry := range strings.SplitSeq(strings.ToLower(f.List), ";") {
				if entry != "" && !slices.Contains(value, entry) {
					value = append(value, entry)
				}
			}
		}
		for _, h := range hosts {
			if !slices.Contains(value, h) {
				value = append(value, h)
			}
		}
		return strings.Join(value, ";")
	})
}

func (t TenantFacts) allowList() Check {
	c := Check{ID: "web-sign-in", Title: "The sign-in page is on the allow list of web sign-in", Advice: true, Link: pageWebSignIn}
	if t.Cloud != USGovernment && t.federated("") == reading.No {
		return skipped(c, "Microsoft's own page signs everybody in")
	}
	hosts := t.signInHosts("")
	needed, ok := hosts.Get()
	if !ok {
		return unread(c, fault.UnknownWebSignIn, causeOf(hosts), "Write the domains of the sign-in page into ConfigureWebSignInAllowedUrls, separated by semicolons, without quotation marks.")
	}
	all, stores := t.found(policy.WebSignInAllowList)
	answer := reading.No
	for _, f := range all {
		if !f.Assigned() {
			continue
		}
		every := reading.Yes
		for _, h := range needed {
			every = reading.All(every, allows(f.List, h))
		}
		answer = reading.Any(answer, every)
	}
	value, _ := t.AllowList().Get()
	fix := "Set ConfigureWebSignInAllowedUrls to: " + value
	switch {
	case answer == reading.Yes:
		return passed(c, "an assigned policy lists "+strings.Join(needed, ";"))
	case len(stores) > 0:
		return unread(c, fault.UnknownWebSignIn, t.unreadStores(stores), fix)
	case answer == reading.Unknown:
		return unread(c, fault.UnknownWebSignIn, "whether the listed domains cover "+strings.Join(needed, ";")+" is not documented", fix)
	}
	return failed(c, fault.WebSignInNotAllowed, "no assigned policy lists "+strings.Join(needed, ";"), fix)
}

// coverage shows what an audit counted.
func (t TenantFacts) coverage() []Check {
	count := Check{ID: "coverage", Title: "Devices took the policy", Advice: true, Link: pageAssign}
	kinds := Check{ID: "eligible", Title: "Windows devices are eligible", Advice: true, Link: pagePINReset}
	trust := Check{ID: "key-trust", Title: "No hybrid device with key trust", Advice: true, Link: pagePINReset}
	lock := Check{ID: "lock-screen", Title: "No lock-screen limitation reported", Advice: true, Link: pageLockScreen}
	c, ok := t.Coverage.Get()
	if !ok {
		code, why := t.Coverage.Why().Code, causeOf(t.Coverage)
		return []Check{unread(count, code, why), unread(kinds, code, why), unread(trust, code, why), unread(lock, code, why)}
	}
	told := fmt.Sprintf("%d of %d targeted", c.Succeeded, c.Targeted)
	if c.NotApplicable > 0 {
		told += fmt.Sprintf(", beside %d that the policy can't apply to", c.NotApplicable)
	}
	switch {
	case c.Targeted == 0:
		count = skipped(count, "no device is targeted")
	case c.Failed > 0:
		count = failed(count, fault.PolicyConflict, fmt.Sprintf("%s, %d failed", told, c.Failed), "Look at the policy's device status in Intune.")
	default:
		count = passed(count, told)
	}
	switch {
	case c.Ineligible > 0:
		kinds = failed(kinds, fault.EditionNotSupported, fmt.Sprintf("version, edition or join type rules %d of %d out", c.Ineligible, c.Windows), "Look at the readiness of single devices for what each one lacks.")
	default:
		kinds = passed(kinds, fmt.Sprintf("none of %d is ruled out", c.Windows))
	}
	if c.Reported == 0 {
		why := "no device has reported"
		return []Check{count, kinds, unread(trust, fault.DeviceNotReporting, why), unread(lock, fault.DeviceNotReporting, why)}
	}
	reports := fmt.Sprintf("%d of %d that reported", c.KeyTrust, c.Reported)
	if c.KeyTrust > 0 {
		trust = failed(trust, fault.JoinNotSupported, reports, "Roll out non-destructive reset: with key trust it is the only one above the lock screen.")
	} else {
		trust = passed(trust, reports)
	}
	reports = fmt.Sprintf("%d of %d that reported", c.LockScreen, c.Reported)
	if c.LockScreen > 0 {
		lock = failed(lock, fault.LockScreenBlocked, reports)
	} else {
		lock = passed(lock, reports)
	}
	return []Check{count, kinds, trust, lock}
}

// onPremises are the requirements of the on-premises form that belong to the deployment as a whole.
func (t TenantFacts) onPremises() []Check {
	return []Check{
		advice(unread(Check{ID: "domain-controller", Title: "Domain controllers answer", Link: pagePINReset}, fault.UnknownLineOfSight, "each device tells for itself", "Let devices report.")),
		advice(unread(Check{ID: "federation", Title: "The federation service answers", Link: pagePINReset}, fault.UnknownLineOfSight, "each device tells for itself", "Let devices report.")),
	}
}
