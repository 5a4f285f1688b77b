package problem

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"pinreset/shared/fault"
	"pinreset/shared/identity"
	"pinreset/shared/work"
)

// ContentType is the media type of a problem.
const ContentType = "application/problem+json"

// Problem is the body of a refusal. As an error it is its detail, or its title.
type Problem struct {
	Type          string     `json:"type" doc:"Page that explains the code" example:"/problems/state_conflict"`
	Title         string     `json:"title" doc:"What happened, in a few words"`
	Status        int        `json:"status" doc:"HTTP status"`
	Detail        string     `json:"detail" doc:"What happened to this request"`
	Instance      string     `json:"instance,omitempty" doc:"Diagnostics page, where there is one"`
	Code          fault.Code `json:"code" doc:"Stable name of the failure, for programs"`
	CorrelationID string     `json:"correlationId,omitempty" doc:"Finds the request in the log"`
	Retryable     bool       `json:"retryable" doc:"Whether the same request may succeed later"`
	RetryAt       time.Time  `json:"retryAt,omitzero" doc:"When to try again, where that is known"`
	Fix           []string   `json:"fix" nullable:"false" doc:"What to do, in order"`
	LearnMore     []string   `json:"learnMore" nullable:"false" doc:"Documentation"`
	Errors        []Field    `json:"errors,omitempty" nullable:"false" doc:"What is wrong with the request, place by place"`

	header http.Header
}

// Field says what is wrong at one place of a request.
type Field struct {
	Location string `json:"location,omitempty" doc:"Where, such as body.reason" example:"body.reason"`
	Message  string `json:"message" doc:"What is wrong there"`
}

// Refusal is an error whose meaning for the person who asked is known.
type Refusal struct {
	Code     fault.Code
	Detail   string  // one sentence; "" is the catalogue's
	Fields   []Field // for InvalidRequest: well-formed, but wrong in these places
	Instance string  // diagnostics page
	StepUp   string  // for StepUpRequired: the authentication context to pass
	Err      error   // for the log; not shown
}

func (r *Refusal) Error() string {
	text := string(r.Code)
	if r.Detail != "" {
		text += ": " + r.Detail
	}
	if r.Err != nil {
		text += ": " + r.Err.Error()
	}
	return text
}

func (r *Refusal) Unwrap() error { return r.Err }

// Refuse returns a refusal with a detail.
func Refuse(code fault.Code, detail string) error { return &Refusal{Code: code, Detail: detail} }

// Status is the HTTP status of a code: the one place that knows.
func Status(code fault.Code) int {
	switch code {
	case fault.InvalidRequest, fault.IdempotencyKeyMissing:
		return http.StatusBadRequest // but see Of: a well-formed request that is wrong is 422
	case fault.RequestTooLarge:
		return http.StatusRequestEntityTooLarge
	case fault.Unauthenticated, fault.StepUpRequired:
		return http.StatusUnauthorized
	case fault.Forbidden, fault.SecondPersonRequired, fault.CallerNotConfirmed, fault.PersonSuspended:
		return http.StatusForbidden
	case fault.NotFound, fault.DeviceNotFound:
		return http.StatusNotFound
	case fault.BudgetSpent:
		return http.StatusTooManyRequests
	case fault.IdempotencyKeyReused:
		return http.StatusUnprocessableEntity
	case fault.StateConflict, fault.NotRevealable, fault.ApprovalNotValid, fault.TenantOnPremises, fault.PlanChanged:
		return http.StatusConflict
	case fault.Unavailable, fault.GraphThrottled, fault.GraphUnavailable, fault.WaitingForPermit:
		return http.StatusServiceUnavailable
	case fault.AppNotConsented, fault.GraphForbidden, fault.GraphRefused, fault.GraphUnauthorized, fault.RankUnknown:
		return http.StatusBadGateway
	default:
		return http.StatusInternalServerError
	}
}

// Of turns an error into the problem that is shown for it. Refusals say what they are; a verdict of Graph is passed on;
// what was not found is not found. Anything else came from the store, which then can't take the request now.
func Of(ctx context.Context, err error, now time.Time) *Problem {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p
	}
	if r, ok := errors.AsType[*Refusal](err); ok {
		if r.Code == fault.InvalidRequest && len(r.Fields) > 0 {
			return Invalid(ctx, r.Fields)
		}
		p := New(ctx, r.Code, r.Detail)
		p.Instance = r.Instance
		if r.StepUp != "" {
			// As the page "Claims challenges, claims requests, and client capabilities" has it.
			claims := base64.StdEncoding.EncodeToString([]byte(`{"access_token":{"acrs":{"essential":true,"value":"` + r.StepUp + `"}}}`))
			p.header.Set("WWW-Authenticate", `Bearer realm="pinreset", error="insufficient_claims", claims="`+claims+`"`)
		}
		return p
	}
	if v, ok := fault.As(err); ok {
		p := New(ctx, v.Code, "")
		if !v.Permanent() {
			p.retryAfter(v.Delay, now)
		}
		return p
	}
	switch {
	case errors.Is(err, identity.ErrUnauthenticated):
		return New(ctx, fault.Unauthenticated, "")
	case errors.Is(err, work.ErrNotFound):
		return New(ctx, fault.NotFound, "")
	case errors.Is(err, work.ErrBadPage):
		return New(ctx, fault.InvalidRequest, "The cursor does not belong to this list.")
	}
	p := New(ctx, fault.Unavailable, "")
	p.retryAfter(time.Second, now)
	return p
}

// New returns the problem of a code. detail is one sentence about this request; "" is the catalogue's cause.
func New(ctx context.Context, code fault.Code, detail string) *Problem {
	status := Status(code)
	if status == http.StatusNotFound {
		return notFound()
	}
	e := fault.Lookup(code)
	if detail == "" {
		detail = e.Cause
	}
	p := &Problem{
		Type: "/problems/" + string(code), Title: e.Title, Status: status, Detail: detail, Code: code,
		CorrelationID: Correlation(ctx), Retryable: status == http.StatusServiceUnavailable,
		Fix: listed(e.Fix), LearnMore: listed(e.LearnMore), header: http.Header{},
	}
	if status == http.StatusUnauthorized {
		p.header.Set("WWW-Authenticate", `Bearer realm="pinreset"`)
	}
	return p
}

// Invalid returns the problem of a request that is well-formed and wrong in the places that fields name.
func Invalid(ctx context.Context, fields []Field) *Problem {
	p := New(ctx, fault.InvalidRequest, fields[0].Location+": "+fields[0].Message)
	p.Status, p.Errors = http.StatusUnprocessableEntity, fields
	return p
}

func notFound() *Problem {
	e := fault.Lookup(fault.NotFound)
	return &Problem{
		Type: "/problems/" + string(fault.NotFound), Title: e.Title, Status: http.StatusNotFound, Detail: e.Cause,
		Code: fault.NotFound, Fix: listed(e.Fix), LearnMore: listed(e.LearnMore),
	}
}

// listed keeps an empty list a list: "null" is not one.
func listed(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func (p *Problem) retryAfter(d time.Duration, now time.Time) {
	seconds := max(1, int(math.Ceil(d.Seconds())))
	p.Retryable, p.RetryAt = true, now.UTC().Add(time.Duration(seconds)*time.Second).Truncate(time.Second)
	p.header.Set("Retry-After", strconv.Itoa(seconds))
}

func (p *Problem) Error() string {
	if p.Detail != "" {
		return p.Detail
	}
	return p.Title
}

// GetStatus, GetHeaders and ContentType are what the API's framework asks an error for.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders returns the headers that go with the problem.
func (p *Problem) GetHeaders() http.Header { return p.header }

// ContentType returns the problem's media type.
func (p *Problem) ContentType(string) string { return ContentType }

// Write answers with the problem.
func (p *Problem) Write(w http.ResponseWriter) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(p); err != nil {
		panic(err) // text, numbers and times always encode
	}
	for name, values := range p.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", ContentType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_, _ = w.Write(body.Bytes()) // a client that went away is not told
}
