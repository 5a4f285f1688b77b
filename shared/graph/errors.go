package graph

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"pinreset/shared/fault"
)

// ErrNotFound says that Graph knows no such object. It carries no verdict: right after a consent it means not yet, for a
// device it means gone.
var ErrNotFound = errors.New("not found in Microsoft Graph")

// ErrOutcomeUnknown says of a call that must not be repeated that Graph may have carried it out. The error around it
// still carries a verdict with the delay after which reading makes sense.
var ErrOutcomeUnknown = errors.New("outcome unknown")

// Error is what Graph, or the token endpoint, answered. Decide on Status and Code.
type Error struct {
	Method string
	Path   string // with {id} in place of ids, without a query
	Status int    // 0: no answer
	Code   string // error.code of an OData error, or AADSTS and a number
	// Message is Graph's text for people, cut to 200 characters; empty where it could quote what must stay secret.
	Message         string
	RequestID       string
	ClientRequestID string
	Date            time.Time     // the server's clock
	RetryAfter      time.Duration // as told; 0 when Graph did not say
	Throttle        string        // whose limit is used up, where Graph says so
	Err             error         // what went wrong where no answer came
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Method + " " + e.Path + ": ")
	switch {
	case e.Status != 0:
		b.WriteString(strconv.Itoa(e.Status))
		if text := http.StatusText(e.Status); text != "" {
			b.WriteString(" " + text)
		}
	case e.Err != nil:
		b.WriteString(e.Err.Error())
	default:
		b.WriteString("no answer")
	}
	if e.Code != "" {
		b.WriteString(", " + e.Code)
	}
	if e.RequestID != "" {
		b.WriteString(", request-id " + e.RequestID)
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// classify turns an answer that is no success into a verdict, in one place.
func classify(a *answer, f Family, pm *permit) error {
	e := a.failure()
	switch a.status {
	case http.StatusNotFound:
		return fmt.Errorf("%w: %w", ErrNotFound, e)
	case http.StatusUnauthorized:
		return fault.Permanent(fault.GraphUnauthorized, e)
	case http.StatusForbidden:
		return fault.Permanent(fault.GraphForbidden, e)
	case http.StatusTooManyRequests:
		return fault.After(pm.throttled(f, a.retryAfter, a.hinted), fault.GraphThrottled, e)
	case http.StatusServiceUnavailable:
		if a.hinted {
			return fault.After(pm.throttled(f, a.retryAfter, true), fault.GraphUnavailable, e)
		}
		return fault.After(pm.failed(f), fault.GraphUnavailable, e)
	case http.StatusRequestTimeout:
		return fault.After(pm.failed(f), fault.GraphUnavailable, e)
	}
	if a.status >= 500 {
		return fault.After(pm.failed(f), fault.GraphUnavailable, e)
	}
	return fault.Permanent(fault.GraphRefused, e)
}

// maybeExecuted reports whether an answer leaves open that a write was carried out. A throttled one does.
func maybeExecuted(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return true
	}
	return status < 400 || status >= 500
}

// unknown marks err as one that leaves open whether the call was carried out.
func unknown(err error) error { return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err) }

// answer is a response, read to its end. Batches make one of each part.
type answer struct {
	method, path    string
	status          int
	header          http.Header
	body            []byte
	secret          bool // the body may hold a passcode
	date            time.Time
	retryAfter      time.Duration
	hinted          bool // Retry-After was there
	clientRequestID string
}

func newAnswer(method, path string, status int, header http.Header, body []byte, now time.Time) *answer {
	a := &answer{method: method, path: path, status: status, header: header, body: body}
	if text := header.Get("Date"); text != "" {
		if d, err := http.ParseTime(text); err == nil {
			a.date = d.UTC()
		}
	}
	if !a.date.IsZero() {
		now = a.date // a Retry-After that is a date is meant on the server's clock
	}
	a.retryAfter, a.hinted = retryAfter(header.Get("Retry-After"), now)
	a.clientRequestID = header.Get("client-request-id")
	return a
}

// retryAfter reads both forms of the header. A moment that is past means now.
func retryAfter(value string, now time.Time) (d time.Duration, ok bool) {
	if value == "" {
		return 0, false
	}
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, true
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now)), true
	}
	return 0, false
}

// throttle is whose limit an answer of 429 says is used up.
func (a *answer) throttle() string {
	return strings.Trim(a.header.Get("x-ms-throttle-scope")+" "+a.header.Get("x-ms-throttle-information"), " ")
}

func (a *answer) failure() *Error {
	e := &Error{
		Method: a.method, Path: a.path, Status: a.status,
		RequestID: a.header.Get("request-id"), ClientRequestID: a.clientRequestID,
		Date: a.date, RetryAfter: a.retryAfter, Throttle: a.throttle(),
	}
	body := a.odata()
	e.Code = body.Error.Code
	if e.RequestID == "" {
		e.RequestID = body.Error.InnerError.RequestID
	}
	if !a.secret {
		e.Message = bounded(body.Error.Message)
	}
	return e
}

type odataError struct {
	Error struct {
		Code       string `json:"code"`
		Message    string `json:"message"`
		InnerError struct {
			RequestID string `json:"request-id"`
		} `json:"innerError"`
	} `json:"error"`
}

// odata reads the error of an answer; what is not one gives an empty error.
func (a *answer) odata() (e odataError) {
	if a.status < 300 || json.Unmarshal(a.body, &e) != nil {
		return odataError{}
	}
	e.Error.Code = token(e.Error.Code)
	return e
}

// token keeps an error code a code: one word, short.
func token(s string) string {
	if len(s) > 80 {
		return ""
	}
	for _, r := range s {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("_-.", r) {
			return ""
		}
	}
	return s
}

// bounded makes a text of others fit to be shown: one line of at most 200 characters.
func bounded(s string) string {
	runes := make([]rune, 0, 200)
	for _, r := range s {
		if len(runes) == 200 {
			break
		}
		if !unicode.IsPrint(r) {
			r = ' '
		}
		runes = append(runes, r)
	}
	return string(runes)
}

// network is the cause of a call that got no answer, without the address: its query may name a person.
func network(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	switch {
	case errors.Is(err, errTooLarge):
		return errTooLarge
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op
	}
	return err
}
