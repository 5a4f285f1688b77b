package readiness

import (
	"pinreset/shared/fault"
	"pinreset/shared/reading"
)

// band is a range of Windows versions within which Microsoft's pages say the same.
type band int

// Bands, oldest first.
const (
	before1703 band = iota
	only1703
	from1709to1809
	from1903 // with Windows 11
	bands
)

// Edition is a family of Windows editions.
type Edition string

// Editions.
const (
	Enterprise     Edition = "Enterprise"
	Education      Edition = "Education"
	Pro            Edition = "Pro"
	SE             Edition = "SE"
	IoTEnterprise  Edition = "IoT Enterprise"
	VirtualDesktop Edition = "Azure Virtual Desktop" // Enterprise multi-session
	CloudPC        Edition = "Cloud PC"
	Home           Edition = "Home"
	OtherEdition   Edition = "other" // known by its name, and named by no page
)

// cell is an answer of a table. The zero cell is a case that the table does not have.
type cell struct {
	answer reading.Answer
	code   fault.Code // of No and Unknown
}

var (
	yes        = cell{answer: reading.Yes}
	tooOld     = cell{reading.No, fault.VersionTooOld}
	noEdition  = cell{reading.No, fault.EditionNotSupported}
	notTold    = cell{reading.Unknown, fault.UnknownEdition}
	noJoin     = cell{reading.No, fault.JoinNotSupported}
	keyDelay   = cell{reading.No, fault.JoinNotSupported} // key trust above the lock screen: the new key has to be synchronised first
	joinUnsure = cell{reading.Unknown, fault.UnknownJoin}
)

// editions says which edition resets a PIN non-destructively from which version: Microsoft's page "PIN reset", whose edition
// of 2020 has Enterprise from 1709 and Pro from 1903, and that of 2024 Education too, without a version of its own. Of the
// editions whose later cells are notTold, the setting's page and Intune's catalogue accept the setting, and the page about PIN
// reset does not speak. It names no Home.
var editions = map[Edition][bands]cell{
	Enterprise:     {tooOld, tooOld, yes, yes},
	Education:      {tooOld, tooOld, noEdition, yes},
	Pro:            {tooOld, tooOld, noEdition, yes},
	SE:             {{}, {}, notTold, notTold},
	IoTEnterprise:  {{}, {}, notTold, notTold},
	VirtualDesktop: {{}, {}, notTold, notTold},
	CloudPC:        {{}, {}, notTold, notTold},
	OtherEdition:   {{}, {}, notTold, notTold},
	Home:           {tooOld, tooOld, noEdition, noEdition},
}

// nonDestructive looks an edition and a version up. A nil part is not known: the answer is then that of all cases there are
// if they agree, and Unknown otherwise.
func nonDestructive(e *Edition, b *band) cell {
	var found *cell
	for _, edition := range allEditions {
		if e != nil && edition != *e {
			continue
		}
		for i, c := range editions[edition] {
			if b != nil && band(i) != *b || c == (cell{}) {
				continue
			}
			switch {
			case found == nil:
				found = &c
			case found.answer != c.answer:
				return cell{reading.Unknown, unknownPart(e, b)}
			case found.code != c.code && c.code == fault.VersionTooOld:
				found = &c // the reason that is checked first
			}
		}
	}
	if found == nil {
		return cell{reading.Unknown, fault.UnknownEdition} // a case that the table does not have
	}
	return *found
}

func unknownPart(e *Edition, b *band) fault.Code {
	if b == nil {
		return fault.UnknownVersion
	}
	return fault.UnknownEdition
}

var allEditions = []Edition{Enterprise, Education, Pro, SE, IoTEnterprise, VirtualDesktop, CloudPC, OtherEdition, Home}

// Deployment is how a Windows device is joined, with what follows from it.
type Deployment string

// Deployments.
const (
	EntraJoined      Deployment = "entra-joined"
	HybridJoined     Deployment = "hybrid-joined"     // certificate or cloud Kerberos trust
	HybridKeyTrust   Deployment = "hybrid-joined-key" // key trust
	HybridAnyTrust   Deployment = "hybrid-joined-any" // the trust type is not known
	EntraRegistered  Deployment = "entra-registered"
	OnPremisesHello  Deployment = "on-premises"   // Active Directory and AD FS, no Entra
	DomainOnly       Deployment = "domain-joined" // without Windows Hello for Business
	Workgroup        Deployment = "workgroup"     // without Windows Hello for Business
	MicrosoftAccount Deployment = "microsoft-account"
)

// line is what a path needs of the network beside the internet.
type line int

const (
	internet            line = iota
	domainController         // a domain controller in reach
	domainAndFederation      // a domain controller and the federation service
)

// place is one cell of the table of deployments.
type place struct {
	cell
	needs line
}

// deployments is the table of Microsoft's page "PIN reset", hybrid and on-premises part. Its rows for the on-premises form
// are those of the edition of 2020, which later editions left out. Registered devices were listed in 2020 and 2023 and not in
// 2024. Domain-joined devices without Windows Hello for Business have no container, hence no PIN to reset; the row of the
// Microsoft account is there because the page has it, and is outside of what pinreset looks after.
var deployments = map[Deployment]map[Path]place{
	EntraJoined: {
		KeepSettings: {yes, internet}, KeepLockScreen: {yes, internet},
		DestroySettings: {yes, internet}, DestroyLockScreen: {yes, internet},
	},
	HybridJoined: {
		KeepSettings: {yes, internet}, KeepLockScreen: {yes, internet},
		DestroySettings: {yes, domainController}, DestroyLockScreen: {yes, domainController},
	},
	HybridKeyTrust: {
		KeepSettings: {yes, internet}, KeepLockScreen: {yes, internet},
		DestroySettings: {yes, domainController}, DestroyLockScreen: {keyDelay, internet},
	},
	HybridAnyTrust: {
		KeepSettings: {yes, internet}, KeepLockScreen: {yes, internet},
		DestroySettings: {yes, domainController}, DestroyLockScreen: {cell{reading.Unknown, fault.UnknownTrust}, domainController},
	},
	EntraRegistered: {
		KeepSettings: {joinUnsure, internet}, KeepLockScreen: {joinUnsure, internet},
		DestroySettings: {joinUnsure, internet}, DestroyLockScreen: {joinUnsure, internet},
	},
	OnPremisesHello: {
		KeepSettings: {noJoin, internet}, KeepLockScreen: {noJoin, internet},
		OnPremSettings: {yes, domainAndFederation}, OnPremLockScreen: {yes, domainAndFederation},
	},
	DomainOnly: {
		KeepSettings: {noJoin, internet}, KeepLockScreen: {noJoin, internet},
		DestroySettings: {noJoin, internet}, DestroyLockScreen: {noJoin, internet},
	},
	Workgroup: {
		KeepSettings: {noJoin, internet}, KeepLockScreen: {noJoin, internet},
		DestroySettings: {noJoin, internet}, DestroyLockScreen: {noJoin, internet},
	},
	MicrosoftAccount: {
		KeepSettings: {noJoin, internet}, KeepLockScreen: {noJoin, internet},
		DestroySettings: {yes, internet}, DestroyLockScreen: {yes, internet},
	},
}

// lookUp returns the place of a path in a deployment. A path that the deployment's row does not have is of the other kind of
// deployment, and not for this one.
func lookUp(d Deployment, p Path) place {
	if c, ok := deployments[d][p]; ok {
		return c
	}
	return place{noJoin, internet}
}

// firstVersion is the first Windows version in which a path exists at all: 1703 from Settings, 1709 above the lock screen, and
// 1709 for both non-destructive ones.
func firstVersion(p Path) (first band, name string) {
	if p == DestroySettings || p == OnPremSettings {
		return only1703, "1703"
	}
	return from1709to1809, "1709"
}
