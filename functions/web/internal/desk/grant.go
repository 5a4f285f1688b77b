package desk

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"pinreset/functions/web/internal/problem"
	"pinreset/shared/fault"
	"pinreset/shared/grant"
	"pinreset/shared/identity"
	"pinreset/shared/work"
)

// NewGrant asks to let a person act on the tenant.
type NewGrant struct {
	PersonTenant string                `json:"personTenant" doc:"Id of the Entra tenant that the person signs in to"`
	PersonObject string                `json:"personObject" doc:"The person's object id in that tenant"`
	Name         string                `json:"name" doc:"What people call the person; it decides nothing"`
	Permissions  []identity.Permission `json:"permissions" nullable:"false" doc:"What the person may do on this tenant"`
	Days         int                   `json:"days" doc:"How long, 1 to 90"`
	Reason       string                `json:"reason" doc:"Why, for the audit log; at most 500 characters"`
}

// Grant is a grant as it is shown.
type Grant struct {
	grant.Grant
	Active bool `json:"active" doc:"Neither revoked nor expired"`
}

func (r *Room) grant(g grant.Grant) Grant { return Grant{g, g.Holds(r.desk.o.Now())} }

// Grants lists who was let in, in the order it was done, those whose grant has ended included.
func (r *Room) Grants(ctx context.Context, page Page) (List[Grant], error) {
	if err := r.Need(identity.GrantWrite); err != nil {
		return List[Grant]{}, err
	}
	const list = "grants"
	place, err := r.desk.cursors.open(r.who.ID, r.ID(), list, page.Cursor)
	if err != nil {
		return List[Grant]{}, err
	}
	grants, next, err := grant.List(ctx, r.desk.o.Store, r.ID(), page.limit(), place)
	if err != nil {
		return List[Grant]{}, err
	}
	out := listOf[Grant](nil)
	for _, g := range grants {
		out.Items = append(out.Items, r.grant(g))
	}
	out.Next = r.desk.cursors.seal(r.who.ID, r.ID(), list, next)
	return out, nil
}

// GiveGrant lets a person act on the tenant. Nobody gives a permission that he does not have here, and nobody gives one to himself: a
// grant would have no end then.
func (r *Room) GiveGrant(ctx context.Context, key string, in NewGrant) (Answer[Grant], error) {
	var none Answer[Grant]
	if err := r.Need(identity.GrantWrite); err != nil {
		return none, err
	}
	for _, p := range in.Permissions {
		if !r.Can(p) && isPermission(p) {
			return none, problem.Refuse(fault.Forbidden, "A grant can only have permissions that you have on this tenant; you lack "+string(p)+".")
		}
	}
	if r.who.Person != nil && identity.PersonID(in.PersonTenant, in.PersonObject) == r.who.ID {
		return none, problem.Refuse(fault.Forbidden, "Nobody grants anything to himself. Ask another administrator.")
	}
	c, err := r.call(key, "give grant", in)
	if err != nil {
		return none, err
	}
	answer, err := once(ctx, r.desk, r.ID(), c, func(u *work.Unit) (Answer[Grant], error) {
		g, err := grant.Give(u, grant.New{
			HomeTenant: in.PersonTenant, Object: in.PersonObject, Name: in.Name, Permissions: in.Permissions, Days: in.Days, Reason: in.Reason,
		}, r.who.Operator())
		if err != nil {
			return none, wrong(err)
		}
		return Answer[Grant]{Status: http.StatusCreated, Location: "/v1/tenants/" + r.ID() + "/grants/" + g.ID, Body: r.grant(g)}, nil
	})
	if err != nil {
		return none, err
	}
	// Each time it is asked for: the first answer may have been lost before this. By now it may have been revoked, too.
	g, err := grant.Read(ctx, r.unit(), answer.Body.ID)
	if err != nil {
		return none, err
	}
	if !g.Holds(r.desk.o.Now()) {
		return answer, nil
	}
	return answer, r.desk.o.People.Publish(ctx, r.ID(), g)
}

// RevokeGrant ends a grant, from the next request on.
func (r *Room) RevokeGrant(ctx context.Context, key, id string) (Answer[Grant], error) {
	var none Answer[Grant]
	if err := r.Need(identity.GrantWrite); err != nil {
		return none, err
	}
	g, err := grant.Read(ctx, r.unit(), id)
	if errors.Is(err, work.ErrNotFound) {
		return none, missing(err)
	}
	if err != nil {
		return none, err
	}
	c, err := r.call(key, "revoke grant "+id, nil)
	if err != nil {
		return none, err
	}
	if err := r.desk.o.People.Withdraw(ctx, r.ID(), g); err != nil {
		return none, err
	}
	return once(ctx, r.desk, r.ID(), c, func(u *work.Unit) (Answer[Grant], error) {
		g, err := grant.Revoke(ctx, u, id, r.who.Operator())
		if err != nil {
			return none, fmt.Errorf("revoke grant %s: %w", id, err)
		}
		return Answer[Grant]{Status: http.StatusOK, Body: r.grant(g)}, nil
	})
}
