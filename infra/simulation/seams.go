package main

import (
	"bytes"
	"context"
	"slices"
	"time"

	"pinreset/shared/dispatch"
	"pinreset/shared/grant"
	"pinreset/shared/identity"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

// rowsOf is the store as the program sees it.
type rowsOf struct{ w *world }

func (s rowsOf) Get(ctx context.Context, key work.Key) (work.Row, error) {
	w := s.w
	m, err := w.before(readRow)
	if err != nil {
		return work.Row{}, err
	}
	if m == unavailable {
		return work.Row{}, errUnavailable
	}
	w.stays(key.Partition)
	row, err := w.store.Get(ctx, key)
	if kept, ok := w.cur.unkept[key.Row]; ok && err == nil && bytes.Equal(row.Value, kept.stored) {
		row.Value = kept.seen
	}
	return row, err
}

func (s rowsOf) List(ctx context.Context, q work.Query) (work.Page, error) {
	if _, err := s.w.before(readRow); err != nil {
		return work.Page{}, err
	}
	s.w.stays(q.Partition)
	return s.w.store.List(ctx, q)
}

func (s rowsOf) Commit(ctx context.Context, b work.Batch) error {
	if s.w.skipIntent {
		b = s.w.cur.pretend(b)
	}
	return s.w.change(commit, b.Partition, func() error { return s.w.store.Commit(ctx, b) })
}

// pretence is a row of the broken build.
type pretence struct{ stored, seen []byte }

// pretend leaves the intent out of what is stored, and lets the run alone see it.
func (t *task) pretend(b work.Batch) work.Batch {
	b.Writes = slices.Clone(b.Writes)
	for i, wr := range b.Writes {
		without := bytes.Replace(wr.Value, []byte(`"state":"calling"`), []byte(`"state":"accepted"`), 1)
		without = bytes.Replace(without, []byte(`"state":"creating"`), []byte(`"state":"accepted"`), 1)
		if len(without) != len(wr.Value) {
			t.unkept = map[string]pretence{wr.Row: {stored: without, seen: wr.Value}}
			b.Writes[i].Value = without
		}
	}
	return b
}

func (s rowsOf) Settle(ctx context.Context, d work.Delivery, b work.Batch, o work.Outcome) error {
	return s.w.change(settle, d.Partition, func() error { return s.w.store.Settle(ctx, d, b, o) })
}

func (s rowsOf) Receive(context.Context, work.Queue, int) ([]work.Delivery, error) {
	panic("the scheduler delivers")
}

func (s rowsOf) Renew(ctx context.Context, d work.Delivery) (time.Time, error) {
	return s.w.store.Renew(ctx, d)
}

// change makes a change with all that can go wrong about it.
func (w *world) change(e effect, partition string, change func() error) error {
	m, err := w.before(e)
	if err != nil {
		return err
	}
	if m == unavailable {
		return errUnavailable
	}
	if e == commit && w.expired() {
		return context.DeadlineExceeded
	}
	w.stays(partition)
	if err := change(); err != nil {
		return err
	}
	if m == answerLost {
		return errUnavailable
	}
	return w.after(m)
}

// shared are the partitions that are no tenant's.
var shared = []string{identity.Partition, identity.SessionPartition, grant.PeoplePartition, dispatch.SystemPartition}

// stays checks that a run reads and writes its own tenant, and beyond it the register only.
func (w *world) stays(partition string) {
	if t := w.cur; partition != t.tenant && partition != tenant.Partition && (t.tenant != "" || !slices.Contains(shared, partition)) {
		w.violate("I5: a run of tenant %s touches partition %s", t.tenant, partition)
	}
}

// ring is the key ring as the vault sees it.
type ring struct{ w *world }

func (r ring) Get(ctx context.Context, key work.Key) (work.Row, error) {
	if r.w.cur != nil {
		m, err := r.w.before(readKey)
		if err != nil {
			return work.Row{}, err
		}
		if m == unavailable {
			return work.Row{}, errUnavailable
		}
		r.w.stays(key.Partition)
	}
	return r.w.ring.Get(ctx, key)
}

// List is for the sweep of housekeeping.
func (r ring) List(ctx context.Context, q work.Query) (work.Page, error) {
	if r.w.cur != nil {
		m, err := r.w.before(readKey)
		if err != nil {
			return work.Page{}, err
		}
		if m == unavailable {
			return work.Page{}, errUnavailable
		}
		r.w.stays(q.Partition)
	}
	return r.w.ring.List(ctx, q)
}

func (r ring) Commit(ctx context.Context, b work.Batch) error {
	return r.w.change(writeKey, b.Partition, func() error { return r.w.ring.Commit(ctx, b) })
}

func (r ring) Erase(ctx context.Context, keys ...work.Key) error {
	partition := r.w.cur.tenant
	if len(keys) > 0 { // a sweep that found none empties the log of an earlier one
		partition = keys[0].Partition
	}
	return r.w.change(eraseKey, partition, func() error { return r.w.ring.Erase(ctx, keys...) })
}

// step is passed ahead of each step of a commit that has steps.
func (w *world) step(settling bool, step string) error {
	if w.cur == nil {
		return nil
	}
	var e effect
	switch {
	case step == stepRows:
		return nil
	case step == stepMessages && settling:
		e = settleMessages
	case step == stepMessages:
		e = commitMessages
	case step == stepSettle:
		e = settleSettle
	case settling:
		e = settleClear
	default:
		e = commitClear
	}
	_, err := w.before(e)
	return err
}
