package passcode

import (
	"fmt"
	"strings"
)

var nato = strings.Fields("alfa bravo charlie delta echo foxtrot golf hotel india juliett kilo lima mike november oscar papa quebec romeo sierra tango uniform victor whiskey xray yankee zulu")

var digits = strings.Fields("zero one two three four five six seven eight nine")

var symbols = map[rune]string{
	' ': "space", '!': "exclamation mark", '"': "quotation mark", '#': "hash", '$': "dollar", '%': "percent", '&': "ampersand",
	'\'': "apostrophe", '(': "open parenthesis", ')': "close parenthesis", '*': "asterisk", '+': "plus", ',': "comma", '-': "hyphen",
	'.': "full stop", '/': "slash", ':': "colon", ';': "semicolon", '<': "less than", '=': "equals", '>': "greater than",
	'?': "question mark", '@': "at", '[': "open bracket", '\\': "backslash", ']': "close bracket", '^': "caret", '_': "underscore",
	'`': "grave accent", '{': "open brace", '|': "vertical bar", '}': "close brace", '~': "tilde",
}

// Spelled says each character of a code in words, to be read out on the phone: the NATO alphabet with "capital" and "small",
// digits, and symbols by name.
func Spelled(code string) []string {
	words := make([]string, 0, len(code))
	for _, r := range code {
		switch {
		case r >= 'a' && r <= 'z':
			words = append(words, "small "+nato[r-'a'])
		case r >= 'A' && r <= 'Z':
			words = append(words, "capital "+nato[r-'A'])
		case r >= '0' && r <= '9':
			words = append(words, "digit "+digits[r-'0'])
		case symbols[r] != "":
			words = append(words, symbols[r])
		default:
			words = append(words, fmt.Sprintf("character U+%04X", r))
		}
	}
	return words
}
