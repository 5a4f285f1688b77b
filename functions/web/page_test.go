package web_test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"pinreset/shared/identity"
	"pinreset/shared/onboarding"
)

// browser is what a person uses: it keeps cookies, follows redirects and says where a form comes from.
type browser struct {
	*http.Client
	f *fixture
	t *testing.T
}

func (f *fixture) browser() *browser {
	f.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		f.t.Fatal(err)
	}
	return &browser{Client: &http.Client{Jar: jar}, f: f, t: f.t}
}

func (b *browser) do(method, path string, form url.Values, options ...option) answer {
	b.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.f.server.URL+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", b.f.server.URL)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for _, o := range options {
		o(r)
	}
	res, err := b.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	res.Header.Set("Final-Path", res.Request.URL.Path)
	return answer{status: res.StatusCode, header: res.Header, body: text}
}

func (b *browser) get(path string) answer { b.t.Helper(); return b.do(http.MethodGet, path, nil) }

func (b *browser) post(path string, form url.Values) answer {
	b.t.Helper()
	return b.do(http.MethodPost, path, form)
}

// signIn signs in with a token.
func (b *browser) signIn(token string) *browser {
	b.t.Helper()
	b.post("/sign-in", url.Values{"token": {token}}).want(b.t, http.StatusOK)
	return b
}

var (
	keyField = regexp.MustCompile(`name="key" value="([0-9a-f]{32})"`)
	inline   = regexp.MustCompile(`(?i)<script|<style|<[a-z][^>]*\s(?:style|on[a-z]+)\s*=|href="?\s*javascript:`)
	ids      = regexp.MustCompile(`\sid="([^"]+)"`)
	labelled = regexp.MustCompile(`<input type="(?:text|search|password)" id="([^"]+)"`)
)

func (a answer) key(t *testing.T) string {
	t.Helper()
	m := keyField.FindSubmatch(a.body)
	if m == nil {
		t.Fatalf("no key in the form: %s", a.body)
	}
	return string(m[1])
}

// sound checks what every page must be: one heading, no inline script or style, a label for each field, unique ids.
func (a answer) sound(t *testing.T, path string) {
	t.Helper()
	text := string(a.body)
	if !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s: %s, %s", path, a.header.Get("Content-Type"), a.header.Get("Cache-Control"))
	}
	if strings.Count(text, "<h1>") != 1 || !strings.Contains(text, `<html lang="en">`) || !strings.Contains(text, "<title>") || !strings.HasSuffix(strings.TrimSpace(text), "</html>") {
		t.Errorf("%s: not a whole page: %s", path, text)
	}
	if m := inline.FindString(text); m != "" {
		t.Errorf("%s: inline %q", path, m)
	}
	seen := map[string]bool{}
	for _, m := range ids.FindAllStringSubmatch(text, -1) {
		if seen[m[1]] {
			t.Errorf("%s: two elements with id %s", path, m[1])
		}
		seen[m[1]] = true
	}
	for _, m := range labelled.FindAllStringSubmatch(text, -1) {
		if !strings.Contains(text, `for="`+m[1]+`"`) {
			t.Errorf("%s: field %s has no label", path, m[1])
		}
	}
	if strings.Contains(text, "ZgotmplZ") {
		t.Errorf("%s: something was not safe to show", path)
	}
}

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

func TestPagesFromStartToCode(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	diagID, letter := f.setAside(contoso, []byte("{}"))
	b := f.browser().signIn(f.admin)
	base := "/tenants/" + contoso
	page := func(path, want string) answer {
		t.Helper()
		a := b.get(path)
		a.want(t, http.StatusOK)
		a.sound(t, path)
		if !strings.Contains(string(a.body), want) {
			t.Errorf("%s lacks %q: %s", path, want, a.body)
		}
		return a
	}
	home := page("/", "Contoso")
	page(base, "turns this step green by itself")
	if a := b.get(base); !strings.Contains(string(a.body), `http-equiv="refresh"`) || strings.Contains(string(b.get(base+"?live=off").body), `http-equiv="refresh"`) {
		t.Error("a pending page is not live, or can't be paused")
	}
	devices := page(base+"/devices", "hr-laptop-11")
	if strings.Count(string(devices.body), "Reset the passcode…") != 1 {
		t.Error("a reset is offered for what can't be reset, or not for what can")
	}
	page(base+"/devices?search=hr-laptop-11", "Found")
	page(base+"/devices/"+laptop, "What works instead")
	device := page(base+"/devices/"+pixel, "Reset the passcode of")

	form := url.Values{"key": {device.key(t)}, "reason": {" "}, "ticket": {"<i>T</i>"}}
	bad := b.post(base+"/devices/"+pixel+"/reset", form)
	bad.want(t, http.StatusUnprocessableEntity)
	bad.sound(t, "reset without a reason")
	if !strings.Contains(string(bad.body), `role="alert"`) || !strings.Contains(string(bad.body), "&lt;i&gt;T") || bad.key(t) != device.key(t) {
		t.Errorf("the form was not given back: %s", bad.body)
	}
	form.Set("reason", "forgot it")
	form.Set("ticket", "INC-1")
	started := b.post(base+"/devices/"+pixel+"/reset", form)
	started.want(t, http.StatusOK)
	started.sound(t, "reset")
	at := started.header.Get("Final-Path")
	if twice := b.post(base+"/devices/"+pixel+"/reset", form); twice.header.Get("Final-Path") != at {
		t.Errorf("sent twice: at %s and %s", at, twice.header.Get("Final-Path"))
	}
	id := at[strings.LastIndex(at, "/")+1:]
	if !strings.Contains(string(started.body), `http-equiv="refresh"`) {
		t.Error("a pending reset is not live")
	}
	page(base+"/devices/"+pixel, "A reset is pending")
	page(at+"/cancel", "Give the reset up")
	page(base+"/resets", "Accepted")

	f.issue(contoso, id, canary)
	ready := page(at, "Reveal the code")
	if strings.Contains(string(ready.body), `http-equiv="refresh"`) || !strings.Contains(string(ready.body), `value="INC-1"`) {
		t.Error("a page with a form loads itself again, or the ticket is not filled in")
	}
	shown := b.post(at+"/reveal", url.Values{"key": {ready.key(t)}, "reason": {"user on the phone"}})
	shown.want(t, http.StatusOK)
	shown.sound(t, "code")
	text := regexp.MustCompile(`<[^>]*>`).ReplaceAllString(string(shown.body), "")
	for _, want := range []string{"K7mQ #2xW", "capital Kilo", "digit seven", "small Mike", "hash", "Intune keeps its own copy", "in 1 h 0 min"} {
		if !strings.Contains(text, want) {
			t.Errorf("the code's page lacks %q: %s", want, text)
		}
	}
	if !strings.Contains(string(shown.body), `translate="no"`) {
		t.Error("the code could be translated")
	}
	page(at, "Viewed 1 times")

	page(base+"/failures", diagID)
	page("/tenants/"+contoso+"/diag/"+diagID, "request-id <code>req-1</code>")
	page(base+"/deadletters", "The work failed at every attempt")
	dead := page(base+"/deadletters/"+letter, "Send it again")
	b.post(base+"/deadletters/"+letter+"/settle", url.Values{"key": {dead.key(t)}, "reason": {"fixed"}, "do": {"replay"}}).want(t, http.StatusOK)
	page(base+"/audit", "passcode.revealed")

	added := b.post("/tenants", url.Values{"key": {home.key(t)}, "id": {nowhere}, "name": {"Northwind"}})
	added.want(t, http.StatusOK)
	added.sound(t, "added")
	again := b.post("/tenants", url.Values{"key": {"x"}, "id": {nowhere}, "name": {"Northwind"}})
	again.want(t, http.StatusConflict)
	again.sound(t, "added twice")
	wrong := b.post("/tenants", url.Values{"key": {"y"}, "id": {"northwind.example"}, "name": {"N"}})
	wrong.want(t, http.StatusUnprocessableEntity)
	if !strings.Contains(string(wrong.body), `value="northwind.example"`) {
		t.Error("the form was not given back")
	}
	b.post(base+"/consent", url.Values{"key": {b.get(base).key(t)}, "create": {"yes"}}).want(t, http.StatusOK)
	if strings.Contains(f.log.String(), canary) {
		t.Error("the log has the code")
	}
}

func TestPagesShowOnlyWhatOneMaySee(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	id := f.startReset(contoso, pixel)
	f.issue(contoso, id, canary)
	theirs := f.startReset(fabrikam, foreign)
	diagID, letter := f.setAside(fabrikam, []byte("{}"))
	b := f.browser().signIn(f.may(identity.TenantRead))
	base := "/tenants/" + contoso
	for _, path := range []string{base + "/devices", base + "/devices/" + pixel, base + "/audit"} {
		b.get(path).want(t, http.StatusForbidden)
	}
	if a := b.get(base + "/resets/" + id); strings.Contains(string(a.body), "<form class=") {
		t.Error("a form that may not be sent")
	}
	form := url.Values{"key": {"k"}, "reason": {"r"}, "do": {"drop"}}
	a := b.post(base+"/resets/"+id+"/reveal", form)
	a.want(t, http.StatusForbidden)
	if strings.Contains(string(a.body), canary[:4]) {
		t.Error("the code")
	}
	var first []byte
	everything := f.browser().signIn(f.may(identity.Permissions()...))
	for _, path := range []string{
		"/tenants/" + nowhere, "/tenants/" + fabrikam, "/tenants/" + fabrikam + "/resets/" + theirs, base + "/resets/" + theirs, base + "/devices/" + foreign,
		"/tenants/" + fabrikam + "/diag/" + diagID, base + "/diag/" + diagID, base + "/diag/NOTHING1", base + "/deadletters/" + letter, "/nothing", base + "/nothing",
	} {
		a := everything.get(path)
		a.want(t, http.StatusNotFound)
		a.sound(t, path)
		if first == nil {
			first = a.body
		}
		if string(a.body) != string(first) {
			t.Errorf("%s: another page than the first", path)
		}
	}
}

func TestDiagnosticsPage(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	diagID, _ := f.setAside(contoso, []byte("{}"))
	path := "/tenants/" + contoso + "/diag/" + diagID
	html, asJSON := header("Accept", "text/html"), header("Accept", "application/json")
	there, gone := f.call(http.MethodGet, path, "", nil, html), f.call(http.MethodGet, "/tenants/"+nowhere+"/diag/XXXXXXXX", "", nil, html)
	if there.status != http.StatusNotFound || string(there.body) != string(gone.body) {
		t.Errorf("without a session: %d, and for nothing %d", there.status, gone.status)
	}
	there, gone = f.call(http.MethodGet, path, "", nil, asJSON), f.call(http.MethodGet, "/tenants/"+nowhere+"/diag/XXXXXXXX", "", nil, asJSON)
	if there.status != http.StatusNotFound || string(there.body) != string(gone.body) {
		t.Errorf("without a token: %d, and for nothing %d", there.status, gone.status)
	}
	_, elsewhere := f.token(identity.Grant{Name: "n", Tenants: []string{fabrikam}, Permissions: identity.Permissions(), Days: 1})
	if a := f.call(http.MethodGet, path, elsewhere, nil, asJSON); a.status != http.StatusNotFound || string(a.body) != string(gone.body) {
		t.Errorf("another's token: %d", a.status)
	}
	a := f.call(http.MethodGet, path, f.admin, nil, asJSON)
	a.want(t, http.StatusOK)
	if a.field(t, "id") != diagID || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("%s", a.body)
	}
	b := f.browser().signIn(f.admin)
	a = b.get(path)
	if !strings.Contains(string(a.body), "&lt;b&gt;Graph&lt;/b&gt;") || strings.Contains(string(a.body), "<b>Graph") {
		t.Error("an error's text is taken for markup")
	}
	if a := b.get(path + "?format=json"); a.field(t, "id") != diagID {
		t.Errorf("%s", a.body)
	}
}

func TestConsentCallback(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	link := func(tenantID string) url.Values {
		t.Helper()
		l := f.links.For(tenantID, onboarding.Consent{RequestID: "run-1"}, onboarding.Step{Name: onboarding.StepApp, AppID: strings.ToUpper(nowhere)}, "op")
		u, err := url.Parse(l.URL)
		if err != nil {
			t.Fatal(err)
		}
		return url.Values{"state": {u.Query().Get("state")}, "admin_consent": {"True"}, "tenant": {fabrikam}} // the tenant is a lie
	}
	back := func(q url.Values) answer {
		t.Helper()
		a := f.call(http.MethodGet, "/consent/callback?"+q.Encode(), "", nil)
		a.sound(t, "callback")
		return a
	}
	due := func() []string {
		t.Helper()
		_, n := f.stored()
		var bodies []string
		if n == 0 {
			return nil
		}
		got, err := f.rows.Receive(t.Context(), onboarding.Queue, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range got {
			bodies = append(bodies, d.Partition+" "+string(d.Body))
		}
		return bodies
	}
	q := link(contoso)
	f.call(http.MethodHead, "/consent/callback?"+q.Encode(), "", nil).want(t, http.StatusOK)
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	for range 16 {
		wg.Go(func() {
			a := back(q)
			mu.Lock()
			defer mu.Unlock()
			statuses[a.status]++
		})
	}
	wg.Wait()
	if statuses[http.StatusOK] != 1 || statuses[http.StatusConflict] != 15 {
		t.Errorf("one state, many times: %v", statuses)
	}
	got := due()
	if len(got) != 1 || !strings.HasPrefix(got[0], contoso+" ") || !strings.Contains(got[0], `"requestId":"run-1"`) || strings.Contains(got[0], `"error"`) {
		t.Fatalf("messages %v", got)
	}
	rows, messages := f.stored()
	for what, q := range map[string]url.Values{
		"no state": {"admin_consent": {"True"}}, "a state of nobody": {"state": {"abc.def"}, "admin_consent": {"True"}},
		"a long state": {"state": {strings.Repeat("a.", 5000)}, "admin_consent": {"True"}}, "an unknown tenant": link(nowhere),
		"a changed state": func() url.Values { q := link(contoso); q.Set("state", "A"+q.Get("state")); return q }(),
		"neither":         func() url.Values { q := link(contoso); q.Del("admin_consent"); return q }(),
		"too late":        func() url.Values { q := link(contoso); return q }(),
	} {
		if what == "too late" {
			f.Advance(onboarding.StateLife)
		}
		if a := back(q); a.status != http.StatusBadRequest {
			t.Errorf("%s: %d", what, a.status)
		}
	}
	if r, m := f.stored(); r != rows || m != messages {
		t.Errorf("bad callbacks left %d rows and %d messages", r-rows, m-messages)
	}
	q = link(contoso)
	q.Set("error", "access_denied")
	if a := back(q); a.status != http.StatusOK || !strings.Contains(string(a.body), "not given") {
		t.Errorf("declined: %d %s", a.status, a.body)
	}
	q = link(contoso)
	q.Set("error", "<script>\u202e")
	back(q).want(t, http.StatusOK)
	f.Advance(2 * time.Minute) // past the first delivery's lease
	all := strings.Join(due(), "\n")
	if !strings.Contains(all, `"error":"access_denied"`) || !strings.Contains(all, `"error":"unreadable"`) {
		t.Errorf("messages %s", all)
	}
}
