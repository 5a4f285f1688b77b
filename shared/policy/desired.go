package policy

import (
	"fmt"
	"slices"
	"strings"

	"pinreset/events"
)

// Desired is what somebody wants the policy to be. It adds: targets that it does not name stay as they are.
type Desired struct {
	Shape      Shape    `json:"shape"`
	Value      Value    `json:"value"`
	Include    []string `json:"include,omitempty"` // ids of groups
	Exclude    []string `json:"exclude,omitempty"` // ids of groups, of the same kind as those included
	AllDevices bool     `json:"allDevices,omitempty"`
	AllUsers   bool     `json:"allUsers,omitempty"`
}

// Normal returns the wish in the form in which two equal ones are the same: ids in lower case, sorted, once each.
func (d Desired) Normal() Desired {
	d.Include, d.Exclude = normalIDs(d.Include), normalIDs(d.Exclude)
	return d
}

func normalIDs(ids []string) []string {
	var out []string
	for _, id := range ids {
		out = append(out, strings.ToLower(id))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Validate returns a *[events.FieldError] for a wish that can't be fulfilled by anyone: a shape that can't be created, a value that is
// neither on nor off, an id that is no GUID, a group both included and excluded, exclusions from nothing, and on for nobody.
func (d Desired) Validate() error {
	invalid := func(field, format string, args ...any) error {
		return &events.FieldError{Field: field, Problem: fmt.Sprintf(format, args...)}
	}
	d = d.Normal()
	if !d.Shape.Creatable() {
		return invalid("shape", "must be one of %s", join(Shapes))
	}
	if d.Value == Unknown {
		return invalid("value", "must be on or off")
	}
	for field, ids := range map[string][]string{"include": d.Include, "exclude": d.Exclude} {
		for _, id := range ids {
			if !events.IsGUID(id) {
				return invalid(field, "must be ids of groups, which are GUIDs")
			}
		}
	}
	for _, id := range d.Exclude {
		if slices.Contains(d.Include, id) {
			return invalid("exclude", "must not name a group that is included")
		}
	}
	somebody := len(d.Include) > 0 || d.AllDevices || d.AllUsers
	if !somebody && len(d.Exclude) > 0 {
		return invalid("exclude", "needs a group, all devices or all users to be excluded from")
	}
	if !somebody && d.Value == On {
		return invalid("include", "must name a group, unless it is for all devices or all users")
	}
	return nil
}

// Assignments are the targets that the wish names, in a fixed order.
func (d Desired) Assignments() []Assignment {
	d = d.Normal()
	var all []Assignment
	if d.AllDevices {
		all = append(all, Assignment{Kind: AllDevices})
	}
	if d.AllUsers {
		all = append(all, Assignment{Kind: AllUsers})
	}
	for _, id := range d.Include {
		all = append(all, Assignment{Kind: IncludeGroup, GroupID: id})
	}
	for _, id := range d.Exclude {
		all = append(all, Assignment{Kind: ExcludeGroup, GroupID: id})
	}
	return all
}

func join(shapes []Shape) string {
	var names []string
	for _, s := range shapes {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}
