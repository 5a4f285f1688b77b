package lambda

import (
	"context"
	"errors"
	"strings"
	"time"

	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
)

// heldByLambda begins the token of a parcel that the platform holds, before its receipt handle.
const heldByLambda = "lambda:"

// held is for how long a parcel of the platform's counts as held. Its visibility is at least that of the invocation, which is told to
// end before; see LeastTimeout.
const held = time.Minute

// Queue is a queue driver for a process whose parcels come from the platform: what it holds, it deletes after the invocation's answer.
// Everything else is the driver's below, whose tokens are receipt handles.
type Queue struct {
	outbox.Queue
	Now func() time.Time // time.Now if nil
}

// Renew implements outbox.Queue. Whether the platform still holds the parcel is not asked; if it does not, the version of the
// message's row refuses the second to settle, as package outbox has it.
func (q Queue) Renew(ctx context.Context, queue work.Queue, token string) (time.Time, error) {
	if strings.HasPrefix(token, heldByLambda) {
		now := time.Now
		if q.Now != nil {
			now = q.Now
		}
		return now().Add(held), nil
	}
	return q.Queue.Renew(ctx, queue, token)
}

// Complete implements outbox.Queue.
func (q Queue) Complete(ctx context.Context, queue work.Queue, token string) error {
	if strings.HasPrefix(token, heldByLambda) {
		return nil
	}
	return q.Queue.Complete(ctx, queue, token)
}

// DeadLetter implements outbox.Queue. The platform deletes the parcel once more, which is no error.
func (q Queue) DeadLetter(ctx context.Context, queue work.Queue, token, reason, description string) error {
	return q.Queue.DeadLetter(ctx, queue, strings.TrimPrefix(token, heldByLambda), reason, description)
}

// Parcels takes records to a store over [Queue].
type Parcels struct{ Store *outbox.Store }

// Take makes the record a delivery. A message that is done, or that was put off by an earlier parcel, is none, and the
// platform may delete this one.
func (p Parcels) Take(ctx context.Context, queue work.Queue, m Message) (work.Delivery, bool, error) {
	d, err := p.Store.Accept(ctx, outbox.Received{
		Queue: queue, Attributes: m.Attributes, Body: m.Body, Deliveries: m.Deliveries, Token: heldByLambda + m.Handle, LockedUntil: time.Now().Add(held),
	})
	if errors.Is(err, outbox.ErrSettled) {
		return work.Delivery{}, false, nil
	}
	return d, err == nil, err
}
