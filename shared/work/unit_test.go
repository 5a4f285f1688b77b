package work_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

const (
	tenant = "0b7e2d4c-6a51-4f3e-9d28-5c1a7f90e364"
	device = "5f0c3a91-27de-4b68-8e14-d3b96a7c0f52"
)

var now = time.Date(2026, 5, 4, 3, 2, 1, 0, time.FixedZone("east", 3600))

func openStore(t *testing.T) *sqlitework.Store {
	t.Helper()
	s, err := sqlitework.Open(filepath.Join(t.TempDir(), "data"), sqlitework.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func newUnit(s work.Store) *work.Unit {
	n := 0
	return work.NewUnit(s, tenant, now, func() string { n++; return fmt.Sprintf("id-%d", n) })
}

type state struct {
	State string `json:"state"`
}

// meddling is a store beside which somebody else works: meddle runs after each commit.
type meddling struct {
	work.Store
	meddle func()
}

func (m meddling) Commit(ctx context.Context, b work.Batch) error {
	if err := m.Store.Commit(ctx, b); err != nil {
		return err
	}
	m.meddle()
	return nil
}

func TestUnitHasOneTimeInUTC(t *testing.T) {
	t.Parallel()
	u := newUnit(openStore(t))
	if !u.Now().Equal(now) || u.Now().Location() != time.UTC || u.Partition() != tenant {
		t.Errorf("unit of %s at %s, want %s at %s", u.Partition(), u.Now(), tenant, now.UTC())
	}
}

func TestUnitSendsEvents(t *testing.T) {
	t.Parallel()
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	u := newUnit(openStore(t))
	data := events.PasscodeResetCheckDue{RequestID: "r-1", DeviceID: device}
	at := now.Add(time.Minute)
	id, err := u.Send(events.WithTrace(t.Context(), trace), "passcodereset", at, data)
	if err != nil {
		t.Fatal(err)
	}
	staged := u.Batch().Messages
	if len(staged) != 1 {
		t.Fatalf("%d messages are staged, want 1", len(staged))
	}
	m := staged[0]
	if m.ID != id || m.Queue != "passcodereset" || m.Partition != tenant || !m.At.Equal(at) {
		t.Errorf("message %s on %s of %s at %s, want %s on passcodereset of %s at %s", m.ID, m.Queue, m.Partition, m.At, id, tenant, at)
	}
	e, err := events.Parse(m.Body)
	if err != nil {
		t.Fatal(err)
	}
	if e.ID != id || e.Tenant != tenant || !e.Time.Equal(now) || e.TraceParent != trace || e.Data.Request() != "r-1" {
		t.Errorf("event is %+v, want %s of %s at %s with trace %s", e, id, tenant, now, trace)
	}

	var field *events.FieldError
	if _, err := u.Send(t.Context(), "passcodereset", time.Time{}, events.PasscodeResetCheckDue{RequestID: "r-2"}); !errors.As(err, &field) {
		t.Errorf("Send of an event without a device: %v, want a field error", err)
	}
	if n := len(u.Batch().Messages); n != 1 {
		t.Errorf("%d messages are staged, want 1: the one that was refused must not be", n)
	}
}

// TestUnitForwardKeepsTheEvent: a replay and an event from outside keep their ids, so that they are dropped as duplicates.
func TestUnitForwardKeepsTheEvent(t *testing.T) {
	t.Parallel()
	u := newUnit(openStore(t))
	const other = "7a1d9c60-4e82-4b35-a0f7-e98b2d516c43"
	e := events.Event{
		ID: "from-outside", Tenant: other, Time: now,
		Data: events.PasscodeResetCheckDue{RequestID: "r-1", DeviceID: device},
	}
	if err := u.Forward("passcodereset", time.Time{}, e); err != nil {
		t.Fatal(err)
	}
	if m := u.Batch().Messages[0]; m.ID != e.ID || m.Partition != other {
		t.Errorf("message %s of %s, want %s of %s", m.ID, m.Partition, e.ID, other)
	}
}

func TestUnitWritesEachRowOnce(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	before := newUnit(s)
	if err := before.Put("r", state{"old"}); err != nil {
		t.Fatal(err)
	}
	if err := before.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	row, err := s.Get(t.Context(), work.Key{Partition: tenant, Row: "r"})
	if err != nil {
		t.Fatal(err)
	}

	u := newUnit(s)
	var got state
	if err := u.Get(t.Context(), "r", &got); err != nil || got.State != "old" {
		t.Fatalf("Get: %+v, %v", got, err)
	}
	u.Delete("r")
	for _, text := range []string{"one", "two"} {
		if err := u.Put("r", state{text}); err != nil {
			t.Fatal(err)
		}
	}
	writes := u.Batch().Writes
	if len(writes) != 1 || string(writes[0].Value) != `{"state":"two"}` || writes[0].Delete {
		t.Fatalf("staged are %+v, want the last value alone", writes)
	}
	if etag, ok := writes[0].If.ETag(); !ok || etag != row.ETag {
		t.Errorf("the write asks for version %q, want %q, which the unit read", etag, row.ETag)
	}
}

func TestUnitReportsWhatItCannotEncodeOrDecode(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	u := newUnit(s)
	if err := u.Put("r", make(chan int)); err == nil || len(u.Batch().Writes) > 0 {
		t.Errorf("Put of a channel: %v, and %d writes are staged", err, len(u.Batch().Writes))
	}
	bad := work.Batch{Partition: tenant, Writes: []work.Write{{Row: "r", Value: []byte("not json")}}}
	if err := s.Commit(t.Context(), bad); err != nil {
		t.Fatal(err)
	}
	if err := u.Get(t.Context(), "r", &state{}); err == nil || errors.Is(err, work.ErrNotFound) {
		t.Errorf("Get of a row that is not JSON: %v, want a decoding error", err)
	}
}

// TestUnitNoticesMeddling: between a unit's checkpoint and its reading back of versions somebody else may write.
func TestUnitNoticesMeddling(t *testing.T) {
	t.Parallel()
	for name, theirs := range map[string]work.Write{
		"another value":          {Row: "r", Value: []byte(`{"state":"theirs"}`)},
		"deletion":               {Row: "r", Delete: true},
		"return of what it took": {Row: "gone", Value: []byte(`{"state":"theirs"}`)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openStore(t)
			u := newUnit(meddling{s, func() {
				if err := s.Commit(t.Context(), work.Batch{Partition: tenant, Writes: []work.Write{theirs}}); err != nil {
					t.Error(err)
				}
			}})
			if err := u.Put("r", state{"mine"}); err != nil {
				t.Fatal(err)
			}
			u.Delete("gone")
			if err := u.Checkpoint(t.Context()); !errors.Is(err, work.ErrConflict) {
				t.Errorf("Checkpoint: %v, want ErrConflict", err)
			}
		})
	}
}

func TestUnitWithoutEffectsCommitsNothing(t *testing.T) {
	t.Parallel()
	u := newUnit(meddling{openStore(t), func() { t.Error("an empty unit was committed") }})
	if err := u.Get(t.Context(), "r", &state{}); !errors.Is(err, work.ErrNotFound) {
		t.Fatal(err)
	}
	if err := u.Commit(t.Context()); err != nil {
		t.Errorf("Commit: %v", err)
	}
}

// TestUnitEndsWithItsCommit: a commit that held is no conflict whatever others do next, and the unit can't be used on.
func TestUnitEndsWithItsCommit(t *testing.T) {
	t.Parallel()
	s := openStore(t)
	u := newUnit(meddling{s, func() {
		theirs := work.Write{Row: "r", Value: []byte(`{"state":"theirs"}`)}
		if err := s.Commit(t.Context(), work.Batch{Partition: tenant, Writes: []work.Write{theirs}}); err != nil {
			t.Error(err)
		}
	}})
	if err := u.Put("r", state{"mine"}); err != nil {
		t.Fatal(err)
	}
	if err := u.Commit(t.Context()); err != nil {
		t.Fatalf("Commit: %v", err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a unit was used after its commit")
		}
	}()
	_ = u.Put("r", state{"again"})
}

// TestUnitCreatesWhatItHasStaged: Create asks for absence, whatever the unit staged for the row before.
func TestUnitCreatesWhatItHasStaged(t *testing.T) {
	t.Parallel()
	u := newUnit(openStore(t))
	if err := errors.Join(u.Put("r", state{"one"}), u.Create("r", state{"two"})); err != nil {
		t.Fatal(err)
	}
	if w := u.Batch().Writes; len(w) != 1 || !w[0].If.Absent() {
		t.Errorf("staged are %+v, want one write that asks for absence", w)
	}
}

// TestUnitWritesUnderItsFirstReading: somebody changes a row between two readings of it. What was decided on the first one does
// not go over the change, whichever reading came last.
func TestUnitWritesUnderItsFirstReading(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]bool{"changed": true, "made": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openStore(t)
			put := func(text string) {
				t.Helper()
				other := newUnit(s)
				if err := errors.Join(other.Put("row", state{text}), other.Commit(t.Context())); err != nil {
					t.Fatal(err)
				}
			}
			if before {
				put("first")
			}
			u := newUnit(s)
			var first, again state
			if err := u.Get(t.Context(), "row", &first); before == errors.Is(err, work.ErrNotFound) {
				t.Fatal(err)
			}
			put("theirs")
			if err := u.Get(t.Context(), "row", &again); err != nil || again.State != "theirs" {
				t.Fatalf("read again: %+v, %v", again, err)
			}
			if err := u.Put("row", state{first.State + " and ours"}); err != nil {
				t.Fatal(err)
			}
			if err := u.Commit(t.Context()); !errors.Is(err, work.ErrConflict) {
				t.Errorf("written over a change: %v", err)
			}
			if err := newUnit(s).Get(t.Context(), "row", &again); err != nil || again.State != "theirs" {
				t.Errorf("the row is %+v: %v", again, err)
			}
		})
	}
}
