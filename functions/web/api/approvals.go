package api

import (
	"context"
	"net/http"

	"pinreset/functions/web/internal/desk"
	"pinreset/shared/approval"
	"pinreset/shared/identity"
)

func (a *api) approvals() {
	add(a, operation{method: http.MethodGet, path: "/v1/tenants/{tenant}/approvals", permission: identity.TenantRead, tag: "approvals",
		summary: "List what was asked of a second person, newest first"},
		func(ctx context.Context, in *struct {
			InTenant
			Paging
			State approval.State `query:"state" doc:"Only approvals in this state; \"waiting\" for those that can be decided"`
		}) (*answer[desk.List[desk.Approval]], error) {
			return answered(room(ctx).Approvals(ctx, in.State, in.page()))
		})
	add(a, operation{method: http.MethodGet, path: "/v1/tenants/{tenant}/approvals/{id}", permission: identity.TenantRead, tag: "approvals",
		summary: "Show what waits for a second person, who can decide it, and until when"},
		func(ctx context.Context, in *ByID) (*answer[desk.Approval], error) {
			return answered(room(ctx).Approval(ctx, in.ID))
		})
	add(a, operation{method: http.MethodPost, path: "/v1/tenants/{tenant}/approvals/{id}/approve", permission: identity.ApprovalDecide, tag: "approvals",
		summary: "Approve what somebody else asked for; a reset begins at once"},
		func(ctx context.Context, in *struct {
			ByID
			Keyed
			Body desk.Decision
		}) (*changed[desk.Approval], error) {
			return committed(room(ctx).Decide(ctx, in.Key, in.ID, true, in.Body))
		})
	add(a, operation{method: http.MethodPost, path: "/v1/tenants/{tenant}/approvals/{id}/decline", permission: identity.ApprovalDecide, tag: "approvals",
		summary: "Decline what somebody else asked for"},
		func(ctx context.Context, in *struct {
			ByID
			Keyed
			Body desk.Decision
		}) (*changed[desk.Approval], error) {
			return committed(room(ctx).Decide(ctx, in.Key, in.ID, false, in.Body))
		})
	add(a, operation{method: http.MethodPost, path: "/v1/tenants/{tenant}/resets/{id}/approval", permission: identity.PasscodeReveal, tag: "approvals",
		status: http.StatusAccepted, summary: "Ask for a second person to see the code of somebody else's reset"},
		func(ctx context.Context, in *struct {
			ByID
			Keyed
			Body desk.Viewing
		}) (*changed[desk.Approval], error) {
			return committed(room(ctx).AskReveal(ctx, in.Key, in.ID, in.Body))
		})
}
