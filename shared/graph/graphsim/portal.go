package graphsim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The methods of this file do what an administrator does in Microsoft's own
// portals, behind our back. Intune's audit log says so. Policies are named by id
// or name, groups by id or name, members by id, user principal name or device
// name.

// A PolicySpec is a policy to make.
type PolicySpec struct {
	Store   Store    `json:"store"`
	Type    string   `json:"type"`    // "" or windowsIdentityProtectionConfiguration, of a device configuration
	Account bool     `json:"account"` // a settings catalog policy of endpoint security › account protection
	Name    string   `json:"name"`
	Value   bool     `json:"value"`   // EnablePinRecovery
	URI     string   `json:"uri"`     // of a custom profile; "" is the documented path
	Include []string `json:"include"` // groups, "all devices", "all users"
	Exclude []string `json:"exclude"`
}

// A PolicyInfo is what the control plane shows of a policy.
type PolicyInfo struct {
	ID      string         `json:"id"`
	Store   Store          `json:"store"`
	Type    string         `json:"type,omitempty"`
	Name    string         `json:"name"`
	Values  []bool         `json:"values"`           // of EnablePinRecovery in it
	Broken  bool           `json:"broken,omitempty"` // it has a setting that no device takes
	Include []string       `json:"include"`          // group names, "all devices", "all users"
	Exclude []string       `json:"exclude"`
	States  map[string]int `json:"states"` // devices by state
}

// Policies lists a tenant's policies by id.
func (c *Cloud) Policies(tenantRef string) ([]PolicyInfo, error) {
	t, err := c.lookup(tenantRef)
	if err != nil {
		return nil, err
	}
	c.lock(t)
	defer t.mu.Unlock()
	now := c.now()
	if err := c.settled(t, now); err != nil {
		return nil, err
	}
	list := []PolicyInfo{}
	for _, p := range t.livePolicies("") {
		info := PolicyInfo{ID: p.ID, Store: p.Store, Type: p.Type, Name: p.Name, Include: []string{}, Exclude: []string{}, States: make(map[string]int)}
		info.Values, info.Broken = p.recovery(t.id)
		for _, a := range p.Assignments {
			name := map[string]string{allDevices: "all devices", allUsers: "all users"}[a.kind()]
			if name == "" {
				name = a.group()
				if g, err := t.group(name); err == nil {
					name = g.Name
				}
			}
			if a.kind() == exclusionTarget {
				info.Exclude = append(info.Exclude, name)
			} else {
				info.Include = append(info.Include, name)
			}
		}
		for _, s := range c.standings(t, p, now) {
			info.States[s.state]++
		}
		list = append(list, info)
	}
	return list, nil
}

// AddPolicy makes and assigns a policy and returns its id.
func (c *Cloud) AddPolicy(tenantRef string, spec PolicySpec) (string, error) {
	p := policy{ID: newID(), Store: spec.Store, Type: spec.Type, Name: spec.Name, Created: c.now(), Modified: c.now(), Version: 1}
	err := c.change(tenantRef, func(t *tenant) ([]change, error) {
		if p.Name == "" {
			p.Name = "PIN recovery by another administrator"
		}
		if err := p.say(t.id, spec); err != nil {
			return nil, err
		}
		next := p
		for i, ref := range slices.Concat(spec.Include, spec.Exclude) {
			kind := groupTarget
			if i >= len(spec.Include) {
				kind = exclusionTarget
			}
			target, err := t.target(kind, ref)
			if err != nil {
				return nil, err
			}
			next.Assignments = append(next.Assignments, newAssignment(p.ID, target))
		}
		made := append(c.alter(t, p.Modified, t.putPolicy(p)), t.record(p.Modified, t.administrator(), "Create", policyResource(nil, &p)))
		if len(next.Assignments) == 0 {
			return made, nil
		}
		if err := c.commit(made...); err != nil {
			return nil, err
		}
		return c.portalChange(t, &p, next, "Assign"), nil
	})
	return p.ID, err
}

// target reads a group's name, "all devices" or "all users".
func (t *tenant) target(kind, ref string) (map[string]any, error) {
	for name, all := range map[string]string{"all devices": allDevices, "all users": allUsers} {
		if kind == groupTarget && strings.EqualFold(ref, name) {
			return map[string]any{"@odata.type": "#microsoft.graph." + all}, nil
		}
	}
	g, err := t.group(ref)
	if err != nil {
		return nil, err
	}
	return map[string]any{"@odata.type": "#microsoft.graph." + kind, "groupId": g.ID}, nil
}

// say writes the setting into the policy in its store's spelling.
func (p *policy) say(tenantID string, spec PolicySpec) error {
	p.Body = maps.Clone(p.Body)
	if p.Body == nil {
		p.Body = make(map[string]any)
	}
	switch {
	case p.Store == DeviceConfigurations && p.Type == identityType:
		p.Body["pinRecoveryEnabled"] = spec.Value
	case p.Store == DeviceConfigurations && (p.Type == "" || p.Type == customType):
		p.Type = customType
		uri := spec.URI
		if uri == "" {
			uri = "./Device/Vendor/MSFT/PassportForWork/" + tenantID + "/Policies/EnablePinRecovery"
		}
		p.Body["omaSettings"] = []any{map[string]any{
			"@odata.type": "#microsoft.graph.omaSettingBoolean", "displayName": "EnablePinRecovery", "description": "", "omaUri": uri, "value": spec.Value,
		}}
	case p.Store == ConfigurationPolicies:
		p.Body["platforms"], p.Body["technologies"] = "windows10", "mdm"
		if spec.Account {
			p.Body["templateReference"] = map[string]any{
				"templateId": "fcef01f2-439d-4c3f-9184-823fd6e97646_1", "templateFamily": "endpointSecurityAccountProtection",
				"templateDisplayName": "Account protection", "templateDisplayVersion": "Version 1",
			}
		}
		const id = "device_" + catalogRecovery
		p.Settings = []any{map[string]any{
			"@odata.type": "#microsoft.graph.deviceManagementConfigurationSetting",
			"settingInstance": map[string]any{
				"@odata.type":         "#microsoft.graph.deviceManagementConfigurationGroupSettingCollectionInstance",
				"settingDefinitionId": "device_vendor_msft_passportforwork_{tenantid}",
				"groupSettingCollectionValue": []any{map[string]any{"children": []any{map[string]any{
					"@odata.type":         "#microsoft.graph.deviceManagementConfigurationChoiceSettingInstance",
					"settingDefinitionId": id,
					"choiceSettingValue": map[string]any{
						"@odata.type": "#microsoft.graph.deviceManagementConfigurationChoiceSettingValue",
						"value":       fmt.Sprintf("%s_%t", id, spec.Value), "children": []any{},
					},
				}}}},
			},
		}}
	case p.Store == LegacyIntents:
		p.Body["templateId"] = guid("template of account protection")
		p.Settings = []any{map[string]any{
			"@odata.type": "#microsoft.graph.deviceManagementBooleanSettingInstance", "definitionId": intentRecovery,
			"valueJson": fmt.Sprint(spec.Value), "value": spec.Value,
		}}
	default:
		return fmt.Errorf("policy in %q of type %q: %w", p.Store, p.Type, ErrInvalid)
	}
	return nil
}

func (c *Cloud) portalChange(t *tenant, old *policy, next policy, operation string) []change {
	next.Modified = c.now()
	return append(c.alter(t, next.Modified, t.putPolicy(next)), t.record(next.Modified, t.administrator(), operation, policyResource(old, &next)))
}

func (c *Cloud) changePolicy(tenantRef, policyRef, operation string, decide func(*tenant, policy) (policy, error)) error {
	return c.change(tenantRef, func(t *tenant) ([]change, error) {
		p, ok := t.policy(policyRef)
		if !ok {
			return nil, fmt.Errorf("policy %q in tenant %s: %w", policyRef, t.domain, ErrUnknown)
		}
		next, err := decide(t, *p)
		if err != nil {
			return nil, err
		}
		return c.portalChange(t, p, next, operation), nil
	})
}

// ChangePolicy sets EnablePinRecovery in a policy, and with a URI the path of a
// custom profile, a wrong one too.
func (c *Cloud) ChangePolicy(tenantRef, policyRef string, value bool, uri string) error {
	return c.changePolicy(tenantRef, policyRef, "Patch", func(t *tenant, p policy) (policy, error) {
		p.Version++
		err := p.say(t.id, PolicySpec{Value: value, URI: uri, Account: p.Body["templateReference"] != nil})
		return p, err
	})
}

// UnassignPolicy removes all assignments of a policy.
func (c *Cloud) UnassignPolicy(tenantRef, policyRef string) error {
	return c.changePolicy(tenantRef, policyRef, "Assign", func(_ *tenant, p policy) (policy, error) {
		p.Assignments = nil
		return p, nil
	})
}

// DeletePolicy removes a policy. Devices keep the value that they have.
func (c *Cloud) DeletePolicy(tenantRef, policyRef string) error {
	return c.changePolicy(tenantRef, policyRef, "Delete", func(_ *tenant, p policy) (policy, error) {
		return policy{ID: p.ID, Store: p.Store, Type: p.Type, Name: p.Name, Created: p.Created, Deleted: true}, nil
	})
}

// ResetInPortal does what Reset passcode in Intune's portal does.
func (c *Cloud) ResetInPortal(tenantRef, deviceRef string) error {
	return c.change(tenantRef, func(t *tenant) ([]change, error) {
		d, err := t.device(deviceRef)
		if err != nil {
			return nil, err
		}
		if d.profile.reset == resetRefused {
			return nil, fmt.Errorf("reset passcode of %s: not offered for %s: %w", d.name, d.os, ErrInvalid)
		}
		now := c.now()
		return []change{t.putDevice(d, c.reset(d, now)), t.record(now, t.administrator(), "resetPasscode", deviceResource(d))}, nil
	})
}

// ChangeMembers lets users, devices and groups join and leave a group.
func (c *Cloud) ChangeMembers(tenantRef, groupRef string, join, leave []string) error {
	return c.change(tenantRef, func(t *tenant) ([]change, error) {
		g, err := t.group(groupRef)
		if err != nil {
			return nil, err
		}
		next := *g
		for i, ref := range slices.Concat(join, leave) {
			id, kind, err := t.object(ref)
			if err != nil {
				return nil, err
			}
			if kind == "group" && i < len(join) && (id == g.ID || t.inGroup(id, g.ID)) {
				return nil, fmt.Errorf("group %q in itself: %w", ref, ErrInvalid)
			}
			next = next.with(id, kind, t.seq+1, i >= len(join))
		}
		if err := c.commit(c.alter(t, c.now(), t.putGroup(next))...); err != nil {
			return nil, err
		}
		c.notify(t, g, &next)
		return nil, nil
	})
}
