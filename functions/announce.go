package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
	"pinreset/shared/work/servicebus"
	"pinreset/shared/work/sqs"
)

// withTopic is SQS for messages, and a topic of Service Bus that gets a copy of what is announced. When the topic does not take a copy, Send fails,
// and the outbox sends queue and topic the same ids again.
type withTopic struct {
	*sqs.Queues
	open func() (*servicebus.Bus, error)

	mu     sync.Mutex
	topics *servicebus.Bus // nil when no connection is held
	closed bool
}

func (q *withTopic) bus() (*servicebus.Bus, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, servicebus.ErrClosed
	}
	if q.topics != nil {
		return q.topics, nil
	}
	bus, err := q.open()
	if err == nil {
		q.topics = bus
	}
	return bus, err
}

// Send implements outbox.Queue.
func (q *withTopic) Send(ctx context.Context, parcels []outbox.Parcel) error {
	return errors.Join(q.Queues.Send(ctx, parcels), q.announce(ctx, parcels))
}

func (q *withTopic) announce(ctx context.Context, parcels []outbox.Parcel) error {
	var copies []outbox.Parcel
	for _, p := range parcels {
		if p.Queue == work.Announcements {
			copies = append(copies, p)
		}
	}
	if len(copies) == 0 {
		return nil
	}
	for {
		bus, err := q.bus()
		if err != nil {
			return fmt.Errorf("announce on Service Bus: %w", err)
		}
		if err := bus.Send(ctx, copies); !errors.Is(err, servicebus.ErrClosed) { // else it was given up in between
			return err
		}
	}
}

// Check asks the queues and the topic.
func (q *withTopic) Check(ctx context.Context, queues []work.Queue) error {
	bus, err := q.bus()
	if err != nil {
		return fmt.Errorf("announce on Service Bus: %w", err)
	}
	return errors.Join(q.Queues.Check(ctx, queues), bus.Check(ctx, []work.Queue{work.Announcements}))
}

// Rest gives up the connection to Service Bus: a frozen process can't keep it, and would find that out only by waiting. The next copy opens
// another one.
func (q *withTopic) Rest(ctx context.Context) error {
	q.mu.Lock()
	bus := q.topics
	q.topics = nil
	q.mu.Unlock()
	if bus == nil {
		return nil
	}
	return bus.Close(ctx)
}

// Close implements messageQueue.
func (q *withTopic) Close(ctx context.Context) error {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	return errors.Join(q.Rest(ctx), q.Queues.Close(ctx))
}
