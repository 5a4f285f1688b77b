package graph_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pinreset/shared/clocktest"
	"pinreset/shared/diag"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/graph/graphschema"
	"pinreset/shared/graph/graphsim"
)

// cloud is the simulated cloud, a clock that moves it, and a client whose every v1.0 call is checked against the
// published schema.
type cloud struct {
	*graphsim.Cloud
	t         *testing.T
	clock     *clocktest.Clock
	recorders []*graphschema.Recorder
	client    *graph.Client
}

func start(t *testing.T, o graphsim.Options, change func(*graph.Config)) *cloud {
	t.Helper()
	c := &cloud{t: t, clock: clocktest.New(time.Now().UTC())}
	o.Now = c.clock.Now
	o.Timing.ReplicationLag = -1
	sim, err := graphsim.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	c.Cloud = sim
	cfg := c.config()
	if change != nil {
		change(&cfg)
	}
	if c.client, err = graph.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		sim.Close()
		if wrong := c.tally().Violations; len(wrong) > 0 {
			t.Errorf("the client breaks the published schema:\n%s", strings.Join(wrong, "\n"))
		}
	})
	return c
}

func (c *cloud) config() graph.Config {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig.RootCAs = c.RootCAs()
	c.t.Cleanup(transport.CloseIdleConnections)
	cfg := graph.Config{
		Graph: c.URL(), Authority: c.URL(), Transport: transport, DisableInstanceDiscovery: true, Now: c.clock.Now,
		Wrap: func(base http.RoundTripper) http.RoundTripper {
			r := &graphschema.Recorder{Base: base}
			c.recorders = append(c.recorders, r)
			return r
		},
	}
	general, privileged := c.Apps()
	cfg.App = cfg.SecretApp(general.ClientID, general.Secret)
	actor := cfg.SecretApp(privileged.ClientID, privileged.Secret)
	cfg.Privileged = &actor
	return cfg
}

func (c *cloud) tally() (sum graphschema.Tally) {
	for _, r := range c.recorders {
		t := r.Tally()
		sum.Requests += t.Requests
		sum.Responses += t.Responses
		sum.Properties += t.Properties
		sum.Violations = append(sum.Violations, t.Violations...)
	}
	return sum
}

// device finds a device of Contoso as a person does, by its name.
func (c *cloud) device(name string) graph.ManagedDevice {
	c.t.Helper()
	for d, err := range c.client.ManagedDevices(c.t.Context(), graphsim.Contoso, graph.DeviceFilter{Name: name}) {
		if err != nil {
			c.t.Fatal(err)
		}
		return d
	}
	c.t.Fatalf("no device %s", name)
	return graph.ManagedDevice{}
}

func (c *cloud) resets(device string) int {
	for _, t := range c.Counters().Tenants {
		if t.ID == graphsim.Contoso {
			return t.Resets[device]
		}
	}
	return 0
}

// Every v1.0 call of the client, each against the table of the published schema.
func TestEveryCallKeepsToThePublishedSchema(t *testing.T) {
	t.Parallel()
	c := start(t, graphsim.Options{}, nil)
	ctx, client, tenant := t.Context(), c.client, graphsim.Contoso
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	must(client.Prove(ctx, tenant))
	org, err := client.Organization(ctx, tenant)
	must(err)
	if org.DisplayName != "Contoso" || len(org.VerifiedDomains) == 0 {
		t.Errorf("organization %+v", org)
	}
	sp, err := client.ServicePrincipal(ctx, tenant, graphsim.PinResetService)
	must(err)
	if !sp.Enabled() || sp.AppID != graphsim.PinResetService {
		t.Errorf("service principal %+v", sp)
	}
	grants, err := client.PermissionGrants(ctx, tenant, sp.ID)
	must(err)
	if len(grants) == 0 || len(grants[0].Scopes()) == 0 {
		t.Errorf("grants %+v", grants)
	}
	general, _ := c.Apps()
	own, err := client.ServicePrincipal(ctx, tenant, general.ClientID)
	must(err)
	roles, err := client.AppRoleAssignments(ctx, tenant, own.ID)
	must(err)
	if len(roles) == 0 || roles[0].AppRoleID == "" || roles[0].Created.IsZero() {
		t.Errorf("roles %+v", roles)
	}
	names := 0
	for d, err := range client.ManagedDevices(ctx, tenant, graph.DeviceFilter{}) {
		must(err)
		if d.ID == "" || d.DeviceName == "" || d.OperatingSystem == "" || d.Enrolled.IsZero() {
			t.Errorf("device %+v", d)
		}
		names++
	}
	if names < 15 {
		t.Errorf("%d devices", names)
	}
	pixel := c.device("sales-pixel-12")
	again, err := client.ManagedDevice(ctx, tenant, pixel.ID)
	must(err)
	if again.ReadAt.IsZero() {
		t.Error("one device does not say when it was read")
	}
	again.ReadAt = time.Time{}
	if again != pixel {
		t.Errorf("one device %+v, listed %+v", again, pixel)
	}
	for d, err := range client.ManagedDevices(ctx, tenant, graph.DeviceFilter{User: pixel.UserPrincipalName, Serial: pixel.SerialNumber}) {
		must(err)
		if d != pixel {
			t.Errorf("device %+v", d)
		}
	}
	edition, err := client.DeviceEdition(ctx, tenant, c.device("hr-laptop-11").ID)
	must(err)
	if edition != (graph.DeviceEdition{JoinType: "azureADJoined", SKUFamily: "Enterprise", SKUNumber: 4}) {
		t.Errorf("edition %+v", edition)
	}
	if _, err := client.DeviceEdition(ctx, tenant, "x/../y"); fault.CodeOf(err) != fault.InvalidRequest {
		t.Errorf("edition of an id that is none: %v", err)
	}
	must(client.SyncDevice(ctx, tenant, pixel.ID))
	accepted, err := client.ResetPasscode(ctx, tenant, pixel.ID)
	must(err)
	_, err = client.PasscodeResult(ctx, tenant, pixel.ID, accepted.ServerDate)
	must(err)
	parts, err := client.Batch(ctx, tenant, graph.V1, []graph.BatchRequest{
		graph.BatchGet("org", "/organization?$select=id"), graph.BatchGet("dev", "/deviceManagement/managedDevices/"+pixel.ID+"?$select=id,deviceName"),
	})
	must(err)
	for _, p := range parts {
		must(p.Err)
	}
	if _, err := client.ServicePrincipal(ctx, tenant, "00000000-0000-0000-0000-00000000dead"); !errors.Is(err, graph.ErrNotFound) {
		t.Errorf("an app that is not there: %v", err)
	}
	if _, err := client.CreateServicePrincipal(ctx, tenant, graphsim.PinResetService); fault.CodeOf(err) != fault.GraphForbidden {
		t.Errorf("upsert without the permission: %v", err)
	}
	if err := c.Grant(tenant, general.ClientID, "Application.ReadWrite.All"); err != nil {
		t.Fatal(err)
	}
	must(client.Prove(ctx, tenant)) // a new token, with the new role
	created, err := client.CreateServicePrincipal(ctx, tenant, graphsim.PinResetService)
	must(err)
	if created.ID != sp.ID {
		t.Errorf("upsert gave %+v, there was %+v", created, sp)
	}
	must(c.DeleteServicePrincipal(tenant, graphsim.PinResetClient))
	created, err = client.CreateServicePrincipal(ctx, tenant, graphsim.PinResetClient)
	must(err)
	if created.AppID != graphsim.PinResetClient || created.ID == "" {
		t.Errorf("created %+v", created)
	}

	n := c.tally()
	fmt.Printf("schema: %d requests, %d responses, %d properties checked\n", n.Requests, n.Responses, n.Properties)
	if n.Requests < 15 || n.Responses < 15 || n.Properties < 200 {
		t.Errorf("checked %d requests, %d responses, %d properties: too few", n.Requests, n.Responses, n.Properties)
	}
}

func TestResetLifeCycle(t *testing.T) {
	t.Parallel()
	c := start(t, graphsim.Options{}, nil)
	ctx, tenant := t.Context(), graphsim.Contoso
	for _, want := range []struct {
		device   string
		code     fault.Code // of the call
		state    graph.ActionState
		passcode bool
	}{
		{"sales-pixel-12", "", graph.ActionDone, true},
		{"ceo-iphone", "", graph.ActionDone, false},
		{"intern-galaxy-09", "", graph.ActionNotSupported, false},
		{"flaky-tablet-03", "", graph.ActionFailed, false},
		{"hr-laptop-11", fault.GraphRefused, "", false},
	} {
		d := c.device(want.device)
		accepted, err := c.client.ResetPasscode(ctx, tenant, d.ID)
		if want.code != "" {
			if fault.CodeOf(err) != want.code || errors.Is(err, graph.ErrOutcomeUnknown) {
				t.Errorf("%s: %v", want.device, err)
			}
			continue
		}
		if err != nil || accepted.RequestID == "" {
			t.Errorf("%s: %+v %v", want.device, accepted, err)
			continue
		}
		first, err := c.client.PasscodeResult(ctx, tenant, d.ID, accepted.ServerDate)
		if err != nil || first.Action != nil {
			t.Errorf("%s: entry at once: %v %v", want.device, first, err)
		}
		if off := c.clock.Now().Sub(first.Device.ReadAt); off < 0 || off > time.Minute {
			t.Errorf("%s: the server's clock was read as %s, %s off", d.DeviceName, first.Device.ReadAt, off)
		}
		c.clock.Advance(time.Minute)
		r, err := c.client.PasscodeResult(ctx, tenant, d.ID, accepted.ServerDate)
		if err != nil || r.Action == nil || r.Action.State != want.state || r.Action.Passcode.Empty() == want.passcode {
			t.Errorf("%s: %v %v", want.device, r, err)
			continue
		}
		if r.Device.UserID != d.UserID || !r.Device.Enrolled.Equal(d.Enrolled) {
			t.Errorf("%s: device of the result %+v", want.device, r.Device)
		}
		later, err := c.client.PasscodeResult(ctx, tenant, d.ID, c.clock.Now().Add(time.Minute))
		if err != nil || later.Action != nil {
			t.Errorf("%s: an entry older than the call was taken for its own: %v %v", want.device, later, err)
		}
	}
	if n := c.resets("sales-pixel-12"); n != 1 {
		t.Errorf("%d resets", n)
	}
}

func TestPasscodeThatOnlyBetaShows(t *testing.T) {
	t.Parallel()
	c := start(t, graphsim.Options{}, nil)
	outcome := graphsim.DoneOnBeta
	if err := c.AdjustDevice(graphsim.Contoso, "sales-pixel-12", graphsim.DeviceKnobs{Outcome: &outcome}); err != nil {
		t.Fatal(err)
	}
	d := c.device("sales-pixel-12")
	accepted, err := c.client.ResetPasscode(t.Context(), graphsim.Contoso, d.ID)
	if err != nil {
		t.Fatal(err)
	}
	c.clock.Advance(time.Minute)
	v1, err := c.client.PasscodeResult(t.Context(), graphsim.Contoso, d.ID, accepted.ServerDate)
	if err != nil || v1.Action == nil || !v1.Action.Passcode.Empty() {
		t.Errorf("v1.0: %v %v", v1, err)
	}
	beta, err := c.client.PasscodeResultBeta(t.Context(), graphsim.Contoso, d.ID, accepted.ServerDate)
	if err != nil || beta.Action == nil || beta.Action.Passcode.Empty() {
		t.Errorf("beta: %v %v", beta, err)
	}
}

// Whatever goes wrong with the answer, the device is reset at most once, and the entry is found by reading.
func TestResetIsNeverSentTwice(t *testing.T) {
	t.Parallel()
	for _, f := range []struct {
		fault    graphsim.Fault
		executed int
		code     fault.Code
	}{
		{graphsim.Fault{Kind: graphsim.LostAnswer}, 1, fault.GraphUnavailable},
		{graphsim.Fault{Kind: graphsim.ExecutedThrottle, RetryAfter: 3}, 1, fault.GraphThrottled},
		{graphsim.Fault{Kind: graphsim.ExecutedThrottle, Status: 503}, 1, fault.GraphUnavailable},
		{graphsim.Fault{Kind: graphsim.Throttle, RetryAfter: 3, WritesOnly: true}, 0, fault.GraphThrottled},
	} {
		c := start(t, graphsim.Options{}, nil)
		d := c.device("sales-pixel-12")
		if err := c.Inject(graphsim.Contoso, f.fault); err != nil {
			t.Fatal(err)
		}
		before := c.clock.Now()
		_, err := c.client.ResetPasscode(t.Context(), graphsim.Contoso, d.ID)
		if !errors.Is(err, graph.ErrOutcomeUnknown) || fault.CodeOf(err) != f.code {
			t.Errorf("%+v: %v", f.fault, err)
		}
		if n := c.resets("sales-pixel-12"); n != f.executed {
			t.Errorf("%+v: %d resets, want %d", f.fault, n, f.executed)
		}
		c.clock.Advance(time.Minute)
		r, err := c.client.PasscodeResult(t.Context(), graphsim.Contoso, d.ID, before)
		if err != nil || (r.Action != nil) != (f.executed == 1) {
			t.Errorf("%+v: read afterwards: %v %v", f.fault, r, err)
		}
		if s := c.client.Snapshot(); s.RetryAfterViolations != 0 {
			t.Errorf("%+v: %d calls too early", f.fault, s.RetryAfterViolations)
		}
	}
}

func TestConsentAndTokens(t *testing.T) {
	t.Parallel()
	c := start(t, graphsim.Options{}, nil)
	ctx := t.Context()
	if err := c.client.Prove(ctx, graphsim.Fabrikam); fault.CodeOf(err) != fault.AppNotConsented {
		t.Errorf("before consent: %v", err)
	}
	if err := c.client.Prove(ctx, "00000000-0000-0000-0000-00000000dead"); fault.CodeOf(err) != fault.AppNotConsented {
		t.Errorf("unknown tenant: %v", err)
	}
	general, privileged := c.Apps()
	if err := c.Consent(graphsim.Fabrikam, general.ClientID); err != nil {
		t.Fatal(err)
	}
	if err := c.client.Prove(ctx, graphsim.Fabrikam); err != nil {
		t.Errorf("the first app after its consent: %v", err)
	}
	if err := c.client.ProvePrivileged(ctx, graphsim.Fabrikam); fault.CodeOf(err) != fault.AppNotConsented {
		t.Errorf("the second app before its consent: %v", err)
	}
	if err := c.Consent(graphsim.Fabrikam, privileged.ClientID); err != nil {
		t.Fatal(err)
	}
	if err := c.client.ProvePrivileged(ctx, graphsim.Fabrikam); err != nil {
		t.Errorf("after consent: %v", err)
	}
	if _, err := c.client.ServicePrincipal(ctx, graphsim.Northwind, graphsim.PinResetClient); !errors.Is(err, graph.ErrNotFound) {
		t.Errorf("the missing half of Northwind: %v", err)
	}
	cfg := c.config()
	cfg.App = cfg.SecretApp(general.ClientID, "wrong")
	wrong, err := graph.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := wrong.Prove(ctx, graphsim.Contoso); fault.CodeOf(err) != fault.GraphUnauthorized {
		t.Errorf("with a wrong secret: %v", err)
	}
}

func TestSignInWithAnAssertion(t *testing.T) {
	t.Parallel()
	c := start(t, graphsim.Options{}, func(cfg *graph.Config) {
		id := cfg.App.ClientID
		cfg.App = cfg.AssertionApp(id, func(context.Context) (string, error) {
			part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
			return part(`{"alg":"RS256"}`) + "." + part(fmt.Sprintf(`{"sub":%q,"iss":%q}`, id, id)) + "." + part("signature"), nil
		})
	})
	if _, err := c.client.Organization(t.Context(), graphsim.Contoso); err != nil {
		t.Error(err)
	}
}

func TestBatchOfResets(t *testing.T) {
	t.Parallel()
	c := start(t, graphsim.Options{}, nil)
	names := []string{"sales-pixel-12", "ceo-iphone", "hr-laptop-11", "store-kiosk-07"}
	var requests []graph.BatchRequest
	for _, name := range names {
		requests = append(requests, graph.BatchResetPasscode(name, c.device(name).ID))
	}
	parts, err := c.client.Batch(t.Context(), graphsim.Contoso, graph.V1, requests)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range parts {
		switch {
		case p.ID != names[i]:
			t.Errorf("part %d is %s", i, p.ID)
		case p.ID == "hr-laptop-11":
			if p.Status != 400 || fault.CodeOf(p.Err) != fault.GraphRefused {
				t.Errorf("%v", p)
			}
		case p.Err != nil || p.Status != 204 || c.resets(p.ID) != 1:
			t.Errorf("%v, %d resets", p, c.resets(p.ID))
		}
	}
	if err := c.Inject(graphsim.Contoso, graphsim.Fault{Kind: graphsim.LostAnswer}); err != nil {
		t.Fatal(err)
	}
	parts, err = c.client.Batch(t.Context(), graphsim.Contoso, graph.V1, requests[:1])
	if err != nil || parts[0].Status != 0 || !errors.Is(parts[0].Err, graph.ErrOutcomeUnknown) {
		t.Errorf("lost part: %v %v", parts, err)
	}
}

// The limiter keeps a crowd below the simulator's sliding window: no 429, nothing too early, and people first.
func TestLimiterAgainstTheSimulator(t *testing.T) {
	t.Parallel()
	const limit, per = 20, time.Second
	o := graphsim.Options{Limits: graphsim.Limits{DeviceWrites: graphsim.Limit{N: limit, Per: per}}}
	c := start(t, o, func(cfg *graph.Config) {
		limits := graph.PublishedLimits()
		dev := limits.Families[graph.Devices]
		dev.Write = graph.Window{Limit: limit, Per: per}
		limits.Families[graph.Devices] = dev
		cfg.Limits = &limits
	})
	id := c.device("sales-pixel-12").ID
	var mu sync.Mutex
	done, told := 0, 0
	for range 5 {
		var wg sync.WaitGroup
		for i := range 30 {
			wg.Go(func() {
				ctx := t.Context()
				if i%3 == 0 {
					ctx = graph.WithPriority(ctx, graph.People)
				}
				err := c.client.SyncDevice(ctx, graphsim.Contoso, id)
				mu.Lock()
				defer mu.Unlock()
				switch v, _ := fault.As(err); {
				case err == nil:
					done++
				case v != nil && v.Code == fault.WaitingForPermit && v.Delay <= 3*per:
					told++
				default:
					t.Errorf("sync: %v", err)
				}
			})
		}
		wg.Wait()
		c.clock.Advance(per)
	}
	if done < 4*limit || told == 0 {
		t.Errorf("%d calls done and %d sent back", done, told)
	}
	n := c.Counters().Families[graphsim.Devices]
	if n.Throttled != 0 || n.TooEarly != 0 || n.Writes != done {
		t.Errorf("the simulator counted %+v, done %d", n, done)
	}
}

func TestRecordOfARun(t *testing.T) {
	t.Parallel()
	c := start(t, graphsim.Options{}, nil)
	id := c.device("hr-laptop-11").ID
	var record diag.Record
	ctx := diag.NewContext(t.Context(), &record)
	_, err := c.client.ResetPasscode(ctx, graphsim.Contoso, id)
	e, ok := errors.AsType[*graph.Error](err)
	if !ok || e.RequestID == "" || e.Code == "" || e.Message != "" {
		t.Errorf("error %+v", e)
	}
	steps, _ := record.Steps()
	i := slices.IndexFunc(steps, func(s diag.Step) bool {
		return s.Text == "POST /deviceManagement/managedDevices/{id}/resetPasscode"
	})
	if i < 1 || steps[i].Status != 400 || steps[i].RequestID != e.RequestID || steps[i].ErrorCode != e.Code || steps[i].ClientRequestID != e.ClientRequestID {
		t.Errorf("steps %+v", steps)
	}
	if steps[0].Text[:4] != "GET " && !strings.Contains(steps[0].Text, "oauth2") {
		t.Errorf("no step of the sign-in: %+v", steps)
	}
}
