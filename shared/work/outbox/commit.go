package outbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pinreset/shared/work"
)

// commit is one batch on its way through the steps.
type commit struct {
	*Store
	id       string
	began    time.Time
	horizon  int64 // at that time
	batch    work.Batch
	delivery *work.Delivery // nil when nothing is settled
	held     lease          // the delivery's
	after    record         // what the row of the delivery's message becomes
}

func (s *Store) begin(batch work.Batch, d *work.Delivery) *commit {
	c := &commit{Store: s, id: s.o.NewID(), began: s.now(), horizon: s.horizon(), batch: batch, delivery: d}
	c.batch.Messages = c.once(batch.Messages)
	return c
}

// once leaves out what the batch has twice, and the message that it settles.
func (c *commit) once(messages []work.Message) []work.Message {
	type key struct{ partition, id string }
	seen := map[key]bool{}
	if c.delivery != nil {
		seen[key{c.delivery.Partition, c.delivery.ID}] = true
	}
	var all []work.Message
	for _, m := range messages {
		if k := (key{m.Partition, m.ID}); !seen[k] {
			seen[k] = true
			all = append(all, m)
		}
	}
	return all
}

// settle makes the outcome part of the commit.
func (c *commit) settle(held lease, o work.Outcome) {
	d, now := c.delivery, c.began
	c.held = held
	c.after = record{
		Queue: d.Queue, Enqueued: micro(d.EnqueuedAt), Due: micro(d.At), Attempt: held.attempt, Before: d.Deliveries, Commit: c.id,
	}
	if o.Kind == work.Done {
		c.after.Done = micro(now)
		return
	}
	if o.At.Before(now) {
		o.At = now
	}
	if o.Kind == work.Postpone {
		c.after.Before--
	}
	c.after.Attempt++
	c.after.Due, c.after.Body = dueMicro(o.At), d.Body
}

// again reports whether the delivery's message is to be sent anew.
func (c *commit) again() bool { return c.delivery != nil && c.after.Done == 0 }

// run goes through the steps. Once the rows are stored, the commit holds: what can't be finished here is left to a sweep.
func (c *commit) run(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(c.batch.Messages) > 0 || c.again() {
		if err := c.enrol(ctx, c.batch.Partition); err != nil {
			return err
		}
	}
	if err := c.step(StepRows); err != nil {
		return err
	}
	if err := c.store(ctx); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	sends, sent := c.marked() && !strings.HasPrefix(c.markKey(), kindWaiting), true
	if sends {
		if err := c.step(StepMessages); err != nil {
			return err
		}
		sent = c.went(ctx, StepMessages, c.send(ctx))
	}
	if c.delivery != nil {
		if err := c.step(StepSettle); err != nil {
			return err
		}
		c.went(ctx, StepSettle, c.queue.Complete(ctx, c.delivery.Queue, c.held.token))
	}
	if sends && sent {
		if err := c.step(StepClear); err != nil {
			return err
		}
		c.went(ctx, StepClear, c.rows.Transact(ctx, c.batch.Partition, clearing(c.markKey(), c.entries(), c.horizon)))
	}
	return nil
}

func (c *commit) step(name string) error {
	if c.o.Before == nil {
		return nil
	}
	if err := c.o.Before(name); err != nil {
		return fmt.Errorf("commit step %s: %w", name, err)
	}
	return nil
}

func (c *commit) went(ctx context.Context, step string, err error) bool {
	if err != nil {
		c.o.Logger.WarnContext(ctx, "commit holds, but a step of it is left to the sweep", "step", step, "tenant", c.batch.Partition, "cause", err.Error())
	}
	return err == nil
}

// store makes the transaction that decides. Messages whose ids are known already are left out of it.
func (c *commit) store(ctx context.Context) error {
	for {
		writes, messages := c.writes()
		if len(writes) == 0 {
			return nil // nothing but duplicates
		}
		err := c.rows.Transact(ctx, c.batch.Partition, writes)
		refused := (*Refused)(nil)
		if !errors.As(err, &refused) {
			return err
		}
		switch made, err := c.made(ctx); {
		case err != nil:
			return err
		case made:
			return nil
		}
		if refused.Write >= 0 && refused.Write < messages {
			return err // a handler's own condition
		}
		known, readErr := c.dropKnown(ctx)
		if readErr != nil {
			return readErr
		}
		if known == 0 {
			return err
		}
	}
}

// writes returns the transaction's writes, and from which of them on they are those of messages.
func (c *commit) writes() (writes []work.Write, messages int) {
	if c.delivery != nil {
		writes = append(writes, work.Write{Row: messageKey(c.delivery.ID), Value: c.after.encode(), If: work.IfMatch(c.held.etag)})
	}
	for _, w := range c.batch.Writes {
		w.Row = kindRow + w.Row
		writes = append(writes, w)
	}
	messages = len(writes)
	for i, m := range c.batch.Messages {
		w := work.Write{Row: messageKey(m.ID), If: work.IfAbsent()}
		r := c.record(m)
		if c.foreign(m) {
			w = work.Write{Row: c.foreignKey(i)}
			r.Partition, r.Message = m.Partition, m.ID
		}
		w.Value = r.encode()
		writes = append(writes, w)
	}
	if c.marked() {
		writes = append(writes, work.Write{Row: c.markKey(), Value: encodeEntries(c.entries())})
	}
	return writes, messages
}

func (c *commit) record(m work.Message) record {
	r := record{Queue: m.Queue, Enqueued: micro(c.began), Due: micro(c.began), Attempt: 1, Commit: c.id, Body: m.Body}
	if m.At.After(c.began) {
		r.Due = dueMicro(m.At)
	}
	return r
}

func (c *commit) foreign(m work.Message) bool { return m.Partition != c.batch.Partition }

func (c *commit) foreignKey(i int) string { return kindForeign + c.id + "-" + strconv.Itoa(i) }

func (c *commit) marked() bool { return len(c.batch.Messages) > 0 || c.again() }

func (c *commit) markKey() string { return markKey(c.id, c.entries()) }

// entries are what the commit's mark says.
func (c *commit) entries() (all []entry) {
	if c.again() {
		all = append(all, entry{Message: c.delivery.ID, Attempt: c.after.Attempt, Due: c.beyond(c.after)})
	}
	for i, m := range c.batch.Messages {
		if c.foreign(m) {
			all = append(all, entry{Foreign: c.foreignKey(i), Due: c.beyond(c.record(m))})
		} else {
			all = append(all, entry{Message: m.ID, Attempt: 1, Due: c.beyond(c.record(m))})
		}
	}
	return all
}

// beyond is when the message is due, if that is later than the queue can wait; else zero.
func (c *commit) beyond(r record) int64 {
	if r.Due < c.horizon {
		return 0
	}
	return r.Due
}

// made reports whether the transaction that was refused had been made before: a service may apply what it does not answer,
// and the client then asks again. It returns work.ErrLeaseLost when another settlement of the delivery came first. A batch
// of nothing but rows can't be told; its conflict sends the handler back to read, which is as good.
func (c *commit) made(ctx context.Context) (bool, error) {
	own := c.markKey()
	if c.delivery != nil {
		own = messageKey(c.delivery.ID)
	} else if !c.marked() {
		return false, nil
	}
	row, err := c.rows.Get(ctx, work.Key{Partition: c.batch.Partition, Row: own})
	missing := errors.Is(err, work.ErrNotFound)
	switch {
	case err != nil && !missing:
		return false, fmt.Errorf("look for commit %s: %w", c.id, err)
	case c.delivery == nil:
		return !missing, nil
	case missing:
		return false, work.ErrLeaseLost
	case row.ETag == c.held.etag:
		return false, nil
	}
	r, err := decodeRecord(row)
	if err != nil {
		return false, err
	}
	if r.Commit != c.id {
		return false, work.ErrLeaseLost
	}
	return true, nil
}

// dropKnown takes the messages out of the batch whose ids are known, and returns how many there were.
func (c *commit) dropKnown(ctx context.Context) (int, error) {
	before := len(c.batch.Messages)
	var failed error
	c.batch.Messages = slices.DeleteFunc(c.batch.Messages, func(m work.Message) bool {
		if failed != nil || c.foreign(m) {
			return false
		}
		_, err := c.rows.Get(ctx, work.Key{Partition: m.Partition, Row: messageKey(m.ID)})
		if err != nil && !errors.Is(err, work.ErrNotFound) {
			failed = fmt.Errorf("look for message %s: %w", m.ID, err)
		}
		return err == nil
	})
	return before - len(c.batch.Messages), failed
}
