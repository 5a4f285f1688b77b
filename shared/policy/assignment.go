package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// Target is the kind of an assignment's target.
type Target string

// Kinds of targets. A target of another type, such as a collection of Configuration Manager, is OtherTarget and goes back as it
// came.
const (
	IncludeGroup Target = "include-group"
	ExcludeGroup Target = "exclude-group"
	AllDevices   Target = "all-devices"
	AllUsers     Target = "all-users"
	OtherTarget  Target = "other"
)

// Assignment is one target of a policy.
type Assignment struct {
	Kind       Target `json:"kind"`
	GroupID    string `json:"groupId,omitempty"`
	Filter     string `json:"filter,omitempty"`     // id of an assignment filter; beta only
	FilterMode string `json:"filterMode,omitempty"` // include or exclude; "" without a filter
	// Raw is the target's JSON as Graph gave it, which a write gives back byte for byte. It is empty for a target of ours
	// that is not written yet.
	Raw json.RawMessage `json:"raw,omitempty"`
}

// noFilter is the id of a filter that is none, beside null and "".
const noFilter = "00000000-0000-0000-0000-000000000000"

// ParseAssignment reads an element of a policy's assignments, {"id": …, "target": {…}}.
func ParseAssignment(element json.RawMessage) (Assignment, error) {
	var e struct {
		Target json.RawMessage `json:"target"`
	}
	var t struct {
		Type       string  `json:"@odata.type"`
		GroupID    string  `json:"groupId"`
		Filter     *string `json:"deviceAndAppManagementAssignmentFilterId"`
		FilterMode *string `json:"deviceAndAppManagementAssignmentFilterType"`
	}
	if err := json.Unmarshal(element, &e); err != nil {
		return Assignment{}, fmt.Errorf("decode assignment: %w", err)
	}
	if !bytes.HasPrefix(bytes.TrimSpace(e.Target), []byte("{")) {
		return Assignment{}, fmt.Errorf("decode assignment: it has no target")
	}
	a := Assignment{Kind: OtherTarget, Raw: bytes.Clone(e.Target)}
	if err := json.Unmarshal(e.Target, &t); err != nil {
		return a, nil // kept, but not understood
	}
	// The exact type decides: an exclusion derives from a group.
	switch bare(t.Type) {
	case "groupAssignmentTarget":
		a.Kind, a.GroupID = IncludeGroup, strings.ToLower(t.GroupID)
	case "exclusionGroupAssignmentTarget":
		a.Kind, a.GroupID = ExcludeGroup, strings.ToLower(t.GroupID)
	case "allDevicesAssignmentTarget":
		a.Kind = AllDevices
	case "allLicensedUsersAssignmentTarget":
		a.Kind = AllUsers
	}
	if t.Filter != nil && *t.Filter != "" && *t.Filter != noFilter {
		a.Filter = strings.ToLower(*t.Filter)
		if t.FilterMode != nil && *t.FilterMode != "none" {
			a.FilterMode = *t.FilterMode
		}
	}
	return a, nil
}

// ParseAssignments reads all elements. One that can't be read is an error, because a write would lose it.
func ParseAssignments(elements []json.RawMessage) ([]Assignment, error) {
	all := make([]Assignment, 0, len(elements))
	for _, e := range elements {
		a, err := ParseAssignment(e)
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}

// target is the JSON that is written for the assignment.
func (a Assignment) target() json.RawMessage {
	if len(a.Raw) > 0 {
		return a.Raw
	}
	switch a.Kind {
	case IncludeGroup:
		return json.RawMessage(`{"@odata.type":"#microsoft.graph.groupAssignmentTarget","groupId":"` + a.GroupID + `"}`)
	case ExcludeGroup:
		return json.RawMessage(`{"@odata.type":"#microsoft.graph.exclusionGroupAssignmentTarget","groupId":"` + a.GroupID + `"}`)
	case AllDevices:
		return json.RawMessage(`{"@odata.type":"#microsoft.graph.allDevicesAssignmentTarget"}`)
	case AllUsers:
		return json.RawMessage(`{"@odata.type":"#microsoft.graph.allLicensedUsersAssignmentTarget"}`)
	}
	panic("policy: an assignment of another kind without its JSON")
}

// sameTarget reports whether two assignments have the same target, whatever their filters.
func sameTarget(a, b Assignment) bool {
	if a.Kind != b.Kind {
		return false
	}
	if a.Kind == OtherTarget {
		return sameJSON(a.Raw, b.Raw)
	}
	return strings.EqualFold(a.GroupID, b.GroupID)
}

// same reports whether two assignments have the same target and the same filter.
func same(a, b Assignment) bool {
	return sameTarget(a, b) && strings.EqualFold(a.Filter, b.Filter) && a.FilterMode == b.FilterMode
}

// Equal reports whether two sets of assignments are the same, in whatever order: same targets, same filters.
func Equal(a, b []Assignment) bool {
	return len(Missing(a, b)) == 0 && len(Missing(b, a)) == 0 && len(a) == len(b)
}

// Missing returns those of want that got does not have.
func Missing(want, got []Assignment) []Assignment {
	var missing []Assignment
	for _, w := range want {
		if !contains(got, w, same) {
			missing = append(missing, w)
		}
	}
	return missing
}

func contains(all []Assignment, a Assignment, eq func(a, b Assignment) bool) bool {
	for _, b := range all {
		if eq(a, b) {
			return true
		}
	}
	return false
}

func sameJSON(a, b json.RawMessage) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return bytes.Equal(a, b)
	}
	return reflect.DeepEqual(x, y)
}

// bare is a type's name without what may or may not be before it.
func bare(odataType string) string {
	return strings.TrimPrefix(strings.TrimPrefix(odataType, "#"), "microsoft.graph.")
}
