package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pinreset/events"
	"pinreset/shared/client"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/work"
)

const (
	auditTenants = 10_000
	auditDevices = 1 // beside the sample devices
	auditLatency = 150 * time.Millisecond
	auditMost    = 15 * time.Second
	auditMemory  = 128 * megabyte
	// peerTenants are enough to know the rate of the clients that pinreset is compared with; for all of them they would take
	// minutes.
	peerTenants = 500
)

// auditRole is the argument that makes this program the tenants of the audit.
const auditRole = "audit-cloud"

// audit measures an audit of every tenant, from asking for it until the last report is stored. No tenant was read before, so each needs its
// token too. Beside it are two clients that read the same of some of the tenants.
func (b *bench) audit(ctx context.Context) (err error) {
	tenants := b.scaled(auditTenants)
	dir := filepath.Join(b.dir, "audit")
	c, err := openCloudAs(ctx, filepath.Join(dir, "sim"), auditRole, strconv.Itoa(tenants))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	data := filepath.Join(dir, "data")
	s, err := openSeeding(data)
	if err != nil {
		return err
	}
	for list := range slices.Chunk(c.Tenants, work.MaxOperations) {
		if err = s.tenants(ctx, list); err != nil {
			break
		}
	}
	if err := errors.Join(err, s.close()); err != nil {
		return err
	}
	return b.running(ctx, data, c, nil, func(p *process) error {
		if err := b.auditAll(ctx, p, c, tenants); err != nil {
			return err
		}
		return b.auditPeers(ctx, c, min(peerTenants, tenants))
	})
}

// auditAll asks for the audit of every tenant and waits for the last.
func (b *bench) auditAll(ctx context.Context, p *process, c *cloud, tenants int) error {
	api, err := client.New(client.Options{Server: p.url, Token: p.token})
	if err != nil {
		return err
	}
	if err := p.idle(ctx); err != nil {
		return err
	}
	before, cloudBefore, started := p.cpu(), cpuOf(c.process.Process), time.Now()
	if _, err := api.StartAudits(ctx, "measured"); err != nil {
		return err
	}
	// Asking costs the process time of its own, so it is asked seldom while much is left.
	var most int64
	for done, ask := 0, started.Add(time.Second); done < tenants; {
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
		held, err := p.resident()
		if err != nil {
			return err
		}
		most = max(most, held)
		if time.Now().Before(ask) {
			continue
		}
		if done, err = p.ran(ctx, "tenantaudit", "done"); err != nil {
			return err
		}
		gone := time.Since(started)
		left := gone * time.Duration(tenants-done) / time.Duration(max(done, 1))
		ask = time.Now().Add(min(max(left/2, 50*time.Millisecond), 2*time.Second))
		if gone > 10*auditMost {
			return fmt.Errorf("%d of %d tenants audited after %s: %s", done, tenants, gone, p.log)
		}
	}
	took, used, cloudUsed := time.Since(started), p.cpu()-before, cpuOf(c.process.Process)-cloudBefore
	whole, requests, why := 0, 0, ""
	for t, err := range api.LatestAudits(ctx) {
		if err != nil {
			return err
		}
		if t.Audit != nil && t.Audit.Outcome == events.AuditWhole {
			whole, requests = whole+1, requests+t.Audit.Requests
			continue
		}
		if why = t.Tenant + " was never audited"; t.Audit != nil {
			why = fmt.Sprintf("%s: %s %+v", t.Tenant, t.Audit.Outcome, t.Audit.Parts)
		}
	}
	if whole != tenants {
		return fmt.Errorf("%d of %d tenants were read whole; %s", whole, tenants, why)
	}
	said, err := c.throttled(ctx)
	if err != nil {
		return err
	}
	each := func(used time.Duration) float64 { return float64(used.Microseconds()) / 1000 / float64(tenants) }
	note := fmt.Sprintf("%d tenants, %d reads, %s latency a call, published windows; processor time a tenant: %.2f ms, and %.2f ms of the simulated tenants",
		tenants, requests, auditLatency, each(used), each(cloudUsed))
	rate := float64(tenants) / took.Seconds()
	b.table.atMost("audit of every tenant", time.Duration(float64(auditTenants)/rate*float64(time.Second)), auditMost, note)
	b.table.add(row{"audit, answers of 429", strconv.Itoa(said), "0", said > 0, "counted by the simulated tenants"})
	b.table.within("audit, most memory", most, auditMemory, "")
	return nil
}

// idle waits until nothing is left to do of the round of housekeeping that each start begins with.
func (p *process) idle(ctx context.Context) error {
	for quiet := 0; quiet < 3; quiet++ {
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
		waiting, err := p.counted(ctx, "pinreset_queue_depth{", `state="`)
		if err != nil {
			return err
		}
		later, err := p.counted(ctx, "pinreset_queue_depth{", `state="later"`)
		if err != nil {
			return err
		}
		if waiting > later {
			quiet = -1
		}
	}
	return nil
}

// ran is how many runs of a function ended with the verdict.
func (p *process) ran(ctx context.Context, function, verdict string) (int, error) {
	return p.counted(ctx, "pinreset_runs_total{", `function="`+function+`"`, `verdict="`+verdict+`"`)
}

// counted is the sum of the process's own metrics of the name that have the labels.
func (p *process) counted(ctx context.Context, name string, labels ...string) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "Bearer "+p.token)
	answer, err := p.client.Do(r)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("metrics answered %d: %w", answer.StatusCode, err)
	}
	total := 0
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, name) && !slices.ContainsFunc(labels, func(label string) bool { return !strings.Contains(line, label) }) {
			n, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndex(line, " "):]), 64)
			if err != nil {
				return 0, err
			}
			total += int(n)
		}
	}
	return total, nil
}

// throttled is how many calls the simulated tenants answered with 429 since they were last asked.
func (c *cloud) throttled(ctx context.Context) (int, error) {
	var counted graphsim.Counters
	if err := c.control(ctx, http.MethodGet, &counted); err != nil {
		return 0, err
	}
	n := 0
	for _, f := range counted.Families {
		n += f.Throttled
	}
	return n, c.control(ctx, http.MethodDelete, nil)
}

func (c *cloud) control(ctx context.Context, method string, into any) error {
	r, err := http.NewRequestWithContext(ctx, method, c.Pages+"/sim/v1/counters", nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	switch {
	case answer.StatusCode >= 300:
		return fmt.Errorf("control plane answered %d", answer.StatusCode)
	case into == nil:
		return nil
	}
	return json.NewDecoder(answer.Body).Decode(into)
}

// serveAuditCloud is the tenants of the audit, until stdin ends.
func serveAuditCloud(dir, count string, stdin io.Reader, stdout io.Writer) error {
	tenants, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	debug.SetGCPercent(400) // Microsoft has more memory than this machine, and takes none of its processors
	sim, err := graphsim.Start(graphsim.Options{
		Dir: dir, Fleet: graphsim.Fleet{Tenants: tenants, Devices: auditDevices}, Latency: auditLatency, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	defer func() { _ = sim.Close() }()
	a := about{URL: sim.URL(), Pages: sim.PagesURL(), CAFile: sim.CAFile()}
	a.General, a.Privileged = sim.Apps()
	for i := range tenants {
		t, err := sim.Tenant(fmt.Sprintf("fleet-%04d", i+1))
		if err != nil {
			return err
		}
		a.Tenants = append(a.Tenants, graphsim.TenantInfo{ID: t.ID, Domain: t.Domain, Name: t.Name})
	}
	if err := json.NewEncoder(stdout).Encode(a); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, stdin)
	return err
}

// peer is a client that reads of a tenant what an audit reads, without knowing of limits.
type peer struct {
	cloud   *cloud
	http    *http.Client
	retry   bool // a throttled call is made again at once, and only once
	batched bool
	refused atomic.Int64
}

// auditReads are what an audit reads at first, by version.
var auditReads = map[string][]string{
	"v1.0": {
		"/domains?$select=id,authenticationType,isDefault,isVerified",
		"/servicePrincipals(appId='b8456c59-1230-44c7-a4a2-99b085333e84')?$select=id,accountEnabled,isDisabled,disabledByMicrosoftStatus",
		"/servicePrincipals(appId='9115dd05-fad5-4f9c-acc7-305d08b1b04e')?$select=id,accountEnabled,isDisabled,disabledByMicrosoftStatus",
		"/oauth2PermissionGrants",
	},
	"beta": {
		"/deviceManagement/deviceConfigurations?$expand=assignments",
		"/deviceManagement/configurationPolicies?$expand=assignments",
		"/deviceManagement/intents?$expand=assignments",
		"/deviceManagement/managedDevices?$select=id,operatingSystem,osVersion,skuFamily,joinType",
	},
}

// auditPeers measures two clients: one like the best known in the field, ten tenants at once, its batches one after another, and a throttled call
// made again at once; and a naive one, everything at once.
func (b *bench) auditPeers(ctx context.Context, c *cloud, tenants int) error {
	for _, kind := range []struct {
		name     string
		inFlight int
		peer     *peer
	}{
		{"10 in flight, serial batches, one instant retry", 10, &peer{retry: true, batched: true}},
		{"everything at once", tenants, &peer{}},
	} {
		transport, err := c.transport()
		if err != nil {
			return err
		}
		p := kind.peer
		p.cloud, p.http = c, &http.Client{Transport: transport, Timeout: time.Minute}
		if _, err := c.throttled(ctx); err != nil {
			return err
		}
		started := time.Now()
		var all sync.WaitGroup
		var mu sync.Mutex
		var failed error
		free := make(chan struct{}, kind.inFlight)
		for _, t := range c.Tenants[:tenants] {
			free <- struct{}{}
			all.Go(func() {
				defer func() { <-free }()
				if err := p.read(ctx, t.ID); err != nil {
					mu.Lock()
					defer mu.Unlock()
					failed = err
				}
			})
		}
		all.Wait()
		took := time.Since(started)
		transport.CloseIdleConnections()
		if failed != nil {
			return fmt.Errorf("client %q: %w", kind.name, failed)
		}
		whole := time.Duration(float64(took) / float64(tenants) * auditTenants)
		b.table.add(row{figure: "  beside it: " + kind.name, value: fmt.Sprintf("%.0f s", whole.Seconds()),
			note: fmt.Sprintf("%d tenants in %s, extrapolated to %d by its own rate; %d answers of 429", tenants, ms(took), auditTenants, p.refused.Load())})
	}
	return nil
}

// read reads a tenant.
func (p *peer) read(ctx context.Context, tenant string) error {
	token, err := p.token(ctx, tenant)
	if err != nil {
		return err
	}
	if p.batched {
		for version, targets := range auditReads {
			if err := p.batch(ctx, token, version, targets); err != nil {
				return err
			}
		}
		return nil
	}
	var all sync.WaitGroup
	errs := make(chan error, 16)
	for version, targets := range auditReads {
		for _, target := range targets {
			all.Go(func() {
				status, _, err := p.call(ctx, token, http.MethodGet, "/"+version+target, nil)
				if status == http.StatusTooManyRequests {
					p.refused.Add(1)
				}
				errs <- err
			})
		}
	}
	all.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *peer) batch(ctx context.Context, token, version string, targets []string) error {
	type part struct {
		ID     string `json:"id"`
		Method string `json:"method"`
		URL    string `json:"url"`
	}
	for range 2 {
		parts := make([]part, len(targets))
		for i, target := range targets {
			parts[i] = part{strconv.Itoa(i), http.MethodGet, target}
		}
		body, err := json.Marshal(map[string]any{"requests": parts})
		if err != nil {
			return err
		}
		_, said, err := p.call(ctx, token, http.MethodPost, "/"+version+"/$batch", body)
		if err != nil {
			return err
		}
		var answers struct {
			Responses []struct {
				ID     string `json:"id"`
				Status int    `json:"status"`
				Body   any    `json:"body"`
			} `json:"responses"`
		}
		if err := json.Unmarshal(said, &answers); err != nil {
			return err
		}
		var again []string
		for _, r := range answers.Responses {
			if i, err := strconv.Atoi(r.ID); err == nil && r.Status == http.StatusTooManyRequests {
				p.refused.Add(1)
				again = append(again, targets[i])
			}
		}
		if targets = again; len(targets) == 0 || !p.retry {
			return nil
		}
	}
	return nil
}

func (p *peer) token(ctx context.Context, tenant string) (string, error) {
	form := "grant_type=client_credentials&client_id=" + p.cloud.General.ClientID + "&client_secret=" + p.cloud.General.Secret + "&scope=" + p.cloud.URL + "/.default"
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.cloud.URL+"/"+tenant+"/oauth2/v2.0/token", strings.NewReader(form))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := p.http.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	var said struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&said); err != nil || said.Token == "" {
		return "", fmt.Errorf("token of %s: status %d, %w", tenant, answer.StatusCode, err)
	}
	return said.Token, nil
}

func (p *peer) call(ctx context.Context, token, method, target string, body []byte) (status int, said []byte, err error) {
	r, err := http.NewRequestWithContext(ctx, method, p.cloud.URL+target, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	answer, err := p.http.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	said, err = io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusTooManyRequests {
		err = fmt.Errorf("%s %s: %d %.200s", method, target, answer.StatusCode, said)
	}
	return answer.StatusCode, said, err
}
