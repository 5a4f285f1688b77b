package outboxtest

import (
	"maps"
	"slices"
	"time"

	"pinreset/shared/work/outbox"
)

// The methods of this file are for who decides himself what a queue does next, as the scheduler of a simulation. Parcels have
// numbers, from 0 to below [Queue.Live], in the order in which they were sent; each change of the queue may change them.

// Parcel returns a parcel, which is not to be changed, and from when it can be handed out: it may be due later, or held until then.
func (q *Queue) Parcel(i int) (p outbox.Parcel, from time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.live[i].Parcel, later(q.live[i].Due, q.live[i].until)
}

// Held reports whether somebody holds the parcel.
func (q *Queue) Held(i int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.live[i].until.After(q.now())
}

// Hand hands the parcel out, whoever holds it.
func (q *Queue) Hand(i int) outbox.Received {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.hand(q.live[i], q.now())
}

// Put puts the parcel in, whatever ids the queue remembers: it has been there before.
func (q *Queue) Put(p outbox.Parcel) {
	q.mu.Lock()
	defer q.mu.Unlock()
	p.Attributes, p.Body = maps.Clone(p.Attributes), slices.Clone(p.Body)
	q.live = append(q.live, &parcel{Parcel: p})
	q.stir()
}

// Delay puts off when the parcel can be handed out.
func (q *Queue) Delay(i int, d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	p := q.live[i]
	p.Due = later(p.Due, q.now()).Add(d)
}

// Unlock takes the parcel from its holder, ahead of the time that he was told.
func (q *Queue) Unlock(i int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.live[i].token, q.live[i].until = "", time.Time{}
	q.stir()
}

// Drop takes the parcel away for ever.
func (q *Queue) Drop(i int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.live = slices.Delete(q.live, i, i+1)
}
