package graph

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pinreset/shared/clocktest"
	"pinreset/shared/diag"
	"pinreset/shared/fault"
)

func newClock() *clocktest.Clock { return clocktest.New(time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)) }

var (
	noWait = [2]time.Duration{}
	read   = []demand{{family: Devices, calls: 1, units: 1}}
	write  = []demand{{family: Devices, calls: 1, units: 1, writes: 1}}
)

func smallLimits(writes, any int, per time.Duration) Limits {
	return Limits{Families: map[Family]FamilyLimit{Devices: {Write: Window{writes, per}, Any: Window{any, per}}}}
}

func wantDelay(t *testing.T, err error, code fault.Code, delay time.Duration) {
	t.Helper()
	v, ok := fault.As(err)
	if !ok || v.Code != code || v.Delay != delay {
		t.Fatalf("error = %v, want %s after %s", err, code, delay)
	}
}

// held is the brute-force reference's memory of a permit.
type held struct {
	from, until, server time.Duration // until < 0: not answered yet; server: when Graph counted it
	units, writes       int
	people              bool
}

// out counts what is out at t in a window of length per.
func out(all []held, t, per time.Duration, cost func(held) int) (n int) {
	for _, h := range all {
		if h.until < 0 || h.until+per > t {
			n += cost(h)
		}
	}
	return n
}

func TestLimiterAgainstReference(t *testing.T) {
	t.Parallel()
	units := func(h held) int { return h.units }
	writes := func(h held) int { return h.writes }
	refusals, exact := 0, 0
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 7))
		per := time.Duration(1+rng.IntN(20)) * time.Second
		limitWrites, limitAny := 1+rng.IntN(8), 4+rng.IntN(20)
		reserve := float64(rng.IntN(5)) / 10
		ck := newClock()
		start := ck.Now()
		l := newLimiter(smallLimits(limitWrites, limitAny, per), reserve, noWait, ck.Now)
		var all []held
		open := map[int]*permit{}
		for range 400 {
			ck.Advance(time.Duration(rng.IntN(int(per) / 4)))
			now := ck.Now().Sub(start)
			if i, pm := anyOpen(rng, open); pm != nil && rng.IntN(2) == 0 {
				delete(open, i)
				if rng.IntN(8) == 0 {
					pm.takeBack()
					all[i].until, all[i].units, all[i].writes = 0, 0, 0
					continue
				}
				pm.answered()
				all[i].until = now
				all[i].server = all[i].from + time.Duration(rng.Int64N(int64(now-all[i].from)+1))
				continue
			}
			p := Priority(rng.IntN(2))
			d := demand{family: Devices, calls: 1, units: 1 + rng.IntN(3), writes: rng.IntN(2)}
			fits := func(at time.Duration) bool {
				ok := func(limit, cost int, f func(held) int) bool {
					n := out(all, at, per, f)
					peoples := out(all, at, per, func(h held) int {
						if h.people {
							return f(h)
						}
						return 0
					})
					// People have everything; bulk calls have their share, and beside it what people use of theirs.
					share := l.allowed(limit, p)
					return n == 0 || cost == 0 || n+cost <= share+min(limit-share, peoples)
				}
				return ok(limitAny, d.units, units) && ok(limitWrites, d.writes, writes)
			}
			awaited := anyPromised(l, now)
			pm, err := l.acquire(t.Context(), "app", "tenant", p, []demand{d})
			if got, want := err == nil, fits(now); got != want {
				t.Fatalf("seed %d at %s: permit %v, reference %v (%v)", seed, now, got, want, err)
			}
			if err == nil {
				open[len(all)] = pm
				all = append(all, held{from: now, until: -1, units: d.units, writes: d.writes, people: p == People})
				continue
			}
			refusals++
			v, ok := fault.As(err)
			if !ok || v.Code != fault.WaitingForPermit {
				t.Fatalf("seed %d: refusal %v", seed, err)
			}
			// With nobody else in line the delay is the time until the permit is there, to the nanosecond.
			if !awaited && len(open) == 0 && v.Delay > time.Millisecond {
				exact++
				if fits(now + v.Delay - 1) {
					t.Fatalf("seed %d at %s: told to wait %s, longer than needed", seed, now, v.Delay)
				}
			}
			if len(open) == 0 && !fits(now+v.Delay) {
				t.Fatalf("seed %d at %s: told to come back after %s, too early", seed, now, v.Delay)
			}
		}
		// What Graph saw: no span of the window's length has more than the limit in it, whenever within a call it counted.
		for _, end := range all {
			if end.until < 0 {
				continue
			}
			n, w := 0, 0
			for _, h := range all {
				if h.until >= 0 && h.server > end.server-per && h.server <= end.server {
					n, w = n+h.units, w+h.writes
				}
			}
			if n > limitAny || w > limitWrites {
				t.Fatalf("seed %d: %d units and %d writes within %s of %s, limits %d and %d", seed, n, w, per, end.server, limitAny, limitWrites)
			}
		}
	}
	if refusals < 1000 || exact < 100 {
		t.Fatalf("only %d refusals, %d of them exact: the traces test nothing", refusals, exact)
	}
}

func anyOpen(rng *rand.Rand, open map[int]*permit) (int, *permit) {
	keys := make([]int, 0, len(open))
	for i := range open {
		keys = append(keys, i)
	}
	if len(keys) == 0 {
		return 0, nil
	}
	slices.Sort(keys)
	i := keys[rng.IntN(len(keys))]
	return i, open[i]
}

// anyPromised reports whether others were sent away and are still awaited: then a delay may be longer than the wait for
// one permit.
func anyPromised(l *limiter, now time.Duration) bool {
	for w := range windows(l) {
		for p := range 2 {
			if w.promised != nil && w.promised[p].len > 0 && w.promised[p].at(w.promised[p].len-1).at > now {
				return true
			}
		}
	}
	return false
}

// windows are those of all tenants.
func windows(l *limiter) iter.Seq[*window] {
	return func(yield func(*window) bool) {
		for _, a := range l.accounts {
			for i := range a.buckets {
				b := &a.buckets[i]
				if !yield(&b.any) || b.write != nil && !yield(b.write) {
					return
				}
			}
		}
	}
}

func TestLimiterWindowIsExact(t *testing.T) {
	t.Parallel()
	ck := newClock()
	l := newLimiter(smallLimits(2, 10, 20*time.Second), 0, noWait, ck.Now)
	for i := range 2 {
		pm, err := l.acquire(t.Context(), "app", "a", Bulk, write)
		if err != nil {
			t.Fatalf("write %d: %v", i, err)
		}
		ck.Advance(3 * time.Second) // the answer takes its time: the permit comes back 20 s after it
		pm.answered()
	}
	_, err := l.acquire(t.Context(), "app", "a", Bulk, write)
	wantDelay(t, err, fault.WaitingForPermit, 17*time.Second)
	if _, err := l.acquire(t.Context(), "app", "a", Bulk, read); err != nil {
		t.Errorf("read beside full writes: %v", err)
	}
	if _, err := l.acquire(t.Context(), "app", "b", Bulk, write); err != nil {
		t.Errorf("another tenant: %v", err)
	}
	if _, err := l.acquire(t.Context(), "other", "a", Bulk, write); err != nil {
		t.Errorf("another app: %v", err)
	}
	ck.Advance(17*time.Second - 1)
	if _, err := l.acquire(t.Context(), "app", "a", Bulk, write); err == nil {
		t.Error("permit a nanosecond early")
	}
	ck.Advance(1)
	if _, err := l.acquire(t.Context(), "app", "a", Bulk, write); err != nil {
		t.Errorf("permit when due: %v", err)
	}
}

func TestLimiterReserve(t *testing.T) {
	t.Parallel()
	ck := newClock()
	l := newLimiter(smallLimits(10, 100, 20*time.Second), 0.3, noWait, ck.Now)
	given := map[Priority]int{}
	for _, p := range []Priority{Bulk, People} {
		for range 20 {
			if pm, err := l.acquire(t.Context(), "app", "a", p, write); err == nil {
				pm.answered()
				given[p]++
			}
		}
	}
	if given[Bulk] != 7 || given[People] != 3 {
		t.Errorf("bulk got %d of 10 and people %d, want 7 and 3", given[Bulk], given[People])
	}
}

// A thousand writes against a limit of 200 per 20 s take 80 s, and hardly any of them is sent away twice.
func TestLimiterPacesAtTheBestPossibleTime(t *testing.T) {
	t.Parallel()
	ck := newClock()
	start := ck.Now()
	l := newLimiter(PublishedLimits(), 0, noWait, ck.Now)
	type waiting struct{ at time.Duration }
	var queue []waiting
	for range 1000 {
		queue = append(queue, waiting{})
	}
	dispatches := 0
	var last time.Duration
	for len(queue) > 0 {
		next := slices.MinFunc(queue, func(a, b waiting) int { return int(a.at - b.at) }).at
		ck.Advance(next - ck.Now().Sub(start))
		var later []waiting
		for _, w := range queue {
			if w.at > next {
				later = append(later, w)
				continue
			}
			dispatches++
			pm, err := l.acquire(t.Context(), "app", "a", Bulk, write)
			if err == nil {
				pm.answered()
				last = next
				continue
			}
			v, _ := fault.As(err)
			later = append(later, waiting{next + v.Delay})
		}
		queue = later
	}
	if last < 80*time.Second || last > 81*time.Second { // how long an answer takes is learnt from the first ones
		t.Errorf("1000 writes done after %s, want 80s and less than one more", last)
	}
	if dispatches > 1900 {
		t.Errorf("%d tries for 1000 writes, want about 1800", dispatches)
	}
}

// TestLimiterPacesSlowAnswers: a permit comes back a window after the answer, so each round takes as much longer as an answer takes.
// Promises that do not know of it send the thirtieth round away for coming early, to where there is nothing left to do.
func TestLimiterPacesSlowAnswers(t *testing.T) {
	t.Parallel()
	const (
		callers = 5_000
		limit   = 160 // 200 less the reserve, in 20 s
		latency = 150 * time.Millisecond
	)
	ck := newClock()
	start := ck.Now()
	l := newLimiter(PublishedLimits(), 0.2, noWait, ck.Now)
	type moment struct {
		at time.Duration
		pm *permit // answered then; nil: a caller comes
	}
	queue := make([]moment, callers) // in order of time
	insert := func(m moment) {
		i, _ := slices.BinarySearchFunc(queue, m.at+1, func(m moment, at time.Duration) int { return cmp.Compare(m.at, at) })
		queue = slices.Insert(queue, i, m)
	}
	var last time.Duration
	tries := 0
	for len(queue) > 0 {
		m := queue[0]
		queue = queue[1:]
		ck.Advance(m.at - ck.Now().Sub(start))
		if m.pm != nil {
			m.pm.answered()
			continue
		}
		tries++
		pm, err := l.acquire(t.Context(), "app", "a", Bulk, write)
		if err == nil {
			last = m.at
			insert(moment{at: m.at + latency, pm: pm})
			continue
		}
		v, _ := fault.As(err)
		insert(moment{at: m.at + v.Delay})
	}
	bound := time.Duration((callers-1)/limit) * 20 * time.Second
	if last > bound+bound/50 {
		t.Errorf("the last of %d calls after %s, want it within 2 %% of %s", callers, last, bound)
	}
	if tries > 3*callers {
		t.Errorf("%d tries for %d calls, want no more than three each", tries, callers)
	}
	t.Logf("last call after %s, bound %s, %d tries", last, bound, tries)
}

// A crowd that never comes back costs no more memory and no longer delay than the bounds say.
func TestLimiterPromisesAreBounded(t *testing.T) {
	t.Parallel()
	ck := newClock()
	l := newLimiter(PublishedLimits(), 0, noWait, ck.Now)
	var longest time.Duration
	for range 50_000 {
		ck.Advance(time.Millisecond)
		pm, err := l.acquire(t.Context(), "app", "a", Bulk, write)
		if v, ok := fault.As(err); ok {
			longest = max(longest, v.Delay)
			continue
		}
		pm.answered()
	}
	if longest > promiseAhead*20*time.Second || longest < 20*time.Second {
		t.Errorf("longest delay %s", longest)
	}
	for w := range windows(l) {
		if w.promised != nil && w.promised[Bulk].len > promiseAhead*promiseSteps+1 {
			t.Errorf("%d promises are kept", w.promised[Bulk].len)
		}
	}
}

func TestLimiterAppWideWindow(t *testing.T) {
	t.Parallel()
	ck := newClock()
	limits := Limits{Families: map[Family]FamilyLimit{Identity: {Any: Window{10, time.Second}, AppAny: Window{3, 10 * time.Second}}}}
	l := newLimiter(limits, 0, noWait, ck.Now)
	one := []demand{{family: Identity, calls: 1, units: 1}}
	for i := range 3 {
		pm, err := l.acquire(t.Context(), "app", fmt.Sprint("tenant ", i), Bulk, one)
		if err != nil {
			t.Fatal(err)
		}
		pm.answered()
	}
	_, err := l.acquire(t.Context(), "app", "tenant 9", Bulk, one)
	wantDelay(t, err, fault.WaitingForPermit, 10*time.Second)
}

func TestLimiterLargeWindowRoundsUpOnly(t *testing.T) {
	t.Parallel()
	w := newWindow(Window{70_000, 5 * time.Minute})
	rng := rand.New(rand.NewPCG(1, 2))
	var now instant
	for range 200_000 {
		now += time.Duration(rng.IntN(int(3 * time.Millisecond)))
		if at, _ := w.due(now, room{w.limit, w.limit}, 1); at == now {
			w.give(1, Bulk)
			w.answered(now, 1, Bulk)
		}
	}
	if int(w.used.sum) > w.limit {
		t.Errorf("%d out of %d", w.used.sum, w.limit)
	}
	if n := len(w.used.buf); n > 4096 {
		t.Errorf("window keeps %d marks", n)
	}
	if first := w.used.at(0).at; first%w.quantum != 0 || first+w.per <= now {
		t.Errorf("oldest mark %s at %s", first, now)
	}
}

func TestLimiterRetryAfterBlocksOneTenant(t *testing.T) {
	t.Parallel()
	ck := newClock()
	l := newLimiter(PublishedLimits(), 0, noWait, ck.Now)
	first, err := l.acquire(t.Context(), "app", "a", Bulk, read)
	if err != nil {
		t.Fatal(err)
	}
	second, err := l.acquire(t.Context(), "app", "a", Bulk, read)
	if err != nil {
		t.Fatal(err)
	}
	ck.Advance(time.Second)
	first.answered()
	if d := first.throttled(Devices, 30*time.Second, true); d != 30*time.Second {
		t.Errorf("delay %s, want Retry-After", d)
	}
	_, err = l.acquire(t.Context(), "app", "a", People, read)
	wantDelay(t, err, fault.GraphThrottled, 30*time.Second)
	for _, who := range [][2]string{{"app", "b"}, {"other", "a"}} {
		if _, err := l.acquire(t.Context(), who[0], who[1], Bulk, read); err != nil {
			t.Errorf("%s in tenant %s: %v", who[0], who[1], err)
		}
	}
	if _, err := l.acquire(t.Context(), "app", "a", Bulk, []demand{{family: Identity, calls: 1, units: 1}}); err != nil {
		t.Errorf("another family: %v", err)
	}
	// One that was under way is no violation, and its shorter delay does not shorten the block.
	ck.Advance(time.Second)
	second.answered()
	second.throttled(Devices, 5*time.Second, true)
	_, err = l.acquire(t.Context(), "app", "a", Bulk, read)
	wantDelay(t, err, fault.GraphThrottled, 29*time.Second)
	ck.Advance(29 * time.Second)
	if _, err = l.acquire(t.Context(), "app", "a", Bulk, read); err != nil {
		t.Errorf("after Retry-After: %v", err)
	}
	if n := l.snapshot().RetryAfterViolations; n != 0 {
		t.Errorf("%d violations", n)
	}
	// The counter counts: a call that leaves within the block is one.
	early, _ := l.acquire(t.Context(), "app", "a", Bulk, read)
	early.throttled(Devices, time.Minute, true)
	early.departed += time.Second
	early.answered()
	if n := l.snapshot().RetryAfterViolations; n != 1 {
		t.Errorf("%d violations, want 1", n)
	}
}

func TestLimiterBackoff(t *testing.T) {
	t.Parallel()
	ck := newClock()
	l := newLimiter(PublishedLimits(), 0, noWait, ck.Now)
	l.jitter = func() float64 { return 0.5 }
	take := func() *permit {
		t.Helper()
		pm, err := l.acquire(t.Context(), "app", "a", Bulk, read)
		if err != nil {
			t.Fatal(err)
		}
		pm.answered()
		return pm
	}
	for i, want := range []time.Duration{1500, 3000, 6000, 12000, 24000, 48000, 60000, 60000} {
		pm := take()
		twin := take()
		ck.Advance(time.Millisecond)
		if d := pm.throttled(Devices, 0, false); d != want*time.Millisecond {
			t.Errorf("failure %d: %s, want %s", i+1, d, want*time.Millisecond)
		}
		if d := twin.failed(Devices); d != want*time.Millisecond {
			t.Errorf("failure %d of a call under way: %s, want the same %s", i+1, d, want*time.Millisecond)
		}
		ck.Advance(want * time.Millisecond)
	}
	take().succeeded(Devices)
	if d := take().failed(Devices); d != 1500*time.Millisecond {
		t.Errorf("after a success: %s", d)
	}
	l.jitter = func() float64 { return 0 }
	pm := take()
	pm.succeeded(Devices)
	if d := pm.failed(Devices); d < minBackoff {
		t.Errorf("without luck: %s", d)
	}
}

func TestLimiterWaitsInline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(smallLimits(5, 100, 2*time.Second), 0, [2]time.Duration{People: 2 * time.Second, Bulk: 250 * time.Millisecond}, time.Now)
		var record diag.Record
		ctx := diag.NewContext(t.Context(), &record)
		for range 5 {
			pm, err := l.acquire(ctx, "app", "a", Bulk, write)
			if err != nil {
				t.Fatal(err)
			}
			pm.answered()
		}
		time.Sleep(500 * time.Millisecond)
		if _, err := l.acquire(ctx, "app", "a", Bulk, write); err == nil {
			t.Fatal("bulk waited 1.5 s")
		}
		before := time.Now()
		pm, err := l.acquire(ctx, "app", "a", People, write)
		if err != nil {
			t.Fatal(err)
		}
		pm.answered()
		if waited := time.Since(before); waited != 1500*time.Millisecond {
			t.Errorf("waited %s, want 1.5s", waited)
		}
		steps, _ := record.Steps()
		if len(steps) != 1 || steps[0].Kind != diag.KindWait || steps[0].Milliseconds != 1500 {
			t.Errorf("steps %+v", steps)
		}
		s := l.snapshot()
		if f := s.Families[0]; f.Calls != 6 || f.Writes != 6 || f.Waited != 1 || f.WaitedFor != 1500*time.Millisecond || f.Refused != 1 || f.Tenants != 1 {
			t.Errorf("snapshot %+v", f)
		}
	})
}

// A call that waits while Graph says to stay away does not leave when its permit is due.
func TestLimiterBlockEndsAWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(smallLimits(1, 100, time.Second), 0, [2]time.Duration{People: 2 * time.Second}, time.Now)
		pm, err := l.acquire(t.Context(), "app", "a", People, write)
		if err != nil {
			t.Fatal(err)
		}
		pm.answered()
		done := make(chan error)
		go func() {
			_, err := l.acquire(t.Context(), "app", "a", People, write)
			done <- err
		}()
		synctest.Wait()
		pm.throttled(Devices, 10*time.Second, true)
		wantDelay(t, <-done, fault.GraphThrottled, 9*time.Second)
		if s := l.snapshot(); s.Families[0].Calls != 1 {
			t.Errorf("calls %d, want the first only", s.Families[0].Calls)
		}
	})
}

func TestLimiterCancelledWaitGivesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(smallLimits(1, 100, time.Second), 0, [2]time.Duration{People: 2 * time.Second}, time.Now)
		pm, _ := l.acquire(t.Context(), "app", "a", People, write)
		pm.answered()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			_, err := l.acquire(ctx, "app", "a", People, write)
			done <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, ctx.Err()) {
			t.Errorf("error %v", err)
		}
		time.Sleep(time.Second)
		if _, err := l.acquire(t.Context(), "app", "a", People, write); err != nil {
			t.Errorf("the permit of the cancelled call is lost: %v", err)
		}
	})
}

// Many goroutines, random latencies, both priorities: Graph never sees more than the limit in any window.
func TestLimiterConcurrent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const limit, per = 20, 2 * time.Second
		l := newLimiter(smallLimits(limit, 1000, per), 0.2, [2]time.Duration{People: 2 * time.Second, Bulk: 250 * time.Millisecond}, time.Now)
		var mu sync.Mutex
		var seen []time.Time
		var wg sync.WaitGroup
		for i := range 300 {
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(i), 3))
				p := Priority(i % 2)
				for {
					pm, err := l.acquire(t.Context(), "app", "a", p, write)
					if v, ok := fault.As(err); ok {
						time.Sleep(v.Delay)
						continue
					}
					if err != nil {
						t.Error(err)
						return
					}
					time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
					mu.Lock()
					seen = append(seen, time.Now())
					mu.Unlock()
					time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
					pm.answered()
					return
				}
			})
		}
		wg.Wait()
		slices.SortFunc(seen, time.Time.Compare)
		for i := limit; i < len(seen); i++ {
			if d := seen[i].Sub(seen[i-limit]); d < per {
				t.Fatalf("%d calls within %s", limit+1, d)
			}
		}
		if len(seen) != 300 {
			t.Errorf("%d calls", len(seen))
		}
	})
}

func TestLimiterForgetsIdleTenants(t *testing.T) {
	t.Parallel()
	ck := newClock()
	l := newLimiter(PublishedLimits(), 0, noWait, ck.Now)
	for i := range 10_000 {
		pm, err := l.acquire(t.Context(), "app", fmt.Sprint("tenant ", i), Bulk, write)
		if err != nil {
			t.Fatal(err)
		}
		pm.answered()
	}
	if n := len(l.accounts); n != 10_000 {
		t.Fatalf("%d accounts", n)
	}
	ck.Advance(20 * time.Second)
	if _, err := l.acquire(t.Context(), "app", "tenant 0", Bulk, write); err != nil {
		t.Fatal(err)
	}
	if n := len(l.accounts); n > 2 {
		t.Errorf("%d accounts of idle tenants", n)
	}
}

func TestLimiterRefusesWhatNeverFits(t *testing.T) {
	t.Parallel()
	l := newLimiter(PublishedLimits(), 0.2, noWait, newClock().Now)
	if _, err := l.acquire(t.Context(), "app", "a", Bulk, []demand{{family: Reports, calls: 20, units: 20}}); !errors.Is(err, errTooCostly) {
		t.Errorf("error %v", err)
	}
	// Five fit the limit but not bulk's share of four: given when nothing else is out.
	if _, err := l.acquire(t.Context(), "app", "a", Bulk, []demand{{family: Reports, calls: 5, units: 5}}); err != nil {
		t.Errorf("error %v", err)
	}
}

func TestDemandOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		method, target string
		want           demand
	}{
		{"GET", "/organization?$select=id", demand{Identity, 1, 1, 0}},
		{"GET", "/servicePrincipals(appId='x')", demand{Identity, 1, 1, 0}},
		{"GET", "/oauth2PermissionGrants?$filter=x", demand{Identity, 1, 2, 0}},
		{"GET", "/oauth2PermissionGrants?$select=id", demand{Identity, 1, 1, 0}},
		{"GET", "/oauth2PermissionGrants?%24expand=x", demand{Identity, 1, 3, 0}},
		{"GET", "/servicePrincipals/x/appRoleAssignments", demand{Identity, 1, 2, 0}},
		{"GET", "/servicePrincipals(appId='x')/oauth2PermissionGrants", demand{Identity, 1, 2, 0}},
		{"GET", "/groups/x/members", demand{Identity, 1, 3, 0}},
		{"GET", "/groups/x/members?$top=5&$select=id", demand{Identity, 1, 1, 0}},
		{"GET", "/groups/x/members?$top=20", demand{Identity, 1, 3, 0}},
		{"GET", "/groups/x/transitiveMembers", demand{Identity, 1, 5, 0}},
		{"GET", "/groups/x/transitiveMembers?$select=id&$top=999", demand{Identity, 1, 4, 0}},
		{"GET", "/groups/delta?$select=id", demand{Identity, 1, 1, 0}},
		{"GET", "/users/x", demand{Identity, 1, 2, 0}},
		{"GET", "/users/x/transitiveMemberOf", demand{Identity, 1, 2, 0}},
		{"GET", "/users/x/transitiveMemberOf?$select=id&$top=999", demand{Identity, 1, 1, 0}},
		{"GET", "/devices/x/transitiveMemberOf", demand{Identity, 1, 1, 0}},
		{"GET", "/domains?$select=id", demand{Identity, 1, 1, 0}},
		{"GET", "/users/x/authentication/windowsHelloForBusinessMethods", demand{Identity, 1, 1, 0}},
		{"PATCH", "/servicePrincipals(appId='x')", demand{Identity, 1, 1, 1}},
		{"GET", "/deviceManagement/managedDevices/x?$select=id", demand{Devices, 1, 1, 0}},
		{"POST", "/deviceManagement/managedDevices/x/resetPasscode", demand{Devices, 1, 1, 1}},
		{"POST", "/deviceManagement/deviceConfigurations", demand{Configuration, 1, 1, 1}},
		{"GET", "/deviceManagement/deviceConfigurations/x/deviceStatuses?$select=id", demand{Configuration, 1, 1, 0}},
		{"GET", "/deviceManagement/managedDevices/x/deviceConfigurationStates", demand{Devices, 1, 1, 0}},
		{"PUT", "/deviceManagement/configurationPolicies/x", demand{Catalog, 1, 1, 1}},
		{"POST", "/deviceManagement/configurationPolicies/x/assign", demand{Catalog, 1, 1, 1}},
		{"DELETE", "/subscriptions/x", demand{Subscriptions, 1, 1, 1}},
		{"GET", "/deviceManagement/configurationPolicies", demand{Catalog, 1, 1, 0}},
		{"GET", "/deviceManagement/intents/x/settings", demand{Intents, 1, 1, 0}},
		{"GET", "/deviceManagement/auditEvents", demand{Auditing, 1, 1, 0}},
		{"GET", "/auditLogs/signIns", demand{Reports, 1, 1, 0}},
		{"POST", "/subscriptions", demand{Subscriptions, 1, 1, 1}},
		{"GET", "/somethingNew", demand{"", 1, 1, 0}},
	} {
		if got := demandOf(c.method, c.target); got != c.want {
			t.Errorf("%s %s: %+v, want %+v", c.method, c.target, got, c.want)
		}
	}
}

// One saturated tenant is mostly refusals, ten thousand tenants are mostly permits.
func BenchmarkLimiter(b *testing.B) {
	for _, tenants := range []int{1, 10_000} {
		b.Run(fmt.Sprintf("tenants=%d", tenants), func(b *testing.B) {
			ck := newClock()
			l := newLimiter(PublishedLimits(), 0.2, noWait, ck.Now)
			names := make([]string, tenants)
			for i := range names {
				names[i] = fmt.Sprintf("00000000-0000-0000-0000-%012d", i)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				ck.Advance(100 * time.Microsecond)
				if pm, err := l.acquire(b.Context(), "app", names[i%tenants], Bulk, write); err == nil {
					pm.answered()
				}
			}
		})
	}
}
