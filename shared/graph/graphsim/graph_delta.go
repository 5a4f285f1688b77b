package graphsim

import (
	"net/http"
	"strconv"
	"strings"
)

// A deltaRow is one object in a round of changes.
type deltaRow struct {
	id      string
	seq     int64 // of its last change
	deleted bool
	render  func(since int64) map[string]any
}

func (c *Cloud) deltaPrincipals(k *call) answer {
	var rows []deltaRow
	for _, sp := range sorted(k.t.principals, func(*servicePrincipal) bool { return true }) {
		rows = append(rows, deltaRow{sp.ID, sp.Seq, !sp.Deleted.IsZero(), func(int64) map[string]any { return c.renderPrincipal(sp) }})
	}
	return k.delta("servicePrincipal", "servicePrincipals", rows)
}

func (c *Cloud) deltaGrants(k *call) answer {
	var rows []deltaRow
	for _, g := range sorted(k.t.grants, func(*permissionGrant) bool { return true }) {
		rows = append(rows, deltaRow{g.ID, g.Seq, !g.Deleted.IsZero(), func(int64) map[string]any { return renderGrant(g) }})
	}
	return k.delta("oAuth2PermissionGrant", "oauth2PermissionGrants", rows)
}

// deltaGroups shows with each group the members that joined or left in the round
// (group-delta.md).
func (c *Cloud) deltaGroups(k *call) answer {
	groups := make(map[string]*group)
	for _, g := range k.t.groups {
		groups[g.ID] = g
	}
	var rows []deltaRow
	for _, g := range sorted(groups, func(*group) bool { return true }) {
		rows = append(rows, deltaRow{g.ID, g.Seq, g.Deleted, func(since int64) map[string]any {
			values := renderGroup(g)
			members := []any{}
			for _, m := range g.Members {
				row := map[string]any{"@odata.type": "#microsoft.graph." + m.Kind, "id": m.ID}
				if m.Seq <= since || m.Left && since == 0 {
					continue
				}
				if m.Left {
					row["@removed"] = map[string]any{"reason": "deleted"}
				}
				members = append(members, row)
			}
			if len(members) > 0 {
				values["members@delta"] = members
			}
			return values
		}})
	}
	return k.delta("group", "groups", rows)
}

// delta answers one page of a round of changes. It reads the primary, so that a
// token never steps over a change that a slower replica has yet to show.
// $deltaToken=latest starts from now without a first round.
func (k *call) delta(entity, set string, all []deltaRow) answer {
	token := k.query.Get("$deltatoken")
	if token == "" {
		token = k.query.Get("$deltaToken")
	}
	if skip := k.query.Get("$skiptoken"); skip != "" {
		if query, err := decodeToken(skip); err == nil {
			token = query.Get("$deltatoken")
		}
	}
	since, until, first := int64(0), k.t.seq, true
	switch {
	case token == "latest":
		since = until
	case token != "":
		if _, gone := k.t.strikeKind(DeltaGone); gone {
			return problem(http.StatusGone, "resyncRequired", "The delta token is too old: start over without one.")
		}
		query, err := decodeToken(token)
		if err != nil || query.Get("tenant") != k.t.id || query.Get("set") != set {
			return problem(http.StatusBadRequest, "Request_BadRequest", "The delta token is not valid.")
		}
		since, _ = strconv.ParseInt(query.Get("since"), 10, 64)
		if n, err := strconv.ParseInt(query.Get("until"), 10, 64); err == nil {
			until = n
		}
		first = since == 0
		for _, name := range []string{"$select", "$filter"} {
			if query.Has(name) && !k.query.Has(name) {
				k.query.Set(name, query.Get(name))
			}
		}
	}
	var rows []map[string]any
	for _, row := range all {
		switch {
		case row.seq <= since || row.seq > until:
		case !row.deleted:
			rows = append(rows, row.render(since))
		case !first:
			rows = append(rows, map[string]any{"id": row.id, "@removed": map[string]any{"reason": "deleted"}})
		}
	}
	// A page in the middle of a round must keep the round's bounds.
	if !k.query.Has("$skiptoken") {
		k.query.Del("$deltaToken")
		k.query.Set("$deltatoken", deltaToken(k, set, since, until))
	}
	p, refused := k.page(entity, rows, "id")
	if refused != nil {
		return *refused
	}
	body := map[string]any{"@odata.context": k.base + "/$metadata#" + set, "value": p.rows}
	if p.next != "" {
		body["@odata.nextLink"] = p.next
	} else {
		body["@odata.deltaLink"] = k.base + "/" + strings.TrimSuffix(k.path, "()") + "?$deltatoken=" + deltaToken(k, set, until, -1)
	}
	return answer{status: http.StatusOK, body: body}
}

// deltaToken encodes where the next round starts; until < 0 leaves its end open.
func deltaToken(k *call, set string, since, until int64) string {
	query := map[string][]string{"tenant": {k.t.id}, "set": {set}, "since": {strconv.FormatInt(since, 10)}}
	if until >= 0 {
		query["until"] = []string{strconv.FormatInt(until, 10)}
	}
	for _, name := range []string{"$select", "$filter"} {
		if k.query.Has(name) {
			query[name] = []string{k.query.Get(name)}
		}
	}
	return encodeToken(query)
}
