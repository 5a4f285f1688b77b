package readiness_test

import (
	"testing"
	"time"

	"pinreset/shared/fault"
	"pinreset/shared/policy"
	"pinreset/shared/readiness"
	"pinreset/shared/reading"
)

const (
	tenantID = "0b7e2d4c-6a51-4f3e-9d28-5c1a7f90e364"
	deviceID = "5f0c3a91-27de-4b68-8e14-d3b96a7c0f52"
	groupID  = "7a1d9c60-4e82-4b35-a0f7-e98b2d516c43"
)

var now = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

// readyTenant is a tenant in which nothing is in the way.
func readyTenant() readiness.TenantFacts {
	t := readiness.TenantFacts{
		TenantID: tenantID, Kind: readiness.Entra, ReadAt: now,
		Service:  reading.Read(readiness.ServicePrincipal{Present: true, ID: "s", AccountEnabled: true, Grants: reading.Read([]string{"User.Read"})}),
		Client:   reading.Read(readiness.ServicePrincipal{Present: true, ID: "c", AccountEnabled: true, Grants: reading.Read([]string{})}),
		Domains:  reading.Read([]readiness.Domain{{Name: "contoso.example", Default: true}}),
		Coverage: reading.Read(readiness.Coverage{Devices: 10, Windows: 6, Phones: 4, Targeted: 6, Succeeded: 6, Reported: 6, Proven: 6}),
		Policies: map[policy.Store]reading.Of[[]policy.Found]{},
	}
	for _, s := range policy.Stores {
		t.Policies[s] = reading.Read([]policy.Found{})
	}
	return with(t, recovery(policy.On, policy.Assignment{Kind: policy.AllDevices}))
}

// recovery is a policy that makes the setting.
func recovery(v policy.Value, a ...policy.Assignment) policy.Found {
	return policy.Found{ID: "p-" + v.String(), Name: "PIN recovery " + v.String(), Shape: policy.OMAURI, Setting: policy.PINRecovery, Scope: policy.Device, Value: v, Assignments: a}
}

// with has the policies in place of those of their stores.
func with(t readiness.TenantFacts, found ...policy.Found) readiness.TenantFacts {
	policies := map[policy.Store]reading.Of[[]policy.Found]{}
	for _, s := range policy.Stores {
		list := []policy.Found{}
		for _, f := range found {
			if f.Shape.Store() == s {
				list = append(list, f)
			}
		}
		policies[s] = reading.Read(list)
	}
	t.Policies = policies
	return t
}

// readyDevice is an Entra joined device with Enterprise of today in which nothing is in the way.
func readyDevice() readiness.DeviceFacts {
	limits := map[string]reading.Of[bool]{}
	for _, l := range readiness.Limitations() {
		limits[l.ID] = reading.Read(false)
	}
	return readiness.DeviceFacts{
		DeviceID: deviceID, ReadAt: now,
		Managed: reading.Read(readiness.Managed{Name: "hr-laptop-11", OperatingSystem: "Windows", OSVersion: "10.0.22631.3447", SKUFamily: "Enterprise",
			JoinType: "azureADJoined", EnrollmentType: "windowsAzureADJoin", UserID: "u", User: "ada@contoso.example"}),
		Directory:  reading.Read(readiness.Directory{Present: true, TrustType: "AzureAd", Enabled: true}),
		Groups:     reading.Read([]string{groupID}),
		UserGroups: reading.Read([]string{}),
		Report: reading.Read(readiness.DeviceReport{
			ReportedAt: now, Tenant: tenantID,
			Edition: reading.Read("Enterprise"), Version: reading.Read("10.0.22631.3447"), Trust: reading.Read(readiness.CloudKerberosTrust),
			Status: reading.Read(readiness.Status{EntraJoined: true, HelloSet: true, CanReset: "DestructiveAndNonDestructive", PrimaryToken: "YES", DeviceAuth: "SUCCESS"}),
			Policies: readiness.PolicyValues{UserGroupPolicy: reading.Read(readiness.NotSet), ComputerGroupPolicy: reading.Read(readiness.NotSet),
				UserMDM: reading.Read(readiness.NotSet), DeviceMDM: reading.Read(readiness.On)},
			AllowedURLs: reading.Read(""), LockScreen: limits,
			DomainController: reading.Read(true), Federation: reading.Read(true), Enrolled: reading.Read(true),
		}),
	}
}

// reported changes the device's report.
func reported(f readiness.DeviceFacts, change func(*readiness.DeviceReport)) readiness.DeviceFacts {
	r, _ := f.Report.Get()
	limits := map[string]reading.Of[bool]{}
	for id, held := range r.LockScreen {
		limits[id] = held
	}
	r.LockScreen = limits
	change(&r)
	f.Report = reading.Read(r)
	return f
}

func managed(f readiness.DeviceFacts, change func(*readiness.Managed)) readiness.DeviceFacts {
	m, _ := f.Managed.Get()
	change(&m)
	f.Managed = reading.Read(m)
	return f
}

// status changes what dsregcmd says.
func status(f readiness.DeviceFacts, change func(*readiness.Status)) readiness.DeviceFacts {
	return reported(f, func(r *readiness.DeviceReport) {
		s, _ := r.Status.Get()
		change(&s)
		r.Status = reading.Read(s)
	})
}

// verdicts are those of a device, by path.
func verdicts(t readiness.TenantFacts, f readiness.DeviceFacts) map[readiness.Path]readiness.Verdict {
	out := map[readiness.Path]readiness.Verdict{}
	for _, v := range readiness.Device(t, f) {
		out[v.Path] = v
	}
	return out
}

// check finds a check of a verdict.
func check(t *testing.T, v readiness.Verdict, id string) readiness.Check {
	t.Helper()
	for _, c := range v.Checks {
		if c.ID == id {
			return c
		}
	}
	t.Fatalf("%s has no check %s", v.Path, id)
	return readiness.Check{}
}

// TestEditions has a case for each cell of the table "non-destructive, by edition × version": Enterprise from 1709, Pro from
// 1903, Education from 1903, Home never; of the others Microsoft's page does not speak.
func TestEditions(t *testing.T) {
	t.Parallel()
	versions := []struct{ name, build string }{{"before 1703", "10.0.14393.1066"}, {"1703", "10.0.15063.0"}, {"1709", "10.0.16299.15"}, {"1809", "10.0.17763.1"}, {"1903", "10.0.18362.30"}, {"Windows 11", "10.0.22631.3447"}}
	const y, n, u = reading.Yes, reading.No, reading.Unknown
	type cell struct {
		answer reading.Answer
		code   fault.Code
	}
	ok, old, not, silent := cell{y, ""}, cell{n, fault.VersionTooOld}, cell{n, fault.EditionNotSupported}, cell{u, fault.UnknownEdition}
	for _, row := range []struct {
		name    string
		edition string // EditionID
		sku     int    // skuNumber
		model   string
		cells   [6]cell
	}{
		{"Enterprise", "Enterprise", 4, "", [6]cell{old, old, ok, ok, ok, ok}},
		{"Enterprise LTSC", "EnterpriseS", 125, "", [6]cell{old, old, ok, ok, ok, ok}},
		{"Education", "Education", 121, "", [6]cell{old, old, not, not, ok, ok}},
		{"Pro", "Professional", 48, "", [6]cell{old, old, not, not, ok, ok}},
		{"SE", "CloudEdition", 203, "", [6]cell{silent, silent, silent, silent, silent, silent}},
		{"IoT Enterprise", "IoTEnterprise", 188, "", [6]cell{silent, silent, silent, silent, silent, silent}},
		{"Azure Virtual Desktop", "ServerRdsh", 175, "", [6]cell{silent, silent, silent, silent, silent, silent}},
		{"Cloud PC", "Enterprise", 4, "Cloud PC Enterprise 2vCPU/8GB", [6]cell{silent, silent, silent, silent, silent, silent}},
		{"an edition that no page names", "ProfessionalWorkstation", 161, "", [6]cell{silent, silent, silent, silent, silent, silent}},
		{"Home", "Core", 101, "", [6]cell{old, old, not, not, not, not}},
		{"edition not known", "", 0, "", [6]cell{old, old, silent, silent, silent, silent}},
	} {
		for i, v := range versions {
			t.Run(row.name+"/"+v.name, func(t *testing.T) {
				t.Parallel()
				byReport := reported(readyDevice(), func(r *readiness.DeviceReport) {
					r.Edition, r.Version = reading.Read(row.edition), reading.Read(v.build)
					r.Status = reading.Unread[readiness.Status](fault.NotRead, "") // else CanReset settles what no page says
				})
				byReport = managed(byReport, func(m *readiness.Managed) { m.Model, m.SKUFamily = row.model, "" })
				byGraph := reported(byReport, func(r *readiness.DeviceReport) { r.Edition, r.Version = reading.Of[string]{}, reading.Of[string]{} })
				byGraph = managed(byGraph, func(m *readiness.Managed) { m.SKUNumber, m.OSVersion = row.sku, v.build })
				for from, f := range map[string]readiness.DeviceFacts{"report": byReport, "Graph": byGraph} {
					for _, p := range []readiness.Path{readiness.KeepSettings, readiness.KeepLockScreen} {
						got := verdicts(readyTenant(), f)[p]
						want := row.cells[i]
						edition, version := check(t, got, "edition"), check(t, got, "version")
						switch want.answer {
						case y:
							if edition.Outcome != readiness.Passed || version.Outcome != readiness.Passed || got.Answer == n {
								t.Errorf("%s, %s: %s; %+v, %+v", from, p, got.Answer, version, edition)
							}
						case n:
							if got.Answer != n || got.Reason != want.code {
								t.Errorf("%s, %s: %s %s, want no %s", from, p, got.Answer, got.Reason, want.code)
							}
						default:
							if got.Answer != u || got.Reason != want.code || edition.Outcome != readiness.Unread {
								t.Errorf("%s, %s: %s %s, want unknown %s; %+v", from, p, got.Answer, got.Reason, want.code, edition)
							}
						}
					}
					// Destructive reset asks for no edition, and for 1703 from Settings and 1709 above the lock screen.
					for p, first := range map[readiness.Path]int{readiness.DestroySettings: 1, readiness.DestroyLockScreen: 2} {
						got := verdicts(readyTenant(), f)[p]
						if c := check(t, got, "version"); (c.Outcome == readiness.Passed) != (i >= first) || i < first && (got.Answer != n || got.Reason != fault.VersionTooOld) {
							t.Errorf("%s, %s: %s %s; %+v", from, p, got.Answer, got.Reason, c)
						}
						if c := check(t, got, "edition"); c.Outcome != readiness.NotApplicable {
							t.Errorf("%s, %s: %+v", from, p, c)
						}
					}
				}
			})
		}
	}
}

// TestVersionNotKnown: without a version, an edition that no version helps is refused all the same.
func TestVersionNotKnown(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		version, edition string
		answer           reading.Answer
		code             fault.Code
	}{
		{"", "Enterprise", reading.Unknown, fault.UnknownVersion},
		{"22H2", "Enterprise", reading.Unknown, fault.UnknownVersion},
		{"10.0", "Professional", reading.Unknown, fault.UnknownVersion},
		{"11", "Professional", reading.Unknown, fault.UnknownVersion},
		{"10.1.22631", "Professional", reading.Unknown, fault.UnknownVersion},
		{"", "", reading.Unknown, fault.UnknownVersion},
		{"", "Core", reading.No, fault.EditionNotSupported},
		{"6.3.9600", "Enterprise", reading.No, fault.VersionTooOld},
		{"6.1", "Core", reading.No, fault.VersionTooOld},
	} {
		f := reported(readyDevice(), func(r *readiness.DeviceReport) {
			r.Edition, r.Version, r.Status = reading.Read(c.edition), reading.Read(c.version), reading.Of[readiness.Status]{}
		})
		f = managed(f, func(m *readiness.Managed) { m.SKUFamily = "" })
		if got := verdicts(readyTenant(), f)[readiness.KeepSettings]; got.Answer != c.answer || got.Reason != c.code {
			t.Errorf("%q %q: %s %s, want %s %s", c.version, c.edition, got.Answer, got.Reason, c.answer, c.code)
		}
	}
}

// TestDeployments has a case for each cell of the table "Windows, by join × trust × place" of Microsoft's page "PIN reset".
func TestDeployments(t *testing.T) {
	t.Parallel()
	type is = readiness.Status
	const y, n, u = reading.Yes, reading.No, reading.Unknown
	const dc, adfs = "domain-controller", "federation"
	paths := []readiness.Path{readiness.KeepSettings, readiness.KeepLockScreen, readiness.DestroySettings, readiness.DestroyLockScreen, readiness.OnPremSettings, readiness.OnPremLockScreen}
	join := fault.JoinNotSupported
	for _, row := range []struct {
		name    string
		kind    readiness.Kind
		status  is
		trust   readiness.Trust // "" is not known
		answers [6]reading.Answer
		reason  [6]fault.Code
		needs   [6][]string
	}{
		{"Entra joined, certificate trust", readiness.Entra, is{EntraJoined: true, HelloSet: true}, readiness.CertificateTrust, [6]reading.Answer{y, y, y, y, n, n}, [6]fault.Code{4: join, 5: join}, [6][]string{}},
		{"Entra joined, key trust", readiness.Entra, is{EntraJoined: true, HelloSet: true}, readiness.KeyTrust, [6]reading.Answer{y, y, y, y, n, n}, [6]fault.Code{4: join, 5: join}, [6][]string{}},
		{"Entra joined, cloud Kerberos trust", readiness.Entra, is{EntraJoined: true, HelloSet: true}, readiness.CloudKerberosTrust, [6]reading.Answer{y, y, y, y, n, n}, [6]fault.Code{4: join, 5: join}, [6][]string{}},
		{"Entra hybrid joined, certificate trust", readiness.Entra, is{EntraJoined: true, DomainJoined: true, HelloSet: true}, readiness.CertificateTrust, [6]reading.Answer{y, y, y, y, n, n}, [6]fault.Code{4: join, 5: join}, [6][]string{2: {dc}, 3: {dc}}},
		{"Entra hybrid joined, cloud Kerberos trust", readiness.Entra, is{EntraJoined: true, DomainJoined: true, HelloSet: true}, readiness.CloudKerberosTrust, [6]reading.Answer{y, y, y, y, n, n}, [6]fault.Code{4: join, 5: join}, [6][]string{2: {dc}, 3: {dc}}},
		{"Entra hybrid joined, key trust", readiness.Entra, is{EntraJoined: true, DomainJoined: true, HelloSet: true}, readiness.KeyTrust, [6]reading.Answer{y, y, y, n, n, n}, [6]fault.Code{3: join, 4: join, 5: join}, [6][]string{2: {dc}}},
		{"Entra hybrid joined, trust not known", readiness.Entra, is{EntraJoined: true, DomainJoined: true, HelloSet: true}, "", [6]reading.Answer{y, y, y, u, n, n}, [6]fault.Code{3: fault.UnknownTrust, 4: join, 5: join}, [6][]string{2: {dc}, 3: {dc}}},
		{"Entra registered", readiness.Entra, is{WorkplaceJoined: true, HelloSet: true}, "", [6]reading.Answer{u, u, u, u, n, n}, [6]fault.Code{fault.UnknownJoin, fault.UnknownJoin, fault.UnknownJoin, fault.UnknownJoin, join, join}, [6][]string{}},
		{"On-premises (AD and AD FS, no Entra)", readiness.OnPremises, is{EnterpriseJoined: true, DomainJoined: true, HelloSet: true}, readiness.KeyTrust, [6]reading.Answer{n, n, n, n, y, y}, [6]fault.Code{join, join, join, join}, [6][]string{4: {dc, adfs}, 5: {dc, adfs}}},
		{"On-premises, certificate trust", readiness.OnPremises, is{EnterpriseJoined: true, DomainJoined: true, HelloSet: true}, readiness.CertificateTrust, [6]reading.Answer{n, n, n, n, y, y}, [6]fault.Code{join, join, join, join}, [6][]string{4: {dc, adfs}, 5: {dc, adfs}}},
		{"Domain joined without Windows Hello for Business", readiness.Entra, is{DomainJoined: true}, "", [6]reading.Answer{n, n, n, n, n, n}, [6]fault.Code{join, join, join, join, join, join}, [6][]string{}},
		{"Workgroup", readiness.Entra, is{}, "", [6]reading.Answer{n, n, n, n, n, n}, [6]fault.Code{join, join, join, join, join, join}, [6][]string{}},
		{"Microsoft account", readiness.Entra, is{HelloSet: true}, "", [6]reading.Answer{n, n, y, y, n, n}, [6]fault.Code{join, join, "", "", join, join}, [6][]string{}},
	} {
		tenant := readyTenant()
		if row.kind == readiness.OnPremises {
			tenant = readiness.TenantFacts{TenantID: tenantID, Kind: readiness.OnPremises, ReadAt: now}
		}
		f := status(readyDevice(), func(s *is) { // CanReset only where it settles nothing that the row is about
			s.EntraJoined, s.EnterpriseJoined, s.DomainJoined, s.WorkplaceJoined, s.HelloSet = row.status.EntraJoined, row.status.EnterpriseJoined, row.status.DomainJoined, row.status.WorkplaceJoined, row.status.HelloSet
			if row.status.WorkplaceJoined {
				s.CanReset = ""
			}
		})
		f = reported(f, func(r *readiness.DeviceReport) {
			if r.Trust = reading.Read(row.trust); row.trust == "" {
				r.Trust = reading.Of[readiness.Trust]{}
			}
		})
		for i, p := range paths {
			t.Run(row.name+"/"+string(p), func(t *testing.T) {
				t.Parallel()
				got := verdicts(tenant, f)[p]
				if got.Answer != row.answers[i] || got.Reason != row.reason[i] {
					t.Errorf("%s %s, want %s %s: %s", got.Answer, got.Reason, row.answers[i], row.reason[i], got.Text)
				}
				// The network that the cell asks for decides, and no other does.
				cut := reported(f, func(r *readiness.DeviceReport) { r.DomainController = reading.Read(false) })
				blind := reported(f, func(r *readiness.DeviceReport) { r.DomainController = reading.Of[bool]{} })
				apart := reported(f, func(r *readiness.DeviceReport) { r.Federation = reading.Read(false) })
				for name, c := range map[string]struct {
					facts readiness.DeviceFacts
					needs string
					to    reading.Answer
					code  fault.Code
				}{
					"no domain controller":         {cut, dc, n, fault.LineOfSightNeeded},
					"domain controller not looked": {blind, dc, u, fault.UnknownLineOfSight},
					"no federation service":        {apart, adfs, n, fault.LineOfSightNeeded},
				} {
					now := verdicts(tenant, c.facts)[p]
					needed := false
					for _, what := range row.needs[i] {
						needed = needed || what == c.needs
					}
					switch {
					case !needed && (now.Answer != got.Answer || now.Reason != got.Reason):
						t.Errorf("%s: %s %s", name, now.Answer, now.Reason)
					case needed && got.Answer == y && (now.Answer != c.to || now.Reason != c.code):
						t.Errorf("%s: %s %s, want %s %s", name, now.Answer, now.Reason, c.to, c.code)
					}
				}
			})
		}
	}
}

// TestJoinByGraph: without a report, Intune's beta joinType tells, and then the directory's trustType.
func TestJoinByGraph(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		joinType, trustType string
		outcome             readiness.Outcome // of the check of non-destructive reset
		code                fault.Code
	}{
		{"azureADJoined", "", readiness.Passed, ""},
		{"hybridAzureADJoined", "", readiness.Passed, ""},
		{"azureADRegistered", "", readiness.Unread, fault.UnknownJoin},
		{"unknown", "AzureAd", readiness.Passed, ""},
		{"", "ServerAd", readiness.Passed, ""},
		{"", "Workplace", readiness.Unread, fault.UnknownJoin},
		{"unknown", "", readiness.Unread, fault.UnknownJoin},
		{"", "Sideways", readiness.Unread, fault.UnknownJoin},
	} {
		f := managed(readyDevice(), func(m *readiness.Managed) { m.JoinType = c.joinType })
		f.Directory = reading.Read(readiness.Directory{Present: true, Enabled: true, TrustType: c.trustType})
		f.Report = reading.Unread[readiness.DeviceReport](fault.DeviceNotReporting, "")
		if got := check(t, verdicts(readyTenant(), f)[readiness.KeepSettings], "join"); got.Outcome != c.outcome || got.Reason != c.code {
			t.Errorf("%s, %s: %+v", c.joinType, c.trustType, got)
		}
	}
}
