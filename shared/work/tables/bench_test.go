package tables_test

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
	"pinreset/shared/work/outbox/outboxtest"
	"pinreset/shared/work/tables"
	"pinreset/shared/work/tables/tablestest"
)

// BenchmarkUnit measures whole units of work, each receive → get → settle with one row and one follow-up message, with the messages in
// memory and the rows in a model of Table storage on the same machine. Its times are for orientation and say nothing about Azure;
// its counts of operations are those of Azure too.
func BenchmarkUnit(b *testing.B) {
	for _, workers := range []int{1, 16} {
		b.Run(fmt.Sprintf("workers=%d", workers), func(b *testing.B) { benchmarkUnit(b, workers) })
	}
}

func benchmarkUnit(b *testing.B, workers int) {
	table, calls := tablestest.Open(b, tables.Options{}), &outboxtest.Calls{}
	s := outbox.New(calls.Rows(table), calls.Queue(&outboxtest.Queue{}), outbox.Options{
		NewID: numbered(), Logger: slog.New(slog.DiscardHandler),
	})
	ctx := b.Context()
	body := fmt.Appendf(nil, `{"specversion":"1.0","type":"bench","data":"%0400d"}`, 0)
	for n := 0; n < b.N; {
		batch := work.Batch{Partition: fmt.Sprintf("tenant-%d", n/90%16)}
		for ; n < b.N && len(batch.Messages) < 90; n++ {
			batch.Messages = append(batch.Messages, work.Message{
				ID: fmt.Sprintf("%026d", n), Queue: "in", Partition: batch.Partition, Body: body,
			})
		}
		if err := s.Commit(ctx, batch); err != nil {
			b.Fatal(err)
		}
	}
	before := calls.Counts()
	var (
		all  sync.WaitGroup
		mu   sync.Mutex
		took []time.Duration
		left atomic.Int64
	)
	left.Store(int64(b.N))
	b.ReportAllocs()
	b.ResetTimer()
	for range workers {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				began := time.Now()
				if err := unit(b, s, body); err != nil {
					b.Error(err)
					return
				}
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
			}
		})
	}
	all.Wait()
	b.StopTimer()
	if b.Failed() {
		return
	}
	slices.Sort(took)
	after := calls.Counts()
	for _, name := range []string{"get", "transact", "writes", "send", "parcels", "complete"} {
		b.ReportMetric(float64(after[name]-before[name])/float64(b.N), name+"/unit")
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "units/s")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "ms-p99")
}

func unit(b *testing.B, s *outbox.Store, body []byte) error {
	ds, err := s.Receive(b.Context(), "in", 1)
	if err != nil {
		return err
	}
	d := ds[0]
	w := work.Write{Row: "device " + d.ID[18:], Value: body, If: work.IfAbsent()}
	if row, err := s.Get(b.Context(), work.Key{Partition: d.Partition, Row: w.Row}); err == nil {
		w.If = work.IfMatch(row.ETag)
	}
	follow := work.Message{ID: "f-" + d.ID, Queue: "out", Partition: d.Partition, Body: body}
	return s.Settle(b.Context(), d, work.Batch{Partition: d.Partition, Writes: []work.Write{w}, Messages: []work.Message{follow}}, work.Outcome{})
}
