package sqlitework

import (
	"context"
	"database/sql/driver"
	"fmt"

	"pinreset/shared/work"
)

// Erase deletes the rows so that no byte of them stays in a file: secure_delete overwrites them in the database, and the
// write-ahead log, which still has their pages, is copied there and cut to nothing. Rows that are not
// there are no error, so a caller repeats an Erase that failed. It returns ErrNotErased when the log could not be emptied.
//
// This is the second line of defence: what must be unreadable is sealed, and its key destroyed.
func (s *Store) Erase(ctx context.Context, keys ...work.Key) error {
	err := s.writer.submit(ctx, &operation{empties: true, run: func(g *group) error {
		for _, key := range keys {
			if err := g.remove(key); err != nil {
				return err
			}
		}
		return nil
	}})
	if err != nil {
		return fmt.Errorf("erase %d rows: %w", len(keys), err)
	}
	return nil
}

func wantsEmptyLog(ops []*operation, refusals []error) bool {
	for i, o := range ops {
		if o.empties && refusals[i] == nil {
			return true
		}
	}
	return false
}

// emptyLog runs on the writer's goroutine, between groups. SQLite can cut the log only while nobody reads from it, so the
// readers are held back meanwhile.
func (w *writer) emptyLog(ctx context.Context) error {
	w.store.checkpoints.running.Lock()
	defer w.store.checkpoints.running.Unlock()
	readers := w.store.drainReaders()
	defer func() {
		for _, r := range readers {
			w.store.readers <- r
		}
	}()
	busy := int64(1)
	err := w.statements.emptyLog.query(ctx, func(columns []driver.Value) error {
		busy, _ = columns[0].(int64)
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotErased, err)
	}
	if busy != 0 {
		return ErrNotErased
	}
	return nil
}

// purge forgets ids that have been in the inbox long enough, a little in every so many transactions.
type purge struct {
	done  int   // messages done since the last step
	after int64 // the message from which the next step looks on
}

const (
	purgeEvery = 128
	purgeLook  = 512 // more than purgeEvery, so that the purge outruns what comes in
)

// step looks at the oldest messages in the order they were sent and stops at the first that was sent too lately to have
// been done long ago; from there it begins again.
func (p *purge) step(g *group) error {
	if p.done < purgeEvery {
		return nil
	}
	p.done = 0
	cutoff := g.now - g.writer.store.inbox.Microseconds()
	last, seen := p.after, 0
	err := g.sql.oldest.query(g.ctx, func(columns []driver.Value) error {
		if columns[1].(int64) < cutoff {
			last = columns[0].(int64)
			seen++
		}
		return nil
	}, p.after, int64(purgeLook))
	if err != nil {
		return err
	}
	if last > p.after {
		if _, err := g.sql.forget.run(g.ctx, p.after, last, cutoff); err != nil {
			return err
		}
	}
	p.after = last
	if seen < purgeLook {
		p.after = 0
	}
	return nil
}

// ErasePartition deletes every row of the partition and every message for it, those that wait, those that are held and those
// that are done, as [Store.Erase] does: no byte of them stays in a file. Whoever holds one of the messages gets
// work.ErrLeaseLost. An empty partition is no error. What is written to the partition afterwards stays.
func (s *Store) ErasePartition(ctx context.Context, partition string) (rows, messages int, err error) {
	var r, m int64
	err = s.writer.submit(ctx, &operation{empties: true, run: func(g *group) (err error) {
		g.rows = changes{all: true}
		if r, err = g.sql.removeAll.run(g.ctx, partition); err != nil {
			return err
		}
		m, err = g.sql.dropAll.run(g.ctx, partition)
		return err
	}})
	if err != nil {
		return int(r), int(m), fmt.Errorf("erase partition: %w", err)
	}
	return int(r), int(m), nil
}

// Discard ends every message of the queue that is not done, unseen, and returns how many there were. Their ids stay known.
func (s *Store) Discard(ctx context.Context, queue work.Queue) (int, error) {
	var n int64
	err := s.writer.do(ctx, 0, func(g *group) (err error) {
		n, err = g.sql.discard.run(g.ctx, string(queue), g.now)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("discard messages of %s: %w", queue, err)
	}
	return int(n), nil
}
