package readiness

import (
	"fmt"

	"pinreset/shared/fault"
)

// coverage shows what an audit counted.
func (t TenantFacts) coverage() []Check {
	count := Check{ID: "coverage", Title: "Devices took the policy", Advice: true, Link: pageAssign}
	kinds := Check{ID: "eligible", Title: "Windows devices are eligible", Advice: true, Link: pagePINReset}
	trust := Check{ID: "key-trust", Title: "No hybrid device with key trust", Advice: true, Link: pagePINReset}
	lock := Check{ID: "lock-screen", Title: "No lock-screen limitation reported", Advice: true, Link: pageLockScreen}
	c, ok := t.Coverage.Get()
	if !ok {
		code, why := t.Coverage.Why().Code, causeOf(t.Coverage)
		return []Check{unread(count, code, why), unread(kinds, code, why), unread(trust, code, why), unread(lock, code, why)}
	}
	told := fmt.Sprintf("%d of %d targeted", c.Succeeded, c.Targeted)
	if c.NotApplicable > 0 {
		told += fmt.Sprintf(", beside %d that the policy can't apply to", c.NotApplicable)
	}
	switch {
	case c.Targeted == 0:
		count = skipped(count, "no device is targeted")
	case c.Failed > 0:
		count = failed(count, fault.PolicyConflict, fmt.Sprintf("%s, %d failed", told, c.Failed), "Look at the policy's device status in Intune.")
	default:
		count = passed(count, told)
	}
	switch {
	case c.Ineligible > 0:
		kinds = failed(kinds, fault.EditionNotSupported, fmt.Sprintf("version, edition or join type rules %d of %d out", c.Ineligible, c.Windows), "Look at the readiness of single devices for what each one lacks.")
	default:
		kinds = passed(kinds, fmt.Sprintf("none of %d is ruled out", c.Windows))
	}
	if c.Reported == 0 {
		why := "no device has reported"
		return []Check{count, kinds, unread(trust, fault.DeviceNotReporting, why), unread(lock, fault.DeviceNotReporting, why)}
	}
	reports := fmt.Sprintf("%d of %d that reported", c.KeyTrust, c.Reported)
	if c.KeyTrust > 0 {
		trust = failed(trust, fault.JoinNotSupported, reports, "Roll out non-destructive reset: with key trust it is the only one above the lock screen.")
	} else {
		trust = passed(trust, reports)
	}
	reports = fmt.Sprintf("%d of %d that reported", c.LockScreen, c.Reported)
	if c.LockScreen > 0 {
		lock = failed(lock, fault.LockScreenBlocked, reports)
	} else {
		lock = passed(lock, reports)
	}
	return []Check{count, kinds, trust, lock}
}

// onPremises are the requirements of the on-premises form that belong to the deployment as a whole.
func (t TenantFacts) onPremises() []Check {
	return []Check{
		advice(unread(Check{ID: "domain-controller", Title: "Domain controllers answer", Link: pagePINReset}, fault.UnknownLineOfSight, "each device tells for itself", "Let devices report.")),
		advice(unread(Check{ID: "federation", Title: "The federation service answers", Link: pagePINReset}, fault.UnknownLineOfSight, "each device tells for itself", "Let devices report.")),
	}
}
