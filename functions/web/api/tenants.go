package api

import (
	"context"
	"net/http"

	"pinreset/functions/web/internal/desk"
	"pinreset/shared/identity"
	"pinreset/shared/tenant"
)

func (a *api) tenants() {
	add(a, operation{method: http.MethodGet, path: "/v1/tenants", permission: identity.TenantRead, tag: "tenants",
		summary: "List the tenants that the token sees"},
		func(ctx context.Context, in *struct{ Paging }) (*answer[desk.List[desk.Tenant]], error) {
			return answered(a.Desk.Tenants(ctx, principal(ctx), in.page()))
		})
	add(a, operation{method: http.MethodPost, path: "/v1/tenants", permission: identity.TenantOnboard, everywhere: true, tag: "tenants",
		status: http.StatusAccepted, summary: "Look after a tenant; its consent starts"},
		func(ctx context.Context, in *struct {
			Keyed
			Body desk.NewTenant
		}) (*changed[desk.Tenant], error) {
			return committed(a.Desk.AddTenant(ctx, principal(ctx), in.Key, in.Body))
		})
	add(a, operation{method: http.MethodGet, path: "/v1/tenants/{tenant}", permission: identity.TenantRead, tag: "tenants",
		summary: "Show a tenant"},
		func(ctx context.Context, _ *InTenant) (*answer[desk.Tenant], error) {
			return answered(room(ctx).Tenant(ctx))
		})
	add(a, operation{method: http.MethodPatch, path: "/v1/tenants/{tenant}/settings", permission: identity.SettingsWrite, tag: "tenants",
		summary: "Change settings of a tenant"},
		func(ctx context.Context, in *struct {
			InTenant
			Body desk.SettingsChange
		}) (*answer[tenant.Settings], error) {
			return answered(room(ctx).ChangeSettings(ctx, in.Body))
		})
	add(a, operation{method: http.MethodGet, path: "/v1/tenants/{tenant}/readiness", permission: identity.TenantRead, tag: "tenants",
		summary: "Say whether users of the tenant can reset a forgotten PIN, and why not, as of the last audit"},
		func(ctx context.Context, _ *InTenant) (*answer[desk.TenantReadiness], error) {
			return answered(room(ctx).Readiness(ctx))
		})
	add(a, operation{method: http.MethodGet, path: "/v1/tenants/{tenant}/consent", permission: identity.TenantRead, tag: "tenants",
		summary: "Show where the consent stands, with links made for this answer"},
		func(ctx context.Context, _ *InTenant) (*answer[desk.Consent], error) {
			return answered(room(ctx).Consent(ctx))
		})
	add(a, operation{method: http.MethodPost, path: "/v1/tenants/{tenant}/consent", permission: identity.TenantOnboard, tag: "tenants",
		status: http.StatusAccepted, summary: "Start the consent again"},
		func(ctx context.Context, in *struct {
			InTenant
			Keyed
			Body *desk.ConsentStart
		}) (*changed[desk.ConsentStarted], error) {
			asked := desk.ConsentStart{}
			if in.Body != nil {
				asked = *in.Body
			}
			return committed(room(ctx).StartConsent(ctx, in.Key, asked))
		})
	add(a, operation{method: http.MethodPost, path: "/v1/tenants/{tenant}/offboard", permission: identity.TenantOnboard, everywhere: true, tag: "tenants",
		summary: "Stop looking after a tenant and erase everything that is kept of it; while a rollout stands, false is written to its policy first"},
		func(ctx context.Context, in *struct {
			InTenant
			Body desk.Offboarding
		}) (*changed[desk.Offboarded], error) {
			return committed(room(ctx).Offboard(ctx, in.Body))
		})
}
