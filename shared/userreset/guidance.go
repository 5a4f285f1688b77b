package userreset

// Guidance is what a help desk says to a user.
type Guidance struct {
	Place      Place      `json:"place" enum:"settings,lockscreen"`
	Deployment Deployment `json:"deployment" enum:"entra-joined,hybrid-joined,on-premises"`
	Oldest     Release    `json:"oldest" doc:"First Windows version that offers it"`
	Text       string     `json:"text" doc:"One sentence: whether this Windows version offers it"`
	Before     []string   `json:"before" nullable:"false" doc:"What must be so; ask before the first step"`
	Steps      []string   `json:"steps" nullable:"false" doc:"What the user does, in order; empty where the version does not offer it"`
	After      []string   `json:"after" nullable:"false" doc:"What is different afterwards"`
}

// Destructive returns the guidance for a place, a deployment and a Windows build; a build of 0 is not known.
func Destructive(p Place, d Deployment, build int) Guidance {
	g := Guidance{Place: p, Deployment: d, Oldest: Oldest(p), Before: before(p, d), Steps: []string{}, After: after(d)}
	offered, known := Offered(p, build)
	switch {
	case known && !offered && p == LockScreen && build >= Oldest(Settings).Build:
		g.Text = "This Windows version resets a PIN from Settings only; above the lock screen it takes " + g.Oldest.Name + "."
		return g
	case known && !offered:
		g.Text = "This Windows version is too old: it takes " + g.Oldest.Name + "."
		return g
	case !known:
		g.Text = "It takes " + g.Oldest.Name + " or later; which version the device has is not known."
	default:
		g.Text = "This Windows version offers it."
	}
	g.Steps = steps(p, d, build)
	return g
}

func steps(p Place, d Deployment, build int) []string {
	if p == LockScreen {
		prove := "Enter your password and press Enter."
		if d == EntraJoined {
			prove = "Choose how to sign in from the list that appears, and sign in."
		}
		return []string{
			`On the sign-in screen choose the PIN. If it is not shown, choose "Sign-in options" and then the key pad.`,
			`Choose "I forgot my PIN".`, prove,
			"Confirm with your second factor.",
			"Follow the instructions and set a new PIN.",
			"Unlock the desktop with the new PIN.",
		}
	}
	choose := `Under "PIN", choose "I forgot my PIN".`
	if build >= windows11 {
		choose = `Open "PIN (Windows Hello)" and choose "I forgot my PIN".`
	}
	prove := "Enter your password when you are asked for it, and confirm with your second factor."
	if d == EntraJoined {
		prove = "Sign in when you are asked to, and confirm with your second factor."
	}
	return []string{
		"Sign in to Windows without the PIN, for example with your password.",
		`Open Settings, then "Accounts", then "Sign-in options".`, choose, prove,
		"Follow the instructions and set a new PIN.",
	}
}

func before(p Place, d Deployment) []string {
	var out []string
	if d == EntraJoined {
		out = append(out, "Is the device connected to the internet?")
	} else {
		out = append(out, "Is the device on the corporate network, by cable, wireless or a VPN that is up? It must reach a domain controller.")
	}
	switch d {
	case OnPremises:
		out = append(out, "It must reach the federation service, too.",
			"Do you know your password? If not, an administrator must give you a new one first. With smart cards required, or passwords that nobody knows, this way is closed.")
	case HybridJoined:
		out = append(out, "Where certificates are issued through AD FS, it must reach the federation service, too.", "Do you know your password?")
	}
	out = append(out, "Do you have your second factor with you?")
	if p == LockScreen {
		out = append(out, "Some settings keep the lock screen from offering it; then sign in with your password and use Settings.")
	}
	return out
}

func after(d Deployment) []string {
	out := []string{"The old PIN and its keys and certificates are gone from this device; the new PIN comes with new ones. Other devices are not touched."}
	if d == HybridJoined {
		out = append(out, "With key trust, the new PIN does not work on the corporate network until the new key is synchronized to Active Directory.")
	}
	return out
}
