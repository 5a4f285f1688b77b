package azure

import (
	"fmt"
	"strconv"
	"strings"
)

// An expression of a template, as the page "Syntax and expressions in ARM templates" has it: calls, texts in single quotes, whole
// numbers, members and indexes.
type expression func(s *scope) any

// refusal is what an expression panics with where it can't be read or evaluated. It ends at scope.value.
type refusal struct{ error }

func refuse(format string, args ...any) { panic(refusal{fmt.Errorf(format, args...)}) }

// scope is where an expression is evaluated.
type scope struct {
	*deployment
	index   map[string]int // of copy loops, by name; "" is the resource's own
	lambdas map[string]any
}

// value expands a value of the template: texts that are expressions, and what is in objects and arrays.
func (s *scope) value(v any) (expanded any, err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case refusal:
			expanded, err = nil, p.error
		default:
			panic(p)
		}
	}()
	return s.expand(v), nil
}

func (s *scope) expand(v any) any {
	switch v := v.(type) {
	case string:
		return s.text(v)
	case []any:
		all := make([]any, len(v))
		for i, item := range v {
			all[i] = s.expand(item)
		}
		return all
	case map[string]any:
		all := map[string]any{}
		for name, member := range v {
			if name == "copy" {
				s.loops(member, all)
				continue
			}
			all[asText(s.text(name))] = s.expand(member)
		}
		return all
	}
	return v
}

// loops expands a property that is made several times.
func (s *scope) loops(member any, into map[string]any) {
	for _, l := range member.([]any) {
		loop := l.(map[string]any)
		name, items := loop["name"].(string), []any{}
		for i := range asInt(s.expand(loop["count"])) {
			inner := *s
			inner.index = map[string]int{name: i}
			items = append(items, inner.expand(loop["input"]))
		}
		into[name] = items
	}
}

func (s *scope) text(text string) any {
	inner, isExpression := strings.CutPrefix(text, "[")
	if !isExpression || strings.HasPrefix(inner, "[") {
		return text
	}
	inner, closed := strings.CutSuffix(inner, "]")
	if !closed {
		refuse("%s has no end", text)
	}
	p := &parser{rest: inner, whole: inner}
	e := p.expression()
	if p.skip(); p.rest != "" {
		refuse("%s: %q is left over", inner, p.rest)
	}
	return e(s)
}

type parser struct{ rest, whole string }

func (p *parser) skip() { p.rest = strings.TrimLeft(p.rest, " ") }

func (p *parser) take(token string) bool {
	p.skip()
	rest, ok := strings.CutPrefix(p.rest, token)
	if ok {
		p.rest = rest
	}
	return ok
}

func (p *parser) need(token string) {
	if !p.take(token) {
		refuse("%s: want %q before %q", p.whole, token, p.rest)
	}
}

// word takes letters and digits.
func (p *parser) word() string {
	n := strings.IndexFunc(p.rest, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') })
	if n < 0 {
		n = len(p.rest)
	}
	word := p.rest[:n]
	p.rest = p.rest[n:]
	return word
}

func (p *parser) expression() expression {
	p.skip()
	e := p.primary()
	for {
		switch {
		case p.take("."):
			of, name := e, p.word()
			e = func(s *scope) any { return member(of(s), name) }
		case p.take("["):
			of, at := e, p.expression()
			p.need("]")
			e = func(s *scope) any {
				items, index := asList(of(s)), asInt(at(s))
				if index >= len(items) {
					refuse("%s: index %d of %d", p.whole, index, len(items))
				}
				return items[index]
			}
		default:
			return e
		}
	}
}

func (p *parser) primary() expression {
	if strings.HasPrefix(p.rest, "'") {
		text := p.quoted()
		return func(*scope) any { return text }
	}
	word := p.word()
	if n, err := strconv.Atoi(word); err == nil {
		return func(*scope) any { return float64(n) }
	}
	if !p.take("(") {
		refuse("%s: %q is no function", p.whole, word)
	}
	var args []expression
	for !p.take(")") {
		if len(args) > 0 {
			p.need(",")
		}
		args = append(args, p.expression())
	}
	f, ok := functions[word]
	if !ok {
		refuse("%s: function %q is not one that the template may use", p.whole, word)
	}
	return func(s *scope) any { return f(s, args) }
}

// quoted takes a text in single quotes, in which two stand for one.
func (p *parser) quoted() string {
	var text strings.Builder
	p.rest = p.rest[1:]
	for {
		before, after, found := strings.Cut(p.rest, "'")
		if !found {
			refuse("%s: a text has no end", p.whole)
		}
		text.WriteString(before)
		p.rest = after
		if !strings.HasPrefix(after, "'") {
			return text.String()
		}
		text.WriteByte('\'')
		p.rest = after[1:]
	}
}

func member(of any, name string) any {
	object, ok := of.(map[string]any)
	if !ok {
		refuse("member %q of %T", name, of)
	}
	v, ok := object[name]
	if !ok {
		refuse("there is no member %q", name)
	}
	return v
}

func asText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	refuse("%v is no text", v)
	return ""
}

func asInt(v any) int {
	n, ok := v.(float64)
	if !ok || n < 0 {
		refuse("%v is no count", v)
	}
	return int(n)
}

func asList(v any) []any {
	items, ok := v.([]any)
	if !ok {
		refuse("%v is no array", v)
	}
	return items
}

func asBool(v any) bool {
	b, ok := v.(bool)
	if !ok {
		refuse("%v is neither true nor false", v)
	}
	return b
}
