package azure

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

// document is the template as it is written.
type document struct {
	Schema         string               `json:"$schema"`
	ContentVersion string               `json:"contentVersion"`
	Metadata       map[string]any       `json:"metadata"`
	Parameters     map[string]parameter `json:"parameters"`
	Variables      map[string]any       `json:"variables"`
	Resources      []map[string]any     `json:"resources"`
	Outputs        map[string]output    `json:"outputs"`
}

type parameter struct {
	Type      string            `json:"type"`
	Default   any               `json:"defaultValue"`
	Allowed   []any             `json:"allowedValues"`
	MinLength *int              `json:"minLength"`
	MaxLength *int              `json:"maxLength"`
	MinValue  *float64          `json:"minValue"`
	MaxValue  *float64          `json:"maxValue"`
	Metadata  map[string]string `json:"metadata"`
}

type output struct {
	Type  string `json:"type"`
	Value string `json:"value"`
}

// deployment is the template expanded with one environment's parameters.
type deployment struct {
	document
	environment string
	given       map[string]any
	usedP       map[string]bool
	usedV       map[string]bool
	resources   []resource // those whose condition holds
	declared    map[string]bool
	loops       map[string]bool // names of copy loops
	whole       bool            // all declared names are known
	values      map[string]any  // of outputs
	problems    []string
}

type resource struct {
	kind, version, name, id, scope string
	body                           map[string]any // expanded
	after                          []string
}

// at walks down what the resource is made of; nil where there is nothing.
func (r resource) at(path ...string) any {
	var v any = r.body
	for _, name := range path {
		object, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = object[name]
	}
	return v
}

func (d *deployment) problem(format string, args ...any) {
	d.problems = append(d.problems, d.environment+": "+fmt.Sprintf(format, args...))
}

// expand reads a template and its parameters, and makes everything that it would deploy.
func expand(environment string, template, parameters []byte) *deployment {
	d := &deployment{environment: environment, given: map[string]any{}, usedP: map[string]bool{}, usedV: map[string]bool{},
		declared: map[string]bool{}, loops: map[string]bool{}, values: map[string]any{}}
	if err := strictly(template, &d.document); err != nil {
		d.problem("template: %v", err)
		return d
	}
	d.read(parameters)
	everything := d.expandAll()
	d.whole, d.problems = true, nil // names are known now; what went wrong goes wrong again
	d.read(parameters)
	d.resources = slices.DeleteFunc(d.expandAll(), func(r resource) bool { return r.body["condition"] == false })
	for name, o := range d.Outputs {
		v, err := (&scope{deployment: d}).value(o.Value)
		if err != nil {
			d.problem("output %s: %v", name, err)
		}
		d.values[name] = v
	}
	if len(everything) == 0 {
		d.problem("nothing is deployed")
	}
	ids := map[string]bool{}
	for _, r := range d.resources {
		if ids[r.id] {
			d.problem("%s is there twice", r.id)
		}
		ids[r.id] = true
	}
	return d
}

func strictly(text []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	return dec.Decode(into)
}

// read takes the parameters of an environment and holds them against what the template says of each.
func (d *deployment) read(text []byte) {
	var file struct {
		Schema         string                    `json:"$schema"`
		ContentVersion string                    `json:"contentVersion"`
		Parameters     map[string]map[string]any `json:"parameters"`
	}
	if err := strictly(text, &file); err != nil {
		d.problem("parameters: %v", err)
	}
	for name, given := range file.Parameters {
		p, known := d.Parameters[name]
		if !known {
			d.problem("the template has no parameter %s", name)
			continue
		}
		d.given[name] = given["value"]
		if err := p.takes(given["value"]); err != nil {
			d.problem("parameter %s: %v", name, err)
		}
	}
	for name, p := range d.Parameters {
		if p.Metadata["description"] == "" {
			d.problem("parameter %s is not described", name)
		}
		if d.given[name] == nil && p.Default == nil {
			d.problem("parameter %s has no value", name)
		}
		if p.Default != nil {
			if err := p.takes(p.Default); err != nil {
				d.problem("default of parameter %s: %v", name, err)
			}
		}
	}
}

// takes says why the parameter can't have the value.
func (p parameter) takes(v any) error {
	size, kind := 0, ""
	switch v := v.(type) {
	case string:
		kind, size = "string", len(v)
	case float64:
		kind = "int"
		if p.MinValue != nil && v < *p.MinValue || p.MaxValue != nil && v > *p.MaxValue {
			return fmt.Errorf("%v is out of its range", v)
		}
	case bool:
		kind = "bool"
	case []any:
		kind = "array"
	case map[string]any:
		kind = "object"
	}
	switch {
	case kind != p.Type:
		return fmt.Errorf("%v is no %s", v, p.Type)
	case kind == "string" && (p.MinLength != nil && size < *p.MinLength || p.MaxLength != nil && size > *p.MaxLength):
		return fmt.Errorf("%q is %d long", v, size)
	case p.Allowed != nil && !slices.Contains(p.Allowed, v):
		return fmt.Errorf("%v is none of %v", v, p.Allowed)
	}
	return nil
}

// expandAll expands every resource, loops unrolled.
func (d *deployment) expandAll() (all []resource) {
	for i, raw := range d.Resources {
		raw := maps.Clone(raw)
		count := 1.0
		if loop, ok := raw["copy"].(map[string]any); ok {
			n, err := (&scope{deployment: d}).value(loop["count"])
			if count, ok = n.(float64); !ok {
				d.problem("resource %d: a loop of %v: %v", i, loop["count"], err)
			}
			d.loops[fmt.Sprint(loop["name"])] = true
			delete(raw, "copy")
		}
		for n := range int(count) {
			body, err := (&scope{deployment: d, index: map[string]int{"": n}}).value(raw)
			if err != nil {
				d.problem("resource %d (%v): %v", i, raw["type"], err)
				continue
			}
			all = append(all, d.made(body.(map[string]any)))
		}
	}
	return all
}

func (d *deployment) made(body map[string]any) resource {
	r := resource{body: body}
	r.kind, _ = body["type"].(string)
	r.version, _ = body["apiVersion"].(string)
	r.name, _ = body["name"].(string)
	r.scope, _ = body["scope"].(string)
	after, _ := body["dependsOn"].([]any)
	for _, a := range after {
		r.after = append(r.after, fmt.Sprint(a))
	}
	names := strings.Split(r.name, "/")
	if len(names)+1 != len(strings.Split(r.kind, "/")) {
		d.problem("%s is no name of a %s", r.name, r.kind)
		return r
	}
	if r.scope != "" {
		r.id = r.scope + "/providers/" + r.kind + "/" + r.name
	} else {
		r.id = resourceID(append([]string{r.kind}, names...))
	}
	d.declared[r.id] = true
	subnets, _ := r.at("properties", "subnets").([]any) // have ids, and are no resources of the template
	for _, subnet := range subnets {
		d.declared[r.id+"/subnets/"+fmt.Sprint(member(subnet, "name"))] = true
	}
	return r
}

// resourceID puts the names between the type's words.
func resourceID(all []string) string {
	words := strings.Split(all[0], "/")
	id := "/group/providers/" + words[0]
	for i, word := range words[1:] {
		if i+1 < len(all) {
			id += "/" + word + "/" + all[i+1]
		}
	}
	return id
}

func (d *deployment) parameter(name string) any {
	p, ok := d.Parameters[name]
	if !ok {
		refuse("there is no parameter %q", name)
	}
	d.usedP[name] = true
	if v, ok := d.given[name]; ok {
		return v
	}
	return (&scope{deployment: d}).expand(p.Default)
}

func (d *deployment) variable(name string) any {
	v, ok := d.Variables[name]
	if !ok {
		refuse("there is no variable %q", name)
	}
	d.usedV[name] = true
	return (&scope{deployment: d}).expand(v)
}

func (d *deployment) resourceID(all []string) string {
	if len(all) != len(strings.Split(all[0], "/")) {
		refuse("resourceId of a %s with %d names", all[0], len(all)-1)
	}
	id := resourceID(all)
	if d.whole && !d.declared[id] {
		refuse("%s is not in the template", id)
	}
	return id
}

// reference returns what the template may read of a resource.
func (d *deployment) reference(id string) any {
	name := id[strings.LastIndex(id, "/")+1:]
	for kind, has := range map[string]map[string]any{
		"/userAssignedIdentities/": {"clientId": "client-of-" + name, "principalId": "principal-of-" + name},
		"/storageAccounts/": {"primaryEndpoints": map[string]any{
			"blob": "https://" + name + ".blob.core.windows.net/", "table": "https://" + name + ".table.core.windows.net/"}},
		"/vaults/":     {"vaultUri": "https://" + name + ".vault.azure.net/"},
		"/components/": {"ConnectionString": "InstrumentationKey=of-" + name},
		"/sites/":      {"defaultHostName": name + ".azurewebsites.net"},
	} {
		if strings.Contains(id, kind) {
			return has
		}
	}
	refuse("nothing is known of %s that could be read", id)
	return nil
}

// environments expands the template in every environment.
func environments(t *testing.T, change func([]byte) []byte) []*deployment {
	t.Helper()
	template := change(file(t, "main.json"))
	return []*deployment{
		expand("dev", template, file(t, "dev.parameters.json")),
		expand("prod", template, file(t, "prod.parameters.json")),
	}
}

func file(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
