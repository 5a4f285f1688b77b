package events

import "time"

// DeviceReported tells that a device has sent a report about itself, which is kept under the request's id and waits to be read.
type DeviceReported struct {
	RequestID string `json:"requestId"` // id of the report
	DeviceID  string `json:"deviceId"`
}

func (DeviceReported) Kind() string       { return "device.reported.v1" }
func (d DeviceReported) Request() string  { return d.RequestID }
func (d DeviceReported) subject() Subject { return device(d.DeviceID) }

// Device is the managed device that the report is of.
func (d DeviceReported) Device() string { return d.DeviceID }

// Validate implements Data.
func (d DeviceReported) Validate() error {
	return check(id("requestId", d.RequestID), guid("deviceId", d.DeviceID))
}

// What a PIN reset did to the user's keys.
const (
	KeysKept     = "kept"
	KeysReplaced = "replaced"
	KeysUnknown  = "unknown" // the device does not say
)

// DevicePINReset tells that a user has reset the PIN of a device, as the device says. One that failed raises a failure instead.
type DevicePINReset struct {
	RequestID string    `json:"requestId"` // id of the report that told of it
	DeviceID  string    `json:"deviceId"`
	ResetAt   time.Time `json:"resetAt"` // by the device's clock
	Keys      string    `json:"keys"`
}

func (DevicePINReset) Kind() string       { return "device.pin.reset.v1" }
func (d DevicePINReset) Request() string  { return d.RequestID }
func (d DevicePINReset) subject() Subject { return device(d.DeviceID) }

// Validate implements Data.
func (d DevicePINReset) Validate() error {
	if d.ResetAt.IsZero() {
		return &FieldError{"resetAt", "is missing"}
	}
	return check(id("requestId", d.RequestID), guid("deviceId", d.DeviceID), oneOf("keys", d.Keys, KeysKept, KeysReplaced, KeysUnknown))
}
