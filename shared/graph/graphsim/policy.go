package graphsim

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// A Store is one of the collections that policies live in.
type Store string

// The stores. Legacy intents are read, not created, through Graph.
const (
	DeviceConfigurations  Store = "deviceConfigurations"
	ConfigurationPolicies Store = "configurationPolicies"
	LegacyIntents         Store = "intents"
)

// The types of a device configuration that the model knows. Identity protection
// is part of the beta schema only.
const (
	customType   = "windows10CustomConfiguration"
	identityType = "windowsIdentityProtectionConfiguration"
)

// A policy is one profile, settings catalog policy or intent. A stored one is
// never changed: a change replaces it.
type policy struct {
	ID          string             `json:"id"`
	Store       Store              `json:"store"`
	Type        string             `json:"type,omitempty"` // of a device configuration
	Name        string             `json:"name"`
	Description string             `json:"description"`
	Created     time.Time          `json:"created"`
	Modified    time.Time          `json:"modified"` // its settings or its assignments
	Version     int                `json:"version"`
	Body        map[string]any     `json:"body,omitempty"`     // what else was written: omaSettings, pinRecoveryEnabled, platforms, …
	Settings    []any              `json:"settings,omitempty"` // of a catalog policy or intent
	Assignments []policyAssignment `json:"assignments,omitempty"`
	Deleted     bool               `json:"deleted,omitempty"`
}

// A policyAssignment keeps its target as it was written, names that the model
// does not know included.
type policyAssignment struct {
	ID     string         `json:"id"`
	Target map[string]any `json:"target"`
}

// Names of assignment targets.
const (
	groupTarget     = "groupAssignmentTarget"
	exclusionTarget = "exclusionGroupAssignmentTarget"
	allDevices      = "allDevicesAssignmentTarget"
	allUsers        = "allLicensedUsersAssignmentTarget"
)

// typeName strips what Graph writes before a type's name.
func typeName(value any) string {
	name, _ := value.(string)
	return strings.TrimPrefix(strings.TrimPrefix(name, "#"), "microsoft.graph.")
}

func (a policyAssignment) kind() string { return typeName(a.Target["@odata.type"]) }

func (a policyAssignment) group() string {
	id, _ := a.Target["groupId"].(string)
	return strings.ToLower(id)
}

// newAssignment names an assignment after policy and target, as Graph seems to:
// the same target written again has the same id.
func newAssignment(policyID string, target map[string]any) policyAssignment {
	a := policyAssignment{Target: target}
	a.ID = policyID + "_" + guid(a.kind()+" "+a.group())
	return a
}

func (t *tenant) putPolicy(p policy) change {
	return change{"policy/" + t.id + "/" + p.ID, p, func() { t.policies[p.ID] = &p }}
}

// livePolicies lists the policies of a store, or with "" of all, by id.
func (t *tenant) livePolicies(s Store) []*policy {
	return sorted(t.policies, func(p *policy) bool { return !p.Deleted && (s == "" || p.Store == s) })
}

// policy finds a policy by id or name. Of two with one name it takes the one
// with the lower id.
func (t *tenant) policy(ref string) (*policy, bool) {
	if p := t.policies[ref]; p != nil && !p.Deleted {
		return p, true
	}
	for _, p := range t.livePolicies("") {
		if strings.EqualFold(p.Name, ref) {
			return p, true
		}
	}
	return nil, false
}

// An evaluation is one state of everything that decides what devices are told:
// policies, assignments, groups, and the PIN reset service principals.
type evaluation struct {
	Seq int64     `json:"seq"`
	At  time.Time `json:"at"` // when it began
}

// alter returns the changes and those that go with them: devices first learn
// what held until now, and a new evaluation begins.
func (c *Cloud) alter(t *tenant, now time.Time, changes ...change) []change {
	next := evaluation{t.evaluation.Seq + 1, now}
	return slices.Concat(c.settle(t, now), changes, []change{{"evaluation/" + t.id + "/", next, func() { t.evaluation = next }}})
}

// The setting's names in the stores (PassportForWork CSP; settings catalog).
const (
	catalogRecovery = "vendor_msft_passportforwork_{tenantid}_policies_enablepinrecovery" // after device_ or user_
	intentRecovery  = "deviceConfiguration--windowsIdentityProtectionConfiguration_pinRecoveryEnabled"
)

// recovery returns every value of EnablePinRecovery in the policy, and whether
// it holds one that a device of the tenant can't take: a path that is not the
// documented one, another tenant's id, a value that is no Boolean. What a real
// device does with those is not documented; here it reports an error.
func (p *policy) recovery(tenantID string) (values []bool, broken bool) {
	switch p.Store {
	case DeviceConfigurations:
		if on, ok := p.Body["pinRecoveryEnabled"].(bool); ok && p.Type == identityType {
			return []bool{on}, false
		}
		list, _ := p.Body["omaSettings"].([]any)
		for _, item := range list {
			setting, _ := item.(map[string]any)
			uri, _ := setting["omaUri"].(string)
			low := strings.ToLower(uri)
			if !strings.Contains(low, "passportforwork") || !strings.HasSuffix(low, "/enablepinrecovery") {
				continue
			}
			rest := "/vendor/msft/passportforwork/" + strings.ToLower(tenantID) + "/policies/enablepinrecovery"
			on, isBool := setting["value"].(bool)
			if !isBool || low != "./device"+rest && low != "./user"+rest {
				broken = true
				continue
			}
			values = append(values, on)
		}
	case ConfigurationPolicies:
		walkSettings(p.Settings, func(id, value string) {
			id = strings.ToLower(id)
			if id != "device_"+catalogRecovery && id != "user_"+catalogRecovery {
				return
			}
			switch strings.ToLower(value) {
			case id + "_true":
				values = append(values, true)
			case id + "_false":
				values = append(values, false)
			default:
				broken = true
			}
		})
	case LegacyIntents:
		for _, item := range p.Settings {
			setting, _ := item.(map[string]any)
			if setting["definitionId"] == intentRecovery {
				values = append(values, setting["valueJson"] == "true")
			}
		}
	}
	return values, broken
}

// webSignIn returns the allow list of web sign-in that a custom profile writes,
// as it is written: a wrong separator or quotation marks are the device's to
// stumble over.
func (p *policy) webSignIn() (domains string, ok bool) {
	list, _ := p.Body["omaSettings"].([]any)
	for _, item := range list {
		setting, _ := item.(map[string]any)
		uri, _ := setting["omaUri"].(string)
		if value, isText := setting["value"].(string); isText && strings.HasSuffix(strings.ToLower(uri), "/policy/config/authentication/configurewebsigninallowedurls") {
			domains, ok = value, true
		}
	}
	return domains, ok
}

// walkSettings calls yield for every choice in a catalog policy's settings,
// however deep in groups and under other choices it is.
func walkSettings(value any, yield func(id, choice string)) {
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			walkSettings(item, yield)
		}
	case map[string]any:
		if choice, ok := v["choiceSettingValue"].(map[string]any); ok {
			id, _ := v["settingDefinitionId"].(string)
			text, _ := choice["value"].(string)
			yield(id, text)
		}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			walkSettings(v[name], yield)
		}
	}
}
