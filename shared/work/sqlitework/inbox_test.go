package sqlitework

import (
	"database/sql/driver"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"pinreset/shared/work"
	"pinreset/shared/work/worktest"
)

// TestInboxForgets: an id is remembered for as long as Options say, and the table does not grow for ever.
func TestInboxForgets(t *testing.T) {
	t.Parallel()
	clock := worktest.NewClock()
	s := openStore(t, Options{Now: clock.Now, Inbox: time.Hour})
	later := message("later") // an old message that is not done must not be forgotten
	later.Messages[0].At = clock.Now().Add(1000 * time.Hour)
	mustCommit(t, s, later)
	finish := func(ids ...string) {
		t.Helper()
		var all work.Batch
		for _, id := range ids {
			one := message(id)
			all.Partition, all.Messages = one.Partition, append(all.Messages, one.Messages...)
		}
		mustCommit(t, s, all)
		var settled sync.WaitGroup // side by side, so that they share commits
		for _, d := range receive(t, s, len(ids)) {
			if !slices.Contains(ids, d.ID) {
				t.Errorf("%s came, want one of %v", d.ID, ids)
			}
			settled.Go(func() {
				if err := s.Settle(t.Context(), d, work.Batch{}, work.Outcome{}); err != nil {
					t.Error(err)
				}
			})
		}
		settled.Wait()
	}
	many := func(name string, n int) {
		t.Helper()
		var ids []string
		for i := range n {
			ids = append(ids, fmt.Sprint(name, i))
		}
		for some := range slices.Chunk(ids, purgeEvery/2) {
			finish(some...)
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
	many("old-", 3*purgeEvery)
	clock.Advance(59 * time.Minute)
	mustCommit(t, s, message("old-7"))
	if n := known(); n != 3*purgeEvery+1 {
		t.Errorf("%d ids are known within the hour, want %d", n, 3*purgeEvery+1)
	}
	clock.Advance(2 * time.Minute)
	many("new-", 2*purgeEvery)
	if n := known(); n != 2*purgeEvery+1 {
		t.Errorf("%d ids are known, want the new ones and the one that waits: %d", n, 2*purgeEvery+1)
	}
	finish("old-7") // it is a new message now
	clock.Advance(1000 * time.Hour)
	s.Wake()
	if ds := receive(t, s, 1); ds[0].ID != "later" {
		t.Errorf("%s came, want the message that waited", ds[0].ID)
	}
}
