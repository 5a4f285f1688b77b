package events

import (
	"fmt"
	"regexp"
)

// maxDomain is the longest DNS name, in characters.
const maxDomain = 253

var domainPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+$`)

// Actor is who caused an event: filled in by pinreset from the credential, never taken from a sender's word.
type Actor struct {
	Kind string `json:"kind"`           // "operator", "sender" or "system"
	ID   string `json:"id"`             // stable id; "pinreset" for the system
	Name string `json:"name,omitempty"` // for people to read
}

// Actor kinds.
const (
	Operator = "operator" // somebody with a token or a session
	Sender   = "sender"   // a system that sent an event with its own token
	System   = "system"   // pinreset itself: by schedule, or following up
)

// Pinreset is pinreset acting by itself.
func Pinreset() Actor { return Actor{Kind: System, ID: "pinreset"} }

func (a Actor) validate(field string) error {
	if a == (Actor{}) { // from outside: pinreset fills it in
		return nil
	}
	return check(
		oneOf(field+".kind", a.Kind, Operator, Sender, System),
		id(field+".id", a.ID),
		CheckText(field+".name", a.Name, MaxActorName, false))
}

// TenantAdded asks pinreset to look after a tenant: its consent begins, unless it is on premises.
type TenantAdded struct {
	RequestID   string `json:"requestId"`   // names the consent run
	DisplayName string `json:"displayName"` // what people call the tenant
	// CreateServicePrincipals asks for the two PIN reset applications to be created through Graph instead of by an
	// administrator's click. Off unless asked for: whether Microsoft allows it is not documented.
	CreateServicePrincipals bool `json:"createServicePrincipals,omitempty"`
	// Domain is the DNS name of the Active Directory domain, in lower case, of a tenant on premises: it has no directory to
	// consent in, so no consent begins. "" is an Entra tenant.
	Domain string `json:"domain,omitempty"`
	By     Actor  `json:"by,omitzero"`
}

func (TenantAdded) Kind() string      { return "tenant.added.v1" }
func (d TenantAdded) Request() string { return d.RequestID }
func (TenantAdded) subject() Subject  { return "" }

// Validate implements Data.
func (d TenantAdded) Validate() error {
	if d.Domain != "" {
		if err := CheckDomain("domain", d.Domain); err != nil {
			return err
		}
	}
	return check(id("requestId", d.RequestID), CheckText("displayName", d.DisplayName, 120, true), d.By.validate("by"))
}

// CheckDomain is the rule of a domain's DNS name: lower case, at least two labels. Its error is a *[FieldError].
func CheckDomain(field, value string) error {
	if len(value) > maxDomain {
		return &FieldError{field, fmt.Sprintf("must be text of at most %d characters", maxDomain)}
	}
	return match(field, value, domainPattern, "must be a domain's DNS name in lower case, such as corp.example")
}

// TenantSettingsChanged tells that an operator changed settings of a tenant.
type TenantSettingsChanged struct {
	RequestID string   `json:"requestId"`
	Names     []string `json:"names"` // of the settings that changed
	By        Actor    `json:"by,omitzero"`
}

func (TenantSettingsChanged) Kind() string      { return "tenant.settings.changed.v1" }
func (d TenantSettingsChanged) Request() string { return d.RequestID }
func (TenantSettingsChanged) subject() Subject  { return "" }

// Validate implements Data.
func (d TenantSettingsChanged) Validate() error {
	return check(id("requestId", d.RequestID), list("names", d.Names, 1, maxName, id), d.By.validate("by"))
}

// SubscriptionsDue is pinreset's reminder to itself to look after a tenant's subscriptions to change notifications of Graph: to
// make, renew and end them.
type SubscriptionsDue struct {
	RequestID string `json:"requestId"`
}

func (SubscriptionsDue) Kind() string      { return "tenant.subscriptions.due.v1" }
func (d SubscriptionsDue) Request() string { return d.RequestID }
func (SubscriptionsDue) subject() Subject  { return "" }

// Validate implements Data.
func (d SubscriptionsDue) Validate() error { return id("requestId", d.RequestID) }
