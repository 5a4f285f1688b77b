package azure

import (
	"bytes"
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
		for _, check := range checks {
			if d.problems == nil { // what can't be expanded can't be judged
				check(d)
			}
		}
		problems = append(problems, d.problems...)
	}
	return problems
}

// TestTemplate: what the template makes in every environment is what pinreset needs, and nothing of it is open or secret.
func TestTemplate(t *testing.T) {
	t.Parallel()
	all := environments(t, func(b []byte) []byte { return b })
	for _, d := range all {
		if len(d.resources) < 40 && d.problems == nil {
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

// TestChecksCatch proves that every check can fail: a template with one thing wrong is refused, and told what.
func TestChecksCatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ from, to, says string }{
		{`"apiVersion": "2024-11-01"`, `"apiVersion": "2019-09-01"`, "2019-09-01"},
		{`"type": "Microsoft.Insights/metricAlerts"`, `"type": "Microsoft.Insights/alertRules"`, "Microsoft.Insights/alertRules has API"},
		{`variables('packages')`, `variables('package')`, `no variable "package"`},
		{`parameters('logRetentionDays')`, `parameters('retention')`, `no parameter "retention"`},
		{`"retentionInDays": "[parameters('logRetentionDays')]"`, `"retentionInDays": 30`, "parameter logRetentionDays is not used"},
		{`"plan": "[format('{0}-plan', parameters('name'))]"`, `"spare": "x", "plan": "[format('{0}-plan', parameters('name'))]"`, "variable spare is not used"},
		{`resourceId('Microsoft.Web/serverfarms', variables('plan'))`, `resourceId('Microsoft.Web/serverfarms', variables('site'))`, "is not in the template"},
		{"\n        \"links\",", "\n        \"link\",", "waits for link,"},
		{`format('{0}-kv-{1}', parameters('name'), variables('suffix'))`, `format('{0}-vault-{1}', parameters('name'), uniqueString(resourceGroup().id))`, "is no name"},
		{`format('{0}-plan', parameters('name'))`, `format('{0}-plan-{1}', parameters('name'))`, "has nothing for {1}"},
		{`69a216fc-b8fb-44d8-bc22-1f3c2cd27a39`, `090c5cfd-751d-490a-894a-3ce6f1109419`, "role"},
		{`variables('roles').storageBlobDataOwner)]",
        "principalId"`, `variables('roles').storageTableDataContributor)]",
        "principalId"`, "role"},
		{`"principalType": "ServicePrincipal"`, `"principalType": "User"`, "User"},
		{`"allowSharedKeyAccess": false`, `"allowSharedKeyAccess": true`, "allowSharedKeyAccess"},
		{`"allowBlobPublicAccess": false`, `"allowBlobPublicAccess": true`, "allowBlobPublicAccess"},
		{`"minimumTlsVersion": "TLS1_2"`, `"minimumTlsVersion": "TLS1_0"`, "minimumTlsVersion"},
		{`"publicAccess": "None"`, `"publicAccess": "Blob"`, "publicAccess"},
		{`if(parameters('privateNetworking'), 'Disabled', 'Enabled')`, `if(parameters('privateNetworking'), 'Enabled', 'Enabled')`, "publicNetworkAccess"},
		{`"disableLocalAuth": true`, `"disableLocalAuth": false`, "disableLocalAuth"},
		{`"httpsOnly": true`, `"httpsOnly": false`, "httpsOnly"},
		{`{"allow": false}`, `{"allow": true}`, "allow"},
		{`reference(resourceId('Microsoft.Insights/components', variables('insights'))).ConnectionString`, `listKeys(resourceId('Microsoft.Insights/components', variables('insights')), '2020-02-02').key`, "listKeys"},
		{`"PerGB2018"`, `"SharedAccessKey=abc"`, "SharedAccessKey"},
		{`"enablePurgeProtection": true`, `"enablePurgeProtection": false`, "enablePurgeProtection"},
		{`["wrapKey", "unwrapKey"]`, `["wrapKey", "unwrapKey", "sign"]`, "sign"},
		{`"P90D"`, `"P9D"`, "rotat"},
		{`{"name": "custom", "version": "1.0"}`, `{"name": "node", "version": "22"}`, "runtime"},
		{`"audit-bulk",`, ``, "queue audit-bulk"},
		{`"audit-bulk",`, `"audit-bulk", "audits",`, "queue audits"},
		{`"lockDuration": "PT1M"`, `"lockDuration": "PT5M"`, "lock"},
		{`"maxDeliveryCount": 16`, `"maxDeliveryCount": 10`, "maxDeliveryCount is 10, want 16"},
		{`"duplicateDetectionHistoryTimeWindow": "PT10M"`, `"duplicateDetectionHistoryTimeWindow": "PT1M"`, "duplicate"},
		{`"defaultMessageTimeToLive": "P14D"`, `"defaultMessageTimeToLive": "P1D"`, "live"},
		{`"enablePartitioning": false`, `"enablePartitioning": true`, "enablePartitioning"},
		{`"topic": "announcements"`, `"topic": "announced"`, "topic"},
		{`dev.pinreset.failure.raised.v1`, `dev.pinreset.failure.v1`, "dev.pinreset.failure.v1"},
		{`"PINRESET_CREDENTIAL"`, `"PINRESET_CREDENTIALS"`, "PINRESET_CREDENTIALS"},
		{`{"name": "PINRESET_LOG_LEVEL", "value": "info"}`, `{"name": "PINRESET_LOG_LEVEL", "value": "warn"}`, "PINRESET_LOG_LEVEL"},
		{`"SB__fullyQualifiedNamespace"`, `"BUS__fullyQualifiedNamespace"`, "SB__fullyQualifiedNamespace"},
		{`{"name": "PINRESET_LOG_LEVEL"`, `{"name": "FUNCTIONS_WORKER_RUNTIME", "value": "custom"}, {"name": "PINRESET_LOG_LEVEL"`, "FUNCTIONS_WORKER_RUNTIME"},
		{`tenant.audit.completed.v1`, `tenant.audited.v1`, "tenant.audited.v1"},
		{`consent_revoked`, `consent_gone`, "consent_gone"},
		{`DeadletteredMessages`, `ActiveMessages`, "dead letters"},
	} {
		t.Run(c.to, func(t *testing.T) {
			t.Parallel()
			changed := false
			problems := judge(environments(t, func(b []byte) []byte {
				out := bytes.ReplaceAll(b, []byte(c.from), []byte(c.to))
				changed = !bytes.Equal(out, b)
				return out
			}))
			if !changed {
				t.Fatalf("%q is not in the template", c.from)
			}
			if !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, c.says) }) {
				t.Errorf("nobody says %q: %q", c.says, problems)
			}
		})
	}
}

// TestParametersCatch: parameters that the template does not have, or would not take, are told.
func TestParametersCatch(t *testing.T) {
	t.Parallel()
	template, given := file(t, "main.json"), string(file(t, "dev.parameters.json"))
	for from, says := range map[string]string{
		`"nme": {"value": "x"}`:                   "no parameter nme",
		`"name": {"value": "a-much-longer-name"}`: "is 18 long",
		`"instanceMemoryMB": {"value": 1024}`:     "none of",
		`"maximumInstanceCount": {"value": 1}`:    "range",
		`"privateNetworking": {"value": "yes"}`:   "no bool",
	} {
		d := expand("changed", template, []byte(strings.Replace(given, `"parameters": {`, `"parameters": {`+from+",", 1)))
		if from == `"name": {"value": "a-much-longer-name"}` { // the last of two names counts
			d = expand("changed", template, []byte(strings.Replace(given, `"pinresetdev"`, `"a-much-longer-name"`, 1)))
		}
		if !slices.ContainsFunc(d.problems, func(p string) bool { return strings.Contains(p, says) }) {
			t.Errorf("%s: nobody says %q: %q", from, says, d.problems)
		}
	}
	if d := expand("none", template, []byte(`{"parameters": {}}`)); !slices.Contains(d.problems, "none: parameter clientId has no value") {
		t.Errorf("%q", d.problems)
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
