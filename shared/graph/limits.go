package graph

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Family is a group of resources that share a limit.
type Family string

// The families of Microsoft's page "throttling-limits".
const (
	Identity      Family = "ID"  // service principals, grants, groups, devices of the directory, users, organization
	Devices       Family = "DEV" // managed devices and their actions
	Configuration Family = "CFG" // device configurations and their statuses
	Catalog       Family = "CAT" // settings catalog policies
	Intents       Family = "INT" // legacy intents and templates
	Auditing      Family = "AUD" // Intune audit events
	Reports       Family = "REP" // sign-in and directory audit logs
	Subscriptions Family = "SUB" // change notifications
)

// Window is a limit: at most so many within any span of time of this length. The zero value is no limit.
type Window struct {
	Limit int
	Per   time.Duration
}

// FamilyLimit is what Graph allows in one family. A write counts in both windows. In the family Identity the Any windows
// count resource units, elsewhere calls.
type FamilyLimit struct {
	Any, Write       Window // one application in one tenant
	AppAny, AppWrite Window // one application in all tenants together
}

// Limits are the limits that the client keeps.
type Limits struct {
	Global   Window // all calls of one application
	Families map[Family]FamilyLimit
}

// PublishedLimits returns Microsoft's published figures (pages "throttling-limits", "throttling-intune-*"). Those of the identity family depend on the size of the
// tenant; the figure for the smallest is used. Limits that all applications of a tenant share are not in it: what other
// applications use is not ours to know, and shows as an answer of 429.
func PublishedLimits() Limits {
	intune := func(writes, calls int) FamilyLimit {
		return FamilyLimit{Any: Window{calls, 20 * time.Second}, Write: Window{writes, 20 * time.Second}}
	}
	return Limits{
		Global: Window{130_000, 10 * time.Second},
		Families: map[Family]FamilyLimit{
			Devices:       intune(200, 2_000),
			Configuration: intune(100, 1_000),
			Catalog:       intune(100, 1_000),
			Intents:       intune(100, 1_000),
			Auditing:      intune(100, 1_000),
			Subscriptions: intune(1_000, 5_000),
			Reports:       {Any: Window{5, 10 * time.Second}},
			Identity: {
				Any:      Window{3_500, 10 * time.Second},
				Write:    Window{3_000, 150 * time.Second},
				AppAny:   Window{150_000, 20 * time.Second},
				AppWrite: Window{70_000, 5 * time.Minute},
			},
		},
	}
}

func (l Limits) clone() Limits {
	l.Families = maps.Clone(l.Families)
	return l
}

func (l Limits) validate() error {
	check := func(name string, w Window) error {
		if w.Limit < 0 || w.Per < 0 || (w.Limit == 0) != (w.Per == 0) {
			return fmt.Errorf("limit %s: %d per %s", name, w.Limit, w.Per)
		}
		return nil
	}
	if err := check("global", l.Global); err != nil {
		return err
	}
	for family, f := range l.Families {
		for name, w := range map[string]Window{"any": f.Any, "write": f.Write, "app any": f.AppAny, "app write": f.AppWrite} {
			if err := check(string(family)+" "+name, w); err != nil {
				return err
			}
		}
	}
	return nil
}

// demand is what a call, or the parts of a batch in one family, take from the limits.
type demand struct {
	family Family
	calls  int // of the global limit
	units  int // of the Any windows
	writes int // of the Write windows
}

// demandOf tells what a call costs; target is path and query without the version.
func demandOf(method, target string) demand {
	path, query, _ := strings.Cut(target, "?")
	segments := strings.Split(strings.Trim(path, "/"), "/")
	for i, s := range segments {
		s, _, _ = strings.Cut(s, "(")
		segments[i] = strings.ToLower(s)
	}
	d := demand{family: familyOf(segments), calls: 1, units: 1}
	switch {
	case method != http.MethodGet:
		d.writes = 1
	case d.family == Identity:
		d.units = unitsOf(segments, query)
	}
	return d
}

func familyOf(segments []string) Family {
	switch segments[0] {
	case "organization", "serviceprincipals", "oauth2permissiongrants", "groups", "devices", "users", "applications", "directoryobjects", "domains":
		return Identity
	case "auditlogs":
		return Reports
	case "subscriptions":
		return Subscriptions
	case "devicemanagement":
		if len(segments) == 1 {
			return ""
		}
		switch segments[1] {
		case "manageddevices":
			return Devices
		case "deviceconfigurations":
			return Configuration
		case "configurationpolicies":
			return Catalog
		case "intents", "templates":
			return Intents
		case "auditevents":
			return Auditing
		}
	}
	return ""
}

// unitsOf is the cost of a read in the identity family: the resource's base, less one for $select, less one for a small
// $top, plus one for $expand, and never below one.
func unitsOf(segments []string, query string) int {
	units := 1
	last := segments[len(segments)-1]
	switch {
	case last == "transitivemembers":
		units = 5
	case segments[0] == "groups" && last == "members":
		units = 3
	case segments[0] == "oauth2permissiongrants",
		segments[0] == "serviceprincipals" && (last == "approleassignments" || last == "oauth2permissiongrants"),
		segments[0] == "users" && (len(segments) < 3 || last == "transitivememberof" || last == "memberof"):
		units = 2
	}
	options, err := url.ParseQuery(query)
	if err != nil {
		return units
	}
	if options.Has("$select") {
		units--
	}
	if options.Has("$expand") {
		units++
	}
	if top, err := strconv.Atoi(options.Get("$top")); err == nil && top < 20 {
		units--
	}
	return max(units, 1)
}
