package client

import (
	"context"
	"iter"
	"time"

	"pinreset/events"
	"pinreset/shared/fault"
	"pinreset/shared/passcode"
)

// Bulk is a reset of many devices of one tenant.
type Bulk struct {
	ID           string             `json:"id"`
	State        passcode.BulkState `json:"state"`
	Open         bool               `json:"open"`
	Group        string             `json:"group,omitempty"` // "" is all devices
	Plan         bool               `json:"plan"`
	PlanHash     string             `json:"planHash,omitempty"` // names the devices that were found
	Counts       passcode.BulkTally `json:"counts"`
	CountedAt    time.Time          `json:"countedAt,omitzero"`
	CalledBy     time.Time          `json:"calledBy,omitzero"` // when the last device will have been called, by Graph's limits alone
	Reason       string             `json:"reason"`
	Ticket       string             `json:"ticket,omitempty"`
	By           events.Actor       `json:"by"`
	AskedAt      time.Time          `json:"askedAt"`
	StartedAt    time.Time          `json:"startedAt,omitzero"`
	EndedAt      time.Time          `json:"endedAt,omitzero"`
	Approval     string             `json:"approval,omitempty"`   // by a second person, that it waits for or had
	ApprovedBy   string             `json:"approvedBy,omitempty"` // who that was
	FailureCode  fault.Code         `json:"failureCode,omitempty"`
	FailureTitle string             `json:"failureTitle,omitempty"`
	Diagnostics  string             `json:"diagnostics,omitempty"`
}

// NewBulk asks for a bulk reset: of a group or of all devices, and with the number or the plan of what is expected.
type NewBulk struct {
	Group    string `json:"group,omitempty"`
	All      bool   `json:"all,omitempty"`
	PlanOnly bool   `json:"planOnly,omitempty"`
	Expected int    `json:"expected,omitempty"`
	PlanHash string `json:"planHash,omitempty"`
	Reason   string `json:"reason,omitempty"` // why, for the audit log; a plan may do without
	Ticket   string `json:"ticket,omitempty"`
}

// StartBulk asks for a bulk reset.
func (c *Client) StartBulk(ctx context.Context, tenant string, n NewBulk) (b Bulk, err error) {
	_, err = c.do(ctx, post(n, "v1", "tenants", tenant, "bulk-resets"), &b)
	return b, err
}

// Bulks lists a tenant's bulk resets, newest first.
func (c *Client) Bulks(ctx context.Context, tenant string) iter.Seq2[Bulk, error] {
	return pages[Bulk](ctx, c, nil, "v1", "tenants", tenant, "bulk-resets")
}

// Bulk reads one.
func (c *Client) Bulk(ctx context.Context, tenant, id string) (b Bulk, err error) {
	_, err = c.do(ctx, get("v1", "tenants", tenant, "bulk-resets", id), &b)
	return b, err
}

// BulkItems lists the devices of a bulk reset, by id.
func (c *Client) BulkItems(ctx context.Context, tenant, id string) iter.Seq2[passcode.Item, error] {
	return pages[passcode.Item](ctx, c, nil, "v1", "tenants", tenant, "bulk-resets", id, "items")
}

// CancelBulk gives a bulk reset up; one that has ended is a state_conflict.
func (c *Client) CancelBulk(ctx context.Context, tenant, id, reason string) (b Bulk, err error) {
	_, err = c.do(ctx, post(why{Reason: reason}, "v1", "tenants", tenant, "bulk-resets", id, "cancel"), &b)
	return b, err
}

// WaitBulk reads a bulk reset until it has ended, and returns it. seen, which may be nil, is told of every state that was read.
func (c *Client) WaitBulk(ctx context.Context, tenant, id string, seen func(Bulk)) (Bulk, error) {
	var last Bulk
	err := c.poll(ctx, func() (done bool, err error) {
		b, err := c.Bulk(ctx, tenant, id)
		if err != nil {
			return false, err
		}
		last = b
		if seen != nil {
			seen(b)
		}
		return !b.Open, nil
	})
	return last, err
}
