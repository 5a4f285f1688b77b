package graphschema

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"
)

var guidPattern = regexp.MustCompile(`^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$`)

// A checker walks one body and keeps count.
type checker struct {
	schema     *Schema
	properties int // properties whose name and type were checked
	violations []string
}

func (c *checker) fail(path, format string, args ...any) {
	c.violations = append(c.violations, path+": "+fmt.Sprintf(format, args...))
}

// object checks the members of one JSON object against a type.
func (c *checker) object(path, typ string, value any) {
	members, ok := value.(map[string]any)
	if !ok {
		c.fail(path, "want an object of type %s, got %s", typ, describe(value))
		return
	}
	if name, ok := members["@odata.type"].(string); ok {
		// Microsoft's own examples write the name with and without "#".
		name = strings.TrimPrefix(strings.TrimPrefix(name, "#"), "microsoft.graph.")
		if !c.schema.derives(name, typ) {
			c.fail(path, "@odata.type %s does not derive from %s", name, typ)
			return
		}
		typ = name
	}
	if c.schema.Types[typ] == nil {
		c.fail(path, "type %s is not in the table", typ)
		return
	}
	for name, member := range members {
		if strings.Contains(name, "@") {
			continue
		}
		at := path + "." + name
		property, ok := c.schema.Property(typ, name)
		if !ok {
			target, ok := c.schema.navigation(typ, name)
			if !ok {
				c.fail(at, "%s has no such property", typ)
				continue
			}
			property = Property{Type: target, Nullable: true}
		}
		c.properties++
		c.value(at, property, member)
	}
}

// value checks one value against a property's type.
func (c *checker) value(path string, p Property, value any) {
	if value == nil {
		if !p.Nullable {
			c.fail(path, "null, but %s is never null", p.Type)
		}
		return
	}
	if element, ok := elementOf(p.Type); ok {
		items, ok := value.([]any)
		if !ok {
			c.fail(path, "want %s, got %s", p.Type, describe(value))
			return
		}
		for i, item := range items {
			c.value(fmt.Sprintf("%s[%d]", path, i), Property{Type: element}, item)
		}
		return
	}
	if members, ok := c.schema.Enums[p.Type]; ok {
		if name, ok := value.(string); !ok || !slices.Contains(members, name) {
			c.fail(path, "%s is not a member of %s", describe(value), p.Type)
		}
		return
	}
	if strings.HasPrefix(p.Type, "Edm.") {
		if !primitive(p.Type, value) {
			c.fail(path, "want %s, got %s", p.Type, describe(value))
		}
		return
	}
	c.object(path, p.Type, value)
}

// primitive reports whether value is a JSON form of the Edm type.
func primitive(typ string, value any) bool {
	text, isText := value.(string)
	number, isNumber := value.(json.Number)
	switch typ {
	case "Edm.String", "Edm.Stream", "Edm.Duration", "Edm.Date", "Edm.TimeOfDay":
		return isText
	case "Edm.Guid":
		return isText && guidPattern.MatchString(text)
	case "Edm.Boolean":
		_, ok := value.(bool)
		return ok
	case "Edm.Byte", "Edm.Int16", "Edm.Int32", "Edm.Int64":
		n, err := number.Int64()
		inRange := typ == "Edm.Int64" || n >= math.MinInt32 && n <= math.MaxInt32
		return isNumber && err == nil && inRange
	case "Edm.Double", "Edm.Single", "Edm.Decimal":
		return isNumber
	case "Edm.DateTimeOffset":
		_, err := time.Parse(time.RFC3339Nano, text)
		return isText && err == nil
	case "Edm.Binary":
		_, err := base64.StdEncoding.DecodeString(text)
		return isText && err == nil
	}
	return false
}

// describe names a JSON value by kind, and shows it only where it is short and
// says more than its kind: a body may carry a passcode.
func describe(value any) string {
	switch v := value.(type) {
	case string:
		return fmt.Sprintf("a string of %d characters", len(v))
	case map[string]any:
		return "an object"
	case []any:
		return "an array"
	}
	return fmt.Sprint(value)
}

// decode reads exactly one JSON value, keeping numbers as written.
func decode(body []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil {
		return nil, fmt.Errorf("decode body: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("decode body: more than one value")
	}
	return value, nil
}
