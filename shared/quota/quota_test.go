package quota

import (
	"context"
	"errors"
	"testing"
	"time"

	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

func open(t *testing.T) *sqlitework.Store {
	t.Helper()
	store, err := sqlitework.Open(t.TempDir(), sqlitework.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

func holding(part int) func(int) int { return func(int) int { return part } }

func TestRenew(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)
	store := open(t)
	ledger := func(name string) *Ledger {
		return New(store, Options{Process: name, Common: "system", Now: func() time.Time { return now }})
	}
	a, b := ledger("a"), ledger("b")
	renew := func(l *Ledger, busy bool, held int) Lease {
		t.Helper()
		lease, err := l.Renew(t.Context(), "tenant", "app", Ask{Busy: busy, Longest: 20 * time.Second, Lower: holding(held)})
		if err != nil {
			t.Fatal(err)
		}
		return lease
	}
	want := func(what string, got Lease, part, fair int) {
		t.Helper()
		if got.Part != part || got.Fair != fair {
			t.Errorf("%s: %+v, want part %d and fair %d", what, got, part, fair)
		}
	}
	want("the first", renew(a, true, 0), Usable, Usable)
	want("one that comes along gets half of the spare part", renew(b, true, 0), spare/2, Usable/2)
	want("the first gives back what it must", renew(a, true, Usable), Usable/2, Usable/2)
	want("but its calls are still in the window", renew(b, true, 0), spare/2, Usable/2)
	want("until they have left it", renew(a, true, 0), Usable/2, Usable/2)
	want("then the other has it", renew(b, true, 0), Usable/2, Usable/2)
	want("one that falls idle keeps a little", renew(a, false, 0), Modest, Modest)
	want("and the other the rest", renew(b, true, 0), Usable-Modest, Usable-Modest)

	if row, err := store.Get(t.Context(), work.Key{Partition: "tenant", Row: "quota|app"}); err != nil || len(row.Value) == 0 {
		t.Errorf("the division is not in the tenant's partition: %v", err)
	}
	if lease, err := a.Renew(t.Context(), "", "app", Ask{Lower: holding(0)}); err != nil || lease.Part != Usable {
		t.Errorf("limits in all tenants: %+v, %v", lease, err)
	}
	if _, err := store.Get(t.Context(), work.Key{Partition: "system", Row: "quota|app"}); err != nil {
		t.Errorf("the division of all tenants' limits: %v", err)
	}

	// A holder that says nothing more keeps its part for life, window and clocks.
	now = now.Add(DefaultLife + 20*time.Second + DefaultLife/4)
	want("before its time", renew(a, true, 0), Modest, Usable)
	now = now.Add(time.Nanosecond)
	want("after it", renew(a, true, 0), Usable, Usable)
}

// TestRelease: what a process that ends hands back is another's at once, but for what its last calls take up.
func TestRelease(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)
	store := open(t)
	ledger := func(name string) *Ledger {
		return New(store, Options{Process: name, Common: "system", Now: func() time.Time { return now }})
	}
	a, b := ledger("a"), ledger("b")
	ask := func(held int) Ask { return Ask{Busy: true, Longest: 20 * time.Second, Lower: holding(held)} }
	renew := func(l *Ledger, want int) {
		t.Helper()
		if lease, err := l.Renew(t.Context(), "tenant", "app", ask(0)); err != nil || lease.Part != want {
			t.Errorf("%+v, %v; want part %d", lease, err, want)
		}
	}
	release := func(l *Ledger, held int) {
		t.Helper()
		told := -1
		err := l.Release(t.Context(), "tenant", "app", Ask{Longest: 20 * time.Second, Lower: func(part int) int { told = part; return held }})
		if err != nil || told != 0 {
			t.Errorf("release: %v, and was told a part of %d", err, told)
		}
	}
	renew(a, Usable)
	release(a, 0)
	renew(b, Usable)
	release(b, 3000)
	renew(a, Whole-3000-spare)
	now = now.Add(20*time.Second + DefaultLife/4)
	renew(a, Whole-3000-spare)
	now = now.Add(time.Nanosecond) // the calls have left the window, also by clocks that differ
	renew(a, Usable)
}

// TestNeedOfMore: who needs more than the even share gets that in turn, in the order of waiting, and whoever had it makes way.
func TestNeedOfMore(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)
	store := open(t)
	names := []string{"a", "b", "c", "d"}
	renew := func(name string, least int) Lease {
		t.Helper()
		l := New(store, Options{Process: name, Common: "system", Now: func() time.Time { return now }})
		lease, err := l.Renew(t.Context(), "tenant", "app", Ask{Busy: true, Longest: 20 * time.Second, Least: least, Lower: holding(0)})
		if err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Second)
		return lease
	}
	for range 2 {
		for _, name := range names {
			renew(name, 0)
		}
	}
	const most = Whole // a call that takes all of its limit
	rounds := func(need map[string]int, want string) {
		t.Helper()
		turns := ""
		for range 4 {
			sum := 0
			for _, name := range names {
				lease := renew(name, need[name])
				if sum += lease.Part; need[name] > 0 && lease.Part >= need[name] {
					turns += name
				}
			}
			if sum > Whole {
				t.Errorf("parts sum to %d", sum)
			}
		}
		if turns != want {
			t.Errorf("the turns were %q, want %q", turns, want)
		}
	}
	rounds(map[string]int{"c": most}, "ccc")           // the first time it hears that the others have not given back yet
	rounds(map[string]int{"b": most, "d": 4000}, "bd") // b asks again, and waits for d
	rounds(nil, "")
	if lease := renew("a", 0); lease.Part != Usable/len(names) {
		t.Errorf("when nobody needs more: %+v", lease)
	}
}

// TestClockFarAhead: a process whose clock was days ahead, and that died, holds its part for no longer than others.
func TestClockFarAhead(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)
	store := open(t)
	ahead := New(store, Options{Process: "ahead", Common: "system", Now: func() time.Time { return now.Add(72 * time.Hour) }})
	if _, err := ahead.Renew(t.Context(), "tenant", "app", Ask{Busy: true, Longest: 20 * time.Second, Lower: holding(0)}); err != nil {
		t.Fatal(err)
	}
	l := New(store, Options{Process: "right", Common: "system", Now: func() time.Time { return now }})
	for range 14 { // 5 s each
		lease, err := l.Renew(t.Context(), "tenant", "app", Ask{Busy: true, Longest: 20 * time.Second, Lower: holding(0)})
		if err != nil {
			t.Fatal(err)
		}
		if lease.Part == Usable {
			return
		}
		now = now.Add(DefaultLife / 4)
	}
	t.Error("its part has not come back")
}

// rival writes the row before every commit of the one it stands before.
type rival struct {
	rows
	times int
}

func (r *rival) Commit(ctx context.Context, b work.Batch) error {
	if r.times > 0 {
		r.times--
		w := b.Writes[0]
		w.If = work.Always()
		if err := r.rows.Commit(ctx, work.Batch{Partition: b.Partition, Writes: []work.Write{w}}); err != nil {
			return err
		}
	}
	return r.rows.Commit(ctx, b)
}

func TestContention(t *testing.T) {
	t.Parallel()
	store := &rival{rows: open(t), times: tries - 1}
	l := New(store, Options{Process: "a", Common: "system"})
	ask := Ask{Lower: holding(0)}
	if _, err := l.Renew(t.Context(), "tenant", "app", ask); err != nil {
		t.Errorf("others were first %d times: %v", tries-1, err)
	}
	store.times = tries
	if _, err := l.Renew(t.Context(), "tenant", "app", ask); !errors.Is(err, ErrContended) {
		t.Errorf("others were first every time: %v", err)
	}
}
