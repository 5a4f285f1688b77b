package graph

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// SubscriptionLife is how long Graph keeps a subscription to groups or their members at most (page "subscription resource
// type": 41,760 minutes).
const SubscriptionLife = 41_760 * time.Minute

// Subscription is a standing order for change notifications: the resource subscription. Graph never gives the client state
// back.
type Subscription struct {
	ID              string    `json:"id"`
	Resource        string    `json:"resource"`
	ChangeType      string    `json:"changeType"`
	NotificationURL string    `json:"notificationUrl"`
	Expires         time.Time `json:"expirationDateTime"`
}

const subscriptionFields = "id,resource,changeType,notificationUrl,expirationDateTime"

// Subscriptions reads the app's own subscriptions in the tenant.
func (c *Client) Subscriptions(ctx context.Context, tenant string) ([]Subscription, error) {
	all, err := readAll[Subscription]("list subscriptions", V1, "/subscriptions"+query("$select", subscriptionFields)).Do(ctx, c, tenant)
	for i := range all {
		all[i].Expires = all[i].Expires.UTC()
	}
	return all, err
}

// SubscribeMembers orders notifications of changes of a group's members, and of what becomes of the subscription, both at one
// address. Graph asks the address for its validation before it answers, so the receiver has to be up. It is sent at most once: after an error for which errors.Is(err, ErrOutcomeUnknown)
// holds, look into [Client.Subscriptions]. clientState comes with each notification; whoever receives one compares it.
func (c *Client) SubscribeMembers(ctx context.Context, tenant, groupID, notificationURL, clientState string, expires time.Time) (Subscription, error) {
	if err := checkIDs("tenant", tenant, "group", groupID); err != nil {
		return Subscription{}, err
	}
	body := struct {
		ChangeType      string `json:"changeType"`
		NotificationURL string `json:"notificationUrl"`
		LifecycleURL    string `json:"lifecycleNotificationUrl"`
		Resource        string `json:"resource"`
		Expires         string `json:"expirationDateTime"`
		ClientState     string `json:"clientState"`
	}{"updated,deleted", notificationURL, notificationURL, "/groups/" + groupID + "/members", expires.UTC().Format(time.RFC3339), clientState}
	a, _, err := c.general.send(ctx, tenant, request{
		method: http.MethodPost, version: V1, target: "/subscriptions", body: body, oneShot: true,
		secret:  true, // the answer may repeat the client state
		demands: []demand{demandOf(http.MethodPost, "/subscriptions")},
	})
	if err != nil {
		return Subscription{}, fmt.Errorf("subscribe to members of group %s: %w", groupID, err)
	}
	var s Subscription
	if err := a.decodeOne(&s); err != nil || s.ID == "" {
		e := &Error{Method: http.MethodPost, Path: a.path, RequestID: a.header.Get("request-id"), Date: a.date, Err: errNoID}
		return Subscription{}, fmt.Errorf("subscribe to members of group %s: %w", groupID, unknown(e))
	}
	s.Expires = s.Expires.UTC()
	return s, nil
}

// RenewSubscription lets a subscription live on. It may be repeated. ErrNotFound means that it has ended.
func (c *Client) RenewSubscription(ctx context.Context, tenant, id string, expires time.Time) error {
	body := struct {
		Expires string `json:"expirationDateTime"`
	}{expires.UTC().Format(time.RFC3339)}
	return c.onSubscription(ctx, tenant, id, http.MethodPatch, "renew", body)
}

// Unsubscribe ends a subscription. ErrNotFound means that it has ended already.
func (c *Client) Unsubscribe(ctx context.Context, tenant, id string) error {
	return c.onSubscription(ctx, tenant, id, http.MethodDelete, "end", nil)
}

func (c *Client) onSubscription(ctx context.Context, tenant, id, method, verb string, body any) error {
	if err := checkIDs("tenant", tenant, "subscription", id); err != nil {
		return err
	}
	target := "/subscriptions/" + id
	_, _, err := c.general.send(ctx, tenant, request{method: method, version: V1, target: target, body: body,
		demands: []demand{demandOf(method, target)}})
	if err != nil {
		return fmt.Errorf("%s subscription %s: %w", verb, id, err)
	}
	return nil
}
