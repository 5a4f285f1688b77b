package devicereport_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pinreset/events"
	function "pinreset/functions/devicereport"
	"pinreset/shared/devicereport"
	"pinreset/shared/diag"
	"pinreset/shared/dispatch/dispatchtest"
	"pinreset/shared/fault"
	"pinreset/shared/readiness"
	"pinreset/shared/work"
)

const (
	contoso = "0b7e2d4c-6a51-4f3e-9d28-5c1a7f90e364"
	device  = "5f0c3a91-27de-4b68-8e14-d3b96a7c0f52"
)

// sender takes reports as the callback does, less the signature.
type sender struct {
	*dispatchtest.Bench
	sequence int64
}

func (s *sender) report(change func(*devicereport.Report)) devicereport.Report {
	s.sequence++
	r := devicereport.Report{Version: 1, Sequence: s.sequence, CollectedAt: s.Clock.Now(), Edition: "Enterprise", OSVersion: "10.0.22631.3447"}
	if change != nil {
		change(&r)
	}
	return r
}

func (s *sender) accept(r devicereport.Report) (id string) {
	s.T.Helper()
	u := s.Unit(contoso)
	body, err := json.Marshal(r)
	if err != nil {
		s.T.Fatal(err)
	}
	id = u.NewID()
	_, err = u.Send(s.T.Context(), devicereport.Queue, time.Time{}, events.DeviceReported{RequestID: id, DeviceID: device})
	err = errors.Join(err, devicereport.Create(u, devicereport.Stored{ID: id, DeviceID: device, KeyID: "k", At: u.Now(), Body: body}))
	if err := errors.Join(err, u.Commit(s.T.Context())); err != nil {
		s.T.Fatal(err)
	}
	return id
}

func (s *sender) drain() {
	s.T.Helper()
	s.Drain(s.Clock.Now().Add(time.Hour))
}

// announced are the announcements, in order. Nobody takes them from the queue here, so they are read from it.
func (s *sender) announced() (all []events.Data) {
	s.T.Helper()
	stats := s.messages(work.Announcements)
	for _, d := range stats {
		e, err := events.Parse(d.Body)
		if err != nil {
			s.T.Fatal(err)
		}
		all = append(all, e.Data)
	}
	return all
}

func (s *sender) messages(q work.Queue) []work.Delivery {
	s.T.Helper()
	rows, err := s.Source().Receive(s.T.Context(), q, 100)
	if err != nil {
		s.T.Fatal(err)
	}
	return rows
}

func (s *sender) facts() readiness.DeviceReport {
	s.T.Helper()
	f, err := readiness.ReadDevice(s.T.Context(), s.Unit(contoso), device)
	if err != nil {
		s.T.Fatal(err)
	}
	return f
}

func (s *sender) rows(prefix string) []work.Row {
	s.T.Helper()
	p, err := s.Store().List(s.T.Context(), work.Query{Partition: contoso, Prefix: prefix, Limit: 1000})
	if err != nil {
		s.T.Fatal(err)
	}
	return p.Rows
}

func start(t *testing.T, torn bool) *sender {
	s := &sender{Bench: dispatchtest.New(t, torn)}
	s.Serve((&function.Handler{}).Route())
	return s
}

func failure(code string, at time.Time) func(*devicereport.Report) {
	return func(r *devicereport.Report) {
		r.Resets = []devicereport.PINReset{{At: at, Outcome: devicereport.Failed, Code: code}}
	}
}

// TestFailureIsExplainedOnce proves, with a crash at each boundary, that a failed PIN reset raises one failure with the meaning of
// its number, that one which worked is announced once, and that the device's facts are there.
func TestFailureIsExplainedOnce(t *testing.T) {
	t.Parallel()
	dispatchtest.EachCrash(t, 2, 2, func(t *testing.T, torn bool, n int) (int, string) {
		s := start(t, torn)
		at := dispatchtest.Start.Add(-time.Minute)
		id := s.accept(s.report(func(r *devicereport.Report) {
			r.Resets = []devicereport.PINReset{{At: at, Outcome: devicereport.Failed, Code: "CAA20004"},
				{At: at.Add(-time.Hour), Outcome: devicereport.Succeeded, Kind: devicereport.NonDestructive}}
		}))
		s.CrashAt(n)
		s.drain()
		passed, crashed := s.Boundaries()
		where := fmt.Sprintf("crash %d (%s)", n, crashed)
		var failed []events.FailureRaised
		var worked []events.DevicePINReset
		for _, d := range s.announced() {
			switch d := d.(type) {
			case events.FailureRaised:
				failed = append(failed, d)
			case events.DevicePINReset:
				worked = append(worked, d)
			}
		}
		if len(failed) != 1 || len(worked) != 1 {
			t.Fatalf("%s: %d failures and %d that worked", where, len(failed), len(worked))
		}
		want := fault.Lookup(fault.PINServiceMissing)
		if f := failed[0]; f.Code != string(want.Code) || f.Cause != want.Cause || f.Function != function.Function || f.DeviceID != device || len(f.Fix) == 0 {
			t.Errorf("%s: %+v", where, f)
		}
		if worked[0].Keys != events.KeysKept || !worked[0].ResetAt.Equal(at.Add(-time.Hour)) {
			t.Errorf("%s: %+v", where, worked[0])
		}
		page, err := diag.Load(t.Context(), s.Store(), contoso, failed[0].Diagnostics[strings.LastIndex(failed[0].Diagnostics, "/")+1:])
		if err != nil || !strings.Contains(page.Detail, "CAA20004") || len(page.Timeline) != 1 || len(page.Timeline[0].Steps) < 3 {
			t.Errorf("%s: page %+v, %v", where, page, err)
		}
		if f := s.facts(); f.ReportID != id {
			t.Errorf("%s: facts of report %q", where, f.ReportID)
		}
		stored, err := devicereport.Load(t.Context(), s.Unit(contoso), device, id)
		if err != nil || stored.Read == nil || len(stored.Read.Resets) != 2 || stored.Read.Resets[1].Diagnostics != failed[0].Diagnostics {
			t.Errorf("%s: beside the report stands %+v, %v", where, stored.Read, err)
		}
		return passed, crashed
	})
}

// TestAgentGoesOnTelling: a failure in twenty reports is one failure; another one is another.
func TestAgentGoesOnTelling(t *testing.T) {
	t.Parallel()
	s := start(t, false)
	at := s.Clock.Now()
	for range 20 {
		s.accept(s.report(failure("0x801C044D", at)))
		s.drain()
	}
	s.accept(s.report(failure("0x801C044D", at.Add(time.Minute))))
	s.accept(s.report(failure("0x801C044D", at.AddDate(0, -3, 0)))) // no news
	s.drain()
	if got := s.announced(); len(got) != 2 {
		t.Errorf("%d announcements: %+v", len(got), got)
	}
	if got := len(s.rows(diag.FailurePrefix)); got != 2 {
		t.Errorf("%d failures are listed", got)
	}
	p, err := diag.Load(t.Context(), s.Store(), contoso, s.announcedPage(t))
	if err != nil || !strings.Contains(p.Detail, "several meanings") || len(p.Fix) != 2 {
		t.Errorf("two meanings became %q, %q, %v", p.Detail, p.Fix, err)
	}
}

func (s *sender) announcedPage(t *testing.T) string {
	t.Helper()
	var f diag.Failure
	if err := json.Unmarshal(s.rows(diag.FailurePrefix)[0].Value, &f); err != nil {
		t.Fatal(err)
	}
	return f.ID
}

// TestNewestFactsStay reads two reports in the wrong order.
func TestNewestFactsStay(t *testing.T) {
	t.Parallel()
	s := start(t, false)
	old := s.report(func(r *devicereport.Report) { r.Edition = "Core" })
	first := s.accept(old)
	second := s.accept(s.report(nil))
	s.drain()
	u := s.Unit(contoso)
	if _, err := u.Send(t.Context(), devicereport.Queue, time.Time{}, events.DeviceReported{RequestID: first, DeviceID: device}); err != nil {
		t.Fatal(err)
	}
	if err := u.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.drain()
	f := s.facts()
	if edition, _ := f.Edition.Get(); f.ReportID != second || edition != "Enterprise" {
		t.Errorf("facts of %s: edition %s", f.ReportID, edition)
	}
}

// TestClockAheadHidesNothing has a device whose clock was years ahead once: its facts are no newer than their arrival, and the
// reset that it dates there hides none that follows.
func TestClockAheadHidesNothing(t *testing.T) {
	t.Parallel()
	s := start(t, false)
	came, ahead := s.Clock.Now(), s.Clock.Now().AddDate(3, 0, 0)
	r := s.report(failure("CAA20004", ahead))
	r.CollectedAt = ahead
	s.accept(r)
	s.drain()
	if f := s.facts(); f.ReportedAt.After(came) || f.LastReset.OK() {
		t.Errorf("reported at %s, which came at %s; last reset %+v", f.ReportedAt, came, f.LastReset)
	}
	at := s.Clock.Now()
	s.accept(s.report(failure("CAA20004", at)))
	s.drain()
	if last, ok := s.facts().LastReset.Get(); !ok || !last.At.Equal(at) {
		t.Errorf("the last reset is %+v, want one at %s", last, at)
	}
	if all := s.announced(); len(all) != 1 {
		t.Errorf("announced %d times: %+v", len(all), all)
	}
}

// TestLostReportsHarmNothing loses every report but the last one: the facts are as if all had come. A device of which none ever
// came has none, which is not the same as "no".
func TestLostReportsHarmNothing(t *testing.T) {
	t.Parallel()
	all, lossy := start(t, false), start(t, false)
	for i := range 5 {
		change := func(r *devicereport.Report) {
			r.Edition = []string{"Core", "Professional", "Education", "Enterprise", "EnterpriseS"}[i]
		}
		all.accept(all.report(change))
		all.drain()
		if r := lossy.report(change); i == 4 {
			lossy.Clock.Advance(all.Clock.Now().Sub(lossy.Clock.Now()) - time.Hour)
			r.CollectedAt = lossy.Clock.Now()
			lossy.accept(r)
			lossy.drain()
		}
	}
	a, b := all.facts(), lossy.facts()
	a.ReportID, b.ReportID, a.ReportedAt, b.ReportedAt = "", "", time.Time{}, time.Time{}
	x, err := json.Marshal(a)
	y, other := json.Marshal(b)
	if err := errors.Join(err, other); err != nil || string(x) != string(y) {
		t.Errorf("with all of them %s, with the last one %s, %v", x, y, err)
	}
	none := start(t, false)
	if _, err := readiness.ReadDevice(t.Context(), none.Unit(contoso), device); !errors.Is(err, work.ErrNotFound) {
		t.Errorf("a device that never reported has facts: %v", err)
	}
}

func TestOldReportsMakeRoom(t *testing.T) {
	t.Parallel()
	s := start(t, false)
	last := ""
	for range 40 {
		last = s.accept(s.report(nil))
		s.drain()
	}
	rows := s.rows(devicereport.Prefix)
	if len(rows) != 30 || !strings.HasSuffix(rows[0].Row, work.Descending(last)) {
		t.Errorf("%d reports stay, the first is %s", len(rows), rows[0].Row)
	}
	// A message whose report is gone is no failure.
	u := s.Unit(contoso)
	if _, err := u.Send(t.Context(), devicereport.Queue, time.Time{}, events.DeviceReported{RequestID: "gone", DeviceID: device}); err != nil {
		t.Fatal(err)
	}
	if err := u.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.drain()
	if n := len(s.rows(diag.FailurePrefix)); n != 0 {
		t.Errorf("%d failures", n)
	}
}

// TestMostThatOneReportCanSay stages as much as a report can make: it must fit one commit.
func TestMostThatOneReportCanSay(t *testing.T) {
	t.Parallel()
	s := start(t, false)
	for range 40 { // so that there is something to trim
		s.accept(s.report(nil))
	}
	s.accept(s.report(func(r *devicereport.Report) {
		for i := range devicereport.MaxResets {
			r.Resets = append(r.Resets, devicereport.PINReset{At: s.Clock.Now().Add(-time.Duration(i) * time.Hour), Outcome: devicereport.Failed, Code: fmt.Sprint("code ", i)})
		}
		for i := range devicereport.MaxEvents {
			r.Events = append(r.Events, devicereport.Event{Log: devicereport.HelloLog, ID: 3130, At: s.Clock.Now().Add(-time.Duration(i) * time.Hour)})
		}
	}))
	s.drain()
	if n := len(s.rows(diag.FailurePrefix)); n != devicereport.MaxResets {
		t.Errorf("%d failures, want %d", n, devicereport.MaxResets)
	}
	if n := len(s.rows(diag.LetterPrefix)); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}
