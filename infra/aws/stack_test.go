package aws

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// stack is the template with one environment's parameters.
type stack struct {
	environment string
	parameters  map[string]any // as declared
	given       map[string]any // values
	conditions  map[string]any
	globals     map[string]any
	declared    map[string]any // resources as they are written
	resources   map[string]resource
	outputs     map[string]any
	used        map[string]bool // parameters and conditions
	problems    []string
}

type resource struct {
	id, kind   string
	properties map[string]any
}

// at walks down the properties; nil where there is nothing.
func (r resource) at(path ...string) any { return at(r.properties, path...) }

func at(v any, path ...string) any {
	for _, name := range path {
		object, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = object[name]
	}
	return v
}

func list(v any) []any {
	all, _ := v.([]any)
	return all
}

func (s *stack) problem(format string, args ...any) {
	s.problems = append(s.problems, s.environment+": "+fmt.Sprintf(format, args...))
}

// pseudo are the parameters that AWS gives.
var pseudo = map[string]any{
	"AWS::AccountId": "123456789012", "AWS::Region": "eu-central-1", "AWS::Partition": "aws", "AWS::URLSuffix": "amazonaws.com", "AWS::NoValue": none{},
}

// none is the value that takes a property away.
type none struct{}

// expand makes what the template makes with the parameters.
func expand(environment, name string, template []byte, given map[string]string) *stack {
	s := &stack{environment: environment, given: map[string]any{}, resources: map[string]resource{}, used: map[string]bool{}}
	document, err := parse(template)
	if err != nil {
		s.problem("template: %v", err)
		return s
	}
	section := func(name string) map[string]any {
		v, _ := document[name].(map[string]any)
		return v
	}
	s.parameters, s.conditions, s.declared, s.globals = section("Parameters"), section("Conditions"), section("Resources"), section("Globals")
	if document["Transform"] != "AWS::Serverless-2016-10-31" {
		s.problem("the transform is %v", document["Transform"])
	}
	s.given["AWS::StackName"] = name
	s.read(given)
	for id, d := range s.declared {
		if c, conditional := at(d, "Condition").(string); conditional && !s.holds(c) {
			continue
		}
		kind, _ := at(d, "Type").(string)
		properties, _ := s.resolve(s.common(kind, at(d, "Properties"))).(map[string]any)
		s.resources[id] = resource{id, kind, properties}
	}
	s.outputs, _ = s.resolve(section("Outputs")).(map[string]any)
	return s
}

// read takes the values of an environment and holds them against what the template says of each parameter.
func (s *stack) read(given map[string]string) {
	for name := range given {
		if s.parameters[name] == nil {
			s.problem("the template has no parameter %s", name)
		}
	}
	for name, p := range s.parameters {
		value, ok := given[name]
		if !ok {
			if at(p, "Default") == nil {
				s.problem("parameter %s has no value", name)
				continue
			}
			value = fmt.Sprint(at(p, "Default"))
		}
		if at(p, "Description") == nil {
			s.problem("parameter %s is not described", name)
		}
		if pattern, ok := at(p, "AllowedPattern").(string); ok && !regexp.MustCompile("^(?:"+pattern+")$").MatchString(value) {
			s.problem("parameter %s does not take %q", name, value)
		}
		if allowed := list(at(p, "AllowedValues")); allowed != nil && !slices.ContainsFunc(allowed, func(v any) bool { return fmt.Sprint(v) == value }) {
			s.problem("parameter %s does not take %q", name, value)
		}
		s.given[name] = value
		if at(p, "Type") == "Number" {
			var n int
			if _, err := fmt.Sscan(value, &n); err != nil {
				s.problem("parameter %s is %q: %v", name, value, err)
			}
			least, bounded := at(p, "MinValue").(int)
			most, _ := at(p, "MaxValue").(int)
			if bounded && (n < least || n > most) {
				s.problem("parameter %s is %d, out of its range", name, n)
			}
			s.given[name] = n
		}
	}
}

// common puts into a function what all functions have, as SAM does: maps are joined, and the function's own wins.
func (s *stack) common(kind string, properties any) any {
	if kind != "AWS::Serverless::Function" {
		return properties
	}
	return joined(s.globals["Function"], properties)
}

func joined(all, own any) any {
	a, ok := all.(map[string]any)
	o, both := own.(map[string]any)
	if !ok || !both {
		if own == nil {
			return all
		}
		return own
	}
	result := maps.Clone(a)
	for name, v := range o {
		result[name] = joined(a[name], v)
	}
	return result
}

func (s *stack) holds(condition string) bool {
	s.used[condition] = true
	c, ok := s.conditions[condition]
	if !ok {
		s.problem("there is no condition %s", condition)
	}
	return s.resolve(c) == true
}

// resolve is the value with every intrinsic function done.
func (s *stack) resolve(v any) any {
	switch v := v.(type) {
	case []any:
		all := []any{}
		for _, item := range v {
			if r := s.resolve(item); r != (none{}) {
				all = append(all, r)
			}
		}
		return all
	case map[string]any:
		if len(v) == 1 {
			for name, argument := range v {
				if name == "Ref" || strings.HasPrefix(name, "Fn::") {
					return s.call(name, argument)
				}
			}
		}
		object := map[string]any{}
		for name, item := range v {
			if r := s.resolve(item); r != (none{}) {
				object[name] = r
			}
		}
		return object
	default:
		return v
	}
}

var hole = regexp.MustCompile(`\$\{([^}]+)\}`)

func (s *stack) call(name string, argument any) any {
	args := list(argument)
	switch {
	case name == "Ref":
		return s.ref(fmt.Sprint(argument))
	case name == "Fn::GetAtt" && len(args) == 2:
		return s.attribute(fmt.Sprint(args[0]), fmt.Sprint(args[1]))
	case name == "Fn::Sub" && args == nil:
		return hole.ReplaceAllStringFunc(fmt.Sprint(argument), func(found string) string {
			of, attribute, has := strings.Cut(found[2:len(found)-1], ".")
			if has {
				return fmt.Sprint(s.attribute(of, attribute))
			}
			return fmt.Sprint(s.ref(of))
		})
	case name == "Fn::If" && len(args) == 3:
		if s.holds(fmt.Sprint(args[0])) {
			return s.resolve(args[1])
		}
		return s.resolve(args[2])
	case name == "Fn::Equals" && len(args) == 2:
		return fmt.Sprint(s.resolve(args[0])) == fmt.Sprint(s.resolve(args[1]))
	case name == "Fn::Not" && len(args) == 1:
		return s.resolve(args[0]) == false
	}
	s.problem("%s of %v is not known here", name, argument)
	return nil
}

// there reports whether the resource is made, and what it is.
func (s *stack) there(id string) (kind string, properties any) {
	d, ok := s.declared[id]
	if !ok {
		s.problem("%s is not in the template", id)
		return "", nil
	}
	if c, conditional := at(d, "Condition").(string); conditional && !s.holds(c) {
		s.problem("%s is asked for where it is not made", id)
	}
	kind, _ = at(d, "Type").(string)
	return kind, at(d, "Properties")
}

// names are the properties that name a resource.
var names = map[string]string{
	"AWS::SQS::Queue": "QueueName", "AWS::IAM::Role": "RoleName", "AWS::Logs::LogGroup": "LogGroupName", "AWS::Serverless::Function": "FunctionName", "AWS::SNS::Topic": "TopicName",
}

func (s *stack) ref(id string) any {
	if v, ok := pseudo[id]; ok {
		return v
	}
	if v, ok := s.given[id]; ok {
		s.used[id] = true
		return v
	}
	kind, properties := s.there(id)
	name := fmt.Sprint(s.resolve(at(properties, names[kind])))
	switch kind {
	case "AWS::Logs::LogGroup", "AWS::Serverless::Function":
		return name
	case "AWS::SQS::Queue":
		return "https://sqs.eu-central-1.amazonaws.com/123456789012/" + name
	case "AWS::SNS::Topic":
		return "arn:aws:sns:eu-central-1:123456789012:" + name
	case "AWS::IAM::ManagedPolicy":
		return "arn:aws:iam::123456789012:policy/" + id
	}
	s.problem("nothing is known of %q (%s) that could be named", id, kind)
	return nil
}

// attribute returns what the template may read of a resource.
func (s *stack) attribute(id, attribute string) any {
	kind, properties := s.there(id)
	name := fmt.Sprint(s.resolve(at(properties, names[kind])))
	switch kind + "." + attribute {
	case "AWS::SQS::Queue.Arn":
		return "arn:aws:sqs:eu-central-1:123456789012:" + name
	case "AWS::SQS::Queue.QueueName":
		return name
	case "AWS::IAM::Role.Arn":
		return "arn:aws:iam::123456789012:role/" + name
	case "AWS::Logs::LogGroup.Arn":
		return "arn:aws:logs:eu-central-1:123456789012:log-group:" + name + ":*"
	case "AWS::Serverless::Function.Arn":
		return "arn:aws:lambda:eu-central-1:123456789012:function:" + name
	case "AWS::Lambda::Url.FunctionUrl":
		return "https://made.lambda-url.eu-central-1.on.aws/"
	}
	s.problem("%s of %s (%s) can't be read", attribute, id, kind)
	return nil
}

// environments expands the template in every environment of samconfig.yaml, with what an operator adds to it.
func environments(t *testing.T, change func([]byte) []byte) []*stack {
	t.Helper()
	file, err := parse(read(t, "samconfig.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	template := change(read(t, "template.yaml"))
	var all []*stack
	for _, environment := range []string{"dev", "prod"} {
		settings := at(file, environment, "deploy", "parameters")
		if fmt.Sprint(at(settings, "capabilities")) != "[CAPABILITY_NAMED_IAM]" || at(settings, "resolve_s3") != true {
			t.Fatalf("%s: %v", environment, settings)
		}
		given := map[string]string{
			"ClientId": "11111111-1111-4111-8111-111111111111", "PrivilegedClientId": "22222222-2222-4222-8222-222222222222",
			"HomeTenant": "33333333-3333-4333-8333-333333333333", "TablesUrl": "https://rows.table.core.windows.net",
			"KeyVaultKey": "https://codes.vault.azure.net/keys/wrapping",
		}
		for _, o := range list(at(settings, "parameter_overrides")) {
			name, value, _ := strings.Cut(fmt.Sprint(o), "=")
			given[name] = value
		}
		all = append(all, expand(environment, fmt.Sprint(at(settings, "stack_name")), template, given))
	}
	return all
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
