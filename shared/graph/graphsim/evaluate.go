package graphsim

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// applied is what a device took from the policies at a check-in, and what has
// not changed since. It is part of the device's state.
type applied struct {
	Seq       int64             `json:"seq"` // of the evaluation it has seen
	At        time.Time         `json:"at,omitzero"`
	States    map[string]string `json:"states,omitempty"`   // by policy id: a complianceStatus
	Recovery  *bool             `json:"recovery,omitempty"` // EnablePinRecovery on the device; nil: never written
	Protector bool              `json:"protector,omitempty"`
	WebSignIn *string           `json:"webSignIn,omitempty"` // ConfigureWebSignInAllowedUrls; nil: never written
}

// settle returns the changes that let every device which has checked in since
// the current evaluation began take it. Whoever reads what devices took, or
// changes what they will take, settles first; so nothing need run in between.
func (c *Cloud) settle(t *tenant, now time.Time) []change {
	if t.evaluation.Seq == 0 {
		return nil // no policy ever was
	}
	var changes []change
	for _, d := range t.devices() {
		if d.Retired || d.Applied.Seq == t.evaluation.Seq {
			continue
		}
		if at := d.lastSync(now, c.timing.CheckIn); at.After(t.evaluation.At) {
			next := d.deviceState
			next.Applied = t.take(d, at)
			changes = append(changes, t.putDevice(d, next))
		}
	}
	return changes
}

// settled is settle for readers.
func (c *Cloud) settled(t *tenant, now time.Time) error {
	if changes := c.settle(t, now); len(changes) > 0 {
		return c.commit(changes...)
	}
	return nil
}

// take evaluates the policies for a device that checks in at that time. It
// changes nothing.
//
// The device keeps its value when no policy sets one any more, and when policies
// contradict each other. What the real ones do then is not documented in full:
// Microsoft's page "Assign device profiles in Microsoft Intune" says that a
// setting might keep its value.
func (t *tenant) take(d *device, at time.Time) applied {
	next := applied{Seq: t.evaluation.Seq, At: at, States: make(map[string]string), Recovery: d.Applied.Recovery, WebSignIn: d.Applied.WebSignIn}
	var setting []string // policies with a value
	var values []bool
	for _, p := range t.livePolicies("") {
		switch {
		case !t.targets(p, d):
			continue
		case !d.takesPolicy():
			next.States[p.ID] = "notApplicable"
			continue
		}
		own, broken := p.recovery(t.id)
		if broken {
			next.States[p.ID] = "error"
			continue
		}
		next.States[p.ID] = "compliant"
		if domains, ok := p.webSignIn(); ok {
			next.WebSignIn = &domains
		}
		if len(own) > 0 {
			setting = append(setting, p.ID)
			values = append(values, own...)
		}
	}
	if len(slices.Compact(slices.Clone(values))) > 1 {
		for _, id := range setting {
			next.States[id] = "conflict"
		}
	} else if len(values) > 0 {
		next.Recovery = &values[0]
	}
	next.Protector = next.Recovery != nil && *next.Recovery && t.recoveryServed(at) && d.nonDestructive()
	return next
}

// recoveryServed reports whether both PIN reset service principals are there
// and enabled.
func (t *tenant) recoveryServed(now time.Time) bool {
	for _, app := range []string{PinResetService, PinResetClient} {
		if sp := t.principalOf(view{now: now}, app); sp == nil || sp.Disabled {
			return false
		}
	}
	return true
}

// targets reports whether a policy's assignments reach a device or its user. A
// group counts by what reaches the device in it: the device, or its user. An
// exclusion takes precedence over an inclusion of the same kind; of the other
// kind it does not apply (memdocs, device-profile-assign.md). Assignment filters
// are kept, not evaluated.
func (t *tenant) targets(p *policy, d *device) bool {
	var included, excluded struct{ user, device bool }
	for _, a := range p.Assignments {
		switch a.kind() {
		case allDevices:
			included.device = true
		case allUsers:
			included.user = included.user || d.UserID != ""
		case groupTarget:
			included.user = included.user || t.inGroup(a.group(), d.UserID)
			included.device = included.device || t.inGroup(a.group(), d.objectID)
		case exclusionTarget:
			excluded.user = excluded.user || t.inGroup(a.group(), d.UserID)
			excluded.device = excluded.device || t.inGroup(a.group(), d.objectID)
		}
	}
	return included.user && !excluded.user || included.device && !excluded.device
}

// takesPolicy reports whether the device has the PassportForWork settings: a
// Windows desktop from version 1703 on.
func (d *device) takesPolicy() bool { return d.os == "Windows" && d.build() >= 15063 }

// build is the third number of a Windows version, 0 elsewhere.
func (d *device) build() int {
	if parts := strings.Split(d.version, "."); d.os == "Windows" && len(parts) > 2 {
		n, _ := strconv.Atoi(parts[2])
		return n
	}
	return 0
}

// nonDestructive reports whether edition, version and join type allow a
// non-destructive PIN reset (windows-itpro-docs, pin-reset.md): Enterprise from
// 1709, Education and Pro from 1903, Entra joined or hybrid joined.
func (d *device) nonDestructive() bool {
	if d.trust != "AzureAd" && d.trust != "ServerAd" {
		return false
	}
	switch d.sku {
	case "Enterprise":
		return d.build() >= 16299
	case "Education", "Pro":
		return d.build() >= 18362
	}
	return false
}

// pending reports whether a device has yet to take the current evaluation.
func (t *tenant) pending(d *device) bool { return d.Applied.Seq != t.evaluation.Seq }

// A standing is what is known of one policy on one device.
type standing struct {
	device   *device
	state    string    // complianceStatus; unknown before the device has reported
	reported time.Time // zero before it has
	current  bool      // the report is of the policy as it is now
}

// standings lists the devices that a policy reaches, by name. Settle first.
func (c *Cloud) standings(t *tenant, p *policy, now time.Time) []standing {
	var list []standing
	for _, d := range t.devices() {
		if d.Retired || !t.targets(p, d) {
			continue
		}
		s := standing{device: d, state: "unknown"}
		if state, ok := d.Applied.States[p.ID]; ok {
			s.state, s.reported = state, d.Applied.At
			// Groups or other policies may have changed since; this one counts.
			s.current = !d.Applied.At.Before(p.Modified)
			if !t.pending(d) {
				s.reported = d.lastSync(now, c.timing.CheckIn)
			}
		}
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b standing) int { return strings.Compare(a.device.name, b.device.name) })
	return list
}

// states lists a device's states by policy id, in order.
func (a *applied) states() []string { return slices.Sorted(maps.Keys(a.States)) }
