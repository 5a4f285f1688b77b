package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"pinreset/shared/graph"
	"pinreset/shared/policy"
	"pinreset/shared/subscription"
	"pinreset/shared/survey"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

// callbackURL is where Graph sends its notifications. None are sent here: what comes of one is an audit that is asked for.
const callbackURL = "https://pinreset.simulation/callbacks/graph"

// ordered is a subscription that the model of Graph holds.
type ordered struct {
	graph.Subscription
	state string // the secret that comes with each notification
	at    time.Time
}

// planSubscriptions lets a tenant opt into notifications, and Graph ask for a renewal. After the trouble it looks once more, as the
// program does every day.
func (w *world) planSubscriptions(id string) {
	w.at(start.Add(w.upTo(time.Hour)), "opt into notifications", func() { w.notifications(id, true) })
	for i := range w.rng.IntN(10) {
		w.at(start.Add(w.upTo(30*time.Hour)), "opt out of notifications, or into them", func() { w.notifications(id, i%2 == 1) })
	}
	for range 2 + w.rng.IntN(8) {
		w.at(start.Add(w.upTo(30*time.Hour)), "Graph asks to renew", func() { w.tend(id, true) })
	}
	const week = 7 * 24 * time.Hour
	for _, late := range []time.Duration{14 * time.Hour, week + 26*time.Hour, 2*week + 26*time.Hour} {
		w.at(w.stop.Add(late), "look after subscriptions", func() { w.tend(id, false) })
	}
}

func (w *world) notifications(tenantID string, on bool) {
	w.api("settings", tenantID, "", func() { w.notifications(tenantID, on) }, func(ctx context.Context) error {
		return w.persist(ctx, tenantID, func(u *work.Unit) error {
			s, err := tenant.ReadSettings(ctx, u)
			if err != nil {
				return err
			}
			s.GraphNotifications = on
			if err := tenant.WriteSettings(u, s); err != nil {
				return err
			}
			return subscription.Ask(ctx, u)
		})
	})
}

// tend asks for a look, with all there is marked as due where Graph asks for it.
func (w *world) tend(tenantID string, mark bool) {
	w.api("subscriptions", tenantID, "", func() { w.tend(tenantID, mark) }, func(ctx context.Context) error {
		return w.persist(ctx, tenantID, func(u *work.Unit) error {
			if mark {
				all, err := subscription.List(ctx, u)
				if err != nil {
					return err
				}
				for _, s := range all {
					if s, err = subscription.Live(ctx, u, s.ID); s.ID == "" {
						continue
					} else if err != nil {
						return err
					}
					s.Tend = true
					if err := subscription.Put(u, s); err != nil {
						return err
					}
				}
			}
			return subscription.Ask(ctx, u)
		})
	})
}

// Subscriptions is graph.Client's.
func (c *cloud) Subscriptions(_ context.Context, tenant string) ([]graph.Subscription, error) {
	m, err := c.call(listSubscriptions, tenant, "")
	if err != nil {
		return nil, err
	}
	at := c.w.now
	if m == stale {
		at = at.Add(-c.w.upTo(replicaLag))
	}
	var all []graph.Subscription
	d := c.tenants[tenant]
	for _, id := range slices.Sorted(maps.Keys(d.ordered)) {
		if o := d.ordered[id]; !o.at.After(at) && c.w.now.Before(o.Expires) {
			all = append(all, o.Subscription)
		}
	}
	return all, c.w.after(m)
}

// SubscribeMembers is graph.Client's.
func (c *cloud) SubscribeMembers(_ context.Context, tenant, group, url, state string, expires time.Time) (graph.Subscription, error) {
	w := c.w
	var made graph.Subscription
	err := c.write(subscribe, tenant, func(d *directory) error {
		d.serial++
		made = graph.Subscription{ID: fmt.Sprintf("50b50000-0000-4000-8000-%012x", d.serial), Resource: subscription.Members(group), NotificationURL: url, Expires: expires}
		if d.ordered == nil {
			d.ordered = map[string]*ordered{}
		}
		d.ordered[made.ID] = &ordered{made, state, w.now}
		w.tally.subscribed++
		w.note("subscribed", made.ID, group)
		return nil
	})
	return made, err
}

// RenewSubscription is graph.Client's.
func (c *cloud) RenewSubscription(_ context.Context, tenant, id string, expires time.Time) error {
	return c.write(renewSubscription, tenant, func(d *directory) error {
		o := d.ordered[id]
		if o == nil || !c.w.now.Before(o.Expires) {
			return graph.ErrNotFound
		}
		o.Expires = expires
		return nil
	})
}

// Unsubscribe is graph.Client's.
func (c *cloud) Unsubscribe(_ context.Context, tenant, id string) error {
	return c.write(unsubscribe, tenant, func(d *directory) error {
		if d.ordered[id] == nil {
			return graph.ErrNotFound
		}
		delete(d.ordered, id)
		return nil
	})
}

// endSubscriptions is called at the end of a world: who opted in has one subscription for each group that policies are assigned to, of
// which each notification would be believed; nobody has any other.
func (w *world) endSubscriptions() {
	ctx := context.Background()
	for id, d := range w.cloud.tenants {
		u := work.NewUnit(w.store, id, w.clock(), w.newID)
		settings, err := tenant.ReadSettings(ctx, u)
		if err != nil {
			panic(err) // memory
		}
		last, err := survey.ReadLast(ctx, u)
		if err != nil {
			panic(err) // memory
		}
		var found []policy.Found
		whole := true
		for _, store := range policy.Stores {
			some, read := last.Known.Policies[store].Get()
			found, whole = append(found, some...), whole && read
		}
		want := map[string]int{}
		if settings.GraphNotifications {
			for _, group := range subscription.Groups(found) {
				want[subscription.Members(group)] = 1
			}
		}
		have := map[string]int{}
		for _, o := range d.ordered {
			if !w.now.Before(o.Expires) {
				continue
			}
			have[o.Resource]++
			if s, err := subscription.Live(ctx, u, o.ID); err != nil || !s.Proves(o.state) {
				w.violate("I20: a notification of subscription %s of tenant %s would not be believed: %v", o.ID, id, err)
			}
		}
		if whole && !maps.Equal(want, have) {
			w.violate("I20: tenant %s is to be subscribed to %v, and is to %v", id, want, have)
		}
	}
}
