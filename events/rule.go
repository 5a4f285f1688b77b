package events

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// Bounds of free text and lists in payloads, in characters and entries. The schemas repeat them; a test compares the two.
const (
	MaxReason    = 500 // why somebody did something
	MaxTicket    = 64  // the ticket of another system
	MaxActorName = 200 // an actor's name
	MaxDetail    = 500 // what was found

	maxList = 10   // fixes and links of a failure
	maxFix  = 500  // one fix
	maxName = 64   // settings named by one event
	maxPage = 1000 // a place in a list of rows

	maxGroups = 200 // groups of one rollout, included or excluded
)

var (
	guidPattern  = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)
	idPattern    = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,64}$`)
	tracePattern = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

	// A page of pinreset, by path or by address. The path's second character keeps out "//host", which is a link to
	// another host.
	//
	// Both are made at their first use: so large a count takes a while, which every start of the program would pay.
	pagePattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(https?://|/[0-9A-Za-z])[!-~]{1,500}$`) })
	linkPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^https://[!-~]{1,500}$`) })
)

const (
	idProblem     = "must be 1 to 64 letters, digits, '.', '_', ':' or '-'"
	sourceProblem = "must be /tenants/{tenant id}, a GUID"
)

// IsGUID reports whether s is a GUID in its 36-character form.
func IsGUID(s string) bool { return guidPattern.MatchString(s) }

// isLowerGUID is the form in which ids are compared and stored: one device has one key.
func isLowerGUID(s string) bool { return IsGUID(s) && s == strings.ToLower(s) }

// check returns the first problem.
func check(problems ...error) error {
	for _, p := range problems {
		if p != nil {
			return p
		}
	}
	return nil
}

func id(field, value string) error {
	if !idPattern.MatchString(value) {
		return &FieldError{field, idProblem}
	}
	return nil
}

func guid(field, value string) error {
	if !isLowerGUID(value) {
		return &FieldError{field, "must be a GUID in lower case"}
	}
	return nil
}

// CheckText is the rule of free text by a person: at most longest characters, printable, one line. Its error is a
// *[FieldError]. What is recorded of a person beside events obeys it too.
func CheckText(field, value string, longest int, required bool) error {
	switch {
	case required && strings.TrimSpace(value) == "":
		return &FieldError{field, "is missing"}
	case !utf8.ValidString(value) || utf8.RuneCountInString(value) > longest:
		return &FieldError{field, fmt.Sprintf("must be text of at most %d characters", longest)}
	case strings.ContainsFunc(value, unprintable):
		return &FieldError{field, "has a control or direction-changing character"}
	}
	return nil
}

// unprintable reports control characters, line separators, and characters that change what a reader sees without being
// seen: zero-width, direction-changing, and tag characters.
func unprintable(r rune) bool {
	switch {
	case r < 0x20, r >= 0x7f && r <= 0x9f:
	case r == 0xad, r == 0x61c, r == 0x180e, r == 0xfeff:
	case r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f:
	case r >= 0xfff9 && r <= 0xfffb, r >= 0xe0000 && r <= 0xe007f:
	default:
		return false
	}
	return true
}

func oneOf(field, value string, allowed ...string) error {
	if !slices.Contains(allowed, value) {
		return &FieldError{field, "must be one of " + strings.Join(allowed, ", ")}
	}
	return nil
}

func match(field, value string, pattern *regexp.Regexp, problem string) error {
	if !pattern.MatchString(value) {
		return &FieldError{field, problem}
	}
	return nil
}

// list checks a list's length, between least and most, and then its entries by the rule.
func list(field string, values []string, least, most int, rule func(field, value string) error) error {
	switch {
	case len(values) == 0 && least > 0:
		return &FieldError{field, "is missing"}
	case len(values) > most:
		return &FieldError{field, fmt.Sprintf("must have at most %d entries", most)}
	}
	for i, v := range values {
		if err := rule(entry(field, i), v); err != nil {
			return err
		}
	}
	return nil
}
