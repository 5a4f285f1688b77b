package portal

import (
	"errors"
	"net/http"

	"pinreset/functions/web/internal/desk"
	"pinreset/functions/web/internal/problem"
	"pinreset/functions/web/internal/view"
	"pinreset/shared/approval"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
)

type approvalData struct {
	Approval desk.Approval
	Mine     bool // asked for by who looks
	Form     view.Form
}

func (p *pages) approval(v *visit) error { return p.showApproval(v, http.StatusOK, fresh()) }

// showApproval shows a request to who can decide it, with the form for that, and to who waits for it.
func (p *pages) showApproval(v *visit, status int, f view.Form) error {
	a, err := v.room.Approval(v.r.Context(), v.r.PathValue("id"))
	if err != nil {
		return err
	}
	c := p.chrome(v, "overview", map[approval.Action]string{
		approval.Reset: "A reset for two people", approval.Bulk: "A bulk reset for two people", approval.Reveal: "A code for two people to agree on",
	}[a.Action])
	if a.State == approval.Waiting && !a.MayDecide {
		c.Live = refresh
	}
	return p.showStatus(v, status, "approval", c, approvalData{Approval: a, Mine: a.By.ID == v.room.Who().ID, Form: f})
}

func (p *pages) decide(v *visit) error {
	id, f := v.r.PathValue("id"), typed(v.r)
	var yes bool
	switch v.r.PostFormValue("do") {
	case "approve":
		yes = true
	case "decline":
	default: // what is not there is missing before anything is wrong with the form
		if _, err := v.room.Approval(v.r.Context(), id); err != nil {
			return err
		}
		return problem.Refuse(fault.InvalidRequest, "The form does not say what is to be done.")
	}
	_, err := v.room.Decide(v.r.Context(), f.Key, id, yes, desk.Decision{Hash: v.r.PostFormValue("hash"), Reason: f.Reason})
	if f, isForm := wrong(f, err); isForm {
		return p.showApproval(v, http.StatusUnprocessableEntity, f)
	}
	if err != nil {
		return err
	}
	return v.redirect("/tenants/" + v.room.ID() + "/approvals/" + id)
}

// askReveal asks for the second person that a code needs, and shows the request.
func (p *pages) askReveal(v *visit, id string, f view.Form) error {
	a, err := v.room.AskReveal(v.r.Context(), f.Key, id, desk.Viewing{Reason: f.Reason, Ticket: f.Ticket})
	if err != nil {
		return err
	}
	return v.redirect("/tenants/" + v.room.ID() + "/approvals/" + a.Body.ID)
}

// needsSecond reports whether what was asked for needs a second person who was not asked yet.
func needsSecond(err error) bool {
	refusal, ok := errors.AsType[*problem.Refusal](err)
	return ok && refusal.Code == fault.SecondPersonRequired
}

// waiting are the requests that wait for a second person, for who may decide them or reset devices.
func (p *pages) waiting(v *visit) ([]desk.Approval, error) {
	if !v.room.Can(identity.ApprovalDecide) && !v.room.Can(identity.ResetStart) && !v.room.Can(identity.BulkReset) {
		return nil, nil
	}
	list, err := v.room.Approvals(v.r.Context(), approval.Waiting, desk.Page{})
	return list.Items, err
}
