package graphsim

import (
	"fmt"
	"slices"
	"strings"
)

// A group has users, devices and other groups. A stored one is never changed: a
// change replaces it.
type group struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Members []member `json:"members,omitempty"` // by id; those that left are kept for delta
	Seq     int64    `json:"seq"`
	Deleted bool     `json:"deleted,omitempty"`
}

// A member is a directory object in a group.
type member struct {
	ID   string `json:"id"`
	Kind string `json:"kind"` // user, device, group
	Seq  int64  `json:"seq"`
	Left bool   `json:"left,omitempty"`
}

// group finds a group by id or name.
func (t *tenant) group(ref string) (*group, error) {
	for _, g := range t.groups {
		if !g.Deleted && (g.ID == strings.ToLower(ref) || strings.EqualFold(g.Name, ref)) {
			return g, nil
		}
	}
	return nil, fmt.Errorf("group %q in tenant %s: %w", ref, t.domain, ErrUnknown)
}

// inGroup reports whether an object is a member of a group, directly or through
// groups in it.
func (t *tenant) inGroup(groupID, objectID string) bool {
	return objectID != "" && slices.ContainsFunc(t.transitive(groupID), func(m member) bool { return m.ID == objectID })
}

// transitive lists the members of a group and of the groups in it, each once.
func (t *tenant) transitive(groupID string) []member {
	var list []member
	seen := map[string]bool{groupID: true}
	open := []string{groupID}
	for len(open) > 0 {
		i := slices.IndexFunc(t.groups, func(g *group) bool { return g.ID == open[0] && !g.Deleted })
		open = open[1:]
		if i < 0 {
			continue
		}
		for _, m := range t.groups[i].Members {
			if m.Left || seen[m.ID] {
				continue
			}
			seen[m.ID] = true
			list = append(list, m)
			if m.Kind == "group" {
				open = append(open, m.ID)
			}
		}
	}
	return list
}

func (t *tenant) putGroup(g group) change {
	return change{"group/" + t.id + "/" + g.ID, g, func() {
		t.seq = max(t.seq, g.Seq)
		if i := slices.IndexFunc(t.groups, func(old *group) bool { return old.ID == g.ID }); i >= 0 {
			t.groups[i] = &g
			return
		}
		t.groups = append(t.groups, &g)
	}}
}

// with returns the group with a member who joins or leaves.
func (g group) with(id, kind string, seq int64, left bool) group {
	g.Seq = seq
	g.Members = slices.Clone(g.Members)
	m := member{id, kind, seq, left}
	if i := slices.IndexFunc(g.Members, func(m member) bool { return m.ID == id }); i >= 0 {
		g.Members[i] = m
		return g
	}
	g.Members = append(g.Members, m)
	return g
}

// object finds a user, device or group by id or name and says which it is.
func (t *tenant) object(ref string) (id, kind string, err error) {
	if u, ok := t.user(ref); ok {
		return u.id, "user", nil
	}
	for _, d := range t.devices() {
		if !d.Retired && (d.objectID == ref || d.id == ref || strings.EqualFold(d.name, ref)) {
			return d.objectID, "device", nil
		}
	}
	g, err := t.group(ref)
	if err != nil {
		return "", "", fmt.Errorf("user, device or %w", err)
	}
	return g.ID, "group", nil
}
