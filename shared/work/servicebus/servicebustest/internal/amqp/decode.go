package amqp

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// ErrMalformed is in the chain of every error that this package returns for bytes that are not what the standard says.
var ErrMalformed = errors.New("malformed AMQP")

// maxDepth bounds how deeply values may be nested; what clients send needs five levels or so.
const maxDepth = 32

// Decode decodes the value at the head of b and returns what follows it. Binary values share b's memory.
func Decode(b []byte) (value any, rest []byte, err error) {
	d := decoder{rest: b}
	value = d.value(0)
	if d.err != nil {
		return nil, nil, d.err
	}
	return value, d.rest, nil
}

// decoder reads values off the head of rest. After the first error it returns zero values only.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
		d.rest = nil
	}
}

func (d *decoder) take(n int) []byte {
	if n > len(d.rest) || n < 0 {
		d.fail("%d bytes wanted, %d there", n, len(d.rest))
		return nil
	}
	p := d.rest[:n:n]
	d.rest = d.rest[n:]
	return p
}

// number reads an unsigned integer of one, two, four or eight bytes.
func (d *decoder) number(size int) uint64 {
	var n uint64
	for _, b := range d.take(size) {
		n = n<<8 | uint64(b)
	}
	return n
}

// length reads a length of one or four bytes. A bogus one fails in take.
func (d *decoder) length(wide bool) int {
	if wide {
		return int(d.number(4))
	}
	return int(d.number(1))
}

func (d *decoder) value(depth int) any {
	if depth > maxDepth {
		d.fail("nested more than %d deep", maxDepth)
	}
	whole := d.rest
	code := byte(d.number(1))
	if d.err != nil {
		return nil
	}
	switch code {
	case described:
		descriptor := d.value(depth + 1)
		return Described{descriptor, d.value(depth + 1)}
	case list0:
		return List{}
	case list8, list32:
		return d.list(code == list32, depth)
	case map8, map32:
		return d.mapping(code == map32, depth)
	case array8, array32:
		return d.array(whole, code == array32)
	case decimal32, decimal64, decimal128:
		d.take(map[byte]int{decimal32: 4, decimal64: 8, decimal128: 16}[code])
		return d.raw(whole)
	}
	return d.scalar(code)
}

// raw returns the part of whole that has been read.
func (d *decoder) raw(whole []byte) Raw {
	if d.err != nil {
		return nil
	}
	n := len(whole) - len(d.rest)
	return Raw(whole[:n:n])
}

func (d *decoder) scalar(code byte) any {
	switch code {
	case null:
		return nil
	case boolTrue, boolFalse:
		return code == boolTrue
	case boolean:
		return d.number(1) == 1
	case uint0:
		return uint32(0)
	case ulong0:
		return uint64(0)
	case ubyte:
		return uint8(d.number(1))
	case byte8:
		return int8(d.number(1))
	case ushort:
		return uint16(d.number(2))
	case short:
		return int16(d.number(2))
	case smallUint:
		return uint32(d.number(1))
	case uint32c:
		return uint32(d.number(4))
	case smallInt:
		return int32(int8(d.number(1)))
	case int32c:
		return int32(d.number(4))
	case smallUlong:
		return d.number(1)
	case ulong:
		return d.number(8)
	case smallLong:
		return int64(int8(d.number(1)))
	case long:
		return int64(d.number(8))
	case float:
		return math.Float32frombits(uint32(d.number(4)))
	case double:
		return math.Float64frombits(d.number(8))
	case char:
		return Char(d.number(4))
	case timestamp:
		return time.UnixMilli(int64(d.number(8))).UTC()
	case uuid:
		var u UUID
		copy(u[:], d.take(len(u)))
		return u
	case bin8, bin32:
		return d.take(d.length(code == bin32))
	case str8, str32:
		return string(d.take(d.length(code == str32)))
	case sym8, sym32:
		return Symbol(d.take(d.length(code == sym32)))
	}
	d.fail("no type has the code %#02x", code)
	return nil
}

// compound reads size and count of a list, map or array, and returns a decoder of its contents alone. Each element of a
// list or map is a byte at least, which bounds the count.
func (d *decoder) compound(wide bool) (inner decoder, count int) {
	inner = decoder{rest: d.take(d.length(wide))}
	inner.err = d.err
	count = inner.length(wide)
	if count > len(inner.rest) {
		inner.fail("%d elements in %d bytes", count, len(inner.rest))
	}
	return inner, count
}

// done takes over the error of a compound value's decoder, which must have read all of its contents.
func (d *decoder) done(inner *decoder) {
	if len(inner.rest) > 0 {
		inner.fail("%d bytes after the last element", len(inner.rest))
	}
	if inner.err != nil {
		d.err, d.rest = inner.err, nil
	}
}

func (d *decoder) list(wide bool, depth int) any {
	inner, count := d.compound(wide)
	l := List{}
	for range count {
		if inner.err != nil {
			break
		}
		l = append(l, inner.value(depth+1))
	}
	d.done(&inner)
	return l
}

func (d *decoder) mapping(wide bool, depth int) any {
	inner, count := d.compound(wide)
	if count%2 != 0 {
		inner.fail("a map of %d keys and values", count)
	}
	m := Map{}
	for range count / 2 {
		if inner.err != nil {
			break
		}
		k := inner.value(depth + 1)
		switch k.(type) {
		case nil, []byte, List, Map, Described, Raw, []int64, []time.Time, []UUID, []string, []Symbol:
			inner.fail("a map's key of type %T", k)
		default:
			m[k] = inner.value(depth + 1)
		}
	}
	d.done(&inner)
	return m
}

// array reads an array: one constructor, then as many values without theirs.
func (d *decoder) array(whole []byte, wide bool) any {
	inner, count := d.compound(wide)
	code := byte(inner.number(1))
	switch code {
	case smallLong, long:
		return elements[int64](d, &inner, code, count)
	case timestamp:
		return elements[time.Time](d, &inner, code, count)
	case uuid:
		return elements[UUID](d, &inner, code, count)
	case str8, str32:
		return elements[string](d, &inner, code, count)
	case sym8, sym32:
		return elements[Symbol](d, &inner, code, count)
	}
	// Nothing here looks into an array of another type; its size is all that has to be right.
	inner.rest = nil
	d.done(&inner)
	return d.raw(whole)
}

func elements[T any](d, inner *decoder, code byte, count int) []T {
	s := []T{}
	for range count {
		v, ok := inner.scalar(code).(T)
		if !ok || inner.err != nil {
			break
		}
		s = append(s, v)
	}
	d.done(inner)
	return s
}
