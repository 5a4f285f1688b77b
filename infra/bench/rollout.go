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
	"slices"
	"strconv"
	"time"

	"github.com/oklog/ulid/v2"

	"pinreset/events"
	"pinreset/functions/policyrollout"
	"pinreset/shared/dispatch"
	"pinreset/shared/graph"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/host/local"
	"pinreset/shared/onboarding"
	"pinreset/shared/rollout"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

const (
	rolloutTenants = 1_000
	// rolloutCompression is by how much the window of one application over all tenants, 130,000 calls in 10 seconds, is made
	// smaller here, for pinreset and for the simulated tenants alike. At full size two cores never reach it, and nothing would
	// be measured but the cores; with it, the limiter has to fill each window and may not overrun one. The windows of a tenant
	// are the published ones.
	rolloutCompression = 100
	// rolloutWorkers are enough to use a window up well before the next one opens.
	rolloutWorkers = 64
)

// rolloutRole is the argument that makes this program the tenants of the rollout.
const rolloutRole = "rollout-cloud"

// rollouts rolls the policy out to a thousand tenants and writes false to each again: three writes a tenant, in the time that
// the windows less the reserve allow.
func (b *bench) rollouts(ctx context.Context) (err error) {
	dir := filepath.Join(b.dir, "rollout")
	tenants := b.scaled(rolloutTenants)
	said, stop, err := rolloutCloud(ctx, filepath.Join(dir, "sim"), tenants)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	store, err := sqlitework.Open(filepath.Join(dir, "work"), sqlitework.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	limits := graph.PublishedLimits()
	limits.Global.Limit /= rolloutCompression
	client, err := rolloutClient(said, limits)
	if err != nil {
		return err
	}
	f := fleetRollout{store: store, tenants: said.Tenants, entropy: &ulid.LockedMonotonicReader{MonotonicReader: ulid.Monotonic(rand.Reader, 0)}}
	if err := f.register(ctx); err != nil {
		return err
	}
	schedule := policyrollout.DefaultSchedule
	schedule.Looks = []time.Duration{time.Hour} // what devices make of it is not measured here
	handler := &policyrollout.Handler{Directory: client, Policies: client, Store: store, Schedule: schedule,
		Links: onboarding.Links{Microsoft: said.URL, Key: []byte("bench"), NewID: f.newID, Now: time.Now}}
	logger := slog.New(slog.DiscardHandler)
	host := local.New(store, dispatch.New(store, store, []dispatch.Route{handler.Route()}, dispatch.Options{Now: time.Now, NewID: f.newID, Logger: logger}),
		[]local.Queue{{Name: rollout.Queue, Workers: rolloutWorkers}}, logger)

	if err := f.ask(ctx); err != nil {
		return err
	}
	running, end := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); host.Run(running) }()
	defer func() { end(); <-ended }()
	started := time.Now()
	if err := f.until(ctx, func(r rollout.Rollout) bool { return r.State == rollout.Watching }); err != nil {
		return err
	}
	if err := f.takeBack(ctx); err != nil {
		return err
	}
	if err := f.until(ctx, func(r rollout.Rollout) bool { return r.Rollback != nil && !r.Rollback.FalseAt.IsZero() }); err != nil {
		return err
	}
	took := time.Since(started)

	calls, writes, throttled, put := 0, 0, 0, 0
	for _, family := range client.Snapshot().Families {
		calls, writes, throttled, put = calls+family.Calls, writes+family.Writes, throttled+family.Throttled, put+family.Refused
	}
	share := int(float64(limits.Global.Limit) * (1 - graph.DefaultReserve))
	bound := time.Duration((calls-1)/share) * limits.Global.Per
	note := fmt.Sprintf("%d tenants, %d writes of %d calls; windows of 1/%d: %d calls in %s, less the reserve %d; %d calls put off; bound %s",
		tenants, writes, calls, rolloutCompression, limits.Global.Limit, limits.Global.Per, share, put, bound)
	b.table.add(row{"rollout, time over the bound of the windows", fmt.Sprintf("%.1f s, %+.1f %%", took.Seconds(), 100*(took.Seconds()/bound.Seconds()-1)),
		"≤ 2 %", took > bound+bound/50, note})
	b.table.add(row{"rollout, answers of 429", strconv.Itoa(throttled), "0", throttled > 0, "the simulated tenants enforce the same windows"})
	if writes != 3*tenants {
		return fmt.Errorf("%d writes for %d tenants, want three each", writes, tenants)
	}
	return nil
}

// fleetRollout is the rollouts of all tenants.
type fleetRollout struct {
	store   *sqlitework.Store
	tenants []graphsim.TenantInfo
	ids     []string // of rollouts, by tenant
	entropy *ulid.LockedMonotonicReader
}

func (f *fleetRollout) newID() string { return ulid.MustNew(ulid.Now(), f.entropy).String() }

func (f *fleetRollout) register(ctx context.Context) error {
	s := seeding{work: f.store}
	for list := range slices.Chunk(f.tenants, work.MaxOperations) {
		if err := s.tenants(ctx, list); err != nil {
			return err
		}
	}
	return nil
}

func (f *fleetRollout) change(ctx context.Context, fn func(u *work.Unit, i int) error) error {
	for i, t := range f.tenants {
		u := work.NewUnit(f.store, t.ID, time.Now(), f.newID)
		if err := errors.Join(fn(u, i), u.Commit(ctx)); err != nil {
			return fmt.Errorf("tenant %s: %w", t.Name, err)
		}
	}
	return nil
}

func (f *fleetRollout) ask(ctx context.Context) error {
	f.ids = make([]string, len(f.tenants))
	return f.change(ctx, func(u *work.Unit, i int) error {
		f.ids[i] = u.NewID()
		_, _, err := rollout.Accept(ctx, u, events.PolicyRolloutRequested{
			RequestID: f.ids[i], Shape: events.ShapeOMAURI, AllUsers: true, Reason: "measured", By: events.Pinreset(),
		})
		return err
	})
}

func (f *fleetRollout) takeBack(ctx context.Context) error {
	return f.change(ctx, func(u *work.Unit, i int) error {
		d := events.PolicyRollbackRequested{RequestID: u.NewID(), RolloutID: f.ids[i], Reason: "measured", By: events.Pinreset()}
		_, err := rollout.Withdraw(ctx, u, d)
		if err == nil {
			_, err = u.Send(ctx, rollout.Queue, time.Time{}, d)
		}
		return err
	})
}

// until waits until done is so of every tenant's rollout.
func (f *fleetRollout) until(ctx context.Context, done func(rollout.Rollout) bool) error {
	for i, t := range f.tenants {
		for {
			r, err := rollout.Read(ctx, work.NewUnit(f.store, t.ID, time.Now(), f.newID), f.ids[i])
			if err != nil {
				return err
			}
			if done(r) {
				break
			}
			if r.State == rollout.Failed {
				return fmt.Errorf("rollout of %s failed: %s", t.Name, r.FailureCode)
			}
			if err := sleep(ctx, 20*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return nil
}

// rolloutClient is pinreset's client with the smaller window. Its calls wait for their turn: a run that is put off begins
// anew, and would use up permits for what it had read already.
func rolloutClient(said about, limits graph.Limits) (*graph.Client, error) {
	pem, err := os.ReadFile(said.CAFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", said.CAFile)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	transport.MaxIdleConnsPerHost = rolloutWorkers
	cfg := graph.Config{Graph: said.URL, Authority: said.URL, Transport: transport, DisableInstanceDiscovery: true, Limits: &limits,
		WaitBulk: time.Minute, Timeout: 2 * time.Minute}
	cfg.App = cfg.SecretApp(said.General.ClientID, said.General.Secret)
	return graph.New(cfg)
}

// rolloutCloud starts the tenants in a process of their own. stop ends them.
func rolloutCloud(ctx context.Context, dir string, tenants int) (said about, stop func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return said, nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return said, nil, err
	}
	process := exec.CommandContext(ctx, self, rolloutRole, dir, strconv.Itoa(tenants))
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
		return said, nil, errors.Join(fmt.Errorf("simulated tenants: %w", err), stop())
	}
	return said, stop, nil
}

// serveRolloutCloud is the tenants, until stdin ends.
func serveRolloutCloud(dir, count string, stdin io.Reader, stdout io.Writer) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	sim, err := graphsim.Start(graphsim.Options{
		Dir: dir, Fleet: graphsim.Fleet{Tenants: n},
		Limits: graphsim.Limits{AppRequests: graphsim.Limit{N: 130_000 / rolloutCompression, Per: 10 * time.Second}},
	})
	if err != nil {
		return err
	}
	defer func() { _ = sim.Close() }()
	a := about{URL: sim.URL(), CAFile: sim.CAFile()}
	a.General, a.Privileged = sim.Apps()
	for i := range n {
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
