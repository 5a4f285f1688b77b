package graphsim

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"pinreset/shared/graph/graphschema"
)

// The handlers of this file run under the tenant's lock. They serve the three
// collections that policies live in; what differs by store is in shape.

// maxOmaSettings is how many a custom profile may have.
const maxOmaSettings = 1000

// A shape is how a store's policies look in Graph.
type shape struct {
	store      Store
	entity     string
	assignment string // type of an assignment
	name       string // property with the display name
}

var shapes = []shape{
	{DeviceConfigurations, "deviceConfiguration", "deviceConfigurationAssignment", "displayName"},
	{ConfigurationPolicies, "deviceManagementConfigurationPolicy", "deviceManagementConfigurationPolicyAssignment", "name"},
	{LegacyIntents, "deviceManagementIntent", "deviceManagementIntentAssignment", "displayName"},
}

// shape finds the store that a path names in its second segment.
func (k *call) shape() shape {
	segments := splitPath(k.path)
	i := slices.IndexFunc(shapes, func(s shape) bool { return strings.EqualFold(string(s.store), segments[1]) })
	return shapes[i]
}

func (s shape) context() string { return "deviceManagement/" + string(s.store) }

// renderPolicy returns a policy as the endpoint shows it. What v1.0 does with a
// profile whose type is in the beta schema only is not documented; the model
// shows it there as a plain deviceConfiguration.
func renderPolicy(p *policy, onBeta bool) map[string]any {
	values := map[string]any{
		"id": p.ID, "description": p.Description, "createdDateTime": stamp(p.Created), "lastModifiedDateTime": stamp(p.Modified),
	}
	switch p.Store {
	case DeviceConfigurations:
		values["displayName"], values["version"] = p.Name, p.Version
		switch {
		case p.Type == identityType && onBeta:
			values["@odata.type"] = "#microsoft.graph." + identityType
			maps.Copy(values, identityDefaults)
			maps.Copy(values, p.Body)
		case p.Type == customType:
			values["@odata.type"] = "#microsoft.graph." + customType
			values["omaSettings"] = renderOmaSettings(p.Body["omaSettings"], onBeta)
		default:
			values["@odata.type"] = "#microsoft.graph.deviceConfiguration"
		}
		if onBeta {
			values["roleScopeTagIds"], values["supportsScopeTags"] = scopeTags(p), true
		}
	case ConfigurationPolicies:
		values["name"], values["settingCount"], values["isAssigned"] = p.Name, len(p.Settings), len(p.Assignments) > 0
		values["roleScopeTagIds"], values["creationSource"] = scopeTags(p), nil
		values["platforms"], values["technologies"] = p.Body["platforms"], p.Body["technologies"]
		reference, ok := p.Body["templateReference"].(map[string]any)
		if !ok {
			reference = map[string]any{"templateId": "", "templateFamily": "none", "templateDisplayName": nil, "templateDisplayVersion": nil}
		}
		values["templateReference"] = reference
	case LegacyIntents:
		values["displayName"], values["isAssigned"] = p.Name, len(p.Assignments) > 0
		values["isMigratingToConfigurationPolicy"], values["roleScopeTagIds"] = false, scopeTags(p)
		values["templateId"] = p.Body["templateId"]
		delete(values, "createdDateTime")
	}
	return values
}

func scopeTags(p *policy) any {
	if tags, ok := p.Body["roleScopeTagIds"]; ok {
		return tags
	}
	return []string{"0"}
}

// identityDefaults are the values of an identity protection profile that says
// nothing.
var identityDefaults = map[string]any{
	"useSecurityKeyForSignin": false, "enhancedAntiSpoofingForFacialFeaturesEnabled": false, "pinMinimumLength": nil, "pinMaximumLength": nil,
	"pinUppercaseCharactersUsage": "notConfigured", "pinLowercaseCharactersUsage": "notConfigured", "pinSpecialCharactersUsage": "notConfigured",
	"pinExpirationInDays": nil, "pinPreviousBlockCount": nil, "pinRecoveryEnabled": false, "securityDeviceRequired": false,
	"unlockWithBiometricsEnabled": false, "useCertificatesForOnPremisesAuthEnabled": false, "windowsHelloForBusinessBlocked": false,
}

// renderOmaSettings adds what beta says of secrets, and leaves it out of v1.0.
func renderOmaSettings(stored any, onBeta bool) []any {
	list, _ := stored.([]any)
	shown := make([]any, 0, len(list))
	for _, item := range list {
		setting := maps.Clone(item.(map[string]any))
		delete(setting, "isEncrypted")
		delete(setting, "secretReferenceValueId")
		if onBeta {
			setting["isEncrypted"], setting["secretReferenceValueId"] = false, nil
		}
		shown = append(shown, setting)
	}
	return shown
}

// renderTarget shows a target. Assignment filters are part of the beta schema
// only, and so are targets of Configuration Manager collections, which v1.0
// shows as the base type here.
func renderTarget(target map[string]any, onBeta bool) map[string]any {
	shown := maps.Clone(target)
	if onBeta {
		for name, none := range map[string]any{"deviceAndAppManagementAssignmentFilterId": nil, "deviceAndAppManagementAssignmentFilterType": "none"} {
			if _, ok := shown[name]; !ok {
				shown[name] = none
			}
		}
		return shown
	}
	if !slices.Contains([]string{groupTarget, exclusionTarget, allDevices, allUsers}, typeName(target["@odata.type"])) {
		return map[string]any{"@odata.type": "#microsoft.graph.deviceAndAppManagementAssignmentTarget"}
	}
	maps.DeleteFunc(shown, func(name string, _ any) bool { return name != "@odata.type" && name != "groupId" })
	return shown
}

func renderAssignments(p *policy, onBeta bool) []map[string]any {
	rows := []map[string]any{}
	for _, a := range p.Assignments {
		row := map[string]any{"id": a.ID, "target": renderTarget(a.Target, onBeta)}
		if onBeta && p.Store != LegacyIntents {
			row["source"], row["sourceId"] = "direct", p.ID
		}
		if onBeta && p.Store == DeviceConfigurations {
			row["intent"] = "apply"
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b map[string]any) int { return strings.Compare(a["id"].(string), b["id"].(string)) })
	return rows
}

func renderSettings(p *policy) []map[string]any {
	rows := []map[string]any{}
	for i, item := range p.Settings {
		setting, _ := item.(map[string]any)
		row := maps.Clone(setting)
		row["id"] = fmt.Sprint(i)
		if p.Store == LegacyIntents {
			row["id"] = guid(p.ID + " setting " + fmt.Sprint(i))
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b map[string]any) int { return strings.Compare(a["id"].(string), b["id"].(string)) })
	return rows
}

// shown is a policy with what $expand asked for.
func (k *call) shown(p *policy) map[string]any {
	values := renderPolicy(p, k.beta)
	if k.expands("assignments") {
		values["assignments"] = renderAssignments(p, k.beta)
	}
	if k.expands("settings") {
		values["settings"] = renderSettings(p)
	}
	return values
}

func (c *Cloud) listPolicies(k *call) answer {
	s := k.shape()
	var rows []map[string]any
	for _, p := range k.t.livePolicies(s.store) {
		rows = append(rows, k.shown(p))
	}
	return k.many(s.entity, s.context(), rows, "id", s.name)
}

func (k *call) policyByKey() (*policy, answer) {
	_, id := key(k.params[0])
	p := k.t.policies[id]
	if p == nil || p.Deleted || p.Store != k.shape().store {
		return nil, problem(http.StatusNotFound, "ResourceNotFound", "Policy with id "+id+" was not found.")
	}
	return p, answer{}
}

func (c *Cloud) getPolicy(k *call) answer {
	p, missing := k.policyByKey()
	if p == nil {
		return missing
	}
	s := k.shape()
	return k.one(http.StatusOK, s.entity, s.context(), k.shown(p))
}

func (c *Cloud) listPolicyAssignments(k *call) answer {
	p, missing := k.policyByKey()
	if p == nil {
		return missing
	}
	s := k.shape()
	return k.many(s.assignment, s.context()+"('"+p.ID+"')/assignments", renderAssignments(p, k.beta))
}

func (c *Cloud) listPolicySettings(k *call) answer {
	p, missing := k.policyByKey()
	if p == nil {
		return missing
	}
	entity := "deviceManagementConfigurationSetting"
	if p.Store == LegacyIntents {
		entity = "deviceManagementSettingInstance"
	}
	return k.many(entity, k.shape().context()+"('"+p.ID+"')/settings", renderSettings(p))
}

// written reads a policy from the body of a create or an update. It refuses
// names that the endpoint's schema does not have.
func (k *call) written(p policy) (policy, *answer) {
	fail := func(format string, args ...any) (policy, *answer) {
		a := badRequest(fmt.Sprintf(format, args...))
		return p, &a
	}
	body, err := k.decodeBody()
	if err != nil {
		return fail("Unable to read JSON request payload.")
	}
	s := k.shape()
	var r graphschema.Report
	if k.beta {
		r = graphschema.Beta().Check(s.entity, k.body)
	} else {
		r = graphschema.V1().CheckRequest(k.method, "/"+k.path, k.body)
	}
	if len(r.Violations) > 0 {
		return fail("Invalid request body: %s", r.Violations[0])
	}
	p.Body = maps.Clone(p.Body)
	if p.Body == nil {
		p.Body = make(map[string]any)
	}
	for name, value := range body {
		switch name {
		case "id", "createdDateTime", "lastModifiedDateTime", "version", "settingCount", "isAssigned", "supportsScopeTags":
		case "@odata.type":
			given := typeName(value)
			if s.store == DeviceConfigurations && p.Type == "" {
				p.Type = given
			} else if s.store == DeviceConfigurations && p.Type != given {
				return fail("The type of a policy can't be changed.")
			}
		case s.name:
			p.Name, _ = value.(string)
		case "description":
			p.Description, _ = value.(string)
		case "settings":
			p.Settings, _ = value.([]any)
		case "assignments":
			return fail("Assignments are written with the action assign.")
		default:
			p.Body[name] = value
		}
	}
	switch {
	case p.Name == "":
		return fail("A policy needs a %s.", s.name)
	case s.store == DeviceConfigurations && !(p.Type == customType || p.Type == identityType && k.beta):
		return fail("Cannot create an abstract class or a type that this model does not know: '%s'.", p.Type)
	}
	if list, ok := p.Body["omaSettings"].([]any); ok {
		if len(list) > maxOmaSettings {
			return fail("A custom configuration has at most %d OMA settings.", maxOmaSettings)
		}
		for _, item := range list {
			setting, _ := item.(map[string]any)
			name, _ := setting["displayName"].(string)
			uri, _ := setting["omaUri"].(string)
			if setting["@odata.type"] == nil || setting["value"] == nil || name == "" || uri == "" {
				return fail("An OMA setting needs @odata.type, displayName, omaUri and value.")
			}
		}
	}
	if s.store == ConfigurationPolicies {
		if p.Body["platforms"] == nil || p.Body["technologies"] == nil {
			return fail("A configuration policy needs platforms and technologies.")
		}
	}
	return p, nil
}

// createPolicy makes a new policy at every call: nothing stops duplicates.
func (c *Cloud) createPolicy(k *call) answer {
	now := c.now()
	p, refused := k.written(policy{ID: newID(), Store: k.shape().store, Created: now, Modified: now, Version: 1})
	if refused != nil {
		return *refused
	}
	err := c.savePolicy(k.t, nil, p, "Create", k.actor())
	return c.stored(err, k.one(http.StatusCreated, k.shape().entity, k.shape().context(), k.shown(&p)))
}

func (c *Cloud) patchPolicy(k *call) answer {
	p, missing := k.policyByKey()
	if p == nil {
		return missing
	}
	next, refused := k.written(*p)
	if refused != nil {
		return *refused
	}
	next.Modified, next.Version = c.now(), p.Version+1
	err := c.savePolicy(k.t, p, next, "Patch", k.actor())
	return c.stored(err, k.one(http.StatusOK, k.shape().entity, k.shape().context(), k.shown(&next)))
}

// putCatalogPolicy replaces a settings catalog policy, which is how Intune's own
// portal writes changed settings. The answer is the model's choice.
func (c *Cloud) putCatalogPolicy(k *call) answer {
	a := c.patchPolicy(k)
	if a.status == http.StatusOK {
		return answer{status: http.StatusNoContent}
	}
	return a
}

func (c *Cloud) deletePolicy(k *call) answer {
	p, missing := k.policyByKey()
	if p == nil {
		return missing
	}
	return c.stored(c.removePolicy(k.t, p, k.actor()), answer{status: http.StatusNoContent})
}

// assignPolicy replaces the whole set of assignments. v1.0 knows no filters:
// what is written there has none.
func (c *Cloud) assignPolicy(k *call) answer {
	p, missing := k.policyByKey()
	if p == nil {
		return missing
	}
	var body struct {
		Assignments []struct {
			Target map[string]any `json:"target"`
		} `json:"assignments"`
	}
	if err := json.Unmarshal(k.body, &body); err != nil || body.Assignments == nil {
		return badRequest("Unable to read JSON request payload: want assignments.")
	}
	if !k.beta {
		if r := graphschema.V1().CheckRequest(k.method, "/"+k.path, k.body); len(r.Violations) > 0 {
			return badRequest("Invalid request body: " + r.Violations[0])
		}
	}
	next := *p
	next.Assignments = nil
	for _, in := range body.Assignments {
		a := newAssignment(p.ID, in.Target)
		if refused := k.checkTarget(a); refused != nil {
			return *refused
		}
		if slices.ContainsFunc(next.Assignments, func(other policyAssignment) bool { return other.ID == a.ID }) {
			return badRequest("The same target is assigned more than once.")
		}
		next.Assignments = append(next.Assignments, a)
	}
	next.Modified = c.now()
	if err := c.savePolicy(k.t, p, next, "Assign", k.actor()); err != nil {
		return c.stored(err, answer{})
	}
	s := k.shape()
	return answer{status: http.StatusOK, body: map[string]any{
		"@odata.context": k.base + "/$metadata#Collection(microsoft.graph." + s.assignment + ")",
		"value":          renderAssignments(&next, k.beta),
	}}
}

func (k *call) checkTarget(a policyAssignment) *answer {
	fail := func(format string, args ...any) *answer {
		a := badRequest(fmt.Sprintf(format, args...))
		return &a
	}
	switch a.kind() {
	case groupTarget, exclusionTarget:
		if !slices.ContainsFunc(k.t.groups, func(g *group) bool { return g.ID == a.group() }) {
			return fail("The group '%s' of an assignment does not exist.", a.group())
		}
	case "", "deviceAndAppManagementAssignmentTarget":
		return fail("An assignment needs a target with @odata.type.")
	}
	if filter, _ := a.Target["deviceAndAppManagementAssignmentFilterId"].(string); filter != "" && a.kind() == exclusionTarget {
		return fail("An exclusion can't have an assignment filter.")
	}
	return nil
}

// savePolicy stores a new state of a policy and what goes with it.
func (c *Cloud) savePolicy(t *tenant, old *policy, next policy, operation string, by actor) error {
	now := c.now()
	changes := c.alter(t, now, t.putPolicy(next))
	return c.commit(append(changes, t.record(now, by, operation, policyResource(old, &next)))...)
}

// removePolicy forgets a policy's content and keeps that it was there.
func (c *Cloud) removePolicy(t *tenant, p *policy, by actor) error {
	gone := policy{ID: p.ID, Store: p.Store, Type: p.Type, Name: p.Name, Created: p.Created, Modified: c.now(), Deleted: true}
	return c.savePolicy(t, p, gone, "Delete", by)
}
