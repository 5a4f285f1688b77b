package graphsim

import (
	"net/http"
	"strings"
	"time"
)

// The handlers of this file run under the tenant's lock.

func notFound(id string) answer {
	return problem(http.StatusNotFound, "Request_ResourceNotFound",
		"Resource '"+id+"' does not exist or one of its queried reference-property objects are not present.")
}

func (c *Cloud) getOrganization(k *call) answer {
	t := k.t
	return k.many("organization", "organization", []map[string]any{{
		"id": t.id, "deletedDateTime": nil, "displayName": t.name, "tenantType": "AAD",
		"createdDateTime":                 stamp(c.meta.Epoch.Add(-365 * 24 * time.Hour)),
		"countryLetterCode":               "US",
		"mobileDeviceManagementAuthority": "intune",
		"verifiedDomains": []any{map[string]any{
			"name": t.domain, "isDefault": true, "isInitial": false, "type": t.authentication(), "capabilities": "Email, OfficeCommunicationsOnline",
		}},
	}})
}

// authentication is how people of the tenant sign in.
func (t *tenant) authentication() string {
	if t.federated {
		return "Federated"
	}
	return "Managed"
}

func (c *Cloud) listDomains(k *call) answer {
	return k.many("domain", "domains", []map[string]any{{
		"id": k.t.domain, "authenticationType": k.t.authentication(), "isAdminManaged": true, "isDefault": true, "isInitial": false,
		"isRoot": true, "isVerified": true, "supportedServices": []string{"Email", "Intune"},
	}}, "id")
}

func (c *Cloud) renderPrincipal(sp *servicePrincipal) map[string]any {
	app, ok := findApplication(sp.AppID)
	if !ok {
		app.name = sp.AppID
	}
	values := map[string]any{
		"id": sp.ID, "deletedDateTime": nil, "appId": sp.AppID, "displayName": app.name, "appDisplayName": app.name,
		"accountEnabled": !sp.Disabled, "isDisabled": nil, "disabledByMicrosoftStatus": nil,
		"appOwnerOrganizationId": app.owner, "appRoleAssignmentRequired": false,
		"servicePrincipalType": "Application", "signInAudience": "AzureADMultipleOrgs",
		"servicePrincipalNames": []string{sp.AppID}, "replyUrls": []string{}, "tags": []string{},
		"appRoles": []any{}, "oauth2PermissionScopes": []any{},
	}
	if app.redirect != "" {
		values["replyUrls"] = []string{app.redirect}
	}
	if sp.AppID == microsoftGraph {
		var roles []any
		for _, r := range graphRoles {
			roles = append(roles, map[string]any{
				"allowedMemberTypes": []string{"Application"}, "id": r.id, "value": r.value,
				"displayName": r.title, "description": r.title, "isEnabled": true, "origin": "Application",
			})
		}
		values["appRoles"] = roles
	}
	return values
}

func (c *Cloud) listPrincipals(k *call) answer {
	var rows []map[string]any
	for _, sp := range k.t.visiblePrincipals(k.v) {
		rows = append(rows, c.renderPrincipal(sp))
	}
	return k.many("servicePrincipal", "servicePrincipals", rows, "id", "appId", "displayName")
}

// principalByKey finds the service principal that a path names by id or appId.
func (k *call) principalByKey(v view) (*servicePrincipal, answer) {
	name, value := key(k.params[0])
	sp := k.t.principal(v, func(sp *servicePrincipal) bool {
		return name == "id" && sp.ID == value || name == "appId" && strings.EqualFold(sp.AppID, value)
	})
	return sp, notFound(value)
}

func (c *Cloud) getPrincipal(k *call) answer {
	sp, missing := k.principalByKey(k.v)
	if sp == nil {
		return missing
	}
	return k.one(http.StatusOK, "servicePrincipal", "servicePrincipals", c.renderPrincipal(sp))
}

// createPrincipal accepts every app of the catalogue. Whether Microsoft lets
// anybody create the two PIN reset service principals this way is unknown.
func (c *Cloud) createPrincipal(k *call) answer {
	body, err := k.decodeBody()
	if err != nil {
		return badRequest("Unable to read JSON request payload.")
	}
	appID, _ := body["appId"].(string)
	return c.addPrincipal(k, strings.ToLower(appID))
}

func (c *Cloud) addPrincipal(k *call, appID string) answer {
	if _, ok := findApplication(appID); !ok {
		return problem(http.StatusBadRequest, "Request_BadRequest", "The appId '"+appID+"' of the service principal does not reference a valid application object.")
	}
	now := c.now()
	if k.t.principalOf(c.primary(), appID) != nil {
		return problem(http.StatusConflict, "Request_MultipleObjectsWithSameKeyValue",
			"The service principal cannot be created, updated, or restored because the service principal name "+appID+" is already in use.")
	}
	a := k.t.admit(now)
	sp := a.principal(appID)
	return c.stored(c.commit(c.registered(k.t, a.changes)...), k.one(http.StatusCreated, "servicePrincipal", "servicePrincipals", c.renderPrincipal(sp)))
}

// patchPrincipal updates, and with Prefer: create-if-missing creates
// (serviceprincipal-upsert.md).
func (c *Cloud) patchPrincipal(k *call) answer {
	body, err := k.decodeBody()
	if err != nil {
		return badRequest("Unable to read JSON request payload.")
	}
	for name := range body {
		if name != "accountEnabled" {
			return badRequest("Property '" + name + "' is not updatable in this model.")
		}
	}
	sp, missing := k.principalByKey(c.primary())
	if sp == nil {
		name, value := key(k.params[0])
		if name == "appId" && strings.Contains(k.header.Get("Prefer"), "create-if-missing") {
			return c.addPrincipal(k, strings.ToLower(value))
		}
		return missing
	}
	if enabled, ok := body["accountEnabled"].(bool); ok && enabled == sp.Disabled {
		if err := c.enable(k.t, sp, enabled); err != nil {
			return c.stored(err, answer{})
		}
	}
	return answer{status: http.StatusNoContent}
}

// enable switches a service principal on or off. The caller holds the lock.
func (c *Cloud) enable(t *tenant, sp *servicePrincipal, enabled bool) error {
	next := *sp
	next.Disabled, next.Seq = !enabled, t.seq+1
	return c.commit(c.registered(t, []change{t.putPrincipal(next)})...)
}
