package diag_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/shared/diag"
	"pinreset/shared/fault"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

const (
	contoso  = "0b7e2d4c-6a51-4f3e-9d28-5c1a7f90e364"
	fabrikam = "7c1d9e02-33b4-4a6f-8f15-0d2e6b8a4c97"
	device   = "5f0c3a91-27de-4b68-8e14-d3b96a7c0f52"
)

var now = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

type desk struct {
	*sqlitework.Store
	t      *testing.T
	serial int
}

func open(t *testing.T) *desk {
	t.Helper()
	s, err := sqlitework.Open(t.TempDir(), sqlitework.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return &desk{Store: s, t: t}
}

func (d *desk) unit() *work.Unit {
	return work.NewUnit(d.Store, contoso, now, func() string { d.serial++; return fmt.Sprintf("01%024d", d.serial) })
}

func (d *desk) raise(f diag.Failure) diag.Failure {
	d.t.Helper()
	u := d.unit()
	f, err := diag.Raise(d.t.Context(), u, f)
	if err := errors.Join(err, u.Commit(d.t.Context())); err != nil {
		d.t.Fatal(err)
	}
	return f
}

func (d *desk) attempts(request string, from, n int) {
	d.t.Helper()
	for at := from; at < from+n; {
		u := d.unit()
		for ; at < from+n && len(u.Batch().Writes) < work.MaxOperations; at++ {
			a := diag.Attempt{RequestID: request, Delivery: at, Verdict: "retry", Detail: fmt.Sprint("attempt ", at)}
			if err := diag.AppendAttempt(u, a); err != nil {
				d.t.Fatal(err)
			}
		}
		if err := u.Commit(d.t.Context()); err != nil {
			d.t.Fatal(err)
		}
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	// Written down once: an id that somebody has in a ticket must lead to its page in every later version.
	if got := diag.IDFor(contoso, "req-1"); got != "JMH88P97" {
		t.Errorf("the id of a request has changed: %s", got)
	}
	const alphabet = "2346789BCDFGHJKMPQRTVWXY"
	const n = 20_000
	seen := map[string]bool{}
	count := map[rune]int{}
	for i := range n {
		id := diag.IDFor(contoso, fmt.Sprint("req-", i))
		if id != diag.IDFor(contoso, fmt.Sprint("req-", i)) {
			t.Fatal("the same request has two ids")
		}
		if seen[id] {
			t.Fatalf("%s names two of %d requests", id, n)
		}
		seen[id] = true
		if len(id) != 8 || strings.Trim(id, alphabet) != "" {
			t.Fatalf("id %q", id)
		}
		for _, c := range id {
			count[c]++
		}
	}
	for _, c := range alphabet {
		if want := 8 * n / len(alphabet); count[c] < want*9/10 || count[c] > want*11/10 {
			t.Errorf("%c is in %d places, want about %d", c, count[c], want)
		}
	}
	if diag.IDFor(contoso, "req-1") == diag.IDFor(fabrikam, "req-1") {
		t.Error("two tenants have the same id for their requests")
	}
	if diag.IDFor("a", "b\x00c") == diag.IDFor("a\x00b", "cd") {
		t.Error("tenant and request run into each other")
	}
}

// TestRaise proves that a failure, its page and its event are one commit and say the same.
func TestRaise(t *testing.T) {
	t.Parallel()
	d := open(t)
	d.attempts("req-1", 0, 2)
	f := d.raise(diag.Failure{RequestID: "req-1", Function: "passcodereset", Kind: "k", DeviceID: device, Code: fault.DeviceNotFound, Detail: "gone"})
	if f.ID != diag.IDFor(contoso, "req-1") || !f.At.Equal(now) {
		t.Errorf("failure %+v", f)
	}
	p, err := diag.Load(t.Context(), d.Store, contoso, f.ID)
	if err != nil {
		t.Fatal(err)
	}
	entry := fault.Lookup(fault.DeviceNotFound)
	if p.Failure != f || p.Tenant != contoso || p.Link != diag.Link(contoso, f.ID) || p.Title != entry.Title || p.Cause != entry.Cause ||
		!slices.Equal(p.Fix, entry.Fix) || len(p.Timeline) != 2 || p.Truncated {
		t.Errorf("page %+v", p)
	}
	got, err := d.Receive(t.Context(), work.Announcements, 10)
	if err != nil || len(got) != 1 {
		t.Fatalf("%d announcements: %v", len(got), err)
	}
	e, err := events.Parse(got[0].Body)
	if err != nil {
		t.Fatal(err)
	}
	raised, _ := e.Data.(events.FailureRaised)
	if raised.Diagnostics != p.Link || raised.Code != string(f.Code) || raised.DeviceID != device || raised.RequestID != "req-1" || raised.Title != entry.Title {
		t.Errorf("event %+v", raised)
	}
	// Newest first.
	d.raise(diag.Failure{RequestID: "req-2", Function: "passcodereset", Code: fault.GraphForbidden})
	rows, err := d.List(t.Context(), work.Query{Partition: contoso, Prefix: diag.FailurePrefix})
	if err != nil || len(rows.Rows) != 2 || !strings.Contains(string(rows.Rows[0].Value), "req-2") {
		t.Errorf("list %v: %v", rows.Rows, err)
	}
}

// TestLoadOfWhatIsNotThere proves that an unknown id, another tenant's and an id that is no key look the same.
func TestLoadOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	d := open(t)
	f := d.raise(diag.Failure{RequestID: "req-1", Function: "f", Code: fault.DeviceNotFound})
	for name, c := range map[string][2]string{
		"unknown": {contoso, "2222BBBB"}, "other tenant": {fabrikam, f.ID}, "lower case": {contoso, strings.ToLower(f.ID)},
		"no key": {contoso, "a/b"}, "empty": {contoso, ""}, "long": {contoso, strings.Repeat("2", 5000)}, "tenant is no key": {"a/b", f.ID},
	} {
		if p, err := diag.Load(t.Context(), d.Store, c[0], c[1]); !errors.Is(err, work.ErrNotFound) || p.ID != "" {
			t.Errorf("%s: page %q, %v", name, p.ID, err)
		}
	}
	if _, err := diag.Load(t.Context(), strict{d.Store}, contoso, "a/b"); !errors.Is(err, work.ErrNotFound) {
		t.Errorf("no key, in a store that says so: %v", err)
	}
}

// strict is a store that refuses keys as table storage does, also when it is asked for a row.
type strict struct{ work.Store }

func (s strict) Get(ctx context.Context, key work.Key) (work.Row, error) {
	if strings.Contains(key.Row, "/") {
		return work.Row{}, fmt.Errorf("row: %w", work.ErrBadKey)
	}
	return s.Store.Get(ctx, key)
}

// TestTimeline proves the order of attempts over pages of the store, that requests are kept apart, and what a page shows of
// a long one.
func TestTimeline(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		n         int
		shown     []int // first and last of each run of shown attempts
		truncated bool
	}{
		{0, nil, false},
		{1, []int{0, 0}, false},
		{120, []int{0, 119}, false},
		{121, []int{0, 59, 61, 120}, true},
		{1203, []int{0, 59, 1143, 1202}, true}, // more than one page of the store
	} {
		t.Run(fmt.Sprint(c.n), func(t *testing.T) {
			t.Parallel()
			d := open(t)
			half := c.n / 2
			d.attempts("req-1", 0, half)
			d.attempts("req-10", 7000, 3) // a request whose id begins like the other's
			d.attempts("req-1", half, c.n-half)
			all, err := diag.Timeline(t.Context(), d.Store, contoso, "req-1")
			if err != nil || len(all) != c.n {
				t.Fatalf("%d attempts, want %d: %v", len(all), c.n, err)
			}
			for i, a := range all {
				if a.Delivery != i || a.RequestID != "req-1" {
					t.Fatalf("attempt %d is %d of %s", i, a.Delivery, a.RequestID)
				}
			}
			f := d.raise(diag.Failure{RequestID: "req-1", Function: "f", Code: fault.AttemptsExhausted})
			p, err := diag.Load(t.Context(), d.Store, contoso, f.ID)
			if err != nil || p.Truncated != c.truncated {
				t.Fatalf("truncated %t, want %t: %v", p.Truncated, c.truncated, err)
			}
			var want, got []int
			for i := 0; i < len(c.shown); i += 2 {
				for n := c.shown[i]; n <= c.shown[i+1]; n++ {
					want = append(want, n)
				}
			}
			for _, a := range p.Timeline {
				got = append(got, a.Delivery)
			}
			if !slices.Equal(got, want) {
				t.Errorf("page shows %v", got)
			}
		})
	}
}

func TestRecord(t *testing.T) {
	t.Parallel()
	var r diag.Record
	ctx := diag.NewContext(t.Context(), &r)
	const writers, each = 8, 20
	var wait sync.WaitGroup
	for range writers {
		wait.Go(func() {
			for range each {
				diag.Add(ctx, diag.Step{At: now.In(time.FixedZone("east", 3600)), Kind: diag.KindCall, Text: "GET /x"})
			}
		})
	}
	wait.Wait()
	steps, dropped := r.Steps()
	if len(steps) != diag.MaxSteps || dropped != writers*each-diag.MaxSteps {
		t.Errorf("%d steps, %d dropped", len(steps), dropped)
	}
	if steps[0].At.Location() != time.UTC || !steps[0].At.Equal(now) {
		t.Errorf("step at %s", steps[0].At)
	}
	steps[0].Text = "changed"
	if again, _ := r.Steps(); again[0].Text != "GET /x" {
		t.Error("whoever reads the steps can change them")
	}
	diag.Decide(context.WithoutCancel(t.Context()), now, "nobody listens") // without a record: nothing happens
}
