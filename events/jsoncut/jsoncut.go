// Package jsoncut finds the members of a JSON object and the entries of an array where they lie, and decodes nothing. It is for
// documents of which most is not used, or is decoded in pieces: encoding/json goes through every byte several times before it
// hands out a piece.
//
// It checks quotes and the number of brackets, and so that a document is whole. It does not check what is in a piece: whoever
// decodes the piece finds out, and what nobody decodes may be anything.
package jsoncut

import (
	"bytes"
	"encoding/json"
	"errors"
)

// ErrSyntax says that the document is not a whole object or array.
var ErrSyntax = errors.New("not a whole JSON document of the expected form")

// Members calls visit with the name and the value of each member of an object, in their order, a name that is there twice
// included. Both are slices of raw, and the value has no space around it. An error of visit ends it and is returned.
func Members(raw []byte, visit func(name, value []byte) error) error {
	return list(raw, '{', '}', func(at int) (int, error) {
		end := ofString(raw, at)
		if end < 0 {
			return -1, ErrSyntax
		}
		name, err := unquoted(raw[at:end])
		if err != nil {
			return -1, err
		}
		if at = space(raw, end); at == len(raw) || raw[at] != ':' {
			return -1, ErrSyntax
		}
		at = space(raw, at+1)
		if end = ofValue(raw, at); end < 0 {
			return -1, ErrSyntax
		}
		return end, visit(name, raw[at:end])
	})
}

// Entries calls visit with each entry of an array, as Members does.
func Entries(raw []byte, visit func(value []byte) error) error {
	return list(raw, '[', ']', func(at int) (int, error) {
		end := ofValue(raw, at)
		if end < 0 {
			return -1, ErrSyntax
		}
		return end, visit(raw[at:end])
	})
}

// Text is the text of a JSON string. Of null, as of encoding/json, it is "".
func Text(value []byte) (string, error) {
	if string(value) == "null" {
		return "", nil
	}
	text, err := unquoted(value)
	return string(text), err
}

// list goes through what lies between two brackets with commas in between. one gets where something begins and returns where it ends.
func list(raw []byte, opening, closing byte, one func(at int) (end int, err error)) error {
	at := space(raw, 0)
	if at == len(raw) || raw[at] != opening {
		return ErrSyntax
	}
	at = space(raw, at+1)
	if at < len(raw) && raw[at] == closing {
		return ended(raw, at+1)
	}
	for {
		end, err := one(at)
		if err != nil {
			return err
		}
		if at = space(raw, end); at == len(raw) {
			return ErrSyntax
		}
		switch raw[at] {
		case ',':
			at = space(raw, at+1)
		case closing:
			return ended(raw, at+1)
		default:
			return ErrSyntax
		}
	}
}

func ended(raw []byte, at int) error {
	if space(raw, at) != len(raw) {
		return ErrSyntax
	}
	return nil
}

// space is where the white space ends that begins at a place.
func space(raw []byte, at int) int {
	for at < len(raw) && (raw[at] == ' ' || raw[at] == '\t' || raw[at] == '\r' || raw[at] == '\n') {
		at++
	}
	return at
}

// ofString is where the string ends that begins at a place, -1 where none does.
func ofString(raw []byte, at int) int {
	if at >= len(raw) || raw[at] != '"' {
		return -1
	}
	at++
	quote := bytes.IndexByte(raw[at:], '"')
	if quote < 0 {
		return -1
	}
	if bytes.IndexByte(raw[at:at+quote], '\\') < 0 {
		return at + quote + 1
	}
	for ; at < len(raw); at++ {
		switch raw[at] {
		case '"':
			return at + 1
		case '\\':
			at++
		}
	}
	return -1
}

// ofValue is where the value ends that begins at a place, -1 where none does.
func ofValue(raw []byte, at int) int {
	if at >= len(raw) {
		return -1
	}
	begin, depth := at, 0
	for at < len(raw) {
		switch raw[at] {
		case '"':
			if at = ofString(raw, at); at < 0 {
				return -1
			}
			if depth == 0 {
				return at
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return scalar(begin, at)
			}
			if depth--; depth == 0 {
				return at + 1
			}
		case ',', ':', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return scalar(begin, at)
			}
		}
		at++
	}
	if depth > 0 {
		return -1
	}
	return scalar(begin, at)
}

func scalar(begin, end int) int {
	if begin == end {
		return -1
	}
	return end
}

// unquoted is the text of a string, a slice of it where it has no escapes.
func unquoted(quoted []byte) ([]byte, error) {
	if len(quoted) < 2 || quoted[0] != '"' || quoted[len(quoted)-1] != '"' {
		return nil, ErrSyntax
	}
	for _, c := range quoted[1 : len(quoted)-1] {
		if c == '"' || c == '\\' || c < ' ' || c >= 0x80 { // encoding/json knows what to make of it
			var text string
			if err := json.Unmarshal(quoted, &text); err != nil {
				return nil, ErrSyntax
			}
			return []byte(text), nil
		}
	}
	return quoted[1 : len(quoted)-1], nil
}
