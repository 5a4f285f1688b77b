package servicebus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
	"pinreset/shared/work/servicebus/servicebustest"
)

var (
	busy     = servicebustest.Error{Condition: "com.microsoft:server-busy", Description: "The server is busy."}
	detached = servicebustest.Error{Condition: "amqp:link:detach-forced", Description: "The link is moved."}
	internal = servicebustest.Error{Condition: "amqp:internal-error", Description: "The service is in trouble."}
)

// faults are what happens to connections and services, as a function that makes it happen next at the point.
var faults = map[string]func(*servicebustest.Server, servicebustest.Point){
	"connection lost": func(s *servicebustest.Server, _ servicebustest.Point) { s.DropConnections() },
	"links detached":  func(s *servicebustest.Server, _ servicebustest.Point) { s.DetachLinks(string(queue), detached) },
	"server busy":     func(s *servicebustest.Server, p servicebustest.Point) { s.Fail(p, string(queue), 2, busy) },
	"internal error":  func(s *servicebustest.Server, p servicebustest.Point) { s.Fail(p, string(queue), 1, internal) },
	"answer lost":     func(s *servicebustest.Server, p servicebustest.Point) { s.LoseAnswer(p, string(queue), 1) },
	"silence":         func(s *servicebustest.Server, p servicebustest.Point) { s.Stall(p, string(queue), 1) },
	"connection lost as the links come back": func(s *servicebustest.Server, _ servicebustest.Point) {
		s.LoseAnswer(servicebustest.Attach, string(queue), 1)
		s.DropConnections()
	},
}

// hasty has a bus give up single attempts soon, so that the tests need not wait for what never comes.
func (r *rig) hasty() *rig {
	r.patience, r.renewing, r.sending, r.poll = 100*time.Millisecond, 3*time.Second, 500*time.Millisecond, 500*time.Millisecond
	return r
}

// TestSettlementSurvives: what was received is settled, whatever happens to the link it came by and to the answer.
func TestSettlementSurvives(t *testing.T) {
	t.Parallel()
	for name, happen := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t).hasty()
			r.send(t, parcel("done"), parcel("dead"), parcel("after"))
			done, dead := r.take(t), r.take(t)
			happen(r.server, servicebustest.Settle)
			r.complete(t, done)
			happen(r.server, servicebustest.Settle)
			if err := r.DeadLetter(r.ctx, queue, dead.Token, "reason", "description"); err != nil {
				t.Errorf("DeadLetter: %v", err)
			}
			r.wantLeft(t, string(queue), 1, 0, 1)
			r.complete(t, r.take(t))
			r.wantLeft(t, string(queue), 0, 0, 1)
		})
	}
}

func TestRenewalSurvives(t *testing.T) {
	t.Parallel()
	for name, happen := range faults {
		if name == "silence" {
			continue // the host asks again long before the lock ends
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.send(t, parcel("m"))
			got := r.take(t)
			r.clock.Advance(lock / 2)
			happen(r.server, servicebustest.Management)
			until, err := r.Renew(r.ctx, queue, got.Token)
			if err != nil || !until.Equal(r.clock.Now().Add(lock)) {
				t.Errorf("Renew: until %s, %v", until, err)
			}
		})
	}
}

// TestSendingSurvives: a message is stored once, and its sender knows.
func TestSendingSurvives(t *testing.T) {
	t.Parallel()
	for name, happen := range faults {
		if name == "silence" {
			continue // see TestSilence
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.send(t, parcel("before"))
			happen(r.server, servicebustest.Send)
			r.send(t, parcel("m"), parcel("n"))
			r.wantLeft(t, string(queue), 3, 0, 0)
		})
	}
}

// TestSilence: a service that takes a request and says nothing holds nobody for longer than the call's own time.
func TestSilence(t *testing.T) {
	t.Parallel()
	r := newRig(t).hasty()
	r.send(t, parcel("before"))
	r.server.Stall(servicebustest.Send, string(queue), 1)
	links := r.server.Stats().Links
	if err := r.Send(r.ctx, []outbox.Parcel{parcel("m")}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Send: %v, want its own deadline", err)
	}
	r.send(t, parcel("between"))
	if r.server.Stats().Links == links {
		t.Error("the sender that does not answer is still in use")
	}
	r.server.Stall(servicebustest.Send, string(queue), 1)
	ctx, cancel := context.WithTimeout(r.ctx, 50*time.Millisecond)
	defer cancel()
	if err := r.Send(ctx, []outbox.Parcel{parcel("m")}); !errors.Is(err, context.DeadlineExceeded) || r.ctx.Err() != nil {
		t.Errorf("Send: %v, want its context's deadline", err)
	}
	r.send(t, parcel("m"))
	r.wantLeft(t, string(queue), 3, 0, 0)

	got := r.take(t)
	first := r.inlet(queue).any.receiver.Load()
	r.renewing = 200 * time.Millisecond
	r.server.Stall(servicebustest.Management, string(queue), 1)
	if _, err := r.Renew(r.ctx, queue, got.Token); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Renew: %v, want its own deadline", err)
	}
	if r.inlet(queue).any.receiver.Load() == first {
		t.Error("the receiver that does not answer is still there")
	}
	r.renewing = patient
	if _, err := r.Renew(r.ctx, queue, got.Token); err != nil {
		t.Errorf("Renew over the next receiver: %v", err)
	}
	r.complete(t, got)
	r.wantLeft(t, string(queue), 2, 0, 0)
}

// TestReceivingSurvives: who waits for messages gets them, whatever happens meanwhile, and is told nothing of it.
func TestReceivingSurvives(t *testing.T) {
	t.Parallel()
	for name, happen := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t).hasty()
			if err := r.Check(r.ctx, []work.Queue{queue}); err != nil {
				t.Fatal(err)
			}
			got := make(chan outbox.Received, 1)
			go func() {
				defer close(got)
				all, err := r.Receive(r.ctx, queue, 1)
				if err != nil || len(all) != 1 {
					t.Errorf("Receive: %d parcels, %v", len(all), err)
					return
				}
				got <- all[0]
			}()
			happen(r.server, servicebustest.Attach)
			sender := r.open(t)
			sender.sending = r.sending
			for sender.Send(r.ctx, []outbox.Parcel{parcel("m")}) != nil && r.ctx.Err() == nil {
			}
			if p := <-got; p.Attributes[outbox.AttributeMessage] != "m" {
				t.Errorf("%v came, want m", p.Attributes)
			}
		})
	}
}

// TestDeafReceiverIsMadeAnew: one that gets nothing for long is replaced, and what came by it can still be settled.
func TestDeafReceiverIsMadeAnew(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.poll, r.deaf = 250*time.Millisecond, 1 // time enough to open a link
	r.send(t, parcel("before"))
	before := r.take(t)
	first := r.inlet(queue).any.receiver.Load()
	got := make(chan outbox.Received, 1)
	go func() {
		defer close(got)
		if all, err := r.Receive(r.ctx, queue, 1); err != nil {
			t.Errorf("Receive: %v", err)
		} else {
			got <- all[0]
		}
	}()
	links := r.server.Stats().Links
	if err := r.server.Await(r.ctx, string(queue), func(servicebustest.Counts) bool { return r.server.Stats().Links >= links+2 }); err != nil {
		t.Errorf("no new links were opened: %v", err)
	}
	r.complete(t, before)
	r.send(t, parcel("m"))
	r.complete(t, <-got)
	if r.inlet(queue).any.receiver.Load() == first {
		t.Error("the receiver is still the first one")
	}
	r.wantLeft(t, string(queue), 0, 0, 0)
}

func TestReceiveSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, err := r.Receive(r.ctx, "nowhere", 1)
	if !errors.Is(err, ErrNoEntity) {
		t.Errorf("Receive: %v, want ErrNoEntity", err)
	}
	p := parcel("m")
	p.Queue = "nowhere"
	if err := r.Send(r.ctx, []outbox.Parcel{p, parcel("n")}); !errors.Is(err, ErrNoEntity) {
		t.Errorf("Send: %v, want ErrNoEntity", err)
	}
	r.wantLeft(t, string(queue), 1, 0, 0)
}

// TestChaos: three processes send the same messages and take them, while connections are cut, links detached and answers lost
// at random. Every message comes, hardly any comes twice, none stays.
func TestChaos(t *testing.T) {
	t.Parallel()
	const count, processes, takers = 400, 3, 4
	clock := servicebustest.NewManualClock(time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC))
	server := startServer(t, servicebustest.Config{Clock: clock})
	r := &rig{server: server, clock: clock}
	var cancel context.CancelFunc
	r.ctx, cancel = context.WithTimeout(t.Context(), patient)
	defer cancel()

	var (
		all     sync.WaitGroup
		mu      sync.Mutex
		seen    = map[string]int{}
		unknown int // settlements of which it is not known whether they were
		buses   []*Bus
	)
	taking, stop := context.WithCancel(r.ctx)
	defer stop()
	for n := range processes {
		b := r.open(t, func(o *Options) { o.Receivers = map[work.Queue]int{queue: 2} })
		b.patience = 100 * time.Millisecond
		buses = append(buses, b)
		for range takers {
			all.Go(func() {
				for taking.Err() == nil {
					got, err := b.Receive(taking, queue, 5)
					if err != nil && taking.Err() == nil {
						continue // a host tries again
					}
					for _, p := range got {
						mu.Lock()
						seen[p.Attributes[outbox.AttributeMessage]]++
						everything := len(seen) == count
						mu.Unlock()
						if err := b.Complete(r.ctx, queue, p.Token); err != nil {
							mu.Lock()
							unknown++
							mu.Unlock()
						}
						if everything {
							stop()
						}
					}
				}
			})
		}
		all.Go(func() {
			for from := 0; from < count; from += 20 {
				var parcels []outbox.Parcel
				for i := from; i < from+20; i++ {
					parcels = append(parcels, parcel(fmt.Sprintf("id-%03d", (i+n*count/processes)%count)))
				}
				for b.Send(r.ctx, parcels) != nil && r.ctx.Err() == nil {
				}
			}
		})
	}
	all.Go(func() {
		// One fault for each 40 deliveries. Where nothing moves, what is left is in the hands of a connection that is gone, and
		// time has to pass.
		for next := 40; taking.Err() == nil; {
			moving, cancel := context.WithTimeout(taking, 50*time.Millisecond)
			err := server.Await(moving, string(queue), func(servicebustest.Counts) bool { return server.Stats().Delivered >= next })
			cancel()
			if err != nil {
				clock.Advance(lock / 4)
				continue
			}
			next = server.Stats().Delivered + 40
			switch rand.IntN(4) {
			case 0:
				server.DetachLinks(string(queue), detached)
			case 1:
				server.LoseAnswer(servicebustest.Settle, string(queue), 1)
			case 2:
				server.LoseAnswer(servicebustest.Send, string(queue), 1)
			default:
				server.DropConnections()
			}
		}
	})
	all.Wait()
	twice := 0
	for _, n := range seen {
		twice += n - 1
	}
	t.Logf("%d messages came, %d of them again, %d settlements were in doubt; %+v", len(seen), twice, unknown, server.Stats())
	if len(seen) != count {
		t.Errorf("%d of %d messages came", len(seen), count)
	}
	// What is left is what was in hands as connections broke: its lock ends and it comes again.
	for _, b := range buses {
		if err := b.Close(r.ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	clock.Advance(lock)
	r.Bus = r.open(t)
	for range server.Counts(string(queue)).Active {
		got := r.take(t)
		if seen[got.Attributes[outbox.AttributeMessage]] == 0 {
			t.Errorf("%v came only after the end", got.Attributes)
		}
		r.complete(t, got)
	}
	r.wantLeft(t, string(queue), 0, 0, 0)
}
