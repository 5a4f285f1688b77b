package graph

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"pinreset/shared/fault"
	"pinreset/shared/graph/graphschema"
	"pinreset/shared/policy"
)

const (
	policyA = "aaaaaaaa-0000-4000-8000-000000000001"
	policyB = "aaaaaaaa-0000-4000-8000-000000000002"
	policyC = "aaaaaaaa-0000-4000-8000-000000000003"
	groupX  = "bbbbbbbb-0000-4000-8000-000000000001"
	groupY  = "bbbbbbbb-0000-4000-8000-000000000002"
)

// shelf answers calls by method and address, batches of them too, and keeps what was asked. Each v1.0 call is checked against
// the published schema, and each beta body against the published names.
type shelf struct {
	*service
	answers map[string]string // "GET /beta/…?…": a status and a body
	client  *Client

	mu    sync.Mutex
	asked []string // "GET /beta/…?…", a body after a line break
}

func put(t *testing.T, answers map[string]string) *shelf {
	t.Helper()
	s := &shelf{answers: answers}
	s.service = serve(t, s.answer)
	recorder := &graphschema.Recorder{}
	s.client = s.service.client(t, func(cfg *Config) {
		recorder.Base = cfg.Transport
		cfg.Wrap = func(http.RoundTripper) http.RoundTripper { return recorder }
	})
	t.Cleanup(func() {
		if wrong := recorder.Tally().Violations; len(wrong) > 0 {
			t.Errorf("the published schema is broken:\n%s", strings.Join(wrong, "\n"))
		}
		for _, a := range s.calls() {
			call, body, ok := strings.Cut(a, "\n")
			if typ := betaType(call); ok && typ != "" {
				if r := graphschema.Beta().Check(typ, []byte(body)); len(r.Violations) > 0 || r.Properties == 0 {
					t.Errorf("%s: %d properties checked, %v", call, r.Properties, r.Violations)
				}
			}
		}
	})
	return s
}

// betaType is the type of the body of a beta call that creates or changes a policy.
func betaType(call string) string {
	switch {
	case strings.HasSuffix(call, "/assign"), !strings.Contains(call, "/beta/"):
		return ""
	case strings.Contains(call, "deviceConfigurations"):
		return "deviceConfiguration"
	case strings.Contains(call, "configurationPolicies"):
		return "deviceManagementConfigurationPolicy"
	}
	return ""
}

func (s *shelf) calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func (s *shelf) answer(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if version, ok := strings.CutSuffix(r.URL.Path, "/$batch"); ok {
		s.batch(w, version, body)
		return
	}
	address, err := url.QueryUnescape(r.URL.RequestURI())
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	call := r.Method + " " + address
	s.mu.Lock()
	s.asked = append(s.asked, strings.TrimSuffix(call+"\n"+string(body), "\n"))
	s.mu.Unlock()
	answer, ok := s.answers[call]
	if !ok {
		answer = "404 " + odataBody
	}
	var status int
	var text string
	if n, _ := fmt.Sscanf(answer, "%d", &status); n == 1 {
		_, text, _ = strings.Cut(answer, " ")
	}
	w.WriteHeader(status)
	io.WriteString(w, strings.ReplaceAll(text, "BASE", s.URL))
}

// batch makes each part a call of its own and answers in the reverse order.
func (s *shelf) batch(w http.ResponseWriter, version string, body []byte) {
	var asked struct {
		Requests []struct{ ID, Method, URL string }
	}
	if err := json.Unmarshal(body, &asked); err != nil || len(asked.Requests) > MaxBatch {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	var parts []string
	for _, p := range slices.Backward(asked.Requests) {
		record := httptest.NewRecorder()
		s.answer(record, httptest.NewRequest(p.Method, version+p.URL, nil))
		text := record.Body.String()
		if text == "" {
			text = "null"
		}
		parts = append(parts, fmt.Sprintf(`{"id":%q,"status":%d,"body":%s}`, p.ID, record.Code, text))
	}
	fmt.Fprintf(w, `{"responses":[%s]}`, strings.Join(parts, ","))
}

const (
	catalogDefinition = "device_vendor_msft_passportforwork_{tenantid}_policies_enablepinrecovery"
	customOn          = `{"@odata.type":"#microsoft.graph.windows10CustomConfiguration","id":"` + policyA + `","displayName":"PIN recovery","description":"managed by pinreset",` +
		`"omaSettings":[{"@odata.type":"#microsoft.graph.omaSettingBoolean","displayName":"EnablePinRecovery","omaUri":"./Device/Vendor/MSFT/PassportForWork/` + tenantA + `/Policies/EnablePinRecovery","value":true}]`
	filteredGroup = `{"@odata.type":"#microsoft.graph.groupAssignmentTarget", "groupId":"` + groupX + `","deviceAndAppManagementAssignmentFilterId":"` + policyC + `","deviceAndAppManagementAssignmentFilterType":"include"}`
	excludedGroup = `{"@odata.type":"#microsoft.graph.exclusionGroupAssignmentTarget","groupId":"` + groupY + `"}`

	listConfigurations = "GET /beta/deviceManagement/deviceConfigurations?$expand=assignments"
	listCatalog        = "GET /beta/deviceManagement/configurationPolicies?$select=" + catalogFields
	listIntents        = "GET /beta/deviceManagement/intents?$select=" + intentFields
	catalogPath        = "GET /beta/deviceManagement/configurationPolicies/"
	intentPath         = "GET /beta/deviceManagement/intents/"
)

func catalogSetting(value string) string {
	return `{"id":"0","settingInstance":{"@odata.type":"#microsoft.graph.deviceManagementConfigurationChoiceSettingInstance","settingDefinitionId":"` + catalogDefinition +
		`","choiceSettingValue":{"value":"` + catalogDefinition + value + `","children":[]}}}`
}

// threeStores is a tenant with a policy in each, on several pages, beside policies of other things.
func threeStores() map[string]string {
	const empty = `200 {"value":[]}`
	return map[string]string{
		listConfigurations: `200 {"value":[{"@odata.type":"#microsoft.graph.windows10GeneralConfiguration","id":"` + policyC + `","assignments":[]}],` +
			`"@odata.nextLink":"BASE/beta/deviceManagement/deviceConfigurations?$skiptoken=2"}`,
		"GET /beta/deviceManagement/deviceConfigurations?$skiptoken=2": `200 {"value":[` + customOn + `,"assignments":[{"id":"1","target":` + filteredGroup + `}]}]}`,

		listCatalog: `200 {"value":[{"id":"` + policyA + `","name":"phones","platforms":"iOS","technologies":"mdm","settingCount":4},` +
			`{"id":"` + policyB + `","name":"disks","platforms":"windows10","technologies":"mdm","settingCount":1},` +
			`{"id":"` + policyC + `","name":"hello","platforms":"windows10","technologies":"mdm","settingCount":2,"lastModifiedDateTime":"2026-01-05T10:00:00Z"}]}`,
		catalogPath + policyB + "/settings":                 `200 {"value":[{"id":"0","settingInstance":{"settingDefinitionId":"device_vendor_msft_bitlocker"}}]}`,
		catalogPath + policyC + "/settings":                 `200 {"value":[{"id":"0","settingInstance":{"settingDefinitionId":"else"}}],"@odata.nextLink":"BASE/beta/deviceManagement/configurationPolicies/` + policyC + `/settings?$skiptoken=2"}`,
		catalogPath + policyC + "/assignments":              `200 {"value":[{"id":"1","target":` + excludedGroup + `}],"@odata.nextLink":"BASE/beta/deviceManagement/configurationPolicies/` + policyC + `/assignments?$skiptoken=2"}`,
		catalogPath + policyC + "/assignments?$skiptoken=2": `200 {"value":[{"id":"2","target":{"@odata.type":"#microsoft.graph.allLicensedUsersAssignmentTarget"}}]}`,
		catalogPath + policyC + "/settings?$skiptoken=2":    `200 {"value":[` + catalogSetting("_false") + `]}`,

		listIntents: `200 {"value":[{"id":"` + policyB + `","displayName":"old","isAssigned":true}]}`,
		intentPath + policyB + "/settings": `200 {"value":[{"@odata.type":"#microsoft.graph.deviceManagementBooleanSettingInstance",` +
			`"definitionId":"deviceConfiguration--windowsIdentityProtectionConfiguration_pinRecoveryEnabled","valueJson":"true"}]}`,
		intentPath + policyB + "/assignments": empty,
	}
}

func TestPoliciesOfAllStores(t *testing.T) {
	t.Parallel()
	s := put(t, threeStores())
	found, err := s.client.Policies(t.Context(), tenantA)
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 3 {
		t.Fatalf("%d found: %+v", len(found), found)
	}
	custom, catalog, intent := found[0], found[1], found[2]
	if custom.ID != policyA || custom.Value != policy.On || !custom.Mine || len(custom.Assignments) != 1 || string(custom.Assignments[0].Raw) != filteredGroup {
		t.Errorf("custom profile %+v", custom)
	}
	if catalog.ID != policyC || catalog.Value != policy.Off || len(catalog.Assignments) != 2 || catalog.Assignments[1].Kind != policy.AllUsers || catalog.Modified.IsZero() {
		t.Errorf("catalog policy %+v", catalog)
	}
	if intent.ID != policyB || intent.Value != policy.On || intent.Assigned() {
		t.Errorf("intent %+v", intent)
	}
	for _, call := range s.calls() {
		if strings.Contains(call, policyA+"/settings") || strings.Contains(call, policyB+"/assignments") && strings.Contains(call, "configurationPolicies") {
			t.Errorf("%s was read for nothing", call)
		}
	}
}

// An expanded list may hold only the first of a policy's assignments, and says so.
func TestAssignmentsBeyondAnExpandedList(t *testing.T) {
	t.Parallel()
	const path = "/beta/deviceManagement/deviceConfigurations/" + policyA + "/assignments"
	s := put(t, map[string]string{
		listConfigurations: `200 {"value":[` + customOn + `,"assignments":[{"id":"1","target":` + excludedGroup + `}],"assignments@odata.nextLink":"BASE` + path + `?$skiptoken=2"}]}`,
		"GET " + path:      `200 {"value":[{"id":"1","target":` + excludedGroup + `},{"id":"2","target":` + filteredGroup + `}]}`,
	})
	found, err := ReadPolicies(policy.DeviceConfigurations).Do(t.Context(), s.client, tenantA)
	if err != nil || len(found) != 1 || len(found[0].Assignments) != 2 {
		t.Errorf("%+v %v", found, err)
	}
}

// Whatever is refused, there is no result: what could not be read is not missing.
func TestPoliciesAreAllOrNone(t *testing.T) {
	t.Parallel()
	for call := range threeStores() {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			answers := threeStores()
			answers[call] = "403 " + odataBody
			s := put(t, answers)
			found, err := s.client.Policies(t.Context(), tenantA)
			if fault.CodeOf(err) != fault.GraphForbidden || found != nil {
				t.Errorf("found %v, %v", found, err)
			}
		})
	}
}

func TestOnePolicy(t *testing.T) {
	t.Parallel()
	answers := threeStores()
	answers["GET /beta/deviceManagement/deviceConfigurations/"+policyA] = `200 {"value":` + customOn + `}}`
	answers["GET /beta/deviceManagement/deviceConfigurations/"+policyA+"/assignments"] = `200 {"value":[{"id":"1","target":` + excludedGroup + `}]}`
	s := put(t, answers)
	ref := policy.Ref{Store: policy.DeviceConfigurations, ID: policyA}
	found, err := s.client.Policy(t.Context(), tenantA, ref)
	if err != nil || len(found) != 1 || len(found[0].Assignments) != 1 || found[0].Assignments[0].GroupID != groupY {
		t.Errorf("%+v %v", found, err)
	}
	set, err := s.client.Assignments(t.Context(), tenantA, policy.Ref{Store: policy.ConfigurationPolicies, ID: policyC})
	if err != nil || len(set) != 2 {
		t.Errorf("assignments %+v %v", set, err)
	}
	ref.ID = policyB
	if _, err := s.client.Policy(t.Context(), tenantA, ref); !errors.Is(err, ErrNotFound) {
		t.Errorf("a policy that is not there: %v", err)
	}
	before := len(s.calls())
	for _, bad := range []policy.Ref{{Store: "else", ID: policyA}, {Store: policy.Intents, ID: "../x"}, {}} {
		if _, err := s.client.Policy(t.Context(), tenantA, bad); fault.CodeOf(err) != fault.InvalidRequest {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if len(s.calls()) != before {
		t.Error("an invalid policy was asked for")
	}
}

// What is sent is what package policy says that is sent, byte for byte.
func TestPolicyWrites(t *testing.T) {
	t.Parallel()
	for _, shape := range policy.Shapes {
		create, err := policy.Create(tenantA, shape, policy.On)
		if err != nil {
			t.Fatal(err)
		}
		call := "POST /" + create.Version + create.Path
		s := put(t, map[string]string{call: `201 {"id":"` + policyA + `"}`})
		id, err := s.client.CreatePolicy(t.Context(), tenantA, shape)
		if err != nil || id != policyA || !slices.Equal(s.calls(), []string{call + "\n" + string(create.Body)}) {
			t.Errorf("%s: %s %v\n%q", shape, id, err, s.calls())
		}
	}

	found, err := policy.Detect(tenantA, policy.DeviceConfigurations, policy.Document{Entity: json.RawMessage(customOn + "}")})
	if err != nil || len(found) != 1 {
		t.Fatalf("%+v %v", found, err)
	}
	f := found[0]
	a, err := policy.ParseAssignments([]json.RawMessage{json.RawMessage(`{"target":` + filteredGroup + `}`)})
	if err != nil {
		t.Fatal(err)
	}
	set := append(a, policy.Assignment{Kind: policy.ExcludeGroup, GroupID: groupY})
	path := " /beta/deviceManagement/deviceConfigurations/" + policyA
	s := put(t, map[string]string{"PATCH" + path: "200 {}", "POST" + path + "/assign": `200 {"value":[]}`, "DELETE" + path: "204 "})
	if err := errors.Join(s.client.SetPolicyValue(t.Context(), tenantA, f, policy.Off), s.client.Assign(t.Context(), tenantA, f.Ref(), set),
		s.client.DeletePolicy(t.Context(), tenantA, f.Ref())); err != nil {
		t.Fatal(err)
	}
	value, err := policy.SetValue(tenantA, f, policy.Off)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"PATCH" + path + "\n" + string(value.Body),
		"POST" + path + "/assign\n" + `{"assignments":[{"target":` + filteredGroup + `},{"target":` + excludedGroup + `}]}`,
		"DELETE" + path,
	}
	if !slices.Equal(s.calls(), want) {
		t.Errorf("sent %q\nwant %q", s.calls(), want)
	}
	if err := s.client.SetPolicyValue(t.Context(), tenantA, policy.Found{ID: policyA, Shape: policy.OMAURI, Setting: policy.PINRecovery}, policy.Off); fault.CodeOf(err) != fault.InvalidRequest {
		t.Errorf("a value that was not read: %v", err)
	}
	if err := s.client.Assign(t.Context(), tenantA, f.Ref(), []policy.Assignment{{Kind: policy.IncludeGroup, GroupID: `x"}`}}); fault.CodeOf(err) != fault.InvalidRequest {
		t.Errorf("a group that is none: %v", err)
	}
	if len(s.calls()) != len(want) {
		t.Error("something invalid was sent")
	}
}

// A create goes out once, and its error says whether there may be a policy now.
func TestCreatePolicyOnce(t *testing.T) {
	t.Parallel()
	cut := func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		panic(http.ErrAbortHandler)
	}
	for name, c := range map[string]struct {
		graph   http.HandlerFunc
		unknown bool
	}{
		"refused":        {answerWith(400, nil, odataBody), false},
		"forbidden":      {answerWith(403, nil, odataBody), false},
		"throttled":      {answerWith(429, map[string]string{"Retry-After": "3"}, odataBody), true},
		"unavailable":    {answerWith(503, nil, odataBody), true},
		"failed":         {answerWith(500, nil, odataBody), true},
		"cut":            {cut, true},
		"without an id":  {answerWith(201, nil, `{}`), true},
		"with no answer": {answerWith(201, nil, ``), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, c.graph)
			id, err := s.client(t, nil).CreatePolicy(t.Context(), tenantA, policy.OMAURI)
			if err == nil || id != "" || errors.Is(err, ErrOutcomeUnknown) != c.unknown {
				t.Errorf("%q %v", id, err)
			}
			if n := s.posts.Load(); n != 1 {
				t.Errorf("%d POSTs", n)
			}
		})
	}
}

func TestReadsInABatch(t *testing.T) {
	t.Parallel()
	answers := threeStores()
	answers["GET /v1.0/domains?$select=id,authenticationType,isDefault,isInitial,isVerified"] =
		`200 {"value":[{"id":"contoso.com","authenticationType":"Federated","isDefault":true,"isInitial":false,"isVerified":true}],"@odata.nextLink":"BASE/v1.0/domains?$skiptoken=2"}`
	answers["GET /v1.0/domains?$skiptoken=2"] = `200 {"value":[{"id":"contoso.onmicrosoft.com","authenticationType":"Managed","isDefault":false,"isInitial":true,"isVerified":true}]}`
	answers["GET /v1.0/servicePrincipals(appId='"+appX+"')?$select="+servicePrincipalFields] = "403 " + odataBody
	s := put(t, answers)
	ctx, c := t.Context(), s.client
	domains, principal := ReadDomains(), ReadServicePrincipal(appX)
	parts, err := c.Batch(ctx, tenantA, domains.Version(), []BatchRequest{domains.Part("d"), principal.Part("p"), ReadOrganization().Part("o")})
	if err != nil {
		t.Fatal(err)
	}
	all, err := domains.From(ctx, c, tenantA, parts[0])
	if err != nil || len(all) != 2 || !all[0].Federated() || all[1].Federated() || all[1].Name != "contoso.onmicrosoft.com" {
		t.Errorf("domains %+v %v", all, err)
	}
	if _, err := principal.From(ctx, c, tenantA, parts[1]); fault.CodeOf(err) != fault.GraphForbidden {
		t.Errorf("service principal: %v", err)
	}
	if _, err := ReadOrganization().From(ctx, c, tenantA, parts[2]); !errors.Is(err, ErrNotFound) {
		t.Errorf("organization: %v", err)
	}
	catalog := ReadPolicies(policy.ConfigurationPolicies)
	parts, err = c.Batch(ctx, tenantA, catalog.Version(), []BatchRequest{catalog.Part("c")})
	if err != nil {
		t.Fatal(err)
	}
	if found, err := catalog.From(ctx, c, tenantA, parts[0]); err != nil || len(found) != 1 || found[0].ID != policyC {
		t.Errorf("catalog %+v %v", found, err)
	}
	if _, err := c.Batch(ctx, tenantA, V1, []BatchRequest{ReadGroup("../me").Part("g")}); fault.CodeOf(err) != fault.InvalidRequest {
		t.Errorf("a read that is none: %v", err)
	}
	if _, err := ReadPolicies("else").Do(ctx, c, tenantA); fault.CodeOf(err) != fault.InvalidRequest {
		t.Errorf("a store that is none: %v", err)
	}
}

// Settings of more policies than a batch has room for.
func TestPoliciesOfManyBatches(t *testing.T) {
	t.Parallel()
	var list []string
	answers := map[string]string{}
	for i := range 45 {
		id := fmt.Sprintf("cccccccc-0000-4000-8000-%012d", i)
		list = append(list, `{"id":"`+id+`","name":"n","platforms":"windows10","technologies":"mdm","settingCount":1}`)
		answers[catalogPath+id+"/settings"] = `200 {"value":[` + catalogSetting("_true") + `]}`
		answers[catalogPath+id+"/assignments"] = `200 {"value":[]}`
	}
	answers[listCatalog] = `200 {"value":[` + strings.Join(list, ",") + `]}`
	s := put(t, answers)
	found, err := ReadPolicies(policy.ConfigurationPolicies).Do(t.Context(), s.client, tenantA)
	if err != nil || len(found) != 45 {
		t.Fatalf("%d %v", len(found), err)
	}
	for i, f := range found {
		if f.ID != fmt.Sprintf("cccccccc-0000-4000-8000-%012d", i) || f.Value != policy.On {
			t.Errorf("policy %d is %+v", i, f)
		}
	}
	if n := s.posts.Load(); n != 6 {
		t.Errorf("%d batches, want 3 for settings and 3 for assignments", n)
	}
}

// HTTP/2 may send a request again by itself: a create does not go by it, though reads do.
func TestCreatesKeepOffHTTP2(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	seen := map[string]int{}
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen[r.Method] = r.ProtoMajor
		mu.Unlock()
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusCreated)
		}
		io.WriteString(w, `{"id":"`+policyA+`","value":[]}`)
	})
	c := s.client(t, nil)
	if _, err := c.Domains(t.Context(), tenantA); err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreatePolicy(t.Context(), tenantA, policy.SettingsCatalog); err != nil {
		t.Fatal(err)
	}
	if seen[http.MethodGet] != 2 || seen[http.MethodPost] != 1 {
		t.Errorf("versions of HTTP by method: %v", seen)
	}
}
