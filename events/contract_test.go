package events_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"pinreset/events"
)

// envelopeSchema is the compiled schema of a whole event, with those of all kinds behind it. Formats are asserted.
var envelopeSchema = sync.OnceValue(func() *jsonschema.Schema {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	for _, name := range append(events.Kinds(), events.Envelope) {
		raw, ok := events.Schema(name)
		if !ok {
			panic("no schema of " + name)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			panic(name + ": " + err.Error())
		}
		if err := c.AddResource(events.SchemaID(name), doc); err != nil {
			panic(name + ": " + err.Error())
		}
	}
	return c.MustCompile(events.SchemaID(events.Envelope))
})

// schemaError is what the schemas say about a whole event.
func schemaError(t *testing.T, raw []byte) error {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("not JSON: %v\n%s", err, raw)
	}
	return envelopeSchema().Validate(doc)
}

// example returns the example of a kind and what Parse makes of it.
func example(t *testing.T, kind string) ([]byte, events.Event) {
	t.Helper()
	raw, ok := events.Example(kind)
	if !ok {
		t.Fatalf("no example of %s", kind)
	}
	e, err := events.Parse(raw)
	if err != nil {
		t.Fatalf("parse example of %s: %v", kind, err)
	}
	return raw, e
}

// tree decodes JSON into maps, which a test can change.
func tree(t *testing.T, raw []byte) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatalf("decode: %v\n%s", err, raw)
	}
	return m
}

func encode(t *testing.T, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatalf("encode: %v", err)
	}
	return raw
}

// wantField fails unless err is a *FieldError for the field.
func wantField(t *testing.T, what string, err error, field string) {
	t.Helper()
	switch got, ok := errors.AsType[*events.FieldError](err); {
	case !ok:
		t.Errorf("%s: error is %v, want one of field %s", what, err, field)
	case got.Field != field:
		t.Errorf("%s: error is of field %s (%s), want %s", what, got.Field, got.Problem, field)
	case got.Problem == "":
		t.Errorf("%s: error of field %s does not say what is wrong", what, got.Field)
	}
}

func TestEveryKindHasItsFiles(t *testing.T) {
	t.Parallel()
	want := events.Kinds()
	if len(want) == 0 {
		t.Fatal("there are no kinds")
	}
	for dir, extra := range map[string][]string{"schema": {events.Envelope}, "examples": nil} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range entries {
			got = append(got, strings.TrimSuffix(e.Name(), ".json"))
		}
		names := slices.Sorted(slices.Values(slices.Concat(want, extra)))
		slices.Sort(got)
		if !slices.Equal(got, names) {
			t.Errorf("%s holds\n%q, want\n%q", dir, got, names)
		}
	}
	if _, ok := events.Schema("no.such.kind.v1"); ok {
		t.Error("an unknown kind has a schema")
	}
	if _, ok := events.Example("no.such.kind.v1"); ok {
		t.Error("an unknown kind has an example")
	}
}

func TestFilesAreInOneForm(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"schema", "examples"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			raw, err := os.ReadFile(dir + "/" + e.Name())
			if err != nil {
				t.Fatal(err)
			}
			var want bytes.Buffer
			if err := json.Indent(&want, raw, "", "  "); err != nil {
				t.Errorf("%s: %v", e.Name(), err)
				continue
			}
			if got := strings.TrimSuffix(string(raw), "\n"); got != strings.TrimRight(want.String(), "\n") || got == string(raw) {
				t.Errorf("%s/%s is not indented by two spaces with one line end after it", dir, e.Name())
			}
		}
	}
}

func TestExampleIsWhole(t *testing.T) {
	t.Parallel()
	ids := make(map[string]string)
	for _, kind := range events.Kinds() {
		raw, e := example(t, kind)
		if err := schemaError(t, raw); err != nil {
			t.Errorf("%s: the schemas refuse the example: %v", kind, err)
		}
		if err := e.Validate(); err != nil {
			t.Errorf("%s: Validate refuses the example: %v", kind, err)
		}
		if e.Data.Kind() != kind {
			t.Errorf("the example of %s is of kind %s", kind, e.Data.Kind())
		}
		if other, twice := ids[e.ID]; twice {
			t.Errorf("the examples of %s and %s have the same id", kind, other)
		}
		ids[e.ID] = kind
		m := tree(t, raw)
		if got, want := m["dataschema"], events.SchemaID(kind); got != want {
			t.Errorf("%s: the example's dataschema is %v, want %s", kind, got, want)
		}
		if m["data"].(map[string]any)["requestId"] != e.Data.Request() {
			t.Errorf("%s: Request is %q, not the requestId of the data", kind, e.Data.Request())
		}

		again := encode(t, e)
		if got := tree(t, again); !reflect.DeepEqual(got, m) {
			t.Errorf("%s: the example changed on its way through:\n%s", kind, again)
		}
		e2, err := events.Parse(again)
		if err != nil {
			t.Errorf("%s: parse again: %v", kind, err)
		} else if !reflect.DeepEqual(e2, e) {
			t.Errorf("%s: parsed again it is %+v, want %+v", kind, e2, e)
		}
	}
}

func TestSchemaAgreesWithStruct(t *testing.T) {
	t.Parallel()
	for _, kind := range events.Kinds() {
		_, e := example(t, kind)
		raw, _ := events.Schema(kind)
		s := tree(t, raw)
		if s["$id"] != events.SchemaID(kind) {
			t.Errorf("%s: $id is %v", kind, s["$id"])
		}
		if s["$schema"] != "https://json-schema.org/draft/2020-12/schema" {
			t.Errorf("%s: $schema is %v", kind, s["$schema"])
		}
		if s["title"] == nil {
			t.Errorf("%s has no title", kind)
		}
		agree(t, kind, s, s, reflect.TypeOf(e.Data))
	}
}

// agree compares one schema below root with the Go type of its value.
func agree(t *testing.T, path string, root, s map[string]any, typ reflect.Type) {
	t.Helper()
	if s["description"] == nil {
		t.Errorf("%s has no description", path)
	}
	if ref, ok := s["$ref"].(string); ok {
		name, ok := strings.CutPrefix(ref, "#/$defs/")
		target, found := root["$defs"].(map[string]any)[name].(map[string]any)
		if !ok || !found {
			t.Fatalf("%s: $ref %s leads nowhere", path, ref)
		}
		agree(t, path, root, target, typ)
		return
	}
	want := map[reflect.Kind]string{
		reflect.String: "string", reflect.Bool: "boolean", reflect.Slice: "array", reflect.Struct: "object",
	}[typ.Kind()]
	if typ == reflect.TypeFor[time.Time]() {
		want = "string"
		if s["format"] != "date-time" {
			t.Errorf("%s: format is %v, want date-time", path, s["format"])
		}
	}
	if typ == reflect.TypeFor[events.Object]() {
		if s["type"] != "object" || s["properties"] != nil || s["additionalProperties"] != nil {
			t.Errorf("%s: the schema of a foreign object says more than that it is one: %v", path, s)
		}
		return
	}
	if s["type"] != want {
		t.Errorf("%s: type is %v, want %s", path, s["type"], want)
	}
	switch want {
	case "array":
		if s["maxItems"] == nil {
			t.Errorf("%s: the list has no bound", path)
		}
		agree(t, path+"[]", root, s["items"].(map[string]any), typ.Elem())
	case "string":
		if s["enum"] == nil && s["format"] == nil && (s["maxLength"] == nil || s["pattern"] == nil) {
			t.Errorf("%s: the text has no bound or no pattern", path)
		}
	case "object":
		if s["additionalProperties"] != false {
			t.Errorf("%s: additionalProperties is %v, want false", path, s["additionalProperties"])
		}
		properties := s["properties"].(map[string]any)
		var names, required []string
		for f := range typ.Fields() {
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			names = append(names, name)
			if options == "" {
				required = append(required, name)
			}
			if p, ok := properties[name].(map[string]any); ok {
				agree(t, path+"."+name, root, p, f.Type)
			}
		}
		sameNames(t, path+": properties", slices.Collect(maps.Keys(properties)), names)
		var got []string
		for _, name := range s["required"].([]any) {
			got = append(got, name.(string))
		}
		sameNames(t, path+": required", got, required)
	}
}

func sameNames(t *testing.T, what string, got, want []string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s are %q, want %q", what, got, want)
	}
}

func TestEnvelopeSchemaListsAllKinds(t *testing.T) {
	t.Parallel()
	raw, _ := events.Schema(events.Envelope)
	s := tree(t, raw)
	var want, got, branches []string
	for _, kind := range events.Kinds() {
		want = append(want, events.TypePrefix+kind)
	}
	properties := s["properties"].(map[string]any)
	for _, v := range properties["type"].(map[string]any)["enum"].([]any) {
		got = append(got, v.(string))
	}
	sameNames(t, "types", got, want)
	for _, v := range s["allOf"].([]any) {
		branch := v.(map[string]any)
		typ := branch["if"].(map[string]any)["properties"].(map[string]any)["type"].(map[string]any)["const"].(string)
		ref := branch["then"].(map[string]any)["properties"].(map[string]any)["data"].(map[string]any)["$ref"]
		if want := events.SchemaID(strings.TrimPrefix(typ, events.TypePrefix)); ref != want {
			t.Errorf("%s refers to %v, want %s", typ, ref, want)
		}
		branches = append(branches, typ)
	}
	sameNames(t, "branches", branches, want)
	for name, p := range properties {
		if p.(map[string]any)["description"] == nil {
			t.Errorf("attribute %s has no description", name)
		}
	}
}
