package api

import (
	"context"
	"net/http"

	"pinreset/functions/web/internal/desk"
	"pinreset/shared/identity"
	"pinreset/shared/notice"
)

func (a *api) notifications() {
	const path = "/v1/tenants/{tenant}/notifications"
	add(a, operation{method: http.MethodGet, path: path, permission: identity.TenantRead, tag: "notifications",
		summary: "List who was told of resets and of looks at codes, newest first, with what is still to be sent"},
		func(ctx context.Context, in *struct {
			InTenant
			Paging
		}) (*answer[desk.List[notice.Delivery]], error) {
			return answered(room(ctx).Notifications(ctx, in.page()))
		})
	add(a, operation{method: http.MethodGet, path: path + "/settings", permission: identity.TenantRead, tag: "notifications",
		summary: "Show who of a tenant is told of resets and of looks at codes, and how"},
		func(ctx context.Context, _ *InTenant) (*answer[desk.NotificationSettings], error) {
			return answered(room(ctx).NotificationSettings(ctx))
		})
	add(a, operation{method: http.MethodPatch, path: path + "/settings", permission: identity.SettingsWrite, tag: "notifications",
		summary: "Change who is told, and how; the webhook's first address makes its key, which is shown this once"},
		func(ctx context.Context, in *struct {
			InTenant
			Body desk.NotificationChange
		}) (*answer[desk.ChangedNotifications], error) {
			return answered(room(ctx).ChangeNotifications(ctx, in.Body))
		})
	add(a, operation{method: http.MethodPost, path: path + "/webhook-key", permission: identity.SettingsWrite, tag: "notifications",
		status: http.StatusCreated, summary: "Make another key for the webhook, from the next attempt on; it is shown this once"},
		func(ctx context.Context, in *struct {
			InTenant
			Keyed
			Body desk.NewWebhookKey
		}) (*changed[desk.MadeWebhookKey], error) {
			return committed(room(ctx).RotateWebhookKey(ctx, in.Key, in.Body))
		})
}
