package servicebus

import (
	"context"
	"fmt"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"pinreset/shared/work"
)

// disposition settles a message over a receiver.
type disposition func(context.Context, *azservicebus.Receiver, *azservicebus.ReceivedMessage) error

// Complete removes the parcel. A token that holds nothing any more is no error.
func (b *Bus) Complete(ctx context.Context, queue work.Queue, token string) error {
	return b.settle(ctx, queue, token, func(ctx context.Context, r *azservicebus.Receiver, m *azservicebus.ReceivedMessage) error {
		return r.CompleteMessage(ctx, m, nil)
	})
}

// Longest reason and description that are stored with a dead letter. The service bounds the properties of a message together; these
// leave room for the message's own.
const (
	maxReason      = 256
	maxDescription = 2048
)

// DeadLetter moves the parcel to the queue's dead-letter queue, with the reason and the description, cut where they are long. A
// token that holds nothing any more is no error.
func (b *Bus) DeadLetter(ctx context.Context, queue work.Queue, token, reason, description string) error {
	o := &azservicebus.DeadLetterOptions{Reason: cut(reason, maxReason), ErrorDescription: cut(description, maxDescription)}
	return b.settle(ctx, queue, token, func(ctx context.Context, r *azservicebus.Receiver, m *azservicebus.ReceivedMessage) error {
		return r.DeadLetterMessage(ctx, m, o)
	})
}

func (b *Bus) settle(ctx context.Context, queue work.Queue, token string, dispose disposition) error {
	if err := b.begin(); err != nil {
		return err
	}
	defer b.under.Done()
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	in := b.inlet(queue)
	if err := in.settle(ctx, token, dispose); err != nil {
		return explain(err, "settle message of", b.queueName(queue))
	}
	in.forget(token)
	return nil
}

// settle disposes of the message on the link that it came by, and else by its token. That the lock is lost is no error.
func (in *inlet) settle(ctx context.Context, token string, dispose disposition) error {
	bare, ok := byToken(token)
	if !ok {
		return nil // a token of nobody holds nothing
	}
	if h := in.holding(token); h != nil && h.breaks == h.tap.breaks.Load() {
		err := in.attempt(ctx, h.tap, h.message, dispose)
		if err == nil || lockLost(err) {
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		// The link may be gone, and then it is for every message that came by it.
		h.tap.breaks.Add(1)
	}
	t, err := in.link(token)
	if err != nil {
		return err
	}
	for failures := 0; ; {
		// Renewing mends the link, which a settlement does not, and it tells whether there is anything left to settle.
		err := in.renewLock(ctx, t, bare)
		if err == nil {
			err = in.attempt(ctx, t, bare, dispose)
		}
		if err == nil || lockLost(err) {
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
		failures++
		if pause(ctx, failures) != nil {
			return fmt.Errorf("%d attempts: %w", failures, err)
		}
	}
}

// attempt bounds one settlement: left alone, the library repeats it for 45 seconds, on the same dead link.
func (in *inlet) attempt(ctx context.Context, t *tap, m *azservicebus.ReceivedMessage, dispose disposition) error {
	ctx, cancel := context.WithTimeout(ctx, in.bus.patience)
	defer cancel()
	return dispose(ctx, t.receiver.Load(), m)
}

// cut returns a text of at most limit bytes that ends on a whole character.
func cut(text string, limit int) *string {
	if len(text) > limit {
		for limit > 0 && text[limit]&0xc0 == 0x80 {
			limit--
		}
		text = text[:limit]
	}
	return &text
}
