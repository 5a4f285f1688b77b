package portal

import (
	"net/http"
	"slices"
	"strings"

	"pinreset/functions/web/internal/desk"
	"pinreset/functions/web/internal/problem"
	"pinreset/functions/web/internal/view"
	"pinreset/shared/callercheck"
	"pinreset/shared/diag"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
	"pinreset/shared/passcode"
)

type resetsData struct {
	Resets []resetItem
	Next   string
}

func (p *pages) resets(v *visit) error {
	list, err := v.room.Resets(v.r.Context(), "", paged(v.r))
	if err != nil {
		return err
	}
	c := p.chrome(v, "resets", "Resets")
	c.Calm = calm
	for _, r := range list.Items {
		if r.Open && v.r.URL.Query().Get("cursor") == "" {
			c.Live = refresh
		}
	}
	return p.show(v, "resets", c, resetsData{Resets: p.items(v, list.Items), Next: next(v.r, list.Next)})
}

type resetData struct {
	Reset     desk.Reset
	Timeline  []diag.Attempt
	Other     bool // it has not ended, and somebody else asked for it
	MayReset  bool
	MayReveal bool
	Caller    *callCheck // nil where the tenant asks for none
	Form      view.Form
}

func (p *pages) reset(v *visit) error { return p.showReset(v, http.StatusOK, "reset", nil) }

func (p *pages) askCancel(v *visit) error { return p.showReset(v, http.StatusOK, "cancel", nil) }

// showReset shows a reset, or the form to give it up. A page with a form in it does not load itself again: what is being
// typed would be lost.
func (p *pages) showReset(v *visit, status int, page string, f *view.Form) error {
	d, err := v.room.Reset(v.r.Context(), v.r.PathValue("id"))
	if err != nil {
		return err
	}
	if f == nil {
		form := fresh()
		if d.Readable { // the reason of the reset is mostly that of the reveal
			form.Reason, form.Ticket = d.Reason, d.Ticket
		}
		f = &form
	}
	title := "Reset of " + d.DeviceName
	if d.DeviceName == "" {
		title = "Reset of device " + d.DeviceID
	}
	if page == "cancel" {
		title = "Give up: " + title
	}
	c := p.chrome(v, "resets", title)
	c.About, c.Calm = d.ID, calm
	if d.Open && page == "reset" {
		c.Live = refresh
	}
	data := resetData{
		Reset: d.Reset, Timeline: d.Timeline, Other: d.Open && d.By.ID != v.who.Operator().ID, MayReset: v.room.Can(identity.ResetStart), MayReveal: v.room.Can(identity.PasscodeReveal), Form: *f,
	}
	if data.MayReveal && d.Readable {
		if data.Caller, err = p.checkOf(v, callercheck.Reveal, d.ID, "/tenants/"+v.room.ID()+"/resets/"+d.ID, f.Key); err != nil {
			return err
		}
		if data.Caller.Live() {
			c.Live, c.Calm = refresh, 0
		}
	}
	return p.showStatus(v, status, page, c, data)
}

func (p *pages) cancel(v *visit) error {
	id, f := v.r.PathValue("id"), typed(v.r)
	_, err := v.room.Cancel(v.r.Context(), f.Key, id, desk.Cancellation{Reason: f.Reason})
	if f, isForm := wrong(f, err); isForm {
		return p.showReset(v, http.StatusUnprocessableEntity, "cancel", &f)
	}
	if err != nil {
		return err
	}
	return v.redirect("/tenants/" + v.room.ID() + "/resets/" + id)
}

type revealedData struct {
	ID        string
	Code      desk.Revealed
	Language  passcode.Language // that it is read out in first
	Languages []passcode.Language
	Form      view.Form
}

// reveal shows the code as the answer to the form. It is not redirected to: no address shows a code.
func (p *pages) reveal(v *visit) error {
	id, f := v.r.PathValue("id"), typed(v.r)
	code, err := v.room.Reveal(v.r.Context(), id, desk.Viewing{Reason: f.Reason, Ticket: f.Ticket, Approval: v.r.PostFormValue("approval")})
	if needsSecond(err) {
		return p.askReveal(v, id, f)
	}
	if f, isForm := wrong(f, err); isForm {
		return p.showReset(v, http.StatusUnprocessableEntity, "reset", &f)
	}
	if err != nil {
		return err
	}
	c := p.chrome(v, "resets", "Temporary passcode")
	c.Compress = false
	d := revealedData{ID: id, Code: code, Form: fresh(), Language: spoken(v.r), Languages: []passcode.Language{passcode.English, passcode.German}}
	if d.Language == passcode.German {
		slices.Reverse(d.Languages)
	}
	return p.show(v, "revealed", c, d)
}

// spoken is the language that the browser asks for before the other ones that codes are spelled in; English where it asks for none.
// Browsers name languages in the order of their preference.
func spoken(r *http.Request) passcode.Language {
	for asked := range strings.SplitSeq(r.Header.Get("Accept-Language"), ",") {
		tag, _, _ := strings.Cut(strings.TrimSpace(asked), ";")
		switch language, _, _ := strings.Cut(strings.ToLower(tag), "-"); language {
		case "en":
			return passcode.English
		case "de":
			return passcode.German
		}
	}
	return passcode.English
}

// outcome takes what somebody says after they read a code out.
func (p *pages) outcome(v *visit) error {
	id, key := v.r.PathValue("id"), typed(v.r).Key
	var err error
	switch v.r.PostFormValue("do") {
	case "worked":
		_, err = v.room.Tell(v.r.Context(), key, id, passcode.Worked)
	case "failed":
		_, err = v.room.Tell(v.r.Context(), key, id, passcode.DidNotFit)
	case "delete":
		_, err = v.room.Delete(v.r.Context(), key, id)
	default: // what is not there is missing before anything is wrong with the form
		if _, err = v.room.Reset(v.r.Context(), id); err == nil {
			err = problem.Refuse(fault.InvalidRequest, "The form does not say what is to be done.")
		}
	}
	if err != nil {
		return err
	}
	return v.redirect("/tenants/" + v.room.ID() + "/resets/" + id)
}
