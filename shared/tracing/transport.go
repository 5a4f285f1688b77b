package tracing

import (
	"net/http"
	"strconv"
)

// Transport returns a transport whose requests are spans, named by their method and by what path makes of the address's
// path: it takes the ids out. The trace context is not sent along: whom we call has no need of it.
func (t *Tracer) Transport(next http.RoundTripper, path func(string) string) http.RoundTripper {
	if t == nil {
		return next
	}
	return &transport{tracer: t, next: next, path: path}
}

type transport struct {
	tracer *Tracer
	next   http.RoundTripper
	path   func(string) string
}

// RoundTrip implements http.RoundTripper. The span ends when the answer's header is there.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	path := t.path(req.URL.Path)
	_, span := t.tracer.Start(req.Context(), Client, req.Method+" "+path)
	defer span.End()
	span.Text("http.request.method", req.Method)
	span.Text("url.template", path)
	span.Text("server.address", req.URL.Hostname())
	span.Text("pinreset.client_request_id", req.Header.Get("client-request-id"))
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		span.Fail("no_answer")
		return resp, err
	}
	span.Int("http.response.status_code", resp.StatusCode)
	span.Text("pinreset.graph_request_id", resp.Header.Get("request-id"))
	if resp.StatusCode >= 400 {
		span.Fail(strconv.Itoa(resp.StatusCode))
	}
	return resp, nil
}

// CloseIdleConnections passes on what http.Client asks of its transport.
func (t *transport) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
