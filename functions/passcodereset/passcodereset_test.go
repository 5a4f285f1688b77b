package passcodereset_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/functions/passcodereset"
	"pinreset/shared/audit"
	"pinreset/shared/diag"
	"pinreset/shared/dispatch/dispatchtest"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/graph/graphtest"
	"pinreset/shared/notice"
	"pinreset/shared/passcode"
	"pinreset/shared/secret"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

const contoso = graphsim.Contoso

// fixture is the handler with everything real under it: store, dispatch, vault, Graph client, simulated cloud.
type fixture struct {
	*dispatchtest.Bench
	sim    *graphsim.Cloud
	client *graph.Client
	vault  *secret.Vault
	keys   *sqlitework.Store
}

func setUp(t *testing.T, torn bool) *fixture {
	t.Helper()
	return setUpWith(t, torn, graphsim.Timing{}, func() string { return "4711-canary" })
}

func setUpWith(t *testing.T, torn bool, timing graphsim.Timing, code func() string) *fixture {
	t.Helper()
	b := dispatchtest.New(t, torn)
	sim, client := graphtest.New(t, graphsim.Options{Now: b.Clock.Now, Passcode: code, Timing: timing})
	keys, err := sqlitework.Open(filepath.Join(t.TempDir(), "keys"), sqlitework.Options{Now: b.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = keys.Close() })
	kek, err := secret.OpenLocalKey(filepath.Join(t.TempDir(), "root-key"))
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{Bench: b, sim: sim, client: client, keys: keys, vault: secret.NewVault(keys, kek, b.Clock.Now)}
	b.Serve((&passcodereset.Handler{Devices: client, Vault: f.vault, Store: b.Store(), Schedule: passcodereset.DefaultSchedule}).Route())
	u := b.Unit(tenant.Partition)
	if _, err := tenant.Add(u, contoso, "Contoso", events.Pinreset()); err != nil {
		t.Fatal(err)
	}
	if err := u.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	return f
}

// accept accepts a reset as the API does and returns its id.
func (f *fixture) accept(device string) string {
	f.T.Helper()
	u := f.Unit(contoso)
	r, existing, err := passcode.Accept(f.T.Context(), u, events.PasscodeResetRequested{
		RequestID: f.NewID(), DeviceID: graphtest.DeviceID(f.T, f.sim, contoso, device), Reason: "user on the phone",
		By: events.Actor{Kind: events.Operator, ID: "op-1"},
	})
	if err != nil || existing {
		f.T.Fatalf("accept: existing %t, %v", existing, err)
	}
	if err := u.Commit(f.T.Context()); err != nil {
		f.T.Fatal(err)
	}
	return r.ID
}

func (f *fixture) reset(id string) passcode.Reset {
	f.T.Helper()
	r, err := passcode.Read(context.WithoutCancel(f.T.Context()), f.Unit(contoso), id)
	if err != nil {
		f.T.Fatal(err)
	}
	return r
}

// end runs until the reset has ended and returns it.
func (f *fixture) end(id string) passcode.Reset {
	f.T.Helper()
	f.RunUntil(45*24*time.Hour, func() bool { return !f.reset(id).Open() })
	return f.reset(id)
}

// reveal opens the code of a reset, audit entry first.
func (f *fixture) reveal(r passcode.Reset) (string, error) {
	f.T.Helper()
	if r.Code == nil {
		return "", secret.ErrGone
	}
	receipt, err := audit.Commit(f.T.Context(), f.Unit(contoso), audit.Entry{
		Actor: events.Actor{Kind: events.Operator, ID: "op-1"}, Action: audit.PasscodeRevealed, RequestID: r.ID, Reason: "test"}, r.Code.ID)
	if err != nil {
		f.T.Fatal(err)
	}
	code, err := f.vault.Open(f.T.Context(), *r.Code, secret.Binding{Tenant: contoso, Device: r.DeviceID, Request: r.ID}, receipt)
	return code.Expose(), err
}

func (f *fixture) failures() []events.FailureRaised {
	f.T.Helper()
	var raised []events.FailureRaised
	for {
		deliveries, err := f.receiveNow(work.Announcements)
		if err != nil {
			return raised
		}
		for _, d := range deliveries {
			e, err := events.Parse(d.Body)
			if err != nil {
				f.T.Fatal(err)
			}
			if fail, ok := e.Data.(events.FailureRaised); ok {
				raised = append(raised, fail)
			}
		}
	}
}

func (f *fixture) receiveNow(q work.Queue) ([]work.Delivery, error) {
	ctx, cancel := context.WithTimeout(f.T.Context(), 200*time.Millisecond)
	defer cancel()
	return f.Source().Receive(ctx, q, 32)
}

// TestPlatforms walks one device of each row of the table of platforms to its end.
func TestPlatforms(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		device string
		state  passcode.State
		code   fault.Code
		calls  int
	}{
		{"sales-pixel-12", passcode.Issued, "", 1},
		{"store-kiosk-07", passcode.Issued, "", 1},
		{"marketing-galaxy-04", passcode.Issued, "", 1},
		{"legal-galaxy-05", passcode.Issued, "", 1},
		{"warehouse-aosp-01", passcode.Issued, "", 1},
		{"meeting-aosp-02", passcode.Issued, "", 1},
		{"depot-tablet-06", passcode.Issued, "", 1},
		{"old-lumia-950", passcode.Issued, "", 1},
		{"ceo-iphone", passcode.Removed, "", 1},
		{"board-ipad-01", passcode.Removed, "", 1},
		{"hr-laptop-11", passcode.Failed, fault.PlatformNotSupported, 0},
		{"byod-home-11", passcode.Failed, fault.PlatformNotSupported, 0},
		{"design-macbook-02", passcode.Failed, fault.PlatformNotSupported, 0},
		{"byod-iphone-08", passcode.Failed, fault.EnrolmentNotSupported, 0},
		{"depot-tablet-09", passcode.Failed, fault.EnrolmentNotSupported, 0},
		{"partner-moto-02", passcode.Failed, fault.VersionTooOld, 0},
		{"intern-galaxy-09", passcode.Failed, fault.ResetTokenNotActive, -1},
		{"flaky-tablet-03", passcode.Failed, fault.DeviceActionFailed, -1},
		{"field-pixel-offline", passcode.Failed, fault.DeviceDidNotRespond, 1},
	} {
		t.Run(row.device, func(t *testing.T) {
			t.Parallel()
			f := setUp(t, false)
			r := f.end(f.accept(row.device))
			if row.state != "" && (r.State != row.state || r.FailureCode != row.code) {
				t.Fatalf("ended %s %s, want %s %s", r.State, r.FailureCode, row.state, row.code)
			}
			if got := graphtest.Resets(t, f.sim, contoso, row.device); row.calls >= 0 && got != row.calls {
				t.Errorf("%d effective resets, want %d", got, row.calls)
			}
			code, err := f.reveal(r)
			if (r.State == passcode.Issued) != (code == "4711-canary") {
				t.Errorf("state %s reveals %q, %v", r.State, code, err)
			}
			failures := f.failures()
			if (r.State == passcode.Failed) != (len(failures) == 1) {
				t.Fatalf("state %s raised %d failures", r.State, len(failures))
			}
			for _, raised := range failures {
				page, err := diag.Load(t.Context(), f.Store(), contoso, diag.IDFor(contoso, r.ID))
				if err != nil || raised.Code != string(r.FailureCode) || raised.Diagnostics != page.Link || r.Diagnostics != page.Link {
					t.Errorf("failure %+v does not lead to its page %s: %v", raised, page.Link, err)
				}
				if len(page.Fix) == 0 || len(page.Timeline) == 0 || page.DeviceID != r.DeviceID {
					t.Errorf("page of %s has %d fixes and %d attempts, device %q", raised.Code, len(page.Fix), len(page.Timeline), page.DeviceID)
				}
			}
		})
	}
}

func TestCodeIsGoneAtItsExpiry(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	id := f.accept("sales-pixel-12")
	r := f.end(id)
	if life := r.ExpiresAt.Sub(r.IssuedAt); life != secret.MaxLife {
		t.Fatalf("code lives %s, want %s", life, secret.MaxLife)
	}
	sealed := r
	f.Drain(r.ExpiresAt.Add(-time.Second))
	if code, err := f.reveal(f.reset(id)); code == "" {
		t.Fatalf("a second before its expiry: %v", err)
	}
	f.Clock.Advance(time.Second) // nothing has been delivered: the clock alone must do
	if code, err := f.reveal(f.reset(id)); !errors.Is(err, secret.ErrGone) {
		t.Fatalf("at its expiry: %q, %v", code, err)
	}
	f.Drain(r.ExpiresAt.Add(time.Minute))
	if got := f.reset(id); got.State != passcode.Expired || got.Code != nil {
		t.Fatalf("after its expiry: %s, code %v", got.State, got.Code)
	}
	// An old copy of the envelope and a clock set back open nothing: the key is gone.
	f.Clock.Advance(-time.Hour)
	if code, err := f.reveal(sealed); !errors.Is(err, secret.ErrGone) {
		t.Fatalf("an old copy opens: %q, %v", code, err)
	}
}

func TestTenantShortensTheLifeOfACode(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	u := f.Unit(contoso)
	s, err := tenant.ReadSettings(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	s.PasscodeHours = 3
	if err := errors.Join(tenant.WriteSettings(u, s), u.Commit(t.Context())); err != nil {
		t.Fatal(err)
	}
	if r := f.end(f.accept("sales-pixel-12")); r.ExpiresAt.Sub(r.IssuedAt) != 3*time.Hour {
		t.Fatalf("code lives %s, want 3h", r.ExpiresAt.Sub(r.IssuedAt))
	}
}

func TestSecondRequestMeetsThePendingOne(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	first := f.accept("sales-pixel-12")
	u := f.Unit(contoso)
	r, existing, err := passcode.Accept(t.Context(), u, events.PasscodeResetRequested{
		RequestID: f.NewID(), DeviceID: graphtest.DeviceID(t, f.sim, contoso, "sales-pixel-12"), Reason: "again", By: events.Pinreset()})
	if err != nil || !existing || r.ID != first || len(u.Batch().Writes) != 0 {
		t.Fatalf("got %s, existing %t, %v, %d writes", r.ID, existing, err, len(u.Batch().Writes))
	}
	f.end(first)
	second := f.end(f.accept("sales-pixel-12"))
	if got := f.reset(first); got.SupersededBy != second.ID || !got.Readable(f.Clock.Now()) {
		t.Errorf("first code: superseded by %q, readable %t; want superseded and still readable", got.SupersededBy, got.Readable(f.Clock.Now()))
	}
	if n := graphtest.Resets(t, f.sim, contoso, "sales-pixel-12"); n != 2 {
		t.Errorf("%d effective resets, want 2", n)
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	id := f.accept("field-pixel-offline")
	f.RunUntil(time.Hour, func() bool { return f.reset(id).State == passcode.Waiting })
	if why := f.reset(id).Why; why != fault.WaitingForDevice {
		t.Errorf("waits for %q", why)
	}
	u := f.Unit(contoso)
	if _, err := passcode.Cancel(t.Context(), u, id, "wrong device", events.Pinreset()); err != nil {
		t.Fatal(err)
	}
	if err := u.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The device comes back and carries the action out all the same; nobody is shown its code.
	online := true
	if err := f.sim.AdjustDevice(contoso, "field-pixel-offline", graphsim.DeviceKnobs{Online: &online}); err != nil {
		t.Fatal(err)
	}
	f.Drain(f.Clock.Now().Add(time.Hour))
	if r := f.reset(id); r.State != passcode.Cancelled || r.Code != nil {
		t.Errorf("state %s, code %v", r.State, r.Code)
	}
	if _, err := passcode.Cancel(t.Context(), f.Unit(contoso), id, "", events.Pinreset()); !errors.Is(err, passcode.ErrEnded) {
		t.Errorf("second cancel: %v", err)
	}
}

func TestDeviceChangedHands(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*graphsim.Cloud) error{
		"enrolled again": func(c *graphsim.Cloud) error { return c.Reenrol(contoso, "sales-pixel-12", "") },
		"another user":   func(c *graphsim.Cloud) error { return c.ChangeUser(contoso, "sales-pixel-12", "dev@contoso.example") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setUp(t, false)
			id := f.accept("sales-pixel-12")
			f.RunUntil(time.Hour, func() bool { return f.reset(id).State == passcode.Waiting })
			if err := change(f.sim); err != nil {
				t.Fatal(err)
			}
			if r := f.end(id); r.FailureCode != fault.DeviceChangedHands || r.Code != nil {
				t.Errorf("ended %s %s, code %v", r.State, r.FailureCode, r.Code)
			}
		})
	}
}

// TestUnclearAnswers: whatever becomes of the call's answer, the device is reset once.
func TestUnclearAnswers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		fault graphsim.Fault
	}{
		{"answer lost", graphsim.Fault{Kind: graphsim.LostAnswer, Family: graphsim.Devices}},
		{"429 though executed", graphsim.Fault{Kind: graphsim.ExecutedThrottle, Family: graphsim.Devices, RetryAfter: 3}},
		{"503 though executed, no Retry-After", graphsim.Fault{Kind: graphsim.ExecutedThrottle, Family: graphsim.Devices, Status: 503}},
		{"429 and not executed", graphsim.Fault{Kind: graphsim.Throttle, Family: graphsim.Devices, WritesOnly: true, RetryAfter: 3}},
		{"429 twice without Retry-After", graphsim.Fault{Kind: graphsim.Throttle, Family: graphsim.Devices, WritesOnly: true, Count: 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := setUp(t, false)
			if err := f.sim.Inject(contoso, c.fault); err != nil {
				t.Fatal(err)
			}
			r := f.end(f.accept("sales-pixel-12"))
			if r.State != passcode.Issued {
				t.Errorf("ended %s %s", r.State, r.FailureCode)
			}
			if n := graphtest.Resets(t, f.sim, contoso, "sales-pixel-12"); n != 1 {
				t.Errorf("%d effective resets, want 1", n)
			}
			if early := f.sim.Counters().Families[graphsim.Devices].TooEarly; early != 0 {
				t.Errorf("%d calls before Retry-After had passed", early)
			}
		})
	}
}

// TestOutcomeUnknown: the answer is lost and the device shows no trace within the time that is given for it.
func TestOutcomeUnknown(t *testing.T) {
	t.Parallel()
	f := setUpWith(t, false, graphsim.Timing{EntryDelay: 2 * time.Hour}, func() string { return "4711-canary" })
	if err := f.sim.Inject(contoso, graphsim.Fault{Kind: graphsim.LostAnswer, Family: graphsim.Devices}); err != nil {
		t.Fatal(err)
	}
	if r := f.end(f.accept("sales-pixel-12")); r.FailureCode != fault.OutcomeUnknown || r.EndedAt.Sub(r.CalledAt) > 20*time.Minute {
		t.Errorf("ended %s %s after %s", r.State, r.FailureCode, r.EndedAt.Sub(r.CalledAt))
	}
	if n := graphtest.Resets(t, f.sim, contoso, "sales-pixel-12"); n != 1 {
		t.Errorf("%d effective resets, want 1", n)
	}
}

// TestCrashAtEveryBoundary kills the process between every two effects of a reset, one run for each, and wants the same end:
// the device reset once, its code readable, no failure. The one other end is that of a crash right between the intent and
// the call: nobody can tell it from a lost answer, so the call is not made again and a person must decide.
func TestCrashAtEveryBoundary(t *testing.T) {
	t.Parallel()
	unknown := map[bool]*atomic.Int64{false: {}, true: {}} // by whether the store is torn
	dispatchtest.EachCrash(t, 8, 4, func(t *testing.T, torn bool, n int) (int, string) {
		f := setUp(t, torn)
		f.tellUsers()
		id := f.accept("sales-pixel-12")
		f.CrashAt(n)
		r := f.end(id)
		passed, crashed := f.Boundaries()
		if due, later := f.Waiting(notice.Queue); due+later != 2 { // its start and its end, however that came
			t.Errorf("crash %d (%s): %d notifications of a reset that ended %s, want 2", n, crashed, due+later, r.State)
		}
		if r.FailureCode == fault.OutcomeUnknown && crashed == "after commit" {
			if got := graphtest.Resets(t, f.sim, contoso, "sales-pixel-12"); got != 0 || len(f.failures()) != 1 || unknown[torn].Add(1) > 1 {
				t.Errorf("crash %d (%s): %d effective resets, want none and one failure, once", n, crashed, got)
			}
			return passed, crashed
		}
		if r.State != passcode.Issued {
			t.Errorf("crash %d (%s): ended %s %s", n, crashed, r.State, r.FailureCode)
		}
		if got := graphtest.Resets(t, f.sim, contoso, "sales-pixel-12"); got != 1 {
			t.Errorf("crash %d (%s): %d effective resets, want 1", n, crashed, got)
		}
		if code, err := f.reveal(r); code != "4711-canary" {
			t.Errorf("crash %d (%s): reveal: %v", n, crashed, err)
		}
		if failures := f.failures(); len(failures) != 0 {
			t.Errorf("crash %d (%s): raised %v", n, crashed, failures)
		}
		return passed, crashed
	})
}

// tellUsers has the devices' users told of resets.
func (f *fixture) tellUsers() {
	f.T.Helper()
	u := f.Unit(contoso)
	if err := errors.Join(notice.Write(u, notice.Settings{MailUser: true}), u.Commit(f.T.Context())); err != nil {
		f.T.Fatal(err)
	}
}

func TestNoSecretInMessagesOrRows(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	r := f.end(f.accept("sales-pixel-12"))
	rows := 0
	for page := ""; ; {
		p, err := f.Store().List(t.Context(), work.Query{Partition: contoso, Limit: 1000, Page: page})
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range p.Rows {
			rows++
			if strings.Contains(string(row.Value), "4711") {
				t.Errorf("row %s has the code", row.Row)
			}
		}
		if page = p.Next; page == "" {
			break
		}
	}
	if rows < 5 || r.Code == nil {
		t.Fatalf("only %d rows were searched", rows)
	}
}

func TestFromOutside(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	send := func(tenantID, id string) {
		u := f.Unit(tenantID)
		err := u.Forward(passcode.Queue, time.Time{}, events.Event{ID: id, Tenant: tenantID, Time: f.Clock.Now(), Data: events.PasscodeResetRequested{
			RequestID: id, DeviceID: graphtest.DeviceID(t, f.sim, contoso, "sales-pixel-12"), Reason: "sent by a portal", By: events.Actor{Kind: events.Sender, ID: "portal"}}})
		if err := errors.Join(err, u.Commit(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	send(contoso, "portal-1")
	send(contoso, "portal-1") // the same event once more
	send(contoso, "portal-2") // another one for the same device, while the first is pending
	f.Drain(f.Clock.Now())
	if r := f.end("portal-1"); r.State != passcode.Issued || r.By.ID != "portal" {
		t.Errorf("ended %s %s by %s", r.State, r.FailureCode, r.By.ID)
	}
	if n := graphtest.Resets(t, f.sim, contoso, "sales-pixel-12"); n != 1 {
		t.Errorf("%d effective resets, want 1", n)
	}
	send(graphsim.Fabrikam, "portal-3")
	f.Drain(f.Clock.Now().Add(time.Minute))
	if !slices.ContainsFunc(f.failures(), func(e events.FailureRaised) bool { return e.Code == string(fault.TenantUnknown) }) {
		t.Error("a reset for a tenant that is not onboarded raised no failure")
	}
	u := f.Unit(tenant.Partition)
	onPremises, err := tenant.AddOnPremises(u, "corp.example", "Northwind", events.Pinreset())
	if err := errors.Join(err, u.Commit(t.Context())); err != nil {
		t.Fatal(err)
	}
	send(onPremises.ID, "portal-4")
	f.Drain(f.Clock.Now().Add(time.Minute))
	if !slices.ContainsFunc(f.failures(), func(e events.FailureRaised) bool { return e.Code == string(fault.TenantOnPremises) }) {
		t.Error("a reset for a tenant on premises raised no failure")
	}
}

// TestEntriesOfAnEarlierCall: the entry of a reset that was given up must not be taken for that of the next one.
func TestEntriesOfAnEarlierCall(t *testing.T) {
	t.Parallel()
	if passcode.StartSkew != graph.StartSkew {
		t.Fatalf("the domain allows %s, the client %s", passcode.StartSkew, graph.StartSkew)
	}
	codes := 0
	f := setUpWith(t, false, graphsim.Timing{EntryDelay: 3 * time.Second}, func() string { codes++; return fmt.Sprintf("code-%d", codes) })
	first := f.accept("sales-pixel-12")
	f.RunUntil(time.Minute, func() bool { return f.reset(first).State == passcode.Waiting })
	u := f.Unit(contoso)
	if _, err := passcode.Cancel(t.Context(), u, first, "wrong person", events.Pinreset()); err != nil {
		t.Fatal(err)
	}
	if err := u.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.Clock.Advance(time.Second)
	r := f.end(f.accept("sales-pixel-12"))
	if code, err := f.reveal(r); code != "code-2" {
		t.Errorf("the second reset shows %q, %v; the device has code-2", code, err)
	}
}

// TestOvertakenRunCallsNothing: a run that begins after the last attempt of its message has failed the reset finds what a replayed
// dead letter finds. It must not take itself for one and reset a device after its operator was told of a failure.
func TestOvertakenRunCallsNothing(t *testing.T) {
	t.Parallel()
	for _, torn := range []bool{false, true} {
		t.Run(fmt.Sprintf("torn %t", torn), func(t *testing.T) {
			t.Parallel()
			f := setUp(t, torn)
			id := f.accept("sales-pixel-12")
			f.Overtake(passcode.Queue)
			f.Drain(f.Clock.Now().Add(time.Hour))
			if r := f.reset(id); r.State != passcode.Failed || !r.CalledAt.IsZero() {
				t.Errorf("%s, called %s, want the failed reset left alone", r.State, r.CalledAt)
			}
		})
	}
}
