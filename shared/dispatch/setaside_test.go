package dispatch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/shared/diag"
	"pinreset/shared/dispatch"
	"pinreset/shared/fault"
	"pinreset/shared/work"
)

// unwanted is a handler and a hook that must not run.
func unwanted(t *testing.T) (handle, failed) {
	return func(context.Context, *work.Unit, events.Event, events.PasscodeResetRequested) error {
			t.Error("the handler ran")
			return nil
		}, func(context.Context, *work.Unit, events.PasscodeResetRequested, fault.Code) error {
			t.Error("the hook ran")
			return nil
		}
}

// body is an event as a message carries it.
func body(t *testing.T, tenant string, data events.Data) []byte {
	t.Helper()
	raw, err := events.Event{ID: "m-1", Tenant: tenant, Time: time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC), Data: data}.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestMessagesThatCannotBeHandled proves that such a message is set aside whole, at once and without a run, and is told of.
func TestMessagesThatCannotBeHandled(t *testing.T) {
	t.Parallel()
	const odd = "" // a name made from the message's id
	for _, c := range []struct {
		name, id, partition string
		body                []byte
		request             string // that the failure is about
		kind                string
		detail              string
	}{
		{name: "no JSON", body: []byte("<xml/>\x00\xff"), request: "m-1", detail: events.ErrNotJSON.Error()},
		{name: "no body", body: nil, request: "m-1", detail: events.ErrNotJSON.Error()},
		{name: "too large", body: bytes.Repeat([]byte(" "), events.MaxBytes+1), request: "m-1", detail: events.ErrTooLarge.Error()},
		{name: "a field is wrong", body: bytes.ReplaceAll(body(t, contoso, asked(request)), []byte(device), []byte("a phone")), request: "m-1", detail: "data.deviceId"},
		{name: "kind of no route", body: body(t, contoso, events.ConsentCheckDue{RequestID: request}), request: request, kind: "tenant.consent.checkdue.v1", detail: "not handled"},
		{name: "another tenant's", body: body(t, fabrikam, asked(request)), request: request, kind: "passcode.reset.requested.v1", detail: "for partition " + contoso},
		{name: "id that no event may have", id: "an id (of somebody else)", body: []byte("{}"), request: odd},
		{name: "long id", id: strings.Repeat("i", work.MaxKeyBytes), body: []byte("{}"), request: odd},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h, f := unwanted(t)
			r := newRig(t, h, f)
			if c.id == "" {
				c.id = "m-1"
			}
			r.post(work.Message{ID: c.id, Queue: queue, Partition: contoso, Body: c.body})
			r.once()
			letters, failures := r.letters(contoso), r.failures()
			if len(letters) != 1 || len(failures) != 1 {
				t.Fatalf("%d letters and %d failures, want one of each", len(letters), len(failures))
			}
			if c.request == odd {
				c.request = failures[0].RequestID
				if !strings.HasPrefix(c.request, "message-") || len(c.request) > 64 {
					t.Errorf("failure is about %q", c.request)
				}
			}
			l := letters[0]
			if !bytes.Equal(l.Body, c.body) || l.MessageID != c.id || l.Queue != queue || l.Reason != fault.MessageInvalid || l.Deliveries != 1 ||
				l.RequestID != c.request || l.Kind != c.kind || !l.At.Equal(r.clock.Now()) || !strings.Contains(l.Detail, c.detail) {
				t.Errorf("letter %+v", l)
			}
			told := r.wantFailed(c.request, fault.MessageInvalid)
			if told.DeadLetter != l.ID || l.Diagnostics != diag.Link(contoso, told.ID) || told.Function != "passcodereset" {
				t.Errorf("failure %+v of letter %s", told, l.ID)
			}
			if r.waiting(queue) != 0 || r.outcome().Kind != work.Done {
				t.Errorf("%d messages are left, settled %+v", r.waiting(queue), r.outcome())
			}
			if o := r.seen; len(o) != 1 || !o[0].Dead || o[0].Verdict != "failed" {
				t.Errorf("observed %+v", o)
			}
		})
	}
}

// TestNobodysMessage proves that a message of no tenant becomes a letter, and nobody is told of its failure.
func TestNobodysMessage(t *testing.T) {
	t.Parallel()
	h, f := unwanted(t)
	r := newRig(t, h, f)
	r.post(work.Message{ID: "m-1", Queue: queue, Partition: dispatch.SystemPartition, Body: body(t, contoso, asked(request))})
	r.once()
	if l := r.letters(dispatch.SystemPartition); len(l) != 1 || l[0].Reason != fault.MessageInvalid {
		t.Errorf("letters %+v", l)
	}
	if rows := r.list(dispatch.SystemPartition, diag.FailurePrefix); len(rows) != 0 {
		t.Errorf("%d failures in the system's partition", len(rows))
	}
	if rows := r.list(contoso, ""); len(rows) != 0 || r.waiting(work.Announcements) != 0 {
		t.Errorf("%d rows of a tenant that the message only names, %d announcements", len(rows), r.waiting(work.Announcements))
	}
}

// TestCrashLoop proves that a message during which the process dies each time ends, without another run.
func TestCrashLoop(t *testing.T) {
	t.Parallel()
	h, _ := unwanted(t)
	r := newRig(t, h, recordEnd)
	r.send(queue, asked(request))
	for n := range r.options.MaxDeliveries {
		if d := r.take(queue); d.Deliveries != n+1 { // and the process dies
			t.Fatalf("delivery %d is number %d", n+1, d.Deliveries)
		}
		r.advance(2 * time.Minute)
	}
	r.once()
	l := r.letters(contoso)
	if len(l) != 1 || l[0].Reason != fault.AttemptsExhausted || l[0].Deliveries != 4 || !strings.Contains(l[0].Detail, "delivered 3 times") {
		t.Fatalf("letters %+v", l)
	}
	if end := r.list(contoso, "end"); len(end) != 1 {
		t.Error("the request's end was not recorded")
	}
	if f := r.wantFailed(request, fault.AttemptsExhausted); f.DeadLetter != l[0].ID {
		t.Errorf("failure %+v", f)
	}
	if r.waiting(queue) != 0 {
		t.Error("the message is still there")
	}
}

// TestLastAttemptRuns proves that the last of the attempts is made: the limit counts runs, not deliveries before it.
func TestLastAttemptRuns(t *testing.T) {
	t.Parallel()
	r := newRig(t, ending(func() error { return nil }), nil)
	r.send(queue, asked(request))
	for range r.options.MaxDeliveries - 1 {
		r.take(queue) // and the process dies
		r.advance(2 * time.Minute)
	}
	r.once()
	if r.seen[0].Verdict != "done" {
		t.Errorf("observed %+v", r.seen)
	}
	r.wantNoFailure()
}

// TestHookThatFails proves that a request whose end can't be recorded ends all the same, after twice the attempts that any error
// has, with a letter; and that a hook that recovers ends it without one.
func TestHookThatFails(t *testing.T) {
	t.Parallel()
	const canary = "4711-canary"
	hooks := map[string]func() error{
		"error": func() error { return errors.New("no room") },
		"panic": func() error { panic(canary) },
	}
	for name, hook := range hooks {
		for verdict, end := range map[string]error{
			"permanent": fault.Permanent(fault.DeviceNotFound, errors.New("no such device")), "plain": errors.New("no such luck"),
		} {
			t.Run(name+" after "+verdict, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, ending(func() error { return end }),
					func(_ context.Context, u *work.Unit, _ events.PasscodeResetRequested, _ fault.Code) error {
						if err := u.Put("half", mark{"hook"}); err != nil {
							return err
						}
						return hook()
					})
				r.send(queue, asked(request))
				for n := range 2 * r.options.MaxDeliveries { // twice: an end that can't be recorded is most often a store in trouble
					if len(r.failures()) != 0 {
						t.Fatalf("failed after %d attempts", n)
					}
					r.once()
					r.advance(time.Hour)
				}
				l := r.letters(contoso)
				// The verdict's own code is lost by then: the last deliveries no longer run the handler.
				if len(l) != 1 || l[0].Reason != fault.AttemptsExhausted || !strings.Contains(l[0].Detail, "could not be recorded") {
					t.Fatalf("letters %+v", l)
				}
				if rows := r.list(contoso, "half"); len(rows) != 0 {
					t.Error("half an end was committed")
				}
				if r.waiting(queue) != 0 {
					t.Error("the message is still there")
				}
				r.wantFailed(request, fault.AttemptsExhausted)
				r.wantNowhere(canary)
			})
		}
		t.Run(name+" once", func(t *testing.T) {
			t.Parallel()
			calls := 0
			r := newRig(t, ending(func() error { return fault.Permanent(fault.DeviceNotFound, nil) }),
				func(ctx context.Context, u *work.Unit, d events.PasscodeResetRequested, code fault.Code) error {
					if calls++; calls == 1 {
						return hook()
					}
					return recordEnd(ctx, u, d, code)
				})
			r.send(queue, asked(request))
			r.once()
			if o := r.outcome(); o.Kind != work.Retry || o.At.Sub(r.clock.Now()) != time.Second/2 {
				t.Errorf("settled %+v, want a counted retry with back-off", o)
			}
			r.wantNoFailure()
			r.advance(time.Hour)
			r.once()
			if len(r.list(contoso, "end")) != 1 || len(r.letters(contoso)) != 0 {
				t.Errorf("%d ends, %d letters", len(r.list(contoso, "end")), len(r.letters(contoso)))
			}
			r.wantFailed(request, fault.DeviceNotFound)
		})
	}
}

// TestHookThatMeetsAConflict proves that this costs no attempt, like any conflict.
func TestHookThatMeetsAConflict(t *testing.T) {
	t.Parallel()
	calls := 0
	r := newRig(t, ending(func() error { return fault.Permanent(fault.DeviceNotFound, nil) }),
		func(ctx context.Context, u *work.Unit, d events.PasscodeResetRequested, code fault.Code) error {
			if calls++; calls <= 5 {
				return fmt.Errorf("end: %w", work.ErrConflict)
			}
			return recordEnd(ctx, u, d, code)
		})
	r.send(queue, asked(request))
	for range 5 {
		r.once()
		if o := r.outcome(); o.Kind != work.Postpone {
			t.Fatalf("settled %+v", o)
		}
		r.advance(time.Second)
	}
	r.wantNoFailure()
	r.once()
	if len(r.letters(contoso)) != 0 || len(r.list(contoso, "end")) != 1 {
		t.Errorf("%d letters, %d ends", len(r.letters(contoso)), len(r.list(contoso, "end")))
	}
	r.wantFailed(request, fault.DeviceNotFound)
}

// TestFailingAnnouncement proves that an announcement which nobody can take ends as a letter and announces nothing.
func TestFailingAnnouncement(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]error{"permanent": fault.Permanent(fault.GraphRefused, nil), "plain": errors.New("subscriber is down")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, ending(func() error { return nil }), nil)
			r.routes = append(r.routes, dispatch.Route{Function: "announcement", Queue: work.Announcements, Handlers: []dispatch.Handler{
				dispatch.On(func(context.Context, *work.Unit, events.Event, events.PasscodeExpired) error { return end }, nil)}})
			r.send(work.Announcements, events.PasscodeExpired{RequestID: request, DeviceID: device})
			r.post(work.Message{ID: "m-2", Queue: work.Announcements, Partition: contoso, Body: []byte("nonsense")})
			for runs := 0; r.waiting(work.Announcements) > 0; runs++ {
				if runs == 20 {
					t.Fatal("announcements go on for ever")
				}
				if err := r.process(t.Context(), r.take(work.Announcements)); err != nil {
					t.Fatal(err)
				}
				r.advance(time.Hour)
			}
			want := 1 // the nonsense
			if name == "plain" {
				want = 2
			}
			if f, l := r.failures(), r.letters(contoso); len(f) != 0 || len(l) != want {
				t.Errorf("%d failures and %d letters, want 0 and %d", len(f), len(l), want)
			}
		})
	}
}

// TestReplay proves that a letter keeps all that it takes to do the work later: its body, sent again, is done.
func TestReplay(t *testing.T) {
	t.Parallel()
	broken := true
	r := newRig(t, func(ctx context.Context, u *work.Unit, _ events.Event, d events.PasscodeResetRequested) error {
		if broken {
			return errors.New("bug")
		}
		return u.Put("done", mark{d.Reason})
	}, nil)
	r.options.MaxDeliveries = 1
	r.send(queue, asked(request))
	r.once()
	l := r.letters(contoso)
	if len(l) != 1 {
		t.Fatalf("%d letters", len(l))
	}
	broken = false
	e, err := events.Parse(l[0].Body)
	if err != nil {
		t.Fatal(err)
	}
	u := r.unit(contoso)
	e.ID = r.newID() // under its old id it would be a duplicate
	if err := errors.Join(u.Forward(l[0].Queue, time.Time{}, e), u.Commit(t.Context())); err != nil {
		t.Fatal(err)
	}
	r.once()
	if m := decode[mark](t, r.list(contoso, "done")); len(m) != 1 || m[0].By != "user on the phone" {
		t.Errorf("replayed: %v", m)
	}
}
