package desk

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"pinreset/shared/approval"
	"pinreset/shared/identity"
	"pinreset/shared/passcode"
	"pinreset/shared/policy"
	"pinreset/shared/readiness"
	"pinreset/shared/survey"
)

// Standing is a tenant at a glance.
type Standing struct {
	Tenant  Tenant
	Verdict readiness.TenantVerdict
	Audit   *TenantAudit // the last one that ended; nil: none has
	Trend   []survey.Point
	Waiting int     // requests that who looks can decide
	Recent  []Reset // the newest, at most recentResets
}

// recentResets is how many resets of each tenant are shown at a glance.
const recentResets = 5

// Overview lists the tenants that the principal sees, in the order of their ids, each with where it stands.
func (d *Desk) Overview(ctx context.Context, who identity.Principal, page Page) (List[Standing], error) {
	next, rooms, err := d.rooms(ctx, who, "overview", page)
	if err != nil {
		return List[Standing]{}, err
	}
	// A page of tenants is many small reads, each of them mostly decoding: processors share them.
	items, errs := make([]Standing, len(rooms)), make([]error, len(rooms))
	var all sync.WaitGroup
	var taken atomic.Int64
	for range min(runtime.GOMAXPROCS(0), len(rooms)) {
		all.Go(func() {
			for i := int(taken.Add(1)) - 1; i < len(rooms); i = int(taken.Add(1)) - 1 {
				if items[i], errs[i] = rooms[i].standing(ctx); errs[i] != nil {
					errs[i] = fmt.Errorf("read standing of %s: %w", rooms[i].ID(), errs[i])
				}
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return List[Standing]{}, err
	}
	return List[Standing]{Items: items, Next: next}, nil
}

// Situation is what is known of a tenant, without asking Graph.
type Situation struct {
	Standing
	Policies []policy.Found // that have a part in PIN recovery, as last read
	Unread   []policy.Store // where they could not be read, or never were
}

// Situation shows the tenant at a glance, with the policies of the last audit that could read them.
func (r *Room) Situation(ctx context.Context) (Situation, error) {
	if err := r.Need(identity.TenantRead); err != nil {
		return Situation{}, err
	}
	standing, err := r.standing(ctx)
	if err != nil {
		return Situation{}, err
	}
	facts, err := r.facts(ctx, r.unit())
	if err != nil {
		return Situation{}, err
	}
	out := Situation{Standing: standing}
	for _, store := range policy.Stores {
		found, ok := facts.Policies[store].Get()
		if !ok {
			out.Unread = append(out.Unread, store)
		}
		out.Policies = append(out.Policies, found...)
	}
	return out, nil
}

func (r *Room) standing(ctx context.Context) (Standing, error) {
	shown, err := r.Tenant(ctx)
	if err != nil {
		return Standing{}, err
	}
	facts, err := r.facts(ctx, r.unit())
	if err != nil {
		return Standing{}, err
	}
	last, err := survey.ReadLast(ctx, r.unit())
	if err != nil {
		return Standing{}, err
	}
	recent, _, err := passcode.List(ctx, r.desk.o.Store, r.ID(), recentResets, "")
	if err != nil {
		return Standing{}, err
	}
	s := Standing{Tenant: shown, Verdict: readiness.Tenant(facts), Trend: last.Trend}
	for _, reset := range recent {
		s.Recent = append(s.Recent, r.show(reset))
	}
	if last.Report.ID != "" {
		a := r.shownAudit(last.Report)
		s.Audit = &a
	}
	if r.Can(identity.ApprovalDecide) {
		list, err := r.Approvals(ctx, approval.Waiting, Page{})
		if err != nil {
			return Standing{}, err
		}
		for _, a := range list.Items {
			if a.MayDecide {
				s.Waiting++
			}
		}
	}
	return s, nil
}
