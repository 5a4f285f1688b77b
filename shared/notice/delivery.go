package notice

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"pinreset/events"
	"pinreset/shared/fault"
	"pinreset/shared/work"
)

// Prefix is the row prefix of deliveries; they list newest first. Their field "at" says when what they tell of happened.
const Prefix = "notification|"

// State is where a delivery stands.
type State string

// States of a delivery.
const (
	Queued  State = "queued"  // to be sent, or to be tried again
	Sent    State = "sent"    // the other side took it
	Failed  State = "failed"  // given up; see Diagnostics
	Skipped State = "skipped" // there was nobody to send it to; Why says why
)

// Why a delivery was skipped.
const (
	NoAddress     = "no_address"     // the device's user has no mail address
	OtherUser     = "other_user"     // the device has another user by now
	NotConfigured = "not_configured" // this server sends no mail
	TurnedOff     = "turned_off"     // the tenant turned the way off meanwhile
)

// Delivery is one notification on one way.
type Delivery struct {
	ID         string     `json:"id"` // the same in every attempt; a webhook's webhook-id
	Channel    string     `json:"channel"`
	What       string     `json:"what"`
	Outcome    string     `json:"outcome,omitempty"`
	Actor      string     `json:"actor"`
	At         time.Time  `json:"at"` // when it happened
	ResetID    string     `json:"resetId"`
	DeviceID   string     `json:"deviceId"`
	DeviceName string     `json:"deviceName,omitempty"`
	Platform   string     `json:"platform,omitempty"`
	UserID     string     `json:"userId,omitempty"` // of the device's user when it happened
	Contact    string     `json:"contact,omitempty"`
	To         string     `json:"to,omitempty"` // host or mail address that the last attempt went to
	State      State      `json:"state"`
	Why        string     `json:"why,omitempty"`  // it was skipped
	Attempts   int        `json:"attempts"`       // that were made
	Code       fault.Code `json:"code,omitempty"` // of the last attempt, where it failed
	Problem    string     `json:"problem,omitempty"`
	NextAt     time.Time  `json:"nextAt,omitzero"`
	EndedAt    time.Time  `json:"endedAt,omitzero"`
	// Diagnostics leads to the page of a delivery that failed.
	Diagnostics string `json:"diagnostics,omitempty"`
}

// delays are the waits before the attempts after the first, each from the one before: those of the specification "Standard Webhooks",
// section "Deliverability and reliability", 75 hours and 35 minutes in all.
var delays = []time.Duration{
	5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

// MaxAttempts is how often a delivery is tried.
var MaxAttempts = len(delays) + 1

// NextDelay is how long to wait after so many attempts; ok is false when there are no more.
func NextDelay(attempts int) (delay time.Duration, ok bool) {
	if attempts < 1 || attempts > len(delays) {
		return 0, false
	}
	return delays[attempts-1], true
}

// DeliveryID is the id of a notification's delivery on a channel.
func DeliveryID(notification, channel string) string { return notification + "-" + channel }

func deliveryRow(id string) string { return Prefix + work.Descending(id) }

// ReadDelivery returns a delivery of the unit's tenant, or work.ErrNotFound.
func ReadDelivery(ctx context.Context, u *work.Unit, id string) (Delivery, error) {
	var d Delivery
	err := u.Get(ctx, deliveryRow(id), &d)
	return d, err
}

// WriteDelivery stages a delivery.
func WriteDelivery(u *work.Unit, d Delivery) error { return u.Put(deliveryRow(d.ID), d) }

// ListDeliveries returns a page of a tenant's deliveries, newest first.
func ListDeliveries(ctx context.Context, s work.Store, tenant string, limit int, page string) (all []Delivery, next string, err error) {
	p, err := s.List(ctx, work.Query{Partition: tenant, Prefix: Prefix, Limit: limit, Page: page})
	if err != nil {
		return nil, "", fmt.Errorf("list notifications of %s: %w", tenant, err)
	}
	for _, row := range p.Rows {
		var d Delivery
		if err := json.Unmarshal(row.Value, &d); err != nil {
			return nil, "", fmt.Errorf("decode %s: %w", row.Row, err)
		}
		all = append(all, d)
	}
	return all, p.Next, nil
}

// EndedAs is the outcome that a notification of a reset's end names, by the state that the reset ended in; the two share their names.
func EndedAs(state string) string {
	switch state {
	case events.NoticeIssued, events.NoticeRemoved, events.NoticeObserved, events.NoticeFailed:
		return state
	}
	return events.NoticeCancelled
}
