package web_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"pinreset/events"
	"pinreset/functions/web/internal/desk"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/identity"
	"pinreset/shared/policy"
	"pinreset/shared/readiness"
	"pinreset/shared/reading"
	"pinreset/shared/tenant"
)

const (
	laptopEntra  = "44444444-0000-4000-8000-000000000001" // the laptop's device id in the directory
	laptopObject = "44444444-0000-4000-8000-000000000002"
	hana         = "44444444-0000-4000-8000-000000000003"
	laptops      = "44444444-0000-4000-8000-000000000004" // a group
)

// audited writes the facts of a tenant in which nothing is in the way.
func (f *fixture) audited(tenant string, change func(*readiness.TenantFacts)) {
	f.t.Helper()
	enabled := reading.Read(readiness.ServicePrincipal{Present: true, AccountEnabled: true, Grants: reading.Read([]string{})})
	facts := readiness.TenantFacts{
		TenantID: tenant, Kind: readiness.Entra, ReadAt: f.Now(), Service: enabled, Client: enabled,
		Domains:  reading.Read([]readiness.Domain{{Name: "contoso.example"}}),
		Coverage: reading.Read(readiness.Coverage{Devices: 2, Windows: 1, Phones: 1, Targeted: 1, Succeeded: 1}),
		Policies: map[policy.Store]reading.Of[[]policy.Found]{
			policy.DeviceConfigurations: reading.Read([]policy.Found{{ID: "p", Name: "PIN recovery", Shape: policy.OMAURI, Setting: policy.PINRecovery,
				Scope: policy.Device, Value: policy.On, Assignments: []policy.Assignment{{Kind: policy.IncludeGroup, GroupID: laptops}}}}),
			policy.ConfigurationPolicies: reading.Read([]policy.Found{}), policy.Intents: reading.Read([]policy.Found{}),
		},
	}
	change(&facts)
	u := f.unit(tenant)
	if err := readiness.WriteTenant(u, facts); err != nil {
		f.t.Fatal(err)
	}
	f.commit(u)
}

// known makes Graph know the laptop in full.
func (f *fixture) known() {
	enabled := true
	d := &f.fleet.devices[contoso][1]
	d.AzureADDeviceID, d.UserID, d.UserPrincipalName = laptopEntra, hana, "hana@contoso.example"
	f.fleet.sees(laptop, seen{edition: graph.DeviceEdition{JoinType: "azureADJoined", SKUFamily: "Enterprise", SKUNumber: 4}})
	f.fleet.sees(laptopEntra, seen{directory: graph.DirectoryDevice{ID: laptopObject, DeviceID: laptopEntra, TrustType: "AzureAd", AccountEnabled: &enabled}})
	f.fleet.sees(laptopObject, seen{groups: []string{laptops}})
	f.fleet.sees(hana, seen{user: []string{}})
}

// tells stores what the laptop said about itself.
func (f *fixture) tells(canReset string) {
	f.t.Helper()
	limits := map[string]reading.Of[bool]{}
	for _, l := range readiness.Limitations() {
		limits[l.ID] = reading.Read(false)
	}
	u := f.unit(contoso)
	err := readiness.WriteDevice(u, laptop, readiness.DeviceReport{
		ReportedAt: f.Now(), Edition: reading.Read("Enterprise"), Version: reading.Read("10.0.22631.3447"), LockScreen: limits,
		Status: reading.Read(readiness.Status{EntraJoined: true, HelloSet: true, CanReset: canReset, PrimaryToken: "YES", DeviceAuth: "SUCCESS"}),
	})
	if err != nil {
		f.t.Fatal(err)
	}
	f.commit(u)
}

func (f *fixture) tenantReadiness() desk.TenantReadiness {
	f.t.Helper()
	var got desk.TenantReadiness
	a := f.call(http.MethodGet, "/v1/tenants/"+contoso+"/readiness", f.may(identity.TenantRead), nil)
	a.want(f.t, http.StatusOK)
	a.into(f.t, &got)
	return got
}

func (f *fixture) deviceReadiness(id string) desk.DeviceReadiness {
	f.t.Helper()
	var got desk.DeviceReadiness
	a := f.call(http.MethodGet, "/v1/tenants/"+contoso+"/devices/"+id+"/readiness", f.may(identity.DeviceRead), nil)
	a.want(f.t, http.StatusOK)
	a.into(f.t, &got)
	return got
}

// path finds a verdict, and in it a check.
func path(t *testing.T, got desk.DeviceReadiness, p readiness.Path, check string) (readiness.Verdict, readiness.Check) {
	t.Helper()
	for _, v := range got.Paths {
		for _, c := range v.Checks {
			if v.Path == p && c.ID == check {
				return v, c
			}
		}
	}
	t.Fatalf("%s has no check %s", p, check)
	return readiness.Verdict{}, readiness.Check{}
}

func TestReadinessOfATenant(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	if got := f.tenantReadiness(); got.State != readiness.Undetermined || !got.ReadAt.IsZero() || got.TenantID != contoso {
		t.Errorf("before an audit: %+v", got)
	}
	f.audited(contoso, func(*readiness.TenantFacts) {})
	if got := f.tenantReadiness(); got.State != readiness.Ready || !got.ReadAt.Equal(f.Now()) || len(got.Paths) != len(readiness.Paths()) {
		t.Errorf("after an audit: %s %+v", got.State, got.Checks)
	}
	f.audited(contoso, func(facts *readiness.TenantFacts) {
		facts.Service = reading.Read(readiness.ServicePrincipal{})
		facts.Cloud = readiness.USGovernment
	})
	if got := f.tenantReadiness(); got.State != readiness.Broken || got.Reason != fault.ConsentMissing || got.AllowList != "login.microsoftonline.us" {
		t.Errorf("consent revoked: %s %s %q", got.State, got.Reason, got.AllowList)
	}
	f.audited(fabrikam, func(facts *readiness.TenantFacts) { facts.Kind = readiness.OnPremises })
	if got := f.tenantReadiness(); got.State != readiness.Broken {
		t.Errorf("another tenant's audit changed it to %s", got.State)
	}
}

// TestAReportTurnsARedCheckGreen follows a device from what Graph alone says to ready.
func TestAReportTurnsARedCheckGreen(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.known()
	if got := f.deviceReadiness(laptop); !got.AuditedAt.IsZero() || !got.ReportedAt.IsZero() || got.Name != "hr-laptop-11" || got.User != "hana@contoso.example" {
		t.Errorf("before anything: %+v", got)
	} else if v, c := path(t, got, readiness.KeepSettings, "service-application"); v.Answer != reading.Unknown || c.Outcome != readiness.Unread || c.Fix[0] != fault.Lookup(fault.NotAudited).Fix[0] {
		t.Errorf("before an audit: %s; %+v", v.Answer, c)
	}
	f.audited(contoso, func(*readiness.TenantFacts) {})
	if v, c := path(t, f.deviceReadiness(laptop), readiness.KeepSettings, "can-reset"); v.Answer != reading.Unknown || c.Outcome != readiness.Unread {
		t.Errorf("before a report: %s; %+v", v.Answer, c)
	}
	got := f.deviceReadiness(laptop)
	for _, id := range []string{"version", "edition", "join", "device-enabled", "policy"} { // by Graph alone
		if _, c := path(t, got, readiness.KeepSettings, id); c.Outcome != readiness.Passed {
			t.Errorf("%+v", c)
		}
	}
	f.tells("DestructiveOnly")
	if v, c := path(t, f.deviceReadiness(laptop), readiness.KeepSettings, "can-reset"); v.Answer != reading.No || c.Outcome != readiness.Failed || v.Reason != fault.ProtectorNotCreated {
		t.Errorf("a report of a device that is not ready: %s %s; %+v", v.Answer, v.Reason, c)
	}
	f.tells("DestructiveAndNonDestructive")
	v, c := path(t, f.deviceReadiness(laptop), readiness.KeepSettings, "can-reset")
	if v.Answer != reading.Yes || c.Outcome != readiness.Passed || len(v.Steps) == 0 {
		t.Errorf("a report of a device that is ready: %s %s; %+v", v.Answer, v.Reason, c)
	}
}

// TestReadinessOfWhatCannotBeRead: what Graph does not answer is unread, with Graph's reason, and never missing.
func TestReadinessOfWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.known()
	f.audited(contoso, func(*readiness.TenantFacts) {})
	forbidden := fault.Permanent(fault.GraphForbidden, errors.New("no"))

	f.fleet.sees(laptopObject, seen{err: forbidden}) // the device's groups
	if v, c := path(t, f.deviceReadiness(laptop), readiness.KeepSettings, "policy"); v.Answer != reading.Unknown || c.Outcome != readiness.Unread || c.Reason != fault.UnknownAssignment || !strings.Contains(c.Evidence, "graph_forbidden") {
		t.Errorf("groups refused: %s; %+v", v.Answer, c)
	}
	f.fleet.sees(laptopEntra, seen{err: forbidden})
	if _, c := path(t, f.deviceReadiness(laptop), readiness.KeepSettings, "device-enabled"); c.Outcome != readiness.Unread || c.Reason != fault.GraphForbidden {
		t.Errorf("directory refused: %+v", c)
	}
	f.fleet.sees(laptop, seen{err: forbidden})
	if _, c := path(t, f.deviceReadiness(laptop), readiness.KeepSettings, "edition"); c.Outcome != readiness.Unread || c.Reason != fault.UnknownEdition {
		t.Errorf("beta refused: %+v", c)
	}
	f.fleet.sees(laptopEntra, seen{err: fmt.Errorf("read directory device: %w", graph.ErrNotFound)})
	if _, c := path(t, f.deviceReadiness(laptop), readiness.KeepSettings, "device-enabled"); c.Outcome != readiness.Failed || c.Reason != fault.DeviceDisabled {
		t.Errorf("gone from the directory: %+v", c)
	}
	f.fleet.sees(laptopEntra, seen{directory: graph.DirectoryDevice{ID: laptopObject}})
	if _, c := path(t, f.deviceReadiness(laptop), readiness.KeepSettings, "device-enabled"); c.Outcome != readiness.Unread {
		t.Errorf("the directory does not say whether it is enabled: %+v", c)
	}
	f.fleet.devices[contoso][1].AzureADDeviceID = "00000000-0000-0000-0000-000000000000"
	if _, c := path(t, f.deviceReadiness(laptop), readiness.KeepSettings, "device-enabled"); c.Outcome != readiness.Unread || c.Reason != fault.NotRead {
		t.Errorf("not registered in the directory: %+v", c)
	}

	f.fleet.fail(fault.Permanent(fault.GraphForbidden, errors.New("no")))
	got := f.deviceReadiness(laptop)
	if v, c := path(t, got, readiness.RemotePasscode, "platform"); v.Answer != reading.Unknown || c.Outcome != readiness.Unread || !strings.Contains(c.Evidence, "graph_forbidden") {
		t.Errorf("Intune refused: %s; %+v", v.Answer, c)
	}
	for _, v := range got.Paths {
		if onPremises := v.Path == readiness.OnPremSettings || v.Path == readiness.OnPremLockScreen; v.Answer != reading.Unknown && !onPremises {
			t.Errorf("Intune refused: %s is %s", v.Path, v.Answer)
		}
	}
	f.tells("DestructiveAndNonDestructive") // it still speaks for itself
	if v, c := path(t, f.deviceReadiness(laptop), readiness.DestroySettings, "platform"); v.Answer != reading.Yes || c.Outcome != readiness.Passed {
		t.Errorf("Intune refused, the device reported: %s; %+v", v.Answer, c)
	}
}

func TestReadinessOfNoDevice(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.audited(contoso, func(*readiness.TenantFacts) {})
	for _, id := range []string{nowhere, "hr-laptop-11", foreign} {
		f.call(http.MethodGet, "/v1/tenants/"+contoso+"/devices/"+id+"/readiness", f.admin, nil).refused(t, http.StatusNotFound, fault.NotFound)
	}
}

// TestReadinessOnPremises: there is no Intune and nothing to audit. A device is known by its report, and Graph is not asked.
func TestReadinessOnPremises(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	u := f.unit(tenant.Partition)
	corp, err := tenant.AddOnPremises(u, "corp.example", "Corp", events.Pinreset())
	if err != nil {
		t.Fatal(err)
	}
	f.commit(u)
	f.fleet.explode("Graph was asked about a tenant without Entra")
	var verdict desk.TenantReadiness
	a := f.call(http.MethodGet, "/v1/tenants/"+corp.ID+"/readiness", f.admin, nil)
	a.want(t, http.StatusOK)
	if a.into(t, &verdict); verdict.State != readiness.WithoutEntra || verdict.Text == "" {
		t.Errorf("tenant: %s %s", verdict.State, verdict.Text)
	}
	f.call(http.MethodGet, "/v1/tenants/"+corp.ID+"/devices/"+laptop+"/readiness", f.admin, nil).refused(t, http.StatusNotFound, fault.NotFound)
	u = f.unit(corp.ID)
	err = readiness.WriteDevice(u, laptop, readiness.DeviceReport{
		ReportedAt: f.Now(), Edition: reading.Read("Professional"), Version: reading.Read("10.0.19045.4291"),
		Status:           reading.Read(readiness.Status{EnterpriseJoined: true, DomainJoined: true, HelloSet: true, CanReset: "DestructiveOnly"}),
		DomainController: reading.Read(true), Federation: reading.Read(false),
	})
	if err != nil {
		t.Fatal(err)
	}
	f.commit(u)
	read := func() (got desk.DeviceReadiness) {
		t.Helper()
		a := f.call(http.MethodGet, "/v1/tenants/"+corp.ID+"/devices/"+strings.ToUpper(laptop)+"/readiness", f.admin, nil)
		a.want(t, http.StatusOK)
		a.into(t, &got)
		return got
	}
	if v, c := path(t, read(), readiness.OnPremSettings, "federation"); v.Answer != reading.No || v.Reason != fault.LineOfSightNeeded || c.Outcome != readiness.Failed {
		t.Errorf("away from the federation service: %s; %+v", v.Answer, c)
	}
	u = f.unit(corp.ID)
	report, err := readiness.ReadDevice(t.Context(), u, laptop)
	if err != nil {
		t.Fatal(err)
	}
	report.Federation = reading.Read(true)
	if err := readiness.WriteDevice(u, laptop, report); err != nil {
		t.Fatal(err)
	}
	f.commit(u)
	if v, _ := path(t, read(), readiness.OnPremSettings, "federation"); v.Answer != reading.Yes || len(v.Before) == 0 || len(v.Steps) == 0 {
		t.Errorf("on the corporate network: %s %s %q", v.Answer, v.Text, v.Steps)
	}
}
