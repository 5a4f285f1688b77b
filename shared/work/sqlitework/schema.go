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

// steps lead from one layout to the next: the first makes layout 1 in an empty file, each other one takes the layout before
// it. The number of the layout is the file's user_version. A step that was released is never changed; whoever adds one adds a
// file of the layout before it to testdata.
var steps = []string{schema, rowsApart}

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

// rowsApart keeps rows in a table of their own order, and their keys in an index. In layout 1 a row lay within the index of keys, where
// one of more than a kilobyte takes a page for itself, and each change of it frees that page, wipes it, and takes another.
const rowsApart = `
ALTER TABLE rows RENAME TO rows_1;
CREATE TABLE rows (
	place     INTEGER PRIMARY KEY,
	partition TEXT NOT NULL,
	row       TEXT NOT NULL,
	version   INTEGER NOT NULL,
	value     BLOB,
	UNIQUE (partition, row)
);
INSERT INTO rows (partition, row, version, value) SELECT partition, row, version, value FROM rows_1 ORDER BY version;
DROP TABLE rows_1;
`

// writing is what durability and erasure rest on. fullfsync matters on macOS only,
// where a plain fsync stops at the drive's cache. The log is checkpointed beside the writer; what the writer would do itself at
// 50,000 pages, 200 MB, is for when that fails.
var writing = []string{
	"busy_timeout(2000)", "journal_mode(WAL)", "synchronous(FULL)", "fullfsync(ON)", "checkpoint_fullfsync(ON)",
	"secure_delete(ON)", "wal_autocheckpoint(50000)", "temp_store(MEMORY)", "cache_size(-8192)", "trusted_schema(OFF)",
}

// copying is the checkpointer's connection: it must sync as the writer does, and reads no pages that are worth keeping.
var copying = []string{"busy_timeout(0)", "cache_size(-64)", "synchronous(FULL)", "fullfsync(ON)", "checkpoint_fullfsync(ON)", "secure_delete(ON)", "trusted_schema(OFF)"}

// reading keeps few pages: they are void after the next commit, and single rows are kept by the cache.
var reading = []string{"busy_timeout(2000)", "cache_size(-512)", "temp_store(MEMORY)", "query_only(ON)", "trusted_schema(OFF)"}

// connect opens the database of the directory with the pragmas.
func connect(ctx context.Context, dir string, pragmas []string) (*connection, error) {
	return connectFile(ctx, filepath.Join(dir, databaseName), url.Values{"_pragma": pragmas})
}

func connectFile(ctx context.Context, path string, options url.Values) (*connection, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") { // a drive letter
		path = "/" + path
	}
	name := url.URL{Scheme: "file", Path: path, RawQuery: options.Encode()}
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

// prepareSchema brings the tables to the layout that the steps lead to, and refuses those of a newer program. It checks that
// the settings that durability and erasure rest on are really on: SQLite answers a refused pragma with the old value, not with
// an error.
func prepareSchema(ctx context.Context, c *connection, steps []string) error {
	for pragma, want := range map[string]driver.Value{
		"journal_mode": "wal", "synchronous": int64(2), "secure_delete": int64(1),
	} {
		if got, err := c.pragma(ctx, pragma); err != nil || got != want {
			return errors.Join(fmt.Errorf("%s is %v, not %v: is the directory on a local disk?", pragma, got, want), err)
		}
	}
	return upgrade(ctx, c, steps)
}

// upgrade takes the steps that the file has not taken, each in a transaction of its own: a crash leaves a whole layout, from
// which the next start goes on.
func upgrade(ctx context.Context, c *connection, steps []string) error {
	layout, err := layoutOf(ctx, c, len(steps))
	if err != nil {
		return err
	}
	for n := layout; n < len(steps); n++ {
		err := c.script(ctx, fmt.Sprintf("BEGIN IMMEDIATE;%s;PRAGMA user_version = %d;COMMIT;", steps[n], n+1))
		if err != nil {
			_ = c.script(ctx, "ROLLBACK") // refused where the step never began its transaction
			return fmt.Errorf("upgrade to layout %d: %w", n+1, err)
		}
	}
	return nil
}

// layoutOf reads the number of the layout, or returns ErrNewer when it is above the newest that is known.
func layoutOf(ctx context.Context, c *connection, newest int) (int, error) {
	version, err := c.pragma(ctx, "user_version")
	if err != nil {
		return 0, err
	}
	layout := int(version.(int64))
	if layout > newest {
		return layout, fmt.Errorf("layout %d, this program knows %d: %w", layout, newest, ErrNewer)
	}
	return layout, nil
}

// releaseLeases makes the messages due that a dead process held: the lock on the directory proves that nobody holds them
// now, so nobody needs to wait for their leases to end. The deliveries stay counted.
func releaseLeases(ctx context.Context, c *connection, now int64) error {
	// The index alone tells which they are: a search of the table reads every waiting body, and a start waits for that.
	release, err := c.prepare(ctx, "release leases", `UPDATE messages SET due = ?1 WHERE seq IN
		(SELECT seq FROM messages INDEXED BY messages_due WHERE due IS NOT NULL AND due > ?1 AND lease <> 0)`)
	if err != nil {
		return err
	}
	if _, err = release.run(ctx, now); err != nil {
		return err
	}
	return c.script(ctx, "PRAGMA shrink_memory") // the search's pages are of no further use
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
