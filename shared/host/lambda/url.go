package lambda

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/events"
)

// maxAnswer is the most that a buffered answer may be, as JSON (AWS's page "Lambda quotas": 6 MB).
const maxAnswer = 6 << 20

// request passes a request of the function URL on and returns its answer.
func (h *Host) request(ctx context.Context, f *Functions, payload []byte) ([]byte, error) {
	if f.HTTP == nil {
		return nil, fmt.Errorf("a request of a function URL: %w", errNoFunction)
	}
	var e events.LambdaFunctionURLRequest
	if err := json.Unmarshal(payload, &e); err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	r, err := httpRequest(ctx, e)
	if err != nil {
		return answered(http.StatusBadRequest, "The request can't be read.")
	}
	a := &httpAnswer{header: http.Header{}, method: r.Method}
	if err := h.guarded(ctx, func() error { f.HTTP.ServeHTTP(a, r); return nil }); err != nil {
		// A handler that is stuck may still write, so its answer is left alone.
		h.o.Logger.ErrorContext(ctx, "request failed", "cause", err.Error())
		return answered(http.StatusInternalServerError, "The request could not be answered.")
	}
	body, err := json.Marshal(a.response())
	if err == nil && len(body) > maxAnswer {
		return answered(http.StatusBadGateway, "The answer is larger than a function URL can carry.")
	}
	return body, err
}

// httpRequest is the request as the caller made it: the method, the path and the query as they were written, and the body's bytes. Of
// headers that came more than once the platform has made one, with commas between; cookies it has apart.
func httpRequest(ctx context.Context, e events.LambdaFunctionURLRequest) (*http.Request, error) {
	body := []byte(e.Body)
	if e.IsBase64Encoded {
		var err error
		if body, err = base64.StdEncoding.DecodeString(e.Body); err != nil {
			return nil, fmt.Errorf("decode body: %w", err)
		}
	}
	target := e.RawPath
	if !strings.HasPrefix(target, "/") {
		target = "/" + target
	}
	if e.RawQueryString != "" {
		target += "?" + e.RawQueryString
	}
	host := e.RequestContext.DomainName
	for name, value := range e.Headers {
		if strings.EqualFold(name, "Host") {
			host = value
		}
	}
	// With a host in front, a path that begins with two slashes is not taken for one.
	r, err := http.NewRequestWithContext(ctx, e.RequestContext.HTTP.Method, "https://"+host+target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.RequestURI, r.Host, r.URL.Scheme, r.URL.Host = target, host, "", ""
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1
	r.RemoteAddr = net.JoinHostPort(e.RequestContext.HTTP.SourceIP, "0") // the port is not told
	for name, value := range e.Headers {
		r.Header.Set(name, value)
	}
	r.Header.Del("Host")
	if len(e.Cookies) > 0 {
		r.Header.Set("Cookie", strings.Join(e.Cookies, "; "))
	}
	return r, nil
}

// httpAnswer collects what a handler writes.
type httpAnswer struct {
	header http.Header
	sent   http.Header // as it was when the status was written; nil before
	status int
	method string
	body   bytes.Buffer
}

func (a *httpAnswer) Header() http.Header { return a.header }

func (a *httpAnswer) WriteHeader(status int) {
	if a.sent == nil && status >= 200 { // there is no way to send those below
		a.status, a.sent = status, a.header.Clone()
	}
}

func (a *httpAnswer) Write(p []byte) (int, error) {
	if a.sent == nil {
		if a.header.Get("Content-Type") == "" {
			a.header.Set("Content-Type", http.DetectContentType(p))
		}
		a.WriteHeader(http.StatusOK)
	}
	if a.method == http.MethodHead {
		return len(p), nil
	}
	return a.body.Write(p)
}

func (a *httpAnswer) response() events.LambdaFunctionURLResponse {
	a.WriteHeader(http.StatusOK)
	out := events.LambdaFunctionURLResponse{StatusCode: a.status, Headers: map[string]string{}}
	for name, values := range a.sent {
		if name == "Set-Cookie" { // the one header whose values can't stand in one line
			out.Cookies = values
			continue
		}
		out.Headers[name] = strings.Join(values, ", ")
	}
	if body := a.body.Bytes(); utf8.Valid(body) {
		out.Body = string(body)
	} else {
		out.Body, out.IsBase64Encoded = base64.StdEncoding.EncodeToString(body), true
	}
	return out
}

func answered(status int, text string) ([]byte, error) {
	return json.Marshal(events.LambdaFunctionURLResponse{StatusCode: status, Body: text, Headers: map[string]string{"Content-Type": "text/plain; charset=utf-8"}})
}
