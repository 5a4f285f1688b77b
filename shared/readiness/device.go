package readiness

import (
	"strings"

	"pinreset/shared/reading"
)

// Device gives the verdict of every path for a device of the tenant, in the order of [Paths].
func Device(t TenantFacts, f DeviceFacts) []Verdict {
	v := view{t: t, f: f}
	v.deployment, v.joinSeen = deployment(t, f)
	v.policy = v.devicePolicy()
	said, _ := f.version().Get()
	out := make([]Verdict, 0, len(Paths()))
	for _, p := range Paths() {
		checks := v.windows(p)
		if p == RemotePasscode {
			checks = v.remote()
		}
		verdict := decide(p, checks)
		guide(&verdict, v.userDeployment(), said)
		out = append(out, verdict)
	}
	return out
}

// view is what the checks of one device share.
type view struct {
	t          TenantFacts
	f          DeviceFacts
	deployment reading.Of[Deployment]
	joinSeen   string
	policy     []Check
}

func (p Path) keeps() bool { return p == KeepSettings || p == KeepLockScreen }

func (p Path) onPremises() bool { return p == OnPremSettings || p == OnPremLockScreen }

func (p Path) aboveLock() bool {
	return p == KeepLockScreen || p == DestroyLockScreen || p == OnPremLockScreen
}

// windows makes the checks of a path that a user takes at a Windows device.
func (v view) windows(p Path) []Check {
	platform := v.platform()
	checks := []Check{platform}
	version, edition := v.versionAndEdition(p)
	checks = append(checks, version, edition, v.join(p), v.enabled(p), v.pin(), v.cloud(p))
	checks = append(checks, v.applications(p)...)
	checks = append(checks, v.policyOf(p)...)
	checks = append(checks, v.protector(p), v.webSignIn(p))
	checks = append(checks, v.lockScreen(p)...)
	checks = append(checks, v.lineOfSight(p)...)
	checks = append(checks, v.password(p), v.token(p))
	if platform.Outcome == Failed {
		for i := range checks[1:] {
			checks[1+i] = skipped(checks[1+i], "the platform rules this path out")
			checks[1+i].Reason, checks[1+i].Fix = "", nil
		}
	}
	if p.keeps() {
		v.settle(checks)
	}
	return checks
}

// settle makes an unread check advice where the device itself proves the outcome: CanReset tells that version, edition, policy
// and secret are in place. What is consented in the tenant it does not tell, and a failed check stays failed.
func (v view) settle(checks []Check) {
	if !v.proven() {
		return
	}
	for i, c := range checks {
		switch c.ID {
		case "version", "edition", "join", "cloud", "policy", "group-policy":
			if c.Outcome == Unread {
				checks[i].Advice = true
				checks[i].Evidence += "; the device's own CanReset settles it"
			}
		}
	}
}

// proven reports whether the device says that it can reset the PIN non-destructively.
func (v view) proven() bool {
	s, ok := status(v.f).Get()
	return ok && (strings.EqualFold(s.CanReset, "DestructiveAndNonDestructive") || strings.EqualFold(s.CanReset, "NonDestructiveOnly"))
}
