package desk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/functions/web/internal/problem"
	"pinreset/shared/devicekey"
	"pinreset/shared/devicereport"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/identity"
	"pinreset/shared/tenant"
	"pinreset/shared/webhook"
	"pinreset/shared/work"
)

// NewDeviceKey asks for a key with which a device signs its reports.
type NewDeviceKey struct {
	Kind      string `json:"kind,omitempty" enum:"hmac,ed25519" default:"ed25519" doc:"How reports are signed: ed25519 (v1a of Standard Webhooks) or hmac (v1)"`
	PublicKey string `json:"publicKey,omitempty" maxLength:"200" doc:"Of a pair that the device made itself, as whpk_…; then no key is made here and none travels"`
	Reason    string `json:"reason,omitempty" doc:"Why, for the audit log"`
}

// DeviceKey is a key as it is shown.
type DeviceKey struct {
	devicekey.Key
	Callback   string    `json:"callback" doc:"Path that the device reports to"`
	LastReport time.Time `json:"lastReport,omitzero" doc:"When the device's latest report came, where this key signed it"`
}

// MadeDeviceKey is a key that was made. What the device signs with is in the first answer and nowhere else: who lost it revokes
// the key and makes another one.
type MadeDeviceKey struct {
	DeviceKey
	Text string `json:"key,omitempty" doc:"What the device signs with, as whsec_… or whsk_…; shown this once"`
}

// known refuses a device that the tenant does not have: neither has it a key or a report, nor does Intune know it. It returns the
// form in which the id is stored. On premises no register of devices can be asked, so any id that its operator gives a device is one.
func (r *Room) known(ctx context.Context, u *work.Unit, id string) (string, error) {
	if !events.IsGUID(id) {
		return "", missing(nil)
	}
	id = strings.ToLower(id)
	if keys, err := devicekey.List(ctx, u, id); err != nil || len(keys) > 0 || r.tenant.Kind == tenant.OnPremises {
		return id, err
	}
	_, err := r.desk.o.Devices.ManagedDevice(graph.WithPriority(ctx, graph.People), r.ID(), id)
	if errors.Is(err, graph.ErrNotFound) {
		return "", missing(err)
	}
	return id, err
}

// DeviceKeys lists the keys of a device, newest first.
func (r *Room) DeviceKeys(ctx context.Context, id string) (List[DeviceKey], error) {
	if err := r.Need(identity.DeviceRead); err != nil {
		return List[DeviceKey]{}, err
	}
	u := r.unit()
	id, err := r.known(ctx, u, id)
	if err != nil {
		return List[DeviceKey]{}, err
	}
	keys, err := devicekey.List(ctx, u, id)
	if err != nil {
		return List[DeviceKey]{}, err
	}
	last, err := devicereport.LoadReporter(ctx, u, id)
	if err != nil {
		return List[DeviceKey]{}, fmt.Errorf("read reporter %s: %w", id, err)
	}
	out := listOf[DeviceKey](nil)
	for _, k := range keys {
		shown := r.deviceKey(k)
		if last.KeyID == k.ID {
			shown.LastReport = last.At
		}
		out.Items = append(out.Items, shown)
	}
	return out, nil
}

func (r *Room) deviceKey(k devicekey.Key) DeviceKey {
	return DeviceKey{Key: k, Callback: "/callbacks/devices/" + k.Address(r.ID())}
}

// MakeDeviceKey makes a key for one device.
func (r *Room) MakeDeviceKey(ctx context.Context, key, id string, in NewDeviceKey) (Answer[MadeDeviceKey], error) {
	var none Answer[MadeDeviceKey]
	if err := r.Need(identity.DeviceKeyWrite); err != nil {
		return none, err
	}
	scheme, err := schemeOf(in)
	if err != nil {
		return none, err
	}
	if err := checkWhy(in.Reason, "", false); err != nil {
		return none, err
	}
	c, err := r.call(key, "make device key "+strings.ToLower(id), in)
	if err != nil {
		return none, err
	}
	device, err := r.known(ctx, r.unit(), id)
	if err != nil {
		return none, err
	}
	made, text := "", "" // of the last attempt, which may not be the one that holds
	answer, err := once(ctx, r.desk, r.ID(), c, func(u *work.Unit) (Answer[MadeDeviceKey], error) {
		var k devicekey.Key
		var err error
		k, text, err = r.desk.o.DeviceKeys.Add(ctx, u, devicekey.Request{Device: device, Scheme: scheme, Public: in.PublicKey, Reason: in.Reason, By: r.who.Operator()})
		switch {
		case errors.Is(err, devicekey.ErrTooMany):
			return none, problem.Refuse(fault.StateConflict, fmt.Sprintf("The device has %d valid keys already; revoke one first.", devicekey.MaxValid))
		case errors.Is(err, devicekey.ErrShared):
			return none, problem.Refuse(fault.StateConflict, "The public key was given before. Each device needs a key of its own, and a revoked one does not come back.")
		case errors.Is(err, webhook.ErrKey):
			return none, invalid("body.publicKey", "must be the public half of an Ed25519 key, as whpk_ and base64")
		case err != nil:
			return none, err
		}
		made = k.ID
		return Answer[MadeDeviceKey]{Status: http.StatusCreated, Location: r.keysPath(device), Body: MadeDeviceKey{DeviceKey: r.deviceKey(k)}}, nil
	})
	if err != nil {
		return none, err
	}
	if answer.Body.ID == made {
		answer.Body.Text = text
	}
	return answer, nil
}

func (r *Room) keysPath(device string) string {
	return "/v1/tenants/" + r.ID() + "/devices/" + device + "/keys"
}

func schemeOf(in NewDeviceKey) (webhook.Scheme, error) {
	switch in.Kind {
	case "", "ed25519":
		return webhook.Ed25519, nil
	case "hmac":
		if in.PublicKey != "" {
			return "", invalid("body.publicKey", "is only for ed25519")
		}
		return webhook.HMAC, nil
	}
	return "", invalid("body.kind", "must be hmac or ed25519")
}

// RevokeDeviceKey ends a key, from the next report on. It asks nobody but the store, so that it works while Graph does not.
func (r *Room) RevokeDeviceKey(ctx context.Context, device, id, reason string) (DeviceKey, error) {
	var none DeviceKey
	if err := r.Need(identity.DeviceKeyWrite); err != nil {
		return none, err
	}
	if err := checkWhy(reason, "", false); err != nil {
		return none, err
	}
	if !events.IsGUID(device) {
		return none, missing(nil)
	}
	var k devicekey.Key
	err := r.desk.change(ctx, r.ID(), func(u *work.Unit) (err error) {
		k, err = devicekey.Revoke(ctx, u, device, id, reason, r.who.Operator())
		return err
	})
	if errors.Is(err, work.ErrNotFound) {
		return none, missing(err)
	}
	return r.deviceKey(k), err
}
