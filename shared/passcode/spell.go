package passcode

import (
	"fmt"
	"strings"
)

// Language is one that codes are spelled in.
type Language string

// Languages that codes are spelled in.
const (
	English Language = "en" // the NATO alphabet, with "capital" and "small"
	German  Language = "de" // the names of towns of DIN 5009, with "groß" and "klein"
)

// alphabet is how a language says characters.
type alphabet struct {
	letters, digits             []string
	upper, lower, digit, number string // said before a letter or digit; number is for what has no name
	names                       map[rune]string
}

var alphabets = map[Language]alphabet{
	English: {
		letters: strings.Fields("alfa bravo charlie delta echo foxtrot golf hotel india juliett kilo lima mike november oscar papa quebec romeo sierra tango uniform victor whiskey xray yankee zulu"),
		digits:  strings.Fields("zero one two three four five six seven eight nine"),
		upper:   "capital ", lower: "small ", digit: "digit ", number: "character",
		names: map[rune]string{
			' ': "space", '!': "exclamation mark", '"': "quotation mark", '#': "hash", '$': "dollar", '%': "percent", '&': "ampersand",
			'\'': "apostrophe", '(': "open parenthesis", ')': "close parenthesis", '*': "asterisk", '+': "plus", ',': "comma", '-': "hyphen",
			'.': "full stop", '/': "slash", ':': "colon", ';': "semicolon", '<': "less than", '=': "equals", '>': "greater than",
			'?': "question mark", '@': "at", '[': "open bracket", '\\': "backslash", ']': "close bracket", '^': "caret", '_': "underscore",
			'`': "grave accent", '{': "open brace", '|': "vertical bar", '}': "close brace", '~': "tilde",
		},
	},
	German: {
		letters: strings.Fields("Aachen Berlin Chemnitz Düsseldorf Essen Frankfurt Goslar Hamburg Ingelheim Jena Köln Leipzig München Nürnberg Offenbach Potsdam Quickborn Rostock Salzwedel Tübingen Unna Völklingen Wuppertal Xanten Ypsilon Zwickau"),
		digits:  strings.Fields("null eins zwei drei vier fünf sechs sieben acht neun"),
		upper:   "groß ", lower: "klein ", digit: "Ziffer ", number: "Zeichen",
		names: map[rune]string{
			' ': "Leerzeichen", '!': "Ausrufezeichen", '"': "Anführungszeichen", '#': "Raute", '$': "Dollar", '%': "Prozent", '&': "Und-Zeichen",
			'\'': "Apostroph", '(': "runde Klammer auf", ')': "runde Klammer zu", '*': "Stern", '+': "Plus", ',': "Komma", '-': "Bindestrich",
			'.': "Punkt", '/': "Schrägstrich", ':': "Doppelpunkt", ';': "Strichpunkt", '<': "kleiner als", '=': "Gleichheitszeichen", '>': "größer als",
			'?': "Fragezeichen", '@': "At-Zeichen", '[': "eckige Klammer auf", '\\': "umgekehrter Schrägstrich", ']': "eckige Klammer zu", '^': "Zirkumflex", '_': "Unterstrich",
			'`': "Gravis", '{': "geschweifte Klammer auf", '|': "senkrechter Strich", '}': "geschweifte Klammer zu", '~': "Tilde",
		},
	},
}

// Spelled says each character of a code in words of the language, to be read out on the phone: letters by their alphabet and with
// their case, digits, and symbols by name. It panics for a language that there is no alphabet of.
func Spelled(code string, in Language) []string {
	a, ok := alphabets[in]
	if !ok {
		panic("passcode: no alphabet of " + string(in))
	}
	words := make([]string, 0, len(code))
	for _, r := range code {
		switch {
		case r >= 'a' && r <= 'z':
			words = append(words, a.lower+a.letters[r-'a'])
		case r >= 'A' && r <= 'Z':
			words = append(words, a.upper+a.letters[r-'A'])
		case r >= '0' && r <= '9':
			words = append(words, a.digit+a.digits[r-'0'])
		case a.names[r] != "":
			words = append(words, a.names[r])
		default:
			words = append(words, fmt.Sprintf("%s U+%04X", a.number, r))
		}
	}
	return words
}
