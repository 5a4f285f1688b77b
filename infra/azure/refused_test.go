package azure

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

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
		{`"dependsOn": ["[resourceId('Microsoft.Web/sites', variables('site'))]"]`, `"dependsOn": []`, "does not wait for"},
		{`extensionResourceId(resourceId('Microsoft.Insights/components', variables('insights')), 'Microsoft.Authorization/roleAssignments', guid(resourceId('Microsoft.Insights/components', variables('insights')), variables('identity'), variables('roles').monitoringMetricsPublisher))`,
			`resourceId('Microsoft.Insights/components', variables('insights'))`, "started before it has role"},
		{`"type": "UserAssigned"`, `"type": "SystemAssigned"`, "the app's identity is"},
		{`"FC1"`, `"Y1"`, "the plan is"},
		{`"actionGroups": "[variables('actions')]"`, `"actionGroups": []`, "tells"},
		{`"minTlsVersion": "1.2"`, `"minTlsVersion": "1.0"`, "minTlsVersion"},
		{`"category": "AuditEvent"`, `"category": "AzurePolicyEvaluationDetails"`, "not logged"},
		{`"group": "table"`, `"group": "queue"`, "leads to queue"},
		{`privatelink.vaultcore.azure.net`, `privatelink.vault.azure.net`, "privatelink.vaultcore.azure.net"},
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
		{`{"name": "PINRESET_SERVICEBUS_TOPIC", "value": "[variables('topic')]"},`, ``, "PINRESET_SERVICEBUS_TOPIC"},
		{`"PINRESET_CREDENTIAL"`, `"PINRESET_CREDENTIALS"`, "PINRESET_CREDENTIALS"},
		{`{"name": "PINRESET_LOG_LEVEL", "value": "info"}`, `{"name": "PINRESET_LOG_LEVEL", "value": "warn"}`, "PINRESET_LOG_LEVEL"},
		{`"SB__fullyQualifiedNamespace"`, `"BUS__fullyQualifiedNamespace"`, "SB__fullyQualifiedNamespace"},
		{`{"name": "PINRESET_LOG_LEVEL"`, `{"name": "FUNCTIONS_WORKER_RUNTIME", "value": "custom"}, {"name": "PINRESET_LOG_LEVEL"`, "FUNCTIONS_WORKER_RUNTIME"},
		{`"identityPrincipalId": {`, `"principal": {`, "output identityPrincipalId"},
		{`tenant.audit.completed.v1`, `tenant.audited.v1`, "tenant.audited.v1"},
		{`kind !in (''tenant.settings.changed.v1''`, `kind !in (''tenant.set.v1''`, "tenant.set.v1"},
		{`tostring(line.code)`, `tostring(line.reason)`, `looks for "reason"`},
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
		`"nme": {"value": "x"}`:                 "no parameter nme",
		`"addressPrefix": {"value": 10}`:        "10 is no string",
		`"instanceMemoryMB": {"value": 1024}`:   "none of",
		`"maximumInstanceCount": {"value": 1}`:  "range",
		`"privateNetworking": {"value": "yes"}`: "no bool",
	} {
		d := expand("changed", template, []byte(strings.Replace(given, `"parameters": {`, `"parameters": {`+from+",", 1)))
		if !slices.ContainsFunc(d.problems, func(p string) bool { return strings.Contains(p, says) }) {
			t.Errorf("%s: nobody says %q: %q", from, says, d.problems)
		}
	}
	prod := strings.Replace(string(file(t, "prod.parameters.json")), "function:passcodereset", "function:passcodes", 1)
	if problems := judge([]*deployment{expand("prod", template, []byte(prod))}); !slices.Contains(problems, `prod: always ready is "function:passcodes", and there is no such function`) {
		t.Errorf("%q", problems)
	}
	longer := strings.Replace(given, `"pinresetdev"`, `"a-much-longer-name"`, 1)
	if d := expand("longer", template, []byte(longer)); !slices.Contains(d.problems, `longer: parameter name: "a-much-longer-name" is 18 long`) {
		t.Errorf("%q", d.problems)
	}
	if d := expand("none", template, []byte(`{"parameters": {}}`)); !slices.Contains(d.problems, "none: parameter clientId has no value") {
		t.Errorf("%q", d.problems)
	}
}
