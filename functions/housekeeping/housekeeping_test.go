package housekeeping_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/functions/announcement"
	"pinreset/functions/consent"
	"pinreset/functions/housekeeping"
	"pinreset/functions/passcodereset"
	"pinreset/shared/audit"
	"pinreset/shared/diag"
	"pinreset/shared/dispatch"
	"pinreset/shared/dispatch/dispatchtest"
	"pinreset/shared/fault"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/graph/graphtest"
	"pinreset/shared/onboarding"
	"pinreset/shared/passcode"
	"pinreset/shared/secret"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
	"pinreset/shared/work/outbox/outboxtest"
	"pinreset/shared/work/sqlitework"
)

const (
	contoso = graphsim.Contoso
	device  = "sales-pixel-12"
	canary  = "4711-canary"
	day     = 24 * time.Hour
)

// fixture is every handler with everything real under it, and housekeeping's timer, begun by hand.
type fixture struct {
	*dispatchtest.Bench
	sim     *graphsim.Cloud
	keys    *sqlitework.Store
	vault   *secret.Vault
	timer   *housekeeping.Timer
	handler *housekeeping.Handler
	others  []dispatch.Route
}

func setUp(t *testing.T, torn bool) *fixture {
	t.Helper()
	b := dispatchtest.New(t, torn)
	sim, client := graphtest.New(t, graphsim.Options{Now: b.Clock.Now, Passcode: func() string { return canary }})
	f := &fixture{Bench: b, sim: sim}
	f.openVault(nil)
	general, privileged := sim.Apps()
	f.others = []dispatch.Route{
		(&passcodereset.Handler{Devices: client, Vault: f.vault, Store: b.Store(), Schedule: passcodereset.DefaultSchedule}).Route(),
		(&consent.Handler{Directory: client, Store: b.Store(), App: general.ClientID, Privileged: privileged.ClientID, Schedule: consent.DefaultSchedule}).Route(),
		(&announcement.Handler{Logger: b.Log}).Route(),
	}
	f.serveAll()
	f.add(contoso)
	return f
}

// kek wraps the data keys of a vault.
type kek interface {
	Wrap(ctx context.Context, key, bound []byte) ([]byte, error)
	Unwrap(ctx context.Context, wrapped, bound []byte) ([]byte, error)
}

// openVault opens the key ring; keys are wrapped by a file's key unless another is given.
func (f *fixture) openVault(wrap kek) {
	f.T.Helper()
	var err error
	if f.keys, err = sqlitework.Open(filepath.Join(f.T.TempDir(), "keys"), sqlitework.Options{Now: f.Clock.Now}); err != nil {
		f.T.Fatal(err)
	}
	f.T.Cleanup(func() { _ = f.keys.Close() })
	if wrap == nil {
		if wrap, err = secret.OpenLocalKey(filepath.Join(f.T.TempDir(), "root-key")); err != nil {
			f.T.Fatal(err)
		}
	}
	f.vault = secret.NewVault(f.keys, wrap, f.Clock.Now)
	f.handler = &housekeeping.Handler{Vault: f.vault, Keep: housekeeping.DefaultKeep, Schedule: housekeeping.DefaultSchedule}
	f.timer = &housekeeping.Timer{Store: f.Store(), Handler: f.handler, Now: f.Clock.Now, NewID: f.NewID, Logger: slog.New(slog.DiscardHandler)}
}

func (f *fixture) serveAll() { f.Serve(append([]dispatch.Route{f.handler.Route()}, f.others...)...) }

func (f *fixture) add(id string) {
	f.T.Helper()
	u := f.Unit(tenant.Partition)
	if _, err := tenant.Add(u, id, "Tenant", events.Pinreset()); err != nil {
		f.T.Fatal(err)
	}
	f.must(u.Commit(f.T.Context()))
}

func (f *fixture) must(errs ...error) {
	f.T.Helper()
	if err := errors.Join(errs...); err != nil {
		f.T.Fatal(err)
	}
}

// tick begins the rounds of this moment. A crash in it is followed by a restart, which begins them again.
func (f *fixture) tick() {
	f.T.Helper()
	if err := f.timer.Tick(f.T.Context()); err != nil {
		if _, crashed := f.Boundaries(); crashed == "" {
			f.T.Fatal(err)
		}
		f.Restart()
		f.must(f.timer.Tick(f.T.Context()))
	}
}

// pass lets the time pass with the timer running.
func (f *fixture) pass(d time.Duration) {
	f.T.Helper()
	for end := f.Clock.Now().Add(d); f.Clock.Now().Before(end); {
		f.tick()
		f.Drain(f.Clock.Now().Add(f.handler.Schedule.Watch))
	}
}

// record stores an accepted reset without its message.
func (f *fixture) record(name string) string {
	f.T.Helper()
	u := f.Unit(contoso)
	r, existing, err := passcode.Record(f.T.Context(), u, events.PasscodeResetRequested{
		RequestID: f.NewID(), DeviceID: graphtest.DeviceID(f.T, f.sim, contoso, name), Reason: "user on the phone",
		By: events.Actor{Kind: events.Operator, ID: "op-1"},
	})
	if err != nil || existing {
		f.T.Fatalf("record: existing %t, %v", existing, err)
	}
	f.must(u.Commit(f.T.Context()))
	return r.ID
}

// accept stores an accepted reset as the API does.
func (f *fixture) accept(name string) string {
	f.T.Helper()
	u := f.Unit(contoso)
	r, _, err := passcode.Accept(f.T.Context(), u, events.PasscodeResetRequested{
		RequestID: f.NewID(), DeviceID: graphtest.DeviceID(f.T, f.sim, contoso, name), Reason: "user on the phone",
		By: events.Actor{Kind: events.Operator, ID: "op-1"},
	})
	f.must(err, u.Commit(f.T.Context()))
	return r.ID
}

// issue stores a reset that has a code, without the reminder of its expiry.
func (f *fixture) issue(code, deviceID string) passcode.Reset {
	f.T.Helper()
	u := f.Unit(contoso)
	r, err := f.seal(u, code, deviceID)
	f.must(err, u.Commit(f.T.Context()))
	return r
}

// seal stages a reset that has a code.
func (f *fixture) seal(u *work.Unit, code, deviceID string) (passcode.Reset, error) {
	ctx, now := f.T.Context(), u.Now()
	r, _, err := passcode.Record(ctx, u, events.PasscodeResetRequested{RequestID: u.NewID(), DeviceID: deviceID, Reason: "user on the phone"})
	if err != nil {
		return r, err
	}
	r.CalledAt, r.Effect, r.IssuedAt, r.ExpiresAt = now, passcode.EffectPasscode, now, now.Add(secret.MaxLife)
	env, err := f.vault.Seal(ctx, u.NewID(), secret.Binding{Tenant: contoso, Device: deviceID, Request: r.ID}, secret.NewText(code), r.ExpiresAt)
	if err != nil {
		return r, err
	}
	r.Code = &env
	return passcode.End(ctx, u, r, passcode.Issued)
}

func (f *fixture) reset(id string) passcode.Reset {
	f.T.Helper()
	r, err := passcode.Read(context.WithoutCancel(f.T.Context()), f.Unit(contoso), id)
	f.must(err)
	return r
}

func (f *fixture) reveal(r passcode.Reset) (string, error) {
	f.T.Helper()
	if r.Code == nil {
		return "", secret.ErrGone
	}
	receipt, err := audit.Commit(f.T.Context(), f.Unit(contoso), audit.Entry{
		Actor: events.Actor{Kind: events.Operator, ID: "op-1"}, Action: audit.PasscodeRevealed, RequestID: r.ID, Reason: "test"}, r.Code.ID)
	f.must(err)
	text, err := f.vault.Open(f.T.Context(), *r.Code, secret.Binding{Tenant: contoso, Device: r.DeviceID, Request: r.ID}, receipt)
	return text.Expose(), err
}

// audited counts the audit entries of a request by action.
func (f *fixture) audited(request string) map[string]int {
	f.T.Helper()
	count := map[string]int{}
	for page := ""; ; {
		entries, next, err := audit.List(f.T.Context(), f.Store(), contoso, 1000, page)
		f.must(err)
		for _, e := range entries {
			if e.RequestID == request {
				count[e.Action]++
			}
		}
		if page = next; page == "" {
			return count
		}
	}
}

// rows counts the rows of a partition with the prefix.
func rows(t testing.TB, s interface {
	List(context.Context, work.Query) (work.Page, error)
}, partition, prefix string) int {
	t.Helper()
	n := 0
	for page := ""; ; {
		p, err := s.List(t.Context(), work.Query{Partition: partition, Prefix: prefix, Limit: 1000, Page: page})
		if err != nil {
			t.Fatal(err)
		}
		n += len(p.Rows)
		if page = p.Next; page == "" {
			return n
		}
	}
}

// change changes a stored reset behind everybody's back.
func (f *fixture) change(id string, fn func(*passcode.Reset)) {
	f.T.Helper()
	u := f.Unit(contoso)
	r, err := passcode.Read(f.T.Context(), u, id)
	f.must(err)
	fn(&r)
	f.must(passcode.Write(u, r), u.Commit(f.T.Context()))
}

// lose takes the next message of the queue that is due and throws it away.
func (f *fixture) lose(q work.Queue) {
	f.T.Helper()
	ctx, cancel := context.WithTimeout(f.T.Context(), 5*time.Second)
	defer cancel()
	deliveries, err := f.Source().Receive(ctx, q, 1)
	f.must(err)
	f.must(f.Source().Settle(f.T.Context(), deliveries[0], work.Batch{}, work.Outcome{Kind: work.Done}))
}

// loss is one way in which a request loses its next step.
type loss struct {
	name  string
	make  func(*fixture) (id string)
	after time.Duration // until housekeeping must have brought it to its end
	state passcode.State
	code  fault.Code
	calls int // effective resets of the device
}

var losses = []loss{
	{"accepted, without a message", func(f *fixture) string { return f.record(device) }, 30 * time.Minute, passcode.Issued, "", 1},
	{"reminder that was never stored", func(f *fixture) string {
		id := f.accept(device)
		f.RunUntil(time.Hour, func() bool { return f.reset(id).State == passcode.Waiting })
		f.change(id, func(r *passcode.Reset) { r.CheckID = "never-stored" })
		return id
	}, 30 * time.Minute, passcode.Issued, "", 1},
	{"reminder that was done and did nothing", func(f *fixture) string {
		id := f.accept(device)
		f.RunUntil(time.Hour, func() bool { return f.reset(id).State == passcode.Waiting })
		f.Clock.Advance(f.reset(id).NextCheck.Sub(f.Clock.Now()))
		f.lose(passcode.Queue)
		return id
	}, 45 * time.Minute, passcode.Issued, "", 1},
	{"called, and the run's message with its result is gone", func(f *fixture) string {
		id := f.accept(device)
		f.RunUntil(time.Hour, func() bool { return f.reset(id).State == passcode.Waiting })
		f.change(id, func(r *passcode.Reset) {
			r.State, r.CheckID, r.NextCheck, r.Checks = passcode.Calling, "", time.Time{}, 0
		})
		return id
	}, 30 * time.Minute, passcode.Issued, "", 1},
	{"waiting for a device that is off, past its deadline", func(f *fixture) string {
		id := f.accept("field-pixel-offline")
		f.RunUntil(time.Hour, func() bool { return f.reset(id).State == passcode.Waiting })
		f.change(id, func(r *passcode.Reset) { r.CheckID = "never-stored" })
		f.Clock.Advance(25 * time.Hour)
		return id
	}, 30 * time.Minute, passcode.Failed, fault.DeviceDidNotRespond, 0},
	{"accepted, without a message, past its deadline", func(f *fixture) string {
		id := f.record(device)
		f.Clock.Advance(25 * time.Hour)
		return id
	}, 30 * time.Minute, passcode.Failed, fault.NotBegunInTime, 0},
	{"issued, without the reminder of its expiry", func(f *fixture) string {
		r := f.issue(canary, graphtest.DeviceID(f.T, f.sim, contoso, device))
		f.Clock.Advance(secret.MaxLife)
		return r.ID
	}, 30 * time.Minute, passcode.Expired, "", 0},
}

// TestLostReminders: a request that lost its next step comes to its end all the same, once, and with a page where it failed.
func TestLostReminders(t *testing.T) {
	t.Parallel()
	for _, torn := range []bool{false, true} {
		for _, l := range losses {
			t.Run(fmt.Sprintf("%s, torn %t", l.name, torn), func(t *testing.T) {
				t.Parallel()
				f := setUp(t, torn)
				id := l.make(f)
				f.Drain(f.Clock.Now()) // without housekeeping nothing comes of it
				if got := f.reset(id); got.State == l.state {
					t.Fatalf("it is %s before housekeeping: nothing was lost", got.State)
				}
				f.pass(l.after)
				f.ended(id, l, "")
			})
		}
	}
}

// ended checks that the reset came to the end that l wants.
func (f *fixture) ended(id string, l loss, when string) {
	f.T.Helper()
	r := f.reset(id)
	if r.State != l.state || r.FailureCode != l.code {
		f.T.Fatalf("%sended %s %s, want %s %s", when, r.State, r.FailureCode, l.state, l.code)
	}
	if got := graphtest.Resets(f.T, f.sim, contoso, device); got != l.calls {
		f.T.Errorf("%s%d effective resets, want %d", when, got, l.calls)
	}
	log := f.audited(id)
	switch l.state {
	case passcode.Issued:
		if code, err := f.reveal(r); code != canary || log[audit.ResetIssued] != 1 {
			f.T.Errorf("%sreveals %q, %v; audit %v", when, code, err, log)
		}
	case passcode.Expired:
		if n := rows(f.T, f.keys, contoso, ""); n != 0 || r.Code != nil || log[audit.PasscodeExpired] != 1 {
			f.T.Errorf("%s%d keys are left, code %v, audit %v", when, n, r.Code, log)
		}
	case passcode.Failed:
		page, err := diag.Load(f.T.Context(), f.Store(), contoso, diag.IDFor(contoso, id))
		if err != nil || page.Link != r.Diagnostics || page.Code != l.code || log[audit.ResetFailed] != 1 {
			f.T.Errorf("%sdiagnostics %q, page %q %s, audit %v, %v", when, r.Diagnostics, page.Link, page.Code, log, err)
		}
	}
}

// TestLostConsentReminder: a consent goes on, and past its deadline it fails with its page.
func TestLostConsentReminder(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} {
		for _, stored := range []bool{false, true} {
			t.Run(fmt.Sprintf("late %t, stored %t", late, stored), func(t *testing.T) {
				t.Parallel()
				const fabrikam = graphsim.Fabrikam
				f := setUp(t, false)
				f.add(fabrikam)
				read := func(u *work.Unit) onboarding.Consent {
					c, err := onboarding.Read(context.WithoutCancel(t.Context()), u)
					if !errors.Is(err, work.ErrNotFound) {
						f.must(err)
					}
					return c
				}
				u, run := f.Unit(fabrikam), f.NewID()
				_, err := u.Send(t.Context(), onboarding.Queue, time.Time{}, events.ConsentRequested{RequestID: run, By: events.Pinreset()})
				f.must(err, u.Commit(t.Context()))
				f.RunUntil(time.Hour, func() bool { return read(f.Unit(fabrikam)).Checks > 1 })
				if stored {
					f.Clock.Advance(read(f.Unit(fabrikam)).NextCheck.Sub(f.Clock.Now()))
					f.lose(onboarding.Queue)
				} else {
					u := f.Unit(fabrikam)
					c := read(u)
					c.CheckID = "never-stored"
					f.must(onboarding.Write(u, c), u.Commit(t.Context()))
				}
				if late {
					f.Clock.Advance(73 * time.Hour)
				} else {
					for _, app := range []string{"general", "privileged", "service", "client"} {
						f.must(f.sim.Consent(fabrikam, app))
					}
				}
				f.pass(time.Hour)
				c := read(f.Unit(fabrikam))
				if !late && c.State != onboarding.Proven {
					t.Fatalf("it is %s after %d looks", c.State, c.Checks)
				}
				if page, err := diag.Load(t.Context(), f.Store(), fabrikam, diag.IDFor(fabrikam, run)); late &&
					(err != nil || c.State != onboarding.Failed || c.FailureCode != fault.AppNotConsented || c.Diagnostics != page.Link) {
					t.Fatalf("it is %s %s, diagnostics %q: %v", c.State, c.FailureCode, c.Diagnostics, err)
				}
			})
		}
	}
}

// TestCrashAtEveryBoundary kills the process between every two effects of housekeeping and of what it sets going, one run for
// each, and wants the same ends.
func TestCrashAtEveryBoundary(t *testing.T) {
	t.Parallel()
	begin, expire := losses[0], losses[len(losses)-1]
	begin.state, begin.calls, expire.calls = passcode.Issued, 1, 1
	unknown := map[bool]*atomic.Int64{false: {}, true: {}} // by whether the store is torn
	dispatchtest.EachCrash(t, 20, 4, func(t *testing.T, torn bool, n int) (int, string) {
		f := setUp(t, torn)
		expired := expire.make(f)
		id := begin.make(f)
		f.orphan()
		f.old(3)
		f.Clock.Advance(time.Hour)
		f.CrashAt(n)
		f.handler.Schedule.Watch = 30 * time.Minute // fewer rounds, fewer crashes that are the same
		f.pass(2 * time.Hour)                       // a crash between a key and its code leaves the key, for an hour
		passed, crashed := f.Boundaries()
		when := fmt.Sprintf("crash %d (%s): ", n, crashed)
		// Right between the intent and the call a crash can't be told from a lost answer: a person decides.
		if r := f.reset(id); r.FailureCode == fault.OutcomeUnknown && crashed == "after commit" {
			if unknown[torn].Add(1) > 1 {
				t.Errorf("%sa second outcome that nobody knows", when)
			}
			return passed, crashed
		}
		f.ended(id, begin, when)
		if r := f.reset(expired); r.State != passcode.Expired || r.Code != nil || f.audited(expired)[audit.PasscodeExpired] != 1 {
			t.Errorf("%sthe expired one is %s, audit %v", when, r.State, f.audited(expired))
		}
		if keys := rows(t, f.keys, contoso, ""); keys != 1 { // of the new code
			t.Errorf("%s%d keys are left, want 1", when, keys)
		}
		if left := rows(t, f.Store(), contoso, "idem|"); left != 0 {
			t.Errorf("%s%d rows that had expired are left", when, left)
		}
		return passed, crashed
	})
}

// orphan makes a key without a code, as a crash between the two leaves it.
func (f *fixture) orphan() {
	f.T.Helper()
	_, err := f.vault.Seal(f.T.Context(), f.NewID(), secret.Binding{Tenant: contoso, Device: "d", Request: f.NewID()}, secret.NewText(canary), f.Clock.Now().Add(day))
	f.must(err)
}

// old stores rows that have expired.
func (f *fixture) old(n int) {
	f.T.Helper()
	u := f.Unit(contoso)
	for range n {
		f.must(u.Put("idem|"+f.NewID(), map[string]any{"expiresAt": f.Clock.Now()}))
	}
	f.must(u.Commit(f.T.Context()))
}

// TestOrphanKeys: a key without a code goes after an hour and not before, and one that a code needs stays.
func TestOrphanKeys(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	f.orphan()
	r := f.issue(canary, graphtest.DeviceID(t, f.sim, contoso, device))
	f.Clock.Advance(59 * time.Minute)
	f.tick()
	f.Drain(f.Clock.Now())
	if n := rows(t, f.keys, contoso, ""); n != 2 {
		t.Fatalf("%d keys before the hour is over, want 2", n)
	}
	f.Clock.Advance(time.Minute)
	f.tick()
	f.Drain(f.Clock.Now())
	if n := rows(t, f.keys, contoso, ""); n != 1 {
		t.Fatalf("%d keys after an hour, want 1", n)
	}
	if code, err := f.reveal(f.reset(r.ID)); code != canary {
		t.Errorf("the code that stays reveals %q, %v", code, err)
	}
}

// TestRoundsAreBegunOnce: whoever begins a round again, after a restart or beside another process, adds nothing.
func TestRoundsAreBegunOnce(t *testing.T) {
	t.Parallel()
	for _, torn := range []bool{false, true} {
		t.Run(fmt.Sprintf("torn %t", torn), func(t *testing.T) {
			t.Parallel()
			f := setUp(t, torn)
			f.add(graphsim.Fabrikam)
			runs := func() (n int) {
				for _, o := range f.Runs {
					if o.Function == "housekeeping" {
						n++
					}
				}
				return n
			}
			for i, want := range []int{4, 4, 6} { // a tenant has two rounds; the later moment is one of the watch alone
				if i == 2 {
					f.Clock.Advance(housekeeping.DefaultSchedule.Watch)
				}
				for range 3 {
					f.tick()
					f.Drain(f.Clock.Now())
					// What a restart makes.
					f.timer = &housekeeping.Timer{Store: f.Store(), Handler: f.handler, Now: f.Clock.Now, NewID: f.NewID, Logger: slog.New(slog.DiscardHandler)}
				}
				if got := runs(); got != want {
					t.Fatalf("%d runs at moment %d, want %d", got, i, want)
				}
			}
		})
	}
}

// TestLateIsNotLost: while a queue is half a day behind, housekeeping adds a handful of messages and not one every round,
// and when the queue goes on the request comes to its one end.
func TestLateIsNotLost(t *testing.T) {
	t.Parallel()
	for _, state := range []passcode.State{passcode.Accepted, passcode.Waiting} {
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			f := setUp(t, false)
			id := f.accept(device)
			f.RunUntil(time.Hour, func() bool { return state == passcode.Accepted || f.reset(id).State == state })
			f.Serve(f.handler.Route())
			f.pass(12 * time.Hour)
			f.serveAll()
			before := len(f.Runs)
			f.Drain(f.Clock.Now())
			if n := len(f.Runs) - before; n > 12 { // the first one, one for each doubling from ten minutes on, the looks that follow
				t.Errorf("%d runs when the queue goes on", n)
			}
			f.pass(time.Hour)
			f.ended(id, loss{state: passcode.Issued, calls: 1}, "")
		})
	}
}

// TestOutboxIsSwept: what a crash left between a commit's rows and its messages is sent by the timer.
func TestOutboxIsSwept(t *testing.T) {
	t.Parallel()
	now, died := dispatchtest.Start, errors.New("died")
	var before func(step string) error
	queue, commits := &outboxtest.Queue{Now: func() time.Time { return now }}, 0
	store := outbox.New(&outboxtest.Rows{}, queue, outbox.Options{
		Now: queue.Now, NewID: func() string { commits++; return fmt.Sprint("commit-", commits) },
		Before: func(step string) error { return before(step) },
	})
	before = func(step string) error {
		if step == outbox.StepMessages {
			return died
		}
		return nil
	}
	n := 0
	newID := func() string { n++; return fmt.Sprintf("01%024d", n) }
	u := work.NewUnit(store, contoso, now, newID)
	_, err := u.Send(t.Context(), passcode.Queue, time.Time{}, events.PasscodeExpiryDue{RequestID: "r", DeviceID: "3b7c2a90-5e14-4f6b-8d21-c09a4e7f6b13"})
	if err := errors.Join(err, u.Commit(t.Context())); !errors.Is(err, died) {
		t.Fatalf("the commit was not torn: %v", err)
	}
	before = func(string) error { return nil }
	timer := &housekeeping.Timer{Store: store, Outbox: store, Now: func() time.Time { return now }, NewID: newID, Logger: slog.New(slog.DiscardHandler),
		Handler: &housekeeping.Handler{Keep: housekeeping.DefaultKeep, Schedule: housekeeping.DefaultSchedule}}
	for range 2 {
		if err := timer.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if due := queue.Due(); !slices.Equal(due, []work.Queue{passcode.Queue}) || queue.Live() != 1 {
		t.Fatalf("%d messages wait, due in %q, want one for a passcode", queue.Live(), due)
	}
}
