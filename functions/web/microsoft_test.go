package web_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"pinreset/functions/web/portal"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/identity/entra"
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
