// Package notice tells people of what was done to a device: that a reset was started, how it ended, and each look at a code.
//
// What is to be told is staged in the commit of what it tells of ([Tell]), so neither is there without the other. Who is told, and
// by which ways, is the tenant's choice ([Settings]): the device's user and the tenant's contact by mail, programs of the tenant by a
// signed webhook, a channel of Teams by a workflow. All are off until the tenant turns them on, and none can be turned off for one
// request.
//
// A notification says what, which device, when and what class of actor, and whom to ask if it was not you. It holds no code, no
// link to one, and nothing that anybody wrote as a reason. Each way is a [Delivery] with an id, a state and attempts of its own; the id
// is the same in every attempt, because at least one arrives, and sometimes two.
//
// The package sends nothing. Who does is the function "notification".
package notice

import (
	"context"
	"time"

	"pinreset/events"
	"pinreset/shared/work"
)

// Queue is where notifications wait.
const Queue work.Queue = "notification"

// Notice is what happened.
type Notice struct {
	What     string // events.NoticeResetStarted and its like
	ResetID  string
	DeviceID string
	Outcome  string // of a reset that ended; see events.NoticeIssued and its like
	By       events.Actor
}

// Tell stages a notification on the unit that commits what it tells of, in at most one operation. It reads the tenant's settings, and
// stages nothing where every way is off.
func Tell(ctx context.Context, u *work.Unit, n Notice) error {
	s, err := Read(ctx, u)
	if err != nil || len(s.Channels()) == 0 {
		return err
	}
	_, err = u.Send(ctx, Queue, time.Time{}, events.NotificationDue{
		RequestID: u.NewID(), ResetID: n.ResetID, DeviceID: n.DeviceID, What: n.What, Outcome: n.Outcome, Actor: classOf(n.By), At: u.Now(),
	})
	return err
}

// classOf is the class of an actor: who it was is for the audit log alone.
func classOf(by events.Actor) string {
	if by.Kind == events.Operator {
		return events.NoticeByOperator
	}
	return events.NoticeBySystem
}
