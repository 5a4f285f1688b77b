package web_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"pinreset/events"
	"pinreset/shared/devicereport"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
)

// TestTenantOnPremises: it is looked after like any other, and whatever Graph has a part in is refused without asking Graph.
func TestTenantOnPremises(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	body := map[string]any{"kind": "on-premises", "domain": "Corp.Example", "displayName": "Northwind"}
	first := f.call(http.MethodPost, "/v1/tenants", f.admin, body, key("one"))
	first.want(t, http.StatusAccepted)
	var shown struct {
		ID, Kind, Domain string
		Consent          struct{ State string }
		Ways             []struct{ Name, Answer string }
	}
	first.into(t, &shown)
	if shown.Kind != "on-premises" || shown.Domain != "corp.example" || !events.IsGUID(shown.ID) || shown.Consent.State != "notApplicable" || len(shown.Ways) == 0 {
		t.Errorf("%s", first.body)
	}
	base := "/v1/tenants/" + shown.ID
	if got := first.header.Get("Location"); got != base {
		t.Errorf("location %q", got)
	}
	again := f.call(http.MethodPost, "/v1/tenants", f.admin, body, key("one"))
	if string(again.body) != string(first.body) {
		t.Errorf("repeated: %s, first %s", again.body, first.body)
	}
	got, err := f.rows.Receive(t.Context(), "consent", 10)
	if err != nil || len(got) != 1 || got[0].Partition != shown.ID {
		t.Fatalf("messages %+v, %v", got, err)
	}
	if e, err := events.Parse(got[0].Body); err != nil || e.Data.(events.TenantAdded).Domain != "corp.example" {
		t.Errorf("event %+v, %v", e, err)
	}

	f.fleet.explode("Graph was asked about a tenant that it does not know")
	for _, c := range []struct {
		method, path string
		body         any
	}{
		{http.MethodGet, "/devices", nil}, {http.MethodGet, "/devices/" + pixel, nil},
		{http.MethodPost, "/devices/" + pixel + "/resets", map[string]any{"reason": "forgot it"}},
		{http.MethodPost, "/consent", map[string]any{}},
		{http.MethodPost, "/audits", map[string]any{}},
		{http.MethodGet, "/policies", nil},
		{http.MethodPost, "/policies/plan", map[string]any{"allUsers": true}},
		{http.MethodPost, "/rollouts", map[string]any{"allUsers": true, "reason": "PINs are forgotten"}},
		{http.MethodPost, "/bulk-resets", map[string]any{"all": true, "expected": 3, "reason": "lost"}},
		{http.MethodGet, "/notifications", nil}, {http.MethodGet, "/notifications/settings", nil},
		{http.MethodPatch, "/notifications/settings", map[string]any{"mailUser": true}}, {http.MethodPost, "/notifications/webhook-key", map[string]any{}},
	} {
		f.call(c.method, base+c.path, f.admin, c.body, key(c.method+c.path+fmt.Sprint(c.body))).refused(t, http.StatusConflict, fault.TenantOnPremises)
	}
	for kind, data := range map[string]string{
		"tenant.consent.requested.v1": `{"requestId":"r"}`,
		"policy.rollout.requested.v1": `{"requestId":"r","shape":"oma-uri","allDevices":true,"reason":"a test"}`,
		"tenant.audit.requested.v1":   `{"requestId":"r","cause":"operator"}`,
		"portal.action.recorded.v1":   `{"requestId":"r","record":{}}`,
		"passcode.reset.requested.v1": fmt.Sprintf(`{"requestId":"r","deviceId":%q,"reason":"forgot it"}`, pixel),
	} {
		event := fmt.Sprintf(`{"specversion":"1.0","id":%q,"type":"dev.pinreset.%s","source":"/tenants/%s","subject":"devices/%s","time":"2026-11-22T08:00:00Z","data":%s}`,
			kind, kind, shown.ID, pixel, data)
		if !strings.HasPrefix(kind, "passcode") {
			event = strings.Replace(event, `"subject":"devices/`+pixel+`",`, "", 1)
		}
		f.call(http.MethodPost, "/v1/events", f.admin, event).refused(t, http.StatusConflict, fault.TenantOnPremises)
	}
	for _, path := range []string{"", "/consent", "/resets", "/failures", "/audit", "/events", "/deadletters"} {
		f.call(http.MethodGet, base+path, f.admin, nil).want(t, http.StatusOK)
	}
	f.call(http.MethodPatch, base+"/settings", f.admin, map[string]any{"passcodeHours": 8}).want(t, http.StatusOK)
	// Its devices report by keys all the same, under ids that nobody but the operator gives them.
	a := f.agent(shown.ID, laptop, "ed25519")
	report := a.body()
	f.deliver(a.path, a.signed("msg_1", report), report).want(t, http.StatusAccepted)
	for _, path := range []string{"/keys", "/reports"} {
		var list struct{ Items []any }
		got := f.call(http.MethodGet, base+"/devices/"+laptop+path, f.admin, nil)
		got.want(t, http.StatusOK)
		if got.into(t, &list); len(list.Items) != 1 {
			t.Errorf("%s of a device on premises: %s", path, got.body)
		}
	}
	f.call(http.MethodPost, base+"/devices/counter-pc/keys", f.admin, map[string]any{"reason": "a test"}, key("name")).refused(t, http.StatusNotFound, fault.NotFound)
	// What is missing comes before what is on premises: a stranger learns nothing.
	f.call(http.MethodGet, base+"/devices", f.may(identity.DeviceRead), nil).refused(t, http.StatusNotFound, fault.NotFound)

	b := f.browser().signIn(f.admin)
	page := b.get("/tenants/" + shown.ID)
	page.want(t, http.StatusOK)
	page.sound(t, "tenant on premises")
	for _, part := range []string{"corp.example", "Read aloud", "I forgot my PIN", "federation service"} {
		if !strings.Contains(string(page.body), part) {
			t.Errorf("the page does not say %q", part)
		}
	}
	if strings.Contains(string(page.body), "Start the consent again") {
		t.Error("the page offers a consent")
	}
	b.get("/tenants/"+shown.ID+"/devices").want(t, http.StatusConflict)
	b.get("/").want(t, http.StatusOK)
}

func TestTenantOnPremisesIsAskedForWhole(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	for i, c := range []struct {
		body  map[string]any
		field string
	}{
		{map[string]any{"kind": "on-premises", "displayName": "N"}, "body.domain"},
		{map[string]any{"kind": "on-premises", "displayName": "N", "domain": "corp"}, "body.domain"},
		{map[string]any{"kind": "on-premises", "displayName": "N", "domain": "corp.example", "tenantId": nowhere}, "body.tenantId"},
		{map[string]any{"kind": "on-premises", "displayName": "N", "domain": "corp.example", "createServicePrincipals": true}, "body.createServicePrincipals"},
		{map[string]any{"kind": "on-premises", "displayName": " ", "domain": "corp.example"}, "body.displayName"},
		{map[string]any{"kind": "other", "displayName": "N", "tenantId": nowhere}, "body.kind"},
		{map[string]any{"displayName": "N", "tenantId": nowhere, "domain": "corp.example"}, "body.domain"},
		{map[string]any{"displayName": "N"}, "body.tenantId"},
		{map[string]any{"kind": "entra", "displayName": "N", "tenantId": "contoso"}, "body.tenantId"},
	} {
		a := f.call(http.MethodPost, "/v1/tenants", f.admin, c.body, key(fmt.Sprint(i)))
		a.refused(t, http.StatusUnprocessableEntity, fault.InvalidRequest)
		var p struct{ Errors []struct{ Location string } }
		a.into(t, &p)
		if len(p.Errors) == 0 || p.Errors[0].Location != c.field {
			t.Errorf("%v: %s", c.body, a.body)
		}
	}
	event := fmt.Sprintf(`{"specversion":"1.0","id":"e1","type":"dev.pinreset.tenant.added.v1","source":"/tenants/%s","time":"2026-11-22T08:00:00Z",
		"data":{"requestId":"r","displayName":"N","domain":"corp.example"}}`, nowhere)
	f.call(http.MethodPost, "/v1/events", f.admin, event).refused(t, http.StatusUnprocessableEntity, fault.InvalidRequest)
	f.call(http.MethodGet, "/v1/tenants/"+nowhere, f.admin, nil).refused(t, http.StatusNotFound, fault.NotFound)
}

// TestDevicesOnPremises: nobody but the operator gives a device its id there. From its first key on the device is known, and
// Graph is never asked.
func TestDevicesOnPremises(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	added := f.call(http.MethodPost, "/v1/tenants", f.admin, map[string]any{"kind": "on-premises", "domain": "corp.example", "displayName": "Northwind"})
	added.want(t, http.StatusAccepted)
	corp := added.field(t, "id")
	f.fleet.explode("Graph was asked about a tenant that it does not know")
	base := "/v1/tenants/" + corp + "/devices/"
	for _, path := range []string{laptop + "/keys", laptop + "/reports", laptop + "/readiness"} {
		f.call(http.MethodGet, base+path, f.admin, nil).refused(t, http.StatusNotFound, fault.NotFound)
	}
	f.call(http.MethodPost, base+"hr-laptop-11/keys", f.admin, map[string]any{}).refused(t, http.StatusNotFound, fault.NotFound)

	a := f.agent(corp, strings.ToUpper(laptop), "hmac")
	for _, path := range []string{laptop + "/keys", strings.ToUpper(laptop) + "/reports"} {
		f.call(http.MethodGet, base+path, f.admin, nil).want(t, http.StatusOK)
	}
	body := a.body()
	f.deliver(a.path, a.signed("msg_1", body), body).want(t, http.StatusAccepted)
	if d, err := f.rows.Receive(t.Context(), devicereport.Queue, 10); err != nil || len(d) != 1 || d[0].Partition != corp || !strings.Contains(string(d[0].Body), laptop) {
		t.Errorf("the report waits as %+v, %v", d, err)
	}
	// The device of one tenant is nobody in the other: there Intune says which devices there are.
	f.fleet.explode(nil)
	f.call(http.MethodPost, "/v1/tenants/"+contoso+"/devices/"+nowhere+"/keys", f.admin, map[string]any{}).refused(t, http.StatusNotFound, fault.NotFound)
}

// TestAuditsLeaveOutOnPremises: in the list of all tenants it is told apart from one that was never audited.
func TestAuditsLeaveOutOnPremises(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.call(http.MethodPost, "/v1/tenants", f.admin, map[string]any{"kind": "on-premises", "domain": "corp.example", "displayName": "Northwind"}).want(t, http.StatusAccepted)
	a := f.call(http.MethodGet, "/v1/audits", f.admin, nil)
	a.want(t, http.StatusOK)
	var list struct {
		Items []struct {
			Tenant, Kind string
			Audit        any
		}
	}
	a.into(t, &list)
	kinds := map[string]string{}
	for _, item := range list.Items {
		kinds[item.Tenant] = item.Kind
		if item.Audit != nil {
			t.Errorf("%s has an audit", item.Tenant)
		}
	}
	if kinds["Northwind"] != "on-premises" || kinds["Contoso"] != "entra" {
		t.Errorf("kinds %v", kinds)
	}
}
