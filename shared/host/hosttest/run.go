package hosttest

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/shared/client"
	"pinreset/shared/devicereport"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/passcode"
	"pinreset/shared/survey"
	"pinreset/shared/webhook"
	"pinreset/shared/work"
)

// Wiring is what a host's program is put over.
type Wiring struct {
	Data string // the directory of its store, which does not exist yet
	Sim  string // the directory of a simulated cloud that runs
}

// Host is the program under some host.
type Host interface {
	// URL is where requests by HTTP come in.
	URL() string
	// Send hands the message to the function of its queue, and returns when the host has done with it.
	Send(ctx context.Context, m Message) error
	// Tick calls the timer's function, and returns when that has ended.
	Tick(ctx context.Context, function string) error
	// End ends the program. Its store can be opened then.
	End() error
}

// Services is what a host has besides whose program keeps rows and messages in services, not in the data directory.
type Services interface {
	// Idle reports whether no message is due or in somebody's hands.
	Idle() bool
	// Left are the program's rows, and how many messages of each queue wait for their time. It is asked after End.
	Left() (rows Rows, waiting map[work.Queue]int)
}

// Timers are the functions that timers call.
var Timers = []string{"housekeeping-timer", "tenantaudit-timer"}

// patience is how long anything may take that the runner waits for.
const patience = time.Minute

// Run starts a host and feeds it: requests by HTTP that add a tenant, reset devices and report from one, each timer, and then the messages, one
// after the other. It returns what the host has left.
func Run(t *testing.T, golden []Message, start func(t *testing.T, w Wiring) Host) State {
	t.Helper()
	w := Wiring{Data: filepath.Join(t.TempDir(), "data"), Sim: filepath.Join(t.TempDir(), "sim")}
	sim, err := graphsim.Start(graphsim.Options{Dir: w.Sim, Timing: graphsim.Timing{ReplicationLag: -1, EntryDelay: -1, PickUp: time.Millisecond, Work: time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	f := &feed{T: t, host: start(t, w)}
	f.api, f.token = f.signIn(w.Data)
	ctx := t.Context()

	devices := f.onboard(ctx)
	f.idle(ctx)
	f.reset(ctx, devices["sales-pixel-12"], passcode.Issued)
	f.reset(ctx, devices["hr-laptop-11"], passcode.Failed)
	f.report(ctx, devices["hr-laptop-11"])
	f.idle(ctx)
	for _, timer := range Timers {
		f.must(f.host.Tick(ctx, timer))
		f.idle(ctx)
	}
	f.audited(ctx)
	for _, m := range golden {
		if err := f.host.Send(ctx, m); err != nil {
			t.Errorf("%s: %v", m.Name, err)
		}
		f.idle(ctx)
	}
	f.must(f.host.End())
	var s State
	if services, ok := f.host.(Services); ok {
		rows, waiting := services.Left()
		for q, n := range waiting {
			s.Waiting = append(s.Waiting, line(q, 0, n, 0))
		}
		err = s.read(ctx, rows)
	} else {
		s, err = open(ctx, w.Data)
	}
	f.must(err)
	return s
}

// feed is a host that is fed.
type feed struct {
	*testing.T
	host  Host
	api   *client.Client
	token string
}

func (f *feed) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// signIn waits for the start by asking for health, and makes a client with the administrator's token.
func (f *feed) signIn(data string) (*client.Client, string) {
	f.Helper()
	res, err := http.Get(f.host.URL() + "/healthz") //nolint:noctx // waits for the start
	f.must(err)
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		f.Fatalf("health is %s", res.Status)
	}
	text, err := os.ReadFile(filepath.Join(data, "admin-token"))
	f.must(err)
	token := strings.TrimSpace(string(text))
	api, err := client.New(client.Options{Server: f.host.URL(), Token: token})
	f.must(err)
	return api, token
}

// onboard registers a tenant in which everything is consented to, and returns its devices by name.
func (f *feed) onboard(ctx context.Context) map[string]string {
	f.Helper()
	_, err := f.api.AddTenant(ctx, client.NewTenant{TenantID: graphsim.Contoso, DisplayName: "Contoso"})
	f.must(err)
	state, err := f.api.WaitConsent(ctx, graphsim.Contoso, "", nil)
	if err != nil || state.State != "proven" {
		f.Fatalf("consent is %s: %v", state.State, err)
	}
	devices := map[string]string{}
	for device, err := range f.api.Devices(ctx, graphsim.Contoso, "") {
		f.must(err)
		devices[device.Name] = device.ID
	}
	return devices
}

func (f *feed) reset(ctx context.Context, device string, want passcode.State) {
	f.Helper()
	r, _, err := f.api.StartReset(ctx, graphsim.Contoso, device, "forgot it", "")
	f.must(err)
	if r, err = f.api.WaitReset(ctx, graphsim.Contoso, r.ID, nil); err != nil || r.State != want {
		f.Fatalf("the reset is %s %s, want %s: %v", r.State, r.FailureCode, want, err)
	}
}

// report sends a device's signed report.
func (f *feed) report(ctx context.Context, device string) {
	f.Helper()
	k, err := f.api.CreateDeviceKey(ctx, graphsim.Contoso, device, client.NewDeviceKey{Reason: "an agent was installed"})
	f.must(err)
	key, err := webhook.ParseSigner(k.Secret.Clear())
	f.must(err)
	body, err := json.Marshal(devicereport.Report{Version: devicereport.Version, Sequence: 1, CollectedAt: time.Now().UTC(), Edition: "Professional", OSVersion: "10.0.22631.3447"})
	f.must(err)
	_, err = f.api.SendReport(ctx, k.Callback, key, "msg_"+rand.Text(), time.Now(), body)
	f.must(err)
}

// audited waits for the end of the audit that the timer has begun.
func (f *feed) audited(ctx context.Context) {
	f.Helper()
	f.until("the timer began no audit that ended", func() bool {
		for a, err := range f.api.TenantAudits(ctx, graphsim.Contoso) {
			if err == nil && a.Cause == events.AuditBySchedule {
				return a.Outcome != survey.Pending
			}
		}
		return false
	})
	f.idle(ctx)
}

// idle waits until no message of the store is due or held, as its services tell, or else the program's own metrics.
func (f *feed) idle(ctx context.Context) {
	f.Helper()
	if services, ok := f.host.(Services); ok {
		f.until("messages are still under way", services.Idle)
		return
	}
	f.until("messages are still under way", func() bool {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, f.host.URL()+"/metrics", nil)
		f.must(err)
		r.Header.Set("Authorization", "Bearer "+f.token)
		res, err := http.DefaultClient.Do(r)
		f.must(err)
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			f.Fatalf("metrics are %s", res.Status)
		}
		busy, gauges := 0.0, 0
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), "} ")
			if !strings.HasPrefix(name, "pinreset_queue_depth{") || strings.Contains(name, `state="later"`) {
				continue
			}
			n, err := strconv.ParseFloat(value, 64)
			f.must(err)
			busy += n
			gauges++
		}
		if gauges == 0 {
			f.Fatal("no metric tells how many messages are under way")
		}
		return busy == 0
	})
}

func (f *feed) until(what string, so func() bool) {
	f.Helper()
	for end := time.Now().Add(patience); !so(); {
		if time.Now().After(end) {
			f.Fatal(what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// Partition says whose work the message is: its tenant's.
func (m Message) Partition() (string, error) {
	e, err := events.Parse(m.Body)
	if err != nil {
		return "", fmt.Errorf("example %s: %w", m.Name, err)
	}
	return e.Tenant, nil
}

// Work is the message as a store takes it.
func (m Message) Work() (work.Message, error) {
	partition, err := m.Partition()
	return work.Message{ID: m.ID, Queue: m.Queue, Partition: partition, Body: m.Body}, err
}
