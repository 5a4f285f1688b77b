package lambdahost

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Model is what every report of the host begins with.
const Model = "a model of AWS Lambda, written from its documentation, never compared with the live platform"

// Options of a function. Program is required.
type Options struct {
	Name         string            // default "pinreset"
	Program      string            // the file named bootstrap
	Settings     map[string]string // the function's environment variables
	Timeout      time.Duration     // of one invocation; default three minutes
	Environments int               // at most so many at a time; default 1
	PerProcess   int               // invocations at a time in one process, as on managed instances; default 1
	NoFreeze     bool              // processes run on between invocations
	Sent         func(pid int, payload []byte)
	Log          func(line string) // gets the program's lines; nil for nobody
}

// Result is how an invocation ended.
type Result struct {
	Payload []byte // the answer, or the error's
	Failed  bool
	Reason  string // why it failed
}

// Function is one function and its execution environments.
type Function struct {
	o Options

	mu       sync.Mutex
	changed  chan struct{} // closed when an environment is free or gone
	running  []*environment
	starts   int
	exits    []string
	problems []string
	stopping bool
	flight   sync.WaitGroup
}

// New returns a function. Its first process is started by the first event.
func New(o Options) *Function {
	if o.Name == "" {
		o.Name = "pinreset"
	}
	if o.Timeout == 0 {
		o.Timeout = 3 * time.Minute
	}
	o.Environments, o.PerProcess = max(o.Environments, 1), max(o.PerProcess, 1)
	return &Function{o: o, changed: make(chan struct{})}
}

var errStopped = errors.New("the function was stopped")

// Invoke runs the event in an environment that is free, or in a new one, and waits for it to end.
func (f *Function) Invoke(ctx context.Context, payload []byte) (Result, error) {
	f.mu.Lock()
	f.flight.Add(1)
	f.mu.Unlock()
	defer f.flight.Done()
	e, err := f.acquire(ctx)
	if err != nil {
		return Result{}, fmt.Errorf("%s: %w", Model, err)
	}
	in := &invocation{id: newID(), payload: payload, handed: make(chan struct{}), done: make(chan Result, 1)}
	e.give(in)
	start := time.NewTimer(initTime)
	defer start.Stop()
	select {
	case <-in.handed:
	case <-e.ended:
		return Result{Failed: true, Reason: "Runtime.ExitError: the process ended before it asked for an event"}, nil
	case <-start.C:
		e.terminate()
		return Result{Failed: true, Reason: "the process did not ask for an event in time"}, nil
	}
	end := time.NewTimer(time.Until(in.deadline))
	defer end.Stop()
	select {
	case r := <-in.done:
		return r, nil
	case <-e.ended:
		select {
		case r := <-in.done: // its last word
			return r, nil
		default:
			return Result{Failed: true, Reason: "Runtime.ExitError: the process ended"}, nil
		}
	case <-end.C:
		e.terminate()
		return Result{Failed: true, Reason: "Task timed out"}, nil
	}
}

// acquire takes a place in an environment.
func (f *Function) acquire(ctx context.Context) (*environment, error) {
	for {
		f.mu.Lock()
		if f.stopping {
			f.mu.Unlock()
			return nil, errStopped
		}
		for _, e := range f.running {
			if e.take() {
				f.mu.Unlock()
				return e, nil
			}
		}
		if len(f.running) < f.o.Environments {
			e, err := f.spawn()
			f.mu.Unlock()
			if err == nil && !e.take() {
				continue // it ended at once
			}
			return e, err
		}
		changed := f.changed
		f.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// announce tells those that wait that something has changed.
func (f *Function) announce() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.changed)
	f.changed = make(chan struct{})
}

// SetTimeout changes the time of the invocations that begin from now on.
func (f *Function) SetTimeout(timeout time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.o.Timeout = timeout
}

// SetFreeze says whether processes are frozen between invocations from now on.
func (f *Function) SetFreeze(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.o.NoFreeze = !on
}

func (f *Function) freezes() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.o.NoFreeze
}

func (f *Function) timeout() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.o.Timeout
}

// Kill kills the processes that run (SIGKILL), and returns how many.
func (f *Function) Kill() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.running {
		_ = e.cmd.Process.Kill() // it may have ended
	}
	return len(f.running)
}

// Retire ends the environments as the platform does when it needs them no longer, with SIGTERM where one is registered for.
func (f *Function) Retire() {
	f.mu.Lock()
	all := append([]*environment(nil), f.running...)
	f.mu.Unlock()
	var ends sync.WaitGroup
	for _, e := range all {
		ends.Go(e.terminate)
	}
	ends.Wait()
}

// Stop ends everything. No event is taken from then on.
func (f *Function) Stop() {
	f.mu.Lock()
	f.stopping = true
	f.mu.Unlock()
	f.announce()
	f.Retire()
	f.flight.Wait()
}

// PIDs are the processes that run.
func (f *Function) PIDs() (all []int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.running {
		all = append(all, e.cmd.Process.Pid)
	}
	return all
}

// Starts is how many processes were started.
func (f *Function) Starts() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.starts
}

// Exits says how processes ended, in order: "exit status 0", "signal: killed".
func (f *Function) Exits() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.exits...)
}

// Problems are what the program did against the rules.
func (f *Function) Problems() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.problems...)
}

func (f *Function) problem(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.problems = append(f.problems, fmt.Sprintf(format, args...))
}

// newID is a UUID in form.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
