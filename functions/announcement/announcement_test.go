package announcement_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/functions/announcement"
	"pinreset/shared/diag"
	"pinreset/shared/dispatch/dispatchtest"
	"pinreset/shared/work"
)

const (
	contoso = "0b7e2d4c-6a51-4f3e-9d28-5c1a7f90e364"
	device  = "5f0c3a91-27de-4b68-8e14-d3b96a7c0f52"
)

// announced are all kinds of event that are announced: what pinreset tells others, and no reminder to itself.
var announced = []events.Data{
	events.TenantSettingsChanged{RequestID: "r-0", Names: []string{"passcodeHours"}},
	events.ConsentCompleted{RequestID: "r-1", ServiceServicePrincipal: contoso, ClientServicePrincipal: device},
	events.PasscodeResetIssued{RequestID: "r-2", DeviceID: device, Outcome: events.OutcomeRemoved},
	events.PasscodeResetCancelled{RequestID: "r-3", DeviceID: device},
	events.PasscodeExpired{RequestID: "r-4", DeviceID: device},
	events.PasscodeResetAdopted{RequestID: "r-9", DeviceID: device, RecordID: "record", StartedAt: time.Unix(1700000000, 0).UTC()},
	events.PasscodeResetCrossed{RequestID: "r-10", DeviceID: device, RecordID: "record", StartedAt: time.Unix(1700000000, 0).UTC()},
	events.BulkResetEnded{RequestID: "r-11", Outcome: events.BulkCancelled},
	events.DevicePINReset{RequestID: "r-8", DeviceID: device, ResetAt: time.Unix(1700000000, 0).UTC(), Keys: events.KeysKept},
	events.PolicyRolloutCompleted{RequestID: "r-6", RolloutID: "r-6", PolicyID: device, Shape: events.ShapeOMAURI, Outcome: events.RolloutEverywhere},
	events.TenantAuditCompleted{RequestID: "r-7", Cause: events.AuditBySchedule, Outcome: events.AuditPartly, State: "unknown", Unread: []string{"devices"}},
	events.TenantDriftFound{RequestID: "r-7", Code: "policy_removed", Title: "t", Cause: "c", Detail: "d", Fix: []string{"f"}, Diagnostics: "/tenants/x/diag/z"},
	events.FailureRaised{RequestID: "r-5", Function: "consent", Code: "consent_declined", Title: "t", Cause: "c", Fix: []string{"f"}, Diagnostics: "/tenants/x/diag/y"},
}

// TestFeed proves that each kind is kept whole, newest first, once, and with one line in the log; with a crash at each
// boundary, too.
func TestFeed(t *testing.T) {
	t.Parallel()
	dispatchtest.EachCrash(t, 2*len(announced), 2, func(t *testing.T, torn bool, n int) (int, string) {
		b := dispatchtest.New(t, torn)
		var log bytes.Buffer
		b.Serve((&announcement.Handler{Logger: slog.New(slog.NewJSONHandler(&log, nil))}).Route())
		u := b.Unit(contoso)
		var ids []string
		for _, d := range announced {
			id, err := u.Send(t.Context(), work.Announcements, time.Time{}, d)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		if err := u.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.CrashAt(n)
		b.Drain(dispatchtest.Start.Add(time.Hour))
		passed, crashed := b.Boundaries()
		p, err := b.Store().List(t.Context(), work.Query{Partition: contoso, Prefix: diag.EventPrefix})
		if err != nil {
			t.Fatal(err)
		}
		var kept []string
		for _, row := range p.Rows {
			e, err := events.Parse(row.Value)
			if err != nil {
				t.Fatalf("crash %d (%s): %s: %v", n, crashed, row.Row, err)
			}
			kept = append(kept, e.ID)
			i := slices.Index(ids, e.ID)
			if i < 0 || e.Tenant != contoso || !same(t, e.Data, announced[i]) {
				t.Errorf("crash %d (%s): kept %+v", n, crashed, e)
			}
		}
		slices.Reverse(kept)
		if !slices.Equal(kept, ids) {
			t.Errorf("crash %d (%s): feed %v, want %v", n, crashed, kept, ids)
		}
		for _, row := range rows(t, b.Store(), "") {
			if !strings.HasPrefix(row.Row, diag.EventPrefix) {
				t.Errorf("crash %d (%s): row %s", n, crashed, row.Row)
			}
		}
		if lines := strings.Count(log.String(), "\n"); crashed == "" && lines != len(announced) {
			t.Errorf("%d lines in the log: %s", lines, log.String())
		}
		for _, line := range []string{`"code":"consent_declined","diagnostics":"/tenants/x/diag/y"`, `"code":"policy_removed","diagnostics":"/tenants/x/diag/z"`} {
			if !strings.Contains(log.String(), line) {
				t.Errorf("no line says %s: %s", line, log.String())
			}
		}
		return passed, crashed
	})
}

func same(t *testing.T, a, b events.Data) bool {
	t.Helper()
	x, err := json.Marshal(a)
	y, other := json.Marshal(b)
	if err := errors.Join(err, other); err != nil {
		t.Fatal(err)
	}
	return a.Kind() == b.Kind() && bytes.Equal(x, y)
}

func rows(t *testing.T, s work.Store, prefix string) []work.Row {
	t.Helper()
	p, err := s.List(t.Context(), work.Query{Partition: contoso, Prefix: prefix, Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return p.Rows
}

// TestEveryResultIsServed proves that no kind which pinreset announces is without a handler: it would end as a dead letter.
func TestEveryResultIsServed(t *testing.T) {
	t.Parallel()
	// The others: requests have queues of their own, and these two a handler sends to itself or is sent by the callback.
	own := []string{events.ConsentCheckDue{}.Kind(), events.ConsentReturned{}.Kind(), events.PasscodeResetCheckDue{}.Kind(), events.PasscodeExpiryDue{}.Kind(), events.HousekeepingDue{}.Kind(), events.PolicyRolloutCheckDue{}.Kind(), events.DeviceReported{}.Kind(), events.BulkResetDue{}.Kind(), events.PortalCatchUpDue{}.Kind(), events.SubscriptionsDue{}.Kind(), events.NotificationDue{}.Kind()}
	for _, kind := range events.Kinds() {
		known := slices.ContainsFunc(announced, func(d events.Data) bool { return d.Kind() == kind })
		if !events.FromOutside(kind) && !slices.Contains(own, kind) && !known {
			t.Errorf("%s is announced and nobody takes it", kind)
		}
	}
}
