package graphsim

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Times of change notifications (change-notifications-delivery-webhooks.md). How
// often Graph repeats within its four hours is not documented in detail; the
// model gives up sooner.
const (
	handshakeTime = 10 * time.Second // for the answer to a validation token
	deliveryTime  = 3 * time.Second  // for a 2xx
	longestGroup  = 41_760 * time.Minute
)

var deliveryPauses = []time.Duration{0, 500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second}

// A subscription asks for a notification whenever members of a group change.
type subscription struct {
	ID          string    `json:"id"`
	App         string    `json:"app"`
	Group       string    `json:"group"`
	Resource    string    `json:"resource"` // as it was written
	ChangeType  string    `json:"changeType"`
	URL         string    `json:"url"`
	Lifecycle   string    `json:"lifecycle,omitempty"` // where lifecycle notifications go; "" nowhere
	ClientState string    `json:"clientState,omitempty"`
	Expires     time.Time `json:"expires"`
	Deleted     bool      `json:"deleted,omitempty"`
}

func (t *tenant) putSubscription(s subscription) change {
	return change{"subscription/" + t.id + "/" + s.ID, s, func() { t.subscriptions[s.ID] = &s }}
}

// subscriptionsOf lists those that have not run out, of one app or with "" of all.
func (t *tenant) subscriptionsOf(app string, now time.Time) []*subscription {
	return sorted(t.subscriptions, func(s *subscription) bool {
		return !s.Deleted && now.Before(s.Expires) && (app == "" || s.App == app)
	})
}

func renderSubscription(s *subscription) map[string]any {
	var lifecycle any
	if s.Lifecycle != "" {
		lifecycle = s.Lifecycle
	}
	return map[string]any{
		"id": s.ID, "resource": s.Resource, "changeType": s.ChangeType, "notificationUrl": s.URL, "clientState": nil, // never shown again
		"applicationId": s.App, "creatorId": nil, "expirationDateTime": stamp(s.Expires), "includeResourceData": nil,
		"lifecycleNotificationUrl": lifecycle, "latestSupportedTlsVersion": "v1_2", "notificationQueryOptions": nil, "notificationUrlAppId": nil,
		"encryptionCertificate": nil, "encryptionCertificateId": nil,
	}
}

// writtenSubscription reads the body of a new subscription.
func (k *call) writtenSubscription(now time.Time) (subscription, *answer) {
	fail := func(format string, args ...any) (subscription, *answer) {
		a := problem(http.StatusBadRequest, "InvalidRequest", fmt.Sprintf(format, args...))
		return subscription{}, &a
	}
	var in struct {
		ChangeType         string    `json:"changeType"`
		NotificationURL    string    `json:"notificationUrl"`
		LifecycleURL       string    `json:"lifecycleNotificationUrl"`
		Resource           string    `json:"resource"`
		ExpirationDateTime time.Time `json:"expirationDateTime"`
		ClientState        string    `json:"clientState"`
	}
	if err := json.Unmarshal(k.body, &in); err != nil {
		return fail("Unable to read JSON request payload.")
	}
	segments := strings.Split(strings.Trim(in.Resource, "/"), "/")
	if len(segments) != 3 || !strings.EqualFold(segments[0], "groups") || segments[2] != "members" {
		return fail("This model has subscriptions to groups/{id}/members only.")
	}
	for _, target := range []string{in.NotificationURL, cmp.Or(in.LifecycleURL, in.NotificationURL)} {
		u, err := url.Parse(target)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || !loopback(u.Hostname()) {
			return fail("The notificationUrl must be on a loopback host: this model calls nobody else.")
		}
	}
	switch life := in.ExpirationDateTime.Sub(now); {
	case life <= 0 || life > longestGroup:
		return fail("Subscription expiration can only be up to %d minutes in the future.", int(longestGroup.Minutes()))
	case in.ChangeType == "" || len(in.ClientState) > 128:
		return fail("A subscription needs changeType, and a clientState of at most 128 characters.")
	}
	return subscription{
		ID: newID(), App: k.appID, Group: strings.ToLower(segments[1]), Resource: in.Resource, ChangeType: in.ChangeType,
		URL: in.NotificationURL, Lifecycle: in.LifecycleURL, ClientState: in.ClientState, Expires: in.ExpirationDateTime,
	}, nil
}

// handshake asks the webhook to answer a validation token, at both of its
// addresses. It runs before the tenant is locked: the webhook may call Graph
// itself.
func (c *Cloud) handshake(ctx context.Context, k *call) *answer {
	s, refused := k.writtenSubscription(c.now())
	if refused != nil {
		return refused
	}
	targets := []string{s.URL}
	if s.Lifecycle != "" && s.Lifecycle != s.URL {
		targets = append(targets, s.Lifecycle)
	}
	for _, target := range targets {
		if a := c.validate(ctx, target); a != nil {
			return a
		}
	}
	return nil
}

func (c *Cloud) validate(ctx context.Context, target string) *answer {
	token := "Validation: Testing client application reachability. " + newID()
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	u, _ := url.Parse(target)
	query := u.Query()
	query.Set("validationToken", token)
	u.RawQuery = query.Encode()
	said, err := c.post(ctx, u.String(), "text/plain; charset=utf-8", nil)
	if err == nil && strings.TrimSpace(said) == token {
		return nil
	}
	a := problem(http.StatusBadRequest, "ValidationError", "Subscription validation request failed: the notification endpoint must answer 200 with the validation token as text.")
	return &a
}

// post sends to a webhook and returns the text of a 2xx answer.
func (c *Cloud) post(ctx context.Context, target, contentType string, body []byte) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := c.webhooks.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err == nil && (resp.StatusCode < 200 || resp.StatusCode > 299) {
		err = fmt.Errorf("status %d", resp.StatusCode)
	}
	return string(text), err
}

func (c *Cloud) createSubscription(k *call) answer {
	s, refused := k.writtenSubscription(c.now())
	if refused != nil {
		return *refused
	}
	if !slices.ContainsFunc(k.t.liveGroups(), func(g *group) bool { return g.ID == s.Group }) {
		return notFound(s.Group)
	}
	err := c.commit(k.t.putSubscription(s))
	values := renderSubscription(&s)
	values["clientState"] = s.ClientState
	return c.stored(err, k.one(http.StatusCreated, "subscription", "subscriptions", values))
}

func (c *Cloud) listSubscriptions(k *call) answer {
	var rows []map[string]any
	for _, s := range k.t.subscriptionsOf(k.appID, k.v.now) {
		rows = append(rows, renderSubscription(s))
	}
	return k.many("subscription", "subscriptions", rows)
}

func (k *call) subscriptionByKey() (*subscription, answer) {
	_, id := key(k.params[0])
	for _, s := range k.t.subscriptionsOf(k.appID, k.v.now) {
		if s.ID == id {
			return s, answer{}
		}
	}
	return nil, problem(http.StatusNotFound, "ResourceNotFound", "The subscription '"+id+"' does not exist.")
}

func (c *Cloud) getSubscription(k *call) answer {
	s, missing := k.subscriptionByKey()
	if s == nil {
		return missing
	}
	return k.one(http.StatusOK, "subscription", "subscriptions", renderSubscription(s))
}

// patchSubscription renews a subscription; nothing else of it can be changed.
func (c *Cloud) patchSubscription(k *call) answer {
	s, missing := k.subscriptionByKey()
	if s == nil {
		return missing
	}
	var in struct {
		ExpirationDateTime time.Time `json:"expirationDateTime"`
	}
	if err := json.Unmarshal(k.body, &in); err != nil {
		return badRequest("Unable to read JSON request payload.")
	}
	if life := in.ExpirationDateTime.Sub(c.now()); life <= 0 || life > longestGroup {
		return problem(http.StatusBadRequest, "InvalidRequest", "The expirationDateTime is in the past or too far away.")
	}
	next := *s
	next.Expires = in.ExpirationDateTime
	return c.stored(c.commit(k.t.putSubscription(next)), k.one(http.StatusOK, "subscription", "subscriptions", renderSubscription(&next)))
}

func (c *Cloud) deleteSubscription(k *call) answer {
	s, missing := k.subscriptionByKey()
	if s == nil {
		return missing
	}
	gone := *s
	gone.Deleted = true
	return c.stored(c.commit(k.t.putSubscription(gone)), answer{status: http.StatusNoContent})
}

// notify tells the webhooks of a group whose members changed. The caller holds
// the tenant's lock; the calls are made without it. Notifications are the one
// thing that runs by itself: in real time, a few attempts, none after a restart.
func (c *Cloud) notify(t *tenant, before, after *group) {
	changed := []any{}
	for _, m := range after.Members {
		if m.Seq <= before.Seq {
			continue
		}
		one := map[string]any{"id": m.ID}
		if m.Left {
			one["@removed"] = "deleted"
		}
		changed = append(changed, one)
	}
	for _, s := range t.subscriptionsOf("", c.now()) {
		if s.Group != after.ID {
			continue
		}
		if _, lost := t.strikeKind(LostNotification); lost {
			continue
		}
		body, err := json.Marshal(map[string]any{"value": []any{map[string]any{
			"id": newID(), "changeType": "updated", "clientState": s.ClientState, "resource": "Groups/" + s.Group,
			"subscriptionId": s.ID, "subscriptionExpirationDateTime": stamp(s.Expires), "tenantId": t.id,
			"resourceData": map[string]any{
				"@odata.type": "#Microsoft.Graph.Group", "@odata.id": "Groups/" + s.Group, "id": s.Group, "members@delta": changed,
			},
		}}})
		if err != nil {
			c.log.Error("notification not encoded", "err", err)
			continue
		}
		c.deliveries.Go(func() { c.deliver(s.ID, s.URL, body) })
	}
}

// Lifecycle events of subscriptions (change-notifications-lifecycle-events.md).
const (
	ReauthorizationRequired = "reauthorizationRequired"
	SubscriptionRemoved     = "subscriptionRemoved" // the subscription is gone
	NotificationsMissed     = "missed"
)

// TellLifecycle sends a lifecycle event of every subscription to a group of the
// tenant. Those without an address for it are told nothing.
func (c *Cloud) TellLifecycle(tenantRef, groupRef, event string) error {
	return c.change(tenantRef, func(t *tenant) ([]change, error) {
		g, err := t.group(groupRef)
		if err != nil {
			return nil, err
		}
		if event != ReauthorizationRequired && event != SubscriptionRemoved && event != NotificationsMissed {
			return nil, fmt.Errorf("lifecycle event %q: %w", event, ErrInvalid)
		}
		var changes []change
		for _, s := range t.subscriptionsOf("", c.now()) {
			if s.Group != g.ID {
				continue
			}
			if event == SubscriptionRemoved {
				gone := *s
				gone.Deleted = true
				changes = append(changes, t.putSubscription(gone))
			}
			if s.Lifecycle == "" {
				continue
			}
			body, err := json.Marshal(map[string]any{"value": []any{map[string]any{
				"subscriptionId": s.ID, "subscriptionExpirationDateTime": stamp(s.Expires), "tenantId": t.id,
				"clientState": s.ClientState, "lifecycleEvent": event,
			}}})
			if err != nil {
				return nil, err
			}
			c.deliveries.Go(func() { c.deliver(s.ID, s.Lifecycle, body) })
		}
		return changes, nil
	})
}

func (c *Cloud) deliver(id, target string, body []byte) {
	for _, pause := range deliveryPauses {
		if wait(c.running, pause) != nil {
			return
		}
		ctx, cancel := context.WithTimeout(c.running, deliveryTime)
		_, err := c.post(ctx, target, "application/json", body)
		cancel()
		if err == nil {
			return
		}
		c.log.Info("notification not taken", "subscription", id, "err", err)
	}
}
