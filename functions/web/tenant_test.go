package web_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"pinreset/events"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

func TestTenantIsAddedOnce(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	body := map[string]any{"tenantId": strings.ToUpper(nowhere), "displayName": "Northwind"}
	first := f.call(http.MethodPost, "/v1/tenants", f.admin, body, key("one"))
	first.want(t, http.StatusAccepted)
	if got := first.header.Get("Location"); got != "/v1/tenants/"+nowhere {
		t.Errorf("location %q", got)
	}
	again := f.call(http.MethodPost, "/v1/tenants", f.admin, body, key("one"))
	if again.status != first.status || string(again.body) != string(first.body) || again.header.Get("Location") != first.header.Get("Location") {
		t.Errorf("repeated: %d %s, first %d %s", again.status, again.body, first.status, first.body)
	}
	f.call(http.MethodPost, "/v1/tenants", f.admin, body, key("two")).refused(t, http.StatusConflict, fault.StateConflict)
	body["displayName"] = "Southwind"
	f.call(http.MethodPost, "/v1/tenants", f.admin, body, key("one")).refused(t, http.StatusUnprocessableEntity, fault.IdempotencyKeyReused)

	got, err := f.rows.Receive(t.Context(), "consent", 10)
	if err != nil || len(got) != 1 || got[0].Partition != nowhere {
		t.Fatalf("messages %+v, %v", got, err)
	}
	e, err := events.Parse(got[0].Body)
	if err != nil {
		t.Fatal(err)
	}
	if d, ok := e.Data.(events.TenantAdded); !ok || d.By.ID != f.adminID || d.DisplayName != "Northwind" || e.TraceParent == "" {
		t.Errorf("event %+v", e)
	}
	var shown struct{ Consent struct{ State string } }
	f.call(http.MethodGet, "/v1/tenants/"+nowhere, f.admin, nil).into(t, &shown)
	if shown.Consent.State != "pending" {
		t.Errorf("consent %q", shown.Consent.State)
	}
}

func TestTenantsOfTheToken(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	list := func(token, query string) (ids []string, next string) {
		t.Helper()
		var page struct {
			Items []struct{ ID string }
			Next  string
		}
		f.call(http.MethodGet, "/v1/tenants"+query, token, nil).into(t, &page)
		for _, item := range page.Items {
			ids = append(ids, item.ID)
		}
		return ids, page.Next
	}
	if ids, next := list(f.may(identity.TenantRead), ""); fmt.Sprint(ids) != fmt.Sprint([]string{contoso}) || next != "" {
		t.Errorf("%v %q", ids, next)
	}
	first, next := list(f.admin, "?limit=1")
	second, end := list(f.admin, "?limit=1&cursor="+next)
	if fmt.Sprint(first, second) != fmt.Sprint([]string{contoso}, []string{fabrikam}) {
		t.Errorf("%v %v", first, second)
	}
	if end != "" {
		if more, _ := list(f.admin, "?limit=1&cursor="+end); len(more) != 0 {
			t.Errorf("more: %v", more)
		}
	}
}

func TestConsentLinksAreMade(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	var c struct {
		State, Next string
		Steps       []struct{ Name, Link, Warning, WhyText string }
	}
	f.call(http.MethodGet, "/v1/tenants/"+contoso+"/consent", f.admin, nil).into(t, &c)
	if c.State != "pending" || c.Next != "service" || len(c.Steps) != 3 {
		t.Fatalf("%+v", c)
	}
	for _, s := range c.Steps {
		if !strings.Contains(s.Link, "/"+contoso+"/") || (s.Name != "app") != (s.Warning != "") {
			t.Errorf("step %+v", s)
		}
	}
	f.call(http.MethodPost, "/v1/tenants/"+contoso+"/consent", f.admin, map[string]any{"reason": "links ran out"}).want(t, http.StatusAccepted)
	f.call(http.MethodPost, "/v1/tenants/"+contoso+"/consent", f.admin, nil).want(t, http.StatusAccepted)
	got, err := f.rows.Receive(t.Context(), "consent", 10)
	if err != nil || len(got) != 2 {
		t.Fatalf("%d messages, %v", len(got), err)
	}
	var reasons []string
	for _, d := range got {
		e, err := events.Parse(d.Body)
		if err != nil {
			t.Fatal(err)
		}
		reasons = append(reasons, e.Data.(events.ConsentRequested).Reason)
	}
	if slices.Sort(reasons); !slices.Equal(reasons, []string{"", "links ran out"}) {
		t.Errorf("reasons %q", reasons)
	}
}

func TestSettingsChangeIsRecordedAndAnnounced(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	path := "/v1/tenants/" + contoso + "/settings"
	var s tenant.Settings
	f.call(http.MethodPatch, path, f.admin, `{"passcodeHours":24,"reason":"shorter is safer"}`).into(t, &s)
	if s.PasscodeHours != 24 || s.ResetDeadlineHours != 24 {
		t.Errorf("%+v", s)
	}
	f.call(http.MethodPatch, path, f.admin, `{"passcodeHours":24}`).want(t, http.StatusOK)
	if got := f.auditOf(contoso); fmt.Sprint(got) != "[tenant.settings.changed]" {
		t.Errorf("audit %v", got)
	}
	if a := f.call(http.MethodGet, "/v1/tenants/"+contoso+"/audit", f.admin, nil); !strings.Contains(string(a.body), `"reason":"shorter is safer"`) {
		t.Errorf("audit without the reason: %s", a.body)
	}
	got, err := f.rows.Receive(t.Context(), work.Announcements, 10)
	if err != nil || len(got) != 1 {
		t.Fatalf("%d messages, %v", len(got), err)
	}
	for _, bad := range []string{`{}`, `{"reason":"nothing else"}`, `{"passcodeHours":0}`, `{"passcodeHours":169}`, `{"resetDeadlineHours":721}`, `{"passcodeHours":"24"}`, `{"hours":1}`} {
		f.call(http.MethodPatch, path, f.admin, bad).refused(t, http.StatusUnprocessableEntity, fault.InvalidRequest)
	}
}

func TestTokensThroughTheAPI(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	body := map[string]any{"name": "ticket system", "tenants": []string{contoso}, "permissions": []string{"tenant.read"}, "days": 30}
	a := f.call(http.MethodPost, "/v1/tokens", f.admin, body, key("t"))
	a.want(t, http.StatusCreated)
	token, id := a.field(t, "token"), a.field(t, "id")
	f.call(http.MethodGet, "/v1/tenants/"+contoso, token, nil).want(t, http.StatusOK)
	f.call(http.MethodGet, "/v1/tenants/"+fabrikam, token, nil).refused(t, http.StatusNotFound, fault.NotFound)

	again := f.call(http.MethodPost, "/v1/tokens", f.admin, body, key("t"))
	if again.field(t, "id") != id || strings.Contains(string(again.body), token) {
		t.Errorf("repeated: %s", again.body)
	}
	list := f.call(http.MethodGet, "/v1/tokens", f.admin, nil)
	if !strings.Contains(string(list.body), id) || strings.Contains(string(list.body), "hash") || strings.Contains(string(list.body), token) {
		t.Errorf("%s", list.body)
	}
	_, weak := f.token(identity.Grant{Name: "weak", Tenants: []string{"*"}, Permissions: []identity.Permission{identity.GrantWrite}, Days: 1})
	f.call(http.MethodPost, "/v1/tokens", weak, body).refused(t, http.StatusForbidden, fault.Forbidden)
	f.call(http.MethodPost, "/v1/tokens/"+id+"/revoke", f.admin, nil).want(t, http.StatusOK)
	f.call(http.MethodGet, "/v1/tenants/"+contoso, token, nil).refused(t, http.StatusUnauthorized, fault.Unauthenticated)
	f.call(http.MethodPost, "/v1/tokens/nothing/revoke", f.admin, nil).refused(t, http.StatusNotFound, fault.NotFound)
	if strings.Contains(f.log.String(), token) {
		t.Error("the log has a token")
	}
}
