package worktest

import (
	"fmt"
	"strings"

	"pinreset/shared/work"
)

// excess returns batches that are just within a limit and batches that are just beyond it. Their rows all are "limit…".
func excess(t *trial) (within map[string]work.Batch, beyond map[string]work.Batch, reason map[string]error) {
	many := func(writes, sends int) work.Batch {
		b := work.Batch{Partition: partition}
		for i := range writes {
			b.Writes = append(b.Writes, put(fmt.Sprintf("limit-%d", i), "x"))
		}
		for range sends {
			b.Messages = append(b.Messages, t.message())
		}
		return b
	}
	sized := func(row, value int) work.Batch {
		key := "limit" + strings.Repeat("k", row-len("limit"))
		return rows(work.Write{Row: key, Value: make([]byte, value)})
	}
	bytes := func(last int) work.Batch {
		b := work.Batch{Partition: partition}
		total := 0
		for i := range 3 {
			w := work.Write{Row: fmt.Sprintf("limit-%d", i), Value: make([]byte, work.MaxValueBytes)}
			b.Writes = append(b.Writes, w)
			total += len(w.Row) + len(w.Value)
		}
		rest := work.Write{Row: "limit-rest"}
		rest.Value = make([]byte, work.MaxBatchBytes-total-len(rest.Row)+last)
		b.Writes = append(b.Writes, rest)
		return b
	}
	with := func(change func(*work.Message)) work.Batch {
		m := t.message()
		change(&m)
		return work.Batch{Partition: partition, Writes: []work.Write{put("limit", "x")}, Messages: []work.Message{m}}
	}
	key := func(row string) work.Batch { return rows(put("limit", "x"), put(row, "x")) }

	within = map[string]work.Batch{
		"operations":  many(work.MaxOperations-2, 2),
		"row size":    sized(10, work.MaxValueBytes),
		"batch size":  bytes(0),
		"key length":  sized(work.MaxKeyBytes, 1),
		"message":     with(func(m *work.Message) { m.Body = make([]byte, work.MaxBodyBytes) }),
		"message key": with(func(m *work.Message) { m.ID += strings.Repeat("k", work.MaxKeyBytes-len(m.ID)) }),
	}
	beyond, reason = map[string]work.Batch{}, map[string]error{}
	add := func(name string, why error, b work.Batch) { beyond[name], reason[name] = b, why }
	add("writes", work.ErrTooLarge, many(work.MaxOperations+1, 0))
	add("writes and messages", work.ErrTooLarge, many(work.MaxOperations-1, 2))
	add("row size", work.ErrTooLarge, sized(10, work.MaxValueBytes+1))
	add("batch size", work.ErrTooLarge, bytes(1))
	add("message size", work.ErrTooLarge, with(func(m *work.Message) { m.Body = make([]byte, work.MaxBodyBytes+1) }))
	add("key length", work.ErrBadKey, sized(work.MaxKeyBytes+1, 1))
	add("no row", work.ErrBadKey, key(""))
	add("row twice", work.ErrBadKey, key("limit"))
	for _, r := range "/\\#?'%\n\t\x00\x7fü" {
		add(fmt.Sprintf("row with %q", r), work.ErrBadKey, key("limit"+string(r)))
	}
	add("no partition", work.ErrBadKey, work.Batch{Writes: []work.Write{put("limit", "x")}})
	add("partition with a slash", work.ErrBadKey, work.Batch{Partition: "a/b", Writes: []work.Write{put("limit", "x")}})
	add("no message id", work.ErrBadKey, with(func(m *work.Message) { m.ID = "" }))
	add("message id with a slash", work.ErrBadKey, with(func(m *work.Message) { m.ID = "a/b" }))
	add("no queue", work.ErrBadKey, with(func(m *work.Message) { m.Queue = "" }))
	add("no message partition", work.ErrBadKey, with(func(m *work.Message) { m.Partition = "" }))
	return within, beyond, reason
}

var limitSentences = []sentence{
	{"a batch at a limit is committed", func(t *trial) {
		within, _, _ := excess(t)
		sent := 0
		for name, b := range within {
			if err := t.Commit(t.ctx, b); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for _, w := range b.Writes {
				if got := t.get(w.Row); len(got.Value) != len(w.Value) {
					t.Errorf("%s: row of %d bytes, want %d", name, len(got.Value), len(w.Value))
				}
			}
			sent += len(b.Messages)
		}
		for _, d := range t.takeAll(queue, sent) {
			t.done(d)
		}
	}},
	{"a batch beyond a limit is refused whole", func(t *trial) {
		_, beyond, reason := excess(t)
		for name, b := range beyond {
			t.want(name, t.Commit(t.ctx, b), reason[name])
		}
		if got := t.list(work.Query{Partition: partition, Prefix: "limit"}); len(got) > 0 {
			t.Errorf("rows %q were written", got)
		}
		t.wantNothingDue(queue)
	}},
	{"a settlement beyond a limit is refused whole and leaves the delivery held", func(t *trial) {
		m := t.send(t.message())
		d := t.take()
		_, beyond, reason := excess(t)
		for name, b := range beyond {
			t.want(name, t.Settle(t.ctx, d, b, work.Outcome{}), reason[name])
		}
		if got := t.list(work.Query{Partition: partition, Prefix: "limit"}); len(got) > 0 {
			t.Errorf("rows %q were written", got)
		}
		t.wantNothingDue(queue)
		t.settle(d, rows(put("limit", "settled "+m.ID)), work.Outcome{})
		t.wantRow("limit", "settled "+m.ID)
	}},
}
