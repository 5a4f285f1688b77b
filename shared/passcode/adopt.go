package passcode

import (
	"context"
	"errors"
	"time"

	"pinreset/events"
	"pinreset/shared/audit"
	"pinreset/shared/fault"
	"pinreset/shared/work"
)

// Foreign is a reset that somebody started in Intune's own portal.
type Foreign struct {
	RecordID  string // Intune's audit record
	DeviceID  string
	StartedAt time.Time // by Microsoft's clock
	By        string    // whom Intune's record names
	Device    Owner
	Deadline  time.Duration // how long to wait for the device from now on
}

// Owner are the facts of a device when a reset of it was adopted.
type Owner struct {
	Name, Platform, OSVersion, Serial string
	UserID, User                      string
	Enrolled, LastSync                time.Time
	Effect                            string // of a reset; see Eligibility
}

// portalLag is how much later than the action itself Intune may date its audit record of it. Nothing that Microsoft publishes
// says how long that takes. An earlier result of the device is not taken for this one's: [Device.LastResult] remembers those.
const portalLag = 30 * time.Second

// Adopt stages a reset that was started in Intune's own portal, as one that has been called: it is only looked at, and nothing
// is ever sent for it. While the device has a reset that has not ended it stages nothing, and returns that one with existing true.
func Adopt(ctx context.Context, u *work.Unit, f Foreign) (r Reset, existing bool, err error) {
	r, existing, err = begin(ctx, u, Reset{
		ID: u.NewID(), DeviceID: f.DeviceID, State: Waiting, Origin: FromPortal, RecordID: f.RecordID,
		Reason: "Reset passcode in Intune's own portal", By: events.Actor{Kind: events.System, ID: "intune", Name: f.By},
		RequestedAt: f.StartedAt, Deadline: u.Now().Add(f.Deadline),
		DeviceName: f.Device.Name, Platform: f.Device.Platform, OSVersion: f.Device.OSVersion, Serial: f.Device.Serial,
		UserID: f.Device.UserID, User: f.Device.User, EnrolledAt: f.Device.Enrolled, LastSync: f.Device.LastSync,
		Effect: f.Device.Effect, IntentAt: f.StartedAt, CalledAt: f.StartedAt.Add(-portalLag), Why: fault.WaitingForDevice,
	}, audit.ResetAdopted)
	if err != nil || existing {
		return r, existing, err
	}
	look, err := u.Send(ctx, Queue, time.Time{}, events.PasscodeResetCheckDue{RequestID: r.ID, DeviceID: r.DeviceID})
	if err != nil {
		return r, false, err
	}
	r.CheckID, r.NextCheck = look, u.Now()
	_, err = u.Send(ctx, work.Announcements, time.Time{}, events.PasscodeResetAdopted{
		RequestID: r.ID, DeviceID: r.DeviceID, RecordID: f.RecordID, StartedAt: f.StartedAt})
	return r, false, errors.Join(err, Write(u, r))
}

// Cross stages, on a reset that has not ended, that somebody else has reset its device meanwhile, and the warning of it. A
// second record of the same device takes the place of the first.
func Cross(ctx context.Context, u *work.Unit, r Reset, f Foreign) (Reset, error) {
	r.Crossed = &Crossed{RecordID: f.RecordID, By: f.By, At: f.StartedAt}
	_, err := u.Send(ctx, work.Announcements, time.Time{}, events.PasscodeResetCrossed{
		RequestID: r.ID, DeviceID: r.DeviceID, RecordID: f.RecordID, StartedAt: f.StartedAt})
	return r, errors.Join(err, Write(u, r), audit.Append(u, audit.Entry{
		Actor: events.Actor{Kind: events.System, ID: "intune", Name: f.By}, Action: audit.ResetCrossed, DeviceID: r.DeviceID, RequestID: r.ID,
	}))
}
