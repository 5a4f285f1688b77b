package main

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"pinreset/shared/work/worktest"
)

// TestStore and TestStoreInSteps prove that what is found on the simulation's store is found on every backend.
func TestStore(t *testing.T) {
	t.Parallel()
	worktest.Run(t, func(*testing.T) worktest.Backend { return backend(nil) })
}

func TestStoreInSteps(t *testing.T) {
	t.Parallel()
	worktest.Run(t, func(*testing.T) worktest.Backend {
		var crash atomic.Pointer[string]
		b := backend(func(_ bool, step string) error {
			if at := crash.Load(); at != nil && *at == step && crash.CompareAndSwap(at, nil) {
				return errors.New("the process died")
			}
			return nil
		})
		b.Steps = []string{stepRows, stepMessages, stepSettle, stepClear}
		b.Crash = func(step string) { crash.Store(&step) }
		b.Sweep = func(context.Context) error { b.Store.(*store).sweep(); return nil }
		return b
	})
}

func backend(before func(bool, string) error) worktest.Backend {
	var moved atomic.Int64
	now := func() time.Time { return start.Add(time.Duration(moved.Load())) }
	s := newStore(now, time.Minute)
	s.before = before
	return worktest.Backend{
		Store: s, Source: s, Lease: s.lease, Now: now,
		Advance: func(d time.Duration) { moved.Add(int64(d)); s.stir() },
	}
}
