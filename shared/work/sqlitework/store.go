package sqlitework

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"pinreset/shared/work"
)

var (
	// ErrClosed: the store was closed; the operation was not begun.
	ErrClosed = errors.New("store is closed")
	// ErrInUse: another process, or another Store of this one, has the data directory open.
	ErrInUse = errors.New("another pinreset uses this data directory")
	// ErrNewer: the data was written by a newer program, and an older one would not understand all of it.
	ErrNewer = errors.New("the data was written by a newer pinreset")
	// ErrNotErased: rows are deleted, but bytes of them may remain in the write-ahead log. Erase again.
	ErrNotErased = errors.New("deleted, but the write-ahead log could not be emptied")
)

// Options change a store's defaults. The zero value is what production runs with.
type Options struct {
	// Lease is how long a delivery is held without Renew; 60 s if zero.
	Lease time.Duration
	// Inbox is how long the id of a done message is remembered; 8 days if zero, because a webhook is retried for up to
	// three days and a bit with the same id (Standard Webhooks' retry schedule).
	Inbox time.Duration
	// Now tells the time; time.Now if nil. Who sets it calls [Store.Wake] when it has moved.
	Now func() time.Time
	// Alone says that one goroutine at a time uses the store, so that a group which waits for company waits for nobody. It
	// changes no guarantee, only how long a commit takes.
	Alone bool
}

// Store is a [work.Store] and a [work.Source] over one data directory. All methods are safe for concurrent use.
type Store struct {
	lease       time.Duration
	inbox       time.Duration
	now         func() time.Time
	alone       bool
	key         []byte // of page tokens
	lock        *os.File
	writer      *writer
	checkpoints *checkpointer
	readers     chan *reader // the idle ones
	cache       *cache
	closing     chan struct{}
	close       func() error
}

var (
	_ work.Store  = (*Store)(nil)
	_ work.Source = (*Store)(nil)
)

// Open opens the store in dir and creates both if need be. It returns ErrInUse when another process has it open, and
// ErrNewer when a newer program wrote it.
func Open(dir string, o Options) (*Store, error) {
	s, err := open(context.Background(), dir, o)
	if err != nil {
		return nil, fmt.Errorf("open data directory %s: %w", dir, err)
	}
	return s, nil
}

func open(ctx context.Context, dir string, o Options) (_ *Store, err error) {
	if o.Lease == 0 {
		o.Lease = time.Minute
	}
	if o.Inbox == 0 {
		o.Inbox = 8 * 24 * time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Store{lease: o.Lease, inbox: o.Inbox, now: o.Now, alone: o.Alone, closing: make(chan struct{}), cache: newCache()}
	var opened []func() error
	undo := func() error {
		var errs []error
		for i := len(opened) - 1; i >= 0; i-- {
			errs = append(errs, opened[i]())
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, undo())
		}
	}()

	if err := createFiles(dir); err != nil {
		return nil, err
	}
	if s.lock, err = os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, err
	}
	opened = append(opened, s.lock.Close)
	if err := lockFile(s.lock); err != nil {
		return nil, err
	}
	opened = append(opened, func() error { return unlockFile(s.lock) })
	c, err := connect(ctx, dir, writing)
	if err != nil {
		return nil, err
	}
	opened = append(opened, c.close)
	if err := prepareSchema(ctx, c, steps); err != nil {
		return nil, err
	}
	if s.key, err = pageKey(ctx, c); err != nil {
		return nil, err
	}
	if err := releaseLeases(ctx, c, microseconds(s.now())); err != nil {
		return nil, err
	}
	if err := syncDir(dir); err != nil {
		return nil, err
	}
	if s.writer, err = newWriter(ctx, s, c); err != nil {
		return nil, err
	}
	s.writer.alone = s.alone
	s.readers = make(chan *reader, max(2, runtime.GOMAXPROCS(0)))
	for range cap(s.readers) {
		c, err := connect(ctx, dir, reading)
		if err != nil {
			return nil, err
		}
		opened = append(opened, c.close)
		r, err := newReader(ctx, c)
		if err != nil {
			return nil, err
		}
		opened = append(opened, r.close)
		s.readers <- r
	}
	second, err := connect(ctx, dir, copying)
	if err != nil {
		return nil, err
	}
	opened = append(opened, second.close)
	if s.checkpoints, err = newCheckpointer(ctx, second); err != nil {
		return nil, err
	}
	go s.checkpoints.run()
	go s.writer.run()
	s.close = sync.OnceValue(func() error {
		close(s.closing)
		s.writer.stop()
		s.checkpoints.stop()
		s.drainReaders()
		return undo()
	})
	return s, nil
}

// Close waits for the commits that are under way, refuses later operations with ErrClosed and frees the data directory.
// Whoever waits in Receive gets ErrClosed.
func (s *Store) Close() error { return s.close() }

// Wake looks for messages that are due now. The store does so by itself as time passes; call it when the clock given in
// [Options] was moved.
func (s *Store) Wake() { s.writer.nudge() }

// Commit applies the batch in one transaction. It returns [work.ErrConflict] when a condition does not hold. A context that
// ends while the batch waits for the transaction before it withdraws the batch; later than that the result is told.
func (s *Store) Commit(ctx context.Context, batch work.Batch) error {
	if err := batch.Validate(); err != nil {
		return err
	}
	return s.writer.submit(ctx, &operation{urgent: true, size: sizeOf(batch), run: func(g *group) error {
		if err := g.check(batch); err != nil {
			return err
		}
		return g.apply(batch)
	}})
}

// sizeOf says about how much a batch adds to its transaction, in bytes.
func sizeOf(b work.Batch) int {
	n := 0
	for _, w := range b.Writes {
		n += len(w.Value)
	}
	for _, m := range b.Messages {
		n += len(m.Body)
	}
	return n
}
