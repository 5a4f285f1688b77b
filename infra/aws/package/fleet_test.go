package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	random "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/host/lambda/lambdahost"
	"pinreset/shared/passcode"
	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
	"pinreset/shared/work/sqs"
	"pinreset/shared/work/sqs/sqstest"
	"pinreset/shared/work/tables"
	"pinreset/shared/work/tables/tablestest"
)

// A longer run: go test ./infra/aws/package -run Fleet -timeout 30m -args -fleet-records 1000 -fleet-kills 40
var (
	fleetRecords = flag.Int("fleet-records", 300, "TestModelFleet: how many records are sent")
	fleetKills   = flag.Int("fleet-kills", 12, "TestModelFleet: how many kills there are meanwhile")
)

// fleet is the program as the template deploys it: each function a Lambda of its own, with processes of its own and at most one queue. Rows are in
// Azurite and messages on the model of SQS.
type fleet struct {
	*deployed
	functions map[string]*lambdahost.Function
	server    *sqstest.Server
	queues    *sqs.Queues   // as another process has them that sends messages
	table     *tables.Table // the rows
	store     *outbox.Store // both
}

// perQueue are the functions that serve a queue.
var perQueue = map[string]string{
	"announcement": "announcement", "tenantaudit": "audit", "tenantaudit-bulk": "audit-bulk", "bulkreset": "bulkreset-bulk", "consent": "consent",
	"devicereport": "device-report", "housekeeping": "housekeeping-bulk", "passcodereset": "passcode-reset", "passcodereset-bulk": "passcode-reset-bulk",
	"policyrollout": "policy", "portalaction": "portalaction-bulk", "graphsubscription": "subscription-bulk",
}

// patience is how long anything may take once the kills have stopped. A process that was killed keeps its share of Graph's limits for
// three quarters of a minute, and where many were, the others wait for that.
const patience = 2 * time.Minute

// redrive is the queue that gives a message up after few deliveries. Processes of the others are killed all the time.
const redrive = "housekeeping-bulk"

func deployFleet(t *testing.T) *fleet {
	t.Helper()
	var c sqstest.Config
	for _, queue := range perQueue {
		dead, receives := queue+sqs.DeadSuffix, 1000
		if queue == redrive {
			receives = 2
		}
		c.Queues = append(c.Queues, sqstest.Queue{Name: queue, Visibility: visibility, DeadLetter: dead, MaxReceives: receives}, sqstest.Queue{Name: dead})
	}
	f := &fleet{functions: map[string]*lambdahost.Function{}, server: sqstest.New(t, c)}
	text := tablestest.Emulator(t)
	connection := filepath.Join(t.TempDir(), "connection")
	if err := os.WriteFile(connection, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var common lambdahost.Options
	f.deployed = deploy(t, func(o *lambdahost.Options) {
		maps.Copy(o.Settings, map[string]string{
			"PINRESET_TABLES_CONNECTION_FILE": connection, "PINRESET_ROOT_KEY_FILE": filepath.Join(filepath.Dir(connection), "root-key"),
			"PINRESET_SQS_URL": f.server.URL(), "AWS_REGION": sqstest.Region, "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret",
		})
		o.NoFreeze = false
		common = *o
		o.Settings = maps.Clone(o.Settings)
		o.Name, o.Settings["PINRESET_FUNCTION"] = "web", "web"
		delete(common.Settings, "PINRESET_DATA") // in which web makes the administrator's token
	})
	f.functions["web"] = f.function
	as := account()
	ctx, cancel := context.WithCancel(context.Background())
	var polls sync.WaitGroup
	t.Cleanup(func() { cancel(); polls.Wait() })
	from := lambdahost.SQS{Account: as, Endpoint: f.server.Endpoint() + "/", URL: f.server.URL()}
	for name, queue := range perQueue {
		o := common
		o.Settings = maps.Clone(common.Settings)
		o.Name, o.Settings["PINRESET_FUNCTION"] = name, name
		one := lambdahost.New(o)
		f.functions[name] = one
		t.Cleanup(func() {
			one.Stop()
			for _, p := range one.Problems() {
				t.Errorf("%s: %s", name, p)
			}
		})
		polls.Go(func() { one.Poll(ctx, from, lambdahost.Mapping{Queue: queue}) })
	}
	var err error
	f.table, err = tables.NewFromConnectionString(text, tables.Options{Name: "pinreset"})
	if err != nil {
		t.Fatal(err)
	}
	if f.queues, err = sqs.Open(sqs.Options{URL: f.server.URL(), Account: as}); err != nil {
		t.Fatal(err)
	}
	f.store = outbox.New(f.table, f.queues, outbox.Options{NewID: rand.Text, MaxDelay: sqs.MaxDelay, Logger: slog.New(slog.DiscardHandler)})
	return f
}

// send commits a message, as any process of the program does.
func (f *fleet) send(queue work.Queue, id, body string) {
	m := work.Message{ID: id, Queue: queue, Partition: graphsim.Contoso, Body: []byte(body)}
	if err := f.store.Commit(f.t.Context(), work.Batch{Partition: graphsim.Contoso, Messages: []work.Message{m}}); err != nil {
		f.t.Errorf("send %s: %v", id, err)
	}
}

// kill kills the processes of one of the functions that have any (SIGKILL), and reports whether there was one.
func (f *fleet) kill(of *random.Rand) bool {
	names := slices.Sorted(maps.Keys(f.functions))
	names = append(names, "announcement", "passcodereset", "announcement", "passcodereset") // which do most of the work here
	return f.functions[names[of.IntN(len(names))]].Kill() > 0
}

// TestModelFleet sends records to the queues of the functions while their processes are killed (SIGKILL) at random moments. What is sent and
// asked for is what [TestModelRecords] has, and besides, of every ten records one is poison:
//
//   - a message that is no event: it is set aside, and its failure announced, which wakes a function of another queue;
//   - a parcel that names no message: it is copied to the dead-letter queue of its queue, with a reason;
//   - one record whose message's row can't be read, so that it can't even be set aside: it is named as a failure of its batch, comes back,
//     and becomes a dead letter by its queue's own rule.
func TestModelFleet(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	seed := *killSeed
	if seed == 0 {
		seed = random.Uint64()
	}
	moments := random.New(random.NewPCG(seed, 3))
	f := deployFleet(t)
	f.signIn()
	devices := f.onboard()
	began := time.Now()
	var (
		lost, double, unended atomic.Int64
		calm                  atomic.Bool
		workers               sync.WaitGroup
	)
	each := max(1, *fleetRecords/200)
	for _, name := range resettable {
		workers.Go(func() {
			for n := range each {
				request, before := fmt.Sprintf("%s-%d", name, n), f.resets(name)
				f.send(passcode.Queue, "record-"+request, f.record("record-"+request, f.request(request, devices[name])).Body)
				state := f.follow(request, &calm, patience)
				switch done := f.resets(name) - before; {
				case state == "":
					lost.Add(1)
					return
				case state == passcode.Accepted || state == passcode.Calling || state == passcode.Waiting:
					unended.Add(1)
					t.Errorf("%s is still %s", request, state)
					return
				case done > 1 || state == passcode.Issued && done != 1:
					double.Add(1)
					t.Errorf("%s is %s after %d resets of the device", request, state, done)
				}
			}
		})
	}
	resets, wanted, poison := each*len(resettable), map[string]bool{}, 0
	send := func(n int) {
		var all sync.WaitGroup
		for range n {
			id := fmt.Sprintf("note-%d", len(wanted)+poison)
			switch (len(wanted) + poison) % 20 {
			case 9:
				poison++
				all.Go(func() { f.send(passcode.Queue, id, noEvent) })
			case 19:
				poison++
				all.Go(func() { f.parcel(outbox.Parcel{Queue: work.Announcements, Body: []byte(noEvent)}) })
			default:
				wanted[id] = true
				body := f.record(id, events.PasscodeResetCancelled{RequestID: id, DeviceID: "3b7c2a90-5e14-4f6b-8d21-c09a4e7f6b13", Reason: "tested", By: events.Pinreset()}).Body
				all.Go(func() { f.send(work.Announcements, id, body) })
			}
		}
		all.Wait()
	}
	f.unsettled()
	notes, kills := *fleetRecords-resets-1, 0
	for kills < *fleetKills {
		if due := notes * (kills + 1) / *fleetKills; due > len(wanted)+poison {
			send(due - len(wanted) - poison)
		}
		<-time.After(time.Duration(100+moments.IntN(900)) * time.Millisecond)
		if f.kill(moments) {
			kills++
		}
	}
	calm.Store(true)
	workers.Wait()
	strangers, failures := poison/2, map[string]bool{} // the first of two is no event
	unread := poison - strangers
	for end := time.Now().Add(patience); (len(wanted) > 0 || len(failures) < unread || !f.idle()) && time.Now().Before(end); {
		f.feed(wanted, failures)
	}
	lost.Add(int64(len(wanted)))
	for queue, n := range f.server.Counts() {
		if !strings.HasSuffix(queue, sqs.DeadSuffix) {
			if left := n.Visible + n.InHands; left > 0 {
				unended.Add(int64(left))
				t.Errorf("%d messages of %s have not ended", left, queue)
			}
		}
	}
	starts := 0
	for _, one := range f.functions {
		starts += one.Starts()
	}
	fmt.Printf("fleet: functions=%d records=%d resets=%d poison=%d kills=%d starts=%d lost=%d double=%d unended=%d seed=%d took=%s\n", len(f.functions), notes+resets+1, resets,
		poison, kills, starts, lost.Load(), double.Load(), unended.Load(), seed, time.Since(began).Round(time.Second))
	if lost.Load() != 0 || double.Load() != 0 || unended.Load() != 0 {
		t.Errorf("want nothing lost, doubled or unended; run again with -args -kill-seed %d", seed)
	}
	if len(failures) != unread {
		t.Errorf("%d failures of messages that are no events were announced, want %d", len(failures), unread)
	}
	f.deadLetters(strangers)
}

// noEvent is what nobody can read.
const noEvent = "no event {}"

// parcel sends one as somebody else might.
func (f *fleet) parcel(p outbox.Parcel) {
	if err := f.queues.Send(f.t.Context(), []outbox.Parcel{p}); err != nil {
		f.t.Errorf("send a parcel: %v", err)
	}
}

// unsettled sends a record whose message's row is damaged.
func (f *fleet) unsettled() {
	f.t.Helper()
	if err := f.table.Transact(f.t.Context(), graphsim.Contoso, []work.Write{{Row: "mdamaged", Value: []byte("damaged"), If: work.IfAbsent()}}); err != nil {
		f.t.Fatal(err)
	}
	f.parcel(outbox.Parcel{Queue: redrive, Body: []byte("{}"), Attributes: map[string]string{
		outbox.AttributePartition: graphsim.Contoso, outbox.AttributeMessage: "damaged", outbox.AttributeAttempt: "1"}})
}

// idle reports whether no queue has a message that is due or in hands.
func (f *fleet) idle() bool {
	for queue, n := range f.server.Counts() {
		if !strings.HasSuffix(queue, sqs.DeadSuffix) && n.Visible+n.InHands > 0 {
			return false
		}
	}
	return true
}

// feed takes what is announced out of wanted, and puts the announced failures of what is no event into failures.
func (f *fleet) feed(wanted, failures map[string]bool) {
	for text, err := range f.api.Events(f.t.Context(), graphsim.Contoso) {
		if err != nil {
			return // its process was killed; it is asked again
		}
		var e struct {
			ID, Type string
			Data     struct{ RequestID string }
		}
		if err := json.Unmarshal(text, &e); err != nil {
			f.t.Error(err)
			return
		}
		delete(wanted, e.ID)
		if strings.Contains(e.Type, "failure.raised.v1") && strings.HasPrefix(e.Data.RequestID, "note-") { // the others are those of resets
			failures[e.Data.RequestID] = true
		}
	}
}

// deadLetters asks that the dead-letter queues have what they must, and nothing else.
func (f *fleet) deadLetters(strangers int) {
	f.t.Helper()
	for queue := range f.server.Counts() {
		name, dead := strings.CutSuffix(queue, sqs.DeadSuffix)
		if !dead {
			continue
		}
		letters := f.server.Messages(queue)
		switch name {
		case string(work.Announcements):
			// A kill between the copy and the deletion makes another copy.
			if len(letters) < strangers || len(letters) > strangers+*fleetKills*10 {
				f.t.Errorf("%d parcels are in %s, want %d", len(letters), queue, strangers)
			}
			for _, m := range letters {
				if m.Body != noEvent || m.Attributes[sqs.AttributeReason] == "" {
					f.t.Errorf("in %s is %q, with %v", queue, m.Body, m.Attributes)
				}
			}
		case redrive:
			if len(letters) != 1 || letters[0].Attributes[outbox.AttributeMessage] != "damaged" {
				f.t.Errorf("in %s are %+v", queue, letters)
			}
		default:
			if len(letters) != 0 {
				f.t.Errorf("in %s are %+v", queue, letters)
			}
		}
	}
}
