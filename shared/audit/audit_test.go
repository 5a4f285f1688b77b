package audit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/shared/audit"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

const (
	contoso  = "0b7e2d4c-6a51-4f3e-9d28-5c1a7f90e364"
	fabrikam = "7c1d9e02-33b4-4a6f-8f15-0d2e6b8a4c97"
)

var (
	now = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	who = events.Actor{Kind: events.Operator, ID: "op-1", Name: "Ada"}
)

type log struct {
	*sqlitework.Store
	t      *testing.T
	serial int
}

func open(t *testing.T) *log {
	t.Helper()
	s, err := sqlitework.Open(t.TempDir(), sqlitework.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return &log{Store: s, t: t}
}

func (l *log) unit(s work.Store, partition string) *work.Unit {
	return work.NewUnit(s, partition, now, func() string { l.serial++; return fmt.Sprintf("01%024d", l.serial) })
}

func (l *log) entries(tenant string) []audit.Entry {
	l.t.Helper()
	entries, _, err := audit.List(l.t.Context(), l.Store, tenant, 100, "")
	if err != nil {
		l.t.Fatal(err)
	}
	return entries
}

// TestReceipt proves that a receipt exists only once the entry is stored, with everything else of the unit.
func TestReceipt(t *testing.T) {
	t.Parallel()
	l := open(t)
	u := l.unit(watched{l.Store, func() {
		if n := len(l.entries(contoso)); n != 0 {
			t.Errorf("%d entries before the commit", n)
		}
	}, nil}, contoso)
	if err := u.Put("view", 1); err != nil {
		t.Fatal(err)
	}
	want := audit.Entry{
		Actor: who, Action: audit.PasscodeRevealed, DeviceID: "d", RequestID: "r", Reason: "caller proved who she is", Ticket: "T-1",
		Change: map[string]string{"views": "0 → 1"},
	}
	receipt, err := audit.Commit(t.Context(), u, want, "secret-1")
	if err != nil || receipt.Subject() != "secret-1" {
		t.Fatalf("receipt for %q: %v", receipt.Subject(), err)
	}
	got := l.entries(contoso)
	if len(got) != 1 {
		t.Fatalf("%d entries", len(got))
	}
	want.ID, want.At = got[0].ID, now
	if got[0].ID == "" || fmt.Sprint(got[0]) != fmt.Sprint(want) {
		t.Errorf("stored %+v, want %+v", got[0], want)
	}
	if _, err := l.Get(t.Context(), work.Key{Partition: contoso, Row: "view"}); err != nil {
		t.Errorf("the unit's own row: %v", err)
	}
}

// TestNoReceipt proves that a commit that fails, for whatever reason, gives none.
func TestNoReceipt(t *testing.T) {
	t.Parallel()
	full := errors.New("disk is full")
	for name, c := range map[string]struct {
		prepare func(*log, *work.Unit) // before the commit
		err     error                  // of the store
		want    error
		entries int
	}{
		"store fails":            {err: full, want: full},
		"answer is lost":         {err: errLost, want: errLost, entries: 1},
		"row changed since read": {prepare: conflict, want: work.ErrConflict},
		"entry is too large": {prepare: func(l *log, u *work.Unit) {
			for i := range work.MaxOperations {
				if err := u.Put(fmt.Sprint("row-", i), i); err != nil {
					l.t.Fatal(err)
				}
			}
		}, want: work.ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := open(t)
			u := l.unit(watched{l.Store, func() {}, c.err}, contoso)
			if c.prepare != nil {
				c.prepare(l, u)
			}
			receipt, err := audit.Commit(t.Context(), u, audit.Entry{Actor: who, Action: audit.PasscodeRevealed}, "secret-1")
			if !errors.Is(err, c.want) || receipt.Subject() != "" {
				t.Errorf("receipt for %q: %v, want %v", receipt.Subject(), err, c.want)
			}
			if n := len(l.entries(contoso)); n != c.entries {
				t.Errorf("%d entries, want %d", n, c.entries)
			}
		})
	}
}

func conflict(l *log, u *work.Unit) {
	l.t.Helper()
	var v int
	if err := u.Get(l.t.Context(), "views", &v); !errors.Is(err, work.ErrNotFound) {
		l.t.Fatal(err)
	}
	other := l.unit(l.Store, contoso)
	if err := errors.Join(other.Put("views", 1), other.Commit(l.t.Context()), u.Put("views", 1)); err != nil {
		l.t.Fatal(err)
	}
}

var errLost = errors.New("answer is lost")

// watched is a store that is looked at before each commit, and that fails where err is set: before it, or, where the answer
// is lost, after it.
type watched struct {
	work.Store
	before func()
	err    error
}

func (w watched) Commit(ctx context.Context, b work.Batch) error {
	w.before()
	if w.err != nil && !errors.Is(w.err, errLost) {
		return w.err
	}
	return errors.Join(w.Store.Commit(ctx, b), w.err)
}

// TestList proves the order, the pages, and that a tenant sees its own entries only.
func TestList(t *testing.T) {
	t.Parallel()
	l := open(t)
	const n = 25
	var want []string
	for i := range n {
		u := l.unit(l.Store, contoso)
		if _, err := audit.Commit(t.Context(), u, audit.Entry{Actor: who, Action: audit.SettingsChanged, Reason: fmt.Sprint(i)}, "s"); err != nil {
			t.Fatal(err)
		}
		other := l.unit(l.Store, fabrikam)
		if _, err := audit.Commit(t.Context(), other, audit.Entry{Actor: who, Action: audit.TokenCreated}, "s"); err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprint(n-1-i))
	}
	u := l.unit(l.Store, contoso) // rows beside the log's
	if err := errors.Join(u.Put("audis", 1), u.Put("audiu", 1), u.Commit(t.Context())); err != nil {
		t.Fatal(err)
	}
	var got []string
	pages, page := 0, ""
	for {
		entries, next, err := audit.List(t.Context(), l.Store, contoso, 10, page)
		if err != nil || len(entries) > 10 {
			t.Fatalf("page of %d: %v", len(entries), err)
		}
		for _, e := range entries {
			got = append(got, e.Reason)
		}
		pages++
		if page = next; page == "" {
			break
		}
	}
	if !slices.Equal(got, want) || pages < 3 {
		t.Errorf("%d pages: %v, want newest first", pages, got)
	}
	if entries := l.entries("tenant-without-any"); len(entries) != 0 {
		t.Errorf("%d entries of an unknown tenant", len(entries))
	}
	if _, _, err := audit.List(t.Context(), l.Store, contoso, 10, "forged"); !errors.Is(err, work.ErrBadPage) {
		t.Errorf("forged page: %v", err)
	}
	_, next, err := audit.List(t.Context(), l.Store, contoso, 10, "")
	if err != nil || next == "" {
		t.Fatalf("next %q: %v", next, err)
	}
	if _, _, err := audit.List(t.Context(), l.Store, fabrikam, 10, next); !errors.Is(err, work.ErrBadPage) {
		t.Errorf("page of another tenant: %v", err)
	}
}
