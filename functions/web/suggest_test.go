package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"pinreset/shared/identity"
)

func TestSearchSuggestsWhatIsKnownHere(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	id := f.startReset(contoso, pixel)
	f.issue(contoso, id, canary)
	f.issue(fabrikam, f.startReset(fabrikam, foreign), canary)
	b := f.browser().signIn(f.may(identity.TenantRead))
	ask := func(b *browser, tenant, search string) string {
		t.Helper()
		a := b.get("/suggest?" + url.Values{"tenant": {tenant}, "search": {search}}.Encode())
		a.want(t, http.StatusOK)
		return string(a.body)
	}
	if text := ask(b, contoso, "KIM@"); strings.Count(text, "/tenants/"+contoso+"/devices/"+pixel) != 1 || strings.Contains(text, "<script>") || strings.Contains(text, "<html") {
		t.Errorf("by user: %s", text)
	}
	if text := ask(b, contoso, "conto"); !strings.Contains(text, `href="/tenants/`+contoso+`"`) {
		t.Errorf("by tenant: %s", text)
	}
	for _, search := range []string{"k", " k ", "", strings.Repeat("x", 300), "no such thing"} {
		if text := strings.TrimSpace(ask(b, contoso, search)); text != "" {
			t.Errorf("%q suggests %s", search, text)
		}
	}
	if theirs, none := ask(b, fabrikam, "kim"), ask(b, nowhere, "kim"); theirs != none || strings.Contains(theirs, foreign) {
		t.Errorf("another's tenant suggests %s", theirs)
	}
	if text := ask(b, contoso, "fabrikam"); strings.TrimSpace(text) != "" {
		t.Errorf("another's tenant is suggested: %s", text)
	}
	if home := b.get("/"); !strings.Contains(string(home.body), "/resets/"+id) || strings.Contains(string(home.body), "secret-project") {
		t.Errorf("recent work lacks the reset: %s", home.body)
	}
	lost := f.browser().do(http.MethodGet, "/suggest?search=kim", nil, header("HX-Request", "true"))
	if lost.status != http.StatusUnauthorized || lost.header.Get("HX-Redirect") != "/sign-in" {
		t.Errorf("without a session: %d, to %q", lost.status, lost.header.Get("HX-Redirect"))
	}
}
