package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"pinreset/functions/announcement"
	"pinreset/functions/consent"
	"pinreset/functions/passcodereset"
	"pinreset/shared/dispatch"
	"pinreset/shared/secret"
	"pinreset/shared/work"
)

// world is one seed's: programs, store, cloud and clock. One goroutine drives it; a run of a handler is a coroutine that
// gives way at its effects, and the seed says who goes on.
type world struct {
	seed    uint64
	rng     *rand.Rand
	now     time.Time     // true time, which the cloud keeps
	skew    time.Duration // by how much the program's clock is ahead
	stop    time.Time     // no mishap from here on
	horizon time.Time     // the end
	store   *store
	ring    *store
	vault   *secret.Vault
	cloud   *cloud

	dispatcher *dispatch.Dispatcher
	tasks      []*task
	idle       []*coroutine
	cur        *task
	script     []act // what people and the world do, by time
	serial     int
	rate       float64 // of mishaps at effects
	yields     float64 // of effects that let others go on
	skipIntent bool
	force      func(*world, effect) mishap

	model     model
	tally     *tally
	violation string
	hash      uint64
	print     func(string) // of the trace; nil
}

// options of a world; the zero value is what the command runs.
type options struct {
	skipIntent bool                        // the broken build: what a handler checkpoints before its call is dropped, and reported as kept
	force      func(*world, effect) mishap // takes the place of chance; nil
	print      func(string)
}

// task is a run of a handler or of a request by a person.
type task struct {
	name            string
	tenant, request string
	process         int
	started         time.Time
	wake            time.Time // stands still until then
	dead            bool      // its process is
	*coroutine
	unkept map[string][]byte // rows that the broken build pretends to have kept
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

const (
	processes  = 2
	leaseTime  = time.Minute
	runTimeout = 45 * time.Second // dispatch's own
	maxTasks   = 4
	maxSteps   = 60_000
)

var start = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

// The schedules are shorter than the program's own in how often they look, not in what they wait for.
var (
	resetSchedule = passcodereset.Schedule{
		Looks: []time.Duration{2 * time.Second, 10 * time.Second, 30 * time.Second, 5 * time.Minute, time.Hour, 4 * time.Hour},
		Trace: passcodereset.DefaultSchedule.Trace, Lost: passcodereset.DefaultSchedule.Lost,
	}
	consentSchedule = consent.Schedule{First: 2 * time.Minute, Longest: 6 * time.Hour, Deadline: 24 * time.Hour}
)

func newWorld(seed uint64, kek *secret.LocalKey, o options, t *tally) *world {
	w := &world{
		seed: seed, rng: rand.New(rand.NewPCG(seed, 0x70696e7265736574)), now: start, tally: t,
		hash: 14695981039346656037, print: o.print, skipIntent: o.skipIntent, force: o.force,
	}
	w.rate = pick(w, 0, 0.01, 0.04, 0.12)
	w.yields = pick(w, 0, 0.05, 0.4)
	w.store = newStore(w.clock, leaseTime)
	if w.chance(0.5) {
		w.store.before = w.step
	}
	w.store.wrote, w.store.sent = w.wrote, w.sent
	w.ring = newStore(w.clock, leaseTime)
	w.ring.wrote = func(b work.Batch) { w.scanBatch("key ring", b) }
	w.cloud = &cloud{w: w, tenants: map[string]*directory{}, devices: map[string]*handset{}}
	w.vault = secret.NewVault(ring{w}, kek, w.clock)
	log := logger(w)
	w.dispatcher = dispatch.New(rowsOf{w}, rowsOf{w}, []dispatch.Route{
		(&consent.Handler{Directory: w.cloud, Store: rowsOf{w}, App: appID, Schedule: consentSchedule}).Route(),
		(&passcodereset.Handler{Devices: w.cloud, Vault: w.vault, Store: rowsOf{w}, Schedule: resetSchedule}).Route(),
		(&announcement.Handler{Logger: log}).Route(),
	}, dispatch.Options{Now: w.clock, NewID: w.newID, Jitter: w.rng.Float64, Logger: log})
	w.model = newModel()
	w.plan()
	return w
}

const appID = "5f1c4a8e-2f0b-4c7d-9a61-0d9b3f6f7a10"

func (w *world) clock() time.Time { return w.now.Add(w.skew) }

func (w *world) newID() string {
	w.serial++
	id := strconv.Itoa(w.serial)
	return "01" + strings.Repeat("0", 24-len(id)) + id
}

func (w *world) chance(p float64) bool { return p > 0 && w.rng.Float64() < p }

func (w *world) upTo(d time.Duration) time.Duration { return time.Duration(w.rng.Int64N(int64(d))) }

func pick[T any](w *world, of ...T) T { return of[w.rng.IntN(len(of))] }

// note adds a line to the trace. The same seed makes the same lines.
func (w *world) note(parts ...string) {
	for _, p := range parts {
		for i := range len(p) {
			w.hash = (w.hash ^ uint64(p[i])) * 1099511628211
		}
		w.hash = (w.hash ^ 0xff) * 1099511628211
	}
	w.hash = (w.hash ^ uint64(w.now.UnixNano())) * 1099511628211
	if w.print != nil {
		who := "world"
		if w.cur != nil {
			who = w.cur.name
		}
		w.print(fmt.Sprintf("%-14s %-40s %s", w.now.Sub(start).Round(time.Millisecond), who, strings.Join(parts, " · ")))
	}
}

// violate records the first violation; the world stops at it.
func (w *world) violate(format string, args ...any) {
	if w.violation == "" {
		w.violation = fmt.Sprintf(format, args...)
		w.note("VIOLATION", w.violation)
	}
}

var errCrashed = errors.New("the process has died")
var errUnavailable = errors.New("storage is unavailable")

// run drives the world to its end.
func (w *world) run() {
	for range maxSteps {
		if w.violation != "" || !w.one() {
			break
		}
		w.tally.steps++
		w.check()
	}
	if w.violation == "" && w.now.Before(w.horizon) {
		w.violate("I9: not at an end after %d steps, at %s", maxSteps, w.now.Sub(start))
	}
	if w.violation == "" {
		w.checkEnd()
	}
	for _, t := range w.tasks {
		t.dead = true
	}
	w.bury()
	for _, c := range w.idle {
		c.stop()
	}
	w.tally.seeds++
}

// one makes one step: somebody goes on, a message is delivered, somebody does something, or time passes.
func (w *world) one() bool {
	w.bury()
	faults := w.now.Before(w.stop)
	if !faults && w.skew != 0 {
		w.note("the clock is right again")
		w.skew = 0
	}
	var ready []*task
	for _, t := range w.tasks {
		if !t.wake.After(w.now) {
			ready = append(ready, t)
		}
	}
	due := w.due()
	if len(w.tasks) >= maxTasks {
		due = nil
	}
	acts := 0
	for acts < len(w.script) && !w.script[acts].at.After(w.now) {
		acts++
	}
	if n := 2*len(ready) + 2*len(due) + 2*acts; n > 0 {
		if len(w.tasks) > 0 && w.chance(0.05) {
			w.pass(w.upTo(20 * time.Second))
			return true
		}
		switch at := w.rng.IntN(n) / 2; {
		case at < len(ready):
			w.resume(ready[at])
		case at < len(ready)+len(due):
			w.deliver(due, at-len(ready))
		default:
			i := at - len(ready) - len(due)
			a := w.script[i]
			w.script = slices.Delete(w.script, i, i+1)
			w.note("script", a.what)
			a.do()
		}
		return true
	}
	next := w.horizon
	for _, t := range w.tasks {
		next = earlier(next, t.wake)
	}
	for _, m := range w.store.live {
		next = earlier(next, w.store.when(m).Add(-w.skew))
	}
	if len(w.script) > 0 {
		next = earlier(next, w.script[0].at)
	}
	if w.now.Before(w.stop) {
		next = earlier(next, w.stop)
	}
	if !w.now.Before(w.horizon) {
		return false
	}
	w.pass(max(next.Sub(w.now), time.Millisecond))
	if faults && w.chance(w.rate) {
		w.disturbClock()
	}
	return true
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func (w *world) pass(d time.Duration) {
	w.now = w.now.Add(d)
	w.note("time passes")
}

func (w *world) disturbClock() {
	m := pick(w, possible[clock]...)
	switch m {
	case jumpAhead:
		w.skew = min(w.skew+w.upTo(24*time.Hour), 24*time.Hour)
	case setBack:
		w.skew = max(w.skew-w.upTo(24*time.Hour), -24*time.Hour)
	case leap: // the machine slept
		if w.model.leapt {
			return
		}
		w.model.leapt = true
		w.now, w.horizon = w.now.Add(7*24*time.Hour), w.horizon.Add(7*24*time.Hour)
	}
	w.hit(clock, m)
}

// due returns the messages that can be handed out, those that were sent first ahead.
func (w *world) due() []*message {
	var due []*message
	for _, m := range w.store.live {
		if w.store.claimable(m) {
			due = append(due, m)
		}
	}
	return due
}

// deliver hands out one of the due messages and starts its run.
func (w *world) deliver(due []*message, at int) {
	w.tally.passed[receive]++
	if w.now.Before(w.stop) {
		if at > 0 {
			w.tally.hits[receive][reorder]++
		}
		if w.chance(w.rate) {
			m := pick(w, duplicate, delay, crashAfter)
			w.hit(receive, m)
			switch m {
			case duplicate: // of a message that waits, is held, or was done long ago
				w.store.send([]work.Message{due[at].Message, pick(w, w.store.history...).Message})
			case delay:
				due[at].At, due[at].until = due[at].At.Add(w.upTo(30*time.Minute)), due[at].until.Add(w.upTo(30*time.Minute))
				return
			case crashAfter:
				w.store.claim(due[at])
				return
			}
		}
	}
	d, fresh := w.store.claim(due[at])
	if !fresh {
		w.note("dropped, its unit was committed", d.ID)
		return
	}
	w.tally.runs++
	t := &task{name: d.ID[20:] + "#" + strconv.Itoa(d.Deliveries) + " " + requestOf(d.Body), tenant: d.Partition, request: requestOf(d.Body)}
	w.note("deliver", string(d.Queue), t.name, kindOf(d.Body))
	w.spawn(t, func(ctx context.Context) {
		_ = w.dispatcher.Process(ctx, d) // what could not be settled comes back
	})
}

// spawn starts a task and lets it run to its first halt.
func (w *world) spawn(t *task, body func(context.Context)) {
	t.process, t.started = w.rng.IntN(processes), w.now
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
	// Its successor begins with what a crash left between two steps.
	w.script = append(w.script, act{at: w.now, what: "restart", do: w.store.sweep})
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
	case w.now.Before(w.stop) && w.chance(w.rate):
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

// step is passed ahead of each step of a commit that has steps.
func (w *world) step(settling bool, step string) error {
	if w.cur == nil {
		return nil
	}
	var e effect
	switch {
	case step == stepRows:
		return nil
	case step == stepMessages && settling:
		e = settleMessages
	case step == stepMessages:
		e = commitMessages
	case step == stepSettle:
		e = settleSettle
	case settling:
		e = settleClear
	default:
		e = commitClear
	}
	_, err := w.before(e)
	return err
}

// rowsOf is the store as the program sees it.
type rowsOf struct{ w *world }

func (s rowsOf) Get(ctx context.Context, key work.Key) (work.Row, error) {
	w := s.w
	m, err := w.before(readRow)
	if err != nil {
		return work.Row{}, err
	}
	if m == unavailable {
		return work.Row{}, errUnavailable
	}
	w.stays(key.Partition)
	row, err := w.store.Get(ctx, key)
	if value, kept := w.cur.unkept[key.Row]; kept && err == nil {
		row.Value = value
	}
	return row, err
}

func (s rowsOf) List(ctx context.Context, q work.Query) (work.Page, error) {
	if _, err := s.w.before(readRow); err != nil {
		return work.Page{}, err
	}
	s.w.stays(q.Partition)
	return s.w.store.List(ctx, q)
}

func (s rowsOf) Commit(ctx context.Context, b work.Batch) error {
	if s.w.skipIntent {
		b = s.w.cur.pretend(b)
	}
	return s.w.change(commit, b.Partition, func() error { return s.w.store.Commit(ctx, b) })
}

// pretend leaves the intent out of what is stored, and lets the run alone see it.
func (t *task) pretend(b work.Batch) work.Batch {
	b.Writes = slices.Clone(b.Writes)
	for i, wr := range b.Writes {
		without := bytes.Replace(wr.Value, []byte(`"state":"calling"`), []byte(`"state":"accepted"`), 1)
		if len(without) != len(wr.Value) {
			t.unkept = map[string][]byte{wr.Row: wr.Value}
			b.Writes[i].Value = without
		}
	}
	return b
}

func (s rowsOf) Settle(ctx context.Context, d work.Delivery, b work.Batch, o work.Outcome) error {
	return s.w.change(settle, d.Partition, func() error { return s.w.store.Settle(ctx, d, b, o) })
}

func (s rowsOf) Receive(context.Context, work.Queue, int) ([]work.Delivery, error) {
	panic("the scheduler delivers")
}

func (s rowsOf) Renew(ctx context.Context, d work.Delivery) (time.Time, error) {
	return s.w.store.Renew(ctx, d)
}

// change makes a change with all that can go wrong about it.
func (w *world) change(e effect, partition string, change func() error) error {
	m, err := w.before(e)
	if err != nil {
		return err
	}
	if m == unavailable {
		return errUnavailable
	}
	if e == commit && w.expired() {
		return context.DeadlineExceeded
	}
	w.stays(partition)
	if err := change(); err != nil {
		return err
	}
	if m == answerLost {
		return errUnavailable
	}
	return w.after(m)
}

// stays checks that a run reads and writes its own tenant, and beyond it the register only.
func (w *world) stays(partition string) {
	if t := w.cur; partition != t.tenant && partition != "tenants" {
		w.violate("I5: a run of tenant %s touches partition %s", t.tenant, partition)
	}
}

// ring is the key ring as the vault sees it.
type ring struct{ w *world }

func (r ring) Get(ctx context.Context, key work.Key) (work.Row, error) {
	if r.w.cur != nil {
		m, err := r.w.before(readKey)
		if err != nil {
			return work.Row{}, err
		}
		if m == unavailable {
			return work.Row{}, errUnavailable
		}
		r.w.stays(key.Partition)
	}
	return r.w.ring.Get(ctx, key)
}

func (r ring) Commit(ctx context.Context, b work.Batch) error {
	return r.w.change(writeKey, b.Partition, func() error { return r.w.ring.Commit(ctx, b) })
}

func (r ring) Erase(ctx context.Context, keys ...work.Key) error {
	return r.w.change(eraseKey, keys[0].Partition, func() error { return r.w.ring.Erase(ctx, keys...) })
}
