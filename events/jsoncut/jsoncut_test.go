package jsoncut_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"pinreset/events/jsoncut"
)

type member struct{ name, value string }

func members(raw string) (all []member, err error) {
	err = jsoncut.Members([]byte(raw), func(name, value []byte) error {
		all = append(all, member{string(name), string(value)})
		return nil
	})
	return all, err
}

func entries(raw string) (all []string, err error) {
	err = jsoncut.Entries([]byte(raw), func(value []byte) error {
		all = append(all, string(value))
		return nil
	})
	return all, err
}

func TestMembers(t *testing.T) {
	t.Parallel()
	got, err := members(" {\"a\" : 1 ,\n\"b\":{\"c\":\"}\"}, \"d\":[\"]\",{}],\"e\\u0066\":\"x\\\"y\", \"\":null ,\"a\":true}\t")
	want := []member{{"a", "1"}, {"b", `{"c":"}"}`}, {"d", `["]",{}]`}, {"ef", `"x\"y"`}, {"", "null"}, {"a", "true"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := members(" { } "); err != nil || len(got) != 0 {
		t.Errorf("%q, %v", got, err)
	}
}

func TestEntries(t *testing.T) {
	t.Parallel()
	got, err := entries(`[1, "a,b" ,{"x":[]},[ ]]`)
	if err != nil || !slices.Equal(got, []string{"1", `"a,b"`, `{"x":[]}`, "[ ]"}) {
		t.Errorf("%q, %v", got, err)
	}
}

func TestNotWhole(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{"", "{", "}", "[]", `{"a"}`, `{"a":}`, `{"a":1`, `{"a":1,}`, `{"a":1 "b":2}`, `{a:1}`, `{"a":"b}`, `{"a":{"b":1}`, `{} x`, `{"a":1}}`, `{,}`, "null", `{"a` + "\n" + `":1}`} {
		if got, err := members(raw); !errors.Is(err, jsoncut.ErrSyntax) {
			t.Errorf("%q: %q, %v", raw, got, err)
		}
	}
	for _, raw := range []string{"", "[", "{}", "[1", "[1,]", "[1 2]", "[,]", `["a]`, "[]]", "[[1]"} {
		if got, err := entries(raw); !errors.Is(err, jsoncut.ErrSyntax) {
			t.Errorf("%q: %q, %v", raw, got, err)
		}
	}
}

func TestVisitEndsIt(t *testing.T) {
	t.Parallel()
	stop, n := errors.New("enough"), 0
	err := jsoncut.Entries([]byte("[1,2,3]"), func([]byte) error { n++; return stop })
	if !errors.Is(err, stop) || n != 1 {
		t.Errorf("%d visits, %v", n, err)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{`""`: "", `"a"`: "a", `"a\n\u00e9"`: "a\né", "null": "", `"é"`: "é"} {
		if got, err := jsoncut.Text([]byte(raw)); err != nil || got != want {
			t.Errorf("%s: %q, %v", raw, got, err)
		}
	}
	for _, raw := range []string{"1", "", `"`, `"a`, `"a"b"`, `"\x"`, "{}"} {
		if got, err := jsoncut.Text([]byte(raw)); !errors.Is(err, jsoncut.ErrSyntax) {
			t.Errorf("%s: %q, %v", raw, got, err)
		}
	}
}

// FuzzCut: of every valid document it cuts what encoding/json decodes, and of others it makes no panic.
func FuzzCut(f *testing.F) {
	for _, raw := range []string{`{"a":[1,{"b":"\\\""}],"c":null}`, `[{},"]",-1.5e3]`, `{"\u0061":"é"}`, "{\"a\":1,\"a\":2}", `["`} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		cut := map[string]json.RawMessage{}
		objectErr := jsoncut.Members(raw, func(name, value []byte) error {
			cut[string(name)] = value
			return nil
		})
		var list []json.RawMessage
		arrayErr := jsoncut.Entries(raw, func(value []byte) error {
			list = append(list, value)
			return nil
		})
		if !json.Valid(raw) {
			return
		}
		var object map[string]json.RawMessage
		if isObject := json.Unmarshal(raw, &object) == nil && object != nil; isObject != (objectErr == nil) {
			t.Fatalf("object %t, %v", isObject, objectErr)
		} else if isObject {
			if len(cut) != len(object) {
				t.Fatalf("%d members, want %d", len(cut), len(object))
			}
			for name, value := range object {
				if !bytes.Equal(cut[name], value) {
					t.Errorf("member %q is %q, want %q", name, cut[name], value)
				}
			}
		}
		var array []json.RawMessage
		if isArray := json.Unmarshal(raw, &array) == nil && array != nil; isArray != (arrayErr == nil) {
			t.Fatalf("array %t, %v", isArray, arrayErr)
		} else if isArray && !slices.EqualFunc(list, array, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }) {
			t.Errorf("entries %q, want %q", list, array)
		}
	})
}
