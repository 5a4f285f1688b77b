package userreset

// Place is where the user begins.
type Place string

// Places.
const (
	Settings   Place = "settings"   // signed in, in the Settings app
	LockScreen Place = "lockscreen" // above the lock screen, not signed in
)

// Places returns both, the one with fewer conditions first.
func Places() []Place { return []Place{Settings, LockScreen} }

// Deployment is what the device belongs to.
type Deployment string

// Deployments that have a Windows Hello for Business PIN to reset.
const (
	EntraJoined  Deployment = "entra-joined"
	HybridJoined Deployment = "hybrid-joined"
	OnPremises   Deployment = "on-premises" // Active Directory and a federation service, without Microsoft Entra ID
)

// Deployments returns all three.
func Deployments() []Deployment { return []Deployment{EntraJoined, HybridJoined, OnPremises} }

// Release is a Windows version by name and build.
type Release struct {
	Name  string `json:"name"`
	Build int    `json:"build"` // the third number of 10.0.15063.0
}

// Oldest is the first Windows version that offers the destructive reset at the place, for the edition Professional.
func Oldest(p Place) Release {
	if p == LockScreen {
		return Release{"Windows 10, version 1709", 16299}
	}
	return Release{"Windows 10, version 1703", 15063}
}

// windows11 is the first build of Windows 11.
const windows11 = 22000

// Offered reports whether a Windows build offers the reset at the place. A build of 0 is not known, and neither is the answer.
func Offered(p Place, build int) (offered, known bool) {
	if build <= 0 {
		return false, false
	}
	return build >= Oldest(p).Build, true
}
