package client

import (
	"context"
	"time"

	"pinreset/shared/callercheck"
)

// CallerCheck is where the check of somebody who calls the help desk stands, for the operator who asked for it.
type CallerCheck struct {
	State     callercheck.State `json:"state"`          // "off" where the tenant asks for none
	Code      string            `json:"code,omitempty"` // that the caller types, while the check waits
	ExpiresAt time.Time         `json:"expiresAt,omitzero"`
	TriesLeft int               `json:"triesLeft,omitempty"`
}

// CallerCheck reads the check for a reset of the device with the id, or for revealing the code of the reset with the id.
func (c *Client) CallerCheck(ctx context.Context, tenant string, action callercheck.Action, id string) (k CallerCheck, err error) {
	_, err = c.do(ctx, get("v1", "tenants", tenant, checkedBy(action), id, "caller-check"), &k)
	return k, err
}

// AskCaller makes a code for the caller, in place of the one before.
func (c *Client) AskCaller(ctx context.Context, tenant string, action callercheck.Action, id string) (k CallerCheck, err error) {
	_, err = c.do(ctx, post(nil, "v1", "tenants", tenant, checkedBy(action), id, "caller-check"), &k)
	return k, err
}

func checkedBy(action callercheck.Action) string {
	if action == callercheck.Reset {
		return "devices"
	}
	return "resets"
}
