package graphsim

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// FuzzQuery: whatever stands in a query of OData options, the model answers as Graph does, with a page or a refusal, and
// never fails itself.
func FuzzQuery(f *testing.F) {
	for _, q := range []string{"", "$top=1", "$top=-1", "$top=99999999999999999999", "$select=id,deviceName", "$select=nothing", "$filter=deviceName eq 'sales-pixel-12'", "$filter=deviceName eq ''''",
		"$filter=id eq", "$filter='", "$skiptoken=x", "$skiptoken=JHRvcD0x", "$expand=x", "$top=2&$top=3", "$count=true", "%zz"} {
		f.Add("/v1.0/deviceManagement/managedDevices", q)
		f.Add("/v1.0/servicePrincipals", q)
		f.Add("/v1.0/groups", q)
	}
	f.Add("/v1.0/servicePrincipals/delta", "$deltatoken=x")
	f.Add("/v1.0/servicePrincipals(appId='"+PinResetClient+"')", "")
	none := Limit{N: -1}
	c, err := Start(Options{Limits: Limits{AppRequests: none, DeviceRequests: none, TenantDeviceRequests: none, SmallTenantUnits: none, AppIdentityUnits: none}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { c.Close() })
	app, _ := c.Apps()
	handler := c.routes(true)
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {app.ClientID}, "client_secret": {app.Secret}, "scope": {c.URL() + "/.default"}}
	r := httptest.NewRequest(http.MethodPost, c.URL()+"/"+Contoso+"/oauth2/v2.0/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	var said struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &said); err != nil || said.Token == "" {
		f.Fatalf("no token: %s", w.Body)
	}
	f.Fuzz(func(t *testing.T, path, query string) {
		r := httptest.NewRequest(http.MethodGet, "https://127.0.0.1/", nil)
		r.URL = &url.URL{Path: path, RawQuery: query}
		r.Header.Set("Authorization", "Bearer "+said.Token)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Fatalf("%s?%s: %d %s", path, query, w.Code, w.Body)
		}
	})
}
