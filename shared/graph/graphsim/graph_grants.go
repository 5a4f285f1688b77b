package graphsim

import (
	"net/http"
	"slices"
)

// The handlers of this file run under the tenant's lock.

func (c *Cloud) renderAssignment(t *tenant, a *roleAssignment) map[string]any {
	name := func(id string) any {
		if sp := t.principals[id]; sp != nil {
			app, _ := findApplication(sp.AppID)
			return app.name
		}
		return nil
	}
	return map[string]any{
		"id": a.ID, "deletedDateTime": nil, "appRoleId": a.RoleID, "createdDateTime": stamp(a.Created),
		"principalId": a.PrincipalID, "principalType": "ServicePrincipal", "principalDisplayName": name(a.PrincipalID),
		"resourceId": a.ResourceID, "resourceDisplayName": name(a.ResourceID),
	}
}

func (c *Cloud) listRolesHeld(k *call) answer {
	return c.listAssignments(k, func(a *roleAssignment) string { return a.PrincipalID })
}

func (c *Cloud) listRolesGiven(k *call) answer {
	return c.listAssignments(k, func(a *roleAssignment) string { return a.ResourceID })
}

func (c *Cloud) listAssignments(k *call, side func(*roleAssignment) string) answer {
	sp, missing := k.principalByKey(k.v)
	if sp == nil {
		return missing
	}
	var rows []map[string]any
	for _, a := range k.t.visibleAssignments(k.v) {
		if side(a) == sp.ID {
			rows = append(rows, c.renderAssignment(k.t, a))
		}
	}
	return k.many("appRoleAssignment", "appRoleAssignments", rows)
}

func (c *Cloud) assignRole(k *call) answer {
	resource, missing := k.principalByKey(k.v)
	if resource == nil {
		return missing
	}
	body, err := k.decodeBody()
	if err != nil {
		return badRequest("Unable to read JSON request payload.")
	}
	principalID, _ := body["principalId"].(string)
	resourceID, _ := body["resourceId"].(string)
	roleID, _ := body["appRoleId"].(string)
	principal := k.t.principal(k.v, func(sp *servicePrincipal) bool { return sp.ID == principalID })
	if _, ok := findRole(func(r role) bool { return r.id == roleID }); !ok || resource.AppID != microsoftGraph || resourceID != resource.ID {
		return problem(http.StatusBadRequest, "Request_BadRequest", "Permission being assigned was not found on application '"+resourceID+"'.")
	}
	if principal == nil {
		return problem(http.StatusBadRequest, "Request_BadRequest", "Not a valid reference update.")
	}
	for _, a := range k.t.visibleAssignments(c.primary()) {
		if a.PrincipalID == principalID && a.RoleID == roleID {
			return badRequest("Permission being assigned already exists on the object.")
		}
	}
	a := roleAssignment{ID: newID(), RoleID: roleID, PrincipalID: principalID, ResourceID: resourceID, Created: c.now()}
	err = c.commit(k.t.putAssignment(a))
	return c.stored(err, k.one(http.StatusCreated, "appRoleAssignment", "appRoleAssignments", c.renderAssignment(k.t, &a)))
}

func (c *Cloud) unassignRole(k *call) answer {
	_, id := key(k.params[1])
	resource, missing := k.principalByKey(c.primary())
	if resource == nil {
		return missing
	}
	a := k.t.assignments[id]
	if a == nil || a.ResourceID != resource.ID || !a.Deleted.IsZero() {
		return notFound(id)
	}
	gone := *a
	gone.Deleted = c.now()
	return c.stored(c.commit(k.t.putAssignment(gone)), answer{status: http.StatusNoContent})
}

func renderGrant(g *permissionGrant) map[string]any {
	var principal any
	if g.PrincipalID != "" {
		principal = g.PrincipalID
	}
	return map[string]any{
		"id": g.ID, "clientId": g.ClientID, "resourceId": g.ResourceID,
		"consentType": g.ConsentType, "principalId": principal, "scope": g.Scope,
	}
}

func (c *Cloud) listGrants(k *call) answer {
	var rows []map[string]any
	for _, g := range k.t.visibleGrants(k.v) {
		rows = append(rows, renderGrant(g))
	}
	return k.many("oAuth2PermissionGrant", "oauth2PermissionGrants", rows, "id", "clientId", "resourceId", "consentType")
}

// listGrantsHeld lists the delegated grants of the service principal that the path names.
func (c *Cloud) listGrantsHeld(k *call) answer {
	sp, missing := k.principalByKey(k.v)
	if sp == nil {
		return missing
	}
	var rows []map[string]any
	for _, g := range k.t.visibleGrants(k.v) {
		if g.ClientID == sp.ID {
			rows = append(rows, renderGrant(g))
		}
	}
	return k.many("oAuth2PermissionGrant", "oauth2PermissionGrants", rows)
}

func (c *Cloud) getGrant(k *call) answer {
	_, id := key(k.params[0])
	g := k.t.grants[id]
	if g == nil || !k.v.sees(g.Created, g.Deleted) {
		return notFound(id)
	}
	return k.one(http.StatusOK, "oAuth2PermissionGrant", "oauth2PermissionGrants", renderGrant(g))
}

func (c *Cloud) createGrant(k *call) answer {
	body, err := k.decodeBody()
	if err != nil {
		return badRequest("Unable to read JSON request payload.")
	}
	g := permissionGrant{ID: newID(), Created: c.now()}
	g.ClientID, _ = body["clientId"].(string)
	g.ResourceID, _ = body["resourceId"].(string)
	g.ConsentType, _ = body["consentType"].(string)
	g.PrincipalID, _ = body["principalId"].(string)
	g.Scope, _ = body["scope"].(string)
	for _, id := range []string{g.ClientID, g.ResourceID} {
		if k.t.principal(k.v, func(sp *servicePrincipal) bool { return sp.ID == id }) == nil {
			return problem(http.StatusBadRequest, "Request_BadRequest", "Invalid object identifier '"+id+"': no such service principal.")
		}
	}
	if !slices.Contains([]string{"AllPrincipals", "Principal"}, g.ConsentType) || (g.ConsentType == "Principal") != (g.PrincipalID != "") {
		return problem(http.StatusBadRequest, "Request_BadRequest", "The consent type and the principal do not fit.")
	}
	for _, other := range k.t.visibleGrants(c.primary()) {
		if other.ClientID == g.ClientID && other.ResourceID == g.ResourceID && other.PrincipalID == g.PrincipalID {
			return problem(http.StatusConflict, "Request_MultipleObjectsWithSameKeyValue", "Permission entry already exists.")
		}
	}
	return c.stored(c.commit(k.t.putGrant(g)), k.one(http.StatusCreated, "oAuth2PermissionGrant", "oauth2PermissionGrants", renderGrant(&g)))
}
