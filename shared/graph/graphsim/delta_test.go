package graphsim

import (
	"strings"
	"testing"
	"time"
)

// round follows a round of changes to its end.
func (s *sim) round(target, token string) (rows []map[string]any, next string) {
	s.t.Helper()
	for {
		r := s.want(200, "GET", target, token, "")
		rows = append(rows, r.rows()...)
		if link, ok := r.body["@odata.nextLink"].(string); ok {
			target = link
			continue
		}
		return rows, r.body["@odata.deltaLink"].(string)
	}
}

func TestDeltaOfGrantsAndGroups(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: noLag})
	general, _ := s.Apps()
	token := s.token(Contoso, general)

	rows, grants := s.round("/v1.0/oauth2PermissionGrants/delta", token)
	if len(rows) != 2 {
		t.Errorf("%d grants, want those of the two PIN reset apps", len(rows))
	}
	if rows, _ := s.round("/v1.0/oauth2PermissionGrants/delta?$deltaToken=latest", token); len(rows) != 0 {
		t.Errorf("latest shows %v", rows)
	}
	if rows, _ := s.round(grants, token); len(rows) != 0 {
		t.Errorf("nothing changed, but %v", rows)
	}
	s.must(s.Revoke(Contoso, "client"))
	rows, grants2 := s.round(grants, token)
	if len(rows) != 1 || rows[0]["@removed"] == nil {
		t.Errorf("after a revocation %v", rows)
	}
	if rows, _ := s.round(grants2, token); len(rows) != 0 {
		t.Errorf("shown twice: %v", rows)
	}

	rows, groups := s.round("/v1.0/groups/delta?$select=id,members", token)
	if len(rows) != 6 || rows[0]["members@delta"] == nil || rows[0]["displayName"] != nil {
		t.Errorf("groups %v", rows)
	}
	s.must(s.ChangeMembers(Contoso, "PIN recovery pilot", []string{"sam@contoso.example", "hr-laptop-11"}, []string{"adele@contoso.example"}))
	rows, next := s.round(groups, token)
	if len(rows) != 1 || len(rows[0]["members@delta"].([]any)) != 3 {
		t.Fatalf("after three changes %v", rows)
	}
	gone := 0
	for _, m := range rows[0]["members@delta"].([]any) {
		if m.(map[string]any)["@removed"] != nil {
			gone++
		}
	}
	if gone != 1 {
		t.Errorf("%d members left, want one: %v", gone, rows)
	}
	// A first round shows no one who left before it.
	rows, _ = s.round("/v1.0/groups/delta?$select=id,members&$filter=id eq '"+s.groupID(Contoso, "PIN recovery pilot")+"'", token)
	if len(rows) != 1 || len(rows[0]["members@delta"].([]any)) != 4 {
		t.Errorf("first round %v", rows)
	}
	members := s.want(200, "GET", "/v1.0/groups/"+s.groupID(Contoso, "PIN recovery pilot")+"/members", token, "").rows()
	if len(members) != 4 {
		t.Errorf("members %v", members)
	}

	// Tokens belong to a tenant and a collection, and grow old on demand.
	s.want(400, "GET", strings.Replace(grants2, "oauth2PermissionGrants", "groups", 1), token, "")
	s.want(400, "GET", next, s.token(Northwind, general), "")
	s.must(s.Inject(Contoso, Fault{Kind: DeltaGone}))
	if r := s.want(410, "GET", next, token, ""); r.code() == "" {
		t.Errorf("410 without a code: %s", r.text)
	}
	s.want(200, "GET", next, token, "")
	if err := s.ChangeMembers(Contoso, "All employees", []string{"Everyone and everything"}, nil); err == nil {
		t.Error("a group went into itself")
	}
}

func TestReadsOfOneStoreFail(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: noLag})
	general, _ := s.Apps()
	token := s.token(Contoso, general)
	s.must(s.Inject(Contoso, Fault{Kind: Refuse, Path: "deviceManagement/intents", Count: -1}))
	s.must(s.Inject(Contoso, Fault{Kind: Refuse, Family: Catalog, Status: 500}))
	for range 3 {
		s.want(403, "GET", "/beta"+intents, token, "")
	}
	s.want(500, "GET", "/beta"+catalog, token, "")
	s.want(200, "GET", "/beta"+catalog, token, "")
	s.want(200, "GET", "/beta"+profiles, token, "")
	s.want(200, "GET", "/beta"+intents, s.token(Northwind, general), "")
	s.must(s.ClearFaults(Contoso))
	s.want(200, "GET", "/beta"+intents, token, "")
	for _, f := range []Fault{{Kind: Refuse, Status: 200}, {Kind: Throttle, Path: "x"}, {Kind: Throttle, Family: "x"}} {
		if err := s.Inject(Contoso, f); err == nil {
			t.Errorf("%+v was taken", f)
		}
	}
}

// TestPolicyFamiliesAreThrottledApart fills one family and finds the others open.
func TestPolicyFamiliesAreThrottledApart(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: noLag, Limits: Limits{PolicyRequests: Limit{N: 3}, PolicyWrites: Limit{N: 1}}})
	general, _ := s.Apps()
	token := s.token(Contoso, general)
	s.want(201, "POST", "/beta"+profiles, token, customProfile(Contoso, true))
	s.want(429, "POST", "/beta"+profiles, token, customProfile(Contoso, true))
	s.want(200, "GET", "/beta"+profiles, token, "")
	s.want(200, "GET", "/beta"+profiles, token, "")
	if r := s.want(429, "GET", "/beta"+profiles, token, ""); r.header.Get("Retry-After") != "20" || r.header.Get("x-ms-throttle-scope") != "" {
		t.Errorf("headers %v", r.header)
	}
	s.want(200, "GET", "/beta"+catalog, token, "")
	s.want(200, "GET", "/beta"+intents, token, "")
	s.want(200, "GET", "/v1.0/deviceManagement/auditEvents", token, "")
	s.want(200, "GET", "/v1.0/organization", token, "")
	s.clock.Advance(20 * time.Second)
	s.want(201, "POST", "/beta"+profiles, token, customProfile(Contoso, true))
}

func TestTenantsDifferInSignInAndRegion(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: noLag})
	general, _ := s.Apps()
	for tenant, want := range map[string][2]string{Contoso: {"Managed", ""}, Tailspin: {"Federated", ""}, Woodgrove: {"Managed", "DODCON"}} {
		token := s.token(tenant, general)
		org := s.want(200, "GET", "/v1.0/organization?$select=verifiedDomains", token, "").rows()[0]["verifiedDomains"].([]any)[0].(map[string]any)
		domain := s.want(200, "GET", "/v1.0/domains?$select=id,authenticationType", token, "").rows()[0]
		if org["type"] != want[0] || domain["authenticationType"] != want[0] {
			t.Errorf("%s: organization %v, domain %v", tenant, org, domain)
		}
		scope, _ := s.want(200, "GET", "/"+tenant+"/v2.0/.well-known/openid-configuration", "", "").body["tenant_region_sub_scope"].(string)
		if scope != want[1] {
			t.Errorf("%s: region %q", tenant, scope)
		}
	}
}

// TestAuditLogIsReadFromAMoment checks $filter on activityDateTime, the shape of
// a person's record and of an app's.
func TestAuditLogIsReadFromAMoment(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: noLag})
	general, _ := s.Apps()
	token := s.token(Contoso, general)
	s.want(204, "POST", devicesPath+s.deviceID(Contoso, "sales-pixel-12")+"/resetPasscode", s.token(Contoso, second(s.Apps())), "")
	s.clock.Advance(time.Minute)
	since := stamp(s.clock.Now())
	s.must(s.ResetInPortal(Contoso, "ceo-iphone"))
	all := s.want(200, "GET", "/v1.0/deviceManagement/auditEvents", token, "").rows()
	late := s.want(200, "GET", "/v1.0/deviceManagement/auditEvents?$filter=activityDateTime ge "+since+" and category eq 'Device'", token, "").rows()
	if len(all) != 2 || len(late) != 1 || late[0]["id"] != all[1]["id"] {
		t.Fatalf("all %v, late %v", all, late)
	}
	app, person := all[0]["actor"].(map[string]any), all[1]["actor"].(map[string]any)
	if app["auditActorType"] != "Application" || app["applicationDisplayName"] != "pinreset device actions" || app["userPrincipalName"] != nil {
		t.Errorf("app %v", app)
	}
	if person["auditActorType"] != "ItPro" || person["userPrincipalName"] != "adele@contoso.example" {
		t.Errorf("person %v", person)
	}
	if r := all[1]["resources"].([]any)[0].(map[string]any); r["resourceId"] != s.deviceID(Contoso, "ceo-iphone") || all[1]["activityType"] != "resetPasscode ManagedDevice" {
		t.Errorf("record %v", all[1])
	}
	s.want(400, "GET", "/v1.0/deviceManagement/auditEvents?$filter=activityDateTime ge 'x'", token, "")
	s.want(400, "GET", "/v1.0/deviceManagement/auditEvents?$filter=category gt 'x'", token, "")
	if err := s.ResetInPortal(Contoso, "hr-laptop-11"); err == nil {
		t.Error("the portal reset a Windows desktop")
	}
}
