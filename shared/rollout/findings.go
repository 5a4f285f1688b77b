package rollout

import (
	"pinreset/shared/policy"
)

// Findings are what is wrong among the tenant's policies. read tells what a group holds; it is asked only about groups of
// policies that exclude some, since only there it matters. What it can't tell is unknown, which is a finding of its own.
func Findings(found []policy.Found, read func(group string) (policy.GroupKind, error)) []policy.Finding {
	kinds := map[string]policy.GroupKind{}
	for _, f := range found {
		if !excludes(f) {
			continue
		}
		for _, a := range f.Assignments {
			if _, asked := kinds[a.GroupID]; asked || a.GroupID == "" {
				continue
			}
			kind, err := read(a.GroupID)
			if err != nil {
				kind = policy.UnknownGroup
			}
			kinds[a.GroupID] = kind
		}
	}
	return policy.Lint(found, func(id string) policy.GroupKind { return kinds[id] })
}

func excludes(f policy.Found) bool {
	for _, a := range f.Assignments {
		if a.Kind == policy.ExcludeGroup {
			return true
		}
	}
	return false
}

// After are the policies as they will be once the wish is fulfilled, with the assignments that this leads to.
func After(found []policy.Found, d policy.Desired, set []policy.Assignment) []policy.Found {
	var after []policy.Found
	ours, there := policy.Ours(found, d.Shape)
	for _, f := range found {
		if there && f.ID == ours.ID && f.Setting == ours.Setting && f.Scope == ours.Scope {
			f.Value, f.Assignments = d.Value, set
		}
		after = append(after, f)
	}
	if !there {
		after = append(after, policy.Found{
			Name: policy.Name, Shape: d.Shape, Setting: policy.PINRecovery, Scope: policy.Device, Value: d.Value, Mine: true, Assignments: set,
		})
	}
	return after
}
