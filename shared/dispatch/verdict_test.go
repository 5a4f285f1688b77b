package dispatch_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pinreset/events"
	"pinreset/shared/diag"
	"pinreset/shared/fault"
	"pinreset/shared/work"
)

type mark struct {
	By string `json:"by"`
}

// stage leaves a row and a message behind, so that a test sees whether they were kept.
func stage(ctx context.Context, u *work.Unit) error {
	_, err := u.Send(ctx, queue.Bulk(), time.Time{}, events.PasscodeExpiryDue{RequestID: request, DeviceID: device})
	return errors.Join(err, u.Put("staged", mark{"handler"}))
}

func recordEnd(_ context.Context, u *work.Unit, d events.PasscodeResetRequested, code fault.Code) error {
	return u.Put("end", mark{d.RequestID + " " + string(code)})
}

// TestVerdicts proves for each verdict what becomes of the delivery, of what was staged, and of the request.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	const canary = "4711-canary"
	boom := errors.New("disk on fire")
	for _, c := range []struct {
		name     string
		end      func(context.Context) error // of the handler
		delivery int                         // the handler fails in this one; before, it fails by a plain error
		outcome  work.OutcomeKind
		after    time.Duration
		kept     bool
		verdict  string
		code     fault.Code
		failed   fault.Code // of the request; "" goes on
		letter   bool
	}{
		{name: "nil", end: func(context.Context) error { return nil }, outcome: work.Done, kept: true, verdict: "done"},
		{name: "permanent", end: func(context.Context) error { return fault.Permanent(fault.DeviceNotFound, boom) },
			outcome: work.Done, verdict: "failed", code: fault.DeviceNotFound, failed: fault.DeviceNotFound},
		{name: "permanent, wrapped", end: func(context.Context) error {
			return fmt.Errorf("look: %w", fault.Permanent(fault.DeviceNotFound, boom))
		}, outcome: work.Done, verdict: "failed", code: fault.DeviceNotFound, failed: fault.DeviceNotFound},
		{name: "permanent at the last attempt", delivery: 3, end: func(context.Context) error { return fault.Permanent(fault.GraphForbidden, boom) },
			outcome: work.Done, verdict: "failed", code: fault.GraphForbidden, failed: fault.GraphForbidden},
		{name: "after", end: func(context.Context) error { return fault.After(7*time.Minute, fault.GraphThrottled, boom) },
			outcome: work.Postpone, after: 7 * time.Minute, kept: true, verdict: "waiting", code: fault.GraphThrottled},
		{name: "after at the last attempt", delivery: 3, end: func(context.Context) error { return fault.After(time.Hour, fault.WaitingForDevice, boom) },
			outcome: work.Postpone, after: time.Hour, kept: true, verdict: "waiting", code: fault.WaitingForDevice},
		{name: "plain", end: func(context.Context) error { return boom },
			outcome: work.Retry, after: time.Second / 2, verdict: "retry", code: fault.Internal},
		{name: "plain, second attempt", delivery: 2, end: func(context.Context) error { return boom },
			outcome: work.Retry, after: time.Second, verdict: "retry", code: fault.Internal},
		{name: "plain, last attempt", delivery: 3, end: func(context.Context) error { return boom },
			outcome: work.Done, verdict: "failed", code: fault.AttemptsExhausted, failed: fault.AttemptsExhausted, letter: true},
		{name: "panic", end: func(context.Context) error { panic("the code is " + canary) },
			outcome: work.Retry, after: time.Second / 2, verdict: "retry", code: fault.Internal},
		{name: "panic with an error", end: func(context.Context) error { panic(fault.Permanent(fault.DeviceNotFound, errors.New(canary))) },
			outcome: work.Retry, after: time.Second / 2, verdict: "retry", code: fault.Internal},
		{name: "panic, last attempt", delivery: 3, end: func(context.Context) error { panic(struct{ code string }{canary}) },
			outcome: work.Done, verdict: "failed", code: fault.AttemptsExhausted, failed: fault.AttemptsExhausted, letter: true},
		{name: "conflict", end: func(context.Context) error { return fmt.Errorf("write: %w", work.ErrConflict) },
			outcome: work.Postpone, after: 5 * time.Millisecond, verdict: "retry", code: fault.Internal},
		{name: "conflict at the last attempt", delivery: 3, end: func(context.Context) error { return work.ErrConflict },
			outcome: work.Postpone, after: 5 * time.Millisecond, verdict: "retry", code: fault.Internal},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			runs, last := 0, max(c.delivery, 1)
			r := newRig(t, func(ctx context.Context, u *work.Unit, _ events.Event, _ events.PasscodeResetRequested) error {
				if runs++; runs < last {
					return boom
				}
				if err := stage(ctx, u); err != nil {
					return err
				}
				return c.end(ctx)
			}, recordEnd)
			r.send(queue, asked(request))
			for range last {
				r.once()
				if runs < last {
					r.advance(time.Hour)
				}
			}
			want := work.Outcome{Kind: c.outcome}
			if c.after > 0 {
				want.At = r.clock.Now().Add(c.after)
			}
			if got := r.outcome(); got.Kind != want.Kind || !got.At.Equal(want.At) {
				t.Errorf("settled %+v, want %+v", got, want)
			}
			if rows, sent := len(r.list(contoso, "staged")), r.waiting(queue.Bulk()); rows != sent || (rows == 1) != c.kept {
				t.Errorf("kept %d rows and %d messages, want them kept: %t", rows, sent, c.kept)
			}
			if o := r.seen[len(r.seen)-1]; o.Verdict != c.verdict || o.Code != c.code || o.Function != "passcodereset" || o.Dead != c.letter {
				t.Errorf("observed %+v, want %s %s, dead %t", o, c.verdict, c.code, c.letter)
			}
			if letters := r.letters(contoso); (len(letters) == 1) != c.letter {
				t.Errorf("%d dead letters, want one: %t", len(letters), c.letter)
			}
			left := 1
			if c.outcome == work.Done {
				left = 0
			}
			if got := r.waiting(queue); got != left {
				t.Errorf("%d messages are left, want %d", got, left)
			}
			for _, row := range r.list(contoso, "") {
				if strings.Contains(string(row.Value), canary) {
					t.Errorf("row %s has the panic's value", row.Row)
				}
			}
			if strings.Contains(r.log.String(), canary) {
				t.Errorf("the log has the panic's value: %s", r.log.String())
			}
			end := r.list(contoso, "end")
			if c.failed == "" {
				if len(end) != 0 {
					t.Error("the request's end was recorded, and it goes on")
				}
				r.wantNoFailure()
				return
			}
			if len(end) != 1 || !strings.Contains(string(end[0].Value), request+" "+string(c.failed)) {
				t.Errorf("end of the request: %v", end)
			}
			f := r.wantFailed(request, c.failed)
			if f.DeviceID != device || f.Function != "passcodereset" || f.Kind != "passcode.reset.requested.v1" || f.Detail == "" {
				t.Errorf("failure %+v", f)
			}
			if strings.Contains(f.Detail, canary) {
				t.Errorf("failure tells the panic's value: %s", f.Detail)
			}
		})
	}
}

// TestAttemptsAreKept proves that a wait or a conflict costs no attempt and an unknown error does.
func TestAttemptsAreKept(t *testing.T) {
	t.Parallel()
	script := []error{
		fault.After(time.Minute, fault.GraphThrottled, nil), work.ErrConflict, errors.New("one"), fault.After(time.Minute, fault.GraphThrottled, nil),
		errors.New("two"), work.ErrConflict, errors.New("three"),
	}
	want := []int{1, 1, 1, 2, 2, 3, 3}
	var got []int
	r := newRig(t, ending(func() error { return script[len(got)-1] }), nil)
	r.send(queue, asked(request))
	for r.waiting(queue) > 0 {
		d := r.take(queue)
		got = append(got, d.Deliveries)
		if err := r.process(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		r.advance(time.Hour)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("deliveries %v, want %v", got, want)
	}
	r.wantFailed(request, fault.AttemptsExhausted)
}

// ending is a handler that stages nothing and ends as told.
func ending(end func() error) handle {
	return func(context.Context, *work.Unit, events.Event, events.PasscodeResetRequested) error { return end() }
}

// TestTimeout proves that a run which used up its time is an unknown error, and that there is still time to say so.
func TestTimeout(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(ctx context.Context, u *work.Unit, _ events.Event, _ events.PasscodeResetRequested) error {
		if err := stage(ctx, u); err != nil {
			return err
		}
		<-ctx.Done()
		return fmt.Errorf("call: %w", ctx.Err())
	}, recordEnd)
	r.options.Timeout = 2 * time.Second
	r.send(queue, asked(request))
	d := r.take(queue)
	// In the bubble time passes by itself, and the store, whose goroutines are outside, is asked nothing.
	var settled error
	var left time.Duration
	var outcome work.Outcome
	var batch work.Batch
	synctest.Test(t, func(t *testing.T) {
		source := settleFunc(func(ctx context.Context, b work.Batch, o work.Outcome) error {
			deadline, ok := ctx.Deadline()
			if ok {
				left = time.Until(deadline)
			}
			outcome, batch = o, b
			return ctx.Err()
		})
		settled = r.dispatcher(source).Process(t.Context(), d)
	})
	if settled != nil || outcome.Kind != work.Retry || left != 2*time.Second {
		t.Fatalf("settled as %+v with %s left: %v", outcome, left, settled)
	}
	if len(batch.Messages) != 0 || len(batch.Writes) != 1 || !strings.Contains(string(batch.Writes[0].Value), "run ended after 2s") {
		t.Errorf("committed %+v", batch)
	}
}

// settleFunc is a source that only settles.
type settleFunc func(context.Context, work.Batch, work.Outcome) error

func (settleFunc) Receive(ctx context.Context, _ work.Queue, _ int) ([]work.Delivery, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (settleFunc) Renew(context.Context, work.Delivery) (time.Time, error) {
	return time.Time{}, work.ErrLeaseLost
}

func (f settleFunc) Settle(ctx context.Context, _ work.Delivery, b work.Batch, o work.Outcome) error {
	return f(ctx, b, o)
}

// TestShutdown proves that a context that ends gives the message back at once and uncounted, whatever the handler says.
func TestShutdown(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]error{
		"plain": errors.New("call was cut off"), "context": context.Canceled, "permanent": fault.Permanent(fault.GraphRefused, nil),
		"after": fault.After(time.Hour, fault.GraphThrottled, nil), "conflict": work.ErrConflict,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			r := newRig(t, func(ctx context.Context, u *work.Unit, _ events.Event, _ events.PasscodeResetRequested) error {
				if err := stage(ctx, u); err != nil {
					return err
				}
				cancel()
				<-ctx.Done()
				return end
			}, recordEnd)
			r.send(queue, asked(request))
			if err := r.process(ctx, r.take(queue)); err != nil {
				t.Fatal(err)
			}
			if o := r.outcome(); o.Kind != work.Postpone || o.At.After(r.clock.Now()) {
				t.Errorf("settled %+v, want given back now", o)
			}
			if rows := r.list(contoso, ""); len(rows) != 0 {
				t.Errorf("%d rows were written", len(rows))
			}
			if d := r.take(queue); d.Deliveries != 1 {
				t.Errorf("next delivery is number %d, want 1", d.Deliveries)
			}
			r.wantNoFailure()
		})
	}
	t.Run("a run that ends well is committed", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		r := newRig(t, func(ctx context.Context, u *work.Unit, _ events.Event, _ events.PasscodeResetRequested) error {
			cancel()
			return stage(ctx, u)
		}, nil)
		r.send(queue, asked(request))
		if err := r.process(ctx, r.take(queue)); err != nil {
			t.Fatal(err)
		}
		if r.outcome().Kind != work.Done || len(r.list(contoso, "staged")) != 1 {
			t.Errorf("settled %+v with %d rows", r.outcome(), len(r.list(contoso, "staged")))
		}
	})
}

// TestLeaseLost proves that nothing of a run is kept whose delivery somebody else has by now.
func TestLeaseLost(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]error{"nil": nil, "permanent": fault.Permanent(fault.GraphRefused, nil), "plain": errors.New("no")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var r *rig
			first := true
			r = newRig(t, func(ctx context.Context, u *work.Unit, _ events.Event, _ events.PasscodeResetRequested) error {
				if first {
					first = false
					r.advance(2 * time.Minute) // beyond the lease
					if other := r.take(queue); other.Deliveries != 2 {
						t.Errorf("other receiver got delivery %d, want 2", other.Deliveries)
					}
				}
				return errors.Join(stage(ctx, u), end)
			}, recordEnd)
			r.send(queue, asked(request))
			err := r.process(t.Context(), r.take(queue))
			if !errors.Is(err, work.ErrLeaseLost) {
				t.Errorf("process: %v, want ErrLeaseLost", err)
			}
			if rows := r.list(contoso, ""); len(rows) != 0 || r.waiting(work.Announcements) != 0 {
				t.Errorf("%d rows and %d announcements were written", len(rows), r.waiting(work.Announcements))
			}
		})
	}
}

// TestConflictAtCommit proves that a commit over rows that changed meanwhile leaves nothing, and costs no attempt.
func TestConflictAtCommit(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]error{"nil": nil, "after": fault.After(time.Hour, fault.WaitingForDevice, nil)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var r *rig
			runs := 0
			r = newRig(t, func(ctx context.Context, u *work.Unit, _ events.Event, _ events.PasscodeResetRequested) error {
				var m mark
				if err := u.Get(ctx, "counter", &m); err != nil && !errors.Is(err, work.ErrNotFound) {
					return err
				}
				if runs++; runs == 1 {
					other := r.unit(contoso)
					if err := errors.Join(other.Put("counter", mark{"somebody else"}), other.Commit(ctx)); err != nil {
						return err
					}
				}
				return errors.Join(u.Put("counter", mark{m.By + "+handler"}), end)
			}, recordEnd)
			r.send(queue, asked(request))
			r.once()
			if o := r.outcome(); o.Kind != work.Postpone || o.At.Sub(r.clock.Now()) > 50*time.Millisecond {
				t.Errorf("settled %+v, want postponed by a moment", o)
			}
			if m := decode[mark](t, r.list(contoso, "counter")); len(m) != 1 || m[0].By != "somebody else" {
				t.Errorf("counter %v", m)
			}
			r.advance(time.Second)
			d := r.take(queue)
			if d.Deliveries != 1 {
				t.Errorf("delivery %d, want 1", d.Deliveries)
			}
			if err := r.process(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			if m := decode[mark](t, r.list(contoso, "counter")); m[0].By != "somebody else+handler" {
				t.Errorf("counter %v", m)
			}
			r.wantNoFailure()
		})
	}
}

// TestConflictOfAFailure proves that a failure is told once even where recording it meets a conflict.
func TestConflictOfAFailure(t *testing.T) {
	t.Parallel()
	var r *rig
	ends := 0
	r = newRig(t, ending(func() error { return fault.Permanent(fault.DeviceNotFound, nil) }),
		func(ctx context.Context, u *work.Unit, _ events.PasscodeResetRequested, _ fault.Code) error {
			var m mark
			if err := u.Get(ctx, "counter", &m); err != nil && !errors.Is(err, work.ErrNotFound) {
				return err
			}
			if ends++; ends == 1 {
				other := r.unit(contoso)
				if err := errors.Join(other.Put("counter", mark{"somebody else"}), other.Commit(ctx)); err != nil {
					return err
				}
			}
			return u.Put("counter", mark{m.By + "+end"})
		})
	r.send(queue, asked(request))
	r.once()
	r.wantNoFailure()
	r.advance(time.Second)
	r.once()
	if m := decode[mark](t, r.list(contoso, "counter")); m[0].By != "somebody else+end" {
		t.Errorf("counter %v", m)
	}
	r.wantFailed(request, fault.DeviceNotFound)
}

// TestEndThatCanNotBeRecorded proves that a message is not set aside while the end of its request can't be recorded, which is
// most often a store that can't be read for a moment: the request would stay open for ever. There is a bound to that.
func TestEndThatCanNotBeRecorded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ fails, deliveries int }{
		"at first": {2, 5}, "ever": {1000, 6},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ends := 0
			r := newRig(t, ending(func() error { return errors.New("no") }),
				func(ctx context.Context, u *work.Unit, d events.PasscodeResetRequested, code fault.Code) error {
					if ends++; ends <= c.fails {
						return errors.New("store can't be read")
					}
					return recordEnd(ctx, u, d, code)
				})
			r.send(queue, asked(request))
			for range c.deliveries - 1 {
				r.once()
				r.wantNoFailure()
				r.advance(time.Hour)
			}
			r.once()
			letters, recorded := r.letters(contoso), r.list(contoso, "end")
			if len(letters) != 1 || letters[0].Deliveries != c.deliveries || len(r.failures()) != 1 {
				t.Fatalf("letters %+v, %d failures", letters, len(r.failures()))
			}
			if (len(recorded) == 1) != (c.fails < 1000) {
				t.Errorf("%d ends recorded", len(recorded))
			}
		})
	}
}

// TestSettlementThatFails proves that an error of the store is told to the host and nothing is taken for settled.
func TestSettlementThatFails(t *testing.T) {
	t.Parallel()
	full := errors.New("disk is full")
	r := newRig(t, func(ctx context.Context, u *work.Unit, _ events.Event, _ events.PasscodeResetRequested) error {
		return stage(ctx, u)
	}, nil)
	r.settle = func(context.Context) error { return full }
	r.send(queue, asked(request))
	if err := r.process(t.Context(), r.take(queue)); !errors.Is(err, full) {
		t.Errorf("process: %v, want %v", err, full)
	}
	if rows := r.list(contoso, ""); len(rows) != 0 || len(r.outcomes) != 0 {
		t.Errorf("%d rows, %d settlements", len(rows), len(r.outcomes))
	}
	r.settle = nil
	r.advance(2 * time.Minute)
	r.once()
	if len(r.list(contoso, "staged")) != 1 {
		t.Error("the work was not done when the message came back")
	}
}

// TestBackoff proves the delays after unknown errors: doubled from the base to the bound, between half and all of it.
func TestBackoff(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		jitter float64
		part   func(time.Duration) time.Duration
	}{
		{0, func(d time.Duration) time.Duration { return d / 2 }},
		{0.5, func(d time.Duration) time.Duration { return d * 3 / 4 }},
		{0.999999999, func(d time.Duration) time.Duration { return d }},
	} {
		t.Run(fmt.Sprint(c.jitter), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, ending(func() error { return errors.New("no") }), nil)
			r.options.MaxDeliveries, r.options.BaseDelay, r.options.MaxDelay = 70, 3*time.Second, time.Hour
			r.options.Jitter = func() float64 { return c.jitter }
			r.send(queue, asked(request))
			full := 3 * time.Second
			for n := 1; n < 70; n++ {
				r.once()
				want, got := c.part(full), r.outcome().At.Sub(r.clock.Now())
				if diff := (want - got).Abs(); diff > 10*time.Microsecond || got <= 0 || got > full {
					t.Fatalf("delay %d is %s, want %s", n, got, want)
				}
				full = min(2*full, time.Hour)
				r.advance(2 * time.Hour)
			}
			r.once()
			r.wantFailed(request, fault.AttemptsExhausted)
		})
	}
}

// TestRecord proves what is kept of a run, that it is bounded, and that a quiet run leaves none.
func TestRecord(t *testing.T) {
	t.Parallel()
	t.Run("quiet", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, ending(func() error { return nil }), nil)
		r.send(queue, asked(request))
		r.once()
		if rows := r.list(contoso, ""); len(rows) != 0 {
			t.Errorf("a run that did nothing left %d rows", len(rows))
		}
	})
	t.Run("steps", func(t *testing.T) {
		t.Parallel()
		var r *rig
		r = newRig(t, func(ctx context.Context, u *work.Unit, _ events.Event, _ events.PasscodeResetRequested) error {
			diag.Decide(ctx, u.Now(), "the device is eligible")
			r.advance(1500 * time.Microsecond)
			return nil
		}, nil)
		began := r.clock.Now()
		r.send(queue, asked(request))
		r.advance(time.Minute)
		r.once()
		a := r.attempts()
		if len(a) != 1 || a[0].RequestID != request || a[0].Verdict != "done" || a[0].Delivery != 1 || a[0].MessageID != "m-"+request ||
			!a[0].QueuedAt.Equal(began) || !a[0].StartedAt.Equal(began.Add(time.Minute)) || a[0].Milliseconds != 1.5 ||
			len(a[0].Steps) != 1 || a[0].Steps[0].Text != "the device is eligible" || a[0].Steps[0].Kind != diag.KindDecision || a[0].Dropped != 0 {
			t.Errorf("attempts %+v", a)
		}
		if o := r.seen[0]; o.Waited != time.Minute || o.Took != 1500*time.Microsecond {
			t.Errorf("observed %+v", o)
		}
	})
	t.Run("bounded", func(t *testing.T) {
		t.Parallel()
		const long = 10_000
		r := newRig(t, func(ctx context.Context, u *work.Unit, _ events.Event, _ events.PasscodeResetRequested) error {
			for range diag.MaxSteps + 17 {
				diag.Decide(ctx, u.Now(), "again")
			}
			return errors.New(strings.Repeat("ß", long))
		}, nil)
		r.options.MaxDeliveries = 1
		r.send(queue, asked(request))
		r.once()
		a := r.attempts()
		if len(a) != 1 || len(a[0].Steps) != diag.MaxSteps || a[0].Dropped != 17 {
			t.Fatalf("%d attempts, %d steps, %d dropped", len(a), len(a[0].Steps), a[0].Dropped)
		}
		f, l := r.failures(), r.letters(contoso)
		for what, detail := range map[string]string{"attempt": a[0].Detail, "failure": f[0].Detail, "letter": l[0].Detail} {
			if n := len([]rune(detail)); n < 100 || n > 801 {
				t.Errorf("detail of the %s has %d characters", what, n)
			}
		}
		if r.log.Len() > 8000 {
			t.Errorf("the log has %d bytes", r.log.Len())
		}
	})
	t.Run("of each run its own", func(t *testing.T) {
		t.Parallel()
		runs := 0
		r := newRig(t, func(ctx context.Context, u *work.Unit, _ events.Event, _ events.PasscodeResetRequested) error {
			runs++
			diag.Decide(ctx, u.Now(), fmt.Sprint("run ", runs))
			if runs < 3 {
				return fault.After(time.Minute, fault.WaitingForDevice, nil)
			}
			return nil
		}, nil)
		r.send(queue, asked(request))
		for range 3 {
			r.once()
			r.advance(time.Hour)
		}
		got, err := diag.Timeline(t.Context(), r.Store, contoso, request)
		if err != nil || len(got) != 3 {
			t.Fatalf("%d attempts: %v", len(got), err)
		}
		for i, a := range got {
			if len(a.Steps) != 1 || a.Steps[0].Text != fmt.Sprint("run ", i+1) {
				t.Errorf("attempt %d: %+v", i, a.Steps)
			}
		}
		if got[0].Verdict != "waiting" || got[0].Code != string(fault.WaitingForDevice) || got[2].Verdict != "done" {
			t.Errorf("verdicts %s %s, %s", got[0].Verdict, got[0].Code, got[2].Verdict)
		}
	})
}

// TestTrace proves that what a run sends carries on the trace of what started it.
func TestTrace(t *testing.T) {
	t.Parallel()
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for name, end := range map[string]error{"result": nil, "failure": fault.Permanent(fault.GraphRefused, nil)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(ctx context.Context, u *work.Unit, _ events.Event, _ events.PasscodeResetRequested) error {
				_, err := u.Send(ctx, work.Announcements, time.Time{}, events.PasscodeExpired{RequestID: request, DeviceID: device})
				return errors.Join(err, end)
			}, nil)
			u := r.unit(contoso)
			err := u.Forward(queue, time.Time{}, events.Event{ID: "m-1", Tenant: contoso, Time: u.Now(), TraceParent: trace, Data: asked(request)})
			if err := errors.Join(err, u.Commit(t.Context())); err != nil {
				t.Fatal(err)
			}
			r.once()
			e, err := events.Parse(r.take(work.Announcements).Body)
			if err != nil || e.TraceParent != trace {
				t.Errorf("%s carries %q: %v", e.Data.Kind(), e.TraceParent, err)
			}
		})
	}
}
