package worktest

import (
	"bytes"
	"context"
	"strings"

	"pinreset/shared/work"
)

var rowSentences = []sentence{
	{"a row is read back byte for byte", func(t *trial) {
		for name, value := range map[string][]byte{
			"json": []byte(`{"a":"ü"}`), "empty": {}, "binary": {0, 1, 0xff, 0, '\n'},
			"large": bytes.Repeat([]byte("0123456789abcdef"), work.MaxValueBytes/16),
		} {
			t.commit(rows(work.Write{Row: name, Value: value}))
			got := t.get(name)
			if !bytes.Equal(got.Value, value) {
				t.Errorf("%s: %d bytes came back different from the %d put", name, len(got.Value), len(value))
			}
			if want := (work.Key{Partition: partition, Row: name}); got.Key != want || got.ETag == "" {
				t.Errorf("%s: key %v, ETag %q, want %v and a version", name, got.Key, got.ETag, want)
			}
		}
	}},
	{"a row that does not exist is ErrNotFound", func(t *trial) {
		_, err := t.Get(t.ctx, work.Key{Partition: partition, Row: "nothing"})
		t.want("Get", err, work.ErrNotFound)
	}},
	{"the last write counts", func(t *trial) {
		t.commit(rows(put("r", "one")))
		t.commit(rows(put("r", "two")))
		t.wantRow("r", "two")
		t.commit(rows(work.Write{Row: "r", Delete: true}))
		t.wantRow("r", "")
	}},
	{"deleting a row that does not exist is no error", func(t *trial) {
		t.commit(rows(work.Write{Row: "nothing", Delete: true}, put("r", "one")))
		t.wantRow("r", "one")
	}},
	{"every write of a row changes its ETag, the same value and a new life included", func(t *trial) {
		seen := map[string]bool{}
		for _, again := range []bool{false, false, true, true} {
			if again {
				t.commit(rows(work.Write{Row: "r", Delete: true}))
			}
			t.commit(rows(put("r", "same")))
			tag := t.get("r").ETag
			if seen[tag] {
				t.Errorf("ETag %q came a second time", tag)
			}
			seen[tag] = true
		}
	}},
	{"reading does not change an ETag", func(t *trial) {
		t.commit(rows(put("r", "one"), put("s", "one")))
		before := t.get("r").ETag
		t.commit(rows(put("s", "two")))
		if after := t.get("r").ETag; after != before {
			t.Errorf("ETag went from %q to %q though the row was not written", before, after)
		}
	}},
	{"a partition can't see another's rows", func(t *trial) {
		other := "tenant-b"
		t.commit(rows(put("shared", "a"), put("own", "a")))
		t.commit(work.Batch{Partition: other, Writes: []work.Write{put("shared", "b")}})
		t.wantRow("shared", "a")
		_, err := t.Get(t.ctx, work.Key{Partition: other, Row: "own"})
		t.want("Get of the other partition", err, work.ErrNotFound)
		t.commit(work.Batch{Partition: other, Writes: []work.Write{{Row: "shared", Delete: true}}})
		t.wantRow("shared", "a")
	}},
	{"a row key holds every character that is allowed, and case matters", func(t *trial) {
		var allowed strings.Builder
		for r := rune(0x20); r < 0x7f; r++ {
			if !strings.ContainsRune(`/\#?'%`, r) {
				allowed.WriteRune(r)
			}
		}
		t.commit(rows(put(allowed.String(), "all"), put("key", "lower"), put("KEY", "upper")))
		t.wantRow(allowed.String(), "all")
		t.wantRow("key", "lower")
		t.wantRow("KEY", "upper")
	}},
	{"an empty batch commits", func(t *trial) {
		t.commit(work.Batch{})
		t.commit(work.Batch{Partition: partition})
	}},
	{"a context that has ended commits nothing", func(t *trial) {
		ended, cancel := context.WithCancel(t.ctx)
		cancel()
		t.want("Commit", t.Commit(ended, rows(put("r", "one"))), context.Canceled)
		t.wantRow("r", "")
	}},
}

var conditionSentences = []sentence{
	{"a write whose condition holds is made", func(t *trial) {
		t.commit(rows(work.Write{Row: "r", Value: []byte("one"), If: work.IfAbsent()}))
		t.commit(rows(work.Write{Row: "r", Value: []byte("two"), If: work.IfMatch(t.get("r").ETag)}))
		t.wantRow("r", "two")
		t.commit(rows(work.Write{Row: "r", Value: []byte("three"), If: work.Always()}))
		t.wantRow("r", "three")
		t.commit(rows(work.Write{Row: "r", Delete: true, If: work.IfMatch(t.get("r").ETag)}))
		t.wantRow("r", "")
		t.commit(rows(work.Write{Row: "r", Delete: true, If: work.IfAbsent()}))
	}},
	{"a condition that fails is ErrConflict and fails the whole commit", func(t *trial) {
		t.commit(rows(put("there", "old")))
		stale := t.get("there").ETag
		t.commit(rows(put("there", "new"), put("gone", "old")))
		gone := t.get("gone").ETag
		t.commit(rows(work.Write{Row: "gone", Delete: true}))

		for name, w := range map[string]work.Write{
			"put if absent over a row":         {Row: "there", Value: []byte("x"), If: work.IfAbsent()},
			"put over a newer version":         {Row: "there", Value: []byte("x"), If: work.IfMatch(stale)},
			"put over a deleted row":           {Row: "gone", Value: []byte("x"), If: work.IfMatch(gone)},
			"put over a row that never was":    {Row: "never", Value: []byte("x"), If: work.IfMatch(stale)},
			"put over a version of no backend": {Row: "there", Value: []byte("x"), If: work.IfMatch("nonsense")},
			"put over no version":              {Row: "there", Value: []byte("x"), If: work.IfMatch("")},
			"delete of a newer version":        {Row: "there", Delete: true, If: work.IfMatch(stale)},
			"delete of a deleted row":          {Row: "gone", Delete: true, If: work.IfMatch(gone)},
			"delete if absent of a row":        {Row: "there", Delete: true, If: work.IfAbsent()},
		} {
			// Good writes before and after, and a message: none of them may stay.
			b := rows(put("before", "x"), w, put("after", "x"))
			b.Messages = []work.Message{t.message()}
			t.want(name, t.Commit(t.ctx, b), work.ErrConflict)
			t.wantRow("there", "new")
			t.wantRow("gone", "")
			t.wantRow("before", "")
			t.wantRow("after", "")
		}
		t.wantNothingDue(queue)
	}},
	{"a version of another row is a conflict", func(t *trial) {
		t.commit(rows(put("r", "one")))
		t.commit(rows(put("s", "one")))
		w := work.Write{Row: "r", Value: []byte("x"), If: work.IfMatch(t.get("s").ETag)}
		t.want("Commit", t.Commit(t.ctx, rows(w)), work.ErrConflict)
		t.wantRow("r", "one")
	}},
}
