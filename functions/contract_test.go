package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/functions/consent"
	"pinreset/functions/passcodereset"
	"pinreset/functions/policyrollout"
	"pinreset/shared/approval"
	"pinreset/shared/callercheck"
	"pinreset/shared/client"
	"pinreset/shared/diag"
	"pinreset/shared/fault"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/passcode"
	"pinreset/shared/readiness"
	"pinreset/shared/webhook"
	"pinreset/shared/work"
)

// contract makes calls of the client and compares what the server sent with the Go types that the client reads it into.
type contract struct {
	t      *testing.T
	called map[string]bool // methods of the client

	mu   sync.Mutex
	last []byte // the last answer's body
}

// RoundTrip keeps the body of the answer.
func (c *contract) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	c.mu.Lock()
	c.last = body
	c.mu.Unlock()
	res.Body = io.NopCloser(bytes.NewReader(body))
	return res, err
}

// fits decodes the last answer into a value of the same type as into, and refuses a member that the type does not have.
func (c *contract) fits(method string, into any) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	d := json.NewDecoder(bytes.NewReader(c.last))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		c.t.Errorf("%s: %v in %s", method, err, c.last)
	}
}

// single checks a call that answers with a T.
func single[T any](c *contract, method string, value T, err error) T {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("%s: %v", method, err)
	}
	c.called[method] = true
	c.fits(method, new(T))
	return value
}

// several checks a call that lists Ts, of which there must be some.
func several[T any](c *contract, method string, seq iter.Seq2[T, error]) []T {
	c.t.Helper()
	var values []T
	for v, err := range seq {
		if err != nil {
			c.t.Fatalf("%s: %v", method, err)
		}
		values = append(values, v)
	}
	if len(values) == 0 {
		c.t.Fatalf("%s: nothing to compare", method)
	}
	c.called[method] = true
	c.fits(method, &struct {
		Items []T    `json:"items"`
		Next  string `json:"next"`
	}{})
	return values
}

// silent checks a call whose answer the client does not read.
func silent(c *contract, method string, err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("%s: %v", method, err)
	}
	c.called[method] = true
}

// TestClientReadsAllThatTheServerSends calls every read and change of the client on a whole server with simulated tenants.
// The client's types are written by hand beside the server's: a member that one has and the other lacks is found here.
func TestClientReadsAllThatTheServerSends(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	cfg, err := loadConfig(func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cfg.Listen, cfg.Data = "127.0.0.1:0", filepath.Join(dir, "data")
	cfg.SimListen, cfg.SimPages, cfg.SimData = "127.0.0.1:0", "127.0.0.1:0", filepath.Join(dir, "sim")
	s, err := start(ctx, cfg, startOptions{
		pace: pace{
			consent: consent.Schedule{First: 100 * time.Millisecond, Longest: time.Second, Deadline: time.Hour},
			reset:   passcodereset.Schedule{Looks: []time.Duration{100 * time.Millisecond}, Trace: 5 * time.Second, Lost: time.Minute},
			rollout: policyrollout.Schedule{Looks: []time.Duration{200 * time.Millisecond}, Watch: time.Hour, Withdraw: time.Hour,
				Trace: 5 * time.Second, Turn: 100 * time.Millisecond, Replicas: time.Minute},
		},
		timing: graphsim.Timing{ReplicationLag: 100 * time.Millisecond, EntryDelay: 50 * time.Millisecond, PickUp: 50 * time.Millisecond, Work: 50 * time.Millisecond},
		logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	token, err := os.ReadFile(filepath.Join(cfg.Data, "admin-token"))
	if err != nil {
		t.Fatal(err)
	}
	c := &contract{t: t, called: map[string]bool{}}
	api, err := client.New(client.Options{Server: s.url, Token: strings.TrimSpace(string(token)), HTTP: &http.Client{Transport: c}})
	if err != nil {
		t.Fatal(err)
	}
	const tenant = graphsim.Contoso

	several(c, "Tenants", api.Tenants(ctx))
	if state, err := api.WaitConsent(ctx, tenant, "", nil); err != nil || state.State != "proven" {
		t.Fatalf("consent of the sample is %s: %v", state.State, err)
	}
	sample, err := api.Tenant(ctx, tenant)
	single(c, "Tenant", sample, err)
	added, err := api.AddTenant(ctx, client.NewTenant{TenantID: graphsim.Fabrikam, DisplayName: "Fabrikam", CreateServicePrincipals: true})
	single(c, "AddTenant", added, err)
	state, err := api.Consent(ctx, tenant)
	single(c, "Consent", state, err)
	hours := 24
	settings, err := api.ChangeSettings(ctx, tenant, client.SettingsChange{PasscodeHours: &hours, Reason: "shorter is safer"})
	single(c, "ChangeSettings", settings, err)
	yes, contact, hook := true, "desk@contoso.example", "http://127.0.0.1:9/hook"
	told, err := api.ChangeNotifications(ctx, tenant, client.NotificationChange{Contact: &contact, MailUser: &yes, Webhook: &hook, Reason: "people ask"})
	single(c, "ChangeNotifications", told, err)
	if told.WebhookKey.Clear() == "" {
		t.Error("the webhook's first address made no key")
	}
	ways, err := api.NotificationSettings(ctx, tenant)
	single(c, "NotificationSettings", ways, err)
	rotated, err := api.RotateWebhookKey(ctx, tenant, "it leaked")
	single(c, "RotateWebhookKey", rotated, err)

	device := func(name string) client.Device {
		t.Helper()
		found := several(c, "Devices", api.Devices(ctx, tenant, name))
		return found[0]
	}
	begin := func(name string) client.Reset {
		t.Helper()
		r, _, err := api.StartReset(ctx, tenant, device(name).ID, "forgot it", "INC-1")
		return single(c, "StartReset", r, err)
	}
	ended := func(r client.Reset, want passcode.State) client.Reset {
		t.Helper()
		r, err := api.WaitReset(ctx, tenant, r.ID, nil)
		if single(c, "Reset", r, err); r.State != want {
			t.Fatalf("reset of %s is %s %s, want %s", r.DeviceName, r.State, r.FailureCode, want)
		}
		return r
	}
	issued := ended(begin("sales-pixel-12"), passcode.Issued)
	shown, err := api.Reveal(ctx, tenant, issued.ID, "on the phone", "")
	if single(c, "Reveal", shown, err); shown.Passcode.Clear() == "" {
		t.Error("no code was revealed")
	}
	failed := ended(begin("hr-laptop-11"), passcode.Failed)
	waits := begin("field-pixel-offline")
	cancelled, err := api.CancelReset(ctx, tenant, waits.ID, "found it")
	single(c, "CancelReset", cancelled, err)
	several(c, "Resets", api.Resets(ctx, tenant, ""))
	detail, err := api.Device(ctx, tenant, device("sales-pixel-12").ID)
	if single(c, "Device", detail, err); len(detail.Resets) == 0 {
		t.Error("the device has no reset to compare")
	}

	c.rollouts(ctx, api, tenant)
	plan, err := api.StartBulk(ctx, tenant, client.NewBulk{All: true, PlanOnly: true, Reason: "lost at the fair"})
	single(c, "StartBulk", plan, err)
	if plan, err = api.WaitBulk(ctx, tenant, plan.ID, nil); err != nil || plan.State != passcode.BulkPlanned || plan.Counts.Total < 10 {
		t.Fatalf("plan %+v: %v", plan, err)
	}
	many, err := api.StartBulk(ctx, tenant, client.NewBulk{All: true, PlanHash: plan.PlanHash, Expected: plan.Counts.Total, Reason: "lost at the fair", Ticket: "INC-2"})
	single(c, "StartBulk", many, err)
	if many, err = api.CancelBulk(ctx, tenant, many.ID, "found them"); err != nil || many.State != passcode.BulkCancelled {
		t.Fatalf("cancelled %+v: %v", many, err)
	}
	single(c, "CancelBulk", many, err)
	many, err = api.Bulk(ctx, tenant, plan.ID)
	single(c, "Bulk", many, err)
	several(c, "Bulks", api.Bulks(ctx, tenant))
	several(c, "BulkItems", api.BulkItems(ctx, tenant, plan.ID))
	verdict, err := api.TenantReadiness(ctx, tenant)
	single(c, "TenantReadiness", verdict, err)
	verdicts, err := api.DeviceReadiness(ctx, tenant, device("hr-laptop-11").ID)
	if single(c, "DeviceReadiness", verdicts, err); len(verdicts.Paths) != len(readiness.Paths()) {
		t.Errorf("%d paths of a device", len(verdicts.Paths))
	}
	c.audits(ctx, api, tenant)
	read := map[string]readiness.Outcome{} // what the simulated cloud tells of an Entra joined device with Enterprise
	for _, check := range verdicts.Paths[0].Checks {
		read[check.ID] = check.Outcome
	}
	for _, id := range []string{"platform", "version", "edition", "join", "device-enabled"} {
		if read[id] != readiness.Passed {
			t.Errorf("check %s of hr-laptop-11 is %q", id, read[id])
		}
	}
	laptop := device("hr-laptop-11").ID
	deviceKey, err := api.CreateDeviceKey(ctx, tenant, laptop, client.NewDeviceKey{Reason: "an agent was installed"})
	signer, wrong := webhook.ParseSigner(single(c, "CreateDeviceKey", deviceKey, err).Secret.Clear())
	if wrong != nil {
		t.Fatal(wrong)
	}
	said := fmt.Sprintf(`{"version":1,"sequence":1,"collectedAt":%q,"pinResets":[{"at":%[1]q,"outcome":"failed","code":"CAA20004"}]}`, time.Now().UTC().Format(time.RFC3339))
	report, err := api.SendReport(ctx, deviceKey.Callback, signer, "msg_1", time.Now(), []byte(said))
	if silent(c, "SendReport", err); report == "" {
		t.Error("the report has no id")
	}
	c.fits("SendReport", &struct {
		ID string `json:"id"`
	}{})
	for reports := []client.DeviceReport(nil); len(reports) == 0 || reports[0].ReadAt.IsZero(); time.Sleep(20 * time.Millisecond) {
		if reports = several(c, "DeviceReports", api.DeviceReports(ctx, tenant, laptop)); ctx.Err() != nil {
			t.Fatal("the report was not read")
		}
	}
	several(c, "DeviceKeys", api.DeviceKeys(ctx, tenant, laptop))
	revokedKey, err := api.RevokeDeviceKey(ctx, tenant, laptop, deviceKey.ID, "the agent was removed")
	if single(c, "RevokeDeviceKey", revokedKey, err); revokedKey.RevokedAt.IsZero() {
		t.Error("the key is not revoked")
	}

	several(c, "Notifications", api.Notifications(ctx, tenant)) // each reset that ended above was told in its own commit, and sent since
	several(c, "Failures", api.Failures(ctx, tenant))
	page, err := api.Diagnostics(ctx, tenant, failed.Diagnostics[strings.LastIndex(failed.Diagnostics, "/")+1:])
	single(c, "Diagnostics", page, err)

	letters := s.setAside(t, tenant, 2)
	several(c, "DeadLetters", api.DeadLetters(ctx, tenant))
	letter, err := api.DeadLetter(ctx, tenant, letters[0])
	if single(c, "DeadLetter", letter, err); !strings.Contains(string(letter.Body), `"requestId"`) {
		t.Errorf("the dead letter's event is %q", letter.Body)
	}
	var out, errs bytes.Buffer
	args := []string{"deadletter", "show", letters[0], "--tenant", tenant, "--server", s.url, "--token-file", filepath.Join(cfg.Data, "admin-token")}
	if code := run(ctx, args, func(string) string { return "" }, strings.NewReader(""), &out, &errs); code != 0 || !strings.Contains(out.String(), `"requestId"`) {
		t.Errorf("deadletter show: exit %d, %s%s", code, &out, &errs)
	}
	replayed, err := api.ReplayDeadLetter(ctx, tenant, letters[0], "the cause is gone")
	single(c, "ReplayDeadLetter", replayed, err)
	silent(c, "DropDeadLetter", api.DropDeadLetter(ctx, tenant, letters[1], "of no use"))

	event := fmt.Sprintf(`{"specversion":"1.0","id":"contract-1","type":"dev.pinreset.passcode.reset.requested.v1","source":"/tenants/%s","subject":"devices/%[2]s","time":"2026-11-22T08:00:00Z",
		"data":{"requestId":"contract-1","deviceId":"%[2]s","reason":"of a ticket"}}`, tenant, device("ceo-iphone").ID)
	accepted, err := api.SendEvent(ctx, []byte(event))
	single(c, "SendEvent", accepted, err)
	several(c, "Events", api.Events(ctx, tenant))
	several(c, "Audit", api.Audit(ctx, tenant, client.AuditFilter{}))
	some := client.AuditFilter{Action: "deadletter.", Person: "ADMIN"}
	n := 0
	for e, err := range api.Audit(ctx, tenant, some) {
		if n++; err != nil || !strings.HasPrefix(e.Action, "deadletter.") {
			t.Errorf("%+v finds %+v: %v", some, e, err)
		}
	}
	if n != 2 {
		t.Errorf("%+v finds %d entries, want 2", some, n)
	}

	made, err := api.CreateToken(ctx, client.NewToken{Name: "contract", Tenants: []string{tenant}, Permissions: []string{"tenant.read"}, Days: 1})
	if single(c, "CreateToken", made, err); made.Secret.Clear() == "" {
		t.Error("a token without its text")
	}
	silent(c, "RevokeToken", api.RevokeToken(ctx, made.ID))
	several(c, "Tokens", api.Tokens(ctx))
	given, err := api.GiveGrant(ctx, tenant, client.NewGrant{PersonTenant: tenant, PersonObject: tenant, Name: "contract", Permissions: []string{"tenant.read"}, Days: 1, Reason: "contract"})
	single(c, "GiveGrant", given, err)
	silent(c, "RevokeGrant", api.RevokeGrant(ctx, tenant, given.ID))
	several(c, "Grants", api.Grants(ctx, tenant))
	c.approvals(ctx, api, tenant, device("sales-pixel-12").ID, issued.ID)
	c.suspensions(ctx, api, tenant, device("sales-pixel-12").ID)
	request, err := api.RestartConsent(ctx, tenant, client.ConsentStart{Reason: "roles were added"})
	if silent(c, "RestartConsent", err); request == "" {
		t.Error("the consent that was started has no id")
	}
	c.fits("RestartConsent", &struct {
		RequestID string `json:"requestId"`
	}{})

	_, err = api.Reset(ctx, tenant, "nothing")
	if _, ok := errors.AsType[*client.Problem](err); !ok || !client.IsCode(err, fault.NotFound) {
		t.Errorf("a reset that is not there: %v", err)
	}
	c.fits("a refusal", new(client.Problem))

	gone, err := api.Offboard(ctx, tenant, client.Offboarding{Confirm: tenant, LeavePolicy: true, Reason: "the contract has ended"})
	single(c, "Offboard", gone, err)

	beside := []string{"Link", "Server", "WaitAudit", "WaitAudits", "WaitBulk", "WaitConsent", "WaitReset", "WaitRollout"} // no call of their own
	for m := range reflect.TypeFor[*client.Client]().Methods() {
		if !c.called[m.Name] && !slices.Contains(beside, m.Name) {
			t.Errorf("%s was not called", m.Name)
		}
	}
}

// approvals calls what there is for a second person, but for the decision itself, which nobody makes with a token.
func (c *contract) approvals(ctx context.Context, api *client.Client, tenant, device, issued string) {
	c.t.Helper()
	set := func(what string) {
		all, err := api.ChangeSettings(ctx, tenant, client.SettingsChange{SecondPerson: &what})
		single(c, "ChangeSettings", all, err)
	}
	set("every")
	held, _, err := api.StartReset(ctx, tenant, device, "forgot it again", "INC-2")
	if single(c, "StartReset", held, err); held.State != passcode.Unapproved || !held.Open {
		c.t.Errorf("it is %s", held.State)
	}
	bulk, err := api.StartBulk(ctx, tenant, client.NewBulk{All: true, Expected: 1, PlanHash: "of-the-plan", Reason: "lost"})
	if single(c, "StartBulk", bulk, err); bulk.State != passcode.BulkUnapproved {
		c.t.Errorf("the bulk reset is %s", bulk.State)
	}
	asked, err := api.AskReveal(ctx, tenant, issued, "a colleague's", "")
	single(c, "AskReveal", asked, err)
	several(c, "Approvals", api.Approvals(ctx, tenant, approval.Waiting))
	one, err := api.Approval(ctx, tenant, held.Approval)
	single(c, "Approval", one, err)
	_, err = api.RevealApproved(ctx, tenant, issued, "a colleague's", "", asked.ID)
	if c.called["RevealApproved"] = true; !client.IsCode(err, fault.ApprovalNotValid) {
		c.t.Errorf("revealed without a decision: %v", err)
	}
	_, err = api.Decide(ctx, tenant, one.ID, true, one.Hash, "")
	if c.called["Decide"] = true; !client.IsCode(err, fault.Forbidden) {
		c.t.Errorf("decided with a token: %v", err)
	}
	set("off")

	checked := "reset"
	all, err := api.ChangeSettings(ctx, tenant, client.SettingsChange{CallerCheck: &checked})
	single(c, "ChangeSettings", all, err)
	code, err := api.AskCaller(ctx, tenant, callercheck.Reset, device)
	if single(c, "AskCaller", code, err); len(code.Code) != 6 {
		c.t.Errorf("code %q", code.Code)
	}
	code, err = api.CallerCheck(ctx, tenant, callercheck.Reset, device)
	single(c, "CallerCheck", code, err)
	checked = "off"
	all, err = api.ChangeSettings(ctx, tenant, client.SettingsChange{CallerCheck: &checked})
	single(c, "ChangeSettings", all, err)
}

// suspensions has a token stopped for asking twice, and lets it go on.
func (c *contract) suspensions(ctx context.Context, api *client.Client, tenant, device string) {
	c.t.Helper()
	made, err := api.CreateToken(ctx, client.NewToken{Name: "hasty", Tenants: []string{tenant}, Permissions: []string{"passcode.reset.start", "tenant.read"}, Days: 1})
	if err != nil {
		c.t.Fatal(err)
	}
	hasty, err := client.New(client.Options{Server: api.Server(), Token: made.Secret.Clear()})
	if err != nil {
		c.t.Fatal(err)
	}
	set := func(budget bool, above int) {
		all, err := api.ChangeSettings(ctx, tenant, client.SettingsChange{TokenBudget: &budget, SuspendAbove: &above})
		single(c, "ChangeSettings", all, err)
	}
	set(true, 1)
	for _, refused := range []bool{false, true} {
		r, _, err := hasty.StartReset(ctx, tenant, device, "again", "")
		if refused != client.IsCode(err, fault.PersonSuspended) || !refused && err != nil {
			c.t.Errorf("refused %t: %v", refused, err)
		}
		if err == nil {
			if _, err := hasty.WaitReset(ctx, tenant, r.ID, nil); err != nil {
				c.t.Error(err)
			}
		}
	}
	several(c, "Suspensions", api.Suspensions(ctx, tenant))
	lifted, err := api.LiftSuspension(ctx, tenant, made.ID, "it was a test")
	if single(c, "LiftSuspension", lifted, err); lifted.Active {
		c.t.Error("still suspended")
	}
	set(false, 0)
}

// rollouts calls what there is of policies, on a tenant where they may be rolled out.
func (c *contract) rollouts(ctx context.Context, api *client.Client, tenant string) {
	c.t.Helper()
	everybody := client.Target{AllUsers: true}
	plan, err := api.PlanRollout(ctx, tenant, everybody)
	if single(c, "PlanRollout", plan, err); plan.Writes != 2 || plan.Guard.State != "passed" || plan.Hash == "" {
		c.t.Errorf("plan: %d writes, guard %s, hash %q", plan.Writes, plan.Guard.State, plan.Hash)
	}
	started, _, err := api.StartRollout(ctx, tenant, client.NewRollout{Target: everybody, PlanHash: plan.Hash, Reason: "PINs are forgotten"})
	single(c, "StartRollout", started, err)
	placed, err := api.WaitRollout(ctx, tenant, started.ID, func(r client.Rollout) bool { return r.Progress != nil || !r.Open }, nil)
	if single(c, "Rollout", placed, err); !placed.Placed || placed.Progress.Pending == 0 || len(placed.Timeline) == 0 {
		c.t.Errorf("rollout %s %s: placed %t, progress %+v", placed.State, placed.FailureCode, placed.Placed, placed.Progress)
	}
	several(c, "Rollouts", api.Rollouts(ctx, tenant))
	found, err := api.Policies(ctx, tenant)
	if single(c, "Policies", found, err); len(found.Policies) != 1 || found.Current == nil || found.Current.ID != started.ID {
		c.t.Errorf("%d policies, current %v", len(found.Policies), found.Current)
	}
	back, err := api.StartRollback(ctx, tenant, started.ID, client.NewRollback{Unassign: true, Reason: "a test"})
	if single(c, "StartRollback", back, err); back.Rollback == nil || !back.Rollback.Unassign {
		c.t.Errorf("rollback %+v", back.Rollback)
	}
}

// setAside puts dead letters with an event in them in the tenant's store, and returns their ids.
func (s *server) setAside(t *testing.T, tenant string, n int) []string {
	t.Helper()
	newID := newIDs()
	u := work.NewUnit(s.rows, tenant, time.Now(), newID)
	var ids []string
	for range n {
		id := newID()
		e := events.Event{ID: newID(), Tenant: tenant, Time: u.Now(), Data: events.PasscodeResetCheckDue{RequestID: id, DeviceID: tenant}}
		body, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		err = u.Put(diag.LetterPrefix+work.Descending(id), diag.DeadLetter{
			ID: id, Queue: passcode.Queue, MessageID: id, RequestID: id, Kind: e.Data.Kind(), Reason: fault.AttemptsExhausted,
			Detail: "it failed", Deliveries: 8, At: u.Now(), Diagnostics: diag.Link(tenant, diag.IDFor(tenant, id)), Body: body,
		})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if err := u.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	return ids
}
