package worktest

import (
	"time"

	"pinreset/shared/work"
)

var outcomeSentences = []sentence{
	{"a message that is done never comes again", func(t *trial) {
		t.send(t.message())
		d := t.take()
		t.done(d)
		t.pass(10 * t.Lease)
		t.wantNothingDue(queue)
		t.lost(d)
		t.wantNothingDue(queue)
	}},
	{"Done applies rows and messages together with the end of the delivery", func(t *trial) {
		t.commit(rows(put("r", "old")))
		t.send(t.message())
		d := t.take()
		follow := t.message()
		b := rows(work.Write{Row: "r", Value: []byte("new"), If: work.IfMatch(t.get("r").ETag)}, put("s", "new"))
		b.Messages = []work.Message{follow}
		t.settle(d, b, work.Outcome{})
		t.wantRow("r", "new")
		t.wantRow("s", "new")
		if next := t.take(); next.ID != follow.ID {
			t.Errorf("%s came, want %s", next.ID, follow.ID)
		}
	}},
	{"Retry brings the message back at its time, counted", func(t *trial) {
		t.send(t.message())
		first := t.take()
		at := t.Now().Add(2 * t.Lease)
		t.settle(first, rows(put("r", "tried")), work.Outcome{Kind: work.Retry, At: at})
		t.wantRow("r", "tried")
		t.pass(2*t.Lease - t.Lease/10)
		t.wantNothingDue(queue)
		t.pass(t.Lease / 10)
		d := t.take()
		if d.ID != first.ID || d.Deliveries != 2 || d.Lease == first.Lease {
			t.Errorf("delivery %d of %s, want the second of %s under another lease", d.Deliveries, d.ID, first.ID)
		}
		if off := d.At.Sub(at).Abs(); off > grain {
			t.Errorf("delivery says it was due at %s, %s off", d.At, off)
		}
		t.lost(first)
	}},
	{"Postpone brings the message back at its time, not counted", func(t *trial) {
		t.send(t.message())
		first := t.take()
		t.settle(first, rows(put("r", "waiting")), work.Outcome{Kind: work.Postpone, At: t.Now().Add(2 * t.Lease)})
		t.wantRow("r", "waiting")
		t.pass(2*t.Lease - t.Lease/10)
		t.wantNothingDue(queue)
		t.pass(t.Lease / 10)
		if d := t.take(); d.ID != first.ID || d.Deliveries != 1 {
			t.Errorf("delivery %d of %s, want the first of %s", d.Deliveries, d.ID, first.ID)
		}
		t.lost(first)
	}},
	{"Retry and Postpone without a time, or with one that is past, mean now", func(t *trial) {
		m := t.send(t.message())
		want := 1
		for _, o := range []work.Outcome{
			{Kind: work.Retry}, {Kind: work.Postpone}, {Kind: work.Postpone, At: t.Now().Add(-time.Hour)},
			{Kind: work.Retry, At: t.Now().Add(-time.Hour)}, {Kind: work.Retry},
		} {
			d := t.receive(queue, 10)[0] // asks for more than there is, so that the backend knows the queue to be empty
			if d.ID != m.ID || d.Deliveries != want {
				t.Errorf("delivery %d of %s, want delivery %d of %s", d.Deliveries, d.ID, want, m.ID)
			}
			t.settle(d, work.Batch{}, o)
			if o.Kind == work.Retry {
				want++
			}
		}
	}},
	{"deliveries are counted over every way to come back", func(t *trial) {
		t.send(t.message())
		t.take()
		t.pass(t.Lease) // 1: the holder died
		t.settle(t.take(), work.Batch{}, work.Outcome{Kind: work.Retry})
		t.settle(t.take(), work.Batch{}, work.Outcome{Kind: work.Postpone})
		t.take()
		t.pass(t.Lease)
		if d := t.take(); d.Deliveries != 4 {
			t.Errorf("delivery %d, want 4: two deaths and one retry before", d.Deliveries)
		}
	}},
	{"a settlement in conflict changes nothing and leaves the delivery held", func(t *trial) {
		t.commit(rows(put("r", "old")))
		stale := t.get("r").ETag
		t.commit(rows(put("r", "new")))
		t.send(t.message())
		d := t.take()
		b := rows(put("before", "x"), work.Write{Row: "r", Value: []byte("x"), If: work.IfMatch(stale)}, put("after", "x"))
		b.Messages = []work.Message{t.message()}
		for _, kind := range []work.OutcomeKind{work.Done, work.Retry, work.Postpone} {
			t.want("Settle", t.Settle(t.ctx, d, b, work.Outcome{Kind: kind}), work.ErrConflict)
		}
		t.wantRow("r", "new")
		t.wantRow("before", "")
		t.wantRow("after", "")
		t.wantNothingDue(queue)
		b.Writes[1].If = work.IfMatch(t.get("r").ETag)
		t.settle(d, b, work.Outcome{})
		t.wantRow("r", "x")
		if next := t.take(); next.ID != b.Messages[0].ID {
			t.Errorf("%s came, want %s", next.ID, b.Messages[0].ID)
		}
	}},
	{"a settlement commits to the partition of its delivery alone", func(t *trial) {
		t.send(t.message())
		d := t.take()
		b := work.Batch{Partition: "tenant-b", Writes: []work.Write{put("r", "x")}}
		t.want("Settle", t.Settle(t.ctx, d, b, work.Outcome{}), work.ErrBadKey)
		_, err := t.Get(t.ctx, work.Key{Partition: "tenant-b", Row: "r"})
		t.want("Get", err, work.ErrNotFound)
		t.done(d)
	}},
	{"an outcome that does not exist is an error and leaves the delivery held", func(t *trial) {
		t.send(t.message())
		d := t.take()
		if err := t.Settle(t.ctx, d, rows(put("r", "x")), work.Outcome{Kind: 17}); err == nil {
			t.Error("Settle took outcome 17")
		}
		t.wantRow("r", "")
		t.done(d)
	}},
}

var duplicateSentences = []sentence{
	{"a message sent twice is delivered once", func(t *trial) {
		m := t.message()
		t.commit(messages(m, m))
		t.send(m)
		d := t.take()
		t.wantNothingDue(queue)
		t.done(d)
		t.wantNothingDue(queue)
	}},
	{"a message sent again while it waits, is held, was put off or is done changes nothing", func(t *trial) {
		m := t.message()
		m.At = t.Now().Add(t.Lease)
		t.send(m)
		again := m
		again.At = time.Time{}
		again.Body = []byte("other")
		t.send(again)
		t.wantNothingDue(queue)
		t.pass(t.Lease)
		d := t.take()
		if string(d.Body) != string(m.Body) {
			t.Errorf("body is %q, want the first one sent", d.Body)
		}
		t.send(again)
		t.wantNothingDue(queue)
		t.settle(d, work.Batch{}, work.Outcome{Kind: work.Retry, At: t.Now().Add(t.Lease)})
		t.send(again)
		t.wantNothingDue(queue)
		t.pass(t.Lease)
		t.done(t.take())
		t.send(again)
		t.wantNothingDue(queue)
		t.pass(10 * t.Lease)
		t.send(again)
		t.wantNothingDue(queue)
	}},
	{"a duplicate is dropped and the rest of its commit is not", func(t *trial) {
		m := t.send(t.message())
		t.done(t.take())
		fresh := t.message()
		b := rows(put("r", "one"))
		b.Messages = []work.Message{m, fresh}
		t.commit(b)
		t.wantRow("r", "one")
		if d := t.take(); d.ID != fresh.ID {
			t.Errorf("%s came, want %s", d.ID, fresh.ID)
		}
		t.wantNothingDue(queue)
	}},
	{"a settlement can't send its own message anew", func(t *trial) {
		m := t.send(t.message())
		t.settle(t.take(), messages(m), work.Outcome{})
		t.wantNothingDue(queue)
	}},
	{"a duplicate is one on whatever queue", func(t *trial) {
		m := t.send(t.message())
		m.Queue = otherQueue
		t.send(m)
		t.wantNothingDue(otherQueue)
	}},
	{"the same id in another partition is another message", func(t *trial) {
		m := t.send(t.message())
		t.done(t.take())
		m.Partition = "tenant-b"
		t.send(m)
		if d := t.take(); d.ID != m.ID || d.Partition != "tenant-b" {
			t.Errorf("%s of %s came, want %s of tenant-b", d.ID, d.Partition, m.ID)
		}
	}},
}
