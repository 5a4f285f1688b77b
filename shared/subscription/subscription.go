// Package subscription keeps which change notifications a tenant was subscribed to at Microsoft Graph, so that one which arrives can be
// believed.
//
// Graph sends notifications to an address that anybody can call. What proves one is its clientState, a secret that was given to
// Graph when the subscription was made and is known to nobody else. Only its hash is kept. The tenant that a notification names says
// where to look; it is believed only if that tenant has the subscription and the secret fits.
//
// Source: Microsoft's page "Receive change notifications through webhooks".
package subscription

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"pinreset/shared/work"
)

// Prefix is the row prefix of subscriptions. Their field "expiresAt" is Graph's own end of them.
const Prefix = "subscription|"

// ErrSecret: the clientState is not the subscription's.
var ErrSecret = errors.New("clientState is not the subscription's")

// Subscription is one that Graph holds.
type Subscription struct {
	ID        string    `json:"id"`       // Graph's
	Resource  string    `json:"resource"` // "/groups/{id}/members"
	ExpiresAt time.Time `json:"expiresAt"`
	Hash      []byte    `json:"hash"` // SHA-256 of the clientState
}

// NewSecret returns a clientState for a subscription that is to be made, and its hash. Graph takes at most 128 characters.
func NewSecret() (clear string, hash []byte) {
	clear = rand.Text() + rand.Text()
	return clear, hashOf(clear)
}

func hashOf(clear string) []byte {
	sum := sha256.Sum256([]byte(clear))
	return sum[:]
}

// Put stages a subscription of the unit's tenant.
func Put(u *work.Unit, s Subscription) error { return u.Put(Prefix+s.ID, s) }

// Check returns the subscription that a notification is of: work.ErrNotFound where the unit's tenant has none with the id, or had it
// until it expired, and ErrSecret where the clientState is another.
func Check(ctx context.Context, u *work.Unit, id, clientState string) (Subscription, error) {
	var s Subscription
	err := u.Get(ctx, Prefix+id, &s)
	if errors.Is(err, work.ErrBadKey) || err == nil && !u.Now().Before(s.ExpiresAt) {
		err = work.ErrNotFound
	}
	if err != nil {
		return Subscription{}, fmt.Errorf("read subscription: %w", err)
	}
	if len(s.Hash) == 0 || subtle.ConstantTimeCompare(hashOf(clientState), s.Hash) != 1 {
		return Subscription{}, fmt.Errorf("subscription %s: %w", s.ID, ErrSecret)
	}
	return s, nil
}
