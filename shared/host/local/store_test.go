package local_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/shared/dispatch"
	"pinreset/shared/host/local"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

const (
	tenant = "0b7e2d4c-6a51-4f3e-9d28-5c1a7f90e364"
	device = "5f0c3a91-27de-4b68-8e14-d3b96a7c0f52"

	queue work.Queue = "passcode-reset"
)

// ids are safe for concurrent use.
func ids() func() string {
	var mu sync.Mutex
	n := 0
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		n++
		return fmt.Sprintf("01%024d", n)
	}
}

func openStore(t *testing.T) *sqlitework.Store {
	t.Helper()
	s, err := sqlitework.Open(t.TempDir(), sqlitework.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// run starts the host and returns what stops it and waits.
func run(t *testing.T, s *sqlitework.Store, newID func() string, handlers ...dispatch.Handler) (stop func()) {
	d := dispatch.New(s, s, []dispatch.Route{{Function: "passcodereset", Queue: queue, Handlers: handlers}}, dispatch.Options{Now: time.Now, NewID: newID})
	h := local.New(s, d, []local.Queue{{Name: queue, Workers: 8}, {Name: queue.Bulk(), Workers: 4}}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		h.Run(ctx)
	}()
	stop = func() {
		cancel()
		<-stopped
	}
	t.Cleanup(stop)
	return stop
}

type tally struct {
	N int `json:"n"`
}

// TestEachMessageOnce runs 500 messages of two queues over the real store and dispatcher: each leaves its row, counted once.
func TestEachMessageOnce(t *testing.T) {
	t.Parallel()
	s, newID := openStore(t), ids()
	const n = 500
	ran := make(chan string, 2*n)
	stop := run(t, s, newID, dispatch.On(func(ctx context.Context, u *work.Unit, _ events.Event, d events.PasscodeResetRequested) error {
		defer func() { ran <- d.RequestID }()
		var c tally
		if err := u.Get(ctx, "done|"+d.RequestID, &c); err != nil && !errors.Is(err, work.ErrNotFound) {
			return err
		}
		return u.Put("done|"+d.RequestID, tally{c.N + 1})
	}, nil))
	for i := range n {
		q := queue
		if i%2 == 0 {
			q = queue.Bulk()
		}
		u := work.NewUnit(s, tenant, time.Now(), newID)
		_, err := u.Send(t.Context(), q, time.Time{}, events.PasscodeResetRequested{RequestID: fmt.Sprint("r-", i), DeviceID: device, Reason: "test"})
		if err := errors.Join(err, u.Commit(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]int{}
	for range n {
		select {
		case id := <-ran:
			seen[id]++
		case <-time.After(30 * time.Second):
			t.Fatalf("only %d of %d messages ran", len(seen), n)
		}
	}
	stop()
	close(ran)
	for id := range ran {
		seen[id]++
	}
	for i := range n {
		id := fmt.Sprint("r-", i)
		var c tally
		if err := work.NewUnit(s, tenant, time.Now(), newID).Get(t.Context(), "done|"+id, &c); err != nil || c.N != 1 || seen[id] != 1 {
			t.Errorf("%s ran %d times and counts %d: %v", id, seen[id], c.N, err)
		}
	}
	stats, err := s.Stats(t.Context())
	if err != nil || len(stats.Queues) != 0 {
		t.Errorf("messages are left: %+v, %v", stats.Queues, err)
	}
}

// TestShutdownGivesBack proves that a run which a shutdown cuts off costs its message neither time nor an attempt.
func TestShutdownGivesBack(t *testing.T) {
	t.Parallel()
	s, newID := openStore(t), ids()
	running := make(chan struct{}, 1)
	stop := run(t, s, newID, dispatch.On(func(ctx context.Context, u *work.Unit, _ events.Event, _ events.PasscodeResetRequested) error {
		if err := u.Put("half", tally{1}); err != nil {
			return err
		}
		running <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}, nil))
	u := work.NewUnit(s, tenant, time.Now(), newID)
	_, err := u.Send(t.Context(), queue, time.Time{}, events.PasscodeResetRequested{RequestID: "r-1", DeviceID: device, Reason: "test"})
	if err := errors.Join(err, u.Commit(t.Context())); err != nil {
		t.Fatal(err)
	}
	<-running
	stop()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	got, err := s.Receive(ctx, queue, 1)
	if err != nil || len(got) != 1 || got[0].Deliveries != 1 {
		t.Errorf("after the shutdown: %+v, %v", got, err)
	}
	if _, err := s.Get(t.Context(), work.Key{Partition: tenant, Row: "half"}); !errors.Is(err, work.ErrNotFound) {
		t.Errorf("half the work was kept: %v", err)
	}
}
