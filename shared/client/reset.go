package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"time"

	"pinreset/events"
	"pinreset/shared/diag"
	"pinreset/shared/fault"
	"pinreset/shared/passcode"
)

// Reset is one request to reset a device's passcode. It never holds a code.
type Reset struct {
	ID         string `json:"id"`
	DeviceID   string `json:"deviceId"`
	DeviceName string `json:"deviceName,omitempty"`
	User       string `json:"user,omitempty"`
	Platform   string `json:"platform,omitempty"`
	OSVersion  string `json:"osVersion,omitempty"`
	Serial     string `json:"serial,omitempty"`

	State     passcode.State `json:"state"`
	Open      bool           `json:"open"`             // has not ended
	Effect    string         `json:"effect,omitempty"` // what it does to the device; see package passcode
	Why       fault.Code     `json:"why,omitempty"`    // why it waits
	WhyText   string         `json:"whyText,omitempty"`
	NextCheck time.Time      `json:"nextCheck,omitzero"`

	Origin  string            `json:"origin,omitempty"`  // "portal": started in Intune's own portal and only followed here
	Bulk    string            `json:"bulk,omitempty"`    // the bulk reset that it is part of
	Crossed *passcode.Crossed `json:"crossed,omitempty"` // somebody reset the device in Intune's own portal meanwhile: only the later code works

	Reason      string       `json:"reason"`
	Ticket      string       `json:"ticket,omitempty"`
	By          events.Actor `json:"by"`
	RequestedAt time.Time    `json:"requestedAt"`
	Deadline    time.Time    `json:"deadline,omitzero"`
	LastSync    time.Time    `json:"lastSync,omitzero"` // the device's last contact when the reset was looked at

	IssuedAt     time.Time `json:"issuedAt,omitzero"`
	ExpiresAt    time.Time `json:"expiresAt,omitzero"`
	Readable     bool      `json:"readable"` // there is a code that can be revealed
	SupersededBy string    `json:"supersededBy,omitempty"`
	Approval     string    `json:"approval,omitempty"`   // by a second person, that it waits for or had
	ApprovedBy   string    `json:"approvedBy,omitempty"` // who that was
	Views        int       `json:"views"`
	ViewedAt     time.Time `json:"viewedAt,omitzero"`
	ViewedBy     string    `json:"viewedBy,omitempty"`

	EndedAt      time.Time  `json:"endedAt,omitzero"`
	FailureCode  fault.Code `json:"failureCode,omitempty"`
	FailureTitle string     `json:"failureTitle,omitempty"`
	Diagnostics  string     `json:"diagnostics,omitempty"`

	Timeline []diag.Attempt `json:"timeline,omitempty"` // only from [Client.Reset]
}

// Revealed is a code with what tells whose it is.
type Revealed struct {
	Passcode   Secret    `json:"passcode"`
	ExpiresAt  time.Time `json:"expiresAt"`
	Views      int       `json:"views"` // this one included
	DeviceName string    `json:"deviceName,omitempty"`
	User       string    `json:"user,omitempty"`
}

// why is the body of calls that are recorded with a reason.
type why struct {
	Reason string `json:"reason"`
	Ticket string `json:"ticket,omitempty"`
}

// StartReset asks for a device's passcode to be reset. While the device has a reset that has not ended, that one is returned
// and existing is true.
func (c *Client) StartReset(ctx context.Context, tenant, device, reason, ticket string) (r Reset, existing bool, err error) {
	status, err := c.do(ctx, post(why{reason, ticket}, "v1", "tenants", tenant, "devices", device, "resets"), &r)
	return r, status == http.StatusOK, err
}

// Resets lists a tenant's resets, newest first; state "" lists all.
func (c *Client) Resets(ctx context.Context, tenant string, state passcode.State) iter.Seq2[Reset, error] {
	q := url.Values{}
	if state != "" {
		q.Set("state", string(state))
	}
	return pages[Reset](ctx, c, q, "v1", "tenants", tenant, "resets")
}

// Reset reads one with its timeline.
func (c *Client) Reset(ctx context.Context, tenant, id string) (r Reset, err error) {
	_, err = c.do(ctx, get("v1", "tenants", tenant, "resets", id), &r)
	return r, err
}

// CancelReset gives a reset up; one that has ended is a state_conflict. The device may still carry it out.
func (c *Client) CancelReset(ctx context.Context, tenant, id, reason string) (r Reset, err error) {
	_, err = c.do(ctx, post(why{Reason: reason}, "v1", "tenants", tenant, "resets", id, "cancel"), &r)
	return r, err
}

// Reveal returns the code of a reset. Each call is a view with an audit entry of its own, so it is sent once: when the answer
// is lost, whoever asks again is recorded again.
func (c *Client) Reveal(ctx context.Context, tenant, id, reason, ticket string) (r Revealed, err error) {
	return c.RevealApproved(ctx, tenant, id, reason, ticket, "")
}

// RevealApproved is Reveal with the approval that was given for the same reason and ticket, where two people are needed; see
// [Client.AskReveal].
func (c *Client) RevealApproved(ctx context.Context, tenant, id, reason, ticket, approval string) (r Revealed, err error) {
	body := struct {
		why
		Approval string `json:"approval,omitempty"`
	}{why{reason, ticket}, approval}
	k := post(body, "v1", "tenants", tenant, "resets", id, "reveal")
	k.repeat = never
	_, err = c.do(ctx, k, &r)
	return r, err
}
