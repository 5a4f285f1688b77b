package client

import (
	"context"
	"iter"
	"net/url"
	"time"

	"pinreset/events"
	"pinreset/shared/approval"
)

// Approval is a request that waits for a second person, or did.
type Approval struct {
	ID         string          `json:"id"` // of the reset or bulk reset that it begins, too
	Action     approval.Action `json:"action"`
	State      approval.State  `json:"state"`
	Why        approval.Why    `json:"why"`
	Hash       string          `json:"hash"` // names the request to the letter
	DeviceID   string          `json:"deviceId,omitempty"`
	DeviceName string          `json:"deviceName,omitempty"`
	User       string          `json:"user,omitempty"`
	ResetID    string          `json:"resetId,omitempty"` // whose code is to be seen
	Group      string          `json:"group,omitempty"`   // of a bulk reset; "" is all devices
	Expected   int             `json:"expected,omitempty"`
	PlanHash   string          `json:"planHash,omitempty"`
	Reason     string          `json:"reason"`
	Ticket     string          `json:"ticket,omitempty"`
	By         events.Actor    `json:"by"`
	AskedAt    time.Time       `json:"askedAt"`
	ExpiresAt  time.Time       `json:"expiresAt"`
	DecidedBy  *events.Actor   `json:"decidedBy,omitempty"`
	DecidedAt  time.Time       `json:"decidedAt,omitzero"`
	Note       string          `json:"note,omitempty"` // why it was declined
	UsedAt     time.Time       `json:"usedAt,omitzero"`
	Deciders   []string        `json:"deciders,omitempty"` // who can decide, of those who were let in by name; only from [Client.Approval]
	MayDecide  bool            `json:"mayDecide"`
}

// Approvals lists what was asked of a second person, newest first; state "" lists all.
func (c *Client) Approvals(ctx context.Context, tenant string, state approval.State) iter.Seq2[Approval, error] {
	q := url.Values{}
	if state != "" {
		q.Set("state", string(state))
	}
	return pages[Approval](ctx, c, q, "v1", "tenants", tenant, "approvals")
}

// Approval reads one.
func (c *Client) Approval(ctx context.Context, tenant, id string) (a Approval, err error) {
	_, err = c.do(ctx, get("v1", "tenants", tenant, "approvals", id), &a)
	return a, err
}

// AskReveal asks for a second person so that the caller may see the code of a reset, with this reason and ticket.
func (c *Client) AskReveal(ctx context.Context, tenant, reset, reason, ticket string) (a Approval, err error) {
	_, err = c.do(ctx, post(why{reason, ticket}, "v1", "tenants", tenant, "resets", reset, "approval"), &a)
	return a, err
}

// Decide says yes or no to what somebody else asked for; hash is that of what was seen. Only somebody who signed in with Microsoft can.
func (c *Client) Decide(ctx context.Context, tenant, id string, approve bool, hash, reason string) (a Approval, err error) {
	verb := "decline"
	if approve {
		verb = "approve"
	}
	body := struct {
		Hash   string `json:"hash"`
		Reason string `json:"reason,omitempty"`
	}{hash, reason}
	_, err = c.do(ctx, post(body, "v1", "tenants", tenant, "approvals", id, verb), &a)
	return a, err
}
