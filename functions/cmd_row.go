package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
)

// row is a value as its JSON form has it.
type row map[string]any

func rowOf(v any) (row, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode output: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var r row
	if err := d.Decode(&r); err != nil {
		return nil, fmt.Errorf("decode output: %w", err)
	}
	return r, nil
}

func (r row) value(path string) any {
	var v any = map[string]any(r)
	for name := range strings.SplitSeq(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[name]
	}
	return v
}

// text is a field as a cell shows it; what is not there is "".
func (r row) text(path string) string {
	switch v := r.value(path).(type) {
	case nil:
		return ""
	case string:
		return v
	case []any:
		parts := make([]string, len(v))
		for i, part := range v {
			if s, ok := part.(string); ok {
				parts[i] = s
			} else if text, err := compact(part); err == nil {
				parts[i] = text
			}
		}
		return strings.Join(parts, ", ")
	case map[string]any:
		text, _ := compact(v) // decoded from JSON a moment ago
		return text
	default:
		return fmt.Sprint(v)
	}
}

// picked is an object of some fields in the order they were asked for.
type picked struct {
	names  []string
	values []any
}

func (r row) pick(cols []column) picked {
	var p picked
	for _, c := range cols {
		p.names, p.values = append(p.names, c.path), append(p.values, r.value(c.path))
	}
	return p
}

// MarshalJSON implements json.Marshaler.
func (p picked) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	for i, name := range p.names {
		value, err := compact(p.values[i])
		if err != nil {
			return nil, err
		}
		lead := ","
		if i == 0 {
			lead = "{"
		}
		fmt.Fprintf(&b, "%s%q:%s", lead, name, value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// fieldNames are the JSON names of a struct's fields.
func fieldNames(t reflect.Type) []string {
	names := make([]string, 0, t.NumField())
	for f, name := range jsonFields(t) {
		if f.Tag.Get("json") != "-" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func hasField(t reflect.Type, path []string) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if len(path) == 0 || t.Kind() == reflect.Map || t == reflect.TypeFor[json.RawMessage]() {
		return true
	}
	if t.Kind() != reflect.Struct {
		return false
	}
	for f, name := range jsonFields(t) {
		if name == path[0] {
			return hasField(f.Type, path[1:])
		}
	}
	return false
}

// jsonFields goes through the fields of a struct with their JSON names, into embedded ones too.
func jsonFields(t reflect.Type) iter.Seq2[reflect.StructField, string] {
	return func(yield func(reflect.StructField, string) bool) {
		for _, f := range reflect.VisibleFields(t) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if !f.IsExported() || f.Anonymous || name == "" || name == "-" {
				continue
			}
			if !yield(f, name) {
				return
			}
		}
	}
}
