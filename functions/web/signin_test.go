package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"pinreset/shared/identity"
)

func TestSignInWithTheOneTimeLink(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	b := f.browser()
	code := f.sessions.OneTimeCode(f.adminID)
	for range 3 { // a preview of the link must not use it up
		a := b.get("/sign-in?code=" + code)
		a.want(t, http.StatusOK)
		a.sound(t, "/sign-in")
	}
	a := b.post("/sign-in", url.Values{"code": {code}, "return": {"/tenants/" + contoso + "?live=off"}})
	if a.status != http.StatusOK || a.header.Get("Final-Path") != "/tenants/"+contoso || !strings.Contains(string(a.body), "administrator") {
		t.Errorf("%d at %s", a.status, a.header.Get("Final-Path"))
	}
	if a := f.browser().post("/sign-in", url.Values{"code": {code}}); a.status != http.StatusUnauthorized {
		t.Errorf("used twice: %d", a.status)
	}
	late := f.sessions.OneTimeCode(f.adminID)
	f.Advance(identity.CodeLife)
	if a := f.browser().post("/sign-in", url.Values{"code": {late}}); a.status != http.StatusUnauthorized {
		t.Errorf("too late: %d", a.status)
	}
	if strings.Contains(f.log.String(), code) {
		t.Error("the log has the code")
	}
	b.post("/sign-out", url.Values{}).want(t, http.StatusOK)
	if a := b.get("/"); a.header.Get("Final-Path") != "/sign-in" {
		t.Errorf("signed out, and at %s", a.header.Get("Final-Path"))
	}
}

func TestReturnStaysHere(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	for _, to := range []string{"https://evil.example/tenants/", "//evil.example/tenants/", `/\evil.example`, `/tenants/\evil`, "javascript:alert(1)", "/sign-out", "http:///tenants/", "tenants/"} {
		b := f.browser()
		b.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		a := b.post("/sign-in", url.Values{"token": {f.admin}, "return": {to}})
		if a.status != http.StatusSeeOther || a.header.Get("Location") != "/" {
			t.Errorf("%s: %d to %q", to, a.status, a.header.Get("Location"))
		}
	}
}

func TestSessionCookie(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	for host, secure := range map[string]bool{"127.0.0.1:8080": false, "localhost:8080": false, "[::1]:8080": false, "pinreset.example": true, "10.0.0.1": true, "localhost.evil.example": true} {
		b := f.browser()
		b.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		a := b.do(http.MethodPost, "/sign-in", url.Values{"token": {f.admin}}, func(r *http.Request) { r.Host = host }, header("Origin", ""))
		cookie := a.header.Get("Set-Cookie")
		if !strings.Contains(cookie, "HttpOnly") || !strings.Contains(cookie, "SameSite=Lax") || !strings.Contains(cookie, "Path=/") {
			t.Errorf("%s: %s", host, cookie)
		}
		if strings.HasPrefix(cookie, "__Host-pinreset=") != secure || strings.Contains(cookie, "Secure") != secure {
			t.Errorf("%s: %s", host, cookie)
		}
	}
	b := f.browser().signIn(f.may(identity.TenantRead))
	b.get("/tenants/"+contoso).want(t, http.StatusOK)
	f.Advance(identity.SessionIdle)
	if a := b.get("/tenants/" + contoso); a.header.Get("Final-Path") != "/sign-in" {
		t.Errorf("idle, and at %s", a.header.Get("Final-Path"))
	}
	id, token := f.token(identity.Grant{Name: "n", Tenants: []string{"*"}, Permissions: []identity.Permission{identity.TenantRead}, Days: 1})
	b.signIn(token)
	b.get("/").want(t, http.StatusOK)
	f.call(http.MethodPost, "/v1/tokens/"+id+"/revoke", f.admin, nil).want(t, http.StatusOK)
	if a := b.get("/"); a.header.Get("Final-Path") != "/sign-in" {
		t.Errorf("the session outlives its token: at %s", a.header.Get("Final-Path"))
	}
}

func TestFormsComeFromOurPages(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	id := f.startReset(contoso, laptop)
	_, letter := f.setAside(contoso, []byte("{}"))
	b := f.browser().signIn(f.admin)
	rows, messages := f.stored()
	form := url.Values{"key": {"k"}, "reason": {"r"}, "id": {nowhere}, "name": {"N"}, "do": {"drop"}}
	base := "/tenants/" + contoso
	for _, path := range []string{"/tenants", base + "/consent", base + "/devices/" + pixel + "/reset", base + "/resets/" + id + "/cancel", base + "/resets/" + id + "/reveal", base + "/deadletters/" + letter + "/settle", "/sign-out"} {
		for what, options := range map[string][]option{
			"another site":   {header("Sec-Fetch-Site", "cross-site"), header("Origin", "https://evil.example")},
			"a sister site":  {header("Sec-Fetch-Site", "same-site"), header("Origin", "https://other.pinreset.example")},
			"another origin": {header("Sec-Fetch-Site", ""), header("Origin", "https://evil.example")},
			"nobody says":    {header("Sec-Fetch-Site", ""), header("Origin", "")},
		} {
			if a := b.do(http.MethodPost, path, form, options...); a.status != http.StatusForbidden {
				t.Errorf("%s from %s: %d", path, what, a.status)
			}
		}
		if a := b.do(http.MethodGet, path, nil); path != "/tenants" && strings.HasSuffix(path, "/cancel") == (a.status == http.StatusNotFound) {
			t.Errorf("GET %s: %d", path, a.status)
		}
		if path == "/sign-out" {
			continue
		}
		a := f.browser().post(path, form) // nobody's
		if a.status != http.StatusUnauthorized {
			t.Errorf("%s without a session: %d", path, a.status)
		}
	}
	if a := b.post(base+"/devices/"+pixel+"/reset", url.Values{"reason": {strings.Repeat("x", 1<<20)}}); a.status != http.StatusRequestEntityTooLarge {
		t.Errorf("1 MB form: %d", a.status)
	}
	if r, m := f.stored(); r != rows || m != messages {
		t.Errorf("refused forms left %d rows and %d messages", r-rows, m-messages)
	}
	b.get("/").want(t, http.StatusOK) // and the session is still there
}
