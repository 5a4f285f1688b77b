package costtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/functions/announcement"
	"pinreset/functions/passcodereset"
	"pinreset/shared/audit"
	"pinreset/shared/clocktest"
	"pinreset/shared/dispatch"
	"pinreset/shared/dispatch/dispatchtest"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/graph/graphtest"
	"pinreset/shared/passcode"
	"pinreset/shared/secret"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
	"pinreset/shared/work/outbox/outboxtest"
)

// Spent is what one reset costs the services.
type Spent struct {
	Rows    int // requests to a table: reads, lists and transactions
	Sent    int // messages
	Taken   int // messages handed out, each by a call of its own
	Settled int // messages completed or set aside
	Renewed int // locks
	Runs    int // of handlers
	Calls   int // of the API: the request, and one look at the code
	Logged  int // bytes of the program's log

	Announced int // announcements, each of which goes to a topic too where there is one
}

// announcing counts what goes to a topic besides its queue: each announcement once.
type announcing struct {
	outbox.Queue
	n int
}

func (a *announcing) Send(ctx context.Context, parcels []outbox.Parcel) error {
	for _, p := range parcels {
		if p.Queue == work.Announcements && p.Attributes[outbox.AttributeAttempt] == "1" {
			a.n++
		}
	}
	return a.Queue.Send(ctx, parcels)
}

// Reset carries out one reset, from the request to the end of its code a week later, with one look at the code. Every message is
// taken by itself. maxDelay is how far ahead the queue can be asked to deliver; zero is as far as you like. What is due later waits in
// its row for a sweep, of which one runs every minute; counted is by how much that which sends it costs more than one that finds nothing.
func Reset(t testing.TB, maxDelay time.Duration) Spent {
	t.Helper()
	const contoso = graphsim.Contoso
	clock := clocktest.New(dispatchtest.Start)
	serial := 0
	newID := func() string { serial++; return fmt.Sprintf("01JDX%021d", serial) }
	rows, keyRows, sweepRows := &outboxtest.Calls{}, &outboxtest.Calls{}, &outboxtest.Calls{}
	queue := &outboxtest.Queue{Now: clock.Now, MaxDelay: maxDelay}
	options := outbox.Options{Now: clock.Now, NewID: newID, MaxDelay: maxDelay, Logger: slog.New(slog.DiscardHandler)}
	table := &outboxtest.Rows{}
	counted := &announcing{Queue: rows.Queue(queue)}
	store := outbox.New(rows.Rows(table), counted, options)
	sweeper := outbox.New(sweepRows.Rows(table), counted, options)
	aside := outbox.New(table, queue, options) // for what the test itself looks at
	keys := outbox.New(keyRows.Rows(&outboxtest.Rows{}), keyRows.Queue(&outboxtest.Queue{Now: clock.Now}), options)
	kek, err := secret.OpenLocalKey(filepath.Join(t.TempDir(), "root-key"))
	if err != nil {
		t.Fatal(err)
	}
	vault := secret.NewVault(keys, kek, clock.Now)
	sim, client := graphtest.New(t, graphsim.Options{Now: clock.Now})
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	runs := 0
	dispatcher := dispatch.New(store, store, []dispatch.Route{
		(&passcodereset.Handler{Devices: client, Vault: vault, Store: store, Schedule: passcodereset.DefaultSchedule}).Route(),
		(&announcement.Handler{Logger: logger}).Route(),
	}, dispatch.Options{Now: clock.Now, NewID: newID, Logger: logger, Observe: func(dispatch.Observation) { runs++ }})

	commit := func(u *work.Unit) {
		t.Helper()
		if err := u.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	unit := func(partition string) *work.Unit { return work.NewUnit(store, partition, clock.Now(), newID) }
	u := unit(tenant.Partition)
	if _, err := tenant.Add(u, contoso, "Contoso", events.Pinreset()); err != nil {
		t.Fatal(err)
	}
	commit(u)
	before := total(rows, keyRows)

	by := events.Actor{Kind: events.Operator, ID: "op-1"}
	u = unit(contoso)
	r, _, err := passcode.Accept(t.Context(), u, events.PasscodeResetRequested{
		RequestID: newID(), DeviceID: graphtest.DeviceID(t, sim, contoso, "sales-pixel-12"), Reason: "forgot it", By: by})
	if err != nil {
		t.Fatal(err)
	}
	commit(u)
	revealed, idle, swept := false, 0, 0
	for end := clock.Now().Add(9 * 24 * time.Hour); clock.Now().Before(end) && (queue.Live() > 0 || r.Code != nil); {
		due := queue.Due()
		for _, q := range due {
			receive(t, counted, store, dispatcher, q)
		}
		if r, err = passcode.Read(t.Context(), work.NewUnit(aside, contoso, clock.Now(), newID), r.ID); err != nil {
			t.Fatal(err)
		}
		if r.Code != nil && !revealed {
			revealed = true
			receipt, err := audit.Commit(t.Context(), unit(contoso), audit.Entry{Actor: by, Action: audit.PasscodeRevealed, RequestID: r.ID, Reason: "on the phone"}, r.Code.ID)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := vault.Open(t.Context(), *r.Code, secret.Binding{Tenant: contoso, Device: r.DeviceID, Request: r.ID}, receipt); err != nil {
				t.Fatal(err)
			}
		}
		if len(due) == 0 {
			step := time.Second
			if revealed {
				step = time.Minute // the code's end is a week away
				rowsBefore, sentBefore := total(sweepRows).Rows, total(rows).Sent
				if err := sweeper.Sweep(t.Context()); err != nil {
					t.Fatal(err)
				}
				if spent := total(sweepRows).Rows - rowsBefore; total(rows).Sent == sentBefore {
					idle = spent
				} else {
					swept += spent - idle
				}
			}
			clock.Advance(step)
		}
	}
	if !revealed || queue.Live() > 0 || r.Code != nil {
		t.Fatalf("the reset is %s; %d messages are left", r.State, queue.Live())
	}
	s := total(rows, keyRows)
	s.Rows += swept - before.Rows
	s.Sent -= before.Sent
	s.Runs, s.Calls, s.Announced = runs, 2, counted.n
	s.Logged = (log.Len() + 499) / 500 * 500 // the time in a line is of varying length
	return s
}

// receive takes one message that is due and runs it, as a host does to which messages are pushed.
func receive(t testing.TB, queue outbox.Queue, store *outbox.Store, dispatcher *dispatch.Dispatcher, q work.Queue) {
	t.Helper()
	parcels, err := queue.Receive(t.Context(), q, 1)
	if err != nil {
		t.Fatalf("receive from %s: %v", q, err)
	}
	for _, p := range parcels {
		d, err := store.Accept(t.Context(), p)
		if errors.Is(err, outbox.ErrSettled) {
			continue // sent on its next stretch
		}
		if err != nil {
			t.Fatalf("accept from %s: %v", q, err)
		}
		if err := dispatcher.Process(t.Context(), d); err != nil {
			t.Fatalf("process %s: %v", d.ID, err)
		}
	}
}

// total adds up what the services were asked for.
func total(all ...*outboxtest.Calls) (s Spent) {
	for _, c := range all {
		n := c.Counts()
		s.Rows += n["get"] + n["list"] + n["transact"]
		s.Sent += n["parcels"]
		s.Taken += n["receive"]
		s.Settled += n["complete"] + n["dead-letter"]
		s.Renewed += n["renew"]
	}
	return s
}
