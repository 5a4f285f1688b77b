package readiness

import (
	"fmt"

	"pinreset/shared/fault"
)

// paths says what the tenant allows, path by path, to a device that is eligible itself.
func (t TenantFacts) paths(v TenantVerdict) []Verdict {
	out := make([]Verdict, 0, len(Paths()))
	for _, p := range Paths() {
		checks := t.path(p, v.State)
		answer, reason := decide(checks)
		out = append(out, Verdict{Path: p, Answer: answer, Reason: reason, Checks: checks, Text: sentence(p, answer, checks)})
		if t.Kind == OnPremises && p.onPremises() {
			out[len(out)-1].Steps = Steps(p, "", false)
		}
	}
	return out
}

func (t TenantFacts) path(p Path, s State) []Check {
	directory := Check{ID: "directory", Title: "The directory that the path needs", Link: pagePINReset}
	switch {
	case p == RemotePasscode:
		return []Check{t.phones()}
	case p.onPremises() && t.Kind == OnPremises:
		return append([]Check{passed(directory, "Active Directory without Microsoft Entra ID")}, t.onPremises()...)
	case p.onPremises():
		return []Check{failed(directory, fault.JoinNotSupported, "this tenant is no on-premises deployment: see the destructive paths")}
	case t.Kind == OnPremises && p.keeps():
		return []Check{failed(directory, fault.JoinNotSupported, "the PIN reset service relies on Microsoft Entra identities, and this deployment has none")}
	case t.Kind == OnPremises:
		return []Check{failed(directory, fault.JoinNotSupported, "this is an on-premises deployment: see its own paths")}
	case p.keeps():
		out := []Check{t.service(), t.client(), t.rolledOut(), view{t: t}.cloud(p)}
		if p.aboveLock() {
			out = append(out, t.allowList())
		}
		return out
	}
	trap := Check{ID: "recovery-trap", Title: "PIN recovery is not on without Microsoft's applications", Link: pagePINReset}
	service, client, rolled := t.service(), t.client(), t.rolledOut()
	switch {
	case s == Broken:
		trap = failed(trap, fault.ConsentMissing, "PIN recovery is on, and an application is missing or disabled: every PIN reset of a device that took the policy fails with CAA20004",
			"Consent to both applications at once, or let the policy write false and keep it assigned.")
	case service.Outcome == Passed && client.Outcome == Passed, rolled.Outcome == Failed:
		trap = passed(trap, "it is not")
	default:
		trap = unread(trap, fault.UnknownConsent, "the applications or the policies could not all be read")
	}
	return []Check{trap}
}

func (t TenantFacts) phones() Check {
	c := Check{ID: "platform", Title: "Phones or tablets whose passcode Intune can reset", Link: pagePasscode}
	n, ok := t.Coverage.Get()
	switch {
	case t.Kind == OnPremises:
		return failed(c, fault.PlatformNotSupported, "it is an action of Intune, and there is no Microsoft Entra ID here")
	case !ok:
		return unread(c, fault.UnknownPlatform, causeOf(t.Coverage))
	case n.Phones > 0:
		return passed(c, fmt.Sprintf("%d of %d devices", n.Phones, n.Devices))
	}
	return failed(c, fault.PlatformNotSupported, "the tenant has no phone or tablet whose passcode Intune can reset")
}
