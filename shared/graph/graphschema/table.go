package graphschema

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

//go:embed table.json
var tableJSON []byte

// A Schema is the table of types, enums and operations. It is read-only and
// safe for concurrent use.
type Schema struct {
	Source     string              `json:"source"` // where and when the table was taken from
	Types      map[string]*Type    `json:"types"`
	Enums      map[string][]string `json:"enums"` // members in declared order
	Operations []Operation         `json:"operations"`
	EntitySets map[string]string   `json:"entitySets"`
	Singletons map[string]string   `json:"singletons"`
}

// A Type is an entity type or a complex type without its inherited parts.
type Type struct {
	Base       string              `json:"base,omitempty"`
	Open       bool                `json:"open,omitempty"`
	Properties map[string]Property `json:"properties"`
	Navigation map[string]string   `json:"navigation,omitempty"`
}

// An Operation is an action or function and the type it is bound to.
type Operation struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"` // "action" or "function"
	Bound   string `json:"bound"`
	Returns string `json:"returns,omitempty"`

	Parameters map[string]string `json:"parameters,omitempty"` // name → type
}

// A Property is a type name such as "Edm.String", "actionState" or
// "Collection(appRole)", and whether null is allowed. In the table a trailing
// "!" marks a property that is never null.
type Property struct {
	Type     string
	Nullable bool
}

func (p Property) MarshalText() ([]byte, error) {
	if p.Nullable {
		return []byte(p.Type), nil
	}
	return []byte(p.Type + "!"), nil
}

func (p *Property) UnmarshalText(text []byte) error {
	name, required := strings.CutSuffix(string(text), "!")
	p.Type, p.Nullable = name, !required
	return nil
}

// notInExtract are types that the CSDL has and the extract left out. The
// authentication entity is only a step on the way to a user's methods:
// GET /users/{id}/authentication/windowsHelloForBusinessMethods
// (microsoft-graph-docs-contrib, windowshelloforbusinessauthenticationmethod-list.md).
// Of domain it holds what its page names and the client may want (domain.md),
// and of directoryRole all properties that its page names (directoryrole.md).
var notInExtract = map[string]*Type{
	"authentication": {
		Base: "entity",
		Navigation: map[string]string{
			"windowsHelloForBusinessMethods": "Collection(windowsHelloForBusinessAuthenticationMethod)",
		},
	},
	"directoryRole": {
		Base: "directoryObject", Open: true,
		Properties: map[string]Property{
			"description": {"Edm.String", true}, "displayName": {"Edm.String", true}, "roleTemplateId": {"Edm.String", true},
		},
	},
	"domain": {
		Base: "entity",
		Properties: map[string]Property{
			"authenticationType": {"Edm.String", false}, "isAdminManaged": {"Edm.Boolean", false}, "isDefault": {"Edm.Boolean", false},
			"isInitial": {"Edm.Boolean", false}, "isRoot": {"Edm.Boolean", false}, "isVerified": {"Edm.Boolean", false},
			"supportedServices": {"Collection(Edm.String)", false},
		},
	},
}

// V1 returns the schema of the v1.0 endpoint.
var V1 = sync.OnceValue(func() *Schema {
	s := new(Schema)
	if err := json.Unmarshal(tableJSON, s); err != nil {
		panic(fmt.Sprintf("graphschema: table.json: %v", err))
	}
	maps.Copy(s.Types, notInExtract)
	s.EntitySets["domains"] = "domain"
	return s
})

// Property looks name up on the type and its bases.
func (s *Schema) Property(typeName, name string) (Property, bool) {
	for t := s.Types[typeName]; t != nil; t = s.Types[t.Base] {
		if p, ok := t.Properties[name]; ok {
			return p, true
		}
	}
	return Property{}, false
}

// Properties returns the names of all properties of the type, inherited ones
// included, sorted.
func (s *Schema) Properties(typeName string) []string {
	var names []string
	for t := s.Types[typeName]; t != nil; t = s.Types[t.Base] {
		names = slices.AppendSeq(names, maps.Keys(t.Properties))
	}
	slices.Sort(names)
	return names
}

// Zero returns what a service that has no value for the property answers: null
// where null is allowed, else the empty value of the type. Dates that are not
// set are 0001-01-01T00:00:00Z, as Intune writes them.
func (s *Schema) Zero(p Property) any {
	switch {
	case strings.HasPrefix(p.Type, "Collection("):
		return []any{}
	case p.Nullable:
		return nil
	case s.Enums[p.Type] != nil:
		return s.Enums[p.Type][0]
	}
	switch p.Type {
	case "Edm.Boolean":
		return false
	case "Edm.Int32", "Edm.Int64", "Edm.Double":
		return 0
	case "Edm.DateTimeOffset":
		return "0001-01-01T00:00:00Z"
	case "Edm.Guid":
		return "00000000-0000-0000-0000-000000000000"
	}
	return ""
}

// navigation looks a navigation property up on the type and its bases.
func (s *Schema) navigation(typeName, name string) (string, bool) {
	for t := s.Types[typeName]; t != nil; t = s.Types[t.Base] {
		if target, ok := t.Navigation[name]; ok {
			return target, true
		}
	}
	return "", false
}

// operation finds an operation bound to the type or to one of its bases;
// collections are bound as "Collection(type)".
func (s *Schema) operation(bound, name string) (Operation, bool) {
	element, collection := elementOf(bound)
	for t := element; t != ""; {
		want := t
		if collection {
			want = "Collection(" + t + ")"
		}
		for _, op := range s.Operations {
			if op.Name == name && op.Bound == want {
				return op, true
			}
		}
		if s.Types[t] == nil {
			break
		}
		t = s.Types[t].Base
	}
	return Operation{}, false
}

// derives reports whether typeName is base or inherits from it.
func (s *Schema) derives(typeName, base string) bool {
	for typeName != "" {
		if typeName == base {
			return true
		}
		t := s.Types[typeName]
		if t == nil {
			return false
		}
		typeName = t.Base
	}
	return false
}

// elementOf strips "Collection(…)".
func elementOf(typeName string) (element string, collection bool) {
	if inner, ok := strings.CutPrefix(typeName, "Collection("); ok {
		return strings.TrimSuffix(inner, ")"), true
	}
	return typeName, false
}
