package events

import "time"

// What a notification is of.
const (
	NoticeResetStarted     = "reset.started"
	NoticeResetEnded       = "reset.ended"
	NoticePasscodeRevealed = "passcode.revealed"
)

// Who did what a notification is of: a class, never a name.
const (
	NoticeByOperator = "operator" // somebody with a token or a session
	NoticeByUser     = "user"     // the device's own user
	NoticeBySystem   = "system"   // another system, or pinreset itself
)

// How a reset ended, as its notification says it.
const (
	NoticeIssued    = "issued"    // there is a code
	NoticeRemoved   = "removed"   // the passcode was removed
	NoticeObserved  = "observed"  // Intune's own portal has the code
	NoticeFailed    = "failed"    // the passcode is most likely as it was
	NoticeCancelled = "cancelled" // given up; the device may still carry it out
)

// Ways that a notification takes.
const (
	NoticeByWebhook     = "webhook"
	NoticeByTeams       = "teams"
	NoticeByMailUser    = "mail-user"
	NoticeByMailContact = "mail-contact"
)

// NotificationDue asks for somebody to be told that a reset was started, that one ended, or that a code was shown. It is sent in the
// commit of what it tells of. Without a channel it stands for all of the tenant's; with one it is one delivery.
type NotificationDue struct {
	RequestID string    `json:"requestId"` // names the notification, or the delivery
	ResetID   string    `json:"resetId"`
	DeviceID  string    `json:"deviceId"`
	What      string    `json:"what"`
	Outcome   string    `json:"outcome,omitempty"` // of a reset that ended
	Actor     string    `json:"actor"`
	At        time.Time `json:"at"` // when it happened
	Channel   string    `json:"channel,omitempty"`
}

func (NotificationDue) Kind() string       { return "notification.due.v1" }
func (d NotificationDue) Request() string  { return d.RequestID }
func (d NotificationDue) subject() Subject { return device(d.DeviceID) }

// Device is the managed device that somebody is told of.
func (d NotificationDue) Device() string { return d.DeviceID }

// Validate implements Data.
func (d NotificationDue) Validate() error {
	var outcome, channel error
	if d.Outcome != "" {
		outcome = oneOf("outcome", d.Outcome, NoticeIssued, NoticeRemoved, NoticeObserved, NoticeFailed, NoticeCancelled)
	}
	if d.Channel != "" {
		channel = oneOf("channel", d.Channel, NoticeByWebhook, NoticeByTeams, NoticeByMailUser, NoticeByMailContact)
	}
	return check(id("requestId", d.RequestID), id("resetId", d.ResetID), guid("deviceId", d.DeviceID),
		oneOf("what", d.What, NoticeResetStarted, NoticeResetEnded, NoticePasscodeRevealed), outcome,
		oneOf("actor", d.Actor, NoticeByOperator, NoticeByUser, NoticeBySystem), set("at", d.At), channel)
}
