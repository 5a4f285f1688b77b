package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"pinreset/shared/host/azure/functionshost"
	"pinreset/shared/work"
	"pinreset/shared/work/servicebus"
	"pinreset/shared/work/servicebus/servicebustest"
)

// subscriber is who listens to the topic of announcements.
const subscriber = "watch"

// namespace is a model of Service Bus with what the template makes: a queue for each trigger, and the topic of announcements.
type namespace struct {
	*servicebustest.Server
	queues []work.Queue
	client *azservicebus.Client
}

// triggerLock is short, so that what a killed process held comes again before long.
const triggerLock = 5 * time.Second

func startNamespace(t *testing.T) *namespace {
	t.Helper()
	n := &namespace{queues: readQueues(t)}
	var config servicebustest.Config
	for _, e := range servicebus.Entities(n.queues, servicebus.Options{Topics: map[work.Queue]string{work.Announcements: servicebus.AnnouncementTopic}}) {
		delivery := servicebustest.Delivery{LockDuration: triggerLock, MaxDeliveryCount: e.MaxDeliveries}
		switch e.Kind {
		case servicebus.KindQueue:
			config.Queues = append(config.Queues, servicebustest.Queue{Name: e.Name, DuplicateWindow: e.DuplicateWindow, Delivery: delivery})
		case servicebus.KindTopic:
			config.Topics = append(config.Topics, servicebustest.Topic{Name: e.Name, DuplicateWindow: e.DuplicateWindow,
				Subscriptions: []servicebustest.Subscription{{Name: subscriber}}})
		}
	}
	n.Server = servicebustest.New(t, config)
	var err error
	if n.client, err = azservicebus.NewClientFromConnectionString(n.ConnectionString(), nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.client.Close(context.WithoutCancel(t.Context())) })
	return n
}

// open is another program's hold on the namespace.
func (n *namespace) open(t *testing.T) *servicebus.Bus {
	t.Helper()
	bus, err := servicebus.Open(servicebus.Options{ConnectionString: n.ConnectionString(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bus.Close(context.WithoutCancel(t.Context())) })
	return bus
}

// triggers are where the host's model takes its messages from: the namespace's queues. As the real trigger does, it completes what the
// program answered for and abandons the rest, which comes again at once.
type triggers struct {
	t         *testing.T
	receivers map[string]*azservicebus.Receiver
	// lose says of a delivery that it ends without an answer before the program has it; nil for none.
	lose func(functionshost.Delivery) bool

	mu   sync.Mutex
	held map[string]*azservicebus.ReceivedMessage // by lock token
}

func (n *namespace) triggers(t *testing.T) *triggers {
	t.Helper()
	q := &triggers{t: t, receivers: map[string]*azservicebus.Receiver{}, held: map[string]*azservicebus.ReceivedMessage{}}
	for _, name := range n.queues {
		r, err := n.client.NewReceiverForQueue(string(name), nil)
		if err != nil {
			t.Fatal(err)
		}
		q.receivers[string(name)] = r
	}
	return q
}

// Receive implements functionshost.Queues.
func (q *triggers) Receive(ctx context.Context, queue string) (functionshost.Delivery, error) {
	for {
		got, err := q.receivers[queue].ReceiveMessages(ctx, 1, nil)
		if err != nil {
			return functionshost.Delivery{}, err
		}
		d := delivery(got[0])
		q.mu.Lock()
		q.held[d.LockToken] = got[0]
		q.mu.Unlock()
		if q.lose == nil || !q.lose(d) {
			return d, nil
		}
		q.Settle(queue, d, false)
	}
}

func delivery(m *azservicebus.ReceivedMessage) functionshost.Delivery {
	d := functionshost.Delivery{Message: functionshost.Message{ID: m.MessageID, Body: m.Body, Properties: map[string]string{}},
		LockToken: fmt.Sprintf("%x", m.LockToken), Deliveries: int(m.DeliveryCount)}
	for name, value := range m.ApplicationProperties {
		d.Properties[name] = fmt.Sprint(value)
	}
	if m.SequenceNumber != nil {
		d.Sequence = *m.SequenceNumber
	}
	if m.EnqueuedTime != nil {
		d.Enqueued = *m.EnqueuedTime
	}
	if m.LockedUntil != nil {
		d.Expires = *m.LockedUntil
	}
	return d
}

// Lock implements functionshost.Queues.
func (q *triggers) Lock() time.Duration { return triggerLock }

func (q *triggers) message(token string) *azservicebus.ReceivedMessage {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.held[token]
}

// Renew implements functionshost.Queues.
func (q *triggers) Renew(queue string, d functionshost.Delivery) bool {
	return q.receivers[queue].RenewMessageLock(q.t.Context(), q.message(d.LockToken), nil) == nil
}

// Settle implements functionshost.Queues.
func (q *triggers) Settle(queue string, d functionshost.Delivery, done bool) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(q.t.Context()), 5*time.Second)
	defer cancel()
	m := q.message(d.LockToken)
	q.mu.Lock()
	delete(q.held, d.LockToken)
	q.mu.Unlock()
	if done {
		return q.receivers[queue].CompleteMessage(ctx, m, nil) == nil
	}
	return q.receivers[queue].AbandonMessage(ctx, m, nil) == nil
}

// buried takes the queue's one dead letter and returns its reason, as Service Bus gives it.
func (n *namespace) buried(ctx context.Context, queue work.Queue) (reason string, err error) {
	r, err := n.client.NewReceiverForQueue(string(queue), &azservicebus.ReceiverOptions{SubQueue: azservicebus.SubQueueDeadLetter})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, r.Close(context.WithoutCancel(ctx))) }()
	got, err := r.ReceiveMessages(ctx, 1, nil)
	if err != nil {
		return "", err
	}
	if got[0].DeadLetterReason != nil {
		reason = *got[0].DeadLetterReason
	}
	return reason, r.CompleteMessage(ctx, got[0], nil)
}
