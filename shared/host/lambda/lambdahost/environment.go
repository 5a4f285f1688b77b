package lambdahost

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Times of the platform's.
const (
	initTime = 10 * time.Second
	lastTime = 500 * time.Millisecond // from SIGTERM to SIGKILL
)

// invocation is one event on its way.
type invocation struct {
	id       string
	payload  []byte
	handed   chan struct{} // closed when the program has it
	deadline time.Time     // set before handed is closed
	done     chan Result
}

// environment is one process and its Runtime API.
type environment struct {
	f      *Function
	cmd    *exec.Cmd
	server *http.Server
	next   chan *invocation
	ended  chan struct{}

	mu       sync.Mutex
	free     int // places for events
	asked    int // requests of "next" so far
	frozen   bool
	over     bool // told to end, or gone
	extended bool // an extension is registered
	current  map[string]*invocation
}

// spawn starts a process. The function's lock is held.
func (f *Function) spawn() (*environment, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	e := &environment{f: f, next: make(chan *invocation, f.o.PerProcess), ended: make(chan struct{}), free: f.o.PerProcess, current: map[string]*invocation{}}
	e.server = &http.Server{Handler: e.api(), ReadHeaderTimeout: initTime}
	e.cmd = exec.Command(f.o.Program) //nolint:gosec // the test's own
	e.cmd.Dir = filepath.Dir(f.o.Program)
	e.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "AWS_LAMBDA_RUNTIME_API=" + l.Addr().String(), "AWS_LAMBDA_FUNCTION_NAME=" + f.o.Name, "AWS_LAMBDA_FUNCTION_VERSION=$LATEST",
		"AWS_LAMBDA_FUNCTION_MEMORY_SIZE=256", "AWS_REGION=" + region, "_HANDLER=bootstrap", "LAMBDA_TASK_ROOT=" + e.cmd.Dir, "TZ=:UTC"}
	if f.o.PerProcess > 1 {
		e.cmd.Env = append(e.cmd.Env, "AWS_LAMBDA_MAX_CONCURRENCY="+strconv.Itoa(f.o.PerProcess))
	}
	for name, value := range f.o.Settings {
		e.cmd.Env = append(e.cmd.Env, name+"="+value)
	}
	out, err := e.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	errs, err := e.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	go func() { _ = e.server.Serve(l) }() // until it is closed
	if err := e.cmd.Start(); err != nil {
		_ = e.server.Close()
		return nil, err
	}
	f.starts++
	f.running = append(f.running, e)
	var logs sync.WaitGroup
	logs.Go(func() { e.lines(out, true) })
	logs.Go(func() { e.lines(errs, false) })
	go func() {
		logs.Wait()
		_ = e.cmd.Wait() // how it ended is read from its state
		e.gone()
	}()
	return e, nil
}

// gone is called when the process has ended.
func (e *environment) gone() {
	e.mu.Lock()
	unasked := !e.over && len(e.current) == 0 && e.asked >= e.f.o.PerProcess
	e.over = true
	e.mu.Unlock()
	_ = e.server.Close()
	f := e.f
	f.mu.Lock()
	f.exits = append(f.exits, e.cmd.ProcessState.String())
	f.running = slices.DeleteFunc(f.running, func(o *environment) bool { return o == e })
	f.mu.Unlock()
	if status, ok := e.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && unasked && !status.Signaled() {
		f.problem("the process ended by itself while it waited for an event: %s", e.cmd.ProcessState)
	}
	close(e.ended)
	f.announce()
}

// take takes a place for an event, and lets the process go on.
func (e *environment) take() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.over || e.free == 0 {
		return false
	}
	e.free--
	e.thaw()
	return true
}

func (e *environment) give(in *invocation) { e.next <- in }

// thaw lets a frozen process go on. The lock is held.
func (e *environment) thaw() {
	if e.frozen {
		e.frozen = false
		_ = e.cmd.Process.Signal(syscall.SIGCONT) // it may have ended
	}
}

// terminate ends the process.
func (e *environment) terminate() {
	e.mu.Lock()
	e.over = true
	e.thaw()
	extended := e.extended
	e.mu.Unlock()
	if extended {
		_ = e.cmd.Process.Signal(syscall.SIGTERM) // it may have ended, here and below
		select {
		case <-e.ended:
			return
		case <-time.After(lastTime):
		}
	}
	_ = e.cmd.Process.Kill()
	<-e.ended
}

func (e *environment) lines(r io.Reader, structured bool) {
	for s := bufio.NewReader(r); ; {
		line, err := s.ReadString('\n')
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			if structured && !json.Valid([]byte(line)) {
				e.f.problem("standard output has a line that is no JSON: %s", line)
			}
			if e.f.o.Log != nil {
				e.f.o.Log(line)
			}
		}
		if err != nil {
			return
		}
	}
}

// api is the Runtime API and the part of the Extensions API that a program itself uses.
func (e *environment) api() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", e.handOut)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", func(w http.ResponseWriter, r *http.Request) { e.answered(w, r, false) })
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", func(w http.ResponseWriter, r *http.Request) { e.answered(w, r, true) })
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		e.f.problem("the process could not start: %s", body)
		w.WriteHeader(http.StatusAccepted)
	})
	mux.HandleFunc("POST /2020-01-01/extension/register", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Lambda-Extension-Name") == "" {
			e.f.problem("an extension without a name")
		}
		e.mu.Lock()
		e.extended = true
		e.mu.Unlock()
		w.Header().Set("Lambda-Extension-Identifier", newID())
		_, _ = io.WriteString(w, `{}`)
	})
	mux.HandleFunc("GET /2020-01-01/extension/event/next", func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done() // it has registered for no event
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		e.f.problem("%s %s is not of the API", r.Method, r.URL.Path)
		http.NotFound(w, r)
	})
	return mux
}

// handOut waits for an event. The process is frozen meanwhile.
func (e *environment) handOut(w http.ResponseWriter, r *http.Request) {
	freezes := e.f.freezes()
	e.mu.Lock()
	e.asked++
	again := e.asked > e.f.o.PerProcess
	if again {
		e.free++
	}
	if freezes && e.asked >= e.f.o.PerProcess && e.free == e.f.o.PerProcess && !e.over {
		e.frozen = true
		_ = e.cmd.Process.Signal(syscall.SIGSTOP)
	}
	e.mu.Unlock()
	if again {
		e.f.announce()
	}
	select {
	case in := <-e.next:
		in.deadline = time.Now().Add(e.f.timeout())
		e.mu.Lock()
		e.current[in.id] = in
		e.mu.Unlock()
		close(in.handed)
		w.Header().Set("Lambda-Runtime-Aws-Request-Id", in.id)
		w.Header().Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(in.deadline.UnixMilli(), 10))
		w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:"+region+":"+account+":function:"+e.f.o.Name)
		w.Header().Set("Lambda-Runtime-Trace-Id", fmt.Sprintf("Root=1-%08x-%024x;Parent=%016x;Sampled=0", time.Now().Unix(), 1, 1))
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(in.payload)
		if e.f.o.Sent != nil {
			e.f.o.Sent(e.cmd.Process.Pid, in.payload)
		}
	case <-r.Context().Done():
	}
}

// maxAnswer is the most that an answer may be (AWS's page "Lambda quotas").
const maxAnswer = 6 << 20

func (e *environment) answered(w http.ResponseWriter, r *http.Request, failed bool) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxAnswer+1))
	if err != nil {
		return // it was killed meanwhile
	}
	if len(body) > maxAnswer {
		e.f.problem("an answer of more than %d bytes", maxAnswer)
	}
	e.mu.Lock()
	in := e.current[r.PathValue("id")]
	delete(e.current, r.PathValue("id"))
	e.mu.Unlock()
	if in == nil {
		e.f.problem("an answer to %s, which is not under way", r.PathValue("id"))
		http.Error(w, "unknown", http.StatusBadRequest)
		return
	}
	result := Result{Payload: body, Failed: failed}
	if failed {
		var said struct{ ErrorMessage string }
		_ = json.Unmarshal(body, &said) // its text is for people
		result.Reason = said.ErrorMessage
	}
	in.done <- result
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, `{"status":"OK"}`)
}
