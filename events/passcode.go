package events

import (
	"strings"
	"time"
)

// PasscodeResetRequested asks for the passcode of one device to be reset.
type PasscodeResetRequested struct {
	RequestID string `json:"requestId"` // id of the reset
	DeviceID  string `json:"deviceId"`  // Intune's managed device id
	Reason    string `json:"reason"`    // why, for the audit log
	Ticket    string `json:"ticket,omitempty"`
	By        Actor  `json:"by,omitzero"`
}

func (PasscodeResetRequested) Kind() string       { return "passcode.reset.requested.v1" }
func (d PasscodeResetRequested) Request() string  { return d.RequestID }
func (d PasscodeResetRequested) subject() Subject { return device(d.DeviceID) }

// Device is the managed device that the request is about.
func (d PasscodeResetRequested) Device() string { return d.DeviceID }

// Validate implements Data.
func (d PasscodeResetRequested) Validate() error {
	return check(id("requestId", d.RequestID), guid("deviceId", d.DeviceID),
		CheckText("reason", d.Reason, MaxReason, true), CheckText("ticket", d.Ticket, MaxTicket, false), d.By.validate("by"))
}

// PasscodeResetCheckDue is pinreset's reminder to itself to look for the device's answer.
type PasscodeResetCheckDue struct {
	RequestID string `json:"requestId"`
	DeviceID  string `json:"deviceId"`
}

func (PasscodeResetCheckDue) Kind() string       { return "passcode.reset.checkdue.v1" }
func (d PasscodeResetCheckDue) Request() string  { return d.RequestID }
func (d PasscodeResetCheckDue) subject() Subject { return device(d.DeviceID) }

// Device is the managed device that the request is about.
func (d PasscodeResetCheckDue) Device() string { return d.DeviceID }

// Validate implements Data.
func (d PasscodeResetCheckDue) Validate() error {
	return check(id("requestId", d.RequestID), guid("deviceId", d.DeviceID))
}

// Outcomes of a reset that worked.
const (
	OutcomePasscode = "passcode" // a temporary passcode waits to be revealed
	OutcomeRemoved  = "removed"  // the device has no passcode any more; there is no code
	OutcomeObserved = "observed" // carried out for somebody in Intune's own portal, which shows its code; none is kept here
)

// PasscodeResetIssued tells that the device carried the reset out.
type PasscodeResetIssued struct {
	RequestID string    `json:"requestId"`
	DeviceID  string    `json:"deviceId"`
	Outcome   string    `json:"outcome"`
	ExpiresAt time.Time `json:"expiresAt,omitzero"` // until when the passcode can be revealed
}

func (PasscodeResetIssued) Kind() string       { return "passcode.reset.issued.v1" }
func (d PasscodeResetIssued) Request() string  { return d.RequestID }
func (d PasscodeResetIssued) subject() Subject { return device(d.DeviceID) }

// Validate implements Data.
func (d PasscodeResetIssued) Validate() error {
	if d.Outcome == OutcomePasscode && d.ExpiresAt.IsZero() {
		return &FieldError{"expiresAt", "is missing"}
	}
	return check(id("requestId", d.RequestID), guid("deviceId", d.DeviceID),
		oneOf("outcome", d.Outcome, OutcomePasscode, OutcomeRemoved, OutcomeObserved))
}

// PasscodeResetCancelled tells that an operator gave the reset up. The device may still carry it out; no code is shown.
type PasscodeResetCancelled struct {
	RequestID string `json:"requestId"`
	DeviceID  string `json:"deviceId"`
	Reason    string `json:"reason,omitempty"`
	By        Actor  `json:"by,omitzero"`
}

func (PasscodeResetCancelled) Kind() string       { return "passcode.reset.cancelled.v1" }
func (d PasscodeResetCancelled) Request() string  { return d.RequestID }
func (d PasscodeResetCancelled) subject() Subject { return device(d.DeviceID) }

// Validate implements Data.
func (d PasscodeResetCancelled) Validate() error {
	return check(id("requestId", d.RequestID), guid("deviceId", d.DeviceID),
		CheckText("reason", d.Reason, MaxReason, false), d.By.validate("by"))
}

// PasscodeExpiryDue is pinreset's reminder to itself that a code must be destroyed.
type PasscodeExpiryDue struct {
	RequestID string `json:"requestId"`
	DeviceID  string `json:"deviceId"`
}

func (PasscodeExpiryDue) Kind() string       { return "passcode.expirydue.v1" }
func (d PasscodeExpiryDue) Request() string  { return d.RequestID }
func (d PasscodeExpiryDue) subject() Subject { return device(d.DeviceID) }

// Device is the managed device that the request is about.
func (d PasscodeExpiryDue) Device() string { return d.DeviceID }

// Validate implements Data.
func (d PasscodeExpiryDue) Validate() error {
	return check(id("requestId", d.RequestID), guid("deviceId", d.DeviceID))
}

// PasscodeExpired tells that a code's key was destroyed: no copy of it can be read any more.
type PasscodeExpired struct {
	RequestID string `json:"requestId"`
	DeviceID  string `json:"deviceId"`
}

func (PasscodeExpired) Kind() string       { return "passcode.expired.v1" }
func (d PasscodeExpired) Request() string  { return d.RequestID }
func (d PasscodeExpired) subject() Subject { return device(d.DeviceID) }

// Validate implements Data.
func (d PasscodeExpired) Validate() error {
	return check(id("requestId", d.RequestID), guid("deviceId", d.DeviceID))
}

func device(id string) Subject { return Subject("devices/" + strings.ToLower(id)) }
