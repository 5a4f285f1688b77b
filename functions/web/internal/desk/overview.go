package desk

import (
	"context"
	"fmt"

	"pinreset/shared/identity"
	"pinreset/shared/passcode"
	"pinreset/shared/readiness"
	"pinreset/shared/survey"
)

// Standing is a tenant at a glance.
type Standing struct {
	Tenant  Tenant
	Verdict readiness.TenantVerdict
	Audit   *TenantAudit // the last one that ended; nil: none has
	Trend   []survey.Point
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
	out := List[Standing]{Items: []Standing{}, Next: next}
	for _, r := range rooms {
		s, err := r.standing(ctx)
		if err != nil {
			return List[Standing]{}, fmt.Errorf("read standing of %s: %w", r.ID(), err)
		}
		out.Items = append(out.Items, s)
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
	return s, nil
}
