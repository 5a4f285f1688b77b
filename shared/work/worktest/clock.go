package worktest

import (
	"errors"
	"sync/atomic"
	"time"

	"pinreset/shared/clocktest"
)

// NewClock returns a clock that stands somewhere. A backend that waits for its clock has to be woken when it was moved.
func NewClock() *clocktest.Clock { return clocktest.New(time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)) }

// Crasher is a [Backend]'s Crash, for a store that calls Before ahead of each step of a commit.
type Crasher struct{ at atomic.Pointer[string] }

// Crash lets the next commit that reaches the step stop before it; "" calls that off.
func (c *Crasher) Crash(step string) { c.at.Store(&step) }

// Before returns an error when the commit is to stop here.
func (c *Crasher) Before(step string) error {
	if at := c.at.Load(); at != nil && *at == step && c.at.CompareAndSwap(at, nil) {
		return errors.New("the process died")
	}
	return nil
}
