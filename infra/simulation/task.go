package main

import (
	"context"
	"errors"
	"iter"
	"slices"
	"time"
)

// task is a run of a handler or of a request by a person.
type task struct {
	name            string
	tenant, request string
	process         int
	started         time.Time
	skew            time.Duration // of the clock when it started
	wake            time.Time     // stands still until then
	dead            bool          // its process is
	*coroutine
	unkept map[string]pretence // rows that the broken build pretends to have kept

	// What the run has been shown of policies.
	proved map[string]bool // Microsoft's applications that are there and enabled
	shown  *shown
	off    bool // the value of the policy that it works on
}

// coroutine runs one task after another, so that its stack has grown once.
type coroutine struct {
	next  func() (pause, bool)
	stop  func()
	yield func(pause) bool
	body  func(context.Context)
}

// pause says why a coroutine stands still: between two tasks, or in one.
type pause bool

const (
	halted pause = false
	ended  pause = true
)

func newCoroutine() *coroutine {
	c := &coroutine{}
	c.next, c.stop = iter.Pull(func(yield func(pause) bool) {
		c.yield = yield
		for {
			c.body(context.Background())
			if !yield(ended) {
				return
			}
		}
	})
	return c
}

var errCrashed = errors.New("the process has died")
var errUnavailable = errors.New("storage is unavailable")

// spawn starts a task and lets it run to its first halt.
func (w *world) spawn(t *task, body func(context.Context)) {
	t.process, t.started, t.skew = w.rng.IntN(processes), w.now, w.skew
	if n := len(w.idle); n > 0 {
		t.coroutine, w.idle = w.idle[n-1], w.idle[:n-1]
	} else {
		t.coroutine = newCoroutine()
	}
	t.body = body
	w.tasks = append(w.tasks, t)
	w.resume(t)
}

func (w *world) resume(t *task) {
	w.cur = t
	why, _ := t.next()
	w.cur = nil
	if why == ended {
		w.idle = append(w.idle, t.coroutine)
		w.tasks = slices.DeleteFunc(w.tasks, func(o *task) bool { return o == t })
	}
}

// bury lets what a dead process was doing come to its end, where nothing that it tries has an effect.
func (w *world) bury() {
	for _, t := range slices.Clone(w.tasks) {
		if t.dead {
			w.resume(t)
		}
	}
}

// halt gives way to others, and comes back after d at the earliest.
func (w *world) halt(d time.Duration) error {
	t := w.cur
	t.wake = w.now.Add(d)
	t.yield(halted)
	if t.dead {
		return errCrashed
	}
	return nil
}

// crash kills the process of the current task.
func (w *world) crash() error {
	for _, t := range w.tasks {
		if t.process == w.cur.process {
			t.dead = true
		}
	}
	w.cur.dead = true
	process := w.cur.process
	// Its successor begins with what a crash left between two steps.
	w.script = append(w.script, act{at: w.now, what: "restart", do: func() { w.store.restart(process) }})
	w.sortScript()
	return errCrashed
}

func (w *world) hit(e effect, m mishap) {
	w.tally.hits[e][m]++
	w.note("MISHAP", e.String(), m.String())
}

// before is passed ahead of every effect. It may let others run, let the process die, or choose what goes wrong.
func (w *world) before(e effect) (mishap, error) {
	t := w.cur
	if t.dead {
		return none, errCrashed
	}
	w.tally.passed[e]++
	w.note(e.String())
	if w.chance(w.yields) {
		if err := w.halt(0); err != nil {
			return none, err
		}
	}
	m := none
	switch {
	case w.force != nil:
		m = w.force(w, e)
	case w.now.Before(w.stop) && w.chance(w.rate*seldom(e)):
		m = pick(w, possible[e]...)
	}
	if m == none {
		return none, nil
	}
	w.hit(e, m)
	switch m {
	case crashBefore:
		return m, w.crash()
	case leaseLost:
		return m, w.halt(leaseTime + w.upTo(3*time.Minute))
	case slow:
		return m, w.halt(w.upTo(30 * time.Second))
	}
	return m, nil
}

// after is passed behind an effect.
func (w *world) after(m mishap) error {
	if m == crashAfter {
		return w.crash()
	}
	if w.chance(w.yields) {
		return w.halt(0)
	}
	return nil
}

// expired reports whether the current run has used up its time: its context would have ended.
func (w *world) expired() bool { return w.now.Sub(w.cur.started) > runTimeout }

// seldom makes up for effects that few worlds have: all that can go wrong at them is to be seen in as many seeds as of the others.
func seldom(e effect) float64 {
	if e >= listSubscriptions && e <= unsubscribe {
		return 6
	}
	return 1
}
