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

// Broker is a model of the queues: what is delivered, locked, completed and given up. Several hosts may share one.
type Broker struct {
	maxDeliveries int
	lock          time.Duration

	mu       sync.Mutex
	changed  chan struct{} // closed when anything has
	sequence int64
	queues   map[string][]*held
	dead     []DeadLetter
}

// held is a message in a queue. It may be handed out when no lock is on it.
type held struct {
	Message
	sequence   int64
	deliveries int
	enqueued   time.Time
	lock       string
	expires    time.Time
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
	return &Broker{lock: lock, maxDeliveries: maxDeliveries, changed: make(chan struct{}), queues: map[string][]*held{}}
}

// Send puts the message into the queue.
func (b *Broker) Send(queue string, m Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sequence++
	b.queues[queue] = append(b.queues[queue], &held{Message: m, sequence: b.sequence, enqueued: time.Now()})
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

// receive waits for a message and locks it. What it returns is a copy, which stays as it was handed out.
func (b *Broker) receive(ctx context.Context, queue string) (held, error) {
	for {
		b.mu.Lock()
		now, changed := time.Now(), b.changed
		next := time.Hour
		for _, m := range b.queues[queue] {
			if m.lock != "" && now.Before(m.expires) {
				next = min(next, m.expires.Sub(now))
				continue
			}
			if m.deliveries >= b.maxDeliveries { // its last lock ran out
				b.bury(queue, m)
				break
			}
			m.deliveries++
			m.lock, m.expires = newID(), now.Add(b.lock)
			handed := *m
			b.mu.Unlock()
			return handed, nil
		}
		b.mu.Unlock()
		select {
		case <-changed:
		case <-time.After(next):
		case <-ctx.Done():
			return held{}, ctx.Err()
		}
	}
}

// renew extends the lock, unless it is lost.
func (b *Broker) renew(queue string, m held) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := b.find(queue, m); i >= 0 {
		b.queues[queue][i].expires = time.Now().Add(b.lock)
		return true
	}
	return false
}

// settle completes the message, or gives it back for another delivery at once; after the last one it is given up. It reports whether the
// lock was still there: without it, somebody else has the message by now.
func (b *Broker) settle(queue string, m held, done bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := b.find(queue, m)
	if i < 0 {
		return false
	}
	switch waiting := b.queues[queue][i]; {
	case done:
		b.queues[queue] = slices.Delete(b.queues[queue], i, i+1)
	case waiting.deliveries >= b.maxDeliveries:
		b.bury(queue, waiting)
	default:
		waiting.lock = ""
	}
	b.announce()
	return true
}

func (b *Broker) find(queue string, m held) int {
	return slices.IndexFunc(b.queues[queue], func(q *held) bool { return q.lock == m.lock && m.lock != "" && time.Now().Before(q.expires) })
}

func (b *Broker) bury(queue string, m *held) {
	b.queues[queue] = slices.DeleteFunc(b.queues[queue], func(q *held) bool { return q == m })
	b.dead = append(b.dead, DeadLetter{Message: m.Message, Queue: queue, Reason: "MaxDeliveryCountExceeded"})
	b.announce()
}

// newID is a GUID.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
