package work_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pinreset/shared/work"
)

func TestBulkQueues(t *testing.T) {
	t.Parallel()
	q := work.Queue("policy")
	if bulk := q.Bulk(); q.IsBulk() || !bulk.IsBulk() || bulk == q || bulk.Bulk() != bulk {
		t.Errorf("bulk of %s is %s, and of that %s", q, bulk, bulk.Bulk())
	}
}

func TestConditionTellsWhatItAsksFor(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		condition work.Condition
		absent    bool
		etag      string
		match     bool
	}{
		"zero":   {condition: work.Condition{}},
		"always": {condition: work.Always()},
		"absent": {condition: work.IfAbsent(), absent: true},
		"match":  {condition: work.IfMatch("v"), etag: "v", match: true},
	} {
		etag, match := test.condition.ETag()
		if test.condition.Absent() != test.absent || etag != test.etag || match != test.match {
			t.Errorf("%s: absent %v, ETag %q %v", name, test.condition.Absent(), etag, match)
		}
	}
}

// TestValidateSaysWhatAndByHowMuch; that backends refuse what Validate refuses is the suite's to show.
func TestValidateSaysWhatAndByHowMuch(t *testing.T) {
	t.Parallel()
	large := work.Write{Row: "large", Value: make([]byte, work.MaxValueBytes+1)}
	for want, b := range map[string]work.Batch{
		"row large has 778241 bytes, at most 778240": {Partition: "p", Writes: []work.Write{large}},
		"99 operations, at most 98":                  {Partition: "p", Writes: slices.Repeat([]work.Write{{Row: "r"}}, 99)},
		"row r written twice":                        {Partition: "p", Writes: []work.Write{{Row: "r"}, {Row: "r", Delete: true}}},
		`row has the character '/'`:                  {Partition: "p", Writes: []work.Write{{Row: "a/b"}}},
		"partition of 0 bytes, 1 to 511":             {Writes: []work.Write{{Row: "r"}}},
	} {
		err := b.Validate()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate: %v, want %q", err, want)
		}
		if !errors.Is(err, work.ErrTooLarge) && !errors.Is(err, work.ErrBadKey) {
			t.Errorf("Validate: %v is neither ErrTooLarge nor ErrBadKey", err)
		}
	}
	if err := (work.Batch{}).Validate(); err != nil {
		t.Errorf("Validate of an empty batch: %v", err)
	}
}

func TestDescendingTurnsTheOrder(t *testing.T) {
	t.Parallel()
	const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	random := rand.New(rand.NewPCG(1, 2))
	var ids []string
	for range 200 {
		id := make([]byte, 26)
		for i := range id {
			id[i] = alphabet[random.IntN(len(alphabet))]
		}
		ids = append(ids, string(id))
	}
	slices.Sort(ids)
	var turned []string
	for _, id := range ids {
		d := work.Descending(id)
		if work.Descending(d) != id {
			t.Errorf("%s turned twice is %s", id, work.Descending(d))
		}
		turned = append(turned, d)
	}
	if !slices.IsSortedFunc(turned, func(a, b string) int { return strings.Compare(b, a) }) {
		t.Error("descending keys do not sort the other way round")
	}
	if got := work.Descending("a-b"); got != "a-b" {
		t.Errorf("a-b became %s", got)
	}
}
