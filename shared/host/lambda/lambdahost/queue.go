package lambdahost

import (
	"context"
	"crypto/md5" //nolint:gosec // what SQS tells
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	region  = "eu-central-1"
	account = "123456789012"
)

// Record is a message in the hands of the platform.
type Record struct {
	ID         string
	Handle     string
	Attributes map[string]string // message attributes of type String
	Body       string
	Deliveries int
	Sent       time.Time
	First      time.Time // when it was received first
}

// Queues is where records come from: a [Broker], or what speaks to a server.
type Queues interface {
	// Receive waits until a message of the queue is there and returns up to limit of them, invisible to others.
	Receive(ctx context.Context, queue string, limit int) ([]Record, error)
	// Delete deletes what the handle holds; one that holds nothing any more is no error.
	Delete(ctx context.Context, queue, handle string) error
}

// Mapping is an event source mapping: which function gets a queue's records.
type Mapping struct {
	Queue       string
	Batch       int // records at most; default 10
	Concurrency int // batches at a time; default 2
}

// Poll hands the queue's records to the function until ctx ends, and returns when none is under way.
func (f *Function) Poll(ctx context.Context, from Queues, m Mapping) {
	if m.Batch == 0 {
		m.Batch = 10
	}
	if m.Concurrency == 0 {
		m.Concurrency = 2
	}
	var pollers sync.WaitGroup
	for range m.Concurrency {
		pollers.Go(func() {
			for ctx.Err() == nil {
				records, err := from.Receive(ctx, m.Queue, m.Batch)
				if err != nil && ctx.Err() == nil {
					f.problem("receive from %s: %v", m.Queue, err)
				}
				if len(records) > 0 {
					f.deliver(from, m.Queue, records)
				}
			}
		})
	}
	pollers.Wait()
}

// deliver invokes the function for a batch, and deletes what need not come back.
func (f *Function) deliver(from Queues, queue string, records []Record) {
	ctx := context.Background() // a batch that was received is brought to its end
	result, err := f.Invoke(ctx, Event(queue, records))
	if err != nil || result.Failed {
		return // all come back when their visibility ends
	}
	failed, whole := f.failures(result.Payload, records)
	if whole {
		return
	}
	for _, r := range records {
		if !failed[r.ID] {
			if err := from.Delete(ctx, queue, r.Handle); err != nil {
				f.problem("delete from %s: %v", queue, err)
			}
		}
	}
}

// failures reads the answer by AWS's page "Handling errors for an SQS event source in Lambda": whole says that every record comes back.
func (f *Function) failures(answer []byte, records []Record) (failed map[string]bool, whole bool) {
	var response struct {
		BatchItemFailures []map[string]*string `json:"batchItemFailures"`
	}
	if len(answer) == 0 || string(answer) == "null" {
		return nil, false
	}
	if err := json.Unmarshal(answer, &response); err != nil {
		f.problem("the answer to a batch is %s", answer)
		return nil, true
	}
	failed = map[string]bool{}
	for _, item := range response.BatchItemFailures {
		id := item["itemIdentifier"]
		if id == nil || *id == "" || !slices.ContainsFunc(records, func(r Record) bool { return r.ID == *id }) {
			f.problem("the answer names a record that the batch has not: %s", answer)
			return nil, true
		}
		failed[*id] = true
	}
	return failed, false
}

// Event is the payload for the records.
func Event(queue string, records []Record) []byte {
	var all []map[string]any
	for _, r := range records {
		attributes := map[string]any{}
		for name, value := range r.Attributes {
			attributes[name] = map[string]any{"stringValue": value, "stringListValues": []string{}, "binaryListValues": []string{}, "dataType": "String"}
		}
		sum := md5.Sum([]byte(r.Body)) //nolint:gosec // what SQS tells
		all = append(all, map[string]any{
			"messageId": r.ID, "receiptHandle": r.Handle, "body": r.Body, "md5OfBody": hex.EncodeToString(sum[:]), "messageAttributes": attributes,
			"eventSource": "aws:sqs", "eventSourceARN": ARN(queue), "awsRegion": region,
			"attributes": map[string]string{"ApproximateReceiveCount": strconv.Itoa(r.Deliveries), "SentTimestamp": ms(r.Sent),
				"ApproximateFirstReceiveTimestamp": ms(r.First), "SenderId": "AIDAEXAMPLE"},
		})
	}
	payload, err := json.Marshal(map[string]any{"Records": all})
	if err != nil {
		panic(err) // text and numbers
	}
	return payload
}

// ARN is the queue's.
func ARN(queue string) string { return "arn:aws:sqs:" + region + ":" + account + ":" + queue }

func ms(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

// Broker is a model of SQS's standard queues: visibility, receive counts and redrive.
type Broker struct {
	visibility  time.Duration
	maxReceives int

	mu      sync.Mutex
	changed chan struct{}
	queues  map[string][]*waiting
	dead    map[string][]Record
}

type waiting struct {
	Record
	visible time.Time
}

// NewBroker returns queues with that visibility, whose messages are dead letters after so many receives; zero values are 30 seconds and 5.
func NewBroker(visibility time.Duration, maxReceives int) *Broker {
	if visibility == 0 {
		visibility = 30 * time.Second
	}
	if maxReceives == 0 {
		maxReceives = 5
	}
	return &Broker{visibility: visibility, maxReceives: maxReceives, changed: make(chan struct{}), queues: map[string][]*waiting{}, dead: map[string][]Record{}}
}

// Send puts a message into the queue.
func (b *Broker) Send(queue string, r Record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.ID == "" {
		r.ID = newID()
	}
	r.Sent = time.Now()
	b.queues[queue] = append(b.queues[queue], &waiting{Record: r})
	b.announce()
}

func (b *Broker) announce() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// Receive implements Queues.
func (b *Broker) Receive(ctx context.Context, queue string, limit int) ([]Record, error) {
	for {
		b.mu.Lock()
		now, soon := time.Now(), time.Hour
		var got []Record
		b.queues[queue] = slices.DeleteFunc(b.queues[queue], func(w *waiting) bool {
			if w.visible.After(now) || len(got) == limit {
				soon = min(soon, max(w.visible.Sub(now), 0))
				return false
			}
			if w.Deliveries >= b.maxReceives {
				b.dead[queue] = append(b.dead[queue], w.Record)
				return true
			}
			w.Deliveries++
			if w.First.IsZero() {
				w.First = now
			}
			w.Handle, w.visible = newID(), now.Add(b.visibility)
			got = append(got, w.Record)
			return false
		})
		changed := b.changed
		b.mu.Unlock()
		if len(got) > 0 {
			return got, nil
		}
		select {
		case <-changed:
		case <-time.After(soon):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Delete implements Queues.
func (b *Broker) Delete(_ context.Context, queue, handle string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queues[queue] = slices.DeleteFunc(b.queues[queue], func(w *waiting) bool { return w.Handle == handle })
	b.announce()
	return nil
}

// Dead are the queue's dead letters.
func (b *Broker) Dead(queue string) []Record {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.dead[queue])
}

// Drained waits until every queue is empty, or ctx ends.
func (b *Broker) Drained(ctx context.Context) error {
	for {
		b.mu.Lock()
		left, changed := 0, b.changed
		for _, q := range b.queues {
			left += len(q)
		}
		b.mu.Unlock()
		if left == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-time.After(100 * time.Millisecond): // what becomes a dead letter is not announced
		case <-ctx.Done():
			return fmt.Errorf("%d messages wait: %w", left, ctx.Err())
		}
	}
}
