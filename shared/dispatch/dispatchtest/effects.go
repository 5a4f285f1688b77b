package dispatchtest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"pinreset/shared/work"
)

// errCrashed is what a dead process gets from everything it still tries.
var errCrashed = errors.New("the process has crashed")

// effects passes everything on to the backend, counts the boundaries between effects, and lets the process die at one.
type effects struct {
	backend backend

	mu     sync.Mutex
	passed int
	at     int
	where  string // of the crash that happened
	dead   bool
	times  []time.Time // when something may be due
}

func (e *effects) arm(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.passed, e.at, e.where = 0, n, ""
}

func (e *effects) state() (int, string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.passed, e.where
}

func (e *effects) crashed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.dead
}

// restart reports whether the process was dead, and brings it back.
func (e *effects) restart() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	was := e.dead
	e.dead = false
	return was
}

// boundary is passed between two effects.
func (e *effects) boundary(where string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.dead {
		return errCrashed
	}
	e.passed++
	if e.passed == e.at {
		e.dead, e.where = true, where
		return errCrashed
	}
	return nil
}

func (e *effects) due(at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.times = append(e.times, at)
}

// nextDue returns the first time after now at which something may be due.
func (e *effects) nextDue(now time.Time) (time.Time, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.times = slices.DeleteFunc(e.times, func(t time.Time) bool { return !t.After(now) })
	if len(e.times) == 0 {
		return time.Time{}, false
	}
	return slices.MinFunc(e.times, time.Time.Compare), true
}

func (e *effects) note(b work.Batch) {
	for _, m := range b.Messages {
		e.due(m.At)
	}
}

func (e *effects) Get(ctx context.Context, key work.Key) (work.Row, error) {
	if e.crashed() {
		return work.Row{}, errCrashed
	}
	return e.backend.Get(ctx, key)
}

func (e *effects) List(ctx context.Context, q work.Query) (work.Page, error) {
	if e.crashed() {
		return work.Page{}, errCrashed
	}
	return e.backend.List(ctx, q)
}

func (e *effects) Commit(ctx context.Context, b work.Batch) error {
	if err := e.boundary("before commit"); err != nil {
		return err
	}
	e.note(b)
	if err := e.backend.Commit(ctx, b); err != nil {
		return err
	}
	return e.boundary("after commit")
}

func (e *effects) Receive(ctx context.Context, q work.Queue, limit int) ([]work.Delivery, error) {
	return e.backend.Receive(ctx, q, limit)
}

func (e *effects) Renew(ctx context.Context, d work.Delivery) (time.Time, error) {
	return e.backend.Renew(ctx, d)
}

func (e *effects) Settle(ctx context.Context, d work.Delivery, b work.Batch, o work.Outcome) error {
	if err := e.boundary("before settle"); err != nil {
		return err
	}
	e.note(b)
	e.due(o.At)
	if err := e.backend.Settle(ctx, d, b, o); err != nil {
		return err
	}
	return e.boundary("after settle")
}
