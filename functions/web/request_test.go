package web_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"pinreset/shared/fault"
)

// answer is what a request got.
type answer struct {
	status int
	header http.Header
	body   []byte
}

type option func(*http.Request)

func key(k string) option { return header("Idempotency-Key", k) }

func header(name, value string) option {
	return func(r *http.Request) {
		if value == "" {
			r.Header.Del(name)
		} else {
			r.Header.Set(name, value)
		}
	}
}

var keys atomic.Int64

// call sends a JSON request with a token, and a fresh idempotency key unless an option says otherwise.
func (f *fixture) call(method, path, token string, body any, options ...option) answer {
	f.t.Helper()
	var sent io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		sent = strings.NewReader(b)
	case []byte:
		sent = bytes.NewReader(b)
	case io.Reader:
		sent = b
	default:
		text, err := json.Marshal(b)
		if err != nil {
			f.t.Fatal(err)
		}
		sent = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(f.t.Context(), method, f.server.URL+path, sent)
	if err != nil {
		f.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if sent != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if method == http.MethodPost {
		r.Header.Set("Idempotency-Key", fmt.Sprintf("key-%d", keys.Add(1)))
	}
	for _, o := range options {
		o(r)
	}
	return f.send(http.DefaultTransport, r)
}

func (f *fixture) send(transport http.RoundTripper, r *http.Request) answer {
	f.t.Helper()
	res, err := transport.RoundTrip(r)
	if err != nil {
		f.t.Fatalf("%s %s: %v", r.Method, r.URL.Path, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		f.t.Fatalf("%s %s: %v", r.Method, r.URL.Path, err)
	}
	return answer{status: res.StatusCode, header: res.Header, body: text}
}

func (a answer) want(t testing.TB, status int) {
	t.Helper()
	if a.status != status {
		t.Fatalf("status %d, want %d: %s", a.status, status, cmp.Or(string(a.body), "(no body)"))
	}
}

// refused checks that the answer is a problem with the code.
func (a answer) refused(t testing.TB, status int, code fault.Code) {
	t.Helper()
	var p struct {
		Type, Title, Detail, CorrelationID string
		Status                             int
		Code                               fault.Code
		Fix                                []string
	}
	if err := json.Unmarshal(a.body, &p); err != nil || a.header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("not a problem: %d %s %s", a.status, a.header.Get("Content-Type"), a.body)
	}
	if a.status != status || p.Status != status || p.Code != code || p.Type != "/problems/"+string(code) || p.Title == "" || p.Detail == "" || len(p.Fix) == 0 {
		t.Fatalf("got %d %s, want %d %s: %s", a.status, p.Code, status, code, a.body)
	}
	if status != http.StatusNotFound && p.CorrelationID != a.header.Get("X-Correlation-Id") {
		t.Errorf("correlation id %q in the body, %q in the header", p.CorrelationID, a.header.Get("X-Correlation-Id"))
	}
}

func (a answer) into(t testing.TB, v any) {
	t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
}

func (a answer) field(t testing.TB, name string) string {
	t.Helper()
	var all map[string]any
	a.into(t, &all)
	text, ok := all[name].(string)
	if !ok {
		t.Fatalf("no text %s in %s", name, a.body)
	}
	return text
}
