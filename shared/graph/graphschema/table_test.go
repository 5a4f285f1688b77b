package graphschema

import (
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite table.json from the published extract")

// What the table holds: the types that the client and the simulator send or
// receive, and the operations they call.
var (
	wantTypes = []string{
		"entity", "directoryObject", "servicePrincipal", "appRole", "permissionScope",
		"oAuth2PermissionGrant", "appRoleAssignment", "organization", "verifiedDomain",
		"group", "user", "device", "deviceManagement", "managedDevice",
		"deviceActionResult", "resetPasscodeActionResult", "remoteLockActionResult",
		"authenticationMethod", "windowsHelloForBusinessAuthenticationMethod",
		"publicError", "publicErrorDetail", "publicInnerError",
		"deviceConfiguration", "windows10CustomConfiguration", "omaSetting", "omaSettingBoolean", "omaSettingString", "omaSettingInteger",
		"deviceConfigurationAssignment", "deviceAndAppManagementAssignmentTarget", "groupAssignmentTarget",
		"exclusionGroupAssignmentTarget", "allDevicesAssignmentTarget", "allLicensedUsersAssignmentTarget",
		"deviceConfigurationDeviceStatus", "deviceConfigurationUserStatus", "deviceConfigurationDeviceOverview",
		"deviceConfigurationUserOverview", "deviceConfigurationState", "deviceConfigurationSettingState", "settingSource",
		"auditEvent", "auditActor", "auditResource", "auditProperty", "subscription",
	}
	wantOperations = []string{
		"resetPasscode(managedDevice)", "syncDevice(managedDevice)", "assign(deviceConfiguration)",
		"delta(Collection(servicePrincipal))", "delta(Collection(group))", "delta(Collection(oAuth2PermissionGrant))",
	}
	wantSets = []string{"servicePrincipals", "oauth2PermissionGrants", "organization", "groups", "users", "devices", "subscriptions"}
)

// TestTableMatchesPublishedExtract derives the table anew and compares. The
// extract is not part of the project: the test looks where
// PINRESET_GRAPH_SCHEMA says (a directory or a file), then beside the checkout.
func TestTableMatchesPublishedExtract(t *testing.T) {
	t.Parallel()
	raw, err := readExtract()
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("no published extract here; set PINRESET_GRAPH_SCHEMA to the directory that has v1.0.json")
	}
	if err != nil {
		t.Fatal(err)
	}
	want := derive(t, raw)
	if *update {
		text, err := json.MarshalIndent(want, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("table.json", append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got := new(Schema)
	if err := json.Unmarshal(tableJSON, got); err != nil {
		t.Fatal(err)
	}
	for name, typ := range want.Types {
		if !reflect.DeepEqual(got.Types[name], typ) {
			t.Errorf("type %s differs from the published schema", name)
		}
	}
	for name, members := range want.Enums {
		if !slices.Equal(got.Enums[name], members) {
			t.Errorf("enum %s: table has %v, schema has %v", name, got.Enums[name], members)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Error("table.json is not what the published schema gives; run with -update")
	}
	t.Logf("%d types, %d enums, %d operations equal to %s", len(got.Types), len(got.Enums), len(got.Operations), got.Source)
}

func readExtract() ([]byte, error) {
	path := os.Getenv("PINRESET_GRAPH_SCHEMA")
	if path == "" {
		path = filepath.Join("..", "..", "..", "..", "shared", "graph", "v1.0.json")
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, "v1.0.json")
	}
	return os.ReadFile(path)
}

// derive cuts the table out of the extract.
func derive(t *testing.T, raw []byte) *Schema {
	t.Helper()
	var extract struct {
		Source string
		Types  map[string]struct {
			Base       string
			Open       bool
			Navigation map[string]string
			Properties map[string]struct {
				Type     string
				Nullable *bool
			}
		}
		Enums      map[string][]string
		Operations []struct {
			Name, Kind, Bound string
			Parameters        map[string]string
			Returns           *string
		}
		EntitySets, Singletons map[string]string
	}
	if err := json.Unmarshal(raw, &extract); err != nil {
		t.Fatal(err)
	}
	s := &Schema{
		Source: extract.Source, Types: map[string]*Type{}, Enums: map[string][]string{},
		EntitySets: map[string]string{}, Singletons: map[string]string{"deviceManagement": extract.Singletons["deviceManagement"]},
	}
	for _, name := range wantTypes {
		from, ok := extract.Types[name]
		if !ok {
			t.Fatalf("the published schema has no type %s", name)
		}
		typ := &Type{Base: from.Base, Open: from.Open, Properties: map[string]Property{}}
		for property, p := range from.Properties {
			typ.Properties[property] = Property{Type: p.Type, Nullable: p.Nullable == nil || *p.Nullable}
			element, _ := elementOf(p.Type)
			if members, ok := extract.Enums[element]; ok {
				s.Enums[element] = members
			}
		}
		for property, target := range from.Navigation {
			element, _ := elementOf(target)
			if slices.Contains(wantTypes, element) || notInExtract[element] != nil {
				if typ.Navigation == nil {
					typ.Navigation = map[string]string{}
				}
				typ.Navigation[property] = target
			}
		}
		s.Types[name] = typ
	}
	for _, op := range extract.Operations {
		if slices.Contains(wantOperations, op.Name+"("+op.Bound+")") {
			returns := ""
			if op.Returns != nil {
				returns = *op.Returns
			}
			if len(op.Parameters) == 0 {
				op.Parameters = nil
			}
			s.Operations = append(s.Operations, Operation{Name: op.Name, Kind: op.Kind, Bound: op.Bound, Parameters: op.Parameters, Returns: returns})
		}
	}
	slices.SortFunc(s.Operations, func(a, b Operation) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Bound, b.Bound))
	})
	if len(s.Operations) != len(wantOperations) {
		t.Fatalf("the published schema has %d of the %d wanted operations", len(s.Operations), len(wantOperations))
	}
	for _, name := range wantSets {
		typ, ok := extract.EntitySets[name]
		if !ok {
			t.Fatalf("the published schema has no entity set %s", name)
		}
		s.EntitySets[name] = typ
	}
	for name, members := range s.Enums {
		if len(members) == 0 {
			t.Fatalf("enum %s has no members", name)
		}
	}
	return s
}
