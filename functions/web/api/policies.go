package api

import (
	"context"
	"net/http"

	"pinreset/functions/web/internal/desk"
	"pinreset/shared/identity"
)

func (a *api) policies() {
	add(a, operation{method: http.MethodGet, path: "/v1/tenants/{tenant}/policies", permission: identity.PolicyRead, tag: "policies",
		summary: "List the policies that set EnablePinRecovery, as all of Intune's stores show them now, with what is wrong among them"},
		func(ctx context.Context, _ *InTenant) (*answer[desk.Policies], error) {
			return answered(room(ctx).Policies(ctx))
		})
	add(a, operation{method: http.MethodPost, path: "/v1/tenants/{tenant}/policies/plan", permission: identity.PolicyRead, tag: "policies",
		summary: "Plan a rollout: the exact calls to Microsoft Graph, how long they take at least, and the plan's hash; nothing is written"},
		func(ctx context.Context, in *struct {
			InTenant
			Body desk.Target
		}) (*answer[desk.Plan], error) {
			return answered(room(ctx).Plan(ctx, in.Body))
		})
	add(a, operation{method: http.MethodPost, path: "/v1/tenants/{tenant}/rollouts", permission: identity.PolicyWrite, tag: "policies",
		status: http.StatusAccepted, summary: "Roll EnablePinRecovery out; while the same rollout is being written, that one is the answer, with status 200"},
		func(ctx context.Context, in *struct {
			InTenant
			Keyed
			Body desk.NewRollout
		}) (*changed[desk.Rollout], error) {
			return committed(room(ctx).StartRollout(ctx, in.Key, in.Body))
		})
	add(a, operation{method: http.MethodGet, path: "/v1/tenants/{tenant}/rollouts", permission: identity.PolicyRead, tag: "policies",
		summary: "List the tenant's rollouts, newest first"},
		func(ctx context.Context, in *struct {
			InTenant
			Paging
		}) (*answer[desk.List[desk.Rollout]], error) {
			return answered(room(ctx).Rollouts(ctx, in.page()))
		})
	add(a, operation{method: http.MethodGet, path: "/v1/tenants/{tenant}/rollouts/{id}", permission: identity.PolicyRead, tag: "policies",
		summary: "Show a rollout with its progress and what was done for it"},
		func(ctx context.Context, in *ByID) (*answer[desk.RolloutDetail], error) {
			return answered(room(ctx).Rollout(ctx, in.ID))
		})
	add(a, operation{method: http.MethodPost, path: "/v1/tenants/{tenant}/rollouts/{id}/rollback", permission: identity.PolicyWrite, tag: "policies",
		status: http.StatusAccepted, summary: "Take a rollout back: the value is written false first, and devices get time to take it"},
		func(ctx context.Context, in *struct {
			ByID
			Keyed
			Body desk.NewRollback
		}) (*changed[desk.Rollout], error) {
			return committed(room(ctx).StartRollback(ctx, in.Key, in.ID, in.Body))
		})
}
