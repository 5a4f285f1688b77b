package devicereport

import (
	"encoding/binary"
	"strings"
	"unicode/utf16"
)

// Status is the text of `dsregcmd /status`, taken apart and not yet understood.
type Status struct {
	Fields []Field
	Other  []string // lines that are no field, no heading and no rule
}

// Field is one "Name : Value" of the text, under the heading it stands below ("" before the first).
type Field struct {
	Section, Name, Value string
}

// Bounds of what is kept of a text. A status has some sixty lines.
const (
	maxLines = 2000
	maxLine  = 1000 // bytes; longer lines are cut
)

// ParseStatus takes the text of `dsregcmd /status` apart. It accepts anything: lines that it does not know are kept in Other.
// Headings stand between rules ("+----+"), as "| User State |"; a field is a name, " : " and a value, the name aligned to the right.
func ParseStatus(text string) Status {
	var s Status
	section, lines := "", 0
	for line := range strings.Lines(text) {
		if lines++; lines > maxLines {
			break
		}
		line = strings.TrimSpace(line)
		if len(line) > maxLine {
			line = strings.ToValidUTF8(line[:maxLine], "")
		}
		switch {
		case line == "", strings.Trim(line, "+-=") == "":
		case len(line) > 1 && strings.HasPrefix(line, "|") && strings.HasSuffix(line, "|"):
			section = strings.TrimSpace(strings.Trim(line, "|"))
		default:
			name, value, ok := field(line)
			if !ok {
				s.Other = append(s.Other, line)
				continue
			}
			s.Fields = append(s.Fields, Field{section, name, value})
		}
	}
	return s
}

// field splits at the first " : ". A value may be empty, which leaves the colon at the line's end.
func field(line string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(line, " : ")
	if !ok {
		name, ok = strings.CutSuffix(line, " :")
	}
	name = strings.TrimSpace(name)
	return name, strings.TrimSpace(value), ok && name != ""
}

// Get returns the value of a field: of the section where it is there, else of whichever section has it first.
func (s Status) Get(section, name string) (value string, ok bool) {
	for _, f := range s.Fields {
		switch {
		case f.Name != name:
		case f.Section == section:
			return f.Value, true
		case !ok:
			value, ok = f.Value, true
		}
	}
	return value, ok
}

// Text is the content of a file as text: a byte order mark tells UTF-16, as PowerShell writes what it redirects; else it is taken
// for UTF-8, and what is none is replaced.
func Text(raw []byte) string {
	var order binary.ByteOrder
	switch {
	case len(raw) >= 2 && raw[0] == 0xff && raw[1] == 0xfe:
		order = binary.LittleEndian
	case len(raw) >= 2 && raw[0] == 0xfe && raw[1] == 0xff:
		order = binary.BigEndian
	default:
		return strings.ToValidUTF8(strings.TrimPrefix(string(raw), "\ufeff"), "\ufffd")
	}
	raw = raw[2:]
	units := make([]uint16, len(raw)/2)
	for i := range units {
		units[i] = order.Uint16(raw[2*i:])
	}
	return string(utf16.Decode(units))
}
