package sqs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"pinreset/shared/awsapi"
	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
)

// Names of the attributes of a copy in a dead-letter queue, and how long their values may be.
const (
	AttributeReason      = "pinreset-dead-reason"
	AttributeDescription = "pinreset-dead-description"
	maxReason            = 256
	maxDescription       = 2048
	maxAttributes        = 10 // of a message
)

// Receive waits until a parcel of the queue is due and returns up to limit of them, at most ten.
func (q *Queues) Receive(ctx context.Context, queue work.Queue, limit int) ([]outbox.Received, error) {
	in := map[string]any{
		"QueueUrl": q.url(queue), "MaxNumberOfMessages": min(limit, maxBatch), "WaitTimeSeconds": seconds(maxWait),
		"VisibilityTimeout": seconds(q.o.Visibility), "MessageAttributeNames": []string{"All"},
		"MessageSystemAttributeNames": []string{"ApproximateReceiveCount"},
	}
	for {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var out struct {
			Messages []struct {
				Body, ReceiptHandle string
				Attributes          map[string]string
				MessageAttributes   map[string]attribute
			}
		}
		if err := q.call(ctx, "ReceiveMessage", maxWait+callTimeout, in, &out); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, q.explain(err, "receive from", queue)
		}
		until := q.o.Now().Add(q.o.Visibility).UTC()
		var parcels []outbox.Received
		for _, m := range out.Messages {
			p := outbox.Received{
				Queue: queue, Attributes: map[string]string{}, Deliveries: count(m.Attributes["ApproximateReceiveCount"]),
				Token: m.ReceiptHandle, LockedUntil: until,
			}
			for name, a := range m.MessageAttributes {
				if a.DataType == "String" {
					p.Attributes[name] = a.StringValue
				}
			}
			var ok bool
			if p.Body, ok = Decode(m.Body, p.Attributes); ok {
				delete(p.Attributes, AttributeEncoding)
			}
			parcels = append(parcels, p)
		}
		if ctx.Err() != nil { // nobody waits any more
			for _, p := range parcels {
				q.release(ctx, queue, p.Token)
			}
			return nil, ctx.Err()
		}
		for _, p := range parcels {
			q.Hold(p)
		}
		if len(parcels) > 0 {
			return parcels, nil
		}
	}
}

// release makes a message visible again, where it can: it comes again by itself too.
func (q *Queues) release(ctx context.Context, queue work.Queue, token string) {
	_ = q.visible(context.WithoutCancel(ctx), queue, token, 0)
}

// Hold remembers a parcel that a host was given by the platform, so that DeadLetter can make a copy of it. What Receive returns is
// remembered already.
func (q *Queues) Hold(p outbox.Received) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.o.Now()
	q.held[p.Token] = held{parcel: p, until: p.LockedUntil}
	if len(q.held) >= q.full {
		// Whoever was refused a commit never settles. Their time ends, and they are forgotten then.
		maps.DeleteFunc(q.held, func(_ string, h held) bool { return h.until.Before(now) })
		q.full = max(256, 2*len(q.held))
	}
}

// Return makes a parcel visible again after a time of up to 12 hours.
func (q *Queues) Return(ctx context.Context, queue work.Queue, token string, after time.Duration) error {
	if err := q.visible(ctx, queue, token, min(max(after, 0), maxVisible)); err != nil && !gone(err) {
		return q.explain(err, "return message to", queue)
	}
	q.forget(token)
	return nil
}

// Renew holds the parcel for another visibility and returns until when, or work.ErrLeaseLost.
func (q *Queues) Renew(ctx context.Context, queue work.Queue, token string) (time.Time, error) {
	from := q.o.Now()
	switch err := q.visible(ctx, queue, token, q.o.Visibility); {
	case gone(err):
		q.forget(token)
		return time.Time{}, fmt.Errorf("hold message for longer: %w", work.ErrLeaseLost)
	case err != nil:
		return time.Time{}, q.explain(err, "hold message of", queue)
	}
	until := from.Add(q.o.Visibility).UTC()
	q.mu.Lock()
	defer q.mu.Unlock()
	if h, ok := q.held[token]; ok {
		h.until = until
		q.held[token] = h
	}
	return until, nil
}

func (q *Queues) visible(ctx context.Context, queue work.Queue, token string, after time.Duration) error {
	in := map[string]any{"QueueUrl": q.url(queue), "ReceiptHandle": token, "VisibilityTimeout": seconds(after)}
	return q.call(ctx, "ChangeMessageVisibility", callTimeout, in, nil)
}

// gone reports whether a receipt handle holds nothing any more. SQS names a handle whose time is over as a wrong parameter.
func gone(err error) bool {
	var refused *awsapi.Error
	return errors.As(err, &refused) && slices.Contains([]string{"MessageNotInflight", "ReceiptHandleIsInvalid", "InvalidParameterValue",
		"AWS.SimpleQueueService.MessageNotInflight"}, refused.Code)
}

// Complete removes the parcel. A token that holds nothing any more is no error.
func (q *Queues) Complete(ctx context.Context, queue work.Queue, token string) error {
	in := map[string]any{"QueueUrl": q.url(queue), "ReceiptHandle": token}
	if err := q.call(ctx, "DeleteMessage", callTimeout, in, nil); err != nil && !gone(err) {
		return q.explain(err, "delete message of", queue)
	}
	q.forget(token)
	return nil
}

// DeadLetter sends a copy to the queue's dead-letter queue and deletes the parcel. The reason and the description are in
// the copy's attributes, cut where they are long; where there is no room for them, attributes of the parcel's are left out, last names first.
// ErrNotHeld where this process did not receive the parcel: the queue's redrive policy sets it aside in the end, without a reason.
func (q *Queues) DeadLetter(ctx context.Context, queue work.Queue, token, reason, description string) error {
	q.mu.Lock()
	h, ok := q.held[token]
	q.mu.Unlock()
	if !ok {
		return fmt.Errorf("set message of %s aside: %w", queue, ErrNotHeld)
	}
	copied := outbox.Parcel{Queue: queue + DeadSuffix, Body: h.parcel.Body, Attributes: map[string]string{
		AttributeReason: cut(reason, maxReason), AttributeDescription: cut(description, maxDescription)}}
	for _, name := range slices.Sorted(maps.Keys(h.parcel.Attributes)) {
		if len(copied.Attributes) < maxAttributes-1 { // the encoding's is left room for
			copied.Attributes[name] = h.parcel.Attributes[name]
		}
	}
	if err := q.Send(ctx, []outbox.Parcel{copied}); err != nil {
		return err
	}
	return q.Complete(ctx, queue, token)
}

func (q *Queues) forget(token string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.held, token)
}

// cut returns a text that SQS takes as an attribute's value, of at most limit bytes, that ends on a whole character.
func cut(text string, limit int) string {
	if !plain(text) {
		text = fmt.Sprintf("%q", text)
	}
	if len(text) > limit {
		for limit > 0 && text[limit]&0xc0 == 0x80 {
			limit--
		}
		text = text[:limit]
	}
	return text
}
