package readiness

import (
	"slices"
	"strings"

	"pinreset/shared/fault"
	"pinreset/shared/reading"
	"pinreset/shared/userreset"
)

func (v view) join(p Path) Check {
	c := Check{ID: "join", Title: "How the device is joined", Link: pagePINReset}
	d, ok := v.deployment.Get()
	if !ok {
		if v.t.Kind == OnPremises && !p.onPremises() {
			return failed(c, fault.JoinNotSupported, "the tenant has no Microsoft Entra ID")
		}
		return missing(c, fault.UnknownJoin, v.deployment)
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
	if p.onPremises() || d == OnPremisesHello && !p.keeps() {
		return failed(c, at.code, joinWhy(d, p)+" ("+v.joinSeen+")", "Look at the paths of this kind of deployment.")
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

// userDeployment is the deployment as it matters for what a user does.
func (v view) userDeployment() userreset.Deployment {
	switch {
	case v.hybrid():
		return userreset.HybridJoined
	case v.is(OnPremisesHello):
		return userreset.OnPremises
	}
	return userreset.EntraJoined
}

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
	return advice(missing(c, v.f.Directory.Why().Code, v.f.Directory))
}
