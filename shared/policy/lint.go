package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// GroupKind is what a group holds. The zero value is unknown.
type GroupKind int8

// Kinds of groups. A group with both, and one that could not be read, is UnknownGroup: Intune's rule is about kinds, and can't be
// told from it.
const (
	UnknownGroup GroupKind = iota
	UserGroup
	DeviceGroup
)

func (k GroupKind) String() string {
	switch k {
	case UserGroup:
		return "users"
	case DeviceGroup:
		return "devices"
	}
	return "unknown"
}

// MarshalText writes users, devices or unknown.
func (k GroupKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what MarshalText writes; what it does not know is unknown.
func (k *GroupKind) UnmarshalText(text []byte) error {
	switch string(text) {
	case "users":
		*k = UserGroup
	case "devices":
		*k = DeviceGroup
	default:
		*k = UnknownGroup
	}
	return nil
}

// Lint judges what was found in a tenant: each policy by itself, and all of them beside one another, over all stores. groups
// tells what a group holds, by its id in lower case; nil means that nothing is known. If not all stores could be read, what Lint says is
// true, but not all that there is to say.
//
// Findings come in a fixed order: by policy, then by code.
func Lint(found []Found, groups func(id string) GroupKind) []Finding {
	var all []Finding
	for _, f := range found {
		all = append(all, f.Findings...)
		if f.Shape == GroupPolicy {
			continue
		}
		all = append(all, lintAssignments(f, groups)...)
	}
	for _, setting := range []Setting{PINRecovery, WebSignInAllowList} {
		all = append(all, lintCompeting(found, setting)...)
	}
	all = append(all, lintOurs(found)...)
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.PolicyID, b.PolicyID), strings.Compare(string(a.Code), string(b.Code)))
	})
	// A policy that makes two settings has its assignments judged twice.
	return slices.CompactFunc(all, func(a, b Finding) bool {
		return a.PolicyID == b.PolicyID && a.Code == b.Code && a.Text == b.Text && slices.Equal(a.Others, b.Others)
	})
}

// lintCompeting compares policies that make the same setting in the same scope and are assigned.
func lintCompeting(found []Found, setting Setting) []Finding {
	var all []Finding
	for _, scope := range []Scope{Device, User} {
		var live []Found
		for _, f := range found {
			if f.Setting == setting && f.Scope == scope && !f.Misspelt && (f.Assigned() || f.Shape == GroupPolicy) {
				live = append(live, f)
			}
		}
		if len(live) < 2 {
			continue
		}
		slices.SortFunc(live, func(a, b Found) int { return strings.Compare(a.ID, b.ID) })
		values := map[string]bool{}
		for _, f := range live {
			if f.Value != Unknown {
				values[f.Value.String()+f.List] = true
			}
		}
		for i, f := range live {
			others := idsOf(slices.Delete(slices.Clone(live), i, i+1))
			finding := Finding{Code: Duplicate, Severity: Warning, PolicyID: f.ID, Others: others,
				Text: fmt.Sprintf("%d assigned policies make the same setting.", len(live)),
				Fix:  "Keep one of them and take the assignments of the others away."}
			if len(values) > 1 {
				finding.Code, finding.Severity = Contradiction, Error
				finding.Text = fmt.Sprintf("%d assigned policies make the same setting with different values; a device that has more than one reports a conflict.", len(live))
				finding.Fix = "Decide on one value, and keep one policy."
			}
			all = append(all, finding)
		}
	}
	return all
}

func idsOf(found []Found) []string {
	var ids []string
	for _, f := range found {
		if f.ID != "" {
			ids = append(ids, f.ID)
		}
	}
	return slices.Compact(ids)
}

// lintOurs finds policies that were created twice.
func lintOurs(found []Found) []Finding {
	var all []Finding
	for _, shape := range Shapes {
		var mine []string
		for _, f := range found {
			if f.Mine && f.Shape == shape && f.Setting == PINRecovery && !slices.Contains(mine, f.ID) {
				mine = append(mine, f.ID)
			}
		}
		slices.Sort(mine)
		if len(mine) < 2 {
			continue
		}
		for _, id := range mine[1:] {
			all = append(all, Finding{Code: OursTwice, Severity: Warning, PolicyID: id, Others: mine[:1],
				Text: "There is more than one policy of this form with the mark of pinreset.", Fix: "pinreset uses the other one: delete this one once nobody has it."})
		}
	}
	return all
}

func lintAssignments(f Found, groups func(string) GroupKind) []Finding {
	var all []Finding
	if !f.Assigned() {
		return append(all, Finding{Code: Unassigned, Severity: Info, PolicyID: f.ID, Text: "The policy is assigned to nobody.", Fix: "Assign it, or delete it."})
	}
	kindOf := func(a Assignment) GroupKind {
		switch {
		case a.Kind == AllDevices:
			return DeviceGroup
		case a.Kind == AllUsers:
			return UserGroup
		case groups == nil || a.GroupID == "":
			return UnknownGroup
		}
		return groups(a.GroupID)
	}
	included := map[GroupKind]bool{}
	for _, a := range f.Assignments {
		if a.Kind != ExcludeGroup {
			included[kindOf(a)] = true
		}
	}
	for _, a := range f.Assignments {
		if a.Kind != ExcludeGroup {
			continue
		}
		for _, b := range f.Assignments {
			if opposite(a, b) {
				all = append(all, Finding{Code: IncludedExcluded, Severity: Warning, PolicyID: f.ID, Others: []string{a.GroupID},
					Text: "A group is both included and excluded; the exclusion wins.", Fix: "Take the group out of one of the two."})
			}
		}
		kind := kindOf(a)
		other := DeviceGroup
		if kind == DeviceGroup {
			other = UserGroup
		}
		switch {
		case kind == UnknownGroup || included[UnknownGroup] && !included[other]:
			all = append(all, Finding{Code: UnknownExclusion, Severity: Warning, PolicyID: f.ID, Others: []string{a.GroupID},
				Text: "It can't be told whether the excluded group is of the same kind as what is included.",
				Fix:  "See to it that groups of users are excluded from groups of users, and groups of devices from groups of devices."})
		case included[other]:
			severity, whom := Warning, "some of what is included"
			if !included[kind] && !included[UnknownGroup] {
				severity, whom = Error, "what is included"
			}
			all = append(all, Finding{Code: MixedExclusion, Severity: severity, PolicyID: f.ID, Others: []string{a.GroupID},
				Text: fmt.Sprintf("A group of %s is excluded, but %s is of %s: Intune does not relate users to devices, and the exclusion does not apply.", kind, whom, other),
				Fix:  fmt.Sprintf("Exclude a group of %s.", other)})
		}
	}
	return all
}
