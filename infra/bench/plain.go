package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	_ "modernc.org/sqlite"
)

// plainPragmas are what makes SQLite durable, and what the store of pinreset has too.
const plainPragmas = "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=wal_autocheckpoint(4000)&_txlock=immediate"

const plainSchema = `
CREATE TABLE jobs (id INTEGER PRIMARY KEY, queue TEXT NOT NULL, state INTEGER NOT NULL DEFAULT 0, body BLOB);
CREATE INDEX jobs_waiting ON jobs (queue, id) WHERE state = 0;
CREATE TABLE items (id TEXT PRIMARY KEY, version INTEGER NOT NULL, value BLOB) WITHOUT ROWID;`

// measurePlain does the same unit with a claim table as one writes it by hand: one transaction a unit, which claims the job,
// reads and writes the row, inserts the next job and marks the claimed one done. There is one connection: SQLite has one
// writer, and more of them wait for each other's locks.
func measurePlain(ctx context.Context, file string, n int) (c cost, err error) {
	db, err := sql.Open("sqlite", "file:"+file+plainPragmas)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, plainSchema); err != nil {
		return c, err
	}
	fill, err := db.BeginTx(ctx, nil)
	if err != nil {
		return c, err
	}
	for range n {
		if _, err := fill.ExecContext(ctx, `INSERT INTO jobs (queue, body) VALUES ('in', ?)`, body); err != nil {
			return c, errors.Join(err, fill.Rollback())
		}
	}
	if err := fill.Commit(); err != nil {
		return c, err
	}
	p := plain{db: db}
	for text, s := range map[string]**sql.Stmt{
		`UPDATE jobs SET state = 1 WHERE id = (SELECT id FROM jobs WHERE queue = 'in' AND state = 0 ORDER BY id LIMIT 1) RETURNING id`: &p.claim,
		`SELECT version FROM items WHERE id = ?`:                   &p.read,
		`REPLACE INTO items (id, version, value) VALUES (?, ?, ?)`: &p.write,
		`INSERT INTO jobs (queue, body) VALUES ('out', ?)`:         &p.send,
		`UPDATE jobs SET state = 2, body = NULL WHERE id = ?`:      &p.done,
	} {
		if *s, err = db.PrepareContext(ctx, text); err != nil {
			return c, err
		}
		defer (*s).Close()
	}
	c, err = timed(n, func() error { return p.unit(ctx) })
	c.commits = int64(n)
	return c, err
}

type plain struct {
	db                             *sql.DB
	claim, read, write, send, done *sql.Stmt
}

func (p *plain) unit(ctx context.Context) (err error) {
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = tx.Rollback()
		}
	}()
	var id, version int64
	if err := tx.StmtContext(ctx, p.claim).QueryRowContext(ctx).Scan(&id); err != nil {
		return err
	}
	device := fmt.Sprintf("device %08d", id)
	if err := tx.StmtContext(ctx, p.read).QueryRowContext(ctx, device).Scan(&version); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if _, err := tx.StmtContext(ctx, p.write).ExecContext(ctx, device, version+1, body); err != nil {
		return err
	}
	if _, err := tx.StmtContext(ctx, p.send).ExecContext(ctx, body); err != nil {
		return err
	}
	if _, err := tx.StmtContext(ctx, p.done).ExecContext(ctx, id); err != nil {
		return err
	}
	return tx.Commit()
}
