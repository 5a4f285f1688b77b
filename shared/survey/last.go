package survey

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"pinreset/shared/readiness"
	"pinreset/shared/work"
)

const lastRow = "survey"

// maxTrend bounds the development that is kept: at four audits a day, more than a month.
const maxTrend = 128

// Point is a tenant at one audit.
type Point struct {
	At        time.Time       `json:"at"`
	Outcome   string          `json:"outcome"`
	State     readiness.State `json:"state"`
	Drifts    int             `json:"drifts,omitempty"`
	Targeted  int             `json:"targeted,omitempty"`
	Succeeded int             `json:"succeeded,omitempty"`
}

// Last is the last audit of a tenant and what is known of the tenant from it and those before.
type Last struct {
	Report Report  `json:"report"`
	Trend  []Point `json:"trend,omitempty"` // oldest first, at most maxTrend
	// Known is each fact as it was last read: a part that can't be read for a while is compared with what it was before that.
	Known  readiness.TenantFacts `json:"known"`
	Status *Status               `json:"status,omitempty"` // as last read
	// Partial says that unassigned policies, or more, are left out of Known: that one is not in it says nothing.
	Partial bool `json:"partial,omitempty"`
	// Told are drifts that have been told and still hold.
	Told []string `json:"told,omitempty"`
	// Looked has, for each catalog policy without any of our settings, when it was last changed: while it stays so, its
	// settings need no read.
	Looked map[string]time.Time `json:"looked,omitempty"`
	// Whole is when every setting was read last, whatever the dates of policies.
	Whole time.Time `json:"whole,omitzero"`
	// Delta are targets of delta queries that go on from the last audit, by name.
	Delta map[string]string `json:"delta,omitempty"`
	// Grants are the delegated permissions of Microsoft's two applications, which changes are applied to.
	Grants []Grant `json:"grants,omitempty"`
}

// Grant is a delegated permission that an application holds.
type Grant struct {
	ID     string `json:"id"`
	Client string `json:"client"` // object id of the application's service principal
	Text   string `json:"text"`
}

// ReadLast returns the last audit of the unit's tenant, and the zero value where there was none.
func ReadLast(ctx context.Context, u *work.Unit) (Last, error) {
	var l Last
	if err := u.Get(ctx, lastRow, &l); err != nil && !errors.Is(err, work.ErrNotFound) {
		return l, err
	}
	return l, nil
}

// Bounds of what a row of Last holds beside facts, trend and report.
const (
	maxLooked = 2000
	maxTold   = 1000
	maxGrants = 100 << 10 // bytes of text
	maxDelta  = 32 << 10  // bytes of a token
	// small are facts that fit beside everything else, whatever that is.
	small = 150 << 10
)

// Fit cuts l to what a row takes. Report.Lost says what is lost by it: of facts, that they count as unread at the next audit; of
// Looked, Grants and Delta, that it makes the reads that they would have saved.
func (l Last) Fit() (Last, error) {
	l.Report.Lost = nil
	lose := func(what string, n int) {
		if n > 0 {
			l.Report.Lost = append(l.Report.Lost, readiness.Loss{What: what, Count: n})
		}
	}
	if n := len(l.Looked) - maxLooked; n > 0 {
		ids := slices.Sorted(maps.Keys(l.Looked))
		l.Looked = maps.Clone(l.Looked)
		for _, id := range ids[maxLooked:] {
			delete(l.Looked, id)
		}
		lose("catalog policies that need no read", n)
	}
	if n := len(l.Told) - maxTold; n > 0 {
		l.Told = l.Told[:maxTold]
		lose("drifts that hold", n)
	}
	size := 0
	for _, g := range l.Grants {
		size += len(g.Text)
	}
	delta := maps.Clone(l.Delta)
	if size > maxGrants {
		lose("delegated grants to follow", len(l.Grants))
		l.Grants = nil
		maps.DeleteFunc(delta, func(string, string) bool { return true })
	}
	maps.DeleteFunc(delta, func(_, token string) bool { return len(token) > maxDelta })
	l.Delta = delta
	known, lost, err := l.Known.Within(small)
	if len(lost) > 0 {
		rest := l
		rest.Known = readiness.TenantFacts{}
		data, marshal := json.Marshal(rest)
		if marshal != nil {
			return l, fmt.Errorf("measure the last audit: %w", marshal)
		}
		known, lost, err = l.Known.Within(readiness.MaxFacts - len(data))
	}
	l.Known, l.Partial, l.Report.Lost = known, len(lost) > 0, append(l.Report.Lost, lost...)
	return l, err
}

// WriteLast stages the last audit with its point of the development.
func WriteLast(u *work.Unit, l Last) error {
	p := Point{At: l.Report.At, Outcome: l.Report.Outcome, State: l.Report.State, Drifts: len(l.Report.Drift)}
	if s := l.Report.Status; s != nil {
		p.Targeted, p.Succeeded = s.Targeted(), s.Succeeded
	}
	l.Trend = append(l.Trend, p)
	l.Trend = l.Trend[max(0, len(l.Trend)-maxTrend):]
	return u.Put(lastRow, l)
}
