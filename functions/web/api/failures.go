package api

import (
	"context"
	"net/http"

	"pinreset/functions/web/internal/desk"
	"pinreset/shared/diag"
	"pinreset/shared/identity"
)

func (a *api) failures() {
	add(a, operation{method: http.MethodGet, path: "/v1/tenants/{tenant}/failures", permission: identity.TenantRead, tag: "failures",
		summary: "List the tenant's failures, newest first"},
		func(ctx context.Context, in *struct {
			InTenant
			Paging
		}) (*answer[desk.List[desk.Failure]], error) {
			return answered(room(ctx).Failures(ctx, in.page()))
		})
	add(a, operation{method: http.MethodGet, path: "/v1/tenants/{tenant}/failures/{id}", permission: identity.TenantRead, tag: "failures",
		summary: "Show everything about a failure, by its diagnostics id"},
		func(ctx context.Context, in *ByID) (*answer[diag.Page], error) {
			return answered(room(ctx).Failure(ctx, in.ID))
		})
	add(a, operation{method: http.MethodGet, path: "/v1/tenants/{tenant}/deadletters", permission: identity.TenantRead, tag: "dead letters",
		summary: "List the tenant's dead letters, newest first"},
		func(ctx context.Context, in *struct {
			InTenant
			Paging
		}) (*answer[desk.List[desk.Letter]], error) {
			return answered(room(ctx).Letters(ctx, in.page()))
		})
	add(a, operation{method: http.MethodGet, path: "/v1/tenants/{tenant}/deadletters/{id}", permission: identity.TenantRead, tag: "dead letters",
		summary: "Show a dead letter"},
		func(ctx context.Context, in *ByID) (*answer[desk.LetterDetail], error) {
			return answered(room(ctx).Letter(ctx, in.ID))
		})
	add(a, operation{method: http.MethodPost, path: "/v1/tenants/{tenant}/deadletters/{id}/replay", permission: identity.DeadLetterReplay, tag: "dead letters",
		status: http.StatusAccepted, summary: "Send a dead letter's message again"},
		func(ctx context.Context, in *struct {
			ByID
			Keyed
			Body desk.Reason
		}) (*changed[desk.Replayed], error) {
			return committed(room(ctx).Replay(ctx, in.Key, in.ID, in.Body))
		})
	add(a, operation{method: http.MethodPost, path: "/v1/tenants/{tenant}/deadletters/{id}/drop", permission: identity.DeadLetterReplay, tag: "dead letters",
		summary: "Delete a dead letter"},
		func(ctx context.Context, in *struct {
			ByID
			Keyed
			Body desk.Reason
		}) (*changed[desk.Dropped], error) {
			return committed(room(ctx).Drop(ctx, in.Key, in.ID, in.Body))
		})
}
