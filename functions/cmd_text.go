package main

import (
	"fmt"
	"strings"
	"time"
	"unicode"
)

// clean makes text from elsewhere safe for a terminal: a device's name may try to move the cursor, to change the reading
// direction or to hide characters.
func clean(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "\\u%04x", r)
		}
	}
	return b.String()
}

// shown is a field as a person reads it: times to the second, and of a diagnostics link the id.
func (c column) shown(text string) string {
	if c.path == "diagnostics" {
		return clean(diagID(text))
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.UTC().Format(time.RFC3339)
	}
	return clean(text)
}

var tsvEscapes = strings.NewReplacer(`\`, `\\`, "\t", `\t`, "\n", `\n`, "\r", `\r`)

func escaped(s string) string { return clean(tsvEscapes.Replace(s)) }

// stamp is an absolute time with how far away it is.
func (p *process) stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("Mon 2 Jan 2006 15:04 UTC") + ", " + apart(t.Sub(p.now()))
}

// apart is a distance in time, in at most two units.
func apart(d time.Duration) string {
	text, minutes := "", int(d.Abs().Minutes())
	switch days, hours := minutes/1440, minutes/60%24; {
	case minutes == 0 && d.Abs() < time.Second:
		return "now"
	case minutes == 0:
		text = fmt.Sprintf("%d s", int(d.Abs().Seconds()))
	case days > 0:
		text = fmt.Sprintf("%d d %d h", days, hours)
	case hours > 0:
		text = fmt.Sprintf("%d h %d min", hours, minutes%60)
	default:
		text = fmt.Sprintf("%d min", minutes)
	}
	if d < 0 {
		return text + " ago"
	}
	return "in " + text
}

// quoted is the text as a shell takes it.
func quoted(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("._:-@/", r) && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) && s != "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func count(n int, noun string) string {
	switch n {
	case 0:
		return "no " + noun
	case 1:
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
