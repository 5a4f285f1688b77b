package readiness

import (
	"time"

	"pinreset/shared/fault"
	"pinreset/shared/reading"
)

// Path is one way to a new PIN or passcode.
type Path string

// Paths. All but the last are done by the user, at the device.
const (
	KeepSettings      Path = "non-destructive-settings"   // keys kept, from Settings
	KeepLockScreen    Path = "non-destructive-lockscreen" // keys kept, above the lock screen
	DestroySettings   Path = "destructive-settings"       // new keys, from Settings
	DestroyLockScreen Path = "destructive-lockscreen"     // new keys, above the lock screen
	OnPremSettings    Path = "on-premises-settings"       // new keys, without Entra, from Settings
	OnPremLockScreen  Path = "on-premises-lockscreen"     // new keys, without Entra, above the lock screen
	RemotePasscode    Path = "remote-passcode"            // an operator resets the passcode of a phone or tablet
)

// Paths returns all paths, in the order in which they are shown.
func Paths() []Path {
	return []Path{KeepSettings, KeepLockScreen, DestroySettings, DestroyLockScreen, OnPremSettings, OnPremLockScreen, RemotePasscode}
}

// Verdict is the answer for one path.
type Verdict struct {
	Path   Path           `json:"path"`
	Answer reading.Answer `json:"answer" enum:"yes,no,unknown"`
	Text   string         `json:"text" doc:"One sentence for the person who asks"`
	Reason fault.Code     `json:"reason,omitempty" doc:"The first thing that stands in the way, or is not known"`
	Checks []Check        `json:"checks" nullable:"false"`
	Steps  []string       `json:"steps,omitempty" nullable:"false" doc:"What the user or the operator does"`
}

// Outcome is how a check ended.
type Outcome string

// Outcomes.
const (
	Passed        Outcome = "passed"
	Failed        Outcome = "failed"
	NotApplicable Outcome = "not-applicable"
	Unread        Outcome = "unread" // could not be read, or Microsoft does not say
)

// Check is one thing that was looked at.
type Check struct {
	ID       string     `json:"id" doc:"Stable"`
	Title    string     `json:"title"`
	Outcome  Outcome    `json:"outcome" enum:"passed,failed,not-applicable,unread"`
	Advice   bool       `json:"advice,omitempty" doc:"The check warns; it does not decide the answer"`
	Evidence string     `json:"evidence" doc:"What was seen, or why it could not be"`
	Reason   fault.Code `json:"reason,omitempty" doc:"Of a failed or unread check"`
	Fix      []string   `json:"fix,omitempty" nullable:"false"`
	Link     string     `json:"link,omitempty" doc:"Microsoft's page about it"`
}

// State is where a tenant stands with non-destructive PIN reset.
type State string

// States of a tenant.
const (
	Ready         State = "ready"          // both applications enabled, the policy on and assigned
	Broken        State = "broken"         // the policy is on without the applications: PIN reset fails for users now
	Onboarded     State = "onboarded"      // both applications enabled, no policy on and assigned
	HalfConsented State = "half-consented" // one application of two
	NotStarted    State = "not-started"    // neither application, no policy
	Undetermined  State = "unknown"        // something could not be read
	WithoutEntra  State = "on-premises"    // no Entra, so no non-destructive reset
)

// TenantVerdict is the answer for a tenant.
type TenantVerdict struct {
	State  State      `json:"state" enum:"ready,broken,onboarded,half-consented,not-started,unknown,on-premises"`
	Text   string     `json:"text" doc:"One sentence"`
	Reason fault.Code `json:"reason,omitempty"`
	ReadAt time.Time  `json:"readAt,omitzero" doc:"When the facts were read; missing if no audit has ended"`
	Checks []Check    `json:"checks" nullable:"false"`
	Paths  []Verdict  `json:"paths" nullable:"false" doc:"What the tenant allows to a device that is eligible itself"`
	// AllowList is the value of [TenantFacts.AllowList].
	AllowList string `json:"allowList,omitempty" doc:"What to write into ConfigureWebSignInAllowedUrls, where the sign-in needs it"`
}

// Answer is whether users can reset a forgotten PIN without losing anything, as far as the tenant is concerned.
func (v TenantVerdict) Answer() reading.Answer {
	switch v.State {
	case Ready:
		return reading.Yes
	case Undetermined:
		return reading.Unknown
	}
	return reading.No
}
