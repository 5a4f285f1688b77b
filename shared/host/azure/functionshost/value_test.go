package functionshost

import (
	"testing"
	"time"
)

// TestModelEncodesValues: the table of how each of the host's values reaches a custom handler.
func TestModelEncodesValues(t *testing.T) {
	t.Parallel()
	at := time.Date(2023, 10, 12, 20, 13, 49, 640_000_000, time.UTC)
	for _, c := range []struct {
		value any
		once  bool
		want  string
	}{
		{"abc", false, `"\"abc\""`}, {"abc", true, `"abc"`}, {"", false, `"\"\""`},
		{1, false, `"1"`}, {int64(7), true, `"7"`}, {true, false, `"true"`},
		{[]byte("ab"), false, `"YWI="`}, {[]byte("ab"), true, `"YWI="`},
		{localTime(at), false, `"2023-10-12T20:13:49"`}, {at, false, `"2023-10-12T20:13:49+00:00"`},
		{map[string]any{"a": 1}, false, `{"a":1}`}, {[]string{"x"}, false, `"[\"x\"]"`},
	} {
		if got := string(value(c.value, variant{once: c.once})); got != c.want {
			t.Errorf("%#v is %s, want %s", c.value, got, c.want)
		}
	}
}
