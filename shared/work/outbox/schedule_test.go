package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
	"pinreset/shared/work/outbox/outboxtest"
)

const (
	quarter = 15 * time.Minute
	period  = quarter / 3 // of sweeps
	week    = 7 * 24 * time.Hour
)

// sweep is one sweep, whose calls are returned.
func (d *desk) sweep() map[string]int {
	d.t.Helper()
	before := d.calls.Counts()
	if err := d.Sweep(d.t.Context()); err != nil {
		d.t.Fatalf("Sweep: %v", err)
	}
	return since(before, d.calls.Counts())
}

func since(before, now map[string]int) map[string]int {
	for name, n := range before {
		now[name] -= n
	}
	maps.DeleteFunc(now, func(_ string, n int) bool { return n == 0 })
	return now
}

func (d *desk) later(id string, by time.Duration) work.Message {
	m := job(id)
	m.At = d.clock.Now().Add(by)
	return m
}

// TestMessageDueInAWeek: it stays in its row, is sent once, within a quarter of an hour of its time and not after it, and comes at
// that time as its first delivery.
func TestMessageDueInAWeek(t *testing.T) {
	t.Parallel()
	for _, shift := range []time.Duration{0, time.Microsecond, time.Second, period - time.Microsecond} {
		d := newDesk(t, outbox.Options{MaxDelay: quarter})
		m := d.later("m", week+shift)
		d.send(m)
		for d.queue.Live() == 0 {
			if left := m.At.Sub(d.clock.Now()); left <= quarter-period {
				t.Fatalf("nothing is sent %s before it is due, after a sweep", left)
			}
			d.pass(period)
			d.sweep()
		}
		if left := m.At.Sub(d.clock.Now()); left > quarter {
			t.Errorf("sent %s before it is due", left)
		}
		if p, from := d.queue.Parcel(0); !p.Due.Equal(m.At) || !from.Equal(m.At) {
			t.Errorf("the queue was asked for %s and has it from %s on, want %s", p.Due, from, m.At)
		}
		for d.clock.Now().Before(m.At) {
			d.sweep()
			d.pass(min(period, m.At.Sub(d.clock.Now())))
		}
		got := d.take()
		if got.ID != "m" || got.Deliveries != 1 || !got.At.Equal(m.At) || string(got.Body) != string(m.Body) {
			t.Errorf("delivery %d of %s due at %s, want the first of m at %s", got.Deliveries, got.ID, got.At, m.At)
		}
		d.settle(got, work.Outcome{})
		d.sweep()
		if n := d.calls.Counts()["parcels"]; n != 1 || d.queue.Live() != 0 {
			t.Errorf("%d parcels were sent and %d are left, want one and none", n, d.queue.Live())
		}
		if keys := d.rows.Keys(tenant); strings.Join(keys, " ") != "mm" {
			t.Errorf("rows %q are left", keys)
		}
	}
}

// TestFartherThanTheQueueCanWait is the border: what the queue can be asked for is asked of it at once.
func TestFartherThanTheQueueCanWait(t *testing.T) {
	t.Parallel()
	d := newDesk(t, outbox.Options{MaxDelay: quarter})
	d.send(d.later("near", quarter))
	d.send(d.later("far", quarter+time.Microsecond))
	if p, _ := d.queue.Parcel(0); d.queue.Live() != 1 || p.Attributes[outbox.AttributeMessage] != "near" {
		t.Fatalf("%d parcels, the first of %s, want that of near alone", d.queue.Live(), p.Attributes[outbox.AttributeMessage])
	}
	d.pass(time.Microsecond)
	if d.sweep(); d.queue.Live() != 2 {
		t.Errorf("%d parcels when both are near, want 2", d.queue.Live())
	}
}

// read counts the marks that lists return.
type read struct {
	outbox.Rows
	marks int
}

func (r *read) List(ctx context.Context, q work.Query) (work.Page, error) {
	page, err := r.Rows.List(ctx, q)
	for _, row := range page.Rows {
		if row.Partition == tenant && strings.HasPrefix(row.Row, "k") {
			r.marks++
		}
	}
	return page, err
}

// TestThousandMessagesDueInAWeek: each costs one parcel, and sweeps read each mark once, when it has come near.
func TestThousandMessagesDueInAWeek(t *testing.T) {
	t.Parallel()
	const count, each = 1000, 50
	d := newDesk(t, outbox.Options{MaxDelay: quarter})
	rows := &read{Rows: d.calls.Rows(d.rows)}
	d.Store = outbox.New(rows, d.calls.Queue(d.queue), outbox.Options{NewID: numbered(), Now: d.clock.Now, MaxDelay: quarter, Inbox: 30 * 24 * time.Hour, Logger: silent})
	for i := range count / each {
		var ms []work.Message
		for j := range each {
			ms = append(ms, d.later(fmt.Sprintf("m-%02d-%02d", i, j), week))
		}
		d.send(ms...)
		d.pass(time.Hour)
	}
	if got := d.calls.Counts(); got["send"] != 0 || got["transact"] != count/each+1 { // one to enrol the partition
		t.Errorf("the commits made %v, want %d transactions and nothing sent", got, count/each+1)
	}
	idle := d.sweep()
	delete(idle, "transact") // the day's
	delete(idle, "writes")
	if want := map[string]int{"list": 4, "get": 1}; !maps.Equal(idle, want) || rows.marks != 0 { // the register and the partition, twice on the day's first
		t.Errorf("a sweep before anything is near made %v and read %d marks, want %v and none", idle, rows.marks, want)
	}
	seen := map[string]int{}
	for end := d.clock.Now().Add(week + time.Hour); d.clock.Now().Before(end); d.pass(period) {
		d.sweep()
		for len(d.queue.Due()) > 0 {
			got := d.take()
			if late := d.clock.Now().Sub(got.At); late < 0 || late > period {
				t.Fatalf("%s comes %s after it is due", got.ID, late)
			}
			seen[got.ID]++
			d.settle(got, work.Outcome{})
		}
	}
	if n := d.calls.Counts()["parcels"]; len(seen) != count || n != count {
		t.Errorf("%d messages came of %d parcels, want %d of as many", len(seen), n, count)
	}
	if rows.marks != count/each {
		t.Errorf("sweeps read %d marks, want each of %d once", rows.marks, count/each)
	}
}

// TestOperationsOfWhatWaits counts what a commit asks of its services when all, or part of what it sends waits, and what the sweep does.
func TestOperationsOfWhatWaits(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name          string
		ids           []string // those that begin with "far" wait
		outcome       time.Duration
		commit, sweep map[string]int
	}{
		{"all", []string{"far-a", "far-b"}, 0, map[string]int{"receive": 1, "get": 1, "transact": 1, "writes": 4, "complete": 1},
			map[string]int{"list": 2, "get": 3, "send": 1, "parcels": 2, "transact": 1, "writes": 1}},
		{"put off", nil, week, map[string]int{"receive": 1, "get": 1, "transact": 1, "writes": 2, "complete": 1},
			map[string]int{"list": 2, "get": 2, "send": 1, "parcels": 1, "transact": 1, "writes": 1}},
		{"put off beside one that is due", []string{"near"}, week, map[string]int{"receive": 1, "get": 1, "transact": 2, "writes": 5, "send": 1, "parcels": 1, "complete": 1},
			map[string]int{"list": 2, "get": 2, "send": 1, "parcels": 1, "transact": 1, "writes": 1}},
		{"a part", []string{"far-a", "near"}, 0, map[string]int{"receive": 1, "get": 1, "transact": 2, "writes": 6, "send": 1, "parcels": 1, "complete": 1},
			map[string]int{"list": 2, "get": 2, "send": 1, "parcels": 1, "transact": 1, "writes": 1}},
	} {
		d := newDesk(t, outbox.Options{MaxDelay: quarter, Inbox: 30 * 24 * time.Hour})
		d.send(job("m"))
		before := d.calls.Counts()
		var ms []work.Message
		for _, id := range test.ids {
			m := job(id)
			if strings.HasPrefix(id, "far") {
				m.At = d.clock.Now().Add(week)
			}
			ms = append(ms, m)
		}
		o := work.Outcome{}
		if test.outcome > 0 {
			o = work.Outcome{Kind: work.Postpone, At: d.clock.Now().Add(test.outcome)}
		}
		d.settle(d.take(), o, ms...)
		if got := since(before, d.calls.Counts()); !maps.Equal(got, test.commit) {
			t.Errorf("%s: the commit made %v, want %v", test.name, got, test.commit)
		}
		d.pass(week - quarter - time.Minute)
		d.sweep() // the day's
		d.pass(time.Minute)
		if got := d.sweep(); !maps.Equal(got, test.sweep) {
			t.Errorf("%s: the sweep made %v, want %v", test.name, got, test.sweep)
		}
	}
}

// TestFullTransactionOfWhatWaits: a commit's mark is one row, and so is that which stays of it, whatever the times are.
func TestFullTransactionOfWhatWaits(t *testing.T) {
	t.Parallel()
	d := newDesk(t, outbox.Options{MaxDelay: quarter})
	d.send(job("m"))
	b := work.Batch{Partition: tenant, Messages: []work.Message{job("now")}}
	for i := range work.MaxOperations - 1 {
		m := d.later(fmt.Sprintf("far-%02d", i), time.Duration(i+1)*time.Hour)
		if i%2 == 0 {
			m.Partition = other
		}
		b.Messages = append(b.Messages, m)
	}
	if err := d.Settle(t.Context(), d.take(), b, work.Outcome{Kind: work.Postpone, At: d.clock.Now().Add(week)}); err != nil {
		t.Fatalf("Settle: %v", err)
	}
	if got := d.take(); got.ID != "now" {
		t.Errorf("%s came, want now", got.ID)
	}
	last := ""
	for i := range work.MaxOperations - 1 {
		d.pass(time.Hour - quarter)
		d.sweep()
		d.pass(quarter)
		got := d.take()
		for got.ID == "now" { // nobody settles it
			got = d.take()
		}
		if want := fmt.Sprintf("far-%02d", i); got.ID != want {
			t.Fatalf("%s came after %q, want %s", got.ID, last, want)
		}
		last = got.ID
		d.settle(got, work.Outcome{})
	}
	d.pass(week)
	d.sweep()
	d.pass(quarter)
	for got := d.take(); got.ID != "m"; got = d.take() {
		if got.ID != "now" {
			t.Fatalf("%s came, want m", got.ID)
		}
	}
	for _, partition := range []string{tenant, other} {
		for _, key := range d.rows.Keys(partition) {
			if key[0] != 'm' {
				t.Errorf("row %s is left in %s", key, partition)
			}
		}
	}
}

// TestWhatWaitsIsNotSentForOthers: a commit whose messages could not be sent is finished with those alone that are due.
func TestWhatWaitsIsNotSentForOthers(t *testing.T) {
	t.Parallel()
	d := newDesk(t, outbox.Options{MaxDelay: quarter})
	abroad := d.later("abroad", week)
	abroad.Partition = other
	d.calls.Fail = func(_ int, name string) outboxtest.Fault {
		if name == "send" {
			return outboxtest.NotMade
		}
		return outboxtest.None
	}
	d.send(job("now"), d.later("near", time.Minute), d.later("far", week), abroad)
	d.calls.Fail = nil
	if d.sweep(); d.queue.Live() != 2 {
		t.Errorf("%d parcels, want those of now and near", d.queue.Live())
	}
	abroad.ID = "abroad too"
	d.calls.Fail = func(_ int, name string) outboxtest.Fault {
		if name == "transact" && len(d.rows.Keys(tenant)) > 5 { // of the commit, its rows alone are there
			return outboxtest.NotMade
		}
		return outboxtest.None
	}
	d.send(abroad)
	d.calls.Fail = nil
	if keys := d.rows.Keys(other); len(keys) != 2 {
		t.Fatalf("rows %q are in %s already", keys, other)
	}
	if d.sweep(); d.queue.Live() != 2 || len(d.rows.Keys(other)) != 4 {
		t.Errorf("%d parcels and rows %q in %s, want no more parcels and both messages with their marks", d.queue.Live(), d.rows.Keys(other), other)
	}
}

// TestWaitingCommitThatWasMadeBeforeItsRefusal: it is known by the key that its mark has.
func TestWaitingCommitThatWasMadeBeforeItsRefusal(t *testing.T) {
	t.Parallel()
	d := newDesk(t, outbox.Options{MaxDelay: quarter})
	d.send(d.later("warm", week)) // the partition is known from here on
	twice := true
	d.calls.Fail = func(_ int, name string) outboxtest.Fault {
		if name == "transact" && twice {
			twice = false
			return outboxtest.MadeTwice
		}
		return outboxtest.None
	}
	b := work.Batch{Partition: tenant, Writes: []work.Write{{Row: "r", If: work.IfAbsent()}}, Messages: []work.Message{d.later("m", week)}}
	if err := d.Commit(t.Context(), b); err != nil || twice {
		t.Errorf("Commit: %v; made twice: %v", err, !twice)
	}
}

// TestSweepCutAtAnyCall: whatever a sweep was about to do or has done when its process dies, the next one makes one delivery of it.
func TestSweepCutAtAnyCall(t *testing.T) {
	t.Parallel()
	for _, forgetful := range []bool{false, true} {
		for _, fault := range []outboxtest.Fault{outboxtest.NotMade, outboxtest.NotTold} {
			cut := 0
			for n, reached := 0, true; reached; n++ {
				d := newDesk(t, outbox.Options{MaxDelay: quarter})
				d.queue.Forgetful = forgetful
				d.send(d.later("a", time.Hour), d.later("b", 2*time.Hour))
				d.pass(50 * time.Minute)
				first := 0
				for _, calls := range d.calls.Counts() {
					first += calls
				}
				first -= d.calls.Counts()["writes"] + d.calls.Counts()["parcels"]
				reached = false
				d.calls.Fail = func(i int, _ string) outboxtest.Fault {
					switch {
					case i < first+n:
						return outboxtest.None
					case i == first+n:
						reached = true
						return fault
					}
					return outboxtest.NotMade // dead
				}
				if err := d.Sweep(t.Context()); reached && !errors.Is(err, outboxtest.ErrFault) {
					t.Fatalf("call %d: %v, want the fault", n, err)
				}
				d.calls.Fail = nil
				for _, id := range []string{"a", "b"} {
					d.sweep()
					d.pass(10 * time.Minute)
					got := d.take()
					if got.ID != id || got.Deliveries != 1 {
						t.Fatalf("call %d, fault %d: delivery %d of %s came, want the first of %s", n, fault, got.Deliveries, got.ID, id)
					}
					d.settle(got, work.Outcome{})
					d.pass(50 * time.Minute)
				}
				d.sweep()
				d.send(job("marker"))
				if got := d.take(); got.ID != "marker" {
					t.Fatalf("call %d, fault %d: %s came again", n, fault, got.ID)
				}
				cut = n
			}
			if cut < 6 {
				t.Errorf("a sweep has only %d calls", cut)
			}
		}
	}
}

// TestWhatWaitsOutlivesItsQueue: a store over a queue that can wait for as long as one likes sends what another left in the rows.
func TestWhatWaitsOutlivesItsQueue(t *testing.T) {
	t.Parallel()
	d := newDesk(t, outbox.Options{MaxDelay: quarter})
	m, abroad := d.later("m", week), d.later("abroad", week)
	abroad.Partition = other
	d.send(m, abroad)
	d.queue = &outboxtest.Queue{Now: d.clock.Now}
	d.Store = outbox.New(d.calls.Rows(d.rows), d.calls.Queue(d.queue), outbox.Options{NewID: numbered(), Now: d.clock.Now, Logger: silent})
	d.sweep()
	if d.queue.Live() != 2 {
		t.Fatalf("%d parcels, want both", d.queue.Live())
	}
	for i := range 2 {
		if p, _ := d.queue.Parcel(i); !p.Due.Equal(m.At) {
			t.Errorf("the parcel is due at %s, want %s", p.Due, m.At)
		}
	}
}

// TestParcelThatComesTooEarlyWaits: one that somebody sent whose clock was ahead, or who asked for a part of the time, goes back to its row.
func TestParcelThatComesTooEarlyWaits(t *testing.T) {
	t.Parallel()
	d := newDesk(t, outbox.Options{MaxDelay: quarter})
	m := d.later("m", time.Hour)
	d.send(m)
	ahead := outbox.New(d.rows, d.queue, outbox.Options{NewID: numbered(), Now: func() time.Time { return d.clock.Now().Add(46 * time.Minute) }, MaxDelay: quarter, Logger: silent})
	if err := ahead.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.pass(quarter)
	early, err := d.queue.Receive(t.Context(), jobs, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Accept(t.Context(), early[0]); !errors.Is(err, outbox.ErrSettled) || d.queue.Live() != 0 {
		t.Fatalf("Accept: %v, %d parcels are left, want ErrSettled and none", err, d.queue.Live())
	}
	d.pass(40 * time.Minute)
	d.sweep()
	d.pass(5 * time.Minute)
	if got := d.take(); got.ID != "m" || got.Deliveries != 1 || !got.At.Equal(m.At) {
		t.Errorf("delivery %d of %s due at %s, want the first of m at %s", got.Deliveries, got.ID, got.At, m.At)
	}
}

// TestEraseWhatWaits: with its partition goes what waits there, from wherever it was sent.
func TestEraseWhatWaits(t *testing.T) {
	t.Parallel()
	d := newDesk(t, outbox.Options{MaxDelay: quarter})
	abroad := d.later("abroad", week)
	abroad.Partition = other
	d.send(d.later("m", week), abroad)
	if rows, messages, err := d.ErasePartition(t.Context(), other); rows != 0 || messages != 1 || err != nil {
		t.Errorf("ErasePartition: %d rows, %d messages, %v, want the message", rows, messages, err)
	}
	d.pass(week)
	d.sweep()
	if p, _ := d.queue.Parcel(0); d.queue.Live() != 1 || p.Attributes[outbox.AttributeMessage] != "m" {
		t.Errorf("%d parcels, the first of %s, want that of m alone", d.queue.Live(), p.Attributes[outbox.AttributeMessage])
	}
}
