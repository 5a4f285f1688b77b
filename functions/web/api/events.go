package api

import (
	"context"
	"encoding/json"
	"net/http"

	"pinreset/functions/web/internal/desk"
	"pinreset/shared/audit"
	"pinreset/shared/identity"
)

func (a *api) events() {
	add(a, operation{method: http.MethodGet, path: "/v1/tenants/{tenant}/audit", permission: identity.AuditRead, tag: "logs",
		summary: "List the tenant's audit log, newest first"},
		func(ctx context.Context, in *struct {
			InTenant
			Paging
		}) (*answer[desk.List[audit.Entry]], error) {
			return answered(room(ctx).Audit(ctx, in.page()))
		})
	add(a, operation{method: http.MethodGet, path: "/v1/tenants/{tenant}/events", permission: identity.TenantRead, tag: "logs",
		summary: "List what was announced for the tenant, newest first, as CloudEvents"},
		func(ctx context.Context, in *struct {
			InTenant
			Paging
		}) (*answer[desk.List[json.RawMessage]], error) {
			return answered(room(ctx).Events(ctx, in.page()))
		})
	add(a, operation{method: http.MethodPost, path: "/v1/events", tag: "events", status: http.StatusAccepted,
		summary: "Send a request as a CloudEvent (structured mode); its id is its idempotency key. The permission is that of the request"},
		func(ctx context.Context, in *struct {
			RawBody []byte `contentType:"application/cloudevents+json"`
		}) (*changed[desk.Accepted], error) {
			return committed(a.Desk.Take(ctx, principal(ctx), in.RawBody))
		})
}
