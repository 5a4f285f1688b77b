package sqlitework

import (
	"encoding/base64"
	"errors"
	"fmt"
	"testing"

	"pinreset/shared/work"
)

// FuzzPage: a page token opens the one list and place that it was made for; every other text is ErrBadPage.
func FuzzPage(f *testing.F) {
	s, err := Open(f.TempDir(), Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.Close() })
	issued := map[string]string{} // token, decoded → partition and prefix
	for _, partition := range []string{"p", "q"} {
		for i := range 4 {
			b := work.Batch{Partition: partition, Writes: []work.Write{{Row: fmt.Sprintf("a|%d", i), Value: []byte("{}")}, {Row: fmt.Sprintf("b|%d", i), Value: []byte("{}")}}}
			if err := s.Commit(f.Context(), b); err != nil {
				f.Fatal(err)
			}
		}
		for _, prefix := range []string{"a|", "b|", ""} {
			page, err := s.List(f.Context(), work.Query{Partition: partition, Prefix: prefix, Limit: 2})
			if err != nil || page.Next == "" {
				f.Fatalf("no next page: %v", err)
			}
			raw, err := base64.RawURLEncoding.DecodeString(page.Next)
			if err != nil {
				f.Fatal(err)
			}
			issued[string(raw)] = partition + " " + prefix
			for _, p := range []string{"p", "q"} {
				f.Add(p, "a|", page.Next)
				f.Add(p, "", page.Next+"A")
				f.Add(p, "b|", page.Next[1:])
			}
		}
	}
	f.Add("p", "a|", "")
	f.Add("p\x00", "\xff", "====")
	f.Fuzz(func(t *testing.T, partition, prefix, token string) {
		page, err := s.List(t.Context(), work.Query{Partition: partition, Prefix: prefix, Limit: 2, Page: token})
		if token == "" {
			return
		}
		raw, wrong := base64.RawURLEncoding.DecodeString(token)
		list, known := issued[string(raw)]
		if wrong == nil && known && list == partition+" "+prefix {
			if err != nil || len(page.Rows) != 2 {
				t.Fatalf("token of this list: %d rows, %v", len(page.Rows), err)
			}
			return
		}
		if !errors.Is(err, work.ErrBadPage) || len(page.Rows) > 0 {
			t.Fatalf("token %q opened %s %s: %d rows, %v", token, partition, prefix, len(page.Rows), err)
		}
	})
}
