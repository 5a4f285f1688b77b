// Package live tells whoever looks at a tenant, at once, that something in it has changed.
//
// What is told comes from the tenant's own audit log: a commit that changes something writes its entry with it, so nothing is told that is
// not stored, and every process that shares the store tells the same. A process reads the log of a tenant that somebody watches, once for
// all its viewers: at once when it has itself written an entry (see [Feed.Waking]), and else once in [Options.Poll].
//
// A [Change] is a reference and a state. It has no name, no reason and no secret, so a viewer needs to be let in to the tenant and no more;
// the details are read where rights are asked again.
//
// A frame's position says what has been told of its own tenant up to it, and of nothing else. Who comes back with it is told what came since,
// each change once; a position that is of no use any more (too old, or of a time when too much happened) is answered with [All]: look at
// everything again. So is who comes without one.
//
// An entry's id is made a moment before its commit, so entries may appear behind those that were told already. That is looked for as long as
// [Options.Late]; an entry that took longer from its id to its commit is not told.
package live

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"pinreset/shared/audit"
	"pinreset/shared/work"
)

// Errors of [Feed.Watch] and [Viewer.Next].
var (
	// ErrFull: there are as many viewers as this process takes.
	ErrFull = errors.New("too many viewers")
	// ErrClosed: the feed has been closed.
	ErrClosed = errors.New("feed is closed")
	// ErrSlow: the viewer did not take what there was for it, and is not waited for.
	ErrSlow = errors.New("viewer is too slow")
)

// Options of a feed. Store is required; what is zero has its default.
type Options struct {
	Store work.Store
	Now   func() time.Time // time.Now
	Poll  time.Duration    // how often a watched tenant's log is read; 1 s
	Rest  time.Duration    // how long at least from one reading to the next, whatever is written meanwhile; 50 ms
	Beat  time.Duration    // after so long without a change, a viewer gets a frame without one; 15 s
	Late  time.Duration    // how long an entry may take from its id to its commit; 2 min
	Most  int              // viewers at once; 4096

	// Watched is told how many viewers there are, whenever one comes or goes, one call after the other; it must not wait. It may be nil.
	Watched func(viewers int)
}

// Feed tells viewers of changes. It is safe for concurrent use.
type Feed struct {
	o       Options
	ctx     context.Context // of the readings; ends with Close
	end     context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	viewers int
	topics  map[string]*topic // by tenant; those with viewers
}

// New returns a feed that nobody watches, which costs nothing.
func New(o Options) *Feed {
	if o.Store == nil {
		panic("live: Store is required")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Poll, o.Rest = cmp.Or(o.Poll, time.Second), cmp.Or(o.Rest, 50*time.Millisecond)
	o.Beat, o.Late, o.Most = cmp.Or(o.Beat, 15*time.Second), cmp.Or(o.Late, 2*time.Minute), cmp.Or(o.Most, 4096)
	ctx, end := context.WithCancel(context.Background())
	return &Feed{o: o, ctx: ctx, end: end, topics: map[string]*topic{}}
}

// Watch lets a viewer in to a tenant's changes. position is that of the last frame that was got, "" for none. The caller has asked whether
// the viewer may, and asks again at each frame. The viewer is to be closed.
func (f *Feed) Watch(ctx context.Context, tenant, position string) (*Viewer, error) {
	f.mu.Lock()
	switch {
	case f.closed:
		f.mu.Unlock()
		return nil, ErrClosed
	case f.viewers >= f.o.Most:
		f.mu.Unlock()
		return nil, ErrFull
	}
	f.count(1)
	t := f.topics[tenant]
	if t == nil {
		t = newTopic(f, tenant)
		f.topics[tenant] = t
		f.running.Go(t.run)
	}
	t.users++
	f.mu.Unlock()

	v := &Viewer{topic: t, frames: make(chan []byte, backlog)}
	if err := t.join(ctx, v, position); err != nil {
		v.Close()
		return nil, err
	}
	return v, nil
}

// count notes that viewers came or went. The caller holds the lock.
func (f *Feed) count(more int) {
	f.viewers += more
	if f.o.Watched != nil {
		f.o.Watched(f.viewers)
	}
}

// Close ends every viewer, and returns when nothing of the feed runs any more.
func (f *Feed) Close() {
	f.mu.Lock()
	f.closed = true
	f.end()
	f.mu.Unlock()
	f.running.Wait()
}

// backlog is how many frames a viewer may be behind.
const backlog = 8

// Viewer is one who watches a tenant. Next is for one goroutine.
type Viewer struct {
	topic  *topic
	frames chan []byte
	once   sync.Once
}

// Next waits for the next frame: bytes of a text/event-stream, which must not be changed. It returns ErrSlow for a viewer that was dropped,
// ErrClosed after the feed's Close, and ctx's error when that ends first.
func (v *Viewer) Next(ctx context.Context) ([]byte, error) {
	select {
	case frame, ok := <-v.frames:
		if !ok {
			return nil, ErrSlow
		}
		return frame, nil
	case <-v.topic.feed.ctx.Done():
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Close lets the viewer go. The last one of a tenant ends the reading of its log.
func (v *Viewer) Close() {
	v.once.Do(func() {
		t := v.topic
		t.leave(v)
		t.feed.mu.Lock()
		defer t.feed.mu.Unlock()
		t.feed.count(-1)
		if t.users--; t.users == 0 {
			delete(t.feed.topics, t.tenant)
			t.end()
		}
	})
}

// Rows are what a process writes.
type Rows interface {
	work.Store
	work.Source
}

// Waking returns rows that have the log of a watched tenant read at once when an entry was written to it.
func (f *Feed) Waking(rows Rows) Rows { return waking{rows, f} }

type waking struct {
	Rows
	feed *Feed
}

// Commit implements work.Store.
func (w waking) Commit(ctx context.Context, b work.Batch) error {
	err := w.Rows.Commit(ctx, b)
	if err == nil {
		w.feed.written(b)
	}
	return err
}

// Settle implements work.Source.
func (w waking) Settle(ctx context.Context, d work.Delivery, b work.Batch, o work.Outcome) error {
	err := w.Rows.Settle(ctx, d, b, o)
	if err == nil {
		w.feed.written(b)
	}
	return err
}

func (f *Feed) written(b work.Batch) {
	for _, w := range b.Writes {
		if strings.HasPrefix(w.Row, audit.Prefix) {
			f.mu.Lock()
			t := f.topics[b.Partition]
			f.mu.Unlock()
			if t != nil {
				select {
				case t.wake <- struct{}{}:
				default: // it is about to look anyhow
				}
			}
			return
		}
	}
}
