// Package clocktest is a clock for tests that stands still until it is moved by hand, so that a test says when time passes and never
// waits for it. Its Now fits wherever a clock is injected. It starts no timers; code that sleeps wants testing/synctest instead.
package clocktest

import (
	"sync"
	"time"
)

// Clock is a clock that is moved by hand. It is safe for concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// New returns a clock that stands at the time.
func New(at time.Time) *Clock { return &Clock{now: at} }

// Now returns the clock's time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock, back for less than 0.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
