package graph

import (
	"context"
	"strings"
)

// Domain is a domain of a tenant: the resource domain.
type Domain struct {
	Name               string `json:"id"`
	AuthenticationType string `json:"authenticationType"` // Managed or Federated
	Default            bool   `json:"isDefault"`
	Initial            bool   `json:"isInitial"`
	Verified           bool   `json:"isVerified"`
}

// Federated reports whether another provider signs the domain's people in.
func (d Domain) Federated() bool { return strings.EqualFold(d.AuthenticationType, "Federated") }

// ReadDomains reads the domains of a tenant, verified or not.
func ReadDomains() Read[[]Domain] {
	return readAll[Domain]("read domains", V1, "/domains"+query("$select", "id,authenticationType,isDefault,isInitial,isVerified"))
}

// Domains reads the domains of a tenant.
func (c *Client) Domains(ctx context.Context, tenant string) ([]Domain, error) {
	return ReadDomains().Do(ctx, c, tenant)
}
