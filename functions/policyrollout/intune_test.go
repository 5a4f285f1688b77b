package policyrollout_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/onboarding"
	"pinreset/shared/policy"
)

// intune is one tenant's policies and directory in memory, for faults that a run of the simulator can't place to the call:
// before the n-th call it does what the test wants. It keeps what a real tenant keeps, and counts what was done to it. Each
// read goes through policy.Detect, as the client's does.
type intune struct {
	now      func() time.Time
	policies []stored
	absent   []string // applications that are not in the directory
	disabled []string
	statuses []graph.DeviceStatus

	looked map[string]look // the last look at each application

	made    int
	creates int
	assigns []assigned
	writes  []string
	calls   int
	before  func(n int, call string) error // of each call; an error is its answer, and nothing is done
	after   func(call string) error        // of each write: what is done is done, and this is the answer
}

type stored struct {
	id, name, description string
	on                    bool
	targets               []string // JSON
}

// look is what a look at an application saw, and at which call.
type look struct {
	call    int
	enabled bool
}

// assigned is a write of assignments, with whether both applications were seen right before it, with nothing but each other in
// between.
type assigned struct {
	consented bool
	targets   []string
}

func (i *intune) begin(call string) error {
	i.calls++
	if i.before != nil {
		return i.before(i.calls, call)
	}
	return nil
}

func (i *intune) done(call string) error {
	i.writes = append(i.writes, call)
	if i.after != nil {
		return i.after(call)
	}
	return nil
}

func (i *intune) consented() bool {
	for _, app := range bothApplications {
		if l := i.looked[app]; !l.enabled || i.calls-l.call > 2 {
			return false
		}
	}
	return true
}

func (i *intune) ServicePrincipal(_ context.Context, _, app string) (graph.ServicePrincipal, error) {
	if err := i.begin("principal"); err != nil {
		return graph.ServicePrincipal{}, err
	}
	if i.looked == nil {
		i.looked = map[string]look{}
	}
	i.looked[app] = look{i.calls, !slices.Contains(i.absent, app) && !slices.Contains(i.disabled, app)}
	if slices.Contains(i.absent, app) {
		return graph.ServicePrincipal{}, fmt.Errorf("read %s: %w", app, graph.ErrNotFound)
	}
	return graph.ServicePrincipal{ID: app, AppID: app, AccountEnabled: !slices.Contains(i.disabled, app)}, nil
}

func (i *intune) Policies(_ context.Context, tenant string) ([]policy.Found, error) {
	if err := i.begin("list"); err != nil {
		return nil, err
	}
	var all []policy.Found
	for _, s := range i.policies {
		all = append(all, s.found(tenant)...)
	}
	return all, nil
}

func (s stored) found(tenant string) []policy.Found {
	entity := map[string]any{
		"@odata.type": "#microsoft.graph.windows10CustomConfiguration", "id": s.id, "displayName": s.name, "description": s.description,
		"omaSettings": []any{map[string]any{
			"@odata.type": "#microsoft.graph.omaSettingBoolean", "omaUri": policy.URI(tenant, policy.Device), "value": s.on,
		}},
	}
	raw, err := json.Marshal(entity)
	if err != nil {
		panic(err) // strings and a boolean always encode
	}
	found, err := policy.Detect(tenant, policy.DeviceConfigurations, policy.Document{Entity: raw, Assignments: s.elements()})
	if err != nil {
		panic(err)
	}
	return found
}

func (s stored) elements() []json.RawMessage {
	elements := []json.RawMessage{}
	for _, t := range s.targets {
		elements = append(elements, json.RawMessage(`{"id":"x","target":`+t+`}`))
	}
	return elements
}

func (i *intune) find(id string) (*stored, error) {
	for n := range i.policies {
		if i.policies[n].id == id {
			return &i.policies[n], nil
		}
	}
	return nil, fmt.Errorf("policy %s: %w", id, graph.ErrNotFound)
}

func (i *intune) Policy(_ context.Context, tenant string, ref policy.Ref) ([]policy.Found, error) {
	if err := i.begin("read"); err != nil {
		return nil, err
	}
	s, err := i.find(ref.ID)
	if err != nil {
		return nil, err
	}
	return s.found(tenant), nil
}

func (i *intune) Assignments(_ context.Context, _ string, ref policy.Ref) ([]policy.Assignment, error) {
	if err := i.begin("assignments"); err != nil {
		return nil, err
	}
	s, err := i.find(ref.ID)
	if err != nil {
		return nil, err
	}
	return policy.ParseAssignments(s.elements())
}

func (i *intune) CreatePolicy(_ context.Context, _ string, _ policy.Shape) (string, error) {
	if err := i.begin("create"); err != nil {
		return "", err
	}
	i.creates++
	i.made++
	s := stored{id: fmt.Sprintf("90000000-0000-4000-8000-%012d", i.made), name: policy.Name, description: policy.Mark, on: true}
	i.policies = append(i.policies, s)
	return s.id, i.done("create")
}

func (i *intune) SetPolicyValue(_ context.Context, _ string, f policy.Found, v policy.Value) error {
	if err := i.begin("set"); err != nil {
		return err
	}
	s, err := i.find(f.ID)
	if err != nil {
		return err
	}
	s.on = v == policy.On
	return i.done("set " + v.String())
}

func (i *intune) Assign(_ context.Context, _ string, ref policy.Ref, set []policy.Assignment) error {
	if err := i.begin("assign"); err != nil {
		return err
	}
	s, err := i.find(ref.ID)
	if err != nil {
		return err
	}
	var body struct {
		Assignments []struct{ Target json.RawMessage }
	}
	if err := json.Unmarshal(policy.Assign(ref, set).Body, &body); err != nil {
		return err
	}
	s.targets = nil
	for _, a := range body.Assignments {
		s.targets = append(s.targets, string(a.Target))
	}
	i.assigns = append(i.assigns, assigned{i.consented(), slices.Clone(s.targets)})
	return i.done("assign")
}

func (i *intune) DeletePolicy(_ context.Context, _ string, ref policy.Ref) error {
	if err := i.begin("delete"); err != nil {
		return err
	}
	if _, err := i.find(ref.ID); err != nil {
		return err
	}
	i.policies = slices.DeleteFunc(i.policies, func(s stored) bool { return s.id == ref.ID })
	return i.done("delete")
}

func (i *intune) DeviceStatuses(_ context.Context, _, id string) ([]graph.DeviceStatus, error) {
	if err := i.begin("statuses"); err != nil {
		return nil, err
	}
	if _, err := i.find(id); err != nil {
		return nil, err
	}
	return i.statuses, nil
}

// report makes devices report a state now.
func (i *intune) report(states ...string) {
	i.statuses = nil
	for n, state := range states {
		i.statuses = append(i.statuses, graph.DeviceStatus{DeviceName: fmt.Sprintf("device-%d", n), State: state, Reported: i.now()})
	}
}

// lost is an answer that did not come back; the call may have been carried out.
func lost() error {
	return fmt.Errorf("%w: %w", graph.ErrOutcomeUnknown, fault.After(time.Second, fault.GraphUnavailable, errors.New("connection reset")))
}

func busy() error { return fault.After(3*time.Second, fault.GraphThrottled, errors.New("429")) }

var bothApplications = []string{onboarding.ServiceAppID, onboarding.ClientAppID}

func groupTarget(id string) string {
	return `{"@odata.type":"#microsoft.graph.groupAssignmentTarget","groupId":"` + id + `"}`
}

// filtered is somebody else's target with a filter and a property that nobody here knows.
var filtered = strings.Join([]string{`{"@odata.type":"#microsoft.graph.groupAssignmentTarget"`, `"futureProperty":{"a":[1,2]}`,
	`"groupId":"44444444-0000-4000-8000-000000000009"`, `"deviceAndAppManagementAssignmentFilterId":"55555555-0000-4000-8000-000000000001"`,
	`"deviceAndAppManagementAssignmentFilterType":"include"}`}, ",")
