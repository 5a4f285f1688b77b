package tenantaudit

import (
	"context"
	"encoding/json"
	"maps"
	"strings"

	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/readiness"
)

// Between two audits that read everything, the two applications are followed by a delta query: one read in place of two (page
// "servicePrincipal: delta"). A round that says nothing of an application proves that it is as it was at the audit before, and no
// more is taken from it: whatever it does mention is read itself, because a change comes with the changed properties only. Of the
// other resources that have a delta only groups could matter here, and an audit reads no group.

// principalChanges names the delta query of service principals.
const principalChanges = "principals"

// round is what the delta query of service principals has answered.
type round struct {
	all   map[string]json.RawMessage // service principals that it mentions, by object id
	whole bool                       // the first round: what it mentions is whole
	token string
	err   error
}

// followed are the object ids of both applications, where they can be followed: each was there when it was read last.
func (l *look) followed() []string {
	var ids []string
	for _, a := range applications {
		sp, ok := l.before(a.part).Get()
		if !ok || !sp.Present {
			return nil
		}
		ids = append(ids, sp.ID)
	}
	return ids
}

// principalsKey is the name of the token: it is good for the applications as they are now.
func (l *look) principalsKey() string {
	return principalChanges + "|" + strings.Join(l.followed(), "|")
}

// principalReads ask for the two applications: by their application ids where everything is read or one of them is not known.
func (l *look) principalReads() []graph.BatchRequest {
	const fields = "$select=id,accountEnabled,isDisabled,disabledByMicrosoftStatus"
	ids := l.followed()
	if l.whole || ids == nil {
		var reads []graph.BatchRequest
		for _, a := range applications {
			reads = append(reads, graph.BatchGet(a.part, "/servicePrincipals(appId='"+a.appID+"')?"+fields))
		}
		return reads
	}
	if token := l.last.Delta[l.principalsKey()]; token != "" {
		return []graph.BatchRequest{graph.BatchGet(principalChanges, token)}
	}
	filter := "id%20eq%20'" + strings.Join(ids, "'%20or%20id%20eq%20'") + "'"
	return []graph.BatchRequest{graph.BatchGet(principalChanges, "/servicePrincipals/delta?"+fields+"&$filter="+filter)}
}

// changedPrincipals reads the round of the delta query, where one was asked for.
func (l *look) changedPrincipals(ctx context.Context, v1 answers) round {
	maps.DeleteFunc(l.delta, func(name, _ string) bool { return strings.HasPrefix(name, principalChanges) })
	answer, asked := v1[principalChanges]
	if !asked {
		return round{}
	}
	r := round{all: map[string]json.RawMessage{}, whole: l.last.Delta[l.principalsKey()] == ""}
	var list []raw
	list, r.token, r.err = elements[raw](ctx, l, graph.V1, answer)
	for _, e := range list {
		var sp struct {
			ID      string          `json:"id"`
			Removed json.RawMessage `json:"@removed"`
		}
		if err := json.Unmarshal(e, &sp); err != nil {
			r.err = err
			break
		}
		if sp.Removed != nil {
			e = nil
		}
		r.all[sp.ID] = e
	}
	return r
}

// principal is an application as the answers have it. One that the round does not settle is read by itself; so is every one where
// the round failed, such as with a token that is too old, unless it may only be asked for later.
func (l *look) principal(ctx context.Context, v1 answers, r round, a application) (sp graph.ServicePrincipal, err error) {
	if answer, asked := v1[a.part]; asked {
		err = answer.Decode(&sp)
		return sp, err
	}
	if v, ok := fault.As(r.err); ok && !v.Permanent() {
		return sp, r.err
	}
	was, _ := l.before(a.part).Get()
	switch entry, mentioned := r.all[was.ID]; {
	case r.err != nil:
	case r.whole && entry != nil:
		return sp, json.Unmarshal(entry, &sp)
	case !r.whole && !mentioned:
		return graph.ServicePrincipal{ID: was.ID, AccountEnabled: was.AccountEnabled, IsDisabled: was.IsDisabled, DisabledByMicrosoft: was.DisabledByMicrosoft}, nil
	}
	l.requests++
	sp, err = l.cloud.ServicePrincipal(ctx, l.tenant, a.appID)
	return sp, inTime(err)
}

// followPrincipals keeps the token for the next audit. Where the round told of a change that could not be read, or that the replica
// which answered does not show, the token of before is kept, so that it is told again.
func (l *look) followPrincipals(r round) {
	key := l.principalsKey()
	before := l.last.Delta[key]
	if r.token == "" || r.err != nil {
		if v, ok := fault.As(r.err); ok && !v.Permanent() && before != "" {
			l.delta[key] = before
		}
		return
	}
	l.delta[key] = r.token
	for _, a := range applications {
		was, _ := l.before(a.part).Get()
		now, read := l.application(a.part).Get()
		entry, mentioned := r.all[was.ID]
		unsettled := r.whole && entry == nil || !r.whole && mentioned
		if !read || unsettled && same(was, now) {
			l.delta[key] = before
		}
	}
	if l.delta[key] == "" {
		delete(l.delta, key)
	}
}

func same(a, b readiness.ServicePrincipal) bool {
	return a.Present == b.Present && a.ID == b.ID && a.AccountEnabled == b.AccountEnabled && a.IsDisabled == b.IsDisabled && a.DisabledByMicrosoft == b.DisabledByMicrosoft
}
