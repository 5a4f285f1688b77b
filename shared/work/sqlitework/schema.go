package sqlitework

import (
	"context"
	"crypto/rand"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"modernc.org/sqlite"
)

const (
	databaseName = "pinreset.db"
	lockName     = "pinreset.lock"
)

// schemaNumber is stored as user_version. Raise it with a migration from the number before.
const schemaNumber = 1

// A row of messages lives through three states: due (due has come or will), held (lease is not 0, due is the end of the
// lease) and done (due is NULL, the body is gone, only the id is kept for dedup). at keeps the time it was sent for, or put
// off to. The partial index carries only messages
// that are not done; lease is in it so that the statistics never touch the table.
const schema = `
CREATE TABLE settings (
	name  TEXT PRIMARY KEY,
	value
) WITHOUT ROWID;
CREATE TABLE rows (
	partition TEXT NOT NULL,
	row       TEXT NOT NULL,
	version   INTEGER NOT NULL,
	value     BLOB,
	PRIMARY KEY (partition, row)
) WITHOUT ROWID;
CREATE TABLE messages (
	seq        INTEGER PRIMARY KEY,
	partition  TEXT NOT NULL,
	id         TEXT NOT NULL,
	queue      TEXT NOT NULL,
	enqueued   INTEGER NOT NULL,
	at         INTEGER NOT NULL,
	due        INTEGER,
	lease      INTEGER NOT NULL DEFAULT 0,
	deliveries INTEGER NOT NULL DEFAULT 0,
	done       INTEGER,
	body       BLOB,
	UNIQUE (partition, id)
);
CREATE INDEX messages_due ON messages (queue, due, lease) WHERE due IS NOT NULL;
`

// writing is what durability and erasure rest on. fullfsync matters on macOS only,
// where a plain fsync stops at the drive's cache.
var writing = []string{
	"busy_timeout(2000)", "journal_mode(WAL)", "synchronous(FULL)", "fullfsync(ON)", "checkpoint_fullfsync(ON)",
	"secure_delete(ON)", "wal_autocheckpoint(4000)", "temp_store(MEMORY)", "cache_size(-16384)", "trusted_schema(OFF)",
}

var reading = []string{"busy_timeout(2000)", "temp_store(MEMORY)", "query_only(ON)", "trusted_schema(OFF)"}

// connect opens the database of the directory with the pragmas.
func connect(ctx context.Context, dir string, pragmas []string) (*connection, error) {
	path, err := filepath.Abs(filepath.Join(dir, databaseName))
	if err != nil {
		return nil, err
	}
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") { // a drive letter
		path = "/" + path
	}
	name := url.URL{Scheme: "file", Path: path, RawQuery: url.Values{"_pragma": pragmas}.Encode()}
	connector, err := sqlite.NewConnector(name.String())
	if err != nil {
		return nil, err
	}
	conn, err := connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &connection{conn: conn}, nil
}

// createFiles makes the directory and an empty database that only their owner may read; SQLite gives its other files the
// database's mode. A directory that exists keeps its mode: it may be the operator's own.
func createFiles(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := syncDir(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(filepath.Join(dir, databaseName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// prepareSchema creates the tables of a new database, refuses one of a newer program, and checks that the settings that
// durability and erasure rest on are really on: SQLite answers a refused pragma with the old value, not with an error.
func prepareSchema(ctx context.Context, c *connection) error {
	for pragma, want := range map[string]driver.Value{
		"journal_mode": "wal", "synchronous": int64(2), "secure_delete": int64(1),
	} {
		if got, err := c.pragma(ctx, pragma); err != nil || got != want {
			return errors.Join(fmt.Errorf("%s is %v, not %v: is the directory on a local disk?", pragma, got, want), err)
		}
	}
	version, err := c.pragma(ctx, "user_version")
	if err != nil {
		return err
	}
	switch number := version.(int64); {
	case number > schemaNumber:
		return fmt.Errorf("schema %d, this program knows %d: %w", number, schemaNumber, ErrNewer)
	case number == schemaNumber:
		return nil
	}
	return c.script(ctx, fmt.Sprintf("BEGIN IMMEDIATE;%sPRAGMA user_version = %d;COMMIT;", schema, schemaNumber))
}

// releaseLeases makes the messages due that a dead process held: the lock on the directory proves that nobody holds them
// now, so nobody needs to wait for their leases to end. The deliveries stay counted.
func releaseLeases(ctx context.Context, c *connection, now int64) error {
	release, err := c.prepare(ctx, "release leases", `UPDATE messages SET due = ?1 WHERE due > ?1 AND lease <> 0`)
	if err != nil {
		return err
	}
	_, err = release.run(ctx, now)
	return err
}

// pageKey returns the key that page tokens are made with. It is stored, so that a token outlives a restart.
func pageKey(ctx context.Context, c *connection) ([]byte, error) {
	fresh := make([]byte, 32)
	rand.Read(fresh)
	insert, err := c.prepare(ctx, "create page key", `INSERT OR IGNORE INTO settings VALUES ('page key', ?)`)
	if err != nil {
		return nil, err
	}
	if _, err := insert.run(ctx, fresh); err != nil {
		return nil, err
	}
	read, err := c.prepare(ctx, "read page key", `SELECT value FROM settings WHERE name = 'page key'`)
	if err != nil {
		return nil, err
	}
	var key []byte
	err = read.query(ctx, func(columns []driver.Value) error { key, _ = columns[0].([]byte); return nil })
	if err == nil && len(key) != len(fresh) {
		err = fmt.Errorf("page key of %d bytes", len(key))
	}
	return key, err
}
