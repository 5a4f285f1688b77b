package readiness

import (
	"strings"

	"pinreset/shared/fault"
	"pinreset/shared/reading"
	"pinreset/shared/userreset"
)

func (v view) platform() Check {
	c := Check{ID: "platform", Title: "Windows desktop", Link: pagePINReset}
	m, ok := v.f.Managed.Get()
	switch os := strings.TrimSpace(m.OperatingSystem); {
	case ok && isDesktop(os):
		return passed(c, "Intune says "+os)
	case status(v.f).OK():
		return passed(c, "the device reports by dsregcmd, which is part of Windows")
	case !ok:
		return missing(c, fault.UnknownPlatform, v.f.Managed)
	case os == "" || strings.EqualFold(os, "unknown"):
		return unread(c, fault.UnknownPlatform, "Intune does not say which platform this is")
	default:
		return failed(c, fault.PlatformNotSupported, "this is "+os+", and a Windows Hello PIN is on Windows",
			"Phones and tablets: see the path "+string(RemotePasscode)+".")
	}
}

func (v view) versionAndEdition(p Path) (version, edition Check) {
	version = Check{ID: "version", Title: "Windows version", Link: pagePINReset}
	edition = Check{ID: "edition", Title: "Windows edition", Link: pagePINReset}
	text := v.f.version()
	said, _ := text.Get()
	var b *band
	if x, ok := bandOf(said); ok {
		b = &x
	}
	own := v.f.edition()
	var e *Edition
	if x, ok := own.Get(); ok {
		e = &x
	}
	oldest := userreset.Oldest(p.place())
	if p.keeps() {
		oldest = userreset.Oldest(userreset.LockScreen) // both began with 1709
	}
	tooOld := func() Check {
		return failed(version, fault.VersionTooOld, "Windows "+said+" is older than "+oldest.Name, "Update to "+oldest.Name+", or later.")
	}
	unknownVersion := func() Check {
		if text.OK() {
			return unread(version, fault.UnknownVersion, "the version is given as \""+said+"\"")
		}
		return missing(version, fault.UnknownVersion, text)
	}
	if !p.keeps() {
		switch build, ok := buildOf(said); {
		case !ok:
			version = unknownVersion()
		case build < oldest.Build:
			version = tooOld()
		default:
			version = passed(version, "Windows "+said)
		}
		return version, v.professional(p, edition, own)
	}

	cell := nonDestructive(e, b)
	switch {
	case b == nil && cell.answer == reading.No:
		version = skipped(version, "the edition rules this path out in every version")
	case b == nil:
		version = unknownVersion()
	case cell.code == fault.VersionTooOld:
		return tooOld(), skipped(edition, "the version rules this path out")
	default:
		version = passed(version, "Windows "+said)
	}
	switch {
	case cell.answer == reading.Yes:
		edition = passed(edition, string(*e))
	case cell.answer == reading.No:
		edition = failed(edition, fault.EditionNotSupported, nameOf(e)+" is not among the editions that Microsoft's page names for this version")
	case e == nil:
		edition = missing(edition, fault.UnknownEdition, own)
	case cell.code == fault.UnknownVersion:
		edition = passed(edition, string(*e)+", from some version on")
	default:
		edition = unread(edition, fault.UnknownEdition, "Microsoft's page about PIN reset does not speak of "+nameOf(e))
	}
	return version, edition
}

func nameOf(e *Edition) string {
	if *e == OtherEdition {
		return "this edition by its name"
	}
	return "Windows " + string(*e)
}

// professional is the edition that the on-premises form asks for: Microsoft's page of 2020 says "Professional". That Enterprise
// and Education contain what Pro has is inferred. Destructive reset elsewhere asks for no edition.
func (v view) professional(p Path, c Check, own reading.Of[Edition]) Check {
	if !p.onPremises() {
		return skipped(c, "every edition resets destructively")
	}
	e, ok := own.Get()
	switch {
	case !ok:
		return missing(c, fault.UnknownEdition, own)
	case e == Pro, e == Enterprise, e == Education:
		return passed(c, string(e))
	case e == Home:
		return failed(c, fault.EditionNotSupported, "Windows Home can't join a domain", "Use Windows Pro or a larger edition.")
	}
	return unread(c, fault.UnknownEdition, "Microsoft's page about PIN reset does not speak of "+nameOf(&e))
}
