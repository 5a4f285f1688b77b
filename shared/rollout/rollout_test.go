package rollout_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/shared/rollout"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

const (
	contoso = "aaaaaaaa-0000-4000-8000-000000000001"
	sales   = "44444444-0000-4000-8000-000000000001"
	labs    = "44444444-0000-4000-8000-000000000002"
)

var now = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

func TestPercentLeavesOutWhatDoesNotApply(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		p          rollout.Progress
		percent    int
		known      bool
		everywhere bool
	}{
		{rollout.Progress{Source: rollout.FromIntune, Succeeded: 3, Pending: 1, NotApplicable: 96}, 75, true, false},
		{rollout.Progress{Source: rollout.FromIntune, Succeeded: 2, NotApplicable: 5}, 100, true, true},
		{rollout.Progress{Source: rollout.FromIntune, Succeeded: 199, Conflict: 1}, 99, true, false}, // never rounded up to all
		{rollout.Progress{Source: rollout.FromIntune, NotApplicable: 5}, 0, false, false},
		{rollout.Progress{Source: rollout.FromIntune}, 0, false, false},
		{rollout.Progress{Source: rollout.FromNowhere, Succeeded: 3}, 0, false, false},
		{rollout.Progress{Source: rollout.FromDevices, Succeeded: 1, Failed: 1}, 50, true, false},
	} {
		if got, ok := c.p.Percent(); got != c.percent || ok != c.known || c.p.Everywhere() != c.everywhere {
			t.Errorf("%+v: %d %t, everywhere %t", c.p, got, ok, c.p.Everywhere())
		}
	}
}

// TestHistoryIsBounded: many looks leave a history of few samples that still begins at the beginning and ends at the end.
func TestHistoryIsBounded(t *testing.T) {
	t.Parallel()
	var r rollout.Rollout
	for i := range 5000 {
		r.See(rollout.Progress{At: now.Add(time.Duration(i) * time.Minute), Source: rollout.FromIntune, Succeeded: i / 2, Pending: 2500 - i/2})
	}
	if n := len(r.Samples); n < 30 || n > 64 {
		t.Errorf("%d samples", n)
	}
	if first, last := r.Samples[0], r.Samples[len(r.Samples)-1]; !first.At.Equal(now) || last.Succeeded != 2499 || r.Progress.Succeeded != 2499 {
		t.Errorf("from %+v to %+v", first, last)
	}
	for i := 1; i < len(r.Samples); i++ {
		if !r.Samples[i].At.After(r.Samples[i-1].At) {
			t.Fatalf("sample %d is not after the one before", i)
		}
	}
}

type store struct {
	*sqlitework.Store
	t *testing.T
	n int
}

func open(t *testing.T) *store {
	t.Helper()
	s, err := sqlitework.Open(t.TempDir(), sqlitework.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return &store{Store: s, t: t}
}

func (s *store) id() string {
	s.n++
	return fmt.Sprintf("01%024d", s.n)
}

func (s *store) unit() *work.Unit { return work.NewUnit(s, contoso, now, s.id) }

// do commits what fn stages and returns its error, or the commit's.
func (s *store) do(fn func(u *work.Unit) error) error {
	s.t.Helper()
	u := s.unit()
	if err := fn(u); err != nil {
		return err
	}
	return u.Commit(s.t.Context())
}

func wish(id, group string) events.PolicyRolloutRequested {
	return events.PolicyRolloutRequested{RequestID: id, Shape: events.ShapeOMAURI, Include: []string{group}, Reason: "a test", By: events.Pinreset()}
}

// interrupted lets something happen right after the first look at the turn.
type interrupted struct {
	work.Store
	then func()
}

func (s *interrupted) Get(ctx context.Context, key work.Key) (work.Row, error) {
	row, err := s.Store.Get(ctx, key)
	if then := s.then; key.Row == "rollouts" && then != nil {
		s.then = nil
		then()
	}
	return row, err
}

// TestTurnIsTakenByWhatWasSeen: somebody takes the turn in the middle of an Accept, a Take or a Withdraw; only one has it.
func TestTurnIsTakenByWhatWasSeen(t *testing.T) {
	t.Parallel()
	for name, try := range map[string]func(ctx context.Context, u *work.Unit) error{
		"accept": func(ctx context.Context, u *work.Unit) error {
			_, _, err := rollout.Accept(ctx, u, wish("second", labs))
			return err
		},
		"take": func(ctx context.Context, u *work.Unit) error { return rollout.Take(ctx, u, "placed") },
		"withdraw": func(ctx context.Context, u *work.Unit) error {
			_, err := rollout.Withdraw(ctx, u, events.PolicyRollbackRequested{RequestID: "back", RolloutID: "placed", Reason: "a test"})
			return err
		},
	} {
		s := open(t)
		if err := s.do(func(u *work.Unit) error {
			r, err := rollout.Record(u, wish("placed", sales))
			r.State, r.PolicyID = rollout.Watching, "p"
			return errors.Join(err, rollout.Place(t.Context(), u, &r))
		}); err != nil {
			t.Fatal(err)
		}
		u := work.NewUnit(&interrupted{Store: s, then: func() {
			if err := s.do(func(u *work.Unit) error {
				_, _, err := rollout.Accept(t.Context(), u, wish("first", sales))
				return err
			}); err != nil {
				t.Error(err)
			}
		}}, contoso, now, s.id)
		err := try(t.Context(), u)
		if err == nil {
			err = u.Commit(t.Context())
		}
		if !errors.Is(err, work.ErrConflict) && !errors.Is(err, rollout.ErrBusy) {
			t.Errorf("%s: %v", name, err)
		}
		if holder, err := rollout.Holder(t.Context(), s.unit()); err != nil || holder.ID != "first" {
			t.Errorf("%s: the turn is %q's: %v", name, holder.ID, err)
		}
	}
}

// TestTurn: one rollout of a tenant writes at a time, and none does while another is taken back.
func TestTurn(t *testing.T) {
	t.Parallel()
	s := open(t)
	accept := func(id, group string) (r rollout.Rollout, existing bool, err error) {
		err = s.do(func(u *work.Unit) (err error) {
			r, existing, err = rollout.Accept(t.Context(), u, wish(id, group))
			return err
		})
		return r, existing, err
	}
	first, existing, err := accept("r1", sales)
	if err != nil || existing {
		t.Fatalf("%t %v", existing, err)
	}
	if same, existing, err := accept("r2", sales); err != nil || !existing || same.ID != "r1" {
		t.Errorf("the same wish: %s %t %v", same.ID, existing, err)
	}
	if _, _, err := accept("r3", labs); !errors.Is(err, rollout.ErrBusy) {
		t.Errorf("another wish: %v", err)
	}
	if err := s.do(func(u *work.Unit) error { return rollout.Take(t.Context(), u, "r3") }); !errors.Is(err, rollout.ErrBusy) {
		t.Errorf("took the turn of another: %v", err)
	}
	back := func(id, of string) error {
		return s.do(func(u *work.Unit) error {
			_, err := rollout.Withdraw(t.Context(), u, events.PolicyRollbackRequested{RequestID: id, RolloutID: of, Reason: "a test", By: events.Pinreset()})
			return err
		})
	}
	if err := back("b1", "r1"); !errors.Is(err, rollout.ErrBusy) {
		t.Errorf("taken back while it is written: %v", err)
	}
	if err := s.do(func(u *work.Unit) error {
		r, err := rollout.Read(t.Context(), u, first.ID)
		r.State, r.PolicyID = rollout.Watching, "p"
		return errors.Join(err, rollout.Place(t.Context(), u, &r))
	}); err != nil {
		t.Fatal(err)
	}
	if current, err := rollout.Current(t.Context(), s.unit()); err != nil || current.ID != "r1" {
		t.Errorf("current %s: %v", current.ID, err)
	}
	if _, existing, err = accept("r4", sales); err != nil || existing {
		t.Errorf("the same wish once it is in place: %t %v", existing, err)
	}
	if err := back("b2", "r1"); !errors.Is(err, rollout.ErrBusy) {
		t.Errorf("taken back while another is written: %v", err)
	}
	if err := s.do(func(u *work.Unit) error {
		r, err := rollout.Read(t.Context(), u, "r4")
		return errors.Join(err, rollout.End(t.Context(), u, r, rollout.Failed))
	}); err != nil {
		t.Fatal(err)
	}
	if err := back("b3", "r4"); !errors.Is(err, rollout.ErrNothing) {
		t.Errorf("took back what had written nothing: %v", err)
	}
	if err := back("b4", "r1"); err != nil {
		t.Fatal(err)
	}
	if err := back("b4", "r1"); err != nil {
		t.Errorf("delivered twice: %v", err)
	}
	if _, _, err := accept("r5", sales); !errors.Is(err, rollout.ErrBusy) {
		t.Errorf("rolled out while it is taken back: %v", err)
	}
	if err := s.do(func(u *work.Unit) error {
		r, err := rollout.Read(t.Context(), u, "r1")
		return errors.Join(err, rollout.End(t.Context(), u, r, rollout.RolledBack))
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := rollout.Current(t.Context(), s.unit()); !errors.Is(err, work.ErrNotFound) {
		t.Errorf("something stands after the rollback: %v", err)
	}
	if err := back("b5", "r1"); !errors.Is(err, rollout.ErrNothing) {
		t.Errorf("taken back twice: %v", err)
	}
	if _, _, err := accept("r6", sales); err != nil {
		t.Error(err)
	}
	list, next, err := rollout.List(t.Context(), s, contoso, 10, "")
	if err != nil || next != "" || len(list) != 3 || list[0].ID != "r6" || list[2].ID != "r1" {
		t.Errorf("list of %d, %v", len(list), err)
	}
}

// ahead lets something happen right before the first look at the turn.
type ahead struct {
	work.Store
	then func()
}

func (s *ahead) Get(ctx context.Context, key work.Key) (work.Row, error) {
	if then := s.then; key.Row == "rollouts" && then != nil {
		s.then = nil
		then()
	}
	return s.Store.Get(ctx, key)
}

// TestSecondRollbackGoesNotOverTheFirst: two ask to take the same rollout back at once. The one that is later is told that it is
// busy, and the first one's is kept.
func TestSecondRollbackGoesNotOverTheFirst(t *testing.T) {
	t.Parallel()
	s := open(t)
	if err := s.do(func(u *work.Unit) error {
		r, err := rollout.Record(u, wish("placed", sales))
		r.State, r.PolicyID = rollout.Watching, "p"
		return errors.Join(err, rollout.Place(t.Context(), u, &r))
	}); err != nil {
		t.Fatal(err)
	}
	back := func(u *work.Unit, id string) error {
		_, err := rollout.Withdraw(t.Context(), u, events.PolicyRollbackRequested{RequestID: id, RolloutID: "placed", Reason: "a test"})
		return err
	}
	u := work.NewUnit(&ahead{Store: s, then: func() {
		if err := s.do(func(u *work.Unit) error { return back(u, "first") }); err != nil {
			t.Error(err)
		}
	}}, contoso, now, s.id)
	err := back(u, "second")
	if err == nil {
		err = u.Commit(t.Context())
	}
	if !errors.Is(err, work.ErrConflict) && !errors.Is(err, rollout.ErrBusy) {
		t.Errorf("the second rollback: %v", err)
	}
	if r, err := rollout.Read(t.Context(), s.unit(), "placed"); err != nil || r.Rollback == nil || r.Rollback.ID != "first" {
		t.Errorf("the rollout is taken back by %+v: %v", r.Rollback, err)
	}
}
