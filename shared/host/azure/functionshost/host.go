package functionshost

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"
)

// Options of a host. Zip and Queues are required.
type Options struct {
	Zip      string
	Queues   Queues
	Settings map[string]string // the app's: the program's environment, and %X% in function.json

	// Shorter times than host.json's, so that a test need not wait for minutes; zero keeps those.
	InitializationTimeout time.Duration
	FunctionTimeout       time.Duration
	LockRenewal           time.Duration

	Hold     bool                   // an invocation that would never end is held until its time is up; else it is told at once
	Paused   bool                   // triggers wait for Host.Listen
	Expected func(line string) bool // a line on standard error that is no problem; nil for none
	// Sent is told of each invocation once the program has it, before its answer is waited for.
	Sent func(Invocation)
	// Lost says that a success is to be taken for a failure, as after a connection that broke; nil for never.
	Lost func(Invocation) bool
	// Log gets the program's lines; nil for nobody.
	Log func(line string)
}

// Invocation is one call of a function.
type Invocation struct {
	Function  string
	ID        string
	MessageID string // "" for a timer
}

// Result is how an invocation ended.
type Result struct {
	OK     bool
	Status int
	Reason string // why it failed
}

// Host runs one instance of the app.
type Host struct {
	o      Options
	app    app
	client *http.Client

	mu       sync.Mutex
	up       chan struct{} // closed while the program answers; replaced when it ends
	child    *child
	gone     string // why it is never started again; "" while it may be
	failures []time.Time
	starts   int
	exits    []int
	problems []string
	count    int
	stopping bool

	listen    context.CancelFunc
	listening sync.WaitGroup // receivers
	flight    sync.WaitGroup // invocations
	ended     chan struct{}  // supervision is over
}

// Model is what every report of the host begins with.
const Model = "a model of the Functions host, derived from source of v4.1037, never compared with a live host"

// Start unpacks the app, starts its program, waits until it answers, and begins to hand messages out.
func Start(ctx context.Context, o Options) (_ *Host, err error) {
	dir, err := os.MkdirTemp("", "functionshost-")
	if err != nil {
		return nil, err
	}
	h := &Host{o: o, up: make(chan struct{}), ended: make(chan struct{}), client: newClient()}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", Model, errors.Join(err, os.RemoveAll(dir)))
		}
	}()
	if err := unpack(o.Zip, dir); err != nil {
		return nil, err
	}
	if h.app, err = readApp(dir, o.Settings); err != nil {
		return nil, err
	}
	for from, to := range map[*time.Duration]*time.Duration{&o.InitializationTimeout: &h.app.start, &o.FunctionTimeout: &h.app.timeout, &o.LockRenewal: &h.app.renewal} {
		if *from != 0 {
			*to = *from
		}
	}
	go h.supervise()
	if err := h.Ready(ctx); err != nil {
		return nil, errors.Join(err, h.Stop(false))
	}
	if !o.Paused {
		h.Listen()
	}
	return h, nil
}

// Ready waits until the program answers; its error is that it never will, or that ctx has ended.
func (h *Host) Ready(ctx context.Context) error {
	up, _ := h.state()
	select {
	case <-up:
		return nil
	case <-h.ended:
		_, gone := h.state()
		return errors.New(gone)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (h *Host) state() (up chan struct{}, gone string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.up, h.gone
}

// Listen begins to hand messages out.
func (h *Host) Listen() {
	ctx, cancel := context.WithCancel(context.Background())
	h.listen = cancel
	for _, f := range h.app.functions {
		if f.kind == queueTrigger {
			h.listening.Go(func() { h.receive(ctx, f) })
		}
	}
}

// receive hands out one queue's messages, as many at once as host.json allows.
func (h *Host) receive(ctx context.Context, f function) {
	free := make(chan struct{}, h.app.calls)
	for {
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
			return
		}
		m, err := h.o.Queues.Receive(ctx, f.queue)
		if err != nil {
			return
		}
		h.flight.Go(func() {
			defer func() { <-free }()
			h.deliver(f, m)
		})
	}
}

// deliver invokes the function for the message, renews the message's lock meanwhile, for so long, and settles.
func (h *Host) deliver(f function, m Delivery) {
	done := make(chan struct{})
	var renewal sync.WaitGroup
	renewal.Go(func() {
		ticks, end := time.NewTicker(h.o.Queues.Lock()/2), time.NewTimer(h.app.renewal)
		defer ticks.Stop()
		defer end.Stop()
		for {
			select {
			case <-ticks.C:
				if !h.o.Queues.Renew(f.queue, m) {
					return
				}
			case <-end.C:
				return
			case <-done:
				return
			}
		}
	})
	in := Invocation{Function: f.name, ID: newID(), MessageID: m.ID}
	how := h.next()
	result := h.invoke(in, m.body(f, how, time.Now()), how)
	close(done)
	renewal.Wait()
	if result.OK && h.o.Lost != nil && h.o.Lost(in) {
		result.OK = false
	}
	h.o.Queues.Settle(f.queue, m, result.OK)
}

func (h *Host) next() variant {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count++
	return variants[h.count%len(variants)]
}

// Tick invokes a timer's function.
func (h *Host) Tick(name string) Result {
	i := slices.IndexFunc(h.app.functions, func(f function) bool { return f.name == name && f.kind == timerTrigger })
	if i < 0 {
		return Result{Reason: "there is no timer " + name}
	}
	h.flight.Add(1)
	defer h.flight.Done()
	how := h.next()
	return h.invoke(Invocation{Function: name, ID: newID()}, tick(h.app.functions[i], how, time.Now()), how)
}

// Stop ends the program without a word. With drain, no more messages are taken, and invocations under way end first.
func (h *Host) Stop(drain bool) error {
	if h.listen != nil {
		h.listen()
	}
	h.listening.Wait()
	if drain {
		h.flight.Wait()
	}
	h.mu.Lock()
	h.stopping = true
	c := h.child
	h.mu.Unlock()
	c.kill()
	<-h.ended
	h.flight.Wait()
	h.client.CloseIdleConnections()
	return os.RemoveAll(h.app.root)
}

// Kill ends the program as the system does when memory runs out; it counts as an error, of which the host allows two.
func (h *Host) Kill() {
	h.mu.Lock()
	c := h.child
	h.mu.Unlock()
	c.kill()
}

// PID is the process id of the program that runs, 0 for none.
func (h *Host) PID() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.child == nil {
		return 0
	}
	return h.child.cmd.Process.Pid
}

// Exits returns the exit codes so far, -1 for a kill.
func (h *Host) Exits() []int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.exits)
}

// Problems returns what the host would have complained about, or what would harm the app there.
func (h *Host) Problems() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.problems)
}

func (h *Host) problem(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.problems = append(h.problems, Model+": "+fmt.Sprintf(format, args...))
}
