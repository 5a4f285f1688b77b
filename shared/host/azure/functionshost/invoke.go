package functionshost

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"time"
)

var errRedirected = errors.New("the answer is a redirect")

func newClient() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 512, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return errRedirected },
	}
}

// invoke posts one invocation and judges its answer.
func (h *Host) invoke(in Invocation, body []byte, how variant) Result {
	c, gone := h.worker()
	if c == nil {
		return Result{Reason: gone}
	}
	ctx, cancel := context.WithTimeout(context.Background(), h.app.timeout)
	defer cancel()
	if h.o.Sent != nil {
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { h.o.Sent(in) }})
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/"+in.Function, io.MultiReader(bytes.NewReader(body))) // its length is not told
	if err != nil {
		return Result{Reason: err.Error()}
	}
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	r.Header.Set("User-Agent", "Azure-Functions-Host/"+hostVersion)
	h.sign(r.Header, in.ID)
	if how.trace != "" {
		r.Header.Set("Traceparent", how.trace)
	}
	res, err := h.client.Do(r)
	if err != nil {
		return h.failed(in, c, ctx, err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return h.failed(in, c, ctx, err)
	}
	return h.judge(in, c, ctx, res, answer)
}

const hostVersion = "4.1037.0.0"

func (h *Host) sign(header http.Header, id string) {
	header.Set("X-Azure-Functions-Hostversion", hostVersion)
	header.Set("X-Azure-Functions-Invocationid", id)
}

// worker waits for a process that answers; nil if there will be none.
func (h *Host) worker() (c *child, gone string) {
	for {
		up, gone := h.state()
		if gone != "" {
			return nil, gone
		}
		select {
		case <-up:
		case <-h.ended:
			continue
		}
		h.mu.Lock()
		c := h.child
		h.mu.Unlock()
		return c, ""
	}
}

// failed is an invocation without an answer. One whose time is up takes the process with it, and all that runs there.
func (h *Host) failed(in Invocation, c *child, ctx context.Context, err error) Result { //nolint:revive // ctx is looked at, not waited for
	switch {
	case errors.Is(err, errRedirected):
		h.problem("%s answered with a redirect", in.Function)
	case ctx.Err() != nil:
		h.problem("%s did not end within %s; the process is killed", in.Function, h.app.timeout)
		h.mu.Lock()
		c.forget = true
		h.mu.Unlock()
		c.kill()
	}
	h.noticed(c)
	return Result{Reason: err.Error()}
}

// noticed waits until the host knows that the process has ended, if that is why a call failed: the next one shall wait for the next process.
func (h *Host) noticed(c *child) {
	for ended := false; !ended; {
		select {
		case <-c.ended:
			ended = true
		case <-time.After(pollInterval):
			ctx, cancel := context.WithTimeout(context.Background(), pingInterval)
			alive := h.question(ctx, c)
			cancel()
			if alive {
				return
			}
		}
	}
	for {
		h.mu.Lock()
		known := h.child != c || h.gone != ""
		h.mu.Unlock()
		if known {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// judge says what the host makes of the answer.
func (h *Host) judge(in Invocation, c *child, ctx context.Context, res *http.Response, answer []byte) Result { //nolint:revive // as above
	result := Result{Status: res.StatusCode}
	media, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	var object struct {
		Outputs map[string]any
		Logs    []string
	}
	switch text := strings.TrimSpace(string(answer)); {
	case res.StatusCode/100 != 2:
		result.Reason = "status " + res.Status
	case text == "" || text == "null":
		h.problem("%s answered %s with nothing in it, which never ends the invocation", in.Function, res.Status)
		result.Reason = "it never ended"
		if h.o.Hold {
			<-ctx.Done()
			return h.failed(in, c, ctx, ctx.Err())
		}
	case media != "application/json" || json.Unmarshal(answer, &object) != nil:
		result.Reason = "the answer is no JSON object"
	default:
		result.OK = true
	}
	return result
}

// ServeHTTP passes a request of a caller on to the HTTP function, as App Service's front end and the host's proxy do.
func (h *Host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !slices.ContainsFunc(h.app.functions, func(f function) bool { return f.kind == httpTrigger }) || h.app.prefix != "" {
		http.NotFound(w, r)
		return
	}
	c, gone := h.worker()
	if c == nil {
		http.Error(w, gone, http.StatusServiceUnavailable)
		return
	}
	to, err := url.Parse(c.url)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h.flight.Add(1)
	defer h.flight.Done()
	proxy := httputil.ReverseProxy{
		Transport: h.client.Transport,
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = to.Scheme, to.Host // path and query as they came
			p.Out.URL.RawQuery = p.In.URL.RawQuery
			p.SetXForwarded()
			p.Out.Header.Set("X-Arr-Log-Id", newID())
			p.Out.Header.Set("Disguised-Host", p.In.Host)
			id := newID()
			h.sign(p.Out.Header, id)
			p.Out.Header.Set("X-Ms-Invocation-Id", id)
		},
	}
	proxy.ServeHTTP(w, r)
}

// Wait waits until the program has been started so many times, or ctx ends.
func (h *Host) Wait(ctx context.Context, starts int) error {
	for {
		h.mu.Lock()
		n, up := h.starts, h.up
		h.mu.Unlock()
		if n >= starts {
			select {
			case <-up:
				return nil
			default:
			}
		}
		select {
		case <-time.After(pollInterval):
		case <-h.ended:
			_, gone := h.state()
			return errors.New(gone)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
