package azure_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/shared/dispatch"
	"pinreset/shared/fault"
	"pinreset/shared/host/azure"
	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
	"pinreset/shared/work/outbox/outboxtest"
)

const (
	tenant = "0b7e2d4c-6a51-4f3e-9d28-5c1a7f90e364"
	device = "5f0c3a91-27de-4b68-8e14-d3b96a7c0f52"
)

// pushing is a real dispatcher over an outbox whose parcels the host pushes. The test does the host's part with the queue.
type pushing struct {
	*served
	t     *testing.T
	queue *outboxtest.Queue
	rows  *outboxtest.Calls
	store *outbox.Store
	ids   func() string
	runs  atomic.Int64
	then  error // what the next run ends with
}

func startPushing(t *testing.T) *pushing {
	t.Helper()
	p := &pushing{t: t, queue: &outboxtest.Queue{}, rows: &outboxtest.Calls{}, ids: ids()}
	p.store = outbox.New(p.rows.Rows(&outboxtest.Rows{}), azure.Queue{Queue: p.queue}, outbox.Options{NewID: p.ids, Logger: slog.New(slog.DiscardHandler)})
	route := dispatch.Route{Function: "passcodereset", Queue: "resets", Handlers: []dispatch.Handler{
		dispatch.On(func(_ context.Context, u *work.Unit, e events.Event, d events.PasscodeExpired) error {
			p.runs.Add(1)
			return errors.Join(u.Put("run "+e.ID, d), p.then)
		}, nil),
	}}
	d := dispatch.New(p.store, p.store, []dispatch.Route{route}, dispatch.Options{Now: time.Now, NewID: p.ids})
	p.served = serve(t, azure.Options{}, with(azure.Functions{
		Queues: map[string]work.Queue{"passcodereset": "resets"}, Intake: azure.Parcels{Store: p.store}, Processor: d,
	}))
	return p
}

func ids() func() string {
	var mu sync.Mutex
	n := 0
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		n++
		return fmt.Sprintf("01%024d", n)
	}
}

// send commits a message and returns its parcel, as the host gets it.
func (p *pushing) send() outbox.Received {
	p.t.Helper()
	u := work.NewUnit(p.store, tenant, time.Now(), p.ids)
	if _, err := u.Send(p.t.Context(), "resets", time.Time{}, events.PasscodeExpired{RequestID: "r", DeviceID: device}); err != nil {
		p.t.Fatal(err)
	}
	if err := u.Commit(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	parcels, err := p.queue.Receive(p.t.Context(), "resets", 1)
	if err != nil {
		p.t.Fatal(err)
	}
	return parcels[0]
}

// push posts the parcel as the host does.
func (p *pushing) push(r outbox.Received) int {
	p.t.Helper()
	body, err := json.Marshal(map[string]any{
		"Data": map[string]string{"message": base64.StdEncoding.EncodeToString(r.Body)},
		"Metadata": map[string]any{
			"MessageId": `"parcel"`, "LockToken": strconv.Quote(r.Token), "DeliveryCount": strconv.Itoa(r.Deliveries), "ApplicationProperties": r.Attributes,
			"ExpiresAt": r.LockedUntil.UTC().Format("2006-01-02T15:04:05") + "+00:00",
		},
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return p.invoke("passcodereset", string(body))
}

// complete is what the host does after a success.
func (p *pushing) complete(r outbox.Received) {
	p.t.Helper()
	if err := p.queue.Complete(p.t.Context(), r.Queue, r.Token); err != nil {
		p.t.Fatal(err)
	}
}

// TestPushedParcelIsSettledByTheHost: the run is committed before the answer, and the parcel stays for the host to complete. When the host
// does not, because the answer was lost, the message comes again and is not run again.
func TestPushedParcelIsSettledByTheHost(t *testing.T) {
	t.Parallel()
	p := startPushing(t)
	parcel := p.send()
	for turn := range 2 {
		if status := p.push(parcel); status != http.StatusOK || p.runs.Load() != 1 || p.queue.Live() != 1 {
			t.Errorf("turn %d: %d after %d runs, %d parcels", turn, status, p.runs.Load(), p.queue.Live())
		}
	}
	page, err := p.store.List(t.Context(), work.Query{Partition: tenant, Prefix: "run "})
	if err != nil || len(page.Rows) != 1 {
		t.Errorf("%d rows: %v", len(page.Rows), err)
	}
	if p.complete(parcel); p.queue.Live() != 0 {
		t.Errorf("%d parcels are left", p.queue.Live())
	}
	p.end()
}

// TestPushedParcelThatIsPutOff: not now is a success for the host, and a parcel of its own for later.
func TestPushedParcelThatIsPutOff(t *testing.T) {
	t.Parallel()
	for name, then := range map[string]error{"later": fault.After(time.Hour, fault.WaitingForTrace, errors.New("the device is off")), "again": errors.New("something else")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startPushing(t)
			p.then = then
			parcel := p.send()
			if status := p.push(parcel); status != http.StatusOK || p.queue.Live() != 2 {
				t.Errorf("answered %d, %d parcels", status, p.queue.Live())
			}
			if status := p.push(parcel); status != http.StatusOK || p.runs.Load() != 1 { // its answer was lost
				t.Errorf("answered %d after %d runs", status, p.runs.Load())
			}
			if p.complete(parcel); p.queue.Live() != 1 {
				t.Errorf("%d parcels are left", p.queue.Live())
			}
			p.end()
		})
	}
}

// TestPushedParcelThatCannotBeTaken: what somebody else sent, and what can't be looked up now, the host gets back.
func TestPushedParcelThatCannotBeTaken(t *testing.T) {
	t.Parallel()
	p := startPushing(t)
	stranger := outbox.Received{Queue: "resets", Body: []byte("hello"), Token: "t", Deliveries: 1}
	if status := p.push(stranger); status != http.StatusInternalServerError || len(p.queue.Dead()) > 0 {
		t.Errorf("a stranger's message: %d, set aside %v", status, p.queue.Dead())
	}
	parcel := p.send()
	p.rows.Fail = func(_ int, name string) outboxtest.Fault {
		if name == "get" {
			return outboxtest.NotMade
		}
		return outboxtest.None
	}
	if status := p.push(parcel); status != http.StatusInternalServerError || p.runs.Load() > 0 {
		t.Errorf("a row that can't be read: %d after %d runs", status, p.runs.Load())
	}
	p.rows.Fail = nil
	if status := p.push(parcel); status != http.StatusOK || p.runs.Load() != 1 {
		t.Errorf("the same later: %d after %d runs", status, p.runs.Load())
	}
	p.end()
}

// TestPullingBesidePushing: parcels that the process takes from the queue itself are settled there.
func TestPullingBesidePushing(t *testing.T) {
	t.Parallel()
	p := startPushing(t)
	q := azure.Queue{Queue: p.queue}
	for settle, left := range map[string]int{"complete": 0, "set aside": 0} {
		parcel := p.send()
		until, err := q.Renew(t.Context(), parcel.Queue, parcel.Token)
		if err != nil || !until.After(time.Now()) {
			t.Errorf("Renew: %s, %v", until, err)
		}
		if settle == "complete" {
			err = q.Complete(t.Context(), parcel.Queue, parcel.Token)
		} else {
			err = q.DeadLetter(t.Context(), parcel.Queue, parcel.Token, "reason", "")
		}
		if err != nil || p.queue.Live() != left {
			t.Errorf("%s: %v, %d parcels are left", settle, err, p.queue.Live())
		}
	}
	p.end()
}
