package servicebus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
	"pinreset/shared/work/outbox/outboxtest"
	"pinreset/shared/work/servicebus/servicebustest"
	"pinreset/shared/work/tables"
	"pinreset/shared/work/tables/tablestest"
)

// The figures of these benchmarks are for orientation: the model of the service runs in this process and answers at once, and
// Azurite is no storage account. What they say of the real thing is how many operations a unit asks for.

// BenchmarkUnit measures whole units of work, each receive → get → settle with one row and one follow-up message, 64 in flight.
func BenchmarkUnit(b *testing.B) {
	b.Run("memory", func(b *testing.B) { benchmarkUnit(b, &outboxtest.Rows{}) })
	b.Run("azurite", func(b *testing.B) { benchmarkUnit(b, tablestest.Open(b, tables.Options{})) })
}

const benchFlight = 64

func benchmarkUnit(b *testing.B, rows outbox.Rows) {
	server, store := benchStore(b, rows)
	ctx, body := b.Context(), eventBody()
	for n := 0; n < b.N; {
		batch := work.Batch{Partition: fmt.Sprintf("tenant-%d", n/90%16)}
		for ; n < b.N && len(batch.Messages) < 90; n++ {
			batch.Messages = append(batch.Messages, work.Message{
				ID: fmt.Sprintf("%026d", n), Queue: queue, Partition: batch.Partition, Body: body,
			})
		}
		if err := store.Commit(ctx, batch); err != nil {
			b.Fatal(err)
		}
	}
	unit := func() error {
		deliveries, err := store.Receive(ctx, queue, 1)
		if err != nil {
			return err
		}
		d := deliveries[0]
		write := work.Write{Row: "device " + d.ID[18:], Value: body, If: work.IfAbsent()}
		switch row, err := store.Get(ctx, work.Key{Partition: d.Partition, Row: write.Row}); {
		case err == nil:
			write.If = work.IfMatch(row.ETag)
		case !errors.Is(err, work.ErrNotFound):
			return err
		}
		follow := work.Message{ID: "f-" + d.ID, Queue: other, Partition: d.Partition, Body: body}
		batch := work.Batch{Partition: d.Partition, Writes: []work.Write{write}, Messages: []work.Message{follow}}
		return store.Settle(ctx, d, batch, work.Outcome{})
	}
	before := server.Stats()
	b.ReportAllocs()
	b.ResetTimer()
	took := inFlight(b, b.N, unit)
	report(b, server, before, b.N, "unit")
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

// BenchmarkReset measures what a passcode reset asks of the services in its life: accepted; run with an intent before the call;
// looked after once; and two announcements.
func BenchmarkReset(b *testing.B) {
	server, store := benchStore(b, &outboxtest.Rows{})
	ctx, body := b.Context(), eventBody()
	var (
		mu sync.Mutex
		n  int
	)
	before := server.Stats()
	b.ReportAllocs()
	b.ResetTimer()
	inFlight(b, b.N, func() error {
		mu.Lock()
		n++
		id := fmt.Sprintf("%020d", n)
		mu.Unlock()
		partition := "tenant-" + id[19:]
		put := func(names ...string) (writes []work.Write) {
			for _, name := range names {
				writes = append(writes, work.Write{Row: name + " " + id, Value: body})
			}
			return writes
		}
		post := func(q work.Queue, name string) work.Message {
			return work.Message{ID: name + "-" + id, Queue: q, Partition: partition, Body: body}
		}
		// Any of the workers may get the next step of any reset, so a step is told by the message's id.
		steps := map[byte]func(work.Delivery) error{
			'r': func(d work.Delivery) error {
				if err := store.Commit(ctx, work.Batch{Partition: d.Partition, Writes: put("reset")}); err != nil {
					return err
				}
				return store.Settle(ctx, d, work.Batch{Partition: d.Partition, Writes: put("reset", "call"), Messages: []work.Message{
					{ID: "check" + d.ID[len("run"):], Queue: queue, Partition: d.Partition, Body: body},
				}}, work.Outcome{})
			},
			'c': func(d work.Delivery) error {
				return store.Settle(ctx, d, work.Batch{Partition: d.Partition, Writes: put("reset", "index"), Messages: []work.Message{
					{ID: "issued" + d.ID[len("check"):], Queue: queue, Partition: d.Partition, Body: body},
					{ID: "seen" + d.ID[len("check"):], Queue: queue, Partition: d.Partition, Body: body},
				}}, work.Outcome{})
			},
			'i': func(d work.Delivery) error {
				return store.Settle(ctx, d, work.Batch{Partition: d.Partition, Writes: put("feed")}, work.Outcome{})
			},
			's': func(d work.Delivery) error {
				return store.Settle(ctx, d, work.Batch{Partition: d.Partition, Writes: put("feed")}, work.Outcome{})
			},
		}
		if err := store.Commit(ctx, work.Batch{
			Partition: partition, Writes: put("reset", "index"), Messages: []work.Message{post(queue, "run")},
		}); err != nil {
			return err
		}
		for range 4 {
			deliveries, err := store.Receive(ctx, queue, 1)
			if err != nil {
				return err
			}
			if err := steps[deliveries[0].ID[0]](deliveries[0]); err != nil {
				return err
			}
		}
		return nil
	})
	report(b, server, before, b.N, "reset")
}

// BenchmarkSend measures sending alone, by callers that send one message each at the same time.
func BenchmarkSend(b *testing.B) {
	server := startServer(b, servicebustest.Config{})
	bus := benchBus(b, server)
	ctx := b.Context()
	var (
		mu sync.Mutex
		n  int
	)
	before := server.Stats()
	b.ReportAllocs()
	b.ResetTimer()
	inFlight(b, b.N, func() error {
		mu.Lock()
		n++
		p := parcel(fmt.Sprintf("id-%d", n))
		mu.Unlock()
		p.Body = eventBody()
		return bus.Send(ctx, []outbox.Parcel{p})
	})
	report(b, server, before, b.N, "message")
}

func benchBus(b *testing.B, server *servicebustest.Server) *Bus {
	bus, err := Open(Options{ConnectionString: server.ConnectionString(), Receivers: map[work.Queue]int{queue: 4}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := bus.Close(context.WithoutCancel(b.Context())); err != nil {
			b.Error(err)
		}
	})
	return bus
}

func benchStore(b *testing.B, rows outbox.Rows) (*servicebustest.Server, *outbox.Store) {
	server := startServer(b, servicebustest.Config{})
	return server, outbox.New(rows, benchBus(b, server), outbox.Options{NewID: numbered(), Logger: slog.New(slog.DiscardHandler)})
}

func eventBody() []byte {
	return fmt.Appendf(nil, `{"specversion":"1.0","type":"bench","data":%q}`, bytes.Repeat([]byte("0"), 400))
}

// inFlight runs the operation n times, many at once, and returns how long each took.
func inFlight(b *testing.B, n int, operation func() error) []time.Duration {
	took := make([]time.Duration, n)
	turns := make(chan int, n)
	for i := range n {
		turns <- i
	}
	close(turns)
	var all sync.WaitGroup
	for range benchFlight {
		all.Go(func() {
			for i := range turns {
				started := time.Now()
				if err := operation(); err != nil {
					b.Error(err)
					return
				}
				took[i] = time.Since(started)
			}
		})
	}
	all.Wait()
	return took
}

// report says what n of something asked of the service: messages sent, deliveries, settlements and requests are what it counts as
// operations; a transfer is one way to it, with many messages where senders shared it.
func report(b *testing.B, server *servicebustest.Server, before servicebustest.Stats, n int, what string) {
	after := server.Stats()
	messages, transfers := after.Messages-before.Messages, after.Transfers-before.Transfers
	operations := messages + after.Delivered - before.Delivered + after.Settled - before.Settled + after.Requests - before.Requests
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), what+"s/s")
	b.ReportMetric(float64(operations)/float64(n), "ops/"+what)
	b.ReportMetric(float64(messages)/float64(max(transfers, 1)), "messages/transfer")
}
