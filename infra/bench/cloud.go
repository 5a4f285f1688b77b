package main

import (
	"context"
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

// cloud is the simulated tenants, and when they saw each device's reset. They are a process of their own, at a low priority: they
// stand for machines elsewhere, which take no processor time from pinreset.
type cloud struct {
	about
	dir     string
	process *exec.Cmd
	stdin   io.Closer // the tenants end when it is closed
	ended   chan error

	mu   sync.Mutex
	seen map[string]time.Time // by domain and device name
}

// about is what the tenants' process says of itself.
type about struct {
	URL, CAFile         string
	Pages               string // address of the control plane
	General, Privileged graphsim.App
	Tenants             []graphsim.TenantInfo // of the fleet
}

// arrival is what it says of each reset that it has taken.
type arrival struct {
	Domain, Device string
	At             time.Time
}

// cloudRole is the argument that makes this program the simulated tenants.
const cloudRole = "cloud"

// openCloud starts the simulated tenants.
func openCloud(ctx context.Context, dir string) (*cloud, error) {
	return openCloudAs(ctx, dir, cloudRole)
}

// openCloudAs starts this program in a role, with the directory and what else the role takes.
func openCloudAs(ctx context.Context, dir, role string, args ...string) (*cloud, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &cloud{dir: dir, seen: map[string]time.Time{}, ended: make(chan error, 1)}
	command := append([]string{self, role, dir}, args...)
	if nice, err := exec.LookPath("nice"); err == nil {
		command = append([]string{nice, "-n", "15"}, command...)
	}
	c.process = exec.Command(command[0], command[1:]...)
	c.process.Stderr = os.Stderr
	if c.stdin, err = c.process.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := c.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.process.Start(); err != nil {
		return nil, err
	}
	said := json.NewDecoder(stdout)
	if err := said.Decode(&c.about); err != nil {
		return nil, errors.Join(fmt.Errorf("simulated tenants: %w", err), c.stdin.Close(), c.process.Wait())
	}
	go func() { c.ended <- errors.Join(c.listen(said), c.process.Wait()) }()
	for name, secret := range map[string]string{"general": c.General.Secret, "privileged": c.Privileged.Secret} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(secret), 0o600); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, ctx.Err()
}

// listen notes what the tenants say until they end.
func (c *cloud) listen(said *json.Decoder) error {
	for {
		var a arrival
		if err := said.Decode(&a); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		c.mu.Lock()
		c.seen[a.Domain+" "+a.Device] = a.At
		c.mu.Unlock()
	}
}

// Close ends the tenants.
func (c *cloud) Close() error { return errors.Join(c.stdin.Close(), <-c.ended) }

// serveCloud is the simulated tenants, until stdin ends.
func serveCloud(dir string, stdin io.Reader, stdout io.Writer) error {
	var mu sync.Mutex
	out := json.NewEncoder(stdout)
	sim, err := graphsim.Start(graphsim.Options{
		Dir: dir, Fleet: graphsim.Fleet{Tenants: fleetTenants, Devices: fleetDevices},
		Logger: slog.New(watch(func(a arrival) {
			mu.Lock()
			defer mu.Unlock()
			_ = out.Encode(a) // nobody listens any more: it ends soon
		})),
		Timing: graphsim.Timing{EntryDelay: time.Second, PickUp: time.Second, Work: time.Second},
	})
	if err != nil {
		return err
	}
	defer func() { _ = sim.Close() }()
	a := about{URL: sim.URL(), Pages: sim.PagesURL(), CAFile: sim.CAFile()}
	a.General, a.Privileged = sim.Apps()
	for i := range fleetTenants {
		t, err := sim.Tenant(fmt.Sprintf("fleet-%04d", i+1))
		if err != nil {
			return err
		}
		a.Tenants = append(a.Tenants, t)
	}
	mu.Lock()
	err = out.Encode(a)
	mu.Unlock()
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, stdin)
	return err
}

// environment configures pinreset as for real tenants: their addresses, and the authority that signed their certificate.
func (c *cloud) environment() []string {
	return []string{
		"PINRESET_GRAPH=" + c.URL, "PINRESET_AUTHORITY=" + c.URL, "SSL_CERT_FILE=" + c.CAFile,
		"PINRESET_CLIENT_ID=" + c.General.ClientID, "PINRESET_CLIENT_SECRET_FILE=" + filepath.Join(c.dir, "general"),
		"PINRESET_PRIVILEGED_CLIENT_ID=" + c.Privileged.ClientID, "PINRESET_PRIVILEGED_SECRET_FILE=" + filepath.Join(c.dir, "privileged"),
	}
}

// transport trusts the authority that signed the tenants' certificate.
func (c *cloud) transport() (*http.Transport, error) {
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("no certificate in %s", c.CAFile)
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{RootCAs: roots}
	return t, nil
}

// target is a device to reset.
type target struct{ tenant, domain, device, name string }

// targets returns n devices that give a passcode, each once, tenant after tenant so that no two neighbours are of one. skip
// leaves out so many of each tenant.
func (c *cloud) targets(n, skip int) ([]target, error) {
	var list []target
	for i := skip; i < fleetDevices; i++ {
		name := fmt.Sprintf("pixel-%04d", i+1)
		for _, t := range c.Tenants {
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

// watch is a log handler that tells of the resets that are taken.
type watch func(arrival)

func (watch) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }
func (w watch) WithAttrs([]slog.Attr) slog.Handler         { return w }
func (w watch) WithGroup(string) slog.Handler              { return w }

func (w watch) Handle(_ context.Context, r slog.Record) error {
	a := arrival{At: r.Time}
	r.Attrs(func(field slog.Attr) bool {
		switch field.Key {
		case "tenant":
			a.Domain = field.Value.String()
		case "device":
			a.Device = field.Value.String()
		}
		return true
	})
	if a.Device != "" && r.Message == "passcode reset accepted" {
		w(a)
	}
	return nil
}
