package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pinreset/events"
)

func groupID(n int) string { return fmt.Sprintf("%08x-0000-4000-8000-000000000000", n) }

func include(n int) Assignment { return Assignment{Kind: IncludeGroup, GroupID: groupID(n)} }
func exclude(n int) Assignment { return Assignment{Kind: ExcludeGroup, GroupID: groupID(n)} }

func filtered(a Assignment) Assignment {
	a.Filter, a.FilterMode = otherID, "include"
	a.Raw = json.RawMessage(`{"@odata.type":"#microsoft.graph.groupAssignmentTarget","groupId":"` + a.GroupID + `","deviceAndAppManagementAssignmentFilterId":"` + otherID + `","deviceAndAppManagementAssignmentFilterType":"include"}`)
	return a
}

func other(n int) Assignment {
	return Assignment{Kind: OtherTarget, Raw: json.RawMessage(fmt.Sprintf(`{"@odata.type":"#microsoft.graph.somethingNew","n":%d}`, n))}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	wish := Desired{Shape: OMAURI, Value: On, Include: []string{groupID(1), groupID(2)}, Exclude: []string{groupID(3)}}
	for _, c := range []struct {
		name            string
		existing, added []Assignment
	}{
		{"nothing there", nil, []Assignment{include(1), include(2), exclude(3)}},
		{"others' stay", []Assignment{include(9), exclude(8), other(1), {Kind: AllUsers}}, []Assignment{include(1), include(2), exclude(3)}},
		{"filters stay", []Assignment{filtered(include(1))}, []Assignment{include(2), exclude(3)}},
		{"all there", []Assignment{exclude(3), include(2), include(1)}, nil},
	} {
		merged, err := Merge(c.existing, wish)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if !slices.EqualFunc(merged, append(slices.Clone(c.existing), c.added...), identical) {
			t.Errorf("%s: merged %+v", c.name, merged)
		}
		if !slices.EqualFunc(Added(c.existing, wish), c.added, identical) {
			t.Errorf("%s: added %+v", c.name, Added(c.existing, wish))
		}
	}
	for _, existing := range [][]Assignment{{exclude(1)}, {include(3)}} {
		var contradiction *ContradictionError
		if _, err := Merge(existing, wish); !errors.As(err, &contradiction) || contradiction.GroupID != existing[0].GroupID || contradiction.Kind != existing[0].Kind {
			t.Errorf("%+v: %v", existing, err)
		}
	}
}

func identical(a, b Assignment) bool { return same(a, b) && string(a.Raw) == string(b.Raw) }

// For any set that is there and any wish: everything stays, in its order and as it was; the second time nothing is added; and what
// was added can be taken away again without a trace.
func TestMergeKeepsAndSettles(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	merges := 0
	for range 5_000 {
		var existing []Assignment
		for range rnd.IntN(6) {
			a := []Assignment{include(rnd.IntN(8)), exclude(rnd.IntN(8)), {Kind: AllDevices}, {Kind: AllUsers}, other(rnd.IntN(3)), filtered(include(rnd.IntN(8)))}[rnd.IntN(6)]
			if !contains(existing, a, sameTarget) {
				existing = append(existing, a)
			}
		}
		d := Desired{Shape: OMAURI, Value: On, AllDevices: rnd.IntN(3) == 0, AllUsers: rnd.IntN(3) == 0}
		for range rnd.IntN(4) {
			d.Include = append(d.Include, groupID(rnd.IntN(8)))
		}
		for range rnd.IntN(2) {
			d.Exclude = append(d.Exclude, groupID(rnd.IntN(8)))
		}
		if d.Validate() != nil {
			continue
		}
		merged, err := Merge(existing, d)
		if err != nil {
			continue
		}
		merges++
		if len(merged) < len(existing) || !slices.EqualFunc(merged[:len(existing)], existing, identical) {
			t.Fatalf("%+v with %+v became %+v", existing, d, merged)
		}
		for _, want := range d.Assignments() {
			if !contains(merged, want, sameTarget) {
				t.Fatalf("%+v is not in %+v", want, merged)
			}
		}
		again, err := Merge(merged, d)
		if err != nil || !Equal(again, merged) || len(Added(merged, d)) != 0 {
			t.Fatalf("the second time %+v became %+v: %v", merged, again, err)
		}
		if rest := Without(merged, Added(existing, d)); !slices.EqualFunc(rest, existing, identical) {
			t.Fatalf("after a roll-back %+v is left, there was %+v", rest, existing)
		}
		// As Graph gives it back: in another order, with JSON of its own.
		var elements []json.RawMessage
		for _, a := range merged {
			elements = append(elements, json.RawMessage(`{"id":"x","target":`+string(a.target())+`}`))
		}
		rnd.Shuffle(len(elements), func(i, j int) { elements[i], elements[j] = elements[j], elements[i] })
		if back, err := ParseAssignments(elements); err != nil || !Equal(back, merged) {
			t.Fatalf("%+v came back as %+v: %v", merged, back, err)
		}
	}
	if merges < 1_000 {
		t.Errorf("only %d merges were looked at", merges)
	}
}

func TestEqualSeesEveryDifference(t *testing.T) {
	t.Parallel()
	set := []Assignment{include(1), exclude(2), {Kind: AllUsers}, other(1)}
	for name, changed := range map[string][]Assignment{
		"one less":      {include(1), exclude(2), {Kind: AllUsers}},
		"one more":      append(slices.Clone(set), include(7)),
		"twice":         append(slices.Clone(set), include(1)),
		"other kind":    {exclude(1), exclude(2), {Kind: AllUsers}, other(1)},
		"other group":   {include(3), exclude(2), {Kind: AllUsers}, other(1)},
		"filter lost":   {filtered(include(1)), exclude(2), {Kind: AllUsers}, other(1)},
		"unknown other": {include(1), exclude(2), {Kind: AllUsers}, other(2)},
	} {
		if Equal(set, changed) || Equal(changed, set) {
			t.Errorf("%s: not seen", name)
		}
	}
	if !Equal(set, []Assignment{other(1), {Kind: AllUsers}, exclude(2), include(1)}) {
		t.Error("the order matters")
	}
}

func TestWithoutLeavesWhatGotAFilter(t *testing.T) {
	t.Parallel()
	rest := Without([]Assignment{filtered(include(1)), include(2)}, []Assignment{include(1), include(2)})
	if len(rest) != 1 || rest[0].Filter == "" {
		t.Errorf("left %+v", rest)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	good := Desired{Shape: SettingsCatalog, Value: On, Include: []string{groupID(1)}, Exclude: []string{groupID(2)}}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	if err := (Desired{Shape: OMAURI, Value: Off}).Validate(); err != nil {
		t.Errorf("off for whoever has it: %v", err)
	}
	for field, change := range map[string]func(*Desired){
		"shape":   func(d *Desired) { d.Shape = Intent },
		"value":   func(d *Desired) { d.Value = Unknown },
		"include": func(d *Desired) { d.Include, d.Exclude = nil, nil },
		"exclude": func(d *Desired) { d.Exclude = []string{groupID(1)} },
	} {
		d := good
		change(&d)
		var wrong *events.FieldError
		if err := d.Validate(); !errors.As(err, &wrong) || wrong.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	for _, d := range []Desired{
		{Shape: OMAURI, Value: On, Include: []string{"sales"}},
		{Shape: OMAURI, Value: On, AllUsers: true, Exclude: []string{"x"}},
		{Shape: OMAURI, Value: Off, Exclude: []string{groupID(1)}},
		{Shape: GroupPolicy, Value: On, AllUsers: true},
		{Shape: "", Value: On, AllUsers: true},
	} {
		if d.Validate() == nil {
			t.Errorf("%+v is valid", d)
		}
	}
}
