package graphsim

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// consentURL is our app's consent page for a tenant.
func consentURL(tenant, clientID, redirect string) string {
	return "/" + tenant + "/v2.0/adminconsent?" + url.Values{
		"client_id": {clientID}, "scope": {"https://graph.microsoft.com/.default"},
		"redirect_uri": {redirect}, "state": {"a b&c"},
	}.Encode()
}

func TestConsentToOurApp(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: noLag})
	general, _ := s.Apps()
	const back = "http://localhost:8080/consent/callback?keep=1"
	target := consentURL(Fabrikam, general.ClientID, back)
	page := s.want(200, "GET", s.PagesURL()+target, "", "")
	for _, text := range []string{"This is a simulation", "adele@fabrikam.example", "Device.Read.All", `value="accept"`, `value="cancel"`} {
		if !strings.Contains(page.text, text) {
			t.Errorf("the page does not say %q", text)
		}
	}
	policy := page.header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "form-action 'self' http://localhost:8080") {
		t.Errorf("policy %q", policy)
	}
	callback := func(decision string) url.Values {
		t.Helper()
		r := s.postForm(target, url.Values{"decision": {decision}})
		u, err := url.Parse(r.header.Get("Location"))
		if err != nil || r.status != http.StatusFound || !strings.HasPrefix(u.String(), "http://localhost:8080/consent/callback?") {
			t.Fatalf("status %d to %q", r.status, r.header.Get("Location"))
		}
		return u.Query()
	}
	q := callback("cancel")
	if q.Get("admin_consent") != "True" || q.Get("error") != "consent_required" || !strings.Contains(q.Get("error_description"), "AADSTS65004") || q.Get("state") != "a b&c" || q.Has("tenant") {
		t.Errorf("cancelled: %v", q)
	}
	if _, err := signIn(t.Context(), s.credential(Fabrikam, general)); err == nil {
		t.Error("signed in after Cancel")
	}
	q = callback("accept")
	if q.Get("admin_consent") != "True" || q.Has("error") || q.Get("tenant") != Fabrikam || q.Get("state") != "a b&c" || q.Get("keep") != "1" {
		t.Errorf("accepted: %v", q)
	}
	s.want(200, "GET", "/v1.0/organization", s.token(Fabrikam, general), "")
}

func TestConsentPageRefuses(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: noLag, RedirectURIs: []string{"https://pinreset.example/callback"}})
	general, _ := s.Apps()
	const local = "http://127.0.0.1:9/cb"
	good := consentURL(Fabrikam, general.ClientID, local)
	for what, tt := range map[string]struct{ target, code string }{
		"no scope":          {strings.Replace(good, "scope=", "s=", 1), "AADSTS900144"},
		"no client":         {strings.Replace(good, "client_id=", "c=", 1), "AADSTS900144"},
		"other scope":       {strings.Replace(good, ".default", "User.Read", 1), "AADSTS70011"},
		"foreign redirect":  {consentURL(Fabrikam, general.ClientID, "https://evil.example/cb"), "AADSTS50011"},
		"script redirect":   {consentURL(Fabrikam, general.ClientID, "javascript:alert(1)"), "AADSTS50011"},
		"almost registered": {consentURL(Fabrikam, general.ClientID, "https://pinreset.example/callback/"), "AADSTS50011"},
		"common":            {consentURL("common", general.ClientID, local), "common"},
		"unknown tenant":    {consentURL(newID(), general.ClientID, local), "AADSTS90002"},
		"Microsoft's app":   {consentURL(Fabrikam, PinResetService, local), "AADSTS700016"},
	} {
		if r := s.want(400, "GET", s.PagesURL()+tt.target, "", ""); !strings.Contains(r.text, tt.code) {
			t.Errorf("%s: no %s on the page", what, tt.code)
		}
		if r := s.postForm(tt.target, url.Values{"decision": {"accept"}}); r.status != 400 {
			t.Errorf("%s: POST answered %d", what, r.status)
		}
	}
	s.want(200, "GET", s.PagesURL()+consentURL("fabrikam.example", general.ClientID, "https://pinreset.example/callback"), "", "")
	s.must(s.RegisterRedirect("https://second.example/callback"))
	s.want(200, "GET", s.PagesURL()+consentURL(Fabrikam, general.ClientID, "https://second.example/callback"), "", "")
	pick := s.want(200, "GET", s.PagesURL()+consentURL("organizations", general.ClientID, local), "", "")
	if !strings.Contains(pick.text, "/"+Fabrikam+"/v2.0/adminconsent?") {
		t.Error("the account page does not lead to the tenant")
	}

	// A page on another site cannot accept for the person.
	r, err := s.send("POST", s.PagesURL()+good, "", "decision=accept", "Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "cross-site")
	s.must(err)
	if r.status != 403 {
		t.Errorf("a foreign form was answered with %d", r.status)
	}
}

func TestConsentToMicrosoftsApps(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: noLag})
	general, _ := s.Apps()
	s.must(s.Consent(Fabrikam, "general"))
	present := func(appID string) bool {
		r, err := s.send("GET", "/v1.0/servicePrincipals(appId='"+appID+"')", s.token(Fabrikam, general), "")
		s.must(err)
		return r.status == 200
	}
	service, client := ConsentPath(Fabrikam, PinResetService), ConsentPath(Fabrikam, PinResetClient)

	page := s.want(200, "GET", s.PagesURL()+service, "", "")
	if !strings.Contains(page.text, "Microsoft Pin Reset Service Production") || !strings.Contains(page.text, "Accept") {
		t.Error("the service app's page does not ask to accept")
	}
	if r := s.postForm(service, url.Values{"decision": {"cancel"}}); !strings.Contains(r.text, "AADSTS65004") || r.header.Get("Location") != "" {
		t.Errorf("Cancel: status %d to %q", r.status, r.header.Get("Location"))
	}
	if present(PinResetService) {
		t.Fatal("Cancel consented")
	}
	r := s.postForm(service, url.Values{"decision": {"accept"}})
	end := s.want(403, "GET", s.PagesURL()+r.header.Get("Location"), "", "")
	if !strings.Contains(end.text, "You do not have permission to view this directory or page") {
		t.Errorf("the service app ends on %q", end.text)
	}
	if !present(PinResetService) || present(PinResetClient) {
		t.Error("after the service app: not half consented")
	}

	if page := s.want(200, "GET", s.PagesURL()+client, "", ""); !strings.Contains(page.text, ">Next<") || strings.Contains(page.text, ">Accept<") {
		t.Error("the client app's first page is not the one with Next")
	}
	second := s.postForm(client, url.Values{"decision": {"next"}})
	if second.status != 200 || !strings.Contains(second.text, "Microsoft Pin Reset Service Production") || !strings.Contains(second.text, ">Accept<") {
		t.Errorf("second page: %d %s", second.status, second.text)
	}
	if present(PinResetClient) {
		t.Error("Next consented")
	}
	r = s.postForm(client, url.Values{"decision": {"accept"}})
	if end := s.want(404, "GET", s.PagesURL()+r.header.Get("Location"), "", ""); !strings.Contains(end.text, "Page not found") {
		t.Errorf("the client app ends on %q", end.text)
	}
	if !present(PinResetClient) {
		t.Error("the client app is not there")
	}

	common := strings.Replace(service, Fabrikam, "common", 1)
	if r := s.want(200, "GET", s.PagesURL()+common, "", ""); !strings.Contains(r.text, "adele@northwind.example") {
		t.Error("common does not ask who signs in")
	}
	s.want(400, "GET", s.PagesURL()+strings.Replace(service, "prompt=admin_consent", "prompt=none", 1), "", "")
	s.want(400, "GET", s.PagesURL()+strings.Replace(service, "cred.microsoft.com", "evil.example", 1), "", "")
}

func TestPagesListener(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: noLag})
	home := s.want(200, "GET", s.PagesURL()+"/", "", "")
	for _, text := range []string{"Contoso", "nw-ceo-iphone", "field-pixel-offline", s.URL(), "/sim/v1/counters"} {
		if !strings.Contains(home.text, text) {
			t.Errorf("the home page does not mention %q", text)
		}
	}
	s.want(200, "GET", s.PagesURL()+"/sim/style.css", "", "")
	// Tokens and Graph are on the HTTPS listener only.
	for _, path := range []string{"/v1.0/organization", "/" + Contoso + "/v2.0/.well-known/openid-configuration"} {
		resp, err := http.Get(s.PagesURL() + path)
		s.must(err)
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: status %d on the pages listener", path, resp.StatusCode)
		}
	}
	// Another name for the loopback address is refused.
	req, err := http.NewRequestWithContext(t.Context(), "GET", s.PagesURL()+"/", nil)
	s.must(err)
	req.Host = "rebound.example"
	resp, err := s.client.Do(req)
	s.must(err)
	resp.Body.Close()
	if resp.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("status %d for a foreign host name", resp.StatusCode)
	}
	for _, address := range []string{"0.0.0.0:0", ":0", "example.com:0"} {
		if c, err := Start(Options{ListenHTTP: address}); err == nil {
			c.Close()
			t.Errorf("started on %s", address)
		}
	}
}
