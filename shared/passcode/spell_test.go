package passcode

import (
	"strings"
	"testing"
)

func TestSpelled(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{
		"aZ7": "small alfa, capital zulu, digit seven", "#- ": "hash, hyphen, space", "é": "character U+00E9", "": "",
	} {
		if got := strings.Join(Spelled(code), ", "); got != want {
			t.Errorf("Spelled(%q) = %q, want %q", code, got, want)
		}
	}
	for r := rune(0x20); r < 0x7f; r++ {
		if words := Spelled(string(r)); len(words) != 1 || len(words[0]) < 2 || strings.HasPrefix(words[0], "character") {
			t.Errorf("%q is not spelled: %q", r, words)
		}
	}
}
