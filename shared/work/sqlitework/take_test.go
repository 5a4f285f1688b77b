package sqlitework_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

// TestTake: a message that somebody else delivers is handed out once at a time, is never run again once it is done, and comes back
// from the store when its run gave it back or died.
func TestTake(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	open := func() *sqlitework.Store {
		t.Helper()
		s, err := sqlitework.Open(dir, sqlitework.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	take := func(id string) (work.Delivery, bool) {
		t.Helper()
		d, held, err := s.Take(ctx, work.Message{ID: id, Queue: "q", Partition: "p", Body: []byte(id)})
		if err != nil {
			t.Fatal(err)
		}
		return d, held
	}
	settle := func(d work.Delivery, o work.Outcome) {
		t.Helper()
		if err := s.Settle(ctx, d, work.Batch{}, o); err != nil {
			t.Fatal(err)
		}
	}
	d, held := take("done")
	if !held || d.ID != "done" || d.Queue != "q" || d.Partition != "p" || string(d.Body) != "done" || d.Deliveries != 1 || d.At.IsZero() {
		t.Fatalf("took %+v, %v", d, held)
	}
	if again, held := take("done"); held {
		t.Errorf("handed out twice: %+v", again)
	}
	settle(d, work.Outcome{Kind: work.Done})
	if again, held := take("done"); held {
		t.Errorf("handed out when it was done: %+v", again)
	}

	later, _ := take("later")
	settle(later, work.Outcome{Kind: work.Retry, At: time.Now().Add(time.Hour)})
	if again, held := take("later"); held {
		t.Errorf("handed out before its time: %+v", again)
	}
	given, _ := take("given back")
	settle(given, work.Outcome{Kind: work.Postpone})
	if d, held := take("given back"); !held || d.Deliveries != 1 {
		t.Errorf("took %+v, %v after it was given back", d, held)
	}

	take("died")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open()
	t.Cleanup(func() { _ = s.Close() })
	if d, held := take("died"); !held || d.Deliveries != 2 {
		t.Errorf("took %+v, %v after its process had died", d, held)
	}
	received, err := s.Receive(ctx, "q", 10) // "given back" was held when the process ended
	if err != nil || len(received) != 1 || received[0].ID != "given back" {
		t.Errorf("received %+v: %v", received, err)
	}
	if _, _, err := s.Take(ctx, work.Message{ID: "a/b", Queue: "q", Partition: "p"}); !errors.Is(err, work.ErrBadKey) {
		t.Errorf("took a bad id: %v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, held, err := s.Take(ended, work.Message{ID: "x", Queue: "q", Partition: "p"}); err == nil || held {
		t.Errorf("took after the end: %v", err)
	}
}
