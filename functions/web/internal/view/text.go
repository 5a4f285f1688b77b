package view

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"slices"
	"time"
	"unicode"

	"pinreset/shared/diag"
	"pinreset/shared/fault"
	"pinreset/shared/notice"
	"pinreset/shared/passcode"
	"pinreset/shared/secret"
)

var functions = template.FuncMap{
	"asset":    AssetPath,
	"at":       at,
	"trend":    trendLine,
	"share":    share,
	"seconds":  func(s float64) string { return duration(time.Duration(s * float64(time.Second))) },
	"second":   func(t time.Time) string { return t.UTC().Format("Mon 2 Jan 15:04:05.000 UTC") },
	"machine":  func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"relative": relative,
	"times":    times,
	"quarters": quarters,
	"groups":   groups,
	"spelled":  spelled,
	"stale":    func(t, now time.Time) bool { return t.IsZero() || now.Sub(t) > staleAfter },
	"states":   stateText,
	"sending":  sendingText,
	"told":     notice.Subject,
	"millis":   func(ms float64) string { return duration(time.Duration(ms * float64(time.Millisecond))) },
	"longest":  longest,
	"text":     func(code fault.Code) string { return fault.Lookup(code).Title },
	"indented": indented,
	"cause":    func(code fault.Code) string { return fault.Lookup(code).Cause },
}

// at is an absolute time for people: with the weekday, because that is what is said on the phone.
func at(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("Mon 2 Jan 2006 15:04 UTC")
}

// relative is how far t is from now, in the two largest units.
func relative(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := t.Sub(now).Round(time.Second)
	switch {
	case d > 0:
		return "in " + duration(d)
	case d > -time.Second:
		return "now"
	default:
		return duration(-d) + " ago"
	}
}

func duration(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d >= day:
		return fmt.Sprintf("%d d %d h", d/day, d%day/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	case d >= time.Second:
		return fmt.Sprintf("%d s", d/time.Second)
	case d >= time.Millisecond || d == 0:
		return fmt.Sprintf("%d ms", d/time.Millisecond)
	default:
		return "under 1 ms"
	}
}

// times is how often something was done.
func times(n int) string {
	switch n {
	case 0:
		return "never"
	case 1:
		return "once"
	default:
		return fmt.Sprintf("%d times", n)
	}
}

// quarters is how much of the whole is done in words that change four times in all, so that they can be announced; "" below a quarter.
func quarters(done, whole int) string {
	if whole <= 0 {
		return ""
	}
	return [...]string{"", "A quarter", "Half", "Three quarters", "All"}[min(4*max(done, 0)/whole, 4)]
}

// staleAfter is how long a device was out of touch before people are told that a reset may wait for long. A device that is switched on and
// has a network calls Intune several times a day.
const staleAfter = 24 * time.Hour

// Char is one character of a code with its kind, which the page shows by shape and not by colour alone.
type Char struct {
	Text string
	Kind string // digit, upper, lower or symbol
}

// perGroup is how many characters people read out before they wait for the other side.
const perGroup = 4

// groups cuts a code in groups of characters.
func groups(code secret.Text) [][]Char {
	var all []Char
	for _, r := range code.Expose() {
		all = append(all, Char{string(r), kindOf(r)})
	}
	return slices.Collect(slices.Chunk(all, perGroup))
}

// Words is a code as it is read out in a language, in the groups that it is shown in.
type Words struct {
	Language passcode.Language
	Groups   [][]string
}

func spelled(code secret.Text, in passcode.Language) Words {
	return Words{in, slices.Collect(slices.Chunk(passcode.Spelled(code.Expose(), in), perGroup))}
}

func kindOf(r rune) string {
	switch {
	case unicode.IsDigit(r):
		return "digit"
	case unicode.IsUpper(r):
		return "upper"
	case unicode.IsLower(r):
		return "lower"
	default:
		return "symbol"
	}
}

// sendingText says the states of notifications, and why one was not sent, in a few words.
func sendingText(state any) string {
	switch s := fmt.Sprint(state); s {
	case "queued":
		return "To be sent"
	case "sent":
		return "Sent"
	case "skipped":
		return "Skipped"
	case "no_address":
		return "The device's user has no mail address"
	case "other_user":
		return "The device has another user by now"
	case "not_configured":
		return "This server sends no mail"
	case "turned_off":
		return "It was turned off meanwhile"
	default:
		return stateText(s)
	}
}

// stateText says the states of resets, consents and steps in a word or two.
func stateText(state any) string {
	switch s := fmt.Sprint(state); s {
	case "accepted":
		return "Accepted"
	case "calling":
		return "Asking Intune"
	case "waiting":
		return "Waiting"
	case "issued":
		return "Code ready"
	case "removed":
		return "Passcode removed"
	case "observed":
		return "Done in Intune"
	case "failed":
		return "Failed"
	case "cancelled":
		return "Cancelled"
	case "expired":
		return "Expired"
	case "pending":
		return "Pending"
	case "proven":
		return "Proven"
	case "notApplicable":
		return "Not applicable"
	case "unapproved":
		return "Waits for a second person"
	case "approved", "used":
		return "Approved"
	case "declined":
		return "Declined"
	case "confirmed":
		return "Confirmed"
	case "seen":
		return "Seen once"
	case "disabled":
		return "Disabled"
	case "unread":
		return "Could not be read"
	case "passed":
		return "Passed"
	case "not-applicable", "ineligible":
		return "Not applicable"
	case "ready":
		return "Ready"
	case "broken":
		return "Broken"
	case "onboarded":
		return "Consented, no policy"
	case "half-consented":
		return "Half consented"
	case "not-started":
		return "Not started"
	case "unknown":
		return "Not known"
	case "on-premises":
		return "On premises"
	case "audited":
		return "Read whole"
	case "partly":
		return "Read in part"
	case "notaudited":
		return "Could not be read"
	case "creating":
		return "Creating the policy"
	case "assigning":
		return "Assigning"
	case "watching":
		return "In place, watching devices"
	case "finding":
		return "Finding its devices"
	case "running":
		return "Under way"
	case "planned":
		return "Planned"
	case "queued":
		return "Its turn has come"
	case "throttled":
		return "Held back by Graph's limits"
	case "done":
		return "Done"
	case "skipped":
		return "Left out"
	case "completed":
		return "Completed"
	case "withdrawing":
		return "Taking it back"
	case "rolledback":
		return "Taken back"
	default:
		return s
	}
}

// indented is JSON for people to read.
func indented(raw json.RawMessage) (string, error) {
	var out bytes.Buffer
	err := json.Indent(&out, raw, "", "  ")
	return out.String(), err
}

// longest is the duration that the bars of a timeline are drawn against, in milliseconds.
func longest(timeline []diag.Attempt) float64 {
	most := 1.0
	for _, a := range timeline {
		most = max(most, a.Milliseconds)
		for _, s := range a.Steps {
			most = max(most, s.Milliseconds)
		}
	}
	return most
}
