package worktest

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"pinreset/shared/work"
)

// list reads all pages.
func (t *trial) list(q work.Query) []string {
	t.Helper()
	var keys []string
	for {
		page, err := t.List(t.ctx, q)
		if err != nil {
			t.Fatalf("List %q: %v", q.Prefix, err)
		}
		limit := q.Limit
		if limit == 0 {
			limit = 100
		}
		if len(page.Rows) > limit {
			t.Fatalf("a page has %d rows, at most %d", len(page.Rows), limit)
		}
		for _, r := range page.Rows {
			keys = append(keys, r.Row)
		}
		if page.Next == "" {
			return keys
		}
		q.Page = page.Next
	}
}

// fill puts n rows row-000, row-001, …
func (t *trial) fill(partition, prefix string, n int) (keys []string) {
	t.Helper()
	for keys := range slices.Chunk(numbered(prefix, n), work.MaxOperations) {
		b := work.Batch{Partition: partition}
		for _, key := range keys {
			b.Writes = append(b.Writes, put(key, "value of "+key))
		}
		t.commit(b)
	}
	return numbered(prefix, n)
}

func numbered(prefix string, n int) (keys []string) {
	for i := range n {
		keys = append(keys, fmt.Sprintf("%s%03d", prefix, i))
	}
	return keys
}

var listSentences = []sentence{
	{"a list has the rows of its prefix in byte order", func(t *trial) {
		keys := []string{"a", "a!", "a-1", "a-10", "a-2", "a_1", "aa", "A", "b", "~", "a~"}
		for _, key := range keys {
			t.commit(rows(put(key, "value of "+key)))
		}
		slices.Sort(keys)
		for _, prefix := range []string{"", "a", "a-", "a-1", "A", "b", "a-10", "zz"} {
			want := slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return !strings.HasPrefix(k, prefix) })
			if got := t.list(work.Query{Partition: partition, Prefix: prefix}); !slices.Equal(got, want) {
				t.Errorf("prefix %q: %q, want %q", prefix, got, want)
			}
		}
	}},
	{"a listed row is the row that Get returns", func(t *trial) {
		t.commit(rows(put("r", "one")))
		page, err := t.List(t.ctx, work.Query{Partition: partition})
		if err != nil || len(page.Rows) != 1 {
			t.Fatalf("List: %v, %v, want one row", page, err)
		}
		got, want := page.Rows[0], t.get("r")
		if got.Key != want.Key || got.ETag != want.ETag || string(got.Value) != string(want.Value) {
			t.Errorf("listed %v, got %v", got, want)
		}
	}},
	{"a prefix is text and no pattern", func(t *trial) {
		t.commit(rows(put("abc", "x"), put("a_c", "x"), put("a*c", "x"), put("[a]c", "x")))
		for prefix, want := range map[string][]string{"a_": {"a_c"}, "a*": {"a*c"}, "[a]": {"[a]c"}, "%": nil, "a'": nil} {
			if got := t.list(work.Query{Partition: partition, Prefix: prefix}); !slices.Equal(got, want) {
				t.Errorf("prefix %q: %q, want %q", prefix, got, want)
			}
		}
	}},
	{"a list ends before the key that it is told", func(t *trial) {
		t.fill(partition, "a-", 3)
		t.fill(partition, "b-", 10)
		t.fill(partition, "c-", 3)
		for _, c := range []struct {
			prefix, before string
			want           int
		}{
			{"b-", "b-004", 4}, {"b-", "b-0035", 4}, {"b-", "b-", 0}, {"b-", "b-000", 0}, {"b-", "c", 10}, {"b-", "a-002", 0}, {"b-", "~", 10}, {"", "b-004", 7},
		} {
			for _, limit := range []int{0, 1, 3, 4} {
				if got := t.list(work.Query{Partition: partition, Prefix: c.prefix, Before: c.before, Limit: limit}); len(got) != c.want || len(got) > 0 && slices.Max(got) >= c.before {
					t.Errorf("prefix %q before %q by %d: %q, want %d rows", c.prefix, c.before, limit, got, c.want)
				}
			}
		}
	}},
	{"a list stays in its partition", func(t *trial) {
		own := t.fill(partition, "row-", 5)
		t.fill(partition+"b", "row-", 7)
		t.fill("tenant", "row-", 7)
		if got := t.list(work.Query{Partition: partition, Limit: 2}); !slices.Equal(got, own) {
			t.Errorf("List: %q, want %q", got, own)
		}
		if got := t.list(work.Query{Partition: "nobody"}); len(got) != 0 {
			t.Errorf("List of an empty partition: %q", got)
		}
	}},
	{"pages follow each other without gap or repeat, whatever their size", func(t *trial) {
		t.fill(partition, "a-", 3)
		want := t.fill(partition, "b-", 130)
		t.fill(partition, "c-", 3)
		for _, limit := range []int{0, 1, 7, 65, 130, 131, 1000} {
			if got := t.list(work.Query{Partition: partition, Prefix: "b-", Limit: limit}); !slices.Equal(got, want) {
				t.Errorf("limit %d: %d rows, want %d", limit, len(got), len(want))
			}
		}
	}},
	{"a page has 100 rows when no limit is given", func(t *trial) {
		t.fill(partition, "row-", 101)
		page, err := t.List(t.ctx, work.Query{Partition: partition})
		if err != nil || len(page.Rows) != 100 || page.Next == "" {
			t.Errorf("List: %d rows, next %q, %v, want 100 and a next page", len(page.Rows), page.Next, err)
		}
	}},
	{"a list goes on behind the last row seen though that was deleted and others came", func(t *trial) {
		keys := t.fill(partition, "row-", 10)
		page, err := t.List(t.ctx, work.Query{Partition: partition, Limit: 5})
		if err != nil || page.Next == "" {
			t.Fatalf("List: next %q, %v", page.Next, err)
		}
		t.commit(rows(work.Write{Row: keys[4], Delete: true}, put("row-0045", "new"), put("row-0005", "too late")))
		got := t.list(work.Query{Partition: partition, Limit: 5, Page: page.Next})
		if want := append([]string{"row-0045"}, keys[5:]...); !slices.Equal(got, want) {
			t.Errorf("rest is %q, want %q", got, want)
		}
	}},
	{"a page token is good for its own list alone", func(t *trial) {
		for _, p := range []string{partition, "tenant-b"} {
			t.fill(p, "a-", 5)
			t.fill(p, "b-", 5)
		}
		own := work.Query{Partition: partition, Prefix: "a-", Limit: 2}
		page, err := t.List(t.ctx, own)
		if err != nil || page.Next == "" {
			t.Fatalf("List: next %q, %v", page.Next, err)
		}
		token := page.Next
		for name, q := range map[string]work.Query{
			"another partition":   {Partition: "tenant-b", Prefix: "a-", Page: token},
			"another prefix":      {Partition: partition, Prefix: "b-", Page: token},
			"a wider prefix":      {Partition: partition, Page: token},
			"nonsense":            {Partition: partition, Prefix: "a-", Page: "nonsense"},
			"a row key":           {Partition: partition, Prefix: "a-", Page: "a-001"},
			"an encoded row key":  {Partition: partition, Prefix: "a-", Page: base64.RawURLEncoding.EncodeToString([]byte("a-001"))},
			"a token cut short":   {Partition: partition, Prefix: "a-", Page: token[:len(token)-3]},
			"a token made longer": {Partition: partition, Prefix: "a-", Page: token + "AAAA"},
		} {
			page, err := t.List(t.ctx, q)
			t.want(name, err, work.ErrBadPage)
			if len(page.Rows) > 0 {
				t.Errorf("%s: %d rows came with the refusal", name, len(page.Rows))
			}
		}
		own.Page, own.Limit = token, 100
		if got := t.list(own); len(got) != 3 {
			t.Errorf("the token's own list goes on with %q, want 3 rows", got)
		}
	}},
}
