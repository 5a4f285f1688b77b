package events_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pinreset/events"
)

func TestParseRefusesWhatIsNotOneObject(t *testing.T) {
	t.Parallel()
	raw, _ := example(t, "passcode.reset.requested.v1")
	compact := string(bytes.TrimSpace(raw))
	for name, in := range map[string]string{
		"nothing":              "",
		"blanks":               " \n",
		"null":                 "null",
		"true":                 "true",
		"number":               "1",
		"string":               `"event"`,
		"array":                "[" + compact + "]",
		"cut":                  compact[:len(compact)-1],
		"trailing brace":       compact + "}",
		"trailing word":        compact + " x",
		"two events":           compact + compact,
		"byte order mark":      "\ufeff" + compact,
		"not UTF-8":            strings.Replace(compact, "forgot", "for\xffgot", 1),
		"raw control":          strings.Replace(compact, "forgot", "for\x01got", 1),
		"comment":              "/* */" + compact,
		"trailing comma":       strings.TrimSuffix(compact, "}") + ",}",
		"nested without bound": `{"x":` + strings.Repeat("[", 30_000) + strings.Repeat("]", 30_000) + "}",
	} {
		if _, err := events.Parse([]byte(in)); !errors.Is(err, events.ErrNotJSON) {
			t.Errorf("%s: error is %v, want ErrNotJSON", name, err)
		}
	}
}

func TestParseBoundsTheSize(t *testing.T) {
	t.Parallel()
	raw, _ := example(t, "passcode.reset.requested.v1")
	pad := func(n int) []byte { return append(slices.Clone(raw), bytes.Repeat([]byte(" "), n-len(raw))...) }
	if _, err := events.Parse(pad(events.MaxBytes)); err != nil {
		t.Errorf("an event of %d bytes: %v", events.MaxBytes, err)
	}
	if _, err := events.Parse(pad(events.MaxBytes + 1)); !errors.Is(err, events.ErrTooLarge) {
		t.Errorf("an event of one byte more: error is %v, want ErrTooLarge", err)
	}
}

func TestParseRefusesNamesThatAreThereTwice(t *testing.T) {
	t.Parallel()
	raw, _ := example(t, "passcode.reset.requested.v1")
	for _, c := range []struct{ before, with, field string }{
		{`"id": "`, `"id": "other", `, "id"},
		{`"id": "`, `"\u0069d": "other", `, "id"},
		{`"data": {`, `"data": {}, `, "data"},
		{`"id": "`, `"comexample": 1, "comexample": 2, `, "comexample"},
		{`"deviceId"`, `"deviceId": "3b7c2a90-5e14-4f6b-8d21-c09a4e7f6b13", `, "data.deviceId"},
		{`"kind"`, `"kind": "system", `, "data.by.kind"},
		{`"kind"`, `"": 1, "": 2, `, `data.by.""`},
	} {
		in := strings.Replace(string(raw), c.before, c.with+c.before, 1)
		if in == string(raw) {
			t.Fatalf("the example does not have %s", c.before)
		}
		_, err := events.Parse([]byte(in))
		wantField(t, c.with, err, c.field)
	}
}

func TestParseAcceptsWhatCloudEventsAllows(t *testing.T) {
	t.Parallel()
	raw, want := example(t, "passcode.reset.requested.v1")
	for name, change := range map[string]func(map[string]any){
		"extensions":       func(m map[string]any) { m["comexampletext"], m["comexamplenumber"], m["comexamplebool"] = "x", 7, true },
		"null extension":   func(m map[string]any) { m["comexample"] = nil },
		"no subject":       func(m map[string]any) { delete(m, "subject") },
		"null subject":     func(m map[string]any) { m["subject"] = nil },
		"no content type":  func(m map[string]any) { delete(m, "datacontenttype") },
		"no schema":        func(m map[string]any) { m["dataschema"] = nil },
		"another schema":   func(m map[string]any) { m["dataschema"] = "https://example.com/schema" },
		"time of a zone":   func(m map[string]any) { m["time"] = "2026-11-22T09:14:03+01:00" },
		"fine time":        func(m map[string]any) { m["time"] = "2026-11-22T08:14:03.000000000000Z" },
		"upper-case GUID":  func(m map[string]any) { m["source"] = "/tenants/8F1E0C52-7D7A-4C0E-9A53-1F5B1C1D2E3F" },
		"as it was":        func(map[string]any) {},
		"null traceparent": func(m map[string]any) { m["traceparent"] = nil },
	} {
		m := tree(t, raw)
		change(m)
		in := encode(t, m)
		got, err := events.Parse(in)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		expect := want
		if m["traceparent"] == nil {
			expect.TraceParent = ""
		}
		if !reflect.DeepEqual(got, expect) {
			t.Errorf("%s: got %+v, want %+v", name, got, expect)
		}
		if err := schemaError(t, in); err != nil {
			t.Errorf("%s: the schemas refuse it: %v", name, err)
		}
	}
}

// TestMessagesAreFitForATerminal: a sender's words come back in errors, bounded and without control characters.
func TestMessagesAreFitForATerminal(t *testing.T) {
	t.Parallel()
	raw, _ := example(t, "passcode.reset.requested.v1")
	hostile := "\x1b[31m\u202e\n" + strings.Repeat("ü", 500)
	for name, change := range map[string]func(map[string]any){
		"attribute": func(m map[string]any) { m[hostile] = 1 },
		"type":      func(m map[string]any) { m["type"] = hostile },
		"field":     func(m map[string]any) { m["data"].(map[string]any)[hostile] = 1 },
		"actor":     func(m map[string]any) { m["data"].(map[string]any)["by"].(map[string]any)[hostile] = 1 },
	} {
		m := tree(t, raw)
		change(m)
		_, err := events.Parse(encode(t, m))
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		if s := err.Error(); strings.ContainsAny(s, "\x1b\u202e\n") || len([]rune(s)) > 200 {
			t.Errorf("%s: error is %q", name, s)
		}
	}
}

func TestValidateAppliesTheRulesOfParse(t *testing.T) {
	t.Parallel()
	_, good := example(t, "passcode.reset.requested.v1")
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		field  string
		change func(*events.Event)
	}{
		{"id", func(e *events.Event) { e.ID = "" }},
		{"id", func(e *events.Event) { e.ID = strings.Repeat("a", 65) }},
		{"source", func(e *events.Event) { e.Tenant = "" }},
		{"source", func(e *events.Event) { e.Tenant = "contoso.com" }},
		{"source", func(e *events.Event) { e.Tenant = strings.ToUpper(e.Tenant) }},
		{"time", func(e *events.Event) { e.Time = time.Time{} }},
		{"traceparent", func(e *events.Event) { e.TraceParent = "x" }},
		{"data", func(e *events.Event) { e.Data = nil }},
		{"data.deviceId", func(e *events.Event) { e.Data = events.PasscodeExpired{RequestID: "r"} }},
		{"data.by.kind", func(e *events.Event) {
			e.Data = events.ConsentRequested{RequestID: "r", By: events.Actor{ID: "x"}}
		}},
		{"data.reason", func(e *events.Event) {
			d := e.Data.(events.PasscodeResetRequested)
			d.Reason = "for\xffgot"
			e.Data = d
		}},
	} {
		e := good
		c.change(&e)
		wantField(t, fmt.Sprintf("%+v", e), e.Validate(), c.field)
	}
	if _, err := json.Marshal(events.Event{ID: "x"}); err == nil {
		t.Error("an event without data could be encoded")
	}
	anonymous := events.PasscodeResetRequested{RequestID: "r", DeviceID: "3b7c2a90-5e14-4f6b-8d21-c09a4e7f6b13", Reason: "x"}
	if err := anonymous.Validate(); err != nil {
		t.Errorf("a request from outside, which names no actor: %v", err)
	}
	anonymous.By = events.Pinreset()
	if err := anonymous.Validate(); err != nil {
		t.Errorf("a request by pinreset itself: %v", err)
	}
}

func TestFromOutside(t *testing.T) {
	t.Parallel()
	var got []string
	for _, kind := range events.Kinds() {
		if events.FromOutside(kind) {
			got = append(got, kind)
		}
	}
	want := []string{"passcode.reset.requested.v1", "policy.rollback.requested.v1", "policy.rollout.requested.v1", "portal.action.recorded.v1", "tenant.added.v1", "tenant.audit.requested.v1", "tenant.consent.requested.v1"}
	if !slices.Equal(got, want) {
		t.Errorf("from outside come %q, want %q", got, want)
	}
	if events.FromOutside("no.such.kind.v1") {
		t.Error("an unknown kind may come from outside")
	}
}

func TestRandomEventsSurviveTheTrip(t *testing.T) {
	t.Parallel()
	for i, kind := range events.Kinds() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			_, e := example(t, kind)
			r := rand.New(rand.NewPCG(20261122, uint64(i)))
			for range 150 {
				payload := randomObject(t, r, kind, "", reflect.TypeOf(e.Data))
				in := encode(t, map[string]any{
					"specversion": "1.0", "id": idRule().good(r), "type": events.TypePrefix + kind,
					"source": "/tenants/" + randomGUID(r), "time": timeRule().good(r), "data": payload,
				})
				first, err := events.Parse(in)
				if err != nil {
					t.Fatalf("%v\n%s", err, in)
				}
				out := encode(t, first)
				if err := schemaError(t, out); err != nil {
					t.Fatalf("the schemas refuse it: %v\n%s", err, out)
				}
				if got, want := tree(t, out)["data"], tree(t, in)["data"]; !reflect.DeepEqual(got, want) {
					t.Fatalf("the data is\n%v, was\n%v", got, want)
				}
				second, err := events.Parse(out)
				if err != nil {
					t.Fatalf("parse again: %v\n%s", err, out)
				}
				if !reflect.DeepEqual(second, first) {
					t.Fatalf("parsed again it is\n%+v, was\n%+v", second, first)
				}
			}
		})
	}
}

// randomObject fills all required fields and some of the others by the rules.
func randomObject(t *testing.T, r *rand.Rand, kind, path string, typ reflect.Type) map[string]any {
	t.Helper()
	object := make(map[string]any)
	for f := range typ.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		field := strings.TrimPrefix(path+"."+name, ".")
		if options != "" && r.IntN(2) == 0 && name != "expiresAt" {
			continue
		}
		switch {
		case f.Type.Kind() == reflect.Slice && f.Type != reflect.TypeFor[events.Object]():
			b := bounds[field]
			values := make([]any, max(1, b[0]+r.IntN(b[1]-b[0]+1)))
			for i := range values {
				values[i] = ruleOf(t, kind, field+"[]").good(r)
			}
			object[name] = values
		case f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[time.Time]():
			object[name] = randomObject(t, r, kind, field, f.Type)
		default:
			object[name] = ruleOf(t, kind, field).good(r)
		}
	}
	return object
}

// FuzzParse: whatever comes in, Parse does not panic and tells which field is wrong; what it accepts can be written, and
// read again as the same event.
func FuzzParse(f *testing.F) {
	for _, kind := range events.Kinds() {
		raw, _ := events.Example(kind)
		f.Add(raw)
		f.Add(bytes.ToUpper(raw))
		f.Add(bytes.Replace(raw, []byte(`"data": {`), []byte(`"data": {"by": {"kind": null}, `), 1))
	}
	for _, s := range []string{"", "{}", "null", "[{}]", `{"id":"a","id":"b"}`, `{"data":{"fix":[[[]]]}}`, `{"":{}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		first, err := events.Parse(raw)
		if err != nil {
			field, ok := errors.AsType[*events.FieldError](err)
			switch {
			case ok && (field.Field == "" || field.Problem == ""):
				t.Fatalf("error says too little: %+v", field)
			case !ok && !errors.Is(err, events.ErrTooLarge) && !errors.Is(err, events.ErrNotJSON):
				t.Fatalf("error is of no known kind: %v", err)
			}
			return
		}
		if err := first.Validate(); err != nil {
			t.Fatalf("accepted, then refused: %v", err)
		}
		out := encode(t, first)
		second, err := events.Parse(out)
		if err != nil {
			t.Fatalf("parse again: %v\n%s", err, out)
		}
		if again := encode(t, second); !bytes.Equal(again, out) {
			t.Fatalf("it changed on its way:\n%s\n%s", out, again)
		}
	})
}
