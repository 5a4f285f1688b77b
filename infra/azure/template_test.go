package azure

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// versions are the types of resource that the template may make, and the version of each one's API. They were looked up on
// 2026-11-22, in the page "All versions" of each namespace in the ARM template reference and in the types that Bicep knows. The date
// is in the failure, so that whoever adds one looks it up again.
var versions = map[string]string{
	"Microsoft.Authorization/roleAssignments":                    "2022-04-01",
	"Microsoft.Insights/actionGroups":                            "2023-01-01",
	"Microsoft.Insights/components":                              "2020-02-02",
	"Microsoft.Insights/diagnosticSettings":                      "2021-05-01-preview", // there is none without "preview"
	"Microsoft.Insights/metricAlerts":                            "2018-03-01",
	"Microsoft.Insights/scheduledQueryRules":                     "2022-06-15",
	"Microsoft.Insights/workbooks":                               "2023-06-01",
	"Microsoft.KeyVault/vaults":                                  "2024-11-01",
	"Microsoft.KeyVault/vaults/keys":                             "2024-11-01",
	"Microsoft.ManagedIdentity/userAssignedIdentities":           "2023-01-31",
	"Microsoft.Network/privateDnsZones":                          "2020-06-01",
	"Microsoft.Network/privateDnsZones/virtualNetworkLinks":      "2020-06-01",
	"Microsoft.Network/privateEndpoints":                         "2024-05-01",
	"Microsoft.Network/privateEndpoints/privateDnsZoneGroups":    "2024-05-01",
	"Microsoft.Network/virtualNetworks":                          "2024-05-01",
	"Microsoft.OperationalInsights/workspaces":                   "2025-02-01",
	"Microsoft.ServiceBus/namespaces":                            "2024-01-01",
	"Microsoft.ServiceBus/namespaces/queues":                     "2024-01-01",
	"Microsoft.ServiceBus/namespaces/topics":                     "2024-01-01",
	"Microsoft.ServiceBus/namespaces/topics/subscriptions":       "2024-01-01",
	"Microsoft.ServiceBus/namespaces/topics/subscriptions/rules": "2024-01-01",
	"Microsoft.Storage/storageAccounts":                          "2024-01-01",
	"Microsoft.Storage/storageAccounts/blobServices":             "2024-01-01",
	"Microsoft.Storage/storageAccounts/blobServices/containers":  "2024-01-01",
	"Microsoft.Storage/storageAccounts/tableServices":            "2024-01-01",
	"Microsoft.Storage/storageAccounts/tableServices/tables":     "2024-01-01",
	"Microsoft.Web/serverfarms":                                  "2024-04-01",
	"Microsoft.Web/sites":                                        "2024-04-01",
	"Microsoft.Web/sites/basicPublishingCredentialsPolicies":     "2024-04-01",
}

// checks are everything that is asked of the template in an environment. Each reports to d.
var checks = []func(d *deployment){
	checkTypes, checkReferences, checkNames, checkRoles, checkExposure, checkSecrets, checkVault, checkApp,
	checkEntities, checkSettings, checkAlerts,
}

func judge(all []*deployment) (problems []string) {
	for _, d := range all { // what only one environment uses is used
		maps.Copy(all[0].usedP, d.usedP)
		maps.Copy(all[0].usedV, d.usedV)
	}
	for _, d := range all {
		d.usedP, d.usedV = all[0].usedP, all[0].usedV
		if len(d.problems) == 0 { // what can't be expanded can't be judged
			for _, check := range checks {
				d.run(check)
			}
		}
		problems = append(problems, d.problems...)
	}
	return problems
}

// run runs a check. One that does not find what it must look at is a problem too.
func (d *deployment) run(check func(*deployment)) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case refusal:
			d.problem("%v", p.error)
		default:
			panic(p)
		}
	}()
	check(d)
}

// TestTemplate: what the template makes in every environment is what pinreset needs, and nothing of it is open or secret.
func TestTemplate(t *testing.T) {
	t.Parallel()
	all := environments(t, func(b []byte) []byte { return b })
	for _, d := range all {
		if len(d.resources) < 40 {
			t.Errorf("%s: only %d resources were seen", d.environment, len(d.resources))
		}
	}
	for _, p := range judge(all) {
		t.Error(p)
	}
	if dev, prod := len(all[0].resources), len(all[1].resources); prod <= dev {
		t.Errorf("%d resources with private networking and %d without", prod, dev)
	}
}

func checkTypes(d *deployment) {
	for _, r := range d.resources {
		if want, known := versions[r.kind]; !known || r.version != want {
			d.problem("%s has API version %s; looked up on 2026-11-22: %q", r.kind, r.version, want)
		}
	}
}

// checkReferences: everything that is declared is used, everything that is waited for is there, and a child waits for its parent.
func checkReferences(d *deployment) {
	for name := range d.Parameters {
		if !d.usedP[name] {
			d.problem("parameter %s is not used", name)
		}
	}
	for name := range d.Variables {
		if !d.usedV[name] {
			d.problem("variable %s is not used", name)
		}
	}
	for _, r := range d.resources {
		for _, a := range r.after {
			if !d.declared[a] && !d.loops[a] {
				d.problem("%s waits for %s, which is not in the template", r.id, a)
			}
		}
		parent := r.id[:strings.LastIndex(r.id[:strings.LastIndex(r.id, "/")], "/")]
		if r.scope != "" {
			parent = r.scope
		}
		if d.declared[parent] && !slices.Contains(r.after, parent) && !slices.Contains(r.after, "endpoints") && !slices.Contains(r.after, "zones") {
			d.problem("%s does not wait for %s", r.id, parent)
		}
	}
}

// names are what Azure takes for names that must be its only ones, as the page "Naming rules and restrictions for Azure resources" has it.
var names = map[string]*regexp.Regexp{
	"Microsoft.Storage/storageAccounts": regexp.MustCompile(`^[a-z0-9]{3,24}$`),
	"Microsoft.KeyVault/vaults":         regexp.MustCompile(`^[a-z][a-z0-9-]{1,22}[a-z0-9]$`),
	"Microsoft.ServiceBus/namespaces":   regexp.MustCompile(`^[a-z][a-z0-9-]{4,48}[a-z0-9]$`),
	"Microsoft.Web/sites":               regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,58}[a-z0-9]$`),
}

func checkNames(d *deployment) {
	seen := map[string]bool{}
	for _, r := range d.resources {
		if form := names[r.kind]; form != nil && !form.MatchString(r.name) {
			d.problem("%q is no name of a %s", r.name, r.kind)
		}
		seen[r.kind] = true
		if place := r.at("location"); place != nil && place != "region" && place != "global" {
			d.problem("%s is in %v", r.id, place)
		}
		if _, taggable := r.body["location"]; taggable && r.at("tags") == nil {
			d.problem("%s has no tags", r.id)
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(names)) {
		if !seen[kind] {
			d.problem("there is no %s", kind)
		}
	}
}

// each calls f with every resource of a type, which must be there.
func (d *deployment) each(kind string, f func(r resource)) {
	found := false
	for _, r := range d.resources {
		if r.kind == kind {
			found = true
			f(r)
		}
	}
	if !found {
		d.problem("there is no %s", kind)
	}
}

// want reports a property that is another one.
func (d *deployment) want(r resource, value any, path ...string) {
	if got := r.at(append([]string{"properties"}, path...)...); fmt.Sprint(got) != fmt.Sprint(value) {
		d.problem("%s: %s is %v, want %v", r.id, strings.Join(path, "."), got, value)
	}
}
