// Package graphtest joins the client to a simulated cloud, for tests.
package graphtest

import (
	"crypto/tls"
	"net/http"
	"testing"
	"time"

	"pinreset/shared/graph"
	"pinreset/shared/graph/graphsim"
)

// Quick is a cloud in which things take as little as they can and still take time.
var Quick = graphsim.Timing{ReplicationLag: 4 * time.Second, EntryDelay: time.Second, PickUp: time.Second, Work: time.Second}

// New starts a simulated cloud that lives by the clock, and a client of it. Both end with the test.
func New(t testing.TB, o graphsim.Options, change ...func(*graph.Config)) (*graphsim.Cloud, *graph.Client) {
	t.Helper()
	if o.Timing == (graphsim.Timing{}) {
		o.Timing = Quick
	}
	cloud, err := graphsim.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: cloud.RootCAs()}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := cloud.Close(); err != nil {
			t.Error(err)
		}
	})
	cfg := graph.Config{Graph: cloud.URL(), Authority: cloud.URL(), Transport: transport, DisableInstanceDiscovery: true, Now: o.Now}
	general, privileged := cloud.Apps()
	cfg.App = cfg.SecretApp(general.ClientID, general.Secret)
	second := cfg.SecretApp(privileged.ClientID, privileged.Secret)
	cfg.Privileged = &second
	for _, f := range change {
		f(&cfg)
	}
	client, err := graph.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return cloud, client
}

// DeviceID returns the id of a simulated device by its name.
func DeviceID(t testing.TB, c *graphsim.Cloud, tenant, name string) string {
	t.Helper()
	info, err := c.Tenant(tenant)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range info.Devices {
		if d.Name == name {
			return d.ID
		}
	}
	t.Fatalf("tenant %s has no device %s", tenant, name)
	return ""
}

// Resets returns how often the passcode of a simulated device was effectively reset.
func Resets(t testing.TB, c *graphsim.Cloud, tenant, name string) int {
	t.Helper()
	info, err := c.Tenant(tenant)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range info.Devices {
		if d.Name == name {
			return d.Resets
		}
	}
	t.Fatalf("tenant %s has no device %s", tenant, name)
	return 0
}
