package web_test

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"pinreset/functions/web/portal"
	"pinreset/shared/fault"
	"pinreset/shared/grant"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/identity"
	"pinreset/shared/identity/entra"
	"pinreset/shared/work"
)

// entraSignIn replaces the fixture's server with one at which people of the simulated tenants sign in.
func entraSignIn(t *testing.T) (*fixture, *graphsim.Cloud) {
	t.Helper()
	f := setUp(t)
	sim, err := graphsim.Start(graphsim.Options{Now: f.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	f.server.Close()
	f.server = httptest.NewUnstartedServer(nil)
	f.signIn = entra.New(entra.Config{
		Authority: sim.URL(), ClientID: sim.SignIn().ClientID, Secret: sim.SignIn().Secret,
		Redirect: "http://" + f.server.Listener.Addr().String() + portal.ReturnPath,
		Client:   &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: sim.RootCAs()}}}, Now: f.Now,
	})
	f.server.Config.Handler = f.handler()
	f.server.Start()
	t.Cleanup(f.server.Close)
	f.addTenant(graphsim.Contoso, "Contoso of the simulator")
	return f, sim
}

// sampleAccount is "tenant/object" of a sample person, as the simulated sign-in page has it.
func sampleAccount(t *testing.T, sim *graphsim.Cloud, upn string) string {
	t.Helper()
	for _, a := range sim.Accounts() {
		if a.UPN == upn && (a.Home == "") == !strings.Contains(upn, "#") {
			return a.Key()
		}
	}
	t.Fatalf("no account %s", upn)
	return ""
}

// toProvider begins a sign-in and returns the provider's page that the browser is sent to.
func (b *browser) toProvider(t *testing.T, from string) string {
	t.Helper()
	b.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	defer func() { b.CheckRedirect = nil }()
	a := b.get(from)
	if a.status != http.StatusSeeOther {
		t.Fatalf("%s: %d", from, a.status)
	}
	return a.header.Get("Location")
}

// picks is what the provider sends the browser back to after the person is picked.
func picks(t *testing.T, page, account string) string {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, page, strings.NewReader(url.Values{"account": {account}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	got, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = got.Body.Close()
	u, err := got.Location()
	if err != nil {
		t.Fatalf("%d: %v", got.StatusCode, err)
	}
	return u.RequestURI()
}

// signInAs does the whole of it.
func (b *browser) signInAs(t *testing.T, account, to string) answer {
	t.Helper()
	return b.get(picks(t, b.toProvider(t, "/sign-in/microsoft?return="+url.QueryEscape(to)), account))
}

func TestSignInWithMicrosoft(t *testing.T) {
	t.Parallel()
	f, sim := entraSignIn(t)
	b := f.browser()
	page := b.get("/sign-in")
	page.want(t, http.StatusOK)
	if !strings.Contains(string(page.body), "Sign in with Microsoft") {
		t.Error("the sign-in is not offered")
	}
	to := "/tenants/" + graphsim.Contoso + "?live=off"
	a := b.signInAs(t, sampleAccount(t, sim, "hana@contoso.example"), to)
	if a.status != http.StatusOK || a.header.Get("Final-Path") != "/tenants/"+graphsim.Contoso || !strings.Contains(string(a.body), "Hana Help") {
		t.Fatalf("%d at %s", a.status, a.header.Get("Final-Path"))
	}
	b.get("/").want(t, http.StatusOK)
	b.get("/tenants/"+contoso).want(t, http.StatusNotFound) // somebody else's
	b.post("/sign-out", url.Values{}).want(t, http.StatusOK)
	if a := b.get("/"); a.header.Get("Final-Path") != "/sign-in" {
		t.Errorf("signed out, and at %s", a.header.Get("Final-Path"))
	}
}

func TestNobodyElsesSignIn(t *testing.T) {
	t.Parallel()
	f, sim := entraSignIn(t)
	hana := sampleAccount(t, sim, "hana@contoso.example")
	refused := func(what string, a answer, status int) {
		t.Helper()
		if a.status != status || a.header.Get("Final-Path") != portal.ReturnPath {
			t.Errorf("%s: %d at %s", what, a.status, a.header.Get("Final-Path"))
		}
	}

	// Login CSRF: the attacker's own answer, in the victim's browser.
	attacker := f.browser()
	back := picks(t, attacker.toProvider(t, "/sign-in/microsoft"), hana)
	refused("a browser that began nothing", f.browser().get(back), http.StatusUnauthorized)
	victim := f.browser()
	victim.toProvider(t, "/sign-in/microsoft")
	refused("a browser that began another", victim.get(back), http.StatusUnauthorized)

	// A code is good once, an attempt too.
	b := f.browser()
	back = picks(t, b.toProvider(t, "/sign-in/microsoft"), hana)
	b.get(back).want(t, http.StatusOK)
	b.post("/sign-out", url.Values{})
	refused("used again", b.get(back), http.StatusUnauthorized)

	// The code of one attempt with the state of another one, in the browser that began both.
	first := picks(t, b.toProvider(t, "/sign-in/microsoft"), hana)
	second := picks(t, b.toProvider(t, "/sign-in/microsoft"), hana)
	u, _ := url.Parse(first)
	v, _ := url.Parse(second)
	q := v.Query()
	q.Set("code", u.Query().Get("code"))
	refused("another attempt's code", b.get(portal.ReturnPath+"?"+q.Encode()), http.StatusUnauthorized)

	// Too late, and not at all.
	back = picks(t, b.toProvider(t, "/sign-in/microsoft"), hana)
	f.Advance(entra.AttemptLife)
	refused("too late", b.get(back), http.StatusUnauthorized)
	refused("cancelled", b.get(picks(t, b.toProvider(t, "/sign-in/microsoft"), "")), http.StatusForbidden)

	// Somebody whom nothing was granted to: a member without a role, and a guest with one.
	for _, account := range []string{sampleAccount(t, sim, "sam@contoso.example"), guestAccount(t, sim)} {
		stranger := f.browser()
		a := stranger.signInAs(t, account, "/")
		refused("a stranger", a, http.StatusForbidden)
		if _, object, _ := strings.Cut(account, "/"); !strings.Contains(string(a.body), object) {
			t.Error("the page does not say who asks")
		}
		if a := stranger.get("/"); a.header.Get("Final-Path") != "/sign-in" {
			t.Errorf("a stranger is at %s", a.header.Get("Final-Path"))
		}
	}
	for _, leak := range []string{"code=", "eyJ"} {
		if strings.Contains(f.log.String(), leak) {
			t.Errorf("the log has %s", leak)
		}
	}
}

func guestAccount(t *testing.T, sim *graphsim.Cloud) string {
	t.Helper()
	all := sim.Accounts()
	i := slices.IndexFunc(all, func(a graphsim.Account) bool { return a.Home != "" })
	if i < 0 {
		t.Fatal("no guest")
	}
	return all[i].Key()
}

func TestSessionFixationAndOpenRedirect(t *testing.T) {
	t.Parallel()
	f, sim := entraSignIn(t)
	hana := sampleAccount(t, sim, "hana@contoso.example")
	b := f.browser()
	server, err := url.Parse(f.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	// Whatever the browser was made to have is not what it is signed in with.
	b.Jar.SetCookies(server, []*http.Cookie{{Name: "pinreset", Value: "chosen-by-somebody-else", Path: "/"}})
	b.signInAs(t, hana, "/").want(t, http.StatusOK)
	value := func() string {
		for _, c := range b.Jar.Cookies(server) {
			if c.Name == "pinreset" {
				return c.Value
			}
		}
		return ""
	}
	first := value()
	if first == "" || first == "chosen-by-somebody-else" {
		t.Fatalf("session %q", first)
	}
	b.signInAs(t, hana, "/").want(t, http.StatusOK) // again, as for a step-up
	if second := value(); second == first {
		t.Error("the session is the one of before")
	}
	thief := f.browser()
	thief.Jar.SetCookies(server, []*http.Cookie{{Name: "pinreset", Value: first, Path: "/"}})
	if a := thief.get("/"); a.header.Get("Final-Path") != "/sign-in" {
		t.Error("the earlier session is still open")
	}
	stolen := value()
	b.post("/sign-out", url.Values{}).want(t, http.StatusOK)
	thief.Jar.SetCookies(server, []*http.Cookie{{Name: "pinreset", Value: stolen, Path: "/"}})
	if a := thief.get("/"); a.header.Get("Final-Path") != "/sign-in" {
		t.Error("a stolen cookie outlives the sign-out")
	}
	for _, to := range []string{"https://evil.example/tenants/", "//evil.example/tenants/", `/\evil.example`, "/sign-out", "javascript:alert(1)"} {
		if a := f.browser().signInAs(t, hana, to); a.header.Get("Final-Path") != "/" {
			t.Errorf("return to %s: at %s", to, a.header.Get("Final-Path"))
		}
	}
}

// accessToken is one of the simulated provider, as a program gets it for the person.
func (f *fixture) accessToken(t *testing.T, sim *graphsim.Cloud, account string) string {
	t.Helper()
	const verifier = "a-verifier-of-forty-three-characters-or-more-x"
	sum := sha256.Sum256([]byte(verifier))
	app := sim.SignIn()
	redirect := f.server.URL + "/program"
	scope := "openid api://" + app.ClientID + "/" + entra.Scope
	back := picks(t, sim.PagesURL()+"/organizations/oauth2/v2.0/authorize?"+url.Values{
		"client_id": {app.ClientID}, "response_type": {"code"}, "redirect_uri": {redirect}, "scope": {scope}, "nonce": {"n"}, "state": {"s"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}.Encode(), account)
	u, err := url.Parse(back)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: sim.RootCAs()}}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, sim.URL()+"/organizations/oauth2/v2.0/token", strings.NewReader(url.Values{
		"client_id": {app.ClientID}, "client_secret": {app.Secret}, "grant_type": {"authorization_code"}, "code": {u.Query().Get("code")},
		"redirect_uri": {redirect}, "code_verifier": {verifier},
	}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	got, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	var said struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(got.Body).Decode(&said); err != nil || said.AccessToken == "" {
		t.Fatalf("status %d, %v", got.StatusCode, err)
	}
	return said.AccessToken
}

func TestRolesReachTheOwnTenantAlone(t *testing.T) {
	t.Parallel()
	f, sim := entraSignIn(t)
	own, others := "/v1/tenants/"+graphsim.Contoso, "/v1/tenants/"+contoso
	hana := f.accessToken(t, sim, sampleAccount(t, sim, "hana@contoso.example"))
	f.call(http.MethodGet, own, hana, nil).want(t, http.StatusOK)
	f.call(http.MethodGet, own+"/audit", hana, nil).refused(t, http.StatusForbidden, fault.Forbidden)
	f.call(http.MethodGet, others, hana, nil).refused(t, http.StatusNotFound, fault.NotFound)
	f.call(http.MethodPost, "/v1/tenants", hana, map[string]any{"tenantId": nowhere, "displayName": "N"}).refused(t, http.StatusForbidden, fault.Forbidden)
	f.call(http.MethodGet, "/v1/tokens", hana, nil).refused(t, http.StatusForbidden, fault.Forbidden)
	f.call(http.MethodGet, "/metrics", hana, nil).refused(t, http.StatusForbidden, fault.Forbidden)
	var list struct{ Items []struct{ ID string } }
	a := f.call(http.MethodGet, "/v1/tenants", hana, nil)
	a.want(t, http.StatusOK)
	a.into(t, &list)
	if len(list.Items) != 1 || list.Items[0].ID != graphsim.Contoso {
		t.Errorf("sees %+v", list.Items)
	}
	guest := f.accessToken(t, sim, guestAccount(t, sim))
	f.call(http.MethodGet, own, guest, nil).refused(t, http.StatusNotFound, fault.NotFound)
	f.call(http.MethodGet, "/v1/tenants", guest, nil).refused(t, http.StatusForbidden, fault.Forbidden)
	// An application's own token, and an expired one.
	f.Advance(2 * time.Hour)
	f.call(http.MethodGet, own, hana, nil).refused(t, http.StatusUnauthorized, fault.Unauthenticated)
	f.call(http.MethodGet, own, "a.b.c", nil).refused(t, http.StatusUnauthorized, fault.Unauthenticated)
}

func TestGrant(t *testing.T) {
	t.Parallel()
	f, sim := entraSignIn(t)
	grants := "/v1/tenants/" + contoso + "/grants"
	give := func(account string, permissions ...identity.Permission) map[string]any {
		home, object, _ := strings.Cut(account, "/")
		return map[string]any{"personTenant": strings.ToUpper(home), "personObject": object, "name": "Kim", "permissions": permissions, "days": 30, "reason": "works for us"}
	}
	provider := sampleAccount(t, sim, "hana@fabrikam.example") // of another tenant, as a service provider's people are
	guest := guestAccount(t, sim)
	for _, account := range []string{provider, guest} {
		token := f.accessToken(t, sim, account)
		f.call(http.MethodGet, "/v1/tenants/"+contoso, token, nil).refused(t, http.StatusNotFound, fault.NotFound)
		a := f.call(http.MethodPost, grants, f.admin, give(account, identity.TenantRead, identity.DeviceRead))
		a.want(t, http.StatusCreated)
		id := a.field(t, "id")
		f.call(http.MethodGet, "/v1/tenants/"+contoso, token, nil).want(t, http.StatusOK)
		f.call(http.MethodGet, "/v1/tenants/"+contoso+"/devices", token, nil).want(t, http.StatusOK)
		f.call(http.MethodGet, "/v1/tenants/"+contoso+"/audit", token, nil).refused(t, http.StatusForbidden, fault.Forbidden)
		f.call(http.MethodGet, "/v1/tenants/"+fabrikam, token, nil).refused(t, http.StatusNotFound, fault.NotFound)

		b := f.browser()
		b.signInAs(t, account, "/tenants/"+contoso).want(t, http.StatusOK)

		f.call(http.MethodPost, grants+"/"+id+"/revoke", f.admin, nil).want(t, http.StatusOK) // and on the next request
		f.call(http.MethodGet, "/v1/tenants/"+contoso, token, nil).refused(t, http.StatusNotFound, fault.NotFound)
		b.get("/tenants/"+contoso).want(t, http.StatusNotFound)
	}
	if actions := strings.Join(f.auditOf(contoso), " "); strings.Count(actions, "grant.given") != 2 || strings.Count(actions, "grant.revoked") != 2 {
		t.Errorf("the tenant's log: %s", actions)
	}

	// It ends by itself.
	f.call(http.MethodPost, grants, f.admin, give(provider, identity.TenantRead)).want(t, http.StatusCreated)
	f.Advance(30*24*time.Hour - time.Minute)
	token := f.accessToken(t, sim, provider)
	f.call(http.MethodGet, "/v1/tenants/"+contoso, token, nil).want(t, http.StatusOK)
	f.Advance(time.Minute)
	f.call(http.MethodGet, "/v1/tenants/"+contoso, token, nil).refused(t, http.StatusNotFound, fault.NotFound)

	// Nobody gives what he does not have, or anything to himself.
	f.call(http.MethodPost, grants, f.may(identity.GrantWrite, identity.TenantRead), give(provider, identity.PasscodeReveal)).refused(t, http.StatusForbidden, fault.Forbidden)
	f.call(http.MethodPost, grants, f.admin, give(provider, identity.GrantWrite, identity.TenantRead)).want(t, http.StatusCreated)
	f.call(http.MethodPost, grants, token, give(provider, identity.TenantRead)).refused(t, http.StatusForbidden, fault.Forbidden)
	f.call(http.MethodPost, grants, token, give(guest, identity.TenantRead)).want(t, http.StatusCreated)

	for what, change := range map[string]func(map[string]any){
		"too long":      func(n map[string]any) { n["days"] = 91 },
		"no end":        func(n map[string]any) { n["days"] = 0 },
		"no permission": func(n map[string]any) { n["permissions"] = []string{} },
		"every tenant":  func(n map[string]any) { n["permissions"] = []string{"tenant.onboard"} },
		"no person":     func(n map[string]any) { n["personObject"] = "hana@fabrikam.example" },
		"no tenant":     func(n map[string]any) { n["personTenant"] = "*" },
		"no reason":     func(n map[string]any) { n["reason"] = "" },
	} {
		n := give(provider, identity.TenantRead)
		change(n)
		if a := f.call(http.MethodPost, grants, f.admin, n); a.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d", what, a.status)
		}
	}
}

// A grant is two rows. With either of them alone, as a crash or a restore may leave them, it opens nothing.
func TestHalfAGrant(t *testing.T) {
	t.Parallel()
	f, sim := entraSignIn(t)
	account := sampleAccount(t, sim, "hana@fabrikam.example")
	token := f.accessToken(t, sim, account)
	home, object, _ := strings.Cut(account, "/")
	a := f.call(http.MethodPost, "/v1/tenants/"+contoso+"/grants", f.admin, map[string]any{
		"personTenant": home, "personObject": object, "name": "Kim", "permissions": []string{"tenant.read"}, "days": 1, "reason": "r"})
	a.want(t, http.StatusCreated)
	f.call(http.MethodGet, "/v1/tenants/"+contoso, token, nil).want(t, http.StatusOK)
	for _, partition := range []string{contoso, grant.PeoplePartition} {
		prefix := map[string]string{contoso: grant.Prefix, grant.PeoplePartition: grant.PersonPrefix}[partition]
		p, err := f.rows.List(t.Context(), work.Query{Partition: partition, Prefix: prefix})
		if err != nil || len(p.Rows) != 1 {
			t.Fatal(len(p.Rows), err)
		}
		row := p.Rows[0]
		if err := f.rows.Commit(t.Context(), work.Batch{Partition: partition, Writes: []work.Write{{Row: row.Row, Delete: true}}}); err != nil {
			t.Fatal(err)
		}
		f.call(http.MethodGet, "/v1/tenants/"+contoso, token, nil).refused(t, http.StatusNotFound, fault.NotFound)
		if err := f.rows.Commit(t.Context(), work.Batch{Partition: partition, Writes: []work.Write{{Row: row.Row, Value: row.Value}}}); err != nil {
			t.Fatal(err)
		}
		f.call(http.MethodGet, "/v1/tenants/"+contoso, token, nil).want(t, http.StatusOK)
	}
}

func TestPeoplePage(t *testing.T) {
	t.Parallel()
	f, sim := entraSignIn(t)
	b := f.browser().signIn(f.admin)
	path := "/tenants/" + contoso + "/people"
	b.get(path).want(t, http.StatusOK)
	home, object, _ := strings.Cut(sampleAccount(t, sim, "hana@fabrikam.example"), "/")
	form := url.Values{"key": {"k1"}, "name": {`"><script>alert(1)</script>{{.}}`}, "personTenant": {home}, "personObject": {object}, "permission": {"tenant.read", "device.read"}, "days": {"x"}, "reason": {"r"}}
	a := b.post(path, form)
	a.want(t, http.StatusUnprocessableEntity)
	a.sound(t, path)
	if !strings.Contains(string(a.body), object) {
		t.Error("what was typed is lost")
	}
	form.Set("days", "5")
	a = b.post(path, form)
	a.want(t, http.StatusOK)
	a.sound(t, path)
	var list struct{ Items []struct{ ID string } }
	got := f.call(http.MethodGet, "/v1"+strings.Replace(path, "people", "grants", 1), f.admin, nil)
	got.into(t, &list)
	if len(list.Items) != 1 || !strings.Contains(string(a.body), "/people/"+list.Items[0].ID+"/revoke") {
		t.Fatalf("%+v", list)
	}
	b.post(path+"/"+list.Items[0].ID+"/revoke", url.Values{"key": {"k2"}}).want(t, http.StatusOK)
	if a := b.get(path); strings.Contains(string(a.body), "/revoke") {
		t.Error("still to be revoked")
	}
	reader := f.browser().signIn(f.may(identity.TenantRead))
	reader.get(path).want(t, http.StatusForbidden)
	if a := reader.get("/tenants/" + contoso); strings.Contains(string(a.body), path) {
		t.Error("the page is offered to who may not see it")
	}
}
