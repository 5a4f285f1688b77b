package main

import (
	"context"
	"crypto/rand"
	"net"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"pinreset/shared/client"
	"pinreset/shared/credential/credentialtest"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/passcode"
	"pinreset/shared/secret/keyvault/keyvaulttest"
	"pinreset/shared/work/servicebus"
	"pinreset/shared/work/servicebus/servicebustest"
	"pinreset/shared/work/tables"
	"pinreset/shared/work/tables/tablestest"
)

// busAddress is an address of this machine with the port of Service Bus, which its client always dials.
func busAddress(t *testing.T) (net.IP, net.Listener) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("skipped: only Linux has all of 127.0.0.0/8")
	}
	var b [2]byte
	_, _ = rand.Read(b[:]) // it never fails
	ip := net.IPv4(127, 83, b[0], b[1]|1)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(ip.String(), "5671"))
	if err != nil {
		t.Fatal(err)
	}
	return ip, listener
}

// TestUpByIdentity: two processes work on Table storage, Service Bus and Key Vault that are named by address, in a tenant of the
// simulated cloud, and sign in everywhere by a managed identity: no connection string, no key, no secret. Each reset is made once; what
// failed is announced on the topic; and with tokens for another audience no process starts.
func TestUpByIdentity(t *testing.T) {
	t.Parallel()
	ip, listener := busAddress(t)
	f := newFronts(t, ip)
	connection := tablestest.Emulator(t)
	for _, name := range []string{rowsTable, keysTable} {
		table, err := tables.NewFromConnectionString(connection, tables.Options{Name: name})
		if err == nil {
			err = table.Create(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	const failures = servicebus.AnnouncementTopic + "/Subscriptions/failures"
	c := servicebustest.Config{
		Topics:    []servicebustest.Topic{{Name: servicebus.AnnouncementTopic, Subscriptions: []servicebustest.Subscription{{Name: "failures"}}}},
		Authorize: func(token servicebustest.Token) error { return f.allowed(token.Value, forBus) },
	}
	for _, e := range servicebus.Entities(queueNames(), servicebus.Options{}) {
		c.Queues = append(c.Queues, servicebustest.Queue{Name: e.Name, DuplicateWindow: e.DuplicateWindow})
	}
	bus := servicebustest.New(t, c)
	f.pipe(listener, bus.Addr())
	vault := keyvaulttest.NewServer(t)
	vault.Rotate(t, "pinreset")
	f.vault(vault)
	sim, err := graphsim.Start(graphsim.Options{Dir: t.TempDir(),
		Timing: graphsim.Timing{ReplicationLag: time.Second, EntryDelay: 50 * time.Millisecond, PickUp: 50 * time.Millisecond, Work: 50 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	cloud := f.cloud(sim)
	general, privileged := sim.Apps()
	metadata := credentialtest.NewMetadata(t, map[string]string{identityID: identityObject})
	endpoint, header := metadata.AppService()
	settings := slices.Concat(quickPace, []string{
		"PINRESET_TABLES_URL=" + f.tables(connection), "PINRESET_SERVICEBUS=" + ip.String(), "PINRESET_SERVICEBUS_TOPIC=" + servicebus.AnnouncementTopic,
		"PINRESET_KEY_VAULT_KEY=" + vault.Key("pinreset"),
		"PINRESET_CREDENTIAL=managed-identity", "PINRESET_IDENTITY_CLIENT_ID=" + identityID, "IDENTITY_ENDPOINT=" + endpoint, "IDENTITY_HEADER=" + header,
		"PINRESET_CLIENT_ID=" + general.ClientID, "PINRESET_PRIVILEGED_CLIENT_ID=" + privileged.ClientID,
		"PINRESET_GRAPH=" + cloud, "PINRESET_AUTHORITY=" + cloud, "PINRESET_PUBLIC_URL=http://127.0.0.1",
		"SSL_CERT_FILE=" + f.ca, "HTTPS_PROXY=" + f.proxy(), "NO_PROXY=",
	})

	// An endpoint that gives tokens for something else than was asked for.
	other := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		to, _ := url.Parse(endpoint)
		p.Out.URL.Scheme, p.Out.URL.Host = to.Scheme, to.Host
		q := p.Out.URL.Query()
		q.Set("resource", "https://graph.microsoft.com")
		p.Out.URL.RawQuery = q.Encode()
	}})
	t.Cleanup(other.Close)
	wrong := runBinary(t, append(slices.Clone(settings), "IDENTITY_ENDPOINT="+other.URL+"/msi/token"), nil, "up", "--listen", "127.0.0.1:0", "--data", filepath.Join(t.TempDir(), "data"))
	wrong.has(t, exitError, "Storage Table Data Contributor")
	if f.refusals(forTables) == 0 {
		t.Error("the tables refused no token")
	}

	up := regexp.MustCompile(`Open +(http://[^/]+)(/sign-in\?code=\S+)()`)
	dirs := []string{t.TempDir(), t.TempDir()}
	first := startBinarySaying(t, up, dirs[0], "127.0.0.1:0", settings)
	second := startBinarySaying(t, up, dirs[1], "127.0.0.1:0", settings)
	if _, err := os.Stat(filepath.Join(second.data, "admin-token")); err == nil {
		t.Error("the second process made an administrator's token of its own")
	}
	second.data = first.data
	clients := []*client.Client{first.client(), second.client()}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := clients[0].AddTenant(ctx, client.NewTenant{TenantID: graphsim.Contoso, DisplayName: "Contoso"}); err != nil {
		t.Fatal(err)
	}
	waitProven(t, clients[1])

	var all sync.WaitGroup
	n := 0
	for d, err := range clients[0].Devices(ctx, graphsim.Contoso, "") {
		if err != nil {
			t.Fatal(err)
		}
		want := passcode.Issued
		switch d.Name {
		case "hr-laptop-11": // its platform has no reset
			want = passcode.Failed
		case "sales-pixel-12", "store-kiosk-07", "marketing-galaxy-04", "legal-galaxy-05":
		default:
			continue
		}
		asked, waits := clients[n%2], clients[(n+1)%2]
		n++
		all.Go(func() {
			r, _, err := asked.StartReset(ctx, graphsim.Contoso, d.ID, "forgot it", "")
			if err == nil {
				r, err = waits.WaitReset(ctx, graphsim.Contoso, r.ID, nil)
			}
			if err != nil || r.State != want {
				t.Errorf("the reset of %s is %s (%s), want %s: %v", d.Name, r.State, r.FailureCode, want, err)
				return
			}
			if want != passcode.Issued {
				return
			}
			if shown, err := asked.Reveal(ctx, graphsim.Contoso, r.ID, "on the phone", ""); err != nil || shown.Passcode.Clear() == "" {
				t.Errorf("the code of %s: %v", d.Name, err)
			}
		})
	}
	all.Wait()
	if n != 5 {
		t.Errorf("%d devices were reset, want 5", n)
	}
	if count := sim.Counters().Families[graphsim.Devices]; count.Writes != 4 {
		t.Errorf("the cloud was told to reset %d times, want 4", count.Writes)
	}
	if err := bus.Await(ctx, failures, func(c servicebustest.Counts) bool { return c.Active > 0 }); err != nil {
		t.Errorf("no failure was announced on the topic: %v", err)
	}
	for _, audience := range []string{forBus, forVault, forExchange} {
		if got := f.refusals(audience); got != 0 {
			t.Errorf("%d tokens for %s were refused", got, audience)
		}
	}
	if vault.Requests("wrapkey") == 0 || metadata.Issued() < 4 {
		t.Errorf("the vault wrapped %d keys and the identity had %d tokens", vault.Requests("wrapkey"), metadata.Issued())
	}
}
