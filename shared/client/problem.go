package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"pinreset/shared/fault"
)

const correlationHeader = "X-Correlation-Id"

// Problem is the server's refusal: RFC 9457 problem details with pinreset's own members.
type Problem struct {
	Type      string         `json:"type"`
	Title     string         `json:"title"`
	Status    int            `json:"status"`
	Detail    string         `json:"detail,omitempty"`
	Instance  string         `json:"instance,omitempty"` // path of the diagnostics page, where there is one
	Code      fault.Code     `json:"code,omitempty"`
	Retryable bool           `json:"retryable,omitempty"`
	RetryAt   time.Time      `json:"retryAt,omitzero"`
	Fix       []string       `json:"fix,omitempty"`
	LearnMore []string       `json:"learnMore,omitempty"`
	Errors    []FieldProblem `json:"errors,omitempty"`

	CorrelationID string        `json:"correlationId,omitempty"` // the server's name for the exchange
	Diagnostics   string        `json:"-"`                       // Instance as a whole address
	RetryAfter    time.Duration `json:"-"`                       // of the header; 0 when there is none
}

// FieldProblem names a part of the request that is wrong.
type FieldProblem struct {
	Location string `json:"location"` // "body.reason"
	Message  string `json:"message"`
}

func (p *Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.Title)
	if p.Detail != "" && p.Detail != p.Title {
		b.WriteString(": " + p.Detail)
	}
	for _, e := range p.Errors {
		if !strings.Contains(p.Detail, e.Message) { // the detail names the first one
			fmt.Fprintf(&b, "; %s %s", e.Location, e.Message)
		}
	}
	return b.String()
}

// IsCode reports whether err is the server's refusal with the code.
func IsCode(err error, code fault.Code) bool {
	p, ok := errors.AsType[*Problem](err)
	return ok && p.Code == code
}

// Unreachable says that no answer came: whether the server has seen the request is not known.
type Unreachable struct {
	Server string
	Err    error
}

func (e *Unreachable) Error() string { return "no answer from " + e.Server + ": " + e.Err.Error() }

func (e *Unreachable) Unwrap() error { return e.Err }

// unreachable wraps a failure of the transport, unless it is the caller who gave up.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // its text repeats the address with the query, which can name people
	}
	return &Unreachable{Server: c.Server(), Err: err}
}

// problem makes a Problem of an answer that is no success. One that is not pinreset's, such as a gateway's page, becomes a
// problem without a code's explanation.
func (c *Client) problem(res *http.Response, body []byte) *Problem {
	var p Problem
	media, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if media != "application/problem+json" || json.Unmarshal(body, &p) != nil || p.Code == "" {
		p = Problem{
			Title: "The server gave an answer that is not pinreset's", Code: fault.Internal,
			Detail: fmt.Sprintf("%s answered %d %s", c.Server(), res.StatusCode, http.StatusText(res.StatusCode)),
		}
	}
	p.Status = res.StatusCode
	if p.CorrelationID == "" {
		p.CorrelationID = res.Header.Get(correlationHeader)
	}
	p.Diagnostics = c.Link(p.Instance)
	if seconds, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && seconds > 0 {
		p.RetryAfter = min(time.Duration(seconds), 24*60*60) * time.Second
	}
	return &p
}

// notFound is the answer to an id that can't exist, made without asking.
func notFound(id string) *Problem {
	e := fault.Lookup(fault.NotFound)
	return &Problem{
		Type: "/problems/" + string(e.Code), Title: e.Title, Status: http.StatusNotFound, Code: e.Code,
		Detail: fmt.Sprintf("nothing has the id %q", id), Fix: e.Fix,
	}
}
