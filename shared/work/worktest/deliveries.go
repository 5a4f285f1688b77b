package worktest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"pinreset/shared/work"
)

// grain is how exactly times come back.
const grain = time.Millisecond

var deliverySentences = []sentence{
	{"a message is delivered as it was sent", func(t *trial) {
		for _, body := range [][]byte{[]byte(`{"a":"ü"}`), bytes.Repeat([]byte("b"), work.MaxBodyBytes)} {
			m := t.message()
			m.Body = body
			before := t.Now()
			t.send(m)
			d := t.take()
			after := t.Now()
			if d.ID != m.ID || d.Queue != m.Queue || d.Partition != m.Partition || !bytes.Equal(d.Body, m.Body) {
				t.Errorf("delivered %s of %s on %s with %d bytes, want %s of %s on %s with %d",
					d.ID, d.Partition, d.Queue, len(d.Body), m.ID, m.Partition, m.Queue, len(m.Body))
			}
			if d.Deliveries != 1 || d.Lease == "" {
				t.Errorf("delivery %d with lease %q, want the first, with a lease", d.Deliveries, d.Lease)
			}
			if d.EnqueuedAt.Before(before.Add(-grain)) || d.EnqueuedAt.After(after.Add(grain)) {
				t.Errorf("enqueued at %s, want between %s and %s", d.EnqueuedAt, before, after)
			}
			if d.LeasedUntil.Before(before.Add(t.Lease-grain-t.Skew)) || d.LeasedUntil.After(after.Add(t.Lease+grain+t.Skew)) {
				t.Errorf("leased until %s, want %s from %s", d.LeasedUntil, t.Lease, after)
			}
			if d.At.Before(before.Add(-grain)) || d.At.After(after.Add(grain)) {
				t.Errorf("due at %s, want between %s and %s", d.At, before, after)
			}
			if d.EnqueuedAt.Location() != time.UTC || d.LeasedUntil.Location() != time.UTC {
				t.Errorf("times are not UTC: %s, %s", d.EnqueuedAt, d.LeasedUntil)
			}
			t.done(d)
		}
	}},
	{"rows and messages of one commit come together", func(t *trial) {
		b := rows(put("r", "one"))
		b.Messages = []work.Message{t.message(), t.message()}
		t.commit(b)
		got := t.takeAll(queue, 2)
		if want := []string{b.Messages[0].ID, b.Messages[1].ID}; !slices.Equal(ids(got), want) {
			t.Errorf("delivered %q, want %q", ids(got), want)
		}
		t.wantRow("r", "one")
	}},
	{"a commit may send a message for another partition", func(t *trial) {
		m := t.message()
		m.Partition = "tenant-b"
		t.commit(messages(m))
		if d := t.take(); d.Partition != "tenant-b" {
			t.Errorf("delivered for %s, want tenant-b", d.Partition)
		}
	}},
	{"a message is not delivered before its time, and then is", func(t *trial) {
		m := t.message()
		m.At = t.Now().Add(3 * t.Lease)
		t.send(m)
		t.wantNothingDue(queue)
		t.pass(3*t.Lease - t.Lease/10)
		t.wantNothingDue(queue)
		t.pass(t.Lease / 10)
		d := t.take()
		if d.ID != m.ID || d.Deliveries != 1 {
			t.Errorf("delivery %d of %s, want the first of %s", d.Deliveries, d.ID, m.ID)
		}
		if off := d.At.Sub(m.At).Abs(); off > grain {
			t.Errorf("delivery says it was due at %s, %s off", d.At, off)
		}
	}},
	{"a message whose time is past is due now", func(t *trial) {
		m := t.message()
		m.At = t.Now().Add(-time.Hour)
		t.send(m)
		if d := t.take(); d.ID != m.ID {
			t.Errorf("delivered %s, want %s", d.ID, m.ID)
		}
	}},
	{"a message held is delivered to nobody else", func(t *trial) {
		t.send(t.message())
		t.take()
		t.wantNothingDue(queue)
	}},
	{"Receive takes no more than it was asked for, and from its own queue", func(t *trial) {
		for _, q := range Queues {
			for range 5 {
				m := t.message()
				m.Queue = q
				t.send(m)
			}
		}
		for _, q := range Queues {
			seen := map[string]bool{}
			for range 5 {
				d := t.receive(q, 1)[0]
				if d.Queue != q || seen[d.ID] {
					t.Errorf("%s of queue %s came from queue %s, seen before: %v", d.ID, d.Queue, q, seen[d.ID])
				}
				seen[d.ID] = true
			}
			t.wantNothingDue(q)
		}
	}},
	{"Receive waits for a message to be sent", func(t *trial) {
		got := make(chan []work.Delivery, 1)
		var all sync.WaitGroup
		all.Go(func() {
			ds, err := t.Receive(t.ctx, queue, 5)
			t.want("Receive", err, nil)
			got <- ds
		})
		m := t.send(t.message())
		all.Wait()
		if ds := <-got; len(ds) != 1 || ds[0].ID != m.ID {
			t.Errorf("received %q, want %s", ids(ds), m.ID)
		}
	}},
	{"Receive waits for a message to fall due", func(t *trial) {
		m := t.message()
		m.At = t.Now().Add(t.Lease)
		t.send(m)
		got := make(chan []work.Delivery, 1)
		go func() {
			ds, err := t.Receive(t.ctx, queue, 5)
			t.want("Receive", err, nil)
			got <- ds
		}()
		t.pass(t.Lease)
		if ds := <-got; len(ds) != 1 || ds[0].ID != m.ID {
			t.Errorf("received %q, want %s", ids(ds), m.ID)
		}
	}},
	{"Receive ends with its context and takes nothing along", func(t *trial) {
		ended, cancel := context.WithCancel(t.ctx)
		cancel()
		_, err := t.Receive(ended, queue, 1)
		t.want("Receive with an ended context", err, context.Canceled)

		waiting, cancel := context.WithCancel(t.ctx)
		var all sync.WaitGroup
		all.Go(func() {
			_, err := t.Receive(waiting, queue, 1)
			t.want("Receive whose context ends", err, context.Canceled)
		})
		cancel()
		all.Wait()
		t.send(t.message())
		if d := t.take(); d.Deliveries != 1 {
			t.Errorf("delivery %d, want the first", d.Deliveries)
		}
	}},
	{"many receivers get each message once", func(t *trial) {
		const receivers, each = 8, 12
		var (
			mu   sync.Mutex
			seen = map[string]int{}
			all  sync.WaitGroup
		)
		for i := range receivers {
			all.Go(func() {
				for n := 0; n < each; {
					ds, err := t.Receive(t.ctx, queue, min(1+i%3, each-n))
					if err != nil {
						t.Errorf("Receive: %v", err)
						return
					}
					n += len(ds)
					mu.Lock()
					for _, d := range ds {
						seen[d.ID]++
					}
					mu.Unlock()
				}
			})
		}
		for i := range receivers {
			b := work.Batch{Partition: fmt.Sprintf("tenant-%d", i)}
			for range each {
				m := t.message()
				m.Partition = b.Partition
				b.Messages = append(b.Messages, m)
			}
			t.commit(b)
		}
		all.Wait()
		for id, n := range seen {
			if n != 1 {
				t.Errorf("%s was delivered %d times", id, n)
			}
		}
		if len(seen) != receivers*each {
			t.Errorf("%d messages were delivered, want %d", len(seen), receivers*each)
		}
	}},
}
