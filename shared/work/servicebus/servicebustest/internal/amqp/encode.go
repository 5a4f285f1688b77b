package amqp

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

var order = binary.BigEndian

// Append appends v, encoded, to b. It panics when v is of a type that the package does not list: what a server sends, it
// has made or decoded itself.
func Append(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, null)
	case Raw:
		return append(b, v...)
	case Described:
		return Append(Append(append(b, described), v.Descriptor), v.Value)
	case bool:
		if v {
			return append(b, boolTrue)
		}
		return append(b, boolFalse)
	case uint8:
		return append(b, ubyte, v)
	case int8:
		return append(b, byte8, byte(v))
	case uint16:
		return order.AppendUint16(append(b, ushort), v)
	case int16:
		return order.AppendUint16(append(b, short), uint16(v))
	case uint32:
		switch {
		case v == 0:
			return append(b, uint0)
		case v <= math.MaxUint8:
			return append(b, smallUint, byte(v))
		}
		return order.AppendUint32(append(b, uint32c), v)
	case uint64:
		switch {
		case v == 0:
			return append(b, ulong0)
		case v <= math.MaxUint8:
			return append(b, smallUlong, byte(v))
		}
		return order.AppendUint64(append(b, ulong), v)
	case int32:
		return order.AppendUint32(append(b, int32c), uint32(v))
	case int64:
		return order.AppendUint64(append(b, long), uint64(v))
	case float32:
		return order.AppendUint32(append(b, float), math.Float32bits(v))
	case float64:
		return order.AppendUint64(append(b, double), math.Float64bits(v))
	case Char:
		return order.AppendUint32(append(b, char), uint32(v))
	case time.Time:
		return order.AppendUint64(append(b, timestamp), uint64(v.UnixMilli()))
	case UUID:
		return append(append(b, uuid), v[:]...)
	case []byte:
		return append(appendLength(b, bin8, bin32, len(v)), v...)
	case string:
		return append(appendLength(b, str8, str32, len(v)), v...)
	case Symbol:
		return append(appendLength(b, sym8, sym32, len(v)), v...)
	case List:
		if len(v) == 0 {
			return append(b, list0)
		}
		b, start := openCompound(b, list32, len(v))
		for _, e := range v {
			b = Append(b, e)
		}
		return closeCompound(b, start)
	case Map:
		b, start := openCompound(b, map32, 2*len(v))
		for k, e := range v {
			b = Append(Append(b, k), e)
		}
		return closeCompound(b, start)
	case []int64:
		return appendArray(b, long, v, func(b []byte, e int64) []byte { return order.AppendUint64(b, uint64(e)) })
	case []time.Time:
		return appendArray(b, timestamp, v, func(b []byte, e time.Time) []byte { return order.AppendUint64(b, uint64(e.UnixMilli())) })
	case []UUID:
		return appendArray(b, uuid, v, func(b []byte, e UUID) []byte { return append(b, e[:]...) })
	case []string:
		return appendArray(b, str32, v, func(b []byte, e string) []byte { return append(order.AppendUint32(b, uint32(len(e))), e...) })
	case []Symbol:
		return appendArray(b, sym32, v, func(b []byte, e Symbol) []byte { return append(order.AppendUint32(b, uint32(len(e))), e...) })
	}
	panic(fmt.Sprintf("amqp: no encoding for a value of type %T", v))
}

func appendLength(b []byte, short, long byte, n int) []byte {
	if n <= math.MaxUint8 {
		return append(b, short, byte(n))
	}
	return order.AppendUint32(append(b, long), uint32(n))
}

// openCompound begins a list or map of n values whose size is filled in by closeCompound.
func openCompound(b []byte, code byte, n int) ([]byte, int) {
	b = append(b, code, 0, 0, 0, 0)
	return order.AppendUint32(b, uint32(n)), len(b)
}

func closeCompound(b []byte, start int) []byte {
	order.PutUint32(b[start-4:], uint32(len(b)-start))
	return b
}

func appendArray[T any](b []byte, code byte, elements []T, one func([]byte, T) []byte) []byte {
	b, start := openCompound(b, array32, len(elements))
	b = append(b, code)
	for _, e := range elements {
		b = one(b, e)
	}
	return closeCompound(b, start)
}
