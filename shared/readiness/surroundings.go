package readiness

import (
	"strings"

	"pinreset/shared/fault"
	"pinreset/shared/reading"
)

func (v view) pin() Check {
	c := Check{ID: "pin-set", Title: "The user has a PIN", Link: pageDsregcmd}
	s, ok := status(v.f).Get()
	switch {
	case !ok:
		return advice(missing(c, status(v.f).Why().Code, status(v.f)))
	case s.HelloSet:
		return passed(c, "dsregcmd: NgcSet YES")
	}
	return failed(c, fault.PINNotSet, "dsregcmd: NgcSet NO")
}

func (v view) protector(p Path) Check {
	c := Check{ID: "can-reset", Title: "The device made its recovery secret", Link: pageDsregcmd}
	if !p.keeps() {
		return skipped(c, "this path needs no recovery secret")
	}
	s, ok := status(v.f).Get()
	switch {
	case !ok:
		return missing(c, fault.UnknownProtector, status(v.f))
	case v.proven():
		return passed(c, "dsregcmd: CanReset "+s.CanReset)
	case strings.EqualFold(s.CanReset, "DestructiveOnly"):
		return failed(c, fault.ProtectorNotCreated, "dsregcmd: CanReset "+s.CanReset)
	}
	if s.CanReset == "" {
		return unread(c, fault.UnknownProtector, "dsregcmd does not say CanReset")
	}
	return unread(c, fault.UnknownProtector, "dsregcmd: CanReset "+s.CanReset)
}

func (v view) lockScreen(p Path) []Check {
	if !p.aboveLock() {
		return []Check{skipped(Check{ID: "lock-screen", Title: "Lock-screen limitations", Link: pageLockScreen}, "this path does not use the lock screen")}
	}
	limits := Limitations()
	out := make([]Check, 0, len(limits))
	for _, l := range limits {
		c := Check{ID: "lock-screen/" + l.ID, Title: l.Title, Link: pageLockScreen, Advice: l.Warns}
		held := reading.Then(v.f.Report, func(r DeviceReport) reading.Of[bool] { return r.held(l.ID) })
		holds, ok := held.Get()
		switch {
		case l.ID == CtrlAltDel && v.beyondCtrlAltDel():
			c = skipped(c, "it blocks on Home up to version 1709 only")
		case !ok:
			c = missing(c, fault.UnknownLockScreen, held)
		case holds:
			c = failed(c, fault.LockScreenBlocked, "the device reports the contrary", l.Fix)
		default:
			c = passed(c, "as the device reports")
		}
		out = append(out, c)
	}
	return out
}

// beyondCtrlAltDel reports whether edition or version take the device out of the combination that Microsoft's page limits to
// Home and to versions up to "1710".
func (v view) beyondCtrlAltDel() bool {
	if e, ok := v.f.edition().Get(); ok && e != Home {
		return true
	}
	said, _ := v.f.version().Get()
	b, ok := bandOf(said)
	return ok && b >= from1903
}

func (v view) lineOfSight(p Path) []Check {
	dc := Check{ID: "domain-controller", Title: "A domain controller answers", Link: pagePINReset}
	adfs := Check{ID: "federation", Title: "The federation service answers", Link: pagePINReset}
	d, _ := v.deployment.Get()
	at := lookUp(d, p)
	answers := func(c Check, what string, part func(DeviceReport) reading.Of[bool]) Check {
		o := reading.Then(v.f.Report, part)
		yes, ok := o.Get()
		switch {
		case !ok:
			return missing(c, fault.UnknownLineOfSight, o)
		case yes:
			return passed(c, "as the device reports")
		}
		return failed(c, fault.LineOfSightNeeded, "the device did not reach "+what)
	}
	switch {
	case v.deployment.OK() && at.answer == reading.No || !v.deployment.OK() && !p.onPremises():
		return []Check{skipped(dc, "how the device is joined decides first"), skipped(adfs, "how the device is joined decides first")}
	case at.needs == domainAndFederation || !v.deployment.OK():
		return []Check{
			answers(dc, "a domain controller", func(r DeviceReport) reading.Of[bool] { return r.DomainController }),
			answers(adfs, "the federation service", func(r DeviceReport) reading.Of[bool] { return r.Federation }),
		}
	case at.needs == domainController:
		dc = answers(dc, "a domain controller", func(r DeviceReport) reading.Of[bool] { return r.DomainController })
	default:
		dc = skipped(dc, "this path needs the internet only")
	}
	// With certificate trust over AD FS either form of reset needs the federation service.
	trust, known := trustOf(v.f).Get()
	federated := v.federated()
	switch {
	case !v.hybrid() || federated == reading.No || known && trust != CertificateTrust:
		adfs = skipped(adfs, "certificate trust over AD FS is not in use")
	case known && federated == reading.Yes:
		adfs = answers(adfs, "the federation service", func(r DeviceReport) reading.Of[bool] { return r.Federation })
	default:
		adfs = advice(answers(adfs, "the federation service", func(r DeviceReport) reading.Of[bool] { return r.Federation }))
	}
	return []Check{dc, adfs}
}

// password: on premises the user authenticates with the password. Where a smart card is required nobody knows it; that this
// closes the path is inferred.
func (v view) password(p Path) Check {
	c := Check{ID: "password", Title: "The user can use a password", Link: pagePINReset}
	if !p.onPremises() {
		return skipped(c, "this path does not ask for the password as such")
	}
	held := reading.Then(v.f.Report, func(r DeviceReport) reading.Of[bool] { return r.held("smart-card") })
	switch required, ok := held.Get(); {
	case !ok:
		return advice(missing(c, held.Why().Code, held))
	case required:
		return failed(c, fault.PasswordNeeded, "the device requires a smart card")
	}
	return passed(c, "no smart card is required")
}

// token: without a primary refresh token the device's user can't authenticate to Entra silently. That a reset then fails is
// inferred, so it warns.
func (v view) token(p Path) Check {
	c := Check{ID: "primary-token", Title: "The user is signed in to Entra", Link: pageDsregcmd, Advice: true}
	if p.onPremises() || v.t.Kind == OnPremises {
		return skipped(c, "Entra does not matter here")
	}
	s, ok := status(v.f).Get()
	switch {
	case !ok:
		return missing(c, status(v.f).Why().Code, status(v.f))
	case strings.EqualFold(s.PrimaryToken, "YES"):
		return passed(c, "dsregcmd: AzureAdPrt YES")
	case strings.EqualFold(s.PrimaryToken, "NO"):
		return failed(c, fault.DeviceDisabled, "dsregcmd: AzureAdPrt NO", "Let the user sign out and in with a network, then look at AzureAdPrt in `dsregcmd /status`.")
	}
	return unread(c, fault.NotRead, "dsregcmd does not say")
}
