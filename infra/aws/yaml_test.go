package aws

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// parse reads YAML as CloudFormation does: a tag is an intrinsic function, and becomes the mapping that it is short for. Anchors,
// which CloudFormation does not know, and keys that are there twice are refused.
func parse(text []byte) (map[string]any, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, err
	}
	if len(document.Content) != 1 {
		return nil, errors.New("it is no document")
	}
	v, err := plain(document.Content[0])
	if err != nil {
		return nil, err
	}
	top, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("it is no mapping")
	}
	return top, nil
}

// plain is the node without YAML: maps, lists, strings, numbers and truths.
func plain(n *yaml.Node) (any, error) {
	if n.Anchor != "" || n.Kind == yaml.AliasNode {
		return nil, fmt.Errorf("line %d: CloudFormation knows no anchors", n.Line)
	}
	var (
		v   any
		err error
	)
	switch n.Kind {
	case yaml.MappingNode:
		object := map[string]any{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			name := n.Content[i].Value
			if _, twice := object[name]; twice {
				return nil, fmt.Errorf("line %d: %s is there twice", n.Content[i].Line, name)
			}
			if object[name], err = plain(n.Content[i+1]); err != nil {
				return nil, err
			}
		}
		v = object
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			if list[i], err = plain(item); err != nil {
				return nil, err
			}
		}
		v = list
	default:
		v = n.Value
		if n.Tag == "!!int" || n.Tag == "!!float" || n.Tag == "!!bool" {
			if err := n.Decode(&v); err != nil {
				return nil, err
			}
		}
	}
	short, tagged := strings.CutPrefix(n.Tag, "!")
	switch {
	case !tagged || strings.HasPrefix(short, "!"):
		return v, nil
	case short == "Ref" || short == "Condition":
		return map[string]any{short: v}, nil
	case short == "GetAtt":
		name, attribute, _ := strings.Cut(fmt.Sprint(v), ".")
		return map[string]any{"Fn::GetAtt": []any{name, attribute}}, nil
	default:
		return map[string]any{"Fn::" + short: v}, nil
	}
}
