package page

import (
	"net/http"
	"time"

	"pinreset/functions/web/internal/desk"
	"pinreset/functions/web/internal/view"
	"pinreset/shared/identity"
	"pinreset/shared/onboarding"
	"pinreset/shared/tenant"
)

type homeData struct {
	Tenants []desk.Tenant
	Next    string
	MayAdd  bool
	Form    view.Form
}

func (p *pages) home(v *visit) error { return p.showHome(v, http.StatusOK, fresh()) }

func (p *pages) showHome(v *visit, status int, f view.Form) error {
	list, err := p.Desk.Tenants(v.r.Context(), v.who, paged(v.r))
	if err != nil {
		return err
	}
	c := p.chrome(v, "", "Tenants")
	return p.showStatus(v, status, "home", c, homeData{
		Tenants: list.Items, Next: next(v.r, list.Next), MayAdd: v.who.All && v.who.Can(identity.TenantOnboard), Form: f,
	})
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
	Settings   tenant.Settings
	Open       []resetItem
	MayOnboard bool
	Key        string
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

func (p *pages) tenant(v *visit) error {
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
	if consent.State == onboarding.Pending || len(open.Items) > 0 {
		c.Live = live
	}
	return p.show(v, "tenant", c, tenantData{
		Consent: consent, Settings: shown.Settings, Open: p.items(v, open.Items), MayOnboard: v.room.Can(identity.TenantOnboard),
		Key: fresh().Key,
	})
}

func (p *pages) startConsent(v *visit) error {
	f := typed(v.r)
	if _, err := v.room.StartConsent(v.r.Context(), f.Key, desk.ConsentStart{CreateServicePrincipals: f.Create}); err != nil {
		return err
	}
	return v.redirect("/tenants/" + v.room.ID())
}
