package client

import (
	"context"
	"iter"
	"net/http"
	"time"

	"pinreset/events"
	"pinreset/shared/fault"
	"pinreset/shared/tenant"
)

// Tenant is a tenant that pinreset looks after.
type Tenant struct {
	ID          string          `json:"id"`
	Kind        tenant.Kind     `json:"kind"`
	Domain      string          `json:"domain,omitempty"` // of a tenant on premises
	DisplayName string          `json:"displayName"`
	AddedAt     time.Time       `json:"addedAt"`
	AddedBy     events.Actor    `json:"addedBy"`
	Settings    tenant.Settings `json:"settings"`
	Consent     Consent         `json:"consent"` // without links; see [Client.Consent]
	Ways        []tenant.Way    `json:"ways"`    // which ways to a new PIN or passcode a tenant of this kind has
}

// Consent is where a tenant's consent stands. Its states are those of package onboarding.
type Consent struct {
	State                   string     `json:"state"`
	RequestID               string     `json:"requestId,omitempty"` // "" until it has begun
	StartedAt               time.Time  `json:"startedAt,omitzero"`
	Deadline                time.Time  `json:"deadline,omitzero"`
	NextCheck               time.Time  `json:"nextCheck,omitzero"`
	Checks                  int        `json:"checks"`
	CreateServicePrincipals bool       `json:"createServicePrincipals,omitempty"` // as was asked for
	ProvenAt                time.Time  `json:"provenAt,omitzero"`
	FailureCode             fault.Code `json:"failureCode,omitempty"`
	FailureTitle            string     `json:"failureTitle,omitempty"`
	Diagnostics             string     `json:"diagnostics,omitempty"`
	Next                    string     `json:"next,omitempty"` // name of the first step that is not proven
	Steps                   []Step     `json:"steps"`
}

// Step is one thing that an administrator of the tenant must consent to.
type Step struct {
	Name             string     `json:"name"`
	Title            string     `json:"title"`
	AppID            string     `json:"appId"`
	State            string     `json:"state"`
	Why              fault.Code `json:"why,omitempty"`
	WhyText          string     `json:"whyText,omitempty"`
	ServicePrincipal string     `json:"servicePrincipal,omitempty"`
	Grants           []string   `json:"grants,omitempty"`
	Link             string     `json:"link,omitempty"`    // made for this call; it can be used for a day
	Warning          string     `json:"warning,omitempty"` // what the administrator will see and may mistake for an error
	CheckedAt        time.Time  `json:"checkedAt,omitzero"`
	ProvenAt         time.Time  `json:"provenAt,omitzero"`
}

// NewTenant is what it takes to add a tenant: the id of one in Entra, or the domain of one on premises.
type NewTenant struct {
	Kind                    tenant.Kind `json:"kind,omitempty"` // "" is Entra
	TenantID                string      `json:"tenantId,omitempty"`
	Domain                  string      `json:"domain,omitempty"`
	DisplayName             string      `json:"displayName"`
	CreateServicePrincipals bool        `json:"createServicePrincipals,omitempty"` // see events.TenantAdded
}

// SettingsChange names the settings to change; nil leaves one as it is.
type SettingsChange struct {
	PasscodeHours      *int    `json:"passcodeHours,omitempty"`
	ResetDeadlineHours *int    `json:"resetDeadlineHours,omitempty"`
	SealPortalCodes    *bool   `json:"sealPortalCodes,omitempty"`
	RemediatePolicy    *bool   `json:"remediatePolicy,omitempty"` // see tenant.Settings
	GraphNotifications *bool   `json:"graphNotifications,omitempty"`
	RequireStepUp      *string `json:"requireStepUp,omitempty"` // when_available or always
	StepUpContext      *string `json:"stepUpContext,omitempty"` // c1 to c99, or "" for none
	BudgetHour         *int    `json:"budgetHour,omitempty"`
	BudgetDay          *int    `json:"budgetDay,omitempty"`
	TokenBudget        *bool   `json:"tokenBudget,omitempty"`
	SecondPerson       *string `json:"secondPerson,omitempty"` // off, bulk, privileged or every
	SuspendAbove       *int    `json:"suspendAbove,omitempty"`
	SuspendMinutes     *int    `json:"suspendMinutes,omitempty"`
	CallerCheck        *string `json:"callerCheck,omitempty"` // off, reset or reveal
	Reason             string  `json:"reason,omitempty"`      // why, for the audit log
}

// ConsentStart says how a consent is started again.
type ConsentStart struct {
	CreateServicePrincipals bool   `json:"createServicePrincipals,omitempty"` // see events.TenantAdded
	Reason                  string `json:"reason,omitempty"`                  // why, for the audit log
}

// Tenants lists the tenants in the token's scope.
func (c *Client) Tenants(ctx context.Context) iter.Seq2[Tenant, error] {
	return pages[Tenant](ctx, c, nil, "v1", "tenants")
}

// Tenant reads one.
func (c *Client) Tenant(ctx context.Context, id string) (t Tenant, err error) {
	_, err = c.do(ctx, get("v1", "tenants", id), &t)
	return t, err
}

// AddTenant asks pinreset to look after a tenant; its consent begins. One that is there already is a state_conflict.
func (c *Client) AddTenant(ctx context.Context, n NewTenant) (t Tenant, err error) {
	_, err = c.do(ctx, post(n, "v1", "tenants"), &t)
	return t, err
}

// ChangeSettings changes settings of a tenant and returns all of them. It is sent once.
func (c *Client) ChangeSettings(ctx context.Context, id string, s SettingsChange) (all tenant.Settings, err error) {
	_, err = c.do(ctx, call{method: http.MethodPatch, path: []string{"v1", "tenants", id, "settings"}, body: s}, &all)
	return all, err
}

// Consent reads where a tenant's consent stands, with links made for this call.
func (c *Client) Consent(ctx context.Context, id string) (s Consent, err error) {
	_, err = c.do(ctx, get("v1", "tenants", id, "consent"), &s)
	return s, err
}

// RestartConsent starts a tenant's consent again and returns the id of the new run.
func (c *Client) RestartConsent(ctx context.Context, id string, s ConsentStart) (request string, err error) {
	var answer struct {
		RequestID string `json:"requestId"`
	}
	_, err = c.do(ctx, post(s, "v1", "tenants", id, "consent"), &answer)
	return answer.RequestID, err
}

// Offboarding ends the care for a tenant. Confirm is the tenant's id again.
type Offboarding struct {
	Confirm     string `json:"confirm"`
	LeavePolicy bool   `json:"leavePolicy,omitempty"` // on, where a rollout stands
	Reason      string `json:"reason"`                // why, for the audit log
}

// Offboarded counts what was erased, and what is left of it, which is 0. While a rollout of the tenant is taken back nothing is
// erased, and State is "withdrawing".
type Offboarded struct {
	State    string `json:"state"`             // erased, withdrawing
	Rollout  string `json:"rollout,omitempty"` // that is being taken back
	Rows     int    `json:"rows"`
	Messages int    `json:"messages"`
	Keys     int    `json:"keys"`   // of codes
	Tokens   int    `json:"tokens"` // revoked, or narrowed to the other tenants
	Left     int    `json:"left"`   // rows found afterwards

	Subscriptions int `json:"subscriptions"` // to change notifications, ended at Graph
	Unended       int `json:"unended"`       // that Graph could not be asked to end; they end by themselves within a month
}

// Offboard erases everything that pinreset keeps of a tenant. It is sent once; a tenant that is gone is not found.
func (c *Client) Offboard(ctx context.Context, id string, o Offboarding) (done Offboarded, err error) {
	_, err = c.do(ctx, call{method: http.MethodPost, path: []string{"v1", "tenants", id, "offboard"}, body: o}, &done)
	return done, err
}
