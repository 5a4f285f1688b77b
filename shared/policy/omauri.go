package policy

import (
	"encoding/json"
	"strings"

	"pinreset/events"
)

// URI is the address of EnablePinRecovery in the PassportForWork CSP. The tenant's id is without braces.
func URI(tenantID string, scope Scope) string {
	root := "./Device"
	if scope == User {
		root = "./User"
	}
	return root + "/Vendor/MSFT/PassportForWork/" + strings.ToLower(tenantID) + "/Policies/EnablePinRecovery"
}

const (
	pinNode  = "enablepinrecovery"
	listNode = "configurewebsigninallowedurls"
)

// AllowListURI is the address of ConfigureWebSignInAllowedUrls, for devices.
const AllowListURI = "./Vendor/MSFT/Policy/Config/Authentication/ConfigureWebSignInAllowedUrls"

// oma is an OMA-URI setting as it is read, of whatever type.
type oma struct {
	Type   string          `json:"@odata.type"`
	URI    string          `json:"omaUri"`
	Value  json.RawMessage `json:"value"`
	Secret *bool           `json:"isEncrypted"` // beta
	// Reference is where the plain text of an encrypted value can be asked for; beta.
	Reference string `json:"secretReferenceValueId"`
}

func parseOMA(raw json.RawMessage) (o oma, err error) {
	err = json.Unmarshal(raw, &o)
	return o, err
}

func (o oma) encrypted() bool { return o.Secret != nil && *o.Secret || o.Reference != "" }

func (e entity) custom(tenantID string) []Found {
	var found tally
	for _, raw := range e.OMASettings {
		o, err := parseOMA(raw)
		if err != nil {
			continue
		}
		uri := strings.TrimRight(strings.TrimSpace(o.URI), "/")
		switch node := strings.ToLower(uri[strings.LastIndexByte(uri, '/')+1:]); node {
		case pinNode:
			found.add(o.pinRecovery(tenantID, uri))
		case listNode:
			found.add(o.list(uri))
		}
	}
	return found.with(&original{settings: e.OMASettings})
}

func (o oma) pinRecovery(tenantID, uri string) Found {
	f := Found{Shape: OMAURI, Setting: PINRecovery, Scope: scopeOf(uri)}
	wrong := func(code Code, severity Severity, text string) {
		f.Misspelt = true
		f.Findings = append(f.Findings, Finding{Code: code, Severity: severity, Text: text,
			Fix: "Use " + URI(tenantID, f.Scope) + " with the data type Boolean."})
	}
	if !strings.EqualFold(uri, URI(tenantID, f.Scope)) {
		code, severity, text := judgeURI(tenantID, uri)
		wrong(code, severity, text)
	}
	var asBool bool
	var asText string
	switch {
	case o.encrypted():
		f.Findings = append(f.Findings, Finding{Code: Encrypted, Severity: Warning,
			Text: "Graph keeps the value encrypted and does not show it.", Fix: "Look at the profile in Intune's admin centre, or replace it by one that pinreset creates."})
	case bare(o.Type) == "omaSettingBoolean" && json.Unmarshal(o.Value, &asBool) == nil && len(o.Value) > 0 && string(o.Value) != "null":
		f.Value = valueOf(asBool)
	case bare(o.Type) == "omaSettingBoolean":
		// no value that could be read
	default:
		text := strings.Trim(strings.ToLower(string(o.Value)), `" `)
		if json.Unmarshal(o.Value, &asText) == nil {
			text = strings.ToLower(strings.TrimSpace(asText))
		}
		switch text {
		case "true", "1":
			f.Value = On
		case "false", "0":
			f.Value = Off
		}
		wrong(NotBoolean, Error, "The setting is written as "+typeName(o.Type)+", but the node takes a Boolean.")
	}
	return f
}

func typeName(odataType string) string {
	if name, ok := strings.CutPrefix(bare(odataType), "omaSetting"); ok && name != "" && len(name) < 30 {
		return "a " + name
	}
	return "another type"
}

func scopeOf(uri string) Scope {
	if strings.HasPrefix(strings.ToLower(uri), "./user/") {
		return User
	}
	return Device
}

// judgeURI says what is wrong with an address whose last node is EnablePinRecovery.
func judgeURI(tenantID, uri string) (Code, Severity, string) {
	lower := strings.ToLower(uri)
	rest, hasScope := strings.CutPrefix(lower, "./device/")
	if !hasScope {
		rest, hasScope = strings.CutPrefix(lower, "./user/")
	}
	if !hasScope {
		rest = strings.TrimPrefix(strings.TrimPrefix(lower, "./"), "/")
	}
	if strings.HasPrefix(rest, "vendor/msft/policy/") {
		return WrongPath, Error, "The OMA-URI goes through …/MSFT/Policy/PassportForWork, as Microsoft's page on PIN reset prints it; there is no such node."
	}
	id, ok := cut(rest, "vendor/msft/passportforwork/", "/policies/"+pinNode)
	bared, braces := cut(id, "{", "}")
	switch {
	case !ok && (rest == "vendor/msft/passportforwork/policies/"+pinNode):
		return NoTenant, Error, "The OMA-URI does not have the tenant's id."
	case !ok:
		return WrongURI, Error, "The OMA-URI is not the one of the PassportForWork CSP."
	case braces && events.IsGUID(bared):
		return Braces, Error, "The tenant's id in the OMA-URI is in curly braces, which the CSP does not take."
	case !events.IsGUID(id):
		return NoTenant, Error, "The OMA-URI has a placeholder in place of the tenant's id."
	case id != strings.ToLower(tenantID):
		return OtherTenant, Error, "The OMA-URI has the id of another tenant."
	case !hasScope:
		return NoScope, Warning, "The OMA-URI begins with neither ./Device nor ./User."
	}
	return WrongURI, Error, "The OMA-URI is not the one of the PassportForWork CSP."
}
