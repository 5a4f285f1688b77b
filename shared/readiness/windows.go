package readiness

import (
	"slices"
	"strconv"
	"strings"

	"pinreset/shared/fault"
	"pinreset/shared/reading"
)

// isDesktop reports whether the free text of Intune's operatingSystem is Windows on a desktop.
func isDesktop(os string) bool {
	os = strings.ToLower(strings.ReplaceAll(os, " ", ""))
	if !strings.HasPrefix(os, "windows") {
		return false
	}
	for _, other := range []string{"mobile", "phone", "holographic", "team", "server"} {
		if strings.Contains(os, other) {
			return false
		}
	}
	return true
}

// firstBuild of each band of versions.
var firstBuild = [bands]int{before1703: 0, only1703: 15063, from1709to1809: 16299, from1903: 18362}

// buildOf tells the build of a version of Windows 10 or 11 such as "10.0.19045.4291"; 0 is any older Windows. It is false for
// a text that does not say.
func buildOf(version string) (build int, ok bool) {
	var numbers []int
	for part := range strings.SplitSeq(strings.TrimSpace(version), ".") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 {
			return 0, false
		}
		numbers = append(numbers, n)
	}
	switch {
	case len(numbers) >= 2 && numbers[0] < 10:
		return 0, true // "6.3.9600" is Windows 8.1
	case len(numbers) < 3 || numbers[0] != 10 || numbers[1] != 0:
		return 0, false
	}
	return numbers[2], true
}

// bandOf tells the band of a Windows version.
func bandOf(version string) (band, bool) {
	build, ok := buildOf(version)
	if !ok {
		return 0, false
	}
	b := bands - 1
	for build < firstBuild[b] {
		b--
	}
	return b, true
}

// editionIDs are the registry's EditionID values whose family is certain; skuNumbers the same by the product types of
// Microsoft's page "GetProductInfo". Of Pro for Workstations and Pro Education the page about PIN reset does not speak by name.
var editionIDs = map[string]Edition{
	"enterprise": Enterprise, "enterprisen": Enterprise, "enterprises": Enterprise, "enterprisesn": Enterprise, "enterpriseeval": Enterprise,
	"education": Education, "educationn": Education,
	"professional": Pro, "professionaln": Pro,
	"core": Home, "coren": Home, "coresinglelanguage": Home, "corecountryspecific": Home,
	"iotenterprise": IoTEnterprise, "iotenterprises": IoTEnterprise,
	"serverrdsh": VirtualDesktop, "cloudedition": SE, "cloudeditionn": SE,
}

var skuNumbers = map[int]Edition{
	4: Enterprise, 27: Enterprise, 72: Enterprise, 125: Enterprise, 126: Enterprise,
	121: Education, 122: Education,
	48: Pro, 49: Pro,
	98: Home, 99: Home, 100: Home, 101: Home,
	188: IoTEnterprise, 191: IoTEnterprise,
	175: VirtualDesktop, 202: SE, 203: SE,
}

// skuFamilies are values of Graph's skuFamily. Its values are not published; what is not here is not known.
var skuFamilies = map[string]Edition{
	"enterprise": Enterprise, "education": Education, "pro": Pro, "professional": Pro, "home": Home, "core": Home,
}

// edition finds the family of the device's edition: the device's own word first, then Graph's.
func (f DeviceFacts) edition() reading.Of[Edition] {
	managed, read := f.Managed.Get()
	if read && strings.HasPrefix(strings.ToLower(managed.Model), "cloud pc") {
		return reading.Read(CloudPC)
	}
	own := reading.Then(f.Report, func(r DeviceReport) reading.Of[string] { return r.Edition })
	if id, ok := own.Get(); ok && id != "" {
		if e, known := editionIDs[strings.ToLower(id)]; known {
			return reading.Read(e)
		}
		return reading.Read(OtherEdition)
	}
	if !read {
		return reading.Map(f.Managed, func(Managed) Edition { return "" })
	}
	if managed.SKUNumber != 0 {
		if e, known := skuNumbers[managed.SKUNumber]; known {
			return reading.Read(e)
		}
		return reading.Read(OtherEdition)
	}
	if e, known := skuFamilies[strings.ToLower(managed.SKUFamily)]; known {
		return reading.Read(e)
	}
	if !own.OK() {
		return reading.Map(own, func(string) Edition { return "" })
	}
	return reading.Unread[Edition](fault.UnknownEdition, "Neither the device nor Intune says which edition it is.")
}

// version is the device's Windows version: what it said itself, else what Intune has.
func (f DeviceFacts) version() reading.Of[string] {
	own := reading.Then(f.Report, func(r DeviceReport) reading.Of[string] { return r.Version })
	if _, ok := own.Get(); ok {
		return own
	}
	return reading.Map(f.Managed, func(m Managed) string { return m.OSVersion })
}

// deployment finds how the device is joined: by dsregcmd, else by Graph. why is for people: what was seen.
func deployment(t TenantFacts, f DeviceFacts) (d reading.Of[Deployment], seen string) {
	if s, ok := status(f).Get(); ok {
		seen = "dsregcmd: AzureAdJoined " + yesNo(s.EntraJoined) + ", EnterpriseJoined " + yesNo(s.EnterpriseJoined) + ", DomainJoined " + yesNo(s.DomainJoined)
		switch {
		case s.EntraJoined && s.DomainJoined:
			return reading.Read(hybrid(f)), seen
		case s.EntraJoined:
			return reading.Read(EntraJoined), seen
		case s.EnterpriseJoined, s.DomainJoined && s.HelloSet:
			return reading.Read(OnPremisesHello), seen
		case s.DomainJoined:
			return reading.Read(DomainOnly), seen
		case s.WorkplaceJoined:
			return reading.Read(EntraRegistered), seen + ", WorkplaceJoined YES"
		case s.HelloSet:
			return reading.Read(MicrosoftAccount), seen + ", NgcSet YES" // a container without any directory
		}
		return reading.Read(Workgroup), seen
	}
	if t.Kind == OnPremises {
		return reading.Map(status(f), func(Status) Deployment { return "" }), ""
	}
	if m, ok := f.Managed.Get(); ok {
		switch strings.ToLower(m.JoinType) {
		case "azureadjoined":
			return reading.Read(EntraJoined), "Intune: " + m.JoinType
		case "hybridazureadjoined":
			return reading.Read(hybrid(f)), "Intune: " + m.JoinType
		case "azureadregistered":
			return reading.Read(EntraRegistered), "Intune: " + m.JoinType
		}
	}
	if x, ok := f.Directory.Get(); ok && x.Present {
		switch strings.ToLower(x.TrustType) {
		case "azuread":
			return reading.Read(EntraJoined), "directory: trustType " + x.TrustType
		case "serverad":
			return reading.Read(hybrid(f)), "directory: trustType " + x.TrustType
		case "workplace":
			return reading.Read(EntraRegistered), "directory: trustType " + x.TrustType
		}
	}
	switch {
	case !f.Managed.OK():
		return reading.Map(f.Managed, func(Managed) Deployment { return "" }), ""
	case !f.Directory.OK():
		return reading.Map(f.Directory, func(Directory) Deployment { return "" }), ""
	}
	return reading.Unread[Deployment](fault.UnknownJoin, "Neither Intune nor the directory says how it is joined."), ""
}

// hybrid tells apart the trust types of a hybrid joined device.
func hybrid(f DeviceFacts) Deployment {
	trust, ok := trustOf(f).Get()
	switch {
	case ok && trust == KeyTrust:
		return HybridKeyTrust
	case ok && slices.Contains([]Trust{CertificateTrust, CloudKerberosTrust}, trust):
		return HybridJoined
	}
	return HybridAnyTrust
}

func trustOf(f DeviceFacts) reading.Of[Trust] {
	return reading.Then(f.Report, func(r DeviceReport) reading.Of[Trust] { return r.Trust })
}

func status(f DeviceFacts) reading.Of[Status] {
	return reading.Then(f.Report, func(r DeviceReport) reading.Of[Status] { return r.Status })
}

func yesNo(b bool) string {
	if b {
		return "YES"
	}
	return "NO"
}
