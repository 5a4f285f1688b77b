package graph

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"pinreset/shared/fault"
	"pinreset/shared/quota"
)

// errNoShare is about this process's store and not about Graph.
var errNoShare = errors.New("can't lease a share of Graph's limits")

// allTenants stands for a tenant where limits of an application in all tenants together are meant.
const allTenants = ""

// shares are this process's parts of the limits, where several processes call with the same applications. They are renewed on
// the goroutine of the call that finds one old. The limiter's lock guards everything but the ledger. A nil *shares is the whole
// of every limit.
type shares struct {
	ledger *quota.Ledger
	all    map[shareKey]*share
	ends   []shareEnd // in order of time; older than all's where a share was renewed since
}

type shareKey struct{ app, tenant string }

type shareEnd struct {
	key shareKey
	at  instant
}

// share is a lease of a part of the limits of an application in a tenant.
type share struct {
	quota.Lease
	until, renewAt instant
	longest        time.Duration // windows that are longer are closed
	short          bool          // a call had to wait since the last renewal
	least          int           // the part that a waiting call needs which costs more than the fair share; 0: none waits
	leastAt        instant       // when that call last asked
	renewing       chan struct{} // closed when the renewal that is under way has ended; nil: none is
	err            error         // of the last renewal
}

func newShares(ledger *quota.Ledger) *shares {
	if ledger == nil {
		return nil
	}
	return &shares{ledger: ledger, all: map[shareKey]*share{}}
}

// of is what this process may use of a limit. It is 0 before there is a lease.
func (s *shares) of(app, tenant string, limit int, p Priority) int {
	if s == nil {
		return limit
	}
	if h := s.all[shareKey{app, tenant}]; h != nil {
		return limit * h.part(p) / quota.Whole
	}
	return 0
}

// part is what the priority may use. People are not kept from what is still this process's while it gives something up, and have
// the little to themselves that it begins with.
func (h *share) part(p Priority) int {
	switch {
	case p == People:
		return h.Top
	case h.Part < quota.Modest && h.Part < h.Fair:
		return 0
	}
	return h.Part
}

// fair is what this process will be able to use of a limit before long.
func (s *shares) fair(app, tenant string, limit int) int {
	if s == nil {
		return limit
	}
	if h := s.all[shareKey{app, tenant}]; h != nil {
		return limit * max(h.Part, h.Fair) / quota.Whole
	}
	return 0
}

// usable is what all processes together may use of a limit.
func (s *shares) usable(limit int) int {
	if s == nil {
		return limit
	}
	return limit * quota.Usable / quota.Whole
}

// short notes that a call had to wait.
func (s *shares) short(app, tenant string) {
	if s != nil {
		if h := s.all[shareKey{app, tenant}]; h != nil {
			h.short = true
		}
	}
}

// forget drops shares that have ended.
func (s *shares) forget(now instant) {
	if s == nil {
		return
	}
	for len(s.ends) > 0 && s.ends[0].at <= now {
		end := s.ends[0]
		s.ends = s.ends[1:]
		if h := s.all[end.key]; h != nil && h.until <= now && h.renewing == nil {
			delete(s.all, end.key)
		}
	}
}

// hold makes sure that there are shares for the permit, which it renews when a quarter of their life has passed.
func (l *limiter) hold(ctx context.Context, pm *permit) error {
	if l.shares == nil {
		return nil
	}
	var inTenant, everywhere time.Duration
	everywhere = l.limits.Global.Per
	for _, d := range pm.demands {
		f := l.limits.Families[d.family]
		inTenant = max(inTenant, f.Any.Per)
		everywhere = max(everywhere, f.AppAny.Per)
		if d.writes > 0 {
			inTenant = max(inTenant, f.Write.Per)
			everywhere = max(everywhere, f.AppWrite.Per)
		}
	}
	if err := l.holdShare(ctx, shareKey{pm.app, pm.tenant}, inTenant); err != nil {
		return err
	}
	return l.holdShare(ctx, shareKey{pm.app, allTenants}, everywhere)
}

func (l *limiter) holdShare(ctx context.Context, key shareKey, longest time.Duration) error {
	for {
		l.mu.Lock()
		h := l.shares.all[key]
		if h == nil {
			h = &share{}
			l.shares.all[key] = h
		}
		now := l.elapsed()
		good := now < h.until && longest <= h.longest
		waited := h.renewing
		switch {
		case good && (waited != nil || now < h.renewAt):
			l.mu.Unlock()
			return nil
		case waited == nil:
			return l.renew(ctx, key, h, longest, now, good)
		}
		l.mu.Unlock()
		select {
		case <-waited:
		case <-ctx.Done():
			return ctx.Err()
		}
		l.mu.Lock()
		err := h.err
		l.mu.Unlock()
		// The one who renewed may have given up, which is no reason for others to; or asked for shorter windows.
		if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
	}
}

// renew renews the share. It is called with the lock held, and gives it up. good says that the earlier lease still serves.
func (l *limiter) renew(ctx context.Context, key shareKey, h *share, longest time.Duration, now instant, good bool) error {
	done := make(chan struct{})
	h.renewing = done
	ask := l.ask(key, h, longest, now)
	l.mu.Unlock()

	lease, err := l.shares.ledger.Renew(ctx, key.tenant, key.app, ask)

	l.mu.Lock()
	defer l.mu.Unlock()
	defer close(done)
	h.renewing, h.err = nil, nil
	life := l.shares.ledger.Life()
	h.renewAt = now + life/4
	switch {
	case err == nil:
		h.Lease, h.until, h.longest, h.short = lease, now+life, ask.Longest, false
		l.shares.ends = append(l.shares.ends, shareEnd{key, h.until})
		return nil
	case good:
		return nil // the earlier lease holds for now; the next call after renewAt tries again
	case errors.Is(err, quota.ErrContended):
		h.err = l.putOff(h, now)
	default:
		h.err = fmt.Errorf("%w: %w", errNoShare, err)
	}
	l.shares.ends = append(l.shares.ends, shareEnd{key, h.until})
	return h.err
}

// release hands back the shares that have not ended. It is for a process that makes no more calls, or none for now: a share with a call that is
// still out is kept, and ends when its lease does.
func (l *limiter) release(ctx context.Context) error {
	if l.shares == nil {
		return nil
	}
	var problems []error
	l.mu.Lock()
	keys := slices.Collect(maps.Keys(l.shares.all))
	l.mu.Unlock()
	for _, key := range keys {
		l.mu.Lock()
		h, now, out := l.shares.all[key], l.elapsed(), false
		l.eachShared(key, func(w *window) { out = out || w.inUse > 0 })
		if out || h == nil || h.renewing != nil || h.until <= now {
			l.mu.Unlock()
			continue
		}
		ask := l.ask(key, h, h.longest, now)
		l.mu.Unlock()
		if err := l.shares.ledger.Release(ctx, key.tenant, key.app, ask); err != nil {
			problems = append(problems, err)
			continue
		}
		l.mu.Lock()
		h.until = now
		l.mu.Unlock()
	}
	return errors.Join(problems...)
}

// ask is what the limiter says of itself when it renews a share.
func (l *limiter) ask(key shareKey, h *share, longest time.Duration, now instant) quota.Ask {
	life := l.shares.ledger.Life()
	// With windows up to a lease's life in it from the start, a call of another family seldom needs another renewal.
	ask := quota.Ask{Busy: h.short, Longest: max(longest, life)}
	if h.leastAt+life < now { // whoever waited has given up
		h.least = 0
	}
	ask.Least = h.least
	held := 0
	l.eachShared(key, func(w *window) {
		w.expire(now)
		if w.idle() {
			return
		}
		ask.Longest = max(ask.Longest, w.per)
		held = max(held, heldPart(w))
		ask.Busy = ask.Busy || w.promised != nil
	})
	ask.Busy = ask.Busy || held > h.Part/2
	ask.Lower = func(part int) int {
		l.mu.Lock()
		defer l.mu.Unlock()
		h.Part = min(h.Part, part)
		held, now := 0, l.elapsed()
		l.eachShared(key, func(w *window) {
			w.expire(now)
			held = max(held, heldPart(w))
		})
		// Bulk calls that are out must not keep people from their reserve until they have left the window.
		h.Top = max(held, min(h.Top, max(part, held+int(float64(part)*l.reserve))))
		return h.Top
	}
	return ask
}

// heldPart is the part of the window's limit that is out, rounded up.
func heldPart(w *window) int {
	if w.limit == 0 {
		return 0
	}
	out, _ := w.out()
	return (out*quota.Whole + w.limit - 1) / w.limit
}

// eachShared calls f with each window of the share that there is.
func (l *limiter) eachShared(key shareKey, f func(*window)) {
	if key.tenant == allTenants {
		app := l.app(key.app)
		f(&app.global)
		for _, w := range app.families {
			w.each(f)
		}
		return
	}
	if a := l.accounts[accountKey{key.app, key.tenant}]; a != nil {
		for i := range a.buckets {
			a.buckets[i].each(f)
		}
	}
}

// needed is the part of the limits that a permit needs: of those in its tenant, and of those in all tenants together.
func (l *limiter) needed(demands []demand) (inTenant, everywhere int) {
	part := func(w Window, cost int) int {
		if w.Limit == 0 {
			return 0
		}
		return (cost*quota.Whole + w.Limit - 1) / w.Limit
	}
	calls := 0
	for _, d := range demands {
		calls += d.calls
		f := l.limits.Families[d.family]
		inTenant = max(inTenant, part(f.Any, d.units), part(f.Write, d.writes))
		everywhere = max(everywhere, part(f.AppAny, d.units), part(f.AppWrite, d.writes))
	}
	return inTenant, max(everywhere, part(l.limits.Global, calls))
}

// withinShare refuses a permit that no wait would bring within this process's share as it is. The share will come to what the
// permit needs: by itself, or because the next renewal asks for that much.
func (l *limiter) withinShare(pm *permit, p Priority, now instant) error {
	if l.shares == nil {
		return nil
	}
	inTenant, everywhere := l.needed(pm.demands)
	for _, s := range []struct {
		tenant string
		need   int
	}{{pm.tenant, inTenant}, {allTenants, everywhere}} {
		h := l.shares.all[shareKey{pm.app, s.tenant}]
		if h != nil && now < h.until && s.need <= h.part(p) {
			continue
		}
		if h != nil && (s.need > h.Fair || s.need == h.least) {
			h.least, h.leastAt = max(h.least, s.need), now
		}
		l.shares.short(pm.app, s.tenant)
		for _, d := range pm.demands {
			l.counter(d.family).refused++
		}
		return l.putOff(h, now)
	}
	return nil
}

// served notes that a permit was given: the share need not be larger for it.
func (l *limiter) served(pm *permit) {
	if l.shares == nil {
		return
	}
	inTenant, everywhere := l.needed(pm.demands)
	if h := l.shares.all[shareKey{pm.app, pm.tenant}]; h != nil && inTenant >= h.least {
		h.least = 0
	}
	if h := l.shares.all[shareKey{pm.app, allTenants}]; h != nil && everywhere >= h.least {
		h.least = 0
	}
}

// together reports whether this process may make calls with these demands at once before long. Where that is not so, fewer are to
// be made.
func (l *limiter) together(app, tenant string, demands []demand) bool {
	for _, d := range demands {
		if l.fits(d) != nil {
			return false
		}
	}
	if l.shares == nil {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	inTenant, everywhere := l.needed(demands)
	within := func(tenant string, need int) bool {
		h := l.shares.all[shareKey{app, tenant}]
		return h != nil && need <= max(h.Part, h.Fair)
	}
	return within(tenant, inTenant) && within(allTenants, everywhere)
}

// putOff is the verdict on a call for which this process has no share: others hold it, and give back what they must at their
// next renewal.
func (l *limiter) putOff(h *share, now instant) error {
	delay := l.shares.ledger.Life() / 4
	if h != nil && h.renewAt > now {
		delay = h.renewAt - now
	}
	return fault.After(delay, fault.WaitingForPermit, errNoPermit)
}
