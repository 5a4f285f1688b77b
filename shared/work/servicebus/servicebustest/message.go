package servicebustest

import (
	"fmt"
	"maps"
	"time"

	"pinreset/shared/work/servicebus/servicebustest/internal/amqp"
)

// Annotations and properties that the service sets on what it delivers; the client reads each with a fixed type.
const (
	annotationSequence        = amqp.Symbol("x-opt-sequence-number")
	annotationEnqueueSequence = amqp.Symbol("x-opt-enqueue-sequence-number")
	annotationEnqueued        = amqp.Symbol("x-opt-enqueued-time")
	annotationLockedUntil     = amqp.Symbol("x-opt-locked-until")
	annotationState           = amqp.Symbol("x-opt-message-state")
	annotationLockToken       = amqp.Symbol("x-opt-lock-token")
	annotationScheduled       = amqp.Symbol("x-opt-scheduled-enqueue-time")

	propertyReason      = "DeadLetterReason"
	propertyDescription = "DeadLetterErrorDescription"
)

type state int32 // as x-opt-message-state counts

const (
	active state = iota
	deferred
	scheduled
)

// message is one that is stored. Its content is never changed, only replaced, because the subscriptions of a topic share it.
type message struct {
	content         *amqp.Message
	size            int
	sequence        int64
	enqueueSequence int64 // the first that it had
	enqueued        time.Time
	ttl             time.Duration // 0: lives for ever
	expires         time.Time     // zero: never
	deliveries      int           // begun so far; none of them came to an end
	state           state
	end             *appointment // when it expires, or becomes due
	pos             int          // in its queue's heap; -1 when it is not there
}

// due returns when a message wants to be enqueued; the zero time is at once.
func due(content *amqp.Message) time.Time {
	for k, v := range content.Annotations {
		if annotationName(k) == annotationScheduled {
			at, _ := v.(time.Time)
			return at
		}
	}
	return time.Time{}
}

// annotationName returns the name of an annotation, which clients send as a symbol or as a string.
func annotationName(key any) amqp.Symbol {
	if s, ok := key.(string); ok {
		return amqp.Symbol(s)
	}
	s, _ := key.(amqp.Symbol)
	return s
}

// id returns the message id as duplicate detection compares it.
func id(content *amqp.Message) (string, bool) {
	switch v := content.Properties.MessageID.(type) {
	case nil:
		return "", false
	case string:
		return v, true
	default: // the other types that the standard allows: ulong, uuid, binary
		return fmt.Sprintf("%T %v", v, v), true
	}
}

// modify adds application properties.
func (m *message) modify(properties map[string]any) {
	if len(properties) == 0 {
		return
	}
	content := *m.content
	content.Application = amqp.Map{}
	maps.Copy(content.Application, m.content.Application)
	for k, v := range properties {
		content.Application[k] = v
	}
	m.content = &content
}

// encode returns m as a receiver gets it, with l where it is locked.
func (m *message) encode(l *lock) []byte {
	content := *m.content
	if m.ttl > 0 { // else what the sender said stands, for a scheduled message or a dead letter
		content.Header.TTL = uint32(min(m.ttl.Milliseconds(), 1<<32-1))
	}
	content.Header.DeliveryCount = uint32(m.deliveries)
	content.DeliveryAnnotations = nil
	content.Annotations = amqp.Map{}
	for k, v := range m.content.Annotations {
		content.Annotations[annotationName(k)] = v
	}
	content.Annotations[annotationSequence] = m.sequence
	content.Annotations[annotationEnqueueSequence] = m.enqueueSequence
	content.Annotations[annotationEnqueued] = m.enqueued
	content.Annotations[annotationState] = int32(m.state)
	if l != nil {
		content.Annotations[annotationLockedUntil] = l.until
		content.DeliveryAnnotations = amqp.Map{annotationLockToken: l.token}
	}
	return content.Append(make([]byte, 0, m.size+256))
}

// byOrder is a heap of active messages by sequence number.
type byOrder []*message

func (h byOrder) Len() int           { return len(h) }
func (h byOrder) Less(i, j int) bool { return h[i].sequence < h[j].sequence }
func (h byOrder) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = i, j
}
func (h *byOrder) Push(x any) {
	m := x.(*message)
	m.pos = len(*h)
	*h = append(*h, m)
}
func (h *byOrder) Pop() any {
	last := len(*h) - 1
	m := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	m.pos = -1
	return m
}
