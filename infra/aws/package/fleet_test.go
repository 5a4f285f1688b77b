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
	store     *outbox.Store // its store
}

// perQueue are the functions that serve a queue.
var perQueue = map[string]string{
	"announcement": "announcement", "tenantaudit": "audit", "tenantaudit-bulk": "audit-bulk", "bulkreset": "bulkreset-bulk", "consent": "consent",
	"devicereport": "device-report", "housekeeping": "housekeeping-bulk", "passcodereset": "passcode-reset", "passcodereset-bulk": "passcode-reset-bulk",
	"policyrollout": "policy", "portalaction": "portalaction-bulk", "graphsubscription": "subscription-bulk",
}

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
	table, err := tables.NewFromConnectionString(text, tables.Options{Name: "pinreset"})
	if err != nil {
		t.Fatal(err)
	}
	if f.queues, err = sqs.Open(sqs.Options{URL: f.server.URL(), Account: as}); err != nil {
		t.Fatal(err)
	}
	f.store = outbox.New(table, f.queues, outbox.Options{NewID: rand.Text, MaxDelay: sqs.MaxDelay, Logger: slog.New(slog.DiscardHandler)})
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
// asked for is what [TestModelRecords] has, and besides, of every ten records one is poison: a message that is no event. It is set aside, into
// its queue's dead-letter queue, with a failure that is announced, and the other nine of its batch are done. One record can't even be set aside: it
// alone is named as the failure of its batch, comes back, and becomes a dead letter by its queue's own rule.
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
				state := f.follow(request, &calm)
				switch done := f.resets(name) - before; {
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
	resets, wanted, poison := each*len(resettable), map[string]bool{}, 0
	send := func(n int) {
		var all sync.WaitGroup
		for range n {
			id := fmt.Sprintf("note-%d", len(wanted)+poison)
			body := f.record(id, events.PasscodeResetCancelled{RequestID: id, DeviceID: "3b7c2a90-5e14-4f6b-8d21-c09a4e7f6b13", Reason: "tested", By: events.Pinreset()}).Body
			if (len(wanted)+poison)%10 == 9 {
				poison++
				body = "no event {}"
			} else {
				wanted[id] = true
			}
			all.Go(func() { f.send(work.Announcements, id, body) })
		}
		all.Wait()
	}
	f.unsettled()
	notes, kills := *fleetRecords-resets-1, 0
	for kills < *fleetKills {
		send(notes / *fleetKills)
		<-time.After(time.Duration(50+moments.IntN(400)) * time.Millisecond)
		if f.kill(moments) {
			kills++
		}
	}
	send(notes - len(wanted) - poison)
	calm.Store(true)
	workers.Wait()
	failures := map[string]bool{}
	for end := time.Now().Add(time.Minute); (len(wanted) > 0 || len(failures) < poison || !f.idle()) && time.Now().Before(end); {
		f.feed(wanted, failures)
	}
	lost.Add(int64(len(wanted)))
	for queue, n := range f.server.Counts() {
		if !strings.HasSuffix(queue, sqs.DeadSuffix) {
			unended.Add(int64(n.Visible + n.InHands))
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
	f.deadLetters(poison, failures)
}

// unsettled sends a record that no row can be found for: its partition has no name that a table takes.
func (f *fleet) unsettled() {
	if err := f.queues.Send(f.t.Context(), []outbox.Parcel{{Queue: redrive, Body: []byte("{}"), Attributes: map[string]string{
		outbox.AttributePartition: "a/b", outbox.AttributeMessage: "unsettled", outbox.AttributeAttempt: "1"}}}); err != nil {
		f.t.Fatal(err)
	}
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

// feed takes what is announced out of wanted, and puts failures of the announcement's function by their requests.
func (f *fleet) feed(wanted, failures map[string]bool) {
	for text, err := range f.api.Events(f.t.Context(), graphsim.Contoso) {
		if err != nil {
			return // its process was killed; it is asked again
		}
		var e struct {
			ID, Type string
			Data     struct{ Function string }
		}
		if err := json.Unmarshal(text, &e); err != nil {
			f.t.Error(err)
			return
		}
		delete(wanted, e.ID)
		if strings.Contains(e.Type, "failure.raised.v1") && e.Data.Function == "announcement" {
			failures[e.ID] = true
		}
	}
}

// deadLetters asks that all poison was set aside, announced, and nothing else was.
func (f *fleet) deadLetters(poison int, failures map[string]bool) {
	f.t.Helper()
	for queue, n := range f.server.Counts() {
		name, dead := strings.CutSuffix(queue, sqs.DeadSuffix)
		if !dead {
			continue
		}
		want := map[string]int{string(work.Announcements): poison, redrive: 1}[name]
		ids := map[string]bool{}
		for _, m := range f.server.Messages(queue) {
			if name == string(work.Announcements) && (m.Body != "no event {}" || m.Attributes[sqs.AttributeReason] == "") {
				f.t.Errorf("a dead letter of %s is %q, with %v", name, m.Body, m.Attributes)
			}
			ids[m.Attributes[outbox.AttributeMessage]] = true // a kill between copy and deletion makes another copy
		}
		if len(ids) != want {
			f.t.Errorf("%d messages of %s are dead letters (%d copies), want %d", len(ids), name, n.Visible, want)
		}
	}
	if len(failures) != poison {
		f.t.Errorf("%d failures were announced, want %d", len(failures), poison)
	}
}
