package main

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
	"pinreset/shared/work/outbox/outboxtest"
)

// composed is the program's own store over two services, package outbox, one for each process. The services are a table and a
// queue in memory, and each call of them is an effect. They keep true time; the program has its own.
type composed struct {
	w      *world
	rows   *outboxtest.Rows
	queue  *outboxtest.Queue
	stores [processes]*outbox.Store
	ledger
	batches map[*task]work.Batch // what each run is committing
	sent    []outbox.Parcel      // all there ever were
	sweeps  time.Time            // from when on one is to come; zero if none is
	longest time.Duration        // for which the queue can wait; zero is for ever

	fenceless, inboxless bool // the broken builds
}

func newComposed(w *world, o options) *composed {
	c := &composed{
		longest: o.kept.longest(w.seed),
		w:       w, rows: &outboxtest.Rows{}, ledger: newLedger(), batches: map[*task]work.Batch{},
		queue:     &outboxtest.Queue{Now: func() time.Time { return w.now }, Lock: leaseTime, Forgetful: w.chance(0.5)},
		fenceless: o.skipFence, inboxless: o.skipInbox,
	}
	c.queue.MaxDelay = c.longest
	for p := range c.stores {
		c.restart(p)
	}
	return c
}

// restart forgets what the process had in memory: which partitions are in the register.
func (c *composed) restart(process int) {
	c.stores[process] = outbox.New(tableOf{c}, queueOf{c}, outbox.Options{NewID: c.w.newID, Now: c.w.clock, MaxDelay: c.longest, Logger: logger(c.w)})
}

func (c *composed) store() *outbox.Store {
	if c.w.cur == nil {
		return c.stores[0]
	}
	return c.stores[c.w.cur.process]
}

// Get implements work.Store.
func (c *composed) Get(ctx context.Context, key work.Key) (work.Row, error) {
	return c.store().Get(ctx, key)
}

// List implements work.Store.
func (c *composed) List(ctx context.Context, q work.Query) (work.Page, error) {
	return c.store().List(ctx, q)
}

// Commit implements work.Store.
func (c *composed) Commit(ctx context.Context, b work.Batch) error {
	return c.as(b, func() error { return c.store().Commit(ctx, b) })
}

// Settle implements work.Source.
func (c *composed) Settle(ctx context.Context, d work.Delivery, b work.Batch, o work.Outcome) error {
	return c.as(b, func() error { return c.store().Settle(ctx, d, b, o) })
}

// as lets the table know which batch it is that commits.
func (c *composed) as(b work.Batch, commit func() error) error {
	t := c.w.cur
	c.batches[t] = b
	defer delete(c.batches, t)
	err := commit()
	if t != nil && t.dead {
		return errCrashed // a commit that holds tells nobody of it when its process has died
	}
	return err
}

// Renew implements work.Source.
func (c *composed) Renew(ctx context.Context, d work.Delivery) (time.Time, error) {
	return c.store().Renew(ctx, d)
}

func (c *composed) ready() (due []int) {
	for i := range c.queue.Live() {
		if _, from := c.queue.Parcel(i); !from.After(c.w.now) {
			due = append(due, i)
		}
	}
	return due
}

func (c *composed) next() (in time.Duration, waits bool) {
	for i := range c.queue.Live() {
		_, from := c.queue.Parcel(i)
		if d := from.Sub(c.w.now); !waits || d < in {
			in, waits = d, true
		}
	}
	return in, waits
}

func (c *composed) message(i int) work.Message {
	p, _ := c.queue.Parcel(i)
	key, _ := carried(p)
	return work.Message{ID: key.id, Queue: p.Queue, Partition: key.partition, At: p.Due, Body: p.Body}
}

func (c *composed) take(i int) (work.Delivery, func(context.Context) (work.Delivery, error), bool) {
	d := work.Delivery{Message: c.message(i)}
	r := c.queue.Hand(i)
	d.Deliveries = r.Deliveries
	return d, func(ctx context.Context) (work.Delivery, error) {
		accepted, err := c.store().Accept(ctx, r)
		if err == nil && c.w.cur.dead {
			err = errCrashed
		}
		return accepted, err
	}, true
}

// duplicate puts parcels in again: one that waits or is held, and one that was completed long ago.
func (c *composed) duplicate(i int) {
	p, _ := c.queue.Parcel(i)
	p.Due = time.Time{}
	c.queue.Put(p)
	old := pick(c.w, c.sent...)
	old.Due = time.Time{}
	c.queue.Put(old)
}

func (c *composed) delay(i int, due, _ time.Duration) { c.queue.Delay(i, due) }

// lose takes the message's parcels away. Its row stays as it is.
func (c *composed) lose(i int) {
	p, _ := c.queue.Parcel(i)
	key, _ := carried(p)
	c.lost[key] = true
	for i := c.queue.Live() - 1; i >= 0; i-- {
		p, _ := c.queue.Parcel(i)
		if k, _ := carried(p); k == key {
			c.queue.Drop(i)
		}
	}
}

// unlock takes one of the parcels that are held from its holder, ahead of its time.
func (c *composed) unlock() {
	var held []int
	for i := range c.queue.Live() {
		if c.queue.Held(i) {
			held = append(held, i)
		}
	}
	if len(held) > 0 {
		c.queue.Unlock(pick(c.w, held...))
	}
}

// tend sends for a sweep when something is left for it, or comes within what the queue can wait. One comes every minute; those that
// would find nothing are left out.
func (c *composed) tend() {
	if from, any := c.wanted(); any && (c.sweeps.IsZero() || from.Before(c.sweeps)) {
		c.sweeps = from
		c.sweepAt(from, from.Add(c.w.upTo(time.Minute)))
	}
}

// wanted is from when on a sweep finds something.
func (c *composed) wanted() (from time.Time, any bool) {
	for _, entries := range c.marks {
		for _, e := range entries {
			at := c.w.now
			if e.Foreign == "" && e.Due != 0 {
				if near := time.UnixMicro(e.Due).Add(-c.longest); near.After(at) {
					at = near
				}
			}
			if !any || at.Before(from) {
				from, any = at, true
			}
		}
	}
	return from, any
}

func (c *composed) sweepAt(from, at time.Time) {
	c.w.at(at, "sweep", func() {
		if !c.sweeps.Equal(from) {
			return // an earlier one took its place
		}
		c.w.spawn(&task{name: "sweep"}, func(ctx context.Context) {
			if err := c.store().Sweep(ctx); err != nil {
				c.w.note("sweep failed", err.Error())
			}
			c.sweeps = time.Time{}
		})
	})
}

func (c *composed) alive(key messageKey) bool {
	m, there := c.messages[key]
	if !there {
		return c.unsent(func(m work.Message) bool { return m.Partition == key.partition && m.ID == key.id })
	}
	return m.Done == 0 && !c.lost[key]
}

func (c *composed) waits(which func(work.Message) bool) bool {
	for i := range c.queue.Live() {
		if which(c.message(i)) {
			return true
		}
	}
	for at, entries := range c.marks {
		for _, e := range entries {
			if e.Due != 0 && e.Foreign == "" && which(work.Message{ID: e.Message, Partition: at.Partition}) {
				return true // it waits in its row
			}
		}
	}
	return false
}

// check wants every message that is not done to be on its way.
func (c *composed) check() {
	for _, key := range c.open {
		if m := c.messages[key]; !c.lost[key] && !c.marked(key, m.Attempt) && !c.parcelled(key, m.Attempt) {
			c.w.violate("I21: message %s of %s is not done, and no parcel of its attempt %d is in the queue or marked to be sent", key.id, key.partition, m.Attempt)
		}
	}
}

func (c *composed) parcelled(key messageKey, attempt int) bool {
	for i := range c.queue.Live() {
		p, _ := c.queue.Parcel(i)
		if k, n := carried(p); k == key && n == attempt {
			return true
		}
	}
	return false
}

// checkEnd wants a last sweep to find everything sent that the queue can be asked for.
func (c *composed) checkEnd() {
	if err := c.store().Sweep(context.Background()); err != nil {
		c.w.violate("I21: the last sweep: %v", err)
	}
	left := 0
	for _, entries := range c.marks {
		if len(entries) == 0 || slices.ContainsFunc(entries, func(e entry) bool {
			return e.Foreign != "" || e.Due == 0 || !time.UnixMicro(e.Due).After(c.w.now.Add(c.longest))
		}) {
			left++
		}
	}
	if left > 0 || len(c.foreign) > 0 {
		c.w.violate("I21: %d marks and %d messages for other partitions are left", left, len(c.foreign))
	}
	c.check()
}

// carried says which message, and which attempt at it, a parcel is of.
func carried(p outbox.Parcel) (messageKey, int) {
	attempt, _ := strconv.Atoi(p.Attributes[outbox.AttributeAttempt])
	return messageKey{p.Attributes[outbox.AttributePartition], p.Attributes[outbox.AttributeMessage]}, attempt
}

// tableOf is the table as a store sees it.
type tableOf struct{ c *composed }

func (t tableOf) Get(ctx context.Context, key work.Key) (row work.Row, err error) {
	err = t.c.w.service(tableRead, func() error { row, err = t.c.rows.Get(ctx, key); return err })
	if t.c.inboxless && err == nil && key.Row[0] == rowOfMessage {
		row.Value = undone(row.Value)
	}
	return row, err
}

func (t tableOf) List(ctx context.Context, q work.Query) (page work.Page, err error) {
	err = t.c.w.service(tableList, func() error { page, err = t.c.rows.List(ctx, q); return err })
	return page, err
}

func (t tableOf) Transact(ctx context.Context, partition string, writes []work.Write) error {
	if t.c.fenceless {
		writes = slices.Clone(writes)
		for i, w := range writes {
			if _, match := w.If.ETag(); match && w.Row[0] == rowOfMessage {
				writes[i].If = work.Always()
			}
		}
	}
	return t.c.w.service(tableTransact, func() error {
		err := t.c.rows.Transact(ctx, partition, writes)
		if err == nil {
			t.c.wrote(partition, writes)
		}
		return err
	})
}

// wrote lets the invariants see a transaction that was made.
func (c *composed) wrote(partition string, writes []work.Write) {
	w := c.w
	rows := false
	for _, wr := range writes {
		switch {
		case wr.Row[0] == rowOfHandler:
			rows = true
		case partition == register:
		default:
			switch m, sent, err := c.ledger.wrote(partition, wr); {
			case err != nil:
				w.violate("I21: %v", err)
			case sent:
				w.sent(m)
			}
		}
	}
	if rows {
		w.wrote(c.batches[w.cur])
	}
}

// queueOf is the queue as a store sees it. Parcels are handed out by the scheduler.
type queueOf struct{ c *composed }

func (q queueOf) Send(ctx context.Context, parcels []outbox.Parcel) error {
	c := q.c
	send := func(parcels []outbox.Parcel) error {
		c.sent = append(c.sent, parcels...)
		return c.queue.Send(ctx, parcels)
	}
	if c.w.cur == nil {
		return send(parcels)
	}
	m, err := c.w.before(queueSend)
	if m == doneInPart {
		return errors.Join(errUnavailable, send(parcels[:c.w.rng.IntN(len(parcels))]))
	}
	return c.w.served(m, err, func() error { return send(parcels) })
}

func (q queueOf) Receive(context.Context, work.Queue, int) ([]outbox.Received, error) {
	panic("the scheduler delivers")
}

func (q queueOf) Renew(ctx context.Context, queue work.Queue, token string) (until time.Time, err error) {
	err = q.c.w.service(queueRenew, func() error { until, err = q.c.queue.Renew(ctx, queue, token); return err })
	return until, err
}

func (q queueOf) Complete(ctx context.Context, queue work.Queue, token string) error {
	return q.c.w.service(queueComplete, func() error { return q.c.queue.Complete(ctx, queue, token) })
}

func (q queueOf) DeadLetter(_ context.Context, _ work.Queue, _, reason, _ string) error {
	q.c.w.violate("I21: a parcel of ours is set aside as %s", reason)
	return nil
}

// service makes a call of a service with all that can go wrong about it.
func (w *world) service(e effect, call func() error) error {
	if w.cur == nil { // the world's own doing
		return call()
	}
	m, err := w.before(e)
	return w.served(m, err, call)
}

func (w *world) served(m mishap, err error, call func() error) error {
	switch {
	case err != nil:
		return err
	case m == unavailable:
		return errUnavailable
	}
	err = call()
	switch m {
	case answerLost:
		return errUnavailable
	case doneTwice:
		err = call()
	}
	return errors.Join(err, w.after(m))
}
