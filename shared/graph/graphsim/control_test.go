package graphsim

import (
	"strings"
	"testing"
	"time"
)

func TestControlPlane(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: stepped, Passcode: fixedPasscode("77")})
	general, privileged := s.Apps()
	token := s.token(Contoso, general)
	sim := s.PagesURL() + "/sim/v1/"
	const pixel = "tenants/contoso/devices/sales-pixel-12"

	s.want(204, "PATCH", sim+pixel, "", `{"online":false,"outcome":"failed","errorCode":5}`)
	s.reset(Contoso, "sales-pixel-12")
	s.want(204, "POST", sim+pixel+"/checkIn", "", "")
	s.clock.Advance(2 * time.Second)
	if got := s.state("v1.0", Contoso, "sales-pixel-12"); got != "failed//5" {
		t.Errorf("reset ended %s", got)
	}
	s.want(204, "POST", sim+pixel+"/reenrol", "", `{"user":"fred@contoso.example"}`)
	s.want(204, "POST", sim+pixel+"/changeUser", "", `{"user":"dev@contoso.example"}`)
	info := s.want(200, "GET", sim+"tenants/contoso.example", "", "")
	if !strings.Contains(info.text, "dev@contoso.example") || strings.Contains(info.text, "77") && strings.Contains(info.text, "passcode") {
		t.Errorf("tenant %s", info.text)
	}
	s.want(204, "DELETE", sim+pixel, "", "")
	s.want(404, "POST", sim+pixel+"/checkIn", "", "")

	s.want(204, "PATCH", sim+"tenants/"+Contoso, "", `{"replicationLag":"1h","approvalRequired":true,"actionHistory":true,"slow":"0s"}`)
	if r := s.reset(Contoso, "store-kiosk-07"); r.status != 400 {
		t.Errorf("approval: status %d", r.status)
	}
	s.want(204, "PATCH", sim+"tenants/"+Contoso, "", `{"replicationLag":"0s","approvalRequired":false}`)

	s.want(204, "POST", sim+"tenants/contoso/faults", "", `{"kind":"throttle","family":"identity","count":3,"retryAfter":9}`)
	s.want(429, "GET", "/v1.0/organization", token, "")
	s.want(204, "DELETE", sim+"tenants/contoso/faults", "", "")
	s.want(200, "GET", "/v1.0/organization", token, "")

	s.want(204, "PATCH", sim+"tenants/contoso/apps/service", "", `{"enabled":false}`)
	if got := s.want(200, "GET", "/v1.0/servicePrincipals(appId='"+PinResetService+"')", token, "").body["accountEnabled"]; got != false {
		t.Errorf("accountEnabled %v", got)
	}
	s.want(204, "DELETE", sim+"tenants/contoso/apps/service", "", "")
	s.want(404, "GET", "/v1.0/servicePrincipals(appId='"+PinResetService+"')", token, "")
	s.want(204, "POST", sim+"tenants/contoso/apps/service/consent", "", "")
	s.want(200, "GET", "/v1.0/servicePrincipals(appId='"+PinResetService+"')", token, "")
	s.want(204, "DELETE", sim+"tenants/contoso/apps/privileged/roles", "", "")
	s.tokens.Clear()
	s.want(403, "GET", "/v1.0/deviceManagement/managedDevices", s.token(Contoso, privileged), "")
	s.want(204, "POST", sim+"tenants/contoso/apps/privileged/roles", "", `{"roles":["DeviceManagementManagedDevices.Read.All"]}`)
	s.tokens.Clear()
	s.want(200, "GET", "/v1.0/deviceManagement/managedDevices", s.token(Contoso, privileged), "")

	counters := s.want(200, "GET", sim+"counters", "", "")
	if counters.body["families"].(map[string]any)["identity"].(map[string]any)["throttled"] != float64(1) {
		t.Errorf("counters %s", counters.text)
	}
	s.want(204, "DELETE", sim+"counters", "", "")
	s.want(204, "POST", sim+"redirects", "", `{"uri":"https://pinreset.example/cb"}`)
	if n := len(s.want(200, "GET", sim+"tenants", "", "").body["tenants"].([]any)); n != len(seeds()) {
		t.Errorf("%d tenants", n)
	}
}

func TestControlPlaneRefuses(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: noLag})
	for _, tt := range []struct {
		status             int
		method, path, body string
		says               string
	}{
		{404, "GET", "tenants/initech", "", "initech"},
		{404, "POST", "tenants/contoso/devices/no-such-phone/checkIn", "", "no-such-phone"},
		{404, "POST", "tenants/contoso/devices/ceo-iphone/reenrol", `{"user":"nobody"}`, "nobody"},
		{404, "DELETE", "tenants/fabrikam/apps/service", "", PinResetService},
		{404, "POST", "tenants/contoso/apps/word/consent", "", "word"},
		{404, "POST", "tenants/contoso/apps/general/roles", `{"roles":["Mail.Send"]}`, "Mail.Send"},
		{404, "GET", "weather", "", "weather"},
		{400, "PATCH", "tenants/contoso", `{"replicationLag":"soon"}`, "soon"},
		{400, "PATCH", "tenants/contoso", `{"lag":"1s"}`, "lag"},
		{400, "PATCH", "tenants/contoso/devices/ceo-iphone", `{"outcome":"explodes"}`, "explodes"},
		{400, "PATCH", "tenants/contoso/apps/service", ``, "enabled"},
		{400, "POST", "tenants/contoso/faults", `{"kind":"flood"}`, "flood"},
		{400, "POST", "redirects", `{"uri":"ftp://x"}`, "ftp"},
	} {
		r := s.want(tt.status, tt.method, s.PagesURL()+"/sim/v1/"+tt.path, "", tt.body)
		if text, _ := r.body["error"].(string); !strings.Contains(text, tt.says) {
			t.Errorf("%s %s: error %q does not mention %s", tt.method, tt.path, text, tt.says)
		}
	}
}
