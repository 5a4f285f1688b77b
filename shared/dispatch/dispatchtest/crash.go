package dispatchtest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// side is how many runs go on beside each other: each mostly waits for its disk.
const side = 4

// EachCrash runs a test once undisturbed, which tells how many boundaries it passes, and then once for each of them, with a crash
// there; all of it on a store that commits at once and on one that commits step by step. run gives n to [Bench.CrashAt] and returns
// what [Bench.Boundaries] says. Runs go on beside each other, so what they share must be safe for that; all have ended when
// EachCrash returns.
//
// It fails the test when a crash did not happen, or when there were fewer than least boundaries, or fewer than kinds different ones:
// then it proves less than its name says.
func EachCrash(t *testing.T, least, kinds int, run func(t *testing.T, torn bool, n int) (passed int, crashed string)) {
	t.Helper()
	var both sync.WaitGroup
	for _, torn := range []bool{false, true} {
		both.Go(func() {
			t.Run(fmt.Sprintf("torn %t", torn), func(t *testing.T) { eachCrash(t, torn, least, kinds, run) })
		})
	}
	both.Wait()
}

func eachCrash(t *testing.T, torn bool, least, kinds int, run func(t *testing.T, torn bool, n int) (passed int, crashed string)) {
	boundaries := 0
	if !t.Run("undisturbed", func(t *testing.T) { boundaries, _ = run(t, torn, 0) }) {
		return
	}
	var (
		all   sync.WaitGroup
		last  atomic.Int64
		mu    sync.Mutex
		where = map[string]int{}
	)
	for range side {
		all.Go(func() {
			for n := int(last.Add(1)); n <= boundaries; n = int(last.Add(1)) {
				t.Run(fmt.Sprintf("crash %d", n), func(t *testing.T) {
					_, crashed := run(t, torn, n)
					if crashed == "" {
						t.Errorf("crash %d of %d did not happen", n, boundaries)
					}
					mu.Lock()
					defer mu.Unlock()
					where[crashed]++
				})
			}
		})
	}
	all.Wait()
	if boundaries < least || len(where) < kinds {
		t.Errorf("%d boundaries of %d kinds, want %d of %d", boundaries, len(where), least, kinds)
	}
	t.Logf("%d crashes: %v", boundaries, where)
}
