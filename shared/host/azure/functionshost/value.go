package functionshost

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
)

// variant is what differs between invocations although nothing is known to cause it.
type variant struct {
	once    bool   // text is encoded once, where the host's source encodes it twice
	sparse  bool   // keys without a value are missing, and some that nobody knows are there
	trace   string // header traceparent
	pastDue bool
}

// variants follow each other from invocation to invocation.
var variants = []variant{
	{},
	{once: true, trace: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"},
	{sparse: true, trace: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
	{once: true, sparse: true, pastDue: true},
}

// value encodes a value as the host does for a custom handler: text twice, numbers and truth as text, times without their
// fractions, bytes in base64.
func value(v any, how variant) json.RawMessage {
	switch v := v.(type) {
	case string:
		if how.once {
			return encode(v)
		}
		return encode(string(encode(v)))
	case int:
		return encode(fmt.Sprint(v))
	case int64:
		return encode(fmt.Sprint(v))
	case bool:
		return encode(fmt.Sprint(v))
	case []byte:
		return encode(base64.StdEncoding.EncodeToString(v))
	case time.Time: // a DateTimeOffset
		return encode(v.UTC().Format("2006-01-02T15:04:05") + "+00:00")
	case localTime:
		return encode(time.Time(v).UTC().Format("2006-01-02T15:04:05"))
	case []string:
		return encode(string(encode(v)))
	default:
		return encode(v) // an object
	}
}

// localTime is a DateTime, which is told without its zone.
type localTime time.Time

func encode(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("functionshost: %T: %v", v, err)) // only values of the model are encoded
	}
	return raw
}

// body is the request's body for one message.
func (m Delivery) body(f function, how variant, now time.Time) []byte {
	meta := map[string]json.RawMessage{}
	put := func(name string, v any) { meta[name] = value(v, how) }
	empty := map[string]any{}
	for _, name := range []string{"MessageReceiver", "MessageSession", "MessageActions", "SessionActions", "ReceiveActions"} {
		put(name, empty)
	}
	put("Client", map[string]any{"FullyQualifiedNamespace": "namespace", "IsClosed": false, "TransportType": 0, "Identifier": "namespace-1"})
	put("DeliveryCount", m.Deliveries)
	put("LockToken", m.LockToken)
	put("ExpiresAtUtc", localTime(m.Expires))
	put("ExpiresAt", m.Expires)
	put("EnqueuedTimeUtc", localTime(m.Enqueued))
	put("EnqueuedTime", m.Enqueued)
	put("MessageId", m.ID)
	put("SequenceNumber", m.Sequence)
	properties := m.Properties
	if properties == nil {
		properties = map[string]string{}
	}
	put("ApplicationProperties", properties)
	put("UserProperties", properties)
	if !how.sparse {
		put("ContentType", "application/json")
		put("PartitionKey", "")
	} else {
		put("Unheard", map[string]any{"of": []int{1}})
		put("UnheardToo", []string{"x"})
	}
	meta["sys"] = sys(f, now)
	return encode(map[string]any{"Data": map[string]json.RawMessage{f.binding: value(m.Body, how)}, "Metadata": meta})
}

// tick is the request's body for a timer.
func tick(f function, how variant, now time.Time) []byte {
	data := map[string]any{"Schedule": map[string]any{"AdjustForDST": true}, "ScheduleStatus": nil, "IsPastDue": how.pastDue}
	if how.once {
		data["ScheduleStatus"] = map[string]any{"Last": now.Add(-time.Minute), "LastUpdated": now, "Next": now.Add(time.Minute)}
	}
	return encode(map[string]any{"Data": map[string]any{f.binding: data}, "Metadata": map[string]any{"sys": sys(f, now)}})
}

func sys(f function, now time.Time) json.RawMessage {
	return encode(map[string]any{"MethodName": f.name, "UtcNow": now.UTC(), "RandGuid": newID()})
}
