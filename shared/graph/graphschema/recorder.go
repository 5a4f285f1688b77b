package graphschema

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
)

// A Recorder is a transport that checks every v1.0 request and response that
// passes through it, and otherwise changes nothing. Requests to other paths
// (tokens, beta, control plane) pass unchecked. It is safe for concurrent use.
type Recorder struct {
	Base http.RoundTripper // nil means http.DefaultTransport

	mu    sync.Mutex
	tally Tally
}

// A Tally is what a Recorder has seen.
type Tally struct {
	Requests   int      // v1.0 requests checked
	Responses  int      // v1.0 responses checked; fewer than Requests when connections broke
	Properties int      // properties and query names checked in both
	Violations []string // "METHOD path: what is wrong"
}

// Tally returns a copy of the counts and violations so far.
func (r *Recorder) Tally() Tally {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.tally
	t.Violations = append([]string(nil), t.Violations...)
	return t
}

// RoundTrip implements [http.RoundTripper].
func (r *Recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	base := r.Base
	if base == nil {
		base = http.DefaultTransport
	}
	target, ok := strings.CutPrefix(req.URL.RequestURI(), "/v1.0")
	if !ok || !strings.HasPrefix(target, "/") {
		return base.RoundTrip(req)
	}
	var sent []byte
	if req.Body != nil && req.Body != http.NoBody {
		var err error
		sent, err = io.ReadAll(req.Body)
		req.Body.Close()
		if err != nil {
			return nil, err
		}
		// A transport must not change the caller's request.
		req = req.Clone(req.Context())
		req.Body = io.NopCloser(bytes.NewReader(sent))
	}
	asked := V1().CheckRequest(req.Method, target, sent)
	resp, err := base.RoundTrip(req)
	if err != nil {
		r.note(req.Method+" "+target+": ", asked, nil)
		return nil, err
	}
	got, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		r.note(req.Method+" "+target+": ", asked, nil)
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(got))
	answered := V1().CheckResponse(target, resp.StatusCode, got)
	if resp.StatusCode < 400 && strings.HasPrefix(target, "/$batch") {
		answered.add("", V1().CheckBatch(sent, got))
	}
	if resp.StatusCode == http.StatusBadRequest {
		// The server has found what is wrong, and the caller will hear of it.
		asked.Violations = nil
	}
	r.note(req.Method+" "+target+": ", asked, &answered)
	return resp, nil
}

func (r *Recorder) note(prefix string, asked Report, answered *Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := Report{}
	seen.add(prefix, asked)
	r.tally.Requests++
	if answered != nil {
		seen.add(prefix+"response ", *answered)
		r.tally.Responses++
	}
	r.tally.Properties += seen.Properties
	r.tally.Violations = append(r.tally.Violations, seen.Violations...)
}
