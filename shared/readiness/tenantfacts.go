package readiness

import (
	"time"

	"pinreset/shared/fault"
	"pinreset/shared/policy"
	"pinreset/shared/reading"
	"pinreset/shared/tenant"
)

// Kind is the kind of a tenant.
type Kind = tenant.Kind

// Kinds of tenants.
const (
	Entra      = tenant.Entra
	OnPremises = tenant.OnPremises
)

// Cloud is where an Entra tenant is.
type Cloud string

// Clouds. The zero value is commercial.
const (
	Commercial   Cloud = "commercial"
	USGovernment Cloud = "us-government"
	China        Cloud = "china" // Microsoft's page does not name it: nothing is promised
)

// TenantFacts are what was read of a tenant at one time.
type TenantFacts struct {
	TenantID string    `json:"tenantId"` // a GUID in lower case
	Kind     Kind      `json:"kind"`     // "" is Entra
	Cloud    Cloud     `json:"cloud,omitempty"`
	ReadAt   time.Time `json:"readAt"`

	// Microsoft's two applications, by application id. Present is false only if the directory answered that there is none.
	Service reading.Of[ServicePrincipal] `json:"service,omitzero"` // Microsoft Pin Reset Service Production
	Client  reading.Of[ServicePrincipal] `json:"client,omitzero"`  // Microsoft Pin Reset Client Production

	// Policies are what was found in each of Intune's stores, of EnablePinRecovery and of the web sign-in allow list. A store
	// that is not in the map was not read.
	Policies map[policy.Store]reading.Of[[]policy.Found] `json:"policies,omitempty"`
	// Findings are those of package policy's lint over all of Policies; whoever reads the policies computes them.
	Findings []policy.Finding `json:"findings,omitempty"`

	// Domains are the tenant's verified domains.
	Domains reading.Of[[]Domain] `json:"domains,omitzero"`
	// Coverage counts devices; an audit computes it.
	Coverage reading.Of[Coverage] `json:"coverage,omitzero"`
}

// NotAudited are the facts of a tenant that no audit has read yet: none, and that is why.
func NotAudited(tenantID string) TenantFacts {
	t := TenantFacts{
		TenantID: tenantID, Kind: Entra,
		Service:  reading.Unread[ServicePrincipal](fault.NotAudited, ""),
		Client:   reading.Unread[ServicePrincipal](fault.NotAudited, ""),
		Domains:  reading.Unread[[]Domain](fault.NotAudited, ""),
		Coverage: reading.Unread[Coverage](fault.NotAudited, ""),
		Policies: map[policy.Store]reading.Of[[]policy.Found]{},
	}
	for _, s := range policy.Stores {
		t.Policies[s] = reading.Unread[[]policy.Found](fault.NotAudited, "")
	}
	return t
}

// Unvisited are the facts of a tenant on premises. There is no directory in reach to read: what is known of one comes from its
// devices, and no audit ever ends.
func Unvisited(tenantID string) TenantFacts {
	return TenantFacts{TenantID: tenantID, Kind: OnPremises}
}

// ServicePrincipal is one of Microsoft's applications in the tenant's directory.
type ServicePrincipal struct {
	Present             bool   `json:"present"`
	ID                  string `json:"id,omitempty"` // object id
	AccountEnabled      bool   `json:"accountEnabled"`
	IsDisabled          bool   `json:"isDisabled,omitempty"`
	DisabledByMicrosoft string `json:"disabledByMicrosoft,omitempty"` // disabledByMicrosoftStatus; "" and NotDisabled: not
	// Grants are what it holds, sorted. What Microsoft's applications should hold is not documented, so grants are shown and
	// compared with earlier ones, and decide nothing.
	Grants reading.Of[[]string] `json:"grants,omitzero"`
}

// Enabled reports whether the application is there and people can sign in to it.
func (sp ServicePrincipal) Enabled() bool {
	return sp.Present && sp.AccountEnabled && !sp.IsDisabled && (sp.DisabledByMicrosoft == "" || sp.DisabledByMicrosoft == "NotDisabled")
}

// Domain is a verified domain of a tenant.
type Domain struct {
	Name      string `json:"name"`
	Federated bool   `json:"federated"`         // authenticationType is Federated: another provider signs people in
	Default   bool   `json:"default,omitempty"` // isDefault
	// SignIn are the hosts of a federated domain's sign-in pages, in lower case.
	SignIn reading.Of[[]string] `json:"signIn,omitzero"`
}

// Coverage counts a tenant's devices. NotApplicable are those of targeted groups that the policy can't apply to (phones in a
// user group); they are in no denominator.
type Coverage struct {
	Devices       int `json:"devices"`                 // all managed devices
	Windows       int `json:"windows"`                 // Windows desktops among them
	Ineligible    int `json:"ineligible"`              // Windows desktops whose version, edition or join type rules non-destructive reset out
	Phones        int `json:"phones"`                  // devices whose passcode Intune can reset, by package passcode
	Targeted      int `json:"targeted"`                // devices that the policy is assigned to, NotApplicable left out
	Succeeded     int `json:"succeeded"`               // of those: took the policy
	Failed        int `json:"failed"`                  // of those: error, conflict or not compliant
	NotApplicable int `json:"notApplicable,omitempty"` // beside Targeted

	// What the devices' own reports say.
	Reported   int `json:"reported,omitempty"`   // devices with a report
	Proven     int `json:"proven,omitempty"`     // CanReset says that non-destructive reset is possible
	KeyTrust   int `json:"keyTrust,omitempty"`   // hybrid joined with key trust
	LockScreen int `json:"lockScreen,omitempty"` // a setting blocks the reset above the lock screen
}
