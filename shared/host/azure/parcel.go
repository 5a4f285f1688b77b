package azure

import (
	"context"
	"errors"
	"strings"
	"time"

	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
)

// heldByHost begins the token of a parcel that the Functions host holds, before its lock token.
const heldByHost = "functions-host:"

// hostLock is for how long a parcel of the host's counts as held from now on. The host renews its locks; how often is its matter.
const hostLock = time.Minute

// Queue is a queue driver for a process whose parcels come from the Functions host: what the host holds, the host completes after the
// invocation's answer, renews, and gives back. Everything else is the driver's below, and so are parcels that come from its Receive.
type Queue struct {
	outbox.Queue
	Now func() time.Time // time.Now if nil
}

// Renew implements outbox.Queue. Whether the host still holds the parcel is not known here; if it does not, the version of the message's
// row refuses the second to settle, as package outbox has it.
func (q Queue) Renew(ctx context.Context, queue work.Queue, token string) (time.Time, error) {
	if strings.HasPrefix(token, heldByHost) {
		now := time.Now
		if q.Now != nil {
			now = q.Now
		}
		return now().Add(hostLock), nil
	}
	return q.Queue.Renew(ctx, queue, token)
}

// Complete implements outbox.Queue.
func (q Queue) Complete(ctx context.Context, queue work.Queue, token string) error {
	if strings.HasPrefix(token, heldByHost) {
		return nil
	}
	return q.Queue.Complete(ctx, queue, token)
}

// errForeign: the host has no answer that sets a message aside. Given back often enough, the queue does it by itself.
var errForeign = errors.New("the message was not sent by this program; its queue sets it aside at the last delivery")

// DeadLetter implements outbox.Queue.
func (q Queue) DeadLetter(ctx context.Context, queue work.Queue, token, reason, description string) error {
	if strings.HasPrefix(token, heldByHost) {
		return errForeign
	}
	return q.Queue.DeadLetter(ctx, queue, token, reason, description)
}

// Parcels takes what the host hands over to a store over [Queue].
type Parcels struct{ Store *outbox.Store }

// Take makes the message a delivery. A message that is done, or that was put off by an earlier parcel, is none, and the host may
// complete this one.
func (p Parcels) Take(ctx context.Context, queue work.Queue, m Message) (work.Delivery, bool, error) {
	d, err := p.Store.Accept(ctx, outbox.Received{
		Queue: queue, Attributes: m.Attributes, Body: m.Body, Deliveries: max(m.Deliveries, 1), Token: heldByHost + m.LockToken, LockedUntil: m.LockedUntil,
	})
	if errors.Is(err, outbox.ErrSettled) {
		return work.Delivery{}, false, nil
	}
	return d, err == nil, err
}
