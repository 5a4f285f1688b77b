package client

import (
	"context"
	"iter"
	"net/http"
	"time"

	"pinreset/shared/fault"
	"pinreset/shared/notice"
)

// NotificationEndpoint is an address that notifications are posted to, without all of it but its host.
type NotificationEndpoint struct {
	On    bool       `json:"on"`
	Host  string     `json:"host,omitempty"`
	SetAt time.Time  `json:"setAt,omitzero"`
	Why   fault.Code `json:"why,omitempty"` // it was turned off by the server
}

// NotificationSettings say who of a tenant is told of resets and of looks at codes, and how.
type NotificationSettings struct {
	Contact     string               `json:"contact,omitempty"`
	MailUser    bool                 `json:"mailUser"`
	MailContact bool                 `json:"mailContact"`
	Webhook     NotificationEndpoint `json:"webhook"`
	Teams       NotificationEndpoint `json:"teams"`
	MailServer  bool                 `json:"mailServer"` // whether the server is set up to send mail
}

// NotificationChange names what to change; nil leaves it as it is.
type NotificationChange struct {
	Contact     *string `json:"contact,omitempty"`
	MailUser    *bool   `json:"mailUser,omitempty"`
	MailContact *bool   `json:"mailContact,omitempty"`
	Webhook     *string `json:"webhook,omitempty"` // an address turns it on; "" removes it with its key
	WebhookOn   *bool   `json:"webhookOn,omitempty"`
	Teams       *string `json:"teams,omitempty"` // the same
	TeamsOn     *bool   `json:"teamsOn,omitempty"`
	Reason      string  `json:"reason,omitempty"` // why, for the audit log
}

// ChangedNotifications are the settings after a change, with the webhook's key where its first address made it. It is shown once.
type ChangedNotifications struct {
	NotificationSettings
	WebhookKey Secret `json:"webhookKey,omitzero"`
}

// WebhookKey is the webhook's new key. It is in the server's first answer only.
type WebhookKey struct {
	Host  string    `json:"host"`
	SetAt time.Time `json:"setAt"`
	Key   Secret    `json:"key"`
}

// Notifications lists who was told of resets and of looks at codes, newest first.
func (c *Client) Notifications(ctx context.Context, tenant string) iter.Seq2[notice.Delivery, error] {
	return pages[notice.Delivery](ctx, c, nil, "v1", "tenants", tenant, "notifications")
}

// NotificationSettings reads who is told, and how.
func (c *Client) NotificationSettings(ctx context.Context, tenant string) (s NotificationSettings, err error) {
	_, err = c.do(ctx, get("v1", "tenants", tenant, "notifications", "settings"), &s)
	return s, err
}

// ChangeNotifications changes who is told, and how, and returns all of it. It is sent once.
func (c *Client) ChangeNotifications(ctx context.Context, tenant string, change NotificationChange) (s ChangedNotifications, err error) {
	_, err = c.do(ctx, call{method: http.MethodPatch, path: []string{"v1", "tenants", tenant, "notifications", "settings"}, body: change}, &s)
	return s, err
}

// RotateWebhookKey makes another key for the webhook, from the next attempt on.
func (c *Client) RotateWebhookKey(ctx context.Context, tenant, reason string) (k WebhookKey, err error) {
	_, err = c.do(ctx, post(map[string]string{"reason": reason}, "v1", "tenants", tenant, "notifications", "webhook-key"), &k)
	return k, err
}
