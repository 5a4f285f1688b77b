package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"pinreset/shared/work"
)

// The first bytes of the keys that package outbox gives its rows, and the partition that names all others.
const (
	rowOfMark    = 'k'
	rowOfForeign = 'f'
	rowOfMessage = 'm'
	rowOfHandler = 'r'
	register     = "~register"
)

// ledger is what a reader of the table knows of messages.
type ledger struct {
	messages map[messageKey]told
	open     []messageKey // those that are not done, in the order in which they were first sent
	foreign  map[work.Key]work.Message
	marks    map[work.Key][]entry
	lost     map[messageKey]bool // for ever: the scheduler took their parcels
}

// told and entry are the parts of package outbox's rows that are judged.
type told struct {
	Queue     work.Queue `json:"queue"`
	Attempt   int        `json:"attempt"`
	Done      int64      `json:"done"`
	Partition string     `json:"partition"`
	Message   string     `json:"message"`
}

type entry struct {
	Message string `json:"message"`
	Attempt int    `json:"attempt"`
	Foreign string `json:"foreign"`
	Due     int64  `json:"due"` // microseconds since 1970, of what waits in its row; else zero
}

func newLedger() ledger {
	return ledger{
		messages: map[messageKey]told{}, foreign: map[work.Key]work.Message{}, marks: map[work.Key][]entry{}, lost: map[messageKey]bool{},
	}
}

// wrote takes note of a row; sent is true when it is the first one of a message.
func (l *ledger) wrote(partition string, wr work.Write) (m work.Message, sent bool, err error) {
	at := work.Key{Partition: partition, Row: wr.Row}
	switch wr.Row[0] {
	case rowOfMark:
		if delete(l.marks, at); wr.Delete {
			return m, false, nil
		}
		var all []entry
		err := json.Unmarshal(wr.Value, &all)
		l.marks[at] = all
		return m, false, err
	case rowOfForeign:
		if delete(l.foreign, at); wr.Delete {
			return m, false, nil
		}
		r, body, err := decodeRecord(wr.Value)
		l.foreign[at] = work.Message{ID: r.Message, Queue: r.Queue, Partition: r.Partition, Body: body}
		return m, false, err
	case rowOfMessage:
		return l.wroteMessage(messageKey{partition, wr.Row[1:]}, wr)
	}
	return m, false, fmt.Errorf("nobody knows what row %s is", wr.Row)
}

func (l *ledger) wroteMessage(key messageKey, wr work.Write) (m work.Message, sent bool, err error) {
	before, known := l.messages[key]
	if wr.Delete {
		if known && before.Done == 0 {
			return m, false, fmt.Errorf("message %s is forgotten, and is not done", key.id)
		}
		delete(l.messages, key)
		return m, false, nil
	}
	r, body, err := decodeRecord(wr.Value)
	l.messages[key] = r
	switch {
	case err != nil:
		return m, false, err
	case !known:
		l.open = append(l.open, key)
		return work.Message{ID: key.id, Queue: r.Queue, Partition: key.partition, Body: body}, true, nil
	case before.Done != 0:
		return m, false, fmt.Errorf("message %s was done, and is settled again", key.id)
	case r.Done == 0 && r.Attempt != before.Attempt+1 || r.Done != 0 && r.Attempt != before.Attempt:
		return m, false, fmt.Errorf("message %s goes from attempt %d to %d", key.id, before.Attempt, r.Attempt)
	case r.Done != 0:
		l.open = slices.DeleteFunc(l.open, func(k messageKey) bool { return k == key })
	}
	return m, false, nil
}

// marked reports whether a mark says that the attempt is still to be sent.
func (l *ledger) marked(key messageKey, attempt int) bool {
	for at, entries := range l.marks {
		if at.Partition == key.partition && slices.ContainsFunc(entries, func(e entry) bool { return e.Message == key.id && e.Attempt == attempt }) {
			return true
		}
	}
	return len(l.foreign) > 0 && l.unsent(func(m work.Message) bool { return m.Partition == key.partition && m.ID == key.id })
}

func (l *ledger) unsent(which func(work.Message) bool) bool {
	for _, m := range l.foreign {
		if which(m) {
			return true
		}
	}
	return false
}

func decodeRecord(value []byte) (r told, body []byte, err error) {
	head, body, _ := bytes.Cut(value, []byte("\n"))
	if err := json.Unmarshal(head, &r); err != nil {
		return r, nil, fmt.Errorf("decode a message's row: %w", err)
	}
	return r, body, nil
}

// undone is a message's row as one sees it who does not look whether it was done.
func undone(value []byte) []byte {
	head, body, _ := bytes.Cut(value, []byte("\n"))
	var r map[string]any
	if json.Unmarshal(head, &r) != nil {
		return value
	}
	delete(r, "done")
	head, err := json.Marshal(r)
	if err != nil {
		return value
	}
	return append(append(head, '\n'), body...)
}
