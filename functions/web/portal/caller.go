package portal

import (
	"net/http"
	"strings"
	"time"

	"pinreset/functions/web/internal/desk"
	"pinreset/functions/web/internal/view"
	"pinreset/shared/callercheck"
)

// callerPath is where somebody who calls the help desk confirms it. Whoever signs in for it needs no access to anything else.
const callerPath = "/me/confirm"

type callerData struct {
	Done bool
	Form view.Form
}

func (p *pages) caller(v *visit) error { return p.showCaller(v, http.StatusOK, callerData{}) }

func (p *pages) showCaller(v *visit, status int, d callerData) error {
	return p.showStatus(v, status, "caller", p.chrome(v, "", "Confirm that you are calling"), d)
}

func (p *pages) confirmCaller(v *visit) error {
	err := p.Desk.ConfirmCaller(v.r.Context(), v.who, v.r.PostFormValue("code"))
	if f, isForm := wrong(view.Form{}, err); isForm {
		return p.showCaller(v, http.StatusUnprocessableEntity, callerData{Form: f})
	}
	if err != nil {
		return err
	}
	return p.showCaller(v, http.StatusOK, callerData{Done: true})
}

// callCheck is what the template of an operator's check of the caller needs.
type callCheck struct {
	desk.CallerCheck
	Path, Key string // of the form that makes a code
	Now       time.Time
}

// Ready reports whether the operator may act: the caller has confirmed, or nobody asks for that.
func (c *callCheck) Ready() bool { return c == nil || c.State == callercheck.Confirmed }

// Live reports whether the page is to bring itself up to date.
func (c *callCheck) Live() bool { return c != nil && c.State == callercheck.Waiting }

// checkOf is where the operator's check of the caller stands; nil where the tenant asks for none there. path is that of the page.
func (p *pages) checkOf(v *visit, action callercheck.Action, id, path, key string) (*callCheck, error) {
	if asks, err := v.room.ChecksCaller(v.r.Context(), action); err != nil || !asks {
		return nil, err
	}
	c, err := v.room.CallerCheck(v.r.Context(), action, id)
	return &callCheck{CallerCheck: c, Path: path + "/caller", Key: key, Now: p.Now()}, err
}

// askCaller makes a code for the caller and goes back to the page that shows it.
func (p *pages) askCaller(action callercheck.Action) handler {
	return func(v *visit) error {
		if _, err := v.room.AskCaller(v.r.Context(), typed(v.r).Key, action, v.r.PathValue("id")); err != nil {
			return err
		}
		return v.redirect(strings.TrimSuffix(v.r.URL.Path, "/caller"))
	}
}
