package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/shared/client"
	"pinreset/shared/fault"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/host/lambda/lambdahost"
	"pinreset/shared/passcode"
	"pinreset/shared/work"
)

// deployed is the package under the model of AWS Lambda, which was never compared with the live platform: one function that is all of them, the
// tenants simulated, and rows in the store of this machine.
type deployed struct {
	t        *testing.T
	sim      *graphsim.Cloud
	broker   *lambdahost.Broker
	function *lambdahost.Function
	front    *httptest.Server
	api      *client.Client
	data     string

	mu   sync.Mutex
	runs map[string][]string // verdicts, by the message's id
}

// visibility is how long a record of a batch that was lost stays away.
const visibility = 2 * time.Second

// deploy starts the package. change may be nil.
func deploy(t *testing.T, change func(*lambdahost.Options)) *deployed {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("Lambda runs programs for linux")
	}
	t.Log(lambdahost.Model)
	sources(t)
	dir := t.TempDir()
	d := &deployed{t: t, broker: lambdahost.NewBroker(visibility, 20), data: filepath.Join(dir, "data"), runs: map[string][]string{}}
	var err error
	d.sim, err = graphsim.Start(graphsim.Options{Dir: filepath.Join(dir, "sim"), Timing: graphsim.Timing{ReplicationLag: 200 * time.Millisecond,
		EntryDelay: 100 * time.Millisecond, PickUp: 100 * time.Millisecond, Work: 100 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.sim.Close() })
	d.front = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { d.function.ServeHTTP(w, r) }))
	t.Cleanup(d.front.Close)
	o := lambdahost.Options{Program: bootstrap, Log: d.note, NoFreeze: true, Settings: map[string]string{
		"PINRESET_DATA": d.data, "PINRESET_SIM_AT": filepath.Join(dir, "sim"), "PINRESET_PUBLIC_URL": d.front.URL, "PINRESET_LOG_LEVEL": "info",
		"PINRESET_CALL_AGAIN_AFTER": "5s", "PINRESET_GIVE_UP_AFTER": "10s", // as little patience as the settings allow
	}}
	if change != nil {
		change(&o)
	}
	d.function = lambdahost.New(o)
	t.Cleanup(func() {
		d.function.Stop()
		for _, p := range d.function.Problems() {
			t.Error(p)
		}
	})
	return d
}

// poll maps the queues to the function, until the test ends.
func (d *deployed) poll(queues ...string) {
	ctx, cancel := context.WithCancel(context.Background())
	var pollers sync.WaitGroup
	for _, queue := range queues {
		pollers.Go(func() { d.function.Poll(ctx, d.broker, lambdahost.Mapping{Queue: queue}) })
	}
	d.t.Cleanup(func() { cancel(); pollers.Wait() })
}

// signIn makes a client of the API behind the function URL.
func (d *deployed) signIn() {
	d.t.Helper()
	res, err := http.Get(d.front.URL + "/healthz") //nolint:noctx // starts it
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
	if d.api, err = client.New(client.Options{Server: d.front.URL, Token: strings.TrimSpace(string(token))}); err != nil {
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
	return slices.Clone(d.runs[message])
}

// record is an event as another program would send it.
func (d *deployed) record(id string, data events.Data) lambdahost.Record {
	d.t.Helper()
	e := events.Event{ID: id, Tenant: graphsim.Contoso, Time: time.Now().UTC(), Data: data}
	if err := e.Validate(); err != nil {
		d.t.Fatal(err)
	}
	body, err := json.Marshal(e)
	if err != nil {
		d.t.Fatal(err)
	}
	return lambdahost.Record{ID: id, Body: string(body)}
}

func (d *deployed) drained() {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), time.Minute)
	defer cancel()
	if err := d.broker.Drained(ctx); err != nil {
		d.t.Fatal(err)
	}
}

// onboard registers Contoso, in which everything is consented to, and returns the ids of its devices. The process is not frozen yet: what the
// store of a data directory keeps for later is handed out only while it is not.
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
	for {
		r, err := d.api.Reset(ctx, graphsim.Contoso, id)
		if err == nil && r.State != passcode.Accepted && r.State != passcode.Calling && r.State != passcode.Waiting {
			return r
		}
		select {
		case <-ctx.Done():
			d.t.Fatalf("reset %s is %q: %v", id, r.State, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
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

// TestModelStory: onboarding by the function URL, resets by one batch, each delivered twice; one that is refused, a message that is none, and timers.
func TestModelStory(t *testing.T) {
	t.Parallel()
	d := deploy(t, nil)
	d.signIn()
	devices := d.onboard()
	d.function.SetFreeze(true)
	queue := string(passcode.Queue)
	d.broker.Send(queue, d.record("m-1", d.request("r-1", devices["sales-pixel-12"])))
	d.broker.Send(queue, d.record("m-1", d.request("r-1", devices["sales-pixel-12"])))
	d.broker.Send(queue, d.record("m-2", d.request("r-2", devices["hr-laptop-11"])))
	d.broker.Send(queue, lambdahost.Record{ID: "no event", Body: "no event {}"})
	d.poll(queue)
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
		for _, tick := range []func(context.Context, string) (lambdahost.Result, error){d.function.Tick, d.function.TickByRule} {
			if result, err := tick(t.Context(), timer); err != nil || result.Failed {
				t.Errorf("%s: %+v, %v", timer, result, err)
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
	if n := d.function.Starts(); n != 1 {
		t.Errorf("%d processes were started", n)
	}
	if result, err := d.function.Tick(t.Context(), "lunch"); err != nil || !result.Failed {
		t.Errorf("a schedule that nobody serves: %+v, %v", result, err)
	}
	if result, err := d.function.Invoke(t.Context(), []byte(`{"hello":"world"}`)); err != nil || !result.Failed {
		t.Errorf("an event that nobody knows: %+v, %v", result, err)
	}
	if n := len(d.function.Exits()); n != 0 {
		t.Errorf("%d processes have ended", n)
	}
}

// TestModelPartialBatch: of ten records one can't be settled. It alone comes back, and becomes a dead letter of its queue.
func TestModelPartialBatch(t *testing.T) {
	t.Parallel()
	d := deploy(t, nil)
	d.broker = lambdahost.NewBroker(300*time.Millisecond, 3)
	const queue = string(work.Announcements)
	for _, id := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i"} {
		d.broker.Send(queue, d.record(id, events.PasscodeResetCancelled{RequestID: id, DeviceID: "3b7c2a90-5e14-4f6b-8d21-c09a4e7f6b13", Reason: "tested", By: events.Pinreset()}))
	}
	// An id that no store takes: the record can't even be set aside.
	d.broker.Send(queue, lambdahost.Record{ID: "poison/1", Body: "{}"})
	d.poll(queue)
	d.drained()
	dead := d.broker.Dead(queue)
	if len(dead) != 1 || dead[0].ID != "poison/1" || dead[0].Deliveries != 3 {
		t.Errorf("dead letters: %+v", dead)
	}
	for _, id := range []string{"a", "e", "i"} {
		if v := d.verdicts(id); !slices.Equal(v, []string{"done"}) {
			t.Errorf("%s ran with %v", id, v)
		}
	}
}

// TestModelTimeout: a run that takes longer than the function may is told to end before the platform ends the process. Its message is given
// back, and the process goes on.
func TestModelTimeout(t *testing.T) {
	t.Parallel()
	d := deploy(t, nil)
	d.signIn()
	devices := d.onboard()
	d.function.SetFreeze(true)
	d.function.SetTimeout(2 * time.Second)
	slow := 5 * time.Second
	if err := d.sim.AdjustTenant(graphsim.Contoso, graphsim.TenantKnobs{SlowAnswer: &slow}); err != nil {
		t.Fatal(err)
	}
	d.broker.Send(string(passcode.Queue), d.record("m", d.request("r", devices["sales-pixel-12"])))
	d.poll(string(passcode.Queue))
	eventually(t, "the run was not told to end", func() bool { return slices.Contains(d.verdicts("m"), "retry") })
	soon := time.Duration(0)
	if err := d.sim.AdjustTenant(graphsim.Contoso, graphsim.TenantKnobs{SlowAnswer: &soon}); err != nil {
		t.Fatal(err)
	}
	d.drained()
	d.function.SetTimeout(3 * time.Minute)
	if r := d.ended("r"); r.State != passcode.Issued || d.resets("sales-pixel-12") != 1 {
		t.Errorf("the reset is %s %s, and the device was reset %d times", r.State, r.FailureCode, d.resets("sales-pixel-12"))
	}
	if exits := d.function.Exits(); len(exits) != 0 {
		t.Errorf("the platform had to end the process: %v", exits)
	}
}

// TestModelStuck: a process that does not end its invocation in time, because nothing in it runs any more, is killed by the platform. The record
// comes back to another one.
func TestModelStuck(t *testing.T) {
	t.Parallel()
	var once sync.Once
	d := deploy(t, func(o *lambdahost.Options) {
		o.Sent = func(pid int, payload []byte) {
			if strings.Contains(string(payload), `"messageId":"m"`) {
				once.Do(func() {
					if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
						t.Error(err)
					}
				})
			}
		}
	})
	d.signIn()
	devices := d.onboard()
	d.function.SetFreeze(true)
	d.function.SetTimeout(2 * time.Second)
	d.broker.Send(string(passcode.Queue), d.record("m", d.request("r", devices["sales-pixel-12"])))
	d.poll(string(passcode.Queue))
	d.drained()
	d.function.SetTimeout(3 * time.Minute)
	if r := d.ended("r"); r.State != passcode.Issued || d.resets("sales-pixel-12") != 1 {
		t.Errorf("the reset is %s %s, and the device was reset %d times", r.State, r.FailureCode, d.resets("sales-pixel-12"))
	}
	if exits := d.function.Exits(); !slices.Equal(exits, []string{"signal: killed"}) {
		t.Errorf("exits %v", exits)
	}
}

// TestModelKill: the process is killed when Graph has carried the call out and its answer is on its way. The record comes
// back; the device is reset once.
func TestModelKill(t *testing.T) {
	t.Parallel()
	d := deploy(t, nil)
	d.signIn()
	devices := d.onboard()
	d.function.SetFreeze(true)
	slow := 3 * time.Second
	if err := d.sim.AdjustTenant(graphsim.Contoso, graphsim.TenantKnobs{SlowAnswer: &slow}); err != nil {
		t.Fatal(err)
	}
	d.broker.Send(string(passcode.Queue), d.record("m", d.request("r", devices["sales-pixel-12"])))
	d.poll(string(passcode.Queue))
	eventually(t, "the call was not made", func() bool { return d.resets("sales-pixel-12") == 1 })
	d.function.Kill()
	soon := time.Duration(0)
	if err := d.sim.AdjustTenant(graphsim.Contoso, graphsim.TenantKnobs{SlowAnswer: &soon}); err != nil {
		t.Fatal(err)
	}
	d.drained()
	if r := d.ended("r"); r.State != passcode.Issued || d.resets("sales-pixel-12") != 1 {
		t.Errorf("the reset is %s %s, and the device was reset %d times", r.State, r.FailureCode, d.resets("sales-pixel-12"))
	}
	if exits := d.function.Exits(); !slices.Equal(exits, []string{"signal: killed"}) {
		t.Errorf("exits %v", exits)
	}
}

// TestModelTerminate: SIGTERM, which comes because the program has registered for it, ends it in time: with 0, while it waits and while it works.
func TestModelTerminate(t *testing.T) {
	t.Parallel()
	d := deploy(t, nil)
	d.signIn()
	devices := d.onboard()
	d.function.SetFreeze(true)
	d.function.Retire()
	slow := 3 * time.Second
	if err := d.sim.AdjustTenant(graphsim.Contoso, graphsim.TenantKnobs{SlowAnswer: &slow}); err != nil {
		t.Fatal(err)
	}
	d.broker.Send(string(passcode.Queue), d.record("m", d.request("r", devices["sales-pixel-12"])))
	d.poll(string(passcode.Queue))
	eventually(t, "the call was not made", func() bool { return d.resets("sales-pixel-12") == 1 })
	d.function.Retire()
	soon := time.Duration(0)
	if err := d.sim.AdjustTenant(graphsim.Contoso, graphsim.TenantKnobs{SlowAnswer: &soon}); err != nil {
		t.Fatal(err)
	}
	d.drained()
	if r := d.ended("r"); r.State != passcode.Issued || d.resets("sales-pixel-12") != 1 {
		t.Errorf("the reset is %s %s, and the device was reset %d times", r.State, r.FailureCode, d.resets("sales-pixel-12"))
	}
	if exits := d.function.Exits(); !slices.Equal(exits, []string{"exit status 0", "exit status 0"}) {
		t.Errorf("exits %v", exits)
	}
}
