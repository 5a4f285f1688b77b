package userreset

// Source says how it is found out whether a requirement is met.
type Source string

// Sources.
const (
	Reported Source = "device-report" // the device says so itself
	Asked    Source = "ask"           // no device can say; a person knows
)

// Names of requirements. Those that a device reports are the names of its network checks.
const (
	ActiveDirectory  = "active-directory"
	HelloDeployment  = "hello-deployment"
	WindowsVersion   = "windows-version"
	DomainController = "domain-controller"
	Federation       = "federation-service"
	Password         = "password"
	SecondFactor     = "second-factor"
)

// Requirement is one thing that an on-premises reset needs.
type Requirement struct {
	ID      string `json:"id"`
	Title   string `json:"title"`
	Text    string `json:"text" doc:"Why, and what it takes"`
	Source  Source `json:"source" enum:"device-report,ask"`
	Network bool   `json:"network,omitempty" doc:"A network check: the device tries it where it is now"`
	Fix     string `json:"fix"`
}

// Requirements are those of an on-premises deployment, in the order to look at them.
func Requirements() []Requirement {
	return []Requirement{
		{ID: ActiveDirectory, Title: "Active Directory", Source: Reported,
			Text: "The device is joined to a domain.",
			Fix:  "Join the device to the domain."},
		{ID: HelloDeployment, Title: "Windows Hello for Business on premises", Source: Asked,
			Text: "Windows Hello for Business is deployed with certificate trust or key trust, and a federation service (AD FS).",
			Fix:  "Deploy Windows Hello for Business; a PIN that is no Windows Hello for Business PIN is not reset this way."},
		{ID: WindowsVersion, Title: "Windows version", Source: Reported,
			Text: Oldest(Settings).Name + ", Professional, from Settings; " + Oldest(LockScreen).Name + ", Professional, above the lock screen.",
			Fix:  "Update Windows."},
		{ID: DomainController, Title: "A domain controller in reach", Source: Reported, Network: true,
			Text: "The user is authenticated, and the new key registered, in Active Directory.",
			Fix:  "Bring the device onto the corporate network, or start a VPN that is up before sign-in, and try again."},
		{ID: Federation, Title: "The federation service in reach", Source: Reported, Network: true,
			Text: "The second factor is asked for, and the new key registered, through the federation service.",
			Fix:  "Bring the device onto the corporate network and make sure that the federation service answers."},
		{ID: Password, Title: "A password that the user knows", Source: Asked,
			Text: "The user is authenticated by password.",
			Fix:  "Let an administrator set a password and give it to the user by a channel that is known to be theirs."},
		{ID: SecondFactor, Title: "A second factor", Source: Asked,
			Text: "A second factor is asked for before the new PIN is made.",
			Fix:  "Let the user register a second factor with the federation service's provider."},
	}
}
