package sqlitework

import (
	"context"
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

// TestConformanceTorn: the contract holds though a commit is not atomic, and though it is cut at any of its steps.
func TestConformanceTorn(t *testing.T) {
	t.Parallel()
	worktest.Run(t, func(t *testing.T) worktest.Backend {
		clock, dir := worktest.NewClock(), filepath.Join(t.TempDir(), "data")
		crasher := &worktest.Crasher{}
		c := start(t, func() (*Torn, error) { return OpenTorn(dir, Options{Now: clock.Now}, crasher.Before) })
		return worktest.Backend{
			Store: c.store, Source: c.store, Lease: time.Minute, Now: clock.Now,
			Advance: func(d time.Duration) { clock.Advance(d); c.store.Wake() },
			Reopen: func(t *testing.T) worktest.Backend {
				s := c.reopen(t)
				return worktest.Backend{Store: s, Source: s, ReopenReleases: true}
			},
			Steps: []string{StepRows, StepMessages, StepSettle, StepClear},
			Crash: crasher.Crash,
			Sweep: func(ctx context.Context) error { return c.store.Sweep(ctx) },
		}
	})
}
