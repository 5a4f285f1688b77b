package sqlitework

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"pinreset/shared/work"
	"pinreset/shared/work/worktest"
)

func openStore(t *testing.T, o Options) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "data"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func mustCommit(t *testing.T, s *Store, b work.Batch) {
	t.Helper()
	if err := s.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

func row(key, value string) work.Batch {
	return work.Batch{Partition: "p", Writes: []work.Write{{Row: key, Value: []byte(value)}}}
}

func message(id string) work.Batch {
	return work.Batch{Partition: "p", Messages: []work.Message{{ID: id, Queue: "q", Partition: "p", Body: []byte("{}")}}}
}

// receive fails the test rather than wait for ever.
func receive(t *testing.T, s *Store, limit int) []work.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ds, err := s.Receive(ctx, "q", limit)
	if err != nil {
		t.Fatalf("Receive: %v", err)
	}
	return ds
}

func wantFound(t *testing.T, s *Store, key string, found bool) {
	t.Helper()
	switch _, err := s.Get(t.Context(), work.Key{Partition: "p", Row: key}); {
	case err == nil && !found:
		t.Errorf("row %s is there", key)
	case err != nil && (found || !errors.Is(err, work.ErrNotFound)):
		t.Errorf("Get %s: %v", key, err)
	}
}

func TestOpenRefusesADirectoryInUse(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	first, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(dir, Options{})
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Errorf("second Open: %v, want ErrInUse with the directory %s", err, dir)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	third, err := Open(dir, Options{})
	if err != nil {
		t.Fatalf("Open after Close: %v", err)
	}
	if err := third.Close(); err != nil {
		t.Error(err)
	}
}

func TestOpenRefusesANewerSchema(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := connect(t.Context(), dir, writing)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.script(t.Context(), fmt.Sprintf("PRAGMA user_version = %d", len(steps)+1)), c.close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrNewer) {
		t.Errorf("Open: %v, want ErrNewer", err)
	}
	// The refusal gave the directory back.
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrNewer) {
		t.Errorf("second Open: %v, want ErrNewer", err)
	}
}

func TestOpenNamesTheDirectoryItCannotUse(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file, Options{}); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("Open of a file: %v, want an error that names it", err)
	}
}

func TestOpenTakesAnyDirectoryName(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a b?c#d%41&_pragma=journal_mode(OFF)")
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	mustCommit(t, s, row("r", "one"))
	if _, err := os.Stat(filepath.Join(dir, databaseName)); err != nil {
		t.Error(err)
	}
}

// TestFilesAreTheOwnersAlone: what another user of the machine may read is decided by the modes alone.
func TestFilesAreTheOwnersAlone(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such modes")
	}
	dir := filepath.Join(t.TempDir(), "data")
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	mustCommit(t, s, row("r", "one"))
	names := map[string]bool{}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
		names[d.Name()] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{databaseName, databaseName + "-wal", databaseName + "-shm", lockName} {
		if !names[name] {
			t.Errorf("no file %s was looked at", name)
		}
	}
}

func TestCloseEndsEverything(t *testing.T) {
	t.Parallel()
	s := openStore(t, Options{})
	mustCommit(t, s, row("r", "one"))
	waits := make(chan error, 1)
	go func() {
		_, err := s.Receive(context.Background(), "q", 1)
		waits <- err
	}()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-waits; !errors.Is(err, ErrClosed) {
		t.Errorf("waiting Receive: %v, want ErrClosed", err)
	}
	ctx := t.Context()
	_, get := s.Get(ctx, work.Key{Partition: "p", Row: "r"})
	_, list := s.List(ctx, work.Query{Partition: "p"})
	_, receive := s.Receive(ctx, "q", 1)
	_, renew := s.Renew(ctx, work.Delivery{})
	_, stats := s.Stats(ctx)
	for name, err := range map[string]error{
		"Get": get, "List": list, "Receive": receive, "Renew": renew, "Stats": stats,
		"Commit": s.Commit(ctx, row("r", "two")), "Settle": s.Settle(ctx, work.Delivery{}, work.Batch{}, work.Outcome{}),
		"Erase": s.Erase(ctx),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v, want ErrClosed", name, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

// TestCloseWaitsForTheRunningGroup: who is being served gets the result, who still waits is refused.
func TestCloseWaitsForTheRunningGroup(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	running, release := occupy(s, func(g *group) error { return g.apply(row("running", "x")) })
	waiting := make(chan error, 1)
	go func() { waiting <- s.Commit(context.Background(), row("waiting", "x")) }()
	queued(s, 1)
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	for !stopped(s) {
		runtime.Gosched()
	}
	close(release)
	if err := errors.Join(<-running, <-closed); err != nil {
		t.Errorf("running operation and Close: %v", err)
	}
	if err := <-waiting; !errors.Is(err, ErrClosed) {
		t.Errorf("waiting operation: %v, want ErrClosed", err)
	}
	s, err = Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	wantFound(t, s, "running", true)
	wantFound(t, s, "waiting", false)
}

func TestStatsCountMessages(t *testing.T) {
	t.Parallel()
	clock := worktest.NewClock()
	s := openStore(t, Options{Now: clock.Now})
	for _, id := range []string{"a", "b", "c", "d"} {
		mustCommit(t, s, message(id))
	}
	later := message("later")
	later.Messages[0].At = clock.Now().Add(time.Hour)
	mustCommit(t, s, later)
	other := message("other")
	other.Messages[0].Queue = "another"
	mustCommit(t, s, other)
	held := receive(t, s, 2)
	if len(held) != 2 {
		t.Fatalf("%d messages were received, want 2", len(held))
	}
	if err := s.Settle(t.Context(), held[0], work.Batch{}, work.Outcome{}); err != nil {
		t.Fatal(err)
	}
	clock.Advance(7 * time.Second)
	stats, err := s.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []QueueStats{
		{Queue: "another", Due: 1, Oldest: 7 * time.Second},
		{Queue: "q", Due: 2, Later: 1, Leased: 1, Oldest: 7 * time.Second},
	}
	if len(stats.Queues) != 2 || stats.Queues[0] != want[0] || stats.Queues[1] != want[1] {
		t.Errorf("queues are %+v, want %+v", stats.Queues, want)
	}
	if stats.Commits < 6 {
		t.Errorf("%d commits are counted for 8 operations one after the other", stats.Commits)
	}
}

// TestRealTime: nothing but the passing of time makes a message due or ends a lease.
func TestRealTime(t *testing.T) {
	t.Parallel()
	s := openStore(t, Options{Lease: 30 * time.Millisecond})
	b := message("m")
	b.Messages[0].At = time.Now().Add(30 * time.Millisecond)
	mustCommit(t, s, b)
	for n := 1; n <= 3; n++ {
		ds := receive(t, s, 1)
		if early := b.Messages[0].At.Sub(time.Now()); early > 0 || ds[0].Deliveries != n {
			t.Errorf("delivery %d came %s early, want delivery %d in time", ds[0].Deliveries, early, n)
		}
		b.Messages[0].At = ds[0].LeasedUntil
	}
}
