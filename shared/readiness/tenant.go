package readiness

import (
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
		return t.storesMissing(c, fault.UnknownPolicy, unreadStores)
	case len(unsure) > 0:
		return unread(c, fault.UnknownPolicy, "what "+quotedNames(unsure)+" sets can't be told")
	case len(idle) > 0:
		return failed(c, fault.PolicyNotAssigned, quotedNames(idle)+" turns it on and is assigned to nobody")
	case len(off) > 0:
		return failed(c, fault.PolicyOff, quotedNames(off)+" turns it off")
	}
	return failed(c, fault.PolicyMissing, "no policy of Intune turns it on")
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
