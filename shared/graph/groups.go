package graph

import (
	"context"
	"fmt"
	"strings"
)

// Members are who is in a group, directly or through other groups.
type Members struct {
	Users   map[string]bool // object ids
	Devices map[string]bool // deviceId, which managed devices carry as azureADDeviceId
}

// Has reports whether the device is in the group, by itself or by its user.
func (m Members) Has(d ManagedDevice) bool {
	return d.UserID != "" && m.Users[strings.ToLower(d.UserID)] || m.Devices[strings.ToLower(d.AzureADDeviceID)]
}

// TransitiveMembers reads who is in a group (page "List group transitive members"). Members of other kinds, such as service
// principals, are left out. A group that does not exist is ErrNotFound.
func (c *Client) TransitiveMembers(ctx context.Context, tenant, group string) (Members, error) {
	if err := checkIDs("tenant", tenant, "group", group); err != nil {
		return Members{}, err
	}
	type member struct {
		Type     string `json:"@odata.type"`
		ID       string `json:"id"`
		DeviceID string `json:"deviceId"`
	}
	m := Members{Users: map[string]bool{}, Devices: map[string]bool{}}
	for one, err := range pages[member](ctx, c.general, tenant, get("/groups/"+group+"/transitiveMembers?$top=999")) {
		if err != nil {
			return Members{}, fmt.Errorf("list members of group %s: %w", group, err)
		}
		switch bare(one.Type) {
		case "microsoft.graph.user":
			m.Users[strings.ToLower(one.ID)] = true
		case "microsoft.graph.device":
			m.Devices[strings.ToLower(one.DeviceID)] = true
		}
	}
	return m, nil
}

// BulkWrites is how many writes in the family bulk calls may make in one tenant: the limit less the reserve. The zero value is
// no limit.
func (c *Client) BulkWrites(f Family) Window {
	w := c.limiter.limits.Families[f].Write
	if w.Limit > 0 {
		w.Limit = c.limiter.allowed(w.Limit, Bulk)
	}
	return w
}
