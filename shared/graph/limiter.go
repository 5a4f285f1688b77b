package graph

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"pinreset/shared/diag"
	"pinreset/shared/fault"
)

// Back-off where Graph does not say how long to wait.
const (
	minBackoff = time.Second
	maxBackoff = time.Minute
)

var (
	errNoPermit  = errors.New("no permit within the limits of Graph")
	errTooCostly = errors.New("request needs more than Graph allows at once")
)

// accountKey names whose limits they are.
type accountKey struct{ app, tenant string }

// account is what one application has used in one tenant. An audit of ten thousand tenants has as many of them for as long as Graph's
// windows last, so it is kept small.
type account struct {
	key        accountKey
	buckets    []bucket // those of the families in use
	prev, next *account // the limiter's list by last use
}

// bucket is one family of an account. Throttling, back-off and windows are all per bucket, so that a throttled tenant slows no
// other.
type bucket struct {
	family Family
	pair

	// Told by Graph to stay away from blockedFrom until blockedUntil; both may be past.
	blockedFrom, blockedUntil instant

	// Failures in a row without a word on how long to wait. Calls that were under way together count once.
	failures int
	failedAt instant
}

// pair is the two windows that a call in a family counts in.
type pair struct {
	any    window
	write  *window // nil until the first write
	writes *span   // of write
}

func newPair(any, write *span) pair { return pair{any: window{span: any}, writes: write} }

// eachOf calls f with each window that the demand counts in.
func (p *pair) eachOf(d demand, f func(w *window, cost int)) {
	f(&p.any, d.units)
	if d.writes == 0 {
		return
	}
	if p.write == nil {
		p.write = &window{span: p.writes}
	}
	f(p.write, d.writes)
}

// each calls f with each window that there is.
func (p *pair) each(f func(*window)) {
	f(&p.any)
	if p.write != nil {
		f(p.write)
	}
}

func (p *pair) idle(now instant) bool {
	if p.any.expire(now); !p.any.idle() {
		return false
	}
	if p.write == nil {
		return true
	}
	p.write.expire(now)
	return p.write.idle()
}

// appWindows are the limits of one application in all tenants.
type appWindows struct {
	global   window
	families map[Family]*pair
}

// limiter keeps calls within Limits, or within this process's share of them. It is safe for concurrent use; it has no
// goroutine and no timer of its own, and forgets a tenant once its windows are empty.
type limiter struct {
	limits  Limits
	shares  *shares // nil: the limits are this process's alone
	reserve float64
	inline  [2]time.Duration // by Priority: the longest wait that is no error
	now     func() time.Time
	jitter  func() float64

	mu       sync.Mutex
	base     time.Time
	latest   instant
	spans    map[Family]spans
	accounts map[accountKey]*account
	byUse    account // list head: next is the least recently used
	apps     map[string]*appWindows
	counters map[Family]*counters
	broken   int // calls sent while told to wait
}

func newLimiter(limits Limits, reserve float64, inline [2]time.Duration, now func() time.Time) *limiter {
	l := &limiter{
		limits:   limits.clone(),
		reserve:  reserve,
		inline:   inline,
		now:      now,
		jitter:   rand.Float64,
		base:     now(),
		spans:    map[Family]spans{},
		accounts: map[accountKey]*account{},
		apps:     map[string]*appWindows{},
		counters: map[Family]*counters{},
	}
	l.byUse.prev, l.byUse.next = &l.byUse, &l.byUse
	return l
}

// permit is the right to send one request. Exactly one of answered and takeBack must follow.
type permit struct {
	limiter  *limiter
	app      string
	tenant   string
	demands  []demand
	priority Priority
	departed instant
}

// acquire gives a permit for a request with these demands (each family once). It waits for at most the priority's inline
// wait; when that is not enough it returns a verdict with the delay and takes nothing.
func (l *limiter) acquire(ctx context.Context, app, tenant string, p Priority, demands []demand) (*permit, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for _, d := range demands {
		if err := l.fits(d); err != nil {
			return nil, err
		}
	}
	pm := &permit{limiter: l, app: app, tenant: tenant, demands: demands, priority: p}
	if err := l.hold(ctx, pm); err != nil {
		return nil, err
	}
	l.mu.Lock()
	now := l.elapsed()
	l.forgetIdle(now)
	if err := l.withinShare(pm, p, now); err != nil {
		defer l.mu.Unlock()
		return nil, err
	}
	at, sure := l.due(pm, p, now)
	if blocked := l.blockedUntil(pm); blocked > at {
		at = blocked
	}
	wait := at - now
	if wait > l.inline[p] || !sure {
		defer l.mu.Unlock()
		return nil, l.refuse(pm, p, now)
	}
	l.give(pm)
	l.served(pm)
	pm.departed = now
	l.mu.Unlock()
	if wait == 0 {
		return pm, nil
	}

	started := l.now()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	var stopped error
	select {
	case <-timer.C:
	case <-ctx.Done():
		stopped = ctx.Err()
	}
	waited := l.now().Sub(started)
	diag.Add(ctx, diag.Step{At: started, Kind: diag.KindWait, Text: "waited for room in Graph's limits", Milliseconds: milliseconds(waited)})

	l.mu.Lock()
	defer l.mu.Unlock()
	now = l.elapsed()
	for _, d := range demands {
		c := l.counter(d.family)
		c.waited++
		c.waitedFor += waited
	}
	if stopped != nil {
		l.undo(pm)
		return nil, stopped
	}
	// Another call may have been told to wait meanwhile.
	if at = max(at, l.blockedUntil(pm)); at > now {
		l.undo(pm)
		return nil, l.refuse(pm, p, now)
	}
	if err := l.withinShare(pm, p, now); err != nil { // or the share may have ended
		l.undo(pm)
		return nil, err
	}
	pm.departed = now
	return pm, nil
}

// attempt stands for a call that failed before it asked for a permit, so that its failure can be noted.
func (l *limiter) attempt(app, tenant string, started instant) *permit {
	return &permit{limiter: l, app: app, tenant: tenant, departed: started}
}

// instant is the present moment on the limiter's clock.
func (l *limiter) instant() instant {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.elapsed()
}

// refuse is the verdict on a call that gets no permit now.
func (l *limiter) refuse(pm *permit, p Priority, now instant) error {
	at, _ := l.due(pm, p, now)
	// A share that is about to grow makes promises for what it grows to.
	fair := func(w *window) room { return l.room(l.shares.fair(pm.app, pm.tenant, w.limit), p) }
	out := l.counter(pm.demands[0].family).out
	l.eachWindow(pm, func(w *window, cost int) {
		at = max(at, w.promise(now, fair(w), cost, p, out))
	})
	l.eachWindow(pm, func(w *window, cost int) {
		if at > now && w.promise(now, fair(w), cost, p, out) == at {
			w.awaited(p).push(at, cost, 0)
		}
	})
	for _, d := range pm.demands {
		l.counter(d.family).refused++
	}
	if blocked := l.blockedUntil(pm); blocked > at {
		return fault.After(blocked-now, fault.GraphThrottled, errNoPermit)
	}
	return fault.After(at-now, fault.WaitingForPermit, errNoPermit)
}

// eachWindow calls f with each limit of the tenant that the permit counts in. Promises are made in these only: what one
// tenant waits for must not put off another.
func (l *limiter) eachWindow(pm *permit, f func(w *window, cost int)) {
	a := l.account(pm)
	for _, d := range pm.demands {
		l.bucket(a, d.family).eachOf(d, func(w *window, cost int) {
			if w.limit > 0 && cost > 0 {
				f(w, cost)
			}
		})
	}
}

// answered ends the permit of a call that was, or may have been, sent.
func (pm *permit) answered() {
	l := pm.limiter
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.elapsed()
	a, app := l.account(pm), l.app(pm.app)
	answered := func(w *window, cost int) { w.answered(now, cost, pm.priority) }
	for _, d := range pm.demands {
		b := l.bucket(a, d.family)
		if b.blockedFrom < pm.departed && pm.departed < b.blockedUntil {
			l.broken++
		}
		l.counter(d.family).answered(now - pm.departed)
		b.eachOf(d, answered)
		l.inAllTenants(app, d.family).eachOf(d, answered)
		app.global.answered(now, d.calls, pm.priority)
	}
}

// takeBack ends the permit of a call that was certainly not sent.
func (pm *permit) takeBack() {
	l := pm.limiter
	l.mu.Lock()
	defer l.mu.Unlock()
	l.undo(pm)
}

func (l *limiter) undo(pm *permit) {
	a, app := l.account(pm), l.app(pm.app)
	takeBack := func(w *window, cost int) { w.takeBack(cost, pm.priority) }
	for _, d := range pm.demands {
		c := l.counter(d.family)
		c.calls -= d.calls
		c.writes -= d.writes
		l.bucket(a, d.family).eachOf(d, takeBack)
		l.inAllTenants(app, d.family).eachOf(d, takeBack)
		app.global.takeBack(d.calls, pm.priority)
	}
}

func (l *limiter) give(pm *permit) {
	a, app := l.account(pm), l.app(pm.app)
	give := func(w *window, cost int) { w.give(cost, pm.priority) }
	for _, d := range pm.demands {
		c := l.counter(d.family)
		c.calls += d.calls
		c.writes += d.writes
		l.bucket(a, d.family).eachOf(d, give)
		l.inAllTenants(app, d.family).eachOf(d, give)
		app.global.give(d.calls, pm.priority)
	}
}

// throttled notes an answer of 429, or of 503 with Retry-After, to a call in the family, and returns how long to stay
// away. Without Retry-After (hinted is false) that is a back-off.
func (pm *permit) throttled(f Family, retryAfter time.Duration, hinted bool) time.Duration {
	l := pm.limiter
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.elapsed()
	b := l.bucket(l.account(pm), f)
	l.counter(f).throttled++
	delay := retryAfter
	if !hinted {
		delay = l.backoff(b, pm.departed, now)
	}
	until := now + delay
	if b.blockedUntil <= now {
		b.blockedFrom = now
	}
	b.blockedUntil = max(b.blockedUntil, until)
	return delay
}

// failed notes a fault of Graph's own or of the network and returns how long to stay away. Other calls are not held up.
func (pm *permit) failed(f Family) time.Duration {
	l := pm.limiter
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.backoff(l.bucket(l.account(pm), f), pm.departed, l.elapsed())
}

// succeeded ends a row of failures.
func (pm *permit) succeeded(f Family) {
	l := pm.limiter
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bucket(l.account(pm), f).failures = 0
}

func (l *limiter) backoff(b *bucket, departed, now instant) time.Duration {
	if b.failures == 0 || departed >= b.failedAt {
		b.failures++
		b.failedAt = now
	}
	base := min(minBackoff<<min(b.failures-1, 10), maxBackoff)
	return min(base+time.Duration(l.jitter()*float64(base)), maxBackoff)
}

// due returns the first moment at which all windows have room.
func (l *limiter) due(pm *permit, p Priority, now instant) (at instant, sure bool) {
	at, sure = now, true
	a, app := l.account(pm), l.app(pm.app)
	calls := 0
	ask := func(tenant string, w *window, cost int) {
		t, s := w.due(now, l.room(l.shares.of(pm.app, tenant, w.limit, p), p), cost)
		if t > now {
			l.shares.short(pm.app, tenant)
		}
		at, sure = max(at, t), sure && s
	}
	for _, d := range pm.demands {
		calls += d.calls
		l.bucket(a, d.family).eachOf(d, func(w *window, cost int) { ask(pm.tenant, w, cost) })
		l.inAllTenants(app, d.family).eachOf(d, func(w *window, cost int) { ask(allTenants, w, cost) })
	}
	ask(allTenants, &app.global, calls)
	return at, sure
}

// room is what a call of the priority has of a limit.
func (l *limiter) room(limit int, p Priority) room { return room{l.allowed(limit, p), limit} }

// allowed is the part of a limit that the priority may use.
func (l *limiter) allowed(limit int, p Priority) int {
	if p == People {
		return limit
	}
	return max(1, limit-min(mostReserved, int(math.Round(float64(limit)*l.reserve))))
}

// mostReserved is the largest reserve. A share of what one application may do in all tenants would be more than everybody at a help desk
// ever asks for, and an audit of many tenants would wait for it.
const mostReserved = 5_000

// fits reports an error for a request that no wait could bring within the limits: a batch too large for its family.
func (l *limiter) fits(d demand) error {
	f := l.limits.Families[d.family]
	for _, w := range []struct {
		Window
		cost int
	}{{f.Any, d.units}, {f.Write, d.writes}, {f.AppAny, d.units}, {f.AppWrite, d.writes}, {l.limits.Global, d.calls}} {
		if w.Limit > 0 && w.cost > w.Limit {
			return fmt.Errorf("%w: %d of %d in family %s", errTooCostly, w.cost, w.Limit, d.family)
		}
	}
	return nil
}

func (l *limiter) blockedUntil(pm *permit) (at instant) {
	a := l.account(pm)
	for _, d := range pm.demands {
		at = max(at, l.bucket(a, d.family).blockedUntil)
	}
	return at
}

// elapsed is the limiter's clock; it never runs backwards.
func (l *limiter) elapsed() instant {
	l.latest = max(l.latest, l.now().Sub(l.base))
	return l.latest
}

// account finds or makes an account and moves it to the recently used end of the list.
func (l *limiter) account(pm *permit) *account {
	key := accountKey{pm.app, pm.tenant}
	a := l.accounts[key]
	if a == nil {
		a = &account{key: key}
		l.accounts[key] = a
	} else {
		a.prev.next, a.next.prev = a.next, a.prev
	}
	a.prev, a.next = l.byUse.prev, &l.byUse
	a.prev.next, a.next.prev = a, a
	return a
}

// bucket finds or makes a bucket. It is good until the account gets another one.
func (l *limiter) bucket(a *account, f Family) *bucket {
	for i := range a.buckets {
		if a.buckets[i].family == f {
			return &a.buckets[i]
		}
	}
	if n := len(a.buckets); n > 0 && n == cap(a.buckets) {
		a.buckets = append(make([]bucket, 0, n+4), a.buckets...) // an audit uses one family, and then four others
	}
	of := l.spansOf(f)
	a.buckets = append(a.buckets, bucket{family: f, pair: newPair(of.any, of.write)})
	return &a.buckets[len(a.buckets)-1]
}

// forgetIdle drops accounts that hold nothing, from the least recently used on.
func (l *limiter) forgetIdle(now instant) {
	for a := l.byUse.next; a != &l.byUse && a.idle(now); a = l.byUse.next {
		l.byUse.next, a.next.prev = a.next, &l.byUse
		delete(l.accounts, a.key)
	}
	l.shares.forget(now)
}

func (a *account) idle(now instant) bool {
	for i := range a.buckets {
		if !a.buckets[i].idle(now) {
			return false
		}
	}
	return true
}

func (b *bucket) idle(now instant) bool {
	return b.pair.idle(now) && b.blockedUntil <= now && (b.failures == 0 || b.failedAt+2*maxBackoff <= now)
}

func (l *limiter) app(id string) *appWindows {
	a := l.apps[id]
	if a == nil {
		a = &appWindows{global: newWindow(l.limits.Global), families: map[Family]*pair{}}
		l.apps[id] = a
	}
	return a
}

func (l *limiter) inAllTenants(a *appWindows, f Family) *pair {
	w := a.families[f]
	if w == nil {
		of := l.spansOf(f)
		p := newPair(of.appAny, of.appWrite)
		w = &p
		a.families[f] = w
	}
	return w
}

// spans are the limits of a family, as its windows share them.
type spans struct{ any, write, appAny, appWrite *span }

func (l *limiter) spansOf(f Family) spans {
	of, known := l.spans[f]
	if !known {
		limit := l.limits.Families[f]
		of = spans{newSpan(limit.Any), newSpan(limit.Write), newSpan(limit.AppAny), newSpan(limit.AppWrite)}
		l.spans[f] = of
	}
	return of
}
