package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pinreset/shared/client"
	"pinreset/shared/graph"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/passcode"
	"pinreset/shared/work/servicebus"
	"pinreset/shared/work/servicebus/servicebustest"
	"pinreset/shared/work/tables/tablestest"
)

// The whole run: go test ./functions -run UpOnServices -timeout 30m -args -services-resets 2000 -services-kills 30
var (
	servicesResets = flag.Int("services-resets", 200, "TestUpOnServices: at least so many accepted resets")
	servicesKills  = flag.Int("services-kills", 6, "TestUpOnServices: at least so many kills of a process; connections are cut as often")
)

// services are models of Azure's services, and the settings that name them.
type services struct {
	bus      *servicebustest.Server
	settings []string
}

// startServices starts Azurite, and a model of Service Bus with the queues that the program is made for.
func startServices(t *testing.T) services {
	t.Helper()
	var c servicebustest.Config
	for _, e := range servicebus.Entities(queueNames(), servicebus.Options{}) {
		c.Queues = append(c.Queues, servicebustest.Queue{Name: e.Name, DuplicateWindow: e.DuplicateWindow, Delivery: servicebustest.Delivery{
			LockDuration: 5 * time.Second, // what a killed process held comes again before long
			// Far more than the template's, because here processes are killed all the time.
			MaxDeliveryCount: 1000,
		}})
	}
	s := services{bus: servicebustest.New(t, c)}
	dir := t.TempDir()
	for name, text := range map[string]string{"TABLES_CONNECTION_FILE": tablestest.Emulator(t), "SERVICEBUS_CONNECTION_FILE": s.bus.ConnectionString()} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		s.settings = append(s.settings, "PINRESET_"+name+"="+file)
	}
	s.settings = append(s.settings, "PINRESET_ROOT_KEY_FILE="+filepath.Join(dir, "root-key"))
	return s
}

// TestUpOnServices: two servers share the work of a few tenants over models of Table storage and Service Bus, while they are killed
// (SIGKILL) in turn and connections to Service Bus are cut, at random. Then all is calm, and what [TestKill] asks of one process is
// asked of both: nothing lost, nothing twice, nothing unended. Graph's model, which keeps the published limits, refused no call for them.
func TestUpOnServices(t *testing.T) {
	if testing.Short() {
		t.Skip("takes about a minute")
	}
	t.Parallel()
	seed := *killSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	s := startServices(t)
	k := &killing{t: t, random: rand.New(rand.NewPCG(seed, 2)), listen: []string{freeAddress(t), freeAddress(t)}, patience: 3 * time.Minute,
		cloud: startCloud(t, "--entry-delay", "100ms", "--pick-up", "200ms", "--work", "200ms", "--replication-lag", "1s")}
	dirs := []string{t.TempDir(), t.TempDir()}
	start := func(i int) *running {
		t.Helper()
		return startBinaryAt(t, dirs[i], k.listen[i], slices.Concat(quickPace, s.settings), "--sim-at", k.cloud.dir)
	}
	began := time.Now()
	processes := []*running{start(0), start(1)}
	if _, err := os.Stat(filepath.Join(dirs[1], "data", "admin-token")); err == nil {
		t.Error("the second process made an administrator's token of its own")
	}
	k.load(processes[0])

	cuts := 0
	limit := time.Now().Add(3*time.Minute + time.Duration(*servicesResets/2)*time.Second)
	for k.kills < *servicesKills || k.accepted.Load() < int64(*servicesResets) {
		if time.Now().After(limit) {
			break
		}
		id := killTenants[k.random.IntN(len(killTenants))]
		k.cloud.control(t, http.MethodPost, "/tenants/"+id+"/faults", graphsim.Fault{Kind: graphsim.LostAnswer, Family: graphsim.Devices, Count: 1}, nil)
		pass(time.Duration(500+k.random.IntN(2500)) * time.Millisecond)
		switch k.random.IntN(3) {
		case 0:
			s.bus.DropConnections()
		case 1:
			s.bus.LoseAnswer(servicebustest.Settle, "", 1)
		default:
			s.bus.LoseAnswer(servicebustest.Send, "", 1)
		}
		cuts++
		if k.kills < *servicesKills || k.random.IntN(4) == 0 {
			pass(time.Duration(500+k.random.IntN(2500)) * time.Millisecond)
			i := k.random.IntN(len(processes))
			processes[i].kill()
			k.kills++
			processes[i] = start(i)
		}
	}
	s.bus.Heal()
	k.calm()
	k.drain()
	throttled := k.throttled()
	fmt.Printf("services: processes=%d kills=%d cuts=%d accepted=%d lost=%d double=%d unended=%d throttled=%d repeated_requests=%d ends=%v seed=%d took=%s\n",
		len(processes), k.kills, cuts, k.accepted.Load(), k.lost.Load(), k.double.Load(), k.unended.Load(), throttled, k.repeated.Load(), k.endings(), seed,
		time.Since(began).Round(time.Second))
	if k.kills < *servicesKills || k.accepted.Load() < int64(*servicesResets) {
		t.Errorf("want at least %d kills and %d accepted resets", *servicesKills, *servicesResets)
	}
	if k.lost.Load() != 0 || k.double.Load() != 0 || k.unended.Load() != 0 || throttled != 0 {
		t.Errorf("want nothing lost, doubled, unended or throttled; run again with -args -kill-seed %d", seed)
	}
	for _, q := range queueNames() {
		if n := s.bus.Counts(string(q)).DeadLettered; n != 0 {
			t.Errorf("%d messages of %s are dead letters", n, q)
		}
	}
}

// throttled is how many calls the cloud has refused for its limits.
func (k *killing) throttled() (n int) {
	var counters graphsim.Counters
	k.cloud.control(k.t, http.MethodGet, "/counters", nil, &counters)
	for _, f := range counters.Families {
		n += f.Throttled
	}
	return n
}

// TestServicesShareOneWindow: two servers are asked for more resets in one tenant than a window takes; it is small, so that
// few devices fill it. Both work, calls are held back, and Graph's model refuses none.
func TestServicesShareOneWindow(t *testing.T) {
	t.Parallel()
	const writes, window, rounds = 20, 8 * time.Second, 4
	s, dir := startServices(t), t.TempDir()
	cloud, err := graphsim.Start(graphsim.Options{Dir: dir, Limits: graphsim.Limits{DeviceWrites: graphsim.Limit{N: writes, Per: window}},
		Timing: graphsim.Timing{ReplicationLag: time.Second, EntryDelay: 50 * time.Millisecond, PickUp: 50 * time.Millisecond, Work: 50 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cloud.Close() })
	limits := graph.PublishedLimits()
	devices := limits.Families[graph.Devices]
	devices.Write = graph.Window{Limit: writes, Per: window}
	limits.Families[graph.Devices] = devices
	quick := defaultPace
	quick.reset.Looks = []time.Duration{300 * time.Millisecond}
	var servers []*server
	var clients []*client.Client
	data := filepath.Join(t.TempDir(), "data")
	for i := range 2 {
		one, err := s.begin(t, map[string]string{"PINRESET_SIM_AT": dir, "PINRESET_DATA": data}, startOptions{pace: quick, limits: &limits, logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := one.stop(); err != nil {
				t.Error(err)
			}
		})
		token, err := os.ReadFile(filepath.Join(data, "admin-token"))
		if err != nil {
			t.Fatal(err)
		}
		c, err := client.New(client.Options{Server: one.url, Token: strings.TrimSpace(string(token))})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			waitProven(t, c)
		}
		servers, clients = append(servers, one), append(clients, c)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var all sync.WaitGroup
	resets := 0
	for d, err := range clients[0].Devices(ctx, graphsim.Contoso, "") {
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(reachCall, d.Name) || d.Name == "field-pixel-offline" || d.Name == "flaky-tablet-03" {
			continue
		}
		resets += rounds
		all.Go(func() {
			for n := range rounds {
				r, _, err := clients[n%2].StartReset(ctx, graphsim.Contoso, d.ID, "the window is full", "")
				if err == nil {
					_, err = clients[(n+1)%2].WaitReset(ctx, graphsim.Contoso, r.ID, nil)
				}
				if err != nil {
					t.Errorf("reset of %s: %v", d.Name, err)
					return
				}
			}
		})
	}
	all.Wait()
	count := cloud.Counters().Families[graphsim.Devices]
	if resets <= writes || count.Writes < resets || count.Throttled != 0 || count.TooEarly != 0 {
		t.Errorf("%d resets, windows of %d: Graph's model counts %+v", resets, writes, count)
	}
	var held int64
	for i, one := range servers {
		for _, f := range one.graph.Snapshot().Families {
			if f.Family != graph.Devices {
				continue
			}
			t.Logf("process %d: %d calls, %d held back", i, f.Calls, f.Waited+f.Refused)
			held += int64(f.Waited + f.Refused)
			if f.Calls == 0 {
				t.Errorf("process %d made no call", i)
			}
		}
	}
	if held == 0 {
		t.Error("no call was held back")
	}
}

// begin starts a server in this process on the services; change is over its settings.
func (s services) begin(t *testing.T, change map[string]string, o startOptions) (*server, error) {
	t.Helper()
	env := map[string]string{"PINRESET_DATA": filepath.Join(t.TempDir(), "data"), "PINRESET_LISTEN": "127.0.0.1:0"}
	for _, pair := range s.settings {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	maps.Copy(env, change)
	c, err := loadConfig(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	return start(t.Context(), c, o)
}

// TestServicesAtStart: what would show only when a person needs a code, or when the first message is sent, is told at the start.
func TestServicesAtStart(t *testing.T) {
	t.Parallel()
	s := startServices(t)
	dir := t.TempDir()
	cloud, err := graphsim.Start(graphsim.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cloud.Close() })
	begin := func(change map[string]string) (*server, error) {
		settings := map[string]string{"PINRESET_SIM_AT": dir}
		maps.Copy(settings, change)
		return s.begin(t, settings, startOptions{pace: defaultPace, logger: slog.New(slog.DiscardHandler)})
	}
	first, err := begin(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := first.stop(); err != nil {
			t.Error(err)
		}
	})
	if _, err := begin(map[string]string{"PINRESET_ROOT_KEY_FILE": filepath.Join(t.TempDir(), "another")}); !errors.Is(err, errOtherRoot) {
		t.Errorf("with another root key: %v", err)
	}
	empty := servicebustest.New(t, servicebustest.Config{Queues: []servicebustest.Queue{{Name: "another"}}})
	file := filepath.Join(t.TempDir(), "bus")
	if err := os.WriteFile(file, []byte(empty.ConnectionString()), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := begin(map[string]string{"PINRESET_SERVICEBUS_CONNECTION_FILE": file}); !errors.Is(err, servicebus.ErrNoEntity) || !strings.Contains(err.Error(), string(passcode.Queue.Bulk())) {
		t.Errorf("without queues: %v", err)
	}
	if _, err := begin(map[string]string{"PINRESET_SERVICEBUS_TOPIC": "no-topic"}); !errors.Is(err, servicebus.ErrNoEntity) || !strings.Contains(err.Error(), "no-topic") {
		t.Errorf("without the topic: %v", err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := begin(map[string]string{"PINRESET_TABLES_CONNECTION_FILE": file}); err == nil || !strings.Contains(err.Error(), "connection string of tables") {
		t.Errorf("without a connection string: %v", err)
	}
	if err := first.ready(t.Context()); err != nil {
		t.Errorf("the first process: %v", err)
	}

	refused := runBinary(t, s.settings, nil, "backup", filepath.Join(t.TempDir(), "backup"))
	refused.has(t, exitError, "rows are in Azure's services")
	found := runBinary(t, append([]string{"PINRESET_SIM_AT=" + dir}, s.settings...), nil, "doctor", "-o", "json")
	for _, check := range []string{"table " + rowsTable, "table " + keysTable, "queues of Service Bus"} {
		if !regexp.MustCompile(`"check":\s*"` + check + `",\s*"state":\s*"ok"`).MatchString(found.out) {
			t.Errorf("the doctor does not find %s in order:\n%s%s", check, found.out, found.err)
		}
	}
}

// TestServicesAreChosen: both services or neither, each named once, with a root key that all processes share; and no mistake quotes what
// may be a key.
func TestServicesAreChosen(t *testing.T) {
	t.Parallel()
	const (
		app   = "CLIENT_ID=6d2f0d0e-55f4-4b7e-b3ad-0f5d0d7a6c01 CREDENTIAL=managed-identity IDENTITY_CLIENT_ID=c "
		both  = "TABLES_URL=https://example.table.core.windows.net SERVICEBUS=example.servicebus.windows.net "
		files = "TABLES_CONNECTION_FILE=a SERVICEBUS_CONNECTION_FILE=b "
		vault = "KEY_VAULT_KEY=https://example.vault.azure.net/keys/pinreset "
	)
	for _, c := range []struct {
		set  string
		want []string // names of variables; none: it is good
	}{
		{app + both + vault, nil},
		{app + both + "ROOT_KEY_FILE=r", nil},
		{app + both + vault + "SIGNIN_CLIENT_ID=6d2f0d0e-55f4-4b7e-b3ad-0f5d0d7a6c02", nil}, // it trusts the identity
		{"CLIENT_ID=a CLIENT_SECRET_FILE=s HOME_TENANT=h SIGNIN_CLIENT_ID=6d2f0d0e-55f4-4b7e-b3ad-0f5d0d7a6c02 " + both + "ROOT_KEY_FILE=r", []string{"SIGNIN_CLIENT_SECRET_FILE"}},
		{files + "ROOT_KEY_FILE=r", nil},
		{"CLIENT_ID=a CLIENT_SECRET_FILE=s HOME_TENANT=h " + both + "ROOT_KEY_FILE=r", nil},

		{"CLIENT_ID=a CLIENT_SECRET_FILE=s " + both + "ROOT_KEY_FILE=r", []string{"HOME_TENANT"}},
		{app + both, []string{"KEY_VAULT_KEY"}},
		{files, []string{"KEY_VAULT_KEY"}},
		{app + both + vault + "ROOT_KEY_FILE=r", []string{"ROOT_KEY_FILE"}},
		{files + "ROOT_KEY_FILE=r SERVICEBUS_TOPIC=announcements", nil},
		{app + "TABLES_URL=https://x.table.core.windows.net SQS_URL=https://sqs.eu-central-1.amazonaws.com/123456789012/ AWS_REGION=eu-central-1 SNS_TOPIC=arn:aws:sns:eu-central-1:123456789012:a " + vault, nil},
		{app + "TABLES_URL=https://x.table.core.windows.net SQS_URL=https://sqs.eu-central-1.amazonaws.com/123456789012/ " + vault, []string{"SQS_URL"}},
		{app + "TABLES_URL=https://x.table.core.windows.net SQS_URL=http://sqs.example.com/1/ AWS_REGION=eu-central-1 " + vault, []string{"SQS_URL"}},
		{app + both + vault + "SQS_URL=https://sqs.eu-central-1.amazonaws.com/123456789012/ AWS_REGION=eu-central-1", []string{"SERVICEBUS_TOPIC"}},
		{app + both + vault + "SQS_URL=https://sqs.eu-central-1.amazonaws.com/123456789012/ AWS_REGION=eu-central-1 SERVICEBUS_TOPIC=announcements", nil},
		{"SQS_URL=https://sqs.eu-central-1.amazonaws.com/123456789012/ AWS_REGION=eu-central-1", []string{"TABLES_URL"}},
		{"SNS_TOPIC=a", []string{"SNS_TOPIC", "SNS_TOPIC"}},
		{"SERVICEBUS_TOPIC=announcements", []string{"SERVICEBUS_TOPIC"}},
		{"ROOT_KEY_FILE=r", []string{"ROOT_KEY_FILE"}},
		{both + "ROOT_KEY_FILE=r", []string{"CLIENT_ID"}},
		{"TABLES_CONNECTION_FILE=a ROOT_KEY_FILE=r", []string{"SERVICEBUS"}},
		{"SERVICEBUS_CONNECTION_FILE=a", []string{"TABLES_URL"}},
		{app + both + files + vault, []string{"TABLES_CONNECTION_FILE", "SERVICEBUS_CONNECTION_FILE"}},
		{app + vault + "SERVICEBUS=x.servicebus.windows.net TABLES_URL=https://x.table.core.windows.net?sig=hunter2", []string{"TABLES_URL"}},
		{app + vault + "SERVICEBUS=Endpoint=sb://x;SharedAccessKey=hunter2 TABLES_CONNECTION_FILE=a", []string{"SERVICEBUS"}},
	} {
		env := map[string]string{}
		for pair := range strings.FieldsSeq(c.set) {
			name, value, _ := strings.Cut(pair, "=")
			if !strings.HasPrefix(name, "AWS_") {
				name = "PINRESET_" + name
			}
			env[name] = value
		}
		_, err := loadConfig(func(name string) string { return env[name] })
		var got []string
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				name, _, _ := strings.Cut(strings.TrimPrefix(line, "PINRESET_"), " ")
				got = append(got, name)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: the key is quoted: %v", c.set, err)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: problems with %v, want %v: %v", c.set, got, c.want, err)
		}
	}
}
