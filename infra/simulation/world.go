package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/functions/announcement"
	"pinreset/functions/bulkreset"
	"pinreset/functions/consent"
	"pinreset/functions/devicereport"
	"pinreset/functions/graphsubscription"
	"pinreset/functions/housekeeping"
	"pinreset/functions/passcodereset"
	"pinreset/functions/policyrollout"
	"pinreset/functions/portalaction"
	"pinreset/functions/tenantaudit"
	"pinreset/shared/dispatch"
	"pinreset/shared/onboarding"
	"pinreset/shared/readiness"
	"pinreset/shared/secret"
	"pinreset/shared/work"
)

// world is one seed's: programs, store, cloud and clock. One goroutine drives it; a run of a handler is a coroutine that
// gives way at its effects, and the seed says who goes on.
type world struct {
	seed    uint64
	scene   scene
	rng     *rand.Rand
	now     time.Time     // true time, which the cloud keeps
	skew    time.Duration // by how much the program's clock is ahead
	stop    time.Time     // no mishap from here on
	horizon time.Time     // the end
	store   keeper
	ring    *store
	vault   *secret.Vault
	cloud   *cloud
	timer   *housekeeping.Timer
	audits  *tenantaudit.Timer

	dispatcher *dispatch.Dispatcher
	tasks      []*task
	idle       []*coroutine
	cur        *task
	script     []act // what people and the world do, by time
	serial     int
	records    int     // of Intune's audit logs
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
	skipIntent bool                        // the broken build: what a handler checkpoints before its call is dropped, and reported as kept, and a policy that it made is not looked for
	force      func(*world, effect) mishap // takes the place of chance; nil
	print      func(string)
	kept       keeping // on what the rows and messages are
	skipFence  bool    // the broken build: the composed store settles whoever else has
	skipInbox  bool    // the broken build: the composed store does not see that a message was done
}

const (
	processes  = 2
	leaseTime  = time.Minute
	runTimeout = 45 * time.Second // dispatch's own
	maxTasks   = 4
	maxSteps   = 60_000
)

var start = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

// The schedules look less often than the program's own, and watch devices for days instead of weeks. What a step waits for is
// not shortened.
var (
	resetSchedule = passcodereset.Schedule{
		Looks: []time.Duration{2 * time.Second, 10 * time.Second, 30 * time.Second, 5 * time.Minute, time.Hour, 4 * time.Hour},
		Trace: passcodereset.DefaultSchedule.Trace, Lost: passcodereset.DefaultSchedule.Lost,
	}
	rolloutSchedule = policyrollout.Schedule{
		Looks: []time.Duration{5 * time.Minute, time.Hour, 8 * time.Hour, 24 * time.Hour},
		Watch: 3 * 24 * time.Hour, Withdraw: 2 * 24 * time.Hour, Trace: policyrollout.DefaultSchedule.Trace, Turn: 10 * time.Minute,
		Replicas: policyrollout.DefaultSchedule.Replicas,
	}
	consentSchedule = consent.Schedule{First: 2 * time.Minute, Longest: 6 * time.Hour, Deadline: 24 * time.Hour}
)

func newWorld(seed uint64, kek *secret.LocalKey, o options, t *tally) *world {
	w := &world{
		seed: seed, scene: scenes[seed%uint64(len(scenes))], rng: rand.New(rand.NewPCG(seed, 0x70696e7265736574)), now: start, tally: t,
		hash: 14695981039346656037, print: o.print, skipIntent: o.skipIntent, force: o.force,
	}
	w.rate = pick(w, 0, 0.01, 0.04, 0.12)
	w.yields = pick(w, 0, 0.05, 0.4)
	if o.kept.composes(seed) {
		w.store = newComposed(w, o)
	} else {
		s := newStore(w.clock, leaseTime)
		if w.chance(0.5) {
			s.before = w.step
		}
		s.wrote, s.sent, s.picks = w.wrote, w.sent, func(n int) int { return w.rng.IntN(n) }
		w.store = s
	}
	w.ring = newStore(w.clock, leaseTime)
	w.ring.wrote = func(b work.Batch) {
		w.scanBatch("key ring", b)
		for _, wr := range b.Writes {
			if wr.Delete {
				w.swept(b.Partition, wr.Row)
			}
		}
	}
	w.cloud = &cloud{w: w, tenants: map[string]*directory{}, devices: map[string]*handset{}}
	w.vault = secret.NewVault(ring{w}, kek, w.clock)
	log := logger(w)
	links := onboarding.Links{Microsoft: "https://login.windows.net", Key: []byte("signs nothing here"), NewID: w.newID, Now: w.clock}
	tidy := &housekeeping.Handler{Vault: w.vault, Keep: keep, Schedule: upkeepSchedule}
	w.timer = &housekeeping.Timer{Store: rowsOf{w}, Handler: tidy, Now: w.clock, NewID: w.newID, Logger: log}
	w.audits = &tenantaudit.Timer{Store: rowsOf{w}, Cron: auditCron, Now: w.clock, NewID: w.newID, Logger: log}
	w.dispatcher = dispatch.New(rowsOf{w}, rowsOf{w}, []dispatch.Route{
		(&consent.Handler{Directory: w.cloud, Store: rowsOf{w}, App: appID, Schedule: consentSchedule, Audit: auditBy(events.AuditByConsent)}).Route(),
		(&passcodereset.Handler{Devices: w.cloud, Vault: w.vault, Store: rowsOf{w}, Schedule: resetSchedule}).Route(),
		(&policyrollout.Handler{Directory: w.cloud, Policies: w.cloud, Store: rowsOf{w}, Links: links, Schedule: rolloutSchedule, Audit: auditBy(events.AuditByRollout)}).Route(),
		(&tenantaudit.Handler{Cloud: newClient(w), Store: rowsOf{w}, Place: readiness.Commercial, Schedule: tenantaudit.DefaultSchedule}).Route(),
		(&devicereport.Handler{}).Route(),
		(&portalaction.Handler{Intune: w.cloud, Store: rowsOf{w}, Own: []string{appID}, Audit: auditBy(events.AuditByPortal)}).Route(),
		(&bulkreset.Handler{Intune: w.cloud, Store: rowsOf{w}}).Route(),
		(&graphsubscription.Handler{Graph: w.cloud, Store: rowsOf{w}, Callback: callbackURL}).Route(),
		tidy.Route(),
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
	w.store.tend()
	due := w.store.ready()
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
	if len(w.tasks) < maxTasks { // else nobody is free to take a message, due as it may be
		if in, waits := w.store.next(); waits {
			next = earlier(next, w.now.Add(in))
		}
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

// handling is what can go wrong when a message is handed out.
func (w *world) handling() []mishap {
	if _, ok := w.store.(*composed); ok {
		return []mishap{duplicate, delay, crashAfter, lockTaken, lost}
	}
	return []mishap{duplicate, delay, crashAfter, lost}
}

// deliver hands out one of the due messages and starts its run.
func (w *world) deliver(due []int, at int) {
	it := due[at]
	w.tally.passed[receive]++
	if w.now.Before(w.stop) {
		if at > 0 {
			w.tally.hits[receive][reorder]++
		}
		if w.chance(w.rate) {
			m := pick(w, w.handling()...)
			if m == lost && !w.losable(w.store.message(it)) {
				m = duplicate
			}
			w.hit(receive, m)
			switch m {
			case duplicate: // of a message that waits, is held, or was done long ago
				w.store.duplicate(it)
			case delay:
				w.store.delay(it, w.upTo(30*time.Minute), w.upTo(30*time.Minute))
				return
			case crashAfter:
				w.store.take(it)
				return
			case lockTaken:
				w.store.(*composed).unlock()
				return
			case lost:
				w.lose(it)
				return
			}
		}
	}
	d, open, fresh := w.store.take(it)
	if !fresh {
		w.note("dropped, its unit was committed", d.ID)
		return
	}
	w.tally.runs++
	t := &task{name: d.ID[20:] + "#" + strconv.Itoa(d.Deliveries) + " " + requestOf(d.Body), tenant: d.Partition, request: requestOf(d.Body)}
	w.note("deliver", string(d.Queue), t.name, kindOf(d.Body))
	w.spawn(t, func(ctx context.Context) {
		if open != nil {
			var err error
			if d, err = open(ctx); err != nil {
				w.note("not accepted", err.Error())
				return
			}
		}
		_ = w.dispatcher.Process(ctx, d) // what could not be settled comes back
	})
}
