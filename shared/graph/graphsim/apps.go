package graphsim

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
)

// Application ids that tenants meet. The two PIN reset ids and their redirect
// URIs are Microsoft's own (windows-itpro-docs pin-reset.md).
const (
	PinResetService = "b8456c59-1230-44c7-a4a2-99b085333e84"
	PinResetClient  = "9115dd05-fad5-4f9c-acc7-305d08b1b04e"

	microsoftGraph = "00000003-0000-0000-c000-000000000000"
	azureADGraph   = "00000002-0000-0000-c000-000000000000"

	// microsoftTenant stands for the tenant that owns Microsoft's apps.
	microsoftTenant = "f8cdef31-a31e-4b4a-93e4-5f571e91255a"
)

// An App is one of our two multi-tenant app registrations. The Secret is made
// once per state directory.
type App struct {
	Name     string
	ClientID string
	Secret   string
	Roles    []string // application permissions asked for at consent, sorted
}

// An application is an app registration anywhere in the cloud; a tenant's
// service principal is its instance there.
type application struct {
	id, name, owner string
	roles           []string          // application permissions on Microsoft Graph that consent grants
	scopes          map[string]string // delegated permissions that consent grants: resource app id → scopes
	resource        string            // what the documented consent URL asks for
	redirect        string            // its one redirect URI
	landing         string            // what a person sees after consent
}

// ourOwner stands for the tenant that our own two apps are registered in.
var ourOwner = guid("tenant that registers pinreset")

// catalogue lists every application. Roles of our two apps are the least
// permissions for audit and reset. What the two PIN
// reset apps are granted at consent is not documented: their scopes are the
// model's invention, there so that a tenant has grants to read.
var catalogue = []application{
	{id: microsoftGraph, name: "Microsoft Graph", owner: microsoftTenant},
	{id: azureADGraph, name: "Windows Azure Active Directory", owner: microsoftTenant},
	{
		id: PinResetService, name: "Microsoft Pin Reset Service Production", owner: microsoftTenant,
		scopes:   map[string]string{azureADGraph: "User.Read"},
		resource: "https://graph.windows.net", redirect: "https://cred.microsoft.com",
		landing: "service",
	},
	{
		id: PinResetClient, name: "Microsoft Pin Reset Client Production", owner: microsoftTenant,
		scopes:   map[string]string{PinResetService: "user_impersonation"},
		resource: "https://cred.microsoft.com/", redirect: "ms-appx-web://Microsoft.AAD.BrokerPlugin/" + PinResetClient,
		landing: "client",
	},
	{
		id: guid("app pinreset"), name: "pinreset", owner: ourOwner,
		roles: []string{
			"Application.Read.All", "Device.Read.All", "DeviceManagementApps.Read.All", "DeviceManagementConfiguration.Read.All",
			"DeviceManagementConfiguration.ReadWrite.All", "DeviceManagementManagedDevices.Read.All",
			"Directory.Read.All", "Group.Read.All", "Organization.Read.All",
		},
	},
	{
		id: guid("app pinreset privileged"), name: "pinreset device actions", owner: ourOwner,
		roles: []string{
			"DeviceManagementManagedDevices.PrivilegedOperations.All", "DeviceManagementManagedDevices.Read.All",
		},
	},
}

func findApplication(id string) (application, bool) {
	i := slices.IndexFunc(catalogue, func(a application) bool { return a.id == id })
	if i < 0 {
		return application{}, false
	}
	return catalogue[i], true
}

// ours reports whether the app is one of our two registrations.
func (a application) ours() bool { return a.owner == ourOwner }

// A role is an application permission of Microsoft Graph.
type role struct{ value, id, title string }

// graphRoles are the permissions that the simulated calls know, with their ids
// from Microsoft's page "permissions-reference". The ids of Device.Read.All and
// UserAuthenticationMethod.Read.All were not compared with it.
var graphRoles = []role{
	{"Application.Read.All", "9a5d68dd-52b0-4cc2-bd40-abcf44ac3a30", "Read all applications"},
	{"Application.ReadWrite.All", "1bfefb4e-e0b5-418b-a88f-73c46d2cc8e9", "Read and write all applications"},
	{"AppRoleAssignment.ReadWrite.All", "06b708a9-e830-4db3-a914-8e69da51d44f", "Manage app permission grants and app role assignments"},
	{"DelegatedPermissionGrant.ReadWrite.All", "8e8e4742-1d95-4f68-9d56-6ee75648c72a", "Manage all delegated permission grants"},
	{"Device.Read.All", "7438b122-aefc-4978-80ed-43db9fcc7715", "Read all devices"},
	{"DeviceManagementApps.Read.All", "7a6ee1e7-141e-4cec-ae74-d9db155731ff", "Read Microsoft Intune apps"},
	{"DeviceManagementConfiguration.Read.All", "dc377aa6-52d8-4e23-b271-2a7ae04cedf3", "Read Microsoft Intune device configuration and policies"},
	{"DeviceManagementConfiguration.ReadWrite.All", "9241abd9-d0e6-425a-bd4f-47ba86e767a4", "Read and write Microsoft Intune device configuration and policies"},
	{"DeviceManagementManagedDevices.PrivilegedOperations.All", "5b07b0dd-2377-4e44-a38d-703f09a0dc3c", "Perform user-impacting remote actions on Microsoft Intune devices"},
	{"DeviceManagementManagedDevices.Read.All", "2f51be20-0bb4-4fed-bf7b-db946066c75e", "Read Microsoft Intune devices"},
	{"Directory.Read.All", "7ab1d382-f21e-4acd-a863-ba3e13f7da61", "Read directory data"},
	{"Group.Read.All", "5b567255-7703-4780-807c-7be8301ae99b", "Read all groups"},
	{"Organization.Read.All", "498476ce-e0fe-48b0-b801-37ba7e2685c6", "Read organization information"},
	{"UserAuthenticationMethod.Read.All", "38d9df27-64da-44fd-b7c5-a6fbac20248f", "Read all users' authentication methods"},
}

func findRole(match func(role) bool) (role, bool) {
	i := slices.IndexFunc(graphRoles, match)
	if i < 0 {
		return role{}, false
	}
	return graphRoles[i], true
}

// guid derives a GUID from a name, so that sample data is the same everywhere.
func guid(name string) string {
	sum := sha256.Sum256([]byte(name))
	sum[6] = sum[6]&0x0f | 0x80 // version 8: made by the application (RFC 9562)
	sum[8] = sum[8]&0x3f | 0x80
	text := make([]byte, 0, 36)
	for i, b := range sum[:16] {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			text = append(text, '-')
		}
		text = hex.AppendEncode(text, []byte{b})
	}
	return string(text)
}
