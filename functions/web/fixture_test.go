package web_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/functions/web"
	"pinreset/shared/diag"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/identity"
	"pinreset/shared/onboarding"
	"pinreset/shared/passcode"
	"pinreset/shared/secret"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

const (
	contoso  = "aaaaaaaa-0000-4000-8000-000000000001"
	fabrikam = "bbbbbbbb-0000-4000-8000-000000000002"
	nowhere  = "cccccccc-0000-4000-8000-000000000003"

	pixel   = "11111111-0000-4000-8000-000000000001" // Android, can be reset
	laptop  = "11111111-0000-4000-8000-000000000002" // Windows, can't
	foreign = "22222222-0000-4000-8000-000000000001" // of Fabrikam
)

// hostile is a device name that wants to be a script, in every context that a page has.
const hostile = `"><script>alert(1)</script><img src=x onerror=alert(2)>'&{{.}}`

// canary is a code that must be seen in the answer of a reveal and nowhere else.
const canary = "K7mQ#2xW"

var started = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// fleet is Graph with a few devices; err makes every call fail, and boom makes it panic.
type fleet struct {
	mu      sync.Mutex
	devices map[string][]graph.ManagedDevice
	err     error
	boom    any
}

func (f *fleet) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *fleet) explode(value any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.boom = value
}

func (f *fleet) of(tenant string) ([]graph.ManagedDevice, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.boom != nil {
		panic(f.boom)
	}
	return f.devices[tenant], f.err
}

func (f *fleet) ManagedDevices(_ context.Context, tenant string, filter graph.DeviceFilter) iter.Seq2[graph.ManagedDevice, error] {
	return func(yield func(graph.ManagedDevice, error) bool) {
		devices, err := f.of(tenant)
		if err != nil {
			yield(graph.ManagedDevice{}, err)
			return
		}
		for _, d := range devices {
			is := func(want, have string) bool { return want == "" || want == have }
			if is(filter.Name, d.DeviceName) && is(filter.User, d.UserPrincipalName) && is(filter.Serial, d.SerialNumber) && !yield(d, nil) {
				return
			}
		}
	}
}

func (f *fleet) ManagedDevice(_ context.Context, tenant, id string) (graph.ManagedDevice, error) {
	devices, err := f.of(tenant)
	if err != nil {
		return graph.ManagedDevice{}, err
	}
	for _, d := range devices {
		if d.ID == id {
			return d, nil
		}
	}
	return graph.ManagedDevice{}, fmt.Errorf("read device %s: %w", id, graph.ErrNotFound)
}

// brokenStore fails every commit while it is broken.
type brokenStore struct {
	work.Store
	broken atomic.Bool
}

func (b *brokenStore) Commit(ctx context.Context, batch work.Batch) error {
	if b.broken.Load() {
		return fmt.Errorf("commit: disk full")
	}
	return b.Store.Commit(ctx, batch)
}

// buffer is a log that requests may write to at once.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

type fixture struct {
	*clock
	t        *testing.T
	rows     *sqlitework.Store
	store    *brokenStore
	vault    *secret.Vault
	fleet    *fleet
	tokens   *identity.Tokens
	sessions *identity.Sessions
	links    onboarding.Links
	newID    func() string
	log      *buffer
	server   *httptest.Server
	admin    string // token with everything
	adminID  string
}

func setUp(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, clock: &clock{now: started}, log: &buffer{}}
	open := func(name string) *sqlitework.Store {
		s, err := sqlitework.Open(filepath.Join(t.TempDir(), name), sqlitework.Options{Now: f.Now})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	f.rows = open("work")
	f.store = &brokenStore{Store: f.rows}
	kek, err := secret.OpenLocalKey(filepath.Join(t.TempDir(), "root-key"))
	if err != nil {
		t.Fatal(err)
	}
	f.vault = secret.NewVault(open("keys"), kek, f.Now)
	var n atomic.Int64
	f.newID = func() string { return fmt.Sprintf("01%024d", n.Add(1)) }
	f.fleet = &fleet{devices: map[string][]graph.ManagedDevice{
		contoso: {
			{ID: pixel, DeviceName: hostile, OperatingSystem: "AndroidEnterprise", OSVersion: "14", EnrollmentType: "androidEnterpriseFullyManaged",
				UserPrincipalName: "kim@contoso.example", SerialNumber: "PX-1", LastSync: started.Add(-time.Minute)},
			{ID: laptop, DeviceName: "hr-laptop-11", OperatingSystem: "Windows", OSVersion: "10.0.22631", SerialNumber: "LT-2"},
		},
		fabrikam: {{ID: foreign, DeviceName: "secret-project-phone", OperatingSystem: "AndroidEnterprise", OSVersion: "13"}},
	}}
	f.tokens, f.sessions = identity.NewTokens(f.store, f.Now, f.newID), identity.NewSessions(f.Now)
	f.links = onboarding.Links{
		Authority: "https://login.microsoftonline.com", Microsoft: "https://login.windows.net", Callback: "https://pinreset.example/consent/callback",
		Key: []byte("a key of thirty-two bytes, about"), NewID: f.newID, Now: f.Now,
	}
	f.adminID, f.admin = f.token(identity.Grant{Name: "administrator", Tenants: []string{"*"}, Permissions: identity.Permissions(), Days: 366})
	f.server = httptest.NewServer(f.handler())
	t.Cleanup(f.server.Close)
	f.addTenant(contoso, "Contoso")
	f.addTenant(fabrikam, "Fabrikam")
	return f
}

func (f *fixture) handler() http.Handler {
	return web.New(web.Options{
		Store: f.store, Devices: f.fleet, Vault: f.vault, Links: f.links, Tokens: f.tokens, Sessions: f.sessions,
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "pinreset_up 1\n") }),
		Ready: func(context.Context) error {
			if f.store.broken.Load() {
				return fmt.Errorf("disk full")
			}
			return nil
		},
		Now: f.Now, NewID: f.newID, Logger: slog.New(slog.NewJSONHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Version: "v1.2.3", SampleNotice: "These tenants are simulated.", SampleLink: "http://127.0.0.1:1/",
	})
}

func (f *fixture) token(g identity.Grant) (id, text string) {
	f.t.Helper()
	u := f.unit(identity.Partition)
	token, text, err := f.tokens.Create(u, g, events.Pinreset())
	if err != nil {
		f.t.Fatal(err)
	}
	f.commit(u)
	return token.ID, text
}

// may returns a token for Contoso with the permissions.
func (f *fixture) may(permissions ...identity.Permission) string {
	f.t.Helper()
	_, text := f.token(identity.Grant{Name: "operator", Tenants: []string{contoso}, Permissions: permissions, Days: 30})
	return text
}

func (f *fixture) unit(partition string) *work.Unit {
	return work.NewUnit(f.rows, partition, f.Now(), f.newID)
}

func (f *fixture) commit(u *work.Unit) {
	f.t.Helper()
	if err := u.Commit(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) addTenant(id, name string) {
	f.t.Helper()
	u := f.unit(tenant.Partition)
	if _, err := tenant.Add(u, id, name, events.Pinreset()); err != nil {
		f.t.Fatal(err)
	}
	f.commit(u)
	u = f.unit(id)
	c := onboarding.Consent{RequestID: f.newID(), State: onboarding.Pending, StartedAt: f.Now(), Deadline: f.Now().Add(72 * time.Hour)}
	for _, s := range []onboarding.Step{
		{Name: onboarding.StepApp, AppID: nowhere, Title: "pinreset", State: onboarding.StepProven, ProvenAt: f.Now()},
		{Name: onboarding.StepService, AppID: onboarding.ServiceAppID, Title: "Microsoft Pin Reset Service Production", State: onboarding.StepWaiting, Why: fault.WaitingForConsent},
		{Name: onboarding.StepClient, AppID: onboarding.ClientAppID, Title: "Microsoft Pin Reset Client Production", State: onboarding.StepWaiting, Why: fault.WaitingForConsent},
	} {
		c.Steps = append(c.Steps, s)
	}
	if err := onboarding.Write(u, c); err != nil {
		f.t.Fatal(err)
	}
	f.commit(u)
}

// startReset accepts a reset as the API does and returns its id.
func (f *fixture) startReset(tenantID, device string) string {
	f.t.Helper()
	a := f.call(http.MethodPost, "/v1/tenants/"+tenantID+"/devices/"+device+"/resets", f.admin, map[string]any{"reason": "forgot it", "ticket": "INC-1"})
	a.want(f.t, http.StatusAccepted)
	return a.field(f.t, "id")
}

// issue ends a reset with a code, as its function does.
func (f *fixture) issue(tenantID, id, code string) {
	f.t.Helper()
	u := f.unit(tenantID)
	r, err := passcode.Read(f.t.Context(), u, id)
	if err != nil {
		f.t.Fatal(err)
	}
	r.DeviceName, r.User, r.Platform, r.IssuedAt, r.ExpiresAt = hostile, "kim@contoso.example", "AndroidEnterprise", f.Now(), f.Now().Add(time.Hour)
	env, err := f.vault.Seal(f.t.Context(), f.newID(), secret.Binding{Tenant: tenantID, Device: r.DeviceID, Request: r.ID}, secret.NewText(code), r.ExpiresAt)
	if err != nil {
		f.t.Fatal(err)
	}
	r.Code = &env
	if _, err := passcode.End(f.t.Context(), u, r, passcode.Issued); err != nil {
		f.t.Fatal(err)
	}
	f.commit(u)
}

// setAside makes a failure with a dead letter, as dispatch does, and returns the ids of both.
func (f *fixture) setAside(tenantID string, body []byte) (diagID, letterID string) {
	f.t.Helper()
	u := f.unit(tenantID)
	request := f.newID()
	letter := diag.DeadLetter{ID: f.newID(), Queue: passcode.Queue, MessageID: request, RequestID: request, Kind: "passcode.reset.requested.v1",
		Reason: fault.AttemptsExhausted, Detail: "it failed", Deliveries: 8, At: f.Now(), Diagnostics: diag.Link(tenantID, diag.IDFor(tenantID, request)), Body: body}
	if err := u.Put(diag.LetterPrefix+work.Descending(letter.ID), letter); err != nil {
		f.t.Fatal(err)
	}
	if err := diag.AppendAttempt(u, diag.Attempt{RequestID: request, Function: "passcodereset", Kind: letter.Kind, Delivery: 8, StartedAt: f.Now(),
		Milliseconds: 12, Verdict: "failed", Code: string(letter.Reason), Detail: "refused by <b>Graph</b>",
		Steps: []diag.Step{{At: f.Now(), Kind: diag.KindCall, Text: "POST /deviceManagement/managedDevices/{id}/resetPasscode", Status: 500, RequestID: "req-1", Milliseconds: 11}}}); err != nil {
		f.t.Fatal(err)
	}
	failure, err := diag.Raise(f.t.Context(), u, diag.Failure{RequestID: request, Function: "passcodereset", Kind: letter.Kind, DeviceID: pixel,
		Code: letter.Reason, Detail: letter.Detail, DeadLetter: letter.ID})
	if err != nil {
		f.t.Fatal(err)
	}
	f.commit(u)
	return failure.ID, letter.ID
}

// answer is what a request got.
type answer struct {
	status int
	header http.Header
	body   []byte
}

type option func(*http.Request)

func key(k string) option { return header("Idempotency-Key", k) }

func header(name, value string) option {
	return func(r *http.Request) {
		if value == "" {
			r.Header.Del(name)
		} else {
			r.Header.Set(name, value)
		}
	}
}

var keys atomic.Int64

// call sends a JSON request with a token, and a fresh idempotency key unless an option says otherwise.
func (f *fixture) call(method, path, token string, body any, options ...option) answer {
	f.t.Helper()
	var sent io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		sent = strings.NewReader(b)
	case []byte:
		sent = bytes.NewReader(b)
	case io.Reader:
		sent = b
	default:
		text, err := json.Marshal(b)
		if err != nil {
			f.t.Fatal(err)
		}
		sent = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(f.t.Context(), method, f.server.URL+path, sent)
	if err != nil {
		f.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if sent != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if method == http.MethodPost {
		r.Header.Set("Idempotency-Key", fmt.Sprintf("key-%d", keys.Add(1)))
	}
	for _, o := range options {
		o(r)
	}
	return f.send(http.DefaultTransport, r)
}

func (f *fixture) send(transport http.RoundTripper, r *http.Request) answer {
	f.t.Helper()
	res, err := transport.RoundTrip(r)
	if err != nil {
		f.t.Fatalf("%s %s: %v", r.Method, r.URL.Path, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		f.t.Fatalf("%s %s: %v", r.Method, r.URL.Path, err)
	}
	return answer{status: res.StatusCode, header: res.Header, body: text}
}

func (a answer) want(t *testing.T, status int) {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d: %s", a.status, status, cmp.Or(string(a.body), "(no body)"))
	}
}

// refused checks that the answer is a problem with the code.
func (a answer) refused(t *testing.T, status int, code fault.Code) {
	t.Helper()
	var p struct {
		Type, Title, Detail, CorrelationID string
		Status                             int
		Code                               fault.Code
		Fix                                []string
	}
	if err := json.Unmarshal(a.body, &p); err != nil || a.header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("not a problem: %d %s %s", a.status, a.header.Get("Content-Type"), a.body)
	}
	if a.status != status || p.Status != status || p.Code != code || p.Type != "/problems/"+string(code) || p.Title == "" || p.Detail == "" || len(p.Fix) == 0 {
		t.Fatalf("got %d %s, want %d %s: %s", a.status, p.Code, status, code, a.body)
	}
	if status != http.StatusNotFound && p.CorrelationID != a.header.Get("X-Correlation-Id") {
		t.Errorf("correlation id %q in the body, %q in the header", p.CorrelationID, a.header.Get("X-Correlation-Id"))
	}
}

func (a answer) into(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
}

func (a answer) field(t *testing.T, name string) string {
	t.Helper()
	var all map[string]any
	a.into(t, &all)
	text, ok := all[name].(string)
	if !ok {
		t.Fatalf("no text %s in %s", name, a.body)
	}
	return text
}

// stored counts what is in the store: rows of the partitions that tests touch, and messages.
func (f *fixture) stored() (rows, messages int) {
	f.t.Helper()
	for _, partition := range []string{contoso, fabrikam, nowhere, tenant.Partition, identity.Partition} {
		q := work.Query{Partition: partition, Limit: 1000}
		for {
			p, err := f.rows.List(f.t.Context(), q)
			if err != nil {
				f.t.Fatal(err)
			}
			rows += len(p.Rows)
			if q.Page = p.Next; q.Page == "" {
				break
			}
		}
	}
	stats, err := f.rows.Stats(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	for _, q := range stats.Queues {
		messages += int(q.Due + q.Later + q.Leased)
	}
	return rows, messages
}

// auditOf returns the actions of a partition's audit log, newest first.
func (f *fixture) auditOf(partition string) []string {
	f.t.Helper()
	p, err := f.rows.List(f.t.Context(), work.Query{Partition: partition, Prefix: "audit|", Limit: 1000})
	if err != nil {
		f.t.Fatal(err)
	}
	var actions []string
	for _, row := range p.Rows {
		var e struct{ Action string }
		if err := json.Unmarshal(row.Value, &e); err != nil {
			f.t.Fatal(err)
		}
		actions = append(actions, e.Action)
	}
	return actions
}
