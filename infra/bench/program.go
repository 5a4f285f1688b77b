package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"pinreset/infra/bundle"
)

// build builds the program as it is shipped.
func (b *bench) build(ctx context.Context) (string, error) {
	if b.built != "" {
		return b.built, nil
	}
	file := filepath.Join(b.dir, "pinreset")
	if err := bundle.Build(ctx, ".", file, runtime.GOOS, runtime.GOARCH); err != nil {
		return "", err
	}
	b.built = file
	return file, nil
}

// size measures the program's file.
func (b *bench) size(ctx context.Context) error {
	file, err := b.build(ctx)
	if err != nil {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	b.table.within("binary, stripped, no cgo", info.Size(), 30*megabyte, "")
	return nil
}

// process is a running pinreset.
type process struct {
	cmd    *exec.Cmd
	url    string
	token  string
	ready  time.Duration // from its start until it answered that it is ready
	log    *tail
	client *http.Client
}

// tail keeps what the process logs, and the end of it for errors.
type tail struct {
	mu   sync.Mutex
	last []byte
	line func([]byte) // gets each line; may be nil
	part []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = append(t.last, p...)
	t.last = t.last[max(0, len(t.last)-2000):]
	if t.line == nil {
		return len(p), nil
	}
	t.part = append(t.part, p...)
	for {
		line, rest, whole := bytes.Cut(t.part, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		t.line(line)
		t.part = rest
	}
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.last)
}

// launch starts pinreset on the data directory, against the simulated tenants of the cloud, and waits until it is ready.
func (b *bench) launch(ctx context.Context, data string, c *cloud, line func([]byte)) (*process, error) {
	file, err := b.build(ctx)
	if err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	p := &process{url: "http://" + address, log: &tail{line: line}}
	p.client = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 512, DisableCompression: true}}
	p.cmd = exec.Command(file, "up")
	p.cmd.Dir = b.dir
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "PINRESET_LISTEN=" + address, "PINRESET_DATA=" + data,
		"PINRESET_PUBLIC_URL=" + p.url}, c.environment()...)
	if line != nil {
		p.cmd.Env = append(p.cmd.Env, "PINRESET_LOG_LEVEL=info")
	}
	p.cmd.Stdout, p.cmd.Stderr = io.Discard, p.log
	started := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	for {
		answer, err := p.client.Get(p.url + "/healthz")
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Since(started) > time.Minute || ctx.Err() != nil {
			return nil, errors.Join(fmt.Errorf("pinreset is not ready after %s: %s", time.Since(started), p.log), ctx.Err(), p.stop())
		}
		time.Sleep(time.Millisecond)
	}
	p.ready = time.Since(started)
	token, err := os.ReadFile(filepath.Join(data, "admin-token"))
	if err != nil {
		return nil, errors.Join(err, p.stop())
	}
	p.token = strings.TrimSpace(string(token))
	return p, nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (p *process) stop() error {
	p.client.CloseIdleConnections()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	timer := time.AfterFunc(10*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("pinreset ended with %w: %s", err, p.log)
	}
	return nil
}

// resident is the process's memory, in bytes, as the kernel counts it.
func (p *process) resident() (int64, error) {
	if runtime.GOOS != "linux" {
		return 0, errors.New("memory is read from /proc, which only Linux has")
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			return n * 1024, err
		}
	}
	return 0, errors.New("no VmRSS")
}

// cpu is the processor time that the process has used.
func (p *process) cpu() time.Duration { return cpuOf(p.cmd.Process) }

// cpuOf is the processor time that a process has used, 0 where the system has no /proc.
func cpuOf(p *os.Process) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	const tick = time.Second / 100 // USER_HZ, which Linux fixes for this file
	return time.Duration(user+system) * tick
}
