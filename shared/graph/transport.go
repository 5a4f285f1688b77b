package graph

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"pinreset/shared/diag"
)

// maxBody bounds an answer. A page of a thousand devices has about one MiB.
const maxBody = 8 << 20

var errTooLarge = errors.New("answer is larger than 8 MiB")

func (cfg Config) transport() http.RoundTripper {
	if cfg.Transport != nil {
		return cfg.Transport
	}
	return defaultTransport
}

func (cfg Config) wrapped(t http.RoundTripper) http.RoundTripper {
	if cfg.Wrap != nil {
		return cfg.Wrap(t)
	}
	return t
}

// defaultTransport keeps more connections to one host than net/http's, and gives up on one that does not answer.
var defaultTransport = func() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DialContext = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	t.MaxIdleConns, t.MaxIdleConnsPerHost = 256, 128
	// Over HTTP/2 one connection serves hundreds of calls. Those that begin before there is one would else dial one each.
	t.MaxConnsPerHost = 64
	t.ResponseHeaderTimeout = 60 * time.Second
	return t
}()

// once returns the transport for calls that must not reach Graph twice. Over HTTP/2, net/http sends a request without a
// body again when the stream breaks with certain errors, whatever its method; over HTTP/1.1 only if nothing of it was
// written.
func once(t http.RoundTripper) http.RoundTripper {
	h, ok := t.(*http.Transport)
	if !ok {
		return t
	}
	h = h.Clone()
	h.MaxConnsPerHost = 0
	h.Protocols = new(http.Protocols)
	h.Protocols.SetHTTP1(true)
	h.ForceAttemptHTTP2 = false
	// A transport that was in use offers h2 in its TLS settings, and its clone would, too.
	h.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	if h.TLSClientConfig != nil {
		h.TLSClientConfig.NextProtos = []string{"http/1.1"}
	}
	return h
}

// httpClient does what http.Client does less the redirects: one would take the token, or a POST, elsewhere.
func httpClient(t http.RoundTripper) *http.Client {
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// boundedTransport is the end of the pipeline: it limits what an answer may have in it.
type boundedTransport struct {
	client *http.Client
	once   *http.Client // of calls that must not reach Graph twice
}

func (t *boundedTransport) Do(req *http.Request) (*http.Response, error) {
	client := t.client
	if x, ok := req.Context().Value(exchangeKey{}).(*exchange); ok && x.request.oneShot {
		client = t.once
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	resp.Body = &boundedBody{resp.Body, maxBody}
	return resp, nil
}

type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

// tokenPath is how the token endpoint is named in errors.
const tokenPath = "/{tenant}/oauth2/v2.0/token"

// signIn is the transport of the credentials: it adds what the authority answered to the run's record.
type signIn struct {
	client    *http.Client
	now       func() time.Time
	discovery discovery
}

func (t *signIn) Do(req *http.Request) (*http.Response, error) {
	if resp := t.discovery.answer(req); resp != nil {
		return resp, nil
	}
	started := t.now()
	step := diag.Step{At: started, Kind: diag.KindCall, Text: req.Method + " " + Template(req.URL.Path), ClientRequestID: req.Header.Get("client-request-id")}
	defer func() {
		step.Milliseconds = milliseconds(t.now().Sub(started))
		diag.Add(req.Context(), step)
	}()
	resp, err := t.client.Do(req)
	if err != nil {
		return nil, err
	}
	resp.Body = &boundedBody{resp.Body, maxBody}
	step.Status = resp.StatusCode
	step.ServerDate = resp.Header.Get("Date")
	step.RetryAfter = resp.Header.Get("Retry-After")
	step.RequestID = resp.Header.Get("x-ms-request-id")
	if resp.StatusCode < 400 {
		if err := t.discovery.learn(req, resp); err != nil {
			return nil, err
		}
		return resp, nil // a token's body is not ours to read
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	_, e := tokenRefusal(resp, body, started)
	step.ErrorCode = e.Code
	if step.RequestID == "" {
		step.RequestID = e.RequestID
	}
	return resp, nil
}

// Template puts {id} in place of every GUID of a path, so that it says which call and not about whom.
func Template(path string) string {
	var b strings.Builder
	for i := 0; i < len(path); {
		if i+36 <= len(path) && isGUID(path[i:i+36]) {
			b.WriteString("{id}")
			i += 36
			continue
		}
		b.WriteByte(path[i])
		i++
	}
	return b.String()
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
