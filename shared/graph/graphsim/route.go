package graphsim

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// A route is one Graph call: what it costs, who may make it, what it does.
type route struct {
	method  string
	pattern string // {} stands for a key segment
	beta    bool   // served on beta too
	action  bool   // bound action: in a batch it needs Content-Type and a body
	family  Family
	units   int      // resource units of the identity family
	entity  string   // type whose names $select may use
	roles   []string // any one of them suffices
	serve   func(*Cloud, *call) answer
}

var (
	readApps    = []string{"Application.Read.All", "Application.ReadWrite.All", "Directory.Read.All"}
	writeApps   = []string{"Application.ReadWrite.All"}
	readGrants  = []string{"Directory.Read.All", "DelegatedPermissionGrant.ReadWrite.All"}
	writeGrants = []string{"DelegatedPermissionGrant.ReadWrite.All"}
	writeRoles  = []string{"AppRoleAssignment.ReadWrite.All"}
	readGroups  = []string{"Group.Read.All", "Directory.Read.All"}
	readDevices = []string{"DeviceManagementManagedDevices.Read.All"}
	actOnDevice = []string{"DeviceManagementManagedDevices.PrivilegedOperations.All"}
)

// graphRoutes are the calls that are simulated. Literal segments
// stand before {}.
var graphRoutes = []route{
	{"GET", "organization", false, false, Identity, 1, "organization", []string{"Organization.Read.All", "Directory.Read.All"}, (*Cloud).getOrganization},

	{"GET", "servicePrincipals", false, false, Identity, 1, "servicePrincipal", readApps, (*Cloud).listPrincipals},
	{"POST", "servicePrincipals", false, false, Identity, 1, "servicePrincipal", writeApps, (*Cloud).createPrincipal},
	{"GET", "servicePrincipals/delta", false, false, Identity, 1, "servicePrincipal", readApps, (*Cloud).deltaPrincipals},
	{"GET", "servicePrincipals/{}", false, false, Identity, 1, "servicePrincipal", readApps, (*Cloud).getPrincipal},
	{"PATCH", "servicePrincipals/{}", false, false, Identity, 1, "servicePrincipal", writeApps, (*Cloud).patchPrincipal},
	{"GET", "servicePrincipals/{}/appRoleAssignments", false, false, Identity, 2, "appRoleAssignment", readApps, (*Cloud).listRolesHeld},
	{"GET", "servicePrincipals/{}/appRoleAssignedTo", false, false, Identity, 1, "appRoleAssignment", readApps, (*Cloud).listRolesGiven},
	{"POST", "servicePrincipals/{}/appRoleAssignedTo", false, false, Identity, 1, "appRoleAssignment", writeRoles, (*Cloud).assignRole},
	{"DELETE", "servicePrincipals/{}/appRoleAssignedTo/{}", false, false, Identity, 1, "appRoleAssignment", writeRoles, (*Cloud).unassignRole},

	{"GET", "oauth2PermissionGrants", false, false, Identity, 2, "oAuth2PermissionGrant", readGrants, (*Cloud).listGrants},
	{"POST", "oauth2PermissionGrants", false, false, Identity, 1, "oAuth2PermissionGrant", writeGrants, (*Cloud).createGrant},
	{"GET", "oauth2PermissionGrants/{}", false, false, Identity, 2, "oAuth2PermissionGrant", readGrants, (*Cloud).getGrant},

	{"GET", "groups", false, false, Identity, 1, "group", readGroups, (*Cloud).listGroups},
	{"GET", "groups/{}", false, false, Identity, 1, "group", readGroups, (*Cloud).getGroup},
	{"GET", "groups/{}/members", false, false, Identity, 3, "user", readGroups, (*Cloud).listMembers},
	{"GET", "groups/{}/transitiveMembers", false, false, Identity, 5, "user", readGroups, (*Cloud).listTransitiveMembers},

	{"GET", "devices/{}", false, false, Identity, 1, "device", []string{"Device.Read.All", "Directory.Read.All"}, (*Cloud).getDirectoryDevice},
	{"GET", "users/{}/authentication/windowsHelloForBusinessMethods", false, false, Identity, 1, "windowsHelloForBusinessAuthenticationMethod", []string{"UserAuthenticationMethod.Read.All"}, (*Cloud).listHelloMethods},

	{"GET", "deviceManagement/managedDevices", false, false, Devices, 0, "managedDevice", readDevices, (*Cloud).listDevices},
	{"GET", "deviceManagement/managedDevices/{}", true, false, Devices, 0, "managedDevice", readDevices, (*Cloud).getDevice},
	{"POST", "deviceManagement/managedDevices/{}/resetPasscode", false, true, Devices, 0, "managedDevice", actOnDevice, (*Cloud).resetPasscode},
	{"POST", "deviceManagement/managedDevices/{}/syncDevice", false, true, Devices, 0, "managedDevice", actOnDevice, (*Cloud).syncDevice},
}

// match finds the call's route and its path variables.
func (k *call) match() (route, *answer) {
	segments := splitPath(k.path)
	known := false
	for _, rt := range graphRoutes {
		params, ok := matchPattern(rt.pattern, segments)
		if !ok || k.beta && !rt.beta {
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
	want := strings.Split(pattern, "/")
	if len(want) != len(segments) {
		return nil, false
	}
	var params []string
	for i, w := range want {
		switch {
		case w == "{}":
			params = append(params, segments[i])
		case !strings.EqualFold(w, strings.TrimPrefix(strings.TrimSuffix(segments[i], "()"), "microsoft.graph.")):
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
