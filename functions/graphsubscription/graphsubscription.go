// Package graphsubscription looks after a tenant's subscriptions to change notifications at Microsoft Graph:
//
//	daily, a setting, an audit that found other groups, Graph itself → due → what should there be? what is there?
//	          → wanted and not there: intent on stable storage → subscribe
//	          → half of its life is over, or Graph asks for it: renew
//	          → not wanted any more, or nobody here knows it: end
//
// Wanted are the groups that a tenant's PIN recovery policies are assigned to, by its last audit, where the tenant opted into it and
// Graph can reach the callback. What an audit could not read ends nothing.
//
// Subscribing is not repeatable: a second one would tell everything twice. The intent, with the hash of its secret, is committed
// before the call, and whoever finds an intent without a result reads what Graph has. Renewing and ending may be repeated.
//
// It looks once a day and a subscription lives for 29, so a message or a day that is lost costs nothing. A tenant without
// notifications is read by its audits all the same.
//
// Sources: Microsoft's pages "subscription resource type" and "Reduce missing subscriptions and change notifications".
package graphsubscription

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/shared/diag"
	"pinreset/shared/dispatch"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/policy"
	"pinreset/shared/subscription"
	"pinreset/shared/survey"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

// subscriptions is what the function needs of Graph.
type subscriptions interface {
	Subscriptions(ctx context.Context, tenant string) ([]graph.Subscription, error)
	SubscribeMembers(ctx context.Context, tenant, groupID, notificationURL, clientState string, expires time.Time) (graph.Subscription, error)
	RenewSubscription(ctx context.Context, tenant, id string, expires time.Time) error
	Unsubscribe(ctx context.Context, tenant, id string) error
}

const (
	// life is below the longest that Graph allows, which is counted by its own clock.
	life = graph.SubscriptionLife - time.Hour
	// renewal is how long before its end one is renewed: there are a fortnight's days to do it in.
	renewal = life / 2
	// trace is how long the list can't be relied on to show what was made.
	trace = 2 * time.Minute
)

// Handler handles a tenant's subscriptions.
type Handler struct {
	Graph subscriptions
	Store work.Store // for the register of tenants
	// Callback is the address that Graph sends to. With "" nothing is subscribed to.
	Callback string
}

// Route binds the handler to its queue.
func (h *Handler) Route() dispatch.Route {
	return dispatch.Route{Function: "graphsubscription", Queue: subscription.Queue, Handlers: []dispatch.Handler{dispatch.On(h.due, nil)}}
}

func (h *Handler) due(ctx context.Context, u *work.Unit, _ events.Event, _ events.SubscriptionsDue) error {
	t, err := tenant.Get(ctx, h.Store, u.Partition())
	switch {
	case errors.Is(err, work.ErrNotFound):
		return nil // offboarded meanwhile
	case err != nil:
		return err
	case t.InEntra() != nil:
		return nil
	}
	wanted, whole, err := h.wanted(ctx, u)
	if err != nil {
		return err
	}
	held, err := subscription.List(ctx, u)
	if err != nil || len(wanted) == 0 && len(held) == 0 {
		return err
	}
	there, err := h.Graph.Subscriptions(ctx, u.Partition())
	if err != nil {
		return err
	}
	there = slices.DeleteFunc(there, func(s graph.Subscription) bool { return !h.ours(s, held) })
	if held, err = reconcile(ctx, u, held, there); err != nil {
		return err
	}
	if err := h.endUnknown(ctx, u, held, there); err != nil {
		return err
	}
	have := map[string]bool{}
	for _, s := range held {
		asked := slices.ContainsFunc(wanted, func(group string) bool { return subscription.Members(group) == s.Resource })
		kept, err := h.tend(ctx, u, s, !asked && whole || have[s.Resource], there)
		if err != nil {
			return err
		}
		have[s.Resource] = have[s.Resource] || kept
	}
	for _, group := range wanted {
		if !have[subscription.Members(group)] {
			if err := h.subscribe(ctx, u, group); err != nil {
				return err
			}
		}
	}
	return nil
}

// wanted are the groups to be subscribed to. whole is false where not all of them are known, so that none may be ended for not
// being among them.
func (h *Handler) wanted(ctx context.Context, u *work.Unit) (groups []string, whole bool, err error) {
	settings, err := tenant.ReadSettings(ctx, u)
	if err != nil || !settings.GraphNotifications || h.Callback == "" {
		return nil, true, err
	}
	last, err := survey.ReadLast(ctx, u)
	if err != nil {
		return nil, false, err
	}
	var found []policy.Found
	whole = true
	for _, store := range policy.Stores {
		some, read := last.Known.Policies[store].Get()
		found, whole = append(found, some...), whole && read
	}
	groups = subscription.Groups(found)
	if n := len(groups); n > subscription.MaxGroups {
		diag.Decide(ctx, u.Now(), fmt.Sprintf("%d groups are assigned to, and %d of them are subscribed to", n, subscription.MaxGroups))
		groups = groups[:subscription.MaxGroups]
	}
	return groups, whole, nil
}

// ours reports whether a subscription of our application is this program's: it sends to the callback, or is known here. Another
// program may share the application.
func (h *Handler) ours(s graph.Subscription, held []subscription.Subscription) bool {
	return h.Callback != "" && s.NotificationURL == h.Callback && strings.HasSuffix(strings.ToLower(s.Resource), "/members") ||
		slices.ContainsFunc(held, func(k subscription.Subscription) bool { return k.ID == strings.ToLower(s.ID) })
}

// reconcile brings intents to their end: one whose subscription is there is complete, one that may still show up is waited for.
func reconcile(ctx context.Context, u *work.Unit, all []subscription.Subscription, there []graph.Subscription) (held []subscription.Subscription, err error) {
	for _, s := range all {
		if s.ID != "" {
			held = append(held, s)
		}
	}
	for _, intent := range all {
		if intent.ID != "" {
			continue
		}
		i := slices.IndexFunc(there, func(g graph.Subscription) bool {
			known := slices.ContainsFunc(held, func(s subscription.Subscription) bool { return s.ID == strings.ToLower(g.ID) })
			// The end is what tells this one from one that was made with another secret.
			return !known && sameResource(g.Resource, intent.Resource) && g.Expires.Equal(intent.ExpiresAt)
		})
		if wait := intent.MadeAt.Add(trace).Sub(u.Now()); i < 0 && wait > 0 {
			return nil, fault.After(min(wait, trace), fault.WaitingForDirectory, fmt.Errorf("subscription to %s was asked for and is not shown yet", intent.Resource))
		}
		if err := subscription.Still(ctx, u, intent); err != nil {
			return nil, err
		}
		subscription.Forget(u, intent)
		if i >= 0 {
			made := intent
			made.ID = strings.ToLower(there[i].ID)
			if err := subscription.Put(u, made); err != nil {
				return nil, err
			}
			held = append(held, made)
			diag.Decide(ctx, u.Now(), "a subscription whose answer was lost is there: "+made.Resource)
		}
		if err := u.Checkpoint(ctx); err != nil {
			return nil, fmt.Errorf("record subscription to %s: %w", intent.Resource, err)
		}
	}
	return held, nil
}

func sameResource(a, b string) bool {
	return strings.EqualFold(strings.Trim(a, "/"), strings.Trim(b, "/"))
}

// endUnknown ends subscriptions whose secret nobody here knows: nothing that they tell would be believed.
func (h *Handler) endUnknown(ctx context.Context, u *work.Unit, held []subscription.Subscription, there []graph.Subscription) error {
	for _, g := range there {
		if slices.ContainsFunc(held, func(s subscription.Subscription) bool { return s.ID == strings.ToLower(g.ID) }) {
			continue
		}
		if err := h.Graph.Unsubscribe(ctx, u.Partition(), g.ID); err != nil && !errors.Is(err, graph.ErrNotFound) {
			return err
		}
		diag.Decide(ctx, u.Now(), "ended a subscription that nobody here knows: "+g.Resource)
	}
	return nil
}

// tend ends or renews a subscription that is held, and forgets one that Graph does not have. It returns whether the subscription
// stays.
func (h *Handler) tend(ctx context.Context, u *work.Unit, s subscription.Subscription, end bool, there []graph.Subscription) (stays bool, err error) {
	// Read again: what is written is conditional on it, and a notification may have marked it meanwhile.
	s, err = subscription.Live(ctx, u, s.ID)
	if errors.Is(err, work.ErrNotFound) {
		return false, nil // it has run out, and housekeeping takes the row
	}
	if err != nil {
		return false, err
	}
	shown := slices.ContainsFunc(there, func(g graph.Subscription) bool { return strings.ToLower(g.ID) == s.ID })
	expires := u.Now().Add(life).Truncate(time.Second)
	switch {
	case end:
		err = h.Graph.Unsubscribe(ctx, u.Partition(), s.ID)
	case !shown && u.Now().Sub(s.MadeAt) >= trace:
		err = graph.ErrNotFound
	case s.Tend || s.ExpiresAt.Sub(u.Now()) < renewal:
		if err = h.Graph.RenewSubscription(ctx, u.Partition(), s.ID, expires); err == nil {
			s.ExpiresAt, s.Tend, stays = expires, false, true
			err = subscription.Put(u, s)
		}
	default:
		return true, nil
	}
	if err != nil && !errors.Is(err, graph.ErrNotFound) {
		return false, err
	}
	if !stays {
		subscription.Forget(u, s)
	}
	if err := u.Checkpoint(ctx); err != nil {
		return false, fmt.Errorf("record subscription to %s: %w", s.Resource, err)
	}
	return stays, nil
}

// subscribe makes a subscription to a group's members. A group that is gone has none.
func (h *Handler) subscribe(ctx context.Context, u *work.Unit, group string) error {
	clear, hash := subscription.NewSecret()
	intent := subscription.Subscription{Resource: subscription.Members(group), MadeAt: u.Now(), ExpiresAt: u.Now().Add(life).Truncate(time.Second), Hash: hash}
	if err := errors.Join(subscription.Intend(u, intent), u.Checkpoint(ctx)); err != nil {
		return fmt.Errorf("record intent to subscribe to %s: %w", intent.Resource, err)
	}
	made, err := h.Graph.SubscribeMembers(ctx, u.Partition(), group, h.Callback, clear, intent.ExpiresAt)
	switch {
	case errors.Is(err, graph.ErrOutcomeUnknown):
		return fault.After(trace, fault.WaitingForDirectory, err)
	case errors.Is(err, graph.ErrNotFound):
		diag.Decide(ctx, u.Now(), "group "+group+" is gone, and has no subscription")
	case err != nil:
		// Nothing was made. The intent that stays makes whoever comes next look, which is once too often and does no harm.
		return err
	default:
		s := intent
		s.ID, s.ExpiresAt = strings.ToLower(made.ID), made.Expires
		if err := subscription.Put(u, s); err != nil {
			return err
		}
	}
	subscription.Forget(u, intent)
	if err := u.Checkpoint(ctx); err != nil {
		return fmt.Errorf("record subscription to %s: %w", intent.Resource, err)
	}
	return nil
}
