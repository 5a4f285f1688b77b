package web_test

import (
	"net/http"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
	"pinreset/shared/survey"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

// startAudit asks for an audit of a tenant and returns its id.
func (f *fixture) startAudit(tenantID string) string {
	f.t.Helper()
	a := f.call(http.MethodPost, "/v1/tenants/"+tenantID+"/audits", f.admin, `{"reason":"a test"}`)
	a.want(f.t, http.StatusAccepted)
	var made struct{ ID string }
	a.into(f.t, &made)
	return made.ID
}

func TestAuditIsAcceptedWithItsMessage(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	_, before := f.stored()
	token := f.may(identity.AuditRun, identity.TenantRead)
	a := f.call(http.MethodPost, "/v1/tenants/"+contoso+"/audits", token, "{}", key("one"))
	a.want(t, http.StatusAccepted)
	var made struct{ ID, Outcome, TenantID string }
	a.into(t, &made)
	if made.Outcome != survey.Pending || made.TenantID != contoso || a.header.Get("Location") != "/v1/tenants/"+contoso+"/audits/"+made.ID {
		t.Errorf("accepted %+v at %s", made, a.header.Get("Location"))
	}
	f.call(http.MethodPost, "/v1/tenants/"+contoso+"/audits", token, "{}", key("one")).want(t, http.StatusAccepted)
	if _, after := f.stored(); after != before+1 {
		t.Errorf("%d messages for one audit that was asked for twice under one key", after-before)
	}
	f.call(http.MethodPost, "/v1/tenants/"+contoso+"/audits", token, `{"reason":"a\nb"}`, key("two")).refused(t, http.StatusUnprocessableEntity, fault.InvalidRequest)
	var shown struct{ Outcome string }
	f.call(http.MethodGet, a.header.Get("Location"), token, nil).into(t, &shown)
	if shown.Outcome != survey.Pending {
		t.Errorf("shown %+v", shown)
	}
}

// TestLatestAudits: whoever sees one tenant gets that one, audited or not, and a run over all is for those who see all.
func TestLatestAudits(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	u := work.NewUnit(f.rows, contoso, f.Now(), f.newID)
	r := survey.Report{ID: f.newID(), Outcome: events.AuditPartly, Cause: events.AuditBySchedule, At: f.Now(), State: "unknown",
		Parts: []survey.Part{{Name: survey.PartDevices, Code: fault.GraphForbidden, Text: "refused"}}, Drift: []survey.Drift{{Code: fault.PolicyRemoved, Detail: "gone"}}}
	if err := survey.WriteLast(u, survey.Last{Report: r}); err != nil {
		t.Fatal(err)
	}
	if err := u.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	var list struct {
		Items []struct {
			TenantID string
			Audit    *struct {
				TenantID string
				Drift    []survey.Drift
				Parts    []survey.Part
			}
			Trend []survey.Point
		}
	}
	f.call(http.MethodGet, "/v1/audits", f.may(identity.TenantRead), nil).into(t, &list)
	if len(list.Items) != 1 || list.Items[0].Audit == nil || list.Items[0].Audit.TenantID != contoso || len(list.Items[0].Trend) != 1 ||
		len(list.Items[0].Audit.Drift) != 1 || list.Items[0].Audit.Parts[0].Read {
		t.Errorf("one's own: %+v", list.Items)
	}
	list.Items = nil
	f.call(http.MethodGet, "/v1/audits", f.admin, nil).into(t, &list)
	if len(list.Items) != 2 || list.Items[1].Audit != nil || list.Items[0].TenantID != contoso || list.Items[1].TenantID != fabrikam {
		t.Errorf("everybody's: %+v", list.Items)
	}

	f.call(http.MethodPost, "/v1/audits", f.may(identity.Permissions()...), "{}", key("all")).refused(t, http.StatusForbidden, fault.Forbidden)
	a := f.call(http.MethodPost, "/v1/audits", f.admin, "{}", key("all"))
	a.want(t, http.StatusAccepted)
	var run struct {
		ID   string
		Sent bool
	}
	a.into(t, &run)
	stored, err := survey.ReadRun(t.Context(), work.NewUnit(f.rows, tenant.Partition, time.Now(), f.newID), run.ID)
	if err != nil || stored.Sent || stored.Cause != events.AuditByOperator {
		t.Errorf("run %+v, %v", stored, err)
	}
	f.call(http.MethodGet, a.header.Get("Location"), f.admin, nil).want(t, http.StatusOK)
	f.call(http.MethodGet, "/v1/audits/runs/nothing", f.admin, nil).refused(t, http.StatusNotFound, fault.NotFound)
	f.call(http.MethodGet, "/v1/audits/pace", f.admin, nil).want(t, http.StatusOK)
}
