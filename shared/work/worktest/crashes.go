package worktest

import (
	"errors"

	"pinreset/shared/work"
)

// needSteps skips a test of torn commits where a commit is atomic.
func (t *trial) needSteps() {
	t.Helper()
	if len(t.Steps) == 0 {
		t.Skip("a commit of this backend is atomic")
	}
}

func (t *trial) sweep() {
	t.Helper()
	if err := t.Sweep(t.ctx); err != nil {
		t.Fatalf("Sweep: %v", err)
	}
}

// tornUnit runs a unit of work as a handler would, with effects that betray a second run: a row that counts the runs, and
// a follow-up message with a deterministic id.
func (t *trial) tornUnit(d work.Delivery, follow work.Message, outcome work.Outcome) error {
	w := work.Write{Row: "runs", Value: []byte("1"), If: work.IfAbsent()}
	if got, err := t.Get(t.ctx, work.Key{Partition: partition, Row: "runs"}); err == nil {
		w.Value, w.If = append(got.Value, '1'), work.IfMatch(got.ETag)
	} else if !errors.Is(err, work.ErrNotFound) {
		return err
	}
	return t.Settle(t.ctx, d, work.Batch{Partition: partition, Writes: []work.Write{w}, Messages: []work.Message{follow}}, outcome)
}

var crashSentences = []sentence{
	{"a commit cut at any step is there whole once swept, or not at all", func(t *trial) {
		t.needSteps()
		for _, step := range t.Steps {
			b := rows(put("row of "+step, "x"))
			b.Messages = []work.Message{t.message()}
			t.Crash(step)
			err := t.Commit(t.ctx, b)
			t.Crash("") // a commit without a delivery does not have every step
			t.sweep()
			_, missing := t.Get(t.ctx, work.Key{Partition: partition, Row: "row of " + step})
			switch {
			case missing == nil:
				if d := t.take(); d.ID != b.Messages[0].ID {
					t.Errorf("cut before %s: %s came, want %s", step, d.ID, b.Messages[0].ID)
				} else {
					t.done(d)
				}
			case err == nil:
				t.Errorf("cut before %s: the commit succeeded without its row", step)
			}
			// Who was told nothing commits again, and that must change nothing or everything.
			t.commit(b)
			t.wantRow("row of "+step, "x")
			if missing != nil {
				t.done(t.take())
			}
			t.wantNothingDue(queue)
		}
	}},
	{"a settlement cut at any step runs its unit once", func(t *trial) {
		t.needSteps()
		for i, step := range t.Steps {
			m, follow := t.message(), t.message()
			follow.Queue = otherQueue
			t.send(m)
			t.Crash(step)
			err := t.tornUnit(t.take(), follow, work.Outcome{})
			if err == nil {
				t.Errorf("cut before %s: the settlement succeeded", step)
			}
			t.sweep()
			t.pass(t.Lease)
			// The first step is cut before anything is stored, so the delivery comes back; after it, it does not.
			if i == 0 {
				if err := t.tornUnit(t.take(), follow, work.Outcome{}); err != nil {
					t.Errorf("second run: %v", err)
				}
			}
			t.wantNothingDue(queue)
			if d := t.receive(otherQueue, 1)[0]; d.ID != follow.ID {
				t.Errorf("cut before %s: %s followed, want %s", step, d.ID, follow.ID)
			} else {
				t.done(d)
			}
			t.wantNothingDue(otherQueue)
			t.wantRow("runs", "1111111111"[:i+1])
		}
	}},
	{"a retry cut at any step brings the message back, and its follow-up once", func(t *trial) {
		t.needSteps()
		follow := t.message()
		follow.Queue = otherQueue
		t.send(t.message())
		for _, step := range t.Steps {
			t.Crash(step)
			if err := t.tornUnit(t.take(), follow, work.Outcome{Kind: work.Retry}); err == nil {
				t.Errorf("cut before %s: the settlement succeeded", step)
			}
			t.sweep()
			t.pass(t.Lease)
		}
		d := t.take()
		if d.Deliveries != len(t.Steps)+1 {
			t.Errorf("delivery %d, want %d", d.Deliveries, len(t.Steps)+1)
		}
		t.done(d)
		t.done(t.receive(otherQueue, 1)[0])
		t.wantNothingDue(otherQueue)
	}},
	{"a sweep during commits sends nothing twice", func(t *trial) {
		t.needSteps()
		swept := make(chan error, 1)
		go func() {
			var errs []error
			for range 20 {
				errs = append(errs, t.Sweep(t.ctx))
			}
			swept <- errors.Join(errs...)
		}()
		const count = 20
		for range count {
			t.send(t.message())
		}
		t.want("Sweep", <-swept, nil)
		t.sweep()
		if t.Forgetful {
			t.eachSettledOnce(count)
			return
		}
		seen := map[string]bool{}
		for _, d := range t.takeAll(queue, count) {
			if seen[d.ID] {
				t.Errorf("%s came twice", d.ID)
			}
			seen[d.ID] = true
			t.done(d)
		}
		t.wantNothingDue(queue)
	}},
}

// eachSettledOnce takes deliveries until that many messages are settled, and checks that a copy of a settled one is refused, if it
// comes at all.
func (t *trial) eachSettledOnce(count int) {
	settled := map[string]bool{}
	for len(settled) < count {
		d := t.take()
		err := t.Settle(t.ctx, d, work.Batch{Partition: d.Partition}, work.Outcome{})
		switch {
		case settled[d.ID] && !errors.Is(err, work.ErrLeaseLost):
			t.Fatalf("a copy of %s was settled too: %v", d.ID, err)
		case !settled[d.ID] && err != nil:
			t.Fatalf("Settle %s: %v", d.ID, err)
		}
		settled[d.ID] = true
	}
	t.wantNothingDue(queue)
}
