package servicebus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
)

// gather is how long a receiver that has a message waits for more to come with it. The library's own 20 ms would be most of
// what a person's reset spends in a queue; much less, and most of a batch would come when nobody waits for it.
const gather = 5 * time.Millisecond

// maxReceive is the most that one call asks for. What a call asked for and did not get stays promised to its link: messages
// that come when nobody waits any more are given back by the library, one way each.
const maxReceive = 100

// Receive waits until a parcel of the queue is due and returns up to limit of them.
func (b *Bus) Receive(ctx context.Context, queue work.Queue, limit int) ([]outbox.Received, error) {
	if err := b.begin(); err != nil {
		return nil, err
	}
	defer b.under.Done()
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.life, cancel)()
	parcels, err := b.inlet(queue).receive(waiting, min(max(limit, 1), maxReceive))
	switch {
	case err == nil:
		return parcels, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case b.life.Err() != nil:
		return nil, ErrClosed
	}
	return nil, err
}

// inlet receives from one queue. It hands its receivers out one caller at a time, the last used first: one that rests too long
// with messages on their way to it gives them back, which costs a way.
type inlet struct {
	bus   *Bus
	queue work.Queue
	slots chan struct{} // one for each receiver that is in use

	mu   sync.Mutex
	taps []*tap // at rest
	any  *tap   // one of all, for what any link can do
	held map[string]*held
	full int // how many are held when those whose lock has ended are looked for
}

func newInlet(b *Bus, q work.Queue) *inlet {
	return &inlet{
		bus: b, queue: q, slots: make(chan struct{}, max(b.o.Receivers[q], 1)),
		held: map[string]*held{}, full: 256,
	}
}

// tap is a receiver of the library, and the next one when that has gone deaf.
type tap struct {
	receiver atomic.Pointer[azservicebus.Receiver]
	// breaks counts the times that the link was lost. A message that came before the last one can't be settled on it.
	breaks atomic.Int64
	quiet  int // receives in a row that got nothing
}

func (in *inlet) receive(ctx context.Context, limit int) ([]outbox.Received, error) {
	// A link that is opened with a context that has ended costs everybody the connection: the library later ends a session that it
	// never began.
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case in.slots <- struct{}{}:
		defer func() { <-in.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	t, err := in.take()
	if err != nil {
		return nil, err
	}
	defer in.rest(t)
	for failures := 0; ; {
		messages, err := t.poll(ctx, in.bus.poll, limit)
		switch {
		case len(messages) > 0:
			t.quiet = 0
			return in.hold(t, messages), nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			failures = 0
			if t.quiet++; t.quiet >= in.bus.deaf {
				t.quiet = 0
				if err := in.replace(ctx, t, t.receiver.Load()); err != nil {
					return nil, err
				}
			}
		case err != nil:
			t.breaks.Add(1)
			return nil, explain(err, "receive from", in.bus.queueName(in.queue))
		default:
			t.breaks.Add(1)
			if failures++; failures > 1 {
				if err := pause(ctx, failures); err != nil {
					return nil, err
				}
			}
		}
	}
}

// poll receives once. It returns neither messages nor an error when the link broke and can be had again. A message whose
// properties are not of the types that the library takes for granted makes it panic: that is an error, and the message comes
// again when its lock ends, until the service sets it aside.
func (t *tap) poll(ctx context.Context, patience time.Duration, limit int) (messages []*azservicebus.ReceivedMessage, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			messages, err = nil, fmt.Errorf("the client library can't read a message: %v", v)
		}
	}()
	r := t.receiver.Load()
	messages, err = r.ReceiveMessages(ctx, limit, &azservicebus.ReceiveMessagesOptions{TimeAfterFirstMessage: gather})
	if err != nil && ctx.Err() == nil && t.receiver.Load() != r {
		return nil, nil // it was closed under our hands; see replace
	}
	return messages, err
}

// pause waits between attempts that failed, longer each time.
func pause(ctx context.Context, failures int) error {
	timer := time.NewTimer(min(10*time.Millisecond<<min(failures, 10), 5*time.Second))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// take returns a receiver at rest, or a new one. The caller has a slot.
func (in *inlet) take() (*tap, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if n := len(in.taps); n > 0 {
		t := in.taps[n-1]
		in.taps = in.taps[:n-1]
		return t, nil
	}
	return in.open()
}

func (in *inlet) rest(t *tap) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.taps = append(in.taps, t)
}

func (in *inlet) open() (*tap, error) {
	r, err := in.newReceiver()
	if err != nil {
		return nil, err
	}
	t := &tap{}
	t.receiver.Store(r)
	if in.any == nil {
		in.any = t
	}
	return t, nil
}

func (in *inlet) newReceiver() (*azservicebus.Receiver, error) {
	r, err := in.bus.client.NewReceiverForQueue(in.bus.queueName(in.queue), nil)
	if err != nil {
		return nil, explain(err, "receive from", in.bus.queueName(in.queue))
	}
	return r, nil
}

// replace puts a new receiver in the place of one that does not answer: that got nothing for long, or renewed nothing.
func (in *inlet) replace(ctx context.Context, t *tap, old *azservicebus.Receiver) error {
	r, err := in.newReceiver()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if !t.receiver.CompareAndSwap(old, r) {
		old = r // somebody else was first
	}
	t.breaks.Add(1)
	if err := old.Close(ctx); err != nil {
		in.bus.o.Logger.WarnContext(ctx, "close receiver", "queue", string(in.queue), "cause", err.Error())
	}
	return nil
}

// attributes are the properties that the parcel was sent with; what others may have put on a message is left out unless it is
// text.
func attributes(m *azservicebus.ReceivedMessage) map[string]string {
	all := make(map[string]string, len(m.ApplicationProperties))
	for name, value := range m.ApplicationProperties {
		if text, ok := value.(string); ok && name != diagnosticID {
			all[name] = text
		}
	}
	if trace, ok := m.ApplicationProperties[diagnosticID].(string); ok && all[outbox.AttributeTraceParent] == "" {
		all[outbox.AttributeTraceParent] = trace
	}
	return all
}
