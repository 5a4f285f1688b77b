package sqlitework

import (
	"database/sql/driver"
	"fmt"
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
	clock.Advance(59 * time.Minute)
	mustCommit(t, s, message("old-7"))
	if n := known(); n != 3*purgeEvery+1 {
		t.Errorf("%d ids are known within the hour, want %d", n, 3*purgeEvery+1)
	}
	clock.Advance(2 * time.Minute)
	for i := range 2 * purgeEvery {
		finish(fmt.Sprint("new-", i))
	}
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
