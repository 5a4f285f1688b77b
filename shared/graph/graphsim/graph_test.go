package graphsim

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// onboard gives the general app the opt-in permissions of onboarding by Graph.
func (s *sim) onboard(tenant string) string {
	s.t.Helper()
	s.must(s.Consent(tenant, "general"))
	s.must(s.Grant(tenant, "general", "Application.ReadWrite.All", "DelegatedPermissionGrant.ReadWrite.All",
		"AppRoleAssignment.ReadWrite.All", "UserAuthenticationMethod.Read.All"))
	general, _ := s.Apps()
	return s.token(tenant, general)
}

func windowsDevices() (n int) {
	for _, p := range fleet {
		if p.os == "Windows" {
			n++
		}
	}
	return n
}

// drivenElsewhere are the calls of TestPoliciesFollowTheSchema.
func drivenElsewhere(rt route) bool {
	return rt.family != Identity && rt.family != Devices || rt.entity == "deviceConfigurationState"
}

// TestEveryEndpointFollowsTheSchema drives each simulated v1.0 call and checks
// all requests and responses against Microsoft's published schema.
func TestEveryEndpointFollowsTheSchema(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: noLag})
	token := s.onboard(Contoso)
	_, privileged := s.Apps()
	act := s.token(Contoso, privileged)
	driven := make(map[string]bool)
	do := func(status int, method, target, token, body string, header ...string) reply {
		t.Helper()
		r := s.want(status, method, target, token, body, header...)
		path, _, _ := strings.Cut(strings.TrimPrefix(target, "/v1.0/"), "?")
		for _, rt := range graphRoutes {
			if _, ok := matchPattern(rt.pattern, splitPath(path)); ok && rt.method == method && !driven[rt.method+rt.pattern] {
				driven[rt.method+" "+rt.pattern] = true
				break
			}
		}
		return r
	}

	org := do(200, "GET", "/v1.0/organization?$select=id,displayName,verifiedDomains", token, "").rows()
	if len(org) != 1 || org[0]["id"] != Contoso || org[0]["displayName"] != "Contoso" {
		t.Errorf("organization %v", org)
	}
	service := do(200, "GET", "/v1.0/servicePrincipals(appId='"+PinResetService+"')", token, "").body
	if service["accountEnabled"] != true || service["isDisabled"] != nil || service["displayName"] != "Microsoft Pin Reset Service Production" {
		t.Errorf("service principal %v", service)
	}
	found := do(200, "GET", "/v1.0/servicePrincipals?$filter=appId eq '"+PinResetClient+"'&$select=id,appId", token, "").rows()
	if len(found) != 1 || len(found[0]) != 2 || found[0]["appId"] != PinResetClient {
		t.Errorf("filtered %v", found)
	}
	none := do(200, "GET", "/v1.0/servicePrincipals?$filter=appId eq '"+newID()+"'", token, "")
	if none.body["value"] == nil || len(none.rows()) != 0 {
		t.Errorf("filter without a match: %s", none.text)
	}
	serviceID := service["id"].(string)
	graphID := do(200, "GET", "/v1.0/servicePrincipals(appId='"+microsoftGraph+"')?$select=id,appRoles", token, "").body["id"].(string)
	do(200, "GET", "/v1.0/servicePrincipals/"+serviceID, token, "")
	if rows := do(200, "GET", "/v1.0/servicePrincipals/"+graphID+"/appRoleAssignedTo", token, "").rows(); len(rows) != 9+2+4 {
		t.Errorf("%d roles given, want those of our two apps and the onboarding ones", len(rows))
	}
	grants := do(200, "GET", "/v1.0/oauth2PermissionGrants?$filter=clientId eq '"+serviceID+"'", token, "").rows()
	if len(grants) != 1 || grants[0]["consentType"] != "AllPrincipals" {
		t.Errorf("grants %v", grants)
	}
	do(200, "GET", "/v1.0/oauth2PermissionGrants/"+grants[0]["id"].(string), token, "")

	// Service principals and grants are made, changed and removed.
	s.must(s.DeleteServicePrincipal(Contoso, "client"))
	do(404, "GET", "/v1.0/servicePrincipals(appId='"+PinResetClient+"')", token, "")
	made := do(201, "POST", "/v1.0/servicePrincipals", token, `{"appId":"`+PinResetClient+`"}`).body
	clientID := made["id"].(string)
	do(409, "POST", "/v1.0/servicePrincipals", token, `{"appId":"`+PinResetClient+`"}`)
	do(400, "POST", "/v1.0/servicePrincipals", token, `{"appId":"`+newID()+`"}`)
	do(204, "PATCH", "/v1.0/servicePrincipals(appId='"+PinResetClient+"')", token, `{"accountEnabled":false}`)
	if got := do(200, "GET", "/v1.0/servicePrincipals/"+clientID, token, "").body["accountEnabled"]; got != false {
		t.Errorf("accountEnabled %v after switching it off", got)
	}
	s.must(s.DeleteServicePrincipal(Contoso, "client"))
	do(404, "PATCH", "/v1.0/servicePrincipals(appId='"+PinResetClient+"')", token, `{}`)
	clientID = do(201, "PATCH", "/v1.0/servicePrincipals(appId='"+PinResetClient+"')", token, `{}`, "Prefer", "create-if-missing").body["id"].(string)
	do(204, "PATCH", "/v1.0/servicePrincipals(appId='"+PinResetClient+"')", token, `{}`, "Prefer", "create-if-missing")
	grant := `{"clientId":"` + clientID + `","consentType":"AllPrincipals","principalId":null,"resourceId":"` + serviceID + `","scope":"user_impersonation"}`
	do(201, "POST", "/v1.0/oauth2PermissionGrants", token, grant)
	do(409, "POST", "/v1.0/oauth2PermissionGrants", token, grant)
	do(400, "POST", "/v1.0/oauth2PermissionGrants", token, strings.Replace(grant, clientID, PinResetClient, 1))
	role := `{"principalId":"` + clientID + `","resourceId":"` + graphID + `","appRoleId":"9a5d68dd-52b0-4cc2-bd40-abcf44ac3a30"}`
	assigned := do(201, "POST", "/v1.0/servicePrincipals/"+graphID+"/appRoleAssignedTo", token, role).body["id"].(string)
	do(400, "POST", "/v1.0/servicePrincipals/"+graphID+"/appRoleAssignedTo", token, role)
	if rows := do(200, "GET", "/v1.0/servicePrincipals/"+clientID+"/oauth2PermissionGrants", token, "").rows(); len(rows) != 1 || rows[0]["clientId"] != clientID {
		t.Errorf("grants of %s: %v", clientID, rows)
	}
	if rows := do(200, "GET", "/v1.0/servicePrincipals/"+clientID+"/appRoleAssignments", token, "").rows(); len(rows) != 1 || rows[0]["id"] != assigned {
		t.Errorf("roles held %v", rows)
	}
	do(204, "DELETE", "/v1.0/servicePrincipals/"+graphID+"/appRoleAssignedTo/"+assigned, token, "")
	do(404, "DELETE", "/v1.0/servicePrincipals/"+graphID+"/appRoleAssignedTo/"+assigned, token, "")

	do(200, "GET", "/v1.0/servicePrincipals/delta?$select=id,appId", token, "")
	do(200, "GET", "/v1.0/oauth2PermissionGrants/delta", token, "")
	do(200, "GET", "/v1.0/groups/delta?$select=id,displayName,members", token, "")
	do(200, "GET", "/v1.0/domains", token, "")

	groups := do(200, "GET", "/v1.0/groups?$filter=displayName eq 'PIN recovery pilot'", token, "").rows()
	if len(groups) != 1 {
		t.Fatalf("groups %v", groups)
	}
	groupID := groups[0]["id"].(string)
	do(200, "GET", "/v1.0/groups/"+groupID+"?$select=id,displayName", token, "")
	if rows := do(200, "GET", "/v1.0/groups/"+groupID+"/members", token, "").rows(); len(rows) != 3 {
		t.Errorf("members %v", rows)
	}
	do(404, "GET", "/v1.0/groups/"+newID(), token, "")

	devices := do(200, "GET", "/v1.0/deviceManagement/managedDevices", act, "").rows()
	if len(devices) != len(fleet) {
		t.Errorf("%d devices, want %d", len(devices), len(fleet))
	}
	hr := do(200, "GET", "/v1.0/deviceManagement/managedDevices?$filter=deviceName eq 'hr-laptop-11'&$select=id,azureADDeviceId,serialNumber,userPrincipalName", act, "").rows()
	if len(hr) != 1 || hr[0]["userPrincipalName"] != "hana@contoso.example" {
		t.Fatalf("filtered devices %v", hr)
	}
	for _, filter := range []string{"serialNumber eq '" + hr[0]["serialNumber"].(string) + "'", "userPrincipalName eq 'hana@contoso.example' and deviceName eq 'HR-laptop-11'"} {
		if rows := do(200, "GET", "/v1.0/deviceManagement/managedDevices?$filter="+filter, act, "").rows(); len(rows) != 1 {
			t.Errorf("filter %s found %d devices", filter, len(rows))
		}
	}
	if got := do(200, "GET", "/v1.0/devices(deviceId='"+hr[0]["azureADDeviceId"].(string)+"')?$select=id,trustType,accountEnabled", token, "").body["trustType"]; got != "AzureAd" {
		t.Errorf("trustType %v", got)
	}
	do(404, "GET", "/v1.0/devices(deviceId='"+newID()+"')", token, "")
	if rows := do(200, "GET", "/v1.0/users/hana@contoso.example/authentication/windowsHelloForBusinessMethods", token, "").rows(); len(rows) != 3 {
		t.Errorf("%d Hello methods, want one for each Windows device", len(rows))
	}
	pixel := devicesPath + s.deviceID(Contoso, "sales-pixel-12")
	do(204, "POST", pixel+"/resetPasscode", act, "")
	for range 4 { // no entry, pending, active, done
		do(200, "GET", pixel+"?$select=id,deviceName,userId,enrolledDateTime,lastSyncDateTime,deviceActionResults", act, "")
		s.clock.Advance(2500 * time.Millisecond)
	}
	do(204, "POST", pixel+"/syncDevice", act, "")
	do(404, "POST", devicesPath+newID()+"/resetPasscode", act, "")
	s.want(200, "POST", "/v1.0/$batch", token, `{"requests":[{"id":"1","method":"GET","url":"/organization"},{"id":"2","method":"GET","url":"/groups/none"}]}`)

	users := do(200, "GET", "/v1.0/groups/"+groupID+"/members?$select=id,displayName,userPrincipalName", token, "").rows()
	do(200, "GET", "/v1.0/users/"+users[0]["id"].(string), token, "")
	if rows := do(200, "GET", "/v1.0/users/"+users[0]["id"].(string)+"/transitiveMemberOf", token, "").rows(); len(rows) != 4 {
		t.Errorf("the administrator is in %v, want pilot, all, the group around all, and the directory role", rows)
	}
	everything := do(200, "GET", "/v1.0/groups?$filter=displayName eq 'Everyone and everything'", token, "").rows()[0]["id"].(string)
	if rows := do(200, "GET", "/v1.0/groups/"+everything+"/transitiveMembers?$select=id,displayName,userPrincipalName,deviceId", token, "").rows(); len(rows) != 2+len(staff)+windowsDevices() {
		t.Errorf("%d transitive members", len(rows))
	}
	if rows := do(200, "GET", "/v1.0/devices?$select=id,deviceId,trustType", token, "").rows(); len(rows) != len(fleet) {
		t.Errorf("%d directory devices", len(rows))
	}
	object := do(200, "GET", "/v1.0/devices(deviceId='"+hr[0]["azureADDeviceId"].(string)+"')", token, "").body["id"].(string)
	if rows := do(200, "GET", "/v1.0/devices/"+object+"/transitiveMemberOf", token, "").rows(); len(rows) != 2 {
		t.Errorf("a Windows device is in %v", rows)
	}

	for _, rt := range graphRoutes {
		if drivenElsewhere(rt) {
			continue
		}
		if !driven[rt.method+" "+rt.pattern] {
			t.Errorf("%s %s was not driven", rt.method, rt.pattern)
		}
	}
	tally := s.recorder.Tally()
	t.Logf("schema checks: %d requests, %d responses, %d properties, %d violations", tally.Requests, tally.Responses, tally.Properties, len(tally.Violations))
	if tally.Requests == 0 || tally.Responses == 0 || tally.Properties == 0 {
		t.Error("nothing was checked")
	}
}

func TestErrorsLookLikeGraphs(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: noLag})
	general, _ := s.Apps()
	token := s.token(Contoso, general)
	id := newID()
	r := s.want(404, "GET", "/v1.0/servicePrincipals(appId='"+newID()+"')", token, "", "client-request-id", id)
	inner, _ := r.body["error"].(map[string]any)["innerError"].(map[string]any)
	if r.code() != "Request_ResourceNotFound" || inner["client-request-id"] != id || inner["request-id"] != r.header.Get("request-id") || inner["date"] == nil {
		t.Errorf("error %s", r.text)
	}
	if r.header.Get("client-request-id") != id || r.header.Get("Date") != s.clock.Now().Format("Mon, 02 Jan 2006 15:04:05 GMT") {
		t.Errorf("headers %v", r.header)
	}
	for _, bad := range []string{
		"/v1.0/servicePrincipals?$select=id,pin", "/v1.0/servicePrincipals?$filter=tags eq 'x'", "/v1.0/servicePrincipals?$filter=appId gt 'x'",
		"/v1.0/servicePrincipals?$top=0", "/v1.0/servicePrincipals?$skiptoken=%25%25", "/v1.0/servicePrincipals?$orderby=id",
		"/v1.0/deviceManagement/configurationPolicies", "/v1.0/nothing",
	} {
		s.want(400, "GET", bad, token, "")
	}
	s.want(405, "DELETE", "/v1.0/organization", token, "")
	if unit := s.want(200, "GET", "/v1.0/oauth2PermissionGrants", token, "").header.Get("x-ms-resource-unit"); unit != "2" {
		t.Errorf("x-ms-resource-unit %q, want 2", unit)
	}
}

func TestPaging(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: noLag})
	_, privileged := s.Apps()
	token := s.token(Contoso, privileged)
	next := s.URL() + "/v1.0/deviceManagement/managedDevices?$top=4&$select=id,deviceName"
	var names []string
	pages := 0
	for next != "" {
		r := s.want(200, "GET", next, token, "")
		for _, row := range r.rows() {
			if len(row) != 2 {
				t.Errorf("row %v has more than was selected", row)
			}
			names = append(names, row["deviceName"].(string))
		}
		next, _ = r.body["@odata.nextLink"].(string)
		if next != "" && !strings.HasPrefix(next, s.URL()+"/v1.0/") {
			t.Fatalf("next link %s", next)
		}
		pages++
	}
	slices.Sort(names)
	if len(slices.Compact(names)) != len(fleet) || pages != (len(fleet)+3)/4 {
		t.Errorf("%d devices on %d pages", len(names), pages)
	}
}

func TestReplicasDisagreeUntilTheLagIsOver(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: Timing{ReplicationLag: 10 * time.Second}})
	general, _ := s.Apps()
	token := s.token(Contoso, general)
	s.must(s.DeleteServicePrincipal(Contoso, "client"))
	s.clock.Advance(10 * time.Second)
	s.must(s.Consent(Contoso, "client"))
	seen := func() string {
		var out strings.Builder
		for range 6 {
			r, err := s.send("GET", "/v1.0/servicePrincipals(appId='"+PinResetClient+"')", token, "")
			s.must(err)
			fmt.Fprint(&out, r.status/100)
		}
		return out.String()
	}
	count := func(what string, want int) {
		t.Helper()
		if got := strings.Count(seen(), "2"); got != want {
			t.Errorf("%s: %d of 6 reads found it, want %d", what, got, want)
		}
	}
	count("at once", 2)
	s.clock.Advance(5 * time.Second)
	count("half way", 4)
	s.clock.Advance(5 * time.Second)
	count("afterwards", 6)
}

// TestFreshObjectsCannotBeReferredToEverywhere: a grant between new service
// principals is a 400 on a replica that does not have them yet.
func TestFreshObjectsCannotBeReferredToEverywhere(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: noLag})
	token := s.onboard(Fabrikam)
	s.must(s.AdjustTenant(Fabrikam, TenantKnobs{ReplicationLag: new(time.Minute)}))
	s.clock.Advance(time.Minute)
	ids := make([]string, 2)
	for i, app := range []string{PinResetService, PinResetClient} {
		ids[i] = s.want(201, "POST", "/v1.0/servicePrincipals", token, `{"appId":"`+app+`"}`).body["id"].(string)
	}
	grant := `{"clientId":"` + ids[1] + `","consentType":"AllPrincipals","resourceId":"` + ids[0] + `","scope":"user_impersonation"}`
	seen := make(map[int]int)
	for range replicas {
		r, err := s.send("POST", "/v1.0/oauth2PermissionGrants", token, grant)
		s.must(err)
		seen[r.status]++
	}
	if seen[400] != 2 || seen[201] != 1 {
		t.Errorf("statuses %v, want 201 from one replica and 400 from two", seen)
	}
}

func TestDelta(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: noLag})
	general, _ := s.Apps()
	token := s.token(Contoso, general)
	read := func(target string) (rows []map[string]any, deltaLink string) {
		for target != "" {
			r := s.want(200, "GET", target, token, "")
			rows = append(rows, r.rows()...)
			target, _ = r.body["@odata.nextLink"].(string)
			deltaLink, _ = r.body["@odata.deltaLink"].(string)
		}
		return rows, deltaLink
	}
	all, link := read("/v1.0/servicePrincipals/delta?$top=2&$select=id,appId")
	if len(all) != 6 {
		t.Errorf("first round has %d rows, want 6", len(all))
	}
	if rows, _ := read(link); len(rows) != 0 {
		t.Errorf("nothing changed, but got %v", rows)
	}
	s.must(s.DeleteServicePrincipal(Contoso, "client"))
	s.must(s.EnableServicePrincipal(Contoso, "service", false))
	rows, again := read(link)
	if len(rows) != 2 {
		t.Fatalf("changes %v, want two", rows)
	}
	slices.SortFunc(rows, func(a, b map[string]any) int { return len(a) - len(b) })
	removed := slices.IndexFunc(rows, func(r map[string]any) bool { return r["@removed"] != nil })
	if removed < 0 || rows[1-removed]["appId"] != PinResetService {
		t.Errorf("changes %v", rows)
	}
	if rows, _ := read(again); len(rows) != 0 {
		t.Errorf("changes came twice: %v", rows)
	}
	_, latest := read("/v1.0/servicePrincipals/delta?$deltatoken=latest")
	s.must(s.Consent(Contoso, "client"))
	if rows, _ := read(latest); len(rows) != 1 || rows[0]["appId"] != PinResetClient {
		t.Errorf("since latest %v", rows)
	}
	s.want(400, "GET", "/v1.0/servicePrincipals/delta?$deltatoken=nonsense", token, "")
}
