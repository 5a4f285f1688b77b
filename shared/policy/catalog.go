package policy

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Ids of the settings catalog. {tenantid} in them is literal.
const (
	catalogPrefix  = "_vendor_msft_passportforwork_"
	catalogSuffix  = "_policies_enablepinrecovery"
	catalogTenant  = "{tenantid}"
	catalogList    = "_vendor_msft_policy_config_authentication_configurewebsigninallowedurls"
	catalogGroup   = "device" + catalogPrefix + catalogTenant
	catalogSetting = catalogGroup + catalogSuffix

	// Of the endpoint security template, as a public export of such a policy has them.
	accountTemplate = "fcef01f2-439d-4c3f-9184-823fd6e97646_1"
	accountFamily   = "endpointSecurityAccountProtection"
	accountRoot     = "0ece2bdc-57c1-4be9-93e9-ac9c395a9c94"

	typePrefix = "#microsoft.graph.deviceManagementConfiguration"
)

// catalogPolicy is a policy of the settings catalog as it is written.
type catalogPolicy struct {
	Name         string           `json:"name"`
	Description  string           `json:"description"`
	Platforms    string           `json:"platforms"`
	Technologies string           `json:"technologies"`
	RoleScopes   []string         `json:"roleScopeTagIds"`
	Template     *catalogTemplate `json:"templateReference,omitempty"`
	Settings     any              `json:"settings"`
}

type catalogTemplate struct {
	ID string `json:"templateId"`
}

func catalogBody(shape Shape, v Value) catalogPolicy {
	type object = map[string]any
	instance := object{
		"@odata.type":         typePrefix + "GroupSettingCollectionInstance",
		"settingDefinitionId": catalogGroup,
		"groupSettingCollectionValue": []any{object{"children": []any{object{
			"@odata.type":         typePrefix + "ChoiceSettingInstance",
			"settingDefinitionId": catalogSetting,
			"choiceSettingValue": object{
				"@odata.type": typePrefix + "ChoiceSettingValue",
				"value":       catalogChoice(catalogSetting, v),
				"children":    []any{},
			},
		}}}},
	}
	p := catalogPolicy{Name: Name, Description: Mark, Platforms: "windows10", Technologies: "mdm", RoleScopes: []string{"0"},
		Settings: []any{object{"@odata.type": typePrefix + "Setting", "settingInstance": instance}}}
	if shape == AccountProtection {
		p.Template = &catalogTemplate{ID: accountTemplate}
		instance["settingInstanceTemplateReference"] = object{"settingInstanceTemplateId": accountRoot}
	}
	return p
}

func catalogChoice(definition string, v Value) string {
	if v == On {
		return definition + "_true"
	}
	return definition + "_false"
}

// writable are the fields of a catalog policy that a write takes; the others are Graph's own.
var writable = []string{"name", "description", "platforms", "technologies", "roleScopeTagIds", "templateReference"}

// catalogWithValue is the whole policy with the one choice changed and everything else byte for byte.
func catalogWithValue(f Found, v Value) (json.RawMessage, error) {
	if f.whole == nil || f.whole.fields["name"] == nil {
		return nil, ErrNotWritable
	}
	definition := string(f.Scope) + catalogPrefix + catalogTenant + catalogSuffix
	// The choice is a JSON string without anything to be escaped, so it is in the text as it is here.
	was, is := `"`+catalogChoice(definition, f.Value)+`"`, `"`+catalogChoice(definition, v)+`"`
	found := 0
	settings := make([]json.RawMessage, len(f.whole.settings))
	for i, s := range f.whole.settings {
		found += bytes.Count(s, []byte(was))
		settings[i] = bytes.ReplaceAll(s, []byte(was), []byte(is))
	}
	if found != 1 {
		return nil, ErrNotWritable
	}
	var b strings.Builder
	b.WriteByte('{')
	for _, name := range writable {
		if field, ok := f.whole.fields[name]; ok && string(field) != "null" {
			b.WriteString(`"` + name + `":`)
			b.Write(field)
			b.WriteByte(',')
		}
	}
	return joinRaw(b.String()+`"settings":[`, settings, `]}`), nil
}
