package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"pinreset/shared/graph/graphsim"
)

// The fleet is wide enough that Microsoft's published windows, 200 device writes in 20 seconds for an application in a
// tenant, bound nothing that is measured.
const (
	fleetTenants = 50
	fleetDevices = 110
)

// cloud is the simulated tenants in this process, and when they saw each device's reset.
type cloud struct {
	sim     *graphsim.Cloud
	dir     string
	tenants []graphsim.TenantInfo // of the fleet

	mu   sync.Mutex
	seen map[string]time.Time // by domain and device name
}

// openCloud starts the simulated tenants.
func openCloud(ctx context.Context, dir string) (*cloud, error) {
	c := &cloud{dir: dir, seen: map[string]time.Time{}}
	var err error
	c.sim, err = graphsim.Start(graphsim.Options{
		Dir: dir, Fleet: graphsim.Fleet{Tenants: fleetTenants, Devices: fleetDevices}, Logger: slog.New(watch{c}),
		Timing: graphsim.Timing{EntryDelay: time.Second, PickUp: time.Second, Work: time.Second},
	})
	if err != nil {
		return nil, err
	}
	general, privileged := c.sim.Apps()
	for name, secret := range map[string]string{"general": general.Secret, "privileged": privileged.Secret} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(secret), 0o600); err != nil {
			return nil, errors.Join(err, c.sim.Close())
		}
	}
	for i := range fleetTenants {
		t, err := c.sim.Tenant(fmt.Sprintf("fleet-%04d", i+1))
		if err != nil {
			return nil, errors.Join(err, c.sim.Close())
		}
		c.tenants = append(c.tenants, t)
	}
	return c, ctx.Err()
}

// environment configures pinreset as for real tenants: their addresses, and the authority that signed their certificate.
func (c *cloud) environment() []string {
	general, privileged := c.sim.Apps()
	return []string{
		"PINRESET_GRAPH=" + c.sim.URL(), "PINRESET_AUTHORITY=" + c.sim.URL(), "SSL_CERT_FILE=" + c.sim.CAFile(),
		"PINRESET_CLIENT_ID=" + general.ClientID, "PINRESET_CLIENT_SECRET_FILE=" + filepath.Join(c.dir, "general"),
		"PINRESET_PRIVILEGED_CLIENT_ID=" + privileged.ClientID, "PINRESET_PRIVILEGED_SECRET_FILE=" + filepath.Join(c.dir, "privileged"),
	}
}

// target is a device to reset.
type target struct{ tenant, domain, device, name string }

// targets returns n devices that give a passcode, each once, tenant after tenant so that no two neighbours are of one. skip
// leaves out so many of each tenant.
func (c *cloud) targets(n, skip int) ([]target, error) {
	var list []target
	for i := skip; i < fleetDevices; i++ {
		name := fmt.Sprintf("pixel-%04d", i+1)
		for _, t := range c.tenants {
			for _, d := range t.Devices {
				if d.Name == name {
					list = append(list, target{t.ID, t.Domain, d.ID, name})
				}
			}
			if len(list) == n {
				return list, nil
			}
		}
	}
	return nil, fmt.Errorf("the fleet has %d devices left, %d are needed", len(list), n)
}

// arrived is when the cloud took the reset of the device; ok is false when it has not.
func (c *cloud) arrived(t target) (at time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok = c.seen[t.domain+" "+t.name]
	return at, ok
}

// watch is a log handler that notes when resets are taken.
type watch struct{ cloud *cloud }

func (watch) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }
func (w watch) WithAttrs([]slog.Attr) slog.Handler         { return w }
func (w watch) WithGroup(string) slog.Handler              { return w }

func (w watch) Handle(_ context.Context, r slog.Record) error {
	var domain, device string
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "tenant":
			domain = a.Value.String()
		case "device":
			device = a.Value.String()
		}
		return true
	})
	if device == "" || r.Message != "passcode reset accepted" {
		return nil
	}
	w.cloud.mu.Lock()
	defer w.cloud.mu.Unlock()
	w.cloud.seen[domain+" "+device] = r.Time
	return nil
}
