package lambdahost

import (
	"context"
	"errors"
	"strconv"
	"time"

	"pinreset/shared/awsapi"
)

// SQS are queues of a server that speaks as SQS does. It implements [Queues] with the calls that AWS's page "Using Lambda with Amazon SQS"
// lists for the function's role: ReceiveMessage and DeleteMessage. What is received is invisible for the queue's own time.
type SQS struct {
	Account  *awsapi.Account
	Endpoint string // of the server, for its calls
	URL      string // of a queue, without its name
}

// longPoll is how long a receive waits for a message.
const longPoll = 20 * time.Second

// Receive implements Queues.
func (s SQS) Receive(ctx context.Context, queue string, limit int) ([]Record, error) {
	in := map[string]any{"QueueUrl": s.URL + queue, "MaxNumberOfMessages": limit, "WaitTimeSeconds": int(longPoll / time.Second),
		"MessageAttributeNames": []string{"All"}, "MessageSystemAttributeNames": []string{"All"}}
	var out struct {
		Messages []struct {
			MessageId, ReceiptHandle, Body string //nolint:revive // the protocol's name
			Attributes                     map[string]string
			MessageAttributes              map[string]struct{ DataType, StringValue string }
		}
	}
	if err := s.Account.JSON(ctx, "sqs", s.Endpoint, "AmazonSQS.ReceiveMessage", in, &out); err != nil {
		if errors.Is(err, context.Canceled) {
			return nil, ctx.Err()
		}
		return nil, err
	}
	var records []Record
	for _, m := range out.Messages {
		r := Record{ID: m.MessageId, Handle: m.ReceiptHandle, Body: m.Body, Attributes: map[string]string{},
			Sent: instant(m.Attributes["SentTimestamp"]), First: instant(m.Attributes["ApproximateFirstReceiveTimestamp"])}
		r.Deliveries, _ = strconv.Atoi(m.Attributes["ApproximateReceiveCount"]) // the protocol's, or none
		for name, a := range m.MessageAttributes {
			if a.DataType == "String" {
				r.Attributes[name] = a.StringValue
			}
		}
		records = append(records, r)
	}
	return records, nil
}

// Delete implements Queues.
func (s SQS) Delete(ctx context.Context, queue, handle string) error {
	return s.Account.JSON(ctx, "sqs", s.Endpoint, "AmazonSQS.DeleteMessage", map[string]any{"QueueUrl": s.URL + queue, "ReceiptHandle": handle}, nil)
}

// instant reads a time as SQS writes it, in milliseconds; the zero time where there is none.
func instant(text string) time.Time {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}
