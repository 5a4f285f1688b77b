package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"time"

	"pinreset/shared/work"
)

// Filter says which entries are looked for. What is empty is not asked for; the zero Filter finds all.
type Filter struct {
	Person string    // the actor's id, or a part of the actor's name
	Action string    // one action, or the beginning of several, such as "passcode."
	Device string    // the device's id
	Day    time.Time // any moment of the day, in UTC
}

// IsZero reports whether the filter finds all entries.
func (f Filter) IsZero() bool { return f == Filter{} }

// Matches reports whether the filter finds the entry. Upper and lower case are the same to it.
func (f Filter) Matches(e Entry) bool {
	switch {
	case f.Person != "" && !strings.EqualFold(f.Person, e.Actor.ID) && !strings.Contains(strings.ToLower(e.Actor.Name), strings.ToLower(f.Person)):
		return false
	case f.Action != "" && !strings.HasPrefix(e.Action, strings.ToLower(f.Action)):
		return false
	case f.Device != "" && !strings.EqualFold(f.Device, e.DeviceID):
		return false
	case !f.Day.IsZero():
		from := day(f.Day)
		return !e.At.Before(from) && e.At.Before(from.AddDate(0, 0, 1))
	}
	return true
}

func day(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

// Bounds of one call of Search, so that it stays short however long the log is.
const (
	atOnce  = 500  // rows read at once
	mostRow = 2000 // rows looked at
)

// Search returns a page of the entries that the filter finds, newest first. It looks at a bounded number of entries: a page may be short,
// or empty, and still have a next one, which goes on further back. A day is found by the keys, whatever its age.
func Search(ctx context.Context, s work.Store, tenant string, f Filter, limit int, page string) (entries []Entry, next string, err error) {
	ranges, step := []string{Prefix}, limit
	if !f.Day.IsZero() {
		ranges = prefixes(f.Day)
	}
	if !f.IsZero() {
		step = atOnce
	}
	at, err := parsePlace(page, len(ranges))
	if err != nil {
		return nil, "", err
	}
	for looked := 0; ; {
		p, err := s.List(ctx, work.Query{Partition: tenant, Prefix: ranges[at.Range], Limit: step, Page: at.Page})
		if err != nil {
			return nil, "", fmt.Errorf("search audit of %s: %w", tenant, err)
		}
		for i, row := range p.Rows {
			if row.Row <= at.Row {
				continue // on the page before
			}
			var e Entry
			if err := json.Unmarshal(row.Value, &e); err != nil {
				return nil, "", fmt.Errorf("decode %s: %w", row.Row, err)
			}
			if f.Matches(e) {
				entries = append(entries, e)
			}
			if len(entries) == limit && i < len(p.Rows)-1 {
				at.Row = row.Row
				return entries, at.String(), nil
			}
		}
		switch {
		case p.Next != "":
			at = place{Range: at.Range, Page: p.Next}
		case at.Range+1 < len(ranges):
			at = place{Range: at.Range + 1}
		default:
			return entries, "", nil
		}
		if looked += len(p.Rows); len(entries) == limit || looked >= mostRow {
			return entries, at.String(), nil
		}
	}
}

// All returns every entry that the filter finds, newest first, and reads on as they are taken. It ends with the first error.
func All(ctx context.Context, s work.Store, tenant string, f Filter) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for page := ""; ; {
			entries, next, err := Search(ctx, s, tenant, f, atOnce, page)
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
			}
			if page = next; page == "" {
				return
			}
		}
	}
}

// place is where a search stopped: in which range, on which page of the store's, and after which row of it.
type place struct {
	Range int    `json:"n,omitempty"`
	Page  string `json:"p,omitempty"`
	Row   string `json:"r,omitempty"`
}

func (p place) String() string {
	text, err := json.Marshal(p)
	if err != nil {
		panic(err) // a number and texts always encode
	}
	return string(text)
}

// parsePlace reads a place that String made, or "", the start.
func parsePlace(text string, ranges int) (p place, err error) {
	if text == "" {
		return p, nil
	}
	if json.Unmarshal([]byte(text), &p) != nil || p.Range < 0 || p.Range >= ranges {
		return p, fmt.Errorf("place in the audit log: %w", work.ErrBadPage)
	}
	return p, nil
}

const (
	// An id begins with its milliseconds in ten characters of five bits; those with the same first five were made in the same nine hours.
	timeChars  = 10
	rangeChars = 5
	crockford  = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	// An id is made a little before or after the time of its entry is taken, and clocks are set.
	slack = time.Hour
)

// prefixes are the beginnings of the keys of a day's entries, newest first.
func prefixes(t time.Time) (all []string) {
	from := day(t).Add(-slack)
	to := from.Add(24*time.Hour + 2*slack)
	const bits = 5 * (timeChars - rangeChars)
	for n := to.UnixMilli() >> bits; n >= from.UnixMilli()>>bits && n >= 0; n-- {
		text := make([]byte, rangeChars)
		for i, rest := rangeChars-1, n; i >= 0; i, rest = i-1, rest>>5 {
			text[i] = crockford[rest&31]
		}
		all = append(all, Prefix+work.Descending(string(text)))
	}
	return all
}
