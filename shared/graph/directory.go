package graph

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// ServicePrincipal is an application's presence in a tenant.
type ServicePrincipal struct {
	ID                     string `json:"id"`
	AppID                  string `json:"appId"`
	DisplayName            string `json:"displayName"`
	AccountEnabled         bool   `json:"accountEnabled"`
	IsDisabled             bool   `json:"isDisabled"`
	DisabledByMicrosoft    string `json:"disabledByMicrosoftStatus"` // empty: not
	AppOwnerOrganizationID string `json:"appOwnerOrganizationId"`
}

// Enabled reports whether users can sign in to the application.
func (sp ServicePrincipal) Enabled() bool {
	return sp.AccountEnabled && !sp.IsDisabled && (sp.DisabledByMicrosoft == "" || sp.DisabledByMicrosoft == "NotDisabled")
}

const servicePrincipalFields = "id,appId,displayName,accountEnabled,isDisabled,disabledByMicrosoftStatus,appOwnerOrganizationId"

// ServicePrincipal reads the service principal of an application. ErrNotFound right after a consent means not yet.
func (c *Client) ServicePrincipal(ctx context.Context, tenant, appID string) (ServicePrincipal, error) {
	if err := checkIDs("tenant", tenant, "app", appID); err != nil {
		return ServicePrincipal{}, err
	}
	return ReadServicePrincipal(appID).Do(ctx, c, tenant)
}

// ReadServicePrincipal is the read of [Client.ServicePrincipal].
func ReadServicePrincipal(appID string) Read[ServicePrincipal] {
	r := readOne[ServicePrincipal]("read service principal of app "+appID, V1, servicePrincipalPath(appID)+query("$select", servicePrincipalFields))
	return of(r, "app", appID)
}

func servicePrincipalPath(appID string) string { return "/servicePrincipals(appId='" + appID + "')" }

// CreateServicePrincipal creates the service principal of an application unless it is there, and reads it. It is an
// upsert with an empty body, so it may be repeated. Whether Graph allows it for Microsoft's own applications is not
// documented: call it only where an operator chose to.
func (c *Client) CreateServicePrincipal(ctx context.Context, tenant, appID string) (ServicePrincipal, error) {
	if err := checkIDs("tenant", tenant, "app", appID); err != nil {
		return ServicePrincipal{}, err
	}
	target := servicePrincipalPath(appID)
	a, _, err := c.general.send(ctx, tenant, request{
		method: http.MethodPatch, version: V1, target: target, prefer: "create-if-missing", body: struct{}{},
		demands: []demand{demandOf(http.MethodPatch, target)},
	})
	if err != nil {
		return ServicePrincipal{}, fmt.Errorf("create service principal of app %s: %w", appID, err)
	}
	if a.status == http.StatusCreated {
		// The answer is what was created; a read could meet a replica that does not know it yet.
		var sp ServicePrincipal
		if a.decodeOne(&sp) == nil && sp.ID != "" {
			return sp, nil
		}
	}
	return c.ServicePrincipal(ctx, tenant, appID)
}

// PermissionGrant is a delegated permission that a client application holds. Ids are object ids of service
// principals, not app ids.
type PermissionGrant struct {
	ID          string `json:"id"`
	ClientID    string `json:"clientId"`
	ConsentType string `json:"consentType"` // AllPrincipals or Principal
	PrincipalID string `json:"principalId"`
	ResourceID  string `json:"resourceId"`
	Scope       string `json:"scope"` // separated by spaces
}

// Scopes returns the single permissions.
func (g PermissionGrant) Scopes() []string { return strings.Fields(g.Scope) }

// PermissionGrants reads the delegated permissions that a service principal holds.
func (c *Client) PermissionGrants(ctx context.Context, tenant, clientSPID string) ([]PermissionGrant, error) {
	if err := checkIDs("tenant", tenant, "service principal", clientSPID); err != nil {
		return nil, err
	}
	return ReadPermissionGrants(clientSPID).Do(ctx, c, tenant)
}

// ReadPermissionGrants is the read of [Client.PermissionGrants].
func ReadPermissionGrants(clientSPID string) Read[[]PermissionGrant] {
	target := "/oauth2PermissionGrants" + query("$filter", equal("clientId", clientSPID))
	return of(readAll[PermissionGrant]("read grants of service principal "+clientSPID, V1, target), "service principal", clientSPID)
}

// AppRoleAssignment is an application permission that a service principal holds.
type AppRoleAssignment struct {
	ID                  string    `json:"id"`
	AppRoleID           string    `json:"appRoleId"`
	Created             time.Time `json:"createdDateTime"`
	PrincipalID         string    `json:"principalId"`
	PrincipalType       string    `json:"principalType"`
	ResourceID          string    `json:"resourceId"`
	ResourceDisplayName string    `json:"resourceDisplayName"`
}

// AppRoleAssignments reads the application permissions that a service principal holds.
func (c *Client) AppRoleAssignments(ctx context.Context, tenant, spID string) ([]AppRoleAssignment, error) {
	if err := checkIDs("tenant", tenant, "service principal", spID); err != nil {
		return nil, err
	}
	return ReadAppRoleAssignments(spID).Do(ctx, c, tenant)
}

// ReadAppRoleAssignments is the read of [Client.AppRoleAssignments].
func ReadAppRoleAssignments(spID string) Read[[]AppRoleAssignment] {
	r := readAll[AppRoleAssignment]("read roles of service principal "+spID, V1, "/servicePrincipals/"+spID+"/appRoleAssignments")
	return of(then(r, func(_ context.Context, _ *Client, _ string, roles []AppRoleAssignment) ([]AppRoleAssignment, error) {
		for i := range roles {
			roles[i].Created = roles[i].Created.UTC()
		}
		return roles, nil
	}), "service principal", spID)
}

// Organization is the tenant itself.
type Organization struct {
	ID              string           `json:"id"` // the tenant's id
	DisplayName     string           `json:"displayName"`
	VerifiedDomains []VerifiedDomain `json:"verifiedDomains"`
}

// VerifiedDomain is a domain of a tenant.
type VerifiedDomain struct {
	Name      string `json:"name"`
	IsDefault bool   `json:"isDefault"`
	IsInitial bool   `json:"isInitial"`
	Type      string `json:"type"` // Managed, or Federated where another provider signs people in
}

// Organization reads the facts of the tenant.
func (c *Client) Organization(ctx context.Context, tenant string) (Organization, error) {
	if err := checkIDs("tenant", tenant); err != nil {
		return Organization{}, err
	}
	return ReadOrganization().Do(ctx, c, tenant)
}

// ReadOrganization is the read of [Client.Organization].
func ReadOrganization() Read[Organization] {
	r := readAll[Organization]("read organization", V1, "/organization"+query("$select", "id,displayName,verifiedDomains"))
	return then(r, func(_ context.Context, _ *Client, _ string, all []Organization) (Organization, error) {
		if len(all) == 0 {
			return Organization{}, ErrNotFound
		}
		return all[0], nil
	})
}

// checkIDs checks names and ids in turn.
func checkIDs(pairs ...string) error {
	for i := 0; i+1 < len(pairs); i += 2 {
		if err := checkID(pairs[i], pairs[i+1]); err != nil {
			return err
		}
	}
	return nil
}
