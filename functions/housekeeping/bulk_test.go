package housekeeping_test

import (
	"errors"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/functions/bulkreset"
	"pinreset/functions/housekeeping"
	"pinreset/functions/tenantaudit"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/passcode"
	"pinreset/shared/survey"
	"pinreset/shared/tenant"
	"pinreset/shared/work"

	"pinreset/shared/graph/graphtest"
)

// TestLostBulkGoesOn: a bulk reset whose reminder was lost comes to its end, in whichever state it was.
func TestLostBulkGoesOn(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	_, client := graphtest.New(t, graphsim.Options{Now: f.Clock.Now})
	f.others = append(f.others, (&bulkreset.Handler{Intune: client, Store: f.Store()}).Route())
	f.serveAll()
	read := func(id string) passcode.Bulk {
		t.Helper()
		b, err := passcode.ReadBulk(t.Context(), f.Unit(contoso), id)
		f.must(err)
		return b
	}
	lost := func(state passcode.BulkState) string {
		t.Helper()
		u := f.Unit(contoso)
		b := passcode.Bulk{ID: f.NewID(), State: state, Reason: "a test", By: events.Pinreset(), AskedAt: u.Now(), DueID: "lost", Plan: state == passcode.BulkFinding}
		f.must(passcode.WriteBulk(u, b), u.Commit(t.Context()))
		return b.ID
	}
	finding, running := lost(passcode.BulkFinding), lost(passcode.BulkRunning)
	f.rounds(3, func() bool { return !read(finding).Open() && !read(running).Open() })
	if got := read(finding); got.State != passcode.BulkPlanned || got.Tally.Total == 0 {
		t.Errorf("finding: %s with %d devices", got.State, got.Tally.Total)
	}
	if got := read(running); got.State != passcode.BulkDone {
		t.Errorf("running: %s", got.State)
	}
}

// TestLostAuditGoesOn: an audit that somebody waits for ends although its message was lost.
func TestLostAuditGoesOn(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	_, client := graphtest.New(t, graphsim.Options{Now: f.Clock.Now})
	f.others = append(f.others, (&tenantaudit.Handler{Cloud: client, Store: f.Store(), Schedule: tenantaudit.DefaultSchedule}).Route())
	f.serveAll()
	u := f.Unit(contoso)
	r := survey.Report{ID: f.NewID(), Cause: events.AuditByOperator, By: events.Pinreset(), At: u.Now(), Outcome: survey.Pending}
	f.must(survey.Write(u, r), u.Commit(t.Context()))
	f.rounds(2, func() bool {
		got, err := survey.Read(t.Context(), f.Unit(contoso), r.ID)
		f.must(err)
		return got.Outcome != survey.Pending
	})
}

// TestEverythingThatEndedGoes: of each kind of history an old row goes and a young one stays.
func TestEverythingThatEndedGoes(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	write := func() (ids []string) {
		u := f.Unit(contoso)
		for range 2 {
			ids = append(ids, f.NewID())
		}
		f.must(passcode.WriteBulk(u, passcode.Bulk{ID: ids[0], State: passcode.BulkDone, AskedAt: u.Now(), EndedAt: u.Now()}),
			passcode.WriteItem(u, ids[0], passcode.Item{At: u.Now(), DeviceID: tenant.Partition, State: passcode.ItemDone}),
			survey.Write(u, survey.Report{ID: ids[1], At: u.Now(), Outcome: events.AuditWhole}), u.Commit(t.Context()))
		return ids
	}
	old := write()
	f.Clock.Advance(housekeeping.DefaultKeep.History - time.Hour)
	young := write()
	f.Clock.Advance(25 * time.Hour)
	f.tick()
	f.Drain(f.Clock.Now())
	look := func(ids []string) (errs [2]error, items int) {
		_, errs[0] = passcode.ReadBulk(t.Context(), f.Unit(contoso), ids[0])
		_, errs[1] = survey.Read(t.Context(), f.Unit(contoso), ids[1])
		all, _, err := passcode.Items(t.Context(), f.Store(), contoso, ids[0], 10, "")
		f.must(err)
		return errs, len(all)
	}
	if errs, items := look(old); !errors.Is(errs[0], work.ErrNotFound) || !errors.Is(errs[1], work.ErrNotFound) || items != 0 {
		t.Errorf("old: %v, %d devices", errs, items)
	}
	if errs, items := look(young); errors.Join(errs[:]...) != nil || items != 1 {
		t.Errorf("young: %v, %d devices", errs, items)
	}
}
