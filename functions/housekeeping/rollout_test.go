package housekeeping_test

import (
	"errors"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/functions/housekeeping"
	"pinreset/functions/policyrollout"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/onboarding"
	"pinreset/shared/rollout"
	"pinreset/shared/work"

	"pinreset/shared/graph/graphtest"
)

// withRollouts adds the rollouts' handler to the fixture.
func withRollouts(t *testing.T) (*fixture, *graph.Client) {
	t.Helper()
	f := setUp(t, false)
	sim, client := graphtest.New(t, graphsim.Options{Now: f.Clock.Now})
	f.sim = sim
	f.others = append(f.others, (&policyrollout.Handler{Directory: client, Policies: client, Store: f.Store(), Schedule: policyrollout.DefaultSchedule,
		Links: onboarding.Links{Key: []byte("key"), NewID: f.NewID, Now: f.Clock.Now}}).Route())
	f.serveAll()
	return f, client
}

func (f *fixture) rollout(id string) rollout.Rollout {
	f.T.Helper()
	r, err := rollout.Read(f.T.Context(), f.Unit(contoso), id)
	f.must(err)
	return r
}

// TestLostRolloutGoesOn: whichever message of a rollout or a rollback was lost, the watch finds it and it goes on.
func TestLostRolloutGoesOn(t *testing.T) {
	t.Parallel()
	f, _ := withRollouts(t)
	// Its own request was lost.
	u := f.Unit(contoso)
	r, err := rollout.Record(u, events.PolicyRolloutRequested{RequestID: f.NewID(), Shape: events.ShapeOMAURI, AllUsers: true, Reason: "a test"})
	f.must(err, u.Commit(t.Context()))
	f.rounds(2, func() bool { return f.rollout(r.ID).State == rollout.Watching })

	// Its reminder was lost.
	u = f.Unit(contoso)
	r, err = rollout.Read(t.Context(), u, r.ID)
	f.must(err)
	checks := r.Checks
	r.CheckID = "lost"
	f.must(rollout.Write(u, r), u.Commit(t.Context()))
	f.rounds(3, func() bool { return f.rollout(r.ID).Checks > checks })

	// The request of its rollback was lost.
	u = f.Unit(contoso)
	_, err = rollout.Withdraw(t.Context(), u, events.PolicyRollbackRequested{RequestID: f.NewID(), RolloutID: r.ID, Delete: true, Reason: "a test"})
	f.must(err, u.Commit(t.Context()))
	f.rounds(2, func() bool { return !f.rollout(r.ID).Rollback.FalseAt.IsZero() })
}

// rounds does rounds of the watch until done.
func (f *fixture) rounds(most int, done func() bool) {
	f.T.Helper()
	for range most * 4 {
		f.tick()
		f.Drain(f.Clock.Now().Add(housekeeping.DefaultSchedule.Watch))
		if done() {
			return
		}
	}
	f.T.Fatalf("not found in %d rounds", most*4)
}

// TestReopenedRolloutIsNotLost: while one that failed long ago goes on because its dead letter was replayed, the watch does not
// set a second run going beside it; once it has come to nothing, the watch does.
func TestReopenedRolloutIsNotLost(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	u := f.Unit(contoso)
	r, err := rollout.Record(u, events.PolicyRolloutRequested{RequestID: f.NewID(), Shape: events.ShapeOMAURI, AllUsers: true, Reason: "a test"})
	f.must(err)
	r.FailureCode, r.FailedIn = fault.AttemptsExhausted, rollout.Accepted
	f.must(rollout.End(t.Context(), u, r, rollout.Failed), u.Commit(t.Context()))
	f.Clock.Advance(48 * time.Hour)
	u = f.Unit(contoso)
	_, err = rollout.Reopen(t.Context(), u, f.rollout(r.ID))
	f.must(err, u.Commit(t.Context()))
	watch := func() (again bool) {
		f.tick()
		f.Drain(f.Clock.Now())
		return f.rollout(r.ID).CheckID != ""
	}
	if watch() {
		t.Error("reminded of a rollout that goes on right now")
	}
	f.Clock.Advance(24 * time.Hour)
	if !watch() {
		t.Error("nobody reminds of a rollout that stands still")
	}
}

// TestOldRolloutsGo: what ended long ago goes, except the rollout that stands.
func TestOldRolloutsGo(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	var ids []string
	for _, state := range []rollout.State{rollout.Failed, rollout.Completed} {
		u := f.Unit(contoso)
		r, err := rollout.Record(u, events.PolicyRolloutRequested{RequestID: f.NewID(), Shape: events.ShapeOMAURI, AllUsers: true, Reason: "a test"})
		f.must(err)
		if state == rollout.Completed {
			f.must(rollout.Place(t.Context(), u, &r))
		}
		f.must(rollout.End(t.Context(), u, r, state), u.Commit(t.Context()))
		ids = append(ids, r.ID)
	}
	f.Clock.Advance(housekeeping.DefaultKeep.History - time.Hour)
	f.tick()
	f.Drain(f.Clock.Now())
	for _, id := range ids {
		f.rollout(id)
	}
	f.Clock.Advance(25 * time.Hour)
	f.tick()
	f.Drain(f.Clock.Now())
	if _, err := rollout.Read(t.Context(), f.Unit(contoso), ids[0]); !errors.Is(err, work.ErrNotFound) {
		t.Errorf("the failed one: %v", err)
	}
	f.rollout(ids[1])
}
