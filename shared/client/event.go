package client

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"

	"pinreset/shared/audit"
)

// Accepted is the answer to an event.
type Accepted struct {
	ID        string `json:"id"`
	RequestID string `json:"requestId"`
	Location  string `json:"location,omitempty"` // where the request can be followed
}

// SendEvent hands in one CloudEvent in structured JSON. The event's id is its dedup key: the same event again gets the same
// answer.
func (c *Client) SendEvent(ctx context.Context, event []byte) (a Accepted, err error) {
	_, err = c.do(ctx, call{
		method: http.MethodPost, path: []string{"v1", "events"}, body: json.RawMessage(event),
		content: "application/cloudevents+json", repeat: safe,
	}, &a)
	return a, err
}

// Events lists what has happened in a tenant as CloudEvents, newest first.
func (c *Client) Events(ctx context.Context, tenant string) iter.Seq2[json.RawMessage, error] {
	return pages[json.RawMessage](ctx, c, nil, "v1", "tenants", tenant, "events")
}

// AuditFilter says which entries of the audit log are asked for; what is empty is not asked for.
type AuditFilter struct {
	Person string // the actor's id, or a part of its name
	Action string // one action, or the beginning of several, such as "passcode."
	Device string // the device's id
	Day    string // such as "2026-11-22", in UTC
}

// Audit lists those entries of a tenant's audit log that the filter finds, newest first.
func (c *Client) Audit(ctx context.Context, tenant string, f AuditFilter) iter.Seq2[audit.Entry, error] {
	query := url.Values{}
	for name, value := range map[string]string{"person": f.Person, "action": f.Action, "device": f.Device, "day": f.Day} {
		if value != "" {
			query.Set(name, value)
		}
	}
	return pages[audit.Entry](ctx, c, query, "v1", "tenants", tenant, "audit")
}
