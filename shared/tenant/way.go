package tenant

import "pinreset/shared/userreset"

// Way is one way to a new PIN or passcode, with whether a tenant of some kind has it at all.
type Way struct {
	Name   string `json:"name" doc:"Stable"`
	Title  string `json:"title"`
	Answer string `json:"answer" enum:"depends,no" doc:"no: never in a tenant of this kind; depends: on what the text says, device by device"`
	Text   string `json:"text"`
}

// Answers of a way.
const (
	Depends = "depends"
	Never   = "no"
)

// Ways are what applies to a tenant of the kind. Whether a device can go one of them is for its readiness to say.
func (k Kind) Ways() []Way {
	const (
		keep, renew, remote, group = "non-destructive", "destructive", "remote-passcode", "group-policy"
		keepTitle                  = "A forgotten PIN is reset by its user, keys kept"
		renewTitle                 = "A forgotten PIN is replaced by its user, with new keys"
		remoteTitle                = "The passcode of a phone or tablet is reset by an operator"
		groupTitle                 = "The PIN recovery policy by Group Policy"
	)
	if k == OnPremises {
		return []Way{
			{keep, keepTitle, Never, "It needs Microsoft's PIN reset service, which serves devices that are joined to Microsoft Entra ID, or hybrid joined."},
			{renew, renewTitle, Depends, "From Settings with " + userreset.Oldest(userreset.Settings).Name + ", above the lock screen with " + userreset.Oldest(userreset.LockScreen).Name +
				"; with the password, a second factor, and domain controllers and the federation service in reach."},
			{remote, remoteTitle, Never, "Intune does it, and Intune needs a Microsoft Entra tenant."},
			{group, groupTitle, Never, "The policy is only applicable to devices that are registered with Microsoft Entra ID; it is of use once they are hybrid joined."},
		}
	}
	return []Way{
		{keep, keepTitle, Depends, "With both of Microsoft's PIN reset applications consented, then the policy; on Windows devices that are joined to Microsoft Entra ID, or hybrid joined."},
		{renew, renewTitle, Depends, "From Settings with " + userreset.Oldest(userreset.Settings).Name + ", above the lock screen with " + userreset.Oldest(userreset.LockScreen).Name +
			"; hybrid joined devices need a domain controller in reach, and not above the lock screen with key trust."},
		{remote, remoteTitle, Depends, "On Android and iOS devices that Intune manages; never on Windows."},
		{group, groupTitle, Depends, "For hybrid joined devices, after both consents: pinreset policy export --gpo DIR."},
	}
}
