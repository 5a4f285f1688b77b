package readiness

import (
	"slices"
	"strings"
	"time"

	"pinreset/shared/fault"
	"pinreset/shared/policy"
	"pinreset/shared/reading"
)

// found returns the policies that make the setting, and the stores that could not be read.
func (t TenantFacts) found(s policy.Setting) (all []policy.Found, unread []policy.Store) {
	for _, store := range policy.Stores {
		list, ok := t.Policies[store].Get()
		if !ok {
			unread = append(unread, store)
		}
		for _, f := range list {
			if f.Setting == s {
				all = append(all, f)
			}
		}
	}
	return all, unread
}

// reaches tells whether assignments reach the device, as Microsoft's page "Assign user and device profiles" has it: an
// exclusion wins over an inclusion of the same kind, and one of the other kind does not apply. A filter is not evaluated.
func (v view) reaches(assignments []policy.Assignment) reading.Answer {
	device := v.kindReaches(assignments, v.f.Groups, policy.AllDevices, reading.Yes)
	user := v.kindReaches(assignments, v.f.UserGroups, policy.AllUsers, v.f.Managed.Holds(func(m Managed) bool { return m.UserID != "" || m.User != "" }))
	return reading.Any(device, user)
}

func (v view) kindReaches(assignments []policy.Assignment, groups reading.Of[[]string], everyone policy.Target, there reading.Answer) reading.Answer {
	member := func(id string) reading.Answer {
		return reading.All(there, groups.Holds(func(ids []string) bool {
			return slices.ContainsFunc(ids, func(g string) bool { return strings.EqualFold(g, id) })
		}))
	}
	in, out := reading.No, reading.No
	for _, a := range assignments {
		hit := reading.No
		switch a.Kind {
		case policy.ExcludeGroup:
			out = reading.Any(out, member(a.GroupID))
			continue
		case policy.IncludeGroup:
			hit = member(a.GroupID)
		case policy.OtherTarget:
			hit = reading.Unknown
		case everyone:
			hit = there
		}
		if a.Filter != "" {
			hit = reading.All(hit, reading.Unknown)
		}
		in = reading.Any(in, hit)
	}
	return reading.All(in, out.Not())
}

// intune is what Intune's policies make of the device.
type intune struct {
	on, off     reading.Answer
	turnedOn    []string // names of policies that turn it on and reach the device for certain
	turnedOff   []string
	anyOn       bool // some policy turns it on, for whomever
	unread      []policy.Store
	lastChanged time.Time // of the policies that reach the device
}

func (v view) intune() intune {
	all, unread := v.t.found(policy.PINRecovery)
	out := intune{on: reading.No, off: reading.No, unread: unread}
	for _, f := range all {
		hit := v.reaches(f.Assignments)
		if hit != reading.No && f.Modified.After(out.lastChanged) {
			out.lastChanged = f.Modified
		}
		switch f.Effective() {
		case policy.On:
			out.anyOn = true
			out.on = reading.Any(out.on, hit)
			if hit == reading.Yes {
				out.turnedOn = append(out.turnedOn, f.Name)
			}
		case policy.Off:
			out.off = reading.Any(out.off, hit)
			if hit == reading.Yes {
				out.turnedOff = append(out.turnedOff, f.Name)
			}
		default: // it may be either
			maybe := reading.All(hit, reading.Unknown)
			out.on, out.off = reading.Any(out.on, maybe), reading.Any(out.off, maybe)
		}
	}
	if len(unread) > 0 {
		out.on, out.off = reading.Any(out.on, reading.Unknown), reading.Any(out.off, reading.Unknown)
	}
	return out
}

func quotedNames(names []string) string { return "\"" + strings.Join(names, "\", \"") + "\"" }

// devicePolicy makes the checks "policy" and "group-policy": the value that the device itself reports counts, by the
// precedence of Microsoft's page "Manage Windows Hello for Business in your organization"; what it does not report is
// inferred from Intune's policies and the groups that they are assigned to.
func (v view) devicePolicy() []Check {
	own := Check{ID: "policy", Title: "A policy turns PIN recovery on", Link: pageCSP}
	gp := Check{ID: "group-policy", Title: "Group Policy does not turn it off", Link: pagePrecedence}
	report, _ := v.f.Report.Get()
	group := strongest(report.Policies.UserGroupPolicy, report.Policies.ComputerGroupPolicy)
	if !report.Policies.UserGroupPolicy.OK() {
		group = strongest(report.Policies.ComputerGroupPolicy) // the setting is one of computers: that of users is looked at where it can be
	}
	if !v.f.Report.OK() {
		group = reading.Map(v.f.Report, func(DeviceReport) Setting { return NotSet })
	}
	switch s, ok := group.Get(); {
	case ok && s == Off:
		return []Check{skipped(own, "Group Policy decides, whatever Intune says"), failed(gp, fault.PolicyOff, "the device reports EnablePinRecovery = 0 from Group Policy",
			"Set \"Use PIN Recovery\" to Enabled, or to Not Configured where Intune is to decide, in Computer Configuration > Administrative Templates > Windows Components > Windows Hello for Business.")}
	case ok && s == On:
		return []Check{passed(own, "the device reports EnablePinRecovery = 1 from Group Policy, which wins over Intune"), passed(gp, "the device reports that it turns it on")}
	case ok:
		gp = passed(gp, "the device reports none")
	case v.is(EntraJoined):
		gp = skipped(gp, "the device is in no domain")
	default:
		gp = unread(gp, fault.UnknownPolicy, causeOf(group))
	}
	return []Check{v.mdm(own, report), gp}
}

// strongest is the value of the first place that has one. A place that could not be read hides all weaker ones.
func strongest(places ...reading.Of[Setting]) reading.Of[Setting] {
	for _, p := range places {
		if s, ok := p.Get(); !ok || s != NotSet {
			return p
		}
	}
	return reading.Read(NotSet)
}

func (v view) mdm(c Check, r DeviceReport) Check {
	in := v.intune()
	if v.f.Report.OK() {
		value, ok := strongest(r.Policies.UserMDM, r.Policies.DeviceMDM).Get()
		asOf := ", as of " + r.ReportedAt.UTC().Format(time.RFC3339)
		switch {
		case ok && value == On:
			return passed(c, "the device reports EnablePinRecovery = 1 from MDM"+asOf)
		case ok && in.on == reading.Yes && in.off != reading.Yes && in.lastChanged.After(r.ReportedAt):
			return unread(c, fault.UnknownPolicy, "Intune turns it on by "+quotedNames(in.turnedOn)+", changed after the device's last report", "Let the device synchronise, then let it report again.")
		case ok && value == Off:
			return failed(c, fault.PolicyOff, "the device reports EnablePinRecovery = 0 from MDM"+asOf)
		case ok && in.on == reading.Yes:
			return failed(c, fault.PolicyMissing, "Intune assigns "+quotedNames(in.turnedOn)+", and the device reports that it has no value"+asOf, "Let the device synchronise, then let it report again.", "Look at the policy's device status in Intune: an error or a conflict keeps the value away.")
		}
	}
	switch {
	case in.on == reading.Yes && in.off == reading.Yes:
		return failed(c, fault.PolicyConflict, quotedNames(in.turnedOn)+" turns it on and "+quotedNames(in.turnedOff)+" off")
	case in.off == reading.Yes:
		return failed(c, fault.PolicyOff, "Intune turns it off by "+quotedNames(in.turnedOff))
	case in.on == reading.Yes && in.off == reading.No:
		return passed(c, "Intune turns it on by "+quotedNames(in.turnedOn))
	case len(in.unread) > 0:
		return unread(c, fault.UnknownPolicy, v.t.unreadStores(in.unread))
	case in.on == reading.No && in.anyOn:
		return failed(c, fault.PolicyNotAssigned, "no policy that turns it on reaches the device or its user")
	case in.on == reading.No && in.off == reading.No:
		return failed(c, fault.PolicyMissing, "no policy of Intune makes the setting for this device")
	case v.groupsUnread() != "":
		return unread(c, fault.UnknownAssignment, v.groupsUnread())
	}
	return unread(c, fault.UnknownAssignment, "a filter, another kind of target, or a value that can't be read decides")
}

func (v view) groupsUnread() string {
	for _, groups := range []reading.Of[[]string]{v.f.Groups, v.f.UserGroups} {
		if !groups.OK() {
			return "the groups could not be read: " + causeOf(groups)
		}
	}
	return ""
}

func (t TenantFacts) unreadStores(stores []policy.Store) string {
	parts := make([]string, 0, len(stores))
	for _, s := range stores {
		parts = append(parts, string(s)+": "+causeOf(t.Policies[s]))
	}
	return strings.Join(parts, "; ")
}

// policyOf is the part of the checks about policies that a path needs.
func (v view) policyOf(p Path) []Check {
	out := slices.Clone(v.policy)
	if !p.keeps() {
		for i, c := range out {
			c.Reason, c.Fix = "", nil
			out[i] = skipped(c, "this path needs no policy")
		}
	}
	return out
}

// recoveryOn tells whether PIN recovery is on at the device.
func (v view) recoveryOn() reading.Answer {
	for _, c := range v.policy {
		if c.ID != "policy" {
			continue
		}
		switch {
		case c.Outcome == Passed:
			return reading.Yes
		case c.Outcome == Unread, c.Reason == fault.PolicyConflict:
			return reading.Unknown
		}
	}
	return reading.No
}
