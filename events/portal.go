package events

import (
	"bytes"
	"encoding/json"
	"time"
)

// Object is a JSON object of somebody else's, kept as it came but for its blanks.
type Object json.RawMessage

// MarshalJSON implements json.Marshaler.
func (o Object) MarshalJSON() ([]byte, error) { return json.RawMessage(o).MarshalJSON() }

// UnmarshalJSON implements json.Unmarshaler.
func (o *Object) UnmarshalJSON(raw []byte) error {
	var compact, escaped bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil {
		return err
	}
	json.HTMLEscape(&escaped, compact.Bytes()) // as encoding/json writes it again
	*o = escaped.Bytes()
	return nil
}

// PortalActionRecorded brings what somebody did in Intune's own portal, as Intune's audit log recorded it. Record is passed on
// as it came: an auditEvent of Graph, or what Intune's diagnostic settings export, one record or a wrapper with "records".
// Nothing about its members is checked here: a record that nobody knows is kept and counted, and is no error.
type PortalActionRecorded struct {
	RequestID string `json:"requestId"`
	Record    Object `json:"record"`
	By        Actor  `json:"by,omitzero"` // who sent it; who did it is in the record
}

func (PortalActionRecorded) Kind() string      { return "portal.action.recorded.v1" }
func (d PortalActionRecorded) Request() string { return d.RequestID }
func (PortalActionRecorded) subject() Subject  { return "" }

// Validate implements Data.
func (d PortalActionRecorded) Validate() error {
	if !json.Valid(d.Record) || form(d.Record) != anObject {
		return &FieldError{"record", "must be " + anObject}
	}
	return check(id("requestId", d.RequestID), d.By.validate("by"))
}

// PortalCatchUpDue asks pinreset to read the tenant's audit records that nobody sent. The scheduled audit sends it.
type PortalCatchUpDue struct {
	RequestID string `json:"requestId"`
}

func (PortalCatchUpDue) Kind() string      { return "portal.catchup.due.v1" }
func (d PortalCatchUpDue) Request() string { return d.RequestID }
func (PortalCatchUpDue) subject() Subject  { return "" }

// Validate implements Data.
func (d PortalCatchUpDue) Validate() error { return id("requestId", d.RequestID) }

// PasscodeResetAdopted tells that a reset which somebody started in Intune's own portal is followed from now on. pinreset has
// not called it and never will.
type PasscodeResetAdopted struct {
	RequestID string    `json:"requestId"`
	DeviceID  string    `json:"deviceId"`
	RecordID  string    `json:"recordId"` // of Intune's audit record
	StartedAt time.Time `json:"startedAt"`
}

func (PasscodeResetAdopted) Kind() string       { return "passcode.reset.adopted.v1" }
func (d PasscodeResetAdopted) Request() string  { return d.RequestID }
func (d PasscodeResetAdopted) subject() Subject { return device(d.DeviceID) }

// Validate implements Data.
func (d PasscodeResetAdopted) Validate() error {
	return check(id("requestId", d.RequestID), guid("deviceId", d.DeviceID), id("recordId", d.RecordID), set("startedAt", d.StartedAt))
}

// PasscodeResetCrossed warns that somebody reset the device in Intune's own portal while a reset of ours had not ended: of two
// codes only the later one works, and nothing that Intune tells says whose it is.
type PasscodeResetCrossed struct {
	RequestID string    `json:"requestId"` // our reset
	DeviceID  string    `json:"deviceId"`
	RecordID  string    `json:"recordId"` // of Intune's audit record
	StartedAt time.Time `json:"startedAt"`
}

func (PasscodeResetCrossed) Kind() string       { return "passcode.reset.crossed.v1" }
func (d PasscodeResetCrossed) Request() string  { return d.RequestID }
func (d PasscodeResetCrossed) subject() Subject { return device(d.DeviceID) }

// Validate implements Data.
func (d PasscodeResetCrossed) Validate() error {
	return check(id("requestId", d.RequestID), guid("deviceId", d.DeviceID), id("recordId", d.RecordID), set("startedAt", d.StartedAt))
}

func set(field string, t time.Time) error {
	if t.IsZero() {
		return &FieldError{field, "is missing"}
	}
	return nil
}
