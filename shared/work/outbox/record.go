package outbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"pinreset/shared/work"
)

// record is a message's row: a line of JSON, and behind it the body.
type record struct {
	Queue    work.Queue `json:"queue"`
	Enqueued int64      `json:"enqueued"` // times are microseconds since 1970
	Due      int64      `json:"due"`
	Attempt  int        `json:"attempt"`        // the number of the parcel that counts; those before it are void
	Before   int        `json:"before"`         // deliveries of earlier parcels that count
	Done     int64      `json:"done,omitempty"` // zero while there is work to do
	Commit   string     `json:"commit"`         // the commit that wrote the row

	// Of a message that is on its way to another partition; empty in the message's own row.
	Partition string `json:"partition,omitempty"`
	Message   string `json:"message,omitempty"`

	Body []byte `json:"-"`
}

func (r record) encode() []byte {
	head, err := json.Marshal(r)
	if err != nil {
		panic("outbox: " + err.Error()) // there is nothing in a record that JSON refuses
	}
	return append(append(head, '\n'), r.Body...)
}

func decodeRecord(row work.Row) (r record, err error) {
	head, body, _ := bytes.Cut(row.Value, []byte("\n"))
	if err := json.Unmarshal(head, &r); err != nil {
		return r, fmt.Errorf("decode row %s: %w", row.Row, err)
	}
	r.Body = body
	return r, nil
}

func micro(t time.Time) int64 { return t.UnixMicro() }

// dueMicro rounds up: a message that comes a part of a microsecond early finds that its time has not come, and is sent again.
func dueMicro(t time.Time) int64 { return micro(t.Add(time.Microsecond - 1)) }

func instant(n int64) time.Time { return time.UnixMicro(n).UTC() }

func messageKey(id string) string { return kindMessage + id }

// entry of a mark: a message of the same partition and the attempt to be sent, or the row of a message for another one. Due is when
// the message is due if that was later than the queue could wait when the commit began, else zero.
type entry struct {
	Message string `json:"message,omitempty"`
	Attempt int    `json:"attempt,omitempty"`
	Foreign string `json:"foreign,omitempty"`
	Due     int64  `json:"due,omitempty"`
}

func encodeEntries(entries []entry) []byte {
	value, err := json.Marshal(entries)
	if err != nil {
		panic("outbox: " + err.Error()) // they are strings and numbers
	}
	return value
}

// lease is what a delivery's Lease says: what holds the parcel, and which version of the message's row its holder has seen.
type lease struct {
	attempt     int
	etag, token string
}

func (l lease) String() string {
	return fmt.Sprintf("%d.%d.%d.%s%s", l.attempt, len(l.etag), len(l.token), l.etag, l.token)
}

func parseLease(text string) (l lease, ok bool) {
	parts := strings.SplitN(text, ".", 4)
	if len(parts) != 4 {
		return lease{}, false
	}
	numbers := [3]int{}
	for i := range numbers {
		n, err := strconv.Atoi(parts[i])
		if err != nil || n < 0 {
			return lease{}, false
		}
		numbers[i] = n
	}
	etag, token := numbers[1], numbers[2]
	if etag == 0 || token == 0 || len(parts[3]) != etag+token {
		return lease{}, false
	}
	return lease{attempt: numbers[0], etag: parts[3][:etag], token: parts[3][etag:]}, true
}
