package outbox_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"pinreset/shared/clocktest"
	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
	"pinreset/shared/work/outbox/outboxtest"
	"pinreset/shared/work/worktest"
)

// desk is a store with its drivers and its clock at hand.
type desk struct {
	*outbox.Store
	t     *testing.T
	clock *clocktest.Clock
	rows  *outboxtest.Rows
	queue *outboxtest.Queue
	calls *outboxtest.Calls
}

func newDesk(t *testing.T, o outbox.Options) *desk {
	t.Helper()
	d := &desk{t: t, clock: worktest.NewClock(), rows: &outboxtest.Rows{}, calls: &outboxtest.Calls{}}
	d.queue = &outboxtest.Queue{Now: d.clock.Now, MaxDelay: o.MaxDelay}
	o.NewID, o.Now, o.Logger = numbered(), d.clock.Now, silent
	d.Store = outbox.New(d.calls.Rows(d.rows), d.calls.Queue(d.queue), o)
	return d
}

func (d *desk) pass(by time.Duration) {
	d.clock.Advance(by)
	d.queue.Wake()
}

func (d *desk) send(ms ...work.Message) {
	d.t.Helper()
	if err := d.Commit(d.t.Context(), work.Batch{Partition: tenant, Messages: ms}); err != nil {
		d.t.Fatalf("Commit: %v", err)
	}
}

func (d *desk) take() work.Delivery {
	d.t.Helper()
	ds, err := d.Receive(d.t.Context(), jobs, 1)
	if err != nil {
		d.t.Fatalf("Receive: %v", err)
	}
	return ds[0]
}

func (d *desk) settle(delivery work.Delivery, o work.Outcome, ms ...work.Message) {
	d.t.Helper()
	if err := d.Settle(d.t.Context(), delivery, work.Batch{Partition: delivery.Partition, Messages: ms}, o); err != nil {
		d.t.Fatalf("Settle: %v", err)
	}
}

func job(id string) work.Message {
	return work.Message{ID: id, Queue: jobs, Partition: tenant, Body: []byte(`{"id":"` + id + `"}`)}
}

// TestCommitThatWasMadeBeforeItsRefusal: a client that repeats a transaction whose answer was lost is refused by its own writes.
// The commit sees that and goes on.
func TestCommitThatWasMadeBeforeItsRefusal(t *testing.T) {
	t.Parallel()
	d := newDesk(t, outbox.Options{})
	d.send(job("warm")) // the partition is known from here on, so the next transaction is the commit's
	d.settle(d.take(), work.Outcome{})
	twice := true
	d.calls.Fail = func(_ int, name string) outboxtest.Fault {
		if name == "transact" && twice {
			twice = false
			return outboxtest.MadeTwice
		}
		return outboxtest.None
	}
	b := work.Batch{Partition: tenant, Writes: []work.Write{{Row: "r", If: work.IfAbsent()}}, Messages: []work.Message{job("m")}}
	if err := d.Commit(t.Context(), b); err != nil {
		t.Fatalf("Commit: %v", err)
	}
	delivery := d.take() // without a sweep
	twice = true
	d.settle(delivery, work.Outcome{}, job("follow"))
	if next := d.take(); next.ID != "follow" {
		t.Errorf("%s came, want follow", next.ID)
	}
	if twice {
		t.Error("no transaction was made twice")
	}
}

// TestStepsAfterTheRowsAreNoErrors: a commit whose rows are stored holds, whatever the queue says.
func TestStepsAfterTheRowsAreNoErrors(t *testing.T) {
	t.Parallel()
	d := newDesk(t, outbox.Options{})
	d.calls.Fail = func(_ int, name string) outboxtest.Fault {
		if name == "send" {
			return outboxtest.NotMade
		}
		return outboxtest.None
	}
	d.send(job("m"))
	if n := d.queue.Live(); n != 0 {
		t.Fatalf("%d parcels are in the queue, want none", n)
	}
	d.calls.Fail = nil
	if err := d.Sweep(t.Context()); err != nil {
		t.Fatalf("Sweep: %v", err)
	}
	if got := d.take(); got.ID != "m" || got.Deliveries != 1 {
		t.Errorf("delivery %d of %s, want the first of m", got.Deliveries, got.ID)
	}
	for _, key := range d.rows.Keys(tenant) {
		if key != "mm" {
			t.Errorf("row %s is left", key)
		}
	}
}

// TestOperations counts what a unit of work asks of its services; the package's documentation tells the numbers.
func TestOperations(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		messages []work.Message
		outcome  work.Outcome
		want     map[string]int
	}{
		{"without messages", nil, work.Outcome{}, map[string]int{"receive": 1, "get": 1, "transact": 1, "writes": 2, "complete": 1}},
		{"with messages", []work.Message{job("a"), job("b")}, work.Outcome{},
			map[string]int{"receive": 1, "get": 1, "transact": 2, "writes": 6, "send": 1, "parcels": 2, "complete": 1}},
		{"put off", nil, work.Outcome{Kind: work.Retry},
			map[string]int{"receive": 1, "get": 1, "transact": 2, "writes": 4, "send": 1, "parcels": 1, "complete": 1}},
	} {
		d := newDesk(t, outbox.Options{})
		d.send(job("m"))
		before := d.calls.Counts()
		b := work.Batch{Partition: tenant, Writes: []work.Write{{Row: "r"}}, Messages: test.messages}
		if err := d.Settle(t.Context(), d.take(), b, test.outcome); err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		got := d.calls.Counts()
		for name, n := range before {
			got[name] -= n
		}
		maps.DeleteFunc(got, func(_ string, n int) bool { return n == 0 })
		if !maps.Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

// TestLockNearItsEndIsRenewed: a settlement relies on a lock only while there is plenty of it left.
func TestLockNearItsEndIsRenewed(t *testing.T) {
	t.Parallel()
	d := newDesk(t, outbox.Options{})
	for _, test := range []struct {
		after time.Duration
		want  int
	}{{0, 0}, {40 * time.Second, 0}, {50 * time.Second, 1}, {59 * time.Second, 2}} {
		d.send(job(test.after.String()))
		delivery := d.take()
		d.pass(test.after)
		d.settle(delivery, work.Outcome{})
		if got := d.calls.Counts()["renew"]; got != test.want {
			t.Errorf("after %s there were %d renewals, want %d", test.after, got, test.want)
		}
	}
}

// TestLockThatCannotBeRenewed: a queue that does not answer is no reason to give up a lock that still holds, and one to give up
// a lock that may not.
func TestLockThatCannotBeRenewed(t *testing.T) {
	t.Parallel()
	d := newDesk(t, outbox.Options{})
	d.calls.Fail = func(_ int, name string) outboxtest.Fault {
		if name == "renew" {
			return outboxtest.NotMade
		}
		return outboxtest.None
	}
	d.send(job("a"))
	delivery := d.take()
	d.pass(50 * time.Second)
	d.settle(delivery, work.Outcome{})
	d.send(job("b"))
	delivery = d.take()
	d.pass(time.Minute)
	b := work.Batch{Partition: tenant, Writes: []work.Write{{Row: "late"}}}
	if err := d.Settle(t.Context(), delivery, b, work.Outcome{}); !errors.Is(err, outboxtest.ErrFault) {
		t.Errorf("Settle: %v, want the fault", err)
	}
	if _, err := d.Get(t.Context(), work.Key{Partition: tenant, Row: "late"}); !errors.Is(err, work.ErrNotFound) {
		t.Errorf("the row was written: %v", err)
	}
}

// TestFullTransaction: what package work allows in one commit leaves room for the delivery's row and the mark.
func TestFullTransaction(t *testing.T) {
	t.Parallel()
	d := newDesk(t, outbox.Options{})
	d.send(job("m"))
	b := work.Batch{Partition: tenant}
	for i := range work.MaxOperations {
		if i%2 == 0 {
			b.Messages = append(b.Messages, job(fmt.Sprintf("follow-%02d", i)))
		} else {
			b.Writes = append(b.Writes, work.Write{Row: fmt.Sprintf("row-%02d", i)})
		}
	}
	before := d.calls.Counts()["writes"]
	if err := d.Settle(t.Context(), d.take(), b, work.Outcome{Kind: work.Retry}); err != nil {
		t.Fatalf("Settle: %v", err)
	}
	if n := d.calls.Counts()["writes"] - before - 1; n != outbox.MaxTransaction { // the mark's deletion aside
		t.Errorf("the transaction had %d writes, want %d", n, outbox.MaxTransaction)
	}
	if n := d.queue.Live(); n != work.MaxOperations/2+1 {
		t.Errorf("%d parcels are in the queue, want %d", n, work.MaxOperations/2+1)
	}
}

// TestParcelThatIsNoMessage is set aside with a reason; what was done, put off or erased is completed unseen.
func TestParcelThatIsNoMessage(t *testing.T) {
	t.Parallel()
	d := newDesk(t, outbox.Options{})
	stranger := outbox.Parcel{ID: "1", Queue: jobs, Body: []byte("hello"), Attributes: map[string]string{outbox.AttributeMessage: "m"}}
	unknown := outbox.Parcel{ID: "2", Queue: jobs, Attributes: map[string]string{
		outbox.AttributeMessage: "gone", outbox.AttributePartition: tenant, outbox.AttributeAttempt: "1",
	}}
	if err := d.queue.Send(t.Context(), []outbox.Parcel{stranger, unknown}); err != nil {
		t.Fatal(err)
	}
	d.send(job("m"))
	if got := d.take(); got.ID != "m" || d.queue.Live() != 1 {
		t.Errorf("%s came and %d parcels are left, want m alone", got.ID, d.queue.Live())
	}
	dead := d.queue.Dead()
	if len(dead) != 1 || dead[0].Reason != "not_a_message" || string(dead[0].Body) != "hello" {
		t.Errorf("set aside: %v, want the stranger's parcel", dead)
	}
}

// TestParcelThatIsPushed: a host that is handed parcels makes deliveries of them, and is told when there is nothing to do.
func TestParcelThatIsPushed(t *testing.T) {
	t.Parallel()
	d := newDesk(t, outbox.Options{})
	d.send(job("m"))
	parcels, err := d.queue.Receive(t.Context(), jobs, 1)
	if err != nil {
		t.Fatal(err)
	}
	delivery, err := d.Accept(t.Context(), parcels[0])
	if err != nil || delivery.ID != "m" || string(delivery.Body) != `{"id":"m"}` {
		t.Fatalf("Accept: %s, %v", delivery.ID, err)
	}
	d.settle(delivery, work.Outcome{})
	if _, err := d.Accept(t.Context(), parcels[0]); !errors.Is(err, outbox.ErrSettled) {
		t.Errorf("Accept after it was done: %v, want ErrSettled", err)
	}
	if err := d.Settle(t.Context(), delivery, work.Batch{}, work.Outcome{}); !errors.Is(err, work.ErrLeaseLost) {
		t.Errorf("Settle after it was done: %v, want ErrLeaseLost", err)
	}
}

// TestRowThatCannotBeReadIsNotMissing: the parcel stays, and comes again when its lock ends.
func TestRowThatCannotBeReadIsNotMissing(t *testing.T) {
	t.Parallel()
	d := newDesk(t, outbox.Options{})
	d.send(job("m"))
	d.calls.Fail = func(_ int, name string) outboxtest.Fault {
		if name == "get" {
			return outboxtest.NotMade
		}
		return outboxtest.None
	}
	if _, err := d.Receive(t.Context(), jobs, 1); !errors.Is(err, outboxtest.ErrFault) {
		t.Errorf("Receive: %v, want the fault", err)
	}
	d.calls.Fail = nil
	d.pass(time.Minute)
	if got := d.take(); got.ID != "m" || got.Deliveries != 2 {
		t.Errorf("delivery %d of %s, want the second of m", got.Deliveries, got.ID)
	}
}

func TestMessageForAnotherPartitionIsKnownThere(t *testing.T) {
	t.Parallel()
	d := newDesk(t, outbox.Options{})
	m := job("m")
	m.Partition = other
	d.send(m) // from tenant
	elsewhere := m
	elsewhere.Queue = "elsewhere"
	d.send(elsewhere)
	if n := d.queue.Live(); n != 1 {
		t.Errorf("%d parcels are in the queues, want the first alone", n)
	}
	delivery := d.take()
	if delivery.Partition != other {
		t.Errorf("delivered for %s, want %s", delivery.Partition, other)
	}
	d.settle(delivery, work.Outcome{})
	d.send(m)
	d.send(job("marker"))
	if got := d.take(); got.ID != "marker" {
		t.Errorf("%s of %s came again", got.ID, got.Partition)
	}
	if keys := d.rows.Keys(tenant); strings.Join(keys, " ") != "mmarker" {
		t.Errorf("rows %q are left in %s", keys, tenant)
	}
}

// TestForget: once a day the sweep deletes what was done too long ago to come again, and nothing else.
func TestForget(t *testing.T) {
	t.Parallel()
	d := newDesk(t, outbox.Options{Inbox: 48 * time.Hour})
	known := func() int {
		t.Helper()
		if err := d.Sweep(t.Context()); err != nil {
			t.Fatalf("Sweep: %v", err)
		}
		return len(d.rows.Keys(tenant))
	}
	waits := job("waits")
	waits.At = d.clock.Now().Add(1000 * time.Hour)
	d.send(waits)
	for i := range 250 {
		d.send(job(fmt.Sprintf("old-%03d", i)))
		d.settle(d.take(), work.Outcome{})
	}
	d.pass(47 * time.Hour)
	d.send(job("young"))
	d.settle(d.take(), work.Outcome{})
	if n := known(); n != 252 {
		t.Errorf("%d ids are known within the time, want 252", n)
	}
	d.pass(23 * time.Hour)
	lists := d.calls.Counts()["list"]
	if n := known(); n != 252 || d.calls.Counts()["list"] != lists+2 {
		t.Errorf("%d ids are known, and %d lists were read within the day, want 252 and 2", n, d.calls.Counts()["list"]-lists)
	}
	d.pass(time.Hour)
	if n := known(); n != 2 {
		t.Errorf("%d ids are known, want the young one and the one that waits", n)
	}
}

func TestErase(t *testing.T) {
	t.Parallel()
	d := newDesk(t, outbox.Options{})
	b := work.Batch{Partition: tenant}
	for i := range 90 {
		b.Writes = append(b.Writes, work.Write{Row: fmt.Sprintf("row-%03d", i), Value: []byte("x")})
	}
	for range 2 { // rows in two transactions' worth
		if err := d.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		for i := range b.Writes {
			b.Writes[i].Row = "more-" + b.Writes[i].Row
		}
	}
	key := work.Key{Partition: tenant, Row: "row-000"}
	if err := d.Erase(t.Context(), key, work.Key{Partition: tenant, Row: "nothing"}, work.Key{Partition: other, Row: "nothing"}, key); err != nil {
		t.Errorf("Erase: %v", err)
	}
	if _, err := d.Get(t.Context(), key); !errors.Is(err, work.ErrNotFound) {
		t.Errorf("Get of an erased row: %v", err)
	}
	d.send(job("done"))
	d.settle(d.take(), work.Outcome{})
	d.send(job("held"))
	held := d.take()
	d.send(job("waits"))
	rows, messages, err := d.ErasePartition(t.Context(), tenant)
	if rows != 179 || messages != 2 || err != nil {
		t.Errorf("ErasePartition: %d rows, %d messages, %v, want 179 and 2", rows, messages, err)
	}
	if keys := d.rows.Keys(tenant); len(keys) > 0 {
		t.Errorf("rows %q are left", keys)
	}
	if err := d.Settle(t.Context(), held, work.Batch{}, work.Outcome{}); !errors.Is(err, work.ErrLeaseLost) {
		t.Errorf("Settle of an erased message: %v, want ErrLeaseLost", err)
	}
	d.send(job("after"))
	if got := d.take(); got.ID != "after" {
		t.Errorf("%s came, want the message that was sent after", got.ID)
	}
}

func TestParcelCarriesTheTrace(t *testing.T) {
	t.Parallel()
	d := newDesk(t, outbox.Options{})
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	m := job("m")
	m.Body = []byte(`{"specversion":"1.0","traceparent":"` + trace + `"}`)
	d.send(m, work.Message{ID: "n", Queue: jobs, Partition: tenant, Body: []byte("no event")})
	parcels, err := d.queue.Receive(t.Context(), jobs, 2)
	if err != nil || len(parcels) != 2 {
		t.Fatalf("Receive: %v, %v", parcels, err)
	}
	if got := parcels[0].Attributes[outbox.AttributeTraceParent]; got != trace {
		t.Errorf("the trace is %q, want %q", got, trace)
	}
	if got, ok := parcels[1].Attributes[outbox.AttributeTraceParent]; ok {
		t.Errorf("the trace of no event is %q", got)
	}
}
