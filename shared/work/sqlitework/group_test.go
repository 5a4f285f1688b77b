package sqlitework

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"time"

	"pinreset/shared/work"
	"pinreset/shared/work/worktest"
)

// occupy makes the writer run fn and then stay in that group until release is closed.
func occupy(s *Store, fn func(*group) error) (result chan error, release chan struct{}) {
	entered := make(chan struct{})
	result, release = make(chan error, 1), make(chan struct{})
	go func() {
		result <- s.writer.do(context.Background(), 0, func(g *group) error {
			close(entered)
			<-release
			return fn(g)
		})
	}()
	<-entered
	return result, release
}

// queued returns when n operations wait for the next group.
func queued(s *Store, n int) {
	for {
		s.writer.mu.Lock()
		waiting := len(s.writer.waiting)
		s.writer.mu.Unlock()
		if waiting >= n {
			return
		}
		runtime.Gosched()
	}
}

func stopped(s *Store) bool {
	s.writer.mu.Lock()
	defer s.writer.mu.Unlock()
	return s.writer.stopped
}

func nothing(*group) error { return nil }

func TestWhatWaitsCommitsTogether(t *testing.T) {
	t.Parallel()
	s := openStore(t, Options{})
	running, release := occupy(s, nothing)
	before := s.writer.groups.Load()
	const count = 100
	results := make(chan error, count)
	for i := range count {
		go func() { results <- s.Commit(context.Background(), row(fmt.Sprint("row ", i), "x")) }()
	}
	queued(s, count)
	close(release)
	for range count {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if err := <-running; err != nil {
		t.Error(err)
	}
	if groups := s.writer.groups.Load() - before; groups != 2 {
		t.Errorf("%d transactions were made, want the one that ran and one for the %d that waited", groups, count)
	}
	for i := range count {
		wantFound(t, s, fmt.Sprint("row ", i), true)
	}
}

func TestAGroupIsBounded(t *testing.T) {
	t.Parallel()
	s := openStore(t, Options{})
	running, release := occupy(s, nothing)
	before := s.writer.groups.Load()
	results := make(chan error, 12)
	for i := range cap(results) {
		b := work.Batch{Partition: "p"}
		for j := range 3 {
			b.Writes = append(b.Writes, work.Write{Row: fmt.Sprint(i, "-", j), Value: make([]byte, work.MaxValueBytes)})
		}
		go func() { results <- s.Commit(context.Background(), b) }()
	}
	queued(s, cap(results))
	close(release)
	for range cap(results) {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if err := <-running; err != nil {
		t.Error(err)
	}
	if groups := s.writer.groups.Load() - before; groups < 3 {
		t.Errorf("12 commits of 2.7 MB made %d transactions, want none above 16 MiB", groups-1)
	}
}

// TestContextUntilTaken: a caller may leave until its operation is taken; from then on it learns the result.
func TestContextUntilTaken(t *testing.T) {
	t.Parallel()
	s := openStore(t, Options{})
	running, release := occupy(s, nothing)
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() { left <- s.Commit(ctx, row("left", "x")) }()
	queued(s, 1)
	cancel()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("Commit whose context ended while it waited: %v, want %v", err, context.Canceled)
	}
	close(release)
	if err := <-running; err != nil {
		t.Error(err)
	}
	wantFound(t, s, "left", false)

	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	entered, release := make(chan struct{}), make(chan struct{})
	taken := make(chan error, 1)
	go func() {
		taken <- s.writer.do(ctx, 0, func(g *group) error {
			close(entered)
			<-release
			return g.apply(row("taken", "x"))
		})
	}()
	<-entered
	cancel()
	close(release)
	if err := <-taken; err != nil {
		t.Errorf("operation whose context ended after it was taken: %v, want its result", err)
	}
	wantFound(t, s, "taken", true)
}

// TestStorageErrorFailsTheGroup fills the disk, as far as SQLite can tell, and makes room again.
func TestStorageErrorFailsTheGroup(t *testing.T) {
	t.Parallel()
	s := openStore(t, Options{})
	mustCommit(t, s, message("held"))
	held := receive(t, s, 1)
	pages := func(n int) {
		t.Helper()
		err := s.writer.do(t.Context(), 0, func(g *group) error {
			_, err := s.writer.connection.pragma(g.ctx, fmt.Sprintf("max_page_count = %d", n))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	pages(1) // SQLite takes the number of pages that there are
	big := work.Batch{Partition: "p", Writes: []work.Write{{Row: "big", Value: make([]byte, work.MaxValueBytes)}}}

	running, release := occupy(s, nothing)
	results := make(chan error, 3)
	go func() { results <- s.Commit(context.Background(), row("small", "x")) }()
	queued(s, 1)
	go func() { results <- s.Commit(context.Background(), big) }()
	queued(s, 2)
	go func() { results <- s.Settle(context.Background(), held[0], row("settled", "x"), work.Outcome{}) }()
	queued(s, 3)
	received := make(chan error, 1)
	go func() {
		_, err := s.Receive(context.Background(), "q", 1)
		received <- err
	}()
	queued(s, 4)
	close(release)
	if err := <-running; err != nil {
		t.Error(err)
	}
	for range cap(results) {
		if err := <-results; err == nil || refused(err) || errors.Is(err, ErrClosed) {
			t.Errorf("operation beside one that fills the disk: %v, want the storage's error", err)
		}
	}
	for _, key := range []string{"small", "big", "settled"} {
		wantFound(t, s, key, false)
	}

	pages(1 << 20)
	mustCommit(t, s, big)
	if err := s.Settle(t.Context(), held[0], row("settled", "x"), work.Outcome{}); err != nil {
		t.Errorf("Settle when there is room again: %v", err)
	}
	mustCommit(t, s, message("next"))
	if err := <-received; err != nil {
		// The receiver may have been told of the failure; then it asks again.
		receive(t, s, 1)
	}
}

// TestFailedCommitUndoesWhatWasHandedOut: the receiver learns of the failure, and the message is due as before.
func TestFailedCommitUndoesWhatWasHandedOut(t *testing.T) {
	t.Parallel()
	s := openStore(t, Options{})
	mustCommit(t, s, message("m"))
	sql := &s.writer.statements
	commit, claim := sql.commit, sql.claim
	failing, err := s.writer.connection.prepare(t.Context(), "commit", "SELECT abs(-9223372036854775808)") // overflows
	if err != nil {
		t.Fatal(err)
	}
	spoil := func(g *group) error { sql.commit = failing; return g.apply(row("r", "x")) }
	if err := s.writer.do(t.Context(), 0, spoil); err == nil {
		t.Error("an operation succeeded whose commit failed")
	}
	if _, err := s.Receive(t.Context(), "q", 10); err == nil {
		t.Error("Receive succeeded though its commit failed")
	}
	if err := s.Erase(t.Context()); err == nil {
		t.Error("Erase succeeded though its commit failed")
	}
	if err := s.writer.do(t.Context(), 0, func(*group) error { sql.commit, sql.claim = commit, failing; return nil }); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := s.Receive(ctx, "q", 10); err == nil || ctx.Err() != nil {
		t.Errorf("Receive whose claim fails: %v, want the storage's error", err)
	}
	if err := s.writer.do(t.Context(), 0, func(*group) error { sql.claim = claim; return nil }); err != nil {
		t.Fatal(err)
	}
	wantFound(t, s, "r", false)
	if ds := receive(t, s, 10); len(ds) != 1 || ds[0].Deliveries != 1 {
		t.Errorf("%v came, want the first delivery of m", ds)
	}
}

// TestDueIsNeverEarly: times finer than the stored ones are rounded up.
func TestDueIsNeverEarly(t *testing.T) {
	t.Parallel()
	now := worktest.NewClock().Now()
	g := &group{now: microseconds(now)}
	for after, want := range map[time.Duration]time.Duration{
		0: 0, -time.Hour: 0, time.Nanosecond: time.Microsecond, time.Microsecond: time.Microsecond,
		1001 * time.Nanosecond: 2 * time.Microsecond, 250 * 365 * 24 * time.Hour: 250 * 365 * 24 * time.Hour,
	} {
		if got := instant(g.due(now.Add(after))).Sub(now); got != want {
			t.Errorf("%s from now is due %s from now, want %s", after, got, want)
		}
	}
	if got := g.due(time.Time{}); got != g.now {
		t.Errorf("no time is due at %s, want now", instant(got))
	}
	if far := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC); !instant(g.due(far)).Equal(far) {
		t.Errorf("%s is due at %s", far, instant(g.due(far)))
	}
}
