package lambda

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"

	"pinreset/shared/work"
)

// RuntimeVariable is the environment variable by which the platform says where its Runtime API is. It is set wherever the platform started
// this process.
const RuntimeVariable = "AWS_LAMBDA_RUNTIME_API"

// LeastTimeout is the least time that a function of a queue should have: dispatch's own limit of a run, its settlement, and the margin.
const LeastTimeout = 2 * time.Minute

// Defaults of [Options].
const (
	DefaultMargin = 10 * time.Second
	flushTime     = time.Second
	grace         = 300 * time.Millisecond // for a run that was told to end; below the platform's half second
)

// intake makes a delivery of a record that the platform holds. ok is false where there is nothing to run: the message is done, or
// the backend has it by now and runs it itself. Either way the platform may delete the record, so an error is the only way to get it again.
type intake interface {
	Take(ctx context.Context, queue work.Queue, m Message) (d work.Delivery, ok bool, err error)
}

// processor runs one delivery to its settlement.
type processor interface {
	Process(ctx context.Context, d work.Delivery) error
}

// Functions are what events may ask for. A process has those of its own function, or all of them.
type Functions struct {
	Queues    map[string]work.Queue                      // by the name of the queue on SQS, the last part of its ARN
	Schedules map[string]func(ctx context.Context) error // by the name that the schedule's input has
	HTTP      http.Handler                               // behind the function URL; nil for none
	Intake    intake
	Processor processor
	// Return makes a record visible again after a time that is shorter than its queue's. nil leaves it to the queue.
	Return func(ctx context.Context, queue work.Queue, handle string, after time.Duration) error
	// Rest is called before each answer, after which the process may be frozen: what it holds that others wait for, it gives back. Other
	// invocations may be under way. nil does nothing.
	Rest func(ctx context.Context) error
}

// Options of a host; zero values mean the defaults.
type Options struct {
	Margin time.Duration                   // how long before the end of its time an invocation is told to end; default DefaultMargin, at most half of the time
	Flush  func(ctx context.Context) error // sends what was traced, before each answer; default nothing
	Logger *slog.Logger                    // default none
}

// Host answers events. It is safe for concurrent use.
type Host struct {
	o      Options
	ending context.Context //nolint:containedctx // ends when the process is told to, whichever invocation runs
	build  func(context.Context) (Functions, error)

	mu    sync.Mutex
	built *Functions

	flight sync.WaitGroup
}

// New returns a host. build makes the functions at the first event, and again at the next one while it fails. ending is over when
// the process was told to end: what runs then is told to give its messages back.
func New(ending context.Context, o Options, build func(context.Context) (Functions, error)) *Host {
	if o.Margin == 0 {
		o.Margin = DefaultMargin
	}
	if o.Flush == nil {
		o.Flush = func(context.Context) error { return nil }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Host{o: o, ending: ending, build: build}
}

// Serve fetches events and answers them until the process is told to end, and returns when nothing is under way any more, or after a
// moment. Where the platform can't be reached it does not return: aws-lambda-go ends the process with 1, and another one is started.
func (h *Host) Serve() {
	// The internal extension that this registers makes the platform send SIGTERM before SIGKILL; who hears of it is the caller's matter.
	go lambda.StartWithOptions(h, lambda.WithEnableSIGTERM())
	<-h.ending.Done()
	ended := make(chan struct{})
	go func() { h.flight.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(grace + flushTime/4):
		h.o.Logger.Warn("invocations did not end in time; their messages come back")
	}
}

// Invoke answers one event. It implements [lambda.Handler].
func (h *Host) Invoke(ctx context.Context, payload []byte) (answer []byte, err error) {
	h.flight.Add(1)
	defer h.flight.Done()
	began, id := time.Now(), ""
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		id = lc.AwsRequestID
	}
	ctx, cancel := h.limited(ctx)
	defer cancel()
	defer context.AfterFunc(h.ending, cancel)()
	defer h.flush()
	answer, err = h.answer(ctx, payload)
	attrs := []any{"invocation", id, "ms", float64(time.Since(began).Microseconds()) / 1000}
	if err != nil {
		h.o.Logger.Error("invocation failed", append(attrs, "cause", err.Error())...)
		return nil, err
	}
	h.o.Logger.Debug("invocation", attrs...)
	return answer, nil
}

// limited is ctx with an end ahead of the platform's.
func (h *Host) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	margin := min(h.o.Margin, time.Until(end)/2)
	return context.WithDeadline(ctx, end.Add(-margin))
}

// event is what tells the kinds of events apart.
type event struct {
	Records        []record        `json:"Records"`
	Schedule       string          `json:"schedule"`
	DetailType     string          `json:"detail-type"`
	Resources      []string        `json:"resources"`
	Version        string          `json:"version"`
	RequestContext json.RawMessage `json:"requestContext"`
}

func (h *Host) answer(ctx context.Context, payload []byte) ([]byte, error) {
	var e event
	if err := json.Unmarshal(payload, &e); err != nil {
		return nil, fmt.Errorf("read event: %w", err)
	}
	f, err := h.functions(ctx)
	if err != nil {
		return nil, err
	}
	defer h.rest(f)
	switch {
	case len(e.Records) > 0:
		return h.batch(ctx, f, e.Records)
	case e.Schedule != "" || e.DetailType == "Scheduled Event":
		if err := h.tick(ctx, f, e); err != nil {
			return nil, err
		}
		return []byte(`{}`), nil
	case e.Version == "2.0" && len(e.RequestContext) > 0:
		return h.request(ctx, f, payload)
	default:
		return nil, errors.New("the event is neither a batch of SQS, nor a schedule, nor a request of a function URL")
	}
}

// functions makes them if they are not there yet. Events that come meanwhile wait.
func (h *Host) functions(ctx context.Context) (*Functions, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.built == nil {
		f, err := h.build(ctx)
		if err != nil {
			return nil, fmt.Errorf("start: %w", err)
		}
		h.built = &f
	}
	return h.built, nil
}

// errNoFunction: the event is another function's, or nobody's.
var errNoFunction = errors.New("this function does not serve it")

// guarded runs f and gives up waiting for it a moment after ctx has ended. A panic is an error like any other.
func (h *Host) guarded(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go func() {
		var err error
		defer func() {
			if p := recover(); p != nil {
				// The panic's value may hold anything, so only its type and the place are kept.
				err = fmt.Errorf("panic of type %T", p)
				h.o.Logger.ErrorContext(ctx, "invocation panicked", "stack", string(debug.Stack()))
			}
			done <- err
		}()
		err = f()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(grace):
		return fmt.Errorf("still running: %w", ctx.Err())
	}
}

func (h *Host) rest(f *Functions) {
	if f.Rest == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	if err := f.Rest(ctx); err != nil {
		h.o.Logger.Warn("what others wait for could not be given back; it ends by itself", "cause", err.Error())
	}
}

func (h *Host) flush() {
	ctx, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	if err := h.o.Flush(ctx); err != nil {
		h.o.Logger.Warn("traces could not be sent", "cause", err.Error())
	}
}

var _ lambda.Handler = (*Host)(nil)
