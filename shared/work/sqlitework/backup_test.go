package sqlitework

import (
	"bytes"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"pinreset/shared/work"
)

func findingsOf(t *testing.T, c *connection, query string) (found []string, err error) {
	t.Helper()
	s, err := c.prepare(t.Context(), "query", query)
	if err != nil {
		return nil, err
	}
	err = s.query(t.Context(), func(columns []driver.Value) error { found = append(found, fmt.Sprint(columns[0])); return nil })
	return found, err
}

// TestBackupOfARunningStore: the copy is one moment of a store that is being written to, and becomes a store that works.
func TestBackupOfARunningStore(t *testing.T) {
	t.Parallel()
	dir, away := t.TempDir(), t.TempDir()
	s, err := Open(dir, Options{Now: func() time.Time { return layoutTime }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := writeLayout(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	mustCommit(t, s, work.Batch{Partition: "one", Writes: []work.Write{{Row: "gone", Value: []byte("deleted before the backup")}}})
	mustCommit(t, s, work.Batch{Partition: "one", Writes: []work.Write{{Row: "gone", Delete: true}}})

	// Both rows of a pair are written by one commit: in the copy they are alike.
	stop, begun := make(chan struct{}), make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for n := 0; ; n++ {
			value := fmt.Appendf(nil, "%d", n)
			if err := s.Commit(t.Context(), work.Batch{Partition: "pair", Writes: []work.Write{{Row: "a", Value: value}, {Row: "b", Value: value}}}); err != nil {
				t.Error(err)
				return
			}
			if n == 10 {
				close(begun)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	<-begun
	file := filepath.Join(away, "backup")
	if err := Backup(t.Context(), dir, file); err != nil {
		t.Fatal(err)
	}
	close(stop)
	writer.Wait()

	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("the backup has mode %v, want 0600", info.Mode())
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte("deleted before")) || !bytes.Contains(data, []byte(`{"row":149`)) {
		t.Error("the backup has what was deleted, or lacks what was not")
	}
	if err := Backup(t.Context(), dir, file); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second backup to the same file: %v, want that it exists", err)
	}

	again := filepath.Join(away, "again")
	if err := Restore(t.Context(), file, again); err != nil {
		t.Fatal(err)
	}
	if err := Restore(t.Context(), file, again); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Restore over a store: %v, want that it exists", err)
	}
	for _, d := range []string{away, again} {
		if left, _ := filepath.Glob(filepath.Join(d, ".pinreset-part-*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
	restored, err := Open(again, Options{Now: func() time.Time { return layoutTime.Add(2 * time.Minute) }})
	if err != nil {
		t.Fatal(err)
	}
	defer restored.Close()
	readLayout(t, restored)
	a, errA := restored.Get(t.Context(), work.Key{Partition: "pair", Row: "a"})
	b, errB := restored.Get(t.Context(), work.Key{Partition: "pair", Row: "b"})
	if errA != nil || errB != nil || !bytes.Equal(a.Value, b.Value) {
		t.Errorf("a is %s (%v) and b is %s (%v): half a commit is in the backup", a.Value, errA, b.Value, errB)
	}
}

func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	good, err := os.ReadFile(filepath.Join("testdata", "layout", "1.db"))
	if err != nil {
		t.Fatal(err)
	}
	changed := func(change func([]byte)) []byte {
		data := bytes.Clone(good)
		change(data)
		return data
	}
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"a newer layout":  {changed(func(d []byte) { d[63] = 99 }), ErrNewer}, // user_version: bytes 60 to 63, https://sqlite.org/fileformat2.html
		"no tables yet":   {changed(func(d []byte) { d[63] = 0 }), ErrNoStore},
		"a text":          {[]byte("this is a text and no database of any kind, not at all"), ErrDamaged},
		"nothing":         {nil, ErrNoStore},
		"half a file":     {good[:len(good)/2], ErrDamaged},
		"a page of noise": {changed(func(d []byte) { copy(d[3*4096:4*4096], bytes.Repeat([]byte{0xa5}, 4096)) }), ErrDamaged},
		"no such file":    {[]byte("-"), fs.ErrNotExist},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file, target := filepath.Join(dir, "backup"), filepath.Join(dir, "new")
			if name != "no such file" {
				if err := os.WriteFile(file, c.data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := Restore(t.Context(), file, target); !errors.Is(err, c.want) {
				t.Errorf("Restore: %v, want %v", err, c.want)
			}
			if _, err := os.Stat(filepath.Join(target, databaseName)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("a store was made of it: %v", err)
			}
		})
	}
	if err := Backup(t.Context(), t.TempDir(), filepath.Join(t.TempDir(), "file")); !errors.Is(err, ErrNoStore) {
		t.Errorf("Backup of an empty directory: %v, want ErrNoStore", err)
	}
}

// TestErasePartition: nothing of the partition stays, in no file, and everything of its neighbours does.
func TestErasePartition(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Open(dir, Options{Now: func() time.Time { return layoutTime }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	secret, body := []byte("a name that nobody may find"), []byte(`{"user":"kim at contoso"}`)
	for _, partition := range []string{"one", "two"} {
		b := work.Batch{Partition: partition}
		for i := range 40 {
			b.Writes = append(b.Writes, work.Write{Row: fmt.Sprintf("r|%d", i), Value: append(bytes.Clone(secret), partition...)})
			b.Messages = append(b.Messages, work.Message{ID: fmt.Sprint("m", i), Queue: "q", Partition: partition, Body: append(bytes.Clone(body), partition...)})
		}
		mustCommit(t, s, b)
	}
	held, err := s.Receive(t.Context(), "q", 40)
	if err != nil {
		t.Fatal(err)
	}
	mine := [][]byte{append(bytes.Clone(secret), "one"...), append(bytes.Clone(body), "one"...)}
	theirs := [][]byte{append(bytes.Clone(secret), "two"...), append(bytes.Clone(body), "two"...)}
	if found := traces(t, dir, mine); len(found) == 0 {
		t.Fatal("the scan does not find what is there")
	}
	rows, messages, err := s.ErasePartition(t.Context(), "one")
	if err != nil || rows != 40 || messages != 40 {
		t.Errorf("ErasePartition: %d rows and %d messages, %v; want 40 and 40", rows, messages, err)
	}
	if found := traces(t, dir, mine); len(found) > 0 {
		t.Errorf("traces of the partition are left: %v", found)
	}
	if found := traces(t, dir, theirs); found[databaseName] != len(theirs) {
		t.Errorf("the neighbour lost something: %v", found)
	}
	for _, d := range held {
		want := error(nil)
		if d.Partition == "one" {
			want = work.ErrLeaseLost
		}
		if err := s.Settle(t.Context(), d, work.Batch{}, work.Outcome{Kind: work.Done}); !errors.Is(err, want) {
			t.Fatalf("Settle of a message of %s: %v, want %v", d.Partition, err, want)
		}
	}
	if rows, messages, err := s.ErasePartition(t.Context(), "one"); rows != 0 || messages != 0 || err != nil {
		t.Errorf("a second time: %d rows and %d messages, %v", rows, messages, err)
	}
}
