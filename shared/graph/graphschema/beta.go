package graphschema

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

//go:embed beta.json
var betaJSON []byte

// Names are the property names of types of the beta endpoint, for which no typed
// schema is at hand (microsoftgraph/msgraph-metadata schemas/type-mappings). A
// value's type is not checked; a name that Graph does not have is found.
type Names struct {
	Source string              `json:"source"`
	Types  map[string][]string `json:"types"` // properties and navigation properties, without inherited ones
}

// betaBases says which beta type inherits from which; the mapping leaves it out.
// Types that are not in the mapping, with the names that the pages of the
// resources print, are in betaExtra.
var (
	betaBases = map[string]string{
		"windows10CustomConfiguration":           "deviceConfiguration",
		"windowsIdentityProtectionConfiguration": "deviceConfiguration",
		"omaSettingBoolean":                      "omaSetting",
		"omaSettingString":                       "omaSetting",
		"omaSettingInteger":                      "omaSetting",
		"groupAssignmentTarget":                  "deviceAndAppManagementAssignmentTarget",
		"exclusionGroupAssignmentTarget":         "groupAssignmentTarget",
		"allDevicesAssignmentTarget":             "deviceAndAppManagementAssignmentTarget",
		"allLicensedUsersAssignmentTarget":       "deviceAndAppManagementAssignmentTarget",
		"deviceManagementBooleanSettingInstance": "deviceManagementSettingInstance",

		"deviceManagementConfigurationGroupSettingCollectionInstance": "deviceManagementConfigurationSettingInstance",
		"deviceManagementConfigurationChoiceSettingInstance":          "deviceManagementConfigurationSettingInstance",
		"deviceManagementConfigurationChoiceSettingValue":             "deviceManagementConfigurationSettingValue",
		"deviceManagementConfigurationGroupSettingValue":              "deviceManagementConfigurationSettingValue",
	}
	betaExtra = map[string][]string{
		"omaSettingString":                          {"value"},
		"omaSettingInteger":                         {"value", "isReadOnly"},
		"deviceManagementConfigurationSettingValue": {"settingValueTemplateReference"},
	}
)

// Beta returns the names of the beta endpoint.
var Beta = sync.OnceValue(func() *Names {
	n := new(Names)
	if err := json.Unmarshal(betaJSON, n); err != nil {
		panic(fmt.Sprintf("graphschema: beta.json: %v", err))
	}
	maps.Copy(n.Types, betaExtra)
	return n
})

// Known reports whether the table has the type.
func (n *Names) Known(typeName string) bool {
	_, ok := n.Types[typeName]
	return ok
}

// Has reports whether the type or one of its bases has a property of the name.
func (n *Names) Has(typeName, name string) bool {
	if name == "id" {
		return true
	}
	for t := typeName; t != ""; t = betaBases[t] {
		if slices.Contains(n.Types[t], name) {
			return true
		}
	}
	return false
}

// Derives reports whether typeName is base or inherits from it.
func (n *Names) Derives(typeName, base string) bool {
	for t := typeName; t != ""; t = betaBases[t] {
		if t == base {
			return true
		}
	}
	return false
}

// Check checks the member names of a body of the given type, and of every object
// in it that names a type of the table.
func (n *Names) Check(typeName string, body []byte) Report {
	value, err := decode(body)
	if err != nil {
		return Report{Violations: []string{err.Error()}}
	}
	var r Report
	n.walk("body", typeName, value, &r)
	return r
}

func (n *Names) walk(path, typ string, value any, r *Report) {
	switch v := value.(type) {
	case []any:
		for i, item := range v {
			n.walk(fmt.Sprintf("%s[%d]", path, i), typ, item, r)
		}
	case map[string]any:
		if name, ok := v["@odata.type"].(string); ok {
			name = strings.TrimPrefix(strings.TrimPrefix(name, "#"), "microsoft.graph.")
			if typ != "" && n.Known(name) && !n.Derives(name, typ) {
				r.Violations = append(r.Violations, fmt.Sprintf("%s: @odata.type %s does not derive from %s", path, name, typ))
			}
			typ = name
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if strings.Contains(name, "@") {
				continue
			}
			if n.Known(typ) {
				r.Properties++
				if !n.Has(typ, name) {
					r.Violations = append(r.Violations, fmt.Sprintf("%s.%s: %s has no such property", path, name, typ))
				}
			}
			n.walk(path+"."+name, "", v[name], r)
		}
	}
}
