package tenant

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"pinreset/events"
	"pinreset/shared/fault"
	"pinreset/shared/work"
)

// Kind is what a tenant is.
type Kind string

// Kinds of tenants.
const (
	Entra      Kind = "entra"       // a Microsoft Entra tenant, with or without Active Directory beside it
	OnPremises Kind = "on-premises" // Active Directory and a federation service, without Microsoft Entra ID
)

// AddOnPremises stages a tenant without Microsoft Entra ID and returns it, under an id of our own. Nothing is consented there and
// Microsoft Graph knows nothing of it. The unit must be one of the register's [Partition]; a domain that is no DNS name is a
// *events.FieldError. Two tenants may have one domain name: names such as corp.local are used by many.
func AddOnPremises(u *work.Unit, domain, name string, by events.Actor) (Tenant, error) {
	domain = strings.ToLower(domain)
	if err := events.CheckDomain("domain", domain); err != nil {
		return Tenant{}, err
	}
	t := Tenant{ID: ownID(u.NewID()), Kind: OnPremises, Domain: domain, DisplayName: name, AddedAt: u.Now(), AddedBy: by}
	return t, u.Create(t.ID, t)
}

// ownID makes a GUID of an id that is used once. It is of version 8 of RFC 9562, which is left to whoever makes one, so it is not
// one of the random ids, of version 4.
func ownID(once string) string {
	sum := sha256.Sum256([]byte("pinreset/tenant/" + once))
	id := sum[:16]
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// InEntra returns nil for an Entra tenant, and otherwise the verdict on work that needs Microsoft Graph: it will never work.
func (t Tenant) InEntra() error {
	if t.Kind == OnPremises {
		return fault.Permanentf(fault.TenantOnPremises, "tenant %s (%s) has no Microsoft Entra ID", t.ID, t.Domain)
	}
	return nil
}
