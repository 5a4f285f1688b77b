package sqlitework

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"pinreset/shared/work"
)

// BenchmarkUnit measures whole units of work, each receive → get → settle with one row and one follow-up message, on stable
// storage, 64 of them in flight: with the group commit, and plain, where each operation is a transaction with an fsync of its own.
func BenchmarkUnit(b *testing.B) {
	b.Run("group", func(b *testing.B) { benchmarkUnit(b, maxGroupOperations) })
	b.Run("plain", func(b *testing.B) { benchmarkUnit(b, 1) })
}

func benchmarkUnit(b *testing.B, most int) {
	const workers = 64
	s, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	ctx := b.Context()
	body, _ := json.Marshal(map[string]string{"specversion": "1.0", "type": "bench", "data": fmt.Sprintf("%0400d", 0)})
	const tenants = 16
	for n := 0; n < b.N; {
		partition := fmt.Sprintf("tenant-%d", n/90%tenants)
		batch := work.Batch{Partition: partition}
		for ; n < b.N && len(batch.Messages) < 90; n++ {
			batch.Messages = append(batch.Messages, work.Message{
				ID: fmt.Sprintf("%026d", n), Queue: "in", Partition: partition, Body: body,
			})
		}
		if err := s.Commit(ctx, batch); err != nil {
			b.Fatal(err)
		}
	}
	unit := func() error {
		ds, err := s.Receive(ctx, "in", 1)
		if err != nil {
			return err
		}
		d := ds[0]
		write := work.Write{Row: "device " + d.ID[18:], Value: body, If: work.IfAbsent()}
		if row, err := s.Get(ctx, work.Key{Partition: d.Partition, Row: write.Row}); err == nil {
			write.If = work.IfMatch(row.ETag)
		}
		follow := work.Message{ID: "f-" + d.ID, Queue: "out", Partition: d.Partition, Body: body}
		batch := work.Batch{Partition: d.Partition, Writes: []work.Write{write}, Messages: []work.Message{follow}}
		return s.Settle(ctx, d, batch, work.Outcome{})
	}
	s.writer.mu.Lock()
	s.writer.most = most
	s.writer.mu.Unlock()
	before := s.writer.groups.Load()
	b.ReportAllocs()
	b.ResetTimer()
	units := make(chan struct{}, b.N)
	for range b.N {
		units <- struct{}{}
	}
	close(units)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for range units {
				if err := unit(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "units/s")
	b.ReportMetric(float64(s.writer.groups.Load()-before)/float64(b.N), "commits/unit")
}
