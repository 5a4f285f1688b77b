package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/shared/diag"
	"pinreset/shared/fault"
	"pinreset/shared/onboarding"
	"pinreset/shared/policy"
	"pinreset/shared/rollout"
	"pinreset/shared/work"
)

// Groups of rollouts, and those that other people assign our policies to.
var (
	rolloutGroups = []string{"44444444-0000-4000-8000-000000000001", "44444444-0000-4000-8000-000000000002", "44444444-0000-4000-8000-000000000003"}
	otherGroups   = []string{"55555555-0000-4000-8000-000000000001", "55555555-0000-4000-8000-000000000002"}
)

// ours reports whether the target is one that a rollout may have added.
func ours(a policy.Assignment) bool { return !slices.Contains(otherGroups, a.GroupID) }

func other(group string) policy.Assignment {
	return policy.Assignment{Kind: policy.IncludeGroup, GroupID: group, Filter: "66666666-0000-4000-8000-000000000001", FilterMode: "include",
		Raw: []byte(`{"@odata.type":"#microsoft.graph.groupAssignmentTarget","futureProperty":[1,{"a":"b"}],"groupId":"` + group + `","deviceAndAppManagementAssignmentFilterId":"66666666-0000-4000-8000-000000000001","deviceAndAppManagementAssignmentFilterType":"include"}`)}
}

// planRollouts lets people of a tenant ask for the policy, take it back, and administrators work on it beside us.
func (w *world) planRollouts(id string, d *directory) {
	for _, app := range []string{onboarding.ServiceAppID, onboarding.ClientAppID} {
		switch {
		case w.chance(0.8):
			d.principals[app] = start.Add(-time.Hour)
		case w.chance(0.8):
			d.principals[app] = start.Add(w.upTo(20 * time.Hour))
		}
	}
	d.consented = start.Add(-time.Hour)
	for range w.rng.IntN(5) { // when each device reports a change; one that never does, one that the policy does not apply to
		d.fleet = append(d.fleet, pick(w, time.Duration(0), -1, time.Minute+w.upTo(12*time.Hour),
			time.Minute+w.upTo(time.Hour), time.Minute+w.upTo(time.Hour), time.Minute+w.upTo(time.Hour), time.Minute+w.upTo(time.Hour)))
	}
	shape := pick(w, events.ShapeOMAURI, events.ShapeOMAURI, events.ShapeSettingsCatalog, events.ShapeIdentityProtection, events.ShapeAccountProtection)
	if w.chance(0.2) {
		d.add(start, policy.Shape(shape), "Theirs", false, pick(w, policy.On, policy.Off), other(otherGroups[0]))
	}
	if w.chance(0.1) { // of an earlier installation
		d.add(start, policy.Shape(shape), policy.Name, true, pick(w, policy.On, policy.Off), other(otherGroups[1]))
	}
	if w.chance(0.3) {
		request := w.newID()
		w.at(start.Add(w.upTo(time.Hour)), "add tenant", func() {
			w.consent(id, events.TenantAdded{RequestID: request, DisplayName: "Contoso", By: operator})
		})
	}
	at := start.Add(w.upTo(2 * time.Hour))
	for range 1 + w.rng.IntN(3) {
		want := events.PolicyRolloutRequested{Shape: shape, Include: w.groups(), Reason: "a wave", By: operator}
		if w.chance(0.15) {
			want.Shape = events.ShapeOMAURI
		}
		if w.chance(0.3) {
			want.Exclude = []string{"44444444-0000-4000-8000-00000000000e"}
		}
		ask := w.roll
		if w.chance(0.2) {
			ask = w.sendRollout
		}
		w.at(at, "ask for a rollout", func() { ask(id, want, 3) })
		if w.chance(0.3) {
			w.at(at.Add(w.upTo(time.Minute)), "ask again", func() { w.roll(id, want, 3) })
		}
		if w.chance(0.5) {
			unassign, remove, sent := w.chance(0.6), w.chance(0.7), w.chance(0.3)
			w.at(at.Add(pick(w, w.upTo(time.Hour), w.upTo(20*time.Hour))), "take it back", func() { w.rollBack(id, unassign, remove, sent, 3) })
		}
		at = at.Add(pick(w, w.upTo(2*time.Minute), w.upTo(14*time.Hour)))
	}
	for range w.rng.IntN(3) {
		if w.rate == 0 {
			break
		}
		m := pick(w, possible[administrator]...)
		w.at(start.Add(pick(w, w.upTo(3*time.Hour), w.upTo(28*time.Hour))), "an administrator", func() { w.administer(d, m) })
	}
}

func (w *world) groups() []string {
	return slices.Clone(rolloutGroups[:1+w.rng.IntN(len(rolloutGroups))])
}

// administer does what an administrator of the tenant does in a portal, to one of our policies or to Microsoft's applications.
func (w *world) administer(d *directory, m mishap) {
	app := pick(w, onboarding.ServiceAppID, onboarding.ClientAppID)
	switch m {
	case appDisabled:
		w.hit(administrator, m)
		d.disabled = app
		return
	case appRemoved:
		w.hit(administrator, m)
		delete(d.principals, app)
		return
	}
	var mine []policy.Found
	for _, f := range d.policies(w.now) {
		if f.Mine {
			mine = append(mine, f)
		}
	}
	if len(mine) == 0 {
		return
	}
	id := pick(w, mine...).ID
	w.hit(administrator, m)
	switch m {
	case policyRemoved:
		d.change(w.now, id, nil)
	case policyFlipped:
		d.change(w.now, id, func(f *policy.Found) {
			if f.Value = policy.On; w.chance(0.7) {
				f.Value = policy.Off
			}
		})
	case policyRenamed: // its mark with it: it is theirs now
		d.change(w.now, id, func(f *policy.Found) { f.Name, f.Mine = "Theirs", false })
	case alsoAssigned:
		d.change(w.now, id, func(f *policy.Found) {
			if target := other(pick(w, otherGroups...)); len(policy.Missing([]policy.Assignment{target}, f.Assignments)) > 0 {
				f.Assignments = append(f.Assignments, target)
			}
		})
	case unassigned:
		d.change(w.now, id, func(f *policy.Found) { f.Assignments = nil })
	}
}

// roll asks for a rollout through the API.
func (w *world) roll(tenantID string, want events.PolicyRolloutRequested, tries int) {
	again := func() { w.roll(tenantID, want, tries-1) }
	if tries == 0 {
		again = nil
	}
	w.api("rollout", tenantID, "", again, func(ctx context.Context) error {
		var r rollout.Rollout
		var existing bool
		err := w.persist(ctx, tenantID, func(u *work.Unit) error {
			var err error
			want.RequestID = u.NewID()
			r, existing, err = rollout.Accept(ctx, u, want)
			return err
		})
		if err == nil {
			w.note("accepted", r.ID, fmt.Sprint(existing))
			w.model.rolled = append(w.model.rolled, work.Key{Partition: tenantID, Row: r.ID})
		}
		return err
	})
}

// sendRollout asks for a rollout by an event that comes as a message.
func (w *world) sendRollout(tenantID string, want events.PolicyRolloutRequested, _ int) {
	w.api("send rollout", tenantID, "", nil, func(ctx context.Context) error {
		return w.persist(ctx, tenantID, func(u *work.Unit) error {
			want.RequestID = u.NewID()
			_, err := u.Send(ctx, rollout.Queue, time.Time{}, want)
			return err
		})
	})
}

// rollBack takes back the rollout that stands, or else the latest, as the API does, or by an event that comes as a message.
func (w *world) rollBack(tenantID string, unassign, remove, sent bool, tries int) {
	again := func() { w.rollBack(tenantID, unassign, remove, sent, tries-1) }
	if tries == 0 {
		again = nil
	}
	w.api("rollback", tenantID, "", again, func(ctx context.Context) error {
		d := events.PolicyRollbackRequested{Unassign: unassign || remove, Delete: remove, Reason: "not wanted", By: operator}
		err := w.persist(ctx, tenantID, func(u *work.Unit) error {
			r, err := rollout.Current(ctx, u)
			if errors.Is(err, work.ErrNotFound) {
				page, _, lerr := rollout.List(ctx, rowsOf{w}, tenantID, 1, "")
				if lerr != nil || len(page) == 0 {
					return errors.Join(err, lerr)
				}
				r, err = page[0], nil
			}
			if err != nil {
				return err
			}
			d.RequestID, d.RolloutID = u.NewID(), r.ID
			if !sent {
				if _, err := rollout.Withdraw(ctx, u, d); err != nil {
					return err
				}
			}
			_, err = u.Send(ctx, rollout.Queue, time.Time{}, d)
			return err
		})
		if err == nil && !sent {
			w.note("accepted", d.RequestID, "rollback of", d.RolloutID)
			w.model.backed = append(w.model.backed, [2]work.Key{{Partition: tenantID, Row: d.RolloutID}, {Partition: tenantID, Row: d.RequestID}})
		}
		return err
	})
}

// holds checks that a run that writes to Intune is of the rollout that has the tenant's turn, as the store has it.
func (w *world) holds(tenantID string, e effect) {
	for _, key := range w.model.rollouts.order {
		r := w.model.rollouts.rows[key]
		if key.Partition == tenantID && r.Run() == w.cur.request && w.model.turns[tenantID] == r.ID {
			return
		}
	}
	if w.cur.skew != w.skew {
		return // the clock was set while it ran, so that its lease may have ended under it: no store can tell it so in time
	}
	w.violate("I13: %s for %s, and the turn is that of %q", e, w.cur.request, w.model.turns[tenantID])
}

// completed is how the good ends of a rollout are told.
var completed = events.PolicyRolloutCompleted{}.Kind()

func (w *world) wroteRollout(b work.Batch, wr work.Write) {
	var r rollout.Rollout
	w.decode(wr, &r)
	before, known := w.model.rollouts.put(work.Key{Partition: b.Partition, Row: r.ID}, r)
	if known && before.State == r.State {
		return
	}
	if !known && r.By.Kind == events.System && !w.model.opted[b.Partition] {
		w.violate("I15: rollout %s puts tenant %s right, which has not opted into that", r.ID, b.Partition)
	}
	w.note("rollout", r.ID, string(before.State), string(r.State), string(r.FailureCode))
	if r.Open() {
		// What has ended goes on by a rollback, or because its dead letter was replayed.
		if known && !before.Open() && r.State != rollout.Withdrawing && before.FailureCode != fault.AttemptsExhausted {
			w.violate("I1: rollout %s had ended %s and goes on as %s", r.ID, before.State, r.State)
		}
		return
	}
	w.tally.rolled++
	if r.Rollback != nil {
		w.model.ended[r.Rollback.ID] = true
	}
	kind := completed
	if r.State == rollout.Failed {
		kind = events.FailureRaised{}.Kind()
	}
	told := slices.ContainsFunc(b.Messages, func(m work.Message) bool {
		return m.Queue == work.Announcements && kindOf(m.Body) == kind && requestOf(m.Body) == before.Run()
	})
	if !told && known {
		w.violate("I7: rollout %s became %s and nobody is told", r.ID, r.State)
	}
	switch r.State {
	case rollout.Completed:
		w.tally.watched++
	case rollout.RolledBack:
		w.tally.takenBack++
		if r.Rollback.Remains == "" {
			w.violate("I7: rollout %s was taken back and nobody is told what remains", r.ID)
		}
	}
}

// checkRollouts is called after each step.
func (w *world) checkRollouts() {
	m := &w.model
	for _, key := range m.rollouts.order {
		r := m.rollouts.rows[key]
		if !r.Open() {
			continue
		}
		if !w.drivenRollout(key.Partition, r) && !m.lost[key.Partition] {
			w.violate("I1: rollout %s is %s and no message goes on with it", r.ID, r.State)
		}
		running := slices.ContainsFunc(w.tasks, func(t *task) bool { return t.request == r.Run() })
		if r.State != rollout.Creating && r.State != rollout.Assigning && !running && r.NextCheck.After(w.clock()) && r.Why == "" {
			w.violate("I9: rollout %s is %s until %s and does not say why", r.ID, r.State, r.NextCheck)
		}
	}
	for _, key := range m.rolled {
		if _, there := m.rollouts.rows[key]; !there {
			w.violate("I1: rollout %s was accepted and is not there", key.Row)
		}
	}
}

// drivenRollout reports whether a message waits that the handler will go on with.
func (w *world) drivenRollout(partition string, r rollout.Rollout) bool {
	if r.CheckID != "" && w.alive(messageKey{partition, r.CheckID}) {
		return true
	}
	return r.Writing() && slices.ContainsFunc(w.model.asked[r.Run()], w.alive) ||
		w.store.unsent(func(m work.Message) bool { return requestOf(m.Body) == r.Run() })
}

// endRollouts is called at the end of a world.
func (w *world) endRollouts(readable func(tenant, request, link string) bool) {
	m := &w.model
	for _, key := range m.rollouts.order {
		r := m.rollouts.rows[key]
		run := r.ID
		if r.Rollback != nil {
			run = r.Rollback.ID
		}
		switch {
		case r.Open():
			w.violate("I9: rollout %s is still %s, why %s", r.ID, r.State, r.Why)
		case r.State == rollout.Failed && !strings.HasSuffix(r.Diagnostics, diag.IDFor(key.Partition, r.ID)) && !strings.HasSuffix(r.Diagnostics, diag.IDFor(key.Partition, run)):
			w.violate("I9: rollout %s failed with %s and links to %q", r.ID, r.FailureCode, r.Diagnostics)
		case r.State == rollout.Failed && !readable(key.Partition, r.ID, r.Diagnostics) && !readable(key.Partition, run, r.Diagnostics):
			w.violate("I9: rollout %s failed with %s and its page %q can't be read", r.ID, r.FailureCode, r.Diagnostics)
		}
	}
	for _, keys := range m.backed {
		if !m.ended[keys[1].Row] {
			w.violate("I1: rollback %s of rollout %s was accepted and never came to an end", keys[1].Row, keys[0].Row)
		}
	}
}
