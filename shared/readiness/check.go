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

func advice(c Check) Check {
	c.Advice = true
	return c
}

// causeOf tells why a value is not there.
func causeOf[T any](o reading.Of[T]) string {
	why := o.Why()
	return strings.TrimSuffix(why.Text, ".") + " (" + string(why.Code) + ")"
}

// decide draws the answer of a path from its checks, which are in the order in which reasons count: the first failed check
// gives "no" and the reason, else the first unread one "unknown". Advice and what is not applicable decide nothing.
func decide(checks []Check) (answer reading.Answer, reason fault.Code) {
	answer = reading.Yes
	for _, c := range checks {
		switch {
		case c.Advice:
		case c.Outcome == Failed:
			return reading.No, c.Reason
		case c.Outcome == Unread && answer == reading.Yes:
			answer, reason = reading.Unknown, c.Reason
		}
	}
	return answer, reason
}
