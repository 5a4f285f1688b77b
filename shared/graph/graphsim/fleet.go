package graphsim

// A profile is one sample device: what Intune says about it and what a passcode
// reset does to it.
//
// Which properties of v1.0 tell the Android modes apart is unknown. The operatingSystem strings here are this model's choice:
// AndroidEnterprise is fully managed (device owner), AndroidForWork a work
// profile, personal or corporate by owner, Android a device administrator
// enrolment, AndroidAOSP an AOSP device.
type profile struct {
	name, os, version   string
	maker, model        string
	enrollment, owner   string // deviceEnrollmentType, managedDeviceOwnerType
	agent               string // managementAgent
	user                string // local part of the user, "" for a shared device
	trust               string // trustType in the directory
	sku                 string // skuFamily, beta only; Windows
	hello               string // how Windows Hello signs in on-premises: cloud or certificate; hybrid joined without it: key
	ltsc                bool   // long-term servicing channel
	supervised, offline bool
	reset               resetKind
	errorCode           int32 // with resetFails; what the numbers mean is unknown
}

// A resetKind is how a device answers resetPasscode.
type resetKind int

const (
	resetRefused      resetKind = iota // 400 at once: the platform has no such action
	resetCode                          // ends done with a temporary passcode
	resetRemoves                       // ends done without one: the passcode is gone
	resetNotSupported                  // accepted, ends notSupported
	resetFails                         // accepted, ends failed
)

const (
	mdm    = "mdm"
	google = "googleCloudDevicePolicyController"
	comgmt = "configurationManagerClientMdm"
)

// fleet has a device for every row of the platform table, and Windows editions
// and versions on both sides of every line of the eligibility tables.
var fleet = []profile{
	{name: "hr-laptop-11", os: "Windows", version: "10.0.22631.3447", maker: "Dell", model: "Latitude 7440", enrollment: "windowsAzureADJoin", owner: "company", agent: mdm, user: "hana", trust: "AzureAd", sku: "Enterprise"},
	{name: "legacy-desktop-1703", os: "Windows", version: "10.0.15063.2679", maker: "HP", model: "EliteDesk 800 G3", enrollment: "windowsAutoEnrollment", owner: "company", agent: mdm, user: "wanda", trust: "ServerAd", sku: "Enterprise"},
	{name: "lab-laptop-1709", os: "Windows", version: "10.0.16299.2166", maker: "Lenovo", model: "ThinkPad T470", enrollment: "windowsAzureADJoin", owner: "company", agent: mdm, user: "dev", trust: "AzureAd", sku: "Enterprise"},
	{name: "finance-desktop-1809", os: "Windows", version: "10.0.17763.5696", maker: "HP", model: "ProDesk 600 G4", enrollment: "windowsAzureADJoin", owner: "company", agent: mdm, user: "carla", trust: "AzureAd", sku: "Enterprise"},
	{name: "school-laptop-1809", os: "Windows", version: "10.0.17763.5696", maker: "Acer", model: "TravelMate B3", enrollment: "windowsBulkAzureDomainJoin", owner: "company", agent: mdm, user: "ines", trust: "AzureAd", sku: "Education"},
	{name: "reception-pc-1809", os: "Windows", version: "10.0.17763.5696", maker: "HP", model: "ProOne 440", enrollment: "windowsAzureADJoin", owner: "company", agent: mdm, user: "hana", trust: "AzureAd", sku: "Pro"},
	{name: "reception-pc-1903", os: "Windows", version: "10.0.18362.1256", maker: "HP", model: "ProOne 440", enrollment: "windowsAzureADJoin", owner: "company", agent: mdm, user: "hana", trust: "AzureAd", sku: "Pro"},
	{name: "dev-laptop-10", os: "Windows", version: "10.0.19045.4291", maker: "Lenovo", model: "ThinkPad X1", enrollment: "windowsCoManagement", owner: "company", agent: comgmt, user: "dev", trust: "ServerAd", sku: "Pro"},
	{name: "school-laptop-11", os: "Windows", version: "10.0.22621.3447", maker: "Microsoft", model: "Surface Laptop SE", enrollment: "windowsBulkAzureDomainJoin", owner: "company", agent: mdm, user: "ines", trust: "AzureAd", sku: "Education"},
	{name: "byod-home-11", os: "Windows", version: "10.0.22631.3447", maker: "Asus", model: "VivoBook 15", enrollment: "userEnrollment", owner: "personal", agent: mdm, user: "sam", trust: "Workplace", sku: "Home"},
	{name: "pro-laptop-1709", os: "Windows", version: "10.0.16299.2166", maker: "Lenovo", model: "ThinkPad L470", enrollment: "windowsAzureADJoin", owner: "company", agent: mdm, user: "fred", trust: "AzureAd", sku: "Pro"},
	{name: "plant-ltsc-21", os: "Windows", version: "10.0.19044.4291", maker: "Siemens", model: "IPC427E", enrollment: "windowsAzureADJoin", owner: "company", agent: mdm, user: "wanda", trust: "AzureAd", sku: "Enterprise", ltsc: true},
	{name: "branch-desktop-key", os: "Windows", version: "10.0.22631.3447", maker: "HP", model: "EliteDesk 805 G8", enrollment: "windowsAutoEnrollment", owner: "company", agent: mdm, user: "sam", trust: "ServerAd", sku: "Enterprise"},
	{name: "branch-desktop-cloud", os: "Windows", version: "10.0.22631.3447", maker: "HP", model: "EliteDesk 805 G8", enrollment: "windowsAutoEnrollment", owner: "company", agent: mdm, user: "sam", trust: "ServerAd", sku: "Enterprise", hello: "cloud"},
	{name: "branch-desktop-cert", os: "Windows", version: "10.0.22631.3447", maker: "HP", model: "EliteDesk 805 G8", enrollment: "windowsAutoEnrollment", owner: "company", agent: mdm, user: "fred", trust: "ServerAd", sku: "Enterprise", hello: "certificate"},
	{name: "contractor-laptop-11", os: "Windows", version: "10.0.22631.3447", maker: "Dell", model: "XPS 13", enrollment: "userEnrollment", owner: "personal", agent: mdm, user: "ines", trust: "Workplace", sku: "Pro"},
	{name: "old-lumia-950", os: "Windows 10 Mobile", version: "10.0.15254.603", maker: "Microsoft", model: "Lumia 950", enrollment: "windowsAzureADJoin", owner: "company", agent: mdm, user: "fred", trust: "AzureAd", reset: resetCode}, // as Microsoft's page of 2018 promised

	{name: "sales-pixel-12", os: "AndroidEnterprise", version: "14.0", maker: "Google", model: "Pixel 8", enrollment: "userEnrollment", owner: "company", agent: google, user: "sam", trust: "AzureAd", reset: resetCode},
	{name: "store-kiosk-07", os: "AndroidEnterprise", version: "11.0", maker: "Samsung", model: "Galaxy Tab A8", enrollment: "deviceEnrollmentManager", owner: "company", agent: google, trust: "AzureAd", reset: resetCode},
	{name: "field-pixel-offline", os: "AndroidEnterprise", version: "13.0", maker: "Google", model: "Pixel 6a", enrollment: "userEnrollment", owner: "company", agent: google, user: "fred", trust: "AzureAd", offline: true, reset: resetCode},
	{name: "flaky-tablet-03", os: "AndroidEnterprise", version: "12.0", maker: "Samsung", model: "Galaxy Tab S6", enrollment: "userEnrollment", owner: "company", agent: google, user: "wanda", trust: "AzureAd", reset: resetFails, errorCode: 7},
	{name: "marketing-galaxy-04", os: "AndroidForWork", version: "13.0", maker: "Samsung", model: "Galaxy S22", enrollment: "userEnrollment", owner: "personal", agent: google, user: "carla", trust: "Workplace", reset: resetCode},
	{name: "legal-galaxy-05", os: "AndroidForWork", version: "14.0", maker: "Samsung", model: "Galaxy S24", enrollment: "userEnrollment", owner: "company", agent: google, user: "adele", trust: "AzureAd", reset: resetCode},
	{name: "intern-galaxy-09", os: "AndroidForWork", version: "13.0", maker: "Samsung", model: "Galaxy A54", enrollment: "userEnrollment", owner: "personal", agent: google, user: "ines", trust: "Workplace", reset: resetNotSupported}, // no active reset token
	{name: "partner-moto-02", os: "AndroidForWork", version: "7.1.1", maker: "Motorola", model: "Moto G5", enrollment: "userEnrollment", owner: "personal", agent: google, user: "sam", trust: "Workplace", reset: resetNotSupported},
	{name: "depot-tablet-06", os: "Android", version: "6.0.1", maker: "Samsung", model: "Galaxy Tab A", enrollment: "userEnrollment", owner: "company", agent: mdm, user: "wanda", trust: "Workplace", reset: resetCode},
	{name: "depot-tablet-09", os: "Android", version: "9.0", maker: "Samsung", model: "Galaxy Tab A 10.1", enrollment: "userEnrollment", owner: "company", agent: mdm, user: "wanda", trust: "Workplace", reset: resetNotSupported},
	{name: "warehouse-aosp-01", os: "AndroidAOSP", version: "10.0", maker: "RealWear", model: "Navigator 500", enrollment: "userEnrollment", owner: "company", agent: mdm, user: "wanda", trust: "AzureAd", reset: resetCode},
	{name: "meeting-aosp-02", os: "AndroidAOSP", version: "12.0", maker: "HTC", model: "Vive Focus 3", enrollment: "deviceEnrollmentManager", owner: "company", agent: mdm, trust: "AzureAd", reset: resetCode},

	{name: "ceo-iphone", os: "iOS", version: "17.4.1", maker: "Apple", model: "iPhone 15 Pro", enrollment: "appleBulkWithUser", owner: "company", agent: mdm, user: "carla", trust: "Workplace", supervised: true, reset: resetRemoves},
	{name: "board-ipad-01", os: "iPadOS", version: "17.4.1", maker: "Apple", model: "iPad Pro 11", enrollment: "appleBulkWithUser", owner: "company", agent: mdm, user: "carla", trust: "Workplace", supervised: true, reset: resetRemoves},
	{name: "byod-iphone-08", os: "iOS", version: "16.7.7", maker: "Apple", model: "iPhone 13", enrollment: "appleUserEnrollment", owner: "personal", agent: mdm, user: "fred", trust: "Workplace", reset: resetNotSupported},
	{name: "design-macbook-02", os: "macOS", version: "14.4.1", maker: "Apple", model: "MacBook Pro 14", enrollment: "appleBulkWithUser", owner: "company", agent: mdm, user: "dev", trust: "Workplace"},
}
