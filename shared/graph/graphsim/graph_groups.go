package graphsim

import (
	"net/http"
	"slices"
	"strings"
)

// The handlers of this file run under the tenant's lock.

func renderGroup(g *group) map[string]any {
	return map[string]any{
		"id": g.ID, "deletedDateTime": nil, "displayName": g.Name, "description": nil,
		"groupTypes": []string{}, "securityEnabled": true, "mailEnabled": false,
	}
}

func (t *tenant) liveGroups() []*group {
	list := slices.DeleteFunc(slices.Clone(t.groups), func(g *group) bool { return g.Deleted })
	slices.SortFunc(list, func(a, b *group) int { return strings.Compare(a.ID, b.ID) })
	return list
}

func (c *Cloud) listGroups(k *call) answer {
	var rows []map[string]any
	for _, g := range k.t.liveGroups() {
		rows = append(rows, renderGroup(g))
	}
	return k.many("group", "groups", rows, "id", "displayName")
}

func (k *call) groupByKey() (*group, answer) {
	_, id := key(k.params[0])
	for _, g := range k.t.liveGroups() {
		if g.ID == id {
			return g, answer{}
		}
	}
	return nil, notFound(id)
}

func (c *Cloud) getGroup(k *call) answer {
	g, missing := k.groupByKey()
	if g == nil {
		return missing
	}
	return k.one(http.StatusOK, "group", "groups", renderGroup(g))
}

func (c *Cloud) listMembers(k *call) answer {
	g, missing := k.groupByKey()
	if g == nil {
		return missing
	}
	return c.renderMembers(k, slices.DeleteFunc(slices.Clone(g.Members), func(m member) bool { return m.Left }))
}

func (c *Cloud) listTransitiveMembers(k *call) answer {
	g, missing := k.groupByKey()
	if g == nil {
		return missing
	}
	return c.renderMembers(k, k.t.transitive(g.ID))
}

// renderMembers shows users, devices and groups in one list, each with its type.
// A $select may name what any of the three has; a member shows what it has of it.
func (c *Cloud) renderMembers(k *call, members []member) answer {
	var rows []map[string]any
	for _, m := range members {
		if row := c.renderObject(k.t, m, k.v); row != nil {
			rows = append(rows, row)
		}
	}
	slices.SortFunc(rows, func(a, b map[string]any) int { return strings.Compare(a["id"].(string), b["id"].(string)) })
	return k.many("directoryObject", "directoryObjects", rows)
}

func (c *Cloud) renderObject(t *tenant, m member, v view) map[string]any {
	row := map[string]any(nil)
	switch m.Kind {
	case "user":
		if u, ok := t.user(m.ID); ok {
			row = renderUser(u)
		}
	case "device":
		for _, d := range t.devices() {
			if d.objectID == m.ID && !d.Retired {
				row = c.renderDirectoryDevice(d, v)
			}
		}
	case "group":
		if g, err := t.group(m.ID); err == nil {
			row = renderGroup(g)
		}
	}
	if row != nil {
		row["@odata.type"] = "#microsoft.graph." + m.Kind
	}
	return row
}

func renderUser(u user) map[string]any {
	given, family, _ := strings.Cut(u.name, " ")
	return map[string]any{
		"id": u.id, "displayName": u.name, "givenName": given, "surname": family, "mail": u.upn, "userPrincipalName": u.upn,
		"jobTitle": nil, "mobilePhone": nil, "officeLocation": nil, "preferredLanguage": nil, "businessPhones": []string{},
	}
}

func (c *Cloud) getUser(k *call) answer {
	_, ref := key(k.params[0])
	u, ok := k.t.user(ref)
	if !ok {
		return notFound(ref)
	}
	return k.one(http.StatusOK, "user", "users", renderUser(u))
}

// listMemberships shows the groups that a user or directory device is in, nested
// ones included, and the directory roles that a user holds.
func (c *Cloud) listMemberships(k *call) answer {
	_, ref := key(k.params[0])
	id := ""
	if u, ok := k.t.user(ref); ok {
		id = u.id
	} else if d := k.directoryDevice(); d != nil {
		id = d.objectID
	}
	if id == "" {
		return notFound(ref)
	}
	var rows []map[string]any
	for _, g := range k.t.liveGroups() {
		if k.t.inGroup(g.ID, id) {
			row := renderGroup(g)
			row["@odata.type"] = "#microsoft.graph.group"
			rows = append(rows, row)
		}
	}
	if role := k.t.directoryRole(id); role != nil {
		rows = append(rows, role)
	}
	return k.many("directoryObject", "directoryObjects", rows)
}

// directoryRole shows the role that the first user of each tenant holds, its administrator; nil for anybody else.
func (t *tenant) directoryRole(userID string) map[string]any {
	if len(t.users) == 0 || t.users[0].id != userID {
		return nil
	}
	return map[string]any{
		"@odata.type": "#microsoft.graph.directoryRole", "id": guid(t.domain + " role Global Administrator"), "deletedDateTime": nil,
		"displayName": "Global Administrator", "description": "Can manage all aspects of Microsoft Entra ID and Microsoft services that use Microsoft Entra identities.",
		"roleTemplateId": "62e90394-69f5-4237-9190-012177145e10",
	}
}
