package azure

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// roles are the built-in ones that the identity has, by the ids of the page "Azure built-in roles" (looked up on 2026-11-22), and the type of
// what it has each on. It has no other: none lets it manage anything, read a secret or see another resource of the group.
var roles = map[string]struct{ name, on string }{
	"69a216fc-b8fb-44d8-bc22-1f3c2cd27a39": {"Azure Service Bus Data Sender", "Microsoft.ServiceBus/namespaces"},
	"4f6d3b9b-027b-4f4c-9142-0e5a2a2247e0": {"Azure Service Bus Data Receiver", "Microsoft.ServiceBus/namespaces"},
	"0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": {"Storage Table Data Contributor", "Microsoft.Storage/storageAccounts"},
	"b7e6dc6d-f1e8-4753-8033-0f276bb0955b": {"Storage Blob Data Owner", "Microsoft.Storage/storageAccounts"},
	"e147488a-f6f5-4113-8e2d-b22465e65bf6": {"Key Vault Crypto Service Encryption User", "Microsoft.KeyVault/vaults/keys"},
	"3913510d-42f4-4e42-8a64-420c390055eb": {"Monitoring Metrics Publisher", "Microsoft.Insights/components"},
}

func checkRoles(d *deployment) {
	kinds := map[string]string{}
	for _, r := range d.resources {
		kinds[r.id] = r.kind
	}
	had := map[string]string{} // scope by role
	d.each("Microsoft.Authorization/roleAssignments", func(r resource) {
		definition := fmt.Sprint(r.at("properties", "roleDefinitionId"))
		id := definition[strings.LastIndex(definition, "/")+1:]
		role, known := roles[id]
		if !known || kinds[r.scope] != role.on || had[id] != "" {
			d.problem("role %q (%s) on %s: not one of those that are needed, or not there", role.name, id, r.scope)
		}
		had[id] = r.scope
		d.want(r, "ServicePrincipal", "principalType")
		d.want(r, "principal-of-"+asText(d.variable("identity")), "principalId")
	})
	for id, role := range roles {
		if had[id] == "" {
			d.problem("the identity lacks the role %s", role.name)
		}
	}
	rows, host := had["0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3"], had["b7e6dc6d-f1e8-4753-8033-0f276bb0955b"]
	if rows == host || !strings.Contains(rows, "data") || !strings.Contains(host, "host") {
		d.problem("role on tables is on %s, and role on blobs on %s: rows and the host's blobs have accounts of their own", rows, host)
	}
}

// checkExposure: nothing is public, nothing takes a key, and with private networking nothing but the app is reached from outside.
func checkExposure(d *deployment) {
	private := d.given["privateNetworking"] == true
	access, firewall := "Enabled", "Allow"
	if private {
		access, firewall = "Disabled", "Deny"
	}
	reached := 0
	d.each("Microsoft.Storage/storageAccounts", func(r resource) {
		reached++
		d.want(r, false, "allowSharedKeyAccess")
		d.want(r, false, "allowBlobPublicAccess")
		d.want(r, false, "allowCrossTenantReplication")
		d.want(r, true, "supportsHttpsTrafficOnly")
		d.want(r, "TLS1_2", "minimumTlsVersion")
		d.want(r, access, "publicNetworkAccess")
		d.want(r, firewall, "networkAcls", "defaultAction")
		d.want(r, "None", "networkAcls", "bypass")
	})
	d.each("Microsoft.Storage/storageAccounts/blobServices/containers", func(r resource) { d.want(r, "None", "publicAccess") })
	d.each("Microsoft.ServiceBus/namespaces", func(r resource) {
		reached++
		d.want(r, true, "disableLocalAuth")
		d.want(r, "1.2", "minimumTlsVersion")
		d.want(r, access, "publicNetworkAccess")
		if tier := r.at("sku", "tier"); private != (tier == "Premium") || !private && tier != "Standard" {
			d.problem("Service Bus is %v; private endpoints need Premium, and duplicate detection at least Standard", tier)
		}
	})
	d.each("Microsoft.KeyVault/vaults", func(r resource) {
		reached++
		d.want(r, access, "publicNetworkAccess")
		d.want(r, firewall, "networkAcls", "defaultAction")
	})
	d.each("Microsoft.Insights/components", func(r resource) { d.want(r, true, "DisableLocalAuth") })
	d.each("Microsoft.Web/sites", func(r resource) {
		d.want(r, true, "httpsOnly")
		d.want(r, "1.2", "siteConfig", "minTlsVersion")
		d.want(r, "1.2", "siteConfig", "scmMinTlsVersion")
		d.want(r, "Disabled", "siteConfig", "ftpsState")
		if in := r.at("properties", "virtualNetworkSubnetId"); private != (in != nil) {
			d.problem("the app is in subnet %v", in)
		}
	})
	d.each("Microsoft.Web/sites/basicPublishingCredentialsPolicies", func(r resource) { d.want(r, false, "allow") })
	endpoints := 0
	for _, r := range d.resources {
		if r.kind == "Microsoft.Network/privateEndpoints" {
			endpoints++
			d.checkEndpoint(r)
		}
	}
	if private && endpoints != reached || !private && endpoints > 0 {
		d.problem("%d private endpoints for %d services", endpoints, reached)
	}
}

// links are what a private endpoint can lead to: the resource, by its type, and the zone in which its name is found, by the page "Azure
// private endpoint private DNS zone values".
var links = map[string]struct{ on, zone string }{
	"blob":      {"/storageAccounts/", "privatelink.blob.core.windows.net"},
	"table":     {"/storageAccounts/", "privatelink.table.core.windows.net"},
	"namespace": {"/namespaces/", "privatelink.servicebus.windows.net"},
	"vault":     {"/vaults/", "privatelink.vaultcore.azure.net"},
}

// checkEndpoint: the endpoint leads to what its group is of, and its name is found in the right zone from inside the network.
func (d *deployment) checkEndpoint(r resource) {
	connection := member(asList(r.at("properties", "privateLinkServiceConnections"))[0], "properties")
	group := asText(asList(member(connection, "groupIds"))[0])
	link, known := links[group]
	if target := asText(member(connection, "privateLinkServiceId")); !known || !strings.Contains(target, link.on) {
		d.problem("%s leads to %s of %s", r.name, group, target)
	}
	zone := resourceID([]string{"Microsoft.Network/privateDnsZones", link.zone})
	network := resourceID([]string{"Microsoft.Network/privateDnsZones/virtualNetworkLinks", link.zone, asText(d.variable("network"))})
	named := slices.ContainsFunc(d.resources, func(g resource) bool {
		return g.id == r.id+"/privateDnsZoneGroups/default" && strings.Contains(fmt.Sprint(g.at("properties", "privateDnsZoneConfigs")), zone)
	})
	if !named || !d.declared[network] {
		d.problem("nobody in the network finds %s in %s", r.name, link.zone)
	}
}

// secretive are words that only a secret follows, or that only a reader of secrets has.
var secretive = regexp.MustCompile(`(?i)AccountKey|SharedAccessKey|SharedAccessSignature|secureString|secureObject|password|listKeys|listSecrets|listAccountSas|BEGIN [A-Z ]*PRIVATE|sig=`)

// checkSecrets: the template has no secret and asks for none, so that nothing of it must be hidden: not parameters, not history, not outputs.
func checkSecrets(d *deployment) {
	for name, v := range map[string]any{"parameters": d.Parameters, "variables": d.Variables, "resources": d.Resources, "outputs": d.Outputs, "given": d.given} {
		text, err := json.Marshal(v)
		if found := secretive.Find(text); err != nil || found != nil {
			d.problem("%s: %s has a place for a secret (%v)", name, found, err)
		}
	}
	for name := range d.Parameters {
		if !slices.Contains([]string{"string", "int", "bool", "array", "object"}, d.Parameters[name].Type) {
			d.problem("parameter %s is a %s", name, d.Parameters[name].Type)
		}
	}
}

// checkVault: the key can't be lost by one person's mistake, does two things only, and is changed every quarter.
func checkVault(d *deployment) {
	d.each("Microsoft.KeyVault/vaults", func(r resource) {
		d.want(r, true, "enableRbacAuthorization")
		d.want(r, true, "enablePurgeProtection")
		d.want(r, true, "enableSoftDelete")
		d.want(r, 90, "softDeleteRetentionInDays")
	})
	d.each("Microsoft.KeyVault/vaults/keys", func(r resource) {
		d.want(r, "RSA", "kty")
		d.want(r, "[wrapKey unwrapKey]", "keyOps")
		if size, _ := r.at("properties", "keySize").(float64); size < 3072 {
			d.problem("the key has %v bits", size)
		}
		if policy := fmt.Sprint(r.at("properties", "rotationPolicy", "lifetimeActions")); !strings.Contains(policy, "type:rotate") || !strings.Contains(policy, "timeAfterCreate:P90D") {
			d.problem("the key is not rotated every 90 days: %s", policy)
		}
	})
	audited := false
	d.each("Microsoft.Insights/diagnosticSettings", func(r resource) {
		audited = audited || strings.Contains(r.scope, "/vaults/") && strings.Contains(fmt.Sprint(r.at("properties", "logs")), "AuditEvent")
	})
	if !audited {
		d.problem("what is done with the vault's key is not logged")
	}
}

// checkApp: Flex Consumption with the program as its custom handler, and no identity but the one.
func checkApp(d *deployment) {
	d.each("Microsoft.Web/serverfarms", func(r resource) {
		if r.at("sku", "name") != "FC1" || r.at("sku", "tier") != "FlexConsumption" || r.at("properties", "reserved") != true {
			d.problem("the plan is %v", r.body)
		}
	})
	d.each("Microsoft.Web/sites", func(r resource) {
		identity := resourceID([]string{"Microsoft.ManagedIdentity/userAssignedIdentities", asText(d.variable("identity"))})
		if has, _ := r.at("identity", "userAssignedIdentities").(map[string]any); r.at("identity", "type") != "UserAssigned" || len(has) != 1 || has[identity] == nil {
			d.problem("the app's identity is %v", r.at("identity"))
		}
		d.want(r, map[string]any{"name": "custom", "version": "1.0"}, "functionAppConfig", "runtime")
		d.want(r, "blobContainer", "functionAppConfig", "deployment", "storage", "type")
		d.want(r, "UserAssignedIdentity", "functionAppConfig", "deployment", "storage", "authentication", "type")
		d.want(r, identity, "functionAppConfig", "deployment", "storage", "authentication", "userAssignedIdentityResourceId")
		d.want(r, "https://"+asText(d.variable("hostStorage"))+".blob.core.windows.net/"+asText(d.variable("packages")), "functionAppConfig", "deployment", "storage", "value")
		for _, role := range d.resources {
			if role.kind == "Microsoft.Authorization/roleAssignments" && !slices.Contains(r.after, role.id) {
				d.problem("the app is started before it has role %s", role.name)
			}
		}
		ready, _ := r.at("properties", "functionAppConfig", "scaleAndConcurrency", "alwaysReady").([]any)
		functions := functionFiles(d)
		for _, each := range ready {
			name := asText(member(each, "name"))
			if function, isFunction := strings.CutPrefix(name, "function:"); name != "http" && (!isFunction || functions[function] == nil) {
				d.problem("always ready is %q, and there is no such function", name)
			}
		}
	})
}
