package graphsim

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// A route is one Graph call: what it costs, who may make it, what it does.
type route struct {
	method  string
	pattern string // {} stands for a key segment
	in      version
	action  bool // bound action: in a batch it needs Content-Type and a body
	family  Family
	units   int      // resource units of the identity family
	entity  string   // type whose names $select may use
	roles   []string // any one of them suffices
	serve   func(*Cloud, *call) answer
}

// A version is an endpoint of Graph; a route may be served by both.
type version int

const (
	v1 version = 1 << iota
	beta
)

var (
	readApps    = []string{"Application.Read.All", "Application.ReadWrite.All", "Directory.Read.All"}
	writeApps   = []string{"Application.ReadWrite.All"}
	readGrants  = []string{"Directory.Read.All", "DelegatedPermissionGrant.ReadWrite.All"}
	writeGrants = []string{"DelegatedPermissionGrant.ReadWrite.All"}
	writeRoles  = []string{"AppRoleAssignment.ReadWrite.All"}
	readGroups  = []string{"Group.Read.All", "Directory.Read.All"}
	readDevices = []string{"DeviceManagementManagedDevices.Read.All"}
	actOnDevice = []string{"DeviceManagementManagedDevices.PrivilegedOperations.All"}
	readConfig  = []string{"DeviceManagementConfiguration.Read.All", "DeviceManagementConfiguration.ReadWrite.All"}
	writeConfig = []string{"DeviceManagementConfiguration.ReadWrite.All"}
	readAudit   = []string{"DeviceManagementApps.Read.All", "DeviceManagementApps.ReadWrite.All"} // page "List auditEvents"
)

// graphRoutes are the calls that are simulated. Literal segments
// stand before {}.
var graphRoutes = []route{
	{"GET", "organization", v1, false, Identity, 1, "organization", []string{"Organization.Read.All", "Directory.Read.All"}, (*Cloud).getOrganization},

	{"GET", "domains", v1, false, Identity, 1, "domain", []string{"Domain.Read.All", "Directory.Read.All"}, (*Cloud).listDomains},

	{"GET", "servicePrincipals", v1, false, Identity, 1, "servicePrincipal", readApps, (*Cloud).listPrincipals},
	{"POST", "servicePrincipals", v1, false, Identity, 1, "servicePrincipal", writeApps, (*Cloud).createPrincipal},
	{"GET", "servicePrincipals/delta", v1, false, Identity, 1, "servicePrincipal", readApps, (*Cloud).deltaPrincipals},
	{"GET", "servicePrincipals/{}", v1, false, Identity, 1, "servicePrincipal", readApps, (*Cloud).getPrincipal},
	{"PATCH", "servicePrincipals/{}", v1, false, Identity, 1, "servicePrincipal", writeApps, (*Cloud).patchPrincipal},
	{"GET", "servicePrincipals/{}/appRoleAssignments", v1, false, Identity, 2, "appRoleAssignment", readApps, (*Cloud).listRolesHeld},
	{"GET", "servicePrincipals/{}/oauth2PermissionGrants", v1, false, Identity, 2, "oAuth2PermissionGrant", readGrants, (*Cloud).listGrantsHeld},
	{"GET", "servicePrincipals/{}/appRoleAssignedTo", v1, false, Identity, 1, "appRoleAssignment", readApps, (*Cloud).listRolesGiven},
	{"POST", "servicePrincipals/{}/appRoleAssignedTo", v1, false, Identity, 1, "appRoleAssignment", writeRoles, (*Cloud).assignRole},
	{"DELETE", "servicePrincipals/{}/appRoleAssignedTo/{}", v1, false, Identity, 1, "appRoleAssignment", writeRoles, (*Cloud).unassignRole},

	{"GET", "oauth2PermissionGrants", v1, false, Identity, 2, "oAuth2PermissionGrant", readGrants, (*Cloud).listGrants},
	{"POST", "oauth2PermissionGrants", v1, false, Identity, 1, "oAuth2PermissionGrant", writeGrants, (*Cloud).createGrant},
	{"GET", "oauth2PermissionGrants/delta", v1, false, Identity, 2, "oAuth2PermissionGrant", readGrants, (*Cloud).deltaGrants},
	{"GET", "oauth2PermissionGrants/{}", v1, false, Identity, 2, "oAuth2PermissionGrant", readGrants, (*Cloud).getGrant},

	{"GET", "groups", v1, false, Identity, 1, "group", readGroups, (*Cloud).listGroups},
	{"GET", "groups/delta", v1, false, Identity, 1, "group", readGroups, (*Cloud).deltaGroups},
	{"GET", "groups/{}", v1, false, Identity, 1, "group", readGroups, (*Cloud).getGroup},
	{"GET", "groups/{}/members", v1, false, Identity, 3, "directoryObject", readGroups, (*Cloud).listMembers},
	{"GET", "groups/{}/transitiveMembers", v1, false, Identity, 5, "directoryObject", readGroups, (*Cloud).listTransitiveMembers},
	{"GET", "users/{}", v1, false, Identity, 2, "user", []string{"User.Read.All", "Directory.Read.All"}, (*Cloud).getUser},
	{"GET", "users/{}/transitiveMemberOf", v1, false, Identity, 1, "directoryObject", readGroups, (*Cloud).listMemberships},
	{"GET", "devices/{}/transitiveMemberOf", v1, false, Identity, 1, "directoryObject", readGroups, (*Cloud).listMemberships},
	{"GET", "devices", v1, false, Identity, 1, "device", []string{"Device.Read.All", "Directory.Read.All"}, (*Cloud).listDirectoryDevices},

	{"GET", "devices/{}", v1, false, Identity, 1, "device", []string{"Device.Read.All", "Directory.Read.All"}, (*Cloud).getDirectoryDevice},
	{"GET", "users/{}/authentication/windowsHelloForBusinessMethods", v1, false, Identity, 1, "windowsHelloForBusinessAuthenticationMethod", []string{"UserAuthenticationMethod.Read.All"}, (*Cloud).listHelloMethods},

	{"GET", "subscriptions", v1, false, Subscriptions, 0, "subscription", readGroups, (*Cloud).listSubscriptions},
	{"POST", "subscriptions", v1, false, Subscriptions, 0, "subscription", readGroups, (*Cloud).createSubscription},
	{"GET", "subscriptions/{}", v1, false, Subscriptions, 0, "subscription", readGroups, (*Cloud).getSubscription},
	{"PATCH", "subscriptions/{}", v1, false, Subscriptions, 0, "subscription", readGroups, (*Cloud).patchSubscription},
	{"DELETE", "subscriptions/{}", v1, false, Subscriptions, 0, "subscription", readGroups, (*Cloud).deleteSubscription},

	{"GET", "deviceManagement/managedDevices", v1 | beta, false, Devices, 0, "managedDevice", readDevices, (*Cloud).listDevices},
	{"GET", "deviceManagement/managedDevices/{}", v1 | beta, false, Devices, 0, "managedDevice", readDevices, (*Cloud).getDevice},
	{"GET", "deviceManagement/managedDevices/{}/deviceConfigurationStates", v1 | beta, false, Devices, 0, "deviceConfigurationState", slices.Concat(readDevices, readConfig), (*Cloud).listConfigurationStates},
	{"POST", "deviceManagement/managedDevices/{}/resetPasscode", v1, true, Devices, 0, "managedDevice", actOnDevice, (*Cloud).resetPasscode},
	{"POST", "deviceManagement/managedDevices/{}/syncDevice", v1, true, Devices, 0, "managedDevice", actOnDevice, (*Cloud).syncDevice},

	{"GET", "deviceManagement/auditEvents", v1 | beta, false, Auditing, 0, "auditEvent", readAudit, (*Cloud).listAudit},
	{"GET", "deviceManagement/auditEvents/{}", v1 | beta, false, Auditing, 0, "auditEvent", readAudit, (*Cloud).getAudit},

	{"GET", "deviceManagement/deviceConfigurations", v1 | beta, false, Configuration, 0, "deviceConfiguration", readConfig, (*Cloud).listPolicies},
	{"POST", "deviceManagement/deviceConfigurations", v1 | beta, false, Configuration, 0, "deviceConfiguration", writeConfig, (*Cloud).createPolicy},
	{"GET", "deviceManagement/deviceConfigurations/{}", v1 | beta, false, Configuration, 0, "deviceConfiguration", readConfig, (*Cloud).getPolicy},
	{"PATCH", "deviceManagement/deviceConfigurations/{}", v1 | beta, false, Configuration, 0, "deviceConfiguration", writeConfig, (*Cloud).patchPolicy},
	{"DELETE", "deviceManagement/deviceConfigurations/{}", v1 | beta, false, Configuration, 0, "deviceConfiguration", writeConfig, (*Cloud).deletePolicy},
	{"POST", "deviceManagement/deviceConfigurations/{}/assign", v1 | beta, true, Configuration, 0, "deviceConfigurationAssignment", writeConfig, (*Cloud).assignPolicy},
	{"GET", "deviceManagement/deviceConfigurations/{}/assignments", v1 | beta, false, Configuration, 0, "deviceConfigurationAssignment", readConfig, (*Cloud).listPolicyAssignments},

	{"GET", "deviceManagement/deviceConfigurations/{}/deviceStatuses", v1 | beta, false, Configuration, 0, "deviceConfigurationDeviceStatus", readConfig, (*Cloud).listDeviceStatuses},
	{"GET", "deviceManagement/deviceConfigurations/{}/userStatuses", v1 | beta, false, Configuration, 0, "deviceConfigurationUserStatus", readConfig, (*Cloud).listUserStatuses},
	{"GET", "deviceManagement/deviceConfigurations/{}/deviceStatusOverview", v1 | beta, false, Configuration, 0, "deviceConfigurationDeviceOverview", readConfig, (*Cloud).getDeviceOverview},
	{"GET", "deviceManagement/deviceConfigurations/{}/userStatusOverview", v1 | beta, false, Configuration, 0, "deviceConfigurationUserOverview", readConfig, (*Cloud).getUserOverview},

	{"GET", "deviceManagement/configurationPolicies", beta, false, Catalog, 0, "deviceManagementConfigurationPolicy", readConfig, (*Cloud).listPolicies},
	{"POST", "deviceManagement/configurationPolicies", beta, false, Catalog, 0, "deviceManagementConfigurationPolicy", writeConfig, (*Cloud).createPolicy},
	{"GET", "deviceManagement/configurationPolicies/{}", beta, false, Catalog, 0, "deviceManagementConfigurationPolicy", readConfig, (*Cloud).getPolicy},
	{"PATCH", "deviceManagement/configurationPolicies/{}", beta, false, Catalog, 0, "deviceManagementConfigurationPolicy", writeConfig, (*Cloud).patchPolicy},
	{"PUT", "deviceManagement/configurationPolicies/{}", beta, false, Catalog, 0, "deviceManagementConfigurationPolicy", writeConfig, (*Cloud).putCatalogPolicy},
	{"DELETE", "deviceManagement/configurationPolicies/{}", beta, false, Catalog, 0, "deviceManagementConfigurationPolicy", writeConfig, (*Cloud).deletePolicy},
	{"POST", "deviceManagement/configurationPolicies/{}/assign", beta, true, Catalog, 0, "deviceManagementConfigurationPolicyAssignment", writeConfig, (*Cloud).assignPolicy},
	{"GET", "deviceManagement/configurationPolicies/{}/assignments", beta, false, Catalog, 0, "deviceManagementConfigurationPolicyAssignment", readConfig, (*Cloud).listPolicyAssignments},
	{"GET", "deviceManagement/configurationPolicies/{}/settings", beta, false, Catalog, 0, "deviceManagementConfigurationSetting", readConfig, (*Cloud).listPolicySettings},

	{"GET", "deviceManagement/intents", beta, false, Intents, 0, "deviceManagementIntent", readConfig, (*Cloud).listPolicies},
	{"GET", "deviceManagement/intents/{}", beta, false, Intents, 0, "deviceManagementIntent", readConfig, (*Cloud).getPolicy},
	{"GET", "deviceManagement/intents/{}/assignments", beta, false, Intents, 0, "deviceManagementIntentAssignment", readConfig, (*Cloud).listPolicyAssignments},
	{"GET", "deviceManagement/intents/{}/settings", beta, false, Intents, 0, "deviceManagementSettingInstance", readConfig, (*Cloud).listPolicySettings},
	{"GET", "deviceManagement/intents/{}/deviceStates", beta, false, Intents, 0, "deviceManagementIntentDeviceState", readConfig, (*Cloud).listIntentStates},
	{"GET", "deviceManagement/intents/{}/deviceStateSummary", beta, false, Intents, 0, "deviceManagementIntentDeviceStateSummary", readConfig, (*Cloud).getIntentSummary},
}

func (k *call) version() version {
	if k.beta {
		return beta
	}
	return v1
}

// match finds the call's route and its path variables.
func (k *call) match() (route, *answer) {
	segments := splitPath(k.path)
	known := false
	for _, rt := range graphRoutes {
		params, ok := matchPattern(rt.pattern, segments)
		if !ok || rt.in&k.version() == 0 {
			continue
		}
		known = true
		if rt.method == k.method {
			k.params = params
			return rt, nil
		}
	}
	if known {
		a := problem(http.StatusMethodNotAllowed, "Request_BadRequest", "Specified HTTP method is not allowed for the request target.")
		return route{}, &a
	}
	last := ""
	if len(segments) > 0 {
		last = segments[len(segments)-1]
	}
	a := badRequest(fmt.Sprintf("Resource not found for the segment '%s'.", last))
	return route{}, &a
}

func matchPattern(pattern string, segments []string) ([]string, bool) {
	if strings.Count(pattern, "/")+1 != len(segments) {
		return nil, false
	}
	var params []string
	for _, s := range segments {
		var want string
		want, pattern, _ = strings.Cut(pattern, "/")
		switch {
		case want == "{}":
			params = append(params, s)
		case !strings.EqualFold(want, strings.TrimPrefix(strings.TrimSuffix(s, "()"), "microsoft.graph.")):
			return nil, false
		}
	}
	return params, true
}

// splitPath cuts a path into segments; "x(appId='v')" becomes "x" and
// "(appId='v')".
func splitPath(path string) []string {
	var segments []string
	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if i := strings.IndexByte(part, '('); i > 0 && !strings.HasSuffix(part, "()") {
			segments = append(segments, part[:i], part[i:])
			continue
		}
		segments = append(segments, part)
	}
	return segments
}

// key reads a key segment: a bare id gives ("id", id), "(appId='v')" gives
// ("appId", "v").
func key(segment string) (name, value string) {
	inner, ok := strings.CutPrefix(segment, "(")
	if !ok {
		if id, err := url.PathUnescape(segment); err == nil {
			return "id", id
		}
		return "id", segment
	}
	name, value, ok = strings.Cut(strings.TrimSuffix(inner, ")"), "=")
	if !ok {
		name, value = "id", name
	}
	return name, strings.ReplaceAll(strings.Trim(value, "'"), "''", "'")
}

// units is the resource unit cost of a call: $select −1, $expand +1, $top below
// 20 −1, never below 1 (throttling-limits.md).
func (k *call) units(rt route) int {
	n := rt.units
	if k.query.Has("$select") {
		n--
	}
	if k.query.Has("$expand") {
		n++
	}
	if top, err := strconv.Atoi(k.query.Get("$top")); err == nil && top < 20 {
		n--
	}
	return max(n, 1)
}
