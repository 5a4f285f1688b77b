package readiness

import (
	"slices"
	"strings"

	"pinreset/shared/fault"
	"pinreset/shared/policy"
	"pinreset/shared/reading"
)

// governmentSignIn is the sign-in page that Microsoft's page "PIN reset" has US Government tenants list.
const governmentSignIn = "login.microsoftonline.us"

// federated tells whether another provider signs the device's user in. Without a known user, the tenant's domains must agree.
func (v view) federated() reading.Answer {
	m, _ := v.f.Managed.Get()
	_, domain, _ := strings.Cut(m.User, "@")
	return v.t.federated(domain)
}

// federated tells it for users of a domain, or of any if domain is "".
func (t TenantFacts) federated(domain string) reading.Answer {
	all, ok := t.Domains.Get()
	if !ok {
		return reading.Unknown
	}
	some, every := false, len(all) > 0
	for _, d := range all {
		if domain != "" && strings.EqualFold(d.Name, domain) {
			return reading.Told(d.Federated)
		}
		some, every = some || d.Federated, every && d.Federated
	}
	switch {
	case !some:
		return reading.No
	case every:
		return reading.Yes
	}
	return reading.Unknown
}

// signInHosts are the hosts that web sign-in must be allowed to open for users of the domain ("" for all). They are unread if
// the sign-in page of a federated domain is not known.
func (t TenantFacts) signInHosts(domain string) reading.Of[[]string] {
	var hosts []string
	if t.Cloud == USGovernment {
		hosts = append(hosts, governmentSignIn)
	}
	domains, ok := t.Domains.Get()
	if !ok {
		return reading.Map(t.Domains, func([]Domain) []string { return nil })
	}
	one := slices.ContainsFunc(domains, func(d Domain) bool { return strings.EqualFold(d.Name, domain) })
	for _, d := range domains {
		if !d.Federated || one && !strings.EqualFold(d.Name, domain) {
			continue
		}
		of, ok := d.SignIn.Get()
		if !ok {
			return reading.Unread[[]string](d.SignIn.Why().Code, "the sign-in page of "+d.Name+" is not known")
		}
		for _, h := range of {
			if h = strings.ToLower(h); !slices.Contains(hosts, h) {
				hosts = append(hosts, h)
			}
		}
	}
	return reading.Read(hosts)
}

// allows tells whether a value of ConfigureWebSignInAllowedUrls lets web sign-in open the host. Whether a domain stands for
// what is below it is not documented, so that is unknown; a value with mistakes allows nothing.
func allows(value, host string) reading.Answer {
	if mistakeIn(value) != "" {
		return reading.No
	}
	out := reading.No
	for entry := range strings.SplitSeq(strings.ToLower(value), ";") {
		switch {
		case entry == "":
		case entry == host:
			return reading.Yes
		case strings.HasSuffix(host, "."+entry):
			out = reading.Unknown
		}
	}
	return out
}

// mistakeIn names the first mistake of a value, "" if there is none: it is domains, separated by semicolons, and no more.
func mistakeIn(value string) string {
	for _, m := range []struct{ part, name string }{
		{`"`, "quotation marks"}, {"'", "quotation marks"}, {"“", "quotation marks"}, {"”", "quotation marks"},
		{"://", "https://"}, {"/", "a path"}, {",", "commas"}, {" ", "spaces"},
	} {
		if strings.Contains(value, m.part) {
			return m.name
		}
	}
	return ""
}

// webSignIn checks the allow list of the flow with which an Entra joined device authenticates its user on the lock screen.
func (v view) webSignIn(p Path) Check {
	c := Check{ID: "web-sign-in", Title: "The sign-in page is on the allow list of web sign-in", Link: pageWebSignIn}
	switch {
	case !p.aboveLock() || p.onPremises():
		return skipped(c, "web sign-in is used on the lock screen only")
	case v.deployment.OK() && !v.is(EntraJoined):
		return skipped(c, "web sign-in is used on Entra joined devices only")
	case v.t.Kind == OnPremises:
		return skipped(c, "there is no Microsoft Entra ID")
	}
	m, _ := v.f.Managed.Get()
	_, domain, _ := strings.Cut(m.User, "@")
	if v.t.Cloud != USGovernment && v.federated() == reading.No {
		return skipped(c, "Microsoft's own page signs the user in")
	}
	hosts := v.t.signInHosts(domain)
	own := reading.Then(v.f.Report, func(r DeviceReport) reading.Of[string] { return r.AllowedURLs })
	needed, known := hosts.Get()
	value, reported := own.Get()
	fix := []string{"Set ConfigureWebSignInAllowedUrls to: " + strings.Join(needed, ";")}
	switch {
	case reported && mistakeIn(value) != "":
		return failed(c, fault.WebSignInNotAllowed, "the device has \""+value+"\", which has "+mistakeIn(value)+" in it", fix[:min(len(needed), 1)]...)
	case !known && reported && value == "" && v.federated() == reading.Yes:
		return failed(c, fault.WebSignInNotAllowed, "the device has no allow list, and the sign-in is federated")
	case !known:
		return unread(c, fault.UnknownWebSignIn, causeOf(hosts))
	case v.federated() == reading.Unknown && v.t.Cloud != USGovernment:
		return unread(c, fault.UnknownWebSignIn, "some domains are federated, and the user's is not known")
	case reported:
		return v.listed(c, needed, value, "the device has \""+value+"\"", fix)
	}
	// Without the device's word: what Intune would give it, which is proof only of the contrary.
	all, stores := v.t.found(policy.WebSignInAllowList)
	answer := reading.No
	for _, f := range all {
		every := reading.Yes
		for _, h := range needed {
			every = reading.All(every, allows(f.List, h))
		}
		answer = reading.Any(answer, reading.All(v.reaches(f.Assignments), every))
	}
	switch {
	case answer == reading.Yes:
		return passed(c, "Intune assigns an allow list with "+strings.Join(needed, ";"))
	case answer == reading.No && len(stores) == 0:
		return failed(c, fault.WebSignInNotAllowed, "no allow list with "+strings.Join(needed, ";")+" reaches the device", fix...)
	case len(stores) > 0:
		return unread(c, fault.UnknownWebSignIn, v.t.unreadStores(stores))
	}
	return unread(c, fault.UnknownWebSignIn, "whether an allow list with "+strings.Join(needed, ";")+" reaches the device is not known")
}

func (v view) listed(c Check, needed []string, value, seen string, fix []string) Check {
	answer := reading.Yes
	for _, h := range needed {
		answer = reading.All(answer, allows(value, h))
	}
	switch answer {
	case reading.Yes:
		return passed(c, seen)
	case reading.No:
		return failed(c, fault.WebSignInNotAllowed, seen+", and the sign-in needs "+strings.Join(needed, ";"), fix...)
	}
	return unread(c, fault.UnknownWebSignIn, seen+", and whether that covers "+strings.Join(needed, ";")+" is not documented", fix...)
}
