package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxAnswer bounds an answer; the largest honest one, a page of 200 audit entries or a long timeline, is far below it.
const maxAnswer = 16 << 20

// Options say which server to call and as whom.
type Options struct {
	Server string // "http://127.0.0.1:8080"; plain HTTP is for a loopback host only, as the token travels with every call
	Token  string // bearer token, "" for the calls that need none

	HTTP    *http.Client                                     // nil: a client of its own with a timeout of 30 s a call
	NewKey  func() string                                    // makes Idempotency-Keys; nil: 128 random bits
	Sleep   func(ctx context.Context, d time.Duration) error // pauses between repeats and polls; nil: on the clock
	Observe func(Exchange)                                   // told of every exchange, from the caller's goroutine; may be nil
}

// Exchange is one request and its answer, for people who look for the matching line in the server's log.
type Exchange struct {
	Method        string
	Path          string // without the query, which can name people and devices
	Attempt       int    // 1 is the first
	Status        int    // 0 when no answer came
	CorrelationID string // the server's name for the exchange
	Took          time.Duration
}

// Client calls one server with one credential. It is safe for concurrent use.
type Client struct {
	base      *url.URL
	authorize func(http.Header) // a closure, so that printing a Client shows no token
	http      *http.Client
	newKey    func() string
	sleep     func(context.Context, time.Duration) error
	observe   func(Exchange)
}

// New returns a client, or an error when the server's address or the token can't be used.
func New(o Options) (*Client, error) {
	base, err := parseServer(o.Server)
	if err != nil {
		return nil, err
	}
	if strings.ContainsFunc(o.Token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return nil, errors.New("token has a character that no token has")
	}
	c := &Client{
		base: base, authorize: func(http.Header) {}, http: &http.Client{Timeout: 30 * time.Second},
		newKey: rand.Text, sleep: pause, observe: func(Exchange) {},
	}
	if o.Token != "" {
		c.authorize = func(h http.Header) { h.Set("Authorization", "Bearer "+o.Token) }
	}
	if o.HTTP != nil {
		own := *o.HTTP
		c.http = &own
	}
	// The API redirects nowhere: whoever answers so is not it, and must not be sent the token.
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if o.NewKey != nil {
		c.newKey = o.NewKey
	}
	if o.Sleep != nil {
		c.sleep = o.Sleep
	}
	if o.Observe != nil {
		c.observe = o.Observe
	}
	return c, nil
}

func parseServer(server string) (*url.URL, error) {
	u, err := url.Parse(server)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "" || (u.Scheme != "http" && u.Scheme != "https"):
		return nil, fmt.Errorf("server %q is not an http or https address", server)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("server address %s must be scheme, host and path only", u.Redacted())
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, fmt.Errorf("server %q must be https: plain http would show the token to the network", server)
	}
	u.Path = strings.TrimRight(u.Path, "/")
	return u, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// Server is the address that is called.
func (c *Client) Server() string { return c.base.String() }

// Link makes a whole address of a path that the server gave, such as a diagnostics link; "" stays "".
func (c *Client) Link(path string) string {
	ref, err := url.Parse(path)
	if path == "" || err != nil || ref.IsAbs() || !strings.HasPrefix(path, "/") {
		return path
	}
	return c.base.Scheme + "://" + c.base.Host + c.base.Path + path
}

// repeat says whether a call may be sent again when its outcome is not known.
type repeat int

const (
	never repeat = iota // a second one would be a second effect
	safe                // reading, or the body itself carries a dedup key
	keyed               // safe by an Idempotency-Key
)

// call is one logical call.
type call struct {
	method  string
	path    []string // segments; each is escaped
	query   url.Values
	body    any // encoded as JSON; a json.RawMessage goes as it is
	content string
	header  http.Header // of the call's own
	repeat  repeat
}

func get(path ...string) call { return call{method: http.MethodGet, path: path, repeat: safe} }

func post(body any, path ...string) call {
	return call{method: http.MethodPost, path: path, body: body, repeat: keyed}
}

// do makes the call, repeats it as it may be, and decodes the answer into out unless out is nil. It returns the status of a
// success.
func (c *Client) do(ctx context.Context, k call, out any) (status int, err error) {
	var body []byte
	if raw, ok := k.body.(json.RawMessage); ok {
		body = raw
	} else if k.body != nil {
		if body, err = json.Marshal(k.body); err != nil {
			return 0, fmt.Errorf("encode body of %s %s: %w", k.method, strings.Join(k.path, "/"), err)
		}
	}
	address, err := c.address(k)
	if err != nil {
		return 0, err
	}
	key := ""
	if k.repeat == keyed {
		key = c.newKey()
	}
	for attempt := 1; ; attempt++ {
		status, err = c.once(ctx, k, address, key, body, attempt, out)
		wait, again := retry(k.repeat, attempt, err)
		if !again || ctx.Err() != nil {
			return status, err
		}
		if c.sleep(ctx, wait) != nil {
			return status, err // what the server said tells more than that time is up
		}
	}
}

// address escapes the path's segments. A segment that would change the path's meaning is an id that does not exist.
func (c *Client) address(k call) (*url.URL, error) {
	escaped := make([]string, len(k.path))
	for i, segment := range k.path {
		if segment == "" || segment == "." || segment == ".." {
			return nil, notFound(segment)
		}
		escaped[i] = url.PathEscape(segment)
	}
	u, err := url.Parse(c.base.String() + "/" + strings.Join(escaped, "/"))
	if err != nil {
		return nil, fmt.Errorf("address of %s: %w", k.method, err)
	}
	u.RawQuery = k.query.Encode()
	return u, nil
}

// once sends the request a single time.
func (c *Client) once(ctx context.Context, k call, address *url.URL, key string, body []byte, attempt int, out any) (int, error) {
	req, err := http.NewRequestWithContext(ctx, k.method, address.String(), bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Accept", "application/json, application/problem+json")
	req.Header.Set("User-Agent", "pinreset-client")
	c.authorize(req.Header)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if k.content != "" {
		req.Header.Set("Content-Type", k.content)
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	for name, values := range k.header {
		req.Header[name] = values
	}
	started := time.Now()
	seen := Exchange{Method: k.method, Path: address.Path, Attempt: attempt}
	defer func() {
		seen.Took = time.Since(started)
		c.observe(seen)
	}()
	res, err := c.http.Do(req)
	if err != nil {
		return 0, c.unreachable(ctx, err)
	}
	defer res.Body.Close()
	seen.Status, seen.CorrelationID = res.StatusCode, res.Header.Get(correlationHeader)
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return 0, c.unreachable(ctx, err)
	case len(answer) > maxAnswer:
		return 0, fmt.Errorf("answer to %s %s is larger than %d bytes", k.method, address.Path, maxAnswer)
	case res.StatusCode < 200 || res.StatusCode > 299:
		return res.StatusCode, c.problem(res, answer)
	case out == nil || len(answer) == 0:
		return res.StatusCode, nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		// The decoder's own text may quote the answer, which may be a passcode.
		return res.StatusCode, fmt.Errorf("answer to %s %s is not what this version understands", k.method, address.Path)
	}
	return res.StatusCode, nil
}
