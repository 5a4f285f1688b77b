package api

import (
	"context"
	"net/http"

	"pinreset/functions/web/internal/desk"
	"pinreset/shared/identity"
)

func (a *api) tokens() {
	add(a, operation{method: http.MethodGet, path: "/v1/tokens", permission: identity.GrantWrite, everywhere: true, tag: "tokens",
		summary: "List tokens, without the tokens themselves"},
		func(ctx context.Context, in *struct{ Paging }) (*answer[desk.List[identity.Token]], error) {
			return answered(a.Desk.Tokens(ctx, principal(ctx), in.page()))
		})
	add(a, operation{method: http.MethodPost, path: "/v1/tokens", permission: identity.GrantWrite, everywhere: true, tag: "tokens",
		status: http.StatusCreated, summary: "Make a token; it is shown this once"},
		func(ctx context.Context, in *struct {
			Keyed
			Body desk.NewToken
		}) (*changed[desk.MadeToken], error) {
			return committed(a.Desk.MakeToken(ctx, principal(ctx), in.Key, in.Body))
		})
	add(a, operation{method: http.MethodPost, path: "/v1/tokens/{id}/revoke", permission: identity.GrantWrite, everywhere: true, tag: "tokens",
		summary: "Revoke a token, from the next request on"},
		func(ctx context.Context, in *struct {
			Keyed
			ID string `path:"id"`
		}) (*changed[identity.Token], error) {
			return committed(a.Desk.RevokeToken(ctx, principal(ctx), in.Key, in.ID))
		})
}
