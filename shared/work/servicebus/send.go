package servicebus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
)

// maxBatch is how many messages go into one batch: what the service takes in one transaction ("Service Bus quotas").
const maxBatch = 100

// Send puts the parcels into their queues, and a copy into the queue's topic where it has one. It returns when the service has
// taken all of them. A parcel that is too large is a work.ErrTooLarge; the others are sent all the same.
func (b *Bus) Send(ctx context.Context, parcels []outbox.Parcel) error {
	if err := b.begin(); err != nil {
		return err
	}
	defer b.under.Done()
	shipments := map[string]*shipment{}
	for _, p := range parcels {
		m := b.message(p)
		for _, entity := range b.targets(p) {
			s := shipments[entity]
			if s == nil {
				s = &shipment{done: make(chan struct{})}
				shipments[entity] = s
			}
			s.messages = append(s.messages, m)
		}
	}
	for entity, s := range shipments {
		b.outlet(entity).add(s)
	}
	var errs []error
	for _, s := range shipments {
		select {
		case <-s.done:
			errs = append(errs, s.err)
		case <-ctx.Done():
			// What is on its way may still arrive; whoever sends it again sends it under the same id.
			return fmt.Errorf("send messages: %w", ctx.Err())
		}
	}
	return errors.Join(errs...)
}

// targets are the entities that the parcel goes to. What was put off stays with its queue: the topic has had it.
func (b *Bus) targets(p outbox.Parcel) []string {
	var targets []string
	if !b.o.TopicsOnly {
		targets = append(targets, b.queueName(p.Queue))
	}
	if topic, ok := b.o.Topics[p.Queue]; ok && p.Attributes[outbox.AttributeAttempt] == "1" {
		targets = append(targets, b.o.Prefix+topic)
	}
	return targets
}

// shipment is what one caller sends to one entity.
type shipment struct {
	messages []*azservicebus.Message
	left     int // of messages; guarded by the outlet
	err      error
	done     chan struct{}
}

// outlet sends to one entity. While one batch is on its way the next gathers, so callers that send at the same time share the
// way, and one that sends alone waits for nobody.
type outlet struct {
	bus    *Bus
	entity string

	mu      sync.Mutex
	sender  *azservicebus.Sender
	waiting []item
	busy    bool
}

type item struct {
	message *azservicebus.Message
	of      *shipment
}

func (out *outlet) add(s *shipment) {
	out.mu.Lock()
	defer out.mu.Unlock()
	s.left = len(s.messages)
	for _, m := range s.messages {
		out.waiting = append(out.waiting, item{m, s})
	}
	if !out.busy {
		out.busy = true
		out.bus.under.Add(1) // its caller is under way, so Close still waits
		go out.run()
	}
}

// run sends until nothing waits.
func (out *outlet) run() {
	defer out.bus.under.Done()
	for {
		out.mu.Lock()
		items := out.waiting
		out.waiting = nil
		if len(items) == 0 {
			out.busy = false
			out.mu.Unlock()
			return
		}
		out.mu.Unlock()
		out.ship(items)
	}
}

// ship sends the items in as few batches as may be. Messages for now and for later go in batches of their own, because the
// library copies the first message's due time to the envelope.
func (out *outlet) ship(items []item) {
	var now, later []item
	for _, i := range items {
		if i.message.ScheduledEnqueueTime == nil {
			now = append(now, i)
		} else {
			later = append(later, i)
		}
	}
	for _, rest := range [][]item{now, later} {
		for len(rest) > 0 {
			n, err := out.shipSome(rest)
			if err != nil && !errors.Is(err, work.ErrTooLarge) {
				// The way is blocked: whoever waits behind would only wait as long again.
				n = len(rest)
			}
			out.settle(rest[:n], err)
			rest = rest[n:]
		}
	}
}

// shipSome sends as many of the first items as one batch takes and returns how many those are. The error is all of theirs.
func (out *outlet) shipSome(items []item) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), out.bus.sending)
	defer cancel()
	sender, err := out.open()
	if err != nil {
		return len(items), explain(err, "send to", out.entity)
	}
	defer func() {
		if ctx.Err() != nil {
			out.drop(sender)
		}
	}()
	batch, err := sender.NewMessageBatch(ctx, nil)
	if err != nil {
		return len(items), explain(err, "send to", out.entity)
	}
	n := 0
	for n < min(len(items), maxBatch) {
		err := batch.AddMessage(items[n].message, nil)
		if errors.Is(err, azservicebus.ErrMessageTooLarge) && n > 0 {
			break
		}
		if errors.Is(err, azservicebus.ErrMessageTooLarge) {
			return 1, fmt.Errorf("send to %s: message of %d bytes and its properties are more than the entity takes: %w",
				out.entity, len(items[0].message.Body), work.ErrTooLarge)
		}
		if err != nil {
			return len(items), explain(err, "send to", out.entity)
		}
		n++
	}
	if err := sender.SendMessageBatch(ctx, batch, nil); err != nil {
		return n, explain(err, "send to", out.entity)
	}
	return n, nil
}

func (out *outlet) open() (*azservicebus.Sender, error) {
	out.mu.Lock()
	defer out.mu.Unlock()
	if out.sender == nil {
		s, err := out.bus.client.NewSender(out.entity, nil)
		if err != nil {
			return nil, err
		}
		out.sender = s
	}
	return out.sender, nil
}

// drop gives up a sender that does not answer; the next batch goes by another.
func (out *outlet) drop(sender *azservicebus.Sender) {
	out.mu.Lock()
	if out.sender == sender {
		out.sender = nil
	}
	out.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := sender.Close(ctx); err != nil {
		out.bus.o.Logger.WarnContext(ctx, "close sender", "entity", out.entity, "cause", err.Error())
	}
}

// settle tells the callers that have no more items on their way.
func (out *outlet) settle(items []item, err error) {
	out.mu.Lock()
	defer out.mu.Unlock()
	for _, i := range items {
		i.of.left--
		if err != nil && i.of.err == nil {
			i.of.err = err
		}
		if i.of.left == 0 {
			close(i.of.done)
		}
	}
}

// message returns the parcel as the service carries it.
func (b *Bus) message(p outbox.Parcel) *azservicebus.Message {
	contentType := "application/cloudevents+json"
	m := &azservicebus.Message{
		MessageID: &p.ID, ContentType: &contentType, Body: p.Body,
		ApplicationProperties: make(map[string]any, len(p.Attributes)+1),
	}
	for name, value := range p.Attributes {
		m.ApplicationProperties[name] = value
	}
	if trace := p.Attributes[outbox.AttributeTraceParent]; trace != "" {
		m.ApplicationProperties[diagnosticID] = trace
	}
	if kind := typeOf(p.Body); kind != "" {
		m.Subject = &kind
	}
	if p.Due.After(b.o.Now()) {
		due := p.Due.UTC().Truncate(time.Millisecond) // what AMQP's timestamp carries
		m.ScheduledEnqueueTime = &due
	}
	return m
}

// typeOf is the type of the event in the body, by which subscriptions to a topic can choose; "" for a body that is no event.
func typeOf(body []byte) string {
	var event struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(body, &event) != nil {
		return ""
	}
	return event.Type
}

// diagnosticID is the property under which Azure's libraries carry a trace ("Distributed tracing and correlation through
// Service Bus messaging"); traceparent is what OpenTelemetry looks for.
const diagnosticID = "Diagnostic-Id"
