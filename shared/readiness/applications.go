package readiness

import (
	"pinreset/shared/fault"
	"pinreset/shared/onboarding"
	"pinreset/shared/reading"
)

const (
	serviceName = "Microsoft Pin Reset Service Production"
	clientName  = "Microsoft Pin Reset Client Production"
)

// application checks one of Microsoft's applications.
func application(c Check, o reading.Of[ServicePrincipal]) Check {
	sp, ok := o.Get()
	switch {
	case !ok:
		return unread(c, fault.UnknownConsent, causeOf(o))
	case !sp.Present:
		return failed(c, fault.ConsentMissing, "the directory has no service principal of it")
	case sp.Enabled():
		return passed(c, "present and enabled")
	case sp.DisabledByMicrosoft != "" && sp.DisabledByMicrosoft != "NotDisabled":
		return failed(c, fault.ServicePrincipalOff, "disabled by Microsoft: "+sp.DisabledByMicrosoft)
	}
	return failed(c, fault.ServicePrincipalOff, "its sign-in is disabled in the tenant")
}

func (t TenantFacts) service() Check {
	return application(Check{ID: "service-application", Title: serviceName + " (" + onboarding.ServiceAppID + ")", Link: pagePINReset}, t.Service)
}

func (t TenantFacts) client() Check {
	return application(Check{ID: "client-application", Title: clientName + " (" + onboarding.ClientAppID + ")", Link: pagePINReset}, t.Client)
}

// applications are the checks about Microsoft's two applications that a path needs. A destructive reset needs neither, but
// where recovery is on without them Windows tries the non-destructive form and fails with CAA20004 instead of falling back:
// that was reported by several administrators, and Microsoft's page does not speak of it.
func (v view) applications(p Path) []Check {
	service, client := v.t.service(), v.t.client()
	trap := Check{ID: "recovery-trap", Title: "PIN recovery is not on without Microsoft's applications", Link: pagePINReset}
	switch {
	case p.onPremises(), v.t.Kind == OnPremises, v.is(OnPremisesHello, DomainOnly, Workgroup, MicrosoftAccount) && !p.keeps():
		why := "Entra does not matter here"
		return []Check{cleared(service, why), cleared(client, why), skipped(trap, why)}
	case p.keeps():
		return []Check{service, client, skipped(trap, "the applications are checked by themselves")}
	}
	there := reading.All(v.t.Service.Holds(ServicePrincipal.Enabled), v.t.Client.Holds(ServicePrincipal.Enabled))
	on := v.recoveryOn()
	switch {
	case there == reading.Yes:
		trap = passed(trap, "both applications are present and enabled")
	case on == reading.No:
		trap = passed(trap, "PIN recovery is not on")
	case there == reading.No && on == reading.Yes:
		trap = failed(trap, fault.ConsentMissing, "PIN recovery is on, and an application is missing or disabled: every PIN reset fails with CAA20004")
	case there == reading.No:
		trap = unread(trap, fault.UnknownPolicy, "an application is missing or disabled, and whether PIN recovery is on is not known")
	default:
		trap = unread(trap, fault.UnknownConsent, "the applications could not be read, and PIN recovery is or may be on")
	}
	why := "a destructive reset does not use it"
	return []Check{cleared(service, why), cleared(client, why), trap}
}

// cleared is a check that does not matter, whatever it found.
func cleared(c Check, why string) Check {
	c.Reason, c.Fix = "", nil
	return skipped(c, why)
}

func (v view) cloud(p Path) Check {
	c := Check{ID: "cloud", Title: "The tenant's cloud has the PIN reset service", Link: pagePINReset}
	switch {
	case !p.keeps() || v.t.Kind == OnPremises:
		return skipped(c, "this path does not use the service")
	case v.t.Cloud == USGovernment:
		return unread(c, fault.UnknownCloud, "US Government: Microsoft's page knows an issue and a work-around, and promises nothing")
	case v.t.Cloud == China:
		return unread(c, fault.UnknownCloud, "Microsoft's page does not speak of this cloud")
	}
	return passed(c, "commercial")
}
