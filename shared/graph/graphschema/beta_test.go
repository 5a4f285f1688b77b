package graphschema

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// wantNames are the beta types that the simulator answers with.
var wantNames = []string{
	"deviceConfiguration", "windows10CustomConfiguration", "windowsIdentityProtectionConfiguration",
	"deviceConfigurationAssignment", "managedDevice",
	"omaSetting", "omaSettingBoolean",
	"deviceAndAppManagementAssignmentTarget", "groupAssignmentTarget", "exclusionGroupAssignmentTarget",
	"allDevicesAssignmentTarget", "allLicensedUsersAssignmentTarget",
	"deviceManagementConfigurationPolicy", "deviceManagementConfigurationPolicyAssignment",
	"deviceManagementConfigurationPolicyTemplateReference", "deviceManagementConfigurationSetting",
	"deviceManagementConfigurationSettingInstance", "deviceManagementConfigurationGroupSettingCollectionInstance",
	"deviceManagementConfigurationChoiceSettingInstance", "deviceManagementConfigurationChoiceSettingValue",
	"deviceManagementConfigurationGroupSettingValue", "deviceManagementConfigurationSettingInstanceTemplateReference",
	"deviceManagementIntent", "deviceManagementIntentAssignment", "deviceManagementSettingInstance",
	"deviceManagementBooleanSettingInstance", "deviceManagementIntentDeviceState", "deviceManagementIntentDeviceStateSummary",
}

// TestNamesMatchPublishedMapping derives the beta names anew and compares.
func TestNamesMatchPublishedMapping(t *testing.T) {
	t.Parallel()
	path := os.Getenv("PINRESET_GRAPH_SCHEMA")
	if path == "" {
		path = filepath.Join("..", "..", "..", "..", "shared", "graph")
	} else if strings.HasSuffix(path, ".json") {
		path = filepath.Dir(path)
	}
	raw, err := os.ReadFile(filepath.Join(path, "beta-names.json"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("no published mapping here; set PINRESET_GRAPH_SCHEMA to the directory that has beta-names.json")
	}
	if err != nil {
		t.Fatal(err)
	}
	type members struct{ Properties, NavigationProperties []string }
	var mapping struct {
		Source            string
		Entities, Complex map[string]members
	}
	if err := json.Unmarshal(raw, &mapping); err != nil {
		t.Fatal(err)
	}
	want := &Names{Source: mapping.Source, Types: map[string][]string{}}
	for _, name := range wantNames {
		m, ok := mapping.Entities[name]
		if !ok {
			m, ok = mapping.Complex[name]
		}
		if !ok {
			t.Fatalf("the published mapping has no type %s", name)
		}
		list := slices.Concat([]string{}, m.Properties, m.NavigationProperties)
		slices.Sort(list)
		want.Types[name] = list
	}
	if *update {
		text, err := json.MarshalIndent(want, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("beta.json", append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got := new(Names)
	if err := json.Unmarshal(betaJSON, got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Error("beta.json is not what the published mapping gives; run with -update")
	}
}

func TestNamesCheck(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"name":"x","settings":[{"@odata.type":"#microsoft.graph.deviceManagementConfigurationSetting","settingInstance":{"@odata.type":"#microsoft.graph.deviceManagementConfigurationChoiceSettingInstance","settingDefinitionId":"d"}}]}`: "",
		`{"displayName":"x"}`: "body.displayName: deviceManagementConfigurationPolicy has no such property",
		`{"settings":[{"settingInstance":{"@odata.type":"microsoft.graph.deviceManagementConfigurationChoiceSettingInstance","value":"d"}}]}`: "deviceManagementConfigurationChoiceSettingInstance has no such property",
		`{"@odata.type":"#microsoft.graph.deviceManagementIntent"}`:                                                                           "does not derive from",
		`[`: "decode body",
	} {
		r := Beta().Check("deviceManagementConfigurationPolicy", []byte(body))
		if got := strings.Join(r.Violations, "\n"); (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}
