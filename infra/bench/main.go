// Command bench measures pinreset against its targets, on this machine, in one run:
//
//	go run ./infra/bench
//
// It prints the machine and what one fsync costs, then each figure beside its target, and beside what others reach on the
// same disk. It ends with 1 when a target is missed. The program that is measured is the one that people get: built stripped
// and without cgo, run as a process of its own, and asked over HTTP. The tenants are simulated, in a
// process of its own that stands for machines elsewhere: it runs at a low priority.
//
// A target that rests on the disk or on two cores says so, and holds only there. Run it while the machine does nothing else:
// the load average is printed, because a busy machine misses targets that an idle one keeps.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) == 3 && os.Args[1] == cloudRole {
		if err := serveCloud(os.Args[2], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "bench: simulated tenants:", err)
			os.Exit(2)
		}
		return
	}
	if len(os.Args) == 4 && os.Args[1] == bulkRole {
		if err := serveBulkCloud(os.Args[2], os.Args[3], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "bench: simulated tenant:", err)
			os.Exit(2)
		}
		return
	}
	if len(os.Args) == 4 && os.Args[1] == auditRole {
		if err := serveAuditCloud(os.Args[2], os.Args[3], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "bench: simulated tenants:", err)
			os.Exit(2)
		}
		return
	}
	if len(os.Args) == 4 && os.Args[1] == rolloutRole {
		if err := serveRolloutCloud(os.Args[2], os.Args[3], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "bench: simulated tenants:", err)
			os.Exit(2)
		}
		return
	}
	ok, err := run(ctx, os.Args[1:], os.Stdout)
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	case !ok:
		os.Exit(1)
	}
}

// bench is one run.
type bench struct {
	dir   string // everything is below it
	disk  disk
	scale float64
	table table
	built string // the program's file, once it is built
}

// run reports whether every target was met; its error is that something could not be measured.
func run(ctx context.Context, args []string, stdout io.Writer) (ok bool, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	data := flags.String("data", "dist", "measure on this directory's disk; what is written there is deleted at the end")
	only := flags.String("only", "", "comma-separated parts to measure: "+strings.Join(partNames(), ", ")+"; empty is all")
	scale := flags.Float64("scale", 1, "share of the work to do, 0.01 to 1; targets are those of 1")
	if err := flags.Parse(args); err != nil {
		return false, err
	}
	if *scale < 0.01 || *scale > 1 {
		return false, fmt.Errorf("scale %v is not 0.01 to 1", *scale)
	}
	if err := os.MkdirAll(*data, 0o755); err != nil {
		return false, err
	}
	absolute, err := filepath.Abs(*data)
	if err != nil {
		return false, err
	}
	dir, err := os.MkdirTemp(absolute, "bench-")
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// PostgreSQL does not run as root, and its user must reach its directory.
	if err := os.Chmod(dir, 0o711); err != nil {
		return false, err
	}
	b := &bench{dir: dir, scale: *scale}
	if b.disk, err = measureDisk(dir); err != nil {
		return false, fmt.Errorf("measure disk: %w", err)
	}
	b.machine(stdout)
	wanted := strings.Split(*only, ",")
	worst := 0.0
	for _, p := range parts {
		if *only != "" && !slices.Contains(wanted, p.name) {
			continue
		}
		if err := calm(ctx); err != nil {
			return false, err
		}
		started, before := time.Now(), others()
		if err := p.measure(b, ctx); err != nil {
			return false, fmt.Errorf("measure %s: %w", p.name, err)
		}
		busy := float64(others()-before) / float64(time.Since(started))
		fmt.Fprintf(os.Stderr, "%s: %.0f s, other programs used %.1f cores\n", p.name, time.Since(started).Seconds(), busy)
		if p.name != "river" { // PostgreSQL is nobody's child
			worst = max(worst, busy)
		}
	}
	b.table.print(stdout)
	if worst > 0.1 {
		fmt.Fprintf(stdout, "\nOther programs used up to %.1f cores meanwhile: this machine alone does better.\n", worst)
	}
	return b.table.ok(), nil
}

// calm lets the disk end what the part before has left it: what was deleted is still being given up.
func calm(ctx context.Context) error {
	_ = exec.CommandContext(ctx, "sync").Run() // where there is none, the pause alone must do
	return sleep(ctx, 3*time.Second)
}

// parts are what is measured, in order.
var parts = []struct {
	name    string
	measure func(*bench, context.Context) error
}{
	{"units", (*bench).units},
	{"services", (*bench).services},
	{"river", (*bench).river},
	{"size", (*bench).size},
	{"start", (*bench).start},
	{"accept", (*bench).accept},
	{"bulk", (*bench).bulk},
	{"expiry", (*bench).expiry},
	{"bulkreset", (*bench).bulkreset},
	{"audit", (*bench).audit},
	{"rollout", (*bench).rollouts},
	{"azurehost", (*bench).azurehost},
	{"lambdahost", (*bench).lambdahost},
	{"portal", (*bench).portal},
}

func partNames() []string {
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	return names
}

// scaled is a share of n.
func (b *bench) scaled(n int) int { return max(1, int(float64(n)*b.scale)) }
