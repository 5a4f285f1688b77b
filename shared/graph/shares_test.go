package graph

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"pinreset/shared/clocktest"
	"pinreset/shared/fault"
	"pinreset/shared/quota"
	"pinreset/shared/work"
)

// rowsInMemory is a store of rows, with faults.
type rowsInMemory struct {
	mu      sync.Mutex
	rows    map[work.Key]work.Row
	version int
	ops     int
	fault   func() (before, after error) // of a commit; nil: none
}

func (s *rowsInMemory) Get(_ context.Context, key work.Key) (work.Row, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ops++
	row, ok := s.rows[key]
	if !ok {
		return work.Row{}, work.ErrNotFound
	}
	return row, nil
}

func (s *rowsInMemory) Commit(_ context.Context, b work.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ops++
	var after error
	if s.fault != nil {
		var before error
		if before, after = s.fault(); before != nil {
			return before
		}
	}
	w := b.Writes[0]
	key := work.Key{Partition: b.Partition, Row: w.Row}
	row, there := s.rows[key]
	etag, match := w.If.ETag()
	if w.If.Absent() && there || match && row.ETag != etag {
		return work.ErrConflict
	}
	s.version++
	s.rows[key] = work.Row{Key: key, ETag: strconv.Itoa(s.version), Value: w.Value}
	return after
}

// worker is a process: a limiter of its own, with a clock that is off by some.
type worker struct {
	limiter *limiter
	open    []*sent
	hungry  bool
}

type sent struct {
	permit *permit
	from   time.Duration // true time
	until  time.Duration // true time of the answer; < 0: not yet
	server time.Duration // when Graph counted it
	writes int
}

const life = 20 * time.Second

func newWorker(store *rowsInMemory, limits Limits, name string, now func() time.Time) *worker {
	l := newLimiter(limits, 0.2, noWait, now)
	l.jitter = func() float64 { return 0 }
	l.shares = newShares(quota.New(store, quota.Options{Process: name, Common: "system", Life: life, Now: now}))
	return &worker{limiter: l, hungry: true}
}

// TestSharesKeepTheLimitTogether runs processes with clocks that differ, that come, die and fall idle, over a store that fails
// before and after it wrote, and counts with a brute-force reference what Graph saw.
func TestSharesKeepTheLimitTogether(t *testing.T) {
	t.Parallel()
	broken := errors.New("store does not answer")
	calls, crashes, lost := 0, 0, 0
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 21))
		limit := 40 + rng.IntN(200)
		limits := Limits{Global: Window{limit * 20, 10 * time.Second}, Families: map[Family]FamilyLimit{
			Devices: {Write: Window{limit, 20 * time.Second}, Any: Window{10 * limit, 20 * time.Second}}, // the longest is a lease's life
			Catalog: {Write: Window{limit, 60 * time.Second}},                                            // longer than that
		}}
		ck := newClock()
		start := ck.Now()
		store := &rowsInMemory{rows: map[work.Key]work.Row{}}
		store.fault = func() (before, after error) {
			switch rng.IntN(12) {
			case 0:
				return broken, nil
			case 1:
				lost++
				return nil, broken
			case 2:
				return work.ErrConflict, nil
			}
			return nil, nil
		}
		names := 0
		join := func() *worker {
			names++
			skew := time.Duration(rng.Int64N(int64(life/4))) - life/8
			return newWorker(store, limits, fmt.Sprint("process-", names), func() time.Time { return ck.Now().Add(skew) })
		}
		workers := []*worker{join()}
		seen := map[Family][]*sent{}
		for range 1500 {
			ck.Advance(time.Duration(rng.IntN(int(400 * time.Millisecond))))
			now := ck.Now().Sub(start)
			switch {
			case len(workers) < 4 && rng.IntN(60) == 0:
				workers = append(workers, join())
			case len(workers) > 1 && rng.IntN(150) == 0: // it dies; what it had sent may have been counted
				i := rng.IntN(len(workers))
				for _, s := range workers[i].open {
					s.until, s.server = now, s.from
				}
				workers = append(workers[:i], workers[i+1:]...)
				crashes++
			case rng.IntN(40) == 0:
				w := workers[rng.IntN(len(workers))]
				w.hungry = !w.hungry
			}
			w := workers[rng.IntN(len(workers))]
			for len(w.open) > 0 && rng.IntN(3) > 0 {
				s := w.open[0]
				w.open = w.open[1:]
				s.permit.answered()
				s.until = now
				s.server = s.from + time.Duration(rng.Int64N(int64(now-s.from)+1))
			}
			if !w.hungry {
				continue
			}
			family := Devices
			if rng.IntN(4) == 0 {
				family = Catalog
			}
			for range rng.IntN(limit / 2) {
				pm, err := w.limiter.acquire(t.Context(), "app", "tenant", Priority(rng.IntN(2)), []demand{{family: family, calls: 1, units: 1, writes: 1}})
				if err != nil {
					if v, ok := fault.As(err); !errors.Is(err, broken) && (!ok || v.Code != fault.WaitingForPermit || v.Delay <= 0) {
						t.Fatalf("seed %d: %v", seed, err)
					}
					break
				}
				s := &sent{permit: pm, from: now, until: -1, writes: 1}
				w.open = append(w.open, s)
				seen[family] = append(seen[family], s)
				calls++
			}
		}
		for family, all := range seen {
			per := limits.Families[family].Write.Per
			for _, end := range all {
				n := 0
				for _, s := range all {
					if end.until >= 0 && s.until >= 0 && s.server > end.server-per && s.server <= end.server {
						n++
					}
				}
				if n > limit {
					t.Fatalf("seed %d: Graph saw %d writes of %s within %s before %s, the limit is %d", seed, n, family, per, end.server, limit)
				}
			}
		}
	}
	if calls < 10_000 || crashes < 20 || lost < 100 {
		t.Fatalf("%d calls, %d crashes, %d lost answers of the store: the traces test little", calls, crashes, lost)
	}
	t.Logf("%d calls, %d crashes, %d lost answers of the store", calls, crashes, lost)
}

// crowd runs hungry workers for a time, each with calls that are answered at once, and returns the calls of each.
func crowd(t *testing.T, ck *clocktest.Clock, d time.Duration, workers ...*worker) []int {
	t.Helper()
	done := make([]int, len(workers))
	for end := ck.Now().Add(d); ck.Now().Before(end); ck.Advance(250 * time.Millisecond) {
		for i, w := range workers {
			for {
				pm, err := w.limiter.acquire(t.Context(), "app", "tenant", Bulk, write)
				if err != nil {
					if _, ok := fault.As(err); !ok {
						t.Fatal(err)
					}
					break
				}
				pm.answered()
				done[i]++
			}
		}
	}
	return done
}

func TestSharesFollowTheNeed(t *testing.T) {
	t.Parallel()
	limits := smallLimits(200, 2000, 20*time.Second)
	limits.Global = Window{130_000, 10 * time.Second}
	const bound = 160 // a window, less the reserve
	ck := newClock()
	store := &rowsInMemory{rows: map[work.Key]work.Row{}}
	a, b, c := newWorker(store, limits, "a", ck.Now), newWorker(store, limits, "b", ck.Now), newWorker(store, limits, "c", ck.Now)
	const windows = 10
	check := func(what string, done []int, share ...float64) {
		t.Helper()
		sum := 0
		for i, n := range done {
			sum += n
			want := share[i] * bound * windows
			if float64(n) < 0.9*want || float64(n) > 1.1*want {
				t.Errorf("%s: process %d made %d calls, want about %.0f", what, i, n, want)
			}
		}
		t.Logf("%s: %v of %d: %.1f %% of the bound", what, done, bound*windows, 100*float64(sum)/bound/windows)
		if float64(sum) < 0.92*bound*windows {
			t.Errorf("%s: all together made %d calls, want at least 92 %% of %d", what, sum, bound*windows)
		}
	}
	check("alone", crowd(t, ck, windows*20*time.Second, a), 0.95)
	crowd(t, ck, 60*time.Second, a, b)
	check("two", crowd(t, ck, windows*20*time.Second, a, b), 0.475, 0.475)
	crowd(t, ck, 60*time.Second, a, b, c)
	check("three", crowd(t, ck, windows*20*time.Second, a, b, c), 0.317, 0.317, 0.317)

	// b and c die. Their shares come back after the lease, the window and a quarter of a life for the clocks.
	gone := ck.Now()
	for a.limiter.shares.of("app", "tenant", quota.Whole, Bulk) < quota.Usable {
		if crowd(t, ck, time.Second, a); ck.Now().Sub(gone) > 2*time.Minute {
			t.Fatal("the shares of dead processes have not come back")
		}
	}
	took := ck.Now().Sub(gone)
	t.Logf("the shares of dead processes came back after %s", took)
	if took < life || took > life+20*time.Second+life/4+life/2 {
		t.Errorf("shares of dead processes came back after %s", took)
	}
	check("one is left", crowd(t, ck, windows*20*time.Second, a), 0.95)
}

// TestSharesAreHandedBack: after an orderly stop others have the room at once that its calls don't take up, not after its lease; and
// a process with a call that is still out keeps its share.
func TestSharesAreHandedBack(t *testing.T) {
	t.Parallel()
	ck := newClock()
	store := &rowsInMemory{rows: map[work.Key]work.Row{}}
	limits := smallLimits(200, 2000, 20*time.Second)
	a, b := newWorker(store, limits, "a", ck.Now), newWorker(store, limits, "b", ck.Now)
	held := func() int { return b.limiter.shares.of("app", "tenant", quota.Whole, Bulk) }
	one := func(w *worker) *permit {
		t.Helper()
		pm, err := w.limiter.acquire(t.Context(), "app", "tenant", People, write)
		if err != nil {
			t.Fatal(err)
		}
		return pm
	}
	pm := one(a)
	if err := a.limiter.release(t.Context()); err != nil {
		t.Fatal(err)
	}
	one(b).answered()
	if held() >= quota.Usable/2 {
		t.Errorf("a call is out and the other has %d", held())
	}
	pm.answered()
	if err := a.limiter.release(t.Context()); err != nil {
		t.Fatal(err)
	}
	ck.Advance(life / 4)
	crowd(t, ck, time.Second, b)
	if want := quota.Usable - quota.Whole/100; held() < want {
		t.Errorf("after the stop the other has %d, want %d", held(), want)
	}
}

// TestSharesOfOnesThatRest: two processes call in turn, each hands its share back before it rests. Neither waits for the other, and a call
// after a rest asks for a share again.
func TestSharesOfOnesThatRest(t *testing.T) {
	t.Parallel()
	ck := newClock()
	store := &rowsInMemory{rows: map[work.Key]work.Row{}}
	limits := smallLimits(200, 2000, 20*time.Second)
	workers := []*worker{newWorker(store, limits, "a", ck.Now), newWorker(store, limits, "b", ck.Now)}
	for turn := range 6 {
		w := workers[turn%2]
		pm, err := w.limiter.acquire(t.Context(), "app", "tenant", Bulk, write)
		if err != nil {
			t.Fatalf("turn %d: %v", turn, err)
		}
		if part := w.limiter.shares.of("app", "tenant", quota.Whole, Bulk); part < quota.Usable*9/10 {
			t.Errorf("turn %d: the share is %d", turn, part)
		}
		pm.answered()
		if err := w.limiter.release(t.Context()); err != nil {
			t.Fatal(err)
		}
		ck.Advance(time.Second)
	}
}

func TestSharesCostNoStoreOperationPerCall(t *testing.T) {
	t.Parallel()
	ck := newClock()
	store := &rowsInMemory{rows: map[work.Key]work.Row{}}
	w := newWorker(store, smallLimits(200, 2000, 20*time.Second), "a", ck.Now)
	const minutes = 10
	done := crowd(t, ck, minutes*time.Minute, w)
	// One renewal, a read and a write, in a quarter of a life; for the tenant, and for the limits in all tenants together.
	most := 2 * 2 * (int(minutes*time.Minute/(life/4)) + 1)
	if store.ops > most || done[0] < 1000 {
		t.Errorf("%d store operations for %d calls in %d minutes, want at most %d", store.ops, done[0], minutes, most)
	}
	ck.Advance(time.Hour)
	w.limiter.mu.Lock()
	defer w.limiter.mu.Unlock()
	w.limiter.forgetIdle(w.limiter.elapsed())
	if n := len(w.limiter.shares.all); n != 0 {
		t.Errorf("%d shares are kept of tenants that are not called", n)
	}
}

// TestSharesLeaveRoomForPeople: a process that comes along while another has all the work makes a person's call at once.
func TestSharesLeaveRoomForPeople(t *testing.T) {
	t.Parallel()
	ck := newClock()
	store := &rowsInMemory{rows: map[work.Key]work.Row{}}
	limits := smallLimits(200, 2000, 20*time.Second)
	busy := newWorker(store, limits, "busy", ck.Now)
	crowd(t, ck, time.Minute, busy)
	for _, name := range []string{"second", "third"} {
		w := newWorker(store, limits, name, ck.Now)
		pm, err := w.limiter.acquire(t.Context(), "app", "tenant", People, write)
		if err != nil {
			t.Fatalf("a person's call in the process %s: %v", name, err)
		}
		pm.answered()
	}
	pm, err := busy.limiter.acquire(t.Context(), "app", "tenant", People, write)
	if err != nil {
		t.Fatalf("a person's call where bulk calls use all that they may: %v", err)
	}
	pm.answered()
}

// TestSharesRenewedByOneWhoGivesUp: a call that waits for another's renewal does not end with it.
func TestSharesRenewedByOneWhoGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := &rowsInMemory{rows: map[work.Key]work.Row{}}
		w := newWorker(store, smallLimits(200, 2000, 20*time.Second), "a", time.Now)
		call := func(ctx context.Context) error {
			pm, err := w.limiter.acquire(ctx, "app", "tenant", Bulk, read)
			if err == nil {
				pm.answered()
			}
			return err
		}
		given, cancel := context.WithCancel(t.Context())
		first := true
		store.fault = func() (error, error) {
			if !first {
				return nil, nil
			}
			first = false
			<-given.Done()
			return given.Err(), nil
		}
		ended := make(chan error, 2)
		go func() { ended <- call(given) }()
		synctest.Wait() // it is in the store
		go func() { ended <- call(t.Context()) }()
		synctest.Wait() // it waits for the first
		cancel()
		synctest.Wait()
		a, b := <-ended, <-ended
		if !errors.Is(errors.Join(a, b), context.Canceled) || a != nil && b != nil {
			t.Errorf("one gave up and the other ended with it: %v, %v", a, b)
		}
	})
}

// TestSharesFailAsTheStoreDoes: a store that does not answer is no word of Graph's: the call has no verdict, and is not sent.
func TestSharesFailAsTheStoreDoes(t *testing.T) {
	t.Parallel()
	broken := errors.New("store does not answer")
	store := &rowsInMemory{rows: map[work.Key]work.Row{}, fault: func() (error, error) { return broken, nil }}
	sent := 0
	cfg := Config{
		Graph: "https://graph.example", Authority: "https://login.example",
		Transport: roundTripper(func(*http.Request) (*http.Response, error) { sent++; return nil, errors.New("no network") }),
		App:       App{ClientID: "app", Credential: func(string) (azcore.TokenCredential, error) { return stillToken{}, nil }},
		Shares:    quota.New(store, quota.Options{Process: "a", Common: "system"}),
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Organization(t.Context(), "0b7e2d4c-6a51-4f3e-9d28-5c1a7f90e364")
	if _, verdict := fault.As(err); !errors.Is(err, broken) || verdict || sent != 0 {
		t.Errorf("%d requests sent, %v", sent, err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// stillToken is a credential that has its token.
type stillToken struct{}

func (stillToken) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "token", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// TestSharesWithoutAStore: a lease outlives a store that does not answer for a while; without one no call goes out.
func TestSharesWithoutAStore(t *testing.T) {
	t.Parallel()
	ck := newClock()
	broken := errors.New("store does not answer")
	store := &rowsInMemory{rows: map[work.Key]work.Row{}}
	w := newWorker(store, smallLimits(200, 2000, 20*time.Second), "a", ck.Now)
	call := func() error {
		pm, err := w.limiter.acquire(t.Context(), "app", "tenant", Bulk, read)
		if err == nil {
			pm.answered()
		}
		return err
	}
	if err := call(); err != nil {
		t.Fatal(err)
	}
	store.fault = func() (error, error) { return broken, nil }
	ck.Advance(life - time.Second)
	if err := call(); err != nil {
		t.Errorf("within the lease: %v", err)
	}
	ck.Advance(time.Second)
	if err := call(); !errors.Is(err, broken) {
		t.Errorf("after the lease: %v", err)
	}
	store.fault = nil
	if err := call(); err != nil {
		t.Errorf("when the store answers again: %v", err)
	}
}
