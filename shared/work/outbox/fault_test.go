package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
	"pinreset/shared/work/outbox/outboxtest"
)

const (
	tenant = "tenant-a"
	other  = "tenant-b"
	jobs   = work.Queue("jobs")
)

// office is work whose every effect is counted in a row, over services whose calls may fail.
type office struct {
	t     *testing.T
	rows  *outboxtest.Rows
	queue *outboxtest.Queue
	newID func() string
}

func newOffice(t *testing.T, maxDelay time.Duration) *office {
	return &office{t: t, rows: &outboxtest.Rows{}, queue: &outboxtest.Queue{MaxDelay: maxDelay}, newID: numbered()}
}

// open is a new process.
func (o *office) open(calls *outboxtest.Calls) *outbox.Store {
	return outbox.New(calls.Rows(o.rows), calls.Queue(o.queue), outbox.Options{NewID: o.newID, MaxDelay: o.queue.MaxDelay, Logger: silent})
}

// accept commits a request with its first messages, as often as it takes: its ids are the same every time.
func (o *office) accept(ctx context.Context, s *outbox.Store) error {
	return s.Commit(ctx, work.Batch{
		Partition: tenant,
		Writes:    []work.Write{{Row: "request", Value: []byte("x")}},
		Messages: []work.Message{
			{ID: "first", Queue: jobs, Partition: tenant, Body: []byte(`{"n":1}`)},
			{ID: "abroad", Queue: jobs, Partition: other, Body: []byte(`{"n":2}`)},
			{ID: "abroad later", Queue: jobs, Partition: other, At: time.Now().Add(12 * time.Minute), Body: []byte(`{"n":3}`)},
		},
	})
}

// handle is one run: "first" asks to be tried again once, and then has two follow-ups. Every run that is settled counts in a row.
func (o *office) handle(ctx context.Context, s *outbox.Store, d work.Delivery) error {
	row := "settled " + d.ID
	times, w, err := o.counted(ctx, s, d.Partition, row)
	if err != nil {
		return err
	}
	b, outcome := work.Batch{Partition: d.Partition, Writes: []work.Write{w}}, work.Outcome{}
	if d.ID == "first" {
		b.Messages = append(b.Messages, work.Message{ID: "early", Queue: jobs, Partition: tenant})
		if times == 0 {
			outcome = work.Outcome{Kind: work.Retry, At: time.Now().Add(10 * time.Minute)}
		} else {
			b.Messages = append(b.Messages, work.Message{ID: "late", Queue: jobs, Partition: tenant}, work.Message{ID: "later", Queue: jobs, Partition: tenant, At: time.Now().Add(15 * time.Minute)})
		}
	}
	return s.Settle(ctx, d, b, outcome)
}

// counted reads a row's number and returns the write that counts it up.
func (o *office) counted(ctx context.Context, s *outbox.Store, partition, row string) (int, work.Write, error) {
	w := work.Write{Row: row, Value: []byte("1"), If: work.IfAbsent()}
	got, err := s.Get(ctx, work.Key{Partition: partition, Row: row})
	if errors.Is(err, work.ErrNotFound) {
		return 0, w, nil
	}
	if err != nil {
		return 0, w, err
	}
	n, err := strconv.Atoi(string(got.Value))
	w.Value, w.If = strconv.AppendInt(nil, int64(n+1), 10), work.IfMatch(got.ETag)
	return n, w, err
}

// work takes what is due within the time and handles it, and sweeps where that is needed for what is due later. Errors are what the
// next process is for.
func (o *office) work(s *outbox.Store, within time.Duration) {
	for end := time.Now().Add(within); time.Now().Before(end); {
		stretch := within
		if o.queue.MaxDelay > 0 {
			stretch = o.queue.MaxDelay / 3
			_ = s.Sweep(o.t.Context())
		}
		ctx, cancel := context.WithTimeout(o.t.Context(), stretch)
		for ctx.Err() == nil {
			ds, err := s.Receive(ctx, jobs, 10)
			if err != nil {
				continue
			}
			for _, d := range ds {
				_ = o.handle(ctx, s, d)
			}
		}
		cancel()
	}
}

// finish is what a process without faults does with what was left: it accepts anew, sweeps, and works.
func (o *office) finish() {
	o.t.Helper()
	s := o.open(&outboxtest.Calls{})
	if err := o.accept(o.t.Context(), s); err != nil {
		o.t.Errorf("accept: %v", err)
	}
	for range 3 {
		if err := s.Sweep(o.t.Context()); err != nil {
			o.t.Errorf("sweep: %v", err)
		}
		o.work(s, 30*time.Minute)
	}
}

// check looks for what was lost, done twice, or left lying.
func (o *office) check() {
	o.t.Helper()
	s := o.open(&outboxtest.Calls{})
	for id, want := range map[string]string{"first": "2", "early": "1", "late": "1", "later": "1", "abroad": "1", "abroad later": "1"} {
		partition := tenant
		if strings.HasPrefix(id, "abroad") {
			partition = other
		}
		got, err := s.Get(o.t.Context(), work.Key{Partition: partition, Row: "settled " + id})
		if err != nil || string(got.Value) != want {
			o.t.Errorf("%s was settled %q times, %v, want %s", id, got.Value, err, want)
		}
	}
	if n := o.queue.Live(); n != 0 {
		o.t.Errorf("%d parcels are left", n)
	}
	for _, partition := range []string{tenant, other} {
		for _, key := range o.rows.Keys(partition) {
			if key[0] != 'r' && key[0] != 'm' {
				o.t.Errorf("row %s is left in %s", key, partition)
			}
		}
	}
}

// TestFaultAtEveryCall lets one call after another fail, in every way, with the process going on or dead from there. Whatever it
// is: nothing is lost, nothing is done twice, nothing stays lying.
func TestFaultAtEveryCall(t *testing.T) {
	t.Parallel()
	faultAtEveryCall(t, 0)
}

// TestFaultAtEveryCallOverQueueThatCannotWait: the same with messages and retries that wait in their rows, one beside others in one
// commit and one in another partition.
func TestFaultAtEveryCallOverQueueThatCannotWait(t *testing.T) {
	t.Parallel()
	faultAtEveryCall(t, 6*time.Minute)
}

func faultAtEveryCall(t *testing.T, maxDelay time.Duration) {
	for _, fault := range []outboxtest.Fault{outboxtest.NotMade, outboxtest.NotTold, outboxtest.MadeTwice} {
		for _, dies := range []bool{false, true} {
			t.Run(fmt.Sprintf("fault %d, dies %v", fault, dies), func(t *testing.T) {
				t.Parallel()
				tried := 0
				for n, reached := 0, true; reached; n++ {
					reached = false
					synctest.Test(t, func(t *testing.T) {
						o := newOffice(t, maxDelay)
						var mu sync.Mutex
						s := o.open(&outboxtest.Calls{Fail: func(i int, name string) outboxtest.Fault {
							mu.Lock()
							defer mu.Unlock()
							if i == n {
								reached = true
								return fault
							}
							if dies && i > n {
								return outboxtest.NotMade
							}
							return outboxtest.None
						}})
						_ = o.accept(t.Context(), s)
						o.work(s, 20*time.Minute)
						o.finish()
						o.check()
						if t.Failed() {
							t.Fatalf("with fault %d at call %d", fault, n)
						}
					})
					tried = n
				}
				if tried < 20 {
					t.Errorf("only %d calls were tried", tried)
				}
			})
		}
	}
}

// TestFaultsAtRandom: many processes share the work while every seventh call fails, over queues that remember ids and that do not,
// and that can wait and that can't.
func TestFaultsAtRandom(t *testing.T) {
	t.Parallel()
	for _, forgetful := range []bool{false, true} {
		for _, maxDelay := range []time.Duration{0, 15 * time.Minute} {
			t.Run(fmt.Sprintf("forgetful %v, waits for %s", forgetful, maxDelay), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { faultsAtRandom(t, forgetful, maxDelay) })
			})
		}
	}
}

func faultsAtRandom(t *testing.T, forgetful bool, maxDelay time.Duration) {
	const processes, count = 4, 150
	o := newOffice(t, maxDelay)
	o.queue.Forgetful = forgetful
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(7, 11))
	flaky := func(int, string) outboxtest.Fault {
		mu.Lock()
		defer mu.Unlock()
		if random.IntN(7) > 0 {
			return outboxtest.None
		}
		return outboxtest.Fault(1 + random.IntN(3))
	}
	sure := o.open(&outboxtest.Calls{})
	for i := range count {
		m := work.Message{ID: fmt.Sprintf("m-%03d", i), Queue: jobs, Partition: tenant, At: time.Now().Add(time.Duration(i%3) * 7 * time.Hour)}
		for s := o.open(&outboxtest.Calls{Fail: flaky}); s.Commit(t.Context(), work.Batch{Partition: tenant, Messages: []work.Message{m}}) != nil; {
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 48*time.Hour)
	defer cancel()
	var all sync.WaitGroup
	for range processes {
		s := o.open(&outboxtest.Calls{Fail: flaky})
		all.Go(func() {
			for ctx.Err() == nil {
				ds, err := s.Receive(ctx, jobs, 5)
				if err != nil {
					continue
				}
				for _, d := range ds {
					_, w, err := o.counted(ctx, s, d.Partition, "settled "+d.ID)
					if err == nil {
						_ = s.Settle(ctx, d, work.Batch{Partition: d.Partition, Writes: []work.Write{w}}, work.Outcome{})
					}
				}
			}
		})
		all.Go(func() {
			for ctx.Err() == nil {
				_ = s.Sweep(ctx)
				time.Sleep(time.Minute)
			}
		})
	}
	all.Wait()
	settled := 0
	for _, key := range o.rows.Keys(tenant) {
		if id, ok := strings.CutPrefix(key, "rsettled "); ok {
			settled++
			got, err := sure.Get(t.Context(), work.Key{Partition: tenant, Row: "settled " + id})
			if err != nil || string(got.Value) != "1" {
				t.Errorf("%s was settled %q times, %v, want once", id, got.Value, err)
			}
		}
	}
	if settled != count || o.queue.Live() != 0 {
		t.Errorf("%d of %d messages were settled, %d parcels are left", settled, count, o.queue.Live())
	}
}
