package hosttest

import (
	"os"
	"strings"
	"testing"

	"pinreset/shared/work"
)

// TestDiffTells: what differs by nature is nothing to tell; anything else is.
func TestDiffTells(t *testing.T) {
	t.Parallel()
	line := func(value string) string {
		text, err := neutral(work.Row{Key: work.Key{Partition: exampleTenant, Row: "event|01M8153H7RCP69BSGAYP9VT16F"}, Value: []byte(value)})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	const first = `{"id":"01M8153H7RCP69BSGAYP9VT16F","at":"2026-11-22T08:14:03Z","milliseconds":12,"sealed":"abc","key":"publicWhpk_9iu0n_ITiTqcvPX9mv85a9n6hPMpMNbgoClH781P0i4=","state":"issued","checks":1}`
	other := strings.NewReplacer("9VT16F", "9VT16G", "08:14:03Z", "08:14:04.5Z", "12", "7", "abc", "xyz", "9mv85", "aMvQ5").Replace(first)
	if other == first || line(first) != line(other) {
		t.Errorf("told apart by nature alone:\n%s\n%s", line(first), line(other))
	}
	for _, c := range [][2]string{{`"issued"`, `"failed"`}, {`"checks":1`, `"checks":2`}, {`"at"`, `"by"`}, {`"key"`, `"none"`}} {
		changed := line(strings.Replace(first, c[0], c[1], 1))
		if got := Diff(State{Rows: []string{line(first)}}, State{Rows: []string{changed}}); len(got) != 2 {
			t.Errorf("%s for %s: %q", c[1], c[0], got)
		}
	}
	if got := Diff(State{Events: []string{"e", "e"}, Waiting: []string{"w"}}, State{Events: []string{"e"}}); len(got) != 2 {
		t.Errorf("one event and one message less: %q", got)
	}
}

// TestGolden: every example has a queue, every queue that is named an example, and a message's id is its event's.
func TestGolden(t *testing.T) {
	t.Parallel()
	golden, err := Golden(os.DirFS("../../../events/examples"))
	if err != nil || len(golden) < 25 {
		t.Fatalf("%d messages: %v", len(golden), err)
	}
	ids := map[string]bool{}
	used := map[work.Queue]bool{}
	for _, m := range golden {
		w, err := m.Work()
		if err != nil || w.Partition != exampleTenant || ids[m.ID] {
			t.Errorf("%s: id %s, partition %s: %v", m.Name, m.ID, w.Partition, err)
		}
		ids[m.ID], used[m.Queue] = true, true
	}
	for name, queue := range queues {
		if !used[queue] {
			t.Errorf("no example of %s for queue %s", name, queue)
		}
	}
}
