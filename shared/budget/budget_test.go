package budget_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/shared/budget"
	"pinreset/shared/clocktest"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

const (
	contoso = "aaaaaaaa-0000-4000-8000-000000000001"
	kim     = "11111111000040008000000000000001"
)

var start = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

type rig struct {
	*clocktest.Clock
	t     *testing.T
	store *sqlitework.Store
	ids   atomic.Int64
}

func setUp(t *testing.T) *rig {
	t.Helper()
	r := &rig{Clock: clocktest.New(start), t: t}
	var err error
	if r.store, err = sqlitework.Open(filepath.Join(t.TempDir(), "work"), sqlitework.Options{Now: r.Now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.store.Close() })
	return r
}

func (r *rig) unit() *work.Unit {
	return work.NewUnit(r.store, contoso, r.Now(), func() string { return fmt.Sprint(r.ids.Add(1)) })
}

func (r *rig) spend(kind budget.Kind, who string, limits budget.Limits) error {
	u := r.unit()
	if err := budget.Spend(r.t.Context(), u, kind, who, limits); err != nil {
		return err
	}
	return u.Commit(r.t.Context())
}

func TestSpend(t *testing.T) {
	t.Parallel()
	r := setUp(t)
	limits := budget.Limits{Hour: 2, Day: 3}
	free := func(want time.Duration) {
		t.Helper()
		err := r.spend(budget.Resets, kim, limits)
		var e *budget.Exceeded
		if !errors.As(err, &e) || e.Free != want || e.Kind != budget.Resets {
			t.Errorf("%v, %+v, want one free in %s", err, e, want)
		}
	}
	spend := func() {
		t.Helper()
		if err := r.spend(budget.Resets, kim, limits); err != nil {
			t.Error(err)
		}
	}
	spend()
	r.Advance(10 * time.Minute)
	spend()
	free(50 * time.Minute)
	if err := r.spend(budget.Reveals, kim, limits); err != nil {
		t.Errorf("kinds are counted together: %v", err)
	}
	if err := r.spend(budget.Resets, "somebody-else", limits); err != nil {
		t.Errorf("people are counted together: %v", err)
	}
	r.Advance(50 * time.Minute)
	spend()
	free(23 * time.Hour) // the day's are spent
	r.Advance(23 * time.Hour)
	spend()
	free(10 * time.Minute)
}

// TestSpendAtOnce: of many that are spent at the same time, no more hold than are allowed.
func TestSpendAtOnce(t *testing.T) {
	t.Parallel()
	r := setUp(t)
	const allowed, tries = 5, 40
	var held atomic.Int64
	var wg sync.WaitGroup
	for range tries {
		wg.Go(func() {
			for {
				err := r.spend(budget.Reveals, kim, budget.Limits{Hour: allowed, Day: 100})
				if errors.Is(err, work.ErrConflict) {
					continue
				}
				if err == nil {
					held.Add(1)
				}
				return
			}
		})
	}
	wg.Wait()
	if held.Load() != allowed {
		t.Errorf("%d were spent, %d are allowed", held.Load(), allowed)
	}
}

func TestTellOnceAnHour(t *testing.T) {
	t.Parallel()
	r := setUp(t)
	for i, want := range []bool{true, false, true} {
		u := r.unit()
		got, err := budget.Tell(t.Context(), u, budget.Resets, events.Actor{Kind: events.Operator, ID: kim, Name: "Kim"})
		if err = errors.Join(err, u.Commit(t.Context())); got != want || err != nil {
			t.Errorf("%d: %t, %v", i, got, err)
		}
		r.Advance(30 * time.Minute)
	}
}
