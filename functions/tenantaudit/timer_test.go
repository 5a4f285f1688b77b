package tenantaudit_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/functions/tenantaudit"
	"pinreset/shared/dispatch/dispatchtest"
	"pinreset/shared/survey"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

func TestCron(t *testing.T) {
	t.Parallel()
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct{ text, now, last, next string }{
		{"0 0 */6 * * *", "2026-11-22T08:14:03Z", "2026-11-22T06:00:00Z", "2026-11-22T12:00:00Z"},
		{"0 0 */6 * * *", "2026-11-22T06:00:00Z", "2026-11-22T06:00:00Z", "2026-11-22T12:00:00Z"},
		{"0 0 */6 * * *", "2026-11-22T05:59:59.9Z", "2026-11-22T00:00:00Z", "2026-11-22T06:00:00Z"},
		{"30 */5 9-17 * * 1-5", "2026-11-22T12:00:00Z", "2026-11-20T17:55:30Z", "2026-11-23T09:00:30Z"}, // a Sunday
		{"0 30 4 1,15 * *", "2026-11-22T12:00:00Z", "2026-11-15T04:30:00Z", "2026-12-01T04:30:00Z"},
		{"0 0 0 29 2 *", "2026-11-22T12:00:00Z", "2024-02-29T00:00:00Z", "2028-02-29T00:00:00Z"},
		{"0 0 12 13 * 5", "2026-11-22T12:00:00Z", "2026-11-13T12:00:00Z", "2027-08-13T12:00:00Z"}, // both days must fit
		{"*/20 59 23 31 12 *", "2026-12-31T23:59:59Z", "2026-12-31T23:59:40Z", "2027-12-31T23:59:00Z"},
		{"0 0 3 * * 7", "2026-11-23T12:00:00Z", "2026-11-22T03:00:00Z", "2026-11-29T03:00:00Z"},
		{"0 0 8 * * *", "2026-11-22T01:30:00+02:00", "2026-11-21T08:00:00Z", "2026-11-22T08:00:00Z"},
		{"0 10/20 * * * *", "2026-11-22T08:14:03Z", "2026-11-22T08:10:00Z", "2026-11-22T08:30:00Z"},
	} {
		cron, err := tenantaudit.ParseCron(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if last, next := cron.Last(at(c.now)), cron.Next(at(c.now)); !last.Equal(at(c.last)) || !next.Equal(at(c.next)) {
			t.Errorf("%s at %s: last %s, next %s, want %s and %s", c.text, c.now, last, next, c.last, c.next)
		}
	}
	for text, want := range map[string]string{
		"":                  "0 fields",
		"0 */6 * * *":       "5 fields",
		"60 0 0 * * *":      "second",
		"0 0 24 * * *":      "hour",
		"0 0 0 0 * *":       "day of the month",
		"0 0 0 * 13 *":      "month",
		"0 0 0 * * 8":       "day of the week",
		"0 0 9-5 * * *":     "hour",
		"0 */0 * * * *":     "minute",
		"0 1, * * * *":      "minute",
		"0 0 0 30 2 *":      "never comes",
		"@daily":            "1 fields",
		"0 0 0 * * mon":     "day of the week",
		"0 0 0 1-2-3 * *":   "day of the month",
		"0 -1 0 * * *":      "minute",
		"0 0 0 * * * extra": "7 fields",
	} {
		if _, err := tenantaudit.ParseCron(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func (f *fixture) timer(cron string) *tenantaudit.Timer {
	f.T.Helper()
	c, err := tenantaudit.ParseCron(cron)
	f.must(err)
	return &tenantaudit.Timer{Store: f.Store(), Cron: c, Now: f.Clock.Now, NewID: f.NewID, Logger: slog.New(slog.DiscardHandler)}
}

// waiting counts the messages for audits that a store holds, by tenant.
func (f *fixture) waiting() map[string]int {
	f.T.Helper()
	count := map[string]int{}
	for due, _ := f.Waiting(survey.Queue.Bulk()); due > 0; due, _ = f.Waiting(survey.Queue.Bulk()) {
		deliveries, err := f.Source().Receive(f.T.Context(), survey.Queue.Bulk(), 100)
		f.must(err)
		for _, d := range deliveries {
			count[d.Partition]++
			f.must(f.Source().Settle(f.T.Context(), d, work.Batch{}, work.Outcome{Kind: work.Done}))
		}
	}
	return count
}

// TestRunReachesEveryTenantOnce kills the process between every two effects of a run over a register of several pages: each tenant gets
// its message, and none gets two.
func TestRunReachesEveryTenantOnce(t *testing.T) {
	t.Parallel()
	const tenants = 95 // two pages
	dispatchtest.EachCrash(t, 6, 2, func(t *testing.T, torn bool, n int) (int, string) {
		b := dispatchtest.New(t, torn)
		f := &fixture{Bench: b}
		u := f.Unit(tenant.Partition)
		for i := range tenants {
			_, err := tenant.Add(u, fmt.Sprintf("%08x-0000-4000-8000-000000000000", i+1), "Tenant", events.Pinreset())
			f.must(err)
		}
		f.must(u.Commit(t.Context()))
		f.CrashAt(n)
		for range 3 {
			if err := f.timer("0 0 */6 * * *").Tick(t.Context()); err != nil {
				if _, crashed := f.Boundaries(); crashed == "" {
					t.Fatal(err)
				}
				f.Restart()
			}
		}
		passed, crashed := f.Boundaries()
		f.CrashAt(0)
		got := f.waiting()
		if len(got) != tenants {
			t.Fatalf("crash %d (%s): %d of %d tenants have a message", n, crashed, len(got), tenants)
		}
		for id, count := range got {
			if count != 1 {
				t.Fatalf("crash %d (%s): %s has %d messages", n, crashed, id, count)
			}
		}
		return passed, crashed
	})
}

// TestScheduleIsKept: a time of the schedule is one run, whoever ticks; one that was missed is made up for; and a run that
// was asked for is sent by the next tick.
func TestScheduleIsKept(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	runs := func() int {
		all, _, err := survey.Runs(t.Context(), f.Store(), 100, "")
		f.must(err)
		for _, r := range all {
			if !r.Sent || r.Tenants != 1 {
				t.Errorf("run %+v", r)
			}
		}
		return len(all)
	}
	for i, want := range []int{1, 1, 2, 3} {
		f.must(f.timer("0 0 */6 * * *").Tick(t.Context()), f.timer("0 0 */6 * * *").Tick(t.Context()))
		if got := runs(); got != want {
			t.Fatalf("%d runs at moment %d, want %d", got, i, want)
		}
		f.Clock.Advance([]time.Duration{time.Hour, 4 * time.Hour, 50 * time.Hour, 0}[i])
	}
	u := f.Unit(tenant.Partition)
	_, err := survey.StartRun(u, f.NewID(), events.AuditByOperator, "", events.Pinreset())
	f.must(err, u.Commit(t.Context()), f.timer("0 0 */6 * * *").Tick(t.Context()))
	if got := runs(); got != 4 {
		t.Errorf("%d runs with the one that was asked for", got)
	}
	f.Drain(f.Clock.Now().Add(time.Hour))
	reports, _, err := survey.List(t.Context(), f.Store(), contoso, 100, "")
	if err != nil || len(reports) != 4 {
		t.Fatalf("%d reports: %v", len(reports), err)
	}
	scheduled := 0
	for _, r := range reports {
		if r.Outcome == survey.Pending || r.RunID == "" {
			t.Errorf("report %+v", r)
		}
		if r.Cause == events.AuditBySchedule {
			scheduled++
		}
	}
	if scheduled != 3 {
		t.Errorf("%d scheduled audits", scheduled)
	}
}

// TestFirstStartMakesUpForNothing: what was due before a process ever ran was not missed. After that, what was due while nothing
// ran is made up for; a run that somebody asked for is none of the schedule's.
func TestFirstStartMakesUpForNothing(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	scheduled := func() (n int) {
		all, _, err := survey.Runs(t.Context(), f.Store(), 100, "")
		f.must(err)
		for _, r := range all {
			if r.Cause == events.AuditBySchedule {
				n++
			}
		}
		return n
	}
	tick := func(since time.Time) {
		t.Helper()
		timer := f.timer("0 0 */6 * * *")
		timer.Since = since
		f.must(timer.Tick(t.Context()))
	}
	first := f.Clock.Now()
	u := f.Unit(tenant.Partition)
	_, err := survey.StartRun(u, f.NewID(), events.AuditByOperator, "", events.Pinreset())
	f.must(err, u.Commit(t.Context()))
	if tick(first); scheduled() != 0 {
		t.Error("the first start made up for what nobody had missed")
	}
	f.Clock.Advance(5 * time.Hour)
	if tick(first); scheduled() != 1 {
		t.Error("the first time of the schedule was not kept")
	}
	f.Clock.Advance(20 * time.Hour)
	if tick(f.Clock.Now()); scheduled() != 2 {
		t.Error("a restart did not make up for what was missed")
	}
}
