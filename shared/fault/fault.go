// Package fault makes an error the verdict on a piece of work.
//
// A handler or an adapter that knows what its failure means says so by the error it returns, and dispatch acts on it:
//
//	nil                     done
//	Permanent(code, err)    will never work as asked: record the failure, acknowledge
//	SetAside(code, err)     the same, and keep the message: a person may have it done again
//	After(d, code, err)     not now: the same work again after d, its attempts kept
//	any other error         unknown: again with back-off, until the attempts are used up
//
// A code is a stable string out of one table ([Lookup]): title, cause, fix steps and documentation link of every failure that
// the API, the command line, the pages and the failure events show. A code is never renamed and never reused.
//
// The package decides nothing by error text and retries nothing.
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Code names a failure for programs and for people; see [Lookup].
type Code string

// Error is a failure that carries its own verdict.
type Error struct {
	Code  Code
	Delay time.Duration // > 0: not now, try again after it; 0: never
	Aside bool          // never by itself: the message is kept as a dead letter, for a person to send again
	Err   error         // what happened, with the ids that matter; never a secret
}

// Permanent says that the work will never succeed as asked.
func Permanent(code Code, err error) error { return &Error{Code: code, Err: err} }

// SetAside says that the work has failed for good unless a person has it done again: its message becomes a dead letter.
func SetAside(code Code, err error) error { return &Error{Code: code, Aside: true, Err: err} }

// Permanentf is Permanent with a formatted cause.
func Permanentf(code Code, format string, args ...any) error {
	return Permanent(code, fmt.Errorf(format, args...))
}

// After says that the work should be tried again after d (at least a millisecond), and by its code why it waits.
func After(d time.Duration, code Code, err error) error {
	return &Error{Code: code, Delay: max(d, time.Millisecond), Err: err}
}

func (e *Error) Error() string {
	if e.Err == nil {
		return string(e.Code)
	}
	return string(e.Code) + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Permanent reports whether the work will never succeed as asked.
func (e *Error) Permanent() bool { return e.Delay == 0 }

// As returns the verdict that err carries; ok is false for an error without one.
func As(err error) (verdict *Error, ok bool) {
	ok = errors.As(err, &verdict)
	return verdict, ok
}

// CodeOf returns the code of err, or [Internal] for an error without a verdict.
func CodeOf(err error) Code {
	if v, ok := As(err); ok {
		return v.Code
	}
	return Internal
}
