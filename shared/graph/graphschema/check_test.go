package graphschema

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestCheckRequest(t *testing.T) {
	t.Parallel()
	tests := []struct {
		method, target, body string
		wrong                string // part of the one violation; "" for none
	}{
		{"GET", "/servicePrincipals(appId='b8456c59-1230-44c7-a4a2-99b085333e84')?$select=id,appId,isDisabled", "", ""},
		{"GET", "/servicePrincipals?$filter=appId%20eq%20'x%20eq%20y'", "", ""},
		{"GET", "/servicePrincipals/1/appRoleAssignments", "", ""},
		{"GET", "/servicePrincipals/delta?$deltatoken=latest", "", ""},
		{"GET", "/users/1/authentication/windowsHelloForBusinessMethods", "", ""},
		{"GET", "/deviceManagement/managedDevices/1?$select=id,deletedDateTime", "", `no property "deletedDateTime"`},
		{"GET", "/deviceManagement/managedDevices/1?$select=id,skuFamily", "", `no property "skuFamily"`},
		{"GET", "/servicePrincipals(appid='x')", "", "no such property"},
		{"GET", "/servicePrincipals(appId=x)", "", "single quotes"},
		{"GET", "/deviceManagement/configurationPolicies", "", "no such property"},
		{"GET", "/pins", "", "no such entity set"},
		{"POST", "/deviceManagement/managedDevices/1/resetPasscode", "", ""},
		{"POST", "/deviceManagement/managedDevices/1/resetPasscode", "{}", ""},
		{"POST", "/deviceManagement/managedDevices/1/resetPasscode", `{"force":true}`, "resetPasscode has no such parameter"},
		{"GET", "/deviceManagement/managedDevices/1/resetPasscode", "", "called with POST"},
		{"POST", "/deviceManagement/managedDevices/1/removeDevicePasscode", "", "no such property"},
		{"POST", "/users/1/resetPasscode", "", "no such property"},
		{"POST", "/servicePrincipals", `{"appId":"x"}`, ""},
		{"POST", "/servicePrincipals", `{"appID":"x"}`, "no such property"},
		{"GET", "/groups?$selekt=id", "", "does not exist"},
		{"POST", "/$batch", `{"requests":[{"id":"1","method":"GET","url":"/pins"}]}`, "requests[1]"},
	}
	for _, tt := range tests {
		got := V1().CheckRequest(tt.method, tt.target, []byte(tt.body))
		assertViolation(t, tt.method+" "+tt.target+" "+tt.body, got, tt.wrong)
	}
}

func TestCheckResponse(t *testing.T) {
	t.Parallel()
	const device = "/deviceManagement/managedDevices/1"
	tests := []struct {
		target string
		status int
		body   string
		wrong  string
	}{
		{device, 200, `{"@odata.context":"c","id":"1","isSupervised":false,"managementAgent":"mdm","freeStorageSpaceInBytes":5000000000}`, ""},
		{device, 200, `{"deviceActionResults":[{"@odata.type":"#microsoft.graph.resetPasscodeActionResult","actionName":"resetPasscode","actionState":"done","passcode":"1","errorCode":0,"startDateTime":"2026-01-05T10:00:02Z"}]}`, ""},
		{device, 200, `{"deviceActionResults":[{"@odata.type":"microsoft.graph.resetPasscodeActionResult","passcode":"1"}]}`, ""},
		{device, 200, `{"deviceActionResults":[{"passcode":"1"}]}`, "deviceActionResult has no such property"},
		{device, 200, `{"deviceActionResults":[{"@odata.type":"#microsoft.graph.user"}]}`, "does not derive"},
		{device, 200, `{"deviceActionResults":[{"@odata.type":"#microsoft.graph.resetPasscodeActionResult","actionState":"finished"}]}`, "not a member of actionState"},
		{device, 200, `{"deviceActionResults":[{"@odata.type":"#microsoft.graph.resetPasscodeActionResult","errorCode":2147483648}]}`, "want Edm.Int32"},
		{device, 200, `{"isSupervised":"false"}`, "body.isSupervised: want Edm.Boolean"},
		{device, 200, `{"isSupervised":null}`, "never null"},
		{device, 200, `{"deviceName":null}`, ""},
		{device, 200, `{"lastSyncDateTime":"yesterday"}`, "want Edm.DateTimeOffset"},
		{device, 200, `{"devicename":"x"}`, "no such property"},
		{device, 204, `{}`, "204 with a body"},
		{device + "/resetPasscode", 204, ``, ""},
		{device + "/resetPasscode", 200, `{"passcode":"1"}`, "returns nothing"},
		{"/servicePrincipals", 200, `{"value":[{"id":"1","deletedDateTime":null}],"@odata.nextLink":"n"}`, ""},
		{"/servicePrincipals", 200, `{"id":"1"}`, "not part of a collection"},
		{"/servicePrincipals", 201, `{"id":"1"}`, ""},
		{"/groups/1/members", 200, `{"value":[{"@odata.type":"#microsoft.graph.user","userPrincipalName":"a"}]}`, ""},
		{"/groups/1/members", 200, `{"value":[{"userPrincipalName":"a"}]}`, "directoryObject has no such property"},
		{device, 404, `{"error":{"code":"c","message":"m","innerError":{"request-id":"1"}}}`, ""},
		{device, 404, `{"error":{"code":"c"}}`, "body.error.message"},
		{device, 404, `not found`, "decode body"},
	}
	for _, tt := range tests {
		got := V1().CheckResponse(tt.target, tt.status, []byte(tt.body))
		if tt.wrong == "not part of a collection" {
			got.Violations = got.Violations[:1]
		}
		assertViolation(t, tt.target+" "+tt.body, got, tt.wrong)
	}
}

func assertViolation(t *testing.T, what string, got Report, wrong string) {
	t.Helper()
	switch {
	case wrong == "" && len(got.Violations) > 0:
		t.Errorf("%s: %v", what, got.Violations)
	case wrong != "" && (len(got.Violations) != 1 || !strings.Contains(got.Violations[0], wrong)):
		t.Errorf("%s: violations %q, want one with %q", what, got.Violations, wrong)
	}
}

func TestRecorder(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/v1.0/$batch":
			if len(body) == 0 {
				t.Error("the recorder swallowed the request body")
			}
			io.WriteString(w, `{"responses":[{"id":"A","status":200,"body":{"value":[{"id":7}]}}]}`)
		default:
			io.WriteString(w, `{"value":[{"id":"1","pin":"1234"}]}`)
		}
	}))
	defer server.Close()
	recorder := &Recorder{}
	client := &http.Client{Transport: recorder}
	get := func(path string) string {
		resp, err := client.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return string(body)
	}
	if body := get("/v1.0/groups"); !strings.Contains(body, "1234") {
		t.Errorf("the caller got %q", body)
	}
	get("/beta/anything")
	resp, err := client.Post(server.URL+"/v1.0/$batch", "application/json",
		strings.NewReader(`{"requests":[{"id":"a","method":"GET","url":"/groups"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	tally := recorder.Tally()
	if tally.Requests != 2 || tally.Responses != 2 || tally.Properties == 0 {
		t.Errorf("tally %+v, want 2 requests and 2 responses", tally)
	}
	want := []string{"body.value[0].pin", "responses[A] body.value[0].id: want Edm.String"}
	if len(tally.Violations) != len(want) {
		t.Fatalf("violations %q", tally.Violations)
	}
	for i := range want {
		if !strings.Contains(tally.Violations[i], want[i]) {
			t.Errorf("violation %q does not name %q", tally.Violations[i], want[i])
		}
		if strings.Contains(tally.Violations[i], "1234") {
			t.Errorf("violation %q shows a value", tally.Violations[i])
		}
	}
}
