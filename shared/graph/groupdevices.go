package graph

import (
	"context"
	"fmt"
	"strings"
)

// DeviceOwners are who is in a group, directly or through other groups, as far as that tells whose devices are meant.
type DeviceOwners struct {
	Users   map[string]bool // object ids
	Devices map[string]bool // deviceId, which managed devices carry as azureADDeviceId
}

// Has reports whether the device is in the group, by itself or by its user.
func (m DeviceOwners) Has(d ManagedDevice) bool {
	return d.UserID != "" && m.Users[strings.ToLower(d.UserID)] || m.Devices[strings.ToLower(d.AzureADDeviceID)]
}

// DeviceOwners reads who is in a group (page "List group transitive members"). Members of other kinds, such as service
// principals, are left out. A group that does not exist is ErrNotFound.
func (c *Client) DeviceOwners(ctx context.Context, tenant, group string) (DeviceOwners, error) {
	if err := checkIDs("tenant", tenant, "group", group); err != nil {
		return DeviceOwners{}, err
	}
	type member struct {
		Type     string `json:"@odata.type"`
		ID       string `json:"id"`
		DeviceID string `json:"deviceId"`
	}
	m := DeviceOwners{Users: map[string]bool{}, Devices: map[string]bool{}}
	for one, err := range pages[member](ctx, c.general, tenant, get("/groups/"+group+"/transitiveMembers?$top=999")) {
		if err != nil {
			return DeviceOwners{}, fmt.Errorf("list members of group %s: %w", group, err)
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

// BulkWrites is how many writes in the family bulk calls may make in one tenant, of all processes together: the limit less the
// reserve. The zero value is no limit.
func (c *Client) BulkWrites(f Family) Window {
	w := c.limiter.limits.Families[f].Write
	if w.Limit > 0 {
		w.Limit = c.limiter.allowed(c.limiter.shares.usable(w.Limit), Bulk)
	}
	return w
}
