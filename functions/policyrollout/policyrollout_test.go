package policyrollout_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/functions/policyrollout"
	"pinreset/shared/diag"
	"pinreset/shared/dispatch/dispatchtest"
	"pinreset/shared/fault"
	"pinreset/shared/onboarding"
	"pinreset/shared/policy"
	"pinreset/shared/readiness"
	"pinreset/shared/reading"
	"pinreset/shared/rollout"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

const (
	contoso = "aaaaaaaa-0000-4000-8000-000000000001"
	sales   = "44444444-0000-4000-8000-000000000001"
	labs    = "44444444-0000-4000-8000-000000000002"
	guests  = "44444444-0000-4000-8000-000000000003"
)

type fixture struct {
	*dispatchtest.Bench
	intune  *intune
	handler *policyrollout.Handler
	id      string
}

// setUp is a tenant that is looked after, in which both applications are consented.
func setUp(t testing.TB, torn bool) *fixture {
	t.Helper()
	b := dispatchtest.New(t, torn)
	f := &fixture{Bench: b, intune: &intune{now: b.Clock.Now}}
	f.handler = &policyrollout.Handler{
		Directory: f.intune, Policies: f.intune, Store: b.Store(), Schedule: policyrollout.DefaultSchedule,
		Links: onboarding.Links{Microsoft: "https://login.windows.net", Key: []byte("key"), NewID: b.NewID, Now: b.Clock.Now}, Audit: audit,
	}
	b.Serve(f.handler.Route())
	u := b.Unit(tenant.Partition)
	if _, err := tenant.Add(u, contoso, "Contoso", events.Pinreset()); err != nil {
		t.Fatal(err)
	}
	f.commit(u)
	return f
}

// audited is where audits that the handler asked for wait: nobody runs them here.
const audited work.Queue = "audited"

func audit(ctx context.Context, u *work.Unit, due time.Time) error {
	_, err := u.Send(ctx, audited, due, events.TenantAuditRequested{RequestID: u.NewID(), Cause: events.AuditByRollout, By: events.Pinreset()})
	return err
}

func (f *fixture) audits() int {
	f.T.Helper()
	due, later := f.Waiting(audited)
	return due + later
}

func (f *fixture) commit(u *work.Unit) {
	f.T.Helper()
	if err := u.Commit(context.WithoutCancel(f.T.Context())); err != nil {
		f.T.Fatal(err)
	}
}

// ask accepts a rollout to the groups as the API does.
func (f *fixture) ask(groups ...string) string {
	f.T.Helper()
	return f.accept(events.PolicyRolloutRequested{Shape: events.ShapeOMAURI, Include: groups, Reason: "a test", By: events.Pinreset()})
}

func (f *fixture) accept(d events.PolicyRolloutRequested) string {
	f.T.Helper()
	u := f.Unit(contoso)
	d.RequestID = u.NewID()
	r, existing, err := rollout.Accept(f.T.Context(), u, d)
	if err != nil || existing {
		f.T.Fatalf("accept: existing %t, %v", existing, err)
	}
	f.commit(u)
	f.id = r.ID
	return r.ID
}

// takeBack accepts a rollback as the API does, and returns its id.
func (f *fixture) takeBack(id string, unassign, remove bool) string {
	f.T.Helper()
	u := f.Unit(contoso)
	d := events.PolicyRollbackRequested{RequestID: u.NewID(), RolloutID: id, Unassign: unassign, Delete: remove, Reason: "a test", By: events.Pinreset()}
	_, err := rollout.Withdraw(f.T.Context(), u, d)
	if err == nil {
		_, err = u.Send(f.T.Context(), rollout.Queue, time.Time{}, d)
	}
	if err != nil {
		f.T.Fatal(err)
	}
	f.commit(u)
	return d.RequestID
}

func (f *fixture) rollout(id string) rollout.Rollout {
	f.T.Helper()
	r, err := rollout.Read(context.WithoutCancel(f.T.Context()), f.Unit(contoso), id)
	if err != nil {
		f.T.Fatal(err)
	}
	return r
}

func (f *fixture) until(states ...rollout.State) rollout.Rollout {
	f.T.Helper()
	f.RunUntil(60*24*time.Hour, func() bool { return slices.Contains(states, f.rollout(f.id).State) })
	return f.rollout(f.id)
}

func (f *fixture) targets() string {
	f.T.Helper()
	if len(f.intune.policies) != 1 {
		f.T.Fatalf("%d policies", len(f.intune.policies))
	}
	return strings.Join(f.intune.policies[0].targets, " ")
}

// guarded fails where an assignment was written without both applications seen right before it.
func (f *fixture) guarded() {
	f.T.Helper()
	for _, a := range f.intune.assigns {
		if !a.consented && len(a.targets) > 0 {
			f.T.Errorf("assigned to %v without consent", a.targets)
		}
	}
}

func TestFromNothingToEverywhere(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	f.accept(events.PolicyRolloutRequested{Shape: events.ShapeOMAURI, Include: []string{sales}, Exclude: []string{guests}, Reason: "a test"})
	r := f.until(rollout.Watching)
	if !r.Created || r.Writes != 2 || r.PolicyID == "" || r.PlacedAt.IsZero() {
		t.Errorf("placed: %+v", r)
	}
	if got := f.targets(); !strings.Contains(got, `exclusionGroupAssignmentTarget","groupId":"`+guests) || !strings.Contains(got, groupTarget(sales)) {
		t.Errorf("assigned to %s", got)
	}
	f.intune.report("unknown", "compliant", "notApplicable", "notApplicable")
	f.Drain(f.Clock.Now().Add(2 * time.Hour))
	r = f.rollout(r.ID)
	if percent, ok := r.Progress.Percent(); !ok || percent != 50 || r.Progress.NotApplicable != 2 || r.Why != fault.WaitingForCheckIns {
		t.Errorf("phones count: %+v, waits for %s", r.Progress, r.Why)
	}
	f.intune.report("compliant", "remediated", "notApplicable", "notApplicable")
	r = f.until(rollout.Completed)
	if !r.Progress.Everywhere() || len(r.Samples) < 2 || r.EndedAt.Sub(r.PlacedAt) > 3*24*time.Hour {
		t.Errorf("ended %s after it was placed with %+v", r.EndedAt.Sub(r.PlacedAt), r.Samples)
	}
	if got := f.intune.writes; !slices.Equal(got, []string{"create", "assign"}) {
		t.Errorf("writes %v", got)
	}
}

// TestTheSameTwiceWritesNothing: whatever was asked for is there already, so that a second rollout makes no write at all.
func TestTheSameTwiceWritesNothing(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	f.ask(sales)
	f.until(rollout.Watching)
	before := slices.Clone(f.intune.writes)
	f.ask(sales)
	r := f.until(rollout.Watching)
	if !slices.Equal(f.intune.writes, before) || r.Writes != 0 || r.Created {
		t.Errorf("writes %v, then %v; the rollout says %d", before, f.intune.writes, r.Writes)
	}
	// A message delivered again, under another id, does nothing either.
	u := f.Unit(contoso)
	if err := u.Relay(rollout.Queue, events.Event{Tenant: contoso, Time: f.Clock.Now(), Data: events.PolicyRolloutRequested{
		RequestID: r.ID, Shape: events.ShapeOMAURI, Include: []string{sales}, Reason: "a test"}}); err != nil {
		t.Fatal(err)
	}
	f.commit(u)
	f.Drain(f.Clock.Now())
	if !slices.Equal(f.intune.writes, before) {
		t.Errorf("delivered again: %v", f.intune.writes)
	}
}

func TestOthersAssignmentsSurvive(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	other := `{"@odata.type":"#microsoft.graph.configurationManagerCollectionAssignmentTarget","collectionId":"ABC00014"}`
	f.intune.policies = []stored{{id: "90000000-0000-4000-8000-000000000077", name: "ours", description: policy.Mark, targets: []string{filtered, other}}}
	f.ask(sales)
	r := f.until(rollout.Watching)
	want := strings.Join([]string{filtered, other, groupTarget(sales)}, " ")
	if got := f.targets(); got != want {
		t.Errorf("assigned to\n%s, want\n%s", got, want)
	}
	if r.Created || !f.intune.policies[0].on {
		t.Errorf("created %t, on %t", r.Created, f.intune.policies[0].on)
	}
	f.takeBack(r.ID, true, true)
	f.intune.report("compliant")
	r = f.until(rollout.RolledBack)
	if got, want := f.targets(), filtered+" "+other; got != want || r.Rollback.Deleted {
		t.Errorf("after the rollback, deleted %t, assigned to\n%s, want\n%s", r.Rollback.Deleted, got, want)
	}
	if f.intune.policies[0].on {
		t.Error("still on")
	}
}

// TestGuard: without both applications nothing is created, switched on or assigned, at whatever moment one goes.
func TestGuard(t *testing.T) {
	t.Parallel()
	for _, app := range bothApplications {
		for _, how := range []string{"missing", "disabled"} {
			t.Run(app[:8]+" "+how, func(t *testing.T) {
				t.Parallel()
				for n := 1; ; n++ {
					f := setUp(t, false)
					happened := ""
					f.intune.before = func(call int, name string) error {
						if call == n {
							happened = name
							if how == "missing" {
								f.intune.absent = []string{app}
							} else {
								f.intune.disabled = []string{app}
							}
						}
						return nil
					}
					f.ask(sales)
					r := f.until(rollout.Failed, rollout.Watching)
					if happened == "" {
						if n < 10 {
							t.Errorf("only %d calls", n)
						}
						break
					}
					f.guarded()
					if r.State == rollout.Failed {
						if r.FailureCode != fault.ConsentMissing || len(r.Links) != 2 || !strings.Contains(r.Links[0].URL, onboarding.ServiceAppID) {
							t.Errorf("before call %d: failed with %s, links %v", n, r.FailureCode, r.Links)
						}
						if n == 1 && len(f.intune.writes) > 0 {
							t.Errorf("before the first call: writes %v", f.intune.writes)
						}
						page, err := diag.Load(t.Context(), f.Store(), contoso, diag.IDFor(contoso, r.ID))
						if err != nil || !strings.Contains(fmt.Sprint(page.Timeline), "login.windows.net") || !strings.Contains(page.Detail, app) {
							t.Errorf("the page has no link, or not the application: %s %v", page.Detail, err)
						}
					} else if len(f.intune.assigns) != 1 {
						t.Errorf("before call %d, %s: in place after %d assignments", n, happened, len(f.intune.assigns))
					}
				}
			})
		}
	}
}

// TestGuardUnread: an application that could not be read is neither missing nor there.
func TestGuardUnread(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	f.intune.before = func(n int, _ string) error {
		if n <= 3 {
			return busy()
		}
		return nil
	}
	f.ask(sales)
	f.Drain(f.Clock.Now())
	if r := f.rollout(f.id); r.State != rollout.Accepted || r.Why != fault.GraphThrottled || len(f.intune.writes) > 0 {
		t.Errorf("unread: %s, waits for %s, writes %v", r.State, r.Why, f.intune.writes)
	}
	f.until(rollout.Watching)

	f = setUp(t, false)
	f.intune.before = func(int, string) error { return fault.Permanentf(fault.GraphForbidden, "no permission") }
	f.ask(sales)
	if r := f.until(rollout.Failed); r.FailureCode != fault.GraphForbidden || len(f.intune.writes) > 0 || len(r.Links) > 0 {
		t.Errorf("forbidden: %s, writes %v", r.FailureCode, f.intune.writes)
	}
}

// TestReadThatFailsStopsBeforeAnyWrite makes each read of a rollout fail once and for good.
func TestReadThatFailsStopsBeforeAnyWrite(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"principal", "list", "assignments"} {
		f := setUp(t, false)
		f.intune.policies = []stored{{id: "90000000-0000-4000-8000-000000000077", name: "ours", description: policy.Mark, on: true, targets: []string{filtered}}}
		f.intune.before = func(_ int, c string) error {
			if c == call {
				return fault.Permanentf(fault.GraphForbidden, "no permission for %s", c)
			}
			return nil
		}
		f.ask(sales)
		if r := f.until(rollout.Failed); len(f.intune.writes) > 0 || r.FailureCode != fault.GraphForbidden {
			t.Errorf("%s can't be read: %s, writes %v", call, r.FailureCode, f.intune.writes)
		}
	}
}

// TestLostAnswers loses the answer to each write in turn, carried out or not: there is one policy in the end.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"create", "assign"} {
		for _, carriedOut := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, carried out %t", call, carriedOut), func(t *testing.T) {
				t.Parallel()
				f := setUp(t, false)
				loses := 2
				lose := func(c string) error {
					if c == call && loses > 0 {
						loses--
						return lost()
					}
					return nil
				}
				if carriedOut {
					f.intune.after = lose
				} else {
					f.intune.before = func(_ int, c string) error { return lose(c) }
				}
				f.ask(sales)
				r := f.until(rollout.Watching)
				if len(f.intune.policies) != 1 || f.targets() != groupTarget(sales) {
					t.Fatalf("policies %+v", f.intune.policies)
				}
				if carriedOut && f.intune.creates != 1 {
					t.Errorf("created %d times", f.intune.creates)
				}
				if r.PlacedAt.Sub(r.RequestedAt) > time.Hour {
					t.Errorf("took %s", r.PlacedAt.Sub(r.RequestedAt))
				}
			})
		}
	}
}

func TestSomebodyElseWinsTheRace(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	f.intune.after = func(c string) error {
		if c == "assign" {
			f.intune.policies[0].targets = []string{groupTarget(guests)}
		}
		return nil
	}
	f.ask(sales)
	if r := f.until(rollout.Failed, rollout.Watching); r.FailureCode != fault.AssignmentChanged {
		t.Errorf("%s %s", r.State, r.FailureCode)
	}
}

func TestPlanHashIsKept(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	plan, err := policy.Desired{Shape: policy.OMAURI, Value: policy.On, Include: []string{sales}}.Plan(contoso, nil, policy.PublishedPace)
	if err != nil {
		t.Fatal(err)
	}
	want := events.PolicyRolloutRequested{Shape: events.ShapeOMAURI, Include: []string{sales}, PlanHash: plan.Hash, Reason: "a test"}
	f.intune.policies = []stored{{id: "90000000-0000-4000-8000-000000000077", name: "ours", description: policy.Mark}}
	f.accept(want)
	if r := f.until(rollout.Failed, rollout.Watching); r.FailureCode != fault.PlanChanged || len(f.intune.writes) > 0 {
		t.Errorf("%s %s, writes %v", r.State, r.FailureCode, f.intune.writes)
	}
	f.intune.policies = nil
	f.accept(want)
	if r := f.until(rollout.Failed, rollout.Watching); r.State != rollout.Watching {
		t.Errorf("as planned: %s %s", r.State, r.FailureCode)
	}
}

// TestOneWritesAtATime: of two rollouts that arrive as messages, the second waits for the first.
func TestOneWritesAtATime(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	f.intune.before = func(_ int, c string) error {
		if c == "list" && f.Clock.Now().Sub(dispatchtest.Start) < time.Minute {
			return busy()
		}
		return nil
	}
	var ids []string
	for _, group := range []string{sales, labs} {
		u := f.Unit(contoso)
		d := events.PolicyRolloutRequested{RequestID: u.NewID(), Shape: events.ShapeOMAURI, Include: []string{group}, Reason: "a test"}
		if _, err := u.Send(t.Context(), rollout.Queue, time.Time{}, d); err != nil {
			t.Fatal(err)
		}
		f.commit(u)
		ids = append(ids, d.RequestID)
	}
	f.Drain(f.Clock.Now())
	waiting := 0
	for _, id := range ids {
		if f.rollout(id).Why == fault.WaitingForTurn {
			waiting++
		}
	}
	if waiting != 1 {
		t.Errorf("%d wait for their turn", waiting)
	}
	for _, f.id = range ids {
		f.until(rollout.Watching)
	}
	if f.intune.creates != 1 || !strings.Contains(f.targets(), sales) || !strings.Contains(f.targets(), labs) {
		t.Errorf("created %d, assigned to %s", f.intune.creates, f.targets())
	}
}

// TestTurnIsKeptBeforeTheValueIsWritten: requests that come as messages take their turn in their own run. Whoever writes the
// value has the turn on stable storage, so that another rollout does not take it meanwhile.
func TestTurnIsKeptBeforeTheValueIsWritten(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	f.ask(sales)
	f.until(rollout.Watching)
	f.intune.policies[0].on = false // somebody switched it off
	turns := map[string]int{}
	f.intune.before = func(_ int, c string) error {
		if c == "set" {
			holder, err := rollout.Holder(t.Context(), f.Unit(contoso))
			if err != nil {
				return err
			}
			turns[holder.Run()]++
		}
		return nil
	}
	send := func(id string, d events.Data) {
		t.Helper()
		u := f.Unit(contoso)
		if err := u.Relay(rollout.Queue, events.Event{ID: id, Tenant: contoso, Time: f.Clock.Now(), Data: d}); err != nil {
			t.Fatal(err)
		}
		f.commit(u)
	}
	f.id = "rollout-1"
	send("m-1", events.PolicyRolloutRequested{RequestID: f.id, Shape: events.ShapeOMAURI, Include: []string{sales}, Reason: "a test"})
	f.Drain(f.Clock.Now())
	f.until(rollout.Watching)
	send("m-2", events.PolicyRollbackRequested{RequestID: "rollback-1", RolloutID: f.id, Reason: "a test"})
	f.Drain(f.Clock.Now())
	f.until(rollout.RolledBack)
	if turns["rollout-1"] != 1 || turns["rollback-1"] != 1 || len(turns) != 2 {
		t.Errorf("the value was written in the turns of %v", turns)
	}
}

// TestOvertakenRunAssignsNothing: the targets to add are recorded already when a run comes to assign them again. If its rollout has been
// ended under it, as by a run that took it for late, it may not write any more.
func TestOvertakenRunAssignsNothing(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	tries, ended := 0, false
	f.intune.before = func(_ int, c string) error {
		switch {
		case c == "assign":
			if tries++; tries == 1 {
				return busy()
			}
		case c == "assignments" && tries == 1 && !ended:
			ended = true
			u := f.Unit(contoso)
			r, err := rollout.Read(t.Context(), u, f.id)
			if err == nil {
				err = rollout.End(t.Context(), u, r, rollout.Failed)
			}
			if err != nil {
				return err
			}
			f.commit(u)
		}
		return nil
	}
	f.ask(sales)
	f.RunUntil(time.Hour, func() bool { return ended })
	f.Drain(f.Clock.Now())
	if !ended || tries != 1 || len(f.intune.assigns) != 0 || f.rollout(f.id).State != rollout.Failed {
		t.Errorf("ended %t: tried to assign %d times, did %d times; %s", ended, tries, len(f.intune.assigns), f.rollout(f.id).State)
	}
}

// TestNothingEndsWhileAWriteIsOnItsWay: the time of a rollback is over while a delete of it has no answer yet. It is tried a last
// time once that delete can't arrive any more, and has not ended before: with its end the turn goes.
func TestNothingEndsWhileAWriteIsOnItsWay(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	f.ask(sales)
	f.until(rollout.Watching)
	var deletes []time.Time
	var giveUp time.Time
	f.intune.before = func(_ int, c string) error {
		if c != "delete" {
			return nil
		}
		deletes = append(deletes, f.Clock.Now())
		if len(deletes) == 1 {
			return fault.After(giveUp.Add(-10*time.Second).Sub(f.Clock.Now()), fault.GraphThrottled, errors.New("429"))
		}
		return lost()
	}
	f.takeBack(f.id, true, true)
	giveUp = f.rollout(f.id).Rollback.RequestedAt.Add(policyrollout.DefaultSchedule.Withdraw + rollout.BeginWithin)
	f.RunUntil(30*24*time.Hour, func() bool { return !f.rollout(f.id).Open() })
	if len(deletes) < 2 || !deletes[1].Before(giveUp) {
		t.Fatalf("deletes at %v, want one shortly before %s", deletes, giveUp)
	}
	if len(deletes) != 3 || deletes[2].Sub(deletes[1]) < policyrollout.DefaultSchedule.Trace {
		t.Errorf("deletes at %v, want a last one when the second can't arrive any more", deletes)
	}
	if r := f.rollout(f.id); r.State != rollout.Failed || r.EndedAt.Before(giveUp) {
		t.Errorf("%s at %s, want it failed after its time", r.State, r.EndedAt)
	}
}

// TestReplayedRequestLeavesItsFailedRollbackAlone: the dead letter of a rollout's own request, replayed after its rollback has
// failed, opens nothing: that rollback has a request, and a dead letter, of its own.
func TestReplayedRequestLeavesItsFailedRollbackAlone(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	f.ask(sales)
	f.until(rollout.Watching)
	f.takeBack(f.id, true, false)
	f.Drain(f.Clock.Now())
	u := f.Unit(contoso)
	r, err := rollout.Read(t.Context(), u, f.id)
	if err != nil {
		t.Fatal(err)
	}
	r.FailureCode, r.FailedIn = fault.AttemptsExhausted, r.State
	if err := rollout.End(t.Context(), u, r, rollout.Failed); err != nil {
		t.Fatal(err)
	}
	if _, err := u.Send(t.Context(), rollout.Queue, time.Time{}, events.PolicyRolloutRequested{
		RequestID: f.id, Shape: events.ShapeOMAURI, Include: []string{sales}, Reason: "replayed", By: r.By,
	}); err != nil {
		t.Fatal(err)
	}
	f.commit(u)
	f.Drain(f.Clock.Now())
	if r := f.rollout(f.id); r.State != rollout.Failed || r.FailedIn != rollout.Withdrawing {
		t.Errorf("%s, failed in %s, want the failed rollback left alone", r.State, r.FailedIn)
	}
}

// TestReplayedRequestGoesOnWatching: a rollout whose watch had failed, and that is opened again, has a reminder again.
func TestReplayedRequestGoesOnWatching(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	f.ask(sales)
	f.until(rollout.Watching)
	u := f.Unit(contoso)
	r, err := rollout.Read(t.Context(), u, f.id)
	if err != nil {
		t.Fatal(err)
	}
	r.FailureCode, r.FailedIn = fault.AttemptsExhausted, r.State
	if err := rollout.End(t.Context(), u, r, rollout.Failed); err != nil {
		t.Fatal(err)
	}
	f.commit(u)
	f.Drain(f.Clock.Now().Add(30 * 24 * time.Hour)) // the reminder comes, and finds it ended
	if r := f.rollout(f.id); r.State != rollout.Failed {
		t.Fatalf("%s, want it failed", r.State)
	}
	u = f.Unit(contoso)
	if _, err := u.Send(t.Context(), rollout.Queue, time.Time{}, events.PolicyRolloutRequested{
		RequestID: f.id, Shape: events.ShapeOMAURI, Include: []string{sales}, Reason: "replayed", By: r.By,
	}); err != nil {
		t.Fatal(err)
	}
	f.commit(u)
	f.Drain(f.Clock.Now().Add(30 * 24 * time.Hour))
	if r := f.rollout(f.id); r.State != rollout.Completed {
		t.Errorf("%s, want it watched to its end", r.State)
	}
}

// TestOvertakenRequestFailsNothing: a request that is set aside after its rollout was put in place by another message leaves the rollout to
// its reminders.
func TestOvertakenRequestFailsNothing(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	f.ask(sales)
	placed := f.until(rollout.Watching)
	u := f.Unit(contoso)
	if _, err := u.Send(t.Context(), rollout.Queue, time.Time{}, events.PolicyRolloutRequested{
		RequestID: f.id, Shape: events.ShapeOMAURI, Include: []string{sales}, Reason: "late", By: placed.By,
	}); err != nil {
		t.Fatal(err)
	}
	f.commit(u)
	for range 9 { // whoever has it comes to nothing, and it is set aside at its next delivery
		late, err := f.Source().Receive(t.Context(), rollout.Queue, 1)
		if err == nil {
			err = f.Source().Settle(t.Context(), late[0], work.Batch{}, work.Outcome{Kind: work.Retry})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	f.Drain(f.Clock.Now())
	if letters, err := f.Store().List(t.Context(), work.Query{Partition: contoso, Prefix: diag.LetterPrefix}); err != nil || len(letters.Rows) != 1 {
		t.Fatalf("%d dead letters, %v", len(letters.Rows), err)
	}
	if r := f.rollout(f.id); r.State != rollout.Watching {
		t.Errorf("%s with %s, want it watching", r.State, r.FailureCode)
	}
}

// TestWriteOnItsWayIsWaitedFor: a run that got no answer to its write may have sent it all the same. Nobody writes beside it, so that
// it can't go over what was written later; what was refused is written again as soon as Graph allows.
func TestWriteOnItsWayIsWaitedFor(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err     error
		soonest time.Duration
		latest  time.Duration
	}{
		"no answer": {errors.New("connection reset"), policyrollout.DefaultSchedule.Trace, policyrollout.DefaultSchedule.Trace + 2*time.Minute},
		"refused":   {fault.After(10*time.Second, fault.GraphThrottled, errors.New("429")), 10 * time.Second, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setUp(t, false)
			var tries []time.Time
			f.intune.before = func(_ int, call string) error {
				if call != "assign" {
					return nil
				}
				if tries = append(tries, f.Clock.Now()); len(tries) == 1 {
					return c.err
				}
				return nil
			}
			f.ask(sales)
			f.until(rollout.Watching)
			if len(tries) != 2 {
				t.Fatalf("tried to assign %d times, want 2", len(tries))
			}
			if took := tries[1].Sub(tries[0]); took < c.soonest || took > c.latest {
				t.Errorf("written again after %s, want %s to %s", took, c.soonest, c.latest)
			}
		})
	}
}

func TestGivenUpAfterADay(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	f.intune.before = func(int, string) error { return fault.After(time.Hour, fault.GraphUnavailable, errors.New("503")) }
	f.ask(sales)
	if r := f.until(rollout.Failed); r.FailureCode != fault.RolloutTooLate && r.FailureCode != fault.GraphUnavailable || r.EndedAt.Sub(r.RequestedAt) > 25*time.Hour {
		t.Errorf("%s after %s", r.FailureCode, r.EndedAt.Sub(r.RequestedAt))
	}
	f.intune.before = nil
	f.ask(sales)
	f.until(rollout.Watching)
}

func TestWatchingEndsAndIsNoFailure(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	f.ask(sales)
	f.until(rollout.Watching)
	f.intune.report("compliant", "unknown", "error", "conflict")
	r := f.until(rollout.Completed, rollout.Failed)
	if r.State != rollout.Completed || r.Progress.Everywhere() || !r.EndedAt.Equal(r.WatchUntil) {
		t.Errorf("%s at %s, watched until %s", r.State, r.EndedAt, r.WatchUntil)
	}
	if p := r.Progress; p.Succeeded != 1 || p.Pending != 1 || p.Failed != 1 || p.Conflict != 1 {
		t.Errorf("progress %+v", p)
	}
	if r.Checks < 10 || r.Checks > 40 {
		t.Errorf("%d looks", r.Checks)
	}
}

// TestPolicyDeletedBehindOurBack: what cannot be found is said to be gone, and not to be pending.
func TestPolicyDeletedBehindOurBack(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	f.ask(sales)
	f.until(rollout.Watching)
	f.intune.policies = nil
	if r := f.until(rollout.Failed, rollout.Completed); r.FailureCode != fault.PolicyGone {
		t.Errorf("%s %s", r.State, r.FailureCode)
	}
}

// TestLaterRolloutTakesOver: of two rollouts of the same policy the later one stands, and its rollback takes away what both added.
func TestLaterRolloutTakesOver(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	first := f.ask(sales)
	f.until(rollout.Watching)
	second := f.ask(labs)
	f.until(rollout.Watching)
	u := f.Unit(contoso)
	if _, err := rollout.Withdraw(t.Context(), u, events.PolicyRollbackRequested{RequestID: u.NewID(), RolloutID: first, Reason: "a test"}); !errors.Is(err, rollout.ErrNothing) {
		t.Errorf("the earlier one is taken back: %v", err)
	}
	f.takeBack(second, true, false)
	if r := f.until(rollout.RolledBack, rollout.Failed); r.State != rollout.RolledBack || f.targets() != "" {
		t.Errorf("%s %s, still assigned to %s", r.State, r.FailureCode, f.targets())
	}
}

// TestRollbackWritesFalseFirst: devices get time to take the false before they lose the policy.
func TestRollbackWritesFalseFirst(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		remove bool
		report bool // devices report the false
		writes []string
	}{
		{"devices report it", true, true, []string{"set off", "assign", "delete"}},
		{"devices never report it", true, false, []string{"set off", "assign", "delete"}},
		{"unassigned only", false, true, []string{"set off", "assign"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := setUp(t, false)
			f.ask(sales)
			f.until(rollout.Watching)
			if n := f.audits(); n != 1 {
				t.Errorf("%d audits asked for once it is in place", n)
			}
			f.intune.report("compliant", "compliant", "notApplicable")
			before := len(f.intune.writes)
			asked := f.Clock.Now().Add(time.Hour)
			f.Drain(asked)
			f.intune.absent = bothApplications // a rollback asks for no consent
			f.takeBack(f.id, true, c.remove)
			f.Drain(f.Clock.Now())
			if got := f.intune.writes[before:]; !slices.Equal(got, []string{"set off"}) {
				t.Errorf("at once: %v", got)
			}
			if c.report {
				f.Clock.Advance(time.Second)
				f.intune.report("compliant", "compliant", "notApplicable")
			}
			r := f.until(rollout.RolledBack, rollout.Failed)
			if got := f.intune.writes[before:]; r.State != rollout.RolledBack || !slices.Equal(got, c.writes) {
				t.Errorf("%s %s, writes %v, want %v", r.State, r.FailureCode, got, c.writes)
			}
			if n := f.audits(); n != 2 {
				t.Errorf("%d audits asked for once it is taken back", n)
			}
			waited := r.EndedAt.Sub(asked)
			if c.report != (waited < time.Hour) || !c.report && waited < policyrollout.DefaultSchedule.Withdraw {
				t.Errorf("waited %s", waited)
			}
			if c.report != strings.HasPrefix(r.Rollback.Remains, "Every device") || r.Rollback.Deleted != c.remove {
				t.Errorf("remains: %s, deleted %t", r.Rollback.Remains, r.Rollback.Deleted)
			}
		})
	}
}

func TestRollbackOfWhatIsGone(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	f.ask(sales)
	f.until(rollout.Watching)
	f.intune.policies = nil
	f.takeBack(f.id, true, true)
	if r := f.until(rollout.RolledBack, rollout.Failed); r.State != rollout.RolledBack || !strings.Contains(r.Rollback.Remains, "may keep") {
		t.Errorf("%s: %s", r.State, r.Rollback.Remains)
	}
}

// TestRollbackStopsWhenItCantRead: assignments that can't be read are not replaced.
func TestRollbackStopsWhenItCantRead(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	f.ask(sales)
	f.until(rollout.Watching)
	f.intune.before = func(_ int, c string) error {
		if c == "assignments" {
			return fault.Permanentf(fault.GraphForbidden, "no permission")
		}
		return nil
	}
	f.takeBack(f.id, true, true)
	if r := f.until(rollout.RolledBack, rollout.Failed); r.State != rollout.Failed || f.targets() != groupTarget(sales) {
		t.Errorf("%s, assigned to %s", r.State, f.targets())
	}
	// It can be asked for again, and then goes on.
	f.intune.before = nil
	f.takeBack(f.id, true, false)
	if r := f.until(rollout.RolledBack, rollout.Failed); r.State != rollout.RolledBack || f.targets() != "" {
		t.Errorf("again: %s %s, assigned to %s", r.State, r.FailureCode, f.targets())
	}
}

// TestUnknownIsNotInvented: a shape without a status of devices is unknown until devices report themselves.
func TestUnknownIsNotInvented(t *testing.T) {
	t.Parallel()
	for _, reported := range []bool{false, true} {
		f := setUp(t, false)
		u := f.Unit(contoso)
		r, err := rollout.Record(u, events.PolicyRolloutRequested{RequestID: u.NewID(), Shape: events.ShapeSettingsCatalog, Include: []string{sales}, Reason: "a test"})
		r.State, r.PolicyID, r.PlacedAt, r.WatchUntil = rollout.Watching, "90000000-0000-4000-8000-000000000077", f.Clock.Now(), f.Clock.Now().Add(time.Hour)
		id, sent := u.Send(t.Context(), rollout.Queue, time.Time{}, events.PolicyRolloutCheckDue{RequestID: r.ID, RolloutID: r.ID})
		r.CheckID = id
		if err := errors.Join(err, sent, rollout.Write(u, r)); err != nil {
			t.Fatal(err)
		}
		if reported {
			for i, value := range []readiness.Setting{readiness.On, readiness.NotSet, readiness.On, readiness.Off} {
				report := readiness.DeviceReport{ReportedAt: f.Clock.Now().Add(time.Minute)}
				report.Policies.DeviceMDM = reading.Read(value)
				if i == 2 {
					report.ReportedAt = f.Clock.Now().Add(-time.Hour) // from before the rollout: it says nothing about it
				}
				if err := readiness.WriteDevice(u, fmt.Sprintf("device-%d", i), report); err != nil {
					t.Fatal(err)
				}
			}
			if err := readiness.WriteDevice(u, "says nothing of the policy", readiness.DeviceReport{ReportedAt: f.Clock.Now()}); err != nil {
				t.Fatal(err)
			}
		}
		f.commit(u)
		f.id = r.ID
		r = f.until(rollout.Completed)
		if percent, _ := r.Progress.Percent(); reported && (percent != 25 || r.Progress.Succeeded != 1 || r.Progress.Pending != 3) {
			t.Errorf("devices report: %+v", r.Progress)
		}
		if _, known := r.Progress.Percent(); known != reported || r.Progress.Known() != reported || !reported && r.Progress.Why == "" {
			t.Errorf("reported %t: %+v", reported, r.Progress)
		}
		if f.intune.calls > 0 {
			t.Errorf("%d calls", f.intune.calls)
		}
	}
}

// TestCrashAtEveryBoundary ends the process between every two effects, of a rollout or of its rollback: there is one policy,
// others' assignments are untouched, nothing is assigned without consent.
func TestCrashAtEveryBoundary(t *testing.T) {
	t.Parallel()
	for _, lossy := range []bool{false, true} {
		for _, back := range []bool{false, true} {
			t.Run(fmt.Sprintf("answers lost %t, of the rollback %t", lossy, back), func(t *testing.T) {
				t.Parallel()
				dispatchtest.EachCrash(t, 6, 2, func(t *testing.T, torn bool, n int) (int, string) {
					return crashOnce(t, n, torn, lossy, back)
				})
			})
		}
	}
}

// crashOnce rolls out and back, with a crash at the n-th boundary of one of the two.
func crashOnce(t *testing.T, n int, torn, lossy, back bool) (passed int, crashed string) {
	t.Helper()
	f := setUp(t, torn)
	if lossy {
		seen := map[string]bool{}
		f.intune.after = func(c string) error {
			if !seen[c] {
				seen[c] = true
				return lost()
			}
			return nil
		}
	}
	f.ask(sales)
	if !back {
		f.CrashAt(n)
	}
	r := f.until(rollout.Watching, rollout.Failed)
	if r.State != rollout.Watching || len(f.intune.policies) != 1 || f.intune.creates != 1 || f.targets() != groupTarget(sales) {
		t.Fatalf("crash %d: %s %s, policies %+v", n, r.State, r.FailureCode, f.intune.policies)
	}
	f.guarded()
	if !back {
		return f.Boundaries()
	}
	f.intune.policies[0].targets = append(f.intune.policies[0].targets, filtered)
	f.intune.report("compliant")
	f.intune.statuses[0].Reported = f.Clock.Now().Add(time.Hour)
	f.takeBack(f.id, true, true)
	f.CrashAt(n)
	r = f.until(rollout.RolledBack, rollout.Failed)
	passed, crashed = f.Boundaries()
	if r.State != rollout.RolledBack || f.targets() != filtered || f.intune.policies[0].on {
		t.Fatalf("crash %d (%s): %s %s, policies %+v", n, crashed, r.State, r.FailureCode, f.intune.policies)
	}
	return passed, crashed
}

// TestOvertakenRunOpensNothing: a run that begins after the last attempt of its message has failed the rollout, or its rollback, finds
// what a replayed dead letter finds. It must not take itself for one and open it, since no message would go on with it.
func TestOvertakenRunOpensNothing(t *testing.T) {
	t.Parallel()
	for _, torn := range []bool{false, true} {
		for _, in := range []rollout.State{rollout.Accepted, rollout.Withdrawing} {
			t.Run(fmt.Sprintf("%s, torn %t", in, torn), func(t *testing.T) {
				t.Parallel()
				f := setUp(t, torn)
				f.ask(sales)
				if in == rollout.Withdrawing {
					f.until(rollout.Completed)
					f.takeBack(f.id, true, false)
				}
				f.Overtake(rollout.Queue)
				if r := f.rollout(f.id); r.State != rollout.Failed || r.FailedIn != in {
					t.Errorf("%s, failed in %q, want it failed in %s", r.State, r.FailedIn, in)
				}
			})
		}
	}
}
