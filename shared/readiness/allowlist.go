package readiness

import (
	"slices"
	"strings"

	"pinreset/shared/fault"
	"pinreset/shared/policy"
	"pinreset/shared/reading"
)

// AllowList is the value to write for ConfigureWebSignInAllowedUrls: the hosts that the tenant's sign-in needs, after those
// that are listed now. It is "" if none is needed, and unread if a sign-in page is not known.
func (t TenantFacts) AllowList() reading.Of[string] {
	return reading.Map(t.signInHosts(""), func(hosts []string) string {
		if len(hosts) == 0 {
			return ""
		}
		all, _ := t.found(policy.WebSignInAllowList)
		var value []string
		for _, f := range all {
			if mistakeIn(f.List) != "" || !f.Assigned() {
				continue
			}
			for entry := range strings.SplitSeq(strings.ToLower(f.List), ";") {
				if entry != "" && !slices.Contains(value, entry) {
					value = append(value, entry)
				}
			}
		}
		for _, h := range hosts {
			if !slices.Contains(value, h) {
				value = append(value, h)
			}
		}
		return strings.Join(value, ";")
	})
}

func (t TenantFacts) allowList() Check {
	c := Check{ID: "web-sign-in", Title: "The sign-in page is on the allow list of web sign-in", Advice: true, Link: pageWebSignIn}
	if t.Cloud != USGovernment && t.federated("") == reading.No {
		return skipped(c, "Microsoft's own page signs everybody in")
	}
	hosts := t.signInHosts("")
	needed, ok := hosts.Get()
	if !ok {
		return missing(c, fault.UnknownWebSignIn, hosts, "Write the domains of the sign-in page into ConfigureWebSignInAllowedUrls, separated by semicolons, without quotation marks.")
	}
	all, stores := t.found(policy.WebSignInAllowList)
	answer := reading.No
	for _, f := range all {
		if !f.Assigned() {
			continue
		}
		every := reading.Yes
		for _, h := range needed {
			every = reading.All(every, allows(f.List, h))
		}
		answer = reading.Any(answer, every)
	}
	value, _ := t.AllowList().Get()
	fix := "Set ConfigureWebSignInAllowedUrls to: " + value
	switch {
	case answer == reading.Yes:
		return passed(c, "an assigned policy lists "+strings.Join(needed, ";"))
	case len(stores) > 0:
		return t.storesMissing(c, fault.UnknownWebSignIn, stores, fix)
	case answer == reading.Unknown:
		return unread(c, fault.UnknownWebSignIn, "whether the listed domains cover "+strings.Join(needed, ";")+" is not documented", fix)
	}
	return failed(c, fault.WebSignInNotAllowed, "no assigned policy lists "+strings.Join(needed, ";"), fix)
}
