package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// disk is what a small write costs until it is on stable storage.
type disk struct{ median, p99 time.Duration }

// quick is the fsync that the targets in units/s rest on.
const quick = 200 * time.Microsecond

func measureDisk(dir string) (disk, error) {
	f, err := os.Create(filepath.Join(dir, "fsync"))
	if err != nil {
		return disk{}, err
	}
	defer f.Close()
	block := make([]byte, 4096)
	var took []time.Duration
	for i := range 1000 {
		started := time.Now()
		// Within the file's length after the first round, as in a log that is used again.
		if _, err := f.WriteAt(block, int64(i%100)*4096); err != nil {
			return disk{}, err
		}
		if err := f.Sync(); err != nil {
			return disk{}, err
		}
		took = append(took, time.Since(started))
	}
	return disk{quantile(took, 0.5), quantile(took, 0.99)}, nil
}

func (b *bench) machine(w io.Writer) {
	fmt.Fprintf(w, "%s/%s%s, %d cores (%s), %s", runtime.GOOS, runtime.GOARCH, release(), runtime.NumCPU(), processor(), runtime.Version())
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		fmt.Fprintf(w, ", load average before the run %s", strings.Join(strings.Fields(string(load))[:2], " "))
	}
	fmt.Fprintf(w, "\none write of 4 KiB with fsync: median %s, p99 %s\n\n", ms(b.disk.median), ms(b.disk.p99))
}

func processor() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimSpace(strings.TrimLeft(name, "\t :"))
		}
	}
	return "unknown processor"
}

func release() string {
	text, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return ""
	}
	return " " + strings.TrimSpace(string(text))
}

// cpu is the processor time that this process has used.
func cpu() time.Duration { return usage(syscall.RUSAGE_SELF) }

func usage(who int) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// others is how much processor time everything but this process and its ended children has used since the machine started;
// 0 where the kernel does not tell.
func others() time.Duration {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(text), "\n")
	var busy int64
	for i, field := range strings.Fields(line) {
		// user, nice, system, irq, softirq and steal; not idle and iowait, nor the guests, which are in user.
		if slices.Contains([]int{1, 2, 3, 6, 7, 8}, i) {
			n, _ := strconv.ParseInt(field, 10, 64)
			busy += n
		}
	}
	const tick = time.Second / 100 // USER_HZ, which Linux fixes for this file
	return time.Duration(busy)*tick - cpu() - usage(syscall.RUSAGE_CHILDREN)
}
