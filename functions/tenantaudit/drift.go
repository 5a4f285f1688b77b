package tenantaudit

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
	"pinreset/shared/policy"
	"pinreset/shared/readiness"
	"pinreset/shared/reading"
	"pinreset/shared/rollout"
	"pinreset/shared/survey"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

// fellBy is how many percentage points of the devices that a policy applies to must have lost it to count as drift: a few come
// and go all the time.
const fellBy = 5

// maxChanges bounds the differences that a report lists, and maxDrifts the drifts that one commit tells of: each is three operations.
const (
	maxChanges = 50
	maxDrifts  = 20
)

// compare stages what has drifted since the facts were last read, with a remedy where the tenant opted into one.
func (h *Handler) compare(ctx context.Context, u *work.Unit, r *survey.Report, l *look, next *survey.Last) error {
	standing, err := rollout.Current(ctx, u)
	if err != nil && !errors.Is(err, work.ErrNotFound) {
		return err
	}
	r.Changes = changes(l)
	drifts := slices.Concat(applicationDrift(l), policyDrift(l, standing), competition(l), coverageDrift(l))
	holds := make([]string, 0, len(drifts))
	var fresh []survey.Drift
	for _, d := range drifts {
		key := string(d.Code) + "|" + d.PolicyID
		holds = append(holds, key)
		if !slices.Contains(l.last.Told, key) {
			fresh = append(fresh, d)
		}
	}
	// What is compared with the audit before shows once by itself. What is compared with the rollout shows until it is put
	// right, and a part that can't be read now puts nothing right.
	for _, key := range l.last.Told {
		if !slices.Contains(holds, key) && len(r.Unread()) > 0 {
			holds = append(holds, key)
		}
	}
	next.Told = holds
	fresh = fresh[:min(len(fresh), maxDrifts)]
	if err := h.remedy(ctx, u, fresh, standing); err != nil {
		return err
	}
	for i := range fresh {
		if err := tell(ctx, u, r.ID, &fresh[i]); err != nil {
			return err
		}
	}
	r.Drift = fresh
	return nil
}

// tell stages a drift's page and its event.
func tell(ctx context.Context, u *work.Unit, request string, d *survey.Drift) error {
	f, err := diag.Keep(u, string(d.Code)+" "+d.PolicyID, diag.Failure{RequestID: request, Function: "tenantaudit", Kind: events.TenantDriftFound{}.Kind(), Code: d.Code, Detail: d.Detail})
	if err != nil {
		return err
	}
	d.Diagnostics = diag.Link(u.Partition(), f.ID)
	e := fault.Lookup(d.Code)
	told := events.TenantDriftFound{RequestID: request, Code: string(d.Code), Title: e.Title, Cause: e.Cause, Detail: d.Detail,
		Fix: e.Fix, LearnMore: e.LearnMore, RemedyID: d.RemedyID, Diagnostics: d.Diagnostics}
	if events.IsGUID(d.PolicyID) {
		told.PolicyID = d.PolicyID
	}
	_, err = u.Send(ctx, work.Announcements, time.Time{}, told)
	return err
}

// remedy asks for the rollout that stands once more, where a drift of its policy was found and the tenant opted into that. The
// rollout has its own guard, and writes nothing that is in place.
func (h *Handler) remedy(ctx context.Context, u *work.Unit, drifts []survey.Drift, standing rollout.Rollout) error {
	settings, err := tenant.ReadSettings(ctx, u)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(drifts, func(d survey.Drift) bool {
		return d.PolicyID != "" && d.PolicyID == standing.PolicyID && slices.Contains([]fault.Code{fault.PolicyRemoved, fault.PolicyChanged, fault.PolicyUnassigned}, d.Code)
	})
	if at < 0 || standing.State == rollout.Withdrawing || !settings.RemediatePolicy {
		return nil
	}
	again, _, err := rollout.Accept(ctx, u, events.PolicyRolloutRequested{
		RequestID: u.NewID(), Shape: string(standing.Shape), Include: standing.Include, Exclude: standing.Exclude, AllDevices: standing.AllDevices, AllUsers: standing.AllUsers,
		Reason: "put right what an audit found: " + fault.Lookup(drifts[at].Code).Title, By: events.Pinreset(),
	})
	if errors.Is(err, rollout.ErrBusy) {
		diag.Decide(ctx, u.Now(), "another rollout of the tenant is being written: nothing is put right now")
		return nil
	}
	for i := range drifts {
		if drifts[i].PolicyID == standing.PolicyID {
			drifts[i].RemedyID = again.ID
		}
	}
	return err
}

// applicationDrift: an application that was there is gone, has lost what it held, or is disabled.
func applicationDrift(l *look) []survey.Drift {
	var all []survey.Drift
	for _, a := range []struct {
		name     string
		was, now reading.Of[readiness.ServicePrincipal]
	}{{"Microsoft Pin Reset Service Production", l.last.Known.Service, l.facts.Service}, {"Microsoft Pin Reset Client Production", l.last.Known.Client, l.facts.Client}} {
		was, had := a.was.Get()
		now, read := a.now.Get()
		if !had || !read || !was.Present {
			continue
		}
		switch {
		case !now.Present:
			all = append(all, survey.Drift{Code: fault.ConsentRevoked, Detail: a.name + " was there and is gone"})
		case was.Enabled() && !now.Enabled():
			all = append(all, survey.Drift{Code: fault.ServicePrincipalOff, Detail: a.name + " was enabled and is not any more"})
		}
		before, had := was.Grants.Get()
		holds, read := now.Grants.Get()
		if lost := without(before, holds); now.Present && had && read && len(lost) > 0 {
			all = append(all, survey.Drift{Code: fault.ConsentRevoked, Detail: bounded(a.name + " no longer holds " + strings.Join(lost, "; "))})
		}
	}
	return all
}

// without returns those of a that b does not have.
func without(a, b []string) []string {
	var missing []string
	for _, s := range a {
		if !slices.Contains(b, s) {
			missing = append(missing, s)
		}
	}
	return missing
}

// policyDrift looks at every policy that turned PIN recovery on for somebody, and at the one that was rolled out: what of it is left?
func policyDrift(l *look, placed rollout.Rollout) []survey.Drift {
	var all []survey.Drift
	rolledOut := false
	for _, store := range policy.Stores {
		before, _ := l.last.Known.Policies[store].Get()
		now, read := l.facts.Policies[store].Get()
		for _, was := range before {
			if !read || !live(was) || was.Effective() != policy.On {
				continue
			}
			rolledOut = rolledOut || was.ID == placed.PolicyID
			all = append(all, lostOf(was, now)...)
		}
		// A rollout that no audit has seen in place yet is compared with what it placed.
		if id := placed.PolicyID; read && !rolledOut && id != "" && placed.State != rollout.Withdrawing && placed.Shape.Store() == store {
			was := policy.Found{ID: id, Name: placed.PolicyName, Shape: placed.Shape, Setting: policy.PINRecovery, Scope: policy.Device, Value: policy.On,
				Assignments: wish(placed).Assignments()}
			all = append(all, lostOf(was, now)...)
		}
	}
	return all
}

func wish(r rollout.Rollout) policy.Desired {
	return policy.Desired{Shape: r.Shape, Value: policy.On, Include: r.Include, Exclude: r.Exclude, AllDevices: r.AllDevices, AllUsers: r.AllUsers}
}

// lostOf compares a policy that was on and assigned with what its store has now.
func lostOf(was policy.Found, store []policy.Found) []survey.Drift {
	named := fmt.Sprintf("%q (%s)", was.Name, was.Shape)
	i := slices.IndexFunc(store, func(f policy.Found) bool {
		return f.ID == was.ID && f.Setting == was.Setting && f.Scope == was.Scope && !f.Misspelt
	})
	if i < 0 {
		if slices.ContainsFunc(store, func(f policy.Found) bool { return f.ID == was.ID && f.Setting == was.Setting }) {
			return []survey.Drift{{Code: fault.PolicyChanged, PolicyID: was.ID, Detail: bounded(named + " no longer makes the setting as Windows takes it")}}
		}
		return []survey.Drift{{Code: fault.PolicyRemoved, PolicyID: was.ID, Detail: bounded(named + " was on and assigned, and is gone or no longer has the setting")}}
	}
	now := store[i]
	var all []survey.Drift
	if now.Effective() != policy.On {
		all = append(all, survey.Drift{Code: fault.PolicyChanged, PolicyID: was.ID, Detail: bounded(named + " was on and is " + now.Effective().String())})
	}
	var lost []string
	for _, a := range policy.Missing(was.Assignments, now.Assignments) {
		if a.Kind != policy.ExcludeGroup {
			lost = append(lost, target(a))
		}
	}
	for _, a := range policy.Missing(now.Assignments, was.Assignments) {
		if a.Kind == policy.ExcludeGroup {
			lost = append(lost, "everybody of the "+target(a))
		}
	}
	if len(lost) > 0 {
		all = append(all, survey.Drift{Code: fault.PolicyUnassigned, PolicyID: was.ID, Detail: bounded(named + " no longer reaches " + strings.Join(lost, ", "))})
	}
	return all
}

func target(a policy.Assignment) string {
	text := map[policy.Target]string{policy.IncludeGroup: "group " + a.GroupID, policy.ExcludeGroup: "excluded group " + a.GroupID,
		policy.AllDevices: "all devices", policy.AllUsers: "all users"}[a.Kind]
	if text == "" {
		text = "another target"
	}
	if a.Filter != "" {
		text += " with filter " + a.Filter
	}
	return text
}

// competition: a policy makes the setting beside the one that stood, and did not before.
func competition(l *look) []survey.Drift {
	stood, ok := standing(foundIn(l.last.Known))
	if !ok || len(l.last.Known.Policies) < len(policy.Stores) {
		return nil
	}
	var all []survey.Drift
	for _, store := range policy.Stores {
		before, had := l.last.Known.Policies[store].Get()
		now, read := l.facts.Policies[store].Get()
		if !had || !read {
			continue
		}
		for _, f := range now {
			known := slices.ContainsFunc(before, func(b policy.Found) bool {
				return b.ID == f.ID && b.Scope == f.Scope && live(b) && b.Effective() == f.Effective()
			})
			if live(f) && f.ID != stood.ID && !known {
				all = append(all, survey.Drift{Code: fault.CompetingPolicy, PolicyID: f.ID,
					Detail: bounded(fmt.Sprintf("%q (%s) makes the setting %s beside %q", f.Name, f.Shape, f.Effective(), stood.Name))})
			}
		}
	}
	return all
}

func foundIn(f readiness.TenantFacts) []policy.Found {
	var all []policy.Found
	for _, store := range policy.Stores {
		some, _ := f.Policies[store].Get()
		all = append(all, some...)
	}
	return all
}

// coverageDrift: fewer of the devices that the policy applies to have it.
func coverageDrift(l *look) []survey.Drift {
	was, now := l.last.Status, l.status
	// Of devices that report themselves it is not known which ones are meant, so a smaller share of them says nothing.
	if was == nil || now == nil || was.Source != "" || now.Source != "" || was.Targeted() == 0 || now.Targeted() == 0 {
		return nil
	}
	before, after := 100*was.Succeeded/was.Targeted(), 100*now.Succeeded/now.Targeted()
	if before-after < fellBy {
		return nil
	}
	return []survey.Drift{{Code: fault.CoverageFell, Detail: fmt.Sprintf("%d of %d devices have the policy, %d of %d had it", now.Succeeded, now.Targeted(), was.Succeeded, was.Targeted())}}
}

// changes lists the differences to what was known, for the better too. What is unread is no difference.
func changes(l *look) []survey.Change {
	var all []survey.Change
	add := func(what, before, after string) {
		if before != after && len(all) < maxChanges {
			all = append(all, survey.Change{What: what, Before: before, After: after})
		}
	}
	was := l.last.Known
	if was.ReadAt.IsZero() {
		return nil
	}
	for _, a := range []struct {
		name     string
		was, now reading.Of[readiness.ServicePrincipal]
	}{{"PIN Reset Service", was.Service, l.facts.Service}, {"PIN Reset Client", was.Client, l.facts.Client}} {
		before, had := a.was.Get()
		after, read := a.now.Get()
		if had && read {
			add(a.name, shown(before), shown(after))
		}
	}
	for _, store := range policy.Stores {
		before, had := was.Policies[store].Get()
		after, read := l.facts.Policies[store].Get()
		if !had || !read {
			continue
		}
		for _, f := range before {
			if i := slices.IndexFunc(after, func(g policy.Found) bool { return g.ID == f.ID && g.Setting == f.Setting && g.Scope == f.Scope }); i >= 0 {
				add(bounded(fmt.Sprintf("policy %q", f.Name)), shownPolicy(f), shownPolicy(after[i]))
			} else {
				add(bounded(fmt.Sprintf("policy %q", f.Name)), shownPolicy(f), "not there")
			}
		}
		for _, g := range after {
			if !l.last.Partial && !slices.ContainsFunc(before, func(f policy.Found) bool { return g.ID == f.ID && g.Setting == f.Setting && g.Scope == f.Scope }) {
				add(bounded(fmt.Sprintf("policy %q", g.Name)), "not there", shownPolicy(g))
			}
		}
	}
	if s := l.last.Status; s != nil && l.status != nil && s.Source == l.status.Source {
		add("devices with the policy", fmt.Sprintf("%d of %d", s.Succeeded, s.Targeted()), fmt.Sprintf("%d of %d", l.status.Succeeded, l.status.Targeted()))
	}
	before, had := was.Coverage.Get()
	after, read := l.facts.Coverage.Get()
	if had && read {
		add("devices", fmt.Sprint(before.Devices), fmt.Sprint(after.Devices))
	}
	return all
}

func shown(sp readiness.ServicePrincipal) string {
	switch {
	case !sp.Present:
		return "not there"
	case !sp.Enabled():
		return "disabled"
	}
	return "enabled"
}

func shownPolicy(f policy.Found) string {
	if f.Setting != policy.PINRecovery {
		return bounded(f.List)
	}
	var to []string
	for _, a := range f.Assignments {
		to = append(to, target(a))
	}
	if len(to) == 0 {
		to = []string{"nobody"}
	}
	return bounded(f.Effective().String() + " for " + strings.Join(to, ", "))
}

// bounded cuts a text to what an event carries, and keeps it one printable line: names of policies are other people's.
func bounded(s string) string {
	s = strings.Map(func(r rune) rune {
		if events.CheckText("detail", string(r), 1, false) != nil {
			return ' '
		}
		return r
	}, s)
	if runes := []rune(s); len(runes) > events.MaxDetail {
		s = string(runes[:events.MaxDetail-1]) + "…"
	}
	return s
}
