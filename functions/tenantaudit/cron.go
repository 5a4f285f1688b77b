package tenantaudit

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Cron is a schedule of six fields, in UTC: second, minute, hour, day of the month, month, day of the week, as in the timer
// triggers of Azure Functions (Microsoft's page "Timer trigger for Azure Functions", NCRONTAB expressions), so that one expression
// means the same in every host. A field is *, a number, a range a-b, a step */n or a-b/n, or a list of these; Sunday is 0
// or 7. Months and days have no names here. A day counts if both fields of days allow it, as in Azure Functions, and not if either does.
//
// It is a parser of its own because it is all that is needed: what runs the schedule is the local host's timer, or the cloud's.
type Cron struct {
	text   string
	fields [6]uint64 // a bit for each value
}

var cronFields = [6]struct {
	name      string
	low, high int
}{{"second", 0, 59}, {"minute", 0, 59}, {"hour", 0, 23}, {"day of the month", 1, 31}, {"month", 1, 12}, {"day of the week", 0, 7}}

// ParseCron reads an expression. Its error names the field. An expression that never comes, such as the 30th of February, is an error.
func ParseCron(text string) (Cron, error) {
	c := Cron{text: text}
	fields := strings.Fields(text)
	if len(fields) != len(cronFields) {
		return c, fmt.Errorf("schedule %q has %d fields, not 6: second, minute, hour, day, month, day of the week", text, len(fields))
	}
	for i, f := range cronFields {
		for part := range strings.SplitSeq(fields[i], ",") {
			bits, err := cronBits(part, f.low, f.high)
			if err != nil {
				return c, fmt.Errorf("schedule %q: %s: %w", text, f.name, err)
			}
			c.fields[i] |= bits
		}
	}
	if c.fields[5]&(1<<7) != 0 {
		c.fields[5] |= 1
	}
	if c.Last(time.Date(2033, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return c, fmt.Errorf("schedule %q never comes", text)
	}
	return c, nil
}

func cronBits(part string, low, high int) (uint64, error) {
	span, step, stepped := strings.Cut(part, "/")
	from, to, by := low, high, 1
	if stepped {
		n, err := strconv.Atoi(step)
		if err != nil || n < 1 || n > high {
			return 0, fmt.Errorf("step %q is not 1 to %d", step, high)
		}
		by = n
	}
	if span != "*" {
		first, last, ranged := strings.Cut(span, "-")
		var err error
		if from, err = cronNumber(first, low, high); err != nil {
			return 0, err
		}
		switch {
		case ranged:
			if to, err = cronNumber(last, from, high); err != nil {
				return 0, err
			}
		case !stepped:
			to = from
		}
	}
	var bits uint64
	for n := from; n <= to; n += by {
		bits |= 1 << n
	}
	return bits, nil
}

func cronNumber(text string, low, high int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("%q is not %d to %d", text, low, high)
	}
	return n, nil
}

// String is the expression.
func (c Cron) String() string { return c.text }

func (c Cron) has(field, value int) bool { return c.fields[field]&(1<<value) != 0 }

func (c Cron) onDay(t time.Time) bool {
	return c.has(3, t.Day()) && c.has(4, int(t.Month())) && c.has(5, int(t.Weekday()))
}

// longestGap is longer than any schedule's: the 29th of February comes after up to eight years, and on a day of the week after forty.
const longestGap = 41 * 366

// Last is the latest time of the schedule that is not after now; the zero time if there is none within 41 years.
func (c Cron) Last(now time.Time) time.Time {
	now = now.UTC().Truncate(time.Second)
	day := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, time.UTC)
	for i := range longestGap {
		if d := day.AddDate(0, 0, -i); c.onDay(d) {
			most := 24*60*60 - 1
			if i == 0 {
				most = int(now.Sub(day) / time.Second)
			}
			if s, ok := c.within(most, -1); ok {
				return d.Add(time.Duration(s) * time.Second)
			}
		}
	}
	return time.Time{}
}

// Next is the first time of the schedule after now; the zero time if there is none within 41 years.
func (c Cron) Next(now time.Time) time.Time {
	now = now.UTC().Truncate(time.Second).Add(time.Second)
	day := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, time.UTC)
	for i := range longestGap {
		if d := day.AddDate(0, 0, i); c.onDay(d) {
			least := 0
			if i == 0 {
				least = int(now.Sub(day) / time.Second)
			}
			if s, ok := c.within(least, 1); ok {
				return d.Add(time.Duration(s) * time.Second)
			}
		}
	}
	return time.Time{}
}

// within looks for a second of the day that fits, from the given one on in the direction.
func (c Cron) within(from, direction int) (second int, ok bool) {
	for s := from; s >= 0 && s < 24*60*60; s += direction {
		if c.has(2, s/3600) && c.has(1, s/60%60) && c.has(0, s%60) {
			return s, true
		}
	}
	return 0, false
}
