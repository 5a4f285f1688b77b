package portal

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"pinreset/functions/web/internal/desk"
	"pinreset/functions/web/internal/problem"
	"pinreset/functions/web/internal/view"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
	"pinreset/shared/onboarding"
	"pinreset/shared/tenant"
	"pinreset/shared/userreset"
)

type homeData struct {
	Tenants []desk.Standing
	Next    string
	MayAdd  bool
	Form    view.Form
}

func (p *pages) home(v *visit) error { return p.showHome(v, http.StatusOK, fresh()) }

func (p *pages) showHome(v *visit, status int, f view.Form) error {
	list, err := p.Desk.Overview(v.r.Context(), v.who, paged(v.r))
	if err != nil {
		return err
	}
	c := p.chrome(v, "", "Tenants")
	return p.showStatus(v, status, "home", c, homeData{
		Tenants: list.Items, Next: next(v.r, list.Next), MayAdd: v.who.All && v.who.Can(identity.TenantOnboard), Form: f,
	})
}

// find goes to the tenant's devices that the search of the first page names.
func (p *pages) find(v *visit) error {
	asked := v.r.URL.Query()
	return v.redirect("/tenants/" + url.PathEscape(asked.Get("tenant")) + "/devices?" + url.Values{"search": {asked.Get("search")}}.Encode())
}

func (p *pages) addTenant(v *visit) error {
	f := typed(v.r)
	a, err := p.Desk.AddTenant(v.r.Context(), v.who, f.Key, desk.NewTenant{
		TenantID: f.ID, DisplayName: f.Name, CreateServicePrincipals: f.Create,
	})
	if f, isForm := wrong(f, err); isForm {
		return p.showHome(v, http.StatusUnprocessableEntity, f)
	}
	if err != nil {
		return err
	}
	return v.redirect("/tenants/" + a.Body.ID)
}

type tenantData struct {
	Consent    desk.Consent
	Domain     string // of a tenant on premises
	Ways       []tenant.Way
	Guidance   []userreset.Guidance // what to read aloud, on premises
	Settings   tenant.Settings
	Open       []resetItem
	MayOnboard bool
	MaySet     bool
	Form       view.Form     // of what was sent and could not be done
	Again      view.Form     // to start the consent again
	Change     settingsInput // to change settings
}

// settingsInput is the form of the settings.
type settingsInput struct {
	PasscodeHours      string
	ResetDeadlineHours string
	Reason             string
}

// resetItem is what the template of one reset in a list needs.
type resetItem struct {
	Tenant string
	Reset  desk.Reset
	Now    time.Time
}

func (p *pages) items(v *visit, resets []desk.Reset) []resetItem {
	items := make([]resetItem, 0, len(resets))
	for _, r := range resets {
		items = append(items, resetItem{Tenant: v.room.ID(), Reset: r, Now: p.Now()})
	}
	return items
}

func (p *pages) tenant(v *visit) error { return p.showTenant(v, http.StatusOK, nil) }

// showTenant shows the tenant, or again with the form that could not be done. Then it does not load itself again.
func (p *pages) showTenant(v *visit, status int, fill func(*tenantData)) error {
	ctx := v.r.Context()
	shown, err := v.room.Tenant(ctx)
	if err != nil {
		return err
	}
	consent, err := v.room.Consent(ctx)
	if err != nil {
		return err
	}
	open, err := v.room.Resets(ctx, "open", desk.Page{})
	if err != nil {
		return err
	}
	c := p.chrome(v, "overview", shown.DisplayName)
	data := tenantData{
		Consent: consent, Domain: shown.Domain, Ways: shown.Ways, Settings: shown.Settings, Open: p.items(v, open.Items), MayOnboard: v.room.Can(identity.TenantOnboard),
		MaySet: v.room.Can(identity.SettingsWrite), Again: fresh(),
		Change: settingsInput{PasscodeHours: strconv.Itoa(shown.Settings.PasscodeHours), ResetDeadlineHours: strconv.Itoa(shown.Settings.ResetDeadlineHours)},
	}
	if shown.Kind == tenant.OnPremises {
		for _, place := range userreset.Places() {
			data.Guidance = append(data.Guidance, userreset.Destructive(place, userreset.OnPremises, 0))
		}
	}
	if fill != nil {
		fill(&data)
	} else if consent.State == onboarding.Pending || len(open.Items) > 0 {
		c.Live = refresh
	}
	return p.showStatus(v, status, "tenant", c, data)
}

// change changes the settings of the form.
func (p *pages) change(v *visit) error {
	f := typed(v.r)
	in := settingsInput{
		PasscodeHours: strings.TrimSpace(v.r.PostFormValue("passcodeHours")), ResetDeadlineHours: strings.TrimSpace(v.r.PostFormValue("resetDeadlineHours")),
		Reason: f.Reason,
	}
	asked := desk.SettingsChange{Reason: in.Reason}
	err := errors.Join(hours("passcodeHours", in.PasscodeHours, &asked.PasscodeHours), hours("resetDeadlineHours", in.ResetDeadlineHours, &asked.ResetDeadlineHours))
	if err == nil {
		_, err = v.room.ChangeSettings(v.r.Context(), asked)
	}
	if f, isForm := wrong(f, err); isForm {
		return p.showTenant(v, http.StatusUnprocessableEntity, func(d *tenantData) { d.Form, d.Change = f, in })
	}
	if err != nil {
		return err
	}
	return v.redirect("/tenants/" + v.room.ID())
}

// hours reads a number of hours of a form.
func hours(field, text string, into **int) error {
	n, err := strconv.Atoi(text)
	if err != nil {
		return &problem.Refusal{Code: fault.InvalidRequest, Fields: []problem.Field{{Location: "body." + field, Message: "must be a whole number of hours"}}, Err: err}
	}
	*into = &n
	return nil
}

func (p *pages) startConsent(v *visit) error {
	f := typed(v.r)
	_, err := v.room.StartConsent(v.r.Context(), f.Key, desk.ConsentStart{CreateServicePrincipals: f.Create, Reason: f.Reason})
	if f, isForm := wrong(f, err); isForm {
		return p.showTenant(v, http.StatusUnprocessableEntity, func(d *tenantData) { d.Form, d.Again = f, f })
	}
	if err != nil {
		return err
	}
	return v.redirect("/tenants/" + v.room.ID())
}
