package sqlitework

import (
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pinreset/shared/work/worktest"
)

// current is the store that is open over one directory at a time.
type current[S interface{ Close() error }] struct {
	mu    sync.Mutex
	store S
	open  func() (S, error)
}

// reopen closes the store and opens it anew.
func (c *current[S]) reopen(t *testing.T) S {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.store.Close(); err != nil {
		t.Fatal(err)
	}
	var err error
	if c.store, err = c.open(); err != nil {
		t.Fatal(err)
	}
	return c.store
}

func start[S interface{ Close() error }](t *testing.T, open func() (S, error)) *current[S] {
	t.Helper()
	s, err := open()
	if err != nil {
		t.Fatal(err)
	}
	c := &current[S]{store: s, open: open}
	t.Cleanup(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if err := c.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestConformance(t *testing.T) {
	t.Parallel()
	worktest.Run(t, func(t *testing.T) worktest.Backend {
		clock, dir := worktest.NewClock(), filepath.Join(t.TempDir(), "data")
		c := start(t, func() (*Store, error) { return Open(dir, Options{Now: clock.Now}) })
		return worktest.Backend{
			Store: c.store, Source: c.store, Lease: time.Minute, Now: clock.Now,
			Advance: func(d time.Duration) { clock.Advance(d); c.store.Wake() },
			Reopen: func(t *testing.T) worktest.Backend {
				s := c.reopen(t)
				return worktest.Backend{Store: s, Source: s, ReopenReleases: true}
			},
		}
	})
}
