package gpo

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Type is a registry value's type, as it is stored.
type Type uint32

// Types that a registry policy file may hold.
const (
	String       Type = 1
	ExpandString Type = 2
	Binary       Type = 3
	DWORD        Type = 4
	BigDWORD     Type = 5
	MultiString  Type = 7
	QWORD        Type = 11
)

// Entry sets one value below HKEY_LOCAL_MACHINE.
type Entry struct {
	Key   string // path without the hive, such as SOFTWARE\Policies\Microsoft\PassportForWork
	Value string // name of the value; one that begins with "**" is an instruction to delete
	Type  Type
	Data  []byte // as it is stored; at most 65,535 bytes
}

// Number is an entry that sets a DWORD.
func Number(key, value string, n uint32) Entry {
	return Entry{Key: key, Value: value, Type: DWORD, Data: binary.LittleEndian.AppendUint32(nil, n)}
}

// Uint32 returns the number of a DWORD entry; ok is false for any other.
func (e Entry) Uint32() (n uint32, ok bool) {
	if e.Type != DWORD || len(e.Data) != 4 {
		return 0, false
	}
	return binary.LittleEndian.Uint32(e.Data), true
}

// ErrFormat is of bytes that are no registry policy file, and of entries that fit in none.
var ErrFormat = errors.New("not a registry policy file")

// maxValue is the longest name of a value and maxData the most data of one, in characters and bytes.
const (
	maxValue = 259
	maxData  = 0xffff
)

// header is the signature "PReg" and the version 1, a little-endian DWORD each.
var header = []byte{'P', 'R', 'e', 'g', 1, 0, 0, 0}

// EncodePol returns the entries as a registry policy file: the header, then for each entry
//
//	[key;value;type;size;data]
//
// in which brackets, semicolons and texts are UTF-16LE, texts end with a zero, and type and size are little-endian DWORDs.
// An entry that does not fit is an [ErrFormat].
func EncodePol(entries ...Entry) ([]byte, error) {
	out := slices.Clone(header)
	for _, e := range entries {
		if err := e.check(); err != nil {
			return nil, err
		}
		out = append(wide(append(wide(out, "["), text(e.Key)...), ";"), text(e.Value)...)
		out = binary.LittleEndian.AppendUint32(wide(out, ";"), uint32(e.Type))
		out = binary.LittleEndian.AppendUint32(wide(out, ";"), uint32(len(e.Data)))
		out = wide(append(wide(out, ";"), e.Data...), "]")
	}
	return out, nil
}

func (e Entry) check() error {
	switch {
	case !identifier(e.Key) || slices.Contains(strings.Split(e.Key, `\`), ""):
		return fmt.Errorf("key %q: %w", e.Key, ErrFormat)
	case !identifier(e.Value) || utf8.RuneCountInString(e.Value) > maxValue:
		return fmt.Errorf("value %q: %w", e.Value, ErrFormat)
	case !e.Type.known():
		return fmt.Errorf("type %d: %w", e.Type, ErrFormat)
	case len(e.Data) > maxData:
		return fmt.Errorf("%d bytes of %s: %w", len(e.Data), e.Value, ErrFormat)
	}
	return nil
}

// identifier reports whether s is printable ASCII, which is all that the file's grammar has for names.
func identifier(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r > 0x7e })
}

func (t Type) known() bool { return t >= String && t <= BigDWORD || t == MultiString || t == QWORD }

func wide(out []byte, s string) []byte {
	for _, unit := range utf16.Encode([]rune(s)) {
		out = binary.LittleEndian.AppendUint16(out, unit)
	}
	return out
}

func text(s string) []byte { return append(wide(nil, s), 0, 0) }

// ParsePol reads a registry policy file. Anything that [EncodePol] would not have written is an [ErrFormat]: a file that is read
// in part would look like one with fewer settings.
func ParsePol(raw []byte) ([]Entry, error) {
	rest, ok := bytes.CutPrefix(raw, header)
	if !ok {
		return nil, fmt.Errorf("header: %w", ErrFormat)
	}
	p := parser{rest: rest}
	var entries []Entry
	for len(p.rest) > 0 {
		at := len(raw) - len(p.rest)
		var e Entry
		p.mark("[")
		e.Key = p.text()
		p.mark(";")
		e.Value = p.text()
		p.mark(";")
		e.Type = Type(p.number())
		p.mark(";")
		size := p.number()
		p.mark(";")
		e.Data = slices.Clone(p.take(int(min(size, maxData+1))))
		p.mark("]")
		if p.failed || size > maxData {
			return nil, fmt.Errorf("entry at byte %d: %w", at, ErrFormat)
		}
		if err := e.check(); err != nil {
			return nil, fmt.Errorf("entry at byte %d: %w", at, err)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// parser takes parts off the front of rest. After a failure it takes nothing.
type parser struct {
	rest   []byte
	failed bool
}

func (p *parser) take(n int) []byte {
	if p.failed || n > len(p.rest) {
		p.failed = true
		return nil
	}
	part := p.rest[:n]
	p.rest = p.rest[n:]
	return part
}

func (p *parser) mark(s string) {
	if !bytes.Equal(p.take(2*len(s)), wide(nil, s)) {
		p.failed = true
	}
}

func (p *parser) number() uint32 {
	if part := p.take(4); part != nil {
		return binary.LittleEndian.Uint32(part)
	}
	return 0
}

func (p *parser) text() string {
	var units []uint16
	for {
		part := p.take(2)
		if part == nil {
			return ""
		}
		unit := binary.LittleEndian.Uint16(part)
		if unit == 0 {
			return string(utf16.Decode(units))
		}
		units = append(units, unit)
	}
}
