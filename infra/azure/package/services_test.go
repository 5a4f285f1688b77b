package main

import (
	"crypto/rand"
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
	"pinreset/shared/work/tables"
	"pinreset/shared/work/tables/tablestest"
)

// deployServices starts the package over models of Table storage and Service Bus, whose messages the host's model hands to it. sent is told
// of each invocation that the program has, and lose of each delivery before; both may be nil. Nothing is on the instance's disk.
func deployServices(t *testing.T, sent func(*deployed, functionshost.Invocation), lose func(functionshost.Delivery) bool) (*deployed, *namespace, *outbox.Store) {
	t.Helper()
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("Functions runs programs for linux/amd64")
	}
	t.Log(functionshost.Model)
	sources(t)
	connection, dir, bus := tablestest.Emulator(t), t.TempDir(), startNamespace(t)
	store := openStore(t, connection, bus.open(t))
	token := makeAdmin(t, store, dir)

	d := &deployed{t: t, token: token, runs: map[string][]string{}}
	var err error
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
		"PINRESET_ROOT_KEY_FILE": filepath.Join(dir, "root-key"), "PINRESET_SERVICEBUS_TOPIC": servicebus.AnnouncementTopic,
		"SB__fullyQualifiedNamespace": "model.servicebus.windows.net",
	}
	for name, text := range map[string]string{"PINRESET_TABLES_CONNECTION_FILE": connection, "PINRESET_SERVICEBUS_CONNECTION_FILE": bus.ConnectionString()} {
		settings[name] = filepath.Join(dir, name)
		if err := os.WriteFile(settings[name], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	queues := bus.triggers(t)
	queues.lose = lose
	o := functionshost.Options{Zip: packaged, Queues: queues, Log: d.note, Paused: true, Settings: settings}
	if sent != nil {
		o.Sent = func(in functionshost.Invocation) { sent(d, in) }
	}
	if d.host, err = functionshost.Start(t.Context(), o); err != nil {
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
	return d, bus, store
}

// TestModelServices: the package over models of Table storage and Service Bus. The process is killed when Graph has carried out the reset
// and its answer is on its way. Nothing of it is on the instance's disk, so the next process ends the reset from the services alone, and
// the device is reset once.
func TestModelServices(t *testing.T) {
	t.Parallel()
	var once sync.Once
	killed := make(chan struct{})
	d, bus, _ := deployServices(t, func(d *deployed, in functionshost.Invocation) {
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
	}, nil)
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
	for _, q := range bus.queues {
		if n := bus.Counts(string(q)).DeadLettered; n != 0 {
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

// openStore is another process's hold on rows and messages.
func openStore(t *testing.T, connection string, bus *servicebus.Bus) *outbox.Store {
	t.Helper()
	table, err := tables.NewFromConnectionString(connection, tables.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Create(t.Context()); err != nil {
		t.Fatal(err)
	}
	return outbox.New(table, bus, outbox.Options{NewID: rand.Text})
}

// makeAdmin makes the administrator's token, as a first process with a directory does.
func makeAdmin(t *testing.T, store *outbox.Store, dir string) string {
	t.Helper()
	if _, err := identity.NewTokens(store, time.Now, rand.Text).ShareAdmin(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, identity.AdminFile))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}
