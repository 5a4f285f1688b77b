package bulkreset_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/functions/bulkreset"
	"pinreset/functions/passcodereset"
	"pinreset/shared/dispatch/dispatchtest"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/graph/graphtest"
	"pinreset/shared/passcode"
	"pinreset/shared/secret"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

// fixture is the handler and that of resets, with everything real under them, and one tenant with many devices.
type fixture struct {
	*dispatchtest.Bench
	sim    *graphsim.Cloud
	client *graph.Client
	tenant graphsim.TenantInfo
}

func setUp(t *testing.T, torn bool, more int, change ...func(*graph.Config)) *fixture {
	t.Helper()
	b := dispatchtest.New(t, torn)
	f := &fixture{Bench: b}
	// A bench moves its clock by hand, so a call must not wait on the real one.
	change = append(change, func(c *graph.Config) { c.WaitBulk, c.WaitPeople = -1, -1 })
	f.sim, f.client = graphtest.New(t, graphsim.Options{Now: b.Clock.Now, Fleet: graphsim.Fleet{Tenants: 1, Devices: more}}, change...)
	var err error
	if f.tenant, err = f.sim.Tenant("fleet-0001"); err != nil {
		t.Fatal(err)
	}
	keys, err := sqlitework.Open(filepath.Join(t.TempDir(), "keys"), sqlitework.Options{Now: b.Clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = keys.Close() })
	kek, err := secret.OpenLocalKey(filepath.Join(t.TempDir(), "root-key"))
	if err != nil {
		t.Fatal(err)
	}
	b.Serve(
		(&passcodereset.Handler{Devices: f.client, Vault: secret.NewVault(keys, kek, b.Clock.Now), Store: b.Store(), Schedule: passcodereset.DefaultSchedule}).Route(),
		(&bulkreset.Handler{Intune: f.client, Store: b.Store()}).Route(),
	)
	u := b.Unit(tenant.Partition)
	_, err = tenant.Add(u, f.tenant.ID, "Fleet", events.Pinreset())
	f.commit(u, err)
	s := tenant.DefaultSettings()
	s.ResetDeadlineHours = 1 // of the device that never answers
	u = b.Unit(f.tenant.ID)
	f.commit(u, tenant.WriteSettings(u, s))
	return f
}

func (f *fixture) commit(u *work.Unit, err error) {
	f.T.Helper()
	if err := errors.Join(err, u.Commit(context.WithoutCancel(f.T.Context()))); err != nil {
		f.T.Fatal(err)
	}
}

func (f *fixture) start(b passcode.Bulk) string {
	f.T.Helper()
	b.Reason, b.By = "all phones of the branch", events.Actor{Kind: events.Operator, ID: "op-1"}
	u := f.Unit(f.tenant.ID)
	b, err := passcode.AcceptBulk(f.T.Context(), u, b)
	f.commit(u, err)
	return b.ID
}

func (f *fixture) bulk(id string) passcode.Bulk {
	f.T.Helper()
	b, err := passcode.ReadBulk(context.WithoutCancel(f.T.Context()), f.Unit(f.tenant.ID), id)
	if err != nil {
		f.T.Fatal(err)
	}
	return b
}

func (f *fixture) items(id string) (all []passcode.Item) {
	f.T.Helper()
	for page := ""; ; {
		items, next, err := passcode.Items(f.T.Context(), f.Store(), f.tenant.ID, id, 500, page)
		if err != nil {
			f.T.Fatal(err)
		}
		all = append(all, items...)
		if page = next; next == "" {
			return all
		}
	}
}

func (f *fixture) end(id string) passcode.Bulk {
	f.T.Helper()
	f.RunUntil(48*time.Hour, func() bool { return !f.bulk(id).Open() })
	return f.bulk(id)
}

// resets is how often the simulated devices were reset: the most of any, and all together.
func (f *fixture) resets() (most, all int) {
	f.T.Helper()
	info, err := f.sim.Tenant(f.tenant.ID)
	if err != nil {
		f.T.Fatal(err)
	}
	for _, d := range info.Devices {
		most, all = max(most, d.Resets), all+d.Resets
	}
	return most, all
}

func (f *fixture) group(name string) string {
	f.T.Helper()
	answers, err := f.client.Batch(f.T.Context(), f.tenant.ID, graph.V1, []graph.BatchRequest{graph.BatchGet("g", "/groups")})
	if err != nil {
		f.T.Fatal(err)
	}
	var groups struct {
		Value []struct{ ID, DisplayName string }
	}
	if err := answers[0].Decode(&groups); err != nil {
		f.T.Fatal(err)
	}
	for _, g := range groups.Value {
		if g.DisplayName == name {
			return g.ID
		}
	}
	f.T.Fatalf("no group %s among %+v", name, groups.Value)
	return ""
}

func TestWholeTenant(t *testing.T) {
	t.Parallel()
	f := setUp(t, false, 30)
	b := f.end(f.start(passcode.Bulk{}))
	if b.State != passcode.BulkDone || b.Tally.Ended() != b.Tally.Total || b.Tally.Total < 40 || b.Tally.Ineligible < 10 {
		t.Fatalf("ended %s %s, %+v", b.State, b.FailureCode, b.Tally)
	}
	items := f.items(b.ID)
	got := passcode.BulkTally{Ineligible: b.Ineligible, Total: len(items)}
	for _, i := range items {
		r, err := passcode.Read(t.Context(), f.Unit(f.tenant.ID), i.ResetID)
		if err != nil || r.Bulk != b.ID || r.DeviceID != i.DeviceID || r.State != i.Outcome || r.Diagnostics != i.Diagnostics {
			t.Errorf("item %+v is of %+v: %v", i, r, err)
		}
		switch i.State {
		case passcode.ItemDone:
			got.Done++
		case passcode.ItemFailed:
			got.Failed++
			if i.Code == "" || i.Diagnostics == "" {
				t.Errorf("a failure without its page: %+v", i)
			}
		default:
			t.Errorf("an item is %s at the end", i.State)
		}
	}
	if got != b.Tally || got.Failed < 3 { // the offline one, the one that fails, the one without a reset token
		t.Errorf("the items make %+v, the tally says %+v", got, b.Tally)
	}
	if most, all := f.resets(); most != 1 || all > b.Tally.Total {
		t.Errorf("a device was reset %d times, all together %d", most, all)
	}
	if n := f.failures(b.ID); n != 0 {
		t.Errorf("%d failures of the bulk reset itself", n)
	}
}

func (f *fixture) failures(id string) (n int) {
	f.T.Helper()
	ctx, cancel := context.WithTimeout(f.T.Context(), time.Second)
	defer cancel()
	for {
		deliveries, err := f.Source().Receive(ctx, work.Announcements, 32)
		if err != nil {
			return n
		}
		for _, d := range deliveries {
			if e, err := events.Parse(d.Body); err == nil {
				if raised, ok := e.Data.(events.FailureRaised); ok && raised.RequestID == id {
					n++
				}
			}
		}
	}
}

func TestPlanSendsNothingAndBindsTheStart(t *testing.T) {
	t.Parallel()
	f := setUp(t, false, 10)
	plan := f.end(f.start(passcode.Bulk{Plan: true}))
	if plan.State != passcode.BulkPlanned || plan.Found == "" || plan.Tally.Planned != plan.Tally.Total || plan.Tally.Queued != 0 || plan.Tally.Total == 0 {
		t.Fatalf("planned %+v", plan)
	}
	for _, wrong := range []passcode.Bulk{{Count: plan.Tally.Total + 1}, {Hash: "another"}, {Hash: plan.Found, Count: 1}} {
		if b := f.end(f.start(wrong)); b.State != passcode.BulkFailed || b.FailureCode != fault.BulkPlanChanged || b.Diagnostics == "" || b.Tally.Cancelled != b.Tally.Total {
			t.Errorf("%+v ended %s %s, %+v", wrong, b.State, b.FailureCode, b.Tally)
		}
	}
	if err := f.sim.Retire(f.tenant.ID, "pixel-0004"); err != nil {
		t.Fatal(err)
	}
	if b := f.end(f.start(passcode.Bulk{Hash: plan.Found})); b.FailureCode != fault.BulkPlanChanged {
		t.Errorf("with a device less: %s %s", b.State, b.FailureCode)
	}
	if _, all := f.resets(); all != 0 {
		t.Fatalf("%d devices were reset", all)
	}
	again := f.end(f.start(passcode.Bulk{Plan: true}))
	if b := f.end(f.start(passcode.Bulk{Hash: again.Found, Count: again.Tally.Total})); b.State != passcode.BulkDone || b.Tally.Total != plan.Tally.Total-1 {
		t.Errorf("by its plan: %s %s, %+v", b.State, b.FailureCode, b.Tally)
	}
}

// narrow is a tenth of the published limit of device actions, so that few devices fill many windows.
func narrow(c *graph.Config) {
	limits := graph.PublishedLimits()
	f := limits.Families[graph.Devices]
	f.Write.Limit = 20
	limits.Families[graph.Devices] = f
	c.Limits = &limits
}

// TestPace runs more devices than a window takes, on a clock that is moved by hand.
func TestPace(t *testing.T) {
	t.Parallel()
	f := setUp(t, false, 40, narrow)
	id := f.start(passcode.Bulk{})
	f.RunUntil(time.Hour, func() bool {
		b := f.bulk(id)
		return b.State == passcode.BulkRunning && b.BegunAll && b.Tally.Uncalled() == 0 && b.Tally.Total > 0
	})
	b := f.bulk(id)
	w := f.client.BulkWrites(graph.Devices)
	if w.Limit != 16 || w.Per != 20*time.Second {
		t.Fatalf("window %+v", w)
	}
	var first, last time.Time
	for _, i := range f.items(id) {
		r, err := passcode.Read(t.Context(), f.Unit(f.tenant.ID), i.ResetID)
		if err != nil {
			t.Fatal(err)
		}
		if at := r.IntentAt; !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
		if r.IntentAt.After(last) {
			last = r.IntentAt
		}
	}
	bound := time.Duration(math.Ceil(float64(b.Tally.Total-w.Limit)/float64(w.Limit))) * w.Per
	if took := last.Sub(first); took > bound+time.Second || took < bound-w.Per {
		t.Errorf("%d devices were called within %s; the windows allow it in %s", b.Tally.Total, took, bound)
	}
	for _, family := range f.client.Snapshot().Families {
		if family.Throttled != 0 {
			t.Errorf("%d answers of 429 in %s", family.Throttled, family.Family)
		}
	}
}

func TestDeviceWithAnOpenResetIsSkipped(t *testing.T) {
	t.Parallel()
	f := setUp(t, false, 3)
	device := graphtest.DeviceID(t, f.sim, f.tenant.ID, "pixel-0002")
	u := f.Unit(f.tenant.ID)
	own, _, err := passcode.Accept(t.Context(), u, events.PasscodeResetRequested{RequestID: f.NewID(), DeviceID: device, Reason: "on the phone", By: events.Pinreset()})
	f.commit(u, err)
	id := f.start(passcode.Bulk{})
	b := f.end(id)
	i := slices.IndexFunc(f.items(id), func(i passcode.Item) bool { return i.DeviceID == device })
	if item := f.items(id)[i]; b.Tally.Skipped != 1 || item.State != passcode.ItemSkipped || item.ResetID != own.ID {
		// The help desk's reset may have ended before its turn came.
		t.Errorf("tally %+v, item %+v", b.Tally, item)
	}
}

func TestCancelStopsWhatHasNotBeenCalled(t *testing.T) {
	t.Parallel()
	f := setUp(t, false, 50, narrow)
	id := f.start(passcode.Bulk{})
	f.RunUntil(time.Hour, func() bool { _, all := f.resets(); return all >= 20 })
	u := f.Unit(f.tenant.ID)
	_, err := passcode.CancelBulk(t.Context(), u, id, "a mistake", events.Pinreset())
	f.commit(u, err)
	_, called := f.resets()
	f.Drain(f.Clock.Now().Add(3 * time.Hour))
	b := f.bulk(id)
	if _, all := f.resets(); all > called || b.State != passcode.BulkCancelled || b.Tally.Ended() != b.Tally.Total || b.Tally.Cancelled < 30 || b.Tally.Done < 10 {
		t.Errorf("%d had been called, %d are; %s %+v", called, all, b.State, b.Tally)
	}
	for _, i := range f.items(id) {
		d, err := passcode.ReadDevice(t.Context(), f.Unit(f.tenant.ID), i.DeviceID)
		if err != nil || d.Pending != "" {
			t.Errorf("device %s is still kept from another reset by %s: %v", i.DeviceID, d.Pending, err)
		}
	}
	u = f.Unit(f.tenant.ID)
	if _, err := passcode.CancelBulk(t.Context(), u, id, "again", events.Pinreset()); !errors.Is(err, passcode.ErrEnded) {
		t.Errorf("cancelled twice: %v", err)
	}
}

// TestGroup takes the devices of a group's members, and keeps those that have no reset so that they can be seen.
func TestGroup(t *testing.T) {
	t.Parallel()
	f := setUp(t, false, 2)
	group := f.group("PIN recovery pilot")
	members, err := f.client.DeviceOwners(t.Context(), f.tenant.ID, group)
	if err != nil || len(members.Users) != 3 {
		t.Fatalf("members %+v: %v", members, err)
	}
	b := f.end(f.start(passcode.Bulk{Group: group}))
	want := 0
	for d, err := range f.client.ManagedDevices(t.Context(), f.tenant.ID, graph.DeviceFilter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if members.Has(d) {
			want++
		}
	}
	if b.State != passcode.BulkDone || b.Tally.Total+b.Tally.Ineligible != want || len(f.items(b.ID)) != want || b.Tally.Total == 0 || b.Tally.Ineligible == 0 {
		t.Errorf("%s, %+v, %d items, the group has %d devices", b.State, b.Tally, len(f.items(b.ID)), want)
	}
	b = f.end(f.start(passcode.Bulk{Group: "99999999-0000-4000-8000-000000000000"}))
	if b.FailureCode != fault.GroupNotFound || b.Diagnostics == "" {
		t.Errorf("a group that is not there: %s %s", b.State, b.FailureCode)
	}
}

// TestCrashAtEveryBoundary kills the process between every two effects of finding, beginning and counting: every device is
// still reset once, and by one reset.
func TestCrashAtEveryBoundary(t *testing.T) {
	t.Parallel()
	dispatchtest.EachCrash(t, 6, 4, func(t *testing.T, torn bool, n int) (int, string) {
		f := setUp(t, torn, 3)
		id := f.start(passcode.Bulk{})
		f.CrashAt(n)
		f.RunUntil(2*time.Hour, func() bool { b := f.bulk(id); return b.BegunAll && b.State == passcode.BulkRunning })
		passed, crashed := f.Boundaries()
		f.CrashAt(0)
		b := f.end(id)
		most, all := f.resets()
		resets, _, err := passcode.List(t.Context(), f.Store(), f.tenant.ID, 500, "")
		if err != nil {
			t.Fatal(err)
		}
		info, err := f.sim.Tenant(f.tenant.ID)
		if err != nil {
			t.Fatal(err)
		}
		if found := b.Tally.Total + b.Tally.Ineligible; found != len(info.Devices) {
			t.Errorf("crash %d (%s): %d devices were counted of %d", n, crashed, found, len(info.Devices))
		}
		lost := 0 // between the intent and the call: nobody can tell, so it is not called again
		for _, r := range resets {
			if r.FailureCode == fault.OutcomeUnknown && strings.HasPrefix(crashed, "after") {
				lost++
			}
		}
		if b.State != passcode.BulkDone || b.Tally.Ended() != b.Tally.Total || len(resets) != b.Tally.Total || most != 1 || all+lost != b.Tally.Total || lost > 1 {
			t.Errorf("crash %d (%s): %s %+v, %d resets, a device was reset %d times, all %d, lost %d", n, crashed, b.State, b.Tally, len(resets), most, all, lost)
		}
		return passed, crashed
	})
}

// TestOvertakenRunOpensNothing: a run that begins after the last attempt of its message has failed the bulk reset finds what a replayed
// dead letter finds. It must not take itself for one and go on.
func TestOvertakenRunOpensNothing(t *testing.T) {
	t.Parallel()
	for _, torn := range []bool{false, true} {
		t.Run(fmt.Sprintf("torn %t", torn), func(t *testing.T) {
			t.Parallel()
			f := setUp(t, torn, 60)
			id := f.start(passcode.Bulk{})
			f.Overtake(passcode.BulkQueue.Bulk())
			if b := f.bulk(id); b.State != passcode.BulkFailed || b.Found != "" {
				t.Errorf("%s with %q found, want it failed with nothing", b.State, b.Found)
			}
		})
	}
}
