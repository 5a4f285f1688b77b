package live_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"pinreset/events"
	"pinreset/shared/audit"
	"pinreset/shared/clocktest"
	"pinreset/shared/live"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

const (
	contoso  = "aaaaaaaa-0000-4000-8000-000000000001"
	fabrikam = "bbbbbbbb-0000-4000-8000-000000000002"
)

type rig struct {
	*clocktest.Clock
	t    *testing.T
	rows *sqlitework.Store
	n    uint64
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, Clock: clocktest.New(time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC))}
	rows, err := sqlitework.Open(filepath.Join(t.TempDir(), "rows"), sqlitework.Options{Now: r.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rows.Close() })
	r.rows = rows
	return r
}

// feed is one process. It reads the log when it is woken, and in a test that waits for its poll soon after.
func (r *rig) feed(o live.Options) *live.Feed {
	o.Store, o.Now = r.rows, r.Now
	if o.Poll == 0 {
		o.Poll = time.Hour
	}
	o.Rest = time.Millisecond
	f := live.New(o)
	r.t.Cleanup(f.Close)
	return f
}

// id is one made so long ago.
func (r *rig) id(ago time.Duration) string {
	r.n++
	id := ulid.MustNew(ulid.Timestamp(r.Now().Add(-ago)), nil)
	for i := range 8 {
		id[15-i] = byte(r.n >> (8 * i))
	}
	return id.String()
}

// entry commits one that was made so long ago, through rows, and returns its change.
func (r *rig) entry(rows work.Store, tenant, request string, ago time.Duration) live.Change {
	r.t.Helper()
	u := work.NewUnit(rows, tenant, r.Now(), func() string { return r.id(ago) })
	err := audit.Append(u, audit.Entry{Actor: events.Pinreset(), Action: audit.ResetIssued, RequestID: request, Reason: "a secret reason", DeviceID: "device"})
	if err == nil {
		err = u.Commit(r.t.Context())
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return live.Change{Kind: "reset", ID: request, State: "issued"}
}

// seat is a viewer with what it was told.
type seat struct {
	*live.Viewer
	t        *testing.T
	position string
	told     []live.Change
	all      int
}

func (r *rig) watch(f *live.Feed, tenant, position string) *seat {
	r.t.Helper()
	v, err := f.Watch(r.t.Context(), tenant, position)
	if err != nil {
		r.t.Fatal(err)
	}
	return &seat{Viewer: v, t: r.t, position: position}
}

// next takes a frame.
func (s *seat) next() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	frame, err := s.Next(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	s.take(frame)
}

func (s *seat) take(frame []byte) {
	s.t.Helper()
	for line := range strings.Lines(string(frame)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch name {
		case "id":
			s.position = value
		case "event":
			if value == live.All {
				s.all++
			}
		case "data":
			var changes []live.Change
			if err := json.Unmarshal([]byte(value), &changes); err != nil {
				s.t.Fatal(err)
			}
			s.told = append(s.told, changes...)
		}
	}
}

// until takes frames until so many changes were told.
func (s *seat) until(n int) {
	s.t.Helper()
	for len(s.told) < n {
		s.next()
	}
}

// TestNothingMissedNothingTwice watches, goes away and comes back to the same and to another process at each point of a run of entries, of
// which every third is committed after younger ones.
func TestNothingMissedNothingTwice(t *testing.T) {
	t.Parallel()
	for away := range 12 {
		t.Run(fmt.Sprint(away), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			feeds := []*live.Feed{r.feed(live.Options{}), r.feed(live.Options{})}
			old := r.entry(r.rows, contoso, "before", time.Hour)
			s := r.watch(feeds[0], contoso, "")
			s.next()
			if s.all != 1 || len(s.told) != 0 {
				t.Fatalf("who comes new is told to look at everything, not %v", s.told)
			}
			var want []live.Change
			for i := range 12 {
				if i == away {
					s.Close()
				}
				ago := time.Duration(0)
				if i%3 == 2 {
					ago = 90 * time.Second
				}
				r.Advance(time.Second)
				want = append(want, r.entry(feeds[0].Waking(r.rows), contoso, fmt.Sprint("r", i), ago))
				r.entry(feeds[0].Waking(r.rows), fabrikam, "another's", 0)
				if i < away {
					s.until(len(want))
				}
			}
			told := s.told
			for _, f := range feeds { // the one that goes on, and one that was just started
				back := r.watch(f, contoso, s.position)
				if away == 0 {
					back.position = s.position
				}
				back.told = slices.Clone(told)
				if len(want) > len(told) {
					back.until(len(want))
				}
				more := append(slices.Clone(want), r.entry(f.Waking(r.rows), contoso, "after", 0), r.entry(f.Waking(r.rows), contoso, "late", time.Minute))
				back.until(len(more))
				if got := sorted(back.told); !slices.Equal(got, sorted(more)) {
					t.Errorf("told %v, want %v", got, sorted(more))
				}
				if back.all != 0 || slices.Contains(back.told, old) {
					t.Error("what was before is told again")
				}
				want = more
				told, s.position = back.told, back.position
				back.Close()
			}
		})
	}
}

func sorted(changes []live.Change) []string {
	var text []string
	for _, c := range changes {
		text = append(text, c.Kind+" "+c.ID+" "+c.State)
	}
	slices.Sort(text)
	return text
}

// TestAnotherTenantsChangesAreNotTold has a busy neighbour: neither its changes nor its pace shows.
func TestAnotherTenantsChangesAreNotTold(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	f := r.feed(live.Options{})
	s, other := r.watch(f, contoso, ""), r.watch(f, fabrikam, "")
	s.next()
	other.next()
	before := s.position
	for i := range 30 {
		r.entry(f.Waking(r.rows), fabrikam, fmt.Sprint("theirs", i), 0)
		other.until(i + 1)
	}
	r.entry(f.Waking(r.rows), contoso, "ours", 0)
	s.until(1)
	if len(s.told) != 1 || s.told[0].ID != "ours" {
		t.Errorf("told %v", s.told)
	}
	// The neighbour's position is worth nothing here: it was told of none of this tenant's entries, and tells none of its own.
	there := r.watch(f, contoso, other.position)
	there.next()
	for _, c := range there.told {
		if c.ID != "ours" {
			t.Errorf("told %v", c)
		}
	}
	if before == s.position {
		t.Error("the position did not move")
	}
}

// TestAnotherProcessWrites: nothing wakes this one, which finds it by its poll.
func TestAnotherProcessWrites(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	f := r.feed(live.Options{Poll: 5 * time.Millisecond})
	s := r.watch(f, contoso, "")
	s.next()
	r.entry(r.rows, contoso, "elsewhere", 0)
	s.until(1)
}

// TestTooMuch: where more has happened than is followed, the viewer looks at everything, and once more when the last late entry is in.
func TestTooMuch(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	f := r.feed(live.Options{})
	s := r.watch(f, contoso, "")
	s.next()
	s.Close()
	for range 20 {
		u := work.NewUnit(r.rows, contoso, r.Now(), func() string { return r.id(0) })
		for range 60 {
			if err := audit.Append(u, audit.Entry{Actor: events.Pinreset(), Action: audit.ResetIssued, RequestID: "many"}); err != nil {
				t.Fatal(err)
			}
		}
		if err := u.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	back := r.watch(f, contoso, s.position)
	back.next()
	if back.all != 1 || len(back.told) != 0 {
		t.Fatalf("all %d, told %d", back.all, len(back.told))
	}
	r.Advance(3 * time.Minute)
	r.entry(f.Waking(r.rows), contoso, "later", 0)
	back.next()
	if back.all != 2 {
		t.Error("not told to look once more")
	}
	r.entry(f.Waking(r.rows), contoso, "last", 0)
	back.until(1)
}

// TestPositionsOfNoUse are answered as none at all.
func TestPositionsOfNoUse(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	f := r.feed(live.Options{})
	for _, position := range []string{"all", "x", "1", "01", strings.Repeat("0", 27), "0.", "0.1", strings.Repeat("A", 400), "0" + strings.Repeat(".0123456789", 30), "0\n.0123456789", "../../etc"} {
		s := r.watch(f, contoso, position)
		s.next()
		if s.all != 1 {
			t.Errorf("position %q is taken", position)
		}
		s.Close()
	}
}

// TestSlowViewerIsDropped while the others go on.
func TestSlowViewerIsDropped(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	f := r.feed(live.Options{})
	slow, quick := r.watch(f, contoso, ""), r.watch(f, contoso, "")
	quick.next()
	for i := range 40 {
		r.entry(f.Waking(r.rows), contoso, fmt.Sprint(i), 0)
		quick.until(i + 1)
	}
	frames := 0
	for {
		_, err := slow.Next(t.Context())
		if errors.Is(err, live.ErrSlow) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		frames++
	}
	if frames == 0 || frames > 8 {
		t.Errorf("%d frames were kept for it", frames)
	}
	slow.Close()
}

// TestHeartbeat comes without a change, and moves no position.
func TestHeartbeat(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.watch(r.feed(live.Options{Beat: time.Millisecond}), contoso, "")
	s.next()
	for range 3 {
		frame, err := s.Next(t.Context())
		if err != nil || string(frame) != ":\n\n" {
			t.Fatalf("%q, %v", frame, err)
		}
	}
}

// TestNothingStays of viewers that have gone, and of a feed that was closed. It looks at the goroutines of the whole process, so it runs
// alone.
func TestNothingStays(t *testing.T) { //nolint:paralleltest // see above
	r := newRig(t)
	before := runtime.NumGoroutine()
	var watched []int
	f := r.feed(live.Options{Most: 50, Watched: func(viewers int) { watched = append(watched, viewers) }})
	var seats []*seat
	for i := range 50 {
		seats = append(seats, r.watch(f, []string{contoso, fabrikam}[i%2], ""))
	}
	if _, err := f.Watch(t.Context(), contoso, ""); !errors.Is(err, live.ErrFull) {
		t.Errorf("one too many: %v", err)
	}
	for _, s := range seats[1:] {
		s.Close()
		s.Close()
	}
	f.Close()
	if _, err := seats[0].Next(t.Context()); err == nil {
		_, err = seats[0].Next(t.Context())
		if !errors.Is(err, live.ErrClosed) {
			t.Errorf("after the feed's end: %v", err)
		}
	}
	seats[0].Close()
	if _, err := f.Watch(t.Context(), contoso, ""); !errors.Is(err, live.ErrClosed) {
		t.Errorf("let in after the end: %v", err)
	}
	if len(watched) != 100 || slices.Max(watched) != 50 || watched[99] != 0 {
		t.Errorf("told of %v viewers", watched)
	}
	after := runtime.NumGoroutine()
	for n := 0; after > before && n < 10_000; n++ { // one that has said that it is done is still counted for a moment
		runtime.Gosched()
		after = runtime.NumGoroutine()
	}
	if after > before {
		t.Errorf("%d goroutines, %d before", after, before)
	}
}
