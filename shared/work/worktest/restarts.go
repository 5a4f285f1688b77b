package worktest

import (
	"slices"

	"pinreset/shared/work"
)

// reopen gives the data to a new process, if the backend has one.
func (t *trial) reopen() {
	t.Helper()
	if t.Reopen == nil {
		t.Skip("the backend has no process of its own")
	}
	b := t.Reopen(t.T)
	t.Store, t.Source, t.ReopenReleases = b.Store, b.Source, b.ReopenReleases
}

var restartSentences = []sentence{
	{"what was committed is there after a restart", func(t *trial) {
		keys := t.fill(partition, "row-", 20)
		m := t.send(t.message())
		later := t.message()
		later.At = t.Now().Add(t.Lease)
		t.send(later)
		tag := t.get(keys[3]).ETag
		t.reopen()
		if got := t.list(work.Query{Partition: partition}); !slices.Equal(got, keys) {
			t.Errorf("rows are %q, want %q", got, keys)
		}
		if got := t.get(keys[3]).ETag; got != tag {
			t.Errorf("ETag is %q, was %q", got, tag)
		}
		if d := t.take(); d.ID != m.ID {
			t.Errorf("%s came, want %s", d.ID, m.ID)
		}
		t.wantNothingDue(queue)
		t.pass(t.Lease)
		if got := ids(t.takeAll(queue, 2)); !slices.Equal(got, []string{m.ID, later.ID}) {
			t.Errorf("%q came, want %s again and %s in time", got, m.ID, later.ID)
		}
	}},
	{"a lease holds over a restart at most, and deliveries before it are counted", func(t *trial) {
		t.send(t.message())
		before := t.take()
		t.reopen()
		if !t.ReopenReleases {
			t.wantNothingDue(queue)
			if _, err := t.Renew(t.ctx, before); err != nil {
				t.Errorf("Renew: %v", err)
			}
			t.pass(t.Lease)
		}
		d := t.take()
		if d.ID != before.ID || d.Deliveries != 2 {
			t.Errorf("delivery %d of %s, want the second of %s", d.Deliveries, d.ID, before.ID)
		}
		t.lost(before)
		t.done(d)
	}},
	{"a message done before a restart stays done", func(t *trial) {
		m := t.send(t.message())
		t.done(t.take())
		t.reopen()
		t.send(m)
		t.wantNothingDue(queue)
	}},
	{"ETags and leases of before a restart are never given out again", func(t *trial) {
		m := t.message()
		t.commit(work.Batch{Partition: partition, Writes: []work.Write{put("r", "one")}, Messages: []work.Message{m}})
		tag, d := t.get("r").ETag, t.take()
		t.reopen()
		t.commit(rows(put("r", "two"), put("s", "two")))
		for _, row := range []string{"r", "s"} {
			if t.get(row).ETag == tag {
				t.Errorf("row %s has the ETag %q again", row, tag)
			}
		}
		t.pass(t.Lease)
		if again := t.take(); again.Lease == d.Lease {
			t.Errorf("lease %q was given out again", d.Lease)
		}
	}},
	{"a page token is good after a restart", func(t *trial) {
		keys := t.fill(partition, "row-", 5)
		page, err := t.List(t.ctx, work.Query{Partition: partition, Limit: 2})
		if err != nil {
			t.Fatalf("List: %v", err)
		}
		t.reopen()
		if got := t.list(work.Query{Partition: partition, Limit: 2, Page: page.Next}); !slices.Equal(got, keys[2:]) {
			t.Errorf("rest is %q, want %q", got, keys[2:])
		}
	}},
}
