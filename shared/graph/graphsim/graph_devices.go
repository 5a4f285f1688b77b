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

// A deviceView is a managed device at a moment.
type deviceView struct {
	*device
	user user
	sync time.Time
}

// deviceProperties are what the model knows of a managed device, by the names of v1.0. Of a device without a user, the user's are
// what the schema calls empty.
var deviceProperties = map[string]func(v deviceView) any{
	"id":                                      func(v deviceView) any { return v.id },
	"azureADDeviceId":                         func(v deviceView) any { return v.directoryID },
	"azureADRegistered":                       func(deviceView) any { return true },
	"deviceName":                              func(v deviceView) any { return v.name },
	"managedDeviceName":                       func(v deviceView) any { return v.name },
	"serialNumber":                            func(v deviceView) any { return v.serial },
	"operatingSystem":                         func(v deviceView) any { return v.os },
	"osVersion":                               func(v deviceView) any { return v.version },
	"manufacturer":                            func(v deviceView) any { return v.maker },
	"model":                                   func(v deviceView) any { return v.model },
	"deviceEnrollmentType":                    func(v deviceView) any { return v.enrollment },
	"managedDeviceOwnerType":                  func(v deviceView) any { return v.owner },
	"managementAgent":                         func(v deviceView) any { return v.agent },
	"managementState":                         func(deviceView) any { return "managed" },
	"complianceState":                         func(deviceView) any { return "compliant" },
	"deviceRegistrationState":                 func(deviceView) any { return "registered" },
	"isSupervised":                            func(v deviceView) any { return v.supervised },
	"isEncrypted":                             func(deviceView) any { return true },
	"jailBroken":                              func(deviceView) any { return "Unknown" },
	"enrolledDateTime":                        func(v deviceView) any { return stamp(v.Enrolled) },
	"lastSyncDateTime":                        func(v deviceView) any { return stamp(v.sync) },
	"managementCertificateExpirationDate":     func(v deviceView) any { return stamp(v.Enrolled.AddDate(1, 0, 0)) },
	"partnerReportedThreatState":              func(deviceView) any { return "unknown" },
	"totalStorageSpaceInBytes":                func(deviceView) any { return int64(128 << 30) },
	"freeStorageSpaceInBytes":                 func(deviceView) any { return int64(64 << 30) },
	"deviceCategoryDisplayName":               func(deviceView) any { return "Unknown" },
	"complianceGracePeriodExpirationDateTime": func(deviceView) any { return "9999-12-31T23:59:59Z" },
}

var userProperties = map[string]func(u user) any{
	"userId":            func(u user) any { return u.id },
	"userPrincipalName": func(u user) any { return u.upn },
	"userDisplayName":   func(u user) any { return u.name },
	"emailAddress":      func(u user) any { return u.upn },
}

// betaProperties are the few that are wanted from beta.
var betaProperties = map[string]func(v deviceView) any{
	"joinType":        func(v deviceView) any { return joinTypes[v.trust] },
	"skuFamily":       func(v deviceView) any { return v.sku },
	"roleScopeTagIds": func(deviceView) any { return []string{"0"} },
	"skuNumber":       func(v deviceView) any { return skuNumbers[v.edition()] },
}

var (
	joinTypes  = map[string]string{"AzureAd": "azureADJoined", "ServerAd": "hybridAzureADJoined", "Workplace": "azureADRegistered"}
	skuNumbers = map[string]int{"Enterprise": 4, "LTSC": 125, "Pro": 48, "Education": 121, "Home": 101}
)

// renderDevice returns the named properties of a managed device that are not empty, or every one without names. Results of
// actions are left to the caller: a list never carries them.
func (c *Cloud) renderDevice(k *call, d *device, names []string) map[string]any {
	v := deviceView{device: d, sync: d.lastSync(k.v.now, c.timing.CheckIn)}
	if d.UserID != "" {
		v.user, _ = k.t.user(d.UserID)
	}
	if names == nil {
		values := maps.Clone(emptyDevice())
		for name := range deviceProperties {
			v.put(values, name, k.beta)
		}
		for name := range userProperties {
			v.put(values, name, k.beta)
		}
		for name := range betaProperties {
			v.put(values, name, k.beta)
		}
		return values
	}
	values := make(map[string]any, len(names)+1)
	v.put(values, "id", k.beta)
	for _, name := range names {
		v.put(values, name, k.beta)
	}
	return values
}

func (v deviceView) put(values map[string]any, name string, beta bool) {
	if of := deviceProperties[name]; of != nil {
		values[name] = of(v)
	} else if of := userProperties[name]; of != nil && v.user.id != "" {
		values[name] = of(v.user)
	} else if of := betaProperties[name]; of != nil && beta {
		values[name] = of(v)
	}
}

func (c *Cloud) listDevices(k *call) answer {
	var names []string // all, where a filter or the page before decides later which are of use
	if !k.query.Has("$filter") && !k.query.Has("$skiptoken") {
		var refused *answer
		if names, refused = k.selection("managedDevice"); refused != nil {
			return *refused
		}
	}
	var rows []map[string]any
	for _, d := range sorted(k.t.devices(), func(d *device) bool { return !d.Retired }) {
		rows = append(rows, c.renderDevice(k, d, names))
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
	values := c.renderDevice(k, d, nil)
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
