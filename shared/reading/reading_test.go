package reading_test

import (
	"encoding/json"
	"errors"
	"testing"

	"pinreset/shared/fault"
	"pinreset/shared/reading"
)

func TestUnreadIsNeverEmpty(t *testing.T) {
	t.Parallel()
	never := reading.Of[[]string]{}
	refused := reading.Unread[[]string](fault.GraphForbidden, "The permission is missing.")
	empty := reading.Read[[]string](nil)
	for name, c := range map[string]struct {
		of   reading.Of[[]string]
		ok   bool
		code fault.Code
		none reading.Answer
	}{
		"never asked": {never, false, fault.NotRead, reading.Unknown},
		"refused":     {refused, false, fault.GraphForbidden, reading.Unknown},
		"empty":       {empty, true, "", reading.Yes},
	} {
		if _, ok := c.of.Get(); ok != c.ok || c.of.OK() != c.ok {
			t.Errorf("%s: read is %t", name, ok)
		}
		if got := c.of.Why(); got.Code != c.code || (got.Text == "") != c.ok {
			t.Errorf("%s: why %+v", name, got)
		}
		if got := c.of.Holds(func(s []string) bool { return len(s) == 0 }); got != c.none {
			t.Errorf("%s: is it empty? %s, want %s", name, got, c.none)
		}
	}
}

func TestFrom(t *testing.T) {
	t.Parallel()
	if v, ok := reading.From(7, nil).Get(); !ok || v != 7 {
		t.Errorf("from a value: %d, %t", v, ok)
	}
	secret := errors.New("the text of an error is for logs")
	for err, code := range map[error]fault.Code{secret: fault.Internal, fault.Permanent(fault.GraphForbidden, secret): fault.GraphForbidden} {
		got := reading.From(7, err)
		if v, ok := got.Get(); ok || v != 0 {
			t.Errorf("%v: value %d, %t", err, v, ok)
		}
		if why := got.Why(); why.Code != code || why.Text != fault.Lookup(code).Title+"." {
			t.Errorf("%v: why %+v", err, why)
		}
	}
}

func TestParts(t *testing.T) {
	t.Parallel()
	length := func(s string) int { return len(s) }
	if v, ok := reading.Map(reading.Read("abc"), length).Get(); !ok || v != 3 {
		t.Errorf("length %d, %t", v, ok)
	}
	unread := reading.Unread[string](fault.GraphThrottled, "Later.")
	if got := reading.Map(unread, length); got.OK() || got.Why() != unread.Why() {
		t.Errorf("part of what was not read: %+v", got)
	}
	part := func(s string) reading.Of[int] { return reading.Unread[int](fault.NotFound, s) }
	if got := reading.Then(reading.Read("inner"), part).Why(); got != (reading.Cause{Code: fault.NotFound, Text: "inner"}) {
		t.Errorf("unread part of what was read: %+v", got)
	}
	if got := reading.Then(unread, part).Why(); got != unread.Why() {
		t.Errorf("part of what was not read: %+v", got)
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		of   reading.Of[bool]
		text string
	}{
		{reading.Read(true), `{"value":true}`},
		{reading.Read(false), `{"value":false}`},
		{reading.Unread[bool](fault.GraphForbidden, "No."), `{"why":{"code":"graph_forbidden","text":"No."}}`},
		{reading.Of[bool]{}, `{}`},
	} {
		got, err := json.Marshal(c.of)
		if err != nil || string(got) != c.text {
			t.Errorf("%+v is %s, %v; want %s", c.of, got, err, c.text)
		}
		back := reading.Read(true) // what was there before must not stay
		if err := json.Unmarshal([]byte(c.text), &back); err != nil || back != c.of {
			t.Errorf("%s is %+v, %v", c.text, back, err)
		}
	}
	for _, text := range []string{`{"value":true,"why":{"code":"not_found","text":""}}`, `{"why":{"text":"x"}}`, `{"value":"true"}`, `true`, `{`} {
		var of reading.Of[bool]
		if err := json.Unmarshal([]byte(text), &of); err == nil {
			t.Errorf("%s was taken for %+v", text, of)
		}
	}
	// A field that was never read is left out, and comes back as that.
	type row struct {
		List reading.Of[[]string] `json:"list,omitzero"`
	}
	if got, err := json.Marshal(row{}); err != nil || string(got) != `{}` {
		t.Errorf("a row that was never read is %s, %v", got, err)
	}
	got, err := json.Marshal(row{reading.Read([]string{})})
	var back row
	if err != nil || json.Unmarshal(got, &back) != nil || !back.List.OK() {
		t.Errorf("an empty list is %s, %v, and comes back as %+v", got, err, back)
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	const y, n, u = reading.Yes, reading.No, reading.Unknown
	for _, c := range []struct{ a, b, all, any reading.Answer }{
		{y, y, y, y}, {y, n, n, y}, {y, u, u, y}, {n, n, n, n}, {n, u, n, u}, {u, u, u, u}, {"", y, u, y}, {"", n, n, u},
	} {
		for _, order := range [][2]reading.Answer{{c.a, c.b}, {c.b, c.a}} {
			if got := reading.All(order[:]...); got != c.all {
				t.Errorf("all of %v: %s, want %s", order, got, c.all)
			}
			if got := reading.Any(order[:]...); got != c.any {
				t.Errorf("any of %v: %s, want %s", order, got, c.any)
			}
		}
	}
	if reading.All() != y || reading.Any() != n {
		t.Errorf("of nothing: all %s, any %s", reading.All(), reading.Any())
	}
	for a, want := range map[reading.Answer]reading.Answer{y: n, n: y, u: u, "": u} {
		if got := a.Not(); got != want {
			t.Errorf("not %q: %s", a, got)
		}
	}
}
