package devicereport

import (
	"regexp"
	"strings"
	"sync"

	"pinreset/shared/fault"
	"pinreset/shared/readiness"
	"pinreset/shared/reading"
)

const (
	keyGroupPolicy = `SOFTWARE\Policies\Microsoft\PassportForWork`  // below HKLM, or HKCU and HKU\{SID} for a user's
	keyMDM         = `SOFTWARE\Microsoft\Policies\PassportForWork\` // below HKLM: {tenant}\Device\Policies, {tenant}\{SID}\Policies
	keyWinlogon    = `SOFTWARE\Microsoft\Windows NT\CurrentVersion\Winlogon`
	keyWebSignIn   = `SOFTWARE\Microsoft\PolicyManager\current\device\Authentication`
	keyLogon       = `SOFTWARE\Microsoft\Windows\CurrentVersion\Policies\System`

	nameRecovery    = "EnablePinRecovery"
	nameCertificate = "UseCertificateForOnPremAuth"
	nameCloudTrust  = "UseCloudTrustForOnPremAuth"
	nameAllowList   = "ConfigureWebSignInAllowedUrls"
	nameShell       = "Shell"
	nameCtrlAltDel  = "DisableCAD"

	machine = `HKLM\`
	user    = `HKCU\`
)

// Places are the values of the registry that an agent is to look at, for a device of the tenant whose user has the security id.
// Without a tenant or a user, those of Intune's policies that need them are left out.
func Places(tenant, sid string) []Value {
	var list []Value
	add := func(key string, names ...string) {
		for _, name := range names {
			list = append(list, Value{Key: key, Name: name})
		}
	}
	add(machine+keyGroupPolicy, nameRecovery, nameCertificate, nameCloudTrust)
	add(user+keyGroupPolicy, nameRecovery)
	if tenant != "" {
		add(machine+keyMDM+tenant+`\Device\Policies`, nameRecovery, nameCertificate, nameCloudTrust)
		if sid != "" {
			add(machine+keyMDM+tenant+`\`+sid+`\Policies`, nameRecovery)
		}
	}
	add(machine+keyWebSignIn, nameAllowList)
	for _, l := range readiness.Limitations() {
		if l.Key != "" {
			add(machine+l.Key, l.Name)
		}
	}
	add(machine+keyLogon, nameCtrlAltDel)
	add(machine+keyWinlogon, nameShell)
	return list
}

// notLooked is a value that the report does not mention.
func notLooked[T any]() reading.Of[T] {
	return reading.Unread[T](fault.NotRead, "The device's report does not mention it.")
}

// denied is a value that the agent could not read.
func denied[T any]() reading.Of[T] {
	return reading.Unread[T](fault.NotRead, "The agent on the device was not allowed to read it.")
}

// found is a value of the registry that was looked at.
type found struct {
	data string
	set  bool
}

// at returns what the report says of the first value with the name whose key fits. One that is set wins over one that is not, and
// one that could not be read over one that is not there: it may be anything.
func (r Report) at(name string, fits func(key string) bool) reading.Of[found] {
	out := notLooked[found]()
	for _, v := range r.Registry {
		if !same(v.Name, name) || !fits(v.Key) {
			continue
		}
		switch v.State {
		case Set:
			return reading.Read(found{data: v.Data, set: true})
		case Denied:
			out = denied[found]()
		case Absent:
			if out.Why().Text != denied[found]().Why().Text {
				out = reading.Read(found{})
			}
		}
	}
	return out
}

func is(key string) func(string) bool { return func(k string) bool { return same(k, key) } }

// Made at its first use, like keyPattern.
var sidPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^S-1-[0-9-]{1,180}$`) })

// ofUser reports whether a key is below a user's hive, as the user's own agent or one of the system sees it.
func ofUser(key, below string) bool {
	if rest, ok := cutFold(key, user); ok {
		return same(rest, below)
	}
	rest, ok := cutFold(key, `HKU\`)
	sid, rest, _ := strings.Cut(rest, `\`)
	return ok && sidPattern().MatchString(strings.ToUpper(sid)) && same(rest, below)
}

// ofMDM reports whether a key is where Intune's policies for the tenant appear: those of the device, or of a user.
func ofMDM(key, tenant string, device bool) bool {
	rest, ok := cutFold(key, machine+keyMDM+tenant+`\`)
	if !ok || tenant == "" {
		return false
	}
	whose, rest, _ := strings.Cut(rest, `\`)
	return same(rest, "Policies") && same(whose, "Device") == device && (device || sidPattern().MatchString(strings.ToUpper(whose)))
}

func cutFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !same(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// setting reads a switch. A number that is neither 0 nor 1 is told, and taken for neither.
func setting(o reading.Of[found]) reading.Of[readiness.Setting] {
	return reading.Then(o, func(f found) reading.Of[readiness.Setting] {
		switch {
		case !f.set:
			return reading.Read(readiness.NotSet)
		case f.data == "1":
			return reading.Read(readiness.On)
		case f.data == "0":
			return reading.Read(readiness.Off)
		}
		return reading.Unread[readiness.Setting](fault.UnknownPolicy, "The registry holds a value that is neither 0 nor 1.")
	})
}

func (r Report) policies(tenant string) readiness.PolicyValues {
	return readiness.PolicyValues{
		UserGroupPolicy:     setting(r.at(nameRecovery, func(k string) bool { return ofUser(k, keyGroupPolicy) })),
		ComputerGroupPolicy: setting(r.at(nameRecovery, is(machine+keyGroupPolicy))),
		UserMDM:             setting(r.at(nameRecovery, func(k string) bool { return ofMDM(k, tenant, false) })),
		DeviceMDM:           setting(r.at(nameRecovery, func(k string) bool { return ofMDM(k, tenant, true) })),
	}
}

// trust is told by the policy: certificate before cloud Kerberos, and key trust where neither is asked for anywhere. A place that
// could not be read leaves it open, unless another says yes.
func (r Report) trust(tenant string) reading.Of[readiness.Trust] {
	places := []func(string) bool{is(machine + keyGroupPolicy), func(k string) bool { return ofMDM(k, tenant, true) }}
	asked := func(name string) reading.Answer {
		var answers []reading.Answer
		for _, place := range places {
			answers = append(answers, r.at(name, place).Holds(func(f found) bool { return f.set && f.data == "1" }))
		}
		return reading.Any(answers...)
	}
	certificate, cloud := asked(nameCertificate), asked(nameCloudTrust)
	switch {
	case certificate == reading.Yes:
		return reading.Read(readiness.CertificateTrust)
	case certificate == reading.No && cloud == reading.Yes:
		return reading.Read(readiness.CloudKerberosTrust)
	case certificate == reading.No && cloud == reading.No:
		return reading.Read(readiness.KeyTrust)
	}
	return reading.Unread[readiness.Trust](fault.UnknownTrust, "Not every place that decides about it was read on the device.")
}
