package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/functions/policyrollout"
	"pinreset/shared/diag"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/onboarding"
	"pinreset/shared/policy"
	"pinreset/shared/rollout"
	"pinreset/shared/work"
)

// rolloutSchedule looks less often than the program's own; what it waits for after a create is the same.
var rolloutSchedule = policyrollout.Schedule{
	Looks: []time.Duration{2 * time.Minute, time.Hour, 12 * time.Hour}, Watch: 2 * 24 * time.Hour, Withdraw: 24 * time.Hour,
	Trace: policyrollout.DefaultSchedule.Trace, Turn: policyrollout.DefaultSchedule.Turn, Replicas: policyrollout.DefaultSchedule.Replicas,
}

// profile is a policy of pinreset's in a tenant.
type profile struct {
	id      string
	made    time.Time
	on      bool
	targets []string // JSON
}

// foreign is somebody else's target: it has a filter and a property that nobody here knows.
const foreign = `{"@odata.type":"#microsoft.graph.groupAssignmentTarget","futureProperty":[1,{"a":"b"}],"groupId":"9f000000-0000-4000-8000-000000000001",` +
	`"deviceAndAppManagementAssignmentFilterId":"9f000000-0000-4000-8000-000000000002","deviceAndAppManagementAssignmentFilterType":"include"}`

func (p *profile) elements() []json.RawMessage {
	elements := []json.RawMessage{}
	for _, t := range p.targets {
		elements = append(elements, json.RawMessage(`{"target":`+t+`}`))
	}
	return elements
}

func (p *profile) found(tenant string) []policy.Found {
	raw := fmt.Appendf(nil, `{"@odata.type":"#microsoft.graph.windows10CustomConfiguration","id":%q,"displayName":%q,"description":%q,"omaSettings":[`+
		`{"@odata.type":"#microsoft.graph.omaSettingBoolean","omaUri":%q,"value":%t}]}`, p.id, policy.Name, policy.Mark, policy.URI(tenant, policy.Device), p.on)
	found, err := policy.Detect(tenant, policy.DeviceConfigurations, policy.Document{Entity: raw, Assignments: p.elements()})
	if err != nil {
		panic(err) // JSON of our own
	}
	return found
}

func (d *directory) profile(id string) (*profile, error) {
	for _, p := range d.profiles {
		if p.id == id {
			return p, nil
		}
	}
	return nil, graph.ErrNotFound
}

// Policies is graph.Client's. A replica that is behind does not know of a policy made a moment ago.
func (c *cloud) Policies(_ context.Context, tenant string) ([]policy.Found, error) {
	m, err := c.call(listPolicies, tenant, "")
	if err != nil {
		return nil, err
	}
	at := c.w.now
	if m == stale {
		at = at.Add(-c.w.upTo(replicaLag))
	}
	var all []policy.Found
	for _, p := range c.tenants[tenant].profiles {
		if !p.made.After(at) {
			all = append(all, p.found(tenant)...)
		}
	}
	return all, c.w.after(m)
}

// Policy is graph.Client's.
func (c *cloud) Policy(_ context.Context, tenant string, ref policy.Ref) ([]policy.Found, error) {
	m, err := c.call(readPolicy, tenant, "")
	if err != nil {
		return nil, err
	}
	p, err := c.tenants[tenant].profile(ref.ID)
	if err != nil {
		return nil, err
	}
	return p.found(tenant), c.w.after(m)
}

// Assignments is graph.Client's.
func (c *cloud) Assignments(_ context.Context, tenant string, ref policy.Ref) ([]policy.Assignment, error) {
	m, err := c.call(readAssignments, tenant, "")
	if err != nil {
		return nil, err
	}
	p, err := c.tenants[tenant].profile(ref.ID)
	if err != nil {
		return nil, err
	}
	all, err := policy.ParseAssignments(p.elements())
	if err != nil {
		return nil, err
	}
	return all, c.w.after(m)
}

// write passes an effect that changes a tenant's policies; do is what it changes, where it is carried out.
func (c *cloud) write(e effect, tenant, method string, do func(d *directory) error) error {
	w := c.w
	m, err := w.before(e)
	if err != nil {
		return err
	}
	if w.cur.tenant != tenant {
		w.violate("I5: a run of tenant %s writes a policy of tenant %s", w.cur.tenant, tenant)
	}
	if w.expired() {
		return context.DeadlineExceeded
	}
	if slices.Contains([]mishap{none, slow, leaseLost, crashAfter, throttledDone, throttledBareDone, unavailableDone, answerLost}, m) {
		if err := do(c.tenants[tenant]); err != nil {
			return err
		}
	}
	if err := c.verdict(m, method, e); err != nil {
		if e == createPolicy && m != notSent && m != refused {
			err = fmt.Errorf("%w: %w", graph.ErrOutcomeUnknown, err)
		}
		return err
	}
	return w.after(m)
}

// bothThere reports whether both of Microsoft's applications are there and enabled, in truth.
func (d *directory) bothThere(now time.Time) bool {
	for _, app := range microsoftApps {
		if at, there := d.principals[app]; !there || now.Before(at) || d.disabled == app {
			return false
		}
	}
	return true
}

// CreatePolicy is graph.Client's.
func (c *cloud) CreatePolicy(_ context.Context, tenant string, _ policy.Shape) (id string, err error) {
	w := c.w
	err = c.write(createPolicy, tenant, http.MethodPost, func(d *directory) error {
		w.made++
		p := &profile{id: fmt.Sprintf("90000000-0000-4000-8000-%012d", w.made), made: w.now, on: true}
		if !d.bothThere(w.now) {
			w.violate("I10: a policy is made in tenant %s without consent", tenant)
		}
		// Without a clock of its own that can be trusted, the program can't tell how long ago its call was.
		if len(d.profiles) > 0 && !w.model.leapt && w.skew == 0 {
			w.violate("I11: tenant %s gets a second policy, %s beside %s", tenant, p.id, d.profiles[0].id)
		}
		d.profiles, id = append(d.profiles, p), p.id
		w.tally.policies++
		w.note("made policy", p.id)
		return nil
	})
	return id, err
}

// SetPolicyValue is graph.Client's.
func (c *cloud) SetPolicyValue(_ context.Context, tenant string, f policy.Found, v policy.Value) error {
	return c.write(setPolicy, tenant, http.MethodPatch, func(d *directory) error {
		p, err := d.profile(f.ID)
		if err != nil {
			return err
		}
		if v == policy.On && !d.bothThere(c.w.now) {
			c.w.violate("I10: policy %s is switched on without consent", f.ID)
		}
		p.on = v == policy.On
		return nil
	})
}

// Assign is graph.Client's.
func (c *cloud) Assign(_ context.Context, tenant string, ref policy.Ref, all []policy.Assignment) error {
	return c.write(assignPolicy, tenant, http.MethodPost, func(d *directory) error {
		p, err := d.profile(ref.ID)
		if err != nil {
			return err
		}
		if p.on && len(all) > len(p.targets) && !d.bothThere(c.w.now) {
			c.w.violate("I10: policy %s is assigned without consent", ref.ID)
		}
		var body struct {
			Assignments []struct{ Target json.RawMessage }
		}
		if err := json.Unmarshal(policy.Assign(ref, all).Body, &body); err != nil {
			return err
		}
		had := slices.Contains(p.targets, foreign)
		p.targets = nil
		for _, a := range body.Assignments {
			p.targets = append(p.targets, string(a.Target))
		}
		if had && !slices.Contains(p.targets, foreign) {
			c.w.violate("I12: another's assignment of policy %s is gone", ref.ID)
		}
		return nil
	})
}

// DeletePolicy is graph.Client's.
func (c *cloud) DeletePolicy(_ context.Context, tenant string, ref policy.Ref) error {
	return c.write(deletePolicy, tenant, http.MethodDelete, func(d *directory) error {
		p, err := d.profile(ref.ID)
		if err != nil {
			return err
		}
		if p.on || slices.Contains(p.targets, foreign) {
			c.w.violate("I12: policy %s is deleted, on %t, assigned to %s", ref.ID, p.on, p.targets)
		}
		d.profiles = slices.DeleteFunc(d.profiles, func(o *profile) bool { return o == p })
		return nil
	})
}

// DeviceStatuses is graph.Client's: a laptop that has reported lately, and a phone.
func (c *cloud) DeviceStatuses(_ context.Context, tenant, id string) ([]graph.DeviceStatus, error) {
	m, err := c.call(readStatuses, tenant, "")
	if err != nil {
		return nil, err
	}
	if _, err := c.tenants[tenant].profile(id); err != nil {
		return nil, err
	}
	lately := c.w.clock().Add(-time.Duration(c.w.serial%7) * time.Hour)
	return []graph.DeviceStatus{{State: "compliant", Reported: lately}, {State: "notApplicable", Reported: lately}}, c.w.after(m)
}

// GroupKind is graph.Client's. No rollout here excludes a group, so nobody asks.
func (c *cloud) GroupKind(context.Context, string, string) (policy.GroupKind, error) {
	return policy.UnknownGroup, nil
}

// planRollouts lets people roll the policy out, and take it back.
func (w *world) planRollouts(id string, d *directory) {
	if w.chance(0.3) {
		return
	}
	if w.chance(0.6) { // consented long ago
		for _, app := range microsoftApps {
			d.principals[app] = start.Add(-time.Hour)
		}
	}
	if w.chance(0.3) { // one that another administrator assigns too
		w.made++
		d.profiles = []*profile{{id: fmt.Sprintf("90000000-0000-4000-8000-%012d", w.made), made: start, targets: []string{foreign}}}
	}
	for range 1 + w.rng.IntN(2) {
		at := start.Add(w.upTo(26 * time.Hour))
		w.at(at, "roll out", func() { w.rollOut(id, 3) })
		if w.chance(0.4) {
			w.at(at.Add(w.upTo(30*time.Hour)), "roll back", func() { w.rollBack(id) })
		}
	}
}

func (w *world) rollOut(tenantID string, tries int) {
	again := func() { w.rollOut(tenantID, tries-1) }
	if tries == 0 {
		again = nil
	}
	w.api("roll out", tenantID, "", again, func(ctx context.Context) error {
		var r rollout.Rollout
		err := w.persist(ctx, tenantID, func(u *work.Unit) error {
			var err error
			r, _, err = rollout.Accept(ctx, u, events.PolicyRolloutRequested{
				RequestID: u.NewID(), Shape: events.ShapeOMAURI, Include: []string{"90000000-0000-4000-8000-0000000000aa"}, Reason: "PINs are forgotten", By: operator,
			})
			return err
		})
		if errors.Is(err, rollout.ErrBusy) {
			return nil // he is told so
		}
		if err == nil {
			w.model.rolledOut = append(w.model.rolledOut, work.Key{Partition: tenantID, Row: r.ID})
		}
		return err
	})
}

func (w *world) rollBack(tenantID string) {
	deletes := w.chance(0.5)
	w.api("roll back", tenantID, "", nil, func(ctx context.Context) error {
		err := w.persist(ctx, tenantID, func(u *work.Unit) error {
			r, err := rollout.Current(ctx, u)
			if err != nil {
				return err
			}
			d := events.PolicyRollbackRequested{RequestID: u.NewID(), RolloutID: r.ID, Unassign: true, Delete: deletes, Reason: "no more", By: operator}
			if _, err := rollout.Withdraw(ctx, u, d); err != nil {
				return err
			}
			_, err = u.Send(ctx, rollout.Queue, time.Time{}, d)
			return err
		})
		if errors.Is(err, rollout.ErrBusy) || errors.Is(err, rollout.ErrNothing) || errors.Is(err, work.ErrNotFound) {
			return nil
		}
		return err
	})
}

// wroteRollout sees each row of a rollout.
func (w *world) wroteRollout(b work.Batch, wr work.Write) {
	var r rollout.Rollout
	w.decode(wr, &r)
	key := work.Key{Partition: b.Partition, Row: r.ID}
	before, known := w.model.rollouts[key]
	w.model.rollouts[key] = r
	if !known {
		w.model.rolloutOrder = append(w.model.rolloutOrder, key)
	}
	if known && before.State == r.State {
		return
	}
	w.note("rollout", r.ID, string(before.State), string(r.State), string(r.FailureCode))
	end, request := map[rollout.State]string{
		rollout.Completed: events.PolicyRolloutCompleted{}.Kind(), rollout.RolledBack: events.PolicyRolloutCompleted{}.Kind(),
		rollout.Failed: events.FailureRaised{}.Kind(),
	}[r.State], before.Run()
	if end == "" {
		return
	}
	if !slices.ContainsFunc(b.Messages, func(m work.Message) bool {
		return m.Queue == work.Announcements && kindOf(m.Body) == end && requestOf(m.Body) == request
	}) {
		w.violate("I7: rollout %s became %s and nobody is told", r.ID, r.State)
	}
	if r.State == rollout.Completed || r.State == rollout.RolledBack {
		w.tally.rolled++
	}
}

// checkRollouts is called after each step that changed something.
func (w *world) checkRollouts() {
	m := &w.model
	writing := map[string]string{} // by tenant
	for _, key := range m.rolloutOrder {
		r := m.rollouts[key]
		if !r.Open() {
			continue
		}
		if other := writing[key.Partition]; r.Writing() && other != "" {
			w.violate("I8: two rollouts of a tenant write, %s and %s", other, r.ID)
		}
		if r.Writing() {
			writing[key.Partition] = r.ID
		}
		driven := r.CheckID != "" && w.alive(messageKey{key.Partition, r.CheckID}) || slices.ContainsFunc(m.asked[r.Run()], w.alive) ||
			slices.ContainsFunc(w.store.outbox, func(m work.Message) bool { return requestOf(m.Body) == r.Run() })
		if !driven {
			w.violate("I1: rollout %s is %s and no message goes on with it", r.ID, r.State)
		}
	}
	for _, key := range m.rolledOut {
		if _, there := m.rollouts[key]; !there {
			w.violate("I1: rollout %s was accepted and is not there", key.Row)
		}
	}
}

// endRollouts is called when nothing has gone wrong for long.
func (w *world) endRollouts() {
	for _, key := range w.model.rolloutOrder {
		r := w.model.rollouts[key]
		switch {
		case r.Open():
			w.violate("I9: rollout %s is still %s, why %s", r.ID, r.State, r.Why)
		case r.State == rollout.Failed:
			id := r.Diagnostics[strings.LastIndex(r.Diagnostics, "/")+1:]
			page, err := diag.Load(context.Background(), w.store, key.Partition, id)
			if err != nil || page.Link != r.Diagnostics || page.Code != r.FailureCode && r.FailureCode != fault.AttemptsExhausted {
				w.violate("I9: rollout %s failed with %s and its page %q can't be read: %v", r.ID, r.FailureCode, r.Diagnostics, err)
			}
		}
	}
}

// rollouts is the handler, and where its consent links lead.
func (w *world) rolloutHandler() *policyrollout.Handler {
	return &policyrollout.Handler{Directory: w.cloud, Policies: w.cloud, Store: rowsOf{w}, Schedule: rolloutSchedule,
		Links: onboarding.Links{Microsoft: "https://login.windows.net", Key: []byte("simulated"), NewID: w.newID, Now: w.clock}}
}
