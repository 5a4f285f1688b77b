package sqs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"pinreset/shared/awsapi"
	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
)

// entry is a message of a batch.
type entry struct {
	ID           string `json:"Id"`
	MessageBody  string
	DelaySeconds int                  `json:",omitempty"`
	Attributes   map[string]attribute `json:"MessageAttributes,omitempty"`
	size         int
}

// Send puts the parcels into their queues, and a copy into the queue's topic where it has one. A parcel that is too large is a work.ErrTooLarge; the others are sent all the same.
func (q *Queues) Send(ctx context.Context, parcels []outbox.Parcel) error {
	var (
		order   []work.Queue
		entries = map[work.Queue][]entry{}
		errs    []error
	)
	for _, p := range parcels {
		e, err := q.entry(p)
		if err != nil {
			errs = append(errs, fmt.Errorf("send to %s: %w", p.Queue, err))
			continue
		}
		if entries[p.Queue] == nil {
			order = append(order, p.Queue)
		}
		entries[p.Queue] = append(entries[p.Queue], e)
	}
	for _, queue := range order {
		for rest := entries[queue]; len(rest) > 0; {
			n, bytes := 0, 0
			for n < min(len(rest), maxBatch) && bytes+rest[n].size <= maxBytes {
				bytes += rest[n].size
				n++
			}
			if err := q.sendBatch(ctx, queue, rest[:n]); err != nil {
				errs = append(errs, err)
				break
			}
			rest = rest[n:]
		}
	}
	for _, p := range parcels {
		if topic, ok := q.o.Topics[p.Queue]; ok && p.Attributes[outbox.AttributeAttempt] == "1" {
			errs = append(errs, q.publish(ctx, topic, p))
		}
	}
	return errors.Join(errs...)
}

// entry rounds delays up to whole seconds, so nothing comes before it is due.
func (q *Queues) entry(p outbox.Parcel) (entry, error) {
	text, attributes, size, err := encode(p.Body, p.Attributes)
	e := entry{MessageBody: text, Attributes: attributes, size: size}
	if delay := p.Due.Sub(q.o.Now()); !p.Due.IsZero() && delay > 0 {
		e.DelaySeconds = seconds(min(delay, MaxDelay))
	}
	return e, err
}

// tooLong are the codes by which SQS refuses a call for its size ("SendMessageBatch"), in its two protocols.
var tooLong = []string{"BatchRequestTooLong", "AWS.SimpleQueueService.BatchRequestTooLong"}

// sizeRefused makes a refusal for a size a work.ErrTooLarge, as it is where the driver sees it first: the service may count more.
func sizeRefused(err error) error {
	var refused *awsapi.Error
	if errors.As(err, &refused) && slices.Contains(tooLong, refused.Code) {
		return fmt.Errorf("%w: %w", work.ErrTooLarge, err)
	}
	return err
}

// sendBatch sends the entries. Those alone that were refused for a reason that passes are sent again.
func (q *Queues) sendBatch(ctx context.Context, queue work.Queue, entries []entry) error {
	for i := range entries {
		entries[i].ID = strconv.Itoa(i)
	}
	for attempt := 0; ; attempt++ {
		var out struct {
			Successful []struct {
				ID string `json:"Id"`
			}
			Failed []struct {
				ID            string `json:"Id"`
				Code, Message string
				SenderFault   bool
			}
		}
		in := map[string]any{"QueueUrl": q.url(queue), "Entries": entries}
		if err := q.call(ctx, "SendMessageBatch", callTimeout, in, &out); err != nil {
			return q.explain(sizeRefused(err), "send to", queue)
		}
		sent := map[string]bool{}
		for _, s := range out.Successful {
			sent[s.ID] = true
		}
		var left []entry
		for _, e := range entries {
			if !sent[e.ID] {
				left = append(left, e)
			}
		}
		if len(left) == 0 {
			return nil
		}
		refused := &awsapi.Error{Code: "Incomplete", Message: fmt.Sprintf("%d of %d messages were not taken", len(left), len(entries))}
		fatal := false
		for _, f := range out.Failed {
			refused.Code, refused.Message, fatal = f.Code, f.Message, fatal || f.SenderFault
		}
		if fatal || attempt == 3 {
			return q.explain(sizeRefused(refused), "send to", queue)
		}
		entries = left
		timer := time.NewTimer(50 * time.Millisecond << (2 * attempt))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("send to %s: %w", queue, ctx.Err())
		}
	}
}
