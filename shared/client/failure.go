package client

import (
	"context"
	"encoding/json"
	"iter"
	"time"

	"pinreset/shared/diag"
	"pinreset/shared/fault"
	"pinreset/shared/work"
)

// Failure is a request that ended without its result.
type Failure struct {
	diag.Failure
	Title       string `json:"title"`
	Diagnostics string `json:"diagnostics"` // path of its page
}

// DeadLetter is a message that was set aside.
type DeadLetter struct {
	ID          string          `json:"id"`
	Queue       work.Queue      `json:"queue"`
	MessageID   string          `json:"messageId"`
	RequestID   string          `json:"requestId,omitempty"`
	Kind        string          `json:"kind,omitempty"`
	Reason      fault.Code      `json:"reason"`
	Title       string          `json:"title"`
	Detail      string          `json:"detail"`
	Deliveries  int             `json:"deliveries"`
	At          time.Time       `json:"at"`
	Diagnostics string          `json:"diagnostics"`
	Bytes       int             `json:"bytes"`          // size of the message's body
	Body        json.RawMessage `json:"body,omitempty"` // the message, where it is an event; only from [Client.DeadLetter]
}

// Replayed names the message that a dead letter became.
type Replayed struct {
	ID        string     `json:"id"`
	Queue     work.Queue `json:"queue"`
	MessageID string     `json:"messageId"`
}

// Failures lists a tenant's failures, newest first.
func (c *Client) Failures(ctx context.Context, tenant string) iter.Seq2[Failure, error] {
	return pages[Failure](ctx, c, nil, "v1", "tenants", tenant, "failures")
}

// Diagnostics reads the diagnostics page of a failure.
func (c *Client) Diagnostics(ctx context.Context, tenant, id string) (p diag.Page, err error) {
	_, err = c.do(ctx, get("v1", "tenants", tenant, "failures", id), &p)
	return p, err
}

// DeadLetters lists a tenant's dead letters, newest first.
func (c *Client) DeadLetters(ctx context.Context, tenant string) iter.Seq2[DeadLetter, error] {
	return pages[DeadLetter](ctx, c, nil, "v1", "tenants", tenant, "deadletters")
}

// DeadLetter reads one.
func (c *Client) DeadLetter(ctx context.Context, tenant, id string) (l DeadLetter, err error) {
	_, err = c.do(ctx, get("v1", "tenants", tenant, "deadletters", id), &l)
	return l, err
}

// ReplayDeadLetter sends a dead letter's message to its queue again.
func (c *Client) ReplayDeadLetter(ctx context.Context, tenant, id, reason string) (r Replayed, err error) {
	_, err = c.do(ctx, post(why{Reason: reason}, "v1", "tenants", tenant, "deadletters", id, "replay"), &r)
	return r, err
}

// DropDeadLetter removes a dead letter for good.
func (c *Client) DropDeadLetter(ctx context.Context, tenant, id, reason string) error {
	_, err := c.do(ctx, post(why{Reason: reason}, "v1", "tenants", tenant, "deadletters", id, "drop"), nil)
	return err
}
