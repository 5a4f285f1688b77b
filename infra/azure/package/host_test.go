package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/shared/client"
	"pinreset/shared/fault"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/host/azure/functionshost"
	"pinreset/shared/host/hosttest"
	"pinreset/shared/passcode"
	"pinreset/shared/work"
)

// deployed is the package under the model of the Functions host, which was never compared with a live host; the tenants are simulated,
// and rows are in the store of this machine.
type deployed struct {
	t      *testing.T
	sim    *graphsim.Cloud
	broker *functionshost.Broker
	host   *functionshost.Host
	api    *client.Client
	data   string
	token  string // the administrator's

	mu   sync.Mutex
	runs map[string][]string // verdicts, by the message's id
}

// deploy starts the package. sent is told of each invocation that the program has; it may be nil.
func deploy(t *testing.T, sent func(*deployed, functionshost.Invocation)) *deployed {
	t.Helper()
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("Functions runs programs for linux/amd64")
	}
	t.Log(functionshost.Model)
	sources(t)
	dir := t.TempDir()
	d := &deployed{t: t, broker: functionshost.NewBroker(0, 0), data: filepath.Join(dir, "data"), runs: map[string][]string{}}
	var err error
	d.sim, err = graphsim.Start(graphsim.Options{Dir: filepath.Join(dir, "sim"), Timing: graphsim.Timing{ReplicationLag: 200 * time.Millisecond,
		EntryDelay: 100 * time.Millisecond, PickUp: 100 * time.Millisecond, Work: 100 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.sim.Close() })
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { d.host.ServeHTTP(w, r) }))
	t.Cleanup(front.Close)
	o := functionshost.Options{Zip: packaged, Queues: d.broker, Log: d.note, Paused: true, Settings: map[string]string{
		"PINRESET_DATA": d.data, "PINRESET_SIM_AT": filepath.Join(dir, "sim"), "PINRESET_PUBLIC_URL": front.URL, "PINRESET_LOG_LEVEL": "info",
		"SB__fullyQualifiedNamespace": "model.servicebus.windows.net",
	}}
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
	d.signIn(front.URL)
	return d
}

// signIn waits for the start, which answers before anything is built, by asking for health over HTTP.
func (d *deployed) signIn(url string) {
	d.t.Helper()
	res, err := http.Get(url + "/healthz") //nolint:noctx // waits for the start
	if err != nil {
		d.t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		d.t.Fatalf("health is %s", res.Status)
	}
	token, err := os.ReadFile(filepath.Join(d.data, "admin-token"))
	if err != nil {
		d.t.Fatal(err)
	}
	if d.api, err = client.New(client.Options{Server: url, Token: strings.TrimSpace(string(token))}); err != nil {
		d.t.Fatal(err)
	}
}

// note keeps the verdicts of runs from the program's log.
func (d *deployed) note(line string) {
	var l struct{ Msg, Message, Verdict string }
	if json.Unmarshal([]byte(line), &l) == nil && l.Msg == "run" {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.runs[l.Message] = append(d.runs[l.Message], l.Verdict)
	}
}

func (d *deployed) verdicts(message string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.runs[message]
}

// send puts an event into a queue, as another program would.
func (d *deployed) send(queue work.Queue, id string, data events.Data) {
	d.t.Helper()
	e := events.Event{ID: id, Tenant: graphsim.Contoso, Time: time.Now().UTC(), Data: data}
	if err := e.Validate(); err != nil {
		d.t.Fatal(err)
	}
	body, err := json.Marshal(e)
	if err != nil {
		d.t.Fatal(err)
	}
	d.broker.Send(string(queue), functionshost.Message{ID: id, Body: body})
}

func (d *deployed) drained() {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), time.Minute)
	defer cancel()
	if err := d.broker.Drained(ctx); err != nil {
		d.t.Fatal(err)
	}
	for _, l := range d.broker.DeadLetters() {
		d.t.Errorf("given up: %s of queue %s", l.ID, l.Queue)
	}
}

// onboard registers Contoso, in which everything is consented to, and returns the ids of its devices.
func (d *deployed) onboard() (devices map[string]string) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), time.Minute)
	defer cancel()
	if _, err := d.api.AddTenant(ctx, client.NewTenant{TenantID: graphsim.Contoso, DisplayName: "Contoso"}); err != nil {
		d.t.Fatal(err)
	}
	if state, err := d.api.WaitConsent(ctx, graphsim.Contoso, "", nil); err != nil || state.State != "proven" {
		d.t.Fatalf("consent is %s: %v", state.State, err)
	}
	devices = map[string]string{}
	for device, err := range d.api.Devices(ctx, graphsim.Contoso, "") {
		if err != nil {
			d.t.Fatal(err)
		}
		devices[device.Name] = device.ID
	}
	return devices
}

func (d *deployed) request(id, device string) events.PasscodeResetRequested {
	return events.PasscodeResetRequested{RequestID: id, DeviceID: device, Reason: "forgot it", By: events.Pinreset()}
}

// ended waits until the reset is there and has ended.
func (d *deployed) ended(id string) client.Reset {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), time.Minute)
	defer cancel()
	reset, err := d.api.WaitReset(ctx, graphsim.Contoso, id, nil)
	if err != nil {
		d.t.Fatalf("reset %s is %+v: %v", id, reset, err)
	}
	return reset
}

// resets counts what was done to the device, as the simulated cloud sees it.
func (d *deployed) resets(device string) int {
	for _, tenant := range d.sim.Counters().Tenants {
		if tenant.ID == graphsim.Contoso {
			return tenant.Resets[device]
		}
	}
	return 0
}

// TestModelGoldenEvents: every example of an event passes through its function, and its run ends.
func TestModelGoldenEvents(t *testing.T) {
	t.Parallel()
	golden, err := hosttest.Golden(os.DirFS(filepath.Join(root, "events", "examples")))
	if err != nil || len(golden) < 25 {
		t.Fatalf("%d golden messages: %v", len(golden), err)
	}
	d := deploy(t, nil)
	for _, m := range golden {
		d.broker.Send(string(m.Queue), functionshost.Message{ID: m.ID, Body: m.Body})
	}
	d.drained()
	for _, m := range golden {
		// The invocation is answered once its run has ended; its line may still be on its way.
		eventually(t, m.Name+" was not run", func() bool { return len(d.verdicts(m.ID)) > 0 })
	}
}

func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !so(); {
		if time.Now().After(end) {
			t.Error(what)
			return
		}
		<-time.After(10 * time.Millisecond)
	}
}

// TestModelStory: onboarding by HTTP, resets by messages, each delivered twice; one that is refused, a message that is none, and timers.
func TestModelStory(t *testing.T) {
	t.Parallel()
	d := deploy(t, nil)
	devices := d.onboard()
	d.send(passcode.Queue, "m-1", d.request("r-1", devices["sales-pixel-12"]))
	d.send(passcode.Queue, "m-1", d.request("r-1", devices["sales-pixel-12"]))
	d.send(passcode.Queue, "m-2", d.request("r-2", devices["hr-laptop-11"]))
	d.broker.Send(string(passcode.Queue), functionshost.Message{ID: "no event", Body: []byte("\xff\xfe{}")})
	d.drained()
	if r := d.ended("r-1"); r.State != passcode.Issued || d.resets("sales-pixel-12") != 1 {
		t.Errorf("the reset is %s, and the device was reset %d times", r.State, d.resets("sales-pixel-12"))
	}
	if r := d.ended("r-2"); r.State != passcode.Failed || r.FailureCode != fault.PlatformNotSupported || r.Diagnostics == "" {
		t.Errorf("the reset of a laptop is %s, code %q, page %q", r.State, r.FailureCode, r.Diagnostics)
	}
	eventually(t, "what is no event was not set aside", func() bool { v := d.verdicts("no event"); return len(v) == 1 && v[0] == "failed" })
	eventually(t, "no failure was announced", func() bool {
		for e, err := range d.api.Events(t.Context(), graphsim.Contoso) {
			if err == nil && strings.Contains(string(e), "failure.raised.v1") && strings.Contains(string(e), "r-2") {
				return true
			}
		}
		return false
	})
	for _, timer := range []string{"housekeeping-timer", "tenantaudit-timer"} {
		for range 4 { // each form of what the host sends
			if result := d.host.Tick(timer); !result.OK {
				t.Errorf("%s: %+v", timer, result)
			}
		}
	}
	eventually(t, "the timer began no audit", func() bool {
		for a, err := range d.api.TenantAudits(t.Context(), graphsim.Contoso) {
			if err == nil && a.Cause == events.AuditBySchedule {
				return true
			}
		}
		return false
	})
	run, err := d.api.StartAudits(t.Context(), "does a request of all audits begin without a timer")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := d.api.WaitAudits(ctx, run.ID, nil); err != nil {
		t.Error(err)
	}
}

// TestModelKill: the process is killed while it runs a message: once as soon as it has it, and once when Graph has carried the call out and
// its answer is on its way. The host hands the message out again; the device is reset once.
func TestModelKill(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		when func(d *deployed) bool
	}{
		{"as soon as it has it", func(*deployed) bool { return true }},
		{"between call and result", func(d *deployed) bool { return d.resets("sales-pixel-12") == 1 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			slow := 3 * time.Second
			var once sync.Once
			killed := make(chan struct{})
			d := deploy(t, func(d *deployed, in functionshost.Invocation) {
				if in.MessageID != "m" {
					return
				}
				once.Do(func() {
					go func() {
						defer close(killed)
						eventually(t, "the moment of the kill did not come", func() bool { return c.when(d) })
						d.host.Kill()
						slow := time.Duration(0)
						if err := d.sim.AdjustTenant(graphsim.Contoso, graphsim.TenantKnobs{SlowAnswer: &slow}); err != nil {
							t.Error(err)
						}
					}()
				})
			})
			devices := d.onboard()
			if err := d.sim.AdjustTenant(graphsim.Contoso, graphsim.TenantKnobs{SlowAnswer: &slow}); err != nil {
				t.Fatal(err)
			}
			d.send(passcode.Queue, "m", d.request("r", devices["sales-pixel-12"]))
			<-killed
			if err := d.host.Wait(t.Context(), 2); err != nil {
				t.Fatal(err)
			}
			d.drained()
			if r := d.ended("r"); r.State != passcode.Issued || d.resets("sales-pixel-12") != 1 {
				t.Errorf("the reset is %s %s, and the device was reset %d times", r.State, r.FailureCode, d.resets("sales-pixel-12"))
			}
			if exits := fmt.Sprint(d.host.Exits()); exits != "[-1]" {
				t.Errorf("exits %s", exits)
			}
		})
	}
}

// TestModelTerminate: whoever else tells the process to end finds that the host starts it again.
func TestModelTerminate(t *testing.T) {
	t.Parallel()
	d := deploy(t, nil)
	p, err := os.FindProcess(d.host.PID())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := d.host.Wait(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if exits := fmt.Sprint(d.host.Exits()); exits != "[200]" {
		t.Errorf("exits %s", exits)
	}
}
