package graphsim

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// The handlers of this file run under the tenant's lock. They show how far a
// policy has come.

// notSet is how Intune writes a date that it does not have.
const notSet = "0001-01-01T00:00:00Z"

func stampOrNotSet(at time.Time) string {
	if at.IsZero() {
		return notSet
	}
	return stamp(at)
}

// policyStandings settles the tenant and lists where the policy of the path
// stands on the devices that it reaches.
func (c *Cloud) policyStandings(k *call) (*policy, []standing, answer) {
	p, missing := k.policyByKey()
	if p == nil {
		return nil, nil, missing
	}
	if err := c.settled(k.t, k.v.now); err != nil {
		return nil, nil, c.stored(err, answer{})
	}
	return p, c.standings(k.t, p, k.v.now), answer{}
}

// listDeviceStatuses shows one row for each device that the policy reaches. A
// row names the device and its user and has no device id; its own id says
// nothing. Devices that have not reported yet are unknown.
func (c *Cloud) listDeviceStatuses(k *call) answer {
	p, list, refused := c.policyStandings(k)
	if p == nil {
		return refused
	}
	rows := []map[string]any{}
	for _, s := range list {
		row := map[string]any{
			"id": p.ID + "_" + guid(p.ID+" status "+s.device.id), "deviceDisplayName": s.device.name, "deviceModel": s.device.model,
			"status": s.state, "lastReportedDateTime": stampOrNotSet(s.reported), "complianceGracePeriodExpirationDateTime": notSet,
			"userName": nil, "userPrincipalName": nil,
		}
		if u, ok := k.t.user(s.device.UserID); ok {
			row["userName"], row["userPrincipalName"] = u.name, u.upn
		}
		if k.beta {
			row["platform"] = 0
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, byID)
	return k.many("deviceConfigurationDeviceStatus", "deviceManagement/deviceConfigurations('"+p.ID+"')/deviceStatuses", rows,
		"id", "deviceDisplayName", "userPrincipalName", "status")
}

func byID(a, b map[string]any) int { return strings.Compare(a["id"].(string), b["id"].(string)) }

// worse orders states; a user's is the worst of the devices'.
var worse = []string{"notApplicable", "compliant", "remediated", "unknown", "nonCompliant", "error", "conflict"}

// A userStanding is a policy on all devices of one user.
type userStanding struct {
	user     user
	devices  int
	state    string
	reported time.Time
}

func (t *tenant) byUser(list []standing) []userStanding {
	var users []userStanding
	for _, s := range list {
		u, ok := t.user(s.device.UserID)
		if !ok {
			continue
		}
		i := slices.IndexFunc(users, func(us userStanding) bool { return us.user.id == u.id })
		if i < 0 {
			i = len(users)
			users = append(users, userStanding{user: u, state: s.state})
		}
		one := &users[i]
		one.devices++
		one.reported = later(one.reported, s.reported)
		if slices.Index(worse, s.state) > slices.Index(worse, one.state) {
			one.state = s.state
		}
	}
	return users
}

func (c *Cloud) listUserStatuses(k *call) answer {
	p, list, refused := c.policyStandings(k)
	if p == nil {
		return refused
	}
	rows := []map[string]any{}
	for _, s := range k.t.byUser(list) {
		rows = append(rows, map[string]any{
			"id": p.ID + "_" + guid(p.ID+" status "+s.user.id), "userDisplayName": s.user.name, "userPrincipalName": s.user.upn,
			"devicesCount": s.devices, "status": s.state, "lastReportedDateTime": stampOrNotSet(s.reported),
		})
	}
	slices.SortFunc(rows, byID)
	return k.many("deviceConfigurationUserStatus", "deviceManagement/deviceConfigurations('"+p.ID+"')/userStatuses", rows)
}

// An overview counts standings. Pending are those that have not reported on the
// policy as it is now; where Intune counts conflicts is not documented, here
// they are failures.
type overview struct {
	pending, notApplicable, success, errors, failed int
	updated                                         time.Time
}

func (o *overview) add(state string, current bool, reported time.Time) {
	o.updated = later(o.updated, reported)
	switch {
	case !current:
		o.pending++
	case state == "notApplicable":
		o.notApplicable++
	case state == "compliant" || state == "remediated":
		o.success++
	case state == "error":
		o.errors++
	default:
		o.failed++
	}
}

func (k *call) overview(kind string, p *policy, o overview) answer {
	entity := "deviceConfiguration" + strings.ToUpper(kind[:1]) + kind[1:] + "Overview"
	return k.one(http.StatusOK, entity, "deviceManagement/deviceConfigurations('"+p.ID+"')/"+kind+"StatusOverview", map[string]any{
		"id": p.ID, "pendingCount": o.pending, "notApplicableCount": o.notApplicable, "successCount": o.success,
		"errorCount": o.errors, "failedCount": o.failed, "lastUpdateDateTime": stampOrNotSet(o.updated), "configurationVersion": p.Version,
	})
}

func (c *Cloud) getDeviceOverview(k *call) answer {
	p, list, refused := c.policyStandings(k)
	if p == nil {
		return refused
	}
	var o overview
	for _, s := range list {
		o.add(s.state, s.current, s.reported)
	}
	return k.overview("device", p, o)
}

func (c *Cloud) getUserOverview(k *call) answer {
	p, list, refused := c.policyStandings(k)
	if p == nil {
		return refused
	}
	var o overview
	for _, s := range k.t.byUser(list) {
		o.add(s.state, s.state != "unknown", s.reported)
	}
	return k.overview("user", p, o)
}

// listConfigurationStates shows what one device made of the device
// configurations that reach it. Settings catalog policies and intents have no
// place there in the model.
func (c *Cloud) listConfigurationStates(k *call) answer {
	d, missing := k.deviceByKey()
	if d == nil {
		return missing
	}
	if err := c.settled(k.t, k.v.now); err != nil {
		return c.stored(err, answer{})
	}
	rows := []map[string]any{}
	for _, p := range k.t.livePolicies(DeviceConfigurations) {
		state, ok := d.Applied.States[p.ID]
		if !ok || !k.t.targets(p, d) {
			continue
		}
		row := map[string]any{
			"id": p.ID, "displayName": p.Name, "platformType": "windows10AndLater", "version": p.Version, "state": state,
			"settingCount": 0, "settingStates": []any{},
		}
		if values, broken := p.recovery(k.t.id); len(values) > 0 || broken {
			row["settingCount"] = 1
			row["settingStates"] = []any{c.settingState(k.t, d, p, state)}
		}
		rows = append(rows, row)
	}
	return k.many("deviceConfigurationState", "deviceManagement/managedDevices('"+d.id+"')/deviceConfigurationStates", rows)
}

// settingState is the row of EnablePinRecovery. With a conflict its sources are
// all the policies that the device sees in it.
func (c *Cloud) settingState(t *tenant, d *device, p *policy, state string) map[string]any {
	sources := []any{}
	for _, id := range d.Applied.states() {
		if other := t.policies[id]; other != nil && !other.Deleted && (id == p.ID || state == "conflict" && d.Applied.States[id] == "conflict") {
			kind := "deviceConfiguration"
			if other.Store == LegacyIntents {
				kind = "deviceIntent"
			}
			sources = append(sources, map[string]any{"id": id, "displayName": other.Name, "sourceType": kind})
		}
	}
	var current any
	if d.Applied.Recovery != nil {
		current = map[bool]string{true: "True", false: "False"}[*d.Applied.Recovery]
	}
	row := map[string]any{
		"setting": "EnablePinRecovery", "settingName": "EnablePinRecovery", "instanceDisplayName": nil, "state": state,
		"errorCode": 0, "errorDescription": nil, "currentValue": current, "sources": sources,
		"userId": nil, "userName": nil, "userEmail": nil, "userPrincipalName": nil,
	}
	if state == "error" {
		row["errorCode"] = -2016281112 // "Remediation failed", as Intune shows it without more detail
	}
	if u, ok := t.user(d.UserID); ok {
		row["userId"], row["userName"], row["userEmail"], row["userPrincipalName"] = u.id, u.name, u.upn, u.upn
	}
	return row
}

// listIntentStates shows where a legacy intent stands on devices. It is the one
// status that has a device id.
func (c *Cloud) listIntentStates(k *call) answer {
	p, list, refused := c.policyStandings(k)
	if p == nil {
		return refused
	}
	rows := []map[string]any{}
	for _, s := range list {
		row := map[string]any{
			"id": p.ID + "_" + guid(p.ID+" status "+s.device.id), "deviceId": s.device.id, "deviceDisplayName": s.device.name,
			"state": s.state, "lastReportedDateTime": stampOrNotSet(s.reported), "userName": nil, "userPrincipalName": nil,
		}
		if u, ok := k.t.user(s.device.UserID); ok {
			row["userName"], row["userPrincipalName"] = u.name, u.upn
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, byID)
	return k.many("deviceManagementIntentDeviceState", "deviceManagement/intents('"+p.ID+"')/deviceStates", rows)
}

func (c *Cloud) getIntentSummary(k *call) answer {
	p, list, refused := c.policyStandings(k)
	if p == nil {
		return refused
	}
	count := make(map[string]int)
	for _, s := range list {
		count[s.state]++
	}
	return k.one(http.StatusOK, "deviceManagementIntentDeviceStateSummary", "deviceManagement/intents('"+p.ID+"')/deviceStateSummary", map[string]any{
		"id": p.ID, "conflictCount": count["conflict"], "errorCount": count["error"], "failedCount": count["nonCompliant"],
		"notApplicableCount": 0, "notApplicablePlatformCount": count["notApplicable"], "successCount": count["compliant"] + count["remediated"],
	})
}
