package rollout_test

import (
	"errors"
	"slices"
	"testing"

	"pinreset/shared/policy"
	"pinreset/shared/rollout"
)

// TestFindingsOfWhatIsPlanned: an exclusion of another kind is found before it is written, and groups are asked about only where
// it matters.
func TestFindingsOfWhatIsPlanned(t *testing.T) {
	t.Parallel()
	wish := policy.Desired{Shape: policy.OMAURI, Value: policy.On, Include: []string{sales}, Exclude: []string{labs}}
	for _, c := range []struct {
		name  string
		kinds map[string]policy.GroupKind
		want  policy.Code
	}{
		{"users without devices", map[string]policy.GroupKind{sales: policy.UserGroup, labs: policy.DeviceGroup}, policy.MixedExclusion},
		{"users without users", map[string]policy.GroupKind{sales: policy.UserGroup, labs: policy.UserGroup}, ""},
		{"unread", nil, policy.UnknownExclusion},
	} {
		findings := rollout.Findings(rollout.After(nil, wish, wish.Assignments()), func(id string) (policy.GroupKind, error) {
			if kind, ok := c.kinds[id]; ok {
				return kind, nil
			}
			return policy.UserGroup, errors.New("403") // an answer with an error counts for nothing
		})
		got := slices.ContainsFunc(findings, func(f policy.Finding) bool { return f.Code == c.want })
		mixed := slices.ContainsFunc(findings, func(f policy.Finding) bool {
			return f.Code == policy.MixedExclusion || f.Code == policy.UnknownExclusion
		})
		if c.want != "" && !got || c.want == "" && mixed {
			t.Errorf("%s: %+v", c.name, findings)
		}
	}
	asked := 0
	plain := policy.Desired{Shape: policy.OMAURI, Value: policy.On, Include: []string{sales}}
	rollout.Findings(rollout.After(nil, plain, plain.Assignments()), func(string) (policy.GroupKind, error) { asked++; return policy.UserGroup, nil })
	if asked != 0 {
		t.Errorf("asked %d times where nothing is excluded", asked)
	}
	// Of ours that is there already, the assignments are those to come.
	there := policy.Found{ID: "p", Shape: policy.OMAURI, Setting: policy.PINRecovery, Scope: policy.Device, Mine: true}
	after := rollout.After([]policy.Found{there}, plain, plain.Assignments())
	if len(after) != 1 || after[0].Value != policy.On || len(after[0].Assignments) != 1 || there.Value == policy.On {
		t.Errorf("after: %+v", after)
	}
}
