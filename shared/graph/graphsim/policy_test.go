package graphsim

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pinreset/shared/graph/graphschema"
)

const (
	profiles = "/deviceManagement/deviceConfigurations"
	catalog  = "/deviceManagement/configurationPolicies"
	intents  = "/deviceManagement/intents"
)

// customProfile is the body that the documented path needs.
func customProfile(tenant string, on bool) string {
	return fmt.Sprintf(`{"@odata.type":"#microsoft.graph.windows10CustomConfiguration","displayName":"PIN recovery","description":"managed","omaSettings":[{"@odata.type":"#microsoft.graph.omaSettingBoolean","displayName":"EnablePinRecovery","description":"","omaUri":"./Device/Vendor/MSFT/PassportForWork/%s/Policies/EnablePinRecovery","value":%t}]}`, tenant, on)
}

func catalogPolicy(on bool) string {
	const id = "device_vendor_msft_passportforwork_{tenantid}"
	return fmt.Sprintf(`{"name":"PIN recovery","description":"","platforms":"windows10","technologies":"mdm","roleScopeTagIds":["0"],"settings":[{"@odata.type":"#microsoft.graph.deviceManagementConfigurationSetting","settingInstance":{"@odata.type":"#microsoft.graph.deviceManagementConfigurationGroupSettingCollectionInstance","settingDefinitionId":"%s","groupSettingCollectionValue":[{"children":[{"@odata.type":"#microsoft.graph.deviceManagementConfigurationChoiceSettingInstance","settingDefinitionId":"%s_policies_enablepinrecovery","choiceSettingValue":{"@odata.type":"#microsoft.graph.deviceManagementConfigurationChoiceSettingValue","value":"%s_policies_enablepinrecovery_%t","children":[]}}]}]}}]}`, id, id, id, on)
}

func include(group string) string {
	return `{"target":{"@odata.type":"#microsoft.graph.groupAssignmentTarget","groupId":"` + group + `"}}`
}

func exclude(group string) string {
	return `{"target":{"@odata.type":"#microsoft.graph.exclusionGroupAssignmentTarget","groupId":"` + group + `"}}`
}

func assignments(list ...string) string { return `{"assignments":[` + strings.Join(list, ",") + `]}` }

// groupID returns a group's id by name.
func (s *sim) groupID(tenant, name string) string {
	s.t.Helper()
	t, err := s.lookup(tenant)
	s.must(err)
	g, err := t.group(name)
	s.must(err)
	return g.ID
}

// TestPoliciesFollowTheSchema drives each call on policies, their statuses and
// the audit log on both endpoints.
func TestPoliciesFollowTheSchema(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: noLag})
	general, _ := s.Apps()
	token := s.token(Contoso, general)
	driven := make(map[string]bool)
	names := 0
	do := func(status int, method, target, body string) reply {
		t.Helper()
		r := s.want(status, method, target, token, body)
		version, path, _ := strings.Cut(strings.TrimPrefix(target, "/"), "/")
		path, _, _ = strings.Cut(path, "?")
		for _, rt := range graphRoutes {
			if _, ok := matchPattern(rt.pattern, splitPath(path)); ok && rt.method == method {
				driven[version+" "+rt.method+" "+rt.pattern] = true
				if version == "beta" && status < 300 && len(r.body) > 0 && graphschema.Beta().Known(rt.entity) {
					entity := graphschema.Beta().Check(rt.entity, []byte(r.text))
					if _, list := r.body["value"]; list {
						entity = graphschema.Beta().Check("", []byte(r.text))
						for _, row := range r.rows() {
							row := graphschema.Beta().Check(rt.entity, []byte(toJSON(t, row)))
							entity.Properties += row.Properties
							entity.Violations = append(entity.Violations, row.Violations...)
						}
					}
					names += entity.Properties
					for _, wrong := range entity.Violations {
						t.Errorf("%s %s: %s", method, target, wrong)
					}
				}
				break
			}
		}
		return r
	}

	pilot, windows := s.groupID(Contoso, "PIN recovery pilot"), s.groupID(Contoso, "Windows devices")
	made := do(201, "POST", "/v1.0"+profiles, customProfile(Contoso, true)).body
	again := do(201, "POST", "/v1.0"+profiles, customProfile(Contoso, true)).body
	if made["id"] == again["id"] || made["version"] != 1.0 || made["@odata.type"] != "#microsoft.graph.windows10CustomConfiguration" {
		t.Errorf("created %v and %v", made, again)
	}
	id := made["id"].(string)
	do(204, "DELETE", "/v1.0"+profiles+"/"+again["id"].(string), "")
	do(404, "GET", "/v1.0"+profiles+"/"+again["id"].(string), "")
	identity := do(201, "POST", "/beta"+profiles, `{"@odata.type":"#microsoft.graph.windowsIdentityProtectionConfiguration","displayName":"Hello","pinRecoveryEnabled":true,"pinMinimumLength":6}`).body
	if identity["pinRecoveryEnabled"] != true || identity["pinUppercaseCharactersUsage"] != "notConfigured" {
		t.Errorf("identity protection %v", identity)
	}
	for what, c := range map[string][2]string{
		"identity protection on v1.0":  {"/v1.0" + profiles, `{"@odata.type":"#microsoft.graph.windowsIdentityProtectionConfiguration","displayName":"x"}`},
		"no type":                      {"/v1.0" + profiles, `{"displayName":"x"}`},
		"no name":                      {"/v1.0" + profiles, strings.Replace(customProfile(Contoso, true), `"displayName":"PIN recovery",`, "", 1)},
		"a name that Graph lacks":      {"/v1.0" + profiles, strings.Replace(customProfile(Contoso, true), `"description"`, `"descriptions"`, 1)},
		"beta's names on v1.0":         {"/v1.0" + profiles, strings.Replace(customProfile(Contoso, true), `"description":"managed"`, `"roleScopeTagIds":["0"]`, 1)},
		"a value of the wrong type":    {"/v1.0" + profiles, strings.Replace(customProfile(Contoso, true), `"value":true`, `"value":"true"`, 1)},
		"a catalog name that is none":  {"/beta" + catalog, strings.Replace(catalogPolicy(true), `"name"`, `"displayName"`, 1)},
		"a catalog policy on v1.0":     {"/v1.0" + catalog, catalogPolicy(true)},
		"a catalog without platforms":  {"/beta" + catalog, strings.Replace(catalogPolicy(true), `"platforms":"windows10",`, "", 1)},
		"a group that does not exist":  {"/beta" + profiles + "/" + id + "/assign", assignments(include(newID()))},
		"the same target twice":        {"/beta" + profiles + "/" + id + "/assign", assignments(include(pilot), include(pilot))},
		"a filter on an exclusion":     {"/beta" + profiles + "/" + id + "/assign", assignments(strings.Replace(exclude(pilot), `"groupId"`, `"deviceAndAppManagementAssignmentFilterId":"f","groupId"`, 1))},
		"a filter on v1.0":             {"/v1.0" + profiles + "/" + id + "/assign", assignments(strings.Replace(include(pilot), `"groupId"`, `"deviceAndAppManagementAssignmentFilterId":"f","groupId"`, 1))},
		"an assign without its member": {"/beta" + profiles + "/" + id + "/assign", `{}`},
	} {
		if r := s.want(400, "POST", c[0], token, c[1]); r.code() == "" {
			t.Errorf("%s: %s", what, r.text)
		}
	}

	// v1.0 shows the identity protection profile without what beta alone has.
	rows := do(200, "GET", "/v1.0"+profiles+"?$expand=assignments&$select=id,displayName,version", "").rows()
	for _, row := range rows {
		if row["id"] == identity["id"] && row["@odata.type"] != "#microsoft.graph.deviceConfiguration" {
			t.Errorf("v1.0 shows %v", row)
		}
	}
	if len(rows) != 2 || rows[0]["assignments"] == nil {
		t.Errorf("listed %v", rows)
	}
	do(400, "GET", "/v1.0"+profiles+"?$select=pinRecoveryEnabled", "")
	do(400, "GET", "/v1.0"+profiles+"?$expand=nothing", "")
	do(200, "GET", "/beta"+profiles+"?$select=id,roleScopeTagIds", "")
	if page := do(200, "GET", "/beta"+profiles+"?$top=1&$expand=assignments", ""); page.body["@odata.nextLink"] == nil {
		t.Error("no second page")
	}

	// A filter is kept by beta and lost by a write through v1.0.
	filtered := strings.Replace(include(pilot), `"groupId"`, `"deviceAndAppManagementAssignmentFilterId":"f1","deviceAndAppManagementAssignmentFilterType":"include","groupId"`, 1)
	foreign := `{"target":{"@odata.type":"#microsoft.graph.configurationManagerCollectionAssignmentTarget","collectionId":"SMS00001"}}`
	do(200, "POST", "/beta"+profiles+"/"+id+"/assign", assignments(filtered, exclude(windows), foreign))
	if text := do(200, "GET", "/beta"+profiles+"/"+id+"/assignments", "").text; !strings.Contains(text, `"f1"`) || !strings.Contains(text, "SMS00001") {
		t.Errorf("beta lost a filter or a foreign target: %s", text)
	}
	if text := do(200, "GET", "/v1.0"+profiles+"/"+id+"/assignments", "").text; strings.Contains(text, "ilter") || strings.Contains(text, "SMS00001") {
		t.Errorf("v1.0 shows %s", text)
	}
	if rows := do(200, "POST", "/v1.0"+profiles+"/"+id+"/assign", assignments(include(pilot))).rows(); len(rows) != 1 {
		t.Errorf("assign did not replace the set: %v", rows)
	}
	if text := do(200, "GET", "/beta"+profiles+"/"+id+"/assignments", "").text; strings.Contains(text, `"f1"`) {
		t.Errorf("v1.0 kept a filter that it does not know: %s", text)
	}

	if got := do(200, "PATCH", "/v1.0"+profiles+"/"+id, `{"@odata.type":"#microsoft.graph.windows10CustomConfiguration","displayName":"Renamed"}`).body; got["displayName"] != "Renamed" || got["version"] != 2.0 || got["omaSettings"] == nil {
		t.Errorf("patched %v", got)
	}
	do(200, "GET", "/v1.0"+profiles+"/"+id, "")
	do(200, "GET", "/beta"+profiles+"/"+id, "")
	do(200, "PATCH", "/beta"+profiles+"/"+identity["id"].(string), `{"@odata.type":"#microsoft.graph.windowsIdentityProtectionConfiguration","pinRecoveryEnabled":false}`)

	policyID := do(201, "POST", "/beta"+catalog, catalogPolicy(true)).body["id"].(string)
	account := strings.Replace(catalogPolicy(false), `"settings"`, `"templateReference":{"templateId":"fcef01f2-439d-4c3f-9184-823fd6e97646_1","templateFamily":"endpointSecurityAccountProtection"},"settings"`, 1)
	if got := do(201, "POST", "/beta"+catalog, account).body; !strings.Contains(fmt.Sprint(got["templateReference"]), "endpointSecurityAccountProtection") {
		t.Errorf("account protection %v", got)
	}
	do(200, "GET", "/beta"+catalog+"?$expand=assignments", "")
	if got := do(200, "GET", "/beta"+catalog+"/"+policyID+"?$expand=settings", "").body; got["settingCount"] != 1.0 || got["isAssigned"] != false || len(got["settings"].([]any)) != 1 {
		t.Errorf("catalog policy %v", got)
	}
	do(200, "PATCH", "/beta"+catalog+"/"+policyID, `{"description":"x"}`)
	do(204, "PUT", "/beta"+catalog+"/"+policyID, catalogPolicy(false))
	if text := do(200, "GET", "/beta"+catalog+"/"+policyID+"/settings", "").text; !strings.Contains(text, "enablepinrecovery_false") {
		t.Errorf("settings %s", text)
	}
	do(200, "POST", "/beta"+catalog+"/"+policyID+"/assign", assignments(include(windows)))
	do(200, "GET", "/beta"+catalog+"/"+policyID+"/assignments", "")
	do(204, "DELETE", "/beta"+catalog+"/"+policyID, "")

	s.must(s.CheckIn(Contoso, "hr-laptop-11"))
	for _, version := range []string{"/v1.0", "/beta"} {
		if rows := do(200, "GET", version+profiles+"/"+id+"/deviceStatuses", "").rows(); len(rows) == 0 {
			t.Error("no statuses")
		}
		do(200, "GET", version+profiles+"/"+id+"/userStatuses", "")
		do(200, "GET", version+profiles+"/"+id+"/deviceStatusOverview", "")
		do(200, "GET", version+profiles+"/"+id+"/userStatusOverview", "")
		if rows := do(200, "GET", version+"/deviceManagement/managedDevices/"+s.deviceID(Contoso, "hr-laptop-11")+"/deviceConfigurationStates", "").rows(); len(rows) != 1 || rows[0]["state"] != "compliant" {
			t.Errorf("device states %v", rows)
		}
		events := do(200, "GET", version+"/deviceManagement/auditEvents", "").rows()
		if len(events) < 12 || events[0]["activityType"] != "Create DeviceConfiguration" {
			t.Errorf("audit %v", events)
		}
		do(200, "GET", version+"/deviceManagement/auditEvents/"+events[0]["id"].(string), "")
	}

	intent, err := s.AddPolicy(Contoso, PolicySpec{Store: LegacyIntents, Name: "Old account protection", Value: true, Include: []string{"Windows devices"}})
	s.must(err)
	if rows := do(200, "GET", "/beta"+intents+"?$expand=assignments", "").rows(); len(rows) != 1 || rows[0]["isAssigned"] != true {
		t.Errorf("intents %v", rows)
	}
	do(200, "GET", "/beta"+intents+"/"+intent, "")
	do(200, "GET", "/beta"+intents+"/"+intent+"/assignments", "")
	if rows := do(200, "GET", "/beta"+intents+"/"+intent+"/settings", "").rows(); len(rows) == 0 || rows[0]["valueJson"] != "true" {
		t.Errorf("intent settings %v", rows)
	}
	s.must(s.CheckIn(Contoso, "hr-laptop-11"))
	do(200, "GET", "/beta"+intents+"/"+intent+"/deviceStates", "")
	do(200, "GET", "/beta"+intents+"/"+intent+"/deviceStateSummary", "")

	for _, rt := range graphRoutes {
		if !drivenElsewhere(rt) || rt.family == Subscriptions {
			continue
		}
		for name, in := range map[string]version{"v1.0": v1, "beta": beta} {
			if rt.in&in != 0 && !driven[name+" "+rt.method+" "+rt.pattern] && !(name == "v1.0" && rt.in&beta != 0 && rt.method != "GET") && !(name == "beta" && rt.in&v1 != 0 && rt.method == "DELETE") {
				t.Errorf("%s %s was not driven on %s", rt.method, rt.pattern, name)
			}
		}
	}
	tally := s.recorder.Tally()
	t.Logf("schema checks: v1.0 %d properties, %d violations; beta %d names", tally.Properties, len(tally.Violations), names)
	if names < 100 {
		t.Errorf("only %d beta names were checked", names)
	}
}

// TestEvaluation follows policies to devices, one situation after the other.
func TestEvaluation(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: noLag})
	general, _ := s.Apps()
	token := s.token(Contoso, general)
	hr := "hr-laptop-11" // hana's, in the pilot group
	state := func(policy, device string) string {
		t.Helper()
		for _, row := range s.want(200, "GET", "/v1.0"+profiles+"/"+policy+"/deviceStatuses?$top=500", token, "").rows() {
			if row["deviceDisplayName"] == device {
				return row["status"].(string)
			}
		}
		return "none"
	}
	recovery := func(device string) string {
		t.Helper()
		r, err := s.DeviceReport(Contoso, device)
		s.must(err)
		value := "absent"
		if r.EnablePinRecovery != nil {
			value = fmt.Sprint(*r.EnablePinRecovery)
		}
		return value + " " + r.CanReset
	}
	want := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	assign := func(policy string, targets ...string) {
		t.Helper()
		s.want(200, "POST", "/beta"+profiles+"/"+policy+"/assign", token, assignments(targets...))
		s.clock.Advance(time.Second)
	}
	checkIn := func(devices ...string) {
		t.Helper()
		for _, d := range devices {
			s.must(s.CheckIn(Contoso, d))
		}
		s.clock.Advance(time.Second)
	}
	pilot, windows := s.groupID(Contoso, "PIN recovery pilot"), s.groupID(Contoso, "Windows devices")
	id := s.want(201, "POST", "/v1.0"+profiles, token, customProfile(Contoso, true)).body["id"].(string)

	want("before", recovery(hr), "absent DestructiveOnly")
	assign(id, include(pilot))
	want("assigned, not checked in", state(id, hr), "unknown")
	want("the value before the check-in", recovery(hr), "absent DestructiveOnly")
	checkIn(hr, "finance-desktop-1809", "ceo-iphone", "legal-galaxy-05")
	want("checked in", state(id, hr), "compliant")
	want("the value after it", recovery(hr), "true DestructiveAndNonDestructive")
	want("a phone of the group", state(id, "ceo-iphone"), "notApplicable")
	want("a device of nobody in the group", state(id, "dev-laptop-10"), "none")

	// The edition's line: Pro from 1903 on. Both take the policy.
	checkIn("reception-pc-1809", "reception-pc-1903")
	want("Pro 1809", recovery("reception-pc-1809"), "true DestructiveOnly")
	want("Pro 1903", recovery("reception-pc-1903"), "true DestructiveAndNonDestructive")

	// Excluding the device's group does not exclude a user's device; excluding
	// the user's group does.
	assign(id, include(pilot), exclude(windows))
	checkIn(hr)
	want("mixed exclusion", state(id, hr), "compliant")
	assign(id, include(windows), exclude(pilot))
	checkIn(hr)
	want("mixed the other way", state(id, hr), "compliant")
	all := s.groupID(Contoso, "All employees")
	assign(id, include(all), exclude(pilot))
	checkIn(hr, "dev-laptop-10")
	want("excluded by the same kind", state(id, hr), "none")
	want("included by the same kind", state(id, "dev-laptop-10"), "compliant")
	want("an excluded device keeps its value", recovery(hr), "true DestructiveAndNonDestructive")
	assign(id, `{"target":{"@odata.type":"#microsoft.graph.allLicensedUsersAssignmentTarget"}}`)
	checkIn("store-kiosk-07")
	want("all users without a user", state(id, "store-kiosk-07"), "none")
	assign(id, `{"target":{"@odata.type":"#microsoft.graph.allDevicesAssignmentTarget"}}`)
	checkIn("store-kiosk-07", hr)
	want("all devices", state(id, "store-kiosk-07"), "notApplicable")

	// Another store contradicts: conflict, and the value stays.
	other := s.want(201, "POST", "/beta"+catalog, token, catalogPolicy(false)).body["id"].(string)
	s.want(200, "POST", "/beta"+catalog+"/"+other+"/assign", token, assignments(include(windows)))
	s.clock.Advance(time.Second)
	want("before the other store arrives", state(id, hr), "compliant")
	checkIn(hr)
	want("two stores", state(id, hr), "conflict")
	want("the value in a conflict", recovery(hr), "true DestructiveAndNonDestructive")
	s.want(204, "DELETE", "/beta"+catalog+"/"+other, token, "")
	checkIn(hr)
	want("the conflict is over", state(id, hr), "compliant")

	// Unassigning leaves the value, false takes it off.
	assign(id)
	checkIn(hr)
	want("unassigned", recovery(hr), "true DestructiveAndNonDestructive")
	want("unassigned", state(id, hr), "none")
	s.want(200, "PATCH", "/v1.0"+profiles+"/"+id, token, customProfile(Contoso, false))
	assign(id, include(pilot))
	checkIn(hr)
	want("false", recovery(hr), "false DestructiveOnly")

	// The protector needs both service principals.
	s.want(200, "PATCH", "/v1.0"+profiles+"/"+id, token, customProfile(Contoso, true))
	s.must(s.EnableServicePrincipal(Contoso, "client", false))
	checkIn(hr)
	want("a service principal is off", recovery(hr), "true DestructiveOnly")
	s.must(s.EnableServicePrincipal(Contoso, "client", true))
	s.clock.Advance(time.Second)
	s.want(204, "POST", devicesPath+s.deviceID(Contoso, hr)+"/syncDevice", s.token(Contoso, second(s.Apps())), "")
	want("before the sync", recovery(hr), "true DestructiveOnly")
	s.clock.Advance(time.Minute)
	want("after it", recovery(hr), "true DestructiveAndNonDestructive")

	// Paths that are not the documented one are refused by the device.
	for _, wrong := range []string{
		strings.Replace(customProfile(Contoso, true), "./Device/Vendor/MSFT/PassportForWork/"+Contoso, "./Vendor/MSFT/Policy/PassportForWork/"+Contoso, 1),
		customProfile("{"+Contoso+"}", true), customProfile(Fabrikam, true),
		strings.Replace(strings.Replace(customProfile(Contoso, true), "omaSettingBoolean", "omaSettingString", 1), `"value":true`, `"value":"True"`, 1),
	} {
		s.want(200, "PATCH", "/v1.0"+profiles+"/"+id, token, wrong)
		s.clock.Advance(time.Second)
		checkIn(hr)
		want(wrong, state(id, hr), "error")
	}

	// A device's own schedule brings the policy too, and an offline one waits.
	s.want(200, "PATCH", "/v1.0"+profiles+"/"+id, token, customProfile(Contoso, false))
	s.clock.Advance(9 * time.Hour)
	s.tokens.Clear()
	token = s.token(Contoso, general)
	want("own check-in", recovery(hr), "false DestructiveOnly")
	overview := s.want(200, "GET", "/v1.0"+profiles+"/"+id+"/deviceStatusOverview", token, "").body
	if overview["successCount"] == 0.0 || overview["notApplicableCount"] == 0.0 || overview["pendingCount"] != 0.0 {
		t.Errorf("overview %v", overview)
	}
}

// TestWebSignInListReachesDevices assigns the allow list of a federated tenant.
func TestWebSignInListReachesDevices(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: noLag})
	general, _ := s.Apps()
	token := s.token(Tailspin, general)
	id := s.want(201, "POST", "/v1.0"+profiles, token, `{"@odata.type":"#microsoft.graph.windows10CustomConfiguration","displayName":"Web sign-in","omaSettings":[{"@odata.type":"#microsoft.graph.omaSettingString","displayName":"ConfigureWebSignInAllowedUrls","description":"","omaUri":"./Vendor/MSFT/Policy/Config/Authentication/ConfigureWebSignInAllowedUrls","value":"sts.tailspin.example;login.tailspin.example"}]}`).body["id"].(string)
	s.want(200, "POST", "/v1.0"+profiles+"/"+id+"/assign", token, assignments(`{"target":{"@odata.type":"#microsoft.graph.allDevicesAssignmentTarget"}}`))
	before, err := s.DeviceReport(Tailspin, "ts-hr-laptop-11")
	s.must(err)
	s.clock.Advance(time.Second)
	s.must(s.CheckInAll(Tailspin))
	after, err := s.DeviceReport(Tailspin, "ts-hr-laptop-11")
	s.must(err)
	if before.WebSignIn != nil || after.WebSignIn == nil || *after.WebSignIn != "sts.tailspin.example;login.tailspin.example" || after.EnablePinRecovery != nil {
		t.Errorf("before %+v, after %+v", before, after)
	}
	overview := s.want(200, "GET", "/v1.0"+profiles+"/"+id+"/deviceStatusOverview", token, "").body
	if overview["pendingCount"] != 1.0 || overview["successCount"] != float64(windowsDevices()) {
		t.Errorf("only the phone that is offline waits, but %v", overview)
	}
}

func second(_, privileged App) App { return privileged }

// TestPoliciesSurviveRestart checks policies, what devices took, groups and the
// audit log.
func TestPoliciesSurviveRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	clock := newClock()
	s := start(t, Options{Dir: dir, Timing: noLag, Now: clock.Now})
	policy, err := s.AddPolicy(Contoso, PolicySpec{Store: DeviceConfigurations, Name: "one", Value: true, Include: []string{"Windows devices"}})
	s.must(err)
	clock.Advance(time.Second)
	s.must(s.CheckIn(Contoso, "hr-laptop-11"))
	s.must(s.ChangeMembers(Contoso, "Windows devices", nil, []string{"dev-laptop-10"}))
	online := true
	s.must(s.AdjustDevice(Contoso, "field-pixel-offline", DeviceKnobs{Online: &online}))
	before, err := s.Policies(Contoso)
	s.must(err)
	s.must(s.Close())
	s = start(t, Options{Dir: dir, Timing: noLag, Now: clock.Now})
	after, err := s.Policies(Contoso)
	s.must(err)
	if fmt.Sprint(before) != fmt.Sprint(after) || len(after) != 1 || after[0].ID != policy || after[0].States["compliant"] != 1 {
		t.Errorf("before %v\nafter  %v", before, after)
	}
	r, err := s.DeviceReport(Contoso, "hr-laptop-11")
	s.must(err)
	if r.CanReset != "DestructiveAndNonDestructive" {
		t.Errorf("CanReset %s", r.CanReset)
	}
	info, err := s.Tenant(Contoso)
	s.must(err)
	for _, d := range info.Devices {
		if d.Name == "field-pixel-offline" && !d.Online {
			t.Error("a device that was brought online is offline again, as in the sample")
		}
	}
	general, _ := s.Apps()
	if rows := s.want(200, "GET", "/v1.0/deviceManagement/auditEvents", s.token(Contoso, general), "").rows(); len(rows) != 2 {
		t.Errorf("%d audit records, want create and assign: %v", len(rows), rows)
	}
	if got := slices.Sorted(maps.Keys(after[0].States)); len(got) != 2 {
		t.Errorf("states %v", got)
	}
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
