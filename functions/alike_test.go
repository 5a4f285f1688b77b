package main

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
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

	"pinreset/shared/graph/graphsim"
	"pinreset/shared/host/azure/functionshost"
	"pinreset/shared/host/hosttest"
	"pinreset/shared/work"
)

// TestHostsAlike: fed with the same golden events, requests and timers, the hosts leave the same rows, announce the same events, and have
// the same messages wait. The Functions host and AWS Lambda are models that were never compared with live ones.
func TestHostsAlike(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("Functions runs programs for linux/amd64")
	}
	golden, err := hosttest.Golden(os.DirFS("../events/examples"))
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range queues {
		covered := false
		for _, m := range golden {
			covered = covered || m.Queue == q.Name
		}
		if !covered {
			t.Errorf("no golden message waits in queue %s", q.Name)
		}
	}
	hosts := []struct {
		name  string
		start func(*testing.T, hosttest.Wiring) hosttest.Host
	}{{"local", startLocal}, {"Functions", startFunctions}, {"Lambda", startLambda}}
	states := make([]hosttest.State, len(hosts))
	var all sync.WaitGroup
	for i, h := range hosts {
		all.Go(func() { t.Run(h.name, func(t *testing.T) { states[i] = hosttest.Run(t, golden, h.start) }) })
	}
	all.Wait()
	if t.Failed() {
		return
	}
	if s := states[0]; len(s.Rows) < 30 || len(s.Events) < 15 || len(s.Waiting) == 0 {
		t.Errorf("%d rows, %d events and %d queues in which messages wait: that is not what was fed", len(s.Rows), len(s.Events), len(s.Waiting))
	}
	for i, h := range hosts[1:] {
		for _, line := range hosttest.Diff(states[0], states[i+1]) {
			t.Errorf("%s and %s: %s", hosts[0].name, h.name, line)
		}
	}
}

// localHost is the program with the host of its own, as up has it, but that its timers tick when they are told.
type localHost struct {
	prog   *program
	url    string
	timers map[string]func(context.Context) error
	end    func() error
}

func startLocal(t *testing.T, w hosttest.Wiring) hosttest.Host {
	t.Helper()
	at, err := graphsim.Find(w.Sim)
	if err != nil {
		t.Fatal(err)
	}
	c, err := loadConfig(func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	h := &localHost{}
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { h.prog.web().ServeHTTP(rw, r) }))
	c.Data, c.PublicURL, h.url = w.Data, front.URL, front.URL
	if h.prog, err = wire(t.Context(), c, simulated(at), startOptions{pace: c.pace(), logger: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	h.prog.audits.Since = time.Time{} // what is due is begun at the first tick
	h.timers = map[string]func(context.Context) error{housekeepingTimer: h.prog.timer.Look, auditTimer: h.prog.audits.Tick}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() { h.prog.host.Run(ctx) })
	h.end = sync.OnceValue(func() error {
		front.Close()
		cancel()
		running.Wait()
		h.prog.close()
		return nil
	})
	t.Cleanup(func() { _ = h.end() })
	return h
}

func (h *localHost) URL() string { return h.url }

func (h *localHost) Send(ctx context.Context, m hosttest.Message) error {
	message, err := m.Work()
	if err != nil {
		return err
	}
	return h.prog.rows.Commit(ctx, work.Batch{Partition: message.Partition, Messages: []work.Message{message}})
}

func (h *localHost) Tick(ctx context.Context, function string) error { return h.timers[function](ctx) }

func (h *localHost) End() error { return h.end() }

// functionsHost is the program's package under the model of the Functions host.
type functionsHost struct {
	*functionshost.Host
	broker *functionshost.Broker
	url    string
	end    func() error
}

func startFunctions(t *testing.T, w hosttest.Wiring) hosttest.Host {
	t.Helper()
	t.Log(functionshost.Model)
	h := &functionsHost{broker: functionshost.NewBroker(0, 0)}
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { h.ServeHTTP(rw, r) }))
	h.url = front.URL
	var err error
	h.Host, err = functionshost.Start(t.Context(), functionshost.Options{Zip: functionsZip(t), Queues: h.broker, Settings: map[string]string{
		envData: w.Data, "PINRESET_SIM_AT": w.Sim, "PINRESET_PUBLIC_URL": front.URL, "SB__fullyQualifiedNamespace": "model.servicebus.windows.net",
	}})
	if err != nil {
		t.Fatal(err)
	}
	h.end = sync.OnceValue(func() (err error) {
		front.Close()
		for _, p := range h.Problems() {
			err = errors.Join(err, errors.New(p))
		}
		return errors.Join(err, h.Stop(true))
	})
	t.Cleanup(func() { _ = h.end() })
	return h
}

func (h *functionsHost) URL() string { return h.url }

func (h *functionsHost) Send(ctx context.Context, m hosttest.Message) error {
	h.broker.Send(string(m.Queue), functionshost.Message{ID: m.ID, Body: m.Body})
	if err := h.broker.Drained(ctx); err != nil {
		return err
	}
	if dead := h.broker.DeadLetters(); len(dead) > 0 {
		return fmt.Errorf("%d messages were given up", len(dead))
	}
	return nil
}

func (h *functionsHost) Tick(_ context.Context, function string) error {
	if r := h.Host.Tick(function); !r.OK {
		return fmt.Errorf("timer %s: %s", function, r.Reason)
	}
	return nil
}

func (h *functionsHost) End() error { return h.end() }

// functionsZip is the package that would be deployed, of the tests' program.
func functionsZip(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "azure.zip")
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	z := zip.NewWriter(out)
	entries := map[string]string{"host.json": "../host.json", "pinreset": binary}
	for name := range functionFiles(t) {
		folder := name
		if _, err := os.Stat(folder); err != nil {
			folder = strings.Replace(name, "-", "/", 1)
		}
		entries[name+"/function.json"] = filepath.Join(folder, "function.json")
	}
	for name, from := range entries {
		content, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		header := &zip.FileHeader{Name: name}
		header.SetMode(0o755)
		entry, err := z.CreateHeader(header)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := entry.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return file
}
