package audit_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"pinreset/events"
	"pinreset/shared/audit"
	"pinreset/shared/work"
)

// counting tells how many rows were read.
type counting struct {
	work.Store
	rows int
}

func (c *counting) List(ctx context.Context, q work.Query) (work.Page, error) {
	p, err := c.Store.List(ctx, q)
	c.rows += len(p.Rows)
	return p, err
}

// write appends an entry for each of the moments, by one of three people to one of five devices.
func (l *log) write(moments ...time.Time) {
	l.t.Helper()
	people := []events.Actor{{Kind: events.Operator, ID: "op-1", Name: "Ada Byron"}, {Kind: events.Operator, ID: "op-2", Name: "Grace"}, events.Pinreset()}
	random := rand.New(rand.NewPCG(1, 2))
	for chunk := range slices.Chunk(moments, 50) {
		u := work.NewUnit(l.Store, contoso, now, func() string { return "" })
		for _, at := range chunk {
			id := ulid.MustNew(ulid.Timestamp(at), ulidBytes{random}).String()
			e := audit.Entry{
				ID: id, At: at, Actor: people[random.IntN(3)], Action: []string{audit.PasscodeRevealed, audit.ResetRequested, audit.GrantGiven}[random.IntN(3)],
				DeviceID: fmt.Sprintf("device-%d", random.IntN(5)),
			}
			if err := u.Create(audit.Prefix+work.Descending(id), e); err != nil {
				l.t.Fatal(err)
			}
		}
		if err := u.Commit(l.t.Context()); err != nil {
			l.t.Fatal(err)
		}
	}
}

type ulidBytes struct{ *rand.Rand }

func (b ulidBytes) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(b.Uint32())
	}
	return len(p), nil
}

// TestSearch compares what every filter finds, on pages of several lengths, with what all entries have of it.
func TestSearch(t *testing.T) {
	t.Parallel()
	l := open(t)
	var moments []time.Time
	for i := range 600 {
		moments = append(moments, now.Add(-time.Duration(i)*37*time.Minute))
	}
	midnight := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	l.write(append(moments, midnight, midnight.Add(-time.Millisecond), midnight.Add(time.Millisecond))...)
	everything := found(t, l, audit.Filter{}, 100)
	if len(everything) != len(moments)+3 {
		t.Fatalf("%d entries", len(everything))
	}
	for _, f := range []audit.Filter{
		{Person: "op-1"}, {Person: "byRON"}, {Person: "nobody"}, {Action: audit.GrantGiven}, {Action: "Passcode."}, {Device: "DEVICE-3"}, {Device: "device-"},
		{Day: midnight}, {Day: midnight.Add(-time.Hour)}, {Day: now.AddDate(0, 0, -30)}, {Day: now.AddDate(1, 0, 0)}, {Day: time.Unix(0, 0)},
		{Person: "op-2", Action: "passcode.", Device: "device-1", Day: now.AddDate(0, 0, -7)},
	} {
		var want []string
		for _, e := range everything {
			if f.Matches(e) {
				want = append(want, e.ID)
			}
		}
		for _, limit := range []int{5, 17, 100} {
			var got []string
			for _, e := range found(t, l, f, limit) {
				got = append(got, e.ID)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%+v on pages of %d: %d entries, want %d", f, limit, len(got), len(want))
			}
		}
		n := 0
		for _, err := range audit.All(t.Context(), l.Store, contoso, f) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != len(want) {
			t.Errorf("%+v: %d of all, want %d", f, n, len(want))
		}
	}
	if n := len(found(t, l, audit.Filter{Day: midnight}, 100)); n < 38 || n > 42 {
		t.Errorf("%d entries of a day with one every 37 minutes", n)
	}
	if _, _, err := audit.Search(t.Context(), l.Store, contoso, audit.Filter{}, 10, `{"n":3}`); !errors.Is(err, work.ErrBadPage) {
		t.Errorf("a place beyond the ranges: %v", err)
	}
}

func found(t *testing.T, l *log, f audit.Filter, limit int) (all []audit.Entry) {
	t.Helper()
	for page := ""; ; {
		entries, next, err := audit.Search(t.Context(), l.Store, contoso, f, limit, page)
		if err != nil || len(entries) > limit {
			t.Fatalf("%+v: page of %d: %v", f, len(entries), err)
		}
		all = append(all, entries...)
		if page = next; page == "" {
			return all
		}
	}
}

// TestSearchIsBounded proves that no page reads the whole log, and that a day long ago is found at once.
func TestSearchIsBounded(t *testing.T) {
	t.Parallel()
	l := open(t)
	var moments []time.Time
	for i := range 3000 {
		moments = append(moments, now.Add(-time.Duration(i)*time.Hour))
	}
	l.write(moments...)
	c := &counting{Store: l.Store}
	_, next, err := audit.Search(t.Context(), c, contoso, audit.Filter{Person: "nobody"}, 50, "")
	if err != nil || next == "" || c.rows > 2000 {
		t.Errorf("%d rows read for nobody, next %q: %v", c.rows, next, err)
	}
	c.rows = 0
	old := now.AddDate(0, 0, -100)
	entries, next, err := audit.Search(t.Context(), c, contoso, audit.Filter{Day: old}, 50, "")
	if err != nil || len(entries) != 24 || next != "" || c.rows > 60 {
		t.Errorf("%d entries of one day, %d rows read, next %q: %v", len(entries), c.rows, next, err)
	}
}
