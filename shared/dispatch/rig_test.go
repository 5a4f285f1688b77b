package dispatch_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/shared/clocktest"
	"pinreset/shared/diag"
	"pinreset/shared/dispatch"
	"pinreset/shared/fault"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

const (
	contoso  = "0b7e2d4c-6a51-4f3e-9d28-5c1a7f90e364"
	fabrikam = "7c1d9e02-33b4-4a6f-8f15-0d2e6b8a4c97"
	device   = "5f0c3a91-27de-4b68-8e14-d3b96a7c0f52"
	request  = "req-1"

	queue work.Queue = "passcode-reset"
)

// rig is a dispatcher over a real store, with every setting in the test's hands and its outcomes and its log at hand.
type rig struct {
	*sqlitework.Store
	t        *testing.T
	clock    *clocktest.Clock
	serial   int
	options  dispatch.Options
	routes   []dispatch.Route
	outcomes []work.Outcome
	seen     []dispatch.Observation
	log      bytes.Buffer
	settle   func(context.Context) error // what happens instead of a settlement, where it returns an error
}

type (
	handle = func(context.Context, *work.Unit, events.Event, events.PasscodeResetRequested) error
	failed = func(context.Context, *work.Unit, events.PasscodeResetRequested, fault.Code) error
)

// newRig serves passcode resets with the handler and the hook; the hook may be nil.
func newRig(t *testing.T, h handle, f failed) *rig {
	t.Helper()
	r := &rig{t: t, clock: clocktest.New(time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC))}
	store, err := sqlitework.Open(t.TempDir(), sqlitework.Options{Now: r.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	r.Store = store
	r.options = dispatch.Options{
		Now: r.clock.Now, NewID: r.newID, Jitter: func() float64 { return 0 }, MaxDeliveries: 3,
		Logger:  slog.New(slog.NewJSONHandler(&r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Observe: func(o dispatch.Observation) { r.seen = append(r.seen, o) },
	}
	r.routes = []dispatch.Route{{Function: "passcodereset", Queue: queue, Handlers: []dispatch.Handler{dispatch.On(h, f)}}}
	return r
}

func (r *rig) advance(d time.Duration) {
	r.clock.Advance(d)
	r.Wake()
}

func (r *rig) newID() string {
	r.serial++
	return fmt.Sprintf("01%024d", r.serial)
}

func (r *rig) unit(partition string) *work.Unit {
	return work.NewUnit(r.Store, partition, r.clock.Now(), r.newID)
}

// Settle notes the outcome on its way to the store.
func (r *rig) Settle(ctx context.Context, d work.Delivery, b work.Batch, o work.Outcome) error {
	if r.settle != nil {
		if err := r.settle(ctx); err != nil {
			return err
		}
	}
	err := r.Store.Settle(ctx, d, b, o)
	if err == nil {
		r.outcomes = append(r.outcomes, o)
	}
	return err
}

func asked(id string) events.PasscodeResetRequested {
	return events.PasscodeResetRequested{RequestID: id, DeviceID: device, Reason: "user on the phone"}
}

// send sends the data as an event with the request's id for an id.
func (r *rig) send(q work.Queue, data events.Data) {
	r.t.Helper()
	u := r.unit(contoso)
	err := u.Forward(q, time.Time{}, events.Event{ID: "m-" + data.Request(), Tenant: contoso, Time: u.Now(), Data: data})
	if err := errors.Join(err, u.Commit(r.t.Context())); err != nil {
		r.t.Fatal(err)
	}
}

// post sends a message whose body may be anything.
func (r *rig) post(m work.Message) {
	r.t.Helper()
	u := r.unit(m.Partition)
	u.Post(m)
	if err := u.Commit(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) take(q work.Queue) work.Delivery {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 10*time.Second)
	defer cancel()
	d, err := r.Store.Receive(ctx, q, 1)
	if err != nil {
		r.t.Fatalf("receive from %s: %v", q, err)
	}
	return d[0]
}

func (r *rig) dispatcher(source work.Source) *dispatch.Dispatcher {
	return dispatch.New(r.Store, source, r.routes, r.options)
}

func (r *rig) process(ctx context.Context, d work.Delivery) error {
	return r.dispatcher(r).Process(ctx, d)
}

// once takes the message of the queue and processes it.
func (r *rig) once() {
	r.t.Helper()
	if err := r.process(r.t.Context(), r.take(queue)); err != nil {
		r.t.Fatalf("process: %v", err)
	}
}

// outcome returns the last settlement.
func (r *rig) outcome() work.Outcome {
	r.t.Helper()
	if len(r.outcomes) == 0 {
		r.t.Fatal("nothing was settled")
	}
	return r.outcomes[len(r.outcomes)-1]
}

func (r *rig) list(partition, prefix string) []work.Row {
	r.t.Helper()
	p, err := r.List(context.WithoutCancel(r.t.Context()), work.Query{Partition: partition, Prefix: prefix, Limit: 1000})
	if err != nil {
		r.t.Fatal(err)
	}
	return p.Rows
}

func decode[T any](t *testing.T, rows []work.Row) []T {
	t.Helper()
	out := make([]T, len(rows))
	for i, row := range rows {
		if err := json.Unmarshal(row.Value, &out[i]); err != nil {
			t.Fatalf("decode %s: %v", row.Row, err)
		}
	}
	return out
}

func (r *rig) attempts() []diag.Attempt {
	return decode[diag.Attempt](r.t, r.list(contoso, diag.AttemptPrefix))
}

func (r *rig) failures() []diag.Failure {
	return decode[diag.Failure](r.t, r.list(contoso, diag.FailurePrefix))
}

func (r *rig) letters(partition string) []diag.DeadLetter {
	return decode[diag.DeadLetter](r.t, r.list(partition, diag.LetterPrefix))
}

// waiting returns how many messages of the queue are left, whatever their state.
func (r *rig) waiting(q work.Queue) int {
	r.t.Helper()
	stats, err := r.Stats(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, s := range stats.Queues {
		if s.Queue == q {
			return s.Due + s.Later + s.Leased
		}
	}
	return 0
}

// raised takes the failure events out of their queue.
func (r *rig) raised() []events.FailureRaised {
	r.t.Helper()
	var out []events.FailureRaised
	for r.waiting(work.Announcements) > 0 {
		d := r.take(work.Announcements)
		e, err := events.Parse(d.Body)
		if err != nil {
			r.t.Fatal(err)
		}
		if f, ok := e.Data.(events.FailureRaised); ok {
			out = append(out, f)
		}
		if err := r.Store.Settle(r.t.Context(), d, work.Batch{}, work.Outcome{Kind: work.Done}); err != nil {
			r.t.Fatal(err)
		}
	}
	return out
}

// wantFailed checks that the request has exactly one failure, its page and its event, all with the code.
func (r *rig) wantFailed(request string, code fault.Code) diag.Failure {
	r.t.Helper()
	failures, raised := r.failures(), r.raised()
	if len(failures) != 1 || len(raised) != 1 {
		r.t.Fatalf("%d failures and %d failure events, want one of each", len(failures), len(raised))
	}
	f, e := failures[0], raised[0]
	page, err := diag.Load(r.t.Context(), r.Store, contoso, diag.IDFor(contoso, request))
	if err != nil {
		r.t.Fatal(err)
	}
	if f.Code != code || e.Code != string(code) || page.Code != code {
		r.t.Errorf("failure %s, event %s, page %s; want %s", f.Code, e.Code, page.Code, code)
	}
	if f.RequestID != request || e.RequestID != request || e.Diagnostics != page.Link || f.ID != page.ID {
		r.t.Errorf("failure of %s, event of %s to %s, page %s", f.RequestID, e.RequestID, e.Diagnostics, page.Link)
	}
	return f
}

// wantNoFailure checks that nobody was told of a failure.
func (r *rig) wantNoFailure() {
	r.t.Helper()
	if f, e, l := r.failures(), r.raised(), r.letters(contoso); len(f)+len(e)+len(l) != 0 {
		r.t.Errorf("%d failures, %d failure events, %d dead letters, want none", len(f), len(e), len(l))
	}
}

// wantNowhere checks that no row, no message and no line of the log has the text.
func (r *rig) wantNowhere(text string) {
	r.t.Helper()
	if strings.Contains(r.log.String(), text) {
		r.t.Errorf("the log has %q: %s", text, r.log.String())
	}
	for _, row := range r.list(contoso, "") {
		if bytes.Contains(row.Value, []byte(text)) {
			r.t.Errorf("row %s has %q", row.Row, text)
		}
	}
	for _, f := range r.raised() {
		if data, err := json.Marshal(f); err != nil || bytes.Contains(data, []byte(text)) {
			r.t.Errorf("failure event has %q: %v", text, err)
		}
	}
}
