package outboxtest

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
)

// Fault is what goes wrong with a call of a driver.
type Fault int

// Faults of a call.
const (
	None      Fault = iota
	NotMade         // the call fails and has no effect
	NotTold         // the call has its effect, and its answer is lost
	MadeTwice       // as NotTold, and the driver makes the call again, as clients do: the second answer is told
)

// ErrFault is what a call with a fault returns.
var ErrFault = errors.New("the service did not answer")

// Calls stands between a store and its drivers: it counts the calls, and lets them fail.
type Calls struct {
	// Fail says what goes wrong with the call, by its number from 0 and its name. Nothing goes wrong if nil. It may be asked from
	// several goroutines.
	Fail func(n int, name string) Fault

	mu     sync.Mutex
	n      int
	counts map[string]int
}

// Counts returns how often each call was made: get, list, transact, send, receive, renew, complete, dead-letter; and
// under writes and parcels what the transactions and the sendings were made of.
func (c *Calls) Counts() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.counts)
}

func (c *Calls) fault(name string, of string, size int) Fault {
	c.mu.Lock()
	n := c.n
	c.n++
	if c.counts == nil {
		c.counts = map[string]int{}
	}
	c.counts[name]++
	if of != "" {
		c.counts[of] += size
	}
	c.mu.Unlock()
	if c.Fail == nil {
		return None
	}
	return c.Fail(n, name)
}

func (c *Calls) do(name, of string, size int, call func() error) error {
	fault := c.fault(name, of, size)
	if fault == NotMade {
		return ErrFault
	}
	err := call()
	switch fault {
	case NotTold:
		return ErrFault
	case MadeTwice:
		return call()
	}
	return err
}

// Rows returns the driver with the faults.
func (c *Calls) Rows(r outbox.Rows) outbox.Rows { return calledRows{c, r} }

// Queue returns the driver with the faults. What Receive has taken stays taken when its answer is lost.
func (c *Calls) Queue(q outbox.Queue) outbox.Queue { return calledQueue{c, q} }

type calledRows struct {
	calls *Calls
	rows  outbox.Rows
}

func (r calledRows) Get(ctx context.Context, key work.Key) (row work.Row, err error) {
	err = r.calls.do("get", "", 0, func() (err error) { row, err = r.rows.Get(ctx, key); return err })
	return row, err
}

func (r calledRows) List(ctx context.Context, q work.Query) (page work.Page, err error) {
	err = r.calls.do("list", "", 0, func() (err error) { page, err = r.rows.List(ctx, q); return err })
	return page, err
}

func (r calledRows) Transact(ctx context.Context, partition string, writes []work.Write) error {
	return r.calls.do("transact", "writes", len(writes), func() error { return r.rows.Transact(ctx, partition, writes) })
}

type calledQueue struct {
	calls *Calls
	queue outbox.Queue
}

func (q calledQueue) Send(ctx context.Context, parcels []outbox.Parcel) error {
	return q.calls.do("send", "parcels", len(parcels), func() error { return q.queue.Send(ctx, parcels) })
}

func (q calledQueue) Receive(ctx context.Context, queue work.Queue, limit int) ([]outbox.Received, error) {
	// It is counted when it has something: how long it waits for that says nothing.
	got, err := q.queue.Receive(ctx, queue, limit)
	if err != nil {
		return nil, err
	}
	if q.calls.fault("receive", "", 0) != None {
		return nil, ErrFault
	}
	return got, nil
}

func (q calledQueue) Renew(ctx context.Context, queue work.Queue, token string) (until time.Time, err error) {
	err = q.calls.do("renew", "", 0, func() (err error) { until, err = q.queue.Renew(ctx, queue, token); return err })
	return until, err
}

func (q calledQueue) Complete(ctx context.Context, queue work.Queue, token string) error {
	return q.calls.do("complete", "", 0, func() error { return q.queue.Complete(ctx, queue, token) })
}

func (q calledQueue) DeadLetter(ctx context.Context, queue work.Queue, token, reason, description string) error {
	return q.calls.do("dead-letter", "", 0, func() error { return q.queue.DeadLetter(ctx, queue, token, reason, description) })
}
