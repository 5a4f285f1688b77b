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
type Parcels struct {
	Store *outbox.Store
	// Decode gives a body back as the queue driver sent it; nil where it is sent as it is.
	Decode func(text string, attributes map[string]string) (body []byte, ok bool)
	// Hold tells the queue driver of a parcel that it has not received itself, so that it can set it aside; nil where it need not know.
	Hold func(outbox.Received)
}

// Take makes the record a delivery. A message that is done, or that was put off by an earlier parcel, is none, and the
// platform may delete this one.
func (p Parcels) Take(ctx context.Context, queue work.Queue, m Message) (work.Delivery, bool, error) {
	parcel := outbox.Received{Queue: queue, Attributes: m.Attributes, Body: m.Body, Deliveries: m.Deliveries, Token: m.Handle, LockedUntil: time.Now().Add(held)}
	if p.Decode != nil {
		parcel.Body, _ = p.Decode(string(m.Body), m.Attributes) // what can't be decoded is set aside as it is, like anything that is no event
	}
	if p.Hold != nil {
		p.Hold(parcel)
	}
	parcel.Token = heldByLambda + m.Handle
	d, err := p.Store.Accept(ctx, parcel)
	if errors.Is(err, outbox.ErrSettled) {
		return work.Delivery{}, false, nil
	}
	return d, err == nil, err
}
