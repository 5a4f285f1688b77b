package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"pinreset/shared/graph"
	"pinreset/shared/onboarding"
	"pinreset/shared/policy"
)

// snapshot is what a tenant's policies were from a time on. A replica that is behind shows an earlier one.
type snapshot struct {
	at   time.Time
	list []policy.Found
}

// making is how a policy of ours was created.
type making struct {
	request string // for whose request
	at      time.Time
	skew    time.Duration // of the clock
}

// policies returns what there is at a time; the caller must not change it.
func (d *directory) policies(at time.Time) []policy.Found {
	for _, s := range slices.Backward(d.history) {
		if !s.at.After(at) {
			return s.list
		}
	}
	return nil
}

// change makes a new snapshot in which the policy is what edit makes of it; with a nil edit it is gone.
func (d *directory) change(now time.Time, id string, edit func(*policy.Found)) (found bool) {
	list := slices.Clone(d.policies(now))
	i := slices.IndexFunc(list, func(f policy.Found) bool { return f.ID == id })
	if i < 0 {
		return false
	}
	if edit == nil {
		list = slices.Delete(list, i, i+1)
	} else {
		list[i].Assignments = slices.Clone(list[i].Assignments)
		edit(&list[i])
		list[i].Modified = now
	}
	d.history = append(d.history, snapshot{now, list})
	return true
}

// add adds a policy that makes PIN recovery's setting, and returns its id.
func (d *directory) add(now time.Time, shape policy.Shape, name string, mine bool, v policy.Value, targets ...policy.Assignment) string {
	d.serial++
	id := fmt.Sprintf("70110000-0000-4000-8000-%012x", d.serial)
	list := append(slices.Clone(d.policies(now)), policy.Found{
		ID: id, Name: name, Shape: shape, Setting: policy.PINRecovery, Scope: policy.Device, Value: v, Mine: mine,
		Modified: now, Assignments: targets,
	})
	d.history = append(d.history, snapshot{now, list})
	return id
}

// look passes a read of policies and returns what the replica that answers it shows.
func (c *cloud) look(e effect, tenant string) (*directory, []policy.Found, mishap, error) {
	m, err := c.call(e, tenant, "")
	if err != nil {
		return nil, nil, m, err
	}
	at := c.w.now
	if m == stale {
		at = at.Add(-c.w.upTo(replicaLag))
	}
	d := c.tenants[tenant]
	return d, d.policies(at), m, nil
}

func copied(list []policy.Found) []policy.Found {
	list = slices.Clone(list)
	for i := range list {
		list[i].Assignments = slices.Clone(list[i].Assignments)
	}
	return list
}

// Policies is graph.Client's.
func (c *cloud) Policies(_ context.Context, tenant string) ([]policy.Found, error) {
	d, list, m, err := c.look(readPolicies, tenant)
	if err != nil {
		return nil, err
	}
	list = copied(list)
	for i := range list {
		if c.w.skipIntent && d.made[list[i].ID].request == c.w.cur.request {
			list[i].Mine = false // the broken build does not look for what an earlier run of it has made
		}
	}
	return list, c.w.after(m)
}

// Policy is graph.Client's. What it shows of the value is what the run knows of it.
func (c *cloud) Policy(_ context.Context, tenant string, ref policy.Ref) ([]policy.Found, error) {
	_, list, m, err := c.look(readPolicy, tenant)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(list, func(f policy.Found) bool { return f.Ref() == ref })
	if i < 0 {
		return nil, graph.ErrNotFound
	}
	c.w.cur.off = list[i].Value == policy.Off
	return copied(list[i : i+1]), c.w.after(m)
}

// Assignments is graph.Client's. The run remembers what it was shown: a write must keep what is others' of it.
func (c *cloud) Assignments(_ context.Context, tenant string, ref policy.Ref) ([]policy.Assignment, error) {
	_, list, m, err := c.look(readAssignments, tenant)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(list, func(f policy.Found) bool { return f.Ref() == ref })
	if i < 0 {
		return nil, graph.ErrNotFound
	}
	c.w.cur.shown = &shown{ref.ID, list[i].Assignments}
	return slices.Clone(list[i].Assignments), c.w.after(m)
}

// shown are the assignments of a policy as a run has read them.
type shown struct {
	policy string
	all    []policy.Assignment
}

// DeviceStatuses is graph.Client's. Each device of the fleet reports some time after the policy's last change, or never.
func (c *cloud) DeviceStatuses(_ context.Context, tenant, id string) ([]graph.DeviceStatus, error) {
	d, list, m, err := c.look(readStatuses, tenant)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(list, func(f policy.Found) bool { return f.ID == id })
	if i < 0 {
		return nil, graph.ErrNotFound
	}
	var all []graph.DeviceStatus
	for n, after := range d.fleet {
		s := graph.DeviceStatus{DeviceName: fmt.Sprintf("device-%d", n), State: "unknown"}
		switch at := list[i].Modified.Add(after); {
		case after < 0:
			s.State = "notApplicable" // a phone of a targeted user
		case after > 0 && !at.After(c.w.now):
			s.State, s.Reported = "compliant", at
		}
		all = append(all, s)
	}
	return all, c.w.after(m)
}

// write passes a write of policies. What carried says is done where the mishap lets it be.
func (c *cloud) write(e effect, tenant string, carried func(d *directory) error) error {
	w := c.w
	m, err := w.before(e)
	if err != nil {
		return err
	}
	if w.cur.tenant != tenant {
		w.violate("I5: a run of tenant %s writes a policy of tenant %s", w.cur.tenant, tenant)
		return graph.ErrNotFound
	}
	if w.expired() {
		return context.DeadlineExceeded
	}
	switch m {
	case none, slow, leaseLost, crashAfter, throttledDone, throttledBareDone, unavailableDone, answerLost:
		if e <= deletePolicy {
			w.holds(tenant, e)
		}
		if err := carried(c.tenants[tenant]); err != nil {
			return err
		}
	}
	if err := c.verdict(m, http.MethodPost, e); err != nil {
		if (e == createPolicy || e == subscribe) && m != notSent && m != refused && m != forbidden {
			err = fmt.Errorf("%w: %w", graph.ErrOutcomeUnknown, err)
		}
		return err
	}
	return w.after(m)
}

// CreatePolicy is graph.Client's.
func (c *cloud) CreatePolicy(_ context.Context, tenant string, shape policy.Shape) (id string, err error) {
	w := c.w
	err = c.write(createPolicy, tenant, func(d *directory) error {
		w.guarded("created")
		for _, f := range d.policies(w.now) {
			if made := d.made[f.ID]; made.at.Add(replicaLag).After(w.now) && made.skew != w.skew {
				continue // the clock was set in the seconds in which it may not be listed: nothing can tell how long they are
			}
			if f.Mine && f.Shape == shape {
				w.violate("I10: tenant %s has the policy %s of ours, and gets another one for %s", tenant, f.ID, w.cur.request)
			}
		}
		id = d.add(w.now, shape, policy.Name, true, policy.On)
		if d.made == nil {
			d.made = map[string]making{}
		}
		d.made[id] = making{w.cur.request, w.now, w.skew}
		w.tally.created++
		w.note("policy created", id, string(shape))
		return nil
	})
	if err != nil {
		return "", err
	}
	return id, nil
}

// SetPolicyValue is graph.Client's.
func (c *cloud) SetPolicyValue(_ context.Context, tenant string, f policy.Found, v policy.Value) error {
	w := c.w
	return c.write(setPolicy, tenant, func(d *directory) error {
		if v == policy.On {
			w.guarded("switched on")
		}
		if !d.change(w.now, f.ID, func(now *policy.Found) { now.Value = v }) {
			return graph.ErrNotFound
		}
		w.cur.off = v == policy.Off
		w.note("policy set", f.ID, v.String())
		return nil
	})
}

// Assign is graph.Client's.
func (c *cloud) Assign(_ context.Context, tenant string, ref policy.Ref, all []policy.Assignment) error {
	w := c.w
	return c.write(assignPolicy, tenant, func(d *directory) error {
		if w.cur.shown == nil || w.cur.shown.policy != ref.ID {
			w.violate("I11: policy %s is assigned by a run that has not read its assignments", ref.ID)
			return nil
		}
		before := w.cur.shown.all
		body := policy.Assign(ref, all).Body
		for _, target := range before {
			if !ours(target) && !bytes.Contains(body, target.Raw) { // what nobody here knows of it, too
				w.violate("I11: the assignment of policy %s to %s, which is others', is not written as it was", ref.ID, target.GroupID)
			}
		}
		if lost := policy.Missing(slices.DeleteFunc(slices.Clone(before), ours), all); len(lost) > 0 {
			w.violate("I11: policy %s loses %d assignments that are others'", ref.ID, len(lost))
		}
		if len(policy.Missing(all, before)) > 0 {
			w.guarded("assigned")
		}
		if len(policy.Missing(before, all)) > 0 && !w.cur.off {
			w.violate("I13: policy %s is taken away without having been switched off", ref.ID)
		}
		if !d.change(w.now, ref.ID, func(now *policy.Found) { now.Assignments = slices.Clone(all) }) {
			return graph.ErrNotFound
		}
		w.tally.assigned++
		w.note("policy assigned", ref.ID, fmt.Sprint(len(all)))
		return nil
	})
}

// DeletePolicy is graph.Client's.
func (c *cloud) DeletePolicy(_ context.Context, tenant string, ref policy.Ref) error {
	w := c.w
	return c.write(deletePolicy, tenant, func(d *directory) error {
		switch s := w.cur.shown; {
		case !w.cur.off:
			w.violate("I13: policy %s is deleted without having been switched off", ref.ID)
		case s == nil || s.policy != ref.ID || slices.ContainsFunc(s.all, func(a policy.Assignment) bool { return !ours(a) }):
			w.violate("I11: policy %s is deleted with others' assignments on it", ref.ID)
		}
		if !d.change(w.now, ref.ID, nil) {
			return graph.ErrNotFound
		}
		w.tally.deleted++
		w.note("policy deleted", ref.ID)
		return nil
	})
}

// guarded checks that the run has seen both of Microsoft's applications, present and enabled.
func (w *world) guarded(what string) {
	for _, app := range []string{onboarding.ServiceAppID, onboarding.ClientAppID} {
		if !w.cur.proved[app] {
			w.violate("I12: a policy is %s for %s by a run that has not seen %s enabled", what, w.cur.request, app)
		}
	}
}

// GroupKind is graph.Client's. The groups have users in them.
func (c *cloud) GroupKind(_ context.Context, tenant, _ string) (policy.GroupKind, error) {
	m, err := c.call(readGroup, tenant, "")
	if err != nil {
		return policy.UnknownGroup, err
	}
	return policy.UserGroup, c.w.after(m)
}
