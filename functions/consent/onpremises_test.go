package consent_test

import (
	"errors"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/functions/consent"
	"pinreset/shared/audit"
	"pinreset/shared/diag"
	"pinreset/shared/dispatch/dispatchtest"
	"pinreset/shared/fault"
	"pinreset/shared/onboarding"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

// TestOnPremises: nothing is consented and nobody is asked. The handler has no directory, so asking would panic.
func TestOnPremises(t *testing.T) {
	t.Parallel()
	b := dispatchtest.New(t, false)
	b.Serve((&consent.Handler{Store: b.Store(), App: onboarding.ServiceAppID, Schedule: schedule}).Route())
	by := events.Actor{Kind: events.Operator, ID: "op-1"}
	u := b.Unit(tenant.Partition)
	added, err := tenant.AddOnPremises(u, "corp.example", "Contoso", by)
	for _, d := range []events.Data{
		events.TenantAdded{RequestID: "added", DisplayName: "Contoso", Domain: "corp.example", By: by},
		events.ConsentRequested{RequestID: "asked", By: by},
	} {
		err = errors.Join(err, u.Forward(onboarding.Queue, time.Time{}, events.Event{ID: b.NewID(), Tenant: added.ID, Time: b.Clock.Now(), Data: d}))
	}
	if err := errors.Join(err, u.Commit(t.Context())); err != nil {
		t.Fatal(err)
	}
	b.Drain(b.Clock.Now().Add(200 * time.Hour))

	if c, err := onboarding.Read(t.Context(), b.Unit(added.ID)); !errors.Is(err, work.ErrNotFound) {
		t.Errorf("a consent began: %+v, %v", c, err)
	}
	entries, _, err := audit.List(t.Context(), b.Store(), added.ID, 10, "")
	if err != nil || len(entries) != 1 || entries[0].Action != audit.TenantAdded || entries[0].Change["domain"] != "corp.example" || entries[0].Actor != by {
		t.Errorf("log %+v, %v", entries, err)
	}
	var failure diag.Failure
	if err := b.Unit(added.ID).Get(t.Context(), diag.PagePrefix+diag.IDFor(added.ID, "asked"), &failure); err != nil || failure.Code != fault.TenantOnPremises {
		t.Errorf("the consent that was asked for: %+v, %v", failure, err)
	}
}
