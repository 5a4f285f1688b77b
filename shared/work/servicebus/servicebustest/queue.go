package servicebustest

import (
	"cmp"
	"container/heap"
	"fmt"
	"maps"
	"slices"
	"time"

	"pinreset/shared/work/servicebus/servicebustest/internal/amqp"
)

// queue is what receivers take messages from: a queue, a subscription, or the dead-letter queue of one.
type queue struct {
	server      *Server
	intake      *intake
	path        string
	settings    Delivery
	deadLetters *queue // nil for a dead-letter queue, which has no bound on deliveries and lets nothing expire
	copies      int64  // the last number given, by a subscription

	active    byOrder
	deferred  map[int64]*message
	locks     map[amqp.UUID]*lock
	receivers []*link
	turn      int // of the receiver that was served last
}

// lock is one receiver's hold on a message. It outlives the link and the connection over which the message went out.
type lock struct {
	queue   *queue
	message *message
	token   amqp.UUID
	until   time.Time
	end     *appointment

	link     *link  // on whose session its delivery is unsettled; nil when that is gone, or a request took the lock
	delivery uint32 // its id there
}

// enqueue stores a message that is new to the queue.
func (q *queue) enqueue(m *message) {
	m.ttl = time.Duration(m.content.Header.TTL) * time.Millisecond
	if limit := q.settings.TTL; limit > 0 && (m.ttl == 0 || m.ttl > limit) {
		m.ttl = limit
	}
	if m.ttl > 0 {
		m.expires = m.enqueued.Add(m.ttl)
	}
	q.offer(m)
}

// offer makes m available to receivers, in the order of sequence numbers.
func (q *queue) offer(m *message) {
	heap.Push(&q.active, m)
	if !m.expires.IsZero() {
		m.end = q.server.agenda.add(m.expires, func() { q.expire(m) })
		if q.expired(m) {
			q.expire(m)
		}
	}
	q.dispatch()
}

// withdraw takes an active message out of the queue's order.
func (q *queue) withdraw(m *message) {
	heap.Remove(&q.active, m.pos)
	m.end.cancel()
}

func (q *queue) expired(m *message) bool {
	return !m.expires.IsZero() && !m.expires.After(q.server.now())
}

// expire ends an active message whose time to live is over. A locked one lives on until its lock ends, and a deferred one
// until somebody asks for it (Microsoft's pages "Message expiration" and "Message deferral").
func (q *queue) expire(m *message) {
	q.withdraw(m)
	q.outlive(m)
}

// outlive ends a message that is past its time to live and in none of the queue's places any more.
func (q *queue) outlive(m *message) {
	if q.settings.DeadLetterExpired {
		q.bury(m, "TTLExpiredException", "The message expired and was dead lettered.")
	} else {
		q.forget(m)
	}
}

// forget lets go of a message for good.
func (q *queue) forget(m *message) { q.intake.bytes -= m.size }

// bury moves a message to the dead-letter queue.
func (q *queue) bury(m *message, reason, description string) {
	properties := map[string]any{}
	if reason != "" {
		properties[propertyReason] = reason
	}
	if description != "" {
		properties[propertyDescription] = description
	}
	m.modify(properties)
	m.state, m.ttl, m.expires = active, 0, time.Time{}
	q.deadLetters.offer(m)
}

// dispatch delivers active messages to receivers that are ready for one, in turn.
func (q *queue) dispatch() {
	for len(q.active) > 0 {
		to := q.ready()
		if to == nil {
			return
		}
		m := q.active[0]
		if q.expired(m) { // the clock is about to say so
			q.expire(m)
			continue
		}
		q.withdraw(m)
		if to.presettled {
			to.deliver(q.handOver(m), amqp.NewUUID(), nil)
			continue
		}
		l, content := q.lend(m)
		to.deliver(content, l.token, l)
	}
}

// handOver lets go of m as it is delivered, and returns what to deliver.
func (q *queue) handOver(m *message) []byte {
	q.server.stats.Delivered++
	q.forget(m)
	return m.encode(nil)
}

// lend locks m for a delivery, and returns what to deliver.
func (q *queue) lend(m *message) (*lock, []byte) {
	q.server.stats.Delivered++
	l := q.lock(m)
	content := m.encode(l)
	m.deliveries++
	return l, content
}

func (q *queue) ready() *link {
	for i := range q.receivers {
		next := (q.turn + 1 + i) % len(q.receivers)
		if q.receivers[next].ready() {
			q.turn = next
			return q.receivers[next]
		}
	}
	return nil
}

func (q *queue) lock(m *message) *lock {
	l := &lock{queue: q, message: m, token: amqp.NewUUID()}
	q.locks[l.token] = l
	q.renew(l)
	return l
}

// renew has a lock last for the lock duration from now.
func (q *queue) renew(l *lock) {
	l.end.cancel()
	l.until = q.server.now().Add(q.settings.LockDuration)
	l.end = q.server.agenda.add(l.until, func() {
		q.unlock(l)
		q.giveBack(l.message)
	})
}

// held returns the lock of a token while it lasts, else nil.
func (q *queue) held(token amqp.UUID) *lock {
	l := q.locks[token]
	if l == nil || !l.until.After(q.server.now()) {
		return nil
	}
	return l
}

func (q *queue) unlock(l *lock) {
	l.end.cancel()
	delete(q.locks, l.token)
	if l.link != nil {
		delete(l.link.session.unsettled, l.delivery)
	}
}

// giveBack takes back a message whose delivery came to nothing.
func (q *queue) giveBack(m *message) {
	switch {
	case m.state == deferred:
		q.deferred[m.sequence] = m
	case q.deadLetters != nil && m.deliveries >= q.settings.MaxDeliveryCount:
		q.bury(m, "MaxDeliveryCountExceeded", fmt.Sprintf("Message could not be consumed after %d delivery attempts.", m.deliveries))
	default:
		q.offer(m)
	}
}

// settle applies the outcome of a delivery to a message that is locked.
func (q *queue) settle(l *lock, outcome any) *amqp.Error {
	if q.held(l.token) != l {
		return lockLost()
	}
	m := l.message
	switch o := outcome.(type) {
	case amqp.Accepted:
		q.unlock(l)
		q.forget(m)
	case amqp.Released: // handed back unseen: that was no attempt
		q.unlock(l)
		m.deliveries--
		q.giveBack(m)
	case amqp.Modified:
		q.unlock(l)
		m.modify(byName(o.Annotations))
		if o.UndeliverableHere {
			m.state = deferred
		}
		q.giveBack(m)
	case amqp.Rejected:
		if q.deadLetters == nil {
			return &amqp.Error{Condition: conditionNotAllowed, Description: "A message of a dead-letter queue can't be dead lettered."}
		}
		q.unlock(l)
		properties := map[string]any{}
		if o.Error != nil {
			properties = byName(o.Error.Info)
		}
		m.modify(properties)
		q.bury(m, "", "")
	default:
		return &amqp.Error{Condition: conditionInvalidField, Description: "A settlement without an outcome."}
	}
	q.server.stats.Settled++
	return nil
}

// byName returns a map with the names of its keys; clients send symbols or strings.
func byName(m amqp.Map) map[string]any {
	names := map[string]any{}
	for k, v := range m {
		names[string(annotationName(k))] = v
	}
	return names
}

// browse returns up to n messages from a sequence number on, whatever their state.
func (q *queue) browse(from int64, n int) []*message {
	all := slices.Clone(q.active)
	for _, l := range q.locks {
		all = append(all, l.message)
	}
	all = slices.AppendSeq(all, maps.Values(q.deferred))
	if q.path == q.intake.path {
		all = slices.AppendSeq(all, maps.Values(q.intake.scheduled))
	}
	all = slices.DeleteFunc(all, func(m *message) bool { return m.sequence < from })
	slices.SortFunc(all, func(a, b *message) int { return cmp.Compare(a.sequence, b.sequence) })
	return all[:min(max(n, 0), len(all))]
}

func (q *queue) subscribe(l *link) {
	q.receivers = append(q.receivers, l)
	q.dispatch()
}

func (q *queue) unsubscribe(l *link) {
	q.receivers = slices.DeleteFunc(q.receivers, func(r *link) bool { return r == l })
}
