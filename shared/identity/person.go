package identity

import (
	"slices"
	"strings"
	"time"
)

// Person is somebody who signed in with Microsoft Entra ID, as the token says. Tenant and Object together are who it is; the name is
// for people to read.
type Person struct {
	Tenant     string    `json:"tenant"` // that the token is of, in lower case
	Object     string    `json:"object"` // the person's id there, in lower case
	Name       string    `json:"name"`
	Guest      bool      `json:"guest,omitempty"` // of that tenant, at home elsewhere
	Roles      []string  `json:"roles,omitempty"` // app roles of our registration there
	Contexts   []string  `json:"contexts,omitempty"`
	SignedInAt time.Time `json:"signedInAt"`
	IssuedAt   time.Time `json:"issuedAt"` // of the token
}

// ID names the person as an actor: the 32 digits of the tenant and the 32 of the object, the longest id that an event takes.
func (p Person) ID() string { return PersonID(p.Tenant, p.Object) }

// PersonID is [Person.ID] of two GUIDs.
func PersonID(tenant, object string) string {
	return strings.ToLower(strings.ReplaceAll(tenant+object, "-", ""))
}

// Passed reports whether the sign-in passed the authentication context, within the time.
func (p Person) Passed(authContext string, within time.Duration, now time.Time) bool {
	return authContext != "" && slices.Contains(p.Contexts, authContext) && now.Sub(p.IssuedAt) <= within
}

// Roles are the app roles of the registration that people sign in with, and what each allows on the person's own tenant. Whoever
// assigns them administers that tenant, so they reach no other one. No role has everything: two that belong apart are assigned apart.
func Roles() map[string][]Permission {
	return map[string][]Permission{
		"Reader":   {TenantRead, DeviceRead, PolicyRead},
		"HelpDesk": {TenantRead, DeviceRead, PolicyRead, ResetStart, PasscodeReveal},
		"Approver": {TenantRead, DeviceRead, ApprovalDecide},
		"Auditor":  {TenantRead, AuditRead, AuditExport, PolicyRead},
		"Administrator": {
			TenantRead, DeviceRead, AuditRead, PolicyRead, PolicyWrite, SettingsWrite, GrantWrite, BulkReset, AuditRun, DeadLetterReplay, DeviceKeyWrite,
		},
	}
}

// ownPermissions are those that the person's roles give on the person's own tenant. A guest's roles give nothing: who is at home
// elsewhere is let in by a grant that names the person.
func (p Person) ownPermissions() []Permission {
	if p.Guest {
		return nil
	}
	var all []Permission
	table := Roles()
	for _, role := range p.Roles {
		all = append(all, table[role]...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
