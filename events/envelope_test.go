package events_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// badEnvelopes makes the bad events whose fault is an attribute, or needs a look at more than one field.
func badEnvelopes(t *testing.T) []badCase {
	t.Helper()
	raw, _ := example(t, "passcode.reset.requested.v1")
	const tenant = "/tenants/8f1e0c52-7d7a-4c0e-9a53-1f5b1c1d2e3f"
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	bad := map[string][]any{
		"specversion":     {"", "0.3", "1", "1.0\n"},
		"id":              idRule().bad,
		"type":            {"", "passcode.reset.requested.v1", "dev.pinreset.", "dev.pinreset.no.such.kind.v1", "DEV.PINRESET.passcode.expired.v1", "a\u202e", strings.Repeat("ä", 300)},
		"source":          {"", "/", "/tenants/", "/tenants/nope", tenant[1:], tenant + "/", tenant + "\n", tenant + "0", "\u202e" + tenant, "/Tenants/" + tenant[9:], "https://example.com" + tenant},
		"subject":         {"devices/", "users/3b7c2a90-5e14-4f6b-8d21-c09a4e7f6b13", "devices/nope", "a\u202e", "a\n", strings.Repeat("a", 45)},
		"time":            timeRule().bad,
		"traceparent":     {"x", strings.ToUpper(trace), trace + "0", trace + "\n", trace[1:]},
		"datacontenttype": {"text/plain", "application/json\n", "application/json; charset=utf-8"},
		"dataschema":      nil, // any identifier is accepted: the type alone decides
		"data":            nil,
	}
	required := []string{"specversion", "id", "type", "source", "time", "data"}
	var cases []badCase
	add := func(name, field string, onlyGo bool, change func(e map[string]any)) {
		event := tree(t, raw)
		change(event)
		cases = append(cases, badCase{"envelope: " + field + " " + name, event, field, onlyGo})
	}
	for name, values := range bad {
		jsonType := "string"
		if name == "data" {
			jsonType = "object"
		}
		for _, v := range values {
			add(fmt.Sprintf("%.60q", v), name, false, func(e map[string]any) { e[name] = v })
		}
		for typ, v := range wrongTypes(jsonType) {
			if v == nil && !slices.Contains(required, name) {
				continue // the same as absent
			}
			add("a "+typ, name, false, func(e map[string]any) { e[name] = v })
		}
		upper := strings.ToUpper(name[:1]) + name[1:]
		add("by another case", upper, false, func(e map[string]any) { e[upper] = e[name]; delete(e, name) })
		add("and another case", upper, false, func(e map[string]any) { e[upper] = e[name] })
	}
	for _, name := range required {
		add("missing", name, false, func(e map[string]any) { delete(e, name) })
	}
	add("instead of data", "data_base64", false, func(e map[string]any) { e["data_base64"] = "e30="; delete(e, "data") })
	add("another device", "subject", true, func(e map[string]any) { e["subject"] = "devices/00000000-0000-0000-0000-000000000000" })
	add("no time", "time", true, func(e map[string]any) { e["time"] = "0001-01-01T00:00:00Z" })
	add("after all years", "time", true, func(e map[string]any) { e["time"] = "9999-12-31T23:59:59-05:00" })
	add("before all years", "time", true, func(e map[string]any) { e["time"] = "0001-01-01T00:00:00+05:00" })

	raw, _ = example(t, "tenant.added.v1")
	add("of a tenant's event", "subject", true, func(e map[string]any) { e["subject"] = "devices/00000000-0000-0000-0000-000000000000" })
	raw, _ = example(t, "passcode.reset.issued.v1")
	in := func(e map[string]any) map[string]any { return e["data"].(map[string]any) }
	add("missing beside a passcode", "data.expiresAt", false, func(e map[string]any) { delete(in(e), "expiresAt") })
	add("no time", "data.expiresAt", true, func(e map[string]any) { in(e)["expiresAt"] = "0001-01-01T00:00:00Z" })
	return cases
}
