package graphsim

import (
	"net/http"
	"strconv"
)

// deltaPrincipals reads the primary, so that a token never steps over a change
// that a slower replica has yet to show.
func (c *Cloud) deltaPrincipals(k *call) answer {
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
		query, err := decodeToken(token)
		if err != nil || query.Get("tenant") != k.t.id {
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
	for _, sp := range sorted(k.t.principals, func(sp *servicePrincipal) bool { return sp.Seq > since && sp.Seq <= until }) {
		switch {
		case sp.Deleted.IsZero():
			rows = append(rows, c.renderPrincipal(sp))
		case !first:
			rows = append(rows, map[string]any{"id": sp.ID, "@removed": map[string]any{"reason": "deleted"}})
		}
	}
	// A page in the middle of a round must keep the round's bounds.
	if !k.query.Has("$skiptoken") {
		k.query.Del("$deltaToken")
		k.query.Set("$deltatoken", deltaToken(k, since, until))
	}
	p, refused := k.page("servicePrincipal", rows, "id")
	if refused != nil {
		return *refused
	}
	body := map[string]any{"@odata.context": k.base + "/$metadata#servicePrincipals", "value": p.rows}
	if p.next != "" {
		body["@odata.nextLink"] = p.next
	} else {
		body["@odata.deltaLink"] = k.base + "/servicePrincipals/delta?$deltatoken=" + deltaToken(k, until, -1)
	}
	return answer{status: http.StatusOK, body: body}
}

// deltaToken encodes where the next round starts; until < 0 leaves its end open.
func deltaToken(k *call, since, until int64) string {
	query := map[string][]string{"tenant": {k.t.id}, "since": {strconv.FormatInt(since, 10)}}
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
