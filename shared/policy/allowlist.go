package policy

import (
	"encoding/json"
	"strings"
)

// AllowListValue is the value to write for domains: separated by semicolons, without quotation marks (page "Policy CSP -
// Authentication").
func AllowListValue(domains []string) string { return strings.Join(domains, ";") }

// Domains are the domains of an allow list, in lower case, as far as they can be made out.
func Domains(list string) []string {
	var domains []string
	for _, d := range strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(";, \t\r\n\"'", r) }) {
		d = strings.ToLower(d)
		if _, rest, ok := strings.Cut(d, "://"); ok {
			d = rest
		}
		if d, _, _ = strings.Cut(d, "/"); d != "" {
			domains = append(domains, d)
		}
	}
	return domains
}

func (o oma) list(uri string) Found {
	var value string
	known := !o.encrypted() && bare(o.Type) == "omaSettingString" && json.Unmarshal(o.Value, &value) == nil
	f := allowList(scopeOf(uri), value, known)
	f.Shape = OMAURI
	device := strings.Replace(AllowListURI, "./", "./Device/", 1)
	if !strings.EqualFold(uri, AllowListURI) && !strings.EqualFold(uri, device) {
		f.Misspelt = true
		f.Findings = append(f.Findings, Finding{Code: WrongURI, Severity: Error,
			Text: "The OMA-URI of the allow list is not the one of the Policy CSP.", Fix: "Use " + AllowListURI + " with the data type String."})
	}
	return f
}

func allowList(scope Scope, value string, known bool) Found {
	f := Found{Setting: WebSignInAllowList, Scope: scope}
	if known {
		f.Value, f.List, f.Findings = On, value, LintAllowList(value)
	}
	return f
}

// LintAllowList judges the value of ConfigureWebSignInAllowedUrls: domains separated by semicolons. Quotation marks are
// known to break the list with a message that does not tell why; for the others the page knows only domains.
func LintAllowList(value string) []Finding {
	var found []Finding
	add := func(is bool, code Code, severity Severity, text, fix string) {
		if is {
			found = append(found, Finding{Code: code, Severity: severity, Text: text, Fix: fix})
		}
	}
	trimmed := strings.TrimSpace(value)
	paths := strings.ReplaceAll(trimmed, "://", "")
	add(strings.ContainsAny(value, `"'“”`), ListQuotes, Error, "The allow list has quotation marks, which break it.", "Remove the quotation marks.")
	add(strings.Contains(value, "://"), ListScheme, Error, "The allow list has an address with https:// in place of a domain.", "Write domains alone, such as signin.contoso.com.")
	add(strings.Contains(paths, "/"), ListPath, Error, "The allow list has a path behind a domain.", "Write domains alone, without / and what follows.")
	add(strings.Contains(value, ","), ListComma, Error, "The allow list has commas.", "Separate the domains with semicolons.")
	add(strings.ContainsAny(value, " \t\r\n"), ListSpace, Warning, "The allow list has spaces or line breaks.", "Remove them.")
	add(len(Domains(value)) == 0, ListEmpty, Error, "The allow list has no domain.", "Write the domains of the sign-in page, or remove the policy.")
	return found
}
