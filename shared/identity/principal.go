package identity

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"pinreset/events"
)

// Permission names one thing that may be allowed.
type Permission string

// Permissions. None is implied by another.
const (
	TenantRead       Permission = "tenant.read"
	DeviceRead       Permission = "device.read"
	AuditRead        Permission = "audit.read"
	TenantOnboard    Permission = "tenant.onboard"
	ResetStart       Permission = "passcode.reset.start"
	BulkReset        Permission = "passcode.reset.bulk"
	PortalRecord     Permission = "portal.record"
	PasscodeReveal   Permission = "passcode.reveal"
	DeadLetterReplay Permission = "deadletter.replay"
	SettingsWrite    Permission = "settings.write"
	GrantWrite       Permission = "grant.write"
	MetricsRead      Permission = "metrics.read"
	AuditRun         Permission = "audit.run" // have tenants audited now
	PolicyRead       Permission = "policy.read"
	PolicyWrite      Permission = "policy.write" // roll EnablePinRecovery out, and take it back
	DeviceKeyWrite   Permission = "device.key.write"
	ApprovalDecide   Permission = "approval.decide" // approve what others asked for
	AuditExport      Permission = "audit.export"
)

// Permissions returns all permissions there are.
func Permissions() []Permission {
	return []Permission{
		TenantRead, DeviceRead, AuditRead, TenantOnboard, ResetStart, BulkReset, PortalRecord, PasscodeReveal, DeadLetterReplay, SettingsWrite,
		GrantWrite, MetricsRead, AuditRun, PolicyRead, PolicyWrite, DeviceKeyWrite,
		ApprovalDecide, AuditExport,
	}
}

// ErrUnauthenticated: the request does not say who is asking, or not in a way that holds.
var ErrUnauthenticated = errors.New("not signed in")

// Authenticator finds out who sent a request. It returns ErrUnauthenticated (wrapped) when nobody known did, and any other
// error when it could not find out.
type Authenticator interface {
	Authenticate(*http.Request) (Principal, error)
}

// Principal is who is asking.
type Principal struct {
	ID          string // stable, and fit to be an actor's id
	Name        string // for people to read
	All         bool   // sees every tenant, those to come included
	Tenants     []string
	Permissions []Permission // on all of these tenants

	// Person is who signed in with Microsoft Entra ID; nil for a token of ours. What a person may do differs from tenant to tenant, so
	// Permissions is empty until [Principal.In] says on which one.
	Person *Person
	on     map[string][]Permission
}

// NewPrincipal returns the person as a principal: with the permissions that the person's roles give on the person's own tenant, and
// those that were granted, by tenant in lower case.
func NewPrincipal(p Person, granted map[string][]Permission) Principal {
	on := map[string][]Permission{}
	if own := p.ownPermissions(); len(own) > 0 {
		on[p.Tenant] = own
	}
	for tenant, more := range granted {
		on[tenant] = slices.Compact(slices.Sorted(slices.Values(slices.Concat(on[tenant], more))))
	}
	return Principal{ID: p.ID(), Name: p.Name, Tenants: slices.Sorted(maps.Keys(on)), Person: &p, on: on}
}

// In is the principal on one tenant, with what may be done there.
func (p Principal) In(tenant string) Principal {
	if p.Person != nil {
		p.Permissions = p.on[strings.ToLower(tenant)]
	}
	return p
}

// Can reports whether the principal has the permission, on the tenants that it sees.
func (p Principal) Can(permission Permission) bool { return slices.Contains(p.Permissions, permission) }

// Where returns those of the principal's tenants on which it has the permission. It is for principals that don't see all.
func (p Principal) Where(permission Permission) []string {
	return slices.DeleteFunc(slices.Clone(p.Tenants), func(tenant string) bool { return !p.In(tenant).Can(permission) })
}

// CanSomewhere reports whether the principal has the permission on any tenant.
func (p Principal) CanSomewhere(permission Permission) bool {
	return p.Can(permission) || p.Person != nil && len(p.Where(permission)) > 0
}

// Sees reports whether the tenant is one of the principal's.
func (p Principal) Sees(tenant string) bool {
	return p.All || slices.Contains(p.Tenants, strings.ToLower(tenant))
}

// Operator is the principal as the actor of what it does itself.
func (p Principal) Operator() events.Actor {
	return events.Actor{Kind: events.Operator, ID: p.ID, Name: p.Name}
}

// Sender is the principal as the actor of an event that it sent.
func (p Principal) Sender() events.Actor {
	return events.Actor{Kind: events.Sender, ID: p.ID, Name: p.Name}
}
