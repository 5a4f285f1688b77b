package sqstest

import (
	"cmp"
	"context"
	"crypto/md5" //nolint:gosec // the protocol's
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Attribute is a message attribute that is text.
type Attribute struct{ DataType, StringValue string }

// request has the parameters of all operations.
type request struct {
	QueueUrl, QueueName, ReceiptHandle, MessageBody string //nolint:revive // the protocol's name
	MaxNumberOfMessages, WaitTimeSeconds            int
	DelaySeconds                                    int
	VisibilityTimeout                               *int
	MessageAttributes                               map[string]Attribute
	MessageAttributeNames                           []string
	MessageSystemAttributeNames                     []string
	Entries                                         []struct {
		Id, MessageBody   string //nolint:revive // the protocol's name
		DelaySeconds      int
		MessageAttributes map[string]Attribute
	}
}

type queue struct {
	Queue
	messages []*message
}

// message is one in a queue.
type message struct {
	id, body, handle string
	attributes       map[string]Attribute
	due, until       time.Time
	received         int
	sent             time.Time
}

// Message is what a queue holds, for tests to look at.
type Message struct {
	ID, Body   string
	Attributes map[string]string
	Received   int
}

// Messages returns what is in the queue: visible, in hands, or delayed.
func (s *Server) Messages(name string) []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Message
	for _, m := range s.queues[name].messages {
		texts := map[string]string{}
		for n, a := range m.attributes {
			texts[n] = a.StringValue
		}
		all = append(all, Message{m.id, m.body, texts, m.received})
	}
	return all
}

func invalid(format string, args ...any) *refusal {
	return &refusal{http.StatusBadRequest, "InvalidParameterValue", fmt.Sprintf(format, args...)}
}

func (s *Server) do(ctx context.Context, operation string, in request) (any, *refusal) {
	name := in.QueueUrl[strings.LastIndexByte(in.QueueUrl, '/')+1:]
	if operation == "GetQueueUrl" {
		name = in.QueueName
	}
	q := s.queues[name] // never changes
	if q == nil || (in.QueueUrl != "" && !strings.HasSuffix(in.QueueUrl, "/"+Account+"/"+name)) {
		return nil, &refusal{http.StatusBadRequest, "QueueDoesNotExist", "no such queue"}
	}
	if slices.Contains(q.Forbidden, operation) {
		return nil, &refusal{http.StatusForbidden, "AccessDeniedException", "the role may not call " + operation + " on this queue"}
	}
	switch operation {
	case "GetQueueUrl":
		return map[string]string{"QueueUrl": s.URL() + name}, nil
	case "GetQueueAttributes":
		return map[string]any{"Attributes": map[string]string{
			"QueueArn": "arn:aws:sqs:" + Region + ":" + Account + ":" + name, "VisibilityTimeout": strconv.Itoa(int(q.Visibility.Seconds()))}}, nil
	case "SendMessage":
		return s.sendOne(q, in)
	case "SendMessageBatch":
		return s.sendBatch(q, in)
	case "ReceiveMessage":
		return s.receive(ctx, q, in)
	case "DeleteMessage", "ChangeMessageVisibility":
		return s.settle(q, operation, in)
	}
	return nil, &refusal{http.StatusBadRequest, "UnknownOperationException", operation + " is not modelled"}
}

// Limits ("Amazon SQS message quotas").
const (
	maxBytes      = 1 << 20
	maxAttributes = 10
	maxBatch      = 10
	maxDelay      = 900
	maxVisibility = 43200
)

// unfit says what is wrong with a message, "" if nothing.
func unfit(body string, delay int, attributes map[string]Attribute) (reason string) {
	switch {
	case body == "":
		return "the message has no body"
	case !text(body):
		return "the body has characters that are not allowed"
	case delay < 0 || delay > maxDelay:
		return "DelaySeconds must be 0 to 900"
	case len(attributes) > maxAttributes:
		return "more than 10 attributes"
	case size(body, attributes) > maxBytes:
		return "one or more parameters are invalid: message must be shorter than 1048576 bytes"
	}
	for name, a := range attributes {
		if name == "" || len(name) > 256 || a.DataType != "String" || a.StringValue == "" || !text(a.StringValue) {
			return "attribute " + name + " is not a text that is allowed"
		}
	}
	return ""
}

func text(s string) bool {
	bad := func(r rune) bool {
		return r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff
	}
	return utf8.ValidString(s) && !strings.ContainsFunc(s, bad)
}

func size(body string, attributes map[string]Attribute) int {
	n := len(body)
	for name, a := range attributes {
		n += len(name) + len(a.DataType) + len(a.StringValue)
	}
	return n
}

func (s *Server) put(q *queue, body string, delay int, attributes map[string]Attribute) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serial++
	m := &message{id: fmt.Sprintf("00000000-0000-4000-8000-%012d", s.serial), body: body, attributes: maps.Clone(attributes), sent: s.now()}
	if delay > 0 {
		m.due = m.sent.Add(time.Duration(delay) * time.Second)
	}
	q.messages = append(q.messages, m)
	s.stir()
	return m.id
}

func sum(body string) string {
	h := md5.Sum([]byte(body)) //nolint:gosec // the protocol's
	return hex.EncodeToString(h[:])
}

func (s *Server) sendOne(q *queue, in request) (any, *refusal) {
	if reason := unfit(in.MessageBody, in.DelaySeconds, in.MessageAttributes); reason != "" {
		return nil, invalid("%s", reason)
	}
	return map[string]string{"MessageId": s.put(q, in.MessageBody, in.DelaySeconds, in.MessageAttributes), "MD5OfMessageBody": sum(in.MessageBody)}, nil
}

var batchID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

func (s *Server) sendBatch(q *queue, in request) (any, *refusal) {
	total, ids := 0, map[string]bool{}
	for _, e := range in.Entries {
		total += size(e.MessageBody, e.MessageAttributes)
		if !batchID.MatchString(e.Id) {
			return nil, &refusal{http.StatusBadRequest, "InvalidBatchEntryId", e.Id}
		}
		ids[e.Id] = true
	}
	switch {
	case len(in.Entries) == 0:
		return nil, &refusal{http.StatusBadRequest, "EmptyBatchRequest", "no entries"}
	case len(in.Entries) > maxBatch:
		return nil, &refusal{http.StatusBadRequest, "TooManyEntriesInBatchRequest", "more than 10 entries"}
	case len(ids) < len(in.Entries):
		return nil, &refusal{http.StatusBadRequest, "BatchEntryIdsNotDistinct", "an id is there twice"}
	case total > cmp.Or(q.MaxBytes, maxBytes):
		return nil, &refusal{http.StatusBadRequest, "BatchRequestTooLong", "more than 1048576 bytes"}
	}
	successful, failed := []map[string]any{}, []map[string]any{}
	for _, e := range in.Entries {
		if reason := unfit(e.MessageBody, e.DelaySeconds, e.MessageAttributes); reason != "" {
			failed = append(failed, map[string]any{"Id": e.Id, "Code": "InvalidParameterValue", "Message": reason, "SenderFault": true})
			continue
		}
		id := s.put(q, e.MessageBody, e.DelaySeconds, e.MessageAttributes)
		successful = append(successful, map[string]any{"Id": e.Id, "MessageId": id, "MD5OfMessageBody": sum(e.MessageBody)})
	}
	return map[string]any{"Successful": successful, "Failed": failed}, nil
}

func (s *Server) receive(ctx context.Context, q *queue, in request) (any, *refusal) {
	limit, hold := max(in.MaxNumberOfMessages, 1), q.Visibility
	if in.VisibilityTimeout != nil {
		hold = time.Duration(*in.VisibilityTimeout) * time.Second
	}
	if limit > maxBatch || in.WaitTimeSeconds < 0 || in.WaitTimeSeconds > 20 || hold < 0 || hold > maxVisibility*time.Second {
		return nil, invalid("at most 10 messages, 20 seconds of waiting and 12 hours of visibility")
	}
	patience := time.NewTimer(time.Duration(in.WaitTimeSeconds) * time.Second)
	defer patience.Stop()
	for {
		got, wake, next := s.take(ctx, q, limit, hold)
		if len(got) > 0 {
			return map[string]any{"Messages": got}, nil
		}
		var due <-chan time.Time
		if s.real && !next.IsZero() {
			due = time.After(time.Until(next))
		}
		select {
		case <-wake:
		case <-due:
		case <-patience.C:
			return map[string]any{}, nil
		case <-ctx.Done():
			return map[string]any{}, nil
		}
	}
}

// take hands out what is visible; nothing to a caller who has gone. next is when time brings something.
func (s *Server) take(ctx context.Context, q *queue, limit int, hold time.Duration) (got []map[string]any, wake <-chan struct{}, next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for _, m := range slices.Clone(q.messages) {
		visible := m.due
		if m.until.After(visible) {
			visible = m.until
		}
		if visible.After(now) {
			if next.IsZero() || visible.Before(next) {
				next = visible
			}
			continue
		}
		if ctx.Err() != nil || len(got) == limit {
			break
		}
		if dead := s.queues[q.DeadLetter]; dead != nil && m.received >= q.MaxReceives {
			q.messages = slices.DeleteFunc(q.messages, func(o *message) bool { return o == m })
			m.received, m.handle, m.until = 0, "", time.Time{}
			dead.messages = append(dead.messages, m)
			s.stir()
			continue
		}
		s.serial++
		m.received++
		m.until, m.handle = now.Add(hold), "handle-"+strconv.Itoa(s.serial)
		got = append(got, map[string]any{
			"MessageId": m.id, "ReceiptHandle": m.handle, "Body": m.body, "MD5OfBody": sum(m.body), "MessageAttributes": m.attributes,
			"Attributes": map[string]string{"ApproximateReceiveCount": strconv.Itoa(m.received), "SentTimestamp": strconv.FormatInt(m.sent.UnixMilli(), 10)},
		})
	}
	return got, s.wake, next
}

// settle deletes or hides a message by its receipt handle. An older delivery's handle deletes nothing and is not refused; it can't
// change the visibility.
func (s *Server) settle(q *queue, operation string, in request) (any, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !strings.HasPrefix(in.ReceiptHandle, "handle-") {
		return nil, &refusal{http.StatusNotFound, "ReceiptHandleIsInvalid", "no receipt handle"}
	}
	i := slices.IndexFunc(q.messages, func(m *message) bool { return m.handle == in.ReceiptHandle })
	if operation == "DeleteMessage" {
		if i >= 0 {
			q.messages = slices.Delete(q.messages, i, i+1)
		}
		return map[string]any{}, nil
	}
	if in.VisibilityTimeout == nil || *in.VisibilityTimeout < 0 || *in.VisibilityTimeout > maxVisibility {
		return nil, invalid("VisibilityTimeout must be 0 to 43200")
	}
	now := s.now()
	if i < 0 || !q.messages[i].until.After(now) {
		return nil, invalid("the message does not exist or is not available for a change of its visibility")
	}
	q.messages[i].until = now.Add(time.Duration(*in.VisibilityTimeout) * time.Second)
	s.stir()
	return map[string]any{}, nil
}
