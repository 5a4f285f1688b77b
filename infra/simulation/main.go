// Command simulation runs pinreset's handlers, dispatch and vault through made-up weeks in which everything goes wrong that
// can, and checks after every step that nothing is lost, nothing is done twice and nothing is readable that must not be.
//
//	go run ./infra/simulation -seeds 100000
//	go run ./infra/simulation -from 4711 -seeds 1 -trace
//
// One number, the seed, decides everything: who asks for what, which process dies at which effect, which message comes when,
// what Microsoft Graph answers. So a failure is found again by its seed, and its trace can be read. Seeds are independent and
// run side by side; within a seed one thing happens at a time.
//
// Each seed has a scene: resets with consent, rollouts, audits, Intune's own portal with bulk resets, or the upkeep with messages
// that are lost for ever.
//
// In every fourth round of scenes (-store says otherwise) rows and messages are kept by package outbox, as past one machine, over a
// table and a queue in memory of which every call can go wrong.
//
// The handlers, dispatch, the rules and the vault are the program's own, and under audits the client of Graph. Store and key ring
// are in memory and pass the suite that every backend passes; Graph, Intune, devices and directory are a model of what Microsoft
// documents. What is simulated is therefore the program's logic over its contracts, not SQLite, not HTTP, and no real tenant.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pinreset/shared/secret"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "simulation:", err)
		os.Exit(1)
	}
}

// coverage is from how many seeds on a cell that was never hit is a failure.
const coverage = 20_000

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("simulation", flag.ContinueOnError)
	flags.SetOutput(out)
	seeds := flags.Uint64("seeds", 10_000, "how many seeds to run")
	from := flags.Uint64("from", 1, "the first seed")
	workers := flags.Int("workers", runtime.GOMAXPROCS(0), "seeds at a time")
	trace := flags.Bool("trace", false, "print the trace of each seed")
	skip := flags.Bool("skip-intent", false, "break the program: drop the intent that is recorded before a call, and do not adopt what it made")
	fence := flags.Bool("skip-fence", false, "break the composed store: settle a message whoever has settled it before")
	inbox := flags.Bool("skip-inbox", false, "break the composed store: do not see that a message was done")
	var kept keeping
	flags.Var(&kept, "store", "where rows and messages are kept: local, composed (the store over two services), or both, by turns")
	if err := flags.Parse(args); err != nil {
		return err
	}
	debug.SetGCPercent(400) // worlds are small and short-lived
	kek, done, err := newKey()
	if err != nil {
		return err
	}
	defer done()
	if *trace {
		*workers = 1
	}
	o := options{skipIntent: *skip, skipFence: *fence, skipInbox: *inbox, kept: kept}
	if *trace {
		o.print = func(line string) { fmt.Fprintln(out, line) }
	}
	began := time.Now()
	total, failed := simulate(*from, *seeds, *workers, kek, o)
	took := time.Since(began)
	total.print(out)
	fmt.Fprintf(out, "%s, %.0f seeds/s on %d workers\n", took.Round(time.Millisecond), float64(total.seeds)/took.Seconds(), *workers)
	if failed != nil {
		if !*trace {
			fmt.Fprintf(out, "\nseed %d violates an invariant; its trace:\n", failed.seed)
			o.print = func(line string) { fmt.Fprintln(out, line) }
			again(failed.seed, kek, o)
		}
		return fmt.Errorf("seed %d: %s", failed.seed, failed.violation)
	}
	if err := repeatable(*from, *seeds, kek, o, out); err != nil {
		return err
	}
	if cells := total.unhit(kept); len(cells) > 0 && *seeds >= coverage {
		return fmt.Errorf("never hit: %s", strings.Join(cells, ", "))
	}
	fmt.Fprintln(out, "0 violations")
	return nil
}

// newKey makes the key-encryption key that all worlds share, in a directory that done removes.
func newKey() (kek *secret.LocalKey, done func(), err error) {
	dir, err := os.MkdirTemp("", "simulation-*")
	if err != nil {
		return nil, nil, err
	}
	kek, err = secret.OpenLocalKey(filepath.Join(dir, "key"))
	return kek, func() { _ = os.RemoveAll(dir) }, err
}

// again runs one seed and returns its world.
func again(seed uint64, kek *secret.LocalKey, o options) *world {
	w := newWorld(seed, kek, o, &tally{})
	w.run()
	return w
}

// simulate runs the seeds, and stops early at one that violates an invariant: the lowest of those that were found.
func simulate(from, seeds uint64, workers int, kek *secret.LocalKey, o options) (*tally, *world) {
	var (
		total  tally
		failed *world
		mu     sync.Mutex
		next   atomic.Uint64
		all    sync.WaitGroup
	)
	next.Store(from)
	for range workers {
		all.Go(func() {
			var own tally
			for seed := next.Add(1) - 1; seed < from+seeds; seed = next.Add(1) - 1 {
				w := newWorld(seed, kek, o, &own)
				w.run()
				if w.violation == "" {
					continue
				}
				next.Store(from + seeds)
				mu.Lock()
				if failed == nil || failed.seed > seed {
					failed = w
				}
				mu.Unlock()
				break
			}
			mu.Lock()
			defer mu.Unlock()
			total.add(&own)
		})
	}
	all.Wait()
	return &total, failed
}

// repeatable runs a sample of the seeds twice and compares their traces.
func repeatable(from, seeds uint64, kek *secret.LocalKey, o options, out io.Writer) error {
	o.print = nil
	sample := min(seeds, 100)
	var sum uint64
	for i := range sample {
		seed := from + i*(seeds/sample)
		first, second := again(seed, kek, o), again(seed, kek, o)
		if first.hash != second.hash {
			return fmt.Errorf("seed %d has two traces, %016x and %016x: %w", seed, first.hash, second.hash, errChance)
		}
		sum ^= first.hash
	}
	fmt.Fprintf(out, "%d seeds run again: same traces, together %016x\n", sample, sum)
	return nil
}

var errChance = errors.New("something is decided by chance and not by the seed")
