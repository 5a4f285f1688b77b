package api

import (
	"context"
	"net/http"

	"pinreset/functions/web/internal/desk"
	"pinreset/shared/identity"
	"pinreset/shared/passcode"
)

func (a *api) bulk() {
	add(a, operation{method: http.MethodPost, path: "/v1/tenants/{tenant}/bulk-resets", permission: identity.BulkReset, tag: "bulk resets",
		status: http.StatusAccepted, summary: "Reset the passcodes of a group's devices, or of all; with planOnly, count them"},
		func(ctx context.Context, in *struct {
			InTenant
			Keyed
			Body desk.NewBulk
		}) (*changed[desk.Bulk], error) {
			return committed(room(ctx).StartBulk(ctx, in.Key, in.Body))
		})
	add(a, operation{method: http.MethodGet, path: "/v1/tenants/{tenant}/bulk-resets", permission: identity.TenantRead, tag: "bulk resets",
		summary: "List the tenant's bulk resets, newest first"},
		func(ctx context.Context, in *struct {
			InTenant
			Paging
		}) (*answer[desk.List[desk.Bulk]], error) {
			return answered(room(ctx).Bulks(ctx, in.page()))
		})
	add(a, operation{method: http.MethodGet, path: "/v1/tenants/{tenant}/bulk-resets/{id}", permission: identity.TenantRead, tag: "bulk resets",
		summary: "Show a bulk reset: how many devices ended how, and when the last one will have been called"},
		func(ctx context.Context, in *ByID) (*answer[desk.Bulk], error) {
			return answered(room(ctx).Bulk(ctx, in.ID))
		})
	add(a, operation{method: http.MethodGet, path: "/v1/tenants/{tenant}/bulk-resets/{id}/items", permission: identity.TenantRead, tag: "bulk resets",
		summary: "List the devices of a bulk reset, with what has become of each"},
		func(ctx context.Context, in *struct {
			ByID
			Paging
		}) (*answer[desk.List[passcode.Item]], error) {
			return answered(room(ctx).BulkItems(ctx, in.ID, in.page()))
		})
	add(a, operation{method: http.MethodPost, path: "/v1/tenants/{tenant}/bulk-resets/{id}/cancel", permission: identity.BulkReset, tag: "bulk resets",
		summary: "Give a bulk reset up: no further device is called; those that were called are still followed"},
		func(ctx context.Context, in *struct {
			ByID
			Keyed
			Body desk.Cancellation
		}) (*changed[desk.Bulk], error) {
			return committed(room(ctx).CancelBulk(ctx, in.Key, in.ID, in.Body))
		})
}
