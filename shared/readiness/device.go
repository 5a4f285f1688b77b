package readiness

import (
	"slices"
	"strings"

	"pinreset/shared/fault"
	"pinreset/shared/passcode"
	"pinreset/shared/reading"
)

// Device gives the verdict of every path for a device of the tenant, in the order of [Paths].
func Device(t TenantFacts, f DeviceFacts) []Verdict {
	v := view{t: t, f: f}
	v.deployment, v.joinSeen = deployment(t, f)
	v.policy = v.devicePolicy()
	out := make([]Verdict, 0, len(Paths()))
	for _, p := range Paths() {
		checks := v.windows(p)
		if p == RemotePasscode {
			checks = v.remote()
		}
		answer, reason := decide(checks)
		out = append(out, Verdict{
			Path: p, Answer: answer, Reason: reason, Checks: checks,
			Text: sentence(p, answer, checks), Steps: v.steps(p, answer),
		})
	}
	return out
}

// view is what the checks of one device share.
type view struct {
	t          TenantFacts
	f          DeviceFacts
	deployment reading.Of[Deployment]
	joinSeen   string
	policy     []Check
}

func (p Path) keeps() bool { return p == KeepSettings || p == KeepLockScreen }

func (p Path) destroys() bool { return p == DestroySettings || p == DestroyLockScreen }

func (p Path) onPremises() bool { return p == OnPremSettings || p == OnPremLockScreen }

func (p Path) aboveLock() bool {
	return p == KeepLockScreen || p == DestroyLockScreen || p == OnPremLockScreen
}

// windows makes the checks of a path that a user takes at a Windows device.
func (v view) windows(p Path) []Check {
	platform := v.platform()
	checks := []Check{platform}
	version, edition := v.versionAndEdition(p)
	checks = append(checks, version, edition, v.join(p), v.enabled(p), v.pin(), v.cloud(p))
	checks = append(checks, v.applications(p)...)
	checks = append(checks, v.policyOf(p)...)
	checks = append(checks, v.protector(p), v.webSignIn(p))
	checks = append(checks, v.lockScreen(p)...)
	checks = append(checks, v.lineOfSight(p)...)
	checks = append(checks, v.password(p), v.token(p))
	if platform.Outcome == Failed {
		for i := range checks[1:] {
			checks[1+i] = skipped(checks[1+i], "the platform rules this path out")
			checks[1+i].Reason, checks[1+i].Fix = "", nil
		}
	}
	if p.keeps() {
		v.settle(checks)
	}
	return checks
}

// settle makes an unread check advice where the device itself proves the outcome: CanReset tells that version, edition, policy
// and secret are in place. What is consented in the tenant it does not tell, and a failed check stays failed.
func (v view) settle(checks []Check) {
	if !v.proven() {
		return
	}
	for i, c := range checks {
		switch c.ID {
		case "version", "edition", "join", "cloud", "policy", "group-policy":
			if c.Outcome == Unread {
				checks[i].Advice = true
				checks[i].Evidence += "; the device's own CanReset settles it"
			}
		}
	}
}

// proven reports whether the device says that it can reset the PIN non-destructively.
func (v view) proven() bool {
	s, ok := status(v.f).Get()
	return ok && (strings.EqualFold(s.CanReset, "DestructiveAndNonDestructive") || strings.EqualFold(s.CanReset, "NonDestructiveOnly"))
}

func (v view) platform() Check {
	c := Check{ID: "platform", Title: "Windows desktop", Link: pagePINReset}
	m, ok := v.f.Managed.Get()
	switch os := strings.TrimSpace(m.OperatingSystem); {
	case ok && isDesktop(os):
		return passed(c, "Intune says "+os)
	case status(v.f).OK():
		return passed(c, "the device reports by dsregcmd, which is part of Windows")
	case !ok:
		return unread(c, fault.UnknownPlatform, causeOf(v.f.Managed))
	case os == "" || strings.EqualFold(os, "unknown"):
		return unread(c, fault.UnknownPlatform, "Intune does not say which platform this is")
	default:
		return failed(c, fault.PlatformNotSupported, "this is "+os+", and a Windows Hello PIN is on Windows",
			"Phones and tablets: see the path "+string(RemotePasscode)+".")
	}
}

func (v view) versionAndEdition(p Path) (version, edition Check) {
	version = Check{ID: "version", Title: "Windows version", Link: pagePINReset}
	edition = Check{ID: "edition", Title: "Windows edition", Link: pagePINReset}
	text := v.f.version()
	said, _ := text.Get()
	var b *band
	if x, ok := bandOf(said); ok {
		b = &x
	}
	own := v.f.edition()
	var e *Edition
	if x, ok := own.Get(); ok {
		e = &x
	}
	_, first := firstVersion(p)
	tooOld := func() Check {
		return failed(version, fault.VersionTooOld, "Windows "+said+" is older than version "+first, "Update Windows to version "+first+" or later.")
	}
	unknownVersion := func() Check {
		if text.OK() {
			return unread(version, fault.UnknownVersion, "the version is given as \""+said+"\"")
		}
		return unread(version, fault.UnknownVersion, causeOf(text))
	}
	if !p.keeps() {
		least, _ := firstVersion(p)
		switch {
		case b == nil:
			version = unknownVersion()
		case *b < least:
			version = tooOld()
		default:
			version = passed(version, "Windows "+said)
		}
		return version, v.professional(p, edition, own)
	}

	cell := nonDestructive(e, b)
	switch {
	case b == nil && cell.answer == reading.No:
		version = skipped(version, "the edition rules this path out in every version")
	case b == nil:
		version = unknownVersion()
	case cell.code == fault.VersionTooOld:
		return tooOld(), skipped(edition, "the version rules this path out")
	default:
		version = passed(version, "Windows "+said)
	}
	switch {
	case cell.answer == reading.Yes:
		edition = passed(edition, string(*e))
	case cell.answer == reading.No:
		edition = failed(edition, fault.EditionNotSupported, nameOf(e)+" is not among the editions that Microsoft's page names for this version")
	case e == nil:
		edition = unread(edition, fault.UnknownEdition, causeOf(own))
	case cell.code == fault.UnknownVersion:
		edition = passed(edition, string(*e)+", from some version on")
	default:
		edition = unread(edition, fault.UnknownEdition, "Microsoft's page about PIN reset does not speak of "+nameOf(e))
	}
	return version, edition
}

func nameOf(e *Edition) string {
	switch {
	case e == nil:
		return "this edition"
	case *e == OtherEdition:
		return "this edition by its name"
	}
	return "Windows " + string(*e)
}

// professional is the edition that the on-premises form asks for: Microsoft's page of 2020 says "Professional". That Enterprise
// and Education contain what Pro has is inferred. Destructive reset elsewhere asks for no edition.
func (v view) professional(p Path, c Check, own reading.Of[Edition]) Check {
	if !p.onPremises() {
		return skipped(c, "every edition resets destructively")
	}
	e, ok := own.Get()
	switch {
	case !ok:
		return unread(c, fault.UnknownEdition, causeOf(own))
	case e == Pro, e == Enterprise, e == Education:
		return passed(c, string(e))
	case e == Home:
		return failed(c, fault.EditionNotSupported, "Windows Home can't join a domain", "Use Windows Pro or a larger edition.")
	}
	return unread(c, fault.UnknownEdition, "Microsoft's page about PIN reset does not speak of "+nameOf(&e))
}

func (v view) join(p Path) Check {
	c := Check{ID: "join", Title: "How the device is joined", Link: pagePINReset}
	d, ok := v.deployment.Get()
	if !ok {
		if v.t.Kind == OnPremises && !p.onPremises() {
			return failed(c, fault.JoinNotSupported, "the tenant has no Microsoft Entra ID")
		}
		return unread(c, fault.UnknownJoin, causeOf(v.deployment))
	}
	at := lookUp(d, p)
	switch at.answer {
	case reading.Yes:
		return passed(c, v.joinSeen)
	case reading.Unknown:
		return unread(c, at.code, joinWhy(d, p)+" ("+v.joinSeen+")")
	}
	if d == HybridKeyTrust && p == DestroyLockScreen {
		return failed(c, at.code, joinWhy(d, p)+" ("+v.joinSeen+")", "Roll out non-destructive reset: it works above the lock screen with key trust.", "Until then reset the PIN from Settings, with a domain controller in reach.")
	}
	return failed(c, at.code, joinWhy(d, p)+" ("+v.joinSeen+")")
}

// joinWhy says why a deployment does not have a path, or why that is not known.
func joinWhy(d Deployment, p Path) string {
	switch {
	case d == HybridAnyTrust:
		return "hybrid joined, and the trust type decides about this path"
	case d == HybridKeyTrust && p == DestroyLockScreen:
		return "hybrid joined with key trust: a new key must be synchronised before it signs in, so it can't be made above the lock screen"
	case d == EntraRegistered:
		return "the device is registered, not joined: Microsoft's page of 2024 no longer lists it"
	case d == DomainOnly:
		return "a domain member without Windows Hello for Business has no PIN of it"
	case d == Workgroup:
		return "the device is joined to nothing and has no Windows Hello PIN"
	case d == MicrosoftAccount && p.keeps():
		return "the PIN belongs to a Microsoft account, and non-destructive reset is for organizations only"
	case d == OnPremisesHello && p.keeps():
		return "the PIN reset service relies on Microsoft Entra identities, and this deployment has none"
	case d == OnPremisesHello:
		return "this is an on-premises deployment: see its own paths"
	case p.onPremises():
		return "this is no on-premises deployment: see the destructive paths"
	}
	return "not for a device that is " + string(d)
}

func (v view) is(d ...Deployment) bool {
	got, ok := v.deployment.Get()
	return ok && slices.Contains(d, got)
}

func (v view) hybrid() bool { return v.is(HybridJoined, HybridKeyTrust, HybridAnyTrust) }

func (v view) enabled(p Path) Check {
	c := Check{ID: "device-enabled", Title: "The directory accepts the device", Link: pageDsregcmd}
	if p.onPremises() || v.t.Kind == OnPremises || v.is(OnPremisesHello, DomainOnly, Workgroup, MicrosoftAccount) {
		return skipped(c, "Entra's directory does not matter here")
	}
	s, reported := status(v.f).Get()
	x, ok := v.f.Directory.Get()
	switch {
	case ok && !x.Present:
		return failed(c, fault.DeviceDisabled, "the directory has no such device")
	case ok && !x.Enabled:
		return failed(c, fault.DeviceDisabled, "the device is disabled in the directory")
	case reported && strings.HasPrefix(strings.ToUpper(s.DeviceAuth), "FAILED"):
		return failed(c, fault.DeviceDisabled, "dsregcmd: DeviceAuthStatus "+s.DeviceAuth)
	case ok:
		return passed(c, "enabled in the directory")
	case reported && strings.EqualFold(s.DeviceAuth, "SUCCESS"):
		return passed(c, "dsregcmd: DeviceAuthStatus SUCCESS")
	}
	return advice(unread(c, v.f.Directory.Why().Code, causeOf(v.f.Directory)))
}

func (v view) pin() Check {
	c := Check{ID: "pin-set", Title: "The user has a PIN", Link: pageDsregcmd}
	s, ok := status(v.f).Get()
	switch {
	case !ok:
		return advice(unread(c, status(v.f).Why().Code, causeOf(status(v.f))))
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
		return unread(c, fault.UnknownProtector, causeOf(status(v.f)))
	case v.proven():
		return passed(c, "dsregcmd: CanReset "+s.CanReset)
	case strings.EqualFold(s.CanReset, "DestructiveOnly"):
		return failed(c, fault.ProtectorNotCreated, "dsregcmd: CanReset "+s.CanReset)
	}
	return unread(c, fault.UnknownProtector, "dsregcmd: CanReset \""+s.CanReset+"\"")
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
			c = unread(c, fault.UnknownLockScreen, causeOf(held))
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
	answers := func(c Check, part func(DeviceReport) reading.Of[bool]) Check {
		o := reading.Then(v.f.Report, part)
		yes, ok := o.Get()
		switch {
		case !ok:
			return unread(c, fault.UnknownLineOfSight, causeOf(o))
		case yes:
			return passed(c, "as the device reports")
		}
		return failed(c, fault.LineOfSightNeeded, "the device did not reach it")
	}
	switch {
	case at.answer == reading.No || !v.deployment.OK() && !p.onPremises():
		return []Check{skipped(dc, "how the device is joined decides first"), skipped(adfs, "how the device is joined decides first")}
	case at.needs == domainAndFederation || !v.deployment.OK():
		return []Check{
			answers(dc, func(r DeviceReport) reading.Of[bool] { return r.DomainController }),
			answers(adfs, func(r DeviceReport) reading.Of[bool] { return r.Federation }),
		}
	case at.needs == domainController:
		dc = answers(dc, func(r DeviceReport) reading.Of[bool] { return r.DomainController })
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
		adfs = answers(adfs, func(r DeviceReport) reading.Of[bool] { return r.Federation })
	default:
		adfs = advice(answers(adfs, func(r DeviceReport) reading.Of[bool] { return r.Federation }))
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
		return advice(unread(c, held.Why().Code, causeOf(held)))
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
		return unread(c, status(v.f).Why().Code, causeOf(status(v.f)))
	case strings.EqualFold(s.PrimaryToken, "YES"):
		return passed(c, "dsregcmd: AzureAdPrt YES")
	case strings.EqualFold(s.PrimaryToken, "NO"):
		return failed(c, fault.DeviceDisabled, "dsregcmd: AzureAdPrt NO", "Let the user sign out and in with a network, then look at AzureAdPrt in `dsregcmd /status`.")
	}
	return unread(c, fault.NotRead, "dsregcmd does not say")
}

// remote makes the checks of the remote passcode reset, out of the one table that every door uses.
func (v view) remote() []Check {
	platform := Check{ID: "platform", Title: "Platform", Link: pagePasscode}
	enrolment := Check{ID: "enrolment", Title: "Kind of enrolment", Link: pagePasscode}
	version := Check{ID: "version", Title: "Version of the operating system", Link: pagePasscode}
	after := "an earlier check decides"
	m, ok := v.f.Managed.Get()
	if !ok {
		if status(v.f).OK() {
			return []Check{failed(platform, fault.PlatformNotSupported, "the device reports by dsregcmd, which is part of Windows; Windows has no remote passcode reset"), skipped(enrolment, after), skipped(version, after)}
		}
		return []Check{unread(platform, fault.UnknownPlatform, causeOf(v.f.Managed)), skipped(enrolment, after), skipped(version, after)}
	}
	facts := passcode.Facts{OperatingSystem: m.OperatingSystem, OSVersion: m.OSVersion, EnrollmentType: m.EnrollmentType, ManagementAgent: m.ManagementAgent, Owner: m.Owner}
	e := passcode.Check(facts)
	said := strings.TrimSuffix(e.Text, ".")
	system := strings.TrimSpace(m.OperatingSystem + " " + m.OSVersion)
	switch {
	case e.Answer == passcode.Yes:
		return []Check{passed(platform, system), passed(enrolment, said), passed(version, system)}
	case e.Code == fault.EnrolmentNotSupported:
		return []Check{passed(platform, system), failed(enrolment, e.Code, said), skipped(version, after)}
	case e.Code == fault.VersionTooOld:
		return []Check{passed(platform, system), passed(enrolment, "an enrolment that is supported"), failed(version, e.Code, said)}
	case e.Answer == passcode.No:
		return []Check{failed(platform, e.Code, said), skipped(enrolment, after), skipped(version, after)}
	}
	// What is missing: if the table answers for a device of some version, it is the version.
	facts.OSVersion = "99"
	switch {
	case strings.TrimSpace(m.OperatingSystem) == "" || strings.EqualFold(strings.TrimSpace(m.OperatingSystem), "unknown"):
		return []Check{unread(platform, fault.UnknownPlatform, said), skipped(enrolment, after), skipped(version, after)}
	case passcode.Check(facts).Answer != passcode.Unknown:
		return []Check{passed(platform, system), passed(enrolment, "as far as the version allows"), unread(version, fault.UnknownVersion, said)}
	}
	return []Check{passed(platform, system), unread(enrolment, fault.UnknownEnrolment, said), skipped(version, "the kind of enrolment decides first")}
}
