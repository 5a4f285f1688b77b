package readiness

import (
	"strings"

	"pinreset/shared/reading"
)

// purpose is what a path gives, as the subject of a sentence.
func (p Path) purpose() string {
	switch p {
	case KeepSettings:
		return "resetting the PIN from Settings with all keys kept"
	case KeepLockScreen:
		return "resetting the PIN above the lock screen with all keys kept"
	case DestroySettings:
		return "resetting the PIN from Settings with new keys"
	case DestroyLockScreen:
		return "resetting the PIN above the lock screen with new keys"
	case OnPremSettings:
		return "resetting the PIN from Settings on premises, with new keys"
	case OnPremLockScreen:
		return "resetting the PIN above the lock screen on premises, with new keys"
	}
	return "resetting the passcode remotely"
}

// sentence says the answer of a path and, unless it is yes, the evidence of the check that decided.
func sentence(p Path, answer reading.Answer, checks []Check) string {
	text := upper(p.purpose())
	switch answer {
	case reading.Yes:
		return text + " is possible."
	case reading.No:
		text += " is not possible: "
	default:
		text += " may or may not be possible: "
	}
	want := Failed
	if answer == reading.Unknown {
		want = Unread
	}
	for _, c := range checks {
		if c.Outcome == want && !c.Advice {
			return text + c.Evidence + "."
		}
	}
	return text
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// FirstFix is the first thing to do about a verdict: the fix of the check that decided, else of the first check that warns.
// It is "" where there is nothing to do.
func (v Verdict) FirstFix() string {
	for _, warn := range []bool{false, true} {
		for _, want := range []Outcome{Failed, Unread} {
			if !warn && (v.Answer == reading.Yes || v.Answer == reading.Unknown && want == Failed) {
				continue
			}
			if warn && (v.Answer != reading.Yes || want != Failed) {
				continue
			}
			for _, c := range v.Checks {
				if c.Outcome == want && c.Advice == warn && len(c.Fix) > 0 {
					return c.Fix[0]
				}
			}
		}
	}
	return ""
}

// steps are what a person does, of a path that is not ruled out. A Windows PIN is reset by its user, at the device.
func (v view) steps(p Path, answer reading.Answer) []string {
	if answer == reading.No {
		return nil
	}
	said, _ := v.f.version().Get()
	return Steps(p, said, v.hybrid())
}

// Steps are what a person does on a path, at a device with the Windows version ("" is not known). They follow Microsoft's page
// "PIN reset", whose edition of 2020 has those of the on-premises form.
func Steps(p Path, version string, hybrid bool) []string {
	finish := "When finished, unlock the desktop with the new PIN."
	switch p {
	case RemotePasscode:
		return []string{"The operator starts the reset in pinreset, or with Reset passcode in Intune.", "The device carries it out at its next contact.",
			"Android: the operator reveals the temporary passcode and the user enters it. iOS and iPadOS: there is no code, and the device asks for a new passcode if a policy requires one."}
	case KeepSettings, DestroySettings:
		return []string{"The user signs in with another credential, such as the password or a security key.", settingsWay(version),
			"The user signs in with multifactor authentication and chooses a new PIN."}
	case OnPremSettings:
		return []string{"Connect the device to the corporate network: a domain controller and the federation service must answer.",
			"The user signs in with another credential; the user must know the password, or be given it.", settingsWay(version),
			"The user enters the password, does the second factor, and sets up Windows Hello again with a new PIN."}
	case OnPremLockScreen:
		return []string{"Connect the device to the corporate network: a domain controller and the federation service must answer.",
			"On the sign-in screen choose Sign-in options > PIN, then \"I forgot my PIN\".", "The user enters the password, presses Enter, and does the second factor.",
			"Follow the instructions of the provisioning.", finish}
	}
	out := []string{"On the sign-in screen choose Sign-in options > PIN, then \"I forgot my PIN\"."}
	if hybrid {
		out = append(out, "The user enters the password, presses Enter, and does the multifactor authentication.")
	} else {
		out = append(out, "The user chooses a way to authenticate and does the multifactor authentication.")
	}
	return append(out, "Follow the instructions of the provisioning.", finish)
}

// windows11 is the first build of Windows 11.
const windows11 = 22000

func settingsWay(version string) string {
	const windows10 = "Settings > Accounts > Sign-in options > PIN > \"I forgot my PIN\""
	const eleven = "Settings > Accounts > Sign-in options > PIN (Windows Hello) > \"I forgot my PIN\""
	switch n, ok := buildOf(version); {
	case !ok:
		return "Open " + windows10 + "; on newer versions the entry is named PIN (Windows Hello)."
	case n >= windows11:
		return "Open " + eleven + "."
	}
	return "Open " + windows10 + "."
}
