package api

import (
	"context"
	"net/http"

	"pinreset/functions/web/internal/desk"
	"pinreset/shared/identity"
)

func (a *api) devices() {
	add(a, operation{method: http.MethodGet, path: "/v1/tenants/{tenant}/devices", permission: identity.DeviceRead, tag: "devices",
		summary: "List the tenant's devices, as Intune shows them now"},
		func(ctx context.Context, in *struct {
			InTenant
			Paging
			Search string `query:"search" maxLength:"256" doc:"An exact device name, user principal name or serial number"`
		}) (*answer[desk.List[desk.Device]], error) {
			return answered(room(ctx).Devices(ctx, in.Search, in.page()))
		})
	add(a, operation{method: http.MethodGet, path: "/v1/tenants/{tenant}/devices/{id}", permission: identity.DeviceRead, tag: "devices",
		summary: "Show a device with its resets"},
		func(ctx context.Context, in *ByID) (*answer[desk.DeviceDetail], error) {
			return answered(room(ctx).Device(ctx, in.ID))
		})
	add(a, operation{method: http.MethodGet, path: "/v1/tenants/{tenant}/devices/{id}/readiness", permission: identity.DeviceRead, tag: "devices",
		summary: "Say by which paths the PIN or passcode of the device can be reset, and why not by the others"},
		func(ctx context.Context, in *ByID) (*answer[desk.DeviceReadiness], error) {
			return answered(room(ctx).DeviceReadiness(ctx, in.ID))
		})
	add(a, operation{method: http.MethodPost, path: "/v1/tenants/{tenant}/devices/{id}/resets", permission: identity.ResetStart, tag: "resets",
		status: http.StatusAccepted, summary: "Reset the device's passcode; while a reset of it has not ended, that one is the answer, with status 200"},
		func(ctx context.Context, in *struct {
			ByID
			Keyed
			Body desk.NewReset
		}) (*changed[desk.Reset], error) {
			return committed(room(ctx).StartReset(ctx, in.Key, in.ID, in.Body))
		})
	add(a, operation{method: http.MethodGet, path: "/v1/tenants/{tenant}/devices/{id}/keys", permission: identity.DeviceRead, tag: "devices",
		summary: "List the keys with which the device signs its reports, without the keys themselves"},
		func(ctx context.Context, in *ByID) (*answer[desk.List[desk.DeviceKey]], error) {
			return answered(room(ctx).DeviceKeys(ctx, in.ID))
		})
	add(a, operation{method: http.MethodPost, path: "/v1/tenants/{tenant}/devices/{id}/keys", permission: identity.DeviceKeyWrite, tag: "devices",
		status: http.StatusCreated, summary: "Make a key for the device; it is shown this once"},
		func(ctx context.Context, in *struct {
			ByID
			Keyed
			Body desk.NewDeviceKey
		}) (*changed[desk.MadeDeviceKey], error) {
			return committed(room(ctx).MakeDeviceKey(ctx, in.Key, in.ID, in.Body))
		})
	add(a, operation{method: http.MethodDelete, path: "/v1/tenants/{tenant}/devices/{id}/keys/{key}", permission: identity.DeviceKeyWrite, tag: "devices",
		summary: "Revoke a key of the device, from the next report on"},
		func(ctx context.Context, in *struct {
			ByID
			DeviceKey string `path:"key"`
			Reason    string `query:"reason" maxLength:"500" doc:"Why, for the audit log"`
		}) (*answer[desk.DeviceKey], error) {
			return answered(room(ctx).RevokeDeviceKey(ctx, in.ID, in.DeviceKey, in.Reason))
		})
	add(a, operation{method: http.MethodGet, path: "/v1/tenants/{tenant}/devices/{id}/reports", permission: identity.DeviceRead, tag: "devices",
		summary: "List what the device reported about itself, newest first"},
		func(ctx context.Context, in *struct {
			ByID
			Paging
		}) (*answer[desk.List[desk.Report]], error) {
			return answered(room(ctx).DeviceReports(ctx, in.ID, in.page()))
		})
}
