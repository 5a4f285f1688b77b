package web_test

import (
	"net/http"
	"strings"
	"testing"

	"pinreset/events"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
	"pinreset/shared/onboarding"
	"pinreset/shared/policy"
	"pinreset/shared/rollout"
)

const (
	sales    = "33333333-0000-4000-8000-000000000001"
	visitors = "33333333-0000-4000-8000-000000000002"
)

// startRollout accepts a rollout as the API does and returns its id.
func (f *fixture) startRollout(tenantID string) string {
	f.t.Helper()
	a := f.call(http.MethodPost, "/v1/tenants/"+tenantID+"/rollouts", f.admin, map[string]any{"include": []string{sales}, "reason": "PINs are forgotten"})
	a.want(f.t, http.StatusAccepted)
	return a.field(f.t, "id")
}

// place ends the writing of a rollout, as its function does.
func (f *fixture) place(tenantID, id string) {
	f.t.Helper()
	u := f.unit(tenantID)
	r, err := rollout.Read(f.t.Context(), u, id)
	if err != nil {
		f.t.Fatal(err)
	}
	r.State, r.PolicyID, r.PolicyName, r.PlacedAt = rollout.Watching, visitors, policy.Name, f.Now()
	r.See(rollout.Progress{At: f.Now(), Source: rollout.FromIntune, Succeeded: 3, Pending: 1, NotApplicable: 40})
	if err := rollout.Place(f.t.Context(), u, &r); err != nil {
		f.t.Fatal(err)
	}
	f.commit(u)
}

func TestPlan(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	token := f.may(identity.PolicyRead)
	path := "/v1/tenants/" + contoso + "/policies/plan"
	a := f.call(http.MethodPost, path, token, map[string]any{"include": []string{sales}, "exclude": []string{visitors}})
	a.want(t, http.StatusOK)
	var plan struct {
		Hash   string
		Writes int
		Calls  []policy.Call
		Guard  struct {
			State string
			Links []rollout.ConsentLink
		}
	}
	a.into(t, &plan)
	var writes []string
	for _, c := range plan.Calls {
		if c.Write() {
			writes = append(writes, c.Method+" /"+c.Version+c.Path)
		}
	}
	want := "POST /v1.0/deviceManagement/deviceConfigurations, POST /beta/deviceManagement/deviceConfigurations/{id}/assign"
	if got := strings.Join(writes, ", "); got != want || plan.Writes != 2 || plan.Hash == "" || plan.Guard.State != "passed" {
		t.Errorf("writes %s (%d), hash %q, guard %s", got, plan.Writes, plan.Hash, plan.Guard.State)
	}

	if !strings.Contains(string(a.body), string(policy.MixedExclusion)) {
		t.Errorf("excluding devices from a group of users is not found: %s", a.body)
	}

	// The same wish otherwise spelt is the same plan, and another wish is another.
	again := f.call(http.MethodPost, path, token, map[string]any{"shape": "oma-uri", "include": []string{strings.ToUpper(sales), sales}, "exclude": []string{visitors}})
	if got := again.field(t, "hash"); got != plan.Hash {
		t.Errorf("the same wish has hash %s, was %s", got, plan.Hash)
	}
	if got := f.call(http.MethodPost, path, token, map[string]any{"include": []string{sales}}).field(t, "hash"); got == plan.Hash {
		t.Error("another wish has the same hash")
	}

	f.fleet.lack(onboarding.ClientAppID)
	a = f.call(http.MethodPost, path, token, map[string]any{"include": []string{sales}})
	a.want(t, http.StatusOK)
	a.into(t, &plan)
	if plan.Guard.State != "refused" || len(plan.Guard.Links) != 1 || !strings.Contains(plan.Guard.Links[0].URL, onboarding.ClientAppID) {
		t.Errorf("guard without the client application: %+v", plan.Guard)
	}
	f.fleet.fail(fault.Permanentf(fault.GraphForbidden, "no licence"))
	f.call(http.MethodPost, path, token, map[string]any{"include": []string{sales}}).refused(t, http.StatusBadGateway, fault.GraphForbidden)
}

func TestPlanRefusesWhatMakesNoSense(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	token := f.may(identity.PolicyRead, identity.PolicyWrite)
	for name, body := range map[string]map[string]any{
		"nobody":             {},
		"no group id":        {"include": []string{"Sales"}},
		"in and out":         {"include": []string{sales}, "exclude": []string{sales}},
		"exclude from none":  {"exclude": []string{sales}},
		"no such shape":      {"include": []string{sales}, "shape": "intent"},
		"only a device says": {"include": []string{sales}, "shape": "group-policy"},
	} {
		for _, path := range []string{"/policies/plan", "/rollouts"} {
			if path == "/rollouts" {
				body["reason"] = "a test"
			}
			a := f.call(http.MethodPost, "/v1/tenants/"+contoso+path, token, body)
			if a.status != http.StatusUnprocessableEntity {
				t.Errorf("%s: %s answers %d %s", name, path, a.status, a.body)
			}
		}
	}
}

func TestRolloutIsAcceptedOnce(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	token := f.may(identity.PolicyWrite, identity.PolicyRead)
	path := "/v1/tenants/" + contoso + "/rollouts"
	body := map[string]any{"include": []string{sales}, "reason": "PINs are forgotten"}
	first := f.call(http.MethodPost, path, token, body, key("one"))
	first.want(t, http.StatusAccepted)
	again := f.call(http.MethodPost, path, token, body, key("one"))
	again.want(t, http.StatusAccepted)
	id := first.field(t, "id")
	if again.field(t, "id") != id {
		t.Error("repeated with its key it is another rollout")
	}
	same := f.call(http.MethodPost, path, token, body)
	same.want(t, http.StatusOK)
	if same.field(t, "id") != id {
		t.Error("the same wish is another rollout while the first is being written")
	}
	f.call(http.MethodPost, path, token, map[string]any{"allUsers": true, "reason": "a test"}).refused(t, http.StatusConflict, fault.StateConflict)

	f.place(contoso, id)
	shown := f.call(http.MethodGet, path+"/"+id, token, nil)
	shown.want(t, http.StatusOK)
	var r struct {
		State    rollout.State
		Percent  int
		Progress rollout.Progress
		Placed   bool
	}
	shown.into(t, &r)
	if r.State != rollout.Watching || !r.Placed || r.Percent != 75 || r.Progress.NotApplicable != 40 {
		t.Errorf("phones count: %+v", r)
	}
	f.call(http.MethodPost, path, token, map[string]any{"allUsers": true, "reason": "a test"}).want(t, http.StatusAccepted)
}

func TestRolloutKeepsToThePlan(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	token := f.may(identity.PolicyWrite, identity.PolicyRead)
	hash := f.call(http.MethodPost, "/v1/tenants/"+contoso+"/policies/plan", token, map[string]any{"include": []string{sales}}).field(t, "hash")
	path := "/v1/tenants/" + contoso + "/rollouts"
	body := map[string]any{"include": []string{sales}, "planHash": hash, "reason": "a test"}
	f.fleet.have(contoso, policy.Found{ID: visitors, Name: policy.Name, Shape: policy.OMAURI, Setting: policy.PINRecovery, Scope: policy.Device, Value: policy.On, Mine: true})
	f.call(http.MethodPost, path, token, body).refused(t, http.StatusConflict, fault.PlanChanged)
	f.fleet.have(contoso)
	accepted := f.call(http.MethodPost, path, token, body, key("planned"))
	accepted.want(t, http.StatusAccepted)
	// By now the tenant is what the plan made of it: the same call still has its answer.
	f.fleet.have(contoso, policy.Found{ID: visitors, Name: policy.Name, Shape: policy.OMAURI, Setting: policy.PINRecovery, Scope: policy.Device, Value: policy.On, Mine: true})
	f.call(http.MethodPost, path, token, body, key("planned")).want(t, http.StatusAccepted)
}

func TestRollbackNeedsSomethingToTakeBack(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	token := f.may(identity.PolicyWrite, identity.PolicyRead)
	id := f.startRollout(contoso)
	path := "/v1/tenants/" + contoso + "/rollouts/" + id + "/rollback"
	body := map[string]any{"unassign": true, "reason": "a test"}
	f.call(http.MethodPost, path, token, body).refused(t, http.StatusConflict, fault.StateConflict) // being written
	f.place(contoso, id)
	f.call(http.MethodPost, path, token, map[string]any{"unassign": true}).refused(t, http.StatusUnprocessableEntity, fault.InvalidRequest)
	a := f.call(http.MethodPost, path, token, body)
	a.want(t, http.StatusAccepted)
	if got := a.field(t, "state"); got != string(rollout.Withdrawing) {
		t.Errorf("state %s", got)
	}
	f.call(http.MethodPost, path, token, body).refused(t, http.StatusConflict, fault.StateConflict) // twice
	f.call(http.MethodPost, "/v1/tenants/"+contoso+"/rollouts", token, map[string]any{"include": []string{sales}, "reason": "a test"}).
		refused(t, http.StatusConflict, fault.StateConflict)
}

func TestRolloutEvents(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	id := f.newID()
	send := func(token string, data events.Data) answer {
		raw, err := events.Event{ID: f.newID(), Tenant: contoso, Time: f.Now(), Data: data}.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		return f.call(http.MethodPost, "/v1/events", token, string(raw))
	}
	asked := events.PolicyRolloutRequested{RequestID: id, Shape: events.ShapeOMAURI, AllDevices: true, Reason: "a test"}
	send(f.may(identity.PolicyRead), asked).refused(t, http.StatusForbidden, fault.Forbidden)
	token := f.may(identity.PolicyWrite)
	send(token, events.PolicyRolloutRequested{RequestID: id, Shape: events.ShapeOMAURI, Reason: "for nobody"}).refused(t, http.StatusUnprocessableEntity, fault.InvalidRequest)
	send(token, asked).want(t, http.StatusAccepted)
	send(token, asked).refused(t, http.StatusConflict, fault.StateConflict)
	f.place(contoso, id)
	send(token, events.PolicyRollbackRequested{RequestID: f.newID(), RolloutID: id, Reason: "a test"}).want(t, http.StatusAccepted)
	send(token, events.PolicyRollbackRequested{RequestID: f.newID(), RolloutID: "nothing", Reason: "a test"}).refused(t, http.StatusNotFound, fault.NotFound)
	for _, shape := range policy.Shapes {
		if err := (events.PolicyRolloutRequested{RequestID: "r", Shape: string(shape), Reason: "r"}).Validate(); err != nil {
			t.Errorf("no event can ask for the shape %s: %v", shape, err)
		}
	}
}

// TestOffboardingWaitsForTheRollback: a policy that stands is not left behind by accident.
func TestOffboardingWaitsForTheRollback(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	id := f.startRollout(contoso)
	path, body := "/v1/tenants/"+contoso+"/offboard", map[string]any{"confirm": contoso, "reason": "a test"}
	f.call(http.MethodPost, path, f.admin, body).refused(t, http.StatusConflict, fault.StateConflict)
	f.place(contoso, id)
	f.call(http.MethodPost, path, f.admin, body).refused(t, http.StatusConflict, fault.StateConflict)
	u := f.unit(contoso)
	r, err := rollout.Withdraw(t.Context(), u, events.PolicyRollbackRequested{RequestID: "back", RolloutID: id, Reason: "a test"})
	if err != nil {
		t.Fatal(err)
	}
	f.commit(u)
	f.call(http.MethodPost, path, f.admin, body).refused(t, http.StatusConflict, fault.StateConflict)
	u = f.unit(contoso)
	if r, err = rollout.Read(t.Context(), u, id); err != nil {
		t.Fatal(err)
	}
	if err := rollout.End(t.Context(), u, r, rollout.RolledBack); err != nil {
		t.Fatal(err)
	}
	f.commit(u)
	f.call(http.MethodPost, path, f.admin, body).want(t, http.StatusOK)

	f.place(fabrikam, f.startRollout(fabrikam))
	f.call(http.MethodPost, "/v1/tenants/"+fabrikam+"/offboard", f.admin, map[string]any{"confirm": fabrikam, "leavePolicy": true, "reason": "a test"}).want(t, http.StatusOK)
}
