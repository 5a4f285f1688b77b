package azure

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
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

// spent is what one reset costs the services, from the request to the end of its code a week later.
type spent struct {
	tables, bus, executions, logged int
	announced                       int // of bus: what goes to the topic too
}

// announcing counts what goes to the topic besides its queue: each announcement once, as the bus sends it.
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

// measure carries out one reset with the real handlers over counted services, and reveals its code once.
func measure(t *testing.T) spent {
	t.Helper()
	const contoso = graphsim.Contoso
	clock := clocktest.New(dispatchtest.Start)
	serial := 0
	newID := func() string { serial++; return fmt.Sprintf("01JDX%021d", serial) }
	rows, keyRows := &outboxtest.Calls{}, &outboxtest.Calls{}
	queue := &outboxtest.Queue{Now: clock.Now}
	options := outbox.Options{Now: clock.Now, NewID: newID, Logger: slog.New(slog.DiscardHandler)}
	table := &outboxtest.Rows{}
	topic := &announcing{Queue: rows.Queue(queue)}
	store := outbox.New(rows.Rows(table), topic, options)
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
	executions := 0
	dispatcher := dispatch.New(store, store, []dispatch.Route{
		(&passcodereset.Handler{Devices: client, Vault: vault, Store: store, Schedule: passcodereset.DefaultSchedule}).Route(),
		(&announcement.Handler{Logger: logger}).Route(),
	}, dispatch.Options{Now: clock.Now, NewID: newID, Logger: logger, Observe: func(dispatch.Observation) { executions++ }})

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
	executions++ // the request came by HTTP
	revealed := false
	for end := clock.Now().Add(9 * 24 * time.Hour); clock.Now().Before(end) && queue.Live() > 0; {
		due := queue.Due()
		for _, q := range due {
			receive(t, store, dispatcher, q)
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
			executions++
		}
		if len(due) == 0 {
			step := time.Second
			if revealed {
				step = 10 * time.Minute // the code's end is a week away
			}
			clock.Advance(step)
		}
	}
	if !revealed || queue.Live() > 0 {
		t.Fatalf("the reset is %s; %d messages are left", r.State, queue.Live())
	}
	s := total(rows, keyRows)
	lines := (log.Len() + 499) / 500 * 500 // the time in a line is of varying length
	return spent{tables: s.tables - before.tables, bus: s.bus - before.bus + topic.n, executions: executions, logged: lines, announced: topic.n}
}

// receive takes what is due and runs it, as the host's trigger does.
func receive(t *testing.T, store *outbox.Store, dispatcher *dispatch.Dispatcher, q work.Queue) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	deliveries, err := store.Receive(ctx, q, 1)
	if err != nil {
		t.Fatalf("receive from %s: %v", q, err)
	}
	for _, d := range deliveries {
		if err := dispatcher.Process(t.Context(), d); err != nil {
			t.Fatalf("process %s: %v", d.ID, err)
		}
	}
}

// total adds up what the services bill: every request to a table, and every call of a queue.
func total(all ...*outboxtest.Calls) (s spent) {
	for _, c := range all {
		n := c.Counts()
		s.tables += n["get"] + n["list"] + n["transact"]
		s.bus += n["parcels"] + n["receive"] + n["complete"] + n["renew"] + n["dead-letter"]
	}
	return s
}

// What no call tells, assumed: an execution is alone on its instance for the least time that is billed, a second; and the host
// logs a record of it of so many bytes.
const (
	leastSeconds = 1
	hostRecord   = 1500
)

// costs renders the README's table: what a million resets cost by the price list.
func costs(t *testing.T, s spent, gigabytes float64) string {
	t.Helper()
	var list struct {
		LookedUp string `json:"lookedUp"`
		Currency string `json:"currency"`
		Region   string `json:"region"`
		Note     string `json:"note"`
		Meters   map[string]struct {
			PerMillion float64 `json:"perMillion"`
			What       string  `json:"what"`
			Source     string  `json:"source"`
		} `json:"meters"`
	}
	if err := strictly(file(t, "prices.json"), &list); err != nil {
		t.Fatal(err)
	}
	if _, err := time.Parse(time.DateOnly, list.LookedUp); err != nil || list.Currency != "USD" {
		t.Fatalf("price list of %q in %q: %v", list.LookedUp, list.Currency, err)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "| billed, prices of %s | each reset | a million resets |\n|---|---|---|\n", list.LookedUp)
	sum, used := 0.0, 0
	for _, line := range []struct {
		meter, name string
		each        float64
		format      string
	}{
		{"serviceBusOperation", "Service Bus operations", float64(s.bus), "%.0f"},
		{"tableTransaction", "requests to Table storage", float64(s.tables), "%.0f"},
		{"execution", "executions", float64(s.executions), "%.0f"},
		{"gigabyteSecond", "gigabyte-seconds", float64(s.executions) * leastSeconds * gigabytes, "%.1f"},
		{"logGigabyte", "gigabytes of logs", float64(s.logged+s.executions*hostRecord) / 1e9, "%.7f"},
	} {
		m, ok := list.Meters[line.meter]
		if !ok || m.PerMillion <= 0 || m.What == "" || !strings.HasPrefix(m.Source, "https://azure.microsoft.com/pricing/") {
			t.Fatalf("the price of %s is %+v", line.meter, m)
		}
		used++
		sum += line.each * m.PerMillion
		fmt.Fprintf(&text, "| %s | "+line.format+" | $%.2f |\n", line.name, line.each, line.each*m.PerMillion)
	}
	if used != len(list.Meters) {
		t.Errorf("%d of %d prices are used", used, len(list.Meters))
	}
	fmt.Fprintf(&text, "| **together** | | **$%.2f** |\n", sum)
	return text.String()
}

// TestCost: the README's costs are those of the operations that the real handlers make today, by the price list.
func TestCost(t *testing.T) {
	t.Parallel()
	s := measure(t)
	t.Logf("%+v", s)
	if s.tables < 10 || s.bus < 10 || s.executions < 5 || s.announced == 0 {
		t.Fatalf("%+v: nothing was counted", s)
	}
	table := costs(t, s, 0.5)
	if !bytes.Contains(file(t, "README.md"), []byte(table)) {
		t.Errorf("README.md must say:\n%s", table)
	}
	s.bus++
	if other := costs(t, s, 0.5); other == table {
		t.Error("one operation more costs nothing")
	}
}
