package functionshost

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// How the host watches its process.
const (
	pollInterval  = 25 * time.Millisecond
	pingInterval  = 500 * time.Millisecond
	errorWindow   = 30 * time.Minute // errors further apart than this begin a new count
	errorsAllowed = 2
	exitRestart   = 200
)

// child is one process of the program.
type child struct {
	cmd    *exec.Cmd
	url    string
	ended  chan struct{}
	forget bool // the host killed it: no error
}

func (c *child) kill() {
	if c != nil {
		_ = c.cmd.Process.Kill() // it may have ended
	}
}

// supervise starts the program, and again when it ends, until it must not be.
func (h *Host) supervise() {
	defer close(h.ended)
	for {
		c, err := h.spawn()
		if err != nil {
			h.giveUp("start: " + err.Error())
			return
		}
		started := h.waitReady(c)
		if !started {
			h.problem("the program did not answer within %s", h.app.start)
			c.kill()
		} else {
			h.mu.Lock()
			close(h.up)
			h.mu.Unlock()
			h.ping(c)
		}
		<-c.ended
		if !h.again(c, started) {
			return
		}
	}
}

// spawn starts a process with what the host gives it, on a free port.
func (h *Host) spawn() (*child, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return nil, err
	}
	if err := l.Close(); err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(h.app.executable), url: "http://127.0.0.1:" + port, ended: make(chan struct{})}
	c.cmd.Dir = h.app.root
	c.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "FUNCTIONS_CUSTOMHANDLER_PORT=" + port, "FUNCTIONS_HTTPWORKER_PORT=" + port,
		"FUNCTIONS_CUSTOMHANDLER_WORKER_ID=" + newID(), "FUNCTIONS_HTTPWORKER_ID=" + newID(), "FUNCTIONS_APP_ROOT_PATH=" + h.app.root}
	for name, value := range h.o.Settings {
		c.cmd.Env = append(c.cmd.Env, name+"="+value)
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	stderr, err := c.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	h.child = c
	h.starts++
	if h.stopping {
		c.kill()
	}
	var logs sync.WaitGroup
	logs.Go(func() { h.lines(stdout, h.output) })
	logs.Go(func() { h.lines(stderr, h.complaint) })
	go func() {
		logs.Wait()
		_ = c.cmd.Wait() // the exit code is read from its state
		close(c.ended)
	}()
	return c, nil
}

func (h *Host) lines(r io.Reader, each func(string)) {
	for s := bufio.NewReader(r); ; {
		line, err := s.ReadString('\n')
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			if h.o.Log != nil {
				h.o.Log(line)
			}
			each(line)
		}
		if err != nil {
			return
		}
	}
}

// output checks a line that the host takes for information.
func (h *Host) output(line string) {
	if !strings.HasPrefix(line, "LanguageWorkerConsoleLog") && !json.Valid([]byte(line)) {
		h.problem("standard output has a line that is no JSON: %s", line)
	}
}

// complaint checks a line that the host takes for an error, unless it warns.
func (h *Host) complaint(line string) {
	if !strings.Contains(strings.ToLower(line), "warn") && (h.o.Expected == nil || !h.o.Expected(line)) {
		h.problem("standard error has: %s", line)
	}
}

// waitReady asks until anything answers.
func (h *Host) waitReady(c *child) bool {
	for end := time.Now().Add(h.app.start); time.Now().Before(end); {
		ctx, cancel := context.WithDeadline(context.Background(), end)
		answered := h.question(ctx, c)
		cancel()
		if answered {
			return true
		}
		select {
		case <-c.ended:
			return false
		case <-time.After(pollInterval):
		}
	}
	return false
}

func (h *Host) question(ctx context.Context, c *child) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/", nil)
	if err != nil {
		return false
	}
	res, err := h.client.Do(r)
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	return true
}

// ping asks now and then whether the program is there, until it ends. The host only writes down what it hears.
func (h *Host) ping(c *child) {
	for {
		select {
		case <-c.ended:
			return
		case <-time.After(pingInterval):
		}
		ctx, cancel := context.WithTimeout(context.Background(), pingInterval)
		h.question(ctx, c)
		cancel()
	}
}

// again decides by how the process ended whether it is started again.
func (h *Host) again(c *child, started bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	code := c.cmd.ProcessState.ExitCode()
	h.exits = append(h.exits, code)
	if started {
		h.up = make(chan struct{})
	}
	switch {
	case h.stopping:
		h.gone = "the host was stopped"
	case c.forget || code == exitRestart && started:
		return true
	case code == 0 && started:
		h.gone = "the program ended with 0, after which it is not started again"
	default:
		now := time.Now()
		if n := len(h.failures); n > 0 && now.Sub(h.failures[n-1]) > errorWindow {
			h.failures = nil
		}
		if h.failures = append(h.failures, now); len(h.failures) <= errorsAllowed {
			return true
		}
		h.gone = "the program ended with an error for the third time (" + strconv.Itoa(code) + "): the host shuts down"
	}
	return false
}

func (h *Host) giveUp(why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.gone = why
}
