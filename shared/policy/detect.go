package policy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Document is one policy as Graph gave it.
type Document struct {
	Entity json.RawMessage // the policy; of an OMA-URI profile with its settings
	// Settings and Assignments are the elements of the navigation properties of these names, where they were read apart. Where
	// they are nil, those in Entity count.
	Settings, Assignments []json.RawMessage
}

// Detect finds the settings that a policy of the store makes. Policies of which nothing is known to make one of them, of
// unknown types too, give nothing and no error; the JSON has to be JSON, and the assignments have to be such.
//
// tenantID is the tenant's id; an OMA-URI has it in its path.
func Detect(tenantID string, store Store, d Document) ([]Found, error) {
	var e entity
	if err := json.Unmarshal(d.Entity, &e); err != nil {
		return nil, fmt.Errorf("decode policy: %w", err)
	}
	var found []Found
	switch store {
	case DeviceConfigurations:
		found = e.deviceConfiguration(tenantID)
	case ConfigurationPolicies:
		found = e.catalog(d)
	case Intents:
		found = e.intent(d)
	default:
		return nil, fmt.Errorf("decode policy: no store %q", store)
	}
	if len(found) == 0 {
		return nil, nil
	}
	slices.SortStableFunc(found, func(a, b Found) int {
		return cmp.Or(strings.Compare(string(a.Setting), string(b.Setting)), strings.Compare(string(a.Scope), string(b.Scope)))
	})
	elements := d.Assignments
	if elements == nil {
		elements = e.Assignments
	}
	assignments, err := ParseAssignments(elements)
	if err != nil {
		return nil, fmt.Errorf("decode policy %s: %w", e.ID, err)
	}
	for i := range found {
		f := &found[i]
		f.ID, f.Mine, f.Assignments = strings.ToLower(e.ID), strings.Contains(strings.ToLower(e.Description), Mark), assignments
		if f.Name = e.DisplayName; f.Name == "" {
			f.Name = e.Name
		}
		if t, err := time.Parse(time.RFC3339Nano, e.Modified); err == nil {
			f.Modified = t.UTC()
		}
		for j := range f.Findings {
			f.Findings[j].PolicyID = f.ID
		}
	}
	return found, nil
}

// Candidate reports whether a policy, of which only the entity was read, may make one of the settings, so that its settings are
// worth a read. It errs on the side of reading.
func Candidate(store Store, e json.RawMessage) bool {
	if store != ConfigurationPolicies {
		return true
	}
	var c struct {
		Platforms    string `json:"platforms"`
		Technologies string `json:"technologies"`
		Count        *int   `json:"settingCount"`
	}
	if json.Unmarshal(e, &c) != nil {
		return true
	}
	return has(c.Platforms, "windows10") && has(c.Technologies, "mdm") && (c.Count == nil || *c.Count > 0)
}

// has reports whether a set of flags, separated by commas, has one; an empty set and an unknown member may.
func has(flags, flag string) bool {
	if flags == "" || strings.Contains(flags, "unknownFutureValue") {
		return true
	}
	for f := range strings.SplitSeq(flags, ",") {
		if strings.EqualFold(strings.TrimSpace(f), flag) {
			return true
		}
	}
	return false
}

// entity has the fields of all stores that are looked at.
type entity struct {
	Type        string            `json:"@odata.type"`
	ID          string            `json:"id"`
	DisplayName string            `json:"displayName"` // catalog policies have name instead
	Name        string            `json:"name"`
	Description string            `json:"description"`
	Modified    string            `json:"lastModifiedDateTime"`
	OMASettings []json.RawMessage `json:"omaSettings"`
	PINRecovery *bool             `json:"pinRecoveryEnabled"`
	Template    *struct {
		ID     string `json:"templateId"`
		Family string `json:"templateFamily"`
	} `json:"templateReference"`
	Settings    []json.RawMessage `json:"settings"`
	Assignments []json.RawMessage `json:"assignments"`
}

func (e entity) deviceConfiguration(tenantID string) []Found {
	switch bare(e.Type) {
	case "windows10CustomConfiguration":
		return e.custom(tenantID)
	case identityProtectionType:
		if e.PINRecovery == nil {
			return nil // not part of what was read: v1.0 leaves it out
		}
		return []Found{{Shape: IdentityProtection, Setting: PINRecovery, Scope: Device, Value: valueOf(*e.PINRecovery),
			Findings: []Finding{retired(IdentityProtection)}}}
	}
	return nil
}

func retired(shape Shape) Finding {
	return Finding{Code: RetiredShape, Severity: Info, Text: "Intune offers this form for new policies no longer: " + shape.Title() + ".",
		Fix: "Leave it where it works; move to the settings catalog when it is changed next."}
}

// maxDepth ends the walk of nested settings; Intune's own have a handful of levels.
const maxDepth = 64

// walk visits every object in a JSON value.
func walk(value any, depth int, visit func(map[string]any)) {
	if depth > maxDepth {
		return
	}
	switch v := value.(type) {
	case map[string]any:
		visit(v)
		for _, member := range v {
			walk(member, depth+1, visit)
		}
	case []any:
		for _, member := range v {
			walk(member, depth+1, visit)
		}
	}
}

func (e entity) settings(d Document) []json.RawMessage {
	if d.Settings != nil {
		return d.Settings
	}
	return e.Settings
}

func (e entity) catalog(d Document) []Found {
	shape := SettingsCatalog
	if e.Template != nil && (strings.EqualFold(e.Template.Family, accountFamily) || strings.EqualFold(e.Template.ID, accountTemplate)) {
		shape = AccountProtection
	}
	var found tally
	for _, raw := range e.settings(d) {
		var s any
		lower := bytes.ToLower(raw)
		if !bytes.Contains(lower, []byte(catalogSuffix)) && !bytes.Contains(lower, []byte(catalogList)) || json.Unmarshal(raw, &s) != nil {
			continue
		}
		walk(s, 0, func(o map[string]any) {
			if f, ok := catalogInstance(o); ok {
				f.Shape = shape
				found.add(f)
			}
		})
	}
	if len(found) == 0 {
		return nil
	}
	whole := &original{settings: e.settings(d)}
	if json.Unmarshal(d.Entity, &whole.fields) != nil {
		whole = nil
	}
	return found.with(whole)
}

// catalogInstance reads one setting instance, if it is one of ours.
func catalogInstance(o map[string]any) (f Found, ok bool) {
	definition, _ := o["settingDefinitionId"].(string)
	definition = strings.ToLower(definition)
	for _, scope := range []Scope{Device, User} {
		if middle, ok := cut(definition, string(scope)+catalogPrefix, catalogSuffix); ok {
			f = Found{Setting: PINRecovery, Scope: scope}
			if middle != catalogTenant {
				f.Misspelt = true
				f.Findings = []Finding{{Code: TenantInCatalog, Severity: Error,
					Text: "The id of the setting has something else in place of {tenantid}, which is meant literally.",
					Fix:  "Create the policy anew in the settings catalog, and do not replace {tenantid}."}}
			}
			choice, _ := o["choiceSettingValue"].(map[string]any)
			value, _ := choice["value"].(string)
			switch rest, ok := strings.CutPrefix(strings.ToLower(value), definition); {
			case ok && rest == "_true":
				f.Value = On
			case ok && rest == "_false":
				f.Value = Off
			}
			return f, true
		}
		if definition == string(scope)+catalogList {
			simple, _ := o["simpleSettingValue"].(map[string]any)
			value, known := simple["value"].(string)
			return allowList(scope, value, known), true
		}
	}
	return Found{}, false
}

func cut(s, prefix, suffix string) (middle string, ok bool) {
	s, ok = strings.CutPrefix(s, prefix)
	if !ok {
		return "", false
	}
	return strings.CutSuffix(s, suffix)
}

// intentDefinition is how a legacy intent spells the setting.
const intentDefinition = "deviceConfiguration--windowsIdentityProtectionConfiguration_pinRecoveryEnabled"

func (e entity) intent(d Document) []Found {
	var found tally
	for _, raw := range e.settings(d) {
		var s any
		if !bytes.Contains(raw, []byte("pinRecoveryEnabled")) || json.Unmarshal(raw, &s) != nil {
			continue
		}
		walk(s, 0, func(o map[string]any) {
			if id, _ := o["definitionId"].(string); !strings.EqualFold(id, intentDefinition) {
				return
			}
			f := Found{Shape: Intent, Setting: PINRecovery, Scope: Device, Findings: []Finding{retired(Intent)}}
			switch text, _ := o["valueJson"].(string); strings.ToLower(strings.TrimSpace(text)) { // a string that holds JSON
			case "true":
				f.Value = On
			case "false":
				f.Value = Off
			case "null":
				return // not configured
			default:
				if on, ok := o["value"].(bool); ok {
					f.Value = valueOf(on)
				}
			}
			found.add(f)
		})
	}
	return found
}

// tally collects the settings of one policy, each setting once for each scope.
type tally []Found

func (t *tally) add(f Found) {
	for i := range *t {
		seen := &(*t)[i]
		if seen.Setting != f.Setting || seen.Scope != f.Scope || seen.Misspelt != f.Misspelt {
			continue
		}
		if seen.Value != f.Value || seen.List != f.List {
			seen.Value = Unknown
			seen.Findings = append(seen.Findings, Finding{Code: Contradiction, Severity: Error,
				Text: "The policy makes the setting more than once, with different values.", Fix: "Remove all but one."})
		}
		seen.Findings = append(seen.Findings, f.Findings...)
		return
	}
	*t = append(*t, f)
}

func (t tally) with(whole *original) []Found {
	for i := range t {
		t[i].whole = whole
	}
	return t
}
