// Package notification tells people what was done to a device:
//
//	due → which ways are on? → one delivery for each
//	delivery due → sent → taken: done
//	                    → not taken: again, by the schedule of Standard Webhooks
//	                    → not taken for three days: dead letter, and a failure with its page
//	                    → 410: this way is turned off, and a failure with its page
//
// A notification may arrive twice and never less than once: it is sent before it is recorded as sent, and its id, which is the same in
// every attempt, lets the other side tell. Nothing that is sent changes what it tells of, so there is no intent: it is just sent
// again. Its content is fixed when it is split up, but for mail's address, which is read from Graph when the mail is sent.
package notification

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"pinreset/events"
	"pinreset/shared/audit"
	"pinreset/shared/diag"
	"pinreset/shared/dispatch"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/notice"
	"pinreset/shared/passcode"
	"pinreset/shared/webhook"
	"pinreset/shared/work"
)

// Function is the handler's name in records and failures.
const Function = "notification"

// devices is what the function needs of Graph.
type devices interface {
	ManagedDevice(ctx context.Context, tenant, id string) (graph.ManagedDevice, error)
}

// seals opens the addresses of a tenant.
type seals interface {
	Open(ctx context.Context, tenant, channel string, e notice.Endpoint) (notice.Opened, webhook.Signer, error)
}

// Handler sends notifications.
type Handler struct {
	Devices devices
	Seals   seals
	Client  *http.Client // for addresses that tenants chose; see package egress
	Mail    *Mail        // nil where this server sends none
}

// Route binds the handler to its queue.
func (h *Handler) Route() dispatch.Route {
	return dispatch.Route{Function: Function, Queue: notice.Queue, Handlers: []dispatch.Handler{dispatch.On(h.due, failed)}}
}

func (h *Handler) due(ctx context.Context, u *work.Unit, _ events.Event, n events.NotificationDue) error {
	if n.Channel == "" {
		return h.split(ctx, u, n)
	}
	return h.deliver(ctx, u, n)
}

// split stages a delivery for each way that is on.
func (h *Handler) split(ctx context.Context, u *work.Unit, n events.NotificationDue) error {
	settings, err := notice.Read(ctx, u)
	if err != nil {
		return err
	}
	channels := settings.Channels()
	if len(channels) == 0 {
		diag.Decide(ctx, u.Now(), "every way was turned off meanwhile: nobody is told")
		return nil
	}
	r, err := passcode.Read(ctx, u, n.ResetID)
	if err != nil && !errors.Is(err, work.ErrNotFound) {
		return fmt.Errorf("read reset %s: %w", n.ResetID, err)
	}
	if r.DeviceName == "" { // it was not looked at yet
		switch device, err := h.Devices.ManagedDevice(ctx, u.Partition(), n.DeviceID); {
		case err == nil:
			r.DeviceName, r.Platform, r.UserID = device.DeviceName, device.OperatingSystem, device.UserID
		case !errors.Is(err, graph.ErrNotFound):
			return err
		}
	}
	for _, channel := range channels {
		d := notice.Delivery{
			ID: notice.DeliveryID(n.RequestID, channel), Channel: channel, What: n.What, Outcome: n.Outcome, Actor: n.Actor, At: n.At, ResetID: n.ResetID,
			DeviceID: n.DeviceID, DeviceName: r.DeviceName, Platform: r.Platform, UserID: r.UserID, Contact: settings.Contact,
			State: notice.Queued, NextAt: u.Now(),
		}
		switch _, err := notice.ReadDelivery(ctx, u, d.ID); {
		case err == nil:
			continue // its dead letter was replayed
		case !errors.Is(err, work.ErrNotFound):
			return err
		}
		one := n
		one.RequestID, one.Channel = d.ID, channel
		if _, err := u.Send(ctx, notice.Queue, time.Time{}, one); err != nil {
			return err
		}
		if err := notice.WriteDelivery(u, d); err != nil {
			return err
		}
	}
	return nil
}

// deliver makes one attempt.
func (h *Handler) deliver(ctx context.Context, u *work.Unit, n events.NotificationDue) error {
	d, err := notice.ReadDelivery(ctx, u, n.RequestID)
	if errors.Is(err, work.ErrNotFound) {
		return nil // erased, with its tenant or by its age
	}
	if err != nil {
		return err
	}
	switch d.State {
	case notice.Failed: // its dead letter was replayed
		d.State, d.Attempts, d.Diagnostics, d.EndedAt = notice.Queued, 0, "", time.Time{}
	case notice.Sent, notice.Skipped:
		return nil
	}
	settings, err := notice.Read(ctx, u)
	if err != nil {
		return err
	}
	to, err := h.send(ctx, u, settings, d)
	why, skipped := errors.AsType[*skip](err)
	switch {
	case err == nil:
		d.State, d.Attempts = notice.Sent, d.Attempts+1
	case skipped:
		d.State, d.Why = notice.Skipped, why.why
		diag.Decide(ctx, u.Now(), "nobody was told: "+why.why)
	default:
		return again(u, d, to, err)
	}
	d.To, d.EndedAt, d.NextAt, d.Code, d.Problem = to, u.Now(), time.Time{}, "", ""
	return notice.WriteDelivery(u, d)
}

// again stages what is known of an attempt that failed, and returns the verdict. An error that is no attempt's goes back as it came.
func again(u *work.Unit, d notice.Delivery, to string, err error) error {
	bad, ok := errors.AsType[*untaken](err)
	if !ok {
		return err
	}
	if bad.code != "" {
		if bad.code == fault.NotificationGone {
			return fault.Permanent(bad.code, err)
		}
		return fault.SetAside(bad.code, err)
	}
	d.Attempts++
	delay, more := notice.NextDelay(d.Attempts)
	if !more {
		return fault.SetAside(fault.NotificationUndelivered, fmt.Errorf("attempt %d of %d: %w", d.Attempts, notice.MaxAttempts, err))
	}
	d.To, d.Code, d.Problem, d.NextAt = to, fault.NotificationUndelivered, bad.Error(), u.Now().Add(delay)
	if err := notice.WriteDelivery(u, d); err != nil {
		return err
	}
	return fault.After(delay, fault.NotificationUndelivered, err)
}

// failed stages the failed end of a delivery, and turns off a way whose other side wants no more.
func failed(ctx context.Context, u *work.Unit, n events.NotificationDue, code fault.Code) error {
	if n.Channel == "" {
		return nil
	}
	d, err := notice.ReadDelivery(ctx, u, n.RequestID)
	if errors.Is(err, work.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	d.State, d.Code, d.EndedAt, d.NextAt = notice.Failed, code, u.Now(), time.Time{}
	d.Attempts = min(d.Attempts+1, notice.MaxAttempts)
	d.Diagnostics = diag.Link(u.Partition(), diag.IDFor(u.Partition(), d.ID))
	if err := notice.WriteDelivery(u, d); err != nil || code != fault.NotificationGone {
		return err
	}
	settings, err := notice.Read(ctx, u)
	if err != nil {
		return err
	}
	e := settings.Endpoint(n.Channel)
	if e == nil || !e.On {
		return nil
	}
	e.On, e.OffFor = false, code
	return errors.Join(notice.Write(u, settings), audit.Append(u, audit.Entry{
		Actor: events.Pinreset(), Action: audit.NotificationsChanged, RequestID: d.ID, Reason: string(code), Change: map[string]string{n.Channel: "on → off"},
	}))
}

// untaken is an attempt that failed. Its text tells nothing of the address but its host.
type untaken struct {
	code fault.Code // that ends it; "" where it is tried again
	text string
	err  error // may be nil
}

func (e *untaken) Error() string { return e.text }
func (e *untaken) Unwrap() error { return e.err }

// skip says that there is nobody to send to.
type skip struct{ why string }

func (e *skip) Error() string { return e.why }

// send sends a delivery, and returns to whom.
func (h *Handler) send(ctx context.Context, u *work.Unit, s notice.Settings, d notice.Delivery) (to string, err error) {
	switch d.Channel {
	case events.NoticeByWebhook, events.NoticeByTeams:
		return h.post(ctx, u, s, d)
	default:
		return h.mail(ctx, u, s, d)
	}
}
