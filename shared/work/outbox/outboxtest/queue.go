package outboxtest

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
)

// Queue is an outbox.Queue in memory. It hands out parcels in the order in which they were sent.
type Queue struct {
	// Now tells the time; time.Now if nil. Who sets it calls [Queue.Wake] when it has moved: only real time is waited for.
	Now func() time.Time
	// Lock is how long a parcel is held; a minute if zero.
	Lock time.Duration
	// MaxDelay is how far ahead a parcel may be due, as a queue may have it; no bound if zero. One beyond is delivered then.
	MaxDelay time.Duration
	// Forgetful lets parcels in whose id was sent before, as a queue without duplicate detection does.
	Forgetful bool

	mu     sync.Mutex
	serial int
	ids    map[string]bool
	live   []*parcel
	dead   []Dead
	wake   chan struct{} // closed when something may have come due
}

// Dead is a parcel that was set aside.
type Dead struct {
	outbox.Received
	Reason, Description string
}

type parcel struct {
	outbox.Parcel
	deliveries int
	token      string
	until      time.Time
}

var _ outbox.Queue = (*Queue)(nil)

func (q *Queue) now() time.Time {
	if q.Now == nil {
		return time.Now()
	}
	return q.Now()
}

func (q *Queue) lock() time.Duration {
	if q.Lock == 0 {
		return time.Minute
	}
	return q.Lock
}

// Send implements outbox.Queue.
func (q *Queue) Send(ctx context.Context, parcels []outbox.Parcel) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, p := range parcels {
		id := string(p.Queue) + "/" + p.ID
		if q.ids[id] && !q.Forgetful {
			continue
		}
		if q.ids == nil {
			q.ids = map[string]bool{}
		}
		q.ids[id] = true
		p.Attributes, p.Body = maps.Clone(p.Attributes), slices.Clone(p.Body)
		if limit := q.now().Add(q.MaxDelay); q.MaxDelay > 0 && p.Due.After(limit) {
			p.Due = limit
		}
		q.live = append(q.live, &parcel{Parcel: p})
	}
	q.stir()
	return nil
}

// Receive implements outbox.Queue.
func (q *Queue) Receive(ctx context.Context, queue work.Queue, limit int) ([]outbox.Received, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		q.mu.Lock()
		var got []outbox.Received
		now := q.now()
		for _, p := range q.live {
			if len(got) < limit && p.Queue == queue && !p.Due.After(now) && !p.until.After(now) {
				got = append(got, q.hand(p, now))
			}
		}
		if q.wake == nil {
			q.wake = make(chan struct{})
		}
		wake, next := q.wake, q.next(queue)
		q.mu.Unlock()
		if len(got) > 0 {
			return got, nil
		}
		wait(ctx, wake, next)
	}
}

// next is when the next parcel of the queue comes due by itself; zero when none does, or time is not real.
func (q *Queue) next(queue work.Queue) (next time.Time) {
	if q.Now != nil {
		return next
	}
	for _, p := range q.live {
		if at := later(p.Due, p.until); p.Queue == queue && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func wait(ctx context.Context, wake <-chan struct{}, next time.Time) {
	var due <-chan time.Time
	if !next.IsZero() {
		timer := time.NewTimer(time.Until(next))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-wake:
	case <-due:
	case <-ctx.Done():
	}
}

func (q *Queue) hand(p *parcel, now time.Time) outbox.Received {
	q.serial++
	p.token, p.until = "lock-"+strconv.Itoa(q.serial), now.Add(q.lock())
	p.deliveries++
	return outbox.Received{
		Queue: p.Queue, Attributes: maps.Clone(p.Attributes), Body: slices.Clone(p.Body),
		Deliveries: p.deliveries, Token: p.token, LockedUntil: p.until,
	}
}

// held is the index of the parcel that the token holds, or -1.
func (q *Queue) held(queue work.Queue, token string) int {
	now := q.now()
	return slices.IndexFunc(q.live, func(p *parcel) bool {
		return p.Queue == queue && p.token == token && token != "" && p.until.After(now)
	})
}

// Renew implements outbox.Queue.
func (q *Queue) Renew(ctx context.Context, queue work.Queue, token string) (time.Time, error) {
	if err := ctx.Err(); err != nil {
		return time.Time{}, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	i := q.held(queue, token)
	if i < 0 {
		return time.Time{}, work.ErrLeaseLost
	}
	q.live[i].until = q.now().Add(q.lock())
	return q.live[i].until, nil
}

// Complete implements outbox.Queue.
func (q *Queue) Complete(ctx context.Context, queue work.Queue, token string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := q.held(queue, token); i >= 0 {
		q.live = slices.Delete(q.live, i, i+1)
	}
	return nil
}

// DeadLetter implements outbox.Queue.
func (q *Queue) DeadLetter(ctx context.Context, queue work.Queue, token, reason, description string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := q.held(queue, token); i >= 0 {
		p := q.live[i]
		q.live = slices.Delete(q.live, i, i+1)
		q.dead = append(q.dead, Dead{
			Received: outbox.Received{Queue: queue, Attributes: p.Attributes, Body: p.Body, Deliveries: p.deliveries},
			Reason:   reason, Description: description,
		})
	}
	return nil
}

// Wake lets receivers look again: the clock was moved.
func (q *Queue) Wake() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stir()
}

func (q *Queue) stir() {
	if q.wake != nil {
		close(q.wake)
	}
	q.wake = nil
}

// Due returns the names of the queues that have a parcel to hand out now, in order.
func (q *Queue) Due() []work.Queue {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.now()
	var names []work.Queue
	for _, p := range q.live {
		if !p.Due.After(now) && !p.until.After(now) && !slices.Contains(names, p.Queue) {
			names = append(names, p.Queue)
		}
	}
	slices.Sort(names)
	return names
}

// Waiting returns how many parcels of the queue nobody holds: those to hand out now, and those that are due later.
func (q *Queue) Waiting(name work.Queue) (due, later int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.now()
	for _, p := range q.live {
		switch {
		case p.Queue != name || p.until.After(now):
		case p.Due.After(now):
			later++
		default:
			due++
		}
	}
	return due, later
}

// Live returns how many parcels there are, held, waiting or due.
func (q *Queue) Live() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.live)
}

// Dead returns the parcels that were set aside.
func (q *Queue) Dead() []Dead {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Clone(q.dead)
}
