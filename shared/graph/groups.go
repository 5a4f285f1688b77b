package graph

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"pinreset/shared/policy"
)

// Group is a group of the directory.
type Group struct {
	ID          string   `json:"id"`
	DisplayName string   `json:"displayName"`
	Types       []string `json:"groupTypes"`
	Rule        string   `json:"membershipRule"` // of a dynamic group
}

// RuleKind is what a dynamic group holds by its rule, which is about users or about devices and never about both. It is
// unknown for a group without a rule.
func (g Group) RuleKind() policy.GroupKind {
	if !slices.ContainsFunc(g.Types, func(t string) bool { return strings.EqualFold(t, "DynamicMembership") }) {
		return policy.UnknownGroup
	}
	rule := strings.ToLower(g.Rule)
	users, devices := mentions(rule, "user."), mentions(rule, "device.")
	switch {
	case users && !devices:
		return policy.UserGroup
	case devices && !users:
		return policy.DeviceGroup
	}
	return policy.UnknownGroup
}

// mentions reports whether a rule has the object at the start of a word.
func mentions(rule, object string) bool {
	for i := 0; ; {
		j := strings.Index(rule[i:], object)
		if j < 0 {
			return false
		}
		at := i + j
		if at == 0 || !isWord(rule[at-1]) {
			return true
		}
		i = at + len(object)
	}
}

func isWord(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= '0' && b <= '9' || b == '_' || b == '.'
}

// ReadGroup reads a group.
func ReadGroup(id string) Read[Group] {
	return of(readOne[Group]("read group "+id, V1, "/groups/"+id+query("$select", "id,displayName,groupTypes,membershipRule")), "group", id)
}

// Group reads a group.
func (c *Client) Group(ctx context.Context, tenant, id string) (Group, error) {
	return ReadGroup(id).Do(ctx, c, tenant)
}

// MemberKind is the type of a group's member.
type MemberKind string

// Types of members.
const (
	UserMember   MemberKind = "user"
	DeviceMember MemberKind = "device"
	GroupMember  MemberKind = "group"
	OtherMember  MemberKind = "other"
)

// Member is a member of a group.
type Member struct {
	ID   string     // object id
	Kind MemberKind // by the exact type
}

type directoryObject struct {
	Type string `json:"@odata.type"`
	ID   string `json:"id"`
}

func (o directoryObject) member() Member {
	switch kind := MemberKind(strings.TrimPrefix(bare(o.Type), "microsoft.graph.")); kind {
	case UserMember, DeviceMember, GroupMember:
		return Member{o.ID, kind}
	}
	return Member{o.ID, OtherMember}
}

// Members reads the direct members of a group page by page, as the caller consumes them; nested groups are among them. An error
// is the last element.
func (c *Client) Members(ctx context.Context, tenant, groupID string) iter.Seq2[Member, error] {
	return c.members(ctx, tenant, groupID, "members")
}

// TransitiveMembers reads the members of a group and of those nested in it.
func (c *Client) TransitiveMembers(ctx context.Context, tenant, groupID string) iter.Seq2[Member, error] {
	return c.members(ctx, tenant, groupID, "transitiveMembers")
}

func (c *Client) members(ctx context.Context, tenant, groupID, which string) iter.Seq2[Member, error] {
	return func(yield func(Member, error) bool) {
		if err := checkIDs("tenant", tenant, "group", groupID); err != nil {
			yield(Member{}, err)
			return
		}
		for o, err := range pages[directoryObject](ctx, c.general, tenant, get("/groups/"+groupID+"/"+which+query("$select", "id", "$top", "999"))) {
			if err != nil {
				yield(Member{}, fmt.Errorf("list members of group %s: %w", groupID, err))
				return
			}
			if !yield(o.member(), nil) {
				return
			}
		}
	}
}

// ReadGroupKind tells whether a group holds users or devices: by its rule if it is dynamic, else by its members, nested
// groups' too. It reads members until it has met both, all of them at most. An empty group, one of other objects, and one
// of both is unknown.
func ReadGroupKind(id string) Read[policy.GroupKind] {
	return then(ReadGroup(id), func(ctx context.Context, c *Client, tenant string, g Group) (policy.GroupKind, error) {
		if kind := g.RuleKind(); kind != policy.UnknownGroup {
			return kind, nil
		}
		kind := policy.UnknownGroup
		for m, err := range c.TransitiveMembers(ctx, tenant, id) {
			if err != nil {
				return policy.UnknownGroup, err
			}
			is := map[MemberKind]policy.GroupKind{UserMember: policy.UserGroup, DeviceMember: policy.DeviceGroup}[m.Kind]
			switch {
			case is == policy.UnknownGroup:
			case kind == policy.UnknownGroup:
				kind = is
			case kind != is:
				return policy.UnknownGroup, nil
			}
		}
		return kind, nil
	})
}

// GroupKind tells whether a group holds users or devices.
func (c *Client) GroupKind(ctx context.Context, tenant, id string) (policy.GroupKind, error) {
	return ReadGroupKind(id).Do(ctx, c, tenant)
}

// ReadUserGroups reads the ids of all groups that a user is in, nested ones included. It is a list rather than the action
// checkMemberGroups, because a list can be part of a batch, has no bound of twenty groups, and costs 1 resource unit, not 4.
func ReadUserGroups(userID string) Read[[]string] {
	return of(readMemberships("user", "/users/"+userID), "user", userID)
}

// UserGroups reads the ids of all groups that a user is in.
func (c *Client) UserGroups(ctx context.Context, tenant, userID string) ([]string, error) {
	return ReadUserGroups(userID).Do(ctx, c, tenant)
}

// ReadDeviceGroups reads the ids of all groups that a device of the directory is in; id is its object id, [DirectoryDevice.ID].
func ReadDeviceGroups(objectID string) Read[[]string] {
	return of(readMemberships("device", "/devices/"+objectID), "device", objectID)
}

// DeviceGroups reads the ids of all groups that a device of the directory is in.
func (c *Client) DeviceGroups(ctx context.Context, tenant, objectID string) ([]string, error) {
	return ReadDeviceGroups(objectID).Do(ctx, c, tenant)
}

func readMemberships(what, path string) Read[[]string] {
	r := readAll[directoryObject]("read groups of "+what, V1, path+"/transitiveMemberOf"+query("$select", "id", "$top", "999"))
	return then(r, func(_ context.Context, _ *Client, _ string, objects []directoryObject) ([]string, error) {
		ids := []string{}
		for _, o := range objects {
			if o.member().Kind == GroupMember { // directory roles and administrative units are in the list, too
				ids = append(ids, strings.ToLower(o.ID))
			}
		}
		slices.Sort(ids)
		return ids, nil
	})
}
