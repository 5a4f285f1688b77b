package web_test

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"pinreset/shared/graph"
	"pinreset/shared/work"
)

// clock is a time that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// fleet is Graph with a few devices; err makes every call fail, and boom makes it panic.
type fleet struct {
	mu      sync.Mutex
	devices map[string][]graph.ManagedDevice
	err     error
	boom    any
}

func (f *fleet) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *fleet) explode(value any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.boom = value
}

func (f *fleet) of(tenant string) ([]graph.ManagedDevice, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.boom != nil {
		panic(f.boom)
	}
	return f.devices[tenant], f.err
}

func (f *fleet) ManagedDevices(_ context.Context, tenant string, filter graph.DeviceFilter) iter.Seq2[graph.ManagedDevice, error] {
	return func(yield func(graph.ManagedDevice, error) bool) {
		devices, err := f.of(tenant)
		if err != nil {
			yield(graph.ManagedDevice{}, err)
			return
		}
		for _, d := range devices {
			is := func(want, have string) bool { return want == "" || want == have }
			if is(filter.Name, d.DeviceName) && is(filter.User, d.UserPrincipalName) && is(filter.Serial, d.SerialNumber) && !yield(d, nil) {
				return
			}
		}
	}
}

func (f *fleet) ManagedDevice(_ context.Context, tenant, id string) (graph.ManagedDevice, error) {
	devices, err := f.of(tenant)
	if err != nil {
		return graph.ManagedDevice{}, err
	}
	for _, d := range devices {
		if d.ID == id {
			return d, nil
		}
	}
	return graph.ManagedDevice{}, fmt.Errorf("read device %s: %w", id, graph.ErrNotFound)
}

// brokenStore fails every commit while it is broken.
type brokenStore struct {
	work.Store
	broken atomic.Bool
}

func (b *brokenStore) Commit(ctx context.Context, batch work.Batch) error {
	if b.broken.Load() {
		return fmt.Errorf("commit: disk full")
	}
	return b.Store.Commit(ctx, batch)
}

// buffer is a log that requests may write to at once.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
