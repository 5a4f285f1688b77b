package amqp

import (
	"crypto/rand"
	"encoding/hex"
)

// The AMQP types without a Go type of their own. The others are bool, the sized integers, float32, float64, time.Time
// (a timestamp, in milliseconds), []byte (binary) and string; null is nil. Arrays of long, timestamp, uuid, string and
// symbol are []int64, []time.Time, []UUID, []string and []Symbol.
type (
	Symbol string      // a name from a fixed vocabulary, ASCII
	Char   rune        // one Unicode character
	UUID   [16]byte    // in the order of RFC 9562
	List   []any       // values of any type
	Map    map[any]any // keys are scalars
	Raw    []byte      // a whole encoded value that this package does not interpret: decimals, arrays of other types
)

// Described is a value with a descriptor, which says how to read it.
type Described struct {
	Descriptor any // uint64 for everything that the standard describes
	Value      any
}

// NewUUID returns a random identifier (version 4).
func NewUUID() UUID {
	var u UUID
	_, _ = rand.Read(u[:]) // never fails
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return u
}

func (u UUID) String() string {
	s := hex.EncodeToString(u[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// GUID returns u in the byte order of a .NET Guid: the first three groups are little endian. Delivery tags of Service Bus
// are lock tokens in that order.
func (u UUID) GUID() []byte {
	return []byte{u[3], u[2], u[1], u[0], u[5], u[4], u[7], u[6], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]}
}

// Codes of the types on the wire that encoder and decoder share.
const (
	described  = 0x00
	null       = 0x40
	boolTrue   = 0x41
	boolFalse  = 0x42
	uint0      = 0x43
	ulong0     = 0x44
	list0      = 0x45
	ubyte      = 0x50
	byte8      = 0x51
	smallUint  = 0x52
	smallUlong = 0x53
	smallInt   = 0x54
	smallLong  = 0x55
	boolean    = 0x56
	ushort     = 0x60
	short      = 0x61
	uint32c    = 0x70
	int32c     = 0x71
	float      = 0x72
	char       = 0x73
	decimal32  = 0x74
	ulong      = 0x80
	long       = 0x81
	double     = 0x82
	timestamp  = 0x83
	decimal64  = 0x84
	decimal128 = 0x94
	uuid       = 0x98
	bin8       = 0xa0
	bin32      = 0xb0
	str8       = 0xa1
	str32      = 0xb1
	sym8       = 0xa3
	sym32      = 0xb3
	list8      = 0xc0
	list32     = 0xd0
	map8       = 0xc1
	map32      = 0xd1
	array8     = 0xe0
	array32    = 0xf0
)
