package sqs_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
	"pinreset/shared/work/sqs"
	"pinreset/shared/work/sqs/sqstest"
)

// TestTopic: what goes to a queue that has a topic is published once, with the event's type; what is put off, and other queues' messages, are not.
func TestTopic(t *testing.T) {
	t.Parallel()
	server, topic := serve(t, nil, work.Announcements, queue), sqstest.NewTopic(t, "announcements")
	a := account(server)
	a.Endpoints = map[string]string{"sns": topic.URL}
	q, err := sqs.Open(sqs.Options{URL: server.URL(), Account: a, Topics: map[work.Queue]string{work.Announcements: topic.ARN}})
	if err != nil {
		t.Fatal(err)
	}
	first, again := parcel("m-1"), parcel("m-2")
	first.Queue, again.Queue = work.Announcements, work.Announcements
	first.Body = []byte(`{"type":"pinreset.failure.raised.v1"}`)
	again.Attributes[outbox.AttributeAttempt] = "2"
	topic.Break(2)
	if err := q.Send(t.Context(), []outbox.Parcel{first, again, parcel("m-3")}); err != nil {
		t.Fatal(err)
	}
	got := topic.Published()
	if len(got) != 1 || got[0].Body != string(first.Body) || got[0].Attributes[sqs.AttributeType] != "pinreset.failure.raised.v1" || got[0].Attributes[outbox.AttributeMessage] != "m-1" {
		t.Errorf("published %+v", got)
	}
	if n := len(server.Messages(string(work.Announcements))); n != 2 {
		t.Errorf("%d messages in the queue, want 2", n)
	}
	first.Body = bytes.Repeat([]byte("l"), 256<<10)
	if err := q.Send(t.Context(), []outbox.Parcel{first}); !errors.Is(err, work.ErrTooLarge) {
		t.Errorf("a message that is too large for SNS: %v", err)
	}
	topic.ARN += "-other"
	if err := q.Send(t.Context(), []outbox.Parcel{first, parcel("m-4")}); err == nil || !strings.Contains(err.Error(), "announcements") {
		t.Errorf("a topic that is not there: %v", err)
	}
	for text, good := range map[string]bool{topic.ARN: true, "announcements": false, topic.ARN + ".fifo": false, "arn:aws:sqs:eu-central-1:1:a": false, "": false} {
		if err := sqs.CheckTopic(text); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
}
