package azure

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"
)

// TestMessage reads invocations in each form that the host is known to give its values.
func TestMessage(t *testing.T) {
	t.Parallel()
	at := time.Date(2023, 10, 12, 20, 13, 49, 0, time.UTC)
	whole := Message{ID: "m-1", LockToken: "4e773554-0000", SequenceNumber: 7, Deliveries: 2, EnqueuedAt: at, LockedUntil: at.Add(time.Minute),
		Attributes: map[string]string{"pinreset-attempt": "3", "n": "4", "ok": "true"}, Body: []byte(`{"a":1}`)}
	for name, c := range map[string]struct {
		body string
		want Message
	}{
		"doubly encoded": {`{"Data":{"message":"eyJhIjoxfQ=="},"Metadata":{"MessageReceiver":{},"Client":{"IsClosed":false},"DeliveryCount":"2",
			"LockToken":"\"4e773554-0000\"","ExpiresAtUtc":"2023-10-12T20:14:49","ExpiresAt":"2023-10-12T20:14:49+00:00","EnqueuedTimeUtc":"2023-10-12T20:13:49",
			"EnqueuedTime":"2023-10-12T20:13:49+00:00","MessageId":"\"m-1\"","SequenceNumber":"7","ApplicationProperties":{"pinreset-attempt":"3","n":4,"ok":true},
			"sys":{"MethodName":"consent","UtcNow":"2023-10-12T20:13:49.640002Z"},"unheardOf":[1]}}`, whole},
		"singly encoded": {`{"Data":{"message":"eyJhIjoxfQ=="},"Metadata":{"DeliveryCount":2,"LockToken":"4e773554-0000","ExpiresAt":"\"2023-10-12T22:14:49+02:00\"",
			"EnqueuedTime":"\"2023-10-12T20:13:49+00:00\"","MessageId":"m-1","SequenceNumber":7,"ApplicationProperties":{"pinreset-attempt":"3","n":4,"ok":true}}}`, whole},
		"bare": {`{"Data":{"x":""},"Metadata":{"SequenceNumber":"9"}}`, Message{ID: "sequence-9", SequenceNumber: 9, Body: []byte{}}},
		"odd values": {`{"Data":{"x":"AA=="},"Metadata":{"MessageId":"\"a\"","DeliveryCount":"many","SequenceNumber":null,"EnqueuedTime":"2023-10-12T20:13:49","ApplicationProperties":"none","LockToken":{}}}`,
			Message{ID: "a", Body: []byte{0}}},
	} {
		var in invocation
		if err := json.Unmarshal([]byte(c.body), &in); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := in.message()
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v\nwant %+v", name, got, err, c.want)
		}
	}
	for body, want := range map[string]error{
		`{"Data":{"x":"{\"tenant\":1}"},"Metadata":{"MessageId":"a"}}`:  errNoBody, // a trigger that passes text
		`{"Data":{"x":{}},"Metadata":{"MessageId":"a"}}`:                errNoBody,
		`{"Data":{"x":"AA=="},"Metadata":{}}`:                           nil,
		`{"Data":{"x":"AA==","y":"AA=="},"Metadata":{"MessageId":"a"}}`: nil,
		`{}`: nil,
	} {
		var in invocation
		if err := json.Unmarshal([]byte(body), &in); err != nil {
			t.Fatal(err)
		}
		if m, err := in.message(); err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %+v, %v", body, m, err)
		}
	}
}
