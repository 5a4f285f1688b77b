package portal

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"pinreset/functions/web/internal/desk"
	"pinreset/functions/web/internal/view"
	"pinreset/shared/grant"
	"pinreset/shared/identity"
)

type peopleData struct {
	Grants  []desk.Grant
	Stopped []desk.Suspension // who are suspended
	Next    string
	Offered []identity.Permission // that may be granted here by who looks
	Asked   desk.NewGrant
	Form    view.Form
}

// Has reports whether a permission is ticked.
func (d peopleData) Has(permission identity.Permission) bool {
	for _, p := range d.Asked.Permissions {
		if p == permission {
			return true
		}
	}
	return false
}

func (p *pages) people(v *visit) error {
	return p.showPeople(v, http.StatusOK, peopleData{Form: fresh(), Asked: desk.NewGrant{Days: 30}})
}

func (p *pages) showPeople(v *visit, status int, d peopleData) error {
	list, err := v.room.Grants(v.r.Context(), paged(v.r))
	if err != nil {
		return err
	}
	d.Grants, d.Next = list.Items, next(v.r, list.Next)
	stopped, err := v.room.Suspensions(v.r.Context(), desk.Page{Limit: desk.MaxLimit})
	if err != nil {
		return err
	}
	d.Stopped = slices.DeleteFunc(stopped.Items, func(s desk.Suspension) bool { return !s.Active })
	for _, permission := range grant.Grantable() {
		if v.room.Can(permission) {
			d.Offered = append(d.Offered, permission)
		}
	}
	return p.showStatus(v, status, "people", p.chrome(v, "people", "People"), d)
}

func (p *pages) giveGrant(v *visit) error {
	f := typed(v.r)
	days, _ := strconv.Atoi(v.r.PostFormValue("days")) // what is no number is refused as 0 is
	in := desk.NewGrant{
		PersonTenant: strings.TrimSpace(v.r.PostFormValue("personTenant")), PersonObject: strings.TrimSpace(v.r.PostFormValue("personObject")),
		Name: f.Name, Days: days, Reason: f.Reason, Permissions: []identity.Permission{},
	}
	for _, permission := range v.r.PostForm["permission"] {
		in.Permissions = append(in.Permissions, identity.Permission(permission))
	}
	if _, err := v.room.GiveGrant(v.r.Context(), f.Key, in); err != nil {
		if again, ok := wrong(f, err); ok {
			return p.showPeople(v, http.StatusUnprocessableEntity, peopleData{Form: again, Asked: in})
		}
		return err
	}
	return v.redirect("/tenants/" + v.room.ID() + "/people")
}

func (p *pages) lift(v *visit) error {
	f := typed(v.r)
	_, err := v.room.Lift(v.r.Context(), f.Key, v.r.PathValue("id"), desk.Lifting{Reason: f.Reason})
	if again, ok := wrong(f, err); ok {
		return p.showPeople(v, http.StatusUnprocessableEntity, peopleData{Form: again, Asked: desk.NewGrant{Days: 30}})
	}
	if err != nil {
		return err
	}
	return v.redirect("/tenants/" + v.room.ID() + "/people")
}

func (p *pages) revokeGrant(v *visit) error {
	if _, err := v.room.RevokeGrant(v.r.Context(), typed(v.r).Key, v.r.PathValue("id")); err != nil {
		return err
	}
	return v.redirect("/tenants/" + v.room.ID() + "/people")
}
