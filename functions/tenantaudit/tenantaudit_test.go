package tenantaudit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/functions/announcement"
	"pinreset/functions/tenantaudit"
	"pinreset/shared/diag"
	"pinreset/shared/dispatch/dispatchtest"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/graph/graphtest"
	"pinreset/shared/policy"
	"pinreset/shared/readiness"
	"pinreset/shared/reading"
	"pinreset/shared/rollout"
	"pinreset/shared/subscription"
	"pinreset/shared/survey"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

const contoso = graphsim.Contoso

// fixture is the handler over a real store and a simulated cloud.
type fixture struct {
	*dispatchtest.Bench
	sim     *graphsim.Cloud
	client  *graph.Client
	handler *tenantaudit.Handler
}

func setUp(t testing.TB, torn bool) *fixture {
	t.Helper()
	b := dispatchtest.New(t, torn)
	sim, client := graphtest.New(t, graphsim.Options{Now: b.Clock.Now})
	f := &fixture{Bench: b, sim: sim, client: client}
	f.handler = &tenantaudit.Handler{Cloud: client, Store: b.Store(), Schedule: tenantaudit.DefaultSchedule, SignIn: client.SignIn}
	b.Serve(f.handler.Route(), (&announcement.Handler{Logger: b.Log}).Route())
	f.add(contoso)
	return f
}

func (f *fixture) must(errs ...error) {
	f.T.Helper()
	if err := errors.Join(errs...); err != nil {
		f.T.Fatal(err)
	}
}

func (f *fixture) add(id string) {
	f.T.Helper()
	u := f.Unit(tenant.Partition)
	_, err := tenant.Add(u, id, "Tenant", events.Pinreset())
	f.must(err, u.Commit(f.T.Context()))
}

// ask accepts an audit as the API does.
func (f *fixture) ask(id string) string {
	f.T.Helper()
	u := f.Unit(id)
	r, err := survey.Accept(f.T.Context(), u, events.TenantAuditRequested{RequestID: u.NewID(), Cause: events.AuditByOperator, Reason: "a test", By: events.Pinreset()})
	f.must(err, u.Commit(f.T.Context()))
	return r.ID
}

// audit audits the tenant and returns the report.
func (f *fixture) audit(id string) survey.Report {
	f.T.Helper()
	asked := f.ask(id)
	f.RunUntil(time.Hour, func() bool { return f.report(id, asked).Outcome != survey.Pending })
	f.Drain(f.Clock.Now())
	return f.report(id, asked)
}

func (f *fixture) report(id, asked string) survey.Report {
	f.T.Helper()
	r, err := survey.Read(context.WithoutCancel(f.T.Context()), f.Unit(id), asked)
	f.must(err)
	return r
}

func (f *fixture) facts(id string) readiness.TenantFacts {
	f.T.Helper()
	facts, err := readiness.ReadTenant(f.T.Context(), f.Unit(id))
	f.must(err)
	return facts
}

// announced are the tenant's announcements of a kind, newest first.
func announced[D events.Data](f *fixture, id string) []D {
	f.T.Helper()
	var all []D
	for page := ""; ; {
		p, err := f.Store().List(f.T.Context(), work.Query{Partition: id, Prefix: diag.EventPrefix, Limit: 1000, Page: page})
		f.must(err)
		for _, row := range p.Rows {
			e, err := events.Parse(row.Value)
			f.must(err)
			if d, ok := e.Data.(D); ok {
				all = append(all, d)
			}
		}
		if page = p.Next; page == "" {
			return all
		}
	}
}

func codes(r survey.Report) []string {
	all := []string{}
	for _, d := range r.Drift {
		all = append(all, string(d.Code))
	}
	slices.Sort(all)
	return all
}

// policy makes a policy in the portal, on and assigned to all devices.
func (f *fixture) policy(name string, change ...func(*graphsim.PolicySpec)) string {
	f.T.Helper()
	spec := graphsim.PolicySpec{Store: graphsim.DeviceConfigurations, Name: name, Value: true, Include: []string{"all devices"}}
	for _, fn := range change {
		fn(&spec)
	}
	id, err := f.sim.AddPolicy(contoso, spec)
	f.must(err)
	return id
}

// clear takes away what the sample tenant has, so that a test says itself what there is.
func (f *fixture) clear() {
	f.T.Helper()
	all, err := f.sim.Policies(contoso)
	f.must(err)
	for _, p := range all {
		f.must(f.sim.DeletePolicy(contoso, p.ID))
	}
}

func TestAuditReadsATenant(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	f.clear()
	id := f.policy("PIN recovery")
	f.Clock.Advance(24 * time.Hour) // devices check in
	r := f.audit(contoso)
	if r.Outcome != events.AuditWhole || r.State != readiness.Ready || len(r.Unread()) > 0 || len(r.Drift) > 0 || r.Requests == 0 {
		t.Fatalf("report %+v", r)
	}
	if r.Coverage == nil || r.Coverage.Windows == 0 || r.Coverage.Ineligible == 0 || r.Coverage.Phones == 0 || r.Coverage.Devices <= r.Coverage.Windows {
		t.Errorf("coverage %+v", r.Coverage)
	}
	if r.Status == nil || r.Status.Succeeded == 0 {
		t.Errorf("status %+v", r.Status)
	}
	facts := f.facts(contoso)
	found, ok := facts.Policies[policy.DeviceConfigurations].Get()
	if !ok || len(found) != 1 || found[0].ID != strings.ToLower(id) || !found[0].Assigned() || found[0].Effective() != policy.On {
		t.Errorf("policies %+v", facts.Policies)
	}
	for _, store := range policy.Stores {
		if !facts.Policies[store].OK() {
			t.Errorf("%s is unread: %+v", store, facts.Policies[store].Why())
		}
	}
	if d, ok := facts.Domains.Get(); !ok || len(d) == 0 {
		t.Errorf("domains %+v", facts.Domains)
	}
	if done := announced[events.TenantAuditCompleted](f, contoso); len(done) != 1 || done[0].Outcome != events.AuditWhole || done[0].State != string(readiness.Ready) {
		t.Errorf("announced %+v", done)
	}
	again := f.audit(contoso)
	if len(again.Drift)+len(again.Changes) > 0 || !again.Since.Equal(r.At) || again.Requests >= r.Requests+4 {
		t.Errorf("the same tenant again: %+v", again)
	}
}

var drifts = []struct {
	name   string
	before func(*fixture)
	change func(*fixture, string) error
	want   []string
}{
	{"application deleted", nil, func(f *fixture, _ string) error { return f.sim.DeleteServicePrincipal(contoso, "client") }, []string{"consent_revoked"}},
	{"application disabled", nil, func(f *fixture, _ string) error { return f.sim.EnableServicePrincipal(contoso, "service", false) }, []string{"service_principal_disabled"}},
	{"policy turned off", nil, func(f *fixture, id string) error { return f.sim.ChangePolicy(contoso, id, false, "") }, []string{"policy_changed"}},
	{"policy with another path", nil, func(f *fixture, id string) error {
		return f.sim.ChangePolicy(contoso, id, true, "./Vendor/MSFT/Policy/PassportForWork/"+contoso+"/Policies/EnablePinRecovery")
	}, []string{"policy_changed"}},
	{"policy deleted", nil, func(f *fixture, id string) error { return f.sim.DeletePolicy(contoso, id) }, []string{"policy_removed"}},
	{"policy unassigned", nil, func(f *fixture, id string) error { return f.sim.UnassignPolicy(contoso, id) }, []string{"policy_unassigned"}},
	{"another policy, off", nil, func(f *fixture, _ string) error {
		_, err := f.sim.AddPolicy(contoso, graphsim.PolicySpec{Store: graphsim.ConfigurationPolicies, Name: "Baseline", Include: []string{"all devices"}})
		return err
	}, []string{"competing_policy"}},
}

// TestDrift finds every kind of drift once, with an event and a page, and not again at the next audit.
func TestDrift(t *testing.T) {
	t.Parallel()
	for _, d := range drifts {
		for _, store := range []graphsim.Store{graphsim.DeviceConfigurations, graphsim.ConfigurationPolicies} {
			if strings.Contains(d.name, "path") && store != graphsim.DeviceConfigurations {
				continue
			}
			t.Run(fmt.Sprintf("%s in %s", d.name, store), func(t *testing.T) {
				t.Parallel()
				f := setUp(t, false)
				f.clear()
				id := f.policy("PIN recovery", func(s *graphsim.PolicySpec) { s.Store = store })
				f.Clock.Advance(24 * time.Hour)
				if r := f.audit(contoso); len(r.Drift) > 0 || r.State != readiness.Ready {
					t.Fatalf("before: %+v", r)
				}
				f.Clock.Advance(time.Hour)
				f.must(d.change(f, id))
				f.Clock.Advance(time.Minute) // the directory replicates
				r := f.audit(contoso)
				if got := codes(r); !slices.Equal(got, d.want) {
					t.Fatalf("drift %v, want %v; %+v", got, d.want, r)
				}
				if len(r.Changes) == 0 {
					t.Error("the report has no difference")
				}
				told := announced[events.TenantDriftFound](f, contoso)
				if len(told) != 1 || told[0].Code != d.want[0] || told[0].Diagnostics != r.Drift[0].Diagnostics {
					t.Fatalf("announced %+v", told)
				}
				page, err := diag.Load(t.Context(), f.Store(), contoso, told[0].Diagnostics[strings.LastIndex(told[0].Diagnostics, "/")+1:])
				if err != nil || string(page.Code) != d.want[0] || page.Detail != r.Drift[0].Detail {
					t.Errorf("page %+v, %v", page, err)
				}
				f.Clock.Advance(time.Hour)
				if again := f.audit(contoso); len(again.Drift) > 0 || len(announced[events.TenantDriftFound](f, contoso)) != 1 {
					t.Errorf("told again: %+v", again)
				}
			})
		}
	}
}

// TestNothingIsMissingBecauseItIsUnread: a tenant that can't be read has no drift, and is compared with what was known when it
// can be read again.
func TestNothingIsMissingBecauseItIsUnread(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	f.clear()
	id := f.policy("PIN recovery")
	f.Clock.Advance(24 * time.Hour)
	f.audit(contoso)
	f.must(f.sim.Revoke(contoso, "general", "DeviceManagementConfiguration.Read.All", "DeviceManagementConfiguration.ReadWrite.All"))
	f.Clock.Advance(2 * time.Hour)
	r := f.audit(contoso)
	if r.Outcome != events.AuditPartly || r.State != readiness.Undetermined || len(r.Drift) > 0 || !slices.Contains(r.Unread(), survey.PartConfigurations) || slices.Contains(r.Unread(), survey.PartService) {
		t.Fatalf("without the permission: %+v", r)
	}
	for _, p := range r.Parts {
		if !p.Read && (p.Code != fault.GraphForbidden || p.Text == "") {
			t.Errorf("part %+v", p)
		}
	}
	f.must(f.sim.DeletePolicy(contoso, id), f.sim.Grant(contoso, "general", "DeviceManagementConfiguration.Read.All"))
	f.Clock.Advance(2 * time.Hour)
	if r := f.audit(contoso); !slices.Equal(codes(r), []string{"policy_removed"}) {
		t.Fatalf("read again: %+v", r)
	}
}

// TestGrantsAreFollowed: after the first audit only changes of grants are read. A token that is no longer good starts over, and a
// grant that is gone is found either way.
func TestGrantsAreFollowed(t *testing.T) {
	t.Parallel()
	for _, old := range []bool{false, true} {
		t.Run(fmt.Sprintf("token too old %t", old), func(t *testing.T) {
			t.Parallel()
			f := setUp(t, false)
			last := func() survey.Last {
				l, err := survey.ReadLast(t.Context(), f.Unit(contoso))
				f.must(err)
				return l
			}
			first := f.audit(contoso)
			before := last()
			if len(before.Grants) == 0 || len(before.Delta) != 1 {
				t.Fatalf("nothing to follow: %+v, %v", before.Grants, before.Delta)
			}
			f.Clock.Advance(time.Hour)
			if r := f.audit(contoso); r.Outcome != events.AuditWhole || r.Requests >= first.Requests || len(r.Drift) > 0 || len(last().Grants) != len(before.Grants) {
				t.Fatalf("followed: %d reads after %d, drift %v, grants %+v", r.Requests, first.Requests, r.Drift, last().Grants)
			}
			f.must(f.sim.RemoveGrant(contoso, before.Grants[0].ID))
			if old {
				f.must(f.sim.Inject(contoso, graphsim.Fault{Kind: graphsim.DeltaGone, Count: 2}))
			}
			f.Clock.Advance(time.Hour)
			if r := f.audit(contoso); !slices.Equal(codes(r), []string{"consent_revoked"}) || len(last().Grants) != len(before.Grants)-1 || last().Delta["grants"] == "" {
				t.Fatalf("a grant is gone: %+v, grants %+v", r, last().Grants)
			}
		})
	}
}

// TestApplicationsAreFollowed: between audits that read everything the applications cost one read in place of two, and whatever
// happens to one is found by the first audit that can see it, and told once: with a token that is good, too old or kept back, and
// from replicas that are behind.
func TestApplicationsAreFollowed(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*fixture) (want string, err error){
		"nothing": func(*fixture) (string, error) { return "", nil },
		"deleted": func(f *fixture) (string, error) {
			return "consent_revoked", f.sim.DeleteServicePrincipal(contoso, "client")
		},
		"disabled": func(f *fixture) (string, error) {
			return "service_principal_disabled", f.sim.EnableServicePrincipal(contoso, "service", false)
		},
		"made anew": func(f *fixture) (string, error) {
			return "", errors.Join(f.sim.DeleteServicePrincipal(contoso, "client"), f.sim.Consent(contoso, "client"))
		},
	} {
		for _, token := range []string{"good", "too old", "lost"} {
			for _, behind := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, token %s, replicas behind %t", name, token, behind), func(t *testing.T) {
					t.Parallel()
					f := setUp(t, false)
					reads := []int{f.audit(contoso).Requests}
					for range 2 {
						f.Clock.Advance(time.Hour)
						reads = append(reads, f.audit(contoso).Requests)
					}
					if reads[1] >= reads[0] || reads[2] > reads[1] {
						t.Fatalf("reads %v", reads)
					}
					last, err := survey.ReadLast(t.Context(), f.Unit(contoso))
					if f.must(err); len(last.Delta) != 2 {
						t.Fatalf("nothing to follow: %v", last.Delta)
					}
					want, err := change(f)
					f.must(err)
					switch token {
					case "too old":
						f.must(f.sim.Inject(contoso, graphsim.Fault{Kind: graphsim.DeltaGone, Count: 2}))
					case "lost":
						last.Delta = nil
						u := f.Unit(contoso)
						f.must(survey.WriteLast(u, last), u.Commit(t.Context()))
					}
					if !behind {
						f.Clock.Advance(time.Minute)
					}
					found := []string{}
					for range 4 {
						r := f.audit(contoso)
						if r.Outcome != events.AuditWhole {
							t.Fatalf("audit %+v", r)
						}
						found = append(found, codes(r)...)
						f.Clock.Advance(time.Minute)
					}
					if found = slices.DeleteFunc(found, func(code string) bool { return want == "" && code == "consent_revoked" && name == "made anew" }); strings.Join(found, " ") != want {
						t.Errorf("drifts %q, want %q", found, want)
					}
					facts := f.facts(contoso)
					service, _ := facts.Service.Get()
					client, _ := facts.Client.Get()
					if service.Enabled() != (name != "disabled") || client.Present != (name != "deleted") {
						t.Errorf("service %+v, client %+v", service, client)
					}
				})
			}
		}
	}
}

// TestTenantThatCantBeRead is reported as not audited, with the reason and a page, once; and as audited when it can be read.
func TestTenantThatCantBeRead(t *testing.T) {
	t.Parallel()
	const fabrikam = graphsim.Fabrikam
	f := setUp(t, false)
	f.add(fabrikam)
	r := f.audit(fabrikam)
	if r.Outcome != events.AuditNot || r.Code != fault.AppNotConsented || r.State != readiness.Undetermined || r.Diagnostics == "" || len(r.Drift) > 0 {
		t.Fatalf("without consent: %+v", r)
	}
	if again := f.audit(fabrikam); again.Outcome != events.AuditNot || again.Diagnostics != r.Diagnostics {
		t.Errorf("again: %+v", again)
	}
	if raised := announced[events.FailureRaised](f, fabrikam); len(raised) != 1 || raised[0].Diagnostics != r.Diagnostics {
		t.Errorf("raised %+v", raised)
	}
	for _, app := range []string{"general", "service", "client"} {
		f.must(f.sim.Consent(fabrikam, app))
	}
	f.Clock.Advance(2 * time.Minute)
	if r := f.audit(fabrikam); r.Outcome != events.AuditWhole || r.State == readiness.Undetermined {
		t.Errorf("with consent: %+v", r)
	}
}

// slow is Graph with a version that does not answer.
type slow struct {
	*graph.Client
	version string
}

func (s slow) Batch(ctx context.Context, tenant, version string, requests []graph.BatchRequest) ([]graph.BatchResponse, error) {
	if version == s.version {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return s.Client.Batch(ctx, tenant, version, requests)
}

// TestSlowTenantIsReportedPartly: what is not answered in time is unread, and the audit ends.
func TestSlowTenantIsReportedPartly(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	f.handler.Cloud = slow{f.client, graph.Beta}
	f.handler.Schedule.Longest = 200 * time.Millisecond
	r := f.audit(contoso)
	if r.Outcome != events.AuditPartly || r.State != readiness.Undetermined || !slices.Contains(r.Unread(), survey.PartDevices) || !slices.Contains(r.Unread(), survey.PartConfigurations) {
		t.Fatalf("report %+v", r)
	}
	for _, p := range r.Parts {
		if !p.Read && p.Code != fault.GraphUnavailable {
			t.Errorf("part %+v", p)
		}
	}
}

// TestTenantWithoutEntra has nothing to read: a run leaves it out, and who asks for its audit is told.
func TestTenantWithoutEntra(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	u := f.Unit(tenant.Partition)
	shop, err := tenant.AddOnPremises(u, "corp.local", "Shop", events.Pinreset())
	f.must(err, u.Commit(t.Context()))
	if r := f.audit(shop.ID); r.Outcome != events.AuditNot || r.Code != fault.TenantOnPremises || r.Diagnostics == "" {
		t.Errorf("asked for: %+v", r)
	}
	f.must(f.timer("0 0 */6 * * *").Tick(t.Context()))
	f.Drain(f.Clock.Now().Add(time.Minute))
	runs, _, err := survey.Runs(t.Context(), f.Store(), 10, "")
	reports, _, err2 := survey.List(t.Context(), f.Store(), shop.ID, 10, "")
	if f.must(err, err2); len(runs) != 1 || runs[0].Tenants != 1 || !runs[0].Sent || len(reports) != 1 {
		t.Errorf("runs %+v, %d reports", runs, len(reports))
	}
}

// TestThrottledTenantWaits: it is read again when Graph said so, and given up after the patience, with what could be read.
func TestThrottledTenantWaits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		count   int
		outcome string
		least   time.Duration
	}{{3, events.AuditWhole, 30 * time.Second}, {10_000, events.AuditPartly, tenantaudit.DefaultSchedule.Patience}} {
		t.Run(fmt.Sprint(c.count), func(t *testing.T) {
			t.Parallel()
			f := setUp(t, false)
			f.must(f.sim.Inject(contoso, graphsim.Fault{Kind: graphsim.Throttle, Family: graphsim.Configuration, Count: c.count, RetryAfter: 10}))
			r := f.audit(contoso)
			if took := f.Clock.Now().Sub(dispatchtest.Start); r.Outcome != c.outcome || took < c.least || took > c.least+10*time.Minute {
				t.Fatalf("after %s: %+v", took, r)
			}
		})
	}
}

// roll records a rollout that is in place.
func (f *fixture) roll(id string) {
	f.T.Helper()
	u := f.Unit(contoso)
	r, err := rollout.Record(u, events.PolicyRolloutRequested{RequestID: u.NewID(), Shape: events.ShapeOMAURI, AllDevices: true, Reason: "a test", By: events.Pinreset()})
	f.must(err)
	r.PolicyID, r.PolicyName, r.State, r.PlacedAt = strings.ToLower(id), "PIN recovery", rollout.Watching, u.Now()
	f.must(rollout.Place(f.T.Context(), u, &r), u.Commit(f.T.Context()))
}

// TestRemedy: what was rolled out is asked for again where the tenant opted in, and not otherwise.
func TestRemedy(t *testing.T) {
	t.Parallel()
	for _, opted := range []bool{true, false} {
		for _, seen := range []bool{true, false} {
			t.Run(fmt.Sprintf("opted in %t, seen in place before %t", opted, seen), func(t *testing.T) {
				t.Parallel()
				f := setUp(t, false)
				f.clear()
				id := f.policy("PIN recovery")
				f.roll(id)
				if opted {
					s := tenant.DefaultSettings()
					s.RemediatePolicy = true
					u := f.Unit(contoso)
					f.must(tenant.WriteSettings(u, s), u.Commit(t.Context()))
				}
				f.Clock.Advance(24 * time.Hour)
				if seen {
					f.audit(contoso)
				}
				f.must(f.sim.DeletePolicy(contoso, id))
				f.Clock.Advance(time.Hour)
				r := f.audit(contoso)
				if !slices.Equal(codes(r), []string{"policy_removed"}) {
					t.Fatalf("report %+v", r)
				}
				u := f.Unit(contoso)
				holder, err := rollout.Holder(t.Context(), u)
				f.must(err)
				if asked := holder.ID != ""; asked != opted || r.Drift[0].RemedyID != holder.ID {
					t.Fatalf("rollout %q was asked for, remedy %q", holder.ID, r.Drift[0].RemedyID)
				}
				if opted && (!holder.AllDevices || string(holder.Shape) != events.ShapeOMAURI || holder.By != events.Pinreset()) {
					t.Errorf("asked for %+v", holder)
				}
				f.Clock.Advance(time.Hour)
				if again := f.audit(contoso); len(again.Drift) > 0 {
					t.Errorf("told again: %+v", again.Drift)
				}
			})
		}
	}
}

// TestConvergesWithoutWebhooks: nobody told of anything, and everything that changed is known after one audit.
func TestConvergesWithoutWebhooks(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	f.clear()
	id := f.policy("PIN recovery")
	f.Clock.Advance(24 * time.Hour)
	f.audit(contoso)
	f.must(f.sim.UnassignPolicy(contoso, id), f.sim.EnableServicePrincipal(contoso, "client", false))
	f.policy("Other", func(s *graphsim.PolicySpec) { s.Store = graphsim.ConfigurationPolicies; s.Value = false })
	f.Clock.Advance(time.Hour)
	r := f.audit(contoso)
	if want := []string{"competing_policy", "policy_unassigned", "service_principal_disabled"}; !slices.Equal(codes(r), want) {
		t.Fatalf("drift %v, want %v", codes(r), want)
	}
	last, err := survey.ReadLast(t.Context(), f.Unit(contoso))
	if err != nil || len(last.Trend) != 2 || last.Trend[1].Drifts != 3 || last.Trend[0].State != readiness.Ready {
		t.Errorf("trend %+v, %v", last.Trend, err)
	}
}

// TestCrashAtEveryBoundary kills the process between every two effects of an audit that finds drift and puts it right: there is one
// report, one event of the drift, and one rollout in the end.
func TestCrashAtEveryBoundary(t *testing.T) {
	t.Parallel()
	dispatchtest.EachCrash(t, 5, 2, func(t *testing.T, torn bool, n int) (int, string) {
		f := setUp(t, torn)
		f.clear()
		id := f.policy("PIN recovery")
		f.roll(id)
		s := tenant.DefaultSettings()
		s.RemediatePolicy = true
		u := f.Unit(contoso)
		f.must(tenant.WriteSettings(u, s), u.Commit(t.Context()))
		f.Clock.Advance(24 * time.Hour)
		f.audit(contoso)
		f.must(f.sim.DeletePolicy(contoso, id))
		asked := f.ask(contoso)
		f.CrashAt(n)
		f.RunUntil(3*time.Hour, func() bool { return f.report(contoso, asked).Outcome != survey.Pending })
		f.Drain(f.Clock.Now().Add(5 * time.Minute))
		passed, crashed := f.Boundaries()
		r := f.report(contoso, asked)
		rollouts, _, err := rollout.List(t.Context(), f.Store(), contoso, 100, "")
		if err != nil || len(rollouts) != 2 || len(r.Drift) != 1 || r.Drift[0].RemedyID != rollouts[0].ID {
			t.Fatalf("crash %d (%s): %d rollouts, %+v, %v", n, crashed, len(rollouts), r, err)
		}
		if told, done := announced[events.TenantDriftFound](f, contoso), announced[events.TenantAuditCompleted](f, contoso); len(told) != 1 || len(done) != 2 {
			t.Fatalf("crash %d (%s): told %d drifts and %d ends", n, crashed, len(told), len(done))
		}
		return passed, crashed
	})
}

// TestFailedAuditIsAnnounced: one that gave up by a fault of its own tells so, with the page of the failure.
func TestFailedAuditIsAnnounced(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	u := f.Unit(tenant.Partition)
	shop, err := tenant.AddOnPremises(u, "corp.local", "Shop", events.Pinreset())
	f.must(err, u.Commit(t.Context()))
	r := f.audit(shop.ID)
	done := announced[events.TenantAuditCompleted](f, shop.ID)
	if len(done) != 1 || done[0].RequestID != r.ID || done[0].Outcome != events.AuditNot || done[0].Code != string(fault.TenantOnPremises) || done[0].Diagnostics != r.Diagnostics {
		t.Errorf("announced %+v of %+v", done, r)
	}
}

// TestDevicesTellWhereGraphDoesNot: a settings catalog policy has no status of devices in Graph, and what devices report counts.
func TestDevicesTellWhereGraphDoesNot(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	f.clear()
	f.policy("PIN recovery", func(s *graphsim.PolicySpec) { s.Store = graphsim.ConfigurationPolicies })
	if r := f.audit(contoso); r.Status != nil || r.Coverage.Reported != 0 {
		t.Fatalf("without a report: %+v, %+v", r.Status, r.Coverage)
	}
	report := func(name string, value readiness.Setting, canReset string, trust readiness.Trust, locked bool) {
		u := f.Unit(contoso)
		f.must(readiness.WriteDevice(u, name, readiness.DeviceReport{ReportedAt: f.Clock.Now(), Trust: reading.Read(trust),
			Policies:   readiness.PolicyValues{DeviceMDM: reading.Read(value)},
			Status:     reading.Read(readiness.Status{EntraJoined: true, DomainJoined: true, CanReset: canReset}),
			LockScreen: map[string]reading.Of[bool]{"x": reading.Read(locked), "y": reading.Read(locked)},
		}), u.Commit(t.Context()))
	}
	report("a", readiness.On, "DestructiveAndNonDestructive", readiness.CloudKerberosTrust, false)
	report("b", readiness.On, "DestructiveOnly", readiness.KeyTrust, true)
	report("c", readiness.NotSet, "Unknown", readiness.CertificateTrust, true)
	u := f.Unit(contoso)
	f.must(readiness.WriteDevice(u, "d", readiness.DeviceReport{ReportedAt: f.Clock.Now()}), u.Commit(t.Context()))
	r := f.audit(contoso)
	if want := (survey.Status{Source: rollout.FromDevices, Succeeded: 2, Pending: 1}); r.Status == nil || *r.Status != want {
		t.Errorf("status %+v, want %+v", r.Status, want)
	}
	if c := r.Coverage; c == nil || c.Targeted != 3 || c.Succeeded != 2 || c.Reported != 4 || c.Proven != 1 || c.KeyTrust != 1 || c.LockScreen != 2 || c.Devices == 0 {
		t.Errorf("coverage %+v", c)
	}
	// More devices that report, without the value, are no drift: they may not be meant.
	for i := range 20 {
		report(fmt.Sprint("e", i), readiness.NotSet, "", readiness.KeyTrust, false)
	}
	if r := f.audit(contoso); len(r.Drift) > 0 || r.Status.Pending != 21 {
		t.Errorf("report %+v", r)
	}
	// Where Intune counts, their reports do not.
	f.clear()
	f.policy("PIN recovery")
	f.Clock.Advance(24 * time.Hour)
	if r := f.audit(contoso); r.Status == nil || r.Status.Source != "" || r.Coverage.Reported != 0 {
		t.Errorf("report %+v", r)
	}
}

// TestTenantWithPoliciesBeyondNumber is audited all the same: what can't be kept is counted, and makes no drift later.
func TestTenantWithPoliciesBeyondNumber(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	f.clear()
	name := strings.Repeat("<", 1000) // six times as long in JSON
	id := f.policy("PIN recovery")
	for i := range 200 {
		f.policy(fmt.Sprint(name, i), func(s *graphsim.PolicySpec) { s.Include = nil })
	}
	r := f.audit(contoso)
	if r.Outcome != events.AuditWhole || len(r.Lost) != 1 || r.Lost[0] != (readiness.Loss{What: "unassigned policies of deviceConfigurations", Count: 200}) {
		t.Fatalf("%s, lost %+v, parts %+v", r.Outcome, r.Lost, r.Parts)
	}
	if found, ok := f.facts(contoso).Policies[policy.DeviceConfigurations].Get(); !ok || len(found) != 1 {
		t.Errorf("%d policies are kept, read %t", len(found), ok)
	}
	if r := f.audit(contoso); len(r.Drift)+len(r.Changes) > 0 {
		t.Errorf("again: drift %+v, %d changes", r.Drift, len(r.Changes))
	}
	f.must(f.sim.DeletePolicy(contoso, id))
	f.Clock.Advance(time.Hour)
	if r := f.audit(contoso); !slices.Equal(codes(r), []string{"policy_removed"}) {
		t.Errorf("removed: drift %+v", r.Drift)
	}
}

// TestOtherGroupsAreSubscribedTo: an audit that finds policies assigned to other groups has the tenant's subscriptions looked after,
// where it opted into them.
func TestOtherGroupsAreSubscribedTo(t *testing.T) {
	t.Parallel()
	for _, opted := range []bool{false, true} {
		t.Run(fmt.Sprint(opted), func(t *testing.T) {
			t.Parallel()
			f := setUp(t, false)
			f.clear()
			s := tenant.DefaultSettings()
			s.GraphNotifications = opted
			u := f.Unit(contoso)
			f.must(tenant.WriteSettings(u, s), u.Commit(t.Context()))
			asked := func() int {
				due, _ := f.Waiting(subscription.Queue.Bulk())
				return due
			}
			want := 0
			expect := func(what string, more bool) {
				t.Helper()
				f.audit(contoso)
				if more && opted {
					want++
				}
				if n := asked(); n != want {
					t.Errorf("%s: asked for %d times, want %d", what, n, want)
				}
				f.Clock.Advance(time.Hour)
			}
			expect("no policy", false)
			id := f.policy("PIN recovery", func(s *graphsim.PolicySpec) { s.Include = []string{"PIN recovery pilot"} })
			expect("a group", true)
			expect("the same group", false)
			f.must(f.sim.Inject(contoso, graphsim.Fault{Kind: graphsim.Refuse, Path: "deviceManagement/deviceConfigurations"}))
			expect("unread", false)
			f.must(f.sim.UnassignPolicy(contoso, id))
			expect("no group any more", true)
		})
	}
}
