// Package subscription keeps which change notifications a tenant was subscribed to at Microsoft Graph, so that one which arrives can be
// believed, and says which ones a tenant should have.
//
// Graph sends notifications to an address that anybody can call. What proves one is its clientState, a secret that was given to
// Graph when the subscription was made and is known to nobody else. Only its hash is kept. The tenant that a notification names says
// where to look; it is believed only if that tenant has the subscription and the secret fits.
//
// Subscriptions are to the members of the groups that a tenant's PIN recovery policies are assigned to, since Graph has none for
// policies, devices and service principals. They are hints: what they tell of, the next audit would have found too.
//
// Sources: Microsoft's pages "Receive change notifications through webhooks" and "subscription resource type".
package subscription

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/shared/policy"
	"pinreset/shared/work"
)

// Queue is where tenants wait whose subscriptions are to be looked after; its messages go to the bulk side.
const Queue work.Queue = "subscription"

// Prefix is the row prefix of subscriptions. Their field "expiresAt" is Graph's own end of them.
const Prefix = "subscription|"

// MaxGroups bounds the groups of a tenant that are subscribed to, below the 100 that Graph lets an application have in one (page
// "subscription resource type").
const MaxGroups = 50

// Subscription is one that Graph holds, or without an ID one that was about to be made.
type Subscription struct {
	ID        string    `json:"id,omitempty"` // Graph's
	Resource  string    `json:"resource"`     // "/groups/{id}/members"
	MadeAt    time.Time `json:"madeAt,omitzero"`
	ExpiresAt time.Time `json:"expiresAt"`
	Hash      []byte    `json:"hash"`           // SHA-256 of the clientState
	Tend      bool      `json:"tend,omitempty"` // Graph has told that it needs looking after
}

// Members is the resource of a group's members.
func Members(group string) string { return "/groups/" + strings.ToLower(group) + "/members" }

// NewSecret returns a clientState for a subscription that is to be made, and its hash. Graph takes at most 128 characters.
func NewSecret() (clear string, hash []byte) {
	clear = rand.Text() + rand.Text()
	return clear, hashOf(clear)
}

func hashOf(clear string) []byte {
	sum := sha256.Sum256([]byte(clear))
	return sum[:]
}

// Proves reports whether a clientState is the subscription's, in a time that does not tell how much of it is.
func (s Subscription) Proves(clientState string) bool {
	return len(s.Hash) > 0 && subtle.ConstantTimeCompare(hashOf(clientState), s.Hash) == 1
}

// Put stages a subscription of the unit's tenant.
func Put(u *work.Unit, s Subscription) error { return u.Put(s.row(), s) }

// Intend stages the intent to subscribe. It is refused with work.ErrConflict where there is one: the subscription that comes of that
// one has its secret, and would be taken for this one's.
func Intend(u *work.Unit, s Subscription) error { return u.Create(s.row(), s) }

// Still makes sure that an intent is as it was read, so that what the unit stages about it is conditional on that. Where another run has
// completed, ended or renewed it meanwhile, it is work.ErrConflict.
func Still(ctx context.Context, u *work.Unit, intent Subscription) error {
	var now Subscription
	switch err := u.Get(ctx, intent.row(), &now); {
	case errors.Is(err, work.ErrNotFound), err == nil && !bytes.Equal(now.Hash, intent.Hash):
		return fmt.Errorf("the intent for %s is another run's by now: %w", intent.Resource, work.ErrConflict)
	default:
		return err
	}
}

// Forget stages that the unit's tenant has no such subscription any more.
func Forget(u *work.Unit, s Subscription) { u.Delete(s.row()) }

// row of one that is about to be made is named by its resource: no notification has such an id.
func (s Subscription) row() string {
	if s.ID == "" {
		return Prefix + "new" + strings.ReplaceAll(s.Resource, "/", ".")
	}
	return Prefix + s.ID
}

// Live returns a subscription that has not run out, or work.ErrNotFound.
func Live(ctx context.Context, u *work.Unit, id string) (Subscription, error) {
	var s Subscription
	err := u.Get(ctx, Prefix+id, &s)
	if errors.Is(err, work.ErrBadKey) || err == nil && !u.Now().Before(s.ExpiresAt) {
		err = work.ErrNotFound
	}
	if err != nil {
		return Subscription{}, fmt.Errorf("read subscription: %w", err)
	}
	return s, nil
}

// List returns all subscriptions of the unit's tenant, those that were about to be made among them.
func List(ctx context.Context, u *work.Unit) (all []Subscription, err error) {
	for page := ""; ; {
		p, err := u.List(ctx, Prefix, 2*MaxGroups, page)
		if err != nil {
			return nil, fmt.Errorf("list subscriptions: %w", err)
		}
		for _, row := range p.Rows {
			var s Subscription
			if err := json.Unmarshal(row.Value, &s); err != nil {
				return nil, fmt.Errorf("decode %s: %w", row.Row, err)
			}
			all = append(all, s)
		}
		if page = p.Next; page == "" {
			return all, nil
		}
	}
}

// Groups are the ids of the groups that policies with PIN recovery are assigned to or kept from, sorted: all of them, which may be
// more than MaxGroups.
func Groups(found []policy.Found) []string {
	var ids []string
	for _, f := range found {
		if f.Setting != policy.PINRecovery || !f.Assigned() {
			continue
		}
		for _, a := range f.Assignments {
			if a.Kind == policy.IncludeGroup || a.Kind == policy.ExcludeGroup {
				ids = append(ids, strings.ToLower(a.GroupID))
			}
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// Ask stages that the tenant's subscriptions are looked after at once.
func Ask(ctx context.Context, u *work.Unit) error {
	_, err := u.Send(ctx, Queue.Bulk(), time.Time{}, events.SubscriptionsDue{RequestID: u.NewID()})
	return err
}

// AskDaily stages the same, once a day however often it is called.
func AskDaily(ctx context.Context, u *work.Unit) error {
	id := fmt.Sprintf("subscriptions.%d", u.Now().Truncate(24*time.Hour).Unix())
	return u.Forward(Queue.Bulk(), time.Time{}, events.Event{ID: id, Tenant: u.Partition(), Time: u.Now(),
		TraceParent: events.TraceFrom(ctx), Data: events.SubscriptionsDue{RequestID: id}})
}
