package live

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"pinreset/shared/audit"
)

const (
	firstPage = 16   // entries; mostly nothing is new, and the first page tells that
	nextPages = 200  // entries
	mostRead  = 1000 // entries of one reading; where there are more, the viewers are told to look at everything
)

// topic is a tenant that is watched. Its goroutine reads the log; the viewers share what it finds.
type topic struct {
	feed   *Feed
	tenant string
	wake   chan struct{}
	ctx    context.Context
	end    context.CancelFunc
	users  int // under the feed's lock

	mu      sync.Mutex
	viewers map[*Viewer]bool
	read    bool            // the log has been read once
	floor   string          // id of an entry: what is not above it has been told or never will be
	told    map[string]bool // ids above the floor
	again   time.Time       // when viewers are to look at everything once more; zero: not at all
}

func newTopic(f *Feed, tenant string) *topic {
	t := &topic{feed: f, tenant: tenant, wake: make(chan struct{}, 1), viewers: map[*Viewer]bool{}, told: map[string]bool{}}
	t.ctx, t.end = context.WithCancel(f.ctx)
	return t
}

// run reads the log until the last viewer has gone.
func (t *topic) run() {
	o := t.feed.o
	poll, beat := time.NewTimer(o.Poll), time.NewTimer(o.Beat)
	defer poll.Stop()
	defer beat.Stop()
	for {
		looking := true
		select {
		case <-t.ctx.Done():
			return
		case <-t.wake:
		case <-poll.C:
		case <-beat.C:
			looking = false
		}
		if !looking {
			t.mu.Lock()
			t.tell(heartbeat)
			t.mu.Unlock()
			beat.Reset(o.Beat)
			continue
		}
		if t.turn() {
			beat.Reset(o.Beat)
		}
		poll.Reset(o.Poll)
		select { // what is written in a burst is told together
		case <-t.ctx.Done():
			return
		case <-time.After(o.Rest):
		}
	}
}

// turn looks and tells, and reports whether there was something to tell. A log that can't be read now is read the next time.
func (t *topic) turn() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	frame, err := t.look(t.ctx)
	if err != nil || frame == nil {
		return false
	}
	t.tell(frame)
	return true
}

// join lets a viewer in, with what it has missed.
func (t *topic) join(ctx context.Context, v *Viewer, position string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, known := parse(position)
	if known || !t.read {
		// What the viewer was told of elsewhere is stored, so after a look this topic knows of it too and does not tell it again.
		frame, err := t.look(ctx)
		if err != nil {
			return err
		}
		if frame != nil {
			t.tell(frame)
		}
	}
	frame := t.frame(nil, true)
	if known {
		entries, _, whole, err := t.above(ctx, p.floor)
		if err != nil {
			return err
		}
		if whole {
			var missed []Change
			for _, e := range slices.Backward(entries) {
				if !p.has(e.ID) && (e.ID <= t.floor || t.told[e.ID]) {
					missed = appendChange(missed, e)
				}
			}
			if frame = heartbeat; len(missed) > 0 {
				frame = t.frame(missed, false)
			}
		}
	}
	v.frames <- frame // it is empty
	t.viewers[v] = true
	return nil
}

func (t *topic) leave(v *Viewer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.viewers, v)
}

// tell gives every viewer the frame, and drops those that are behind.
func (t *topic) tell(frame []byte) {
	for v := range t.viewers {
		select {
		case v.frames <- frame:
		default:
			delete(t.viewers, v)
			close(v.frames)
		}
	}
}

// look reads what is new and returns the frame that tells of it, nil where there is nothing to tell. The first look only finds the place.
func (t *topic) look(ctx context.Context) ([]byte, error) {
	now := t.feed.o.Now()
	horizon := ulid.MustNew(ulid.Timestamp(now.Add(-t.feed.o.Late)), nil).String() // older ids have been committed or never will be
	from := t.floor
	if !t.read {
		from = horizon
	}
	entries, below, whole, err := t.above(ctx, from)
	if err != nil {
		return nil, err
	}
	if !t.read {
		t.floor = below
	}
	all := false
	var changes []Change
	if whole {
		for _, e := range slices.Backward(entries) {
			if !t.told[e.ID] {
				t.told[e.ID] = true
				changes = appendChange(changes, e)
			}
		}
	} else {
		// Too many to follow each. Those that may yet appear among them are seen to by looking at everything once more.
		t.floor, all, t.again = entries[0].ID, true, now.Add(t.feed.o.Late)
		clear(t.told)
	}
	t.settle(horizon)
	if !t.read {
		t.read = true
		return nil, nil
	}
	if whole && !t.again.IsZero() && !now.Before(t.again) {
		all, t.again = true, time.Time{}
	}
	if !all && len(changes) == 0 {
		return nil, nil
	}
	return t.frame(changes, all), nil
}

// settle raises the floor to the newest entry that was told and is older than the horizon.
func (t *topic) settle(horizon string) {
	for id := range t.told {
		if id < horizon {
			t.floor = max(t.floor, id)
		}
	}
	maps.DeleteFunc(t.told, func(id string, _ bool) bool { return id <= t.floor })
}

// above returns the entries above the floor, newest first, and the id of the next one below, "" for none. whole is false where there are
// more than are read at once.
func (t *topic) above(ctx context.Context, floor string) (entries []audit.Entry, below string, whole bool, err error) {
	page, limit := "", firstPage
	for len(entries) < mostRead {
		found, next, err := audit.List(ctx, t.feed.o.Store, t.tenant, limit, page)
		if err != nil {
			return nil, "", false, err
		}
		for _, e := range found {
			if e.ID <= floor {
				return entries, e.ID, true, nil
			}
			entries = append(entries, e)
		}
		if next == "" {
			return entries, "", true, nil
		}
		page, limit = next, nextPages
	}
	return entries, "", false, nil
}
