package policy

import (
	"fmt"
	"strings"
)

// ContradictionError says that a wish includes a group that the policy excludes already, or the reverse. Somebody has to decide.
type ContradictionError struct {
	GroupID string
	Kind    Target // as it is assigned now
}

func (e *ContradictionError) Error() string {
	if e.Kind == ExcludeGroup {
		return fmt.Sprintf("group %s is excluded already", e.GroupID)
	}
	return fmt.Sprintf("group %s is included already", e.GroupID)
}

// Merge returns the whole set to be assigned: everything that is there, as it is and in its order, and after it what the wish
// names and is not there yet. A target that is there with a filter stays with its filter. If nothing is to be added, the
// result is equal to existing. The error is a *[ContradictionError].
func Merge(existing []Assignment, d Desired) ([]Assignment, error) {
	merged := append([]Assignment(nil), existing...)
	for _, want := range d.Assignments() {
		if contains(merged, want, sameTarget) {
			continue
		}
		for _, e := range existing {
			if opposite(want, e) {
				return nil, &ContradictionError{GroupID: want.GroupID, Kind: e.Kind}
			}
		}
		merged = append(merged, want)
	}
	return merged, nil
}

// Added returns the targets that [Merge] would add. Keep them: they are what a roll-back may take away.
func Added(existing []Assignment, d Desired) []Assignment {
	var added []Assignment
	for _, want := range d.Assignments() {
		if !contains(existing, want, sameTarget) {
			added = append(added, want)
		}
	}
	return added
}

// Without returns the set without the targets of ours. One that has got a filter since is somebody else's by now and stays.
func Without(existing, ours []Assignment) []Assignment {
	var rest []Assignment
	for _, e := range existing {
		if !contains(ours, e, same) {
			rest = append(rest, e)
		}
	}
	return rest
}

func opposite(a, b Assignment) bool {
	return (a.Kind == IncludeGroup && b.Kind == ExcludeGroup || a.Kind == ExcludeGroup && b.Kind == IncludeGroup) &&
		strings.EqualFold(a.GroupID, b.GroupID)
}
