package lambda

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-lambda-go/events"
)

// atOnce is how many records of a batch run at a time. A batch is ten, unless its mapping has a window.
const atOnce = 16

type record = events.SQSMessage

// Message is one record of a batch.
type Message struct {
	ID         string
	Handle     string            // the receipt handle, which is another one at every delivery
	Deliveries int               // how often it was handed out, this time included
	SentAt     time.Time         // zero when the event does not tell
	Attributes map[string]string // the message attributes that are text
	Body       []byte
}

// batch runs every record by itself and answers with those that are to come back. The records that it names are always of the batch: an id
// that is not would bring all of them back.
func (h *Host) batch(ctx context.Context, f *Functions, records []record) ([]byte, error) {
	failed := make([]bool, len(records))
	free := make(chan struct{}, atOnce)
	var runs sync.WaitGroup
	for i, r := range records {
		free <- struct{}{}
		runs.Go(func() {
			defer func() { <-free }()
			if err := h.record(ctx, f, r); err != nil {
				failed[i] = true
				h.o.Logger.Error("record failed; it comes back", "message", r.MessageId, "deliveries", r.Attributes[receiveCount], "cause", err.Error())
			}
		})
	}
	runs.Wait()
	response := events.SQSEventResponse{BatchItemFailures: []events.SQSBatchItemFailure{}} // never null
	for i, r := range records {
		if !failed[i] {
			continue
		}
		if r.MessageId == "" {
			return nil, errors.New("a record failed that has no id")
		}
		response.BatchItemFailures = append(response.BatchItemFailures, events.SQSBatchItemFailure{ItemIdentifier: r.MessageId})
	}
	return json.Marshal(response)
}

// record runs one record to its settlement. Its error is that it was not settled.
func (h *Host) record(ctx context.Context, f *Functions, r record) error {
	queue, ok := f.Queues[lastPart(r.EventSourceARN, ":")]
	if !ok {
		return fmt.Errorf("queue %q: %w", r.EventSourceARN, errNoFunction)
	}
	m := message(r)
	err := errors.Join(ctx.Err(), h.ending.Err()) // what has not begun when the time is over is not begun
	if err == nil {
		err = h.guarded(ctx, func() error {
			d, ok, err := f.Intake.Take(ctx, queue, m)
			if err != nil || !ok {
				return err
			}
			return f.Processor.Process(ctx, d)
		})
	}
	if err == nil || f.Return == nil {
		return err
	}
	again, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if back := f.Return(again, queue, m.Handle, pause(m.Deliveries)); back != nil {
		return fmt.Errorf("%w; and its visibility is the queue's: %w", err, back)
	}
	return err
}

// pause is how long a record that could not be settled stays invisible: something that it needs is out of order.
func pause(deliveries int) time.Duration {
	return min(time.Second<<min(max(deliveries, 1), 10), 5*time.Minute)
}

// receiveCount is the attribute of SQS that counts deliveries, this one included.
const receiveCount = "ApproximateReceiveCount"

func message(r record) Message {
	m := Message{ID: r.MessageId, Handle: r.ReceiptHandle, Deliveries: 1, Body: []byte(r.Body)}
	if n, err := strconv.Atoi(r.Attributes[receiveCount]); err == nil {
		m.Deliveries = max(n, 1)
	}
	if ms, err := strconv.ParseInt(r.Attributes["SentTimestamp"], 10, 64); err == nil {
		m.SentAt = time.UnixMilli(ms).UTC()
	}
	for name, a := range r.MessageAttributes {
		if a.StringValue != nil {
			if m.Attributes == nil {
				m.Attributes = map[string]string{}
			}
			m.Attributes[name] = *a.StringValue
		}
	}
	return m
}

// tick runs the schedule that the event names. A rule's event names the rule, whose name ends with the schedule's.
func (h *Host) tick(ctx context.Context, f *Functions, e event) error {
	name := e.Schedule
	if name == "" && len(e.Resources) == 1 {
		name = lastPart(e.Resources[0], "/")
	}
	for _, known := range slices.Sorted(maps.Keys(f.Schedules)) {
		if name == known || e.Schedule == "" && strings.HasSuffix(name, "-"+known) {
			return h.guarded(ctx, func() error { return f.Schedules[known](ctx) })
		}
	}
	return fmt.Errorf("schedule %q: %w", name, errNoFunction)
}

func lastPart(text, separator string) string { return text[strings.LastIndex(text, separator)+1:] }
