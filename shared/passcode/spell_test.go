package passcode

import (
	"strings"
	"testing"
)

func TestSpelled(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code string
		in   Language
		want string
	}{
		{"aZ7", English, "small alfa, capital zulu, digit seven"}, {"#- ", English, "hash, hyphen, space"}, {"é", English, "character U+00E9"}, {"", English, ""},
		{"aZ7", German, "klein Aachen, groß Zwickau, Ziffer sieben"}, {"#- ", German, "Raute, Bindestrich, Leerzeichen"}, {"é", German, "Zeichen U+00E9"},
	} {
		if got := strings.Join(Spelled(c.code, c.in), ", "); got != c.want {
			t.Errorf("Spelled(%q, %s) = %q, want %q", c.code, c.in, got, c.want)
		}
	}
	for in, a := range alphabets {
		if len(a.letters) != 26 || len(a.digits) != 10 {
			t.Errorf("%s has %d letters and %d digits", in, len(a.letters), len(a.digits))
		}
		said := map[string]rune{}
		for r := rune(0x20); r < 0x7f; r++ {
			words := Spelled(string(r), in)
			if len(words) != 1 || len(words[0]) < 2 || strings.HasPrefix(words[0], a.number) {
				t.Errorf("%s: %q is not spelled: %q", in, r, words)
				continue
			}
			if other, twice := said[words[0]]; twice {
				t.Errorf("%s: %q and %q are both %q", in, other, r, words[0])
			}
			said[words[0]] = r
			if initial := strings.ToLower(words[0][strings.LastIndex(words[0], " ")+1:])[0]; r >= 'a' && r <= 'z' && rune(initial) != r {
				t.Errorf("%s: %q begins with another letter: %q", in, r, words[0])
			}
		}
	}
}
