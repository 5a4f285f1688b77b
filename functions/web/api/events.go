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
			Person string `query:"person" maxLength:"256" doc:"Only what this person or program did: an actor's id, or a part of its name"`
			Action string `query:"action" maxLength:"256" doc:"Only this action, or those that begin so, as passcode. does"`
			Device string `query:"device" maxLength:"256" doc:"Only what was done to the device with this id"`
			Day    string `query:"day" maxLength:"10" doc:"Only what was done on this day, such as 2026-11-22, in UTC"`
		}) (*answer[desk.List[audit.Entry]], error) {
			return answered(room(ctx).Audit(ctx, desk.AuditFilter{Person: in.Person, Action: in.Action, Device: in.Device, Day: in.Day}, in.page()))
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
