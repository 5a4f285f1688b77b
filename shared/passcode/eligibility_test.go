package passcode_test

import (
	"strings"
	"testing"

	"pinreset/shared/fault"
	"pinreset/shared/passcode"
)

// TestEligibility has a case for each row of the table of Microsoft's page device-passcode-reset, with the row of
// Windows 10 Mobile, and for what can't be told.
func TestEligibility(t *testing.T) {
	t.Parallel()
	type facts = passcode.Facts
	yes := func(effect string) passcode.Eligibility {
		return passcode.Eligibility{Answer: passcode.Yes, Effect: effect}
	}
	no := func(code fault.Code) passcode.Eligibility {
		return passcode.Eligibility{Answer: passcode.No, Code: code}
	}
	unknown := func(effect string) passcode.Eligibility {
		return passcode.Eligibility{Answer: passcode.Unknown, Effect: effect}
	}
	for _, c := range []struct {
		name  string
		facts facts
		want  passcode.Eligibility
	}{
		{"Windows desktop 10", facts{OperatingSystem: "Windows", OSVersion: "10.0.19045.4291", EnrollmentType: "windowsAzureADJoin"}, no(fault.PlatformNotSupported)},
		{"Windows desktop 11", facts{OperatingSystem: "Windows", OSVersion: "10.0.22631.3447", EnrollmentType: "windowsCoManagement"}, no(fault.PlatformNotSupported)},
		{"Windows without a version", facts{OperatingSystem: "Windows"}, no(fault.PlatformNotSupported)},
		{"Windows Holographic", facts{OperatingSystem: "Windows Holographic", OSVersion: "10.0.19041"}, no(fault.PlatformNotSupported)},

		{"Windows 10 Mobile, Creators Update", facts{OperatingSystem: "Windows 10 Mobile", OSVersion: "10.0.15063"}, yes(passcode.EffectPasscode)},
		{"Windows 10 Mobile, later", facts{OperatingSystem: "WindowsMobile", OSVersion: "10.0.15254.603"}, yes(passcode.EffectPasscode)},
		{"Windows 10 Mobile, before the Creators Update", facts{OperatingSystem: "Windows 10 Mobile", OSVersion: "10.0.14393.1066"}, no(fault.VersionTooOld)},
		{"Windows 10 Mobile, no version", facts{OperatingSystem: "Windows 10 Mobile"}, unknown(passcode.EffectPasscode)},
		{"Windows 10 Mobile, half a version", facts{OperatingSystem: "Windows 10 Mobile", OSVersion: "10.0"}, unknown(passcode.EffectPasscode)},
		{"Windows Phone 8.1", facts{OperatingSystem: "WindowsPhone", OSVersion: "8.10.14219.0"}, no(fault.VersionTooOld)},
		{"Windows Phone 8.1, a build above 15063", facts{OperatingSystem: "Windows Phone", OSVersion: "8.10.15148.160"}, no(fault.VersionTooOld)},
		{"Windows Phone 8.1, in short", facts{OperatingSystem: "Windows Phone", OSVersion: "8.1"}, no(fault.VersionTooOld)},

		{"Android device administrator 5", facts{OperatingSystem: "Android", OSVersion: "5.1.1"}, yes(passcode.EffectPasscode)},
		{"Android device administrator 6", facts{OperatingSystem: "Android", OSVersion: "6.0"}, yes(passcode.EffectPasscode)},
		{"Android device administrator 7", facts{OperatingSystem: "Android", OSVersion: "7.0"}, no(fault.EnrolmentNotSupported)},
		{"Android device administrator 13", facts{OperatingSystem: "Android", OSVersion: "13"}, no(fault.EnrolmentNotSupported)},
		{"Android, no version", facts{OperatingSystem: "Android"}, unknown(passcode.EffectPasscode)},
		{"Android, a version that is no number", facts{OperatingSystem: "Android", OSVersion: "Nougat"}, unknown(passcode.EffectPasscode)},

		{"Android Enterprise fully managed", facts{OperatingSystem: "Android", OSVersion: "13", EnrollmentType: "androidEnterpriseFullyManaged"}, yes(passcode.EffectPasscode)},
		{"Android Enterprise dedicated", facts{OperatingSystem: "AndroidEnterprise", OSVersion: "10", EnrollmentType: "androidEnterpriseDedicatedDevice"}, yes(passcode.EffectPasscode)},
		{"Android Enterprise, by its name", facts{OperatingSystem: "Android (fully managed)", OSVersion: "12"}, yes(passcode.EffectPasscode)},
		{"Android Enterprise personal work profile 8", facts{OperatingSystem: "AndroidForWork", OSVersion: "8.0.0"}, yes(passcode.EffectWorkProfile)},
		{"Android Enterprise personal work profile 14", facts{OperatingSystem: "Android (Work Profile)", OSVersion: "14"}, yes(passcode.EffectWorkProfile)},
		{"Android Enterprise personal work profile 7", facts{OperatingSystem: "AndroidForWork", OSVersion: "7.1.2"}, no(fault.VersionTooOld)},
		{"Android Enterprise personal work profile, no version", facts{OperatingSystem: "AndroidForWork"}, unknown(passcode.EffectWorkProfile)},
		{"Android Enterprise corporate work profile", facts{OperatingSystem: "Android", OSVersion: "12", EnrollmentType: "androidEnterpriseCorporateWorkProfile"}, yes(passcode.EffectWorkProfile)},
		{"Android Enterprise corporate work profile 7", facts{OperatingSystem: "Android", OSVersion: "7.0", EnrollmentType: "androidEnterpriseCorporateWorkProfile"}, no(fault.VersionTooOld)},
		{"Android Enterprise, mode not told", facts{OperatingSystem: "Android", OSVersion: "13", ManagementAgent: "googleCloudDevicePolicyController"}, unknown(passcode.EffectPasscode)},

		{"AOSP, userless", facts{OperatingSystem: "Android", OSVersion: "10", EnrollmentType: "androidAOSPUserlessDeviceEnrollment"}, yes(passcode.EffectPasscode)},
		{"AOSP, user-associated", facts{OperatingSystem: "Android (AOSP)", OSVersion: "11", EnrollmentType: "androidAOSPUserOwnedDeviceEnrollment"}, yes(passcode.EffectPasscode)},
		{"AOSP, by its name", facts{OperatingSystem: "Android (AOSP)"}, yes(passcode.EffectPasscode)},

		{"iOS", facts{OperatingSystem: "iOS", OSVersion: "17.4.1", EnrollmentType: "appleBulkWithUser"}, yes(passcode.EffectRemoved)},
		{"iPadOS", facts{OperatingSystem: "iPadOS", OSVersion: "17.4"}, yes(passcode.EffectRemoved)},
		{"iOS User Enrollment", facts{OperatingSystem: "iOS", OSVersion: "17.4", EnrollmentType: "appleUserEnrollment"}, no(fault.EnrolmentNotSupported)},
		{"iOS User Enrollment with a service account", facts{OperatingSystem: "iOS", EnrollmentType: "appleUserEnrollmentWithServiceAccount"}, no(fault.EnrolmentNotSupported)},
		{"macOS", facts{OperatingSystem: "macOS", OSVersion: "14.4", EnrollmentType: "appleBulkWithUser"}, no(fault.PlatformNotSupported)},

		{"Linux", facts{OperatingSystem: "Linux (Ubuntu)", OSVersion: "22.04"}, no(fault.PlatformNotSupported)},
		{"ChromeOS", facts{OperatingSystem: "ChromeOS"}, no(fault.PlatformNotSupported)},
		{"no platform", facts{}, unknown("")},
		{"unknown platform", facts{OperatingSystem: "Unknown"}, unknown("")},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, spell := range []func(string) string{strings.Clone, strings.ToUpper, strings.ToLower} { // free text: compared without case
				f := c.facts
				f.OperatingSystem = spell(f.OperatingSystem)
				got := passcode.Check(f)
				if got.Text == "" {
					t.Errorf("%q: no sentence for the person who asks", f.OperatingSystem)
				}
				if got.Text = ""; got != c.want {
					t.Errorf("%q: %+v, want %+v", f.OperatingSystem, got, c.want)
				}
			}
		})
	}
}
