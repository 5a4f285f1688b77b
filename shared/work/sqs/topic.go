package sqs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
)

// AttributeType has the type of the event in a message of a topic, by which a subscription's filter policy can choose.
const AttributeType = "type"

// maxPublished is the size of a message of SNS ("Publish"), its attributes included.
const maxPublished = 256 << 10

// CheckTopic reports whether text is the ARN of a standard topic.
func CheckTopic(text string) error {
	parts := strings.Split(text, ":")
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "sns" || parts[3] == "" || parts[4] == "" || parts[5] == "" || strings.HasSuffix(text, ".fifo") {
		return errNoTopic
	}
	return nil
}

var errNoTopic = errors.New("must be the ARN of a standard topic, arn:aws:sns:REGION:ACCOUNT:NAME")

// publish sends a copy of the parcel to the topic. Subscribers may get it twice: the message's id is in its attributes.
func (q *Queues) publish(ctx context.Context, topic string, p outbox.Parcel) error {
	text, attributes, size, err := encode(p.Body, p.Attributes)
	if err != nil {
		return fmt.Errorf("publish to %s: %w", topic, err)
	}
	var event struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(p.Body, &event) == nil && event.Type != "" {
		attributes[AttributeType] = attribute{DataType: "String", StringValue: event.Type}
		size += len(AttributeType) + len("String") + len(event.Type)
	}
	if size > maxPublished {
		return fmt.Errorf("publish to %s: message of %d bytes with its attributes, at most %d: %w", topic, size, maxPublished, work.ErrTooLarge)
	}
	form := url.Values{"Action": {"Publish"}, "Version": {"2010-03-31"}, "TopicArn": {topic}, "Message": {text}}
	for i, name := range slices.Sorted(maps.Keys(attributes)) {
		prefix := "MessageAttributes.entry." + strconv.Itoa(i+1) + "."
		form.Set(prefix+"Name", name)
		form.Set(prefix+"Value.DataType", attributes[name].DataType)
		form.Set(prefix+"Value.StringValue", attributes[name].StringValue)
	}
	err = repeat(ctx, callTimeout, func(ctx context.Context) error {
		return q.o.Account.Query(ctx, "sns", q.o.Account.Endpoint("sns"), form, nil)
	})
	if err != nil {
		return fmt.Errorf("publish to %s: %w", topic, err)
	}
	return nil
}
