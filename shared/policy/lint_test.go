package policy

import (
	"fmt"
	"slices"
	"testing"
)

func TestLint(t *testing.T) {
	t.Parallel()
	assigned := []Assignment{include(1)}
	found := func(id string, shape Shape, v Value, set ...Assignment) Found {
		return Found{ID: id, Shape: shape, Setting: PINRecovery, Scope: Device, Value: v, Assignments: set}
	}
	with := func(f Found, change func(*Found)) Found { change(&f); return f }
	kinds := map[string]GroupKind{groupID(1): UserGroup, groupID(2): DeviceGroup, groupID(3): UserGroup}
	kindOf := func(id string) GroupKind { return kinds[id] }
	mine := func(f *Found) { f.Mine = true }
	for _, c := range []struct {
		name  string
		found []Found
		want  []string // policy, code, severity
	}{
		{"one policy", []Found{found("a", OMAURI, On, assigned...)}, nil},
		{"two stores, one value", []Found{found("b", OMAURI, On, assigned...), found("a", SettingsCatalog, On, assigned...)},
			[]string{"a policy_duplicate warning", "b policy_duplicate warning"}},
		{"two stores, two values", []Found{found("a", OMAURI, On, assigned...), found("b", Intent, Off, assigned...)},
			[]string{"a policy_contradiction error", "b policy_contradiction error"}},
		{"an unknown value contradicts nothing", []Found{found("a", OMAURI, On, assigned...), found("b", OMAURI, Unknown, assigned...)},
			[]string{"a policy_duplicate warning", "b policy_duplicate warning"}},
		{"unassigned ones compete with nobody", []Found{found("a", OMAURI, On, assigned...), found("b", OMAURI, Off)},
			[]string{"b policy_unassigned info"}},
		{"misspelt ones compete with nobody", []Found{found("a", OMAURI, On, assigned...), with(found("b", OMAURI, Off, assigned...), func(f *Found) { f.Misspelt = true })}, nil},
		{"scopes are apart", []Found{found("a", OMAURI, On, assigned...), with(found("b", OMAURI, Off, assigned...), func(f *Found) { f.Scope = User })}, nil},
		{"Group Policy competes", []Found{found("a", OMAURI, On, assigned...), found("", GroupPolicy, Off)},
			[]string{" policy_contradiction error", "a policy_contradiction error"}},
		{"an exclusion alone assigns nobody", []Found{found("a", OMAURI, On, exclude(1))}, []string{"a policy_unassigned info"}},
		{"users out of users", []Found{found("a", OMAURI, On, include(1), exclude(3))}, nil},
		{"devices out of users", []Found{found("a", OMAURI, On, include(1), exclude(2))}, []string{"a exclusion_of_other_kind error"}},
		{"users out of all devices", []Found{found("a", OMAURI, On, Assignment{Kind: AllDevices}, exclude(1))}, []string{"a exclusion_of_other_kind error"}},
		{"devices out of all users", []Found{found("a", OMAURI, On, Assignment{Kind: AllUsers}, exclude(2))}, []string{"a exclusion_of_other_kind error"}},
		{"users out of both", []Found{found("a", OMAURI, On, include(1), include(2), exclude(3))}, []string{"a exclusion_of_other_kind warning"}},
		{"nobody knows whom out of users", []Found{found("a", OMAURI, On, include(1), exclude(7))}, []string{"a exclusion_kind_unknown warning"}},
		{"users out of nobody knows whom", []Found{found("a", OMAURI, On, include(7), exclude(1))}, []string{"a exclusion_kind_unknown warning"}},
		{"in and out", []Found{found("a", OMAURI, On, include(1), exclude(1))}, []string{"a group_included_excluded warning"}},
		{"created twice", []Found{with(found("b", OMAURI, On), mine), with(found("a", OMAURI, On), mine), with(found("c", SettingsCatalog, On), mine)},
			[]string{"a policy_unassigned info", "b policy_created_twice warning", "b policy_unassigned info", "c policy_unassigned info"}},
		{"two settings, one set of assignments", []Found{found("a", OMAURI, On, include(1), exclude(2)),
			{ID: "a", Shape: OMAURI, Setting: WebSignInAllowList, Scope: Device, Value: On, List: "x.y", Assignments: []Assignment{include(1), exclude(2)}}},
			[]string{"a exclusion_of_other_kind error"}},
		{"lists that differ", []Found{
			{ID: "a", Shape: OMAURI, Setting: WebSignInAllowList, Scope: Device, Value: On, List: "x.y", Assignments: assigned},
			{ID: "b", Shape: SettingsCatalog, Setting: WebSignInAllowList, Scope: Device, Value: On, List: "x.z", Assignments: assigned}},
			[]string{"a policy_contradiction error", "b policy_contradiction error"}},
	} {
		var got []string
		for _, f := range Lint(c.found, kindOf) {
			got = append(got, fmt.Sprintf("%s %s %s", f.PolicyID, f.Code, f.Severity))
			if f.Text == "" || f.Fix == "" {
				t.Errorf("%s: %+v", c.name, f)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	if got := Lint([]Found{found("a", OMAURI, On, include(1), exclude(2))}, nil); len(got) != 1 || got[0].Code != UnknownExclusion {
		t.Errorf("without kinds: %+v", got)
	}
}

func TestLintAllowList(t *testing.T) {
	t.Parallel()
	for value, want := range map[string][]Code{
		"signin.contoso.com;portal.contoso.com":  nil,
		AllowListValue([]string{"a.b", "c.d"}):   nil,
		`"signin.contoso.com"`:                   {ListQuotes},
		"https://signin.contoso.com":             {ListScheme},
		"https://signin.contoso.com/adfs/ls":     {ListScheme, ListPath},
		"signin.contoso.com/adfs":                {ListPath},
		"signin.contoso.com,portal.contoso.com":  {ListComma},
		"signin.contoso.com; portal.contoso.com": {ListSpace},
		"":                                       {ListEmpty},
		`"https://a.b/x", c.d`:                   {ListQuotes, ListScheme, ListPath, ListComma, ListSpace},
	} {
		var got []Code
		for _, f := range LintAllowList(value) {
			got = append(got, f.Code)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}
