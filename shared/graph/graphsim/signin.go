package graphsim

import (
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// discovery serves a tenant's OpenID configuration.
func (c *Cloud) discovery(w http.ResponseWriter, r *http.Request) {
	ref := r.PathValue("tenant")
	if multiTenant(ref) {
		c.anyTenant(w, r)
		return
	}
	t, err := c.lookup(ref)
	if err != nil {
		c.refuse(w, r, unknownTenant(ref))
		return
	}
	base := origin(r) + "/" + t.id
	document := map[string]any{
		"issuer":                                base + "/v2.0",
		"authorization_endpoint":                base + "/oauth2/v2.0/authorize",
		"token_endpoint":                        base + "/oauth2/v2.0/token",
		"jwks_uri":                              base + "/discovery/v2.0/keys",
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt"},
		"response_types_supported":              []string{"code", "id_token", "token"},
		"subject_types_supported":               []string{"pairwise"},
		"id_token_signing_alg_values_supported": []string{"ES256"},
		"scopes_supported":                      []string{"openid"},
		"tenant_region_scope":                   "NA",
	}
	if t.subscope != "" {
		document["tenant_region_scope"], document["tenant_region_sub_scope"] = "USGov", t.subscope // as public tools read it; not in the pages compared
	}
	writeJSON(w, http.StatusOK, document)
}

// anyTenant serves the OpenID configuration of all tenants together. Its issuer is a template, as the page "OpenID Connect on the
// Microsoft identity platform" has it. People sign in on the plain pages, where no browser warns of a certificate.
func (c *Cloud) anyTenant(w http.ResponseWriter, r *http.Request) {
	ref := r.PathValue("tenant")
	base := origin(r) + "/" + ref
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                origin(r) + "/{tenantid}/v2.0",
		"authorization_endpoint":                c.pagesURL + "/" + ref + "/oauth2/v2.0/authorize",
		"token_endpoint":                        base + "/oauth2/v2.0/token",
		"jwks_uri":                              base + "/discovery/v2.0/keys",
		"token_endpoint_auth_methods_supported": []string{"client_secret_post"},
		"response_types_supported":              []string{"code"},
		"response_modes_supported":              []string{"query"},
		"subject_types_supported":               []string{"pairwise"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"code_challenge_methods_supported":      []string{"S256"},
		"scopes_supported":                      []string{"openid", "profile"},
	})
}

func (c *Cloud) publishKeys(w http.ResponseWriter, r *http.Request) {
	set, err := c.keys.jwks(origin(r) + "/{tenantid}/v2.0")
	if err != nil {
		c.log.ErrorContext(r.Context(), "keys not published", "err", err)
		http.Error(w, "the simulated cloud has no key", http.StatusInternalServerError)
		return
	}
	writeJSON(w, http.StatusOK, set)
}

// A refusal is an error of the sign-in service.
type refusal struct {
	status  int
	name    string // OAuth error
	code    int    // AADSTS number
	message string
}

func unknownTenant(ref string) refusal {
	return refusal{http.StatusBadRequest, "invalid_request", 90002, fmt.Sprintf("Tenant '%s' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud.", ref)}
}

func missingParameter(name string) refusal {
	return refusal{http.StatusBadRequest, "invalid_request", 900144, fmt.Sprintf("The request body must contain the following parameter: '%s'.", name)}
}

func (f refusal) text() string { return fmt.Sprintf("AADSTS%d: %s", f.code, f.message) }

// refuse writes a refusal in Entra's shape.
func (c *Cloud) refuse(w http.ResponseWriter, r *http.Request, f refusal) {
	at := c.now().UTC().Format("2006-01-02 15:04:05Z")
	trace := newID()
	correlation := r.Header.Get("client-request-id")
	if correlation == "" || len(correlation) > 64 {
		correlation = newID()
	}
	c.log.InfoContext(r.Context(), "sign-in refused", "tenant", r.PathValue("tenant"), "code", f.code)
	writeJSON(w, f.status, map[string]any{
		"error":             f.name,
		"error_description": fmt.Sprintf("%s Trace ID: %s Correlation ID: %s Timestamp: %s", f.text(), trace, correlation, at),
		"error_codes":       []int{f.code},
		"timestamp":         at,
		"trace_id":          trace,
		"correlation_id":    correlation,
	})
}

// token is the client credentials grant; [Cloud.redeem] is the other one that there is. The roles in a token are those held
// when it is issued: a later grant shows only in a later token.
func (c *Cloud) token(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		c.refuse(w, r, missingParameter("grant_type"))
		return
	}
	form := r.PostForm
	if form.Get("grant_type") == "authorization_code" {
		c.redeem(w, r)
		return
	}
	t, err := c.lookup(r.PathValue("tenant"))
	if err != nil {
		c.refuse(w, r, unknownTenant(r.PathValue("tenant")))
		return
	}
	if wait(r.Context(), c.latency) != nil {
		panic(http.ErrAbortHandler)
	}
	app, audience, f := c.identify(t, form)
	if f != nil {
		c.refuse(w, r, *f)
		return
	}
	c.lock(t)
	v := c.nextView(t)
	sp := t.principalOf(v, app.id)
	var disabled bool
	var oid string
	var roles []string
	if sp != nil {
		oid, disabled, roles = sp.ID, sp.Disabled, t.rolesOf(v, sp)
	}
	t.mu.Unlock()
	switch {
	case sp == nil:
		c.refuse(w, r, refusal{http.StatusUnauthorized, "invalid_client", 7000229,
			fmt.Sprintf("The client application %s is missing service principal in the tenant %s. See instructions here: https://go.microsoft.com/fwlink/?linkid=2225119", app.id, t.id)})
		return
	case disabled:
		c.refuse(w, r, refusal{http.StatusBadRequest, "unauthorized_client", 7000112,
			fmt.Sprintf("Application '%s'(%s) is disabled.", app.id, app.name)})
		return
	}
	now := v.now
	life := c.timing.TokenLifetime
	token, err := c.keys.sign(claims{
		Audience: audience, Issuer: origin(r) + "/" + t.id + "/v2.0",
		IssuedAt: now.Unix(), NotValid: now.Unix(), Expires: now.Add(life).Unix(),
		AppID: app.id, Azp: app.id, Type: "app", ObjectID: oid, Subject: oid, TenantID: t.id,
		Roles: roles, ID: newID(), Version: "2.0",
	})
	if err != nil {
		c.log.ErrorContext(r.Context(), "token not issued", "err", err)
		http.Error(w, "the simulated cloud could not sign", http.StatusInternalServerError)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"token_type": "Bearer", "expires_in": int(life / time.Second), "ext_expires_in": int(life / time.Second), "access_token": token,
	})
}

// identify checks everything about a token request but the tenant's consent.
func (c *Cloud) identify(t *tenant, form url.Values) (application, string, *refusal) {
	for _, name := range []string{"grant_type", "client_id", "scope"} {
		if form.Get(name) == "" {
			f := missingParameter(name)
			return application{}, "", &f
		}
	}
	if form.Get("grant_type") != "client_credentials" {
		return application{}, "", &refusal{http.StatusBadRequest, "unsupported_grant_type", 70003, "The app requested an unsupported grant type."}
	}
	app, ok := findApplication(strings.ToLower(form.Get("client_id")))
	if !ok {
		return application{}, "", &refusal{http.StatusBadRequest, "unauthorized_client", 700016,
			fmt.Sprintf("Application with identifier '%s' was not found in the directory '%s'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant.", form.Get("client_id"), t.name)}
	}
	if f := c.proves(app, form); f != nil {
		return application{}, "", f
	}
	audience := ""
	for scope := range strings.FieldsSeq(form.Get("scope")) {
		if resource, ok := strings.CutSuffix(scope, "/.default"); ok {
			audience = strings.TrimSuffix(resource, "/")
		} else if !slices.Contains([]string{"openid", "profile", "offline_access"}, scope) {
			return application{}, "", &refusal{http.StatusBadRequest, "invalid_scope", 1002012,
				"The provided value for scope is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI)."}
		}
	}
	if !slices.Contains([]string{"https://graph.microsoft.com", microsoftGraph, c.url}, audience) {
		return application{}, "", &refusal{http.StatusBadRequest, "invalid_resource", 500011,
			fmt.Sprintf("The resource principal named %s was not found in the tenant named %s.", audience, t.name)}
	}
	return app, audience, nil
}

// proves checks the client's secret or assertion. Of an assertion only its
// shape, subject, issuer and expiry are checked: the model has no registry of
// certificates or federated credentials.
func (c *Cloud) proves(app application, form url.Values) *refusal {
	if secret := form.Get("client_secret"); secret != "" {
		want := c.secretOf(app)
		if want != "" && subtle.ConstantTimeCompare([]byte(secret), []byte(want)) == 1 {
			return nil
		}
		return &refusal{http.StatusUnauthorized, "invalid_client", 7000215,
			fmt.Sprintf("Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '%s'.", app.id)}
	}
	assertion := form.Get("client_assertion")
	if assertion == "" || !app.ours() {
		return &refusal{http.StatusUnauthorized, "invalid_client", 7000218,
			"The request body must contain the following parameter: 'client_assertion' or 'client_secret'."}
	}
	var said struct {
		Subject string  `json:"sub"`
		Issuer  string  `json:"iss"`
		Expires float64 `json:"exp"`
	}
	if form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" ||
		decodeSegment(assertion, 1, &said) != nil || said.Subject != app.id || said.Issuer != app.id {
		return &refusal{http.StatusUnauthorized, "invalid_client", 700211, "No matching federated identity record found for presented assertion issuer or subject."}
	}
	if said.Expires != 0 && c.now().Unix() >= int64(said.Expires) {
		return &refusal{http.StatusUnauthorized, "invalid_client", 700024, "Client assertion is not within its valid time range."}
	}
	return nil
}

// origin returns the scheme and host that the client used.
func origin(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The status is sent: an error here is the client's closed connection.
	json.NewEncoder(w).Encode(body)
}
