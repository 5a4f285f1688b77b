package outbox

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"pinreset/shared/work"
)

// ErrSettled: the parcel asks for nothing any more. Its message was done or put off before, or waits for a later time.
var ErrSettled = errors.New("nothing is left to do for this message")

// lookers is how many rows of a batch of parcels are read at once.
const lookers = 8

// Receive waits until at least one message of the queue is due and returns up to limit of them. Parcels that ask for nothing
// any more are completed here and seen by nobody.
func (s *Store) Receive(ctx context.Context, queue work.Queue, limit int) ([]work.Delivery, error) {
	for {
		parcels, err := s.queue.Receive(ctx, queue, max(limit, 1))
		if err != nil {
			return nil, err
		}
		// They are in our hands now, whether the context ends or not.
		deliveries, err := s.acceptAll(context.WithoutCancel(ctx), parcels)
		if len(deliveries) > 0 {
			return deliveries, nil // one that could not be looked up comes again when its lock ends
		}
		if err != nil {
			return nil, err
		}
	}
}

func (s *Store) acceptAll(ctx context.Context, parcels []Received) ([]work.Delivery, error) {
	accepted := make([]work.Delivery, len(parcels))
	errs := make([]error, len(parcels))
	one := func(i int) { accepted[i], errs[i] = s.Accept(ctx, parcels[i]) }
	if len(parcels) == 1 {
		one(0)
	} else {
		var all sync.WaitGroup
		next := make(chan int, len(parcels))
		for i := range parcels {
			next <- i
		}
		close(next)
		for range min(lookers, len(parcels)) {
			all.Go(func() {
				for i := range next {
					one(i)
				}
			})
		}
		all.Wait()
	}
	var (
		deliveries []work.Delivery
		failed     error
	)
	for i, err := range errs {
		switch {
		case err == nil:
			deliveries = append(deliveries, accepted[i])
		case !errors.Is(err, ErrSettled):
			failed = errors.Join(failed, err)
		}
	}
	return deliveries, failed
}

// Accept makes a delivery of a parcel that a queue has handed out: Receive does, and so does a host to which the parcels are
// pushed. It returns ErrSettled for one that asks for nothing any more, after completing it.
func (s *Store) Accept(ctx context.Context, p Received) (work.Delivery, error) {
	partition, id := p.Attributes[AttributePartition], p.Attributes[AttributeMessage]
	attempt, err := strconv.Atoi(p.Attributes[AttributeAttempt])
	if partition == "" || id == "" || err != nil {
		if err := s.queue.DeadLetter(ctx, p.Queue, p.Token, "not_a_message", "It does not say which message it is; this program did not send it."); err != nil {
			return work.Delivery{}, fmt.Errorf("set aside a parcel of queue %s: %w", p.Queue, err)
		}
		return work.Delivery{}, ErrSettled
	}
	row, err := s.rows.Get(ctx, work.Key{Partition: partition, Row: messageKey(id)})
	if errors.Is(err, work.ErrNotFound) {
		// A row is written before its parcel is sent, so the message was done long ago, or erased with its tenant.
		return work.Delivery{}, s.discard(ctx, p)
	}
	if err != nil {
		return work.Delivery{}, fmt.Errorf("look up message %s: %w", id, err)
	}
	r, err := decodeRecord(row)
	if err != nil {
		return work.Delivery{}, err
	}
	if r.Done != 0 || attempt < r.Attempt {
		return work.Delivery{}, s.discard(ctx, p)
	}
	d := work.Delivery{
		Message:    work.Message{ID: id, Queue: p.Queue, Partition: partition, At: instant(r.Due), Body: p.Body},
		Deliveries: r.Before + p.Deliveries, Lease: lease{attempt, row.ETag, p.Token}.String(),
		LeasedUntil: p.LockedUntil.UTC(), EnqueuedAt: instant(r.Enqueued),
	}
	if s.early(d) {
		return work.Delivery{}, s.putOff(ctx, d)
	}
	return d, nil
}

func (s *Store) discard(ctx context.Context, p Received) error {
	if err := s.queue.Complete(ctx, p.Queue, p.Token); err != nil {
		return fmt.Errorf("complete a parcel of queue %s: %w", p.Queue, err)
	}
	return ErrSettled
}

// early reports whether the queue delivered ahead of the message's time: whoever sent the parcel had another clock.
func (s *Store) early(d work.Delivery) bool {
	return s.o.MaxDelay > 0 && d.At.Sub(s.now()) > time.Second
}

// putOff lets the message wait for longer. The delivery does not count.
func (s *Store) putOff(ctx context.Context, d work.Delivery) error {
	err := s.Settle(ctx, d, work.Batch{}, work.Outcome{Kind: work.Postpone, At: d.At})
	if err == nil || errors.Is(err, work.ErrLeaseLost) {
		return ErrSettled
	}
	return err
}
