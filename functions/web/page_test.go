package web_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pinreset/shared/audit"
	"pinreset/shared/identity"
)

// browser is what a person uses: it keeps cookies, follows redirects and says where a form comes from.
type browser struct {
	*http.Client
	f *fixture
	t testing.TB
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
	inline   = regexp.MustCompile(`(?i)<script(?:>|\s+[^s])|<style|<[a-z][^>]*\s(?:style|on[a-z]+)\s*=|href="?\s*javascript:`)
	ids      = regexp.MustCompile(`\sid="([^"]+)"`)
	labelled = regexp.MustCompile(`<input type="(?:text|search|password|number)" id="([^"]+)"`)
)

func (a answer) key(t testing.TB) string {
	t.Helper()
	m := keyField.FindSubmatch(a.body)
	if m == nil {
		t.Fatalf("no key in the form: %s", a.body)
	}
	return string(m[1])
}

// sound checks what every page must be: one heading, no inline script or style, a label for each field, unique ids.
func (a answer) sound(t testing.TB, path string) {
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
	stands := regexp.MustCompile(`(?s)data-milestone>.*?</span>[^<]*</span>`)
	before := stands.Find(started.body)
	f.Advance(12 * time.Second)
	if after := stands.Find(b.get(at).body); len(before) == 0 || !bytes.Equal(before, after) {
		t.Errorf("time alone changes what is announced: %q, %q", before, after)
	}
	colleague := f.browser().signIn(f.may(identity.Permissions()...))
	if a := colleague.post(base+"/devices/"+pixel+"/reset", url.Values{"key": {"c1"}, "reason": {"me too"}}); a.header.Get("Final-Path") != at || !strings.Contains(string(a.body), "administrator asked for it 12 s ago") {
		t.Errorf("a second reset: at %s: %s", a.header.Get("Final-Path"), a.body)
	}
	page(base+"/devices/"+pixel, "administrator asked for it 12 s ago")
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
	for _, want := range []string{"K7mQ #2xW", "capital kilo", "digit seven", "small mike", "hash", "Intune keeps its own copy", "in 1 h 0 min"} {
		if !strings.Contains(text, want) {
			t.Errorf("the code's page lacks %q: %s", want, text)
		}
	}
	if !strings.Contains(string(shown.body), `translate="no"`) {
		t.Error("the code could be translated")
	}
	page(at, "Viewed once")
	german := b.do(http.MethodPost, at+"/reveal", url.Values{"key": {ready.key(t)}, "reason": {"user on the phone"}}, header("Accept-Language", "fr, de-AT;q=0.8, en;q=0.5"))
	german.want(t, http.StatusOK)
	german.sound(t, "code in German")
	if text := string(german.body); strings.Index(text, "groß Köln") > strings.Index(text, "capital kilo") || !strings.Contains(text, "Ziffer sieben") {
		t.Errorf("German does not come first: %s", text)
	}
	told := b.post(at+"/outcome", url.Values{"key": {shown.key(t)}, "do": {"worked"}})
	told.want(t, http.StatusOK)
	if !strings.Contains(string(told.body), "It worked, somebody said") {
		t.Errorf("what was said is not shown: %s", told.body)
	}
	b.post(at+"/outcome", url.Values{"key": {"o1"}, "do": {"burn"}}).want(t, http.StatusBadRequest)
	if deleted := b.post(at+"/outcome", url.Values{"key": {german.key(t)}, "do": {"delete"}}); deleted.status != http.StatusOK || strings.Contains(string(deleted.body), "Reveal the code") {
		t.Errorf("deleted: %d, %s", deleted.status, deleted.body)
	}
	b.post(at+"/reveal", url.Values{"key": {"k2"}, "reason": {"once more"}}).want(t, http.StatusConflict)
	if log := f.auditOf(contoso); !slices.Contains(log, audit.PasscodeOutcome) || !slices.Contains(log, audit.PasscodeVoided) {
		t.Errorf("the log lacks what was said or deleted: %v", log)
	}

	bulk := f.call(http.MethodPost, "/v1/tenants/"+contoso+"/bulk-resets", f.admin, map[string]any{"all": true, "expected": 3, "reason": "lost"}).field(t, "id")
	page(base+"/bulk-resets", bulk)
	if a := page(base+"/bulk-resets/"+bulk, "Finding its devices"); !strings.Contains(string(a.body), `http-equiv="refresh"`) || strings.Contains(string(a.body), "/cancel") {
		t.Errorf("an open bulk reset is not live, or has a form that the next turn would empty: %s", a.body)
	}
	asks := page(base+"/bulk-resets/"+bulk+"?live=off", "Give the bulk reset up")
	if a := b.post(base+"/bulk-resets/"+bulk+"/cancel", url.Values{"key": {asks.key(t)}}); a.status != http.StatusUnprocessableEntity {
		t.Errorf("given up without a reason: %d", a.status)
	}
	given := b.post(base+"/bulk-resets/"+bulk+"/cancel", url.Values{"key": {asks.key(t)}, "reason": {"found them"}})
	if given.want(t, http.StatusOK); !strings.Contains(string(given.body), "Cancelled") {
		t.Errorf("given up: %s", given.body)
	}

	page(base+"/failures", diagID)
	failed := page("/tenants/"+contoso+"/diag/"+diagID, "request-id <code>req-1</code>")
	for _, want := range []string{"/deadletters/" + letter + "/settle", "Read the tenant again", "Prerequisites of the tenant", `data-copy="support" hidden`, "request-id req-1", "Diagnostics id: " + diagID} {
		if !strings.Contains(string(failed.body), want) {
			t.Errorf("the failure lacks %q: %s", want, failed.body)
		}
	}
	page(base+"/deadletters", "The work failed at every attempt")
	dead := page(base+"/deadletters/"+letter, "Send it again")
	b.post(base+"/deadletters/"+letter+"/settle", url.Values{"key": {dead.key(t)}, "reason": {"fixed"}, "do": {"replay"}}).want(t, http.StatusOK)
	if a := page("/tenants/"+contoso+"/diag/"+diagID, "sent again or deleted since"); strings.Contains(string(a.body), "/settle") {
		t.Error("a message that is gone can be sent again")
	}
	page(base+"/audit", "passcode.revealed")

	page(base+"/readiness", "Ways to a new PIN or passcode")
	page(base+"/devices/"+pixel+"/readiness", "Last report of the device")
	if a := b.get("/find?tenant=" + contoso + "&search=hr-laptop-11"); a.header.Get("Final-Path") != base+"/devices" || !strings.Contains(string(a.body), "Found") {
		t.Errorf("the search went to %s", a.header.Get("Final-Path"))
	}
	page(base+"/rollouts", "Show the plan")
	target := url.Values{"shape": {"oma-uri"}, "include": {"no group\nat all"}}
	if a := b.post(base+"/rollouts/plan", target); a.status != http.StatusUnprocessableEntity || !strings.Contains(string(a.body), "no group") && !strings.Contains(string(a.body), "no\ngroup") {
		t.Errorf("a plan for no group answers %d: %s", a.status, a.body)
	}
	target.Set("include", "44444444-0000-4000-8000-000000000001")
	plan := b.post(base+"/rollouts/plan", target)
	plan.want(t, http.StatusOK)
	plan.sound(t, "plan")
	for name, value := range map[string]string{"key": plan.key(t), "plan": "0000", "reason": "roll it out"} {
		target.Set(name, value)
	}
	b.post(base+"/rollouts", target).want(t, http.StatusConflict) // of another plan nothing is carried out
	hash := regexp.MustCompile(`name="plan" value="([^"]+)"`).FindSubmatch(plan.body)
	if hash == nil {
		t.Fatalf("the plan has no hash: %s", plan.body)
	}
	target.Set("plan", string(hash[1]))
	target.Set("key", strings.Repeat("1", 32)) // the other one was answered already
	rolled := b.post(base+"/rollouts", target)
	rolled.want(t, http.StatusOK)
	rolled.sound(t, "rollout")
	if !strings.Contains(rolled.header.Get("Final-Path"), base+"/rollouts/") {
		t.Errorf("at %s", rolled.header.Get("Final-Path"))
	}
	page(base+"/rollouts", "roll it out")
	audits := page(base+"/audits", "Audit now")
	asked := b.post(base+"/audits", url.Values{"key": {audits.key(t)}})
	asked.want(t, http.StatusOK)
	asked.sound(t, "audit")
	page(base+"/audits", "Audits, newest first")
	page("/", "Contoso")

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
	b.post(base+"/consent", url.Values{"key": {b.get(base + "?live=off").key(t)}, "create": {"yes"}, "reason": {"links ran out"}}).want(t, http.StatusOK)
	if strings.Contains(string(b.get(base).body), "<form class") {
		t.Error("a page that loads itself again has a form in it")
	}
	page(base+"/settings", `name="passcodeHours" value="168"`)
	settings := url.Values{
		"passcodeHours": {"x"}, "resetDeadlineHours": {"48"}, "budgetHour": {""}, "budgetDay": {"40"}, "requireStepUp": {"when_available"}, "tokenBudget": {"yes"},
		"suspendAbove": {"0"}, "suspendMinutes": {"60"}, "secondPerson": {"off"}, "callerCheck": {"off"},
		"reason": {"shorter is safer"},
	}
	unset := b.post(base+"/settings", settings)
	unset.want(t, http.StatusUnprocessableEntity)
	unset.sound(t, "settings that are no number")
	for _, want := range []string{`value="shorter is safer"`, `value="48"`, `id="passcodeHours-wrong">must be a whole number`, `id="budgetHour-wrong">`, `name="tokenBudget" value="yes" checked`} {
		if !strings.Contains(string(unset.body), want) {
			t.Errorf("the form was not given back with %s: %s", want, unset.body)
		}
	}
	settings.Set("passcodeHours", "200")
	settings.Set("budgetHour", "12")
	if a := b.post(base+"/settings", settings); a.status != http.StatusUnprocessableEntity || !strings.Contains(string(a.body), `id="passcodeHours-wrong">must be 1 to 168`) {
		t.Errorf("200 hours: %d: %s", a.status, a.body)
	}
	settings.Set("passcodeHours", "12")
	settings.Set("graphNotifications", "yes")
	if a := b.post(base+"/settings", settings); a.status != http.StatusConflict || !strings.Contains(string(a.body), `id="graphNotifications-wrong">Graph can&#39;t reach`) {
		t.Errorf("notifications that can't come: %d: %s", a.status, a.body)
	}
	settings.Del("graphNotifications")
	b.post(base+"/settings", settings).want(t, http.StatusOK)
	b.post(base+"/settings", settings).want(t, http.StatusOK)
	if log := f.auditOf(contoso); len(slices.DeleteFunc(log, func(action string) bool { return action != audit.SettingsChanged })) != 1 {
		t.Errorf("the same settings twice are recorded as %v", log)
	}
	set := string(page(base+"/settings", `name="tokenBudget" value="yes" checked`).body)
	if !strings.Contains(set, `name="budgetDay" value="40"`) || strings.Contains(set, `name="sealPortalCodes" value="yes" checked`) {
		t.Errorf("set: %s", set)
	}
	settings.Del("tokenBudget")
	b.post(base+"/settings", settings).want(t, http.StatusOK)
	if set := string(b.get(base + "/settings").body); strings.Contains(set, `name="tokenBudget" value="yes" checked`) {
		t.Error("a box that was not ticked stayed")
	}
	page(base, "<dd>12 h</dd>")
	page(base+"/audit", "shorter is safer")
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
	own, _ := f.setAside(contoso, []byte("{}"))
	if a := b.get(base + "/diag/" + own); a.status != http.StatusOK || strings.Contains(string(a.body), "<form class=") || strings.Contains(string(a.body), "Read the tenant") {
		t.Errorf("a failure offers what may not be done: %d", a.status)
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
	if there.status != http.StatusSeeOther || gone.status != http.StatusSeeOther || !strings.HasSuffix(there.header.Get("Location"), url.QueryEscape(path)) {
		t.Errorf("without a session: %d to %q, and for nothing %d", there.status, there.header.Get("Location"), gone.status)
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
