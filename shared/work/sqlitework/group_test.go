package sqlitework

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"pinreset/shared/work"
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

// TestReceiversThatLeaveTakeNothing: however a receiver's leaving and a message's coming cross, the message is seen by
// nobody or counted once.
func TestReceiversThatLeaveTakeNothing(t *testing.T) {
	t.Parallel()
	s := openStore(t, Options{})
	seen := 0
	for i := range 300 {
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		got := make(chan work.Delivery, 8)
		for range 4 {
			all.Go(func() {
				switch ds, err := s.Receive(ctx, "q", 2); {
				case err == nil:
					for _, d := range ds {
						got <- d
					}
				case !errors.Is(err, context.Canceled):
					t.Errorf("Receive: %v", err)
				}
			})
		}
		all.Go(func() { mustCommitAsync(t, s, message(fmt.Sprint("m-", i))) })
		all.Go(cancel)
		all.Wait()
		cancel()
		close(got)
		if len(got) == 0 {
			ds := receive(t, s, 1)
			got = make(chan work.Delivery, 1)
			got <- ds[0]
			close(got)
		}
		for d := range got {
			seen++
			if d.Deliveries != 1 {
				t.Errorf("%s: delivery %d is the first that anybody saw", d.ID, d.Deliveries)
			}
			if err := s.Settle(t.Context(), d, work.Batch{}, work.Outcome{}); err != nil {
				t.Errorf("Settle: %v", err)
			}
		}
	}
	if seen != 300 {
		t.Errorf("%d deliveries were seen, want 300", seen)
	}
}

func mustCommitAsync(t *testing.T, s *Store, b work.Batch) {
	if err := s.Commit(t.Context(), b); err != nil {
		t.Errorf("Commit: %v", err)
	}
}

// TestMessagesLeftOverGoBack: receivers that went away while their messages were claimed leave them behind uncounted.
func TestMessagesLeftOverGoBack(t *testing.T) {
	t.Parallel()
	s := openStore(t, Options{})
	for i := range 3 {
		mustCommit(t, s, message(fmt.Sprint("m-", i)))
	}
	err := s.writer.do(t.Context(), 0, func(g *group) error {
		claimed, err := g.claim("q", 3)
		if err != nil {
			return err
		}
		gone := &operation{receive: &receipt{queue: "q", limit: 3}}
		gone.take()
		return g.hand(&queue{receivers: []*operation{gone}}, claimed)
	})
	if err != nil {
		t.Fatal(err)
	}
	ds := receive(t, s, 3)
	if len(ds) != 3 {
		t.Errorf("%d messages came, want 3", len(ds))
	}
	for _, d := range ds {
		if d.Deliveries != 1 {
			t.Errorf("%s: delivery %d is the first that anybody saw", d.ID, d.Deliveries)
		}
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

// TestReceiversThatLeaveAreForgotten: receivers that come and go beside one that stays must not pile up.
func TestReceiversThatLeaveAreForgotten(t *testing.T) {
	t.Parallel()
	s := openStore(t, Options{})
	// parked returns how many receivers the writer keeps and how many of them still wait.
	parked := func() (kept, waiting int) {
		t.Helper()
		err := s.writer.do(t.Context(), 0, func(*group) error {
			kept, waiting = len(s.writer.queue("q").receivers), 0
			for _, o := range s.writer.queue("q").receivers {
				if !o.taken.Load() {
					waiting++
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return kept, waiting
	}
	come := func(waiting int) (leave func()) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() {
			_, err := s.Receive(ctx, "q", 1)
			gone <- err
		}()
		for n := 0; n < waiting; _, n = parked() {
			runtime.Gosched()
		}
		return func() {
			cancel()
			if err := <-gone; !errors.Is(err, context.Canceled) {
				t.Errorf("Receive: %v", err)
			}
		}
	}
	leave := come(1)
	for range 100 {
		come(2)()
	}
	if kept, _ := parked(); kept > 16 {
		t.Errorf("%d receivers are kept, want about 1", kept)
	}
	leave()
}

// TestDueIsNeverEarly: times finer than the stored ones are rounded up.
func TestDueIsNeverEarly(t *testing.T) {
	t.Parallel()
	now := newClock().Now()
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

// TestInboxForgets: an id is remembered for as long as Options say, and the table does not grow for ever.
func TestInboxForgets(t *testing.T) {
	t.Parallel()
	clock := newClock()
	s := openStore(t, Options{Now: clock.Now, Inbox: time.Hour})
	later := message("later") // an old message that is not done must not be forgotten
	later.Messages[0].At = clock.Now().Add(1000 * time.Hour)
	mustCommit(t, s, later)
	finish := func(id string) {
		t.Helper()
		mustCommit(t, s, message(id))
		ds := receive(t, s, 1)
		if ds[0].ID != id {
			t.Fatalf("%s came, want %s", ds[0].ID, id)
		}
		if err := s.Settle(t.Context(), ds[0], work.Batch{}, work.Outcome{}); err != nil {
			t.Fatal(err)
		}
	}
	known := func() (n int) {
		t.Helper()
		count, err := s.writer.connection.prepare(t.Context(), "count", "SELECT count(*) FROM messages")
		if err != nil {
			t.Fatal(err)
		}
		err = s.writer.do(t.Context(), 0, func(g *group) error {
			n = 0
			return count.query(g.ctx, func(columns []driver.Value) error { n = int(columns[0].(int64)); return nil })
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for i := range 3 * purgeEvery {
		finish(fmt.Sprint("old-", i))
	}
	clock.advance(59 * time.Minute)
	mustCommit(t, s, message("old-7"))
	if n := known(); n != 3*purgeEvery+1 {
		t.Errorf("%d ids are known within the hour, want %d", n, 3*purgeEvery+1)
	}
	clock.advance(2 * time.Minute)
	for i := range 2 * purgeEvery {
		finish(fmt.Sprint("new-", i))
	}
	if n := known(); n != 2*purgeEvery+1 {
		t.Errorf("%d ids are known, want the new ones and the one that waits: %d", n, 2*purgeEvery+1)
	}
	finish("old-7") // it is a new message now
	clock.advance(1000 * time.Hour)
	s.Wake()
	if ds := receive(t, s, 1); ds[0].ID != "later" {
		t.Errorf("%s came, want the message that waited", ds[0].ID)
	}
}
