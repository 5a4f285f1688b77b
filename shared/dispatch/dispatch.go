package dispatch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"regexp"
	"runtime/debug"
	"slices"
	"time"

	"pinreset/events"
	"pinreset/shared/diag"
	"pinreset/shared/fault"
	"pinreset/shared/tracing"
	"pinreset/shared/work"
)

// Options of a Dispatcher; zero values mean the defaults.
type Options struct {
	MaxDeliveries int           // attempts before a message is set aside; default 8
	Timeout       time.Duration // of one run; default 45 s, below every host's own limit
	BaseDelay     time.Duration // back-off after the first failed attempt, doubled each time; default 1 s
	MaxDelay      time.Duration // longest back-off; default 5 min
	Now           func() time.Time
	NewID         func() string
	Jitter        func() float64 // 0 ≤ x < 1
	Logger        *slog.Logger
	Observe       func(Observation) // called after each run
	Tracer        *tracing.Tracer   // makes each run a span of its event's trace; nil for none
}

// Observation is what metrics need to know of a run.
type Observation struct {
	Function string
	Verdict  string
	Code     fault.Code
	Waited   time.Duration // from due to start
	Took     time.Duration
	Dead     bool
}

// Dispatcher runs handlers. It is safe for concurrent use.
type Dispatcher struct {
	store  work.Store
	source work.Source
	kinds  table
	queues map[work.Queue]string
	o      Options
}

// Verdicts in attempts, logs and metrics.
const (
	verdictDone    = "done"
	verdictWaiting = "waiting"
	verdictFailed  = "failed"
	verdictRetry   = "retry"
)

// New returns a dispatcher for the routes. It panics on a wiring mistake.
func New(store work.Store, source work.Source, routes []Route, o Options) *Dispatcher {
	if o.MaxDeliveries == 0 {
		o.MaxDeliveries = 8
	}
	if o.Timeout == 0 {
		o.Timeout = 45 * time.Second
	}
	if o.BaseDelay == 0 {
		o.BaseDelay = time.Second
	}
	if o.MaxDelay == 0 {
		o.MaxDelay = 5 * time.Minute
	}
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Observe == nil {
		o.Observe = func(Observation) {}
	}
	if o.Now == nil || o.NewID == nil {
		panic("dispatch: Now and NewID are required")
	}
	kinds, queues := newTable(routes)
	return &Dispatcher{store: store, source: source, kinds: kinds, queues: queues, o: o}
}

// run is one delivery on its way through Process.
type run struct {
	*Dispatcher
	delivery work.Delivery
	event    events.Event // zero when it could not be decoded
	handler  bound
	record   *diag.Record
	started  time.Time
	dead     bool // the message is being set aside
	span     *tracing.Span
}

// Process runs the delivery's handler and settles the delivery. It returns an error only when the delivery could not be
// settled; the message then comes back when its lease ends. A ctx that ends before the handler does gives the message back
// at once, uncounted.
func (d *Dispatcher) Process(ctx context.Context, delivery work.Delivery) error {
	r := &run{Dispatcher: d, delivery: delivery, record: &diag.Record{}, started: d.o.Now().UTC()}
	code, err := r.admit()
	ctx, r.span = d.o.Tracer.Start(events.WithTrace(ctx, r.event.TraceParent), tracing.Consumer, "run "+r.function())
	defer r.span.End()
	if err != nil {
		settle, cancel := r.settling(ctx)
		defer cancel()
		return r.setAside(settle, code, err)
	}
	unit, err := r.handle(ctx)
	settle, cancel := r.settling(ctx)
	defer cancel()
	if err != nil && ctx.Err() != nil {
		return r.finish(settle, work.Batch{}, work.Outcome{Kind: work.Postpone}, verdictRetry, "", errors.New("shutting down"))
	}
	verdict, known := fault.As(err)
	switch {
	case err == nil:
		return r.commit(settle, unit, work.Outcome{Kind: work.Done}, verdictDone, "", nil)
	case errors.Is(err, work.ErrConflict):
		return r.again(settle, err)
	case known && verdict.Aside:
		return r.setAside(settle, verdict.Code, err)
	case known && verdict.Permanent():
		return r.fail(settle, verdict.Code, err)
	case known:
		outcome := work.Outcome{Kind: work.Postpone, At: d.o.Now().Add(verdict.Delay)}
		return r.commit(settle, unit, outcome, verdictWaiting, verdict.Code, err)
	case delivery.Deliveries >= d.o.MaxDeliveries:
		return r.setAside(settle, fault.AttemptsExhausted, err)
	default:
		return r.retry(settle, fault.CodeOf(err), err)
	}
}

// admit decodes the event and finds its handler; its error says why the message is set aside without a run, under the code.
func (r *run) admit() (fault.Code, error) {
	e, err := events.Parse(r.delivery.Body)
	if err != nil {
		return fault.MessageInvalid, err
	}
	r.event = e
	h, ok := r.kinds[e.Data.Kind()]
	if !ok || r.delivery.Partition != e.Tenant {
		return fault.MessageInvalid, fmt.Errorf("kind %s is not handled on queue %s for partition %s", e.Data.Kind(), r.delivery.Queue, r.delivery.Partition)
	}
	r.handler = h
	if r.delivery.Deliveries > r.o.MaxDeliveries {
		return fault.AttemptsExhausted, fmt.Errorf("delivered %d times without an end: each time the process died or could not commit", r.delivery.Deliveries-1)
	}
	return "", nil
}

// settling returns the context to settle under. It goes on when ctx ends, else every shutdown would cost an attempt; and its
// time begins when the run is over, else a run that used up its own time would leave none.
func (r *run) settling(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), r.o.Timeout)
}

// handle runs the handler under its deadline; a panic is an error like any other.
func (r *run) handle(ctx context.Context) (u *work.Unit, err error) {
	ctx, cancel := context.WithTimeout(diag.NewContext(ctx, r.record), r.o.Timeout)
	defer cancel()
	u = r.unit()
	defer func() {
		if p := recover(); p != nil {
			// The panic's value may hold anything, so only its type and the place are kept.
			err = fmt.Errorf("panic of type %T", p)
			r.o.Logger.ErrorContext(ctx, "handler panicked", "function", r.handler.function, "message", r.delivery.ID, "stack", string(debug.Stack()))
		}
	}()
	if err := r.handler.handle(ctx, u, r.event); err != nil {
		if ctx.Err() != nil {
			return u, fmt.Errorf("run ended after %s: %w", r.o.Timeout, err)
		}
		return u, err
	}
	return u, nil
}

// fail ends the request: the handler's own end of it, the failure and its event in one commit. Where the handler can't stage
// its end, that is an unknown error like any other: the request ends at the last attempt at the latest.
func (r *run) fail(ctx context.Context, code fault.Code, cause error) error {
	u := r.unit()
	switch err := r.end(ctx, u, code); {
	case errors.Is(err, work.ErrConflict):
		return r.again(ctx, err)
	case err != nil && r.delivery.Deliveries >= r.o.MaxDeliveries:
		return r.setAside(ctx, code, cause)
	case err != nil:
		return r.retry(ctx, code, unrecorded(cause, err))
	}
	if err := r.raise(ctx, u, code, cause, ""); err != nil {
		return err
	}
	return r.commit(ctx, u, work.Outcome{Kind: work.Done}, verdictFailed, code, cause)
}

// retry drops what the run staged and counts the attempt.
func (r *run) retry(ctx context.Context, code fault.Code, cause error) error {
	outcome := work.Outcome{Kind: work.Retry, At: r.o.Now().Add(r.backoff(r.delivery.Deliveries))}
	return r.commit(ctx, r.unit(), outcome, verdictRetry, code, cause)
}

// setAside makes the message a dead letter, and fails its request where it is known.
func (r *run) setAside(ctx context.Context, code fault.Code, cause error) error {
	r.dead = true
	u := r.unit()
	if r.handler.handle != nil {
		switch err := r.end(ctx, u, code); {
		case err != nil && r.delivery.Deliveries < 2*r.o.MaxDeliveries:
			// The end gets as many attempts as the work had. A request that is set aside without its end stays open with nothing to go on with it, and keeps its device from
			// another one. What stands in the way is most often a store that can't be read for a moment.
			r.dead = false
			return r.retry(ctx, code, unrecorded(cause, err))
		case err != nil:
			u = r.unit() // the letter and the failure still must be recorded
			cause = unrecorded(cause, err)
		}
	}
	letter := diag.DeadLetter{
		ID: u.NewID(), Queue: r.delivery.Queue, MessageID: r.delivery.ID, RequestID: r.requestID(), Kind: r.kind(), Reason: code,
		Detail: bounded(cause), Deliveries: r.delivery.Deliveries, At: u.Now(),
		Diagnostics: diag.Link(u.Partition(), diag.IDFor(u.Partition(), r.requestID())), Body: r.delivery.Body,
	}
	if err := u.Put(diag.LetterPrefix+work.Descending(letter.ID), letter); err != nil {
		return err
	}
	if err := r.raise(ctx, u, code, cause, letter.ID); err != nil {
		return err
	}
	return r.commit(ctx, u, work.Outcome{Kind: work.Done}, verdictFailed, code, cause)
}

// end stages the handler's own end of the request. A panic is an error here too: it must not take the host with it.
func (r *run) end(ctx context.Context, u *work.Unit, code fault.Code) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic of type %T", p)
		}
	}()
	return r.handler.failed(ctx, u, r.event, code)
}

func unrecorded(cause, err error) error {
	return fmt.Errorf("%w; and its end could not be recorded: %w", cause, err)
}

func (r *run) raise(ctx context.Context, u *work.Unit, code fault.Code, cause error, letter string) error {
	// A message without a tenant has nobody to be told, and a failed announcement must not announce its failure for ever:
	// both are dead letters.
	if !events.IsGUID(u.Partition()) || r.delivery.Queue == work.Announcements {
		return nil
	}
	f := diag.Failure{
		RequestID: r.requestID(), Function: r.function(), Kind: r.kind(), Code: code, Detail: bounded(cause), DeadLetter: letter,
	}
	if about, ok := r.event.Data.(interface{ Device() string }); ok {
		f.DeviceID = about.Device()
	}
	_, err := diag.Raise(ctx, u, f)
	return err
}

// again gives the message back because somebody else changed what it read; that is progress, so the attempt is not counted.
func (r *run) again(ctx context.Context, cause error) error {
	at := r.o.Now().Add(time.Duration(5+r.o.Jitter()*45) * time.Millisecond)
	return r.finish(ctx, work.Batch{}, work.Outcome{Kind: work.Postpone, At: at}, verdictRetry, fault.CodeOf(cause), cause)
}

// commit adds the run's record to the unit and settles.
func (r *run) commit(ctx context.Context, u *work.Unit, o work.Outcome, verdict string, code fault.Code, cause error) error {
	steps, dropped := r.record.Steps()
	// A run that has nothing to tell (a look at a device that still has not answered) leaves no record: thousands of them
	// would hide the few that matter.
	if verdict != verdictDone || slices.ContainsFunc(steps, worthTelling) {
		err := diag.AppendAttempt(u, diag.Attempt{
			RequestID: r.requestID(), Function: r.function(), Kind: r.kind(), MessageID: r.delivery.ID,
			Delivery: r.delivery.Deliveries, QueuedAt: r.delivery.EnqueuedAt, StartedAt: r.started,
			Milliseconds: milliseconds(r.o.Now().Sub(r.started)), Verdict: verdict, Code: string(code), Detail: bounded(cause),
			Steps: steps, Dropped: dropped,
		})
		if err != nil {
			return err
		}
	}
	err := r.finish(ctx, u.Batch(), o, verdict, code, cause)
	if errors.Is(err, work.ErrConflict) {
		return r.again(ctx, err)
	}
	return err
}

// worthTelling reports whether a step is more than a call that went well.
func worthTelling(s diag.Step) bool {
	return s.Kind != diag.KindCall || s.Status < 200 || s.Status > 299
}

func (r *run) finish(ctx context.Context, b work.Batch, o work.Outcome, verdict string, code fault.Code, cause error) error {
	now := r.o.Now()
	err := r.source.Settle(ctx, r.delivery, b, o)
	if errors.Is(err, work.ErrConflict) {
		return err
	}
	level := slog.LevelInfo
	if verdict == verdictFailed {
		level = slog.LevelWarn
	}
	attrs := []any{"function", r.function(), "kind", r.kind(), "tenant", r.delivery.Partition, "request", r.requestID(), "message", r.delivery.ID,
		"delivery", r.delivery.Deliveries, "verdict", verdict, "code", string(code), "ms", milliseconds(now.Sub(r.started)), "trace", r.event.TraceParent}
	if cause != nil {
		attrs = append(attrs, "cause", bounded(cause))
	}
	if err != nil {
		attrs = append(attrs, "settle", err.Error())
		level = slog.LevelWarn
	}
	r.o.Logger.Log(ctx, level, "run", attrs...)
	r.trace(verdict, code, err)
	due := r.delivery.EnqueuedAt
	if r.delivery.At.After(due) {
		due = r.delivery.At
	}
	r.o.Observe(Observation{Function: r.function(), Verdict: verdict, Code: code, Waited: r.started.Sub(due), Took: now.Sub(r.started), Dead: r.dead && verdict == verdictFailed})
	if err != nil {
		return fmt.Errorf("settle %s: %w", r.delivery.ID, err)
	}
	return nil
}

// trace says on the run's span what the log says of the run, but for texts.
func (r *run) trace(verdict string, code fault.Code, settle error) {
	r.span.Text("pinreset.kind", r.kind())
	r.span.Text("pinreset.tenant", r.delivery.Partition)
	r.span.Text("pinreset.request", r.requestID())
	r.span.Text("pinreset.message", r.delivery.ID)
	r.span.Int("pinreset.delivery", r.delivery.Deliveries)
	r.span.Text("pinreset.verdict", verdict)
	r.span.Text("pinreset.code", string(code))
	switch {
	case settle != nil:
		r.span.Fail("not_settled")
	case verdict == verdictFailed:
		r.span.Fail(string(code))
	}
}

func (r *run) unit() *work.Unit {
	partition := r.delivery.Partition
	if partition == "" {
		partition = SystemPartition
	}
	return work.NewUnit(r.store, partition, r.o.Now(), r.o.NewID)
}

// SystemPartition holds dead letters of messages that name no tenant.
const SystemPartition = "system"

func (r *run) function() string {
	if r.handler.function != "" {
		return r.handler.function
	}
	if f := r.queues[r.delivery.Queue]; f != "" {
		return f
	}
	return "dispatch"
}

func (r *run) kind() string {
	if r.event.Data == nil {
		return ""
	}
	return r.event.Data.Kind()
}

// requestID is the request that the delivery belongs to. A message that can't be read stands for itself, under a name made
// from its id where the id is none that an event may carry: its failure must be told all the same.
func (r *run) requestID() string {
	if r.event.Data != nil {
		return r.event.Data.Request()
	}
	if !requestPattern.MatchString(r.delivery.ID) {
		sum := sha256.Sum256([]byte(r.delivery.ID))
		return "message-" + hex.EncodeToString(sum[:16])
	}
	return r.delivery.ID
}

// requestPattern is that of ids in events.
var requestPattern = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,64}$`)

// backoff is the delay after the n-th delivery failed: doubled each time, between half and all of it.
func (d *Dispatcher) backoff(n int) time.Duration {
	delay := d.o.MaxDelay
	if n < 20 {
		delay = min(delay, d.o.BaseDelay<<(n-1))
	}
	return delay/2 + time.Duration(d.o.Jitter()*float64(delay/2))
}

// bounded is the error's text, cut to what a row and a page can hold.
func bounded(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	if verdict, ok := err.(*fault.Error); ok && verdict.Err != nil { //nolint:errorlint // the code stands beside the text; only here is it in front of it
		text = verdict.Err.Error()
	}
	if runes := []rune(text); len(runes) > 800 {
		return string(runes[:800]) + "…"
	}
	return text
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
