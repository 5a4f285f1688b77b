package sqlitework

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pinreset/shared/work"
)

// The files of testdata/layout were written by the programs that had those layouts, each by writeLayout's commits, and are
// never written again.
var layoutTime = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

const layoutRows = 150

// writeLayout fills a store with what every layout must keep: rows of two partitions, a message that waits, one that is due
// later, one that is held and one that is done.
func writeLayout(ctx context.Context, s *Store) error {
	for i := range layoutRows {
		value := fmt.Appendf(nil, `{"row":%d,"text":"%s"}`, i, strings.Repeat("x", i%7*40))
		for _, partition := range []string{"one", "two"} {
			if err := s.Commit(ctx, work.Batch{Partition: partition, Writes: []work.Write{{Row: fmt.Sprintf("row|%03d", i), Value: value}}}); err != nil {
				return err
			}
		}
	}
	for _, m := range []work.Message{
		{ID: "done", Queue: "first"}, {ID: "held", Queue: "second"}, {ID: "waiting", Queue: "third"},
		{ID: "later", Queue: "third", At: layoutTime.Add(time.Hour)},
	} {
		m.Partition, m.Body = "one", []byte(`{"message":"`+m.ID+`"}`)
		if err := s.Commit(ctx, work.Batch{Partition: "one", Messages: []work.Message{m}}); err != nil {
			return err
		}
	}
	done, err := s.Receive(ctx, "first", 1)
	if err != nil {
		return err
	}
	if err := s.Settle(ctx, done[0], work.Batch{}, work.Outcome{Kind: work.Done}); err != nil {
		return err
	}
	_, err = s.Receive(ctx, "second", 1)
	return err
}

// TestEveryLayoutOpens opens a file of each layout there ever was and reads all that is in it.
func TestEveryLayoutOpens(t *testing.T) {
	t.Parallel()
	for layout := 1; layout <= len(steps); layout++ {
		t.Run(fmt.Sprint(layout), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(filepath.Join("testdata", "layout", fmt.Sprintf("%d.db", layout)))
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, databaseName), data, 0o600); err != nil {
				t.Fatal(err)
			}
			if c, err := Inspect(t.Context(), dir); err != nil || c.Layout != layout {
				t.Errorf("the file is of layout %d (%v), want %d", c.Layout, err, layout)
			}
			s, err := Open(dir, Options{Now: func() time.Time { return layoutTime.Add(2 * time.Minute) }})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			readLayout(t, s)
		})
	}
}

func readLayout(t *testing.T, s *Store) {
	t.Helper()
	for _, partition := range []string{"one", "two"} {
		n, page := 0, ""
		for {
			p, err := s.List(t.Context(), work.Query{Partition: partition, Prefix: "row|", Page: page})
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range p.Rows {
				want := fmt.Sprintf(`{"row":%d,"text":"%s"}`, n, strings.Repeat("x", n%7*40))
				if row.Row != fmt.Sprintf("row|%03d", n) || string(row.Value) != want {
					t.Fatalf("row %d is %s with %s, want %s", n, row.Row, row.Value, want)
				}
				n++
			}
			if page = p.Next; page == "" {
				break
			}
		}
		if n != layoutRows {
			t.Errorf("partition %s has %d rows, want %d", partition, n, layoutRows)
		}
	}
	for queue, want := range map[work.Queue]work.Delivery{"second": {Deliveries: 2, Message: work.Message{ID: "held"}}, "third": {Deliveries: 1, Message: work.Message{ID: "waiting"}}} {
		got, err := s.Receive(t.Context(), queue, 10)
		if err != nil || len(got) != 1 || got[0].ID != want.ID || got[0].Deliveries != want.Deliveries || string(got[0].Body) != `{"message":"`+want.ID+`"}` {
			t.Errorf("queue %s: %+v, %v; want %s, delivered %d times", queue, got, err, want.ID, want.Deliveries)
		}
	}
	// What was done is remembered: the same message again changes nothing.
	if err := s.Commit(t.Context(), work.Batch{Partition: "one", Messages: []work.Message{{ID: "done", Queue: "first", Partition: "one", Body: []byte("{}")}}}); err != nil {
		t.Fatal(err)
	}
	stats, err := s.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(stats.Queues, func(q QueueStats) bool { return q.Queue == "first" }) {
		t.Errorf("the message that was done waits again: %+v", stats.Queues)
	}
	i := slices.IndexFunc(stats.Queues, func(q QueueStats) bool { return q.Queue == "third" })
	if i < 0 || stats.Queues[i].Later != 1 {
		t.Errorf("the message that is due later is lost: %+v", stats.Queues)
	}
}

// TestUpgradeTakesEveryStepOnce takes two made-up steps after today's, and one that breaks off half way.
func TestUpgradeTakesEveryStepOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, err := Open(dir, Options{Now: func() time.Time { return layoutTime }})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(writeLayout(t.Context(), s), s.Close()); err != nil {
		t.Fatal(err)
	}
	now := len(steps)
	more := append(slices.Clone(steps), `ALTER TABLE rows ADD COLUMN note TEXT`, `CREATE TABLE extra (n); INSERT INTO extra SELECT count(*) FROM rows`)
	broken := append(slices.Clone(more), `INSERT INTO extra VALUES (1); INSERT INTO nothing VALUES (1)`)

	take := func(steps []string) error {
		c, err := connect(t.Context(), dir, writing)
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		return prepareSchema(t.Context(), c, steps)
	}
	if err := take(broken); err == nil || errors.Is(err, ErrNewer) {
		t.Errorf("a broken step: %v, want its error", err)
	}
	for range 2 { // the second time there is nothing to do: a step taken twice would fail
		if err := take(more); err != nil {
			t.Fatalf("upgrade: %v", err)
		}
	}
	c, err := connect(t.Context(), dir, writing)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := c.pragma(t.Context(), "user_version"); err != nil || v != int64(now+2) {
		t.Errorf("layout %v (%v), want %d", v, err, now+2)
	}
	if rows, err := findingsOf(t, c, "SELECT n FROM extra"); err != nil || !slices.Equal(rows, []string{fmt.Sprint(2 * layoutRows)}) {
		t.Errorf("extra holds %v (%v), want the count of the rows alone", rows, err)
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	// An older program keeps its hands off, and says so.
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrNewer) {
		t.Errorf("Open by today's program: %v, want ErrNewer", err)
	}
	if _, err := Inspect(t.Context(), dir); !errors.Is(err, ErrNewer) {
		t.Errorf("Inspect by today's program: %v, want ErrNewer", err)
	}
}
