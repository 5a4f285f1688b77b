package fault

import (
	"iter"
	"maps"
	"slices"
)

// Codes of failures of the work itself.
const (
	Internal              Code = "internal"
	MessageInvalid        Code = "message_invalid"
	AttemptsExhausted     Code = "attempts_exhausted"
	TenantUnknown         Code = "tenant_unknown"
	TenantOnPremises      Code = "tenant_on_premises"
	ConsentMissing        Code = "consent_missing"
	ConsentDeclined       Code = "consent_declined"
	ConsentTimedOut       Code = "consent_timed_out"
	AppNotConsented       Code = "app_not_consented"
	ServicePrincipalOff   Code = "service_principal_disabled"
	PlatformNotSupported  Code = "platform_not_supported"
	EnrolmentNotSupported Code = "enrolment_not_supported"
	VersionTooOld         Code = "version_too_old"
	ResetTokenNotActive   Code = "reset_token_not_active"
	ActionNotSupported    Code = "action_not_supported"
	DeviceActionFailed    Code = "device_action_failed"
	ActionCancelled       Code = "action_cancelled"
	DeviceNotFound        Code = "device_not_found"
	DeviceDidNotRespond   Code = "device_did_not_respond"
	NotBegunInTime        Code = "not_begun_in_time"
	DeviceChangedHands    Code = "device_changed_hands"
	PasscodeNotReturned   Code = "passcode_not_returned"
	OutcomeUnknown        Code = "outcome_unknown"
	ApprovalRequired      Code = "approval_required"
	GroupNotFound         Code = "group_not_found"
	BulkPlanChanged       Code = "bulk_plan_changed"
	BulkTooLarge          Code = "bulk_too_large"
	GraphRefused          Code = "graph_refused"
	GraphUnauthorized     Code = "graph_unauthorized"
	GraphForbidden        Code = "graph_forbidden"
	GraphThrottled        Code = "graph_throttled"
	GraphUnavailable      Code = "graph_unavailable"

	NotificationUndelivered Code = "notification_undelivered"
	NotificationRefused     Code = "notification_address_refused"
	NotificationGone        Code = "notification_endpoint_gone"

	PlanChanged       Code = "plan_changed"
	AssignmentChanged Code = "assignment_changed"
	PolicyGone        Code = "policy_gone"
	RolloutTooLate    Code = "rollout_not_begun_in_time"
)

// Codes of drift, beside [ServicePrincipalOff]: what an audit found to be no longer as it was. They end no work.
const (
	ConsentRevoked   Code = "consent_revoked"
	PolicyChanged    Code = "policy_changed"
	PolicyRemoved    Code = "policy_removed"
	PolicyUnassigned Code = "policy_unassigned"
	CoverageFell     Code = "coverage_fell"
	CompetingPolicy  Code = "competing_policy"
)

// Codes of readiness: why a PIN can't be reset by some path, or why that can't be told. They end no work by themselves.
const (
	EditionNotSupported Code = "edition_not_supported"
	JoinNotSupported    Code = "join_not_supported"
	DeviceDisabled      Code = "device_disabled"
	PolicyMissing       Code = "policy_missing"
	PolicyNotAssigned   Code = "policy_not_assigned"
	PolicyConflict      Code = "policy_conflict"
	PolicyOff           Code = "policy_false"
	ProtectorNotCreated Code = "protector_not_created"
	WebSignInNotAllowed Code = "web_sign_in_not_allowed"
	LockScreenBlocked   Code = "lock_screen_blocked"
	LineOfSightNeeded   Code = "line_of_sight_needed"
	PINNotSet           Code = "pin_not_set"
	PasswordNeeded      Code = "password_needed"
	NotRead             Code = "not_read"
	NotKept             Code = "too_much_to_keep"
	NotAudited          Code = "not_audited"
	DeviceNotReporting  Code = "device_not_reporting"
	UnknownPlatform     Code = "unknown_platform"
	UnknownEnrolment    Code = "unknown_enrolment"
	UnknownVersion      Code = "unknown_version"
	UnknownEdition      Code = "unknown_edition"
	UnknownJoin         Code = "unknown_join"
	UnknownTrust        Code = "unknown_trust"
	UnknownConsent      Code = "unknown_consent"
	UnknownPolicy       Code = "unknown_policy"
	UnknownAssignment   Code = "unknown_assignment"
	UnknownProtector    Code = "unknown_protector"
	UnknownWebSignIn    Code = "unknown_web_sign_in"
	UnknownLockScreen   Code = "unknown_lock_screen"
	UnknownLineOfSight  Code = "unknown_line_of_sight"
	UnknownCloud        Code = "unknown_cloud"
)

// Codes that say why work waits. They are shown beside a pending request and never end one.
const (
	WaitingForDevice    Code = "waiting_for_device"
	WaitingForDirectory Code = "waiting_for_directory"
	WaitingForConsent   Code = "waiting_for_consent"
	WaitingForPermit    Code = "waiting_for_permit"
	WaitingForExpiry    Code = "waiting_for_expiry"
	WaitingForEarlier   Code = "waiting_for_earlier_reset"
	WaitingForTrace     Code = "waiting_for_trace"
	WaitingForTurn      Code = "waiting_for_turn"
	WaitingForPolicy    Code = "waiting_for_policy_trace"
	WaitingForCheckIns  Code = "waiting_for_check_ins"
	WaitingForApproval  Code = "waiting_for_approval"
)

// Codes of requests that were refused before any work began.
const (
	InvalidRequest        Code = "invalid_request"
	RequestTooLarge       Code = "request_too_large"
	Unauthenticated       Code = "unauthenticated"
	StepUpRequired        Code = "step_up_required"
	Forbidden             Code = "forbidden"
	NotFound              Code = "not_found"
	IdempotencyKeyMissing Code = "idempotency_key_missing"
	IdempotencyKeyReused  Code = "idempotency_key_reused"
	StateConflict         Code = "state_conflict"
	NotRevealable         Code = "not_revealable"
	BudgetSpent           Code = "budget_spent"
	SecondPersonRequired  Code = "second_person_required"
	ApprovalNotValid      Code = "approval_not_valid"
	RankUnknown           Code = "rank_unknown"
	PersonSuspended       Code = "person_suspended"
	CallerNotConfirmed    Code = "caller_not_confirmed"
	Unavailable           Code = "unavailable"
)

// Entry explains a code to the person who meets it.
type Entry struct {
	Code      Code     `json:"code"`
	Title     string   `json:"title"`     // what happened, in a few words
	Cause     string   `json:"cause"`     // why, in a sentence or two
	Fix       []string `json:"fix"`       // what to do, in order
	LearnMore []string `json:"learnMore"` // documentation
}

const (
	docPINReset        = "https://learn.microsoft.com/windows/security/identity-protection/hello-for-business/pin-reset"
	docPasscode        = "https://learn.microsoft.com/mem/intune/remote-actions/device-passcode-reset"
	docDeviceActions   = "https://learn.microsoft.com/troubleshoot/mem/intune/device-management/troubleshoot-device-actions"
	docAdminConsent    = "https://learn.microsoft.com/entra/identity-platform/v2-admin-consent"
	docThrottling      = "https://learn.microsoft.com/graph/throttling"
	docGraphErrors     = "https://learn.microsoft.com/graph/errors"
	docGraphReset      = "https://learn.microsoft.com/graph/api/intune-devices-manageddevice-resetpasscode"
	docDsregcmd        = "https://learn.microsoft.com/entra/identity/devices/troubleshoot-device-dsregcmd"
	docLockScreen      = "https://learn.microsoft.com/entra/identity/authentication/howto-sspr-windows#general-limitations"
	docAssign          = "https://learn.microsoft.com/mem/intune/configuration/device-profile-assign"
	docPassportForWork = "https://learn.microsoft.com/windows/client-management/mdm/passportforwork-csp"
	docHelloPolicies   = "https://learn.microsoft.com/windows/security/identity-protection/hello-for-business/hello-manage-in-organization"
	docWebSignIn       = "https://learn.microsoft.com/windows/client-management/mdm/policy-csp-authentication#configurewebsigninallowedurls"
	docApprovals       = "https://learn.microsoft.com/mem/intune/fundamentals/multi-admin-approval"
)

// Lookup returns the entry of a code; an unknown code gets the one of [Internal] under its own name.
func Lookup(code Code) Entry {
	e, ok := find(code)
	if !ok {
		e = catalogue[Internal]
	}
	e.Code = code
	return e
}

// Known reports whether the table has the code.
func Known(code Code) bool {
	_, ok := find(code)
	return ok
}

func find(code Code) (Entry, bool) {
	e, ok := catalogue[code]
	if !ok {
		e, ok = hello[code]
	}
	return e, ok
}

// Codes returns every code of the table in alphabetical order.
func Codes() []Code { return slices.Sorted(chain(maps.Keys(catalogue), maps.Keys(hello))) }

func chain(parts ...iter.Seq[Code]) iter.Seq[Code] {
	return func(yield func(Code) bool) {
		for _, part := range parts {
			for code := range part {
				if !yield(code) {
					return
				}
			}
		}
	}
}

var catalogue = map[Code]Entry{
	Internal: {
		Title: "Something went wrong inside pinreset",
		Cause: "An error that pinreset has no name for. The timeline shows the last step that worked.",
		Fix:   []string{"Try again once.", "If it fails again, send the JSON form of this page with a report."},
	},
	MessageInvalid: {
		Title: "A message could not be understood",
		Cause: "The message is not a CloudEvent of a known kind, or one of its fields is missing or wrong. The detail names the field.",
		Fix:   []string{"Correct the sender: `pinreset event schema KIND` prints what is expected.", "Send a corrected event with a new id."},
	},
	AttemptsExhausted: {
		Title: "The work failed at every attempt",
		Cause: "Each attempt ended in an error that gave no verdict, so pinreset stopped and set the message aside as a dead letter.",
		Fix:   []string{"Read the timeline: the last attempts say what failed.", "When the cause is gone, replay the dead letter: `pinreset deadletter replay ID --reason WHY`."},
	},
	TenantUnknown: {
		Title: "The tenant is not onboarded",
		Cause: "The message names a tenant that pinreset does not look after.",
		Fix:   []string{"Add the tenant: `pinreset tenant add TENANT-ID --name NAME`.", "Send the event again."},
	},
	TenantOnPremises: {
		Title:     "The tenant is on premises",
		Cause:     "The tenant has no Microsoft Entra ID. There is nothing to consent to, and Microsoft Graph and Intune know nothing of its devices; a forgotten PIN is reset by its user, at the device.",
		Fix:       []string{"`pinreset tenant show TENANT-ID` says what its users do instead.", "If the organisation has a Microsoft Entra tenant, add that one: `pinreset tenant add TENANT-ID --name NAME`."},
		LearnMore: []string{docPINReset},
	},
	ConsentMissing: {
		Title:     "PIN reset is not consented in this tenant",
		Cause:     "At least one of the two enterprise applications (Microsoft Pin Reset Service, Microsoft Pin Reset Client) is missing in the tenant's directory, or disabled there. With the policy on and an application missing, users could not reset their PIN at all, so nothing is assigned. The detail says which one.",
		Fix:       []string{"Open the tenant's consent steps (`pinreset tenant consent TENANT-ID`) and let an Application Administrator of that tenant accept both links.", "pinreset reads the directory back and turns the step green by itself."},
		LearnMore: []string{docPINReset},
	},
	ConsentDeclined: {
		Title:     "The administrator declined",
		Cause:     "The consent page of pinreset's own application came back with an error instead of a consent. The detail carries Entra's error code.",
		Fix:       []string{"Start the consent again: `pinreset tenant consent TENANT-ID --restart`.", "Let somebody sign in who may grant tenant-wide consent (Privileged Role Administrator for application permissions)."},
		LearnMore: []string{docAdminConsent},
	},
	ConsentTimedOut: {
		Title:     "Consent was not given in time",
		Cause:     "The directory still does not show everything that was asked for. Nothing was changed.",
		Fix:       []string{"Check which step is open: `pinreset tenant show TENANT-ID`.", "Start the consent again: `pinreset tenant consent TENANT-ID --restart`.", "An error-looking page after Accept is normal; proof is only the directory."},
		LearnMore: []string{docPINReset, docAdminConsent},
	},
	AppNotConsented: {
		Title:     "pinreset has no access to this tenant",
		Cause:     "Entra ID issues no token for pinreset's application in this tenant: it was never consented, or the consent was withdrawn.",
		Fix:       []string{"Open the tenant's consent steps and accept the first one, pinreset's own application.", "Right after a consent, wait some minutes: the directory replicates."},
		LearnMore: []string{docAdminConsent},
	},
	ServicePrincipalOff: {
		Title:     "A PIN reset application is disabled in this tenant",
		Cause:     "The enterprise application exists but its sign-in is disabled, by the tenant or by Microsoft.",
		Fix:       []string{"In Entra admin center open Enterprise applications, search \"Microsoft Pin Reset\", and enable it for users to sign in.", "Start the consent check again."},
		LearnMore: []string{docPINReset},
	},
	GroupNotFound: {
		Title: "The group is not in this tenant",
		Cause: "Entra ID has no group with this id, or it was deleted.",
		Fix:   []string{"Copy the object id of the group from Entra admin center > Groups, and ask again."},
	},
	BulkPlanChanged: {
		Title: "The devices are not those that were agreed to",
		Cause: "The number of devices, or which ones they are, changed between the plan and the start: devices were enrolled or removed, or people joined or left the group. Nothing was sent.",
		Fix:   []string{"Plan the bulk reset again, look at its devices, and start it with the new plan."},
	},
	BulkTooLarge: {
		Title: "These are more devices than one bulk reset takes",
		Cause: "A bulk reset takes at most 20,000 devices. Nothing was sent.",
		Fix:   []string{"Reset smaller groups one after the other."},
	},
	PlatformNotSupported: {
		Title:     "Reset passcode does not exist for this platform",
		Cause:     "Intune's Reset passcode works on Android Enterprise, AOSP and iOS/iPadOS. Windows desktop and macOS have no such action, and nobody can reset a Windows Hello PIN remotely.",
		Fix:       []string{"Windows: the user clicks \"I forgot my PIN\" on the sign-in screen, or in Settings > Accounts > Sign-in options > PIN, and signs in with multifactor authentication.", "So that the PIN reset keeps the user's keys, onboard the tenant's PIN reset service and turn on EnablePinRecovery.", "macOS: reset the local account's password at the device, or with the recovery key."},
		LearnMore: []string{docPasscode, docPINReset},
	},
	EnrolmentNotSupported: {
		Title:     "This kind of enrolment has no passcode reset",
		Cause:     "The platform supports Reset passcode, but not for devices enrolled this way (Android device administrator from Android 7, iOS User Enrollment).",
		Fix:       []string{"Enrol the device with a supported method: Android Enterprise, or iOS device enrolment.", "Until then the user must reset the device at hand."},
		LearnMore: []string{docPasscode},
	},
	VersionTooOld: {
		Title:     "The operating system is too old",
		Cause:     "Reset passcode of a work profile needs Android 8.0 or later; on Windows 10 Mobile it needed version 1703.",
		Fix:       []string{"Update the device.", "If it can't be updated, the work profile must be removed and set up again."},
		LearnMore: []string{docPasscode},
	},
	ResetTokenNotActive: {
		Title:     "The work profile's reset token is not active",
		Cause:     "Intune answered notSupported for an Android work profile. The usual reason: no reset token was activated on the device before the passcode was forgotten.",
		Fix:       []string{"Assign a policy that requires a work-profile passcode.", "The user sets a work-profile passcode.", "The user accepts the second prompt, which activates the token.", "After that a reset works; for this time the work profile must be set up again."},
		LearnMore: []string{docPasscode},
	},
	ActionNotSupported: {
		Title:     "Intune says that this device does not support the action",
		Cause:     "The device answered notSupported.",
		Fix:       []string{"Check that a passcode policy is assigned to the device and that the user has set a passcode.", "Check platform and enrolment of the device in Intune."},
		LearnMore: []string{docPasscode, docDeviceActions},
	},
	DeviceActionFailed: {
		Title:     "The device reported a failure",
		Cause:     "Intune's action ended as failed. The meaning of its error number is not published; the detail shows the number.",
		Fix:       []string{"Check that a passcode policy is assigned to the device: without one, Reset passcode is known to fail.", "Let the device synchronise, then start a new reset.", "If it fails again, open a case at Microsoft with the request ids of this page."},
		LearnMore: []string{docPasscode, docDeviceActions},
	},
	ActionCancelled: {
		Title: "The action was cancelled in Intune",
		Cause: "Somebody cancelled the pending action in Intune, or Intune dropped it.",
		Fix:   []string{"Start a new reset if it is still needed."},
	},
	DeviceNotFound: {
		Title: "The device is not in Intune any more",
		Cause: "Intune has no managed device with this id: it was retired, wiped, deleted or enrolled again under a new id.",
		Fix:   []string{"Search the device by name or serial number and start the reset there."},
	},
	DeviceDidNotRespond: {
		Title:     "The device did not respond in time",
		Cause:     "Intune accepted the action, but the device did not check in before the deadline. It may be off or without a network.",
		Fix:       []string{"Let the user switch the device on and connect it.", "Then start a new reset. The earlier one may still be carried out when the device checks in; its code will not be shown."},
		LearnMore: []string{docDeviceActions},
	},
	NotBegunInTime: {
		Title: "The reset was not begun before its deadline",
		Cause: "pinreset was not running, or had too much to do, until the deadline had passed. The device was not touched: its passcode is the one it had.",
		Fix:   []string{"Start a new reset if it is still wanted."},
	},
	DeviceChangedHands: {
		Title: "The device changed hands",
		Cause: "Since the reset was asked for, the device was enrolled again or got another user. Its code must not be shown to the person who asked.",
		Fix:   []string{"Check who has the device now.", "Start a new reset if it is still needed."},
	},
	PasscodeNotReturned: {
		Title:     "The reset was done, but no passcode was returned",
		Cause:     "Intune reports the action as done, yet neither version of its interface returned a passcode.",
		Fix:       []string{"Look at the device in the Intune admin center: the code may be shown there.", "Otherwise start a new reset."},
		LearnMore: []string{docPasscode},
	},
	OutcomeUnknown: {
		Title:     "Nobody knows whether the reset was carried out",
		Cause:     "The answer to the call was lost, and the device's action list never showed a trace of it. pinreset does not repeat the call by itself: a second reset would replace a code that may already be in use.",
		Fix:       []string{"Check the device: does the old passcode still work?", "If it does, start a new reset."},
		LearnMore: []string{docGraphReset},
	},
	ApprovalRequired: {
		Title:     "Intune asks for a second administrator's approval",
		Cause:     "Intune refused the action in the way it does when a Multi Admin Approval policy covers it.",
		Fix:       []string{"Approve the request in Intune (Tenant administration > Multi Admin Approval), or exclude pinreset's application from the policy.", "Then start a new reset."},
		LearnMore: []string{docApprovals},
	},
	GraphRefused: {
		Title:     "Microsoft Graph refused the request",
		Cause:     "Graph answered with an error that trying again will not change. The timeline shows its code and request id.",
		Fix:       []string{"Check platform and enrolment of the device.", "Check whether a Multi Admin Approval policy covers the action.", "Quote the request id in a case at Microsoft."},
		LearnMore: []string{docGraphErrors, docPasscode},
	},
	GraphUnauthorized: {
		Title:     "Microsoft Graph did not accept the token",
		Cause:     "A fresh token was refused as well.",
		Fix:       []string{"Check that the application's credential is valid and not expired.", "Check the clock of this machine."},
		LearnMore: []string{docGraphErrors},
	},
	GraphForbidden: {
		Title:     "A permission or a licence is missing",
		Cause:     "Graph knows the application but does not allow the call in this tenant: a permission was not granted, or the tenant has no active Intune licence.",
		Fix:       []string{"Open the tenant's consent steps and accept pinreset's application again, so that all permissions are granted.", "Check that the tenant has an active Intune licence."},
		LearnMore: []string{docGraphErrors, docAdminConsent},
	},
	GraphThrottled: {
		Title:     "Microsoft Graph is throttling this tenant",
		Cause:     "The tenant's share of calls is used up, by pinreset or by another application. pinreset waits as told and goes on by itself.",
		Fix:       []string{"Nothing: the time of the next attempt is shown."},
		LearnMore: []string{docThrottling},
	},
	GraphUnavailable: {
		Title:     "Microsoft Graph could not be reached",
		Cause:     "The call failed on the way or Graph reported a fault of its own.",
		Fix:       []string{"Nothing at first: pinreset tries again.", "If it lasts, check the network and Microsoft's service health page."},
		LearnMore: []string{docGraphErrors},
	},
	ConsentRevoked: {
		Title:     "A PIN reset application lost its consent",
		Cause:     "An earlier audit saw the application, or what it holds, in the tenant's directory, and this one read the directory and did not. With the policy on, users who forgot their PIN can't reset it.",
		Fix:       []string{"Have an administrator of the tenant follow the consent links again: `pinreset tenant consent`.", "If that can't be done at once, roll the policy back: it writes false first."},
		LearnMore: []string{docPINReset},
	},
	PolicyChanged: {
		Title:     "A policy that turned PIN recovery on was changed",
		Cause:     "An earlier audit saw the policy on and assigned. It is still there, and no longer turns PIN recovery on. Devices take the change at their next contact with Intune.",
		Fix:       []string{"Ask who changed it: Intune's audit log has the name.", "Roll the policy out again if it is still wanted, or let audits put it right: `pinreset tenant settings --remediate-policy`."},
		LearnMore: []string{docPINReset},
	},
	PolicyRemoved: {
		Title:     "A policy that turned PIN recovery on is gone",
		Cause:     "An earlier audit saw the policy on and assigned, and this one read every policy of that store and did not find it. Devices may keep the value that it gave them.",
		Fix:       []string{"Ask who deleted it: Intune's audit log has the name.", "Roll the policy out again if it is still wanted, or let audits put it right: `pinreset tenant settings --remediate-policy`."},
		LearnMore: []string{docPINReset},
	},
	PolicyUnassigned: {
		Title:     "A policy that turned PIN recovery on reaches fewer",
		Cause:     "Assignments that an earlier audit saw were taken away, or a group was excluded. Devices that already have the value may keep it; new ones do not get it.",
		Fix:       []string{"Look at the assignments of the policy in Intune.", "Roll the policy out again if it is still wanted, or let audits put it right: `pinreset tenant settings --remediate-policy`."},
		LearnMore: []string{docAssign},
	},
	CoverageFell: {
		Title:     "Fewer devices have the policy",
		Cause:     "Of the devices that the policy applies to, a smaller share reports it as taken than at the audit before.",
		Fix:       []string{"Look at the devices in error or conflict in Intune.", "Look for another policy that makes the same setting: `pinreset policy lint`."},
		LearnMore: []string{docPINReset},
	},
	CompetingPolicy: {
		Title:     "Another policy makes the same setting",
		Cause:     "Beside the policy that turned PIN recovery on, another one that is assigned makes the setting now. With different values, devices that have both report a conflict.",
		Fix:       []string{"Keep one of the two: `pinreset policy lint` shows both."},
		LearnMore: []string{docAssign},
	},
	PlanChanged: {
		Title: "The plan is not the one that was agreed to",
		Cause: "Since the plan was made, the tenant's policies or assignments changed, so that other calls would be needed. Nothing was written.",
		Fix:   []string{"Make a new plan: `pinreset policy plan`.", "Read what is different, then ask for the rollout with the new plan's hash."},
	},
	AssignmentChanged: {
		Title:     "Somebody else changes the policy's assignments",
		Cause:     "After assigning, the policy was read back and its assignments were not those that had been written: another writer was faster. Intune keeps the last write.",
		Fix:       []string{"Look who else assigns this policy: an administrator, another tool.", "Ask for the rollout again; what is in place already is not written twice."},
		LearnMore: []string{docAssign},
	},
	PolicyGone: {
		Title: "The policy is not there any more",
		Cause: "The policy that this rollout put in place was deleted behind pinreset's back, or is not marked as pinreset's any more. Devices may keep the value it gave them.",
		Fix:   []string{"Ask who deleted it.", "Ask for the rollout again if it is still wanted."},
	},
	RolloutTooLate: {
		Title: "The rollout could not begin in time",
		Cause: "For a day, another rollout of the tenant was being written, or Microsoft could not be reached. Nothing more is written for this one.",
		Fix:   []string{"Look at the tenant's rollouts: `pinreset policy status`.", "Ask for the rollout again if it is still wanted."},
	},

	EditionNotSupported: {
		Title:     "This Windows edition has no non-destructive PIN reset",
		Cause:     "Microsoft's page names Enterprise and Pro, and since 2024 Education, from version 1903; versions 1709 to 1809 need Enterprise. Home is not named.",
		Fix:       []string{"Update to version 1903 or later on Pro, Education or Enterprise.", "Until then the PIN can be reset destructively: the user gets new keys."},
		LearnMore: []string{docPINReset},
	},
	JoinNotSupported: {
		Title:     "The way this device is joined does not allow it",
		Cause:     "Non-destructive PIN reset is for devices that are joined to Microsoft Entra ID, or hybrid joined. A device of a domain without Entra resets destructively only.",
		Fix:       []string{"Join the device to Microsoft Entra ID, or hybrid join it.", "On premises, use the destructive reset with a domain controller and the federation service in reach."},
		LearnMore: []string{docPINReset},
	},
	DeviceDisabled: {
		Title:     "The device is disabled or deleted in the directory",
		Cause:     "A device that the directory does not accept can't authenticate its user, and the PIN reset needs that.",
		Fix:       []string{"Enable the device in Entra admin center.", "If it was deleted, leave and join again."},
		LearnMore: []string{docDsregcmd},
	},
	PolicyMissing: {
		Title:     "No policy turns on PIN recovery",
		Cause:     "Without EnablePinRecovery the device makes no recovery secret, and the only way to a new PIN is to delete the old one with its keys.",
		Fix:       []string{"Roll out the policy EnablePinRecovery, after both of Microsoft's PIN reset applications are consented."},
		LearnMore: []string{docPassportForWork, docPINReset},
	},
	PolicyNotAssigned: {
		Title:     "The PIN recovery policy does not reach this device",
		Cause:     "A policy that turns PIN recovery on exists, but it is assigned to nobody, or not to a group of this device or its user, or a group of theirs is excluded.",
		Fix:       []string{"Assign the policy to a group of the device or of its user.", "Look at excluded groups: exclusion wins over inclusion of the same kind."},
		LearnMore: []string{docAssign},
	},
	PolicyConflict: {
		Title:     "Policies about PIN recovery contradict each other",
		Cause:     "Some turn EnablePinRecovery on and some off. Intune reports such a setting as a conflict and does not promise which value is applied.",
		Fix:       []string{"Keep one policy and remove the setting from the others.", "A Group Policy wins over Intune here, whatever ControlPolicyConflict says."},
		LearnMore: []string{docAssign, docHelloPolicies},
	},
	PolicyOff: {
		Title:     "A policy turns PIN recovery off",
		Cause:     "EnablePinRecovery is false, so the device makes no recovery secret and a PIN reset is destructive.",
		Fix:       []string{"Set EnablePinRecovery to true in the policy that is named.", "Look at Group Policy first: it wins over Intune."},
		LearnMore: []string{docPassportForWork, docHelloPolicies},
	},
	ProtectorNotCreated: {
		Title:     "The device is not ready for a non-destructive PIN reset yet",
		Cause:     "The device says that it can reset the PIN destructively only: its user's recovery secret has not been made. It takes the policy, a sign-in, and the PIN reset service in reach.",
		Fix:       []string{"Let the device synchronise, then let the user sign out and in.", "Look again with `dsregcmd /status`, as the user: CanReset should say DestructiveAndNonDestructive."},
		LearnMore: []string{docPINReset, docDsregcmd},
	},
	WebSignInNotAllowed: {
		Title:     "The sign-in page is not on the device's allow list",
		Cause:     "PIN reset on Entra joined devices uses web sign-in, which opens allowed domains only. A federated or US Government sign-in page must be listed, else the user sees \"We can't open that page right now\".",
		Fix:       []string{"Set ConfigureWebSignInAllowedUrls to the domains of the sign-in page, separated by semicolons, without quotation marks, https:// or paths."},
		LearnMore: []string{docPINReset, docWebSignIn},
	},
	LockScreenBlocked: {
		Title:     "A setting of the device blocks PIN reset above the lock screen",
		Cause:     "Microsoft lists settings with which a reset does not work from the lock screen. The reset from Settings is not affected.",
		Fix:       []string{"Change the setting that the check names, often one of a security baseline.", "Until then reset the PIN from Settings > Accounts > Sign-in options."},
		LearnMore: []string{docLockScreen},
	},
	LineOfSightNeeded: {
		Title:     "No domain controller or federation service is in reach",
		Cause:     "A destructive reset on a hybrid joined or on-premises device needs a domain controller; on premises, and with certificate trust over AD FS, the federation service too.",
		Fix:       []string{"Connect the device to the corporate network, then reset the PIN.", "Roll out non-destructive reset to hybrid joined devices: it needs no domain controller."},
		LearnMore: []string{docPINReset},
	},
	PINNotSet: {
		Title:     "The user has no Windows Hello PIN on this device",
		Cause:     "The device reports no Windows Hello container for its user, so there is no PIN to reset.",
		Fix:       []string{"Let the user set up a PIN in Settings > Accounts > Sign-in options."},
		LearnMore: []string{docDsregcmd},
	},
	PasswordNeeded: {
		Title:     "The user has no password to authenticate with",
		Cause:     "On premises a PIN is reset by signing in with the password and a second factor. Where a smart card is required, the password is random and nobody knows it.",
		Fix:       []string{"Give the user a password for the reset, or do not require a smart card for this account."},
		LearnMore: []string{docPINReset},
	},
	NotRead: {
		Title: "Nobody has looked at this yet",
		Cause: "The fact was not asked for when the others were read.",
		Fix:   []string{"Run an audit of the tenant, or let the device report."},
	},
	NotKept: {
		Title: "There is more of this than can be kept",
		Cause: "It was read, and what is kept of one tenant is bounded. So it counts as not known, and the next audit compares nothing with it.",
		Fix:   []string{"Look whether the tenant needs all of the policies that make the setting: `pinreset policy lint`."},
	},
	NotAudited: {
		Title: "This tenant has not been audited yet",
		Cause: "What decides about the tenant is read by an audit, and none has ended.",
		Fix:   []string{"Start an audit of the tenant: `pinreset audit run`."},
	},
	DeviceNotReporting: {
		Title: "The device has not reported about itself",
		Cause: "Some facts only the device knows: what its registry holds, whether its recovery secret was made, whether a domain controller answers.",
		Fix:   []string{"Give the device a key, `pinreset device key add`, and let it report, `pinreset device report`."},
	},
	UnknownPlatform: {
		Title: "The platform is not known",
		Cause: "Intune does not say which platform the device has, or could not be read.",
		Fix:   []string{"Look at the device in Intune, and let it synchronise."},
	},
	UnknownEnrolment: {
		Title:     "The kind of enrolment is not known",
		Cause:     "Which passcode Intune can reset depends on how the device was enrolled, and that can't be told from published properties.",
		Fix:       []string{"Look at the device in Intune.", "A reset may be tried: Intune answers itself."},
		LearnMore: []string{docPasscode},
	},
	UnknownVersion: {
		Title: "The version of the operating system is not known",
		Cause: "Neither Intune nor the device says which build it has, or what it says is no build number.",
		Fix:   []string{"Let the device synchronise, or send a report."},
	},
	UnknownEdition: {
		Title:     "It is not known whether this edition qualifies",
		Cause:     "The edition could not be read, or it is one that Microsoft's page about PIN reset does not mention.",
		Fix:       []string{"Look at CanReset in `dsregcmd /status` on the device: it is the proof.", "Let the device send a report."},
		LearnMore: []string{docPINReset},
	},
	UnknownJoin: {
		Title:     "It is not known whether this way of joining qualifies",
		Cause:     "How the device is joined could not be read, or it is only registered: earlier editions of Microsoft's page listed registered devices, that of 2024 does not.",
		Fix:       []string{"Look at CanReset in `dsregcmd /status` on the device.", "Join the device instead of registering it."},
		LearnMore: []string{docPINReset},
	},
	UnknownTrust: {
		Title:     "The trust type is not known",
		Cause:     "Above the lock screen a hybrid joined device resets destructively with certificate or cloud Kerberos trust, not with key trust, and the device has not said which it has.",
		Fix:       []string{"Let the device send a report.", "Roll out non-destructive reset: it does not depend on the trust type."},
		LearnMore: []string{docPINReset},
	},
	UnknownConsent: {
		Title: "Microsoft's PIN reset applications could not be read",
		Cause: "The directory did not answer whether they are there, so nothing can be said about the consent.",
		Fix:   []string{"Look at the cause beside the check, put it right, and run an audit of the tenant."},
	},
	UnknownPolicy: {
		Title: "Not every place of the policy could be read",
		Cause: "EnablePinRecovery can be set in several places of Intune and in Group Policy. What could not be read may hold another value.",
		Fix:   []string{"Look at the cause beside the check, put it right, and run an audit of the tenant."},
	},
	UnknownAssignment: {
		Title: "It is not known whether the policy reaches the device",
		Cause: "The groups of the device or of its user could not be read, or a filter or another kind of target decides.",
		Fix:   []string{"Look at the policy's device status in Intune.", "Let the device send a report: it says which value it has."},
	},
	UnknownProtector: {
		Title:     "It is not known whether the device made its recovery secret",
		Cause:     "The device has not said what CanReset is; only it knows.",
		Fix:       []string{"Run `dsregcmd /status` on the device, as the user and not elevated, and look at CanReset.", "Let the device send a report."},
		LearnMore: []string{docDsregcmd},
	},
	UnknownWebSignIn: {
		Title:     "It is not known whether the sign-in page is allowed",
		Cause:     "The tenant's domains or the device's allow list could not be read.",
		Fix:       []string{"Run an audit of the tenant, or let the device send a report."},
		LearnMore: []string{docWebSignIn},
	},
	UnknownLockScreen: {
		Title:     "Not every lock-screen limitation was looked at",
		Cause:     "Some settings that block a reset above the lock screen are known to the device only.",
		Fix:       []string{"Let the device send a report.", "The reset from Settings is not affected."},
		LearnMore: []string{docLockScreen},
	},
	UnknownLineOfSight: {
		Title:     "It is not known whether a domain controller is in reach",
		Cause:     "The reset needs a domain controller, and with AD FS the federation service; only the device can say whether they answer.",
		Fix:       []string{"Let the device send a report from the network that it will be on."},
		LearnMore: []string{docPINReset},
	},
	UnknownCloud: {
		Title:     "Microsoft does not say whether this works in the tenant's cloud",
		Cause:     "Microsoft's page names a known issue for US Government tenants and says nothing of China.",
		Fix:       []string{"Try it on one device and look at CanReset in `dsregcmd /status`.", "In a US Government tenant, put login.microsoftonline.us on the allow list of web sign-in."},
		LearnMore: []string{docPINReset},
	},

	WaitingForTurn: {
		Title: "Waiting for another rollout of the tenant",
		Cause: "Only one rollout or rollback of a tenant writes at a time, so that none is done twice or undone by another. A write whose answer got lost counts as under way for two minutes.",
		Fix:   []string{"Nothing: it goes on when the other one has done its writing."},
	},
	WaitingForPolicy: {
		Title: "Looking whether the policy was created",
		Cause: "The call that creates the policy got no clear answer. It is not made again blindly, because that could make two policies; the tenant's list shows within minutes whether it was carried out.",
		Fix:   []string{"Nothing: if the policy does not appear, the call is made again."},
	},
	WaitingForCheckIns: {
		Title: "Waiting for devices to check in",
		Cause: "The policy is written. Devices take it at their next contact with Intune, about every eight hours while they are on.",
		Fix:   []string{"Nothing. A device that must have it at once can be synchronised in Intune or in its Settings."},
	},
	WaitingForApproval: {
		Title: "Waiting for a second person",
		Cause: "The tenant wants two people for this. Nothing is sent before another one has approved it, and after half an hour nothing will be.",
		Fix:   []string{"Ask somebody with the permission approval.decide to look at the request.", "If nobody did in time, ask again."},
	},
	WaitingForDevice: {
		Title: "Waiting for the device to check in",
		Cause: "Intune has accepted the reset; the device carries it out at its next contact.",
		Fix:   []string{"Ask the user to switch the device on and connect it."},
	},
	WaitingForDirectory: {
		Title: "Waiting for the directory to show the change",
		Cause: "After a consent the directory replicates; this can take tens of minutes.",
		Fix:   []string{"Nothing: pinreset looks again by itself."},
	},
	WaitingForConsent: {
		Title:     "Waiting for an administrator's consent",
		Cause:     "The next consent link has not been accepted yet.",
		Fix:       []string{"Send the link to an administrator of that tenant."},
		LearnMore: []string{docPINReset},
	},
	WaitingForPermit: {
		Title:     "Waiting for room in Microsoft's limits",
		Cause:     "Graph allows a number of calls per tenant and 20 seconds. pinreset keeps below it instead of being refused.",
		Fix:       []string{"Nothing: the call is made as soon as there is room."},
		LearnMore: []string{docThrottling},
	},

	WaitingForTrace: {
		Title: "Looking whether the call was carried out",
		Cause: "The call to Intune got no clear answer. It is not made again blindly, because a second reset would replace a code; the device's own list of actions shows within minutes whether it was carried out.",
		Fix:   []string{"Nothing for ten minutes; then pinreset says that the outcome is unknown, and you decide."},
	},
	WaitingForEarlier: {
		Title: "Waiting until an earlier reset can be told apart",
		Cause: "The device was reset a moment ago. Intune's results carry no id, so two calls within seconds could not be told apart.",
		Fix:   []string{"Nothing: the call is made in a few seconds."},
	},
	WaitingForExpiry: {
		Title: "Waiting for the code's expiry",
		Cause: "The code can still be revealed; it is destroyed when its time has come.",
		Fix:   []string{"Nothing."},
	},

	InvalidRequest: {
		Title: "The request is not valid",
		Cause: "The detail names what is wrong.",
		Fix:   []string{"Correct the request. /openapi.json describes every field."},
	},
	RequestTooLarge: {
		Title: "The request is too large",
		Cause: "Bodies are limited to 64 KiB.",
		Fix:   []string{"Send less at once."},
	},
	Unauthenticated: {
		Title: "Sign in first",
		Cause: "The request carries no valid bearer token.",
		Fix:   []string{"Send `Authorization: Bearer TOKEN`.", "On the machine that runs pinreset, the administrator's token is in the file admin-token of the data directory."},
	},
	StepUpRequired: {
		Title: "Sign in once more, more strongly",
		Cause: "Codes are shown to people who passed their tenant's authentication context in the last five minutes.",
		Fix: []string{
			"Sign in again; Microsoft then asks for what your tenant's Conditional Access wants.",
			"A program asks for a new token with the claims of the answer's WWW-Authenticate header.",
		},
		LearnMore: []string{"https://learn.microsoft.com/entra/identity-platform/developer-guide-conditional-access-authentication-context"},
	},
	Forbidden: {
		Title: "You are not allowed to do this",
		Cause: "Your token may see this tenant, but lacks the permission that the detail names.",
		Fix:   []string{"Ask an administrator of pinreset for the permission."},
	},
	NotFound: {
		Title: "There is nothing here",
		Cause: "What you asked for does not exist, or not for you.",
		Fix:   []string{"Check the ids."},
	},
	IdempotencyKeyMissing: {
		Title: "The Idempotency-Key header is missing",
		Cause: "A request that changes something needs a key of your choice, so that it can be repeated without doing its work twice.",
		Fix:   []string{"Add a header `Idempotency-Key` with a fresh random value; repeat the request with the same value."},
	},
	IdempotencyKeyReused: {
		Title: "The idempotency key belongs to another request",
		Cause: "The key was used before with a different method, path or body.",
		Fix:   []string{"Use a new key for a new request."},
	},
	StateConflict: {
		Title: "This is not possible in the present state",
		Cause: "What you asked to change has moved on, or has not got that far. The detail says which.",
		Fix:   []string{"Read it again and decide anew."},
	},
	NotRevealable: {
		Title: "There is no code to show",
		Cause: "The reset has no readable code: it is not finished, it removed the passcode instead of replacing it, or its code has expired and was destroyed.",
		Fix:   []string{"Look at the state of the reset.", "Start a new reset if one is needed."},
	},
	BudgetSpent: {
		Title: "This person has spent the budget",
		Cause: "A person may start only so many resets and see only so many codes in an hour and in a day, each counted apart. The tenant's settings have the numbers.",
		Fix: []string{
			"Wait until one is free again: the answer says when.",
			"Ask a colleague, who has a budget of their own.",
			"If you did not ask for so many, somebody else has your sign-in: tell who administers the tenant.",
		},
	},
	SecondPersonRequired: {
		Title: "A second person has to approve this",
		Cause: "The tenant's settings want two people for it: for bulk resets, for users who hold a directory role, or for every reset. Nothing was done.",
		Fix: []string{
			"Ask for it in the portal, by the API or on the command line: the request then waits for a second person. An event can't ask for one.",
			"To see a code, ask for an approval of your own, unless the reset was yours and was approved.",
		},
	},
	ApprovalNotValid: {
		Title: "The approval is not good for this",
		Cause: "An approval is good for one request to the letter, for half an hour, and once. The detail says what is wrong.",
		Fix:   []string{"Ask again, and have the new request approved."},
	},
	PersonSuspended: {
		Title: "This person is suspended",
		Cause: "So many resets and codes were asked for in so short a time that no work explains it. In this tenant the person may do nothing until an administrator says so.",
		Fix: []string{
			"Find out with the person what happened; the audit log lists what was asked for.",
			"If it was not the person, revoke the sign-in sessions in Microsoft Entra ID and the grants here.",
			"Somebody with the permission grant.write lifts the suspension, on the page People or with pinreset tenant lift.",
		},
	},
	CallerNotConfirmed: {
		Title: "The caller has not confirmed who it is",
		Cause: "The tenant wants the device's user to confirm each call: the operator reads a code out, and the caller signs in as that user and types it. Nothing was done.",
		Fix: []string{
			"Make a code for the caller, on the page of the device or of the reset, and read it out.",
			"The caller opens /me/confirm at this server's address, signs in with Microsoft and types it, within ten minutes.",
			"Then do it, within ten minutes. An event can't be confirmed.",
		},
	},
	RankUnknown: {
		Title: "Whether the user holds a directory role could not be read",
		Cause: "The tenant wants a second person for resets of users who hold one, and Microsoft Graph did not tell of this device's user. Unknown is not taken for no.",
		Fix: []string{
			"Check that the tenant still consents to pinreset's application, with Directory.Read.All: pinreset doctor names what is missing.",
			"Check that the device's primary user still exists.",
			"An administrator can have every reset approved until then, which asks Graph nothing.",
		},
		LearnMore: []string{"https://learn.microsoft.com/graph/api/user-list-transitivememberof"},
	},
	NotificationUndelivered: {
		Title: "A notification could not be delivered",
		Cause: "Whoever takes the tenant's notifications on this way did not take this one, however often it was tried in more than three days, or said that it never will.",
		Fix: []string{
			"Look at what the other side answered, in the detail and the timeline.",
			"Put it right there, or change the address in the tenant's notification settings.",
			"Replay the dead letter: the notification is sent again under the same id.",
		},
		LearnMore: []string{"https://www.standardwebhooks.com/"},
	},
	NotificationRefused: {
		Title: "A notification's address is not on the public internet",
		Cause: "The name of the address leads to this machine, a private network, or a service of the cloud that pinreset runs in. Nothing was sent there.",
		Fix: []string{
			"Give an address in the tenant's notification settings that everybody could reach.",
			"Look at what the name resolves to. One private address among its addresses is enough to refuse it.",
			"Replay the dead letter afterwards.",
		},
	},
	NotificationGone: {
		Title:     "Notifications were turned off by who took them",
		Cause:     "The address answered 410 Gone, by which it says that it wants no more. pinreset has turned this way off for the tenant.",
		Fix:       []string{"Give another address in the tenant's notification settings, or turn the way on again.", "Ask who runs the receiver why it ended."},
		LearnMore: []string{"https://www.standardwebhooks.com/"},
	},
	Unavailable: {
		Title: "pinreset can't take the request now",
		Cause: "The store did not accept the write. Nothing was changed.",
		Fix:   []string{"Repeat the request with the same Idempotency-Key."},
	},
}
