package sqlitework

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"pinreset/shared/work"
)

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
