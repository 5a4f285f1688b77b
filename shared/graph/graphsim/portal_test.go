package graphsim

import (
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestPortalPage does with the page's forms what an administrator does.
func TestPortalPage(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: noLag})
	policy, err := s.AddPolicy(Contoso, PolicySpec{Store: ConfigurationPolicies, Account: true, Name: "Hello for all", Value: true, Include: []string{"all devices"}})
	s.must(err)
	form := func(status int, action, target string) {
		t.Helper()
		if r := s.postForm("/sim/intune/contoso", url.Values{"action": {action}, "target": {target}}); r.status != status {
			t.Errorf("%s %s: %d %s", action, target, r.status, r.text)
		}
	}
	page := func(want ...string) {
		t.Helper()
		r := s.want(200, "GET", s.PagesURL()+"/sim/intune/contoso", "", "")
		for _, text := range want {
			if !strings.Contains(r.text, text) {
				t.Errorf("the page does not say %q", text)
			}
		}
	}
	page("Hello for all", "all devices", "adele@contoso.example", "sales-pixel-12")
	s.clock.Advance(time.Second)
	form(303, "checkIn", s.deviceID(Contoso, "hr-laptop-11"))
	page("DestructiveAndNonDestructive", "1 compliant")
	report := s.want(200, "GET", s.PagesURL()+"/sim/intune/contoso/devices/hr-laptop-11/report", "", "").text
	for _, line := range []string{"             AzureAdJoined : YES\r\n", "                  CanReset : DestructiveAndNonDestructive\r\n", "                  TenantId : " + Contoso} {
		if !strings.Contains(report, line) {
			t.Errorf("dsregcmd does not say %q:\n%s", line, report)
		}
	}

	form(303, "resetPasscode", s.deviceID(Contoso, "sales-pixel-12"))
	form(400, "resetPasscode", s.deviceID(Contoso, "hr-laptop-11"))
	form(404, "resetPasscode", "nothing")
	form(303, "checkInAll", "")
	form(303, "policyOff", policy)
	form(303, "unassign", policy)
	form(303, "deletePolicy", policy)
	form(404, "deletePolicy", policy)
	form(303, "disableApp", PinResetClient)
	form(303, "enableApp", PinResetClient)
	form(303, "revoke", PinResetClient)
	form(400, "explode", policy)
	page("No policy.")
	if n := s.Counters().Tenants[0].Resets["sales-pixel-12"]; n != 1 {
		t.Errorf("%d resets", n)
	}
	general, _ := s.Apps()
	var kinds []string
	for _, row := range s.want(200, "GET", "/v1.0/deviceManagement/auditEvents", s.token(Contoso, general), "").rows() {
		kinds = append(kinds, row["activityType"].(string))
	}
	want := "Create DeviceManagementConfigurationPolicy, Assign DeviceManagementConfigurationPolicy, resetPasscode ManagedDevice, " +
		"Patch DeviceManagementConfigurationPolicy, Assign DeviceManagementConfigurationPolicy, Delete DeviceManagementConfigurationPolicy"
	if got := strings.Join(kinds, ", "); got != want {
		t.Errorf("audit %s, want %s", got, want)
	}
}

// TestPolicyControls drives the control plane's part for policies.
func TestPolicyControls(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: noLag})
	sim := s.PagesURL() + "/sim/v1/tenants/contoso/"
	id := s.want(200, "POST", sim+"policies", "", `{"store":"deviceConfigurations","name":"theirs","value":false,"include":["Windows devices"],"exclude":["PIN recovery pilot"]}`).body["id"].(string)
	s.want(204, "PATCH", sim+"policies/"+id, "", `{"value":true,"uri":"./Vendor/MSFT/Policy/PassportForWork/EnablePinRecovery"}`)
	list := s.want(200, "GET", sim+"policies", "", "").body["policies"].([]any)
	if one := list[0].(map[string]any); len(list) != 1 || one["broken"] != true || one["include"].([]any)[0] != "Windows devices" || one["exclude"].([]any)[0] != "PIN recovery pilot" {
		t.Errorf("policies %v", list)
	}
	s.want(204, "POST", sim+"policies/theirs/unassign", "", "")
	s.want(204, "DELETE", sim+"policies/"+id, "", "")
	s.want(204, "POST", sim+"groups/PIN%20recovery%20pilot/members", "", `{"join":["sam@contoso.example"]}`)
	s.want(204, "POST", sim+"devices/sales-pixel-12/resetPasscode", "", "")
	report := s.want(200, "GET", sim+"devices/branch-desktop-key/report", "", "").body
	if report["trust"] != "key" || report["editionId"] != "Enterprise" || !strings.Contains(report["dsregcmd"].(string), "DomainJoined : YES") {
		t.Errorf("report %v", report)
	}
	for _, c := range [][3]string{
		{"POST", "policies", `{"store":"drawer"}`}, {"PATCH", "policies/" + id, `{}`}, {"GET", "devices/ceo-iphone/report", ""},
		{"POST", "devices/hr-laptop-11/resetPasscode", ""},
	} {
		if r, err := s.send(c[0], sim+c[1], "", c[2]); err != nil || r.status != 400 {
			t.Errorf("%s %s: %d, %v", c[0], c[1], r.status, err)
		}
	}
	s.want(404, "POST", sim+"policies", "", `{"store":"intents","include":["nobody"]}`)
	s.want(404, "DELETE", sim+"policies/"+id, "", "")
}
