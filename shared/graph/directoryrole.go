package graph

import (
	"context"
	"slices"
	"strings"
)

// ReadUserRoles reads the object ids of the directory roles that a user holds now, directly or through a group that may be given roles.
// Roles that the user could only activate are not among them, nor are roles over an administrative unit alone.
//
// Facts: Microsoft's page "List a user's memberships (direct and transitive)". Without the permission to read roles their names are
// left out of the answer, but they are in it.
func ReadUserRoles(userID string) Read[[]string] {
	r := readAll[directoryObject]("read directory roles of user", V1, "/users/"+userID+"/transitiveMemberOf"+query("$select", "id", "$top", "999"))
	return of(then(r, func(_ context.Context, _ *Client, _ string, objects []directoryObject) ([]string, error) {
		ids := []string{}
		for _, o := range objects {
			if bare(o.Type) == "microsoft.graph.directoryRole" {
				ids = append(ids, strings.ToLower(o.ID))
			}
		}
		slices.Sort(ids)
		return ids, nil
	}), "user", userID)
}

// UserRoles reads the object ids of the directory roles that a user holds.
func (c *Client) UserRoles(ctx context.Context, tenant, userID string) ([]string, error) {
	return ReadUserRoles(userID).Do(ctx, c, tenant)
}
