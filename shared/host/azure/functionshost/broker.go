package functionshost

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Message is one that waits in a queue.
type Message struct {
	ID         string
	Properties map[string]string
	Body       []byte
}

// DeadLetter is a message that was given up by its queue.
type DeadLetter struct {
	Message
	Queue  string
	Reason string
}

// Queues is where the host's messages come from: a [Broker], or what speaks to a server.
type Queues interface {
	// Receive waits for a message of the queue and locks it.
	Receive(ctx context.Context, queue string) (Delivery, error)
	// Lock is how long a message is held without renewal.
	Lock() time.Duration
	// Renew extends the lock and reports whether it was still there.
	Renew(queue string, d Delivery) bool
	// Settle completes the message, or gives it back for another delivery at once. It reports whether the lock was still there: without it,
	// somebody else has the message by now.
	Settle(queue string, d Delivery, done bool) bool
}

// Delivery is a message in the host's hands.
type Delivery struct {
	Message
	LockToken  string
	Deliveries int // this one included
	Sequence   int64
	Enqueued   time.Time
	Expires    time.Time // of the lock
}

// Broker is a model of the queues: what is delivered, locked, completed and given up. Several hosts may share one.
type Broker struct {
	maxDeliveries int
	lock          time.Duration

	mu       sync.Mutex
	changed  chan struct{} // closed when anything has
	sequence int64
	queues   map[string][]*Delivery
	dead     []DeadLetter
}

// NewBroker returns queues whose messages are locked for so long at a time, and given up after so many deliveries; zero values are one
// minute and ten.
func NewBroker(lock time.Duration, maxDeliveries int) *Broker {
	if lock == 0 {
		lock = time.Minute
	}
	if maxDeliveries == 0 {
		maxDeliveries = 10
	}
	return &Broker{lock: lock, maxDeliveries: maxDeliveries, changed: make(chan struct{}), queues: map[string][]*Delivery{}}
}

// Send puts the message into the queue.
func (b *Broker) Send(queue string, m Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sequence++
	b.queues[queue] = append(b.queues[queue], &Delivery{Message: m, Sequence: b.sequence, Enqueued: time.Now()})
	b.announce()
}

func (b *Broker) announce() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// DeadLetters returns what was given up so far.
func (b *Broker) DeadLetters() []DeadLetter {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.dead)
}

// Drained waits until every queue is empty, or ctx ends.
func (b *Broker) Drained(ctx context.Context) error {
	for {
		b.mu.Lock()
		waiting, changed := 0, b.changed
		for _, q := range b.queues {
			waiting += len(q)
		}
		b.mu.Unlock()
		if waiting == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%d messages wait: %w", waiting, ctx.Err())
		}
	}
}

// Lock implements Queues.
func (b *Broker) Lock() time.Duration { return b.lock }

// Receive implements Queues. What it returns is a copy, which stays as it was handed out.
func (b *Broker) Receive(ctx context.Context, queue string) (Delivery, error) {
	for {
		b.mu.Lock()
		now, changed := time.Now(), b.changed
		next := time.Hour
		for _, m := range b.queues[queue] {
			if m.LockToken != "" && now.Before(m.Expires) {
				next = min(next, m.Expires.Sub(now))
				continue
			}
			if m.Deliveries >= b.maxDeliveries { // its last lock ran out
				b.bury(queue, m)
				break
			}
			m.Deliveries++
			m.LockToken, m.Expires = newID(), now.Add(b.lock)
			handed := *m
			b.mu.Unlock()
			return handed, nil
		}
		b.mu.Unlock()
		select {
		case <-changed:
		case <-time.After(next):
		case <-ctx.Done():
			return Delivery{}, ctx.Err()
		}
	}
}

// Renew implements Queues.
func (b *Broker) Renew(queue string, m Delivery) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := b.find(queue, m); i >= 0 {
		b.queues[queue][i].Expires = time.Now().Add(b.lock)
		return true
	}
	return false
}

// Settle implements Queues. After its last delivery a message that is given back is given up.
func (b *Broker) Settle(queue string, m Delivery, done bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := b.find(queue, m)
	if i < 0 {
		return false
	}
	switch waiting := b.queues[queue][i]; {
	case done:
		b.queues[queue] = slices.Delete(b.queues[queue], i, i+1)
	case waiting.Deliveries >= b.maxDeliveries:
		b.bury(queue, waiting)
	default:
		waiting.LockToken = ""
	}
	b.announce()
	return true
}

func (b *Broker) find(queue string, m Delivery) int {
	return slices.IndexFunc(b.queues[queue], func(q *Delivery) bool {
		return q.LockToken == m.LockToken && m.LockToken != "" && time.Now().Before(q.Expires)
	})
}

func (b *Broker) bury(queue string, m *Delivery) {
	b.queues[queue] = slices.DeleteFunc(b.queues[queue], func(q *Delivery) bool { return q == m })
	b.dead = append(b.dead, DeadLetter{Message: m.Message, Queue: queue, Reason: "MaxDeliveryCountExceeded"})
	b.announce()
}

// newID is a GUID.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
