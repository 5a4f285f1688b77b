package worktest

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"

	"pinreset/shared/work"
)

// add counts a row up by one in the delivery's own commit, until nobody else did so in between.
func (t *trial) add(d work.Delivery, row string) error {
	for {
		w := work.Write{Row: row, Value: []byte("1"), If: work.IfAbsent()}
		switch got, err := t.Get(t.ctx, work.Key{Partition: d.Partition, Row: row}); {
		case err == nil:
			n, err := strconv.Atoi(string(got.Value))
			if err != nil {
				return err
			}
			w.Value, w.If = strconv.AppendInt(nil, int64(n+1), 10), work.IfMatch(got.ETag)
		case !errors.Is(err, work.ErrNotFound):
			return err
		}
		err := t.Settle(t.ctx, d, work.Batch{Partition: d.Partition, Writes: []work.Write{w}}, work.Outcome{})
		if !errors.Is(err, work.ErrConflict) {
			return err
		}
	}
}

var concurrencySentences = []sentence{
	{"counters that many workers share count each message exactly once", func(t *trial) {
		const workers, count, counters = 8, 96, 3
		for range 2 { // sent twice over
			for from := 0; from < count; from += work.MaxOperations / 2 {
				b := work.Batch{Partition: partition}
				for i := from; i < min(count, from+work.MaxOperations/2); i++ {
					b.Messages = append(b.Messages, work.Message{ID: fmt.Sprintf("m-%03d", i), Queue: queue, Partition: partition})
				}
				t.commit(b)
			}
		}
		var (
			all  sync.WaitGroup
			left atomic.Int64
		)
		left.Store(count)
		for range workers {
			all.Go(func() {
				for left.Add(-1) >= 0 {
					ds, err := t.Receive(t.ctx, queue, 1)
					if err != nil {
						t.Errorf("Receive: %v", err)
						return
					}
					n, _ := strconv.Atoi(ds[0].ID[2:])
					if err := t.add(ds[0], fmt.Sprintf("counter-%d", n%counters)); err != nil {
						t.Errorf("settle %s: %v", ds[0].ID, err)
						return
					}
				}
			})
		}
		all.Wait()
		for i := range counters {
			t.wantRow(fmt.Sprintf("counter-%d", i), strconv.Itoa(count/counters))
		}
		t.wantNothingDue(queue)
	}},
	{"of many that create a row one succeeds", func(t *trial) {
		var (
			all  sync.WaitGroup
			won  atomic.Int64
			lost atomic.Int64
		)
		const tries = 16
		for i := range tries {
			all.Go(func() {
				w := work.Write{Row: "r", Value: []byte(strconv.Itoa(i)), If: work.IfAbsent()}
				own := put(fmt.Sprintf("own-%02d", i), "x")
				switch err := t.Commit(t.ctx, rows(own, w)); {
				case err == nil:
					won.Add(1)
				case errors.Is(err, work.ErrConflict):
					lost.Add(1)
				default:
					t.Errorf("Commit: %v", err)
				}
			})
		}
		all.Wait()
		if won.Load() != 1 || lost.Load() != tries-1 {
			t.Errorf("%d succeeded and %d lost, want 1 and %d", won.Load(), lost.Load(), tries-1)
		}
		if got := t.list(work.Query{Partition: partition, Prefix: "own-"}); len(got) != 1 {
			t.Errorf("rows %q of losers were written", got)
		}
	}},
	{"of many that settle one delivery one succeeds", func(t *trial) {
		t.send(t.message())
		d := t.take()
		var (
			all sync.WaitGroup
			won atomic.Int64
		)
		for i := range 16 {
			all.Go(func() {
				switch err := t.Settle(t.ctx, d, rows(put(fmt.Sprintf("own-%02d", i), "x")), work.Outcome{}); {
				case err == nil:
					won.Add(1)
				case !errors.Is(err, work.ErrLeaseLost):
					t.Errorf("Settle: %v", err)
				}
			})
		}
		all.Wait()
		if got := t.list(work.Query{Partition: partition, Prefix: "own-"}); won.Load() != 1 || len(got) != 1 {
			t.Errorf("%d succeeded and rows %q were written, want one", won.Load(), got)
		}
	}},
	{"a commit refused does not disturb the commits beside it", func(t *trial) {
		t.commit(rows(put("r", "one")))
		var all sync.WaitGroup
		for i := range 32 {
			all.Go(func() {
				w := put(fmt.Sprintf("own-%02d", i), "x")
				if i%2 == 0 {
					t.want("Commit", t.Commit(t.ctx, rows(w)), nil)
					return
				}
				bad := work.Write{Row: "r", Value: []byte("x"), If: work.IfAbsent()}
				t.want("Commit", t.Commit(t.ctx, rows(w, bad)), work.ErrConflict)
			})
		}
		all.Wait()
		if got := t.list(work.Query{Partition: partition, Prefix: "own-"}); len(got) != 16 {
			t.Errorf("%d rows were written, want 16: %q", len(got), got)
		}
		t.wantRow("r", "one")
	}},
}
