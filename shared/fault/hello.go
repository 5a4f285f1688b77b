package fault

// Codes of PIN resets that failed on a device, as the device tells of them. Each stands for one thing to do; which number the
// device gave, and what that number means, is beside it.
const (
	PINResetFailed          Code = "pin_reset_failed"
	PINServiceMissing       Code = "pin_service_missing"
	PINPageNotAllowed       Code = "pin_page_not_allowed"
	PINAllowListQuoted      Code = "pin_allow_list_quoted"
	PINTokenIncomplete      Code = "pin_token_incomplete"
	PINKeyNotProvisioned    Code = "pin_key_not_provisioned"
	PINNotAuthorized        Code = "pin_not_authorized"
	PINServerReply          Code = "pin_server_reply"
	PINEnrolmentNotAllowed  Code = "pin_enrolment_not_allowed"
	PINQuotaReached         Code = "pin_quota_reached"
	PINSupportNeeded        Code = "pin_support_needed"
	PINContainerDamaged     Code = "pin_container_damaged"
	PINTPMNotReady          Code = "pin_tpm_not_ready"
	PINTPMIgnoresSignIn     Code = "pin_tpm_ignores_sign_in"
	PINTPMRequired          Code = "pin_tpm_required"
	PINCancelled            Code = "pin_cancelled"
	PolicyRemediationFailed Code = "policy_remediation_failed"
)

const docHelloErrors = "https://learn.microsoft.com/windows/security/identity-protection/hello-for-business/hello-errors-during-pin-creation"

// Source of the numbers: Microsoft's page "Windows Hello errors during PIN creation", unless an entry says otherwise.
var hello = map[Code]Entry{
	PINResetFailed: {
		Title:     "A PIN reset failed on the device",
		Cause:     "The device reports a failure whose number is not among those that Microsoft explains. The detail has it.",
		Fix:       []string{"Try again.", "Let the user sign out and in, then restart the device, and try again.", "If it still fails, leave and rejoin the device, and let the user set up a new PIN."},
		LearnMore: []string{docHelloErrors},
	},
	PINServiceMissing: {
		Title:     "The PIN reset service is not consented, so the PIN reset fails",
		Cause:     "The policy EnablePinRecovery has reached the device while an application of Microsoft's PIN reset service is missing in the tenant. Administrators report that the reset then fails instead of falling back to a destructive one.",
		Fix:       []string{"Consent to both applications at once: `pinreset tenant consent TENANT-ID`.", "Then let the user try again.", "If the consent must wait, set EnablePinRecovery to false and let it reach the devices."},
		LearnMore: []string{docPINReset},
	},
	PINPageNotAllowed: {
		Title:     "The device may not open the sign-in page",
		Cause:     "The user saw \"We can't open that page right now\": web sign-in opens allowed domains only, and the sign-in page of a federated or US Government tenant is not among them.",
		Fix:       []string{"Set ConfigureWebSignInAllowedUrls to the domains of the sign-in page, separated by semicolons.", "Let the device synchronise, then let the user try again."},
		LearnMore: []string{docPINReset, docWebSignIn},
	},
	PINAllowListQuoted: {
		Title:     "The allow list of web sign-in has quotation marks",
		Cause:     "The user was told to visit the page from a browser or another device. Administrators report this for a ConfigureWebSignInAllowedUrls whose value stands in quotation marks.",
		Fix:       []string{"Remove the quotation marks from ConfigureWebSignInAllowedUrls.", "Let the device synchronise, then let the user try again."},
		LearnMore: []string{docWebSignIn},
	},
	PINTokenIncomplete: {
		Title:     "The sign-in's token lacks what Windows Hello needs",
		Cause:     "Microsoft gives this number two meanings: the token has no device id, or there is no token of the user.",
		Fix:       []string{"No device id: leave and rejoin the device.", "No user token: let the user sign out and in, and check the network."},
		LearnMore: []string{docHelloErrors, docDsregcmd},
	},
	PINKeyNotProvisioned: {
		Title:     "The key could not be registered",
		Cause:     "Microsoft gives this number several meanings: the second factor is missing, there is no token, the directory's objects could not be read, or the request was not understood.",
		Fix:       []string{"Let the user sign out and in, and complete the multifactor authentication.", "If it stays, leave and rejoin the device."},
		LearnMore: []string{docHelloErrors},
	},
	PINNotAuthorized: {
		Title:     "The server did not authorize the user or the device",
		Cause:     "The token is not valid, or the user may not register Windows Hello for Business keys.",
		Fix:       []string{"Check that the device and the user are enabled in the directory.", "Check that the user may register Windows Hello for Business keys, then try again."},
		LearnMore: []string{docHelloErrors},
	},
	PINServerReply: {
		Title:     "The registration server's answer was of no use",
		Cause:     "The server could not be understood, or said no. The detail tells which of Microsoft's meanings the number has.",
		Fix:       []string{"Let the user sign out and in, then try again."},
		LearnMore: []string{docHelloErrors},
	},
	PINEnrolmentNotAllowed: {
		Title:     "The user may not enrol in Windows Hello for Business",
		Cause:     "The user is not authorized to enrol.",
		Fix:       []string{"Check that the user has permission to enrol, then try again."},
		LearnMore: []string{docHelloErrors},
	},
	PINQuotaReached: {
		Title:     "The user has registered as many devices or keys as allowed",
		Cause:     "The registration quota is reached.",
		Fix:       []string{"Remove devices that the user has no more, or raise the quota in Entra admin center.", "Then try again."},
		LearnMore: []string{docHelloErrors},
	},
	PINSupportNeeded: {
		Title:     "The account or its token lacks something that only Microsoft can explain",
		Cause:     "The detail tells what is missing. Microsoft's page names no other help for it than a support case.",
		Fix:       []string{"Open a case at Microsoft, with the number and the time of the failure."},
		LearnMore: []string{docHelloErrors},
	},
	PINContainerDamaged: {
		Title:     "The Windows Hello container on the device is missing or damaged",
		Cause:     "The keys of the user on this device can't be used. The detail tells which of Microsoft's meanings the number has.",
		Fix:       []string{"Leave and rejoin the device, then let the user set up a new PIN."},
		LearnMore: []string{docHelloErrors},
	},
	PINTPMNotReady: {
		Title:     "The device's TPM is not set up",
		Cause:     "The keys are to be kept in the TPM, and it is not ready for use.",
		Fix:       []string{"On the device run tpm.msc and select Prepare the TPM, then try again."},
		LearnMore: []string{docHelloErrors},
	},
	PINTPMIgnoresSignIn: {
		Title:     "The device's TPM ignores the authentication",
		Cause:     "The TPM does not accept what it is given, for example after too many attempts.",
		Fix:       []string{"Restart the device and try again.", "If it stays, clear the TPM: that destroys the keys it holds, so have the recovery key of the disk at hand."},
		LearnMore: []string{docHelloErrors},
	},
	PINTPMRequired: {
		Title:     "Policy requires a TPM and the device has none",
		Cause:     "A policy lets Windows Hello for Business be used with a TPM only.",
		Fix:       []string{"Use a device with a TPM, or change the policy that requires one."},
		LearnMore: []string{docHelloErrors, docPassportForWork},
	},
	PINCancelled: {
		Title:     "The user cancelled the PIN reset",
		Cause:     "The reset was left by the user before it had ended.",
		Fix:       []string{"Let the user try again."},
		LearnMore: []string{docHelloErrors},
	},
	PolicyRemediationFailed: {
		Title:     "Intune could not apply the policy on the device",
		Cause:     "Intune reports that the remediation failed, and nothing more. Administrators find the cause in the device's own log of device management.",
		Fix:       []string{"On the device look into Event Viewer: Applications and Services Logs > Microsoft > Windows > DeviceManagement-Enterprise-Diagnostics-Provider > Admin.", "Let the device synchronise, then look again."},
		LearnMore: []string{docDeviceActions},
	},
}
