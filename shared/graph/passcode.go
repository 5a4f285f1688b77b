package graph

import (
	"context"
	"fmt"
	"strings"
	"time"

	"pinreset/shared/secret"
)

// ActionState is how far a remote action is. A state that is not listed here is kept as it came.
type ActionState string

// States of a remote action: the enum actionState.
const (
	ActionNone         ActionState = "none"
	ActionPending      ActionState = "pending"
	ActionCanceled     ActionState = "canceled"
	ActionActive       ActionState = "active"
	ActionDone         ActionState = "done"
	ActionFailed       ActionState = "failed"
	ActionNotSupported ActionState = "notSupported"
)

// PasscodeAction is Intune's entry of a passcode reset.
type PasscodeAction struct {
	State     ActionState
	Started   time.Time
	Updated   time.Time
	ErrorCode int         // meanings are not published: show the number
	Passcode  secret.Text // only once done, and only on Android
}

// PasscodeReading is what one read of a device says about its passcode reset.
type PasscodeReading struct {
	Device  ManagedDevice   // ID, DeviceName, UserID, Enrolled and LastSync only
	Action  *PasscodeAction // nil: no entry since the moment that was asked for
	Version string          // that answered, V1 or Beta
	// ServerDate is the server's clock when it answered; zero where the answer had none.
	ServerDate time.Time
}

// Format prints an action without its passcode under every verb. secret.Text can't see to that alone: under a verb that does
// not suit, fmt prints what is behind a pointer without asking it.
func (a PasscodeAction) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "{%s started %s updated %s error %d", a.State, a.Started.Format(time.RFC3339), a.Updated.Format(time.RFC3339), a.ErrorCode)
	if !a.Passcode.Empty() {
		fmt.Fprintf(f, " passcode %v", a.Passcode)
	}
	fmt.Fprint(f, "}")
}

// Format prints a reading without the passcode.
func (r PasscodeReading) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "{device %s %s", r.Version, r.Device.ID)
	if r.Action != nil {
		fmt.Fprintf(f, " %v", *r.Action)
	}
	fmt.Fprint(f, "}")
}

// StartSkew is how much earlier than the server's Date of our POST an entry may say it started: both are Microsoft's
// clocks, but not one machine's, and Date has whole seconds. Two calls for one device that are closer than twice this can't be
// told apart by their entries.
const StartSkew = 5 * time.Second

// PasscodeResult reads a device with its newest passcode reset that started at notBefore, the server's time of the
// request, or later. Only a read of a single device with these fields carries results.
func (c *Client) PasscodeResult(ctx context.Context, tenant, id string, notBefore time.Time) (PasscodeReading, error) {
	return c.passcodeResult(ctx, tenant, id, notBefore, V1)
}

// PasscodeResultBeta reads the same through beta, which some have seen carry a passcode that v1.0 left out. It is
// for a result that is done without one, once.
func (c *Client) PasscodeResultBeta(ctx context.Context, tenant, id string, notBefore time.Time) (PasscodeReading, error) {
	return c.passcodeResult(ctx, tenant, id, notBefore, Beta)
}

// actionResult is an element of deviceActionResults.
type actionResult struct {
	Type      string      `json:"@odata.type"`
	Name      string      `json:"actionName"`
	State     ActionState `json:"actionState"`
	Started   time.Time   `json:"startDateTime"`
	Updated   time.Time   `json:"lastUpdatedDateTime"`
	ErrorCode int         `json:"errorCode"`
	Passcode  secret.Text `json:"passcode"`
}

func (r actionResult) isPasscodeReset() bool {
	return bare(r.Type) == "microsoft.graph.resetPasscodeActionResult" || strings.EqualFold(r.Name, "resetPasscode")
}

func (c *Client) passcodeResult(ctx context.Context, tenant, id string, notBefore time.Time, version string) (PasscodeReading, error) {
	if err := checkIDs("tenant", tenant, "device", id); err != nil {
		return PasscodeReading{}, err
	}
	r := get(devicesPath + "/" + id + query("$select", "id,deviceName,userId,enrolledDateTime,lastSyncDateTime,deviceActionResults"))
	r.version, r.secret = version, true
	var d struct {
		ManagedDevice
		Results []actionResult `json:"deviceActionResults"`
	}
	a, _, err := c.general.send(ctx, tenant, r)
	if err == nil {
		err = a.decodeOne(&d)
	}
	if err != nil {
		return PasscodeReading{}, fmt.Errorf("read actions of device %s: %w", id, err)
	}
	return PasscodeReading{Device: d.ManagedDevice.inUTC(), Action: newestReset(d.Results, notBefore), Version: version, ServerDate: a.date}, nil
}

func newestReset(results []actionResult, notBefore time.Time) *PasscodeAction {
	var newest *PasscodeAction
	for _, r := range results {
		if !r.isPasscodeReset() || r.Started.Before(notBefore.Add(-StartSkew)) {
			continue
		}
		if newest != nil && (r.Started.Before(newest.Started) || r.Started.Equal(newest.Started) && r.Updated.Before(newest.Updated)) {
			continue
		}
		newest = &PasscodeAction{r.State, r.Started.UTC(), r.Updated.UTC(), r.ErrorCode, r.Passcode}
	}
	return newest
}
