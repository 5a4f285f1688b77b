package survey_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pinreset/shared/fault"
	"pinreset/shared/policy"
	"pinreset/shared/readiness"
	"pinreset/shared/reading"
	"pinreset/shared/survey"
	"pinreset/shared/work"
)

// found are policies of a store, each of them several hundred bytes that JSON has to escape.
func found(n int, assigned bool) []policy.Found {
	var all []policy.Found
	for i := range n {
		f := policy.Found{ID: fmt.Sprintf("11111111-2222-4333-8444-%012d", i), Name: strings.Repeat("<&>", 100), Shape: policy.OMAURI, Setting: policy.PINRecovery, Scope: policy.Device, Value: policy.On}
		if assigned {
			f.Assignments = []policy.Assignment{{Kind: policy.AllDevices, Raw: json.RawMessage(`{"@odata.type":"#microsoft.graph.allDevicesAssignmentTarget"}`)}}
		}
		all = append(all, f)
	}
	return all
}

// full is a tenant of which there is too much of everything else.
func full() survey.Last {
	l := survey.Last{Looked: map[string]time.Time{}, Delta: map[string]string{"grants": strings.Repeat("t", 1000)}}
	at := time.Date(2026, 11, 22, 8, 0, 0, 123456789, time.UTC)
	for i := range 4000 {
		id := fmt.Sprintf("11111111-2222-4333-8444-%012d", i)
		l.Looked[id] = at
		l.Told = append(l.Told, "policy_removed|"+id)
		l.Grants = append(l.Grants, survey.Grant{ID: id, Client: id, Text: strings.Repeat("delegated ", 20)})
	}
	for range 50 {
		l.Report.Changes = append(l.Report.Changes, survey.Change{What: strings.Repeat("ä", 500), Before: strings.Repeat("ä", 500), After: strings.Repeat("ä", 500)})
	}
	for range 128 {
		l.Trend = append(l.Trend, survey.Point{At: at, Outcome: "notaudited", State: "undetermined", Drifts: 1000, Targeted: 1 << 30, Succeeded: 1 << 30})
	}
	return l
}

func grants(n int) reading.Of[readiness.ServicePrincipal] {
	list := []string{}
	for i := range n {
		list = append(list, fmt.Sprint("delegated on ", i, strings.Repeat("x", 200)))
	}
	return reading.Read(readiness.ServicePrincipal{Present: true, ID: "sp", Grants: reading.Read(list)})
}

// TestFit: whatever a tenant has, the row takes it, what is lost is counted, and what decides is lost last and never by halves.
func TestFit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		last survey.Last
		lost map[string]int
		kept func(survey.Last) bool
	}{
		"little": {survey.Last{Known: readiness.TenantFacts{Policies: map[policy.Store]reading.Of[[]policy.Found]{policy.Intents: reading.Read(found(50, false))}}}, nil,
			func(l survey.Last) bool { return len(l.Known.Policies) == 1 && !l.Partial }},
		"everything else": {full(), map[string]int{"catalog policies that need no read": 2000, "drifts that hold": 3000, "delegated grants to follow": 4000},
			func(l survey.Last) bool { return len(l.Looked) == 2000 && len(l.Delta) == 0 && !l.Partial }},
		"unassigned policies": {with(full(), found(1500, false), found(100, true), 10), map[string]int{"unassigned policies of deviceConfigurations": 1500,
			"catalog policies that need no read": 2000, "drifts that hold": 3000, "delegated grants to follow": 4000},
			func(l survey.Last) bool {
				all, ok := l.Known.Policies[policy.ConfigurationPolicies].Get()
				none, read := l.Known.Policies[policy.DeviceConfigurations].Get()
				return ok && len(all) == 100 && read && len(none) == 0 && l.Partial
			}},
		"assigned ones and grants": {with(survey.Last{}, found(1500, true), found(100, true), 5000), map[string]int{"grants of application sp": 10_000, "policies of deviceConfigurations": 1500},
			func(l survey.Last) bool {
				of := l.Known.Policies[policy.DeviceConfigurations]
				sp, _ := l.Known.Service.Get()
				all, ok := l.Known.Policies[policy.ConfigurationPolicies].Get()
				return !of.OK() && of.Why().Code == fault.NotKept && sp.Present && sp.Grants.Why().Code == fault.NotKept && ok && len(all) == 100
			}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before, err := json.Marshal(c.last)
			if err != nil {
				t.Fatal(err)
			}
			fit, err := c.last.Fit()
			if err != nil {
				t.Fatal(err)
			}
			data, err := json.Marshal(fit)
			if err != nil || len(data) > work.MaxValueBytes {
				t.Fatalf("%d bytes, %v", len(data), err)
			}
			lost := map[string]int{}
			for _, l := range fit.Report.Lost {
				lost[l.What] += l.Count
			}
			if fmt.Sprint(lost) != fmt.Sprint(c.lost) || !c.kept(fit) {
				t.Errorf("lost %v, want %v", lost, c.lost)
			}
			if after, err := json.Marshal(c.last); err != nil || string(after) != string(before) {
				t.Errorf("what was given is not as it was: %v", err)
			}
		})
	}
}

func with(l survey.Last, first, second []policy.Found, granted int) survey.Last {
	l.Known = readiness.TenantFacts{Service: grants(granted), Client: grants(granted), Policies: map[policy.Store]reading.Of[[]policy.Found]{
		policy.DeviceConfigurations: reading.Read(first), policy.ConfigurationPolicies: reading.Read(second), policy.Intents: reading.Read([]policy.Found{}),
	}}
	return l
}

// TestRoughlyIsNoLess: facts that are not measured must fit. Texts that JSON writes six times as long are the worst there is.
func TestRoughlyIsNoLess(t *testing.T) {
	t.Parallel()
	for n := 0; n < 500; n += 49 {
		l := with(survey.Last{}, found(n, true), found(n/2, false), n)
		facts, _, err := l.Known.Within(readiness.MaxFacts)
		if err != nil {
			t.Fatal(err)
		}
		if data, err := json.Marshal(facts); err != nil || len(data) > readiness.MaxFacts {
			t.Fatalf("%d policies: %d bytes, %v", n, len(data), err)
		}
	}
}
