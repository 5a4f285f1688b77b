package graph

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"pinreset/shared/diag"
	"pinreset/shared/fault"
)

// request is one call to be made.
type request struct {
	method  string
	version string
	target  string // path and query after the version
	prefer  string // Prefer header
	body    any    // sent as JSON; nil for none
	secret  bool   // the answer may hold a passcode
	oneShot bool   // must not be repeated: see ErrOutcomeUnknown
	batch   bool   // its parts are judged one by one
	demands []demand
}

func get(target string) request {
	return request{method: http.MethodGet, version: V1, target: target, demands: []demand{demandOf(http.MethodGet, target)}}
}

// path names the call for people and records: no query, no ids.
func (r request) path() string {
	path, _, _ := strings.Cut(r.target, "?")
	if r.version != V1 {
		path = "/" + r.version + path
	}
	return Template(path)
}

// exchange is what the pipeline's policies need to know of a call, and what they find out. It travels in the context.
type exchange struct {
	id       *identity
	tenant   string
	request  request
	session  *session // of the last attempt
	priority Priority
	permit   *permit // of the last sending; nil: never admitted
	sends    int
	answer   *answer     // of the last sending that got one
	written  atomic.Bool // something of the last sending may have left this machine
	clientID string
}

type exchangeKey struct{}

// send makes one call and returns its answer, which is a success, or a verdict.
func (id *identity) send(ctx context.Context, tenant string, r request) (*answer, *permit, error) {
	c := id.client
	started := c.limiter.instant()
	x := &exchange{id: id, tenant: tenant, request: r, priority: priorityOf(ctx)}
	callCtx, cancel := context.WithTimeout(context.WithValue(ctx, exchangeKey{}, x), c.timeout)
	defer cancel()

	s, a, err := id.attempt(callCtx, tenant, r, x)
	if err == nil && a.status == http.StatusUnauthorized {
		id.forget(tenant, s)
		if x.sends == 1 { // else the pipeline has met a claims challenge with a new token already
			_, a, err = id.attempt(callCtx, tenant, r, x)
		}
	}
	f := r.demands[0].family
	if err != nil {
		return nil, nil, x.broken(ctx, err, f, started)
	}
	if a.status >= 200 && a.status < 300 {
		if !r.batch {
			x.permit.succeeded(f)
		}
		return a, x.permit, nil
	}
	if a.status == http.StatusForbidden && c.now().Sub(s.born) > time.Minute {
		id.forget(tenant, s) // a permission granted since is only in a new token
	}
	err = classify(a, f, x.permit)
	for _, d := range r.demands[1:] { // a batch's envelope is throttled: so is all that was in it
		if a.status == http.StatusTooManyRequests {
			x.permit.throttled(d.family, a.retryAfter, a.hinted)
		}
	}
	if r.oneShot && maybeExecuted(a.status) {
		err = unknown(err)
	}
	return nil, nil, err
}

// attempt runs the pipeline once.
func (id *identity) attempt(ctx context.Context, tenant string, r request, x *exchange) (*session, *answer, error) {
	s, err := id.session(tenant)
	if err != nil {
		return nil, nil, err
	}
	x.permit, x.session = nil, s
	if err := s.credential.sign(ctx); err != nil {
		return s, nil, err
	}
	c := id.client
	req, err := runtime.NewRequest(ctx, r.method, c.base.String()+"/"+r.version+r.target)
	if err != nil {
		return s, nil, fmt.Errorf("make request %s %s", r.method, r.path()) // the cause would quote the query
	}
	x.clientID = c.newID()
	h := req.Raw().Header
	h.Set("Accept", "application/json")
	h.Set("client-request-id", x.clientID)
	if r.prefer != "" {
		h.Set("Prefer", r.prefer)
	}
	if x.priority == People {
		h.Set("x-ms-throttle-priority", "high")
	}
	if r.body != nil {
		data, ok := r.body.(json.RawMessage) // goes out byte for byte
		if !ok {
			if data, err = json.Marshal(r.body); err != nil {
				return s, nil, fmt.Errorf("encode request: %w", err)
			}
		}
		if err := req.SetBody(streaming.NopCloser(bytes.NewReader(data)), "application/json"); err != nil {
			return s, nil, fmt.Errorf("encode request: %w", err)
		}
	}
	runtime.SkipBodyDownload(req) // admission does it
	if _, err := id.pipeline.Do(req); err != nil {
		return s, nil, err
	}
	return s, x.answer, nil
}

// read takes the answer of the last sending off the wire.
func (x *exchange) read(resp *http.Response) error {
	body, err := download(resp)
	if err != nil {
		return err
	}
	a := newAnswer(x.request.method, x.request.path(), resp.StatusCode, resp.Header, body, x.id.client.now())
	a.secret = x.request.secret
	if a.clientRequestID == "" {
		a.clientRequestID = x.clientID
	}
	x.answer = a
	return nil
}

// downloads are buffers for bodies of which the size is not known before. A body is copied out of one, because otherwise each would be
// several times as large as it is.
var downloads = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxDownload bounds, in bytes, what a buffer in wait may hold.
const maxDownload = 256 << 10

func download(resp *http.Response) ([]byte, error) {
	if resp.StatusCode >= http.StatusBadRequest { // the pipeline has read it
		return runtime.Payload(resp)
	}
	buffer := downloads.Get().(*bytes.Buffer)
	defer func() {
		clear(buffer.Bytes()) // a passcode may be in it
		if buffer.Cap() <= maxDownload {
			buffer.Reset()
			downloads.Put(buffer)
		}
	}()
	_, err := buffer.ReadFrom(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	return bytes.Clone(buffer.Bytes()), nil
}

// broken is the verdict on a call that got no answer.
func (x *exchange) broken(ctx context.Context, err error, f Family, started instant) error {
	lost := x.request.oneShot && x.written.Load()
	mark := func(err error) error {
		if lost {
			return unknown(err)
		}
		return err
	}
	if cause := ctx.Err(); cause != nil { // the caller gave up: no verdict on the work
		return mark(cause)
	}
	if _, ok := fault.As(err); ok { // no permit, or no credential
		return mark(err)
	}
	if errors.Is(err, errTooCostly) || errors.Is(err, errNoShare) {
		return err // nothing was sent
	}
	_, refused := errors.AsType[*azidentity.AuthenticationFailedError](err)
	pm := x.permit
	if pm == nil || refused { // it failed at the token
		pm = x.id.client.limiter.attempt(x.id.app.ClientID, x.tenant, started)
		return signInVerdict(err, f, pm, x.id.client.now())
	}
	e := &Error{Method: x.request.method, Path: x.request.path(), ClientRequestID: x.clientID, Err: network(err)}
	if errors.Is(err, errTooLarge) {
		return mark(e)
	}
	return mark(fault.After(pm.failed(f), fault.GraphUnavailable, e))
}

// admission is the innermost policy of ours: each request that leaves has its permit and its step in the record, those
// that azcore sends again to answer a claims challenge included.
type admission struct{}

func (admission) Do(req *policy.Request) (*http.Response, error) {
	ctx := req.Raw().Context()
	x, ok := ctx.Value(exchangeKey{}).(*exchange)
	if !ok {
		return nil, errors.New("request outside of the client")
	}
	c := x.id.client
	pm, err := c.limiter.acquire(ctx, x.id.app.ClientID, x.tenant, x.priority, x.request.demands)
	if err != nil {
		return nil, err
	}
	x.permit = pm
	x.written.Store(true) // unless net/http shows otherwise: another transport may not tell
	trace := &httptrace.ClientTrace{
		// net/http takes another connection for a POST only if nothing was written on the one before. From the moment it has
		// one, writing goes on by itself: a call that is given up then may leave all the same.
		GetConn: func(string) { x.written.Store(false) },
		GotConn: func(httptrace.GotConnInfo) { x.written.Store(true) },
	}
	started := c.now()
	resp, err := req.WithContext(httptrace.WithClientTrace(ctx, trace)).Next()
	if err == nil {
		err = x.read(resp)
	}
	took := c.now().Sub(started)
	x.sends++

	step := diag.Step{At: started, Kind: diag.KindCall, Text: x.request.method + " " + x.request.path(),
		Milliseconds: milliseconds(took), ClientRequestID: x.clientID}
	if err != nil && !x.written.Load() {
		pm.takeBack()
	} else {
		pm.answered()
	}
	if err == nil {
		a := x.answer
		if a.status == http.StatusUnauthorized {
			x.written.Store(false) // a refused token proves that nothing was done
		}
		step.Status = a.status
		step.ErrorCode = a.odata().Error.Code
		step.RequestID = a.header.Get("request-id")
		step.ServerDate = a.header.Get("Date")
		step.RetryAfter = a.header.Get("Retry-After")
		step.Throttle = a.throttle()
	}
	diag.Add(ctx, step)
	if err != nil {
		return nil, err
	}
	return resp, nil
}
