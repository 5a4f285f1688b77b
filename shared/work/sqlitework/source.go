package sqlitework

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pinreset/shared/work"
)

// receipt is what a receiver asks for and gets.
type receipt struct {
	queue      work.Queue
	limit      int
	deliveries []work.Delivery
}

// maxClaim bounds how many messages one receiver gets, and one statement claims.
const maxClaim = 1000

// Receive waits until a message of the queue is due and returns up to limit of them, those due the longest first. A message sent
// in the same group as its receiver waits is handed out by that group.
func (s *Store) Receive(ctx context.Context, queue work.Queue, limit int) ([]work.Delivery, error) {
	r := &receipt{queue: queue, limit: min(max(limit, 1), maxClaim)}
	if err := s.writer.submit(ctx, &operation{receive: r}); err != nil {
		return nil, err
	}
	return r.deliveries, nil
}

// deliver serves the receivers that wait, one claim for all of a queue.
func (g *group) deliver() error {
	for name, q := range g.writer.queues {
		if q.next > g.now || !q.waits() {
			continue
		}
		if err := g.serve(name, q); err != nil {
			return err
		}
	}
	return nil
}

func (g *group) serve(name work.Queue, q *queue) error {
	q.prune()
	wanted := 0
	for _, o := range q.receivers {
		wanted += o.receive.limit
	}
	wanted = min(wanted, maxClaim)
	claimed, err := g.claim(name, wanted)
	if err != nil {
		return err
	}
	if len(claimed) < wanted {
		q.next = never
		if err := g.sql.nextDue.query(g.ctx, func(columns []driver.Value) error {
			q.next = columns[0].(int64)
			return nil
		}, string(name)); err != nil {
			return err
		}
	}
	return g.hand(q, claimed)
}

// hand gives the messages to the receivers in turn.
func (g *group) hand(q *queue, claimed []work.Delivery) error {
	for len(claimed) > 0 && len(q.receivers) > 0 {
		o := q.receivers[0]
		q.receivers = q.receivers[1:]
		if !o.take() {
			continue
		}
		n := min(o.receive.limit, len(claimed))
		o.receive.deliveries, claimed = slices.Clip(claimed[:n]), claimed[n:]
		g.served = append(g.served, o)
	}
	// Receivers that went away between the claim and here leave messages behind, which nobody has seen.
	for _, d := range claimed {
		if err := g.settle(d, work.Outcome{Kind: work.Postpone}); err != nil {
			return err
		}
	}
	return nil
}

func (g *group) claim(name work.Queue, limit int) ([]work.Delivery, error) {
	return g.deliveries(g.sql.claim, name, string(name), int64(limit))
}

// deliveries runs a claim. Its arguments are the time, the lease and the lease's end, and then which messages.
func (g *group) deliveries(claim *statement, name work.Queue, which ...driver.Value) ([]work.Delivery, error) {
	lease := g.writer.numbers.take()
	until := g.now + g.writer.store.lease.Microseconds()
	var claimed []work.Delivery
	err := claim.query(g.ctx, func(columns []driver.Value) error {
		body, _ := columns[6].([]byte)
		claimed = append(claimed, work.Delivery{
			Message: work.Message{
				ID: columns[2].(string), Queue: name, Partition: columns[1].(string),
				At: instant(columns[4].(int64)), Body: body,
			},
			Deliveries:  int(columns[5].(int64)),
			Lease:       leaseToken(columns[0].(int64), lease),
			LeasedUntil: instant(until),
			EnqueuedAt:  instant(columns[3].(int64)),
		})
		return nil
	}, append([]driver.Value{g.now, lease, until}, which...)...)
	return claimed, err
}

// dismiss takes the receivers that the failed group would have served, so that they learn of the failure: who waited for
// a storage that is broken must not wait for ever.
func (g *group) dismiss() {
	for _, q := range g.writer.queues {
		if q.next > g.now {
			continue
		}
		for _, o := range q.receivers {
			if o.take() {
				g.served = append(g.served, o)
			}
		}
		q.receivers = nil
	}
}

// Renew extends the lease from now and returns its new end, or [work.ErrLeaseLost].
func (s *Store) Renew(ctx context.Context, d work.Delivery) (time.Time, error) {
	var until int64
	err := s.writer.do(ctx, 0, func(g *group) error {
		until = g.now + s.lease.Microseconds()
		return g.hold(g.sql.renew, d, until)
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("renew delivery %s: %w", d.ID, err)
	}
	return instant(until), nil
}

// Settle commits the batch and the outcome together. It returns [work.ErrLeaseLost] when the delivery is not held any
// more, and else [work.ErrConflict] when a condition does not hold, with nothing applied. A lease that has ended but was
// given to nobody else still holds.
func (s *Store) Settle(ctx context.Context, d work.Delivery, batch work.Batch, outcome work.Outcome) error {
	if err := validateSettle(d, batch, outcome); err != nil {
		return err
	}
	err := s.writer.do(ctx, sizeOf(batch), func(g *group) error {
		if err := g.checkHeld(d, batch); err != nil {
			return err
		}
		if err := g.settle(d, outcome); err != nil {
			return err
		}
		return g.apply(batch)
	})
	if err != nil {
		return fmt.Errorf("settle delivery %s: %w", d.ID, err)
	}
	return nil
}

// validateSettle also refuses a batch of another partition than the delivery's: table storage can't commit it together
// with the inbox row.
func validateSettle(d work.Delivery, b work.Batch, o work.Outcome) error {
	switch o.Kind {
	case work.Done, work.Retry, work.Postpone:
	default:
		return fmt.Errorf("settle delivery %s: outcome %d does not exist", d.ID, o.Kind)
	}
	if err := b.Validate(); err != nil {
		return err
	}
	if len(b.Writes)+len(b.Messages) > 0 && b.Partition != d.Partition {
		return fmt.Errorf("settle delivery %s: batch of another partition: %w", d.ID, work.ErrBadKey)
	}
	return nil
}

// checkHeld checks the batch's conditions. Who has lost the lease and therefore finds changed rows is told the cause; when
// the conditions hold, settle finds out about the lease, with one statement less.
func (g *group) checkHeld(d work.Delivery, b work.Batch) error {
	conflict := g.check(b)
	if conflict == nil || !refused(conflict) {
		return conflict
	}
	seq, lease := parseLease(d.Lease)
	held := false
	if err := g.sql.held.query(g.ctx, func([]driver.Value) error { held = true; return nil }, seq, lease); err != nil {
		return err
	}
	if !held {
		return work.ErrLeaseLost
	}
	return conflict
}

// settle records the outcome; it changes nothing and returns ErrLeaseLost when the delivery is not held.
func (g *group) settle(d work.Delivery, o work.Outcome) error {
	if o.Kind == work.Done {
		g.writer.purge.done++
		return g.hold(g.sql.done, d, g.now)
	}
	change := g.sql.retry
	if o.Kind == work.Postpone {
		change = g.sql.postpone
	}
	due := g.due(o.At)
	if err := g.hold(change, d, due); err != nil {
		return err
	}
	g.expect(d.Queue, due)
	return nil
}

// hold runs a change of the message that only its holder may make.
func (g *group) hold(change *statement, d work.Delivery, when int64) error {
	seq, lease := parseLease(d.Lease)
	changed, err := change.run(g.ctx, seq, lease, when)
	if err == nil && changed == 0 {
		err = work.ErrLeaseLost
	}
	return err
}

// leaseToken names the message and the claim that handed it out. Claim numbers never repeat, so a token never holds twice.
func leaseToken(seq, lease int64) string {
	return strconv.FormatInt(seq, 36) + "." + strconv.FormatInt(lease, 36)
}

// parseLease returns a lease that nothing has when the token is none of ours.
func parseLease(token string) (seq, lease int64) {
	first, second, _ := strings.Cut(token, ".")
	seq, err := strconv.ParseInt(first, 36, 64)
	if err != nil {
		return -1, -1
	}
	if lease, err = strconv.ParseInt(second, 36, 64); err != nil || lease <= 0 {
		return -1, -1 // a message that nobody holds has lease 0
	}
	return seq, lease
}
