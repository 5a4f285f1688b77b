package tables_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
	"pinreset/shared/work/outbox/outboxtest"
	"pinreset/shared/work/tables"
	"pinreset/shared/work/tables/tablestest"
)

const tenant = "tenant-a"

func put(row, value string) work.Write { return work.Write{Row: row, Value: []byte(value)} }

func transact(t *testing.T, table *tables.Table, writes ...work.Write) {
	t.Helper()
	if err := table.Transact(t.Context(), tenant, writes); err != nil {
		t.Fatalf("Transact: %v", err)
	}
}

func version(t *testing.T, table *tables.Table, row string) string {
	t.Helper()
	got, err := table.Get(t.Context(), work.Key{Partition: tenant, Row: row})
	if err != nil {
		t.Fatalf("Get %s: %v", row, err)
	}
	return got.ETag
}

// TestRefusalTellsTheWrite: a transaction that is refused says which of its writes it was, wherever that stands.
func TestRefusalTellsTheWrite(t *testing.T) {
	t.Parallel()
	table := tablestest.Open(t, tables.Options{})
	transact(t, table, put("there", "old"), put("gone", "x"))
	stale, gone := version(t, table, "there"), version(t, table, "gone")
	transact(t, table, put("there", "new"), work.Write{Row: "gone", Delete: true})
	for name, w := range map[string]work.Write{
		"exists":            {Row: "there", If: work.IfAbsent()},
		"changed":           {Row: "there", If: work.IfMatch(stale)},
		"missing":           {Row: "gone", If: work.IfMatch(gone)},
		"no version":        {Row: "there", If: work.IfMatch("nonsense")},
		"any version":       {Row: "there", If: work.IfMatch("*")},
		"delete changed":    {Row: "there", Delete: true, If: work.IfMatch(stale)},
		"delete missing":    {Row: "gone", Delete: true, If: work.IfMatch(gone)},
		"delete if there":   {Row: "there", Delete: true, If: work.IfAbsent()},
		"delete no version": {Row: "there", Delete: true, If: work.IfMatch("")},
	} {
		for _, writes := range [][]work.Write{
			{w}, {w, put("a", "x"), put("b", "x")}, {put("a", "x"), w, put("b", "x")}, {put("a", "x"), put("b", "x"), w},
			// Deletions of nothing are left out of the transaction, and must not shift the count.
			{{Row: "never", Delete: true}, put("a", "x"), {Row: "never either", Delete: true}, w},
		} {
			err := table.Transact(t.Context(), tenant, writes)
			var refused *outbox.Refused
			if !errors.As(err, &refused) || !errors.Is(err, work.ErrConflict) || writes[refused.Write].Row != w.Row {
				t.Errorf("%s, in %d writes: %v, want a refusal of %s", name, len(writes), err, w.Row)
			}
			if page, err := table.List(t.Context(), work.Query{Partition: tenant}); err != nil || len(page.Rows) != 1 {
				t.Fatalf("%s: rows %v, %v, want one", name, page.Rows, err)
			}
		}
	}
}

func TestDeletionsOfNothing(t *testing.T) {
	t.Parallel()
	table := tablestest.Open(t, tables.Options{})
	transact(t, table, put("r", "x"), put("s", "x"))
	var writes []work.Write
	for i := range 97 {
		writes = append(writes, work.Write{Row: fmt.Sprintf("never-%d", i), Delete: true})
	}
	transact(t, table, append(writes, work.Write{Row: "r", Delete: true}, put("t", "x"), work.Write{Row: "n", Delete: true, If: work.IfAbsent()})...)
	transact(t, table, writes...)
	page, err := table.List(t.Context(), work.Query{Partition: tenant})
	if err != nil || len(page.Rows) != 2 || page.Rows[0].Row != "s" || page.Rows[1].Row != "t" {
		t.Errorf("rows %v, %v, want s and t", page.Rows, err)
	}
}

// TestLimits: what the service refuses is refused here, and what it takes is taken. The emulator takes more than the service, and
// can't be asked.
func TestLimits(t *testing.T) {
	t.Parallel()
	table := tablestest.Open(t, tables.Options{})
	many := func(n int) (writes []work.Write) {
		for i := range n {
			writes = append(writes, put(fmt.Sprintf("r-%03d", i), "x"))
		}
		return writes
	}
	large := func(n int) (writes []work.Write) {
		for i := range n {
			writes = append(writes, work.Write{Row: fmt.Sprintf("large-%d", i), Value: make([]byte, work.MaxValueBytes)})
		}
		return writes
	}
	full := func() (writes []work.Write) { // as much as package work lets into one commit, in as many rows
		for i := range work.MaxOperations {
			writes = append(writes, work.Write{Row: fmt.Sprintf("full-%03d", i), Value: make([]byte, work.MaxBatchBytes/work.MaxOperations-8)})
		}
		return writes
	}
	key := func(n int) []work.Write { return []work.Write{put(strings.Repeat("k", n), "x")} }
	for _, test := range []struct {
		name   string
		writes []work.Write
		want   error
	}{
		{"100 operations", many(outbox.MaxTransaction), nil},
		{"101 operations", many(outbox.MaxTransaction + 1), work.ErrTooLarge},
		{"3 large rows", large(3), nil},
		{"a full commit", full(), nil},
		{"a request of more than 4 MiB", large(5), work.ErrTooLarge},
		{"an entity of more than 1 MiB", []work.Write{{Row: "r", Value: make([]byte, 1<<20)}}, work.ErrTooLarge},
		{"a key of 512", key(512), nil},
		{"a key of 513", key(513), work.ErrBadKey},
		{"no key", key(0), work.ErrBadKey},
		{"a quote", []work.Write{put("it's", "x")}, work.ErrBadKey},
		{"a slash", []work.Write{put("a/b", "x")}, work.ErrBadKey},
		{"a tab", []work.Write{put("a\tb", "x")}, work.ErrBadKey},
		{"a row twice", []work.Write{put("r", "x"), put("r", "y")}, work.ErrBadKey},
	} {
		if err := table.Transact(t.Context(), tenant, test.writes); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
	if err := table.Transact(t.Context(), "a#b", many(1)); !errors.Is(err, work.ErrBadKey) {
		t.Errorf("a partition with a number sign: %v, want ErrBadKey", err)
	}
	for _, k := range []work.Key{{Partition: "", Row: "r"}, {Partition: tenant, Row: "it's"}, {Partition: "a/b", Row: "r"}} {
		if _, err := table.Get(t.Context(), k); !errors.Is(err, work.ErrNotFound) {
			t.Errorf("Get %q: %v, want ErrNotFound", k, err)
		}
	}
}

func TestValuesOfEverySize(t *testing.T) {
	t.Parallel()
	table := tablestest.Open(t, tables.Options{})
	for _, n := range []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 640 << 10, work.MaxValueBytes} {
		value := make([]byte, n)
		for i := range value {
			value[i] = byte(i*7 + i>>8)
		}
		transact(t, table, work.Write{Row: "r", Value: value})
		got, err := table.Get(t.Context(), work.Key{Partition: tenant, Row: "r"})
		if err != nil || !bytes.Equal(got.Value, value) {
			t.Errorf("%d bytes came back as %d, %v", n, len(got.Value), err)
		}
		page, err := table.List(t.Context(), work.Query{Partition: tenant})
		if err != nil || len(page.Rows) != 1 || !bytes.Equal(page.Rows[0].Value, value) || page.Rows[0].ETag != got.ETag {
			t.Errorf("%d bytes are listed otherwise, %v", n, err)
		}
	}
}

// TestAnswerLost: the answer to a transaction gets lost on its way, the client repeats it and is refused by its own
// writes; the commit above is made once and told as made.
func TestAnswerLost(t *testing.T) {
	t.Parallel()
	lossy := &lossy{}
	table := tablestest.Open(t, tables.Options{Transport: lossy})
	queue := &outboxtest.Queue{}
	s := outbox.New(table, queue, outbox.Options{NewID: numbered()})
	m := work.Message{ID: "m", Queue: "jobs", Partition: tenant}
	warm := work.Batch{Partition: tenant, Messages: []work.Message{{ID: "warm", Queue: "elsewhere", Partition: tenant}}}
	if err := s.Commit(t.Context(), warm); err != nil {
		t.Fatal(err)
	}
	lossy.lose.Store(1)
	b := work.Batch{Partition: tenant, Writes: []work.Write{{Row: "r", Value: []byte("x"), If: work.IfAbsent()}}, Messages: []work.Message{m}}
	if err := s.Commit(t.Context(), b); err != nil {
		t.Fatalf("Commit: %v", err)
	}
	ds, err := s.Receive(t.Context(), "jobs", 1)
	if err != nil {
		t.Fatal(err)
	}
	lossy.lose.Store(1)
	w := work.Write{Row: "r", Value: []byte("y"), If: work.IfMatch(version(t, table, "rr"))}
	if err := s.Settle(t.Context(), ds[0], work.Batch{Partition: tenant, Writes: []work.Write{w}}, work.Outcome{}); err != nil {
		t.Fatalf("Settle: %v", err)
	}
	if lost := lossy.lost.Load(); lost != 2 {
		t.Errorf("%d answers were lost, want 2", lost)
	}
}

// lossy loses answers to transactions that were made.
type lossy struct{ lose, lost atomic.Int32 }

func (l *lossy) Do(r *http.Request) (*http.Response, error) {
	answer, err := http.DefaultClient.Do(r)
	if err == nil && strings.HasSuffix(r.URL.Path, "$batch") && l.lose.Add(-1) == 0 {
		l.lost.Add(1)
		return nil, errors.Join(errors.New("the connection was reset"), answer.Body.Close())
	}
	return answer, err
}

// service is a table service that answers as the test likes.
func service(t *testing.T, o tables.Options, answer http.HandlerFunc) *tables.Table {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	table, err := tables.NewFromConnectionString("DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;TableEndpoint="+server.URL, o)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// TestEveryCallEnds though the service never answers.
func TestEveryCallEnds(t *testing.T) {
	t.Parallel()
	table := service(t, tables.Options{Timeout: 300 * time.Millisecond}, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	ctx := context.WithoutCancel(t.Context())
	_, err := table.Get(ctx, work.Key{Partition: "p", Row: "r"})
	for name, err := range map[string]error{
		"Get": err, "Transact": table.Transact(ctx, "p", []work.Write{put("r", "x")}), "Create": table.Create(ctx),
		"List": func() error { _, err := table.List(ctx, work.Query{Partition: "p"}); return err }(),
	} {
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v, want DeadlineExceeded", name, err)
		}
	}
}

// TestAnswersThatAreNone: an answer that can't be understood is neither success nor refusal.
func TestAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	const outer = "multipart/mixed; boundary=b"
	open := "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n"
	made := "--c\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n\r\n"
	for name, test := range map[string]struct {
		contentType, body string
		made              bool
	}{
		"whole":             {outer, open + made + made + "--c--\r\n--b--\r\n", true},
		"empty":             {outer, "", false},
		"no parts":          {outer, open + "--c--\r\n--b--\r\n", false},
		"one part too few":  {outer, open + made + "--c--\r\n--b--\r\n", false},
		"one part too many": {outer, open + made + made + made + "--c--\r\n--b--\r\n", false},
		"cut short":         {outer, open + made + "--c\r\nContent-Type: application/http\r\n\r\nHTT", false},
		"not multipart":     {"text/html", "<html>gateway</html>", false},
		"no type":           {"", open + made + made + "--c--\r\n--b--\r\n", false},
	} {
		table := service(t, tables.Options{Timeout: 5 * time.Second}, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", test.contentType)
			w.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(w, test.body)
		})
		err := table.Transact(t.Context(), "p", []work.Write{put("r", "x"), put("s", "x")})
		if (err == nil) != test.made || errors.Is(err, work.ErrConflict) {
			t.Errorf("%s: %v, want made: %v", name, err, test.made)
		}
	}
}

// TestServiceBusyInside: a transaction that is refused for now, inside of an answer that looks like success, is repeated.
func TestServiceBusyInside(t *testing.T) {
	t.Parallel()
	inner := func(status, body string) string {
		return "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\nContent-Type: application/http\r\n\r\nHTTP/1.1 " + status +
			"\r\nContent-Type: application/json\r\n\r\n" + body + "\r\n--c--\r\n--b--\r\n"
	}
	var asked atomic.Int32
	table := service(t, tables.Options{}, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "multipart/mixed; boundary=b")
		w.WriteHeader(http.StatusAccepted)
		body := inner("503 Service Unavailable", `{"odata.error":{"code":"ServerBusy","message":{"lang":"en-US","value":"0:The server is busy."}}}`)
		if asked.Add(1) == 2 {
			body = inner("204 No Content", "")
		}
		_, _ = io.WriteString(w, body)
	})
	if err := table.Transact(t.Context(), "p", []work.Write{put("r", "x")}); err != nil || asked.Load() != 2 {
		t.Errorf("Transact: %v after %d requests, want success after 2", err, asked.Load())
	}
}

// TestCheckSaysWhatIsWrong at start.
func TestCheckSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	if err := tablestest.Open(t, tables.Options{}).Check(t.Context()); err != nil {
		t.Errorf("Check: %v", err)
	}
	for want, test := range map[string]struct {
		status int
		code   string
	}{
		"table pinreset does not exist in this account": {http.StatusNotFound, "TableNotFound"},
		"needs the role Storage Table Data Contributor": {http.StatusForbidden, "AuthorizationPermissionMismatch"},
	} {
		table := service(t, tables.Options{}, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("x-ms-error-code", test.code)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(test.status)
			fmt.Fprintf(w, `{"odata.error":{"code":%q,"message":{"lang":"en-US","value":"no"}}}`, test.code)
		})
		if err := table.Check(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Check with %s: %v, want %q", test.code, err, want)
		}
		if _, err := table.Get(t.Context(), work.Key{Partition: "p", Row: "r"}); err == nil || errors.Is(err, work.ErrNotFound) {
			t.Errorf("Get with %s: %v, want an error that is not ErrNotFound", test.code, err)
		}
	}
}

// TestEmptyPages: the service may end an answer before it has found anything; the list goes on.
func TestEmptyPages(t *testing.T) {
	t.Parallel()
	asked := 0
	table := service(t, tables.Options{}, func(w http.ResponseWriter, r *http.Request) {
		asked++
		w.Header().Set("Content-Type", "application/json")
		if asked < 4 {
			w.Header().Set("x-ms-continuation-NextPartitionKey", "next")
			w.Header().Set("x-ms-continuation-NextRowKey", fmt.Sprint("next", asked))
			_, _ = io.WriteString(w, `{"value":[]}`)
			return
		}
		if got := r.URL.Query().Get("NextRowKey"); got != "next3" {
			t.Errorf("it goes on at %q, want next3", got)
		}
		_, _ = io.WriteString(w, `{"value":[{"PartitionKey":"p","RowKey":"r","odata.etag":"W/\"datetime'1'\"","v00":"eA=="}]}`)
	})
	page, err := table.List(t.Context(), work.Query{Partition: "p"})
	if err != nil || len(page.Rows) != 1 || string(page.Rows[0].Value) != "x" || page.Next != "" {
		t.Errorf("List: %v, next %q, %v, want the one row", page.Rows, page.Next, err)
	}
}
