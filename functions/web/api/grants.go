package api

import (
	"context"
	"net/http"

	"pinreset/functions/web/internal/desk"
	"pinreset/shared/identity"
)

func (a *api) grants() {
	add(a, operation{method: http.MethodGet, path: "/v1/tenants/{tenant}/grants", permission: identity.GrantWrite, tag: "grants",
		summary: "List the people who were let in to the tenant, grants that have ended included"},
		func(ctx context.Context, in *struct {
			InTenant
			Paging
		}) (*answer[desk.List[desk.Grant]], error) {
			return answered(room(ctx).Grants(ctx, in.page()))
		})
	add(a, operation{method: http.MethodPost, path: "/v1/tenants/{tenant}/grants", permission: identity.GrantWrite, tag: "grants",
		status: http.StatusCreated, summary: "Let a person act on the tenant, for a time"},
		func(ctx context.Context, in *struct {
			InTenant
			Keyed
			Body desk.NewGrant
		}) (*changed[desk.Grant], error) {
			return committed(room(ctx).GiveGrant(ctx, in.Key, in.Body))
		})
	add(a, operation{method: http.MethodPost, path: "/v1/tenants/{tenant}/grants/{id}/revoke", permission: identity.GrantWrite, tag: "grants",
		summary: "Revoke a grant, from the next request on"},
		func(ctx context.Context, in *struct {
			ByID
			Keyed
		}) (*changed[desk.Grant], error) {
			return committed(room(ctx).RevokeGrant(ctx, in.Key, in.ID))
		})
}
