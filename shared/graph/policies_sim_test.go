package graph_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/policy"
)

// groups finds groups of Contoso by name.
func (c *cloud) groups(names ...string) map[string]string {
	c.t.Helper()
	ids := map[string]string{}
	for _, name := range names {
		found, err := c.client.GroupsNamed(c.t.Context(), graphsim.Contoso, name)
		if err != nil || len(found) != 1 || found[0].DisplayName != name {
			c.t.Fatalf("groups named %s: %+v %v", name, found, err)
		}
		ids[name] = found[0].ID
	}
	return ids
}

func find(found []policy.Found, id string) *policy.Found {
	i := slices.IndexFunc(found, func(f policy.Found) bool { return f.ID == id })
	if i < 0 {
		return nil
	}
	return &found[i]
}

// In every shape a policy is created, found, assigned beside others' targets, turned off with its assignments kept, and deleted; and
// at each step the plan says what is left to do.
func TestPolicyLifeCycle(t *testing.T) {
	t.Parallel()
	for _, shape := range policy.Shapes {
		t.Run(string(shape), func(t *testing.T) {
			t.Parallel()
			c := start(t, graphsim.Options{}, nil)
			ctx, client, tenant := t.Context(), c.client, graphsim.Contoso
			ids := c.groups("Windows devices", "Shared devices", "PIN recovery pilot")
			wish := policy.Desired{Shape: shape, Value: policy.On, Include: []string{ids["Windows devices"]}, Exclude: []string{ids["Shared devices"]}}
			plan := func() policy.Plan {
				t.Helper()
				found, err := client.Policies(ctx, tenant)
				if err != nil {
					t.Fatal(err)
				}
				p, err := wish.Plan(tenant, found, policy.PublishedPace)
				if err != nil {
					t.Fatal(err)
				}
				return p
			}
			if p := plan(); p.Writes != 2 || p.Policy.ID != "" {
				t.Fatalf("plan at first: %+v", p)
			}
			id, err := client.CreatePolicy(ctx, tenant, shape)
			if err != nil {
				t.Fatal(err)
			}
			ref := policy.Ref{Store: shape.Store(), ID: id}
			if p := plan(); p.Writes != 1 || p.Policy != ref {
				t.Fatalf("plan after the create: %+v", p)
			}
			theirs := []policy.Assignment{{Kind: policy.IncludeGroup, GroupID: ids["PIN recovery pilot"]}}
			if err := client.Assign(ctx, tenant, ref, theirs); err != nil {
				t.Fatal(err)
			}
			existing, err := client.Assignments(ctx, tenant, ref)
			if err != nil {
				t.Fatal(err)
			}
			merged, err := policy.Merge(existing, wish)
			if err != nil {
				t.Fatal(err)
			}
			if err := client.Assign(ctx, tenant, ref, merged); err != nil {
				t.Fatal(err)
			}
			set, err := client.Assignments(ctx, tenant, ref)
			if err != nil || !policy.Equal(set, merged) || len(set) != 3 {
				t.Fatalf("assigned %+v, read back %+v %v", merged, set, err)
			}
			if p := plan(); !p.Nothing() {
				t.Errorf("plan at last: %+v", p)
			}
			found, err := client.Policy(ctx, tenant, ref)
			if err != nil || len(found) != 1 || found[0].Shape != shape || found[0].Value != policy.On || !found[0].Mine || !policy.Equal(found[0].Assignments, merged) {
				t.Fatalf("policy %+v %v", found, err)
			}
			if err := client.SetPolicyValue(ctx, tenant, found[0], policy.Off); err != nil {
				t.Fatal(err)
			}
			found, err = client.Policy(ctx, tenant, ref)
			if err != nil || len(found) != 1 || found[0].Value != policy.Off || found[0].Shape != shape || !found[0].Mine || !policy.Equal(found[0].Assignments, merged) {
				t.Fatalf("turned off: %+v %v", found, err)
			}
			if shape.HasDeviceStatus() {
				statuses, err := client.DeviceStatuses(ctx, tenant, id)
				if err != nil {
					t.Error(err)
				}
				overview, err := client.StatusOverview(ctx, tenant, id)
				if err != nil || len(statuses) == 0 ||
					overview.Pending+overview.NotApplicable+overview.Success+overview.Error+overview.Failed != len(statuses) {
					t.Errorf("%d statuses, overview %+v %v", len(statuses), overview, err)
				}
			}
			if err := client.DeletePolicy(ctx, tenant, ref); err != nil {
				t.Fatal(err)
			}
			if _, err := client.Policy(ctx, tenant, ref); !errors.Is(err, graph.ErrNotFound) {
				t.Errorf("deleted: %v", err)
			}
			if err := client.DeletePolicy(ctx, tenant, ref); !errors.Is(err, graph.ErrNotFound) {
				t.Errorf("deleted again: %v", err)
			}
		})
	}
}

// What people made in the portal is found in every store, with what is wrong with it.
func TestPoliciesMadeInThePortal(t *testing.T) {
	t.Parallel()
	c := start(t, graphsim.Options{}, nil)
	add := func(spec graphsim.PolicySpec) string {
		t.Helper()
		spec.Name = "made in the portal"
		id, err := c.AddPolicy(graphsim.Contoso, spec)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	right := add(graphsim.PolicySpec{Store: graphsim.DeviceConfigurations, Value: true, Include: []string{"PIN recovery pilot"}, Exclude: []string{"Shared devices"}})
	wrong := add(graphsim.PolicySpec{Store: graphsim.DeviceConfigurations, Value: true, URI: "./Vendor/MSFT/Policy/PassportForWork/" + graphsim.Contoso + "/Policies/EnablePinRecovery"})
	identity := add(graphsim.PolicySpec{Store: graphsim.DeviceConfigurations, Type: "windowsIdentityProtectionConfiguration", Value: true})
	catalog := add(graphsim.PolicySpec{Store: graphsim.ConfigurationPolicies, Value: false, Include: []string{"all devices"}})
	account := add(graphsim.PolicySpec{Store: graphsim.ConfigurationPolicies, Account: true, Value: true})
	intent := add(graphsim.PolicySpec{Store: graphsim.LegacyIntents, Value: true})

	found, err := c.client.Policies(t.Context(), graphsim.Contoso)
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]policy.Found{
		right:    {Shape: policy.OMAURI, Value: policy.On},
		wrong:    {Shape: policy.OMAURI, Value: policy.On, Misspelt: true},
		identity: {Shape: policy.IdentityProtection, Value: policy.On},
		catalog:  {Shape: policy.SettingsCatalog, Value: policy.Off},
		account:  {Shape: policy.AccountProtection, Value: policy.On},
		intent:   {Shape: policy.Intent, Value: policy.On},
	} {
		f := find(found, id)
		if f == nil || f.Shape != want.Shape || f.Value != want.Value || f.Misspelt != want.Misspelt || f.Mine || f.Name != "made in the portal" {
			t.Errorf("policy of shape %s: %+v", want.Shape, f)
		}
	}

	kinds := map[string]policy.GroupKind{}
	for _, f := range found {
		for _, a := range f.Assignments {
			if a.GroupID != "" {
				if kinds[a.GroupID], err = c.client.GroupKind(t.Context(), graphsim.Contoso, a.GroupID); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	findings := policy.Lint(found, func(id string) policy.GroupKind { return kinds[id] })
	for id, code := range map[string]policy.Code{right: policy.MixedExclusion, wrong: policy.WrongPath, catalog: policy.Contradiction, intent: policy.RetiredShape} {
		if !slices.ContainsFunc(findings, func(f policy.Finding) bool { return f.PolicyID == id && f.Code == code }) {
			t.Errorf("no finding %s of %s in %+v", code, id, findings)
		}
	}
}

// One read of each kind through one batch of each version, and the two directions of membership.
func TestDirectoryReadsOfSimulatedTenant(t *testing.T) {
	t.Parallel()
	c := start(t, graphsim.Options{}, nil)
	ctx, client, tenant := t.Context(), c.client, graphsim.Contoso
	ids := c.groups("Windows devices", "PIN recovery pilot", "Everyone and everything")
	for name, want := range map[string]policy.GroupKind{"Windows devices": policy.DeviceGroup, "PIN recovery pilot": policy.UserGroup, "Everyone and everything": policy.UnknownGroup} {
		if kind, err := client.GroupKind(ctx, tenant, ids[name]); err != nil || kind != want {
			t.Errorf("%s holds %s %v, want %s", name, kind, err, want)
		}
	}
	if none, err := client.GroupsNamed(ctx, tenant, "O'Neill & sons"); err != nil || len(none) > 0 {
		t.Errorf("groups of a name that none has: %+v %v", none, err)
	}
	members := 0
	for m, err := range client.Members(ctx, tenant, ids["Windows devices"]) {
		if err != nil || m.Kind != graph.DeviceMember {
			t.Fatalf("%+v %v", m, err)
		}
		groups, err := client.DeviceGroups(ctx, tenant, m.ID)
		if err != nil || !slices.Contains(groups, ids["Windows devices"]) {
			t.Errorf("groups of device %s: %v %v", m.ID, groups, err)
		}
		members++
	}
	if members == 0 {
		t.Error("no Windows devices")
	}
	laptop := c.device("hr-laptop-11")
	if _, err := client.UserGroups(ctx, tenant, laptop.UserID); err != nil {
		t.Error(err)
	}
	d, err := client.DirectoryDevice(ctx, tenant, laptop.AzureADDeviceID)
	if err != nil || d.DeviceID != laptop.AzureADDeviceID || d.TrustType == "" {
		t.Errorf("%+v %v", d, err)
	}
	if _, err := client.ConfigurationStates(ctx, tenant, laptop.ID); err != nil {
		t.Error(err)
	}
	all, err := graph.PrincipalDelta().Since(ctx, client, tenant, "")
	if err != nil || len(all.Changed) == 0 {
		t.Fatalf("%+v %v", all, err)
	}
	if err := c.EnableServicePrincipal(tenant, graphsim.PinResetService, false); err != nil {
		t.Fatal(err)
	}
	next, err := graph.PrincipalDelta().Since(ctx, client, tenant, all.Token)
	if err != nil || len(next.Changed) != 1 || next.Changed[0].AppID != graphsim.PinResetService || next.Changed[0].Enabled() {
		t.Errorf("%+v %v", next, err)
	}
}

func TestDeltasOfSimulatedTenant(t *testing.T) {
	t.Parallel()
	c := start(t, graphsim.Options{}, nil)
	ctx, client, tenant := t.Context(), c.client, graphsim.Contoso
	pilot := c.groups("PIN recovery pilot")["PIN recovery pilot"]
	delta := graph.GroupDelta(pilot)
	first, err := delta.Since(ctx, client, tenant, "")
	if err != nil || len(first.Changed) == 0 || first.Changed[0].ID != pilot {
		t.Fatalf("%+v %v", first, err)
	}
	if same, err := delta.Since(ctx, client, tenant, first.Token); err != nil || len(same.Changed) > 0 || len(same.Removed) > 0 {
		t.Errorf("nothing changed, and still %+v %v", same, err)
	}
	someone := c.device("hr-laptop-11").UserPrincipalName
	if err := c.ChangeMembers(tenant, "PIN recovery pilot", []string{someone}, nil); err != nil {
		t.Fatal(err)
	}
	joined, err := delta.Since(ctx, client, tenant, first.Token)
	if err != nil || len(joined.Changed) != 1 || len(joined.Changed[0].Members) != 1 || joined.Changed[0].Members[0].Removed != nil {
		t.Errorf("after somebody joined: %+v %v", joined, err)
	}
	if err := c.Inject(tenant, graphsim.Fault{Kind: graphsim.DeltaGone}); err != nil {
		t.Fatal(err)
	}
	if _, err := delta.Since(ctx, client, tenant, first.Token); !errors.Is(err, graph.ErrStartOver) {
		t.Errorf("a token that is too old: %v", err)
	}
	grants, err := graph.GrantDelta().Since(ctx, client, tenant, "")
	if err != nil || len(grants.Changed) == 0 || grants.Token == "" {
		t.Errorf("grants %+v %v", grants, err)
	}
	domains, err := client.Domains(ctx, graphsim.Tailspin)
	if err != nil || !slices.ContainsFunc(domains, graph.Domain.Federated) {
		t.Errorf("domains of a federated tenant: %+v %v", domains, err)
	}
}

// A store that can't be read is no store without policies.
func TestRefusedStore(t *testing.T) {
	t.Parallel()
	for _, store := range policy.Stores {
		c := start(t, graphsim.Options{}, nil)
		if err := c.Inject(graphsim.Contoso, graphsim.Fault{Kind: graphsim.Refuse, Path: "deviceManagement/" + string(store), Count: -1}); err != nil {
			t.Fatal(err)
		}
		if found, err := c.client.Policies(t.Context(), graphsim.Contoso); fault.CodeOf(err) != fault.GraphForbidden || found != nil {
			t.Errorf("%s: %v %v", store, found, err)
		}
		for _, other := range policy.Stores {
			if _, err := graph.ReadPolicies(other).Do(t.Context(), c.client, graphsim.Contoso); (err != nil) != (other == store) {
				t.Errorf("%s refused, %s: %v", store, other, err)
			}
		}
	}
}

// A create whose answer is lost leaves a policy, and whoever looks again finds it and makes no second one.
func TestCreateWithoutAnAnswerIsFound(t *testing.T) {
	t.Parallel()
	for _, kind := range []graphsim.FaultKind{graphsim.LostAnswer, graphsim.ExecutedThrottle} {
		c := start(t, graphsim.Options{}, nil)
		if err := c.Inject(graphsim.Contoso, graphsim.Fault{Kind: kind, Family: graphsim.Configuration}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.client.CreatePolicy(t.Context(), graphsim.Contoso, policy.OMAURI); !errors.Is(err, graph.ErrOutcomeUnknown) {
			t.Fatalf("%s: %v", kind, err)
		}
		c.clock.Advance(time.Minute) // of a throttled answer
		found, err := c.client.Policies(t.Context(), graphsim.Contoso)
		if err != nil {
			t.Fatal(err)
		}
		ours, ok := policy.Ours(found, policy.OMAURI)
		p, err := policy.Desired{Shape: policy.OMAURI, Value: policy.On, AllUsers: true}.Plan(graphsim.Contoso, found, policy.PublishedPace)
		if err != nil || !ok || p.Policy != ours.Ref() || p.Writes != 1 {
			t.Errorf("%s: found %+v, plan %+v %v", kind, ours, p, err)
		}
	}
}

// Graph asks the receiver for the validation token before it takes an order, and what it takes can be renewed and ended.
func TestSubscriptionsOfSimulatedTenant(t *testing.T) {
	t.Parallel()
	c := start(t, graphsim.Options{}, nil)
	ctx, client, tenant := t.Context(), c.client, graphsim.Contoso
	pilot := c.groups("PIN recovery pilot")["PIN recovery pilot"]
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, r.URL.Query().Get("validationToken"))
	}))
	t.Cleanup(receiver.Close)
	until := c.clock.Now().Add(time.Hour).Truncate(time.Second)
	made, err := client.SubscribeMembers(ctx, tenant, pilot, receiver.URL, "state", until)
	if err != nil || !made.Expires.Equal(until) {
		t.Fatalf("%+v %v", made, err)
	}
	later := c.clock.Now().Add(graph.SubscriptionLife - time.Minute).Truncate(time.Second)
	if err := client.RenewSubscription(ctx, tenant, made.ID, later); err != nil {
		t.Error(err)
	}
	if all, err := client.Subscriptions(ctx, tenant); err != nil || len(all) != 1 || all[0].ID != made.ID || !all[0].Expires.Equal(later) {
		t.Errorf("%+v %v", all, err)
	}
	if err := client.RenewSubscription(ctx, tenant, made.ID, c.clock.Now().Add(graph.SubscriptionLife+time.Hour)); fault.CodeOf(err) != fault.GraphRefused {
		t.Errorf("renewed for longer than a subscription lives: %v", err)
	}
	if err := client.Unsubscribe(ctx, tenant, made.ID); err != nil {
		t.Error(err)
	}
	if err := client.Unsubscribe(ctx, tenant, made.ID); !errors.Is(err, graph.ErrNotFound) {
		t.Errorf("ended again: %v", err)
	}
}
