package outbox

import (
	"fmt"
	"math"
	"strings"

	"pinreset/shared/work"
)

// A mark whose messages are all due later than the queue can wait has the time at which the first of them is due in its key, and
// lies behind all other marks. So the marks that a sweep has to finish are one range of keys, and it reads no other.
const (
	kindWaiting = kindMark + "~"
	dueDigits   = 16 // of microseconds since 1970: enough until the year 2286
)

// horizon is the time, in microseconds since 1970, from which on the queue can't be asked to deliver yet.
func (s *Store) horizon() int64 {
	if s.o.MaxDelay == 0 {
		return math.MaxInt64
	}
	return micro(s.now().Add(s.o.MaxDelay)) + 1
}

// toFinish asks for the partition's marks that have something to be sent before the horizon.
func toFinish(partition string, horizon int64) work.Query {
	q := work.Query{Partition: partition, Prefix: kindMark}
	if horizon < math.MaxInt64 {
		q.Before = fmt.Sprintf("%s%0*d", kindWaiting, dueDigits, horizon)
	}
	return q
}

// waits reports whether the message that the entry names stays in its row for now. One for another partition never does: it is
// brought there first, and waits there.
func (e entry) waits(horizon int64) bool { return e.Foreign == "" && e.Due != 0 && e.Due >= horizon }

// markKey is the key of a mark with the entries, of which those that have no time are to be sent now.
func markKey(id string, entries []entry) string {
	due := int64(math.MaxInt64)
	for _, e := range entries {
		if e.Due == 0 || e.Foreign != "" {
			return kindMark + id
		}
		due = min(due, e.Due)
	}
	return fmt.Sprintf("%s%0*d-%s", kindWaiting, dueDigits, due, id)
}

// markID is the id that markKey was given.
func markID(key string) string {
	if rest, ok := strings.CutPrefix(key, kindWaiting); ok {
		_, id, _ := strings.Cut(rest, "-")
		return id
	}
	return strings.TrimPrefix(key, kindMark)
}

// clearing are the writes that take a mark away, with the messages for other partitions that it names, and leave one for what is
// due beyond the horizon.
func clearing(mark string, entries []entry, horizon int64) []work.Write {
	writes := []work.Write{{Row: mark, Delete: true}}
	var rest []entry
	for _, e := range entries {
		switch {
		case e.Foreign != "":
			writes = append(writes, work.Write{Row: e.Foreign, Delete: true})
		case e.waits(horizon):
			rest = append(rest, e)
		}
	}
	if len(rest) > 0 {
		writes = append(writes, work.Write{Row: markKey(markID(mark), rest), Value: encodeEntries(rest)})
	}
	return writes
}
