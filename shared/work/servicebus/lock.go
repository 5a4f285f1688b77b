package servicebus

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
)

// held is a message in our hands, with the link that it came by.
type held struct {
	message *azservicebus.ReceivedMessage
	tap     *tap
	breaks  int64
	until   time.Time
}

// hold remembers the messages until they are settled.
func (in *inlet) hold(t *tap, messages []*azservicebus.ReceivedMessage) []outbox.Received {
	now := in.bus.o.Now()
	in.mu.Lock()
	defer in.mu.Unlock()
	parcels := make([]outbox.Received, len(messages))
	for i, m := range messages {
		token := hex.EncodeToString(m.LockToken[:])
		until := now
		if m.LockedUntil != nil {
			until = m.LockedUntil.UTC()
		}
		in.held[token] = &held{message: m, tap: t, breaks: t.breaks.Load(), until: until}
		parcels[i] = outbox.Received{
			Queue: in.queue, Attributes: attributes(m), Body: m.Body,
			Deliveries: max(int(m.DeliveryCount), 1), Token: token, LockedUntil: until,
		}
	}
	if len(in.held) >= in.full {
		// Whoever was refused a commit never settles. Their locks end, and they are forgotten then.
		for token, h := range in.held {
			if h.until.Before(now) {
				delete(in.held, token)
			}
		}
		in.full = max(256, 2*len(in.held))
	}
	return parcels
}

func (in *inlet) holding(token string) *held {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.held[token]
}

// Renew holds the parcel for another lock duration of its queue and returns until when, or work.ErrLeaseLost.
func (b *Bus) Renew(ctx context.Context, queue work.Queue, token string) (time.Time, error) {
	if err := b.begin(); err != nil {
		return time.Time{}, err
	}
	defer b.under.Done()
	return b.inlet(queue).renew(ctx, token)
}

func (in *inlet) renew(ctx context.Context, token string) (time.Time, error) {
	m, ok := byToken(token)
	if !ok {
		return time.Time{}, fmt.Errorf("renew lock: %w", work.ErrLeaseLost)
	}
	t, err := in.link(token)
	if err != nil {
		return time.Time{}, err
	}
	err = in.renewLock(ctx, t, m)
	switch {
	case lockLost(err):
		in.forget(token)
		return time.Time{}, fmt.Errorf("renew lock: %w", work.ErrLeaseLost)
	case err != nil:
		return time.Time{}, explain(err, "renew lock on", in.bus.queueName(in.queue))
	}
	until := m.LockedUntil.UTC()
	in.mu.Lock()
	defer in.mu.Unlock()
	if h := in.held[token]; h != nil {
		h.until = until
	}
	return until, nil
}

// renewLock renews a lock over the receiver, and mends what it runs over: a broken link with the client's retry options, and one
// that does not answer by another receiver.
func (in *inlet) renewLock(ctx context.Context, t *tap, m *azservicebus.ReceivedMessage) error {
	bounded, cancel := context.WithTimeout(ctx, in.bus.renewing)
	defer cancel()
	r := t.receiver.Load()
	err := r.RenewMessageLock(bounded, m, nil)
	if bounded.Err() == nil || ctx.Err() != nil || err == nil || lockLost(err) {
		return err
	}
	return errors.Join(err, in.replace(ctx, t, r))
}

// link returns the receiver that the token came by, or any.
func (in *inlet) link(token string) (*tap, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if h := in.held[token]; h != nil {
		return h.tap, nil
	}
	if in.any != nil {
		return in.any, nil
	}
	t, err := in.open()
	if err == nil {
		in.taps = append(in.taps, t)
	}
	return t, err
}

func (in *inlet) forget(token string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	delete(in.held, token)
}

// byToken returns a message that has nothing but its lock token, which is enough to renew and to settle it over any link.
func byToken(token string) (*azservicebus.ReceivedMessage, bool) {
	m := &azservicebus.ReceivedMessage{}
	n, err := hex.Decode(m.LockToken[:], []byte(token)[:min(len(token), 32)])
	return m, err == nil && n == len(m.LockToken) && len(token) == 32
}
