package azure

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Message is what a Service Bus trigger hands over. Fields that the host did not send are zero.
type Message struct {
	ID             string
	LockToken      string
	SequenceNumber int64
	Deliveries     int // how often it was handed out, this time included
	EnqueuedAt     time.Time
	LockedUntil    time.Time
	Attributes     map[string]string // the application properties; what is no text, as JSON has it
	Body           []byte
}

// errNoBody: the trigger's value is not bytes in base64.
var errNoBody = errors.New(`the message is not in base64: the trigger's binding must have "dataType": "binary"`)

// invocation is the body of an invocation: the trigger's value under the name of its binding, and what is known of it.
type invocation struct {
	Data     map[string]json.RawMessage
	Metadata map[string]json.RawMessage
}

// message reads a Service Bus trigger's invocation. What the metadata lacks, or has in a form that is not known, is left out; only
// the body and a name for the message must be there.
func (i invocation) message() (Message, error) {
	if len(i.Data) != 1 {
		return Message{}, fmt.Errorf("the invocation has %d values, not one message", len(i.Data))
	}
	var m Message
	for _, raw := range i.Data {
		var text string
		if json.Unmarshal(raw, &text) != nil {
			return Message{}, errNoBody
		}
		var err error
		if m.Body, err = base64.StdEncoding.DecodeString(text); err != nil {
			return Message{}, errNoBody
		}
	}
	m.ID, _ = metaString(i.Metadata["MessageId"])
	m.LockToken, _ = metaString(i.Metadata["LockToken"])
	m.SequenceNumber, _ = metaInt(i.Metadata["SequenceNumber"])
	deliveries, _ := metaInt(i.Metadata["DeliveryCount"])
	m.Deliveries = int(deliveries)
	// The Utc twins of these have no zone in their text.
	m.EnqueuedAt, _ = metaTime(i.Metadata["EnqueuedTime"])
	m.LockedUntil, _ = metaTime(i.Metadata["ExpiresAt"])
	m.Attributes = metaObject(i.Metadata["ApplicationProperties"])
	if m.ID == "" {
		if m.SequenceNumber == 0 {
			return Message{}, errors.New("the message has neither an id nor a sequence number")
		}
		m.ID = "sequence-" + strconv.FormatInt(m.SequenceNumber, 10)
	}
	return m, nil
}

// metaString reads text, which the host sends as a JSON string that holds a JSON string, and in places as a plain one.
func metaString(raw json.RawMessage) (string, bool) {
	var text, inner string
	if len(raw) == 0 || raw[0] != '"' || json.Unmarshal(raw, &text) != nil {
		return "", false // absent, null, or no text
	}
	if json.Unmarshal([]byte(text), &inner) == nil {
		return inner, true
	}
	return text, true
}

// metaObject reads an object's members as text.
func metaObject(raw json.RawMessage) map[string]string {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil || len(members) == 0 {
		return nil
	}
	values := make(map[string]string, len(members))
	for name, value := range members {
		var text string
		if json.Unmarshal(value, &text) != nil {
			text = string(value)
		}
		values[name] = text
	}
	return values
}

// metaInt reads a number, which the host sends as a JSON string that holds it.
func metaInt(raw json.RawMessage) (int64, bool) {
	var n int64
	if len(raw) > 0 && raw[0] != 'n' && json.Unmarshal(raw, &n) == nil {
		return n, true
	}
	text, ok := metaString(raw)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

// metaTime reads a time with its zone.
func metaTime(raw json.RawMessage) (time.Time, bool) {
	text, ok := metaString(raw)
	if !ok {
		return time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339, text)
	return at.UTC(), err == nil
}
