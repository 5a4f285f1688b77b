package graphschema

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// A resource is what a path names: its type, and the operation if the path
// ends in one.
type resource struct {
	typ       string // "servicePrincipal", "Collection(servicePrincipal)"; "" when nothing is returned
	operation *Operation
	batch     bool
}

// resolve walks a path relative to the version: "/servicePrincipals/{id}/appRoleAssignments".
func (s *Schema) resolve(path string) (resource, error) {
	segments := split(path)
	if len(segments) == 0 {
		return resource{}, fmt.Errorf("the path is empty")
	}
	if segments[0] == "$batch" && len(segments) == 1 {
		return resource{batch: true}, nil
	}
	var typ string
	if t, ok := s.EntitySets[segments[0]]; ok {
		typ = "Collection(" + t + ")"
	} else if t, ok := s.Singletons[segments[0]]; ok {
		typ = t
	} else {
		return resource{}, fmt.Errorf("segment %q: no such entity set or singleton", segments[0])
	}
	for i, segment := range segments[1:] {
		last := i == len(segments)-2
		name := strings.TrimSuffix(strings.TrimPrefix(segment, "microsoft.graph."), "()")
		if op, ok := s.operation(typ, name); ok {
			if !last {
				return resource{}, fmt.Errorf("segment %q: nothing may follow an operation", segment)
			}
			return resource{typ: op.Returns, operation: &op}, nil
		}
		element, collection := elementOf(typ)
		if collection {
			if err := s.checkKey(element, segment); err != nil {
				return resource{}, err
			}
			typ = element
			continue
		}
		if target, ok := s.navigation(element, segment); ok {
			typ = target
			continue
		}
		if p, ok := s.Property(element, segment); ok {
			typ = p.Type
			continue
		}
		return resource{}, fmt.Errorf("segment %q: %s has no such property, navigation or operation", segment, element)
	}
	return resource{typ: typ}, nil
}

// checkKey checks a key segment: a bare id, or an alternate key (name='value').
func (s *Schema) checkKey(typ, segment string) error {
	inner, ok := strings.CutPrefix(segment, "(")
	if !ok {
		if strings.HasPrefix(segment, "$") {
			return fmt.Errorf("segment %q: not known for a collection of %s", segment, typ)
		}
		return nil
	}
	name, value, named := strings.Cut(strings.TrimSuffix(inner, ")"), "=")
	if !named {
		value = name
	} else if _, ok := s.Property(typ, name); !ok {
		return fmt.Errorf("key %q: %s has no such property", name, typ)
	}
	if len(value) < 2 || value[0] != '\'' || value[len(value)-1] != '\'' {
		return fmt.Errorf("key %q: the value is not in single quotes", segment)
	}
	return nil
}

// split cuts a path into segments; "x(appId='v')" becomes "x" and "(appId='v')".
func split(path string) []string {
	var segments []string
	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if part == "" {
			continue
		}
		if i := strings.IndexByte(part, '('); i > 0 && !strings.HasSuffix(part, "()") {
			segments = append(segments, part[:i], part[i:])
			continue
		}
		segments = append(segments, part)
	}
	return segments
}

// checkQuery checks the names used by the system query options. It returns how
// many names it looked at.
func (s *Schema) checkQuery(typ string, query url.Values) (int, []string) {
	element, _ := elementOf(typ)
	checked := 0
	var wrong []string
	for option, values := range query {
		known := []string{"$select", "$expand", "$filter", "$top", "$skip", "$skiptoken", "$count", "$orderby", "$search", "$deltatoken", "$format"}
		if !strings.HasPrefix(option, "$") {
			continue
		}
		if !slices.Contains(known, strings.ToLower(option)) {
			wrong = append(wrong, fmt.Sprintf("query option %q does not exist", option))
			continue
		}
		for _, value := range values {
			for _, name := range queryNames(strings.ToLower(option), value) {
				checked++
				if s.selectable(element, name) {
					continue
				}
				if _, ok := s.navigation(element, name); ok {
					continue
				}
				wrong = append(wrong, fmt.Sprintf("%s: %s has no property %q", option, element, name))
			}
		}
	}
	return checked, wrong
}

// selectable reports whether the type has the property. A list of directory
// objects may be asked for what any kind of them has.
func (s *Schema) selectable(typ, name string) bool {
	if _, ok := s.Property(typ, name); ok || typ != "directoryObject" {
		return ok
	}
	return slices.ContainsFunc([]string{"user", "device", "group", "servicePrincipal"}, func(kind string) bool {
		_, ok := s.Property(kind, name)
		return ok
	})
}

// queryNames lists the property names in a query option's value. Of $filter it
// understands comparisons joined by "and" and "or", the part the client uses.
func queryNames(option, value string) []string {
	var names []string
	switch option {
	case "$select", "$expand", "$orderby":
		for item := range strings.SplitSeq(value, ",") {
			name, _, _ := strings.Cut(strings.TrimSpace(item), " ")
			name, _, _ = strings.Cut(name, "(")
			if name != "" {
				names = append(names, name)
			}
		}
	case "$filter":
		fields := strings.Fields(unquote(value))
		for i, field := range fields {
			if slices.Contains([]string{"eq", "ne", "gt", "ge", "lt", "le"}, field) && i > 0 {
				names = append(names, strings.Trim(fields[i-1], "()"))
			}
		}
	}
	return names
}

// unquote blanks string literals, so that their words are not taken for names.
func unquote(filter string) string {
	var out strings.Builder
	quoted := false
	for _, r := range filter {
		if r == '\'' {
			quoted = !quoted
		}
		if quoted {
			r = '_'
		}
		out.WriteRune(r)
	}
	return out.String()
}
