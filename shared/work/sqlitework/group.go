package sqlitework

import (
	"context"
	"database/sql/driver"
	"fmt"
	"time"

	"pinreset/shared/work"
)

// group is one transaction. What an operation can be refused for it finds out by check (or by a first statement that changes
// nothing); after that only the storage can fail it, and then the whole group is undone.
type group struct {
	ctx    context.Context
	writer *writer
	sql    *statements
	now    int64        // microseconds
	served []*operation // receivers that get messages from this transaction
	rows   changes      // to rows, so far
}

// statements are the writer's.
type statements struct {
	begin, commit, rollback     *statement
	version, put, remove        *statement
	send                        *statement
	claim, claimOne             *statement
	nextDue, renew              *statement
	done, retry, postpone, held *statement
	oldest, forget              *statement
	reserve, reserved           *statement
	restartLog, emptyLog        *statement
	removeAll, dropAll, discard *statement
}

func (s *statements) prepare(ctx context.Context, c *connection) error {
	var err error
	prepare := c.preparing(ctx, &err)
	*s = statements{
		begin:    prepare("begin", `BEGIN IMMEDIATE`),
		commit:   prepare("commit", `COMMIT`),
		rollback: prepare("roll back", `ROLLBACK`),

		version: prepare("read version", `SELECT version FROM rows WHERE partition = ?1 AND row = ?2`),
		put: prepare("put row", `INSERT INTO rows (partition, row, version, value) VALUES (?1, ?2, ?3, ?4)
			ON CONFLICT (partition, row) DO UPDATE SET version = ?3, value = ?4`),
		remove: prepare("delete row", `DELETE FROM rows WHERE partition = ?1 AND row = ?2`),

		removeAll: prepare("delete rows", `DELETE FROM rows WHERE partition = ?1`),
		dropAll:   prepare("delete messages", `DELETE FROM messages WHERE partition = ?1`),

		discard: prepare("discard messages",
			`UPDATE messages SET lease = 0, due = NULL, done = ?2, body = NULL WHERE queue = ?1 AND due IS NOT NULL`),

		// An id that is known, waiting or done, is not sent again.
		send: prepare("send message", `INSERT INTO messages (partition, id, queue, enqueued, at, due, body)
			VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6) ON CONFLICT (partition, id) DO NOTHING`),

		// A bare parameter in LIMIT makes SQLite plan the statement anew each time that one is bound.
		claim: prepare("claim messages", `UPDATE messages SET lease = ?2, due = ?3, deliveries = deliveries + 1
			WHERE seq IN (SELECT seq FROM messages WHERE queue = ?4 AND due <= ?1 ORDER BY due LIMIT ?5 + 0)
			RETURNING seq, partition, id, enqueued, at, deliveries, body`),
		claimOne: prepare("claim a message", `UPDATE messages SET lease = ?2, due = ?3, deliveries = deliveries + 1
			WHERE partition = ?4 AND id = ?5 AND due <= ?1 RETURNING seq, partition, id, enqueued, at, deliveries, body`),
		nextDue: prepare("find next due message",
			`SELECT due FROM messages WHERE queue = ?1 AND due IS NOT NULL ORDER BY due LIMIT 1`),
		renew: prepare("renew lease", `UPDATE messages SET due = ?3 WHERE seq = ?1 AND lease = ?2`),

		done: prepare("finish message",
			`UPDATE messages SET lease = 0, due = NULL, done = ?3, body = NULL WHERE seq = ?1 AND lease = ?2`),
		retry: prepare("retry message", `UPDATE messages SET lease = 0, at = ?3, due = ?3 WHERE seq = ?1 AND lease = ?2`),
		postpone: prepare("postpone message",
			`UPDATE messages SET lease = 0, at = ?3, due = ?3, deliveries = deliveries - 1 WHERE seq = ?1 AND lease = ?2`),
		held: prepare("check lease", `SELECT 1 FROM messages WHERE seq = ?1 AND lease = ?2`),

		oldest: prepare("look at inbox",
			`SELECT seq, enqueued FROM messages WHERE seq > ?1 ORDER BY seq LIMIT ?2 + 0`),
		forget: prepare("purge inbox", `DELETE FROM messages WHERE seq > ?1 AND seq <= ?2 AND done < ?3`),

		reserve:  prepare("reserve numbers", `REPLACE INTO settings VALUES ('numbers', ?1)`),
		reserved: prepare("read numbers", `SELECT value FROM settings WHERE name = 'numbers'`),

		restartLog: prepare("restart write-ahead log", passiveCheckpoint),
		emptyLog:   prepare("empty write-ahead log", `PRAGMA wal_checkpoint(TRUNCATE)`),
	}
	return err
}

// check reads whether the conditions of the batch hold. Nothing changes them until the group ends.
func (g *group) check(b work.Batch) error {
	for _, w := range b.Writes {
		tag, match := w.If.ETag()
		if !match && !w.If.Absent() {
			continue
		}
		version, err := g.version(work.Key{Partition: b.Partition, Row: w.Row})
		if err != nil {
			return err
		}
		wanted := int64(0)
		if match {
			var ok bool
			if wanted, ok = parseETag(tag); !ok || wanted == 0 {
				wanted = -1
			}
		}
		if version != wanted {
			return fmt.Errorf("write row %s: %w", w.Row, work.ErrConflict)
		}
	}
	return nil
}

// version returns that of the row, 0 for none.
func (g *group) version(key work.Key) (version int64, err error) {
	if e, changed := g.rows.rows[key]; changed {
		if e == nil {
			return 0, nil
		}
		return e.version, nil
	}
	if e, _, ok := g.writer.store.cache.get(key); ok && !g.rows.all {
		return e.version, nil
	}
	err = g.sql.version.query(g.ctx, func(columns []driver.Value) error {
		version = columns[0].(int64)
		return nil
	}, key.Partition, key.Row)
	return version, err
}

// apply writes the batch, whose conditions were checked.
func (g *group) apply(b work.Batch) error {
	if err := g.write(b); err != nil {
		return err
	}
	for _, m := range b.Messages {
		if err := g.send(m); err != nil {
			return err
		}
	}
	return nil
}

func (g *group) write(b work.Batch) (err error) {
	for _, w := range b.Writes {
		key := work.Key{Partition: b.Partition, Row: w.Row}
		if w.Delete {
			err = g.remove(key)
		} else {
			version := g.writer.numbers.take()
			g.rows.put(key, version, w.Value)
			_, err = g.sql.put.run(g.ctx, b.Partition, w.Row, version, w.Value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (g *group) remove(key work.Key) error {
	g.rows.set(key, nil)
	_, err := g.sql.remove.run(g.ctx, key.Partition, key.Row)
	return err
}

func (g *group) send(m work.Message) error {
	due := g.due(m.At)
	_, err := g.sql.send.run(g.ctx, m.Partition, m.ID, string(m.Queue), g.now, due, m.Body)
	if err == nil {
		g.expect(m.Queue, due)
	}
	return err
}

// due is the time from which a message may be delivered: at, or now if that is past.
func (g *group) due(at time.Time) int64 {
	if at.IsZero() {
		return g.now
	}
	due := microseconds(at)
	if at.Nanosecond()%1000 != 0 {
		due++ // never early
	}
	return max(due, g.now)
}

// expect notes that a message of the queue falls due.
func (g *group) expect(name work.Queue, due int64) {
	q := g.writer.queue(name)
	q.next = min(q.next, due)
}

// Times are stored in microseconds since 1970: nanoseconds would end in the year 2262, and a message may be due "never".
func microseconds(t time.Time) int64 { return t.UnixMicro() }

func instant(micros int64) time.Time { return time.UnixMicro(micros).UTC() }
