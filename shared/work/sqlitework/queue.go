package sqlitework

import (
	"math"
	"slices"
	"time"

	"pinreset/shared/work"
)

// longestNap bounds a wait for the next due message: timers don't count the time that a machine sleeps or by which its
// clock is set, so the clock is looked at again.
const longestNap = time.Minute

// queue is what the writer knows about a queue between groups.
type queue struct {
	receivers []*operation // in the order they came
	next      int64        // no message is due before; a lower bound, in microseconds
}

const never = math.MaxInt64

func (w *writer) queue(name work.Queue) *queue {
	q := w.queues[name]
	if q == nil {
		q = &queue{} // next is 0: whether something is due is not known yet
		w.queues[name] = q
	}
	return q
}

// anyDue reports whether a receiver may be served now.
func (w *writer) anyDue(now int64) bool {
	for _, q := range w.queues {
		if q.next <= now && q.waits() {
			return true
		}
	}
	return false
}

// park adds a receiver. Before the list grows, those that went away meanwhile leave it.
func (q *queue) park(o *operation) {
	if len(q.receivers) == cap(q.receivers) {
		q.prune()
	}
	q.receivers = append(q.receivers, o)
}

func (q *queue) prune() {
	q.receivers = slices.DeleteFunc(q.receivers, func(o *operation) bool { return o.taken.Load() })
}

// waits reports whether a receiver still waits at the queue.
func (q *queue) waits() bool {
	return slices.ContainsFunc(q.receivers, func(o *operation) bool { return !o.taken.Load() })
}

// untilDue returns how long nothing can become due for a receiver.
func (w *writer) untilDue(now int64) time.Duration {
	nap := longestNap
	for _, q := range w.queues {
		if q.next != never && q.waits() {
			nap = min(nap, time.Duration(min(q.next-now, longestNap.Microseconds()))*time.Microsecond)
		}
	}
	return max(nap, time.Millisecond) // also when the clock is a test's and stands still
}
