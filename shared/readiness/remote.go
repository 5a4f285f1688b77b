package readiness

import (
	"strings"

	"pinreset/shared/fault"
	"pinreset/shared/passcode"
)

// remote makes the checks of the remote passcode reset, out of the one table that every door uses.
func (v view) remote() []Check {
	platform := Check{ID: "platform", Title: "Platform", Link: pagePasscode}
	enrolment := Check{ID: "enrolment", Title: "Kind of enrolment", Link: pagePasscode}
	version := Check{ID: "version", Title: "Version of the operating system", Link: pagePasscode}
	after := "an earlier check decides"
	m, ok := v.f.Managed.Get()
	if !ok {
		if status(v.f).OK() {
			return []Check{failed(platform, fault.PlatformNotSupported, "the device reports by dsregcmd, which is part of Windows; Windows has no remote passcode reset"), skipped(enrolment, after), skipped(version, after)}
		}
		return []Check{missing(platform, fault.UnknownPlatform, v.f.Managed), skipped(enrolment, after), skipped(version, after)}
	}
	facts := passcode.Facts{OperatingSystem: m.OperatingSystem, OSVersion: m.OSVersion, EnrollmentType: m.EnrollmentType, ManagementAgent: m.ManagementAgent, Owner: m.Owner}
	e := passcode.Check(facts)
	said := strings.TrimSuffix(e.Text, ".")
	system := strings.TrimSpace(m.OperatingSystem + " " + m.OSVersion)
	switch {
	case e.Answer == passcode.Yes:
		return []Check{passed(platform, system), passed(enrolment, said), passed(version, system)}
	case e.Code == fault.EnrolmentNotSupported:
		return []Check{passed(platform, system), failed(enrolment, e.Code, said), skipped(version, after)}
	case e.Code == fault.VersionTooOld:
		return []Check{passed(platform, system), passed(enrolment, "an enrolment that is supported"), failed(version, e.Code, said)}
	case e.Answer == passcode.No:
		return []Check{failed(platform, e.Code, said), skipped(enrolment, after), skipped(version, after)}
	}
	// What is missing: if the table answers for a device of some version, it is the version.
	facts.OSVersion = "99"
	switch {
	case strings.TrimSpace(m.OperatingSystem) == "" || strings.EqualFold(strings.TrimSpace(m.OperatingSystem), "unknown"):
		return []Check{unread(platform, fault.UnknownPlatform, said), skipped(enrolment, after), skipped(version, after)}
	case passcode.Check(facts).Answer != passcode.Unknown:
		return []Check{passed(platform, system), passed(enrolment, "as far as the version allows"), unread(version, fault.UnknownVersion, said)}
	}
	return []Check{passed(platform, system), unread(enrolment, fault.UnknownEnrolment, said), skipped(version, "the kind of enrolment decides first")}
}
