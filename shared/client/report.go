package client

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/shared/webhook"
)

// DeviceKey is a key with which a device signs its reports, without what it signs with.
type DeviceKey struct {
	ID         string       `json:"id"`
	DeviceID   string       `json:"deviceId"`
	Scheme     string       `json:"scheme"`              // "v1" (HMAC) or "v1a" (Ed25519)
	PublicKey  string       `json:"publicKey,omitempty"` // of an Ed25519 key
	CreatedAt  time.Time    `json:"createdAt"`
	CreatedBy  events.Actor `json:"createdBy"`
	RevokedAt  time.Time    `json:"revokedAt,omitzero"`
	RevokedBy  string       `json:"revokedBy,omitempty"`
	Callback   string       `json:"callback"` // path that the device reports to
	LastReport time.Time    `json:"lastReport,omitzero"`
}

// NewDeviceKey is what it takes to make a key of a device.
type NewDeviceKey struct {
	Kind      string `json:"kind,omitempty"`      // "ed25519" (the default) or "hmac"
	PublicKey string `json:"publicKey,omitempty"` // where the device has made its own pair
	Reason    string `json:"reason,omitempty"`
}

// CreatedDeviceKey is a new key with what the device signs with. That is in the server's first answer only, and not at all where
// the device has made its own pair.
type CreatedDeviceKey struct {
	DeviceKey
	Secret Secret `json:"key"`
}

// DeviceReport is a report of a device, as far as it was understood.
type DeviceReport struct {
	ID      string            `json:"id"`
	KeyID   string            `json:"keyId"`
	At      time.Time         `json:"at"`
	ReadAt  time.Time         `json:"readAt,omitzero"`
	Resets  []PINReset        `json:"resets"`
	Unknown int               `json:"unknown,omitempty"`
	Facts   map[string]string `json:"facts,omitempty"` // of the newest report
}

// PINReset is a reset of a PIN that a report tells of.
type PINReset struct {
	At          time.Time `json:"at"`
	Kind        string    `json:"kind,omitempty"`    // "non-destructive" or "destructive"
	Outcome     string    `json:"outcome,omitempty"` // "succeeded" or "failed"; "" is that it was begun
	Signal      string    `json:"signal,omitempty"`
	Meanings    []string  `json:"meanings,omitempty"`
	Diagnostics string    `json:"diagnostics,omitempty"`
}

// DeviceKeys lists the keys of a device, newest first.
func (c *Client) DeviceKeys(ctx context.Context, tenant, device string) iter.Seq2[DeviceKey, error] {
	return func(yield func(DeviceKey, error) bool) {
		var list struct {
			Items []DeviceKey `json:"items"`
		}
		if _, err := c.do(ctx, get("v1", "tenants", tenant, "devices", device, "keys"), &list); err != nil {
			yield(DeviceKey{}, err)
			return
		}
		for _, k := range list.Items {
			if !yield(k, nil) {
				return
			}
		}
	}
}

// CreateDeviceKey makes a key for a device.
func (c *Client) CreateDeviceKey(ctx context.Context, tenant, device string, n NewDeviceKey) (k CreatedDeviceKey, err error) {
	_, err = c.do(ctx, post(n, "v1", "tenants", tenant, "devices", device, "keys"), &k)
	return k, err
}

// RevokeDeviceKey ends a key with effect on the next report. Doing it twice is doing it once.
func (c *Client) RevokeDeviceKey(ctx context.Context, tenant, device, id, reason string) (k DeviceKey, err error) {
	q := url.Values{}
	if reason != "" {
		q.Set("reason", reason)
	}
	_, err = c.do(ctx, call{method: http.MethodDelete, path: []string{"v1", "tenants", tenant, "devices", device, "keys", id}, query: q, repeat: safe}, &k)
	return k, err
}

// DeviceReports lists what a device reported, newest first.
func (c *Client) DeviceReports(ctx context.Context, tenant, device string) iter.Seq2[DeviceReport, error] {
	return pages[DeviceReport](ctx, c, nil, "v1", "tenants", tenant, "devices", device, "reports")
}

// SendReport sends a device's report, signed with its key, to the path that the key was given with it, and returns the report's id. No
// token is needed. id names the report: sent again with the same one and body, it is taken once.
func (c *Client) SendReport(ctx context.Context, callback string, key webhook.Signer, id string, at time.Time, body []byte) (report string, err error) {
	var taken struct {
		ID string `json:"id"`
	}
	_, err = c.do(ctx, call{
		method: http.MethodPost, path: strings.Split(strings.Trim(callback, "/"), "/"), body: json.RawMessage(body),
		header: webhook.Sign(key, id, at, body), repeat: safe,
	}, &taken)
	return taken.ID, err
}
