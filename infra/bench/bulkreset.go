package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"pinreset/events"
	"pinreset/functions/bulkreset"
	"pinreset/functions/passcodereset"
	"pinreset/shared/dispatch"
	"pinreset/shared/graph"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/host/local"
	"pinreset/shared/passcode"
	"pinreset/shared/secret"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

const (
	bulkDevices = 5_000
	// bulkCompression is by how much the published window of device actions, 200 writes in 20 seconds for an application in a
	// tenant, is made shorter here, for pinreset and for the simulated tenant alike, and so is the latency of 150 ms a call.
	// Everything that is measured is told in the time of the published window.
	bulkCompression = 4
	bulkLatency     = 150 * time.Millisecond
	// deskEvery is how often the help desk resets a device of the same tenant meanwhile, in compressed time.
	deskEvery = 500 * time.Millisecond
)

// bulkRole is the argument that makes this program the tenant of the bulk reset.
const bulkRole = "bulk-cloud"

// bulkreset resets the passcodes of all devices of one tenant, while the help desk resets some of them for people.
func (b *bench) bulkreset(ctx context.Context) (err error) {
	dir := filepath.Join(b.dir, "bulkreset")
	devices := b.scaled(bulkDevices)
	said, stop, err := bulkCloud(ctx, filepath.Join(dir, "sim"), devices)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	store, err := sqlitework.Open(filepath.Join(dir, "work"), sqlitework.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	keys, err := sqlitework.Open(filepath.Join(dir, "keys"), sqlitework.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keys.Close()) }()
	kek, err := secret.OpenLocalKey(filepath.Join(dir, "root-key"))
	if err != nil {
		return err
	}
	limits := graph.PublishedLimits()
	for name, f := range limits.Families {
		f.Any.Per, f.Write.Per = f.Any.Per/bulkCompression, f.Write.Per/bulkCompression
		limits.Families[name] = f
	}
	client, err := bulkClient(said, limits)
	if err != nil {
		return err
	}
	run := &bulkRun{store: store, tenant: said.Tenants[0].ID, entropy: &ulid.LockedMonotonicReader{MonotonicReader: ulid.Monotonic(rand.Reader, 0)}, desk: map[time.Time]bool{}}
	schedule := passcodereset.DefaultSchedule
	schedule.Looks = []time.Duration{4 * time.Second, 10 * time.Second, time.Minute}
	logger := slog.New(slog.DiscardHandler)
	routes := []dispatch.Route{
		(&passcodereset.Handler{Devices: client, Vault: secret.NewVault(keys, kek, time.Now), Store: store, Schedule: schedule, Called: run.called}).Route(),
		(&bulkreset.Handler{Intune: client, Store: store}).Route(),
	}
	host := local.New(store, dispatch.New(store, store, routes, dispatch.Options{Now: time.Now, NewID: run.newID, Logger: logger}), []local.Queue{
		{Name: passcode.Queue, Workers: 32}, {Name: passcode.Queue.Bulk(), Workers: 64}, {Name: passcode.BulkQueue.Bulk(), Workers: 2},
	}, logger)
	u := run.unit(tenant.Partition)
	_, err = tenant.Add(u, run.tenant, "bench", events.Pinreset())
	if err := errors.Join(err, u.Commit(ctx)); err != nil {
		return err
	}
	running, end := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); host.Run(running) }()
	defer func() { end(); <-ended }()
	total, err := run.all(ctx)
	if err != nil {
		return err
	}

	writes, throttled := 0, 0
	for _, family := range client.Snapshot().Families {
		if family.Family == graph.Devices {
			writes = family.Writes
		}
		throttled += family.Throttled
	}
	run.mu.Lock()
	defer run.mu.Unlock()
	w := client.BulkWrites(graph.Devices)
	took := run.last.Sub(run.first) * bulkCompression
	bound := time.Duration((total-1)/w.Limit) * w.Per * bulkCompression
	note := fmt.Sprintf("%d devices of one tenant, %d calls in all; %d in %s, the limit less the reserve; bound %s; clock compressed %d times, %s a call",
		total, writes, w.Limit, w.Per*bulkCompression, bound, bulkCompression, bulkLatency)
	b.table.add(row{"bulk reset, time over the bound of the window", fmt.Sprintf("%.1f s, %+.1f %%", took.Seconds(), 100*(took.Seconds()/bound.Seconds()-1)),
		"≤ 2 %", took > bound+bound/50, note})
	b.table.add(row{"bulk reset, answers of 429", strconv.Itoa(throttled), "0", throttled > 0, "the simulated tenant enforces the same window"})
	if len(run.waits) == 0 {
		return errors.New("the help desk reset nothing meanwhile")
	}
	b.table.atMost("help-desk reset in that tenant meanwhile, p99", quantile(run.waits, 0.99)*bulkCompression, time.Second,
		fmt.Sprintf("accepted → Graph has taken the call, %d resets; median %s; in the time of the published window", len(run.waits), ms(quantile(run.waits, 0.5)*bulkCompression)))
	return nil
}

// bulkRun is one bulk reset and the help desk beside it.
type bulkRun struct {
	store   *sqlitework.Store
	tenant  string
	entropy *ulid.LockedMonotonicReader

	mu          sync.Mutex
	desk        map[time.Time]bool // when the help desk asked
	waits       []time.Duration    // until Graph had taken the call
	first, last time.Time          // calls of the bulk reset
}

func (r *bulkRun) newID() string { return ulid.MustNew(ulid.Now(), r.entropy).String() }

func (r *bulkRun) unit(partition string) *work.Unit {
	return work.NewUnit(r.store, partition, time.Now(), r.newID)
}

func (r *bulkRun) called(requested time.Time) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.desk[requested.UTC()] {
		r.waits = append(r.waits, now.Sub(requested))
		return
	}
	if r.first.IsZero() {
		r.first = now
	}
	r.last = now
}

// all runs the bulk reset until every device has been called, and returns how many they are.
func (r *bulkRun) all(ctx context.Context) (int, error) {
	u := r.unit(r.tenant)
	b, err := passcode.AcceptBulk(ctx, u, passcode.Bulk{Reason: "bench", By: events.Pinreset()})
	if err := errors.Join(err, u.Commit(ctx)); err != nil {
		return 0, err
	}
	var turn []string // devices, those whose turn comes last first
	ticks := time.NewTicker(deskEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-ticks.C:
		}
		if b, err = passcode.ReadBulk(ctx, r.unit(r.tenant), b.ID); err != nil {
			return 0, err
		}
		switch {
		case b.State == passcode.BulkFailed:
			return 0, fmt.Errorf("bulk reset failed: %s", b.FailureCode)
		case b.State == passcode.BulkFinding:
			continue
		case b.BegunAll && b.Tally.Total > 0 && b.Tally.Uncalled() == 0:
			return b.Tally.Total - b.Tally.Skipped, nil
		}
		if turn == nil {
			items, err := r.items(ctx, b.ID)
			if err != nil {
				return 0, err
			}
			for i := len(items) - 1; i >= 0 && len(items)-i <= len(items)/2; i-- {
				turn = append(turn, items[i].DeviceID)
			}
		}
		if b.Begun > b.Tally.Total-len(turn)/2 || len(turn) < 2 {
			continue // the turn of those devices has come
		}
		device := turn[0]
		turn = turn[1:]
		if err := r.helpDesk(ctx, device); err != nil {
			return 0, err
		}
	}
}

func (r *bulkRun) items(ctx context.Context, id string) (all []passcode.Item, err error) {
	for page := ""; ; {
		items, next, err := passcode.Items(ctx, r.store, r.tenant, id, 1000, page)
		if err != nil {
			return nil, err
		}
		all = append(all, items...)
		if page = next; next == "" {
			return all, nil
		}
	}
}

func (r *bulkRun) helpDesk(ctx context.Context, device string) error {
	u := r.unit(r.tenant)
	_, existing, err := passcode.Accept(ctx, u, events.PasscodeResetRequested{RequestID: r.newID(), DeviceID: device, Reason: "at the desk", By: events.Pinreset()})
	if err != nil || existing {
		return err
	}
	r.mu.Lock()
	r.desk[u.Now()] = true
	r.mu.Unlock()
	return u.Commit(ctx)
}

// bulkCloud starts the simulated tenant in a process of its own.
func bulkCloud(ctx context.Context, dir string, devices int) (said about, stop func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return said, nil, err
	}
	command := []string{self, bulkRole, dir, strconv.Itoa(devices)}
	if nice, err := exec.LookPath("nice"); err == nil {
		command = append([]string{nice, "-n", "15"}, command...)
	}
	process := exec.CommandContext(ctx, command[0], command[1:]...)
	process.Stderr = os.Stderr
	stdin, err := process.StdinPipe()
	if err != nil {
		return said, nil, err
	}
	stdout, err := process.StdoutPipe()
	if err != nil {
		return said, nil, err
	}
	if err := process.Start(); err != nil {
		return said, nil, err
	}
	stop = func() error { return errors.Join(stdin.Close(), process.Wait()) }
	if err := json.NewDecoder(stdout).Decode(&said); err != nil {
		return said, nil, errors.Join(fmt.Errorf("simulated tenant: %w", err), stop())
	}
	return said, stop, nil
}

// serveBulkCloud is the simulated tenant, until stdin ends.
func serveBulkCloud(dir, devices string, stdin io.Reader, stdout io.Writer) error {
	n, err := strconv.Atoi(devices)
	if err != nil {
		return err
	}
	span := 20 * time.Second / bulkCompression
	sim, err := graphsim.Start(graphsim.Options{
		Dir: dir, Fleet: graphsim.Fleet{Tenants: 1, Devices: n},
		Timing: graphsim.Timing{EntryDelay: time.Second / bulkCompression, PickUp: time.Second, Work: time.Second},
		Limits: graphsim.Limits{
			DeviceWrites: graphsim.Limit{N: 200, Per: span}, DeviceRequests: graphsim.Limit{N: 2_000, Per: span},
			TenantDeviceWrites: graphsim.Limit{N: 400, Per: span}, TenantDeviceRequests: graphsim.Limit{N: 4_000, Per: span},
		},
	})
	if err != nil {
		return err
	}
	defer func() { _ = sim.Close() }()
	latency := bulkLatency / bulkCompression
	if err := sim.AdjustTenant("fleet-0001", graphsim.TenantKnobs{Slow: &latency}); err != nil {
		return err
	}
	a := about{URL: sim.URL(), CAFile: sim.CAFile()}
	a.General, a.Privileged = sim.Apps()
	t, err := sim.Tenant("fleet-0001")
	if err != nil {
		return err
	}
	t.Devices = nil // pinreset finds them by itself
	a.Tenants = []graphsim.TenantInfo{t}
	if err := json.NewEncoder(stdout).Encode(a); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, stdin)
	return err
}

func bulkClient(said about, limits graph.Limits) (*graph.Client, error) {
	pem, err := os.ReadFile(said.CAFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate authority of the simulated tenant")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	transport.MaxIdleConnsPerHost = 128
	cfg := graph.Config{Graph: said.URL, Authority: said.URL, Transport: transport, DisableInstanceDiscovery: true, Limits: &limits}
	cfg.App = cfg.SecretApp(said.General.ClientID, said.General.Secret)
	second := cfg.SecretApp(said.Privileged.ClientID, said.Privileged.Secret)
	cfg.Privileged = &second
	return graph.New(cfg)
}
