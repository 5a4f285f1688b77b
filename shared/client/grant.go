package client

import (
	"context"
	"iter"
	"time"

	"pinreset/events"
)

// Grant is what one person may do on one tenant.
type Grant struct {
	ID           string       `json:"id"`
	PersonTenant string       `json:"personTenant"`
	PersonObject string       `json:"personObject"`
	Name         string       `json:"name"`
	Permissions  []string     `json:"permissions"`
	Reason       string       `json:"reason"`
	GivenAt      time.Time    `json:"givenAt"`
	GivenBy      events.Actor `json:"givenBy"`
	ExpiresAt    time.Time    `json:"expiresAt"`
	RevokedAt    time.Time    `json:"revokedAt,omitzero"`
	Active       bool         `json:"active"` // neither revoked nor expired
}

// NewGrant is what it takes to let a person act on a tenant.
type NewGrant struct {
	PersonTenant string   `json:"personTenant"` // id of the Entra tenant that the person signs in to
	PersonObject string   `json:"personObject"` // the person's object id there
	Name         string   `json:"name"`
	Permissions  []string `json:"permissions"`
	Days         int      `json:"days"` // 1 to 90
	Reason       string   `json:"reason"`
}

// Grants lists the grants of a tenant, those that have ended included.
func (c *Client) Grants(ctx context.Context, tenant string) iter.Seq2[Grant, error] {
	return pages[Grant](ctx, c, nil, "v1", "tenants", tenant, "grants")
}

// GiveGrant lets a person act on a tenant.
func (c *Client) GiveGrant(ctx context.Context, tenant string, n NewGrant) (g Grant, err error) {
	_, err = c.do(ctx, post(n, "v1", "tenants", tenant, "grants"), &g)
	return g, err
}

// RevokeGrant ends a grant with effect on the next request.
func (c *Client) RevokeGrant(ctx context.Context, tenant, id string) error {
	_, err := c.do(ctx, post(nil, "v1", "tenants", tenant, "grants", id, "revoke"), nil)
	return err
}
