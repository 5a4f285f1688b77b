package graphsim

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"pinreset/shared/graph/graphschema"
)

// Sizes of a page. Microsoft's defaults differ by resource; the model has one.
const (
	defaultPage = 100
	maxPage     = 999
)

// expandable are the navigation properties that $expand may name.
var expandable = map[string][]string{
	"deviceConfiguration":                 {"assignments"},
	"deviceManagementConfigurationPolicy": {"assignments", "settings"},
	"deviceManagementIntent":              {"assignments", "settings"},
}

// hasProperty reports whether the endpoint's entity has such a property.
func (k *call) hasProperty(entity, name string) bool {
	if k.beta && graphschema.Beta().Known(entity) {
		return graphschema.Beta().Has(entity, name)
	}
	if entity == "group" && name == "members" && strings.HasSuffix(strings.TrimSuffix(k.path, "()"), "/delta") {
		return true
	}
	if entity == "directoryObject" { // a list of several types
		return slices.ContainsFunc([]string{"user", "device", "group"}, func(kind string) bool { return k.hasProperty(kind, name) })
	}
	_, ok := graphschema.V1().Property(entity, name)
	return ok
}

// expands reports whether the call asked for a navigation property.
func (k *call) expands(name string) bool {
	return slices.ContainsFunc(strings.Split(k.query.Get("$expand"), ","), func(s string) bool { return strings.TrimSpace(s) == name })
}

// selection checks $select and returns its names, nil for "everything".
func (k *call) selection(entity string) ([]string, *answer) {
	if k.query.Has("$expand") {
		for name := range strings.SplitSeq(k.query.Get("$expand"), ",") {
			if name = strings.TrimSpace(name); !slices.Contains(expandable[entity], name) {
				a := badRequest(fmt.Sprintf("Parsing OData Select and Expand failed: Could not expand '%s' of type 'microsoft.graph.%s'.", name, entity))
				return nil, &a
			}
		}
	}
	for option := range k.query {
		if strings.HasPrefix(option, "$") && !slices.Contains([]string{"$expand", "$select", "$filter", "$top", "$skiptoken", "$deltatoken", "$deltaToken", "$count"}, option) {
			a := badRequest(fmt.Sprintf("The query option '%s' is not supported by this model.", option))
			return nil, &a
		}
	}
	if !k.query.Has("$select") {
		return nil, nil
	}
	var names []string
	for name := range strings.SplitSeq(k.query.Get("$select"), ",") {
		name = strings.TrimSpace(name)
		if !k.hasProperty(entity, name) {
			a := badRequest(fmt.Sprintf("Parsing OData Select and Expand failed: Could not find a property named '%s' on type 'microsoft.graph.%s'.", name, entity))
			return nil, &a
		}
		names = append(names, name)
	}
	return names, nil
}

// project picks the named properties; those that the model has no value for
// are what the schema calls empty. Without names it returns all values that the
// model has.
func (k *call) project(entity string, values map[string]any, names []string) map[string]any {
	if _, removed := values["@removed"]; removed || names == nil {
		return values
	}
	exactly := len(values) == len(names)
	for name := range values {
		exactly = exactly && slices.Contains(names, name)
	}
	if exactly {
		return values
	}
	schema := graphschema.V1()
	picked := make(map[string]any, len(names)+1)
	for _, name := range names {
		value, ok := values[name]
		if !ok && (entity == "directoryObject" || name == "members") {
			continue // another member's property; what delta writes as members@delta
		}
		if p, known := schema.Property(entity, name); !ok && known {
			value = schema.Zero(p)
		}
		picked[name] = value
	}
	for name, value := range values {
		if name == "@odata.type" || name == "members@delta" && slices.Contains(names, "members") || k.query.Has("$expand") && k.expands(name) {
			picked[name] = value
		}
	}
	return picked
}

// one answers with a single entity.
func (k *call) one(status int, entity, context string, values map[string]any) answer {
	names, refused := k.selection(entity)
	if refused != nil {
		return *refused
	}
	picked := k.project(entity, values, names)
	body := make(map[string]any, len(picked)+1)
	for name, value := range picked {
		body[name] = value
	}
	body["@odata.context"] = k.base + "/$metadata#" + context + "/$entity"
	return answer{status: status, body: body}
}

// A page is a part of a collection.
type page struct {
	rows []map[string]any
	next string // absolute URL of the next page, "" on the last
}

// many answers with a collection. Rows are in the order of their ids.
func (k *call) many(entity, context string, rows []map[string]any, filterable ...string) answer {
	p, refused := k.page(entity, rows, filterable...)
	if refused != nil {
		return *refused
	}
	body := map[string]any{"@odata.context": k.base + "/$metadata#" + context, "value": p.rows}
	if p.next != "" {
		body["@odata.nextLink"] = p.next
	}
	return answer{status: http.StatusOK, body: body}
}

// page filters, cuts and projects rows. A skip token carries the whole query,
// so that a next link means the same whatever the caller does to it, and the id
// it stopped at, so that changes in between shift nothing.
func (k *call) page(entity string, rows []map[string]any, filterable ...string) (page, *answer) {
	after := ""
	if token := k.query.Get("$skiptoken"); token != "" {
		query, err := decodeToken(token)
		if err != nil {
			a := badRequest("The skip token is not valid.")
			return page{}, &a
		}
		after = query.Get("after")
		query.Del("after")
		k.query = query
	}
	names, refused := k.selection(entity)
	if refused != nil {
		return page{}, refused
	}
	size := defaultPage
	if top := k.query.Get("$top"); top != "" {
		n, err := strconv.Atoi(top)
		if err != nil || n < 1 || n > maxPage {
			a := badRequest(fmt.Sprintf("Invalid page size specified: '%s'. Must be between 1 and %d inclusive.", top, maxPage))
			return page{}, &a
		}
		size = n
	}
	filtered, err := parseFilter(k.query.Get("$filter"), filterable)
	if err != nil {
		a := badRequest("Invalid filter clause: " + err.Error())
		return page{}, &a
	}
	p := page{rows: []map[string]any{}}
	last := ""
	for _, row := range rows {
		id, _ := row["id"].(string)
		if id <= after || !filtered.matches(row) {
			continue
		}
		if len(p.rows) == size {
			query := url.Values{"after": {last}}
			for name, values := range k.query {
				query[name] = values
			}
			p.next = k.base + "/" + k.path + "?$skiptoken=" + encodeToken(query)
			break
		}
		last = id
		p.rows = append(p.rows, k.project(entity, row, names))
	}
	return p, nil
}

func encodeToken(query url.Values) string {
	return base64.RawURLEncoding.EncodeToString([]byte(query.Encode()))
}

func decodeToken(token string) (url.Values, error) {
	text, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return nil, err
	}
	return url.ParseQuery(string(text))
}

// A term is one comparison of a filter.
type term struct{ name, op, value string }

var termPattern = regexp.MustCompile(`^\s*(\w+)\s+(eq|ne|gt|ge|lt|le)\s+(?:'((?:[^']|'')*)'|([0-9][0-9TZ:.+-]*))\s*(and\s|or\s|$)`)

// A filter is comparisons of which all hold or, joined by or, any.
type filter struct {
	terms []term
	any   bool
}

// parseFilter understands "a eq 'x' and b eq 'y'", or with or between all of
// them, for the given names, and of those whose name ends in DateTime every
// comparison with a time.
func parseFilter(text string, names []string) (filter, error) {
	var f filter
	for text != "" {
		m := termPattern.FindStringSubmatch(text)
		if m == nil {
			return f, fmt.Errorf("only comparisons, joined by and or by or, are supported by this model")
		}
		t := term{m[1], m[2], strings.ReplaceAll(m[3], "''", "'")}
		moment := strings.HasSuffix(t.name, "DateTime")
		switch {
		case !slices.Contains(names, t.name):
			return f, fmt.Errorf("filtering on '%s' is not supported", t.name)
		case moment:
			t.value = m[4]
			if _, err := time.Parse(time.RFC3339, t.value); err != nil {
				return f, fmt.Errorf("'%s' is compared with a time: 2026-01-05T10:00:00Z", t.name)
			}
		case t.op != "eq" || m[4] != "":
			return f, fmt.Errorf("'%s' is compared with eq and a string", t.name)
		}
		if joined := strings.TrimSpace(m[5]); joined != "" {
			if len(f.terms) > 0 && f.any != (joined == "or") {
				return f, fmt.Errorf("and beside or is not supported by this model")
			}
			f.any = joined == "or"
		}
		f.terms = append(f.terms, t)
		text = text[len(m[0]):]
	}
	return f, nil
}

// matches compares strings without case, as the directory does.
func (f filter) matches(row map[string]any) bool {
	holds := func(t term) bool {
		value, _ := row[t.name].(string)
		if t.op == "eq" && !strings.HasSuffix(t.name, "DateTime") {
			return strings.EqualFold(value, t.value)
		}
		return t.holds(value)
	}
	if f.any {
		return slices.ContainsFunc(f.terms, holds)
	}
	return !slices.ContainsFunc(f.terms, func(t term) bool { return !holds(t) })
}

// holds compares times.
func (t term) holds(value string) bool {
	a, err := time.Parse(time.RFC3339, value)
	if err != nil {
		return false
	}
	b, err := time.Parse(time.RFC3339, t.value)
	if err != nil {
		return false
	}
	switch n := a.Compare(b); t.op {
	case "eq":
		return n == 0
	case "ne":
		return n != 0
	case "gt":
		return n > 0
	case "ge":
		return n >= 0
	case "lt":
		return n < 0
	default:
		return n <= 0
	}
}
