package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"pinreset/shared/work"
)

// Steps of a commit that is not one transaction, in their order; see [store.before].
const (
	stepRows     = "rows"
	stepMessages = "messages"
	stepSettle   = "settle"
	stepClear    = "clear"
)

// store is a work.Store and a work.Source in memory. It passes the suite of package worktest, which is the proof that what is
// found on it is found on the others. It decides nothing by chance and asks no clock but its own.
//
// With before set it commits the way Table storage and Service Bus must: rows with inbox and outbox, then the messages, then
// the outcome of the delivery, then the outbox is cleared. before is called ahead of each step, without a lock held; an error
// of it ends the commit there, as the death of the process would.
type store struct {
	now    func() time.Time
	lease  time.Duration
	before func(settling bool, step string) error

	// What the invariants are checked on: called with the lock held for what has just been applied.
	wrote func(work.Batch)
	sent  func(work.Message)
	picks func(n int) int // chooses one of n, where a message is sent again

	mu         sync.Mutex
	serial     uint64 // of ETags, leases and page tokens; never repeats
	partitions map[string]*rows
	messages   map[messageKey]*message // every message there ever was: its id is a dedup key
	live       []*message              // those that are not done, in the order they were sent
	history    []*message              // all, in that order
	inbox      map[messageKey]bool     // deliveries whose unit is committed, where a commit has steps
	outbox     []work.Message
	pages      map[string]work.Query // by token: Page is the row to go on behind
	wake       chan struct{}         // closed when something may have come due
}

type rows struct {
	keys   []string // sorted
	values map[string]work.Row
}

type messageKey struct{ partition, id string }

type message struct {
	work.Message
	enqueued   time.Time
	deliveries int
	lease      string // "" when nobody holds it
	until      time.Time
	done       bool
}

func newStore(now func() time.Time, lease time.Duration) *store {
	return &store{
		now: now, lease: lease, partitions: map[string]*rows{}, messages: map[messageKey]*message{},
		inbox: map[messageKey]bool{}, pages: map[string]work.Query{}, wake: make(chan struct{}),
	}
}

// Get implements work.Store.
func (s *store) Get(ctx context.Context, key work.Key) (work.Row, error) {
	if err := ctx.Err(); err != nil {
		return work.Row{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	row, ok := s.row(key)
	if !ok {
		return work.Row{}, work.ErrNotFound
	}
	row.Value = slices.Clone(row.Value)
	return row, nil
}

func (s *store) row(key work.Key) (work.Row, bool) {
	p := s.partitions[key.Partition]
	if p == nil {
		return work.Row{}, false
	}
	row, ok := p.values[key.Row]
	return row, ok
}

// List implements work.Store.
func (s *store) List(ctx context.Context, q work.Query) (work.Page, error) {
	if err := ctx.Err(); err != nil {
		return work.Page{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	after := ""
	if q.Page != "" {
		issued, ok := s.pages[q.Page]
		if !ok || issued.Partition != q.Partition || issued.Prefix != q.Prefix {
			return work.Page{}, work.ErrBadPage
		}
		after = issued.Page
	}
	p := s.partitions[q.Partition]
	if p == nil {
		return work.Page{}, nil
	}
	limit := min(cmp.Or(q.Limit, 100), 1000)
	at, found := slices.BinarySearch(p.keys, max(after, q.Prefix))
	if found && after != "" && p.keys[at] == after {
		at++
	}
	var page work.Page
	for ; at < len(p.keys) && strings.HasPrefix(p.keys[at], q.Prefix) && (q.Before == "" || p.keys[at] < q.Before); at++ {
		if len(page.Rows) == limit {
			page.Next = "page-" + s.number()
			s.pages[page.Next] = work.Query{Partition: q.Partition, Prefix: q.Prefix, Page: page.Rows[limit-1].Row}
			break
		}
		row := p.values[p.keys[at]]
		row.Value = slices.Clone(row.Value)
		page.Rows = append(page.Rows, row)
	}
	return page, nil
}

func (s *store) number() string {
	s.serial++
	return strconv.FormatUint(s.serial, 10)
}

// Commit implements work.Store.
func (s *store) Commit(ctx context.Context, b work.Batch) error {
	if err := b.Validate(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.apply(b, nil, work.Outcome{})
}

// Settle implements work.Source.
func (s *store) Settle(ctx context.Context, d work.Delivery, b work.Batch, o work.Outcome) error {
	if o.Kind != work.Done && o.Kind != work.Retry && o.Kind != work.Postpone {
		return fmt.Errorf("outcome %d does not exist", o.Kind)
	}
	if err := b.Validate(); err != nil {
		return err
	}
	if len(b.Writes)+len(b.Messages) > 0 && b.Partition != d.Partition {
		return fmt.Errorf("batch of another partition: %w", work.ErrBadKey)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.apply(b, &d, o)
}

// apply goes through the steps; d is nil when there is no delivery.
func (s *store) apply(b work.Batch, d *work.Delivery, o work.Outcome) error {
	err := s.step(d != nil, stepRows, func() error {
		if d != nil {
			if _, held := s.held(*d); !held || s.inbox[messageKey{d.Partition, d.ID}] {
				return work.ErrLeaseLost
			}
		}
		if err := s.check(b); err != nil {
			return err
		}
		if s.before != nil {
			s.outbox = append(s.outbox, b.Messages...)
			if d != nil && o.Kind == work.Done {
				s.inbox[messageKey{d.Partition, d.ID}] = true
			}
		} else {
			s.send(b.Messages)
			if d != nil {
				s.settle(*d, o)
			}
		}
		s.write(b)
		return nil
	})
	if err != nil || s.before == nil {
		return err
	}
	if len(b.Messages) > 0 {
		if err := s.step(d != nil, stepMessages, func() error { s.send(b.Messages); return nil }); err != nil {
			return err
		}
	}
	if d != nil {
		if err := s.step(true, stepSettle, func() error { s.settle(*d, o); return nil }); err != nil {
			return err
		}
	}
	if len(b.Messages) == 0 {
		return nil
	}
	return s.step(d != nil, stepClear, func() error { s.clear(b.Messages); return nil })
}

func (s *store) step(settling bool, name string, fn func() error) error {
	if s.before != nil {
		if err := s.before(settling, name); err != nil {
			return fmt.Errorf("commit step %s: %w", name, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return fn()
}

func (s *store) check(b work.Batch) error {
	for _, w := range b.Writes {
		row, there := s.row(work.Key{Partition: b.Partition, Row: w.Row})
		etag, match := w.If.ETag()
		if w.If.Absent() && there || match && (!there || row.ETag != etag) {
			return fmt.Errorf("row %s: %w", w.Row, work.ErrConflict)
		}
	}
	return nil
}

func (s *store) write(b work.Batch) {
	if len(b.Writes) == 0 {
		return
	}
	p := s.partitions[b.Partition]
	if p == nil {
		p = &rows{values: map[string]work.Row{}}
		s.partitions[b.Partition] = p
	}
	for _, w := range b.Writes {
		at, found := slices.BinarySearch(p.keys, w.Row)
		switch {
		case w.Delete && found:
			p.keys = slices.Delete(p.keys, at, at+1)
			delete(p.values, w.Row)
		case !w.Delete:
			if !found {
				p.keys = slices.Insert(p.keys, at, w.Row)
			}
			p.values[w.Row] = work.Row{Key: work.Key{Partition: b.Partition, Row: w.Row}, ETag: s.number(), Value: slices.Clone(w.Value)}
		}
	}
	if s.wrote != nil {
		s.wrote(b)
	}
}

func (s *store) send(list []work.Message) {
	for _, m := range list {
		key := messageKey{m.Partition, m.ID}
		if s.messages[key] != nil {
			continue
		}
		m.At, m.Body = s.due(m.At), slices.Clone(m.Body)
		s.messages[key] = &message{Message: m, enqueued: s.now().UTC()}
		s.live = append(s.live, s.messages[key])
		s.history = append(s.history, s.messages[key])
		if s.sent != nil {
			s.sent(m)
		}
	}
	s.stirLocked()
}

// due is when a message is due that was asked for at.
func (s *store) due(at time.Time) time.Time {
	if now := s.now(); at.Before(now) {
		at = now
	}
	return at.UTC()
}

func (s *store) held(d work.Delivery) (*message, bool) {
	m := s.messages[messageKey{d.Partition, d.ID}]
	return m, m != nil && !m.done && d.Lease != "" && m.lease == d.Lease
}

// settle records the outcome for the delivery's holder; for anybody else it does nothing.
func (s *store) settle(d work.Delivery, o work.Outcome) {
	m, held := s.held(d)
	if !held {
		return
	}
	m.lease = ""
	switch o.Kind {
	case work.Done:
		m.done = true
		s.live = slices.DeleteFunc(s.live, func(l *message) bool { return l == m })
		return
	case work.Postpone:
		m.deliveries--
	}
	m.At = s.due(o.At)
	s.stirLocked()
}

func (s *store) clear(list []work.Message) {
	s.outbox = slices.DeleteFunc(s.outbox, func(o work.Message) bool {
		return slices.ContainsFunc(list, func(m work.Message) bool { return m.Partition == o.Partition && m.ID == o.ID })
	})
}

// sweep sends what a crash left in the outbox.
func (s *store) sweep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.send(s.outbox)
	s.outbox = nil
}

// Receive implements work.Source.
func (s *store) Receive(ctx context.Context, queue work.Queue, limit int) ([]work.Delivery, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s.mu.Lock()
		var got []work.Delivery
		for _, m := range slices.Clone(s.live) {
			if m.Queue == queue && len(got) < limit && s.claimable(m) {
				if d, fresh := s.claim(m); fresh {
					got = append(got, d)
				}
			}
		}
		wake := s.wake
		s.mu.Unlock()
		if len(got) > 0 {
			return got, nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
		}
	}
}

// claimable reports whether the message can be handed out now.
func (s *store) claimable(m *message) bool { return !s.when(m).After(s.now()) }

// when is the time from which the message can be handed out.
func (s *store) when(m *message) time.Time {
	if m.lease != "" {
		return m.until
	}
	return m.At
}

// claim hands the message out. One whose unit was committed before is settled instead, and is not fresh.
func (s *store) claim(m *message) (d work.Delivery, fresh bool) {
	m.lease, m.until = s.number(), s.now().Add(s.lease).UTC()
	m.deliveries++
	d = work.Delivery{Message: m.Message, Deliveries: m.deliveries, Lease: m.lease, LeasedUntil: m.until, EnqueuedAt: m.enqueued}
	d.Body = slices.Clone(m.Body)
	if s.inbox[messageKey{m.Partition, m.ID}] {
		s.settle(d, work.Outcome{Kind: work.Done})
		return d, false
	}
	return d, true
}

// Renew implements work.Source.
func (s *store) Renew(_ context.Context, d work.Delivery) (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, held := s.held(d)
	if !held {
		return time.Time{}, work.ErrLeaseLost
	}
	m.until = s.now().Add(s.lease).UTC()
	return m.until, nil
}

// Erase removes rows whatever their version.
func (s *store) Erase(_ context.Context, keys ...work.Key) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		s.write(work.Batch{Partition: key.Partition, Writes: []work.Write{{Row: key.Row, Delete: true}}})
	}
	return nil
}

// ready, next and what follows them are for the scheduler, see [keeper].
func (s *store) ready() (due []int) {
	for i, m := range s.live {
		if s.claimable(m) {
			due = append(due, i)
		}
	}
	return due
}

func (s *store) next() (in time.Duration, waits bool) {
	now := s.now()
	for _, m := range s.live {
		if d := s.when(m).Sub(now); !waits || d < in {
			in, waits = d, true
		}
	}
	return in, waits
}

func (s *store) tend() {}

func (s *store) message(i int) work.Message { return s.live[i].Message }

func (s *store) take(i int) (work.Delivery, func(context.Context) (work.Delivery, error), bool) {
	d, fresh := s.claim(s.live[i])
	return d, nil, fresh
}

// duplicate is of a message that waits, is held, or was done long ago.
func (s *store) duplicate(i int) {
	s.send([]work.Message{s.live[i].Message, s.history[s.picks(len(s.history))].Message})
}

func (s *store) delay(i int, due, held time.Duration) {
	s.live[i].At, s.live[i].until = s.live[i].At.Add(due), s.live[i].until.Add(held)
}

func (s *store) lose(i int) {
	s.live[i].done = true
	s.live = slices.Delete(s.live, i, i+1)
}

func (s *store) alive(key messageKey) bool {
	if m := s.messages[key]; m != nil {
		return !m.done && !s.inbox[key]
	}
	return s.unsent(func(m work.Message) bool { return m.Partition == key.partition && m.ID == key.id })
}

func (s *store) unsent(which func(work.Message) bool) bool {
	return slices.ContainsFunc(s.outbox, which)
}

func (s *store) waits(which func(work.Message) bool) bool {
	return slices.ContainsFunc(s.live, func(m *message) bool { return which(m.Message) })
}

func (s *store) restart(int) { s.sweep() }

// stir wakes the receivers that wait: the clock was moved.
func (s *store) stir() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stirLocked()
}

func (s *store) stirLocked() {
	close(s.wake)
	s.wake = make(chan struct{})
}
