package graphsim

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"pinreset/shared/graph/graphschema"
)

// The handlers of this file run under the tenant's lock.

// emptyDevice is a device of which nothing is known, by what the schema says of
// each property.
var emptyDevice = sync.OnceValue(func() map[string]any {
	schema, values := graphschema.V1(), map[string]any{}
	for _, name := range schema.Properties("managedDevice") {
		p, _ := schema.Property("managedDevice", name)
		values[name] = schema.Zero(p)
	}
	return values
})

// renderDevice returns every v1.0 property of a managed device. Results of
// actions are left to the caller: a list never carries them.
func (c *Cloud) renderDevice(t *tenant, d *device, now time.Time) map[string]any {
	values := maps.Clone(emptyDevice())
	maps.Copy(values, map[string]any{
		"id": d.id, "azureADDeviceId": d.directoryID, "azureADRegistered": true,
		"deviceName": d.name, "managedDeviceName": d.name, "serialNumber": d.serial,
		"operatingSystem": d.os, "osVersion": d.version, "manufacturer": d.maker, "model": d.model,
		"deviceEnrollmentType": d.enrollment, "managedDeviceOwnerType": d.owner, "managementAgent": d.agent,
		"managementState": "managed", "complianceState": "compliant", "deviceRegistrationState": "registered",
		"isSupervised": d.supervised, "isEncrypted": true, "jailBroken": "Unknown",
		"enrolledDateTime":                        stamp(d.Enrolled),
		"lastSyncDateTime":                        stamp(d.lastSync(now, c.timing.CheckIn)),
		"managementCertificateExpirationDate":     stamp(d.Enrolled.AddDate(1, 0, 0)),
		"partnerReportedThreatState":              "unknown",
		"totalStorageSpaceInBytes":                int64(128 << 30),
		"freeStorageSpaceInBytes":                 int64(64 << 30),
		"deviceCategoryDisplayName":               "Unknown",
		"complianceGracePeriodExpirationDateTime": "9999-12-31T23:59:59Z",
	})
	if u, ok := t.user(d.UserID); ok && d.UserID != "" {
		maps.Copy(values, map[string]any{
			"userId": u.id, "userPrincipalName": u.upn, "userDisplayName": u.name, "emailAddress": u.upn,
		})
	}
	return values
}

// addBeta adds the few properties that are wanted from beta.
func addBeta(values map[string]any, d *device) {
	joins := map[string]string{"AzureAd": "azureADJoined", "ServerAd": "hybridAzureADJoined", "Workplace": "azureADRegistered"}
	values["joinType"] = joins[d.trust]
	values["skuFamily"] = d.sku
	values["roleScopeTagIds"] = []string{"0"}
	values["skuNumber"] = map[string]int{"Enterprise": 4, "LTSC": 125, "Pro": 48, "Education": 121, "Home": 101}[d.edition()]
}

func (c *Cloud) listDevices(k *call) answer {
	var rows []map[string]any
	for _, d := range sorted(k.t.devices(), func(d *device) bool { return !d.Retired }) {
		row := c.renderDevice(k.t, d, k.v.now)
		if k.beta {
			addBeta(row, d)
		}
		rows = append(rows, row)
	}
	return k.many("managedDevice", "deviceManagement/managedDevices", rows,
		"id", "deviceName", "userPrincipalName", "serialNumber", "operatingSystem", "azureADDeviceId", "userId", "managedDeviceOwnerType")
}

func (k *call) deviceByKey() (*device, answer) {
	_, id := key(k.params[0])
	d := k.t.devices()[id]
	if d == nil || d.Retired {
		return nil, problem(http.StatusNotFound, "ResourceNotFound", "Device with id "+id+" was not found.")
	}
	return d, answer{}
}

// getDevice shows action results only to a $select that names them.
func (c *Cloud) getDevice(k *call) answer {
	d, missing := k.deviceByKey()
	if d == nil {
		return missing
	}
	values := c.renderDevice(k.t, d, k.v.now)
	if k.beta {
		addBeta(values, d)
	}
	if names, _ := k.selection("managedDevice"); slices.Contains(names, "deviceActionResults") {
		values["deviceActionResults"] = d.results(k.v.now, k.t.knobs.ActionHistory, k.beta)
	}
	return k.one(http.StatusOK, "managedDevice", "deviceManagement/managedDevices", values)
}

// resetPasscode accepts the action and says nothing about it: the outcome is
// read later. The answer for platforms without the action is the model's
// choice; the real one is unknown.
func (c *Cloud) resetPasscode(k *call) answer {
	d, missing := k.deviceByKey()
	if d == nil {
		return missing
	}
	if k.t.knobs.ApprovalRequired {
		return badRequest("The action requires approval by a second administrator (Multi Admin Approval).")
	}
	if d.profile.reset == resetRefused {
		return badRequest("The action resetPasscode is not supported for this device.")
	}
	err := c.commit(k.t.putDevice(d, c.reset(d, k.v.now)), k.t.record(k.v.now, k.actor(), "resetPasscode", deviceResource(d)))
	if err == nil {
		c.log.Info("passcode reset accepted", "tenant", k.t.domain, "device", d.name, "resets", d.Resets)
	}
	return c.stored(err, answer{status: http.StatusNoContent})
}

func (c *Cloud) syncDevice(k *call) answer {
	d, missing := k.deviceByKey()
	if d == nil {
		return missing
	}
	err := c.commit(k.t.putDevice(d, c.sync(d, k.v.now)), k.t.record(k.v.now, k.actor(), "syncDevice", deviceResource(d)))
	return c.stored(err, answer{status: http.StatusNoContent})
}

// directoryDevice finds the device that a path names by object id or device id.
func (k *call) directoryDevice() *device {
	name, value := key(k.params[0])
	for _, d := range k.t.devices() {
		if !d.Retired && (name == "id" && d.objectID == value || name == "deviceId" && d.directoryID == value) {
			return d
		}
	}
	return nil
}

func (c *Cloud) renderDirectoryDevice(d *device, v view) map[string]any {
	return map[string]any{
		"id": d.objectID, "deletedDateTime": nil, "deviceId": d.directoryID, "displayName": d.name,
		"accountEnabled": true, "trustType": d.trust, "isManaged": true, "isCompliant": true,
		"operatingSystem": d.os, "operatingSystemVersion": d.version, "manufacturer": d.maker, "model": d.model,
		"approximateLastSignInDateTime": stamp(d.lastSync(v.now, c.timing.CheckIn)),
		"registrationDateTime":          stamp(d.Enrolled),
	}
}

func (c *Cloud) getDirectoryDevice(k *call) answer {
	d := k.directoryDevice()
	if d == nil {
		_, value := key(k.params[0])
		return notFound(value)
	}
	return k.one(http.StatusOK, "device", "devices", c.renderDirectoryDevice(d, k.v))
}

func (c *Cloud) listDirectoryDevices(k *call) answer {
	var rows []map[string]any
	for _, d := range k.t.devices() {
		if !d.Retired {
			rows = append(rows, c.renderDirectoryDevice(d, k.v))
		}
	}
	slices.SortFunc(rows, func(a, b map[string]any) int { return strings.Compare(a["id"].(string), b["id"].(string)) })
	return k.many("device", "devices", rows, "id", "deviceId", "displayName", "trustType", "operatingSystem")
}

// listHelloMethods shows one Windows Hello for Business key for each Windows
// device that the user has. Nothing in the model replaces a key.
func (c *Cloud) listHelloMethods(k *call) answer {
	_, ref := key(k.params[0])
	u, ok := k.t.user(ref)
	if !ok {
		return notFound(ref)
	}
	var rows []map[string]any
	for _, d := range sorted(k.t.devices(), func(d *device) bool { return !d.Retired && d.UserID == u.id && d.os == "Windows" }) {
		rows = append(rows, map[string]any{
			"id": guid("hello " + d.id + u.id), "displayName": d.name,
			"createdDateTime": stamp(d.Enrolled.Add(time.Hour)), "keyStrength": "normal",
		})
	}
	slices.SortFunc(rows, func(a, b map[string]any) int { return strings.Compare(a["id"].(string), b["id"].(string)) })
	return k.many("windowsHelloForBusinessAuthenticationMethod", "users('"+u.id+"')/authentication/windowsHelloForBusinessMethods", rows)
}
