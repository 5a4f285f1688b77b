package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"pinreset/functions/web/internal/desk"
	"pinreset/shared/identity"
	"pinreset/shared/secret"
)

func (a *api) resets() {
	add(a, operation{method: http.MethodGet, path: "/v1/tenants/{tenant}/resets", permission: identity.TenantRead, tag: "resets",
		summary: "List the tenant's resets, newest first"},
		func(ctx context.Context, in *struct {
			InTenant
			Paging
			State string `query:"state" doc:"Only resets in this state; \"open\" for those that have not ended"`
		}) (*answer[desk.List[desk.Reset]], error) {
			return answered(room(ctx).Resets(ctx, in.State, in.page()))
		})
	add(a, operation{method: http.MethodGet, path: "/v1/tenants/{tenant}/resets/{id}", permission: identity.TenantRead, tag: "resets",
		summary: "Show a reset with what was done for it"},
		func(ctx context.Context, in *ByID) (*answer[desk.ResetDetail], error) {
			return answered(room(ctx).Reset(ctx, in.ID))
		})
	add(a, operation{method: http.MethodPost, path: "/v1/tenants/{tenant}/resets/{id}/cancel", permission: identity.ResetStart, tag: "resets",
		summary: "Give a reset up; the device may still carry it out"},
		func(ctx context.Context, in *struct {
			ByID
			Keyed
			Body desk.Cancellation
		}) (*changed[desk.Reset], error) {
			return committed(room(ctx).Cancel(ctx, in.Key, in.ID, in.Body))
		})
	add(a, operation{method: http.MethodPost, path: "/v1/tenants/{tenant}/resets/{id}/reveal", permission: identity.PasscodeReveal, tag: "resets",
		summary: "Show the code; each call is a view in the audit log"},
		func(ctx context.Context, in *struct {
			ByID
			Body desk.Viewing
		}) (*answer[revealed], error) {
			shown, err := room(ctx).Reveal(ctx, in.ID, in.Body)
			return answered(revealed{
				Passcode: clearText{shown.Passcode}, ExpiresAt: shown.ExpiresAt, Views: shown.Views, DeviceName: shown.DeviceName, User: shown.User,
			}, err)
		})
}

// revealed is the one answer that holds a code. Only encoding it as JSON shows the code.
type revealed struct {
	Passcode   clearText `json:"passcode"`
	ExpiresAt  time.Time `json:"expiresAt"`
	Views      int       `json:"views" doc:"How often it was revealed, this time included"`
	DeviceName string    `json:"deviceName,omitempty"`
	User       string    `json:"user,omitempty"`
}

// clearText is a secret that is encoded in the clear, and printed and logged like any other one.
type clearText struct{ secret.Text }

func (t clearText) MarshalJSON() ([]byte, error) { return json.Marshal(t.Expose()) }

// Schema tells the framework what MarshalJSON makes.
func (clearText) Schema(huma.Registry) *huma.Schema { return &huma.Schema{Type: huma.TypeString} }
