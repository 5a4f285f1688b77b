// Package reading keeps what was read apart from what could not be read.
//
// A fact about somebody else's system has three states: it was read and is so, it was read and is not so, or it could not be
// read. The third is never one of the others: a policy behind a refused call is not a missing policy. [Of] carries a value or
// the cause for which there is none; [Answer] is the three-valued answer that is drawn from such facts.
//
// The zero Of was never read, so a fact that nobody asked for can't be taken for an empty one either.
//
// The package reads nothing itself and does not know where a value comes from.
package reading

import (
	"bytes"
	"encoding/json"
	"errors"

	"pinreset/shared/fault"
)

// Cause is why a value could not be read.
type Cause struct {
	Code fault.Code `json:"code"`
	Text string     `json:"text"` // one sentence for people; never a secret
}

// Of is a value that was read, or the cause for which it was not. Its JSON form is {"value": …} or {"why": {"code", "text"}}.
type Of[T any] struct {
	value T
	read  bool
	why   Cause
}

// Read is a value that was read.
func Read[T any](value T) Of[T] { return Of[T]{value: value, read: true} }

// Unread is a value that could not be read. An empty sentence is replaced by the title of the code.
func Unread[T any](code fault.Code, text string) Of[T] {
	if text == "" {
		text = fault.Lookup(code).Title + "."
	}
	return Of[T]{why: Cause{code, text}}
}

// From is the outcome of a read: the value, or by err why there is none. The sentence is the title of err's code: an error's
// text is for logs.
func From[T any](value T, err error) Of[T] {
	if err != nil {
		return Unread[T](fault.CodeOf(err), "")
	}
	return Read(value)
}

// Get returns the value and whether it was read. A value that was not is the zero value and means nothing.
func (o Of[T]) Get() (value T, ok bool) { return o.value, o.read }

// OK reports whether the value was read.
func (o Of[T]) OK() bool { return o.read }

// Why returns the cause for which there is no value. It is the zero Cause for one that was read; a value that nobody asked
// for has the code [fault.NotRead].
func (o Of[T]) Why() Cause {
	if !o.read && o.why.Code == "" {
		return Cause{fault.NotRead, fault.Lookup(fault.NotRead).Title + "."}
	}
	return o.why
}

// Holds answers a question about the value; of one that was not read, the answer is Unknown.
func (o Of[T]) Holds(is func(T) bool) Answer {
	if !o.read {
		return Unknown
	}
	return Told(is(o.value))
}

// Map is a part of the value, read or unread as the whole is.
func Map[T, U any](o Of[T], part func(T) U) Of[U] {
	if !o.read {
		return Of[U]{why: o.why}
	}
	return Read(part(o.value))
}

// Then is a part of the value that is a reading itself.
func Then[T, U any](o Of[T], part func(T) Of[U]) Of[U] {
	if !o.read {
		return Of[U]{why: o.why}
	}
	return part(o.value)
}

// IsZero reports whether nobody has asked for the value, so that it can be left out of a JSON object (omitzero).
func (o Of[T]) IsZero() bool { return !o.read && o.why == Cause{} }

type unread struct {
	Why *Cause `json:"why"`
}

// MarshalJSON implements json.Marshaler.
func (o Of[T]) MarshalJSON() ([]byte, error) {
	if o.read {
		return json.Marshal(struct {
			Value T `json:"value"`
		}{o.value})
	}
	if o.IsZero() {
		return []byte("{}"), nil
	}
	return json.Marshal(unread{Why: &o.why})
}

// UnmarshalJSON implements json.Unmarshaler. An object without a value and without a cause was never read; one with both is
// refused.
func (o *Of[T]) UnmarshalJSON(data []byte) error {
	var f struct {
		Value json.RawMessage `json:"value"`
		Why   *Cause          `json:"why"`
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return err
	}
	*o = Of[T]{}
	switch {
	case f.Value != nil && f.Why != nil:
		return errors.New("reading: a value and a cause for which there is none")
	case f.Why != nil:
		if f.Why.Code == "" {
			return errors.New("reading: a cause without a code")
		}
		o.why = *f.Why
	case f.Value != nil:
		if err := json.NewDecoder(bytes.NewReader(f.Value)).Decode(&o.value); err != nil {
			return err
		}
		o.read = true
	}
	return nil
}
