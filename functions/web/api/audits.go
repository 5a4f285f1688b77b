package api

import (
	"context"
	"net/http"

	"pinreset/functions/web/internal/desk"
	"pinreset/shared/identity"
)

func (a *api) audits() {
	add(a, operation{method: http.MethodGet, path: "/v1/audits", permission: identity.TenantRead, tag: "audits",
		summary: "List the last audit of each tenant that the token sees, with how it developed"},
		func(ctx context.Context, in *struct{ Paging }) (*answer[desk.List[desk.LatestAudit]], error) {
			return answered(a.Desk.LatestAudits(ctx, principal(ctx), in.page()))
		})
	add(a, operation{method: http.MethodPost, path: "/v1/audits", permission: identity.AuditRun, everywhere: true, tag: "audits",
		status: http.StatusAccepted, summary: "Audit every tenant"},
		func(ctx context.Context, in *struct {
			Keyed
			Body *desk.AuditStart
		}) (*changed[desk.AuditRun], error) {
			return committed(a.Desk.StartAudits(ctx, principal(ctx), in.Key, given(in.Body)))
		})
	add(a, operation{method: http.MethodGet, path: "/v1/audits/runs/{run}", permission: identity.TenantRead, everywhere: true, tag: "audits",
		summary: "Show how far an audit of every tenant is on its way to them"},
		func(ctx context.Context, in *struct {
			Run string `path:"run"`
		}) (*answer[desk.AuditRun], error) {
			return answered(a.Desk.Run(ctx, principal(ctx), in.Run))
		})
	add(a, operation{method: http.MethodGet, path: "/v1/audits/pace", permission: identity.TenantRead, everywhere: true, tag: "audits",
		summary: "Show how much of Microsoft Graph's limits is used, and how often Graph said to wait"},
		func(ctx context.Context, _ *struct{}) (*answer[desk.GraphPace], error) {
			return answered(a.Desk.Pace(principal(ctx)))
		})
	add(a, operation{method: http.MethodGet, path: "/v1/tenants/{tenant}/audits", permission: identity.TenantRead, tag: "audits",
		summary: "List the tenant's audits, newest first"},
		func(ctx context.Context, in *struct {
			InTenant
			Paging
		}) (*answer[desk.List[desk.TenantAudit]], error) {
			return answered(room(ctx).Audits(ctx, in.page()))
		})
	add(a, operation{method: http.MethodPost, path: "/v1/tenants/{tenant}/audits", permission: identity.AuditRun, tag: "audits",
		status: http.StatusAccepted, summary: "Audit the tenant"},
		func(ctx context.Context, in *struct {
			InTenant
			Keyed
			Body *desk.AuditStart
		}) (*changed[desk.TenantAudit], error) {
			return committed(room(ctx).StartAudit(ctx, in.Key, given(in.Body)))
		})
	add(a, operation{method: http.MethodGet, path: "/v1/tenants/{tenant}/audits/{id}", permission: identity.TenantRead, tag: "audits",
		summary: "Show an audit: what was read, what could not be, and what has changed"},
		func(ctx context.Context, in *ByID) (*answer[desk.TenantAudit], error) {
			return answered(room(ctx).AuditReport(ctx, in.ID))
		})
}

// given is a body that may be left out.
func given[T any](body *T) (v T) {
	if body != nil {
		v = *body
	}
	return v
}
