package portal

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"

	"pinreset/functions/web/internal/desk"
	"pinreset/functions/web/internal/problem"
	"pinreset/functions/web/internal/view"
	"pinreset/shared/diag"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
)

type failuresData struct {
	Failures []desk.Failure
	Next     string
}

func (p *pages) failures(v *visit) error {
	list, err := v.room.Failures(v.r.Context(), paged(v.r))
	if err != nil {
		return err
	}
	return p.show(v, "failures", p.chrome(v, "failures", "Failures"), failuresData{Failures: list.Items, Next: next(v.r, list.Next)})
}

// diagnostics shows a failure to who may see it: as a page to a session, as JSON to a session or a token that asks for it.
// A browser without a session is sent to sign in, whether or not there is anything; to anybody else there is nothing here.
func (p *pages) diagnostics(w http.ResponseWriter, r *http.Request) {
	who, err := p.holder(r)
	if errors.Is(err, identity.ErrUnauthenticated) {
		who, err = p.Auth.Authenticate(r)
	}
	if errors.Is(err, identity.ErrUnauthenticated) {
		if view.WantsHTML(r) { // whatever the link is: somebody followed it, and comes back to it signed in
			http.Redirect(w, r, "/sign-in?return="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
			return
		}
		err = &problem.Refusal{Code: fault.NotFound, Err: err}
	}
	if err != nil {
		p.fail(w, r, err)
		return
	}
	problem.Asked(r.Context(), who.ID)
	v := &visit{w: w, r: r, who: who}
	if err := p.inRoom(p.showDiagnostics)(v); err != nil {
		p.fail(w, r, err)
	}
}

func (p *pages) showDiagnostics(v *visit) error {
	page, err := v.room.Failure(v.r.Context(), v.r.PathValue("id"))
	if err != nil {
		return err
	}
	if v.r.URL.Query().Get("format") == "json" || !view.WantsHTML(v.r) {
		writeJSON(v.w, page)
		return nil
	}
	said, err := v.room.Readiness(v.r.Context())
	if err != nil {
		return err
	}
	d := diagData{Page: page, Readiness: said, Support: supportText(page), Remedies: p.remedies(v, page), Form: fresh()}
	if page.DeadLetter != "" {
		_, err := v.room.Letter(v.r.Context(), page.DeadLetter)
		refusal, _ := errors.AsType[*problem.Refusal](err)
		switch {
		case err == nil:
			d.Letter, d.MaySettle = page.DeadLetter, v.room.Can(identity.DeadLetterReplay)
		case refusal == nil || refusal.Code != fault.NotFound:
			return err
		}
	}
	return p.show(v, "diag", p.chrome(v, "failures", page.Title), d)
}

type diagData struct {
	diag.Page
	Readiness desk.TenantReadiness
	Remedies  []remedy
	Letter    string // id of the message that was set aside; "" where there is none any more
	MaySettle bool
	Support   string // all of it as text
	Form      view.Form
}

// remedy is a button under what to do.
type remedy struct {
	Text, Path string
	Key        string // of what it does; "" where it leads somewhere
}

// remedies are the places where what the failure asks for is done, as far as who looks may do it.
func (p *pages) remedies(v *visit, page diag.Page) (all []remedy) {
	base := "/tenants/" + v.room.ID()
	switch page.Code {
	case fault.ConsentMissing, fault.ConsentDeclined, fault.ConsentTimedOut, fault.ConsentRevoked, fault.AppNotConsented, fault.ServicePrincipalOff,
		fault.GraphForbidden, fault.GraphUnauthorized:
		all = append(all, remedy{Text: "Open the consent steps", Path: base})
	case fault.PlanChanged, fault.AssignmentChanged, fault.PolicyGone, fault.PolicyChanged, fault.PolicyRemoved, fault.PolicyUnassigned, fault.CompetingPolicy,
		fault.CoverageFell, fault.RolloutTooLate, fault.GroupNotFound, fault.PolicyRemediationFailed:
		all = append(all, remedy{Text: "Open the policies and rollouts", Path: base + "/rollouts"})
	case fault.BudgetSpent:
		all = append(all, remedy{Text: "See who did what", Path: base + "/audit"}, remedy{Text: "Open the settings", Path: base + "/settings"})
	}
	if page.DeviceID != "" && v.room.Can(identity.DeviceRead) {
		all = append(all, remedy{Text: "Open the device", Path: base + "/devices/" + page.DeviceID}, remedy{Text: "Check the device's prerequisites", Path: base + "/devices/" + page.DeviceID + "/readiness"})
	}
	if v.room.Can(identity.AuditRun) && !v.room.OnPremises() {
		all = append(all, remedy{Text: "Read the tenant again", Path: base + "/audits", Key: fresh().Key})
	}
	return all
}

// writeJSON answers with a value of our own, which always encodes.
func writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(value) // a client that went away is not told
}

type lettersData struct {
	Letters []desk.Letter
	Next    string
}

func (p *pages) letters(v *visit) error {
	list, err := v.room.Letters(v.r.Context(), paged(v.r))
	if err != nil {
		return err
	}
	return p.show(v, "letters", p.chrome(v, "deadletters", "Dead letters"), lettersData{Letters: list.Items, Next: next(v.r, list.Next)})
}

type letterData struct {
	Letter    desk.LetterDetail
	MaySettle bool
	Form      view.Form
}

func (p *pages) letter(v *visit) error { return p.showLetter(v, http.StatusOK, fresh()) }

func (p *pages) showLetter(v *visit, status int, f view.Form) error {
	l, err := v.room.Letter(v.r.Context(), v.r.PathValue("id"))
	if err != nil {
		return err
	}
	return p.showStatus(v, status, "letter", p.chrome(v, "deadletters", l.Title), letterData{
		Letter: l, MaySettle: v.room.Can(identity.DeadLetterReplay), Form: f,
	})
}

// settle replays or drops a dead letter, as the button that was pressed says.
func (p *pages) settle(v *visit) error {
	ctx, id, f := v.r.Context(), v.r.PathValue("id"), typed(v.r)
	var err error
	switch v.r.PostFormValue("do") {
	case "replay":
		_, err = v.room.Replay(ctx, f.Key, id, desk.Reason{Reason: f.Reason})
	case "drop":
		_, err = v.room.Drop(ctx, f.Key, id, desk.Reason{Reason: f.Reason})
	default:
		err = problem.Refuse(fault.InvalidRequest, "The form does not say what to do.")
	}
	if f, isForm := wrong(f, err); isForm {
		return p.showLetter(v, http.StatusUnprocessableEntity, f)
	}
	if err != nil {
		return err
	}
	return v.redirect("/tenants/" + v.room.ID() + "/deadletters")
}
