package outbox

import (
	"testing"
	"time"
)

// TestDueTimesNeverComeEarly: a row keeps microseconds, and the time that it tells is never ahead of the one that was asked for, nor a
// whole microsecond behind it.
func TestDueTimesNeverComeEarly(t *testing.T) {
	t.Parallel()
	base := time.Date(2026, 11, 22, 8, 0, 0, 123_456_000, time.UTC)
	for _, at := range []time.Time{base, base.In(time.FixedZone("", 5*3600)), time.Unix(0, 0), time.Unix(-1, 1), time.Unix(-1, 999_999_999)} {
		for _, part := range []time.Duration{0, 1, 499, 500, 501, 999} {
			asked := at.Add(part)
			told := instant(dueMicro(asked))
			if late := told.Sub(asked); late < 0 || late >= time.Microsecond {
				t.Errorf("asked for %s, kept as %s", asked.UTC().Format(time.RFC3339Nano), told.Format(time.RFC3339Nano))
			}
			if told != instant(dueMicro(told)) {
				t.Errorf("%s moves each time it is kept", told.Format(time.RFC3339Nano))
			}
		}
	}
}
