package servicebus

import (
	"encoding/hex"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
	"pinreset/shared/work/outbox/outboxtest"
)

var _ outbox.Queue = Pushed{}

// TestPushed: a host takes the messages from the queue by a client of its own, hands them to the program, and completes them.
func TestPushed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	store := outbox.New(&outboxtest.Rows{}, Pushed{r.Bus}, outbox.Options{NewID: numbered(), Now: r.clock.Now, Logger: slog.New(slog.DiscardHandler)})
	host, err := r.client(t).NewReceiverForQueue(string(queue), nil)
	if err != nil {
		t.Fatal(err)
	}
	push := func() (*azservicebus.ReceivedMessage, work.Delivery, error) {
		t.Helper()
		messages, err := host.ReceiveMessages(r.ctx, 1, nil)
		if err != nil || len(messages) != 1 {
			t.Fatalf("the host got %d messages: %v", len(messages), err)
		}
		m := messages[0]
		d, err := store.Accept(r.ctx, outbox.Received{
			Queue: queue, Attributes: attributes(m), Body: m.Body, Deliveries: int(m.DeliveryCount),
			Token: hex.EncodeToString(m.LockToken[:]), LockedUntil: *m.LockedUntil,
		})
		return m, d, err
	}
	accepted := work.Batch{Partition: "tenant-a", Messages: []work.Message{{ID: "m", Queue: queue, Partition: "tenant-a", Body: []byte("{}")}}}
	if err := store.Commit(r.ctx, accepted); err != nil {
		t.Fatal(err)
	}

	// Put off: a copy waits for its time, and the host completes the first.
	m, d, err := push()
	if err != nil || d.ID != "m" || d.Deliveries != 1 {
		t.Fatalf("delivery %d of %s: %v", d.Deliveries, d.ID, err)
	}
	if err := store.Settle(r.ctx, d, work.Batch{}, work.Outcome{Kind: work.Retry, At: r.clock.Now().Add(time.Hour)}); err != nil {
		t.Fatalf("Settle: %v", err)
	}
	r.wantLeft(t, string(queue), 0, 1, 0)
	if err := host.CompleteMessage(r.ctx, m, nil); err != nil {
		t.Errorf("the host completes: %v", err)
	}
	r.wantLeft(t, string(queue), 0, 0, 0)

	// Done, but the host never hears of it: the message comes again, asks for nothing, and is completed.
	r.clock.Advance(time.Hour)
	if _, d, err = push(); err != nil || d.Deliveries != 2 {
		t.Fatalf("delivery %d of %s: %v, want the second", d.Deliveries, d.ID, err)
	}
	if err := store.Settle(r.ctx, d, work.Batch{}, work.Outcome{}); err != nil {
		t.Fatalf("Settle: %v", err)
	}
	r.clock.Advance(lock)
	m, _, err = push()
	if !errors.Is(err, outbox.ErrSettled) {
		t.Fatalf("Accept of a message that is done: %v, want ErrSettled", err)
	}
	if err := host.CompleteMessage(r.ctx, m, nil); err != nil {
		t.Errorf("the host completes: %v", err)
	}
	r.wantLeft(t, string(queue), 0, 0, 0)
}
