package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/functions/web"
	"pinreset/functions/web/callback"
	"pinreset/shared/clocktest"
	"pinreset/shared/diag"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/identity"
	"pinreset/shared/identity/entra"
	"pinreset/shared/live"
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

// hostileUser is the name of a user that wants to be one.
const hostileUser = `kim@contoso.example"><svg onload=alert(3)>`

// canary is a code that must be seen in the answer of a reveal and nowhere else.
const canary = "K7mQ#2xW"

var started = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

type fixture struct {
	*clocktest.Clock
	t        testing.TB
	rows     *sqlitework.Store
	store    *brokenStore
	ring     *sqlitework.Store
	kek      *secret.LocalKey
	vault    *secret.Vault
	fleet    *fleet
	tokens   *identity.Tokens
	sessions *identity.Sessions
	signIn   *entra.Provider
	links    onboarding.Links
	newID    func() string
	log      *buffer
	server   *httptest.Server
	live     *live.Feed // nil: nothing is streamed
	admin    string     // token with everything
	adminID  string

	reachable bool     // whether Graph can reach the callback
	ended     []string // subscriptions that were ended at Graph
	stuck     string   // the one that can't be

	counted struct {
		mu      sync.Mutex
		results map[callback.Result]int
		changes []string // tenants, as changes were staged
	}
}

func (f *fixture) count(r callback.Result) {
	f.counted.mu.Lock()
	defer f.counted.mu.Unlock()
	if f.counted.results == nil {
		f.counted.results = map[callback.Result]int{}
	}
	f.counted.results[r]++
}

func (f *fixture) results(r callback.Result) int {
	f.counted.mu.Lock()
	defer f.counted.mu.Unlock()
	return f.counted.results[r]
}

// change stands for whatever is done about a change: it stages a message, so that a test sees what was committed.
func (f *fixture) change(ctx context.Context, u *work.Unit, at time.Time) error {
	_, err := u.Send(ctx, "changes", at, events.ConsentCheckDue{RequestID: "change"})
	f.counted.mu.Lock()
	defer f.counted.mu.Unlock()
	f.counted.changes = append(f.counted.changes, u.Partition())
	return err
}

// Unsubscribe is Graph's.
func (f *fixture) Unsubscribe(_ context.Context, tenant, id string) error {
	if id == f.stuck {
		return fault.Permanent(fault.AppNotConsented, fmt.Errorf("no token for %s", tenant))
	}
	f.ended = append(f.ended, tenant+" "+id)
	return nil
}

func setUp(t testing.TB) *fixture {
	t.Helper()
	f := &fixture{t: t, Clock: clocktest.New(started), log: &buffer{}}
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
	f.ring = open("keys")
	f.kek = kek
	f.vault = secret.NewVault(f.ring, kek, f.Now)
	var n atomic.Int64
	f.newID = func() string { return fmt.Sprintf("01%024d", n.Add(1)) }
	f.fleet = &fleet{devices: map[string][]graph.ManagedDevice{
		contoso: {
			{ID: pixel, DeviceName: hostile, OperatingSystem: "AndroidEnterprise", OSVersion: "14", EnrollmentType: "androidEnterpriseFullyManaged",
				UserPrincipalName: hostileUser, SerialNumber: "PX-1", LastSync: started.Add(-time.Minute)},
			{ID: laptop, DeviceName: "hr-laptop-11", OperatingSystem: "Windows", OSVersion: "10.0.22631", SerialNumber: "LT-2"},
		},
		fabrikam: {{ID: foreign, DeviceName: "secret-project-phone", OperatingSystem: "AndroidEnterprise", OSVersion: "13"}},
	}}
	f.tokens, f.sessions = identity.NewTokens(f.store, f.Now, f.newID), identity.NewSessions(f.store, f.Now)
	f.links = onboarding.Links{
		Graph:     "https://graph.microsoft.com",
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
	var rows work.Store = f.store
	if f.live != nil {
		rows = f.live.Waking(struct {
			*brokenStore
			work.Source
		}{f.store, f.rows})
	}
	return web.New(web.Options{
		Eraser: f.rows, Keys: f.ring, KEK: f.kek, Counted: f.count, Changed: f.change, Notified: f.reachable, Subscriptions: f,
		Store: rows, Live: f.live, Devices: f.fleet, Policies: f.fleet, Vault: f.vault, Links: f.links, Tokens: f.tokens, Sessions: f.sessions, SignIn: f.signIn,
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
	r.DeviceName, r.User, r.Platform, r.IssuedAt, r.ExpiresAt = hostile, hostileUser, "AndroidEnterprise", f.Now(), f.Now().Add(time.Hour)
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

// content is every row of the partitions that tests touch, with its version: a row that is written again differs from before.
func (f *fixture) content() map[work.Key]string {
	f.t.Helper()
	all := map[work.Key]string{}
	for _, partition := range []string{contoso, fabrikam, nowhere, tenant.Partition, identity.Partition} {
		q := work.Query{Partition: partition, Limit: 1000}
		for {
			p, err := f.rows.List(f.t.Context(), q)
			if err != nil {
				f.t.Fatal(err)
			}
			for _, row := range p.Rows {
				all[row.Key] = fmt.Sprintf("%v %s", row.ETag, row.Value)
			}
			if q.Page = p.Next; q.Page == "" {
				break
			}
		}
	}
	return all
}

// stored counts what is in the store: rows of the partitions that tests touch, and messages.
func (f *fixture) stored() (rows, messages int) {
	f.t.Helper()
	rows = len(f.content())
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
