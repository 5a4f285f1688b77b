package passcode

import (
	"slices"
	"strconv"
	"strings"

	"pinreset/shared/fault"
	"pinreset/shared/reading"
)

// Answer is whether a passcode can be reset. Unknown: Graph will answer.
type Answer = reading.Answer

// Answers.
const (
	Yes     = reading.Yes
	No      = reading.No
	Unknown = reading.Unknown
)

// Effects of a reset.
const (
	EffectPasscode    = "passcode"     // a new temporary device passcode
	EffectWorkProfile = "work-profile" // a new temporary passcode of the work profile
	EffectRemoved     = "removed"      // the passcode is removed
)

// Facts are what decides whether a device's passcode can be reset. They are those of Graph's managedDevice.
type Facts struct {
	OperatingSystem string // free text; its exact strings for the Android modes are not published
	OSVersion       string
	EnrollmentType  string // deviceEnrollmentType
	ManagementAgent string
	Owner           string // managedDeviceOwnerType
}

// Eligibility is the answer for one device.
type Eligibility struct {
	Answer Answer     `json:"answer"`
	Effect string     `json:"effect,omitempty"` // what a reset will do
	Code   fault.Code `json:"code,omitempty"`   // why not
	Text   string     `json:"text"`             // one sentence for the person who asks
}

// Check answers whether Intune can reset the device's passcode, before anything is called. Its table is that of Microsoft's
// page "Remote device action: reset passcode" (device-passcode-reset), in the order platform, enrolment, version; its page of
// 2018, "Reset passcode on Windows devices using Intune" (device-windows-pin-reset), adds Windows 10 Mobile.
func Check(f Facts) Eligibility {
	os := strings.ToLower(strings.ReplaceAll(f.OperatingSystem, " ", ""))
	switch {
	case strings.Contains(os, "windows") && (strings.Contains(os, "mobile") || strings.Contains(os, "phone")):
		return windowsMobile(f)
	case strings.HasPrefix(os, "windows"):
		return Eligibility{Answer: No, Code: fault.PlatformNotSupported,
			Text: "Windows has no remote passcode reset: the user resets the PIN with \"I forgot my PIN\" on the sign-in screen or in Settings."}
	case strings.HasPrefix(os, "mac"):
		return Eligibility{Answer: No, Code: fault.PlatformNotSupported,
			Text: "macOS has no remote passcode reset: the password is reset at the device or with its recovery key."}
	case os == "ios" || strings.HasPrefix(os, "ipad"):
		return apple(f)
	case strings.HasPrefix(os, "android"):
		return android(os, f)
	case os == "" || os == "unknown":
		return Eligibility{Answer: Unknown, Text: "Intune does not say which platform this is; it will answer itself."}
	default:
		return Eligibility{Answer: No, Code: fault.PlatformNotSupported, Text: "Reset passcode exists for Android and iOS/iPadOS only."}
	}
}

// Microsoft's page device-windows-pin-reset of 2018: Windows 10 Mobile from the Creators Update (10.0.15063), Entra joined; a code is shown for seven days.
func windowsMobile(f Facts) Eligibility {
	creators := []int{10, 0, 15063}
	v := version(f.OSVersion)
	v = v[:min(len(v), len(creators))]
	switch {
	case len(v) < len(creators) && slices.Equal(v, creators[:len(v)]): // nothing, "10" or "10.0"
		return Eligibility{Answer: Unknown, Effect: EffectPasscode, Text: "Intune does not say which build of Windows 10 Mobile this is; it will answer itself."}
	case slices.Compare(v, creators) < 0:
		return Eligibility{Answer: No, Code: fault.VersionTooOld, Text: "Windows 10 Mobile needs the Creators Update (10.0.15063) for a passcode reset."}
	}
	return Eligibility{Answer: Yes, Effect: EffectPasscode, Text: "A new temporary passcode is made and can be revealed for at most seven days. Windows 10 Mobile is out of support: Intune may refuse."}
}

func apple(f Facts) Eligibility {
	switch f.EnrollmentType {
	case "appleUserEnrollment", "appleUserEnrollmentWithServiceAccount":
		return Eligibility{Answer: No, Code: fault.EnrolmentNotSupported, Text: "A device with iOS User Enrollment belongs to its user: Intune can't reset its passcode."}
	}
	return Eligibility{Answer: Yes, Effect: EffectRemoved, Text: "The passcode is removed; there is no code. The device asks its user for a new one if a policy requires it."}
}

func android(os string, f Facts) Eligibility {
	major, known := 0, false
	if v := version(f.OSVersion); len(v) > 0 {
		major, known = v[0], true
	}
	workProfile := Eligibility{Answer: Yes, Effect: EffectWorkProfile, Text: "A new temporary passcode of the work profile is made. It works only if the device's reset token is active."}
	switch {
	case strings.Contains(os, "aosp") || strings.HasPrefix(f.EnrollmentType, "androidAOSP"):
		return Eligibility{Answer: Yes, Effect: EffectPasscode, Text: "A new temporary passcode is made."}
	case f.EnrollmentType == "androidEnterpriseCorporateWorkProfile" || os == "androidforwork" || strings.Contains(os, "workprofile"):
		switch {
		case !known:
			return Eligibility{Answer: Unknown, Effect: EffectWorkProfile, Text: "A work profile's passcode can be reset from Android 8.0, and Intune does not say which version this is; it will answer itself."}
		case major < 8:
			return Eligibility{Answer: No, Code: fault.VersionTooOld, Text: "A work profile's passcode can be reset from Android 8.0."}
		}
		return workProfile
	case f.EnrollmentType == "androidEnterpriseFullyManaged" || f.EnrollmentType == "androidEnterpriseDedicatedDevice" ||
		strings.HasPrefix(os, "androidenterprise") || strings.Contains(os, "fullymanaged") || strings.Contains(os, "dedicated"):
		return Eligibility{Answer: Yes, Effect: EffectPasscode, Text: "A new temporary device passcode is made at the device's next contact and can be revealed for at most seven days."}
	case f.ManagementAgent == "googleCloudDevicePolicyController":
		// Android Enterprise for certain, but which mode can't be told from published properties.
		return Eligibility{Answer: Unknown, Effect: EffectPasscode, Text: "This is Android Enterprise, but Intune does not say in which mode; it will answer itself."}
	case !known:
		return Eligibility{Answer: Unknown, Effect: EffectPasscode, Text: "Intune does not say which Android version this is; it will answer itself."}
	case major >= 7:
		return Eligibility{Answer: No, Code: fault.EnrolmentNotSupported, Text: "Google removed the passcode reset of device-administrator devices with Android 7.0."}
	default:
		return Eligibility{Answer: Yes, Effect: EffectPasscode, Text: "A new passcode is set by the device administrator."}
	}
}

// version splits "10.0.15063.0" into its numbers; what is no number ends it.
func version(s string) []int {
	var out []int
	for part := range strings.SplitSeq(s, ".") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil {
			break
		}
		out = append(out, n)
	}
	return out
}
