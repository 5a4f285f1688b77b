package readiness

import (
	"fmt"
	"strings"

	"pinreset/shared/fault"
	"pinreset/shared/policy"
)

// stores checks that each place was read: an unread one may hold another value.
func (t TenantFacts) stores() []Check {
	out := make([]Check, 0, len(policy.Stores))
	for _, s := range policy.Stores {
		c := Check{ID: "store/" + string(s), Title: "Intune's " + string(s) + " were read", Advice: true}
		list, ok := t.Policies[s].Get()
		if !ok {
			c = unread(c, t.Policies[s].Why().Code, causeOf(t.Policies[s]))
		} else {
			n := 0
			for _, f := range list {
				if f.Setting == policy.PINRecovery {
					n++
				}
			}
			c = passed(c, fmt.Sprintf("%d found with EnablePinRecovery", n))
		}
		out = append(out, c)
	}
	return out
}

// lint shows the findings about policies. They modify the verdict and do not decide it.
func (t TenantFacts) lint() []Check {
	c := Check{ID: "lint", Title: "Nothing is wrong with the policies found", Advice: true, Link: pageCSP}
	if _, stores := t.found(policy.PINRecovery); len(t.Findings) == 0 {
		if len(stores) > 0 {
			return []Check{t.storesMissing(c, fault.UnknownPolicy, stores)}
		}
		return []Check{passed(c, "nothing found")}
	}
	seen := map[policy.Code]int{}
	var out []Check
	for _, f := range t.Findings {
		id := "lint/" + string(f.Code)
		if seen[f.Code]++; seen[f.Code] > 1 {
			id += fmt.Sprintf("/%d", seen[f.Code])
		}
		code := fault.PolicyConflict
		switch f.Code {
		case policy.Unassigned:
			code = fault.PolicyNotAssigned
		case policy.Encrypted, policy.UnknownExclusion:
			code = fault.UnknownPolicy
		case policy.ListQuotes, policy.ListScheme, policy.ListPath, policy.ListComma, policy.ListSpace, policy.ListEmpty:
			code = fault.WebSignInNotAllowed
		case policy.WrongPath, policy.Braces, policy.OtherTenant, policy.NoTenant, policy.NoScope, policy.WrongURI, policy.NotBoolean, policy.TenantInCatalog:
			code = fault.PolicyMissing
		case policy.MixedExclusion, policy.IncludedExcluded:
			code = fault.PolicyNotAssigned
		}
		made := Check{ID: id, Title: "Policy " + nameOfPolicy(t, f.PolicyID), Advice: true, Link: pageCSP}
		evidence := strings.TrimSuffix(f.Text, ".")
		switch {
		case f.Severity == policy.Info:
			made = passed(made, evidence)
		case code == fault.UnknownPolicy:
			made = unread(made, code, evidence, f.Fix)
		default:
			made = failed(made, code, evidence, f.Fix)
		}
		out = append(out, made)
	}
	return out
}

func nameOfPolicy(t TenantFacts, id string) string {
	for _, s := range policy.Stores {
		list, _ := t.Policies[s].Get()
		for _, f := range list {
			if f.ID == id {
				return "\"" + f.Name + "\""
			}
		}
	}
	return id
}
