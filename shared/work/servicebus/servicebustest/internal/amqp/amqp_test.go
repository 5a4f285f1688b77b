package amqp

import (
	"bytes"
	"errors"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestWire compares encodings with bytes written down by hand from part 1 of the standard.
func TestWire(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		value any
		wire  string
	}{
		{nil, "\x40"},
		{true, "\x41"},
		{false, "\x42"},
		{uint8(7), "\x50\x07"},
		{int8(-1), "\x51\xff"},
		{uint16(258), "\x60\x01\x02"},
		{int16(-2), "\x61\xff\xfe"},
		{uint32(0), "\x43"},
		{uint32(255), "\x52\xff"},
		{uint32(256), "\x70\x00\x00\x01\x00"},
		{int32(-1), "\x71\xff\xff\xff\xff"},
		{uint64(0), "\x44"},
		{uint64(0x10), "\x53\x10"},
		{uint64(1 << 32), "\x80\x00\x00\x00\x01\x00\x00\x00\x00"},
		{int64(1), "\x81\x00\x00\x00\x00\x00\x00\x00\x01"},
		{float32(1), "\x72\x3f\x80\x00\x00"},
		{float64(-2), "\x82\xc0\x00\x00\x00\x00\x00\x00\x00"},
		{Char('€'), "\x73\x00\x00\x20\xac"},
		{time.UnixMilli(1).UTC(), "\x83\x00\x00\x00\x00\x00\x00\x00\x01"},
		{UUID{0: 1, 15: 2}, "\x98\x01" + strings.Repeat("\x00", 14) + "\x02"},
		{[]byte{1, 2}, "\xa0\x02\x01\x02"},
		{"é", "\xa1\x02\xc3\xa9"},
		{Symbol("a"), "\xa3\x01a"},
		{strings.Repeat("x", 256), "\xb1\x00\x00\x01\x00" + strings.Repeat("x", 256)},
		{List{}, "\x45"},
		{List{true, uint32(0)}, "\xd0\x00\x00\x00\x06\x00\x00\x00\x02\x41\x43"},
		{Map{"a": true}, "\xd1\x00\x00\x00\x08\x00\x00\x00\x02\xa1\x01a\x41"},
		{[]int64{-1}, "\xf0\x00\x00\x00\x0d\x00\x00\x00\x01\x81\xff\xff\xff\xff\xff\xff\xff\xff"},
		{[]Symbol{"a", "b"}, "\xf0\x00\x00\x00\x0f\x00\x00\x00\x02\xb3\x00\x00\x00\x01a\x00\x00\x00\x01b"},
		{[]UUID{}, "\xf0\x00\x00\x00\x05\x00\x00\x00\x00\x98"},
		{Described{uint64(0x24), List{}}, "\x00\x53\x24\x45"},
		{Raw("\x74\x01\x02\x03\x04"), "\x74\x01\x02\x03\x04"},
		{Raw("\xe0\x04\x02\x50\x01\x02"), "\xe0\x04\x02\x50\x01\x02"}, // an array of ubyte, which nothing here looks into
	} {
		if got := Append(nil, c.value); string(got) != c.wire {
			t.Errorf("%T %v is encoded as %x, want %x", c.value, c.value, got, c.wire)
		}
		got, rest, err := Decode([]byte(c.wire + "rest"))
		if err != nil || string(rest) != "rest" || !reflect.DeepEqual(got, c.value) {
			t.Errorf("%x is %T %v, %v, and %q follows; want %T %v", c.wire, got, got, err, rest, c.value, c.value)
		}
	}
	// Encodings that are read but never written.
	for wire, want := range map[string]any{
		"\x56\x01":                             true,
		"\x54\xff":                             int32(-1),
		"\x55\x80":                             int64(-128),
		"\xc0\x03\x02\x41\x42":                 List{true, false},
		"\xc1\x05\x02\xa1\x01a\x41":            Map{"a": true},
		"\xe0\x04\x02\x55\x01\xff":             []int64{1, -1},
		"\xe0\x06\x02\xa1\x01a\x01b":           []string{"a", "b"},
		"\xb0\x00\x00\x00\x01\x09":             []byte{9},
		"\xd0\x00\x00\x00\x04\x00\x00\x00\x00": List{},
	} {
		if got, _, err := Decode([]byte(wire)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%x is %v, %v; want %v", wire, got, err, want)
		}
	}
}

func TestMalformed(t *testing.T) {
	t.Parallel()
	for name, wire := range map[string]string{
		"nothing":                    "",
		"an unknown type":            "\x46",
		"a short integer":            "\x70\x00",
		"a short string":             "\xa1\x05ab",
		"a string of 4 GiB":          "\xb1\xff\xff\xff\xffab",
		"a list of 4 G":              "\xd0\x00\x00\x00\x04\xff\xff\xff\xff",
		"a list without a count":     "\xc0\x00",
		"more than the list's count": "\xc0\x03\x01\x41\x41",
		"less than the list's count": "\xc0\x02\x02\x41",
		"a key without a value":      "\xc1\x02\x01\x41",
		"a key that is a list":       "\xc1\x03\x02\x45\x41",
		"a key that is null":         "\xc1\x03\x02\x40\x41",
		"a key that is an array":     "\xc1\x06\x02\xe0\x02\x00\x81\x41",
		"an array without a type":    "\xe0\x01\x00",
		"an array of 4 G nulls":      "\xf0\x00\x00\x00\x05\xff\xff\xff\xff\x40",
		"descriptors without end":    strings.Repeat("\x00", 100_000),
		"lists without end":          strings.Repeat("\xc0\xff\x01", 100),
	} {
		if v, _, err := Decode([]byte(wire)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, %v", name, v, err)
		}
	}
}

func TestPerformatives(t *testing.T) {
	t.Parallel()
	n, channel := uint32(9), uint16(3)
	failure := &Error{Condition: "amqp:not-found", Description: "gone", Info: Map{Symbol("k"): "v"}}
	for _, p := range []Performative{
		Open{ContainerID: "c", MaxFrameSize: 512, ChannelMax: 7, IdleTimeout: 30_000},
		Open{ContainerID: "c", MaxFrameSize: math.MaxUint32, ChannelMax: math.MaxUint16},
		Begin{NextOutgoingID: 1, IncomingWindow: 2, OutgoingWindow: 3, HandleMax: 4},
		Begin{RemoteChannel: &channel, HandleMax: math.MaxUint32},
		Attach{Name: "l", Handle: 1, Role: RoleReceiver, SenderSettleMode: uint8(2), ReceiverSettleMode: uint8(1),
			Source: Described{uint64(codeSource), List{"q"}}, Target: Described{uint64(codeTarget), List{"me"}}, Properties: Map{Symbol("a"): uint32(1)}},
		Attach{Name: "l", InitialDeliveryCount: &n, MaxMessageSize: 1 << 18},
		Flow{NextIncomingID: uint32(4), IncomingWindow: 1, NextOutgoingID: 2, OutgoingWindow: 3, Handle: &n, DeliveryCount: 5, LinkCredit: 6, Drain: true},
		Flow{Echo: true},
		Transfer{Handle: 1, DeliveryID: &n, DeliveryTag: []byte("tag"), MessageFormat: FormatBatch, Settled: true, More: true},
		Transfer{Handle: 1, Aborted: true},
		Disposition{Role: RoleReceiver, First: 1, Last: 3, Settled: true, State: State(Accepted{})},
		Detach{Handle: 1, Closed: true, Error: failure},
		End{}, End{failure}, Close{}, Close{failure},
		SASLMechanisms{[]Symbol{"ANONYMOUS"}}, SASLInit{"ANONYMOUS"}, SASLOutcome{1},
	} {
		f, err := ReadFrame(bytes.NewReader(AppendFrame(nil, FrameAMQP, 5, p, []byte("payload"))), 1<<16)
		if err != nil || f.Channel != 5 || f.Type != FrameAMQP {
			t.Fatalf("%T: frame %+v, %v", p, f, err)
		}
		got, payload, err := DecodePerformative(f.Body)
		if err != nil || !reflect.DeepEqual(got, p) || string(payload) != "payload" {
			t.Errorf("%+v comes back as %+v with %q, %v", p, got, payload, err)
		}
	}
	for _, o := range []any{Accepted{}, Released{}, Rejected{}, Rejected{failure}, Modified{DeliveryFailed: true}, Modified{UndeliverableHere: true, Annotations: Map{"a": int32(1)}}} {
		v, _, err := Decode(Append(nil, State(o)))
		if got := Outcome(v); err != nil || !reflect.DeepEqual(got, o) {
			t.Errorf("%+v comes back as %+v, %v", o, got, err)
		}
	}
	if got := Outcome(Described{uint64(0x23), List{}}); got != nil { // received, which is no outcome
		t.Errorf("outcome %+v", got)
	}
}

func TestPerformativesMalformed(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]any{
		"not described":       List{},
		"unknown":             Described{uint64(0x99), List{}},
		"a field is missing":  Described{uint64(codeAttach), List{"name"}},
		"a field of its own":  Described{uint64(codeFlow), List{"x", uint32(1), uint32(1), uint32(1)}},
		"a settle mode":       Described{uint64(codeAttach), List{"l", uint32(1), true, "mixed"}},
		"a map in its place":  Described{uint64(codeTransfer), Map{}},
		"a descriptor's name": Described{Symbol("amqp:open:list"), List{"c"}},
	} {
		if p, _, err := DecodePerformative(Append(nil, v)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

func TestFrames(t *testing.T) {
	t.Parallel()
	f, err := ReadFrame(strings.NewReader("\x00\x00\x00\x0d\x03\x01\x00\x07skipX"), 100)
	if err != nil || f.Type != FrameSASL || f.Channel != 7 || string(f.Body) != "X" { // an extended header is skipped
		t.Errorf("%+v, %v", f, err)
	}
	if f, err := ReadFrame(bytes.NewReader(AppendFrame(nil, FrameAMQP, 0, nil, nil)), 100); err != nil || len(f.Body) != 0 {
		t.Errorf("a sign of life: %+v, %v", f, err)
	}
	if _, err := ReadFrame(strings.NewReader(""), 100); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	if _, err := ReadFrame(strings.NewReader("\x00\x00\x00\x65\x02\x00\x00\x00"), 100); !errors.Is(err, ErrMalformed) {
		t.Errorf("over the limit: %v", err)
	}
	if _, err := ReadProtocolHeader(bytes.NewReader(ProtocolHeader(ProtocolSASL))); err != nil {
		t.Error(err)
	}
}

// TestMessageIsKept: what a broker does not understand it hands on as it came.
func TestMessageIsKept(t *testing.T) {
	t.Parallel()
	var wire []byte
	wire = appendSection(wire, sectionHeader, List{true, uint8(9), uint32(5000), nil, uint32(2)})
	wire = appendSection(wire, sectionDeliveryAnnotations, Map{Symbol("d"): "x"})
	wire = appendSection(wire, sectionMessageAnnotations, Map{Symbol("m"): int64(1)})
	properties := appendSection(nil, sectionProperties, List{"id", []byte("user"), "to", "subject", "reply", UUID{1}, Symbol("text/plain"), nil, nil, nil, "group"})
	body := appendSection(appendSection(nil, sectionData, []byte("one")), sectionData, []byte("two"))
	body = appendSection(body, sectionFooter, Map{Symbol("crc"): uint32(7)})
	wire = append(wire, properties...)
	wire = appendSection(wire, sectionApplication, Map{"a": Raw("\x84\x00\x00\x00\x00\x00\x00\x00\x01")})
	wire = append(wire, body...)
	m, err := DecodeMessage(wire)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Header{Durable: true, Priority: 9, TTL: 5000, DeliveryCount: 2}); m.Header != want {
		t.Errorf("header %+v", m.Header)
	}
	if want := (Properties{MessageID: "id", ReplyTo: "reply", CorrelationID: UUID{1}, GroupID: "group"}); m.Properties != want {
		t.Errorf("properties %+v", m.Properties)
	}
	out := m.Append(nil)
	if !bytes.Equal(out, wire) {
		t.Errorf("out %x\nin  %x", out, wire)
	}
}

func TestGUID(t *testing.T) {
	t.Parallel()
	u := UUID{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}
	if got := u.String(); got != "00112233-4455-6677-8899-aabbccddeeff" {
		t.Error(got)
	}
	if got, want := u.GUID(), []byte{0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}; !bytes.Equal(got, want) {
		t.Errorf("%x", got)
	}
	a, b := NewUUID(), NewUUID()
	if a == b || a[6]>>4 != 4 || a[8]>>6 != 2 {
		t.Errorf("%v, %v", a, b)
	}
}
