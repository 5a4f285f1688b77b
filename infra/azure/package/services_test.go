package main

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"pinreset/shared/client"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/host/azure/functionshost"
	"pinreset/shared/identity"
	"pinreset/shared/passcode"
	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
	"pinreset/shared/work/servicebus"
	"pinreset/shared/work/servicebus/servicebustest"
	"pinreset/shared/work/tables"
	"pinreset/shared/work/tables/tablestest"
)

// triggered is where the host's model takes its messages from: the model of Service Bus. The program sends to it by itself.
type triggered struct {
	*servicebus.Bus
	t    *testing.T
	lock time.Duration
}

// Receive implements functionshost.Queues.
func (q triggered) Receive(ctx context.Context, queue string) (functionshost.Delivery, error) {
	got, err := q.Bus.Receive(ctx, work.Queue(queue), 1)
	if err != nil {
		return functionshost.Delivery{}, err
	}
	return functionshost.Delivery{
		Message:   functionshost.Message{ID: got[0].Attributes[outbox.AttributeMessage], Properties: got[0].Attributes, Body: got[0].Body},
		LockToken: got[0].Token, Deliveries: got[0].Deliveries, Enqueued: time.Now(), Expires: got[0].LockedUntil,
	}, nil
}

// Lock implements functionshost.Queues.
func (q triggered) Lock() time.Duration { return q.lock }

// Renew implements functionshost.Queues.
func (q triggered) Renew(queue string, d functionshost.Delivery) bool {
	_, err := q.Bus.Renew(q.t.Context(), work.Queue(queue), d.LockToken)
	return err == nil
}

// Settle implements functionshost.Queues. What is not done comes again when its lock has ended.
func (q triggered) Settle(queue string, d functionshost.Delivery, done bool) bool {
	return !done || q.Complete(context.WithoutCancel(q.t.Context()), work.Queue(queue), d.LockToken) == nil
}

// TestModelServices: the package over models of Table storage and Service Bus, whose messages the host's model hands to it. The process
// is killed when Graph has carried out the reset and its answer is on its way. Nothing of it is on the instance's disk, so the next process
// ends the reset from the services alone, and the device is reset once.
func TestModelServices(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("Functions runs programs for linux/amd64")
	}
	t.Log(functionshost.Model)
	sources(t)
	const lock = 5 * time.Second
	connection, dir := tablestest.Emulator(t), t.TempDir()
	app := readQueues(t)
	var config servicebustest.Config
	for _, e := range servicebus.Entities(app, servicebus.Options{}) {
		config.Queues = append(config.Queues, servicebustest.Queue{Name: e.Name, DuplicateWindow: e.DuplicateWindow,
			Delivery: servicebustest.Delivery{LockDuration: lock, MaxDeliveryCount: e.MaxDeliveries}})
	}
	namespace := servicebustest.New(t, config)
	bus, err := servicebus.Open(servicebus.Options{ConnectionString: namespace.ConnectionString(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = bus.Close(context.WithoutCancel(t.Context())) })
	token := makeAdmin(t, connection, bus, dir)

	d := &deployed{t: t, runs: map[string][]string{}}
	d.sim, err = graphsim.Start(graphsim.Options{Dir: filepath.Join(dir, "sim"), Timing: graphsim.Timing{ReplicationLag: 200 * time.Millisecond,
		EntryDelay: 100 * time.Millisecond, PickUp: 100 * time.Millisecond, Work: 100 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.sim.Close() })
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { d.host.ServeHTTP(w, r) }))
	t.Cleanup(front.Close)
	settings := map[string]string{
		"PINRESET_SIM_AT": filepath.Join(dir, "sim"), "PINRESET_PUBLIC_URL": front.URL, "PINRESET_LOG_LEVEL": "info",
		"PINRESET_ROOT_KEY_FILE": filepath.Join(dir, "root-key"), "SB__fullyQualifiedNamespace": "model.servicebus.windows.net",
	}
	for name, text := range map[string]string{"PINRESET_TABLES_CONNECTION_FILE": connection, "PINRESET_SERVICEBUS_CONNECTION_FILE": namespace.ConnectionString()} {
		settings[name] = filepath.Join(dir, name)
		if err := os.WriteFile(settings[name], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var once sync.Once
	killed := make(chan struct{})
	d.host, err = functionshost.Start(t.Context(), functionshost.Options{Zip: packaged, Queues: triggered{bus, t, lock}, Log: d.note, Paused: true, Settings: settings,
		Sent: func(in functionshost.Invocation) {
			if in.Function != "passcodereset" {
				return
			}
			once.Do(func() {
				go func() {
					defer close(killed)
					eventually(t, "the moment of the kill did not come", func() bool { return d.resets("sales-pixel-12") == 1 })
					d.host.Kill()
					soon := time.Duration(0)
					if err := d.sim.AdjustTenant(graphsim.Contoso, graphsim.TenantKnobs{SlowAnswer: &soon}); err != nil {
						t.Error(err)
					}
				}()
			})
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, p := range d.host.Problems() {
			t.Error(p)
		}
		if err := d.host.Stop(false); err != nil {
			t.Error(err)
		}
	})
	d.host.Listen()
	if d.api, err = client.New(client.Options{Server: front.URL, Token: token}); err != nil {
		t.Fatal(err)
	}
	devices := d.onboard()
	slow := 3 * time.Second
	if err := d.sim.AdjustTenant(graphsim.Contoso, graphsim.TenantKnobs{SlowAnswer: &slow}); err != nil {
		t.Fatal(err)
	}
	reset, _, err := d.api.StartReset(t.Context(), graphsim.Contoso, devices["sales-pixel-12"], "forgot it", "")
	if err != nil {
		t.Fatal(err)
	}
	<-killed
	if err := d.host.Wait(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if r := d.ended(reset.ID); r.State != passcode.Issued || d.resets("sales-pixel-12") != 1 {
		t.Errorf("the reset is %s %s, and the device was reset %d times", r.State, r.FailureCode, d.resets("sales-pixel-12"))
	}
	for _, q := range app {
		if n := namespace.Counts(string(q)).DeadLettered; n != 0 {
			t.Errorf("%d messages of %s are dead letters", n, q)
		}
	}
}

// readQueues are the queues of the packaged functions.
func readQueues(t *testing.T) (queues []work.Queue) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "functions", "*", "function.json"))
	if err != nil {
		t.Fatal(err)
	}
	below, err := filepath.Glob(filepath.Join(root, "functions", "*", "*", "function.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, below...) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, after, ok := strings.Cut(string(text), `"queueName": "`); ok {
			name, _, _ := strings.Cut(after, `"`)
			queues = append(queues, work.Queue(name))
		}
	}
	return queues
}

// makeAdmin makes the administrator's token, as a first process with a directory does.
func makeAdmin(t *testing.T, connection string, bus *servicebus.Bus, dir string) string {
	t.Helper()
	table, err := tables.NewFromConnectionString(connection, tables.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	store := outbox.New(table, bus, outbox.Options{NewID: rand.Text})
	if _, err := identity.NewTokens(store, time.Now, rand.Text).ShareAdmin(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, identity.AdminFile))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}
