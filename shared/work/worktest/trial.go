package worktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pinreset/shared/work"
)

// patience is how long the suite waits for what must happen. It is never waited out by a backend that passes.
const patience = 30 * time.Second

// partition is the one that tests use unless they need two.
const partition = "tenant-a"

// trial is one test's hold on its backend: the operations, failing the test where it can't go on.
type trial struct {
	*testing.T
	Backend
	ctx  context.Context
	last int // number of an id
}

func newTrial(t *testing.T, b Backend) *trial {
	if b.Now == nil {
		b.Now = time.Now
	}
	limit := patience
	if b.Advance == nil {
		limit += 30 * b.Lease // the longest of the tests lets 20 of them pass
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return &trial{T: t, Backend: b, ctx: ctx}
}

// pass lets the time pass.
func (t *trial) pass(d time.Duration) {
	t.Helper()
	if t.Advance != nil {
		t.Advance(d)
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.ctx.Done():
		t.Fatal(t.ctx.Err())
	}
}

func (t *trial) id() string {
	t.last++
	return fmt.Sprintf("id-%04d", t.last)
}

// message returns a message of the queue, due now.
func (t *trial) message() work.Message {
	id := t.id()
	return work.Message{ID: id, Queue: queue, Partition: partition, Body: []byte(`{"for":"` + id + `"}`)}
}

func put(row, value string) work.Write { return work.Write{Row: row, Value: []byte(value)} }

func rows(writes ...work.Write) work.Batch {
	return work.Batch{Partition: partition, Writes: writes}
}

func messages(ms ...work.Message) work.Batch {
	return work.Batch{Partition: partition, Messages: ms}
}

func (t *trial) commit(b work.Batch) {
	t.Helper()
	if err := t.Commit(t.ctx, b); err != nil {
		t.Fatalf("Commit: %v", err)
	}
}

func (t *trial) send(m work.Message) work.Message {
	t.Helper()
	t.commit(work.Batch{Partition: m.Partition, Messages: []work.Message{m}})
	return m
}

func (t *trial) get(row string) work.Row {
	t.Helper()
	got, err := t.Get(t.ctx, work.Key{Partition: partition, Row: row})
	if err != nil {
		t.Fatalf("Get %s: %v", row, err)
	}
	return got
}

// wantRow checks the row's value; "" is no row.
func (t *trial) wantRow(row, value string) {
	t.Helper()
	got, err := t.Get(t.ctx, work.Key{Partition: partition, Row: row})
	switch {
	case value == "" && errors.Is(err, work.ErrNotFound):
	case value == "" && err == nil:
		t.Errorf("row %s is %q, want none", row, got.Value)
	case err != nil:
		t.Errorf("Get %s: %v", row, err)
	case string(got.Value) != value:
		t.Errorf("row %s is %q, want %q", row, got.Value, value)
	}
}

func (t *trial) want(what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func (t *trial) receive(q work.Queue, limit int) []work.Delivery {
	t.Helper()
	got, err := t.Receive(t.ctx, q, limit)
	if err != nil {
		t.Fatalf("Receive from %s: %v", q, err)
	}
	if len(got) == 0 || len(got) > limit {
		t.Fatalf("Receive from %s returned %d deliveries, want 1 to %d", q, len(got), limit)
	}
	return got
}

// take receives the one message that is due.
func (t *trial) take() work.Delivery {
	t.Helper()
	return t.receive(queue, 1)[0]
}

// takeAll receives n messages, in however many calls.
func (t *trial) takeAll(q work.Queue, n int) []work.Delivery {
	t.Helper()
	var all []work.Delivery
	for len(all) < n {
		all = append(all, t.receive(q, n-len(all))...)
	}
	return all
}

func (t *trial) settle(d work.Delivery, b work.Batch, o work.Outcome) {
	t.Helper()
	if err := t.Settle(t.ctx, d, b, o); err != nil {
		t.Fatalf("Settle %s: %v", d.ID, err)
	}
}

func (t *trial) done(d work.Delivery) {
	t.Helper()
	t.settle(d, work.Batch{}, work.Outcome{})
}

// wantNothingDue checks that no message of the queue is due, without waiting for one: a fresh message is the only one that
// comes.
func (t *trial) wantNothingDue(q work.Queue) {
	t.Helper()
	marker := t.message()
	marker.Queue = q
	t.send(marker)
	for {
		got := t.receive(q, 10)
		at := slices.IndexFunc(got, func(d work.Delivery) bool { return d.ID == marker.ID })
		for i, d := range got {
			if i != at {
				t.Errorf("message %s was delivered (delivery %d), want none", d.ID, d.Deliveries)
			}
		}
		if at >= 0 {
			t.done(got[at])
			return
		}
	}
}

func ids(ds []work.Delivery) []string {
	var all []string
	for _, d := range ds {
		all = append(all, d.ID)
	}
	slices.Sort(all)
	return all
}
