package approval

import (
	"context"
	"errors"
	"fmt"

	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/tenant"
)

// Why is what a second person is needed for; "" where none is.
type Why string

// What a second person is needed for.
const (
	ForBulk       Why = "bulk"       // many devices at once
	ForPrivileged Why = "privileged" // the device's user holds a directory role
	ForEvery      Why = "every"      // the tenant wants two for every reset
)

// directory tells which directory roles a user holds.
type directory interface {
	UserRoles(ctx context.Context, tenant, userID string) ([]string, error)
}

// Rule says why a reset of a device, or seeing its code, needs a second person. userID is the device's primary user; a device without
// one belongs to nobody with a role. Where the tenant asks about roles and they can't be read, the rule is an error, for a while or with
// fault.RankUnknown.
func Rule(ctx context.Context, d directory, tenantID string, s tenant.Settings, userID string) (Why, error) {
	switch {
	case s.SecondPerson == tenant.SecondForEvery:
		return ForEvery, nil
	case s.SecondPerson != tenant.SecondForPrivileged || userID == "":
		return "", nil
	}
	roles, err := d.UserRoles(ctx, tenantID, userID)
	verdict, said := fault.As(err)
	switch {
	case err == nil && len(roles) == 0:
		return "", nil
	case err == nil:
		return ForPrivileged, nil
	case said && verdict.Permanent(), errors.Is(err, graph.ErrNotFound):
		return "", fault.Permanent(fault.RankUnknown, fmt.Errorf("read directory roles of user %s: %w", userID, err))
	default:
		return "", fmt.Errorf("read directory roles of user %s: %w", userID, err)
	}
}
