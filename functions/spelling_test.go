package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
)

// spellings are the ways in which a text may stand in a file, a log or an answer, as what can be searched for.
func spellings(text string) map[string][]byte {
	all := map[string][]byte{
		"plain":       []byte(text),
		"hex":         []byte(hex.EncodeToString([]byte(text))),
		"HEX":         []byte(strings.ToUpper(hex.EncodeToString([]byte(text)))),
		"UTF-16 LE":   wide(text, false),
		"UTF-16 BE":   wide(text, true),
		"backwards":   backwards(text),
		"JSON \\u":    spelledOut(text, `\u%04x`),
		"URL percent": spelledOut(text, `%%%02X`),
	}
	for name, encoding := range encodings {
		for before := range 3 {
			all[fmt.Sprintf("%s, %d bytes in", name, before)] = middle(encoding, text, before)
		}
	}
	return all
}

var encodings = map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding}

// middle is what base64 makes of the text alone, wherever it stands: with so many bytes (modulo 3) before it, and less the
// characters at both ends that its neighbours have a part in.
func middle(e *base64.Encoding, text string, before int) []byte {
	encoded := e.EncodeToString(append(make([]byte, before), text...))
	first := (before*8 + 5) / 6
	last := (before + len(text)) * 8 / 6
	return []byte(encoded[first:last])
}

func wide(text string, bigEndian bool) []byte {
	var out []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		low, high := byte(unit), byte(unit>>8)
		if bigEndian {
			low, high = high, low
		}
		out = append(out, low, high)
	}
	return out
}

func backwards(text string) []byte {
	out := []byte(text)
	slices.Reverse(out)
	return out
}

func spelledOut(text, format string) []byte {
	var out []byte
	for _, c := range []byte(text) {
		out = fmt.Appendf(out, format, c)
	}
	return out
}

// found names the spellings of the text that are in data.
func found(data []byte, text string) []string {
	var names []string
	for name, spelling := range spellings(text) {
		if bytes.Contains(data, spelling) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// plants are what a careless program would leave behind, one for each spelling: the text with neighbours, encoded whole.
func plants(text string) map[string][]byte {
	whole := "the code is " + text + ", call back"
	all := map[string][]byte{
		"plain":       []byte(whole),
		"hex":         []byte(hex.EncodeToString([]byte(whole))),
		"HEX":         []byte(strings.ToUpper(hex.EncodeToString([]byte(whole)))),
		"UTF-16 LE":   wide(whole, false),
		"UTF-16 BE":   wide(whole, true),
		"backwards":   backwards(whole),
		"JSON \\u":    spelledOut(whole, `\u%04x`),
		"URL percent": spelledOut(whole, `%%%02X`),
	}
	for name, encoding := range encodings {
		for before := range 3 { // "the code is " has a length that 3 divides
			all[fmt.Sprintf("%s, %d bytes in", name, before)] = []byte(encoding.EncodeToString([]byte("xy"[:before] + whole)))
		}
	}
	return all
}

// TestSpellingsAreFound is the positive control of the search itself.
func TestSpellingsAreFound(t *testing.T) {
	t.Parallel()
	const text = "Qz7Vw3Kx9Jm5Tn1Hd"
	if a, b := slices.Sorted(maps.Keys(plants(text))), slices.Sorted(maps.Keys(spellings(text))); !slices.Equal(a, b) {
		t.Fatalf("planted %v, searched for %v", a, b)
	}
	for name, plant := range plants(text) {
		if got := found(plant, text); !slices.Contains(got, name) {
			t.Errorf("planted as %s, found as %v", name, got)
		}
		if got := found(plant, "Qz7Vw3Kx8Jm5Tn1Hd"); len(got) > 0 {
			t.Errorf("another text is found as %v", got)
		}
	}
}
