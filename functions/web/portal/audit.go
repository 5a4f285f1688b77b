package portal

import (
	"net/http"

	"pinreset/functions/web/internal/desk"
	"pinreset/functions/web/internal/view"
	"pinreset/shared/identity"
	"pinreset/shared/survey"
)

type auditsData struct {
	Audits   []desk.TenantAudit
	Next     string
	MayAudit bool
	Form     view.Form
}

func (p *pages) audits(v *visit) error { return p.showAudits(v, http.StatusOK, fresh()) }

func (p *pages) showAudits(v *visit, status int, f view.Form) error {
	list, err := v.room.Audits(v.r.Context(), paged(v.r))
	if err != nil {
		return err
	}
	c := p.chrome(v, "audits", "Audits")
	for _, a := range list.Items {
		if a.Outcome == survey.Pending && len(f.Errors) == 0 {
			c.Live = refresh
		}
	}
	return p.showStatus(v, status, "audits", c, auditsData{Audits: list.Items, Next: next(v.r, list.Next), MayAudit: v.room.Can(identity.AuditRun), Form: f})
}

func (p *pages) startAudit(v *visit) error {
	f := typed(v.r)
	a, err := v.room.StartAudit(v.r.Context(), f.Key, desk.AuditStart{Reason: f.Reason})
	if f, isForm := wrong(f, err); isForm {
		return p.showAudits(v, http.StatusUnprocessableEntity, f)
	}
	if err != nil {
		return err
	}
	return v.redirect("/tenants/" + v.room.ID() + "/audits/" + a.Body.ID)
}

func (p *pages) auditReport(v *visit) error {
	a, err := v.room.AuditReport(v.r.Context(), v.r.PathValue("id"))
	if err != nil {
		return err
	}
	c := p.chrome(v, "audits", "Audit of "+v.name)
	if a.Outcome == survey.Pending {
		c.Live = refresh
	}
	return p.show(v, "auditreport", c, a)
}
