package client

import (
	"context"
	"iter"
	"time"

	"pinreset/events"
)

// Suspension is somebody who was stopped in a tenant for asking too much too fast.
type Suspension struct {
	ID       string        `json:"id"` // of the person or token, as the audit log has it
	Name     string        `json:"name"`
	Active   bool          `json:"active"`
	At       time.Time     `json:"at"`
	Asked    int           `json:"asked"` // resets and codes, the last one included
	Minutes  int           `json:"minutes"`
	LiftedAt time.Time     `json:"liftedAt,omitzero"`
	LiftedBy *events.Actor `json:"liftedBy,omitempty"`
}

// Suspensions lists who was stopped in a tenant, those who were let go on included.
func (c *Client) Suspensions(ctx context.Context, tenant string) iter.Seq2[Suspension, error] {
	return pages[Suspension](ctx, c, nil, "v1", "tenants", tenant, "suspensions")
}

// LiftSuspension lets somebody go on.
func (c *Client) LiftSuspension(ctx context.Context, tenant, id, reason string) (s Suspension, err error) {
	_, err = c.do(ctx, post(why{Reason: reason}, "v1", "tenants", tenant, "suspensions", id, "lift"), &s)
	return s, err
}
