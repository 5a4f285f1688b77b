package policy

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

const (
	tenantID = "aaaaaaaa-1111-2222-3333-444444444444"
	otherID  = "bbbbbbbb-1111-2222-3333-444444444444"
	policyID = "cccccccc-1111-2222-3333-444444444444"
)

// customProfile is a custom profile with one OMA-URI setting.
func customProfile(settingType, uri, rest string) string {
	return `{"@odata.type":"#microsoft.graph.windows10CustomConfiguration","id":"` + strings.ToUpper(policyID) + `","displayName":"PIN","description":"Managed by pinreset",` +
		`"lastModifiedDateTime":"2026-01-05T10:00:00.1234567Z","version":3,"omaSettings":[{"@odata.type":"` + settingType + `","displayName":"x","omaUri":"` + uri + `"` + rest + `}],"assignments":[]}`
}

const catalogEntity = `{"id":"` + policyID + `","name":"Hello","description":"","platforms":"windows10","technologies":"mdm","settingCount":1,"roleScopeTagIds":["0"]%s}`

// catalogSettings is the setting of a real export of a settings catalog policy, with ids from which {tenantid} is not replaced.
func catalogSettings(definition, choice string) json.RawMessage {
	return json.RawMessage(`{"@odata.type":"#microsoft.graph.deviceManagementConfigurationSetting","settingInstance":{
  "@odata.type":"#microsoft.graph.deviceManagementConfigurationGroupSettingCollectionInstance","settingDefinitionId":"device_vendor_msft_passportforwork_{tenantid}",
  "groupSettingCollectionValue":[{"children":[
   {"@odata.type":"#microsoft.graph.deviceManagementConfigurationSomethingNew","settingDefinitionId":"device_vendor_msft_passportforwork_{tenantid}_policies_other","new":[1,{"a":null}]},
   {"@odata.type":"#microsoft.graph.deviceManagementConfigurationChoiceSettingInstance","settingDefinitionId":"` + definition + `",
   "choiceSettingValue":{"@odata.type":"#microsoft.graph.deviceManagementConfigurationChoiceSettingValue","value":"` + choice + `","children":[]}}]}]}}`)
}

func TestDetect(t *testing.T) {
	t.Parallel()
	device := URI(tenantID, Device)
	const boolean = "#microsoft.graph.omaSettingBoolean"
	identity := `{"@odata.type":"#microsoft.graph.windowsIdentityProtectionConfiguration","id":"` + policyID + `","displayName":"x"%s}`
	intent := func(value string) Document {
		return Document{Entity: json.RawMessage(`{"id":"` + policyID + `","displayName":"x","isAssigned":true}`), Settings: []json.RawMessage{
			json.RawMessage(`{"@odata.type":"#microsoft.graph.deviceManagementBooleanSettingInstance","definitionId":"deviceConfiguration--windowsIdentityProtectionConfiguration_pinRecoveryEnabled","valueJson":` + value + `}`)}}
	}
	entity := func(s string) Document { return Document{Entity: json.RawMessage(s)} }
	catalog := func(extra, definition, choice string) Document {
		return Document{Entity: json.RawMessage(strings.Replace(catalogEntity, "%s", extra, 1)), Settings: []json.RawMessage{catalogSettings(definition, choice)}}
	}
	for _, c := range []struct {
		name     string
		store    Store
		document Document
		shape    Shape // "": nothing is found
		value    Value
		scope    Scope
		misspelt bool
		codes    []Code
	}{
		{"custom on", DeviceConfigurations, entity(customProfile(boolean, device, `,"value":true`)), OMAURI, On, Device, false, nil},
		{"custom off, type without #, other case", DeviceConfigurations, entity(customProfile(boolean[1:], strings.ToUpper(device), `,"value":false`)), OMAURI, Off, Device, false, nil},
		{"custom for users", DeviceConfigurations, entity(customProfile(boolean, URI(tenantID, User), `,"value":true`)), OMAURI, On, User, false, nil},
		{"custom encrypted", DeviceConfigurations, entity(customProfile(boolean, device, `,"value":true,"isEncrypted":true,"secretReferenceValueId":"x"`)), OMAURI, Unknown, Device, false, []Code{Encrypted}},
		{"custom, value null", DeviceConfigurations, entity(customProfile(boolean, device, `,"value":null`)), OMAURI, Unknown, Device, false, nil},
		{"custom String True", DeviceConfigurations, entity(customProfile("#microsoft.graph.omaSettingString", device, `,"value":"True"`)), OMAURI, On, Device, true, []Code{NotBoolean}},
		{"custom Integer 0", DeviceConfigurations, entity(customProfile("#microsoft.graph.omaSettingInteger", device, `,"value":0`)), OMAURI, Off, Device, true, []Code{NotBoolean}},
		{"the path that Microsoft's page prints", DeviceConfigurations, entity(customProfile(boolean, "./Vendor/MSFT/Policy/PassportForWork/"+tenantID+"/Policies/EnablePinRecovery", `,"value":true`)), OMAURI, On, Device, true, []Code{WrongPath}},
		{"the same after ./Device", DeviceConfigurations, entity(customProfile(boolean, "./Device/Vendor/MSFT/Policy/PassportForWork/"+tenantID+"/Policies/EnablePinRecovery", `,"value":true`)), OMAURI, On, Device, true, []Code{WrongPath}},
		{"braces", DeviceConfigurations, entity(customProfile(boolean, "./Device/Vendor/MSFT/PassportForWork/{"+tenantID+"}/Policies/EnablePinRecovery", `,"value":true`)), OMAURI, On, Device, true, []Code{Braces}},
		{"another tenant", DeviceConfigurations, entity(customProfile(boolean, URI(otherID, Device), `,"value":true`)), OMAURI, On, Device, true, []Code{OtherTenant}},
		{"a placeholder", DeviceConfigurations, entity(customProfile(boolean, "./Device/Vendor/MSFT/PassportForWork/{TenantId}/Policies/EnablePinRecovery", `,"value":true`)), OMAURI, On, Device, true, []Code{NoTenant}},
		{"no tenant", DeviceConfigurations, entity(customProfile(boolean, "./Device/Vendor/MSFT/PassportForWork/Policies/EnablePinRecovery", `,"value":true`)), OMAURI, On, Device, true, []Code{NoTenant}},
		{"no scope", DeviceConfigurations, entity(customProfile(boolean, "./Vendor/MSFT/PassportForWork/"+tenantID+"/Policies/EnablePinRecovery", `,"value":true`)), OMAURI, On, Device, true, []Code{NoScope}},
		{"elsewhere", DeviceConfigurations, entity(customProfile(boolean, "./Device/Vendor/Acme/EnablePinRecovery", `,"value":true`)), OMAURI, On, Device, true, []Code{WrongURI}},
		{"custom of something else", DeviceConfigurations, entity(customProfile(boolean, "./Device/Vendor/MSFT/PassportForWork/"+tenantID+"/Policies/UsePassportForWork", `,"value":true`)), "", 0, "", false, nil},
		{"identity protection on", DeviceConfigurations, entity(strings.Replace(identity, "%s", `,"pinRecoveryEnabled":true`, 1)), IdentityProtection, On, Device, false, []Code{RetiredShape}},
		{"identity protection as v1.0 shows it", DeviceConfigurations, entity(strings.Replace(identity, "%s", "", 1)), "", 0, "", false, nil},
		{"another type", DeviceConfigurations, entity(`{"@odata.type":"#microsoft.graph.somethingNew","id":"x","pinRecoveryEnabled":true,"omaSettings":[]}`), "", 0, "", false, nil},
		{"catalog on", ConfigurationPolicies, catalog("", catalogSetting, catalogSetting+"_true"), SettingsCatalog, On, Device, false, nil},
		{"catalog off", ConfigurationPolicies, catalog("", catalogSetting, catalogSetting+"_false"), SettingsCatalog, Off, Device, false, nil},
		{"catalog for users", ConfigurationPolicies, catalog("", strings.Replace(catalogSetting, "device", "user", 1), strings.Replace(catalogSetting, "device", "user", 1)+"_true"), SettingsCatalog, On, User, false, nil},
		{"catalog, a choice not known", ConfigurationPolicies, catalog("", catalogSetting, catalogSetting+"_perhaps"), SettingsCatalog, Unknown, Device, false, nil},
		{"catalog with {tenantid} replaced", ConfigurationPolicies, catalog("", strings.Replace(catalogSetting, "{tenantid}", tenantID, 1), strings.Replace(catalogSetting, "{tenantid}", tenantID, 1)+"_true"), SettingsCatalog, On, Device, true, []Code{TenantInCatalog}},
		{"account protection by family", ConfigurationPolicies, catalog(`,"templateReference":{"templateId":"x_1","templateFamily":"endpointSecurityAccountProtection"}`, catalogSetting, catalogSetting+"_true"), AccountProtection, On, Device, false, nil},
		{"account protection by template", ConfigurationPolicies, catalog(`,"templateReference":{"templateId":"`+accountTemplate+`"}`, catalogSetting, catalogSetting+"_true"), AccountProtection, On, Device, false, nil},
		{"catalog of something else", ConfigurationPolicies, catalog("", "device_vendor_msft_bitlocker", "device_vendor_msft_bitlocker_true"), "", 0, "", false, nil},
		{"intent on", Intents, intent(`"true"`), Intent, On, Device, false, []Code{RetiredShape}},
		{"intent off", Intents, intent(`"false"`), Intent, Off, Device, false, []Code{RetiredShape}},
		{"intent not configured", Intents, intent(`"null"`), "", 0, "", false, nil},
		{"intent of an odd value", Intents, intent(`7`), Intent, Unknown, Device, false, []Code{RetiredShape}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			found, err := Detect(tenantID, c.store, c.document)
			if err != nil {
				t.Fatal(err)
			}
			if c.shape == "" {
				if len(found) > 0 {
					t.Fatalf("found %+v", found)
				}
				return
			}
			if len(found) != 1 {
				t.Fatalf("%d found: %+v", len(found), found)
			}
			f := found[0]
			var codes []Code
			for _, finding := range f.Findings {
				codes = append(codes, finding.Code)
				if finding.Text == "" || finding.Fix == "" || finding.Severity == "" || finding.PolicyID != policyID {
					t.Errorf("finding %+v", finding)
				}
			}
			if f.ID != policyID || f.Name == "" || f.Setting != PINRecovery || f.Shape != c.shape || f.Value != c.value || f.Scope != c.scope ||
				f.Misspelt != c.misspelt || !slices.Equal(codes, c.codes) {
				t.Errorf("found %+v, codes %v; want %s %s %s misspelt=%t %v", f, codes, c.shape, c.value, c.scope, c.misspelt, c.codes)
			}
			if c.misspelt && f.Effective() != Unknown {
				t.Errorf("a misspelt setting has the effect %s", f.Effective())
			}
		})
	}
}

func TestDetectOfOneProfile(t *testing.T) {
	t.Parallel()
	list := `{"@odata.type":"#microsoft.graph.omaSettingString","displayName":"l","omaUri":"` + AllowListURI + `","value":"\"signin.contoso.com\", https://portal.contoso.com/x"}`
	entity := customProfile("#microsoft.graph.omaSettingBoolean", URI(tenantID, Device), `,"value":true`)
	entity = strings.Replace(entity, `"omaSettings":[`, `"omaSettings":[`+list+`,{"omaUri":7},{"@odata.type":"#microsoft.graph.omaSettingBoolean","omaUri":"`+URI(tenantID, Device)+`","value":false},`, 1)
	found, err := Detect(tenantID, DeviceConfigurations, Document{Entity: json.RawMessage(entity)})
	if err != nil || len(found) != 2 {
		t.Fatalf("%+v %v", found, err)
	}
	pin, allowed := found[0], found[1]
	if pin.Setting != PINRecovery || pin.Value != Unknown || pin.Findings[0].Code != Contradiction || !pin.Mine ||
		pin.Modified.Format("2006-01-02T15:04:05Z") != "2026-01-05T10:00:00Z" {
		t.Errorf("the setting made twice: %+v", pin)
	}
	if allowed.Setting != WebSignInAllowList || allowed.Value != On || !slices.Equal(Domains(allowed.List), []string{"signin.contoso.com", "portal.contoso.com"}) {
		t.Errorf("the list: %+v, %v", allowed, Domains(allowed.List))
	}
	if _, err := SetValue(tenantID, pin, Off); err == nil {
		t.Error("a setting that is made twice was written")
	}
}

func TestAssignmentsAreKept(t *testing.T) {
	t.Parallel()
	const group = "dddddddd-1111-2222-3333-444444444444"
	odd := `{ "@odata.type" : "#microsoft.graph.configurationManagerCollectionAssignmentTarget",  "collectionId":"SMS00001", "a":"<&>" }`
	filtered := `{"@odata.type":"#microsoft.graph.groupAssignmentTarget","groupId":"` + strings.ToUpper(group) + `","deviceAndAppManagementAssignmentFilterId":"` + otherID + `","deviceAndAppManagementAssignmentFilterType":"include","unknown":1.50}`
	elements := []json.RawMessage{
		json.RawMessage(`{"id":"1","target":` + odd + `}`),
		json.RawMessage(`{"id":"2","target":` + filtered + `}`),
		json.RawMessage(`{"id":"3","target":{"@odata.type":"microsoft.graph.exclusionGroupAssignmentTarget","groupId":"` + otherID + `","deviceAndAppManagementAssignmentFilterId":null,"deviceAndAppManagementAssignmentFilterType":"none"}}`),
		json.RawMessage(`{"id":"4","target":{"@odata.type":"#microsoft.graph.allDevicesAssignmentTarget"}}`),
		json.RawMessage(`{"id":"5","target":{"@odata.type":"#microsoft.graph.allLicensedUsersAssignmentTarget","deviceAndAppManagementAssignmentFilterId":"00000000-0000-0000-0000-000000000000"}}`),
	}
	all, err := ParseAssignments(elements)
	if err != nil {
		t.Fatal(err)
	}
	want := []Assignment{{Kind: OtherTarget}, {Kind: IncludeGroup, GroupID: group, Filter: otherID, FilterMode: "include"},
		{Kind: ExcludeGroup, GroupID: otherID}, {Kind: AllDevices}, {Kind: AllUsers}}
	for i, a := range all {
		raw := string(a.Raw)
		a.Raw = nil
		if a.Kind != want[i].Kind || a.GroupID != want[i].GroupID || a.Filter != want[i].Filter || a.FilterMode != want[i].FilterMode {
			t.Errorf("assignment %d: %+v, want %+v", i, a, want[i])
		}
		if !strings.Contains(string(elements[i]), raw) {
			t.Errorf("assignment %d was changed: %s", i, raw)
		}
	}
	body := string(Assign(Ref{DeviceConfigurations, policyID}, all).Body)
	for _, kept := range []string{odd, filtered} {
		if !strings.Contains(body, `{"target":`+kept+`}`) {
			t.Errorf("%s is not in %s", kept, body)
		}
	}
	for _, bad := range []string{`{}`, `{"target":null}`, `{"target":[]}`, `7`} {
		if _, err := ParseAssignments([]json.RawMessage{json.RawMessage(bad)}); err == nil {
			t.Errorf("%s is an assignment", bad)
		}
	}
}

func TestCandidates(t *testing.T) {
	t.Parallel()
	for entity, want := range map[string]bool{
		`{"platforms":"windows10","technologies":"mdm","settingCount":3}`:                true,
		`{"platforms":"windows10","technologies":"mdm,microsoftSense","settingCount":3}`: true,
		`{"platforms":"windows10","technologies":"unknownFutureValue"}`:                  true,
		`{}`: true,
		`{"platforms":"iOS","technologies":"mdm","settingCount":3}`:       false,
		`{"platforms":"windows10","technologies":"mdm","settingCount":0}`: false,
	} {
		if Candidate(ConfigurationPolicies, json.RawMessage(entity)) != want {
			t.Errorf("%s is a candidate: %t", entity, !want)
		}
	}
}

// Whatever Graph may send, detection neither panics nor finds what can't be stored, and what it finds can be written without
// a change to anything else.
func FuzzDetect(f *testing.F) {
	f.Add(0, customProfile("#microsoft.graph.omaSettingBoolean", URI(tenantID, Device), `,"value":true`), `{}`)
	f.Add(1, strings.Replace(catalogEntity, "%s", "", 1), string(catalogSettings(catalogSetting, catalogSetting+"_true")))
	f.Add(2, `{"id":"x"}`, `{"definitionId":"`+intentDefinition+`","valueJson":"true"}`)
	f.Add(0, `{"@odata.type":"windowsIdentityProtectionConfiguration","pinRecoveryEnabled":false,"assignments":[{"target":{}}]}`, `null`)
	f.Fuzz(func(t *testing.T, store int, entity, setting string) {
		s := Stores[uint(store)%uint(len(Stores))]
		found, err := Detect(tenantID, s, Document{Entity: json.RawMessage(entity), Settings: []json.RawMessage{json.RawMessage(setting)}})
		if err != nil {
			return
		}
		for _, x := range found {
			if x.Shape.Store() != s || x.Scope != Device && x.Scope != User {
				t.Fatalf("found %+v in %s", x, s)
			}
			text, err := json.Marshal(x)
			if err != nil {
				t.Fatal(err)
			}
			var again Found
			if err := json.Unmarshal(text, &again); err != nil || again.Value != x.Value || len(again.Assignments) != len(x.Assignments) {
				t.Fatalf("%+v became %+v: %v", x, again, err)
			}
			if !json.Valid(Assign(Ref{s, policyID}, x.Assignments).Body) {
				t.Fatalf("assignments %+v do not write", x.Assignments)
			}
			for _, v := range []Value{On, Off} {
				if call, err := SetValue(tenantID, x, v); err == nil && !json.Valid(call.Body) {
					t.Fatalf("value does not write: %s", call.Body)
				}
			}
		}
		Lint(found, nil)
	})
}
