package servicebus

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
	"pinreset/shared/work/servicebus/servicebustest"
)

const (
	queue work.Queue = "queue"
	other work.Queue = "queue-bulk"
	topic            = "topic"
	lock             = time.Minute
)

// patient is how long a test waits for what must happen.
const patient = 30 * time.Second

// rig is a bus, its server, and the server's clock.
type rig struct {
	*Bus
	server *servicebustest.Server
	clock  *servicebustest.ManualClock
	ctx    context.Context
}

func newRig(t *testing.T, change ...func(*Options)) *rig {
	t.Helper()
	clock := servicebustest.NewManualClock(time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC))
	server := startServer(t, servicebustest.Config{Clock: clock})
	r := &rig{server: server, clock: clock}
	var cancel context.CancelFunc
	r.ctx, cancel = context.WithTimeout(t.Context(), patient)
	t.Cleanup(cancel)
	r.Bus = r.open(t, change...)
	return r
}

// startServer starts a server with the entities that tests use.
func startServer(t testing.TB, c servicebustest.Config) *servicebustest.Server {
	t.Helper()
	for _, q := range []work.Queue{queue, other} {
		c.Queues = append(c.Queues, servicebustest.Queue{
			Name: string(q), DuplicateWindow: 10 * time.Minute,
			Delivery: servicebustest.Delivery{LockDuration: lock, MaxDeliveryCount: 1000},
		})
	}
	c.Topics = append(c.Topics, servicebustest.Topic{
		Name: topic, DuplicateWindow: 10 * time.Minute, Subscriptions: []servicebustest.Subscription{{Name: "siem"}},
	})
	return servicebustest.New(t, c)
}

// open opens a bus, as another process would.
func (r *rig) open(t testing.TB, change ...func(*Options)) *Bus {
	t.Helper()
	o := Options{ConnectionString: r.server.ConnectionString(), Now: r.clock.Now}
	for _, c := range change {
		c(&o)
	}
	b, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return b
}

func parcel(id string) outbox.Parcel {
	return outbox.Parcel{
		ID: id, Queue: queue, Body: []byte(`{"for":"` + id + `"}`),
		Attributes: map[string]string{outbox.AttributePartition: "tenant-a", outbox.AttributeMessage: id, outbox.AttributeAttempt: "1"},
	}
}

func (r *rig) send(t *testing.T, parcels ...outbox.Parcel) {
	t.Helper()
	if err := r.Send(r.ctx, parcels); err != nil {
		t.Fatalf("Send: %v", err)
	}
}

// take receives the one parcel that is due.
func (r *rig) take(t *testing.T) outbox.Received {
	t.Helper()
	got, err := r.Receive(r.ctx, queue, 1)
	if err != nil || len(got) != 1 {
		t.Fatalf("Receive: %d parcels, %v, want one", len(got), err)
	}
	return got[0]
}

func (r *rig) complete(t *testing.T, p outbox.Received) {
	t.Helper()
	if err := r.Complete(r.ctx, p.Queue, p.Token); err != nil {
		t.Fatalf("Complete: %v", err)
	}
}

// wantNothingDue checks that the queue has nothing to hand out, without waiting for it: a marker is all that comes.
func (r *rig) wantNothingDue(t *testing.T) {
	t.Helper()
	r.send(t, parcel(fmt.Sprintf("marker-%d", r.clock.Now().UnixNano())))
	for {
		got, err := r.Receive(r.ctx, queue, 10)
		if err != nil {
			t.Fatalf("Receive: %v", err)
		}
		marked := false
		for _, p := range got {
			if id := p.Attributes[outbox.AttributeMessage]; len(id) > 7 && id[:7] == "marker-" {
				marked = true
				r.complete(t, p)
			} else {
				t.Errorf("%s came, delivery %d", id, p.Deliveries)
			}
		}
		if marked {
			r.clock.Advance(time.Millisecond) // so that the next marker is another one
			return
		}
	}
}

// wantLeft checks how many messages the entity has left, in hands and dead.
func (r *rig) wantLeft(t *testing.T, entity string, active, locked, dead int) {
	t.Helper()
	c := r.server.Counts(entity)
	if c.Active != active || c.Locked != locked || c.DeadLettered != dead {
		t.Errorf("%s has %d active, %d locked and %d dead messages, want %d, %d and %d",
			entity, c.Active, c.Locked, c.DeadLettered, active, locked, dead)
	}
}

// client is the library's own client on the same server, to see what the bus does.
func (r *rig) client(t *testing.T) *azservicebus.Client {
	t.Helper()
	c, err := azservicebus.NewClientFromConnectionString(r.server.ConnectionString(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(context.WithoutCancel(t.Context())) })
	return c
}
