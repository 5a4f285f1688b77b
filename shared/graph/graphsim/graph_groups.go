package graphsim

import (
	"net/http"
	"slices"
	"strings"
)

// The handlers of this file run under the tenant's lock.

func renderGroup(g group) map[string]any {
	return map[string]any{
		"id": g.id, "deletedDateTime": nil, "displayName": g.name, "description": nil,
		"groupTypes": []string{}, "securityEnabled": true, "mailEnabled": false,
	}
}

func (c *Cloud) listGroups(k *call) answer {
	groups := slices.Clone(k.t.groups)
	slices.SortFunc(groups, func(a, b group) int { return strings.Compare(a.id, b.id) })
	var rows []map[string]any
	for _, g := range groups {
		rows = append(rows, renderGroup(g))
	}
	return k.many("group", "groups", rows, "id", "displayName")
}

func (k *call) groupByKey() (group, answer, bool) {
	_, id := key(k.params[0])
	i := slices.IndexFunc(k.t.groups, func(g group) bool { return g.id == id })
	if i < 0 {
		return group{}, notFound(id), false
	}
	return k.t.groups[i], answer{}, true
}

func (c *Cloud) getGroup(k *call) answer {
	g, missing, ok := k.groupByKey()
	if !ok {
		return missing
	}
	return k.one(http.StatusOK, "group", "groups", renderGroup(g))
}

func (c *Cloud) listMembers(k *call) answer {
	g, missing, ok := k.groupByKey()
	if !ok {
		return missing
	}
	var rows []map[string]any
	for _, id := range slices.Sorted(slices.Values(g.members)) {
		u, _ := k.t.user(id)
		given, family, _ := strings.Cut(u.name, " ")
		rows = append(rows, map[string]any{
			"@odata.type": "#microsoft.graph.user", "id": u.id, "displayName": u.name,
			"givenName": given, "surname": family, "mail": u.upn, "userPrincipalName": u.upn,
			"jobTitle": nil, "mobilePhone": nil, "officeLocation": nil, "preferredLanguage": nil, "businessPhones": []string{},
		})
	}
	return k.many("user", "directoryObjects", rows)
}
