package graphsim

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

//go:embed pages
var pageFiles embed.FS

var pages = template.Must(template.ParseFS(pageFiles, "pages/*.html"))

// consentRoutes serves what people see. Each page is a plain form, so that a
// script does the same with POSTs.
func (c *Cloud) consentRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /{tenant}/v2.0/adminconsent", c.adminConsent)
	mux.HandleFunc("POST /{tenant}/v2.0/adminconsent", c.adminConsent)
	mux.HandleFunc("GET /{tenant}/oauth2/authorize", c.authorize)
	mux.HandleFunc("POST /{tenant}/oauth2/authorize", c.authorize)
	mux.HandleFunc("GET /{tenant}/oauth2/v2.0/authorize", c.signInPeople)
	mux.HandleFunc("POST /{tenant}/oauth2/v2.0/authorize", c.signInPeople)
	mux.HandleFunc("GET /sim/landing/{app}", c.landing)
	mux.HandleFunc("GET /{$}", c.home)
	mux.HandleFunc("GET /sim/intune/{tenant}", c.intunePage)
	mux.HandleFunc("POST /sim/intune/{tenant}", c.intuneForm)
	mux.HandleFunc("GET /sim/intune/{tenant}/devices/{device}/report", c.reportPage)
	mux.HandleFunc("GET /sim/style.css", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, pageFiles, "pages/style.css")
	})
}

// A consentPage is the data of consent.html.
type consentPage struct {
	Admin, Tenant string
	App, Owner    string
	Wants         []string
	Action        string // where the form posts to
	Button, Value string
	Second        bool // second screen of the client app
}

// adminConsent is the documented endpoint for our own apps
// (v2-admin-consent.md): it ends with a redirect to a registered URI, and
// admin_consent=True is there on errors too.
func (c *Cloud) adminConsent(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	ref := r.PathValue("tenant")
	switch strings.ToLower(ref) {
	case "common":
		c.errorPage(w, r, refusal{code: 50059, message: "The endpoint needs a tenant: use its id or domain, not 'common'."})
		return
	case "organizations":
		c.pickTenant(w, r)
		return
	}
	t, err := c.lookup(ref)
	if err != nil {
		c.errorPage(w, r, unknownTenant(ref))
		return
	}
	for _, name := range []string{"client_id", "scope", "redirect_uri"} {
		if q.Get(name) == "" {
			c.errorPage(w, r, missingParameter(name))
			return
		}
	}
	app, ok := findApplication(strings.ToLower(q.Get("client_id")))
	if !ok || !app.ours() {
		c.errorPage(w, r, refusal{code: 700016, message: fmt.Sprintf("Application with identifier '%s' was not found in the directory '%s'.", q.Get("client_id"), t.name)})
		return
	}
	if scope := q.Get("scope"); scope != "https://graph.microsoft.com/.default" && scope != c.url+"/.default" {
		c.errorPage(w, r, refusal{code: 70011, message: "The provided value for the input parameter 'scope' is not valid: application permissions are asked for with https://graph.microsoft.com/.default."})
		return
	}
	redirect, ok := c.redirectTarget(q.Get("redirect_uri"))
	if !ok {
		c.errorPage(w, r, refusal{code: 50011, message: fmt.Sprintf("The redirect URI '%s' specified in the request does not match the redirect URIs configured for the application '%s'.", q.Get("redirect_uri"), app.id)})
		return
	}
	if r.Method == http.MethodGet {
		p := c.consentPage(t, app, r)
		for _, name := range app.roles {
			role, _ := findRole(func(r role) bool { return r.value == name })
			p.Wants = append(p.Wants, role.title+" ("+name+")")
		}
		// Browsers apply form-action to the redirect that follows, too.
		c.page(w, http.StatusOK, "consent.html", p, redirect.Scheme+"://"+redirect.Host)
		return
	}
	answer := redirect.Query()
	answer.Set("admin_consent", "True")
	if state := q.Get("state"); state != "" {
		answer.Set("state", state)
	}
	switch r.PostFormValue("decision") {
	case "accept":
		if err := c.consent(t.id, app); err != nil {
			c.pageFailed(w, r, err)
			return
		}
		answer.Set("tenant", t.id)
		answer.Set("scope", q.Get("scope"))
	case "cancel":
		answer.Set("error", "consent_required")
		answer.Set("error_description", declined.text())
	default:
		c.errorPage(w, r, missingParameter("decision"))
		return
	}
	redirect.RawQuery = answer.Encode()
	http.Redirect(w, r, redirect.String(), http.StatusFound)
}

var declined = refusal{code: 65004, message: "User declined to consent to access the app."}

// authorize is the documented way to consent to Microsoft's two PIN reset apps
// (windows-itpro-docs pin-reset.md). It never calls back: it ends on a page that
// looks like an error.
func (c *Cloud) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	ref := r.PathValue("tenant")
	if ref == "common" || ref == "organizations" {
		c.pickTenant(w, r)
		return
	}
	t, err := c.lookup(ref)
	if err != nil {
		c.errorPage(w, r, unknownTenant(ref))
		return
	}
	app, ok := findApplication(strings.ToLower(q.Get("client_id")))
	switch {
	case !ok || app.landing == "":
		c.errorPage(w, r, refusal{code: 700016, message: fmt.Sprintf("Application with identifier '%s' was not found in the directory '%s'.", q.Get("client_id"), t.name)})
		return
	case q.Get("response_type") != "code" || q.Get("prompt") != "admin_consent":
		c.errorPage(w, r, refusal{code: 90014, message: "This model knows only response_type=code with prompt=admin_consent."})
		return
	case !strings.EqualFold(q.Get("redirect_uri"), app.redirect):
		c.errorPage(w, r, refusal{code: 50011, message: fmt.Sprintf("The redirect URI '%s' specified in the request does not match the redirect URIs configured for the application '%s'.", q.Get("redirect_uri"), app.id)})
		return
	case q.Get("resource") != app.resource:
		c.errorPage(w, r, refusal{code: 500011, message: fmt.Sprintf("The resource principal named %s was not found in the tenant named %s.", q.Get("resource"), t.name)})
		return
	}
	decision := ""
	if r.Method == http.MethodPost {
		decision = r.PostFormValue("decision")
	}
	switch decision {
	case "", "next":
		p := c.consentPage(t, app, r)
		switch {
		case app.id == PinResetClient && decision == "":
			p.Button, p.Value = "Next", "next"
			p.Wants = []string{"Access the PIN reset service as you"}
		case app.id == PinResetClient:
			service, _ := findApplication(PinResetService)
			p.App, p.Second = service.name, true
			p.Wants = []string{"Sign you in and read your profile"}
		default:
			p.Wants = []string{"Sign you in and read your profile"}
		}
		c.page(w, http.StatusOK, "consent.html", p, "")
	case "accept":
		if err := c.consent(t.id, app); err != nil {
			c.pageFailed(w, r, err)
			return
		}
		http.Redirect(w, r, "/sim/landing/"+app.landing, http.StatusFound)
	case "cancel":
		c.errorPage(w, r, declined)
	default:
		c.errorPage(w, r, missingParameter("decision"))
	}
}

// landing is where Microsoft's two apps leave the person. The status and text
// are those of a failure although the consent is recorded.
func (c *Cloud) landing(w http.ResponseWriter, r *http.Request) {
	switch r.PathValue("app") {
	case "service":
		c.page(w, http.StatusForbidden, "landing.html", "You do not have permission to view this directory or page.", "")
	case "client":
		c.page(w, http.StatusNotFound, "landing.html", "Page not found", "")
	default:
		http.NotFound(w, r)
	}
}

// pickTenant stands for signing in: with a tenant in the path the signed-in
// person is that tenant's administrator.
func (c *Cloud) pickTenant(w http.ResponseWriter, r *http.Request) {
	type account struct{ Admin, Link string }
	var accounts []account
	for _, s := range seeds() {
		_, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
		accounts = append(accounts, account{"adele@" + s.domain, "/" + s.id + "/" + rest + "?" + r.URL.RawQuery})
	}
	c.page(w, http.StatusOK, "pick.html", accounts, "")
}

// redirectTarget accepts registered URIs, which must match exactly, and any http
// or https URI on a loopback host.
func (c *Cloud) redirectTarget(uri string) (*url.URL, bool) {
	u, err := url.Parse(uri)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return u, loopback(u.Hostname()) || slices.Contains(c.redirects, uri)
}

func (c *Cloud) consentPage(t *tenant, app application, r *http.Request) consentPage {
	owner := "Microsoft"
	if app.ours() {
		owner = "the publisher of pinreset"
	}
	return consentPage{
		Admin: "adele@" + t.domain, Tenant: t.name, App: app.name, Owner: owner,
		Action: r.URL.RequestURI(), Button: "Accept", Value: "accept",
	}
}

func (c *Cloud) errorPage(w http.ResponseWriter, r *http.Request, f refusal) {
	c.log.InfoContext(r.Context(), "page refused", "path", r.URL.Path, "code", f.code)
	c.page(w, http.StatusBadRequest, "error.html", f.text(), "")
}

func (c *Cloud) pageFailed(w http.ResponseWriter, r *http.Request, err error) {
	c.log.ErrorContext(r.Context(), "consent not recorded", "err", err)
	c.page(w, http.StatusInternalServerError, "error.html", "The simulated cloud could not write its state.", "")
}

// page renders a page under a policy that lets it load nothing but its style
// sheet and post only here and to formTarget.
func (c *Cloud) page(w http.ResponseWriter, status int, name string, data any, formTarget string) {
	var out bytes.Buffer
	if err := pages.ExecuteTemplate(&out, name, data); err != nil {
		c.log.Error("page not rendered", "page", name, "err", err)
		http.Error(w, "the page could not be rendered", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", strings.TrimSpace("default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self' "+formTarget))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(out.Bytes())
}

// A homeTenant is one tenant on the home page with its consent links.
type homeTenant struct {
	TenantInfo
	Links []homeLink
}

type homeLink struct{ Text, URL string }

// homeFleet is how many tenants of the fleet the home page shows.
const homeFleet = 5

// home lists tenants, devices, counters and links; of a fleet only the first few.
func (c *Cloud) home(w http.ResponseWriter, r *http.Request) {
	var list []homeTenant
	refs := make([]string, 0, 16)
	for _, s := range seeds() {
		refs = append(refs, s.id)
	}
	for n := range min(c.fleet.Tenants, homeFleet) {
		refs = append(refs, fleetSeed(n+1, 0).id)
	}
	for _, ref := range refs {
		t, err := c.Tenant(ref)
		if err != nil {
			c.pageFailed(w, r, err)
			return
		}
		one := homeTenant{TenantInfo: t}
		for _, app := range catalogue {
			if app.landing != "" {
				one.Links = append(one.Links, homeLink{"Consent to " + app.name, ConsentPath(t.ID, app.id)})
			}
		}
		list = append(list, one)
	}
	c.page(w, http.StatusOK, "home.html", map[string]any{
		"URL": c.url, "Pages": c.pagesURL, "Tenants": list, "Families": c.Counters().Families, "More": max(c.fleet.Tenants-homeFleet, 0),
	}, "")
}

// ConsentPath returns path and query of the documented consent URL of one of
// Microsoft's two PIN reset apps for a tenant; "" for other apps.
func ConsentPath(tenantID, appID string) string {
	app, ok := findApplication(appID)
	if !ok || app.landing == "" {
		return ""
	}
	q := url.Values{
		"response_type": {"code"}, "client_id": {app.id}, "resource": {app.resource},
		"redirect_uri": {app.redirect}, "prompt": {"admin_consent"},
	}
	return "/" + tenantID + "/oauth2/authorize?" + q.Encode()
}
