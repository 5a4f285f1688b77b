package sqlitework

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"pinreset/shared/work"
)

// TestReadsNeverGoBack writes the same number into two rows at once, over and over, while others read one and then the other: the
// second is never behind the first, nor behind what its reader saw before. Values are so large that the cache turns over.
func TestReadsNeverGoBack(t *testing.T) {
	t.Parallel()
	s, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	type value struct {
		N    int    `json:"n"`
		Fill string `json:"fill"`
	}
	write := func(n int) error {
		body, err := json.Marshal(value{n, strings.Repeat("x", 60_000)})
		if err != nil {
			return err
		}
		b := work.Batch{Partition: "p", Writes: []work.Write{{Row: "first", Value: body}, {Row: "second", Value: body}}}
		for i := range 4 {
			b.Writes = append(b.Writes, work.Write{Row: fmt.Sprintf("other-%d-%d", n%10, i), Value: body})
		}
		return s.Commit(t.Context(), b)
	}
	if err := write(0); err != nil {
		t.Fatal(err)
	}
	read := func(row string) (int, error) {
		r, err := s.Get(t.Context(), work.Key{Partition: "p", Row: row})
		if err != nil {
			return 0, err
		}
		var v value
		return v.N, json.Unmarshal(r.Value, &v)
	}
	const turns = 150
	ended := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for last, final := 0, false; ; {
				select {
				case <-ended:
					final = true // these reads begin after the last commit
				default:
				}
				first, err := read("first")
				second, err2 := read("second")
				if err := errors.Join(err, err2); err != nil {
					t.Error(err)
					return
				}
				if first < last || second < first {
					t.Errorf("read %d, then %d, then %d", last, first, second)
					return
				}
				last = second
				if final {
					if last != turns {
						t.Errorf("the last read is %d, want %d", last, turns)
					}
					return
				}
			}
		})
	}
	for n := 1; n <= turns; n++ {
		if err := write(n); err != nil {
			t.Error(err)
			break
		}
		if got, err := read("first"); err != nil || got != n {
			t.Errorf("read %d (%v) after the commit of %d", got, err, n)
		}
	}
	close(ended)
	readers.Wait()
}

// TestCacheForgetsWhatIsErased: what was read before it was erased or its partition was is not there after.
func TestCacheForgetsWhatIsErased(t *testing.T) {
	t.Parallel()
	s, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	erase := map[string]func(key work.Key) error{
		"a row":       func(key work.Key) error { return s.Erase(t.Context(), key) },
		"a partition": func(key work.Key) error { _, _, err := s.ErasePartition(t.Context(), key.Partition); return err },
		"by a commit": func(key work.Key) error {
			return s.Commit(t.Context(), work.Batch{Partition: key.Partition, Writes: []work.Write{{Row: key.Row, Delete: true}}})
		},
	}
	for name, erase := range erase {
		key := work.Key{Partition: name, Row: "r"}
		put := work.Batch{Partition: name, Writes: []work.Write{{Row: "r", Value: []byte("1"), If: work.IfAbsent()}}}
		for range 2 { // the second time it must be absent for the condition, too
			if err := s.Commit(t.Context(), put); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if _, err := s.Get(t.Context(), key); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if err := erase(key); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if _, err := s.Get(t.Context(), key); !errors.Is(err, work.ErrNotFound) {
				t.Errorf("%s: %v after it was erased", name, err)
			}
		}
	}
}
