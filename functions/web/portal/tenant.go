package portal

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"pinreset/functions/web/internal/desk"
	"pinreset/functions/web/internal/view"
	"pinreset/shared/identity"
	"pinreset/shared/onboarding"
	"pinreset/shared/readiness"
	"pinreset/shared/tenant"
	"pinreset/shared/userreset"
)

type homeData struct {
	Tenants []desk.Standing // those first that need somebody
	Search  []desk.Standing // the same, by their names
	Recent  []resetItem     // of all these tenants, newest first
	Next    string
	MayAdd  bool
	Form    view.Form
}

// mostRecent is how many resets the first page shows.
const mostRecent = 8

func (p *pages) home(v *visit) error { return p.showHome(v, http.StatusOK, fresh()) }

func (p *pages) showHome(v *visit, status int, f view.Form) error {
	list, err := p.Desk.Overview(v.r.Context(), v.who, paged(v.r))
	if err != nil {
		return err
	}
	var recent []resetItem
	for _, s := range list.Items {
		for _, r := range s.Recent {
			recent = append(recent, resetItem{Tenant: s.Tenant.ID, TenantName: s.Tenant.DisplayName, Reset: r, Now: p.Now()})
		}
	}
	slices.SortStableFunc(recent, func(a, b resetItem) int { return b.Reset.RequestedAt.Compare(a.Reset.RequestedAt) })
	byName := slices.SortedStableFunc(slices.Values(list.Items), func(a, b desk.Standing) int {
		return strings.Compare(strings.ToLower(a.Tenant.DisplayName), strings.ToLower(b.Tenant.DisplayName))
	})
	byNeed := slices.SortedStableFunc(slices.Values(byName), func(a, b desk.Standing) int { return need(a) - need(b) })
	c := p.chrome(v, "", "Tenants")
	return p.showStatus(v, status, "home", c, homeData{
		Tenants: byNeed, Search: byName, Recent: recent[:min(len(recent), mostRecent)], Next: next(v.r, list.Next), MayAdd: v.who.All && v.who.Can(identity.TenantOnboard), Form: f,
	})
}

// need is where a tenant comes on the first page: the sooner, the more its users are in want of somebody's work.
func need(s desk.Standing) int {
	order := []readiness.State{readiness.Broken, readiness.HalfConsented, readiness.NotStarted, readiness.Undetermined, readiness.Onboarded, readiness.Ready}
	if i := slices.Index(order, s.Verdict.State); i >= 0 {
		return i
	}
	return len(order)
}

// find goes to the tenant's devices that the search of the first page names.
func (p *pages) find(v *visit) error {
	asked := v.r.URL.Query()
	return v.redirect("/tenants/" + url.PathEscape(asked.Get("tenant")) + "/devices?" + url.Values{"search": {asked.Get("search")}}.Encode())
}

// suggest answers with a part of the first page: where the search that is being typed may be meant to go.
func (p *pages) suggest(v *visit) error {
	asked := v.r.URL.Query()
	found, err := p.Desk.Suggest(v.r.Context(), v.who, asked.Get("tenant"), asked.Get("search"))
	if err != nil {
		return err
	}
	view.RenderPart(v.w, "suggestions", view.Page{Data: found})
	return nil
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
	Approvals  []desk.Approval // that wait for a second person
	Situation  desk.Situation
	Rollouts   []desk.Rollout // the newest
	MayPolicy  bool
	People     []desk.Grant // who is let in now
	MayGrant   bool
	MayOnboard bool
	Form       view.Form // of what was sent and could not be done
	Again      view.Form // to start the consent again
}

// resetItem is what the template of one reset in a list needs.
type resetItem struct {
	Tenant     string
	TenantName string // in a list of several tenants'
	Reset      desk.Reset
	Now        time.Time
}

func (p *pages) items(v *visit, resets []desk.Reset) []resetItem {
	items := make([]resetItem, 0, len(resets))
	for _, r := range resets {
		items = append(items, resetItem{Tenant: v.room.ID(), Reset: r, Now: p.Now()})
	}
	return items
}

// newestRollouts is how many rollouts the page of a tenant shows.
const newestRollouts = 3

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
	approvals, err := p.waiting(v)
	if err != nil {
		return err
	}
	c := p.chrome(v, "overview", shown.DisplayName)
	data := tenantData{
		Consent: consent, Domain: shown.Domain, Ways: shown.Ways, Settings: shown.Settings, Open: p.items(v, open.Items), Approvals: approvals, MayOnboard: v.room.Can(identity.TenantOnboard),
		Again: fresh(), MayPolicy: v.room.Can(identity.PolicyRead) && !v.room.OnPremises(), MayGrant: v.room.Can(identity.GrantWrite),
	}
	if data.Situation, err = v.room.Situation(ctx); err != nil {
		return err
	}
	if data.MayPolicy {
		rollouts, err := v.room.Rollouts(ctx, desk.Page{Limit: newestRollouts})
		if err != nil {
			return err
		}
		data.Rollouts = rollouts.Items
	}
	if data.MayGrant {
		grants, err := v.room.Grants(ctx, desk.Page{Limit: desk.MaxLimit})
		if err != nil {
			return err
		}
		data.People = slices.DeleteFunc(grants.Items, func(g desk.Grant) bool { return !g.Active })
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
