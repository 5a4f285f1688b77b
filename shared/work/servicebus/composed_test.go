package servicebus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
	"pinreset/shared/work/outbox/outboxtest"
	"pinreset/shared/work/servicebus/servicebustest"
)

// TestUnitsSurviveChaos: several processes share the work of a few tenants. Each unit counts up a row and sends a follow-up; the
// follow-up counts another. Connections are cut, links detached, answers lost and processes killed between their steps, all
// at random. In the end each message has been counted exactly once.
func TestUnitsSurviveChaos(t *testing.T) {
	t.Parallel()
	const (
		count, tenants = 200, 4
		processes      = 3
		workers        = 4
	)
	clock := servicebustest.NewManualClock(time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC))
	server := startServer(t, servicebustest.Config{Clock: clock})
	rows, newID := &outboxtest.Rows{}, numbered()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patient)
	defer cancel()

	var (
		mu    sync.Mutex
		kills = rand.New(rand.NewPCG(1, 2))
		died  int
	)
	errKilled := errors.New("the process died")
	open := func() *outbox.Store {
		r := &rig{server: server, clock: clock}
		bus := r.open(t)
		bus.patience = 100 * time.Millisecond
		return outbox.New(rows, bus, outbox.Options{
			NewID: newID, Now: clock.Now, Logger: slog.New(slog.DiscardHandler),
			Before: func(string) error {
				mu.Lock()
				defer mu.Unlock()
				if kills.IntN(40) > 0 {
					return nil
				}
				died++
				return errKilled
			},
		})
	}
	partitionOf := func(i int) string { return fmt.Sprintf("tenant-%d", i%tenants) }

	var all sync.WaitGroup
	working, stop := context.WithCancel(ctx)
	defer stop()
	for n := range processes {
		s := open()
		all.Go(func() { // accepts requests, each by whoever comes first
			for i := n; i < count; i++ {
				m := work.Message{ID: fmt.Sprintf("m-%03d", i), Queue: queue, Partition: partitionOf(i), Body: []byte("{}")}
				for s.Commit(ctx, work.Batch{Partition: m.Partition, Messages: []work.Message{m}}) != nil && ctx.Err() == nil {
				}
			}
			for i := range n {
				m := work.Message{ID: fmt.Sprintf("m-%03d", i), Queue: queue, Partition: partitionOf(i), Body: []byte("{}")}
				for s.Commit(ctx, work.Batch{Partition: m.Partition, Messages: []work.Message{m}}) != nil && ctx.Err() == nil {
				}
			}
		})
		for _, q := range []work.Queue{queue, other} {
			for range workers {
				all.Go(func() {
					for working.Err() == nil {
						deliveries, _ := s.Receive(working, q, 3)
						for _, d := range deliveries {
							_ = countUnit(ctx, s, d) // one that fails comes again
						}
					}
				})
			}
		}
	}
	all.Go(func() {
		s := open()
		for next := 20; working.Err() == nil; {
			moving, cancel := context.WithTimeout(working, 50*time.Millisecond)
			err := server.Await(moving, string(queue), func(servicebustest.Counts) bool { return server.Stats().Delivered >= next })
			cancel()
			if err != nil { // nothing moves: what is left is in the hands of the dead, or was never sent
				clock.Advance(lock / 2)
				_ = s.Sweep(working)
				if counted(t, rows, "follow") == count {
					stop()
				}
				continue
			}
			next = server.Stats().Delivered + 20
			switch rand.IntN(4) {
			case 0:
				server.DetachLinks(string(queue), detached)
			case 1:
				server.LoseAnswer(servicebustest.Settle, "", 1)
			case 2:
				server.LoseAnswer(servicebustest.Send, "", 1)
			default:
				server.DropConnections()
			}
		}
	})
	all.Wait()
	stats := server.Stats()
	t.Logf("%d messages, %d deliveries, %d connections, %d deaths", stats.Messages, stats.Delivered, stats.Connections, died)
	for _, row := range []string{"first", "follow"} {
		if n := counted(t, rows, row); n != count {
			t.Errorf("%s: counted %d, want %d", row, n, count)
		}
	}
}

// countUnit is a handler: it counts the message up in its own commit, and sends a follow-up for a first message.
func countUnit(ctx context.Context, s *outbox.Store, d work.Delivery) error {
	row := "follow"
	b := work.Batch{Partition: d.Partition}
	if d.Queue == queue {
		row = "first"
		b.Messages = []work.Message{{ID: "f-" + d.ID, Queue: other, Partition: d.Partition, Body: []byte("{}")}}
	}
	for {
		w := work.Write{Row: row, Value: []byte("1"), If: work.IfAbsent()}
		switch got, err := s.Get(ctx, work.Key{Partition: d.Partition, Row: row}); {
		case err == nil:
			n, err := strconv.Atoi(string(got.Value))
			if err != nil {
				return err
			}
			w.Value, w.If = strconv.AppendInt(nil, int64(n+1), 10), work.IfMatch(got.ETag)
		case !errors.Is(err, work.ErrNotFound):
			return err
		}
		b.Writes = []work.Write{w}
		if err := s.Settle(ctx, d, b, work.Outcome{}); !errors.Is(err, work.ErrConflict) {
			return err
		}
	}
}

// counted is the row's sum over all tenants.
func counted(t *testing.T, rows *outboxtest.Rows, row string) int {
	sum := 0
	for i := range 4 {
		got, err := rows.Get(t.Context(), work.Key{Partition: fmt.Sprintf("tenant-%d", i), Row: "r" + row})
		if errors.Is(err, work.ErrNotFound) {
			continue
		}
		n, err := strconv.Atoi(string(got.Value))
		if err != nil {
			t.Errorf("row %s is %q", row, got.Value)
		}
		sum += n
	}
	return sum
}
