package readiness

import (
	"strings"

	"pinreset/shared/reading"
	"pinreset/shared/userreset"
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

// sentence says the answer of a path and, unless it is yes, the evidence that decided.
func sentence(p Path, answer reading.Answer, evidence string) string {
	text := upper(p.purpose())
	switch answer {
	case reading.Yes:
		return text + " is possible."
	case reading.No:
		return text + " is not possible: " + evidence + "."
	}
	return text + " may or may not be possible: " + evidence + "."
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

// guide adds to a verdict that is not "no" what a person does. A Windows PIN is reset by its user, at the device, and the steps
// of both forms are the same; they are those of package userreset.
func guide(v *Verdict, d userreset.Deployment, version string) {
	if v.Answer == reading.No {
		return
	}
	if v.Path == RemotePasscode {
		v.Steps = []string{"The operator starts the reset in pinreset, or with Reset passcode in Intune.", "The device carries it out at its next contact.",
			"Android: the operator reveals the temporary passcode and the user enters it. iOS and iPadOS: there is no code, and the device asks for a new passcode if a policy requires one."}
		return
	}
	if v.Path.onPremises() {
		d = userreset.OnPremises
	}
	build, _ := buildOf(version)
	g := userreset.Destructive(v.Path.place(), d, build)
	v.Before, v.Steps, v.After = g.Before, g.Steps, g.After
	if v.Path.keeps() { // no domain controller is needed, and nothing is lost
		v.Before = userreset.Destructive(v.Path.place(), userreset.EntraJoined, build).Before
		v.After = []string{"The PIN is new; the keys and certificates are those of before, and nothing has to be registered again."}
	}
}

func (p Path) place() userreset.Place {
	if p.aboveLock() {
		return userreset.LockScreen
	}
	return userreset.Settings
}
