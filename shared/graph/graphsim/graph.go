package graphsim

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxBody is the largest request body read.
const maxBody = 4 << 20

// A call is one Graph request, or one part of a batch.
type call struct {
	t      *tenant
	appID  string
	roles  []string
	beta   bool
	base   string // absolute URL of the version, for links
	method string
	path   string // after the version
	query  url.Values
	header http.Header
	body   []byte

	v      view     // the replica that answers
	params []string // the path's variable segments
}

// An answer is what a call returns. A nil body is no body.
type answer struct {
	status int
	header map[string]string
	body   any
	lost   bool // the effect happened, the answer never arrives
}

func (a *answer) set(name, value string) {
	if a.header == nil {
		a.header = make(map[string]string)
	}
	a.header[name] = value
}

// problem returns an OData error. The inner error is added on the way out.
func problem(status int, code, message string) answer {
	return answer{status: status, body: map[string]any{"error": map[string]any{"code": code, "message": message}}}
}

func badRequest(message string) answer {
	return problem(http.StatusBadRequest, "BadRequest", message)
}

// An envelope identifies one HTTP exchange in headers and error bodies.
type envelope struct{ requestID, clientRequestID, date string }

func (e envelope) innerError() map[string]any {
	return map[string]any{"date": e.date, "request-id": e.requestID, "client-request-id": e.clientRequestID}
}

// finish adds the inner error to an error body.
func (e envelope) finish(a answer) any {
	if outer, ok := a.body.(map[string]any); ok && a.status >= 400 {
		if inner, ok := outer["error"].(map[string]any); ok {
			inner["innerError"] = e.innerError()
		}
	}
	return a.body
}

// graph serves both versions of the Graph endpoint.
func (c *Cloud) graph(w http.ResponseWriter, r *http.Request) {
	now := c.now().UTC()
	e := envelope{requestID: newID(), clientRequestID: r.Header.Get("client-request-id"), date: now.Format("2006-01-02T15:04:05")}
	if e.clientRequestID == "" || len(e.clientRequestID) > 64 {
		e.clientRequestID = e.requestID
	}
	w.Header().Set("request-id", e.requestID)
	w.Header().Set("client-request-id", e.clientRequestID)
	w.Header().Set("Date", now.Format(http.TimeFormat))

	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		c.reply(w, e, problem(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "The request body is too large."))
		return
	}
	said, t, refused := c.authenticate(r, now)
	if refused != nil {
		w.Header().Set("WWW-Authenticate", `Bearer realm="", authorization_uri="`+c.url+`/common/oauth2/authorize"`)
		c.reply(w, e, *refused)
		return
	}
	version, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	k := &call{
		t: t, appID: said.AppID, roles: said.Roles,
		beta: version == "beta", base: origin(r) + "/" + version,
		method: r.Method, path: path, query: r.URL.Query(), header: r.Header, body: body,
	}
	if path == "$batch" {
		if wait(r.Context(), c.latency) != nil {
			panic(http.ErrAbortHandler)
		}
		c.reply(w, e, c.batch(r.Context(), k, e))
		return
	}
	if wait(r.Context(), c.latency) != nil {
		panic(http.ErrAbortHandler)
	}
	a := c.serve(r.Context(), k)
	if dawdle(r.Context(), t, func(k knobs) time.Duration { return k.SlowAnswer }) != nil {
		a.lost = true
	}
	c.log.DebugContext(r.Context(), "graph", "tenant", t.domain, "method", k.method, "path", r.URL.Path, "status", a.status)
	if a.lost {
		panic(http.ErrAbortHandler) // closes the connection without an answer
	}
	c.reply(w, e, a)
}

func (c *Cloud) reply(w http.ResponseWriter, e envelope, a answer) {
	for name, value := range a.header {
		w.Header().Set(name, value)
	}
	if a.body == nil {
		w.WriteHeader(a.status)
		return
	}
	w.Header().Set("Content-Type", "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(a.status)
	// The status is sent: an error here is the client's closed connection.
	json.NewEncoder(w).Encode(e.finish(a))
}

// authenticate checks the bearer token and finds its tenant.
func (c *Cloud) authenticate(r *http.Request, now time.Time) (claims, *tenant, *answer) {
	fail := func(message string) (claims, *tenant, *answer) {
		a := problem(http.StatusUnauthorized, "InvalidAuthenticationToken", message)
		return claims{}, nil, &a
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return fail("Access token is empty.")
	}
	said, err := c.keys.verify(token)
	if err != nil {
		return fail("Access token validation failure. Invalid signature.")
	}
	if now.Unix() >= said.Expires {
		return fail("Lifetime validation failed, the token is expired.")
	}
	t, err := c.lookup(said.TenantID)
	if err != nil {
		return fail("Access token validation failure. Unknown tenant.")
	}
	return said, t, nil
}

// serve runs one call through faults, throttling, permissions and its handler.
// It holds the tenant's lock from the count to the effect, so that a tenant's
// calls happen one after another.
func (c *Cloud) serve(ctx context.Context, k *call) answer {
	rt, refused := k.match()
	if refused != nil {
		return *refused
	}
	if err := dawdle(ctx, k.t, func(k knobs) time.Duration { return k.Slow }); err != nil {
		return answer{lost: true}
	}
	if rt.family == Subscriptions && k.method == http.MethodPost {
		if refused := c.handshake(ctx, k); refused != nil {
			return *refused
		}
	}
	write := k.method != http.MethodGet
	t := k.t
	key := k.appID + " " + string(rt.family) + " " + strconv.FormatBool(write)
	c.lock(t)
	defer t.mu.Unlock()
	now := c.now()
	t.count(rt.family, key, write, now)
	if f, ok := t.strike(rt.family, write, Throttle); ok {
		return t.refuseByFault(rt.family, key, f, now)
	}
	units := k.units(rt)
	verdict := admit(now, c.demands(t, k.appID, rt.family, write, units))
	if verdict.wait > 0 {
		return c.refuseByLimit(t, k.appID, rt.family, key, verdict, now)
	}
	if !slices.ContainsFunc(rt.roles, func(r string) bool { return slices.Contains(k.roles, r) }) {
		return forbidden(rt.family)
	}
	if f, ok := t.strikeRefusal(rt.family, k.path, write); ok {
		return refusedBy(f, rt.family)
	}
	k.v = c.nextView(t)
	a := rt.serve(c, k)
	if rt.family == Identity {
		a.set("x-ms-resource-unit", strconv.Itoa(units))
		if verdict.usage > 0.8 {
			a.set("x-ms-throttle-limit-percentage", strconv.FormatFloat(verdict.usage, 'f', 2, 64))
		}
	}
	if write && a.status < 300 {
		if f, ok := t.strike(rt.family, write, ExecutedThrottle, LostAnswer); ok {
			if f.Kind == LostAnswer {
				return answer{lost: true}
			}
			return t.refuseByFault(rt.family, key, f, now)
		}
	}
	return a
}

// dawdle keeps the caller waiting in a tenant that is set to be slow.
func dawdle(ctx context.Context, t *tenant, long func(knobs) time.Duration) error {
	t.mu.Lock()
	slow := long(t.knobs)
	t.mu.Unlock()
	return wait(ctx, slow)
}

// wait lets real time pass, without a processor.
func wait(ctx context.Context, long time.Duration) error {
	if long <= 0 {
		return nil
	}
	timer := time.NewTimer(long)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *tenant) refuseByFault(family Family, key string, f Fault, now time.Time) answer {
	a := tooMany(f.Status)
	var until time.Time
	if f.RetryAfter > 0 {
		a.set("Retry-After", strconv.Itoa(f.RetryAfter))
		until = now.Add(time.Duration(f.RetryAfter) * time.Second)
	}
	t.countRefused(family, key, f.Status, until)
	return a
}

func (c *Cloud) refuseByLimit(t *tenant, appID string, family Family, key string, v verdict, now time.Time) answer {
	a := tooMany(http.StatusTooManyRequests)
	var until time.Time
	if !family.intune() || !c.limits.OmitRetryAfter {
		a.set("Retry-After", retryAfter(v.wait))
		until = now.Add(v.wait)
	}
	if family == Identity && v.by.reason != "" {
		a.set("x-ms-throttle-information", v.by.reason)
		a.set("x-ms-throttle-scope", v.by.scope+"/"+appID+"/"+t.id)
	}
	t.countRefused(family, key, a.status, until)
	return a
}

func tooMany(status int) answer {
	if status == http.StatusServiceUnavailable {
		return problem(status, "serviceNotAvailable", "The service is temporarily unavailable.")
	}
	return problem(status, "TooManyRequests", "Too many requests.")
}

func forbidden(family Family) answer {
	if family.intune() {
		return problem(http.StatusForbidden, "Forbidden", "Application is not authorized to perform this operation. Application must have one of the required scopes.")
	}
	return problem(http.StatusForbidden, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
}

// refusedBy is what a Refuse answers.
func refusedBy(f Fault, family Family) answer {
	switch {
	case f.Status == http.StatusForbidden:
		return forbidden(family)
	case f.Status >= 500:
		return problem(f.Status, "InternalServerError", "An internal server error has occurred.")
	}
	return problem(f.Status, "BadRequest", http.StatusText(f.Status)+" by a switch of this model.")
}

// stored answers a change that could or could not be written to disk.
func (c *Cloud) stored(err error, a answer) answer {
	if err != nil {
		c.log.Error("state not written", "err", err)
		return problem(http.StatusInternalServerError, "InternalServerError", "The simulated cloud could not write its state.")
	}
	return a
}

// decodeBody reads a JSON object into a map.
func (k *call) decodeBody() (map[string]any, error) {
	if len(k.body) == 0 {
		return map[string]any{}, nil
	}
	var body map[string]any
	if err := json.Unmarshal(k.body, &body); err != nil {
		return nil, err
	}
	if body == nil {
		return nil, errors.New("not an object")
	}
	return body, nil
}
