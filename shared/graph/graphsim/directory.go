package graphsim

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The stored forms of directory objects. Deleted ones are kept: replicas may
// show them a little longer, and delta reports them.

type servicePrincipal struct {
	ID       string    `json:"id"`
	AppID    string    `json:"appId"`
	Disabled bool      `json:"disabled,omitempty"`
	Created  time.Time `json:"created"`
	Deleted  time.Time `json:"deleted,omitzero"`
	Seq      int64     `json:"seq"`
}

type permissionGrant struct {
	ID          string    `json:"id"`
	ClientID    string    `json:"clientId"`   // object id of the client's service principal
	ResourceID  string    `json:"resourceId"` // object id of the resource's
	ConsentType string    `json:"consentType"`
	PrincipalID string    `json:"principalId,omitempty"`
	Scope       string    `json:"scope"`
	Created     time.Time `json:"created"`
	Deleted     time.Time `json:"deleted,omitzero"`
	Seq         int64     `json:"seq"`
}

type roleAssignment struct {
	ID          string    `json:"id"`
	RoleID      string    `json:"roleId"`
	PrincipalID string    `json:"principalId"`
	ResourceID  string    `json:"resourceId"`
	Created     time.Time `json:"created"`
	Deleted     time.Time `json:"deleted,omitzero"`
}

// newID returns a random GUID.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// principal finds a service principal that the replica sees.
func (t *tenant) principal(v view, match func(*servicePrincipal) bool) *servicePrincipal {
	for _, sp := range t.principals {
		if v.sees(sp.Created, sp.Deleted) && match(sp) {
			return sp
		}
	}
	return nil
}

func (t *tenant) principalOf(v view, appID string) *servicePrincipal {
	return t.principal(v, func(sp *servicePrincipal) bool { return sp.AppID == appID })
}

// visiblePrincipals lists what the replica sees, by id.
func (t *tenant) visiblePrincipals(v view) []*servicePrincipal {
	return sorted(t.principals, func(sp *servicePrincipal) bool { return v.sees(sp.Created, sp.Deleted) })
}

func (t *tenant) visibleGrants(v view) []*permissionGrant {
	return sorted(t.grants, func(g *permissionGrant) bool { return v.sees(g.Created, g.Deleted) })
}

func (t *tenant) visibleAssignments(v view) []*roleAssignment {
	return sorted(t.assignments, func(a *roleAssignment) bool { return v.sees(a.Created, a.Deleted) })
}

// sorted returns the kept values in the order of their keys.
func sorted[T any](all map[string]T, keep func(T) bool) []T {
	var list []T
	for _, id := range slices.Sorted(maps.Keys(all)) {
		if keep(all[id]) {
			list = append(list, all[id])
		}
	}
	return list
}

func (t *tenant) putPrincipal(sp servicePrincipal) change {
	return change{"sp/" + t.id + "/" + sp.ID, sp, func() {
		t.principals[sp.ID] = &sp
		t.seq = max(t.seq, sp.Seq)
	}}
}

func (t *tenant) putGrant(g permissionGrant) change {
	g.Seq = t.seq + 1
	return change{"grant/" + t.id + "/" + g.ID, g, func() {
		t.grants[g.ID] = &g
		t.seq = max(t.seq, g.Seq)
	}}
}

func (t *tenant) putAssignment(a roleAssignment) change {
	return change{"role/" + t.id + "/" + a.ID, a, func() { t.assignments[a.ID] = &a }}
}

// rolesOf returns the application permissions that a service principal holds on
// Microsoft Graph, as the replica sees them.
func (t *tenant) rolesOf(v view, sp *servicePrincipal) []string {
	var roles []string
	for _, a := range t.visibleAssignments(v) {
		if a.PrincipalID != sp.ID {
			continue
		}
		if r, ok := findRole(func(r role) bool { return r.id == a.RoleID }); ok {
			roles = append(roles, r.value)
		}
	}
	slices.Sort(roles)
	return roles
}

// An admission collects the changes that bring apps into a tenant, so that a
// consent is one change whatever it consists of.
type admission struct {
	t       *tenant
	now     time.Time
	id      func(object string) string // a new object's id
	seq     int64
	pending map[string]*servicePrincipal // by app id, not committed yet
	changes []change
}

func (t *tenant) admit(now time.Time) *admission {
	return &admission{
		t: t, now: now, seq: t.seq, pending: make(map[string]*servicePrincipal),
		id: func(string) string { return newID() },
	}
}

// principal returns the app's service principal, which it creates if missing.
func (a *admission) principal(appID string) *servicePrincipal {
	if sp := a.t.principalOf(view{now: a.now}, appID); sp != nil {
		return sp
	}
	if sp := a.pending[appID]; sp != nil {
		return sp
	}
	a.seq++
	sp := servicePrincipal{ID: a.id("sp " + appID), AppID: appID, Created: a.now, Seq: a.seq}
	a.pending[appID] = &sp
	a.changes = append(a.changes, a.t.putPrincipal(sp))
	return &sp
}

// roles gives the app application permissions on Microsoft Graph.
func (a *admission) roles(appID string, roles ...string) error {
	sp, graph := a.principal(appID), a.principal(microsoftGraph)
	held := a.t.rolesOf(view{now: a.now}, sp)
	for _, name := range roles {
		r, ok := findRole(func(r role) bool { return strings.EqualFold(r.value, name) })
		if !ok {
			return fmt.Errorf("application permission %q: %w", name, ErrUnknown)
		}
		if slices.Contains(held, r.value) {
			continue
		}
		held = append(held, r.value)
		a.changes = append(a.changes, a.t.putAssignment(roleAssignment{
			ID: a.id("role " + sp.AppID + r.id), RoleID: r.id, PrincipalID: sp.ID, ResourceID: graph.ID, Created: a.now,
		}))
	}
	return nil
}

// scopes records a delegated grant for all users.
func (a *admission) scopes(appID, resourceAppID, scope string) {
	sp, resource := a.principal(appID), a.principal(resourceAppID)
	for _, g := range a.t.visibleGrants(view{now: a.now}) {
		if g.ClientID == sp.ID && g.ResourceID == resource.ID {
			return
		}
	}
	a.changes = append(a.changes, a.t.putGrant(permissionGrant{
		ID: a.id("grant " + appID + resourceAppID), ClientID: sp.ID, ResourceID: resource.ID, ConsentType: "AllPrincipals", Scope: scope, Created: a.now,
	}))
}

// consent does what an administrator's Accept does: the service principal and
// everything that the app asks for.
func (a *admission) consent(app application) error {
	a.principal(app.id)
	for _, resource := range slices.Sorted(maps.Keys(app.scopes)) {
		a.scopes(app.id, resource, app.scopes[resource])
	}
	if len(app.roles) > 0 {
		return a.roles(app.id, app.roles...)
	}
	return nil
}

// deletePrincipal returns the changes that remove a service principal and
// everything granted to it.
func (t *tenant) deletePrincipal(sp *servicePrincipal, now time.Time) []change {
	gone := *sp
	gone.Deleted, gone.Seq = now, t.seq+1
	return append([]change{t.putPrincipal(gone)}, t.revoke(sp, now, nil)...)
}

// revoke returns the changes that take application permissions from a service
// principal: the named ones, or with none named all, delegated grants included.
func (t *tenant) revoke(sp *servicePrincipal, now time.Time, roles []string) []change {
	primary := view{now: now}
	var changes []change
	for _, a := range t.visibleAssignments(primary) {
		r, _ := findRole(func(r role) bool { return r.id == a.RoleID })
		if a.PrincipalID == sp.ID && (len(roles) == 0 || slices.Contains(roles, r.value)) {
			gone := *a
			gone.Deleted = now
			changes = append(changes, t.putAssignment(gone))
		}
	}
	for _, g := range t.visibleGrants(primary) {
		if g.ClientID == sp.ID && len(roles) == 0 {
			gone := *g
			gone.Deleted = now
			changes = append(changes, t.putGrant(gone))
		}
	}
	return changes
}
