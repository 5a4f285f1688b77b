// Package diag keeps what happened while a request was worked on, and turns a failure into a page that says what happened
// and what to do.
//
// Each run of a handler carries a [Record] in its context. Adapters add to it (a Graph call with status, request id and
// duration; a wait for the limiter), handlers add decisions. Dispatch stores the record with the run's commit. A record is
// bounded and never holds a secret: it has no field for a body, a header value other than the ids named here, or a token.
//
// It is not a log and not a trace: it is the part of both that a person at a help desk or at Microsoft's support needs.
package diag

import (
	"context"
	"sync"
	"time"
)

// MaxSteps bounds the steps of one record; later ones are counted, not kept.
const MaxSteps = 64

// Step kinds.
const (
	KindCall     = "call"     // a request to Microsoft Graph or to the token endpoint
	KindWait     = "wait"     // waiting for a permit of the limiter, or as told by Retry-After
	KindDecision = "decision" // something that the handler concluded
)

// Step is one thing that happened during a run.
type Step struct {
	At              time.Time `json:"at"`
	Kind            string    `json:"kind"`
	Text            string    `json:"text"`                      // one sentence or "METHOD path" without query values
	Milliseconds    float64   `json:"milliseconds,omitempty"`    // how long it took
	Status          int       `json:"status,omitempty"`          // HTTP status of a call; 0 when no answer came
	ErrorCode       string    `json:"errorCode,omitempty"`       // error.code of an OData error
	RequestID       string    `json:"requestId,omitempty"`       // Microsoft's id of the call
	ClientRequestID string    `json:"clientRequestId,omitempty"` // our id of the call
	ServerDate      string    `json:"serverDate,omitempty"`      // Date header of the answer
	RetryAfter      string    `json:"retryAfter,omitempty"`      // Retry-After header of the answer
	Throttle        string    `json:"throttle,omitempty"`        // x-ms-throttle-scope or -information of the answer
}

// Record is what one run of a handler did.
type Record struct {
	mu      sync.Mutex
	steps   []Step
	dropped int
}

type recordKey struct{}

// NewContext returns a context whose run writes to the record.
func NewContext(ctx context.Context, r *Record) context.Context {
	return context.WithValue(ctx, recordKey{}, r)
}

// Add appends a step to the record of the run that ctx belongs to; without one it does nothing.
func Add(ctx context.Context, s Step) {
	r, _ := ctx.Value(recordKey{}).(*Record)
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.steps) == MaxSteps {
		r.dropped++
		return
	}
	s.At = s.At.UTC()
	r.steps = append(r.steps, s)
}

// Decide appends a decision.
func Decide(ctx context.Context, at time.Time, text string) {
	Add(ctx, Step{At: at, Kind: KindDecision, Text: text})
}

// Steps returns the steps so far and how many more there were.
func (r *Record) Steps() (steps []Step, dropped int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Step(nil), r.steps...), r.dropped
}
