package servicebustest

import (
	"container/heap"
	"time"
)

// agenda is everything that time will bring: locks that end, messages that become due or expire. One timer of the clock
// serves it, set for the earliest appointment. The server's lock guards it.
type agenda struct {
	clock Clock
	wake  func() // called by the timer, without the server's lock
	timer Timer
	at    time.Time // what the timer is set for
	heap  appointments
	made  uint64
}

type appointment struct {
	at     time.Time
	order  uint64 // of those at the same time, the one made first comes first
	do     func()
	pos    int // in the heap; -1 when it is not there
	agenda *agenda
}

// add has do called, under the server's lock, when the clock reaches at.
func (a *agenda) add(at time.Time, do func()) *appointment {
	a.made++
	p := &appointment{at: at, order: a.made, do: do, agenda: a}
	heap.Push(&a.heap, p)
	a.arm()
	return p
}

// cancel takes p off the agenda. A nil appointment, or one that has been kept, has nothing to cancel.
func (p *appointment) cancel() {
	if p != nil && p.pos >= 0 {
		heap.Remove(&p.agenda.heap, p.pos)
	}
}

// run keeps the appointments that are due.
func (a *agenda) run() {
	a.at = time.Time{} // the timer has fired
	for now := a.clock.Now(); len(a.heap) > 0 && !a.heap[0].at.After(now); {
		heap.Pop(&a.heap).(*appointment).do()
	}
	a.arm()
}

// arm sets the timer for the first appointment. A timer that is set too early for it, because others were cancelled,
// stays: it finds nothing to do and is set anew.
func (a *agenda) arm() {
	if len(a.heap) == 0 {
		return
	}
	first := a.heap[0].at
	if !a.at.IsZero() && !first.Before(a.at) {
		return
	}
	a.stop()
	a.at = first
	a.timer = a.clock.AfterFunc(first.Sub(a.clock.Now()), a.wake)
}

func (a *agenda) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
}

// appointments is a heap by time.
type appointments []*appointment

func (h appointments) Len() int { return len(h) }
func (h appointments) Less(i, j int) bool {
	if !h[i].at.Equal(h[j].at) {
		return h[i].at.Before(h[j].at)
	}
	return h[i].order < h[j].order
}
func (h appointments) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].pos, h[j].pos = i, j
}
func (h *appointments) Push(x any) {
	p := x.(*appointment)
	p.pos = len(*h)
	*h = append(*h, p)
}
func (h *appointments) Pop() any {
	last := len(*h) - 1
	p := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	p.pos = -1
	return p
}
