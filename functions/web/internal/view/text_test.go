package view

import (
	"strings"
	"testing"
	"time"

	"pinreset/shared/secret"
)

func TestRelative(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	for want, d := range map[string]time.Duration{
		"in 6 d 3 h": 6*24*time.Hour + 3*time.Hour + 59*time.Minute, "in 1 h 0 min": time.Hour, "in 4 min 5 s": 4*time.Minute + 5*time.Second,
		"in 12 s": 12 * time.Second, "now": 0, "3 s ago": -3 * time.Second, "1 d 0 h ago": -24 * time.Hour,
	} {
		if got := relative(now.Add(d), now); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
	if got := relative(time.Time{}, now); got != "" {
		t.Errorf("no time: %q", got)
	}
}

func TestQuarters(t *testing.T) {
	t.Parallel()
	for want, counts := range map[string][][2]int{
		"": {{0, 0}, {3, 0}, {0, 4}, {24, 100}}, "A quarter": {{25, 100}, {49, 100}}, "Half": {{50, 100}, {2, 3}}, "Three quarters": {{75, 100}, {19999, 20000}}, "All": {{4, 4}, {5, 4}},
	} {
		for _, c := range counts {
			if got := quarters(c[0], c[1]); got != want {
				t.Errorf("%d of %d: %q, want %q", c[0], c[1], got, want)
			}
		}
	}
}

func TestGroupsOfFour(t *testing.T) {
	t.Parallel()
	var text []string
	for _, g := range groups(secret.NewText("123456789é")) {
		s := ""
		for _, c := range g {
			s += c.Text
		}
		text = append(text, s)
	}
	if got := strings.Join(text, " "); got != "1234 5678 9é" {
		t.Errorf("%q", got)
	}
	if kindOf('7') != "digit" || kindOf('A') != "upper" || kindOf('a') != "lower" || kindOf('#') != "symbol" {
		t.Error("kinds")
	}
}
