package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/host/lambda/lambdahost"
	"pinreset/shared/passcode"
	"pinreset/shared/work"
)

// A longer run: go test ./infra/aws/package -run Records -args -records 10000 -kills 200
var (
	recordCount = flag.Int("records", 1000, "TestModelRecords: how many records are sent")
	killCount   = flag.Int("kills", 20, "TestModelRecords: how many kills there are meanwhile")
	killSeed    = flag.Uint64("kill-seed", 0, "TestModelRecords: chooses the moments; 0 takes a new one")
)

// resettable are sample devices whose resets are carried out at once.
var resettable = []string{"sales-pixel-12", "store-kiosk-07", "marketing-galaxy-04", "legal-galaxy-05", "intern-galaxy-09"}

// TestModelRecords sends records while the process is killed (SIGKILL) at random moments. Some are resets, one at a time for each
// device; the others are announcements. Then the kills stop, and:
//
//   - every announcement is in the feed, and every reset is there (lost=0);
//   - every reset has ended (unended=0);
//   - the cloud has carried out no device's reset more often than it was asked to, and exactly as often as codes were issued (double=0).
//
// Several invocations run in one process at a time, as on managed instances.
func TestModelRecords(t *testing.T) {
	t.Parallel()
	seed := *killSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	random := rand.New(rand.NewPCG(seed, 1))
	d := deploy(t, func(o *lambdahost.Options) { o.PerProcess = 8 })
	d.broker = lambdahost.NewBroker(visibility, 1000) // what is killed is not poison
	d.signIn()
	devices := d.onboard()
	began := time.Now()
	d.poll(string(work.Announcements), string(passcode.Queue))

	var (
		resets                int
		lost, double, unended atomic.Int64
		calm                  atomic.Bool
		workers               sync.WaitGroup
	)
	each := max(1, *recordCount/200)
	for _, name := range resettable {
		id, ok := devices[name]
		if !ok {
			t.Fatalf("there is no device %s", name)
		}
		resets += each
		workers.Go(func() {
			for n := range each {
				request, before := fmt.Sprintf("%s-%d", name, n), d.resets(name)
				d.broker.Send(string(passcode.Queue), d.record("record-"+request, d.request(request, id)))
				state := d.follow(request, &calm, 30*time.Second)
				switch done := d.resets(name) - before; {
				case state == "":
					lost.Add(1)
					return
				case state == passcode.Accepted || state == passcode.Calling || state == passcode.Waiting:
					unended.Add(1)
					return
				case done > 1 || state == passcode.Issued && done != 1:
					double.Add(1)
					t.Errorf("%s is %s after %d resets of the device", request, state, done)
				}
			}
		})
	}
	wanted := map[string]bool{}
	send := func(n int) {
		for range n {
			id := fmt.Sprintf("note-%d", len(wanted))
			wanted[id] = true
			d.broker.Send(string(work.Announcements), d.record(id, events.PasscodeResetCancelled{RequestID: id, DeviceID: "3b7c2a90-5e14-4f6b-8d21-c09a4e7f6b13", Reason: "tested", By: events.Pinreset()}))
		}
	}
	kills, notes := 0, max(0, *recordCount-resets)
	for kills < *killCount {
		send(notes / *killCount)
		<-time.After(time.Duration(50+random.IntN(500)) * time.Millisecond)
		if d.function.Kill() > 0 { // none while none runs
			kills++
		}
	}
	send(notes - len(wanted))
	calm.Store(true)
	workers.Wait()
	d.drained()
	for end := time.Now().Add(20 * time.Second); len(wanted) > 0 && time.Now().Before(end); {
		for text, err := range d.api.Events(t.Context(), graphsim.Contoso) {
			var e struct{ ID string }
			if err == nil {
				err = json.Unmarshal(text, &e)
			}
			if err != nil {
				t.Error(err)
				break
			}
			delete(wanted, e.ID)
		}
	}
	lost.Add(int64(len(wanted)))
	fmt.Printf("records=%d resets=%d kills=%d starts=%d lost=%d double=%d unended=%d seed=%d took=%s\n",
		notes+resets, resets, kills, d.function.Starts(), lost.Load(), double.Load(), unended.Load(), seed, time.Since(began).Round(time.Second))
	if lost.Load() != 0 || double.Load() != 0 || unended.Load() != 0 {
		t.Errorf("want nothing lost, doubled or unended; run again with -args -kill-seed %d", seed)
	}
}

// follow waits until the reset has ended and returns its state: "" where it is not there, and an open one where it has not ended in so
// long a time of calm.
func (d *deployed) follow(id string, calm *atomic.Bool, patience time.Duration) (state passcode.State) {
	var end time.Time
	for end.IsZero() || time.Now().Before(end) {
		if end.IsZero() && calm.Load() {
			end = time.Now().Add(patience)
		}
		if r, err := d.api.Reset(d.t.Context(), graphsim.Contoso, id); err == nil {
			if state = r.State; state != passcode.Accepted && state != passcode.Calling && state != passcode.Waiting {
				return state
			}
		}
		<-time.After(50 * time.Millisecond)
	}
	return state
}
