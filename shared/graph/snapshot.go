package graph

import (
	"slices"
	"strings"
	"time"
)

// counters are the running totals of a family.
type counters struct {
	calls, writes, waited, refused, throttled int
	waitedFor                                 time.Duration
	out                                       time.Duration // typical time until a call is answered, of which the latest are worth most
}

// usual is how long a call is taken to be out before one was answered.
const usual = 150 * time.Millisecond

func (c *counters) answered(took time.Duration) { c.out += (took - c.out) / 16 }

// LimiterSnapshot is the state of the limiter for metrics. It names no tenant.
type LimiterSnapshot struct {
	Families []FamilySnapshot // those in use, by name
	// RetryAfterViolations counts calls that were sent while Graph had said to wait. It must stay 0.
	RetryAfterViolations int
}

// FamilySnapshot is the state of one family over all applications and tenants.
type FamilySnapshot struct {
	Family    Family
	Calls     int           // sent since the start; the parts of a batch each count
	Writes    int           // of these, writes
	Waited    int           // calls that waited a moment for a permit
	WaitedFor time.Duration // how long together
	Refused   int           // calls sent back with a delay
	Throttled int           // answers of 429, and of 503 with Retry-After

	Tenants int // with permits out, or told to wait
	Blocked int // of these, told to wait
	// Used and Limit are those of the fullest window of any tenant.
	Used, Limit int
}

// fill takes over the figures of a window that is fuller than those so far.
func (f *FamilySnapshot) fill(w *window) {
	used, _ := w.out()
	if w.limit > 0 && (f.Limit == 0 || used*f.Limit > f.Used*w.limit) {
		f.Used, f.Limit = used, w.limit
	}
}

func (l *limiter) counter(f Family) *counters {
	c := l.counters[f]
	if c == nil {
		c = &counters{out: usual}
		l.counters[f] = c
	}
	return c
}

func (l *limiter) snapshot() LimiterSnapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.elapsed()
	l.forgetIdle(now)
	families := map[Family]*FamilySnapshot{}
	for f, c := range l.counters {
		families[f] = &FamilySnapshot{Family: f, Calls: c.calls, Writes: c.writes, Waited: c.waited,
			WaitedFor: c.waitedFor, Refused: c.refused, Throttled: c.throttled}
	}
	for _, a := range l.accounts {
		for i := range a.buckets {
			b := &a.buckets[i]
			f := families[b.family]
			if f == nil || b.idle(now) {
				continue
			}
			f.Tenants++
			if b.blockedUntil > now {
				f.Blocked++
			}
			f.fill(&b.any)
			if b.write != nil {
				f.fill(b.write)
			}
		}
	}
	s := LimiterSnapshot{RetryAfterViolations: l.broken}
	for _, f := range families {
		s.Families = append(s.Families, *f)
	}
	slices.SortFunc(s.Families, func(a, b FamilySnapshot) int { return strings.Compare(string(a.Family), string(b.Family)) })
	return s
}
