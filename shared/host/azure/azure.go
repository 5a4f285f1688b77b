package azure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"pinreset/shared/work"
)

// PortVariable is the environment variable by which the host says where to listen. It is set wherever the host started this process.
const PortVariable = "FUNCTIONS_CUSTOMHANDLER_PORT"

// ExitRestart is the exit code by which the host starts the process again without counting it as an error. After 0 it never does.
const ExitRestart = 200

// DefaultDeadline is the end of an invocation. It is well below the five minutes of host.json for which the host renews a message's lock
// and lets a function run, and above what dispatch gives a run and its settlement.
const DefaultDeadline = 3 * time.Minute

const (
	flushTime     = time.Second
	maxInvocation = work.MaxBodyBytes*4/3 + 256<<10 // the body in base64, and the metadata
)

// intake makes a delivery of a message that the host holds. ok is false where there is nothing to run: the message is done, or the
// backend has it by now and runs it itself. Either way the host may complete it, so an error is the only way to get it again.
type intake interface {
	Take(ctx context.Context, queue work.Queue, m Message) (d work.Delivery, ok bool, err error)
}

// processor runs one delivery to its settlement.
type processor interface {
	Process(ctx context.Context, d work.Delivery) error
}

// Functions are what the host may call, by the names of their folders.
type Functions struct {
	Queues    map[string]work.Queue                      // Service Bus triggers
	Timers    map[string]func(ctx context.Context) error // timer triggers
	HTTP      http.Handler                               // the one HTTP function
	Intake    intake
	Processor processor
}

// Options of a host; zero values mean the defaults.
type Options struct {
	Deadline time.Duration                   // of one invocation; default DefaultDeadline
	Flush    func(ctx context.Context) error // sends what was traced, before each answer; default nothing
	Logger   *slog.Logger                    // default none; the host takes each line on standard output for information
}

// Listen opens the listener where the host calls: its own machine alone.
func Listen(ctx context.Context, port string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return nil, fmt.Errorf("listen for the Functions host: %w", err)
	}
	return l, nil
}

// Serve answers the host until ctx ends, and then waits for the invocations under way, which are told to end. build makes the functions;
// meanwhile the host's question whether the process is there is answered, and invocations wait. An error of build ends it.
func Serve(ctx context.Context, l net.Listener, o Options, build func(context.Context) (Functions, error)) error {
	if o.Deadline == 0 {
		o.Deadline = DefaultDeadline
	}
	if o.Flush == nil {
		o.Flush = func(context.Context) error { return nil }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	h := &host{o: o, ending: ctx.Done(), built: make(chan struct{})}
	server := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	functions, err := build(ctx)
	if err != nil {
		return errors.Join(err, server.Close())
	}
	h.functions = functions
	close(h.built)
	select {
	case err := <-served:
		return fmt.Errorf("serve the Functions host: %w", err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	err = server.Shutdown(end)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	return err
}

// shutdownTime is how long invocations under way get. Runs give their messages back at once, so it is generous.
const shutdownTime = 2 * time.Second

// host answers requests. Its functions are set once, before built is closed.
type host struct {
	o         Options
	ending    <-chan struct{} // the process is told to end
	built     chan struct{}
	functions Functions
}

// Headers of the host. The first is on all that it sends but its questions; the second on HTTP requests that it passes through, always
// and on nothing else.
const (
	invocationHeader = "X-Azure-Functions-InvocationId"
	proxiedHeader    = "X-Ms-Invocation-Id"
)

// forwarding are headers by which those between a caller and the host tell of themselves: App Service's front end, and proxies.
var forwarding = []string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Original-Url", "X-Arr-Log-Id", "Disguised-Host"}

// ServeHTTP tells apart what the host sends. It does so itself, because a [http.ServeMux] would answer a path that is not clean with
// a redirect.
func (h *host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Header.Get(proxiedHeader) != "":
		h.pass(w, r)
	case r.Header.Get(invocationHeader) == "":
		w.WriteHeader(http.StatusOK) // the host's question; any answer will do
	case wasForwarded(r):
		h.o.Logger.WarnContext(r.Context(), "a request from outside looks like an invocation", "path", r.URL.Path)
		http.Error(w, "Not found.", http.StatusNotFound)
	default:
		h.invoke(w, r)
	}
}

func wasForwarded(r *http.Request) bool {
	for _, name := range forwarding {
		if r.Header.Get(name) != "" {
			return true
		}
	}
	return false
}

// pass hands an HTTP request on as it came. Its handler recovers from its own panics.
func (h *host) pass(w http.ResponseWriter, r *http.Request) {
	select {
	case <-h.built:
	case <-r.Context().Done():
		return
	}
	r.Header.Del(proxiedHeader) // the host's own
	r.Header.Del(invocationHeader)
	defer h.flush()
	h.functions.HTTP.ServeHTTP(w, r)
}

// invoke runs a function and answers, at the latest at the deadline.
func (h *host) invoke(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	began, id := time.Now(), r.Header.Get(invocationHeader)
	ctx, cancel := context.WithTimeout(r.Context(), h.o.Deadline)
	defer cancel()

	var in invocation
	if r.Method != http.MethodPost {
		h.answer(w, name, id, began, fmt.Errorf("%s is not how an invocation comes", r.Method))
		return
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxInvocation)).Decode(&in); err != nil {
		h.answer(w, name, id, began, fmt.Errorf("read invocation: %w", err))
		return
	}
	done := make(chan error, 1)
	go func() { done <- h.run(ctx, name, in) }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		err = h.end(ctx, done)
	case <-h.ending:
		cancel()
		err = h.end(ctx, done)
	}
	h.answer(w, name, id, began, err)
}

// end gives a run that was told to end a moment to notice, and to give its message back.
func (h *host) end(ctx context.Context, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-time.After(grace):
		return fmt.Errorf("still running: %w", ctx.Err())
	}
}

// grace is how long a run may take to end after it was told to.
const grace = time.Second

// run waits until the functions are there and calls the one that the host named. A panic is an error like any other.
func (h *host) run(ctx context.Context, name string, in invocation) (err error) {
	select {
	case <-h.built:
	case <-ctx.Done():
		return fmt.Errorf("wait for the start: %w", ctx.Err())
	}
	defer func() {
		if p := recover(); p != nil {
			// The panic's value may hold anything, so only its type and the place are kept.
			err = fmt.Errorf("panic of type %T", p)
			h.o.Logger.ErrorContext(ctx, "invocation panicked", "function", name, "stack", string(debug.Stack()))
		}
	}()
	if tick, ok := h.functions.Timers[name]; ok {
		return tick(ctx)
	}
	queue, ok := h.functions.Queues[name]
	if !ok {
		return errors.New("there is no such function")
	}
	m, err := in.message()
	if err != nil {
		return err
	}
	d, ok, err := h.functions.Intake.Take(ctx, queue, m)
	if err != nil || !ok {
		return err
	}
	return h.functions.Processor.Process(ctx, d)
}

// success is the answer that the host takes for one. It must not be empty.
const success = `{"Outputs":{},"Logs":[],"ReturnValue":null}`

// answer sends what was traced and tells the host how it ended.
func (h *host) answer(w http.ResponseWriter, name, id string, began time.Time, err error) {
	h.flush()
	attrs := []any{"function", name, "invocation", id, "ms", float64(time.Since(began).Microseconds()) / 1000}
	w.Header().Set("Content-Type", "application/json")
	if err == nil {
		h.o.Logger.Debug("invocation", attrs...)
		_, _ = w.Write([]byte(success)) // a host that went away hands the message out again
		return
	}
	h.o.Logger.Error("invocation failed; the host hands the message out again", append(attrs, "cause", err.Error())...)
	w.WriteHeader(http.StatusInternalServerError)
	_, _ = w.Write([]byte(`{}`))
}

func (h *host) flush() {
	ctx, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	if err := h.o.Flush(ctx); err != nil {
		h.o.Logger.Warn("traces could not be sent", "cause", err.Error())
	}
}
