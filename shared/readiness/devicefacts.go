package readiness

import (
	"time"

	"pinreset/shared/reading"
)

// DeviceFacts are what is known of a device: what Graph says now, and what the device last said itself.
type DeviceFacts struct {
	DeviceID string    `json:"deviceId"` // Intune's
	ReadAt   time.Time `json:"readAt"`

	Managed    reading.Of[Managed]   `json:"managed,omitzero"`    // Intune's managedDevice
	Directory  reading.Of[Directory] `json:"directory,omitzero"`  // the directory's device
	Groups     reading.Of[[]string]  `json:"groups,omitzero"`     // ids of groups that the device is in, nested ones too
	UserGroups reading.Of[[]string]  `json:"userGroups,omitzero"` // of its user
	// Report is the device's own; one that has never reported is unread with the code device_not_reporting.
	Report reading.Of[DeviceReport] `json:"report,omitzero"`
}

// Managed is a device as Intune shows it. Texts are as they come; "" is not known.
type Managed struct {
	Name            string    `json:"name,omitempty"`
	OperatingSystem string    `json:"operatingSystem,omitempty"` // free text
	OSVersion       string    `json:"osVersion,omitempty"`       // "10.0.19045.4291"
	SKUFamily       string    `json:"skuFamily,omitempty"`       // skuFamily, beta only: "Enterprise", "Pro", …
	SKUNumber       int       `json:"skuNumber,omitempty"`       // skuNumber, beta only: Windows' product type; 0 is not known
	JoinType        string    `json:"joinType,omitempty"`        // joinType, beta only: azureADJoined, hybridAzureADJoined, azureADRegistered, unknown
	Model           string    `json:"model,omitempty"`           // a Cloud PC's begins with "Cloud PC"
	EnrollmentType  string    `json:"enrollmentType,omitempty"`  // deviceEnrollmentType
	ManagementAgent string    `json:"managementAgent,omitempty"`
	Owner           string    `json:"owner,omitempty"` // managedDeviceOwnerType
	UserID          string    `json:"userId,omitempty"`
	User            string    `json:"user,omitempty"` // user principal name
	LastSync        time.Time `json:"lastSync,omitzero"`
}

// Directory is a device as Entra's directory shows it.
type Directory struct {
	Present   bool   `json:"present"`
	TrustType string `json:"trustType,omitempty"` // AzureAd, ServerAd, Workplace
	Enabled   bool   `json:"enabled"`             // accountEnabled
}

// Trust is how Windows Hello for Business signs in to Active Directory.
type Trust string

// Trust types.
const (
	CertificateTrust   Trust = "certificate"
	KeyTrust           Trust = "key"
	CloudKerberosTrust Trust = "cloud-kerberos"
)

// Setting is a boolean policy as one place of a device has it.
type Setting string

// Settings.
const (
	On     Setting = "on"
	Off    Setting = "off"
	NotSet Setting = "not-set" // read, and there is no value
)

// DeviceReport is what a device last said about itself. Each part is a reading: an agent may not be allowed to look
// everywhere, and older agents look at less.
type DeviceReport struct {
	ReportedAt time.Time `json:"reportedAt"`
	ReportID   string    `json:"reportId,omitempty"`
	Tenant     string    `json:"tenant,omitempty"` // TenantId of dsregcmd, in lower case

	Edition reading.Of[string] `json:"edition,omitzero"` // EditionID of the registry: Enterprise, EnterpriseS, Professional, Education, Core, …
	Version reading.Of[string] `json:"version,omitzero"` // "10.0.22631.3447"
	Trust   reading.Of[Trust]  `json:"trust,omitzero"`
	Status  reading.Of[Status] `json:"status,omitzero"` // dsregcmd /status

	Policies PolicyValues `json:"policies,omitzero"`

	// AllowedURLs is ConfigureWebSignInAllowedUrls as the device has it, "" if it has none.
	AllowedURLs reading.Of[string] `json:"allowedUrls,omitzero"`

	// LockScreen says which limitations hold on the device, by [Limitation.ID]. One that is not in the map was not looked at.
	LockScreen map[string]reading.Of[bool] `json:"lockScreen,omitempty"`

	DomainController reading.Of[bool] `json:"domainController,omitzero"` // a domain controller answers
	Federation       reading.Of[bool] `json:"federation,omitzero"`       // the federation service answers

	Enrolled  reading.Of[bool]  `json:"enrolled,omitzero"`  // event 3060: a recovery key was begun for the user
	LastReset reading.Of[Reset] `json:"lastReset,omitzero"` // the latest PIN reset that the device tells of
}

// Status is what dsregcmd /status says, run as the user.
type Status struct {
	EntraJoined       bool   `json:"entraJoined"`      // AzureAdJoined
	EnterpriseJoined  bool   `json:"enterpriseJoined"` // joined to an on-premises registration service
	DomainJoined      bool   `json:"domainJoined"`
	WorkplaceJoined   bool   `json:"workplaceJoined"`             // an account is registered, the device is not joined by it
	HelloSet          bool   `json:"helloSet"`                    // NgcSet: the user has a PIN
	HelloKey          string `json:"helloKey,omitempty"`          // NgcKeyId: changes when a PIN is reset destructively
	CanReset          string `json:"canReset,omitempty"`          // DestructiveOnly, NonDestructiveOnly, DestructiveAndNonDestructive, Unknown; "" not told
	PrimaryToken      string `json:"primaryToken,omitempty"`      // AzureAdPrt: YES, NO; "" not told
	DeviceAuth        string `json:"deviceAuth,omitempty"`        // DeviceAuthStatus; "" not told
	CloudTicket       string `json:"cloudTicket,omitempty"`       // CloudTgt: YES, NO; "" not told
	OnPremisesTicket  string `json:"onPremisesTicket,omitempty"`  // OnPremTgt: YES, NO; "" not told
	ReportedDirectory string `json:"reportedDirectory,omitempty"` // TenantName, for people
}

// PolicyValues is EnablePinRecovery in each place that Windows looks at, the strongest first: Microsoft's page "Manage Windows
// Hello for Business in your organization" has user Group Policy over computer Group Policy over user MDM over device MDM.
type PolicyValues struct {
	UserGroupPolicy     reading.Of[Setting] `json:"userGroupPolicy,omitzero"`
	ComputerGroupPolicy reading.Of[Setting] `json:"computerGroupPolicy,omitzero"`
	UserMDM             reading.Of[Setting] `json:"userMdm,omitzero"`
	DeviceMDM           reading.Of[Setting] `json:"deviceMdm,omitzero"`
}

// Reset is a PIN reset as the device tells of it.
type Reset struct {
	At          time.Time `json:"at"`
	Destructive bool      `json:"destructive"`
	Code        string    `json:"code,omitempty"` // of the failure; "" for one that worked
}
