package servicebustest

import (
	"time"

	"pinreset/shared/work/servicebus/servicebustest/internal/amqp"
)

// intake is the side of a queue or topic that messages are sent to: it numbers them, drops duplicates, keeps scheduled
// ones until they are due, and hands each to the queue, or a copy to every subscription.
type intake struct {
	server *Server
	path   string
	queues []*queue

	sequence  int64 // the last number given
	scheduled map[int64]*message
	window    time.Duration        // of duplicate detection
	seen      map[string]time.Time // by message id
	ids       []string             // those in seen, oldest first
	maxBytes  int
	bytes     int // stored, in every state, dead letters included
}

func (in *intake) number() int64 {
	in.sequence++
	return in.sequence
}

// accept takes all of the messages or none, and returns their sequence numbers, 0 for a duplicate.
func (in *intake) accept(messages []*amqp.Message, sizes []int) ([]int64, *amqp.Error) {
	total := 0
	for _, n := range sizes {
		total += n
	}
	if in.maxBytes > 0 && in.bytes+total > in.maxBytes {
		return nil, &amqp.Error{Condition: conditionResourceLimit,
			Description: "The maximum entity size has been reached or exceeded for '" + in.path + "'."}
	}
	numbers := make([]int64, len(messages))
	for i, content := range messages {
		numbers[i] = in.take(content, sizes[i])
	}
	return numbers, nil
}

func (in *intake) take(content *amqp.Message, size int) int64 {
	now := in.server.now()
	if in.duplicate(content, now) {
		return 0
	}
	number := in.number()
	m := &message{content: content, size: size, sequence: number, enqueueSequence: number, enqueued: now, pos: -1}
	at := due(content)
	if !at.After(now) {
		in.distribute(m)
		return number
	}
	m.state = scheduled
	in.scheduled[number] = m
	in.bytes += size
	m.end = in.server.agenda.add(at, func() {
		in.unschedule(number)
		// A message that becomes due is appended as if it were sent now, with a new number (Microsoft's page "Message
		// sequencing and timestamps").
		m.state, m.enqueued, m.sequence = active, in.server.now(), in.number()
		in.distribute(m)
	})
	return number
}

// unschedule forgets a scheduled message, and reports whether there was one with that number.
func (in *intake) unschedule(number int64) bool {
	m, ok := in.scheduled[number]
	if !ok {
		return false
	}
	m.end.cancel()
	delete(in.scheduled, number)
	in.bytes -= m.size
	return true
}

// duplicate reports whether a message of that id came within the window, and remembers the id where none did.
func (in *intake) duplicate(content *amqp.Message, now time.Time) bool {
	if in.window == 0 {
		return false
	}
	for len(in.ids) > 0 && !in.seen[in.ids[0]].Add(in.window).After(now) {
		delete(in.seen, in.ids[0])
		in.ids = in.ids[1:]
	}
	name, ok := id(content)
	if !ok {
		return false
	}
	if _, known := in.seen[name]; known {
		return true
	}
	in.seen[name] = now
	in.ids = append(in.ids, name)
	return false
}

func (in *intake) distribute(m *message) {
	for _, q := range in.queues {
		stored := *m
		if q.path != in.path { // a subscription numbers its copies itself
			q.copies++
			stored.sequence = q.copies
		}
		in.bytes += stored.size
		q.enqueue(&stored)
	}
}
