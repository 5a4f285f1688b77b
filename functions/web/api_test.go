package web_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"pinreset/functions/web/internal/view"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
	"pinreset/shared/passcode"
)

func TestDevicesComeFromGraph(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	path := "/v1/tenants/" + contoso + "/devices"
	var page struct {
		Items []struct {
			ID, Name    string
			Eligibility passcode.Eligibility
		}
		Next string
	}
	f.call(http.MethodGet, path+"?limit=1", f.admin, nil).into(t, &page)
	if len(page.Items) != 1 || page.Items[0].ID != pixel || page.Items[0].Name != hostile || page.Next == "" {
		t.Fatalf("%+v", page)
	}
	cursor := page.Next
	page.Next = ""
	f.call(http.MethodGet, path+"?limit=1&cursor="+cursor, f.admin, nil).into(t, &page)
	if len(page.Items) != 1 || page.Items[0].ID != laptop || page.Next != "" || page.Items[0].Eligibility.Answer != passcode.No {
		t.Errorf("%+v", page)
	}
	for search, want := range map[string]string{"hr-laptop-11": laptop, "LT-2": laptop, hostileUser: pixel, "nothing": ""} {
		page.Items = nil
		f.call(http.MethodGet, path+"?search="+url.QueryEscape(search), f.admin, nil).into(t, &page)
		if want == "" && len(page.Items) != 0 || want != "" && (len(page.Items) != 1 || page.Items[0].ID != want) {
			t.Errorf("%s: %+v", search, page.Items)
		}
	}
	for _, c := range []struct {
		err    error
		status int
		code   fault.Code
		after  string
	}{
		{fault.After(1500*time.Millisecond, fault.GraphThrottled, errors.New("429")), 503, fault.GraphThrottled, "2"},
		{fault.After(time.Minute, fault.WaitingForPermit, nil), 503, fault.WaitingForPermit, "60"},
		{fault.Permanent(fault.AppNotConsented, errors.New("AADSTS700016")), 502, fault.AppNotConsented, ""},
		{fault.Permanent(fault.GraphForbidden, errors.New("403")), 502, fault.GraphForbidden, ""},
	} {
		f.fleet.fail(c.err)
		for _, p := range []string{path, path + "/" + pixel} {
			a := f.call(http.MethodGet, p, f.admin, nil)
			a.refused(t, c.status, c.code)
			if a.header.Get("Retry-After") != c.after {
				t.Errorf("%s: Retry-After %q", c.code, a.header.Get("Retry-After"))
			}
		}
	}
}

func TestPanicSaysNothingOfItsValue(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.fleet.explode("the code is " + canary)
	a := f.call(http.MethodGet, "/v1/tenants/"+contoso+"/devices/"+pixel, f.admin, nil)
	a.refused(t, http.StatusInternalServerError, fault.Internal)
	page := f.browser().signIn(f.admin).get("/tenants/" + contoso + "/devices")
	page.want(t, http.StatusInternalServerError)
	page.sound(t, "page of a panic")
	f.fleet.explode(nil)
	f.call(http.MethodGet, "/v1/tenants/"+contoso+"/devices/"+pixel, f.admin, nil).want(t, http.StatusOK)
	if strings.Contains(string(a.body)+string(page.body)+f.log.String(), canary) || !strings.Contains(f.log.String(), "panic of type string") {
		t.Errorf("%s", f.log.String())
	}
}

func TestCursorOpensOnlyItsOwnList(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	for _, d := range []string{pixel, laptop} {
		f.startReset(contoso, d)
		f.startReset(fabrikam, d)
	}
	path := "/v1/tenants/" + contoso + "/resets"
	cursor := f.call(http.MethodGet, path+"?limit=1", f.admin, nil).field(t, "next")
	f.call(http.MethodGet, path+"?cursor="+cursor, f.admin, nil).want(t, http.StatusOK)
	for what, a := range map[string]answer{
		"another token":  f.call(http.MethodGet, path+"?cursor="+cursor, f.may(identity.Permissions()...), nil),
		"another tenant": f.call(http.MethodGet, "/v1/tenants/"+fabrikam+"/resets?cursor="+cursor, f.admin, nil),
		"another list":   f.call(http.MethodGet, "/v1/tenants/"+contoso+"/audit?cursor="+cursor, f.admin, nil),
		"another filter": f.call(http.MethodGet, path+"?state=open&cursor="+cursor, f.admin, nil),
		"no cursor":      f.call(http.MethodGet, path+"?cursor=abc", f.admin, nil),
		"cut":            f.call(http.MethodGet, path+"?cursor="+cursor[:len(cursor)-3], f.admin, nil),
	} {
		t.Log(what)
		a.refused(t, http.StatusBadRequest, fault.InvalidRequest)
	}
}

func TestEveryAnswerHasItsHeaders(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	seen := map[string]bool{}
	for _, path := range []string{"/", "/sign-in", "/healthz", "/openapi.json", "/v1/tenants", "/nothing", "/problems/not_found", "/consent/callback", "/metrics", "/assets/style.css", view.AssetPath("style.css")} {
		a := f.call(http.MethodGet, path, "", nil, header("Accept", "text/html"))
		for name, want := range map[string]string{
			"Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if a.header.Get(name) != want {
				t.Errorf("%s: %s is %q", path, name, a.header.Get(name))
			}
		}
		csp := a.header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
		want := "no-store"
		if path == view.AssetPath("style.css") {
			want = "public, max-age=31536000, immutable"
		}
		if a.header.Get("Cache-Control") != want {
			t.Errorf("%s: Cache-Control %q", path, a.header.Get("Cache-Control"))
		}
		id := a.header.Get("X-Correlation-Id")
		if len(id) != 32 || seen[id] {
			t.Errorf("%s: correlation id %q", path, id)
		}
		seen[id] = true
	}
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	a := f.call(http.MethodGet, "/healthz", "", nil, header("traceparent", "00-"+trace+"-00f067aa0ba902b7-01"))
	if a.header.Get("X-Correlation-Id") != trace {
		t.Errorf("does not go on with the caller's trace: %q", a.header.Get("X-Correlation-Id"))
	}
}

func TestMetricsAndProblems(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.call(http.MethodGet, "/metrics", "", nil).refused(t, http.StatusUnauthorized, fault.Unauthenticated)
	f.call(http.MethodGet, "/metrics", f.may(identity.TenantRead), nil).refused(t, http.StatusForbidden, fault.Forbidden)
	f.call(http.MethodGet, "/metrics", f.may(identity.MetricsRead), nil).want(t, http.StatusOK)
	for _, code := range fault.Codes() {
		a := f.call(http.MethodGet, "/problems/"+string(code), "", nil)
		a.want(t, http.StatusOK)
		if a.field(t, "title") != fault.Lookup(code).Title {
			t.Errorf("%s: %s", code, a.body)
		}
		f.call(http.MethodGet, "/problems/"+string(code), "", nil, header("Accept", "text/html")).want(t, http.StatusOK)
	}
	f.call(http.MethodGet, "/problems/nothing", "", nil).refused(t, http.StatusNotFound, fault.NotFound)
}
