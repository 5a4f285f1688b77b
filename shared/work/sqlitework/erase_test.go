package sqlitework

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"pinreset/shared/work"
)

// traces counts the secrets of which the files of the store have a byte sequence.
func traces(t *testing.T, dir string, secrets [][]byte) (found map[string]int) {
	t.Helper()
	found = map[string]int{}
	heads := map[uint64][][]byte{} // by their first eight bytes, so that one pass finds all of them
	for _, s := range secrets {
		head := binary.LittleEndian.Uint64(s)
		heads[head] = append(heads[head], s)
	}
	for _, name := range []string{databaseName, databaseName + "-wal", databaseName + "-shm"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for i := 0; i+8 <= len(data); i++ {
			for _, s := range heads[binary.LittleEndian.Uint64(data[i:])] {
				if bytes.HasPrefix(data[i:], s) {
					seen[string(s)] = true
				}
			}
		}
		if len(seen) > 0 {
			found[name] = len(seen)
		}
	}
	return found
}

// TestEraseLeavesNoByte measures with this driver, these settings, rows of every size
// that SQLite stores differently, and rows that were overwritten before.
func TestEraseLeavesNoByte(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var (
		secrets [][]byte
		keys    []work.Key
	)
	const count = 1000
	b := work.Batch{Partition: "p"}
	write := func(i, padding int) {
		t.Helper()
		raw := make([]byte, 16)
		rand.Read(raw)
		secret := []byte(hex.EncodeToString(raw))
		secrets = append(secrets, secret)
		value := append(bytes.Repeat([]byte("-"), padding), secret...)
		key := fmt.Sprintf("secret-%04d", (i*7919)%count) // in no order, so that pages split everywhere
		b.Writes = append(b.Writes,
			work.Write{Row: key, Value: append(value, bytes.Repeat([]byte("-"), padding)...)},
			work.Write{Row: "keep-" + key, Value: []byte("stays")})
		if len(b.Writes) == 20 {
			mustCommit(t, s, b)
			b.Writes = nil
		}
	}
	for i := range count {
		write(i, []int{0, 30, 200, 700, 3000, 20000}[i%6])
	}
	for i := range count / 2 {
		write(i, []int{3000, 0, 700, 30}[i%4])
	}
	for i := range count {
		keys = append(keys, work.Key{Partition: "p", Row: fmt.Sprintf("secret-%04d", i)})
	}
	if found := traces(t, dir, secrets); found[databaseName]+found[databaseName+"-wal"] < count {
		t.Fatalf("only %v secrets are found before they are erased: the search is broken", found)
	}
	// Readers go on meanwhile: they may delay the erasure, not prevent it.
	ctx, cancel := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for ctx.Err() == nil {
				_, err := s.List(ctx, work.Query{Partition: "p", Limit: 200})
				if err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("List: %v", err)
				}
			}
		})
	}
	for half := range 2 {
		if err := s.Erase(t.Context(), keys[half*count/2:(half+1)*count/2]...); err != nil {
			t.Fatalf("Erase: %v", err)
		}
	}
	cancel()
	readers.Wait()
	if found := traces(t, dir, secrets); len(found) > 0 {
		t.Errorf("secrets are found after they were erased: %v of %d", found, len(secrets))
	}
	for _, key := range []int{0, 1, 500, 999} {
		wantFound(t, s, keys[key].Row, false)
		wantFound(t, s, "keep-"+keys[key].Row, true)
	}
	if err := s.Erase(t.Context(), keys[:3]...); err != nil {
		t.Errorf("Erase of rows that are gone: %v", err)
	}
}

// TestEraseSaysWhenItCouldNot: a foreign reader keeps the log from being cut; the row is gone all the same, and erasing again
// when the reader has left succeeds.
func TestEraseSaysWhenItCouldNot(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	mustCommit(t, s, row("r", "a secret value"))
	foreign, err := connect(t.Context(), dir, reading)
	if err != nil {
		t.Fatal(err)
	}
	if err := foreign.script(t.Context(), "BEGIN; SELECT count(*) FROM rows;"); err != nil {
		t.Fatal(err)
	}
	key := work.Key{Partition: "p", Row: "r"}
	if err := s.Erase(t.Context(), key); !errors.Is(err, ErrNotErased) {
		t.Errorf("Erase beside a foreign reader: %v, want ErrNotErased", err)
	}
	wantFound(t, s, "r", false)
	if err := errors.Join(foreign.script(t.Context(), "ROLLBACK"), foreign.close()); err != nil {
		t.Fatal(err)
	}
	if err := s.Erase(t.Context(), key); err != nil {
		t.Errorf("Erase when the reader has left: %v", err)
	}
	if found := traces(t, dir, [][]byte{[]byte("a secret value")}); len(found) > 0 {
		t.Errorf("the secret is found after it was erased: %v", found)
	}
}
