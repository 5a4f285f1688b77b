package sqlitework

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

var (
	// ErrNoStore: the directory has no store, or the file is none.
	ErrNoStore = errors.New("there is no store")
	// ErrDamaged: SQLite's own check found the file's structure to be wrong.
	ErrDamaged = errors.New("the file is damaged")
)

// Backup writes what the store in dir holds at this moment to file, which must not exist. The store may be open in this or in
// another process, which goes on working; while the copy is made an Erase there may report ErrNotErased. The file has mode
// 0600. It is there whole and on stable storage when Backup returns nil, and not at all otherwise. Nothing that was deleted
// from the store is in it.
func Backup(ctx context.Context, dir, file string) error {
	if err := backup(ctx, dir, file); err != nil {
		return fmt.Errorf("back up %s: %w", dir, err)
	}
	return nil
}

func backup(ctx context.Context, dir, file string) error {
	if _, err := os.Lstat(file); err == nil {
		return fmt.Errorf("%s: %w", file, fs.ErrExist)
	}
	c, err := look(ctx, dir)
	if err != nil {
		return err
	}
	defer c.close()
	part, err := newPart(file)
	if err != nil {
		return err
	}
	defer os.Remove(part)
	vacuum, err := c.prepare(ctx, "copy", `VACUUM INTO ?1`) // into a file that is empty
	if err != nil {
		return err
	}
	if _, err := vacuum.run(ctx, part); err != nil {
		return err
	}
	return put(part, file)
}

// Restore makes the store of dir from a file that [Backup] wrote, and checks it first. It returns ErrDamaged or ErrNewer for a
// file that it does not take, and an error that wraps fs.ErrExist when dir has a store. Nothing is there unless it returns nil.
// The file is only read.
func Restore(ctx context.Context, file, dir string) error {
	if err := restore(ctx, file, dir); err != nil {
		return fmt.Errorf("restore %s: %w", file, err)
	}
	return nil
}

func restore(ctx context.Context, file, dir string) error {
	target := filepath.Join(dir, databaseName)
	if _, err := os.Lstat(target); err == nil {
		return fmt.Errorf("%s: %w", target, fs.ErrExist)
	}
	if err := sound(ctx, file); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(dir)); err != nil {
		return err
	}
	// The copy is made by SQLite from what it checked, so that a file that changes meanwhile can't slip through in parts.
	c, err := connectFile(ctx, file, asIs)
	if err != nil {
		return err
	}
	defer c.close()
	part, err := newPart(target)
	if err != nil {
		return err
	}
	defer os.Remove(part)
	vacuum, err := c.prepare(ctx, "copy", `VACUUM INTO ?1`)
	if err != nil {
		return err
	}
	if _, err := vacuum.run(ctx, part); err != nil {
		return err
	}
	if err := sound(ctx, part); err != nil {
		return err
	}
	return put(part, target)
}

// asIs opens a file that nobody writes to, without making others beside it.
var asIs = url.Values{"mode": {"ro"}, "immutable": {"1"}, "_pragma": {"temp_store(MEMORY)", "trusted_schema(OFF)"}}

// sound reads the whole file.
func sound(ctx context.Context, file string) error {
	if _, err := os.Stat(file); err != nil {
		return err
	}
	c, err := connectFile(ctx, file, asIs)
	if err != nil {
		return err
	}
	defer c.close()
	layout, err := layoutOf(ctx, c, len(steps))
	switch {
	case errors.Is(err, ErrNewer):
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	case layout == 0:
		return fmt.Errorf("%w in the file", ErrNoStore)
	}
	found, err := findings(ctx, c, "integrity_check")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if found != "" {
		return fmt.Errorf("%w: %s", ErrDamaged, found)
	}
	for _, table := range []string{"settings", "rows", "messages"} {
		s, err := c.prepare(ctx, "look at table "+table, "SELECT 1 FROM "+table+" LIMIT 1")
		if err != nil {
			return fmt.Errorf("%w in the file: %w", ErrNoStore, err)
		}
		if err := s.query(ctx, func([]driver.Value) error { return nil }); err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	return nil
}

// Condition is what [Inspect] finds.
type Condition struct {
	Layout   int    // of the tables; see Newest
	Newest   int    // the newest layout that this program knows
	Findings string // of SQLite's quick check; "" is sound
	Log      int64  // bytes of the write-ahead log
	Data     int64  // bytes of the database
}

// Inspect looks at the store in dir, which may be open in another process. It changes nothing in it.
func Inspect(ctx context.Context, dir string) (Condition, error) {
	cond := Condition{Newest: len(steps)}
	c, err := look(ctx, dir)
	if err == nil {
		defer c.close()
		cond.Layout, err = layoutOf(ctx, c, len(steps))
	}
	if err == nil {
		cond.Findings, err = findings(ctx, c, "quick_check")
	}
	if err != nil {
		return cond, fmt.Errorf("inspect %s: %w", dir, err)
	}
	cond.Data = sizeOfFile(filepath.Join(dir, databaseName))
	cond.Log = sizeOfFile(filepath.Join(dir, databaseName+"-wal"))
	return cond, nil
}

// look connects to the store of the directory without making one.
func look(ctx context.Context, dir string) (*connection, error) {
	if _, err := os.Stat(filepath.Join(dir, databaseName)); errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoStore
	} else if err != nil {
		return nil, err
	}
	// mode=rw: SQLite needs to take locks and to make its shared memory when nobody else has the store open.
	return connectFile(ctx, filepath.Join(dir, databaseName), url.Values{"mode": {"rw"},
		"_pragma": {"busy_timeout(10000)", "temp_store(MEMORY)", "trusted_schema(OFF)"}})
}

// findings runs one of SQLite's checks; "" means that it found nothing.
func findings(ctx context.Context, c *connection, pragma string) (string, error) {
	s, err := c.prepare(ctx, pragma, "PRAGMA "+pragma+"(10)")
	if err != nil {
		return "", err
	}
	var found []string
	err = s.query(ctx, func(columns []driver.Value) error {
		if text, _ := columns[0].(string); text != "ok" {
			found = append(found, text)
		}
		return nil
	})
	return strings.Join(found, "; "), err
}

func sizeOfFile(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// newPart makes an empty file of mode 0600 beside the one that it will become.
func newPart(file string) (string, error) {
	f, err := os.CreateTemp(filepath.Dir(file), ".pinreset-part-*")
	if err != nil {
		return "", err
	}
	return f.Name(), f.Close()
}

// put gives a finished file its name, which must be free, and makes both durable.
func put(part, file string) error {
	f, err := os.OpenFile(part, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(part, file); err != nil { // not Rename, which would replace
		return err
	}
	return syncDir(filepath.Dir(file))
}
