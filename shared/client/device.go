package client

import (
	"context"
	"iter"
	"net/url"
	"time"

	"pinreset/shared/passcode"
)

// Device is a managed device as Intune shows it now, with what pinreset can do for it.
type Device struct {
	ID           string               `json:"id"`
	Name         string               `json:"name"`
	User         string               `json:"user,omitempty"` // user principal name
	UserID       string               `json:"userId,omitempty"`
	Platform     string               `json:"platform"`
	OSVersion    string               `json:"osVersion,omitempty"`
	Serial       string               `json:"serial,omitempty"`
	Model        string               `json:"model,omitempty"`
	LastSync     time.Time            `json:"lastSync,omitzero"`
	Eligibility  passcode.Eligibility `json:"eligibility"`
	PendingReset string               `json:"pendingReset,omitempty"` // id of the reset that has not ended
	Resets       []Reset              `json:"resets,omitempty"`       // newest first; only from [Client.Device]
}

// Devices lists a tenant's devices, live from Intune. search is an exact device name, user principal name or serial number;
// "" lists all.
func (c *Client) Devices(ctx context.Context, tenant, search string) iter.Seq2[Device, error] {
	q := url.Values{}
	if search != "" {
		q.Set("search", search)
	}
	return pages[Device](ctx, c, q, "v1", "tenants", tenant, "devices")
}

// Device reads one with its resets.
func (c *Client) Device(ctx context.Context, tenant, id string) (d Device, err error) {
	_, err = c.do(ctx, get("v1", "tenants", tenant, "devices", id), &d)
	return d, err
}
