package gpo

// The setting that lets PIN recovery keep a user's keys: Microsoft's page "PIN reset" and the policy's own text.
const (
	PolicyName = "Use PIN Recovery"
	PolicyPath = "Computer Configuration > Administrative Templates > Windows Components > Windows Hello for Business"
	PolicyID   = "MSPassport_EnablePinRecovery" // in the administrative template Passport.admx

	recoveryKey   = `SOFTWARE\Policies\Microsoft\PassportForWork`
	recoveryValue = "EnablePinRecovery"
)

// PinRecovery is the setting for computers, on or off. It exists for computers only; there is none for users.
func PinRecovery(on bool) Entry {
	var n uint32
	if on {
		n = 1
	}
	return Number(recoveryKey, recoveryValue, n)
}

// Instructions are what a person does with an export.
type Instructions struct {
	Policy     string   `json:"policy" doc:"Name of the policy in the editor"`
	Where      string   `json:"where" doc:"Where the editor shows it"`
	State      string   `json:"state" doc:"What the export sets it to"`
	Conditions []string `json:"conditions" nullable:"false" doc:"What must be so for the policy to do good, and not harm"`
	Domain     []string `json:"domain" nullable:"false" doc:"Steps for a domain, with the Group Policy Management Console"`
	Computer   []string `json:"computer" nullable:"false" doc:"Steps for one computer, with LGPO"`
}

// Steps returns the instructions for the export that lies in directory dir.
func Steps(dir string, on bool) Instructions {
	in := Instructions{
		Policy: PolicyName, Where: PolicyPath, State: "Disabled",
		Domain: []string{
			`Copy the whole folder to where the console runs.`,
			`In the Group Policy Management Console, create a Group Policy object, or choose one whose settings may all be replaced: an import removes what was there.`,
			`Right-click the object > Import Settings, name the folder, and choose "` + nameOf(on) + `". "Restore from Backup" does not work: that is for the domain in which a backup was made.`,
			`Or, in PowerShell with the GroupPolicy module: Import-GPO -BackupGpoName "` + nameOf(on) + `" -Path "` + dir + `" -TargetName "` + nameOf(on) + `" -CreateIfNeeded (-Path must be a whole path).`,
			`Edit the object and look at ` + PolicyPath + ` > ` + PolicyName + `.`,
			`Link the object to the organizational units of the computers.`,
		},
		Computer: []string{
			`LGPO.exe /g "` + dir + `"`,
			`gpupdate /target:computer /force`,
		},
	}
	if on {
		in.State = "Enabled"
		in.Conditions = []string{
			"Only devices that are registered with Microsoft Entra ID use it: Entra joined and Entra hybrid joined ones. On any other device it does nothing.",
			"Both of Microsoft's PIN reset applications must be consented in the tenant first (pinreset tenant consent). With the policy and without them, PIN reset fails on the lock screen instead of falling back to the destructive form.",
			"Group Policy wins over Intune for this setting.",
		}
		return in
	}
	in.Conditions = []string{
		"This switches recovery off: from then on a forgotten PIN is replaced by a new one with new keys.",
		"Let it reach the devices before the object is unlinked or a consent is taken back: a device that keeps the old value while the consent is gone can't reset a PIN at all.",
		"Group Policy wins over Intune for this setting: while it is linked, a policy in Intune that says otherwise has no effect.",
	}
	return in
}

func nameOf(on bool) string {
	if on {
		return "pinreset PIN recovery on"
	}
	return "pinreset PIN recovery off"
}
