package readiness

import (
	"strings"

	"pinreset/shared/reading"
)

// Limitation is a setting of a device with which a PIN reset above the lock screen does not work. The list is that of
// Microsoft's page "Enable Microsoft Entra self-service password reset at the Windows sign-in screen", section "General
// limitations", which says of itself that it applies to the reset of a Windows Hello PIN too. Where a setting is in the
// registry is not on that page; the places are those of the settings' own policies.
type Limitation struct {
	ID    string
	Title string
	// Key, Name and Blocks say where an agent looks: a DWORD under HKEY_LOCAL_MACHINE, and the value with which the setting
	// blocks. An empty key is a limitation that an agent finds in another way.
	Key, Name string
	Blocks    uint32
	Warns     bool // some configurations of it block; it does not decide
	Fix       string
}

// IDs of limitations that no single value of the registry tells.
const (
	LostMode           = "lost-mode"
	CustomShell        = "custom-shell"
	CtrlAltDel         = "ctrl-alt-del"
	RemoteSession      = "remote-session"
	CredentialProvider = "credential-provider"
	WiredSignIn        = "wired-sign-in"
	ProxySignIn        = "proxy-sign-in"
)

const (
	keySystem        = `SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System`
	keyWindowsSystem = `SOFTWARE\Policies\Microsoft\Windows\System`
)

// NotificationsOff is the limitation that stands for itself and is one third of [CtrlAltDel].
const NotificationsOff = "lock-screen-notifications"

// Limitations returns all limitations, in the order in which they are shown.
func Limitations() []Limitation {
	return []Limitation{
		{ID: NotificationsOff, Title: "Lock screen notifications are not turned off", Key: keyWindowsSystem, Name: "DisableLockScreenAppNotifications", Blocks: 1,
			Fix: "Allow app notifications on the lock screen (DisableLockScreenAppNotifications)."},
		{ID: "fast-user-switching", Title: "Fast user switching is not hidden", Key: keySystem, Name: "HideFastUserSwitching", Blocks: 1,
			Fix: "Show the entry points for fast user switching (HideFastUserSwitching)."},
		{ID: "last-user-name", Title: "The last user's name is shown", Key: keySystem, Name: "DontDisplayLastUserName", Blocks: 1,
			Fix: "Let Windows display the last signed-in user (DontDisplayLastUserName)."},
		{ID: "smart-card", Title: "No smart card is required to sign in", Key: keySystem, Name: "scforceoption", Blocks: 1,
			Fix: "Do not require a smart card for interactive logon (scforceoption)."},
		{ID: "user-account-control", Title: "User Account Control is on", Key: keySystem, Name: "EnableLUA", Blocks: 0,
			Fix: "Turn on User Account Control (EnableLUA)."},
		{ID: "no-lock-screen", Title: "The lock screen is not turned off", Key: `SOFTWARE\Policies\Microsoft\Windows\Personalization`, Name: "NoLockScreen", Blocks: 1,
			Fix: "Let the lock screen be displayed (NoLockScreen)."},
		{ID: "user-install", Title: "Users without administrator rights may install packaged apps", Key: `SOFTWARE\Policies\Microsoft\Windows\Appx`, Name: "BlockNonAdminUserInstall", Blocks: 1,
			Fix: "Do not prevent users from installing packaged apps (BlockNonAdminUserInstall)."},
		{ID: LostMode, Title: "Lost mode is off", Fix: "Turn off lost mode (EnableLostMode)."},
		{ID: CustomShell, Title: "Explorer is the shell", Fix: "Use explorer.exe as the shell: a custom shell or assigned access blocks the reset."},
		{ID: CtrlAltDel, Title: "CTRL+ALT+DEL, notifications and edition do not block together",
			Fix: "On Home up to version 1709: do not require CTRL+ALT+DEL while lock screen notifications are off."},
		{ID: RemoteSession, Title: "The session is not remote", Warns: true, Fix: "Reset the PIN at the device: it does not work over Remote Desktop or a Hyper-V enhanced session."},
		{ID: CredentialProvider, Title: "No third-party credential provider", Warns: true, Fix: "Try the reset without the third-party credential provider: some block it."},
		{ID: WiredSignIn, Title: "802.1x does not wait for a user", Warns: true, Fix: "Authenticate the machine: with \"Perform immediately before user logon\" there is no network above the lock screen."},
		{ID: ProxySignIn, Title: "The proxy needs no user", Warns: true, Fix: "Use a proxy that needs no user authentication for the machine: above the lock screen the user sees \"Something went wrong\"."},
	}
}

// LimitationByID returns a limitation of the list.
func LimitationByID(id string) (Limitation, bool) {
	for _, l := range Limitations() {
		if l.ID == id {
			return l, true
		}
	}
	return Limitation{}, false
}

// Holds reports whether a value of the registry blocks; set is false for a value that is not there, which never does.
func (l Limitation) Holds(value uint32, set bool) bool {
	return l.Key != "" && set && value == l.Blocks
}

// ShellHolds reports whether the shell of Winlogon is another than Explorer's. An empty one is Windows' own.
func ShellHolds(shell string) bool {
	name := strings.ToLower(strings.TrimSpace(shell))
	if i := strings.LastIndexAny(name, `\/`); i >= 0 {
		name = name[i+1:]
	}
	return name != "" && name != "explorer.exe"
}

// held is what a report says of a limitation.
func (r DeviceReport) held(id string) reading.Of[bool] { return r.LockScreen[id] }
