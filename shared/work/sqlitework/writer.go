package sqlitework

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"pinreset/shared/work"
)

// A group is bounded so that a caller's wait and the memory of a transaction are.
const (
	maxGroupOperations = 512
	maxGroupBytes      = 16 << 20
)

// Operations of background work wait for company, because a transaction of one costs nearly as much as one of ten: until a person's
// operation comes, or enough of them have, or companyFor after the last group began. A store that has just been at rest has no company to
// expect: what comes in the first moment after is committed at once, such as the first event of a process that a host started for it.
const (
	company    = 8
	companyFor = 8 * time.Millisecond
	atRest     = 4 * companyFor // without a group, and as long is the moment after; under load groups begin companyFor apart
)

// operation is one caller's part of a group. Either the writer takes it or its caller withdraws it, never both.
type operation struct {
	taken   atomic.Bool // by the writer, or back by the caller
	size    int
	run     func(*group) error
	receive *receipt // instead of run: the operation waits for messages
	urgent  bool     // somebody waits for it: it starts a group at once
	empties bool     // asks for an empty write-ahead log after the commit
	err     error
	done    chan struct{}
}

func (o *operation) take() bool { return o.taken.CompareAndSwap(false, true) }

// finish answers the caller.
func (o *operation) finish(err error) {
	o.err = err
	close(o.done)
}

// writer owns the connection that writes.
type writer struct {
	store      *Store
	connection *connection
	statements statements
	numbers    numbers
	queues     map[work.Queue]*queue
	purge      purge
	groups     atomic.Int64 // transactions committed
	most       int          // operations in a group

	mu      sync.Mutex
	waiting []*operation
	urgent  bool // one of them is
	alone   bool // see [Options]
	stopped bool
	signal  chan struct{} // something is waiting, or the clock was moved, or the writer is stopped
	ended   chan struct{}
}

func newWriter(ctx context.Context, s *Store, c *connection) (*writer, error) {
	w := &writer{
		store: s, connection: c, queues: map[work.Queue]*queue{}, most: maxGroupOperations,
		signal: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	if err := w.statements.prepare(ctx, c); err != nil {
		return nil, err
	}
	return w, w.numbers.load(ctx, &w.statements)
}

// do runs fn in a group and returns its result, or what became of the group.
func (w *writer) do(ctx context.Context, size int, fn func(*group) error) error {
	return w.submit(ctx, &operation{size: size, run: fn})
}

// submit waits until the operation is answered, or ctx ends before the writer takes it.
func (w *writer) submit(ctx context.Context, o *operation) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	o.done = make(chan struct{})
	w.mu.Lock()
	if w.stopped {
		w.mu.Unlock()
		return ErrClosed
	}
	w.waiting = append(w.waiting, o)
	w.urgent = w.urgent || o.urgent
	w.mu.Unlock()
	w.nudge()

	select {
	case <-o.done:
		return o.err
	case <-ctx.Done():
		if o.take() {
			return ctx.Err()
		}
		<-o.done
		return o.err
	}
}

func (w *writer) nudge() {
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// stop refuses new operations and waits for the group that runs.
func (w *writer) stop() {
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	w.nudge()
	<-w.ended
}

// collect takes what waits, up to a group's bounds.
func (w *writer) collect() (ops []*operation, stopped bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, size := 0, 0
	for n < len(w.waiting) && n < w.most && (n == 0 || size+w.waiting[n].size <= maxGroupBytes) {
		size += w.waiting[n].size
		n++
	}
	ops = w.waiting[:n:n]
	if w.waiting = w.waiting[n:]; len(w.waiting) == 0 {
		w.waiting = nil
	}
	return ops, w.stopped
}

func (w *writer) run() {
	defer close(w.ended)
	nap := time.NewTimer(0)
	defer nap.Stop()
	var last time.Time // when a group began
	var busy time.Time // when the first group after a rest began
	for {
		w.gather(last, busy, nap)
		ops, stopped := w.collect()
		if stopped {
			w.refuse(ops)
			return
		}
		now := microseconds(w.store.now())
		run := w.sort(ops)
		if len(run) > 0 || w.anyDue(now) {
			began := time.Now()
			if began.Sub(last) > atRest {
				busy = began
			}
			last = began
			w.group(run, now)
			w.restartLog()
			continue
		}
		if len(ops) > 0 {
			continue // only receivers came; more may be waiting
		}
		nap.Reset(w.untilDue(now))
		select {
		case <-w.signal:
		case <-nap.C:
		}
	}
}

// gather waits until a group is worth its transaction.
func (w *writer) gather(last, busy time.Time, nap *time.Timer) {
	for {
		w.mu.Lock()
		enough := time.Since(busy) < atRest || w.alone || w.urgent || w.stopped || len(w.waiting) >= company
		w.urgent = false
		w.mu.Unlock()
		rest := companyFor - time.Since(last)
		if enough || rest <= 0 {
			return
		}
		nap.Reset(rest)
		select {
		case <-w.signal:
		case <-nap.C:
			return
		}
	}
}

// restartLog copies the last pages of a log that has grown long, so that the next group begins it anew.
func (w *writer) restartLog() {
	c := w.store.checkpoints
	if !c.restart.Load() || !c.running.TryLock() {
		return
	}
	defer c.running.Unlock()
	c.restart.Store(false)
	// What fails here is tried again by the next checkpoint.
	_ = w.statements.restartLog.query(context.Background(), func([]driver.Value) error { return nil })
}

// refuse answers everybody who still waits.
func (w *writer) refuse(ops []*operation) {
	w.mu.Lock()
	ops = append(ops, w.waiting...)
	w.waiting = nil
	w.mu.Unlock()
	for _, q := range w.queues {
		ops = append(ops, q.receivers...)
	}
	for _, o := range ops {
		if o.take() {
			o.finish(ErrClosed)
		}
	}
}

// sort parks the receivers at their queues and takes the other operations.
func (w *writer) sort(ops []*operation) (run []*operation) {
	run = ops[:0]
	for _, o := range ops {
		switch {
		case o.receive != nil:
			w.queue(o.receive.queue).park(o)
		case o.take():
			run = append(run, o)
		}
	}
	return run
}

// group runs the operations, and receivers that can be served, as one transaction and answers them.
func (w *writer) group(ops []*operation, now int64) {
	g := &group{ctx: context.Background(), writer: w, sql: &w.statements, now: now}
	refusals, err := w.transact(g, ops)
	if err != nil {
		err = fmt.Errorf("commit group: %w", err)
		for _, q := range w.queues {
			q.next = 0 // what was learned from the transaction is void
		}
		w.numbers.reserved = 0
	} else {
		w.groups.Add(1)
		w.store.checkpoints.wrote()
	}
	var emptied error
	if err == nil && wantsEmptyLog(ops, refusals) {
		emptied = w.emptyLog(g.ctx)
	}
	for i, o := range ops {
		switch {
		case err != nil:
			o.finish(err)
		case refusals[i] != nil:
			o.finish(refusals[i])
		case o.empties:
			o.finish(emptied)
		default:
			o.finish(nil)
		}
	}
	for _, o := range g.served {
		if err != nil {
			o.receive.deliveries = nil
		}
		o.finish(err)
	}
}

// transact returns what was refused, by operation, or the error that undid the whole group.
func (w *writer) transact(g *group, ops []*operation) (refusals []error, err error) {
	if _, err := g.sql.begin.run(g.ctx); err != nil {
		g.dismiss()
		return nil, err
	}
	defer func() {
		if err != nil {
			g.dismiss()
			// SQLite has rolled back by itself after the graver errors, and says so here: not news.
			_, _ = g.sql.rollback.run(g.ctx)
		}
	}()
	refusals = make([]error, len(ops))
	for i, o := range ops {
		if err := o.run(g); refused(err) {
			refusals[i] = err
		} else if err != nil {
			return nil, err
		}
	}
	if err := g.deliver(); err != nil {
		return nil, err
	}
	if err := w.purge.step(g); err != nil {
		return nil, err
	}
	if err := w.numbers.reserve(g); err != nil {
		return nil, err
	}
	w.store.cache.begin(&g.rows)
	_, err = g.sql.commit.run(g.ctx)
	w.store.cache.end(&g.rows, err == nil)
	return refusals, err
}

// refused reports whether the error is a verdict on one operation, which then has written nothing. Everything else is a
// fault of the storage and ends the group.
func refused(err error) bool {
	return errors.Is(err, work.ErrConflict) || errors.Is(err, work.ErrLeaseLost)
}
