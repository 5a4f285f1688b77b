package readiness

import (
	"strings"

	"pinreset/shared/fault"
	"pinreset/shared/reading"
)

// Microsoft's pages that checks link to.
const (
	pagePINReset   = "https://learn.microsoft.com/windows/security/identity-protection/hello-for-business/pin-reset"
	pageDsregcmd   = "https://learn.microsoft.com/entra/identity/devices/troubleshoot-device-dsregcmd"
	pageLockScreen = "https://learn.microsoft.com/entra/identity/authentication/howto-sspr-windows#general-limitations"
	pageWebSignIn  = "https://learn.microsoft.com/windows/client-management/mdm/policy-csp-authentication#configurewebsigninallowedurls"
	pageAssign     = "https://learn.microsoft.com/mem/intune/configuration/device-profile-assign"
	pageCSP        = "https://learn.microsoft.com/windows/client-management/mdm/passportforwork-csp"
	pagePrecedence = "https://learn.microsoft.com/windows/security/identity-protection/hello-for-business/hello-manage-in-organization"
	pagePasscode   = "https://learn.microsoft.com/mem/intune/remote-actions/device-passcode-reset"
)

func passed(c Check, evidence string) Check {
	c.Outcome, c.Evidence = Passed, evidence
	return c
}

// failed takes the fix of the code unless the check has one of its own.
func failed(c Check, code fault.Code, evidence string, fix ...string) Check {
	c.Outcome, c.Evidence, c.Reason, c.Fix = Failed, evidence, code, fix
	if len(fix) == 0 {
		c.Fix = fault.Lookup(code).Fix
	}
	return c
}

func skipped(c Check, why string) Check {
	c.Outcome, c.Evidence = NotApplicable, why
	return c
}

func unread(c Check, code fault.Code, evidence string, fix ...string) Check {
	c.Outcome, c.Evidence, c.Reason, c.Fix = Unread, evidence, code, fix
	if len(fix) == 0 {
		c.Fix = fault.Lookup(code).Fix
	}
	return c
}

// missing is unread for a value that is not there, whose cause says what to do first. A cause that passes by itself leaves the
// code's own advice.
func missing[T any](c Check, code fault.Code, o reading.Of[T], fix ...string) Check {
	if why := o.Why().Code; len(fix) == 0 && fault.Known(why) && why != fault.GraphThrottled && why != fault.GraphUnavailable && why != fault.Internal {
		fix = fault.Lookup(why).Fix
	}
	return unread(c, code, causeOf(o), fix...)
}

// fixOf is the fix of the first check that could not be read.
func fixOf(checks ...Check) []string {
	for _, c := range checks {
		if c.Outcome == Unread && len(c.Fix) > 0 {
			return c.Fix
		}
	}
	return nil
}

func advice(c Check) Check {
	c.Advice = true
	return c
}

// causeOf tells why a value is not there.
func causeOf[T any](o reading.Of[T]) string {
	why := o.Why()
	return strings.TrimSuffix(why.Text, ".") + " (" + string(why.Code) + ")"
}

// decide draws the verdict of a path from its checks, which are in the order in which reasons count: the first failed check
// gives "no" and the reason, else the first unread one "unknown". Advice and what is not applicable decide nothing.
func decide(p Path, checks []Check) Verdict {
	v := Verdict{Path: p, Answer: reading.Yes, Checks: checks}
	var deciding Check
	for _, c := range checks {
		if c.Advice {
			continue
		}
		if c.Outcome == Failed {
			v.Answer, deciding = reading.No, c
			break
		}
		if c.Outcome == Unread && v.Answer == reading.Yes {
			v.Answer, deciding = reading.Unknown, c
		}
	}
	v.Reason, v.Text = deciding.Reason, sentence(p, v.Answer, deciding.Evidence)
	return v
}

// lacking is the same cause for a value of another type.
func lacking[U, T any](o reading.Of[T]) reading.Of[U] {
	why := o.Why()
	return reading.Unread[U](why.Code, why.Text)
}
