package api

import (
	"context"
	"net/http"

	"pinreset/functions/web/internal/desk"
	"pinreset/shared/identity"
)

func (a *api) suspensions() {
	add(a, operation{method: http.MethodGet, path: "/v1/tenants/{tenant}/suspensions", permission: identity.GrantWrite, tag: "suspensions",
		summary: "List who was stopped for asking too much too fast, those who were let go on included"},
		func(ctx context.Context, in *struct {
			InTenant
			Paging
		}) (*answer[desk.List[desk.Suspension]], error) {
			return answered(room(ctx).Suspensions(ctx, in.page()))
		})
	add(a, operation{method: http.MethodPost, path: "/v1/tenants/{tenant}/suspensions/{id}/lift", permission: identity.GrantWrite, tag: "suspensions",
		summary: "Let somebody who was stopped go on, from the next request on"},
		func(ctx context.Context, in *struct {
			ByID
			Keyed
			Body desk.Lifting
		}) (*changed[desk.Suspension], error) {
			return committed(room(ctx).Lift(ctx, in.Key, in.ID, in.Body))
		})
}
