package portalaction_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/functions/passcodereset"
	"pinreset/functions/portalaction"
	"pinreset/shared/audit"
	"pinreset/shared/dispatch/dispatchtest"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/graph/graphtest"
	"pinreset/shared/passcode"
	"pinreset/shared/portal"
	"pinreset/shared/secret"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

const (
	contoso = graphsim.Contoso
	pixel   = "sales-pixel-12"
	ourApp  = "0aa00aa0-1bb1-4cc2-8dd3-0ee44ff55a66"
	console = "5926fc8e-304e-4f59-8bed-58ca97cc39a4"
)

// fixture is the handler and that of resets, with everything real under them.
type fixture struct {
	*dispatchtest.Bench
	sim     *graphsim.Cloud
	client  *graph.Client
	vault   *secret.Vault
	audits  []time.Time
	counted map[portal.Decision]int
	log     []json.RawMessage // what Intune's audit log holds, for catching up; nil: the simulated tenant's own
}

// intune is the simulated tenant, with an audit log of the test's own where it has one.
type intune struct {
	*graph.Client
	f *fixture
}

func (i intune) AuditRecords(ctx context.Context, tenant string, since time.Time) iter.Seq2[json.RawMessage, error] {
	if i.f.log == nil {
		return i.Client.AuditRecords(ctx, tenant, since)
	}
	return func(yield func(json.RawMessage, error) bool) {
		for _, raw := range i.f.log {
			if r := portal.Parse(raw)[0]; !r.At.Before(since) && !yield(raw, nil) {
				return
			}
		}
	}
}

func setUp(t *testing.T, torn, seal bool) *fixture {
	t.Helper()
	b := dispatchtest.New(t, torn)
	f := &fixture{Bench: b, counted: map[portal.Decision]int{}}
	f.sim, f.client = graphtest.New(t, graphsim.Options{Now: b.Clock.Now, Passcode: func() string { return "4711-canary" }})
	keys, err := sqlitework.Open(filepath.Join(t.TempDir(), "keys"), sqlitework.Options{Now: b.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = keys.Close() })
	kek, err := secret.OpenLocalKey(filepath.Join(t.TempDir(), "root-key"))
	if err != nil {
		t.Fatal(err)
	}
	f.vault = secret.NewVault(keys, kek, b.Clock.Now)
	general, privileged := f.sim.Apps()
	b.Serve(
		(&passcodereset.Handler{Devices: f.client, Vault: f.vault, Store: b.Store(), Schedule: passcodereset.DefaultSchedule}).Route(),
		(&portalaction.Handler{
			Intune: intune{f.client, f}, Store: b.Store(), Own: []string{ourApp, general.ClientID, privileged.ClientID},
			Audit: func(_ context.Context, _ *work.Unit, due time.Time) error {
				f.audits = append(f.audits, due)
				return nil
			},
			Counted: func(d portal.Decision) { f.counted[d]++ },
		}).Route(),
	)
	u := b.Unit(tenant.Partition)
	if _, err := tenant.Add(u, contoso, "Contoso", events.Pinreset()); err != nil {
		t.Fatal(err)
	}
	f.commit(u, nil)
	s := tenant.DefaultSettings()
	s.SealPortalCodes = seal
	u = b.Unit(contoso)
	f.commit(u, tenant.WriteSettings(u, s))
	return f
}

func (f *fixture) commit(u *work.Unit, err error) {
	f.T.Helper()
	if err := errors.Join(err, u.Commit(context.WithoutCancel(f.T.Context()))); err != nil {
		f.T.Fatal(err)
	}
}

func (f *fixture) device(name string) string { return graphtest.DeviceID(f.T, f.sim, contoso, name) }

// click resets the passcode of a device as Intune's own portal does, and returns the record of it.
func (f *fixture) click(id, name string) string {
	f.T.Helper()
	if _, err := f.client.ResetPasscode(f.T.Context(), contoso, f.device(name)); err != nil {
		f.T.Fatal(err)
	}
	return f.record(id, "resetPasscode ManagedDevice", f.device(name), console)
}

// record is Graph's auditEvent.
func (f *fixture) record(id, activity, resource, app string) string {
	return fmt.Sprintf(`{"id":%q,"activityType":%q,"activityDateTime":%q,"activityOperationType":"Action","activityResult":"Success","category":"Device",
		"actor":{"applicationId":%q,"userPrincipalName":"hana@contoso.example"},"resources":[{"resourceId":%q,"auditResourceType":"ManagedDevice"}],"news":{"a":[1]}}`,
		id, activity, f.Clock.Now().Format(time.RFC3339Nano), app, resource)
}

func (f *fixture) send(record string) {
	f.T.Helper()
	u := f.Unit(contoso)
	_, err := u.Send(f.T.Context(), portal.Queue.Bulk(), time.Time{}, events.PortalActionRecorded{RequestID: f.NewID(), Record: events.Object(record), By: events.Pinreset()})
	f.commit(u, err)
}

func (f *fixture) catchUp() {
	f.T.Helper()
	u := f.Unit(contoso)
	_, err := u.Send(f.T.Context(), portal.Queue.Bulk(), time.Time{}, events.PortalCatchUpDue{RequestID: f.NewID()})
	f.commit(u, err)
}

// settle runs whatever is due within the time.
func (f *fixture) settle(d time.Duration) { f.Drain(f.Clock.Now().Add(d)) }

func (f *fixture) resets() []passcode.Reset {
	f.T.Helper()
	all, _, err := passcode.List(f.T.Context(), f.Store(), contoso, 100, "")
	if err != nil {
		f.T.Fatal(err)
	}
	return all
}

// only is the one reset there is.
func (f *fixture) only() passcode.Reset {
	f.T.Helper()
	all := f.resets()
	if len(all) != 1 {
		f.T.Fatalf("%d resets, want 1: %+v", len(all), all)
	}
	return all[0]
}

// decisions are those of the kept records and of the counts, which must agree.
func (f *fixture) decisions() map[portal.Decision]int {
	f.T.Helper()
	kept, _, err := portal.List(f.T.Context(), f.Store(), contoso, 1000, "")
	if err != nil {
		f.T.Fatal(err)
	}
	got := map[portal.Decision]int{}
	for _, k := range kept {
		got[k.Decision]++
	}
	counts, err := portal.Counts(f.T.Context(), f.Unit(contoso))
	if err != nil || fmt.Sprint(counts) != fmt.Sprint(got) {
		f.T.Errorf("the row counts %v, kept are %v: %v", counts, got, err)
	}
	return got
}

func (f *fixture) wantDecisions(want map[portal.Decision]int) {
	f.T.Helper()
	if got := f.decisions(); fmt.Sprint(got) != fmt.Sprint(want) {
		f.T.Errorf("decisions %v, want %v", got, want)
	}
}

func (f *fixture) reveal(r passcode.Reset) string {
	f.T.Helper()
	if r.Code == nil {
		return ""
	}
	receipt, err := audit.Commit(f.T.Context(), f.Unit(contoso), audit.Entry{Actor: events.Pinreset(), Action: audit.PasscodeRevealed, RequestID: r.ID}, r.Code.ID)
	if err != nil {
		f.T.Fatal(err)
	}
	code, err := f.vault.Open(f.T.Context(), *r.Code, secret.Binding{Tenant: contoso, Device: r.DeviceID, Request: r.ID}, receipt)
	if err != nil {
		f.T.Errorf("reveal: %v", err)
	}
	return code.Expose()
}

func TestClickInThePortalIsFollowed(t *testing.T) {
	t.Parallel()
	for _, seal := range []bool{true, false} {
		t.Run(fmt.Sprintf("seal %t", seal), func(t *testing.T) {
			t.Parallel()
			f := setUp(t, false, seal)
			record, clicked := f.click("rec-1", pixel), f.Clock.Now()
			f.settle(26 * time.Hour) // it arrives the next day
			f.send(record)
			f.settle(time.Minute)
			r := f.only()
			if n := graphtest.Resets(t, f.sim, contoso, pixel); n != 1 {
				t.Fatalf("the device was reset %d times: one of them by us", n)
			}
			if r.Origin != passcode.FromPortal || r.RecordID != "rec-1" || r.By.Name != "hana@contoso.example" || !r.RequestedAt.Equal(clicked) || r.DeviceName != pixel || r.Open() {
				t.Errorf("adopted %+v", r)
			}
			if !seal {
				if r.State != passcode.Observed || r.Code != nil || f.reveal(r) != "" {
					t.Errorf("without the tenant's leave: %s, code %v", r.State, r.Code)
				}
				return
			}
			if r.State != passcode.Issued || f.reveal(r) != "4711-canary" {
				t.Fatalf("ended %s %s", r.State, r.FailureCode)
			}
			if want := clicked.Add(7*24*time.Hour + time.Minute); r.ExpiresAt.After(want) || r.ExpiresAt.Before(clicked.Add(7*24*time.Hour)) {
				t.Errorf("expires %s: its seven days began at %s", r.ExpiresAt, clicked)
			}
			f.settle(7 * 24 * time.Hour)
			if r = f.only(); r.State != passcode.Expired {
				t.Errorf("after its seven days: %s", r.State)
			}
		})
	}
}

func TestSameRecordTwiceIsOne(t *testing.T) {
	t.Parallel()
	f := setUp(t, false, true)
	record := f.click("rec-1", pixel)
	upper := strings.Replace(record, "rec-1", "REC-1", 1)
	f.log = []json.RawMessage{json.RawMessage(upper)}
	for range 3 {
		f.send(record)
		f.send(upper)
		f.catchUp()
	}
	f.settle(time.Hour)
	f.only()
	f.wantDecisions(map[portal.Decision]int{portal.Adopted: 1})
	if f.counted[portal.Adopted] != 1 {
		t.Errorf("counted %v", f.counted)
	}
}

// TestOwnCallIsNotAdopted: Intune records what our application does too.
func TestOwnCallIsNotAdopted(t *testing.T) {
	t.Parallel()
	for _, app := range []string{ourApp, ""} { // a record may not say by which application
		f := setUp(t, false, true)
		id := f.accept(pixel)
		f.RunUntil(time.Hour, func() bool { return !f.only().IntentAt.IsZero() })
		f.send(f.record("rec-1", "resetPasscode ManagedDevice", f.device(pixel), app))
		f.settle(time.Hour)
		if r := f.only(); r.ID != id || r.State != passcode.Issued || r.Crossed != nil {
			t.Errorf("app %q: %+v", app, r)
		}
		f.wantDecisions(map[portal.Decision]int{portal.Own: 1})
	}
}

func (f *fixture) accept(name string) string {
	f.T.Helper()
	u := f.Unit(contoso)
	r, _, err := passcode.Accept(f.T.Context(), u, events.PasscodeResetRequested{RequestID: f.NewID(), DeviceID: f.device(name), Reason: "on the phone", By: events.Pinreset()})
	f.commit(u, err)
	return r.ID
}

func TestForeignResetWhileOursIsOpenIsNotedThere(t *testing.T) {
	t.Parallel()
	f := setUp(t, false, true)
	id := f.accept("field-pixel-offline") // it answers nobody, so that ours stays open
	f.settle(10 * time.Second)
	f.send(f.click("rec-1", "field-pixel-offline"))
	f.settle(10 * time.Second)
	r := f.only()
	if r.ID != id || !r.Open() || r.Crossed == nil || r.Crossed.By != "hana@contoso.example" || r.Crossed.RecordID != "rec-1" {
		t.Fatalf("ours is %+v, crossed %+v", r, r.Crossed)
	}
	f.wantDecisions(map[portal.Decision]int{portal.Crossed: 1})
	deliveries, err := f.Source().Receive(t.Context(), work.Announcements, 32)
	warned := false
	for _, d := range deliveries {
		e, parseErr := events.Parse(d.Body)
		if parseErr != nil {
			t.Fatal(parseErr)
		}
		crossed, ok := e.Data.(events.PasscodeResetCrossed)
		warned = warned || ok && crossed.RequestID == id
	}
	if err != nil || !warned {
		t.Errorf("no warning among %d announcements: %v", len(deliveries), err)
	}
}

func TestFailureOfAnAdoptedResetIsExplained(t *testing.T) {
	t.Parallel()
	for name, code := range map[string]fault.Code{"flaky-tablet-03": fault.DeviceActionFailed, "field-pixel-offline": fault.DeviceDidNotRespond} {
		f := setUp(t, false, true)
		f.send(f.click("rec-1", name))
		f.settle(48 * time.Hour)
		if r := f.only(); r.State != passcode.Failed || r.FailureCode != code || r.Diagnostics == "" {
			t.Errorf("%s ended %s %s, page %q", name, r.State, r.FailureCode, r.Diagnostics)
		}
	}
}

func TestDeviceThatChangedHandsIsNotAdopted(t *testing.T) {
	t.Parallel()
	f := setUp(t, false, true)
	record := f.click("rec-1", pixel)
	f.settle(time.Hour)
	if err := f.sim.Reenrol(contoso, pixel, ""); err != nil {
		t.Fatal(err)
	}
	f.send(record)
	gone := f.record("rec-2", "resetPasscode ManagedDevice", "99999999-0000-4000-8000-000000000000", console)
	f.send(gone)
	f.settle(time.Hour)
	if all := f.resets(); len(all) != 0 {
		t.Errorf("adopted %+v", all)
	}
	f.wantDecisions(map[portal.Decision]int{portal.Gone: 2})
}

func TestChangesAskForAnAudit(t *testing.T) {
	t.Parallel()
	f := setUp(t, false, false)
	start := f.Clock.Now()
	for i, activity := range []string{"Patch DeviceConfiguration", "assignDeviceConfiguration DeviceConfiguration", "Delete DeviceManagementConfigurationPolicy", "Update service principal"} {
		f.send(f.record(fmt.Sprintf("rec-%d", i), activity, "x", console))
	}
	f.send(f.record("rec-own", "Patch DeviceConfiguration", "x", strings.ToUpper(ourApp)))
	f.settle(10 * time.Second)
	if len(f.audits) != 2 || !f.audits[0].Equal(start) || !f.audits[1].Equal(start.Add(time.Minute)) {
		t.Errorf("a burst asks for audits at %v; want one now, and one a minute later for what the first may have missed", f.audits)
	}
	f.settle(time.Hour)
	f.send(f.record("rec-later", "Create DeviceManagementIntent", "x", console))
	f.settle(time.Second)
	if len(f.audits) != 3 || f.audits[2].Before(start.Add(time.Hour)) {
		t.Errorf("a change an hour later asks for audits at %v", f.audits)
	}
	f.wantDecisions(map[portal.Decision]int{portal.Audited: 5, portal.Own: 1})
}

func TestAnythingElseIsKeptAndCounted(t *testing.T) {
	t.Parallel()
	f := setUp(t, false, true)
	old := strings.Replace(f.record("rec-old", "resetPasscode ManagedDevice", f.device(pixel), console), f.Clock.Now().Format(time.RFC3339), f.Clock.Now().Add(-8*24*time.Hour).Format(time.RFC3339), 1)
	tomorrow := strings.Replace(old, "rec-old", "rec-tomorrow", 1)
	tomorrow = strings.Replace(tomorrow, f.Clock.Now().Add(-8*24*time.Hour).Format(time.RFC3339), f.Clock.Now().Add(24*time.Hour).Format(time.RFC3339), 1)
	refused := strings.Replace(f.record("rec-no", "resetPasscode ManagedDevice", f.device(pixel), console), "Success", "Failure", 1)
	for _, record := range []string{
		`{}`, `{"id":7,"activityType":{"a":1},"resources":"none"}`, `{"id":"` + strings.Repeat("x", 200) + `"}`, `{"id":"a|b\u202e","actor":[]}`,
		`{"records":[]}`, `{"records":[1,"two",null,[],{"id":"rec-in"}]}`, `{"id":"rec-big","x":"` + strings.Repeat("y", 20_000) + `"}`,
		f.record("rec-sync", "syncDevice ManagedDevice", f.device(pixel), console), f.record("rec-get", "Get DeviceConfiguration", "x", console),
		f.record("rec-nobody", "resetPasscode ManagedDevice", "not-a-device", console),
		old, tomorrow, refused, strings.Replace(f.record("rec-far", "resetPasscode ManagedDevice", f.device(pixel), console), `{"id"`, `{"tenantId":"`+graphsim.Fabrikam+`","id"`, 1),
	} {
		f.send(record)
	}
	f.settle(time.Hour)
	for _, run := range f.Runs {
		if run.Verdict != "done" {
			t.Errorf("a run ended %s %s", run.Verdict, run.Code)
		}
	}
	if all := f.resets(); len(all) != 0 || len(f.audits) != 0 {
		t.Errorf("adopted %v, audits %v", all, f.audits)
	}
	f.wantDecisions(map[portal.Decision]int{portal.Ignored: 14, portal.TooOld: 1, portal.Refused: 1, portal.Elsewhere: 1})
}

func TestCatchUpReadsWhatNobodySent(t *testing.T) {
	t.Parallel()
	f := setUp(t, false, true)
	f.log = append(f.log, json.RawMessage(f.record("rec-ancient", "x", "x", console)))
	f.settle(8 * 24 * time.Hour)
	for i := range 450 { // more than one run takes
		f.log = append(f.log, json.RawMessage(f.record(fmt.Sprintf("rec-%03d", i), "x", "x", console)))
	}
	f.log = append(f.log, json.RawMessage(f.click("rec-click", pixel)))
	f.catchUp()
	f.settle(time.Hour)
	f.wantDecisions(map[portal.Decision]int{portal.Ignored: 450, portal.Adopted: 1})
	if r := f.only(); r.State != passcode.Issued {
		t.Errorf("adopted and %s", r.State)
	}
	late := f.record("rec-late", "x", "x", console) // shows up late
	f.settle(30 * time.Minute)
	f.log = append(f.log, json.RawMessage(f.record("rec-new", "x", "x", console)))
	f.catchUp()
	f.settle(time.Minute)
	f.log = append(f.log, json.RawMessage(late))
	f.catchUp()
	f.settle(time.Minute)
	f.wantDecisions(map[portal.Decision]int{portal.Ignored: 452, portal.Adopted: 1})
}

// TestSimulatedPortal reads the simulated tenant's own audit log: what somebody did in its portal, and what we did.
func TestSimulatedPortal(t *testing.T) {
	t.Parallel()
	f := setUp(t, false, true)
	if err := f.sim.ResetInPortal(contoso, pixel); err != nil {
		t.Fatal(err)
	}
	if _, err := f.sim.AddPolicy(contoso, graphsim.PolicySpec{Store: graphsim.DeviceConfigurations, Name: "PIN recovery", Value: true}); err != nil {
		t.Fatal(err)
	}
	own := f.accept("store-kiosk-07")
	f.settle(5 * time.Minute)
	for range 2 {
		f.catchUp()
		f.settle(5 * time.Minute)
	}
	f.wantDecisions(map[portal.Decision]int{portal.Adopted: 1, portal.Audited: 1, portal.Own: 1})
	if len(f.audits) != 1 {
		t.Errorf("asked for audits at %v", f.audits)
	}
	for _, r := range f.resets() {
		if code := f.reveal(r); r.State != passcode.Issued || code != "4711-canary" || (r.ID == own) == (r.Origin == passcode.FromPortal) {
			t.Errorf("reset %+v, code %q", r, code)
		}
	}
	if n := graphtest.Resets(t, f.sim, contoso, pixel); n != 1 {
		t.Errorf("the device was reset %d times", n)
	}
}

// TestCrashAtEveryBoundary kills the process between every two effects of an adoption and wants the same end each time.
func TestCrashAtEveryBoundary(t *testing.T) {
	t.Parallel()
	dispatchtest.EachCrash(t, 6, 2, func(t *testing.T, torn bool, n int) (int, string) {
		f := setUp(t, torn, true)
		f.send(fmt.Sprintf(`{"records":[%s,%s]}`, f.record("rec-0", "x", "x", console), f.click("rec-1", pixel)))
		f.CrashAt(n)
		f.settle(20 * time.Minute)
		passed, crashed := f.Boundaries()
		r := f.only()
		if r.State != passcode.Issued || f.reveal(r) != "4711-canary" {
			t.Errorf("crash %d (%s): ended %s %s", n, crashed, r.State, r.FailureCode)
		}
		if got := graphtest.Resets(t, f.sim, contoso, pixel); got != 1 {
			t.Errorf("crash %d (%s): the device was reset %d times", n, crashed, got)
		}
		f.wantDecisions(map[portal.Decision]int{portal.Adopted: 1, portal.Ignored: 1})
		// A commit whose answer was lost may go uncounted; none is counted twice, and none without a crash is left out.
		if a, i := f.counted[portal.Adopted], f.counted[portal.Ignored]; a > 1 || i > 1 || a+i < 1 || n == 0 && a+i != 2 {
			t.Errorf("crash %d (%s): counted %d adopted and %d ignored", n, crashed, a, i)
		}
		return passed, crashed
	})
}
