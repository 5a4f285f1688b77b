package amqp

import "fmt"

// Descriptors of composite values inside performatives.
const (
	codeError    = 0x1d
	codeAccepted = 0x24
	codeRejected = 0x25
	codeReleased = 0x26
	codeModified = 0x27
	codeSource   = 0x28
	codeTarget   = 0x29
)

// Error is an AMQP error: what a peer is told when something is refused or ended.
type Error struct {
	Condition   Symbol
	Description string
	Info        Map
}

func (e *Error) value() any {
	if e == nil {
		return nil
	}
	l := List{e.Condition, e.Description}
	if e.Info != nil {
		l = append(l, e.Info)
	}
	return Described{uint64(codeError), l}
}

func errorOf(v any) *Error {
	code, f := open(v)
	if code != codeError {
		return nil
	}
	return &Error{Condition: get[Symbol](f, 0, ""), Description: get(f, 1, ""), Info: get[Map](f, 2, nil)}
}

// Outcomes of a delivery. Each is a delivery state.
type (
	Accepted struct{}
	Released struct{}
	Rejected struct{ Error *Error }
	Modified struct {
		DeliveryFailed    bool
		UndeliverableHere bool
		Annotations       Map
	}
)

// State returns a delivery state as the value for a [Disposition].
func State(outcome any) any {
	switch o := outcome.(type) {
	case Accepted:
		return Described{uint64(codeAccepted), List{}}
	case Released:
		return Described{uint64(codeReleased), List{}}
	case Rejected:
		return Described{uint64(codeRejected), List{o.Error.value()}}
	case Modified:
		l := List{o.DeliveryFailed, o.UndeliverableHere}
		if o.Annotations != nil {
			l = append(l, o.Annotations)
		}
		return Described{uint64(codeModified), l}
	}
	panic(fmt.Sprintf("amqp: %T is not an outcome", outcome))
}

// Outcome returns what a delivery state says, or nil when it is none of the outcomes.
func Outcome(state any) any {
	switch code, f := open(state); code {
	case codeAccepted:
		return Accepted{}
	case codeReleased:
		return Released{}
	case codeRejected:
		return Rejected{Error: errorOf(f.at(0))}
	case codeModified:
		return Modified{DeliveryFailed: get(f, 0, false), UndeliverableHere: get(f, 1, false), Annotations: get[Map](f, 2, nil)}
	}
	return nil
}

// Address returns the address of a source or target, "" when it has none.
func Address(terminus any) string {
	code, f := open(terminus)
	if code != codeSource && code != codeTarget {
		return ""
	}
	return get(f, 0, "")
}

// Filters returns a source's filters.
func Filters(source any) Map {
	code, f := open(source)
	if code != codeSource {
		return nil
	}
	return get[Map](f, 7, nil)
}

// composite reads the fields of a described list. Trailing fields may be left out, and null stands for the default.
type composite struct {
	list List
	err  error // the first field that was of another type, or was needed and not there
}

// open returns descriptor and fields of a described list; both are empty for every other value.
func open(v any) (code uint64, f *composite) {
	d, _ := v.(Described)
	list, ok := d.Value.(List)
	if !ok {
		return 0, &composite{}
	}
	code, _ = d.Descriptor.(uint64)
	return code, &composite{list: list}
}

func (c *composite) at(i int) any {
	if i < len(c.list) {
		return c.list[i]
	}
	return nil
}

func maybe[T any](c *composite, i int) *T {
	v := c.at(i)
	if v == nil {
		return nil
	}
	t, ok := v.(T)
	if !ok {
		c.fail("field %d is of type %T", i, v)
		return nil
	}
	return &t
}

func get[T any](c *composite, i int, otherwise T) T {
	if p := maybe[T](c, i); p != nil {
		return *p
	}
	return otherwise
}

func need[T any](c *composite, i int) T {
	p := maybe[T](c, i)
	if p == nil {
		c.fail("field %d is missing", i)
		p = new(T)
	}
	return *p
}

func (c *composite) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
	}
}
