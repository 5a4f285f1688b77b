package worktest

import (
	"time"

	"pinreset/shared/work"
)

// lost checks that the delivery's holder is refused everything and leaves nothing behind.
func (t *trial) lost(d work.Delivery) {
	t.Helper()
	_, err := t.Renew(t.ctx, d)
	t.want("Renew", err, work.ErrLeaseLost)
	for _, kind := range []work.OutcomeKind{work.Done, work.Retry, work.Postpone} {
		b := rows(put("late", "x"))
		b.Messages = []work.Message{t.message()}
		t.want("Settle", t.Settle(t.ctx, d, b, work.Outcome{Kind: kind}), work.ErrLeaseLost)
	}
	t.wantRow("late", "")
}

var leaseSentences = []sentence{
	{"a message whose lease ends is delivered again, counted, under another lease", func(t *trial) {
		t.send(t.message())
		first := t.take()
		leases := map[string]bool{first.Lease: true}
		for n := 2; n <= 4; n++ {
			t.pass(t.Lease)
			d := t.take()
			if d.ID != first.ID || d.Deliveries != n || leases[d.Lease] {
				t.Errorf("delivery %d of %s, lease new: %v, want delivery %d of %s, a new lease",
					d.Deliveries, d.ID, !leases[d.Lease], n, first.ID)
			}
			leases[d.Lease] = true
		}
	}},
	{"Receive waits for a lease to end", func(t *trial) {
		m := t.send(t.message())
		t.take()
		got := make(chan []work.Delivery, 1)
		go func() {
			ds, err := t.Receive(t.ctx, queue, 5)
			t.want("Receive", err, nil)
			got <- ds
		}()
		t.pass(t.Lease)
		if ds := <-got; len(ds) != 1 || ds[0].ID != m.ID || ds[0].Deliveries != 2 {
			t.Errorf("received %v, want the second delivery of %s", ds, m.ID)
		}
	}},
	{"a lease that is renewed does not end", func(t *trial) {
		t.send(t.message())
		d := t.take()
		for range 3 {
			t.pass(t.Lease * 2 / 3)
			until, err := t.Renew(t.ctx, d)
			if err != nil {
				t.Fatalf("Renew: %v", err)
			}
			if left := until.Sub(t.Now()); left > t.Lease+grain+t.Skew || left < t.Lease*9/10-t.Skew {
				t.Errorf("renewed for %s, want %s", left, t.Lease)
			}
			t.wantNothingDue(queue)
		}
		t.settle(d, rows(put("r", "one")), work.Outcome{})
		t.wantRow("r", "one")
	}},
	{"a renewed lease ends in its turn", func(t *trial) {
		t.send(t.message())
		d := t.take()
		if _, err := t.Renew(t.ctx, d); err != nil {
			t.Fatalf("Renew: %v", err)
		}
		t.pass(t.Lease + t.Lease/10)
		if again := t.take(); again.Deliveries != 2 {
			t.Errorf("delivery %d, want the second", again.Deliveries)
		}
	}},
	{"a holder that is late is refused with nothing applied, and the new one is not disturbed", func(t *trial) {
		t.send(t.message())
		late := t.take()
		t.pass(t.Lease)
		holder := t.take()
		t.lost(late)
		t.wantNothingDue(queue)
		t.settle(holder, rows(put("r", "holder")), work.Outcome{})
		t.wantRow("r", "holder")
		t.lost(late)
		t.wantNothingDue(queue)
	}},
	{"a late holder whose rows have changed is told that the lease is lost", func(t *trial) {
		t.commit(rows(put("r", "old")))
		t.send(t.message())
		late, stale := t.take(), t.get("r").ETag
		t.pass(t.Lease)
		t.settle(t.take(), rows(put("r", "holder")), work.Outcome{})
		b := rows(work.Write{Row: "r", Value: []byte("late"), If: work.IfMatch(stale)})
		t.want("Settle", t.Settle(t.ctx, late, b, work.Outcome{}), work.ErrLeaseLost)
		t.wantRow("r", "holder")
	}},
	{"a lease that nobody gave out holds nothing", func(t *trial) {
		t.send(t.message())
		d := t.take()
		for _, lease := range []string{"", "x", "0.0", "1.0", d.Lease + "0", "00000000-0000-0000-0000-000000000000"} {
			forged := d
			forged.Lease = lease
			_, err := t.Renew(t.ctx, forged)
			t.want("Renew with lease "+lease, err, work.ErrLeaseLost)
			err = t.Settle(t.ctx, forged, rows(put("late", "x")), work.Outcome{})
			t.want("Settle with lease "+lease, err, work.ErrLeaseLost)
		}
		t.wantRow("late", "")
		t.done(d)
	}},
	{"leases of messages received together end each on its own", func(t *trial) {
		t.commit(messages(t.message(), t.message()))
		held := t.takeAll(queue, 2)
		t.pass(t.Lease / 2)
		if _, err := t.Renew(t.ctx, held[0]); err != nil {
			t.Fatalf("Renew: %v", err)
		}
		t.pass(t.Lease/2 + time.Millisecond)
		if d := t.take(); d.ID != held[1].ID {
			t.Errorf("%s came again, want %s, whose lease was not renewed", d.ID, held[1].ID)
		}
		t.wantNothingDue(queue)
		t.done(held[0])
	}},
}
