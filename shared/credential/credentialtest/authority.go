package credentialtest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// Federated is an identity that an app trusts in place of a secret: all three must be equal.
type Federated struct{ Issuer, Subject, Audience string }

// App is an app registration at the authority.
type App struct {
	Secret    string
	Federated []Federated
}

// Authority is a token endpoint that every tenant has, over HTTPS: OpenID discovery and the client credentials grant. Every app has
// access to every tenant.
type Authority struct {
	server *httptest.Server

	mu      sync.Mutex
	apps    map[string]App
	granted []Grant
}

// Grant is a token that was given out.
type Grant struct{ Tenant, App, Scope, Assertion string }

// NewAuthority starts an authority, which ends with the test. apps are registrations by client id.
func NewAuthority(t testing.TB, apps map[string]App) *Authority {
	t.Helper()
	a := &Authority{apps: apps}
	a.server = httptest.NewTLSServer(a)
	t.Cleanup(a.server.Close)
	return a
}

// URL is the authority's address.
func (a *Authority) URL() string { return a.server.URL }

// Transport trusts the authority's certificate.
func (a *Authority) Transport() http.RoundTripper { return a.server.Client().Transport }

// Granted returns the tokens that were given out.
func (a *Authority) Granted() []Grant {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]Grant(nil), a.granted...)
}

func (a *Authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	tenant, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	base := a.server.URL + "/" + tenant
	switch {
	case rest == "v2.0/.well-known/openid-configuration":
		answer(w, http.StatusOK, map[string]any{
			"token_endpoint": base + "/oauth2/v2.0/token", "authorization_endpoint": base + "/oauth2/v2.0/authorize", "issuer": base + "/v2.0",
		})
	case rest == "oauth2/v2.0/token" && r.Method == http.MethodPost && r.ParseForm() == nil:
		a.token(w, tenant, r.PostForm)
	default:
		refuse(w, http.StatusNotFound, "not_found")
	}
}

func (a *Authority) token(w http.ResponseWriter, tenant string, form url.Values) {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := form.Get("client_id")
	app, known := a.apps[id]
	assertion := form.Get("client_assertion")
	proven := app.Secret != "" && form.Get("client_secret") == app.Secret ||
		form.Get("client_assertion_type") == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" && app.trusts(assertion)
	switch {
	case !known:
		answer(w, http.StatusBadRequest, map[string]any{"error": "unauthorized_client", "error_description": "refused by the model", "error_codes": []int{700016}})
	case form.Get("grant_type") != "client_credentials" || !strings.HasSuffix(form.Get("scope"), "/.default openid offline_access profile") && !strings.HasSuffix(form.Get("scope"), "/.default"):
		refuse(w, http.StatusBadRequest, "invalid_request")
	case !proven:
		answer(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client", "error_description": "refused by the model", "error_codes": []int{700211}})
	default:
		scope, _, _ := strings.Cut(form.Get("scope"), " ")
		a.granted = append(a.granted, Grant{Tenant: tenant, App: id, Scope: scope, Assertion: assertion})
		answer(w, http.StatusOK, map[string]any{
			"token_type": "Bearer", "expires_in": 3599,
			"access_token": fmt.Sprintf("token %d of %s in %s", len(a.granted), id, tenant),
		})
	}
}

func (a App) trusts(assertion string) bool {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return false
	}
	var claims struct {
		Issuer   string `json:"iss"`
		Subject  string `json:"sub"`
		Audience string `json:"aud"`
		Ends     int64  `json:"exp"`
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(text, &claims) != nil || claims.Ends <= time.Now().Unix() {
		return false
	}
	for _, f := range a.Federated {
		if f == (Federated{claims.Issuer, claims.Subject, claims.Audience}) {
			return true
		}
	}
	return false
}
