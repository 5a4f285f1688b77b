package policyrollout_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/functions/policyrollout"
	"pinreset/shared/dispatch/dispatchtest"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/graph/graphtest"
	"pinreset/shared/onboarding"
	"pinreset/shared/policy"
	"pinreset/shared/rollout"
	"pinreset/shared/tenant"
)

// cloud is a handler over the simulated cloud, by the client that a real tenant gets.
type cloud struct {
	*fixture
	sim    *graphsim.Cloud
	client *graph.Client
	tenant string
}

func simulated(t *testing.T, torn bool, tenantID string, change ...func(*graph.Config)) *cloud {
	t.Helper()
	b := dispatchtest.New(t, torn)
	sim, client := graphtest.New(t, graphsim.Options{Now: b.Clock.Now}, change...)
	c := &cloud{fixture: &fixture{Bench: b}, sim: sim, client: client, tenant: tenantID}
	c.handler = &policyrollout.Handler{
		Directory: client, Policies: client, Store: b.Store(), Schedule: policyrollout.DefaultSchedule,
		Links: onboarding.Links{Microsoft: "https://login.windows.net", Key: []byte("key"), NewID: b.NewID, Now: b.Clock.Now},
	}
	b.Serve(c.handler.Route())
	u := b.Unit(tenant.Partition)
	if _, err := tenant.Add(u, tenantID, "Sample", events.Pinreset()); err != nil {
		t.Fatal(err)
	}
	c.commit(u)
	return c
}

// group returns the id of a simulated group.
func (c *cloud) group(name string) string {
	c.T.Helper()
	id, err := c.sim.AddPolicy(c.tenant, graphsim.PolicySpec{Store: graphsim.DeviceConfigurations, Name: "to learn a group's id", Value: true, Include: []string{name}})
	if err != nil {
		c.T.Fatal(err)
	}
	targets, err := c.client.Assignments(c.T.Context(), c.tenant, policy.Ref{Store: policy.DeviceConfigurations, ID: id})
	if err != nil || len(targets) != 1 {
		c.T.Fatalf("assignments of %s: %v, %v", name, targets, err)
	}
	if err := c.sim.DeletePolicy(c.tenant, id); err != nil {
		c.T.Fatal(err)
	}
	return targets[0].GroupID
}

func (c *cloud) accept(d events.PolicyRolloutRequested) string {
	c.T.Helper()
	u := c.Unit(c.tenant)
	d.RequestID, d.Reason, d.By = u.NewID(), "a test", events.Pinreset()
	r, _, err := rollout.Accept(c.T.Context(), u, d)
	if err != nil {
		c.T.Fatal(err)
	}
	c.commit(u)
	return r.ID
}

func (c *cloud) until(id string, states ...rollout.State) rollout.Rollout {
	c.T.Helper()
	var r rollout.Rollout
	c.RunUntil(60*24*time.Hour, func() bool {
		var err error
		if r, err = rollout.Read(c.T.Context(), c.Unit(c.tenant), id); err != nil {
			c.T.Fatal(err)
		}
		return slices.Contains(states, r.State)
	})
	return r
}

func (c *cloud) policies() []graphsim.PolicyInfo {
	c.T.Helper()
	all, err := c.sim.Policies(c.tenant)
	if err != nil {
		c.T.Fatal(err)
	}
	return all
}

// TestEveryShape rolls out by each shape to users and devices, twice, and back.
func TestEveryShape(t *testing.T) {
	t.Parallel()
	for _, shape := range policy.Shapes {
		t.Run(string(shape), func(t *testing.T) {
			t.Parallel()
			c := simulated(t, false, graphsim.Contoso)
			want := events.PolicyRolloutRequested{Shape: string(shape), Include: []string{c.group("Windows devices")}, Exclude: []string{c.group("Shared devices")}}
			id := c.accept(want)
			r := c.until(id, rollout.Watching, rollout.Failed)
			if r.State != rollout.Watching || !r.Created || r.Writes != 2 {
				t.Fatalf("%s %s, created %t, %d writes, steps %v", r.State, r.FailureCode, r.Created, r.Writes, r.Steps)
			}
			all := c.policies()
			if len(all) != 1 || !slices.Equal(all[0].Include, []string{"Windows devices"}) || !slices.Equal(all[0].Exclude, []string{"Shared devices"}) || !slices.Equal(all[0].Values, []bool{true}) {
				t.Fatalf("policies %+v", all)
			}
			again := c.until(c.accept(want), rollout.Watching, rollout.Failed)
			if again.State != rollout.Watching || again.Writes != 0 || len(c.policies()) != 1 {
				t.Errorf("again: %s %s, %d writes", again.State, again.FailureCode, again.Writes)
			}
			r = c.until(id, rollout.Completed, rollout.Failed)
			if _, known := r.Progress.Percent(); r.State != rollout.Completed || known != shape.HasDeviceStatus() {
				t.Errorf("watched: %s %s, progress %+v", r.State, r.FailureCode, r.Progress)
			}
			id = again.ID // the one that stands
			u := c.Unit(c.tenant)
			back := events.PolicyRollbackRequested{RequestID: u.NewID(), RolloutID: id, Delete: true, Reason: "a test"}
			if _, err := u.Send(t.Context(), rollout.Queue, time.Time{}, back); err != nil {
				t.Fatal(err)
			}
			c.commit(u)
			r = c.until(id, rollout.RolledBack, rollout.Failed)
			if r.State != rollout.RolledBack || !r.Rollback.Deleted || len(c.policies()) != 0 {
				t.Errorf("rolled back: %s %s, %+v, policies %v", r.State, r.FailureCode, r.Rollback, c.policies())
			}
		})
	}
}

// TestPhonesAreCountedApart: of a group of users, the phones are no part of the ratio.
func TestPhonesAreCountedApart(t *testing.T) {
	t.Parallel()
	c := simulated(t, false, graphsim.Contoso)
	id := c.accept(events.PolicyRolloutRequested{Shape: events.ShapeOMAURI, AllUsers: true})
	c.until(id, rollout.Watching)
	r := c.until(id, rollout.Completed, rollout.Failed)
	if r.State != rollout.Completed || r.Progress.NotApplicable == 0 || r.Progress.Succeeded == 0 {
		t.Fatalf("%s %s: %+v", r.State, r.FailureCode, r.Progress)
	}
	if first := r.Samples[0]; len(r.Samples) < 2 || first.Succeeded >= r.Progress.Succeeded {
		t.Errorf("no growth over time: %+v", r.Samples)
	}
	if percent, _ := r.Progress.Percent(); percent != 100*r.Progress.Succeeded/r.Progress.Applies() {
		t.Errorf("%d %% of %+v", percent, r.Progress)
	}
}

// TestRefusedBeforeConsentAcceptedAfter is the story of the guard.
func TestRefusedBeforeConsentAcceptedAfter(t *testing.T) {
	t.Parallel()
	for _, half := range []bool{false, true} {
		id := graphsim.Fabrikam
		if half {
			id = graphsim.Northwind // our applications and one of Microsoft's two
		}
		c := simulated(t, false, id)
		if !half {
			for _, app := range []string{"general", "privileged"} {
				if err := c.sim.Consent(id, app); err != nil {
					t.Fatal(err)
				}
			}
			c.Clock.Advance(time.Minute)
		}
		run := c.accept(events.PolicyRolloutRequested{Shape: events.ShapeOMAURI, AllUsers: true})
		r := c.until(run, rollout.Failed, rollout.Watching)
		if r.FailureCode != fault.ConsentMissing || len(c.policies()) != 0 || !strings.Contains(r.Links[1].URL, onboarding.ClientAppID) {
			t.Fatalf("half %t: %s %s, policies %v, links %v", half, r.State, r.FailureCode, c.policies(), r.Links)
		}
		for _, app := range []string{"service", "client"} {
			if err := c.sim.Consent(id, app); err != nil {
				t.Fatal(err)
			}
		}
		c.Clock.Advance(time.Minute)
		if r = c.until(c.accept(events.PolicyRolloutRequested{Shape: events.ShapeOMAURI, AllUsers: true}), rollout.Failed, rollout.Watching); r.State != rollout.Watching {
			t.Errorf("half %t, after consent: %s %s", half, r.State, r.FailureCode)
		}
	}
}

// TestCrashWithTheSimulator ends the process between every two effects, over HTTP and Intune's model: one policy, and the
// administrator's assignment with its filter as it was.
func TestCrashWithTheSimulator(t *testing.T) {
	t.Parallel()
	dispatchtest.EachCrash(t, 6, 2, func(t *testing.T, torn bool, n int) (int, string) {
		c := simulated(t, torn, graphsim.Contoso)
		field := c.group("Field staff")
		id := c.accept(events.PolicyRolloutRequested{Shape: events.ShapeOMAURI, AllDevices: true})
		c.CrashAt(n)
		r := c.until(id, rollout.Watching, rollout.Failed)
		passed, crashed := c.Boundaries()
		all := c.policies()
		if r.State != rollout.Watching || len(all) != 1 || !slices.Equal(all[0].Include, []string{"all devices"}) {
			t.Fatalf("crash %d (%s): %s %s, policies %+v", n, crashed, r.State, r.FailureCode, all)
		}
		// An administrator adds a group with a filter; a second rollout and the rollback of the first leave it alone.
		ref := policy.Ref{Store: policy.DeviceConfigurations, ID: all[0].ID}
		targets, err := c.client.Assignments(t.Context(), c.tenant, ref)
		if err != nil {
			t.Fatal(err)
		}
		others := policy.Assignment{Kind: policy.OtherTarget, Raw: []byte(strings.NewReplacer(`"futureProperty":{"a":[1,2]},`, "",
			"44444444-0000-4000-8000-000000000009", field).Replace(filtered))}
		if err := c.client.Assign(t.Context(), c.tenant, ref, append(targets, others)); err != nil {
			t.Fatal(err)
		}
		before, err := c.client.Assignments(t.Context(), c.tenant, ref)
		added := slices.IndexFunc(before, func(a policy.Assignment) bool { return a.Filter != "" })
		if err != nil || len(before) != 2 || added < 0 {
			t.Fatalf("assignments %+v: %v", before, err)
		}
		u := c.Unit(c.tenant)
		_, err = u.Send(t.Context(), rollout.Queue, time.Time{}, events.PolicyRollbackRequested{RequestID: u.NewID(), RolloutID: id, Delete: true, Reason: "a test"})
		if err != nil {
			t.Fatal(err)
		}
		c.commit(u)
		r = c.until(id, rollout.RolledBack, rollout.Failed)
		after, err := c.client.Assignments(t.Context(), c.tenant, ref)
		if err != nil || r.State != rollout.RolledBack || len(after) != 1 || string(after[0].Raw) != string(before[added].Raw) {
			t.Fatalf("crash %d: %s %s; others' assignment was\n%s, is\n%+v: %v", n, r.State, r.FailureCode, before[added].Raw, after, err)
		}
		return passed, crashed
	})
}
