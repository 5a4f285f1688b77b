package api

import (
	"context"
	"net/http"

	"pinreset/functions/web/internal/desk"
	"pinreset/shared/callercheck"
	"pinreset/shared/identity"
)

func (a *api) callers() {
	for _, of := range []struct {
		path       string
		action     callercheck.Action
		permission identity.Permission
		what       string
	}{
		{"/v1/tenants/{tenant}/devices/{id}/caller-check", callercheck.Reset, identity.ResetStart, "a reset of the device"},
		{"/v1/tenants/{tenant}/resets/{id}/caller-check", callercheck.Reveal, identity.PasscodeReveal, "seeing the code of the reset"},
	} {
		add(a, operation{method: http.MethodGet, path: of.path, permission: of.permission, tag: "callers",
			summary: "Show whether the caller has confirmed " + of.what},
			func(ctx context.Context, in *ByID) (*answer[desk.CallerCheck], error) {
				return answered(room(ctx).CallerCheck(ctx, of.action, in.ID))
			})
		add(a, operation{method: http.MethodPost, path: of.path, permission: of.permission, tag: "callers",
			status: http.StatusCreated, summary: "Make a code with which the caller confirms " + of.what},
			func(ctx context.Context, in *struct {
				ByID
				Keyed
			}) (*changed[desk.CallerCheck], error) {
				return committed(room(ctx).AskCaller(ctx, in.Key, of.action, in.ID))
			})
	}
}
