package readiness

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"pinreset/shared/fault"
	"pinreset/shared/policy"
	"pinreset/shared/reading"
)

// MaxFacts bounds what is kept of one tenant, in bytes of its JSON, below what a row may have.
const MaxFacts = 850 << 10

// Loss is what was read and is not kept, because there is too much of it.
type Loss struct {
	What  string `json:"what"`
	Count int    `json:"count"`
}

// Within returns the facts cut to at most limit bytes of JSON, and what they have lost. Policies that nobody is assigned to go first:
// they decide nothing. Whatever else goes is unread from then on, with the code too_much_to_keep, so that nobody takes what is left
// of a list for all of it.
func (t TenantFacts) Within(limit int) (TenantFacts, []Loss, error) {
	if t.roughly() <= limit {
		return t, nil, nil
	}
	var losses []Loss
	lose := func(n int, format string, args ...any) {
		if n > 0 {
			losses = append(losses, Loss{fmt.Sprintf(format, args...), n})
		}
	}
	t.Policies = maps.Clone(t.Policies)
	steps := []func(){
		func() {
			for _, store := range policy.Stores {
				if found, ok := t.Policies[store].Get(); ok {
					assigned := slices.DeleteFunc(slices.Clone(found), func(f policy.Found) bool { return !f.Assigned() })
					lose(len(found)-len(assigned), "unassigned policies of %s", store)
					t.Policies[store] = reading.Read(assigned)
				}
			}
		},
		func() {
			t.Service, t.Client = withoutGrants(t.Service, lose), withoutGrants(t.Client, lose)
		},
		func() {
			if domains, ok := t.Domains.Get(); ok {
				lose(len(domains), "domains")
				t.Domains = reading.Unread[[]Domain](fault.NotKept, "")
			}
		},
		func() {
			lose(len(t.Findings), "findings")
			t.Findings = nil
		},
	}
	for _, store := range policy.Stores {
		steps = append(steps, func() {
			if found, ok := t.Policies[store].Get(); ok {
				lose(len(found), "policies of %s", store)
				t.Policies[store] = reading.Unread[[]policy.Found](fault.NotKept, "")
			}
		})
	}
	for _, step := range steps {
		data, err := json.Marshal(t)
		if err != nil {
			return t, nil, fmt.Errorf("measure facts of %s: %w", t.TenantID, err)
		}
		if len(data) <= limit {
			break
		}
		step()
	}
	return t, losses, nil
}

func withoutGrants(of reading.Of[ServicePrincipal], lose func(int, string, ...any)) reading.Of[ServicePrincipal] {
	sp, ok := of.Get()
	grants, had := sp.Grants.Get()
	if !ok || !had {
		return of
	}
	lose(len(grants), "grants of application %s", sp.ID)
	sp.Grants = reading.Unread[[]string](fault.NotKept, "")
	return reading.Read(sp)
}

// roughly is no less than the JSON of the facts: so few tenants are large that no other is measured.
func (t TenantFacts) roughly() int {
	const each = 1 << 10 // names, brackets, times and ids of an element
	n := 16 * each
	text := func(s string) { n += 6 * len(s) } // as if every byte of it had to be escaped
	for _, of := range t.Policies {
		found, _ := of.Get()
		for _, f := range found {
			n += each
			text(f.Name)
			text(f.List)
			for _, a := range f.Assignments {
				n += each/2 + 6*len(a.Raw)
			}
			n += roughly(f.Findings)
		}
	}
	n += roughly(t.Findings)
	for _, of := range []reading.Of[ServicePrincipal]{t.Service, t.Client} {
		sp, _ := of.Get()
		grants, _ := sp.Grants.Get()
		for _, g := range grants {
			text(g)
			n += 8
		}
	}
	domains, _ := t.Domains.Get()
	for _, d := range domains {
		n += each
		text(d.Name)
		hosts, _ := d.SignIn.Get()
		for _, h := range hosts {
			text(h)
			n += 8
		}
	}
	return n
}

func roughly(all []policy.Finding) (n int) {
	for _, f := range all {
		n += 1<<9 + 6*(len(f.Text)+len(f.Fix)) + 64*len(f.Others)
	}
	return n
}
