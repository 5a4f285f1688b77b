package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pinreset/shared/client"
	"pinreset/shared/fault"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/passcode"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

// A longer run: go test ./functions -run Kill -timeout 1h -args -kills 500 -resets 5000
var (
	killCount = flag.Int("kills", 30, "TestKill: at least so many kills; a third of them between intent and result")
	killLoad  = flag.Int("resets", 300, "TestKill: at least so many accepted resets")
	killSeed  = flag.Uint64("kill-seed", 0, "TestKill: chooses the moments and the faults; 0 takes a new one")
)

// TestKill runs the server and the simulated cloud as processes of their own, loads the server with resets, and kills it
// (SIGKILL) at random moments while the cloud loses answers, throttles and is slow. Then the kills stop, and:
//
//   - every accepted reset is there (lost=0) and has ended (unended=0);
//   - the cloud has carried out at most one reset of the device for each of them, and exactly one where a code or the
//     removal of the passcode was reported (double=0). A device has one open reset at a time, so the cloud's own count of
//     the device before and after tells what the one in between did.
//
// A request whose answer the kill took is sent again under its idempotency key until it is answered.
func TestKill(t *testing.T) {
	if testing.Short() {
		t.Skip("takes about a minute")
	}
	t.Parallel()
	seed := *killSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	k := &killing{t: t, random: rand.New(rand.NewPCG(seed, 1)), cloud: startCloud(t, "--entry-delay", "100ms", "--pick-up", "200ms", "--work", "200ms", "--replication-lag", "1s")}
	k.dir, k.patience = t.TempDir(), time.Minute
	k.listen = []string{freeAddress(t)}
	began := time.Now()
	r := k.start()
	k.load(r)

	// A third of the kills must hit the time between intent and result; how long that takes depends on the machine.
	limit := time.Now().Add(4*time.Minute + time.Duration(max(0, *killCount-30))*3*time.Second)
	for k.kills < *killCount || k.accepted.Load() < int64(*killLoad) || 3*k.between < *killCount {
		if time.Now().After(limit) {
			break
		}
		moment := time.Duration(100+k.random.IntN(900)) * time.Millisecond // what the seed chooses
		if k.kills >= *killCount && 3*k.between >= *killCount {
			k.calm() // only load is missing, and it grows between kills
			moment *= 8
		} else {
			k.disturb()
		}
		pass(moment)
		r.kill()
		k.kills++
		if k.halfway() {
			k.between++
		}
		r = k.start()
	}
	k.calm()
	k.drain()
	fmt.Printf("kills=%d accepted=%d lost=%d double=%d unended=%d between_intent_and_result=%d repeated_requests=%d ends=%v seed=%d took=%s\n",
		k.kills, k.accepted.Load(), k.lost.Load(), k.double.Load(), k.unended.Load(), k.between, k.repeated.Load(), k.endings(), seed, time.Since(began).Round(time.Second))
	if k.kills < *killCount || k.accepted.Load() < int64(*killLoad) || 3*k.between < *killCount {
		t.Errorf("want at least %d kills, a third of them between intent and result, and %d accepted resets", *killCount, *killLoad)
	}
	if k.lost.Load() != 0 || k.double.Load() != 0 || k.unended.Load() != 0 {
		t.Errorf("want nothing lost, doubled or unended; run again with -args -kill-seed %d", seed)
	}
}

// killing is the state of the test.
type killing struct {
	t      *testing.T
	random *rand.Rand // of the test's own goroutine
	cloud  *cloudProcess
	dir    string
	listen []string // addresses of the servers, which are asked in turn
	asked  atomic.Int64
	token  string
	// patience is how long a reset may take once all is calm: longer than every wait of the handler and of the store.
	patience time.Duration

	kills, between int
	stop           atomic.Bool // no further resets
	workers        sync.WaitGroup
	accepted       atomic.Int64
	repeated       atomic.Int64
	lost           atomic.Int64
	double         atomic.Int64
	unended        atomic.Int64
	mu             sync.Mutex
	ends           map[string]int
}

// reachCall are the sample devices whose resets are not refused before the call to Graph; their names have the tenant's prefix.
var reachCall = []string{
	"sales-pixel-12", "store-kiosk-07", "field-pixel-offline", "flaky-tablet-03", "marketing-galaxy-04", "legal-galaxy-05", "intern-galaxy-09", "ceo-iphone", "board-ipad-01",
	"warehouse-aosp-01", "meeting-aosp-02", "depot-tablet-06", "old-lumia-950",
}

var killTenants = []string{graphsim.Contoso, graphsim.Fabrikam, graphsim.Northwind}

// quickPace is as little patience as the settings allow.
var quickPace = []string{"PINRESET_CALL_AGAIN_AFTER=5s", "PINRESET_GIVE_UP_AFTER=10s"}

func (k *killing) start() *running {
	k.t.Helper()
	return startBinaryAt(k.t, k.dir, k.listen[0], quickPace, "--sim-at", k.cloud.dir)
}

// load onboards the tenants and starts one worker for each device whose resets reach the call.
func (k *killing) load(r *running) {
	k.t.Helper()
	token, err := os.ReadFile(filepath.Join(r.data, "admin-token"))
	if err != nil {
		k.t.Fatal(err)
	}
	k.token, k.ends = strings.TrimSpace(string(token)), map[string]int{}
	c := r.client()
	for _, id := range killTenants {
		for _, app := range []string{"general", "privileged", "client"} {
			k.cloud.control(k.t, http.MethodPost, "/tenants/"+id+"/apps/"+app+"/consent", nil, nil)
		}
		if id != graphsim.Contoso {
			if _, err := c.AddTenant(k.t.Context(), client.NewTenant{TenantID: id, DisplayName: id}); err != nil {
				k.t.Fatal(err)
			}
		}
	}
	for _, id := range killTenants {
		ctx, cancel := context.WithTimeout(k.t.Context(), time.Minute)
		defer cancel()
		if s, err := c.WaitConsent(ctx, id, "", nil); err != nil || s.State != "proven" {
			k.t.Fatalf("consent of %s is %s: %v", id, s.State, err)
		}
		var info graphsim.TenantInfo
		k.cloud.control(k.t, http.MethodGet, "/tenants/"+id, nil, &info)
		for _, d := range info.Devices {
			if !slices.ContainsFunc(reachCall, func(name string) bool { return strings.HasSuffix(d.Name, name) }) {
				continue
			}
			if !d.Online {
				k.cloud.control(k.t, http.MethodPatch, "/tenants/"+id+"/devices/"+d.Name, map[string]any{"online": true}, nil)
			}
			k.workers.Go(func() { k.work(info.Domain, id, d) })
		}
	}
}

// work resets one device again and again, one reset at a time.
func (k *killing) work(domain, tenantID string, d graphsim.DeviceInfo) {
	for n := 0; !k.stop.Load(); n++ {
		before := k.cloud.resets(domain, d.Name)
		path := "/v1/tenants/" + tenantID + "/devices/" + d.ID + "/resets"
		var reset client.Reset
		status := k.until(http.MethodPost, path, fmt.Sprintf("%s-%s-%d", domain, d.Name, n), &reset)
		if status == 0 && k.stop.Load() {
			return // never answered: nothing was promised
		}
		if status != http.StatusAccepted {
			k.t.Errorf("reset of %s: status %d", d.Name, status)
			return
		}
		k.accepted.Add(1)
		var deadline time.Time
		for reset.State == passcode.Accepted || reset.State == passcode.Calling || reset.State == passcode.Waiting {
			if k.stop.Load() && deadline.IsZero() {
				deadline = time.Now().Add(k.patience)
			}
			if !deadline.IsZero() && time.Now().After(deadline) {
				k.t.Errorf("reset %s of %s has not ended: %s, why %q", reset.ID, d.Name, reset.State, reset.Why)
				k.unended.Add(1)
				return
			}
			pass(150 * time.Millisecond)
			if status := k.until(http.MethodGet, "/v1/tenants/"+tenantID+"/resets/"+reset.ID, "", &reset); status != http.StatusOK {
				k.t.Errorf("accepted reset %s of %s: status %d", reset.ID, d.Name, status)
				k.lost.Add(1)
				return
			}
		}
		did := k.cloud.resets(domain, d.Name) - before
		if did > 1 {
			k.t.Errorf("reset %s of %s ended %s %s: the device was reset %d times", reset.ID, d.Name, reset.State, reset.FailureCode, did)
			k.double.Add(int64(did - 1))
		}
		if (reset.State == passcode.Issued || reset.State == passcode.Removed) && did != 1 {
			k.t.Errorf("reset %s of %s ended %s, and the device was reset %d times", reset.ID, d.Name, reset.State, did)
		}
		if reset.State == passcode.Failed && reset.FailureCode != fault.OutcomeUnknown && reset.Diagnostics == "" {
			k.t.Errorf("reset %s of %s failed without a diagnostics link", reset.ID, d.Name)
		}
		k.mu.Lock()
		k.ends[strings.TrimSuffix(string(reset.State)+"/"+string(reset.FailureCode), "/")]++
		k.mu.Unlock()
	}
}

// until sends the request until it is answered; while the server is down it is not. 0: not within a minute.
func (k *killing) until(method, path, key string, into any) (status int) {
	for limit := time.Now().Add(time.Minute); time.Now().Before(limit); {
		status, err := k.send(method, path, key, into)
		if err == nil && status < http.StatusInternalServerError {
			return status
		}
		if method == http.MethodPost {
			k.repeated.Add(1)
			if k.stop.Load() {
				return 0
			}
		}
		pass(50 * time.Millisecond)
	}
	return 0
}

func (k *killing) send(method, path, key string, into any) (int, error) {
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader(`{"reason":"killed in the middle"}`)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+k.listen[int(k.asked.Add(1))%len(k.listen)]+path, body)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+k.token)
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode < 300 {
		err = json.Unmarshal(text, into)
	}
	return res.StatusCode, err
}

// disturb spoils a few of the next calls of one tenant, and makes each call last so long that kills hit it, before it is
// carried out or after.
func (k *killing) disturb() {
	id := killTenants[k.random.IntN(len(killTenants))]
	path := "/tenants/" + id
	k.cloud.control(k.t, http.MethodPatch, path, map[string]any{
		"slow": fmt.Sprintf("%dms", k.random.IntN(200)), "slowAnswer": fmt.Sprintf("%dms", k.random.IntN(300))}, nil)
	faults := []graphsim.Fault{
		{Kind: graphsim.LostAnswer, Family: graphsim.Devices, Count: 2},
		{Kind: graphsim.ExecutedThrottle, Family: graphsim.Devices, RetryAfter: 1},
		{Kind: graphsim.ExecutedThrottle, Family: graphsim.Devices, Status: http.StatusServiceUnavailable},
		{Kind: graphsim.Throttle, Family: graphsim.Devices, WritesOnly: true},
		{Kind: graphsim.Throttle, Family: graphsim.Devices, RetryAfter: 1},
	}
	k.cloud.control(k.t, http.MethodPost, path+"/faults", faults[k.random.IntN(len(faults))], nil)
}

func (k *killing) calm() {
	for _, id := range killTenants {
		k.cloud.control(k.t, http.MethodDelete, "/tenants/"+id+"/faults", nil, nil)
		k.cloud.control(k.t, http.MethodPatch, "/tenants/"+id, map[string]any{"slow": "0s", "slowAnswer": "0s"}, nil)
	}
}

// halfway reports whether the kill left a reset with its intent recorded and no result of the call. It looks at a copy: the
// next start must find the files as the kill left them.
func (k *killing) halfway() bool {
	k.t.Helper()
	dir := filepath.Join(k.t.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(k.dir, "data", "work"))); err != nil {
		k.t.Fatal(err)
	}
	s, err := sqlitework.Open(dir, sqlitework.Options{})
	if err != nil {
		k.t.Fatalf("open a copy of what kill %d left: %v", k.kills, err)
	}
	defer s.Close()
	for _, id := range killTenants {
		page, err := s.List(k.t.Context(), work.Query{Partition: id, Prefix: passcode.ResetPrefix, Limit: 60}) // the newest
		if err != nil {
			k.t.Fatal(err)
		}
		for _, row := range page.Rows {
			var r passcode.Reset
			if err := json.Unmarshal(row.Value, &r); err != nil {
				k.t.Fatal(err)
			}
			if r.State == passcode.Calling && r.CheckID == "" { // every result, lost answers included, sets the next look
				return true
			}
		}
	}
	return false
}

// drain lets what is open end.
func (k *killing) drain() {
	k.stop.Store(true)
	k.workers.Wait()
}

func (k *killing) endings() map[string]int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ends
}

// cloudProcess is `pinreset sim` in a process of its own.
type cloudProcess struct {
	dir   string
	pages string
}

func startCloud(t *testing.T, more ...string) *cloudProcess {
	t.Helper()
	c := &cloudProcess{dir: filepath.Join(t.TempDir(), "cloud")}
	cmd := exec.Command(binary, append([]string{"sim", "--data", c.dir, "--listen", "127.0.0.1:0", "--listen-http", "127.0.0.1:0"}, more...)...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if address, ok := strings.CutPrefix(lines.Text(), "pages "); ok {
			c.pages = strings.TrimSpace(address)
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return c
		}
	}
	t.Fatalf("sim did not start: %s", &errs)
	return nil
}

// control turns a knob of the cloud.
func (c *cloudProcess) control(t *testing.T, method, path string, body, into any) {
	t.Helper()
	if err := c.ask(method, path, body, into); err != nil {
		t.Fatal(err)
	}
}

func (c *cloudProcess) ask(method, path string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if body == nil {
		text = nil
	}
	req, err := http.NewRequest(method, c.pages+"/sim/v1"+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	said, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s %s", method, path, res.Status, said)
	}
	if err == nil && into != nil {
		err = json.Unmarshal(said, into)
	}
	return err
}

// resets is how often the cloud has reset a device.
func (c *cloudProcess) resets(domain, device string) int {
	var counters graphsim.Counters
	if err := c.ask(http.MethodGet, "/counters", nil, &counters); err != nil {
		panic(err) // the cloud is on this machine and is never killed
	}
	for _, t := range counters.Tenants {
		if t.Domain == domain {
			return t.Resets[device]
		}
	}
	return 0
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// kill ends the process as a power switch would, and waits until it is gone.
func (r *running) kill() {
	r.t.Helper()
	if err := r.cmd.Process.Kill(); err != nil {
		r.t.Fatal(err)
	}
	if _, ok := errors.AsType[*exec.ExitError](r.cmd.Wait()); !ok {
		r.t.Fatal("the server had ended before it was killed")
	}
}

func pass(d time.Duration) { <-time.After(d) }
