package sqlitework

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"pinreset/shared/work"
)

// Steps of a commit that is not one transaction, in their order. Each names what is about to happen.
const (
	StepRows     = "rows"     // rows, the inbox row and outbox rows; nothing is stored yet
	StepMessages = "messages" // the rows are stored, no message is sent
	StepSettle   = "settle"   // the messages are sent, the delivery is still held
	StepClear    = "clear"    // the delivery is settled, the outbox rows are still there
)

// Torn is a store that commits the way Table storage and Service Bus must: rows with inbox and outbox rows in one
// transaction, then the messages, then the outcome of the delivery, each on its own. It is for tests of handlers and of dispatch:
// what holds on it, with a crash at any step, holds in the cloud.
//
// What a crash leaves is finished by others: [Torn.Sweep] sends what the outbox still has, and Receive drops a message
// whose id the inbox has.
type Torn struct {
	*Store
	before     func(step string) error
	statements tornStatements
}

type tornStatements struct {
	arrive, arrived      *statement // inbox
	post, posted, unpost *statement // outbox
}

const tornSchema = `
CREATE TABLE IF NOT EXISTS torn_inbox (
	partition TEXT NOT NULL, id TEXT NOT NULL,
	PRIMARY KEY (partition, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS torn_outbox (
	partition TEXT NOT NULL, id TEXT NOT NULL, queue TEXT NOT NULL, due INTEGER NOT NULL, body BLOB,
	PRIMARY KEY (partition, id)
) WITHOUT ROWID;
`

// OpenTorn opens the store in dir. before is called ahead of each step of each commit that has the step, on the caller's
// goroutine; when it returns an error, the rest of the commit does not happen, as if the process had died there, and the
// caller gets the error.
func OpenTorn(dir string, o Options, before func(step string) error) (*Torn, error) {
	s, err := Open(dir, o)
	if err != nil {
		return nil, err
	}
	t := &Torn{Store: s, before: before}
	if err := s.writer.do(context.Background(), 0, t.prepare); err != nil {
		return nil, errors.Join(fmt.Errorf("open data directory %s: %w", dir, err), s.Close())
	}
	return t, nil
}

func (t *Torn) prepare(g *group) error {
	c := t.writer.connection
	if err := c.script(g.ctx, tornSchema); err != nil {
		return err
	}
	var err error
	prepare := c.preparing(g.ctx, &err)
	t.statements = tornStatements{
		arrive:  prepare("enter inbox", `INSERT INTO torn_inbox VALUES (?1, ?2)`),
		arrived: prepare("look into inbox", `SELECT 1 FROM torn_inbox WHERE partition = ?1 AND id = ?2`),
		post:    prepare("enter outbox", `INSERT INTO torn_outbox VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING`),
		posted:  prepare("read outbox", `SELECT partition, id, queue, due, body FROM torn_outbox`),
		unpost:  prepare("clear outbox", `DELETE FROM torn_outbox WHERE partition = ?1 AND id = ?2`),
	}
	return err
}

// Commit applies the batch in its steps.
func (t *Torn) Commit(ctx context.Context, batch work.Batch) error {
	if err := batch.Validate(); err != nil {
		return err
	}
	return t.apply(ctx, batch, nil, nil)
}

// Settle applies the batch and the outcome in their steps.
func (t *Torn) Settle(ctx context.Context, d work.Delivery, batch work.Batch, outcome work.Outcome) error {
	if err := validateSettle(d, batch, outcome); err != nil {
		return err
	}
	admit := func(g *group) error {
		if err := t.admit(g, d); err != nil {
			return err
		}
		if err := g.check(batch); err != nil || outcome.Kind != work.Done {
			return err
		}
		_, err := t.statements.arrive.run(g.ctx, d.Partition, d.ID)
		return err
	}
	settle := func(g *group) error {
		// Whoever has taken the delivery over since the rows were stored will find it in the inbox, or do a retry that was
		// asked for anyhow: nothing is left to do.
		if err := g.settle(d, outcome); !errors.Is(err, work.ErrLeaseLost) {
			return err
		}
		return nil
	}
	if err := t.apply(ctx, batch, admit, settle); err != nil {
		return fmt.Errorf("settle delivery %s: %w", d.ID, err)
	}
	return nil
}

// admit refuses a delivery that is not held or whose unit was committed before.
func (t *Torn) admit(g *group, d work.Delivery) error {
	seq, lease := parseLease(d.Lease)
	held, arrived := false, false
	if err := g.sql.held.query(g.ctx, func([]driver.Value) error { held = true; return nil }, seq, lease); err != nil {
		return err
	}
	if err := t.seen(g, d, &arrived); err != nil {
		return err
	}
	if !held || arrived {
		return work.ErrLeaseLost
	}
	return nil
}

func (t *Torn) seen(g *group, d work.Delivery, arrived *bool) error {
	return t.statements.arrived.query(g.ctx, func([]driver.Value) error { *arrived = true; return nil }, d.Partition, d.ID)
}

// apply goes through the steps; admit and settle are nil when there is no delivery.
func (t *Torn) apply(ctx context.Context, b work.Batch, admit, settle func(*group) error) error {
	rows := func(g *group) error {
		check := admit
		if check == nil {
			check = func(g *group) error { return g.check(b) }
		}
		if err := check(g); err != nil {
			return err
		}
		if err := g.write(b); err != nil {
			return err
		}
		for _, m := range b.Messages {
			if _, err := t.statements.post.run(g.ctx, m.Partition, m.ID, string(m.Queue), g.due(m.At), m.Body); err != nil {
				return err
			}
		}
		return nil
	}
	if err := t.step(ctx, StepRows, rows); err != nil {
		return err
	}
	// The rows decide. From here on ctx can't stop the commit any more than it can stop one transaction.
	ctx = context.WithoutCancel(ctx)
	if len(b.Messages) > 0 {
		err := t.step(ctx, StepMessages, func(g *group) error {
			for _, m := range b.Messages {
				if err := g.send(m); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	if settle != nil {
		if err := t.step(ctx, StepSettle, settle); err != nil {
			return err
		}
	}
	if len(b.Messages) == 0 {
		return nil
	}
	return t.step(ctx, StepClear, func(g *group) error { return t.clear(g, b.Messages) })
}

func (t *Torn) step(ctx context.Context, name string, fn func(*group) error) error {
	if err := t.before(name); err != nil {
		return fmt.Errorf("commit step %s: %w", name, err)
	}
	return t.writer.do(ctx, 0, fn)
}

func (t *Torn) clear(g *group, messages []work.Message) error {
	for _, m := range messages {
		if _, err := t.statements.unpost.run(g.ctx, m.Partition, m.ID); err != nil {
			return err
		}
	}
	return nil
}

// Receive is [Store.Receive], less the messages whose unit was committed before: those are settled here and seen by nobody.
func (t *Torn) Receive(ctx context.Context, queue work.Queue, limit int) ([]work.Delivery, error) {
	for {
		claimed, err := t.Store.Receive(ctx, queue, limit)
		if err != nil {
			return nil, err
		}
		var fresh []work.Delivery
		err = t.writer.do(context.WithoutCancel(ctx), 0, func(g *group) error {
			for _, d := range claimed {
				arrived := false
				if err := t.seen(g, d, &arrived); err != nil {
					return err
				}
				if !arrived {
					fresh = append(fresh, d)
				} else if err := g.settle(d, work.Outcome{Kind: work.Done}); err != nil && !refused(err) {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("look into inbox: %w", err)
		}
		if len(fresh) > 0 {
			return fresh, nil
		}
	}
}

// Sweep sends what a crash left in the outbox. It may run at any time: what was sent meanwhile is not sent twice.
func (t *Torn) Sweep(ctx context.Context) error {
	err := t.writer.do(ctx, 0, func(g *group) error {
		var left []work.Message
		err := t.statements.posted.query(g.ctx, func(columns []driver.Value) error {
			body, _ := columns[4].([]byte)
			left = append(left, work.Message{
				Partition: columns[0].(string), ID: columns[1].(string), Queue: work.Queue(columns[2].(string)),
				At: instant(columns[3].(int64)), Body: body,
			})
			return nil
		})
		if err != nil {
			return err
		}
		for _, m := range left {
			if err := g.send(m); err != nil {
				return err
			}
		}
		return t.clear(g, left)
	})
	if err != nil {
		return fmt.Errorf("sweep outbox: %w", err)
	}
	return nil
}
