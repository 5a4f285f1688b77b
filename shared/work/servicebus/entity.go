package servicebus

import (
	"context"
	"errors"
	"sync"
	"time"

	"pinreset/shared/work"
)

// Kind says what an entity is.
type Kind string

// Kinds of entity.
const (
	KindQueue Kind = "queue"
	KindTopic Kind = "topic"
)

// Entity is a queue or a topic with the settings that the program relies on. Templates are checked against it. None has
// sessions, and none is partitioned: the service refuses a batch of messages with different ids for a partitioned
// entity that looks for duplicates.
type Entity struct {
	Name string
	Kind Kind
	// LockDuration is how long a message is held without renewal. It bounds how long a message waits whose holder was
	// killed; the host renews at a third of it.
	LockDuration time.Duration
	// MaxDeliveries is when the service sets a message aside by itself. It is twice dispatch's own limit, so that only messages
	// reach it whose every run was killed before dispatch could set them aside with a diagnostics page.
	MaxDeliveries int
	// DuplicateWindow is how long the service remembers message ids. It spares most of the copies that a crash makes; the
	// inbox of package outbox drops the others.
	DuplicateWindow time.Duration
	// TimeToLive is when a message that nobody took is set aside: long after every deadline of a tenant.
	TimeToLive time.Duration
	// DeadLetterOnExpiry keeps what ran out of time for people to look at.
	DeadLetterOnExpiry bool
}

// Entities returns what the namespace must have for these queues and options: the queues in their order, then the topics. Lock
// duration and delivery limit are those of queues and subscriptions; a topic has none.
func Entities(queues []work.Queue, o Options) []Entity {
	const day = 24 * time.Hour
	var all []Entity
	for _, q := range queues {
		if o.TopicsOnly {
			break
		}
		all = append(all, Entity{
			Name: o.Prefix + string(q), Kind: KindQueue, LockDuration: time.Minute, MaxDeliveries: 16,
			DuplicateWindow: 10 * time.Minute, TimeToLive: 14 * day, DeadLetterOnExpiry: true,
		})
	}
	for _, q := range queues {
		if topic, ok := o.Topics[q]; ok {
			all = append(all, Entity{
				Name: o.Prefix + topic, Kind: KindTopic, DuplicateWindow: 10 * time.Minute, TimeToLive: 14 * day,
			})
		}
	}
	return all
}

// AnnouncementTopic is the topic that carries what [work.Announcements] carries, for others, where the settings ask for it.
const AnnouncementTopic = "announcements"

func (b *Bus) queueName(q work.Queue) string { return b.o.Prefix + string(q) }

// checkTimeout bounds [Bus.Check]: opening a connection and a handful of links, with the client's own repeats.
const checkTimeout = 30 * time.Second

// Check opens what the queues need, without sending or taking anything, and reports all of it that is missing (ErrNoEntity) or
// refused to the credential (ErrRefused), by name. Links are opened at their first use, so without a check a wrong name
// would show at the first message.
func (b *Bus) Check(ctx context.Context, queues []work.Queue) error {
	if err := b.begin(); err != nil {
		return err
	}
	defer b.under.Done()
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	entities := Entities(queues, b.o)
	failed := make([]error, len(entities))
	var all sync.WaitGroup
	for i, e := range entities {
		all.Go(func() {
			failed[i] = b.outlet(e.Name).check(ctx)
			if e.Kind == KindQueue {
				failed[i] = errors.Join(b.inlet(queues[i]).check(ctx), failed[i])
			}
		})
	}
	all.Wait()
	return errors.Join(failed...)
}

// check looks at the queue's next message, which takes nothing.
func (in *inlet) check(ctx context.Context) error {
	t, err := in.link("")
	if err != nil {
		return err
	}
	if _, err := t.receiver.Load().PeekMessages(ctx, 1, nil); err != nil {
		return explain(err, "receive from", in.bus.queueName(in.queue))
	}
	return nil
}

// check opens the link by asking it how large a batch may be.
func (out *outlet) check(ctx context.Context) error {
	sender, err := out.open()
	if err != nil {
		return explain(err, "send to", out.entity)
	}
	if _, err := sender.NewMessageBatch(ctx, nil); err != nil {
		return explain(err, "send to", out.entity)
	}
	return nil
}
