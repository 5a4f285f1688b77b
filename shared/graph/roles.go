package graph

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// Roles signs the app in to the tenant and returns the application permissions that its token for Graph names, which are those
// that an administrator consented to. The token is our own and comes from the authority by TLS, so its signature is not
// checked; it is not for us to check either, since Microsoft's access tokens are opaque to whoever asks for them ("Access
// tokens in the Microsoft identity platform"). What is read from it may only be shown to people. No error tells the secret.
func (cfg Config) Roles(ctx context.Context, app App, tenant string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, orDefault(cfg.Timeout, DefaultTimeout))
	defer cancel()
	credential, err := app.Credential(tenant)
	if err != nil {
		return nil, fmt.Errorf("make credential of app %s", app.ClientID) // the cause may quote what it was made of
	}
	got, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{strings.TrimSuffix(cfg.Graph, "/") + "/.default"}})
	if err != nil {
		return nil, signInFailure(err, cfg.clock()())
	}
	_, rest, _ := strings.Cut(got.Token, ".")
	claims, _, _ := strings.Cut(rest, ".")
	var c struct {
		Roles []string `json:"roles"`
	}
	text, err := base64.RawURLEncoding.DecodeString(claims)
	if err != nil || json.Unmarshal(text, &c) != nil {
		return nil, errors.New("the token of the app can't be read")
	}
	return c.Roles, nil
}

// signInFailure keeps what the authority answered, and nothing of the request, which has the secret in it.
func signInFailure(err error, now time.Time) error {
	failed, ok := errors.AsType[*azidentity.AuthenticationFailedError](err)
	if !ok || failed.RawResponse == nil {
		return &Error{Method: http.MethodPost, Path: tokenPath, Err: errors.New("no answer from the authority")}
	}
	body, _ := runtime.Payload(failed.RawResponse)
	_, e := tokenRefusal(failed.RawResponse, body, now)
	return e
}
