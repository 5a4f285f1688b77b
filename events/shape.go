package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"pinreset/events/jsoncut"
)

// shape is the JSON form that a payload must have, read once from its Go type. encoding/json alone is too lenient for a
// contract: it matches names whatever their case, lets the last of two equal names win and takes null for anything, so that
// a gateway in front and pinreset could read two different events from the same bytes.
type shape struct {
	form    string // what a reader would call it: aString, aBool, anArray, anObject
	instant bool   // a string that is an RFC 3339 time
	free    bool   // an object of somebody else's, whose members are not ours to check
	elem    *shape // of an array's entries
	fields  []field
}

// field is one member of an object.
type field struct {
	name     string
	required bool // its tag has neither omitempty nor omitzero
	shape    shape
}

// Forms of a JSON value, as FieldError names them.
const (
	aString  = "a string"
	aNumber  = "a number"
	aBool    = "a boolean"
	anArray  = "an array"
	anObject = "an object"
	aNull    = "null"
)

// shapeOf panics for a Go type that payloads do not use: a payload that can't be checked must not reach a queue.
func shapeOf(t reflect.Type) shape {
	if t == reflect.TypeFor[time.Time]() {
		return shape{form: aString, instant: true}
	}
	if t == reflect.TypeFor[Object]() {
		return shape{form: anObject, free: true}
	}
	switch t.Kind() {
	case reflect.String:
		return shape{form: aString}
	case reflect.Bool:
		return shape{form: aBool}
	case reflect.Slice:
		elem := shapeOf(t.Elem())
		return shape{form: anArray, elem: &elem}
	case reflect.Struct:
		s := shape{form: anObject}
		for f := range t.Fields() {
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" {
				panic(fmt.Sprintf("events: %s.%s has no JSON name", t, f.Name))
			}
			s.fields = append(s.fields, field{name, options == "", shapeOf(f.Type)})
		}
		return s
	}
	panic(fmt.Sprintf("events: a payload has no field of type %s", t))
}

// check returns a *FieldError for the first place where raw, valid JSON, differs from the shape.
func (s shape) check(path string, raw json.RawMessage) error {
	if got := form(raw); got != s.form {
		return &FieldError{path, "must be " + s.form + ", not " + got}
	}
	switch s.form {
	case aString:
		if !s.instant {
			return nil
		}
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return &FieldError{path, "could not be read"}
		}
		if _, err := instant(text); err != nil {
			return &FieldError{path, err.Error()}
		}
	case anArray:
		var entries []json.RawMessage
		if err := json.Unmarshal(raw, &entries); err != nil {
			return &FieldError{path, "could not be read"}
		}
		for i, e := range entries {
			if err := s.elem.check(entry(path, i), e); err != nil {
				return err
			}
		}
	case anObject:
		if s.free {
			return nil
		}
		return s.checkObject(path, raw)
	}
	return nil
}

func (s shape) checkObject(path string, raw json.RawMessage) error {
	got, err := members(path, raw)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if !slices.ContainsFunc(s.fields, func(f field) bool { return f.name == name }) {
			return &FieldError{join(path, printed(name)), "is not a field of this kind"}
		}
	}
	for _, f := range s.fields {
		value, ok := got[f.name]
		switch {
		case ok:
			if err := f.shape.check(join(path, f.name), value); err != nil {
				return err
			}
		case f.required:
			return &FieldError{join(path, f.name), "is missing"}
		}
	}
	return nil
}

var (
	// CloudEvents 1.0, "Naming conventions": lower-case letters and digits.
	attributePattern = regexp.MustCompile(`^[a-z0-9]+$`)

	// textAttributes are those that Parse knows; each is a string.
	textAttributes = []string{"specversion", "id", "type", "source", "subject", "time", "traceparent", "datacontenttype", "dataschema"}
)

// attributes splits an event into the attributes that Parse knows and the data, which is empty when there is none. Other
// extension attributes are accepted and dropped, as CloudEvents asks of an intermediary that does not know them; null is the
// same as absent, as its JSON format says.
func attributes(raw []byte) (attrs map[string]string, data json.RawMessage, err error) {
	if !utf8.Valid(raw) || !json.Valid(raw) || form(raw) != anObject {
		return nil, nil, ErrNotJSON
	}
	got, err := members("", raw)
	if err != nil {
		return nil, nil, err
	}
	attrs = make(map[string]string, len(textAttributes))
	for _, name := range slices.Sorted(maps.Keys(got)) {
		value := got[name]
		switch {
		case !attributePattern.MatchString(name):
			return nil, nil, &FieldError{printed(name), "is not an attribute's name: those are of lower-case letters and digits"}
		case form(value) == aNull:
		case name == "data":
			data = value
		case !slices.Contains(textAttributes, name):
		case form(value) != aString:
			return nil, nil, &FieldError{name, "must be a string, not " + form(value)}
		default:
			var text string
			if err := json.Unmarshal(value, &text); err != nil {
				return nil, nil, &FieldError{name, "could not be read"}
			}
			attrs[name] = text
		}
	}
	return attrs, data, nil
}

// members returns the members of raw, a valid JSON object, and refuses a name that is there twice.
func members(path string, raw json.RawMessage) (map[string]json.RawMessage, error) {
	got := make(map[string]json.RawMessage)
	err := jsoncut.Members(raw, func(name, value []byte) error {
		if _, twice := got[string(name)]; twice {
			return &FieldError{join(path, printed(string(name))), "is there twice"}
		}
		got[string(name)] = value
		return nil
	})
	if errors.Is(err, jsoncut.ErrSyntax) {
		err = &FieldError{path, "could not be read"}
	}
	return got, err
}

// form tells the form of a valid JSON value by its first character.
func form(raw []byte) string {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	if len(raw) == 0 {
		return "nothing"
	}
	switch raw[0] {
	case '"':
		return aString
	case '{':
		return anObject
	case '[':
		return anArray
	case 't', 'f':
		return aBool
	case 'n':
		return aNull
	}
	return aNumber
}

var errNotTime = errors.New("must be a time as in RFC 3339, of the years 1 to 9999")

// instant reads a time. The years are those that can be written again after the change to UTC.
func instant(text string) (time.Time, error) {
	var t time.Time
	if err := t.UnmarshalText([]byte(text)); err != nil {
		return time.Time{}, errNotTime
	}
	t = t.UTC()
	if t.IsZero() || t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}, errNotTime
	}
	return t, nil
}

func join(path, name string) string {
	switch {
	case path == "":
		return name
	case name == "":
		return path
	}
	return path + "." + name
}

func entry(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// printed is a sender's name as a FieldError shows it.
func printed(name string) string {
	if name == "" {
		return `""`
	}
	return clip(name)
}

// clip makes a sender's word fit for a message: short, and without characters that would garble a terminal.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if unprintable(r) {
			return utf8.RuneError
		}
		return r
	}, s)
	if r := []rune(s); len(r) > 80 {
		return string(r[:80]) + "…"
	}
	return s
}
