package client

import (
	"context"
	"iter"
	"time"

	"pinreset/events"
)

// Token is a credential without its secret.
type Token struct {
	ID          string       `json:"id"`
	Name        string       `json:"name"`
	Tenants     []string     `json:"tenants"` // ids, or "*" for all
	Permissions []string     `json:"permissions"`
	CreatedAt   time.Time    `json:"createdAt"`
	CreatedBy   events.Actor `json:"createdBy"`
	ExpiresAt   time.Time    `json:"expiresAt,omitzero"` // zero: never
	RevokedAt   time.Time    `json:"revokedAt,omitzero"`
}

// NewToken is what it takes to create a token.
type NewToken struct {
	Name        string   `json:"name"`
	Tenants     []string `json:"tenants"` // ids, or "*" for all
	Permissions []string `json:"permissions"`
	Days        int      `json:"days"` // until it expires
}

// CreatedToken is a new token with the secret itself. The secret is in the server's first answer only: when that was lost and
// the call repeated, Secret is empty, and the token can only be revoked.
type CreatedToken struct {
	Token
	Secret Secret `json:"token"`
}

// Tokens lists all tokens.
func (c *Client) Tokens(ctx context.Context) iter.Seq2[Token, error] {
	return pages[Token](ctx, c, nil, "v1", "tokens")
}

// CreateToken makes a token.
func (c *Client) CreateToken(ctx context.Context, n NewToken) (t CreatedToken, err error) {
	_, err = c.do(ctx, post(n, "v1", "tokens"), &t)
	return t, err
}

// RevokeToken ends a token with effect on the next request.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	_, err := c.do(ctx, post(nil, "v1", "tokens", id, "revoke"), nil)
	return err
}
