package graph

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// privileged is the identity that may act on devices. Its permission also wipes, so it can't be handed an address:
// it knows two actions, and builds every path itself.
type privileged struct {
	identity *identity
	own      bool // an app registration of its own
}

// action is a remote action. Another one than these can't be named outside of this file.
type action uint8

const (
	resetPasscode action = iota + 1
	syncDevice
)

func (a action) segment() string {
	switch a {
	case resetPasscode:
		return "resetPasscode"
	case syncDevice:
		return "syncDevice"
	}
	panic("graph: no such action")
}

// target is the action's path after the version; the id must have been checked.
func (a action) target(deviceID string) string {
	return devicesPath + "/" + deviceID + "/" + a.segment()
}

func (p *privileged) act(ctx context.Context, tenant string, what action, deviceID string) (*answer, error) {
	if err := checkIDs("tenant", tenant, "device", deviceID); err != nil {
		return nil, err
	}
	target := what.target(deviceID)
	a, _, err := p.identity.send(ctx, tenant, request{
		method: http.MethodPost, version: V1, target: target, secret: true, oneShot: what == resetPasscode,
		demands: []demand{demandOf(http.MethodPost, target)},
	})
	return a, err
}

// signIn makes sure that there is a token.
func (p *privileged) signIn(ctx context.Context, tenant string) error {
	id := p.identity
	s, err := id.session(tenant)
	if err != nil {
		return err
	}
	started := id.client.limiter.instant()
	limited, cancel := context.WithTimeout(ctx, id.client.timeout)
	defer cancel()
	_, err = s.credential.GetToken(limited, policy.TokenRequestOptions{Scopes: []string{id.scope}, EnableCAE: true})
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	pm := id.client.limiter.attempt(id.app.ClientID, tenant, started)
	return signInVerdict(err, Devices, pm, id.client.now())
}

// Accepted is Graph's word that it took an action. It says nothing about the device.
type Accepted struct {
	ServerDate time.Time // the server's clock, for finding the action's entry; this machine's where the answer had none
	RequestID  string
}

// PrepareReset gets the token that [Client.ResetPasscode] will need, so that little can come between the record of an intent
// and the call itself. A token that is there already costs nothing.
func (c *Client) PrepareReset(ctx context.Context, tenant string) error {
	if err := checkIDs("tenant", tenant); err != nil {
		return err
	}
	if err := c.privileged.signIn(ctx, tenant); err != nil {
		return fmt.Errorf("prepare reset in tenant %s: %w", tenant, err)
	}
	return nil
}

// ResetPasscode asks Intune to reset the passcode of a device. It is sent at most once, and must not be called again for
// the same request unless the error proves that nothing was done: a second reset replaces a code that may have been read
// out already. An error for which errors.Is(err, ErrOutcomeUnknown) holds does not prove it; read [Client.PasscodeResult]
// until the entry appears. Throttled and unavailable answers are of that kind, too.
//
// A refusal by a Multi Admin Approval policy is fault.GraphRefused like any other answer of 400: no code that would tell
// it apart is documented.
func (c *Client) ResetPasscode(ctx context.Context, tenant, id string) (Accepted, error) {
	a, err := c.privileged.act(ctx, tenant, resetPasscode, id)
	if err != nil {
		return Accepted{}, fmt.Errorf("reset passcode of device %s: %w", id, err)
	}
	return c.accepted(a), nil
}

// SyncDevice asks a device to check in. It may be repeated.
func (c *Client) SyncDevice(ctx context.Context, tenant, id string) error {
	if _, err := c.privileged.act(ctx, tenant, syncDevice, id); err != nil {
		return fmt.Errorf("sync device %s: %w", id, err)
	}
	return nil
}

func (c *Client) accepted(a *answer) Accepted {
	if a.date.IsZero() {
		a.date = c.now().UTC()
	}
	return Accepted{ServerDate: a.date, RequestID: a.header.Get("request-id")}
}
