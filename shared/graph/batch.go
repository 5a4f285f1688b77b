package graph

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"pinreset/events/jsoncut"
	"pinreset/shared/diag"
	"pinreset/shared/fault"
)

// MaxBatch is how many requests a batch may have (Microsoft's page "json-batching").
const MaxBatch = 20

// BatchRequest is one part of a batch. Make it with [BatchGet] or [BatchResetPasscode].
type BatchRequest struct {
	id       string
	target   string
	action   action // 0: a GET
	deviceID string
}

// BatchGet is a part that reads; target is path and query after the version: "/organization?$select=id".
func BatchGet(id, target string) BatchRequest { return BatchRequest{id: id, target: target} }

// BatchResetPasscode is a part that does what [Client.ResetPasscode] does, with the same rules.
func BatchResetPasscode(id, deviceID string) BatchRequest {
	return BatchRequest{id: id, action: resetPasscode, deviceID: deviceID}
}

// ID is the part's id, by which its answer is found.
func (r BatchRequest) ID() string { return r.id }

// BatchResponse is the answer to one part.
type BatchResponse struct {
	ID        string
	Status    int       // 0: the part was not sent, or is missing in the answer
	Date      time.Time // the server's clock, of the whole batch
	RequestID string
	// Err is the verdict on the part, as a call of its own would have returned it; nil for a success.
	Err error

	answer *answer
}

// Decode reads the body of a successful part. The body itself is kept out of reach: it may hold a passcode.
func (r BatchResponse) Decode(v any) error {
	if r.Err != nil {
		return r.Err
	}
	return r.answer.decodeOne(v)
}

// Format keeps %v and its kin away from the body.
func (r BatchResponse) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "{%s %d", r.ID, r.Status)
	if r.Err != nil {
		fmt.Fprintf(f, " %v", r.Err)
	}
	fmt.Fprint(f, "}")
}

func (r BatchRequest) method() string {
	if r.action != 0 {
		return http.MethodPost
	}
	return http.MethodGet
}

func (r BatchRequest) address() string {
	if r.action != 0 {
		return r.action.target(r.deviceID)
	}
	return r.target
}

func (r BatchRequest) check() error {
	switch {
	case r.id == "":
		return errors.New("part without an id")
	case r.action != 0:
		return checkID("device", r.deviceID)
	case !strings.HasPrefix(r.target, "/") || strings.HasPrefix(r.target, "//") || strings.HasPrefix(r.target, "/$batch"):
		return fmt.Errorf("part %s has no path of its own", bounded(r.id))
	}
	return nil
}

// batchPart is a part as it is sent.
type batchPart struct {
	ID      string            `json:"id"`
	Method  string            `json:"method"`
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    *struct{}         `json:"body,omitempty"` // an action carries {}, though alone it has no body
}

func (r BatchRequest) part() batchPart {
	p := batchPart{ID: r.id, Method: r.method(), URL: r.address()}
	if r.action != 0 {
		p.Headers, p.Body = map[string]string{"Content-Type": "application/json"}, &struct{}{}
	}
	return p
}

// errNotSent is about a part that a failure before it kept from being sent.
var errNotSent = errors.New("not sent: the parts before it failed")

// Batch sends up to [MaxBatch] requests at once, all reads or all actions (these go by the privileged app), and returns
// the answers in the order of the requests. Each part takes its permit: a batch saves round trips, not quota.
//
// Where the requests need more than the limits allow at once, or more than this process's share of them, they go out as several
// smaller batches, one after another. An error means that no part has an answer, and holds for each of them. Where it would not hold
// for each, because parts were answered before or were not sent after, it is the Err of the parts that it is about, and those after
// them have an Err that says that they were not sent.
//
// Nothing is sent again: a throttled part says so in its Err. A part that is missing in the answer has an Err for which
// errors.Is(err, ErrOutcomeUnknown) holds, and a part that was not sent never has.
func (c *Client) Batch(ctx context.Context, tenant, version string, requests []BatchRequest) ([]BatchResponse, error) {
	if err := checkBatch(tenant, version, requests); err != nil {
		return nil, err
	}
	id := c.general
	if requests[0].action != 0 {
		id = c.privileged.identity
	}
	responses := make([]BatchResponse, 0, len(requests))
	for len(responses) < len(requests) {
		rest := requests[len(responses):]
		n, err := id.together(ctx, tenant, rest)
		if err == nil {
			var answers []BatchResponse
			if answers, err = id.batch(ctx, tenant, version, rest[:n]); err == nil {
				responses = append(responses, answers...)
				continue
			}
		}
		err = fmt.Errorf("batch of %d: %w", n, err)
		if len(responses) == 0 && (n == len(requests) || !errors.Is(err, ErrOutcomeUnknown)) {
			return nil, err
		}
		for i, r := range rest {
			if i == n {
				err = notSent(err)
			}
			responses = append(responses, BatchResponse{ID: r.id, Err: err})
		}
	}
	return responses, nil
}

// notSent is the verdict on a part that was not sent because of a failure before it: that failure's, but nothing is unknown.
func notSent(cause error) error {
	if v, ok := fault.As(cause); ok {
		return &fault.Error{Code: v.Code, Delay: v.Delay, Err: errNotSent}
	}
	for _, ended := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(cause, ended) {
			return fmt.Errorf("%w: %w", errNotSent, ended)
		}
	}
	return errNotSent
}

// together is how many of the requests, from the first on, this process may send at once: one at the least, which waits until
// it may.
func (id *identity) together(ctx context.Context, tenant string, requests []BatchRequest) (int, error) {
	l, app := id.client.limiter, id.app.ClientID
	demands, _ := demandsOf(requests)
	ctx, cancel := context.WithTimeout(ctx, id.client.timeout)
	defer cancel()
	if err := l.hold(ctx, &permit{limiter: l, app: app, tenant: tenant, demands: demands}); err != nil {
		return len(requests), err
	}
	n := len(requests)
	for n > 1 && !l.together(app, tenant, demands) {
		n--
		demands, _ = demandsOf(requests[:n])
	}
	return n, nil
}

// demandsOf is what a batch needs, and the family of each part.
func demandsOf(requests []BatchRequest) (demands []demand, families []Family) {
	families = make([]Family, len(requests))
	for i, r := range requests {
		d := demandOf(r.method(), r.address())
		families[i] = d.family
		demands = add(demands, d)
	}
	demands[0].calls++ // whether the envelope counts as a call is not documented: it is taken to
	return demands, families
}

// batch sends the requests as one batch.
func (id *identity) batch(ctx context.Context, tenant, version string, requests []BatchRequest) ([]BatchResponse, error) {
	r := request{method: http.MethodPost, version: version, target: "/$batch", secret: true, batch: true}
	var body struct {
		Requests []batchPart `json:"requests"`
	}
	for _, part := range requests {
		body.Requests = append(body.Requests, part.part())
		r.oneShot = r.oneShot || part.action == resetPasscode
	}
	r.body = body
	var families []Family
	r.demands, families = demandsOf(requests)

	a, pm, err := id.send(ctx, tenant, r)
	if err != nil {
		return nil, err
	}
	parts, err := a.parts()
	if err != nil {
		if r.oneShot {
			err = unknown(err)
		}
		return nil, err
	}
	responses := make([]BatchResponse, len(requests))
	for i, part := range requests {
		responses[i] = id.client.respond(ctx, part, families[i], version, parts[strings.ToLower(part.id)], a, pm)
	}
	return responses, nil
}

// partAnswer is a part as it is answered.
type partAnswer struct {
	status int
	header http.Header // those that are of use
	body   []byte
}

// partHeaders are those of a part that are of use.
var partHeaders = []string{"Date", "Retry-After", "client-request-id", "request-id", "x-ms-throttle-scope", "x-ms-throttle-information"}

// parts reads a batch's answer, by lower-case id: order is not kept, and ids are not case-sensitive. The bodies lie within the answer's;
// whoever decodes one finds what is wrong with it.
func (a *answer) parts() (map[string]partAnswer, error) {
	parts := map[string]partAnswer{}
	err := jsoncut.Members(a.body, func(name, value []byte) error {
		if string(name) != "responses" {
			return nil
		}
		return jsoncut.Entries(value, func(value []byte) error {
			id, p, err := readPart(value)
			parts[strings.ToLower(id)] = p
			return err
		})
	})
	if err != nil {
		return nil, a.unreadable(err)
	}
	return parts, nil
}

func readPart(raw []byte) (id string, p partAnswer, err error) {
	err = jsoncut.Members(raw, func(name, value []byte) (err error) {
		switch string(name) {
		case "id":
			id, err = jsoncut.Text(value)
		case "status":
			p.status, err = strconv.Atoi(string(value))
		case "headers":
			p.header, err = readHeaders(value)
		case "body":
			p.body = value
		}
		return err
	})
	return id, p, err
}

func readHeaders(raw []byte) (http.Header, error) {
	if string(raw) == "null" {
		return nil, nil
	}
	header := http.Header{}
	return header, jsoncut.Members(raw, func(name, value []byte) error {
		for _, of := range partHeaders {
			if strings.EqualFold(of, string(name)) {
				text, err := jsoncut.Text(value)
				header.Set(of, text)
				return err
			}
		}
		return nil
	})
}

// respond is the answer to one part, judged as a call of its own.
func (c *Client) respond(ctx context.Context, r BatchRequest, f Family, version string, p partAnswer, envelope *answer, pm *permit) BatchResponse {
	path := request{version: version, target: r.address()}.path()
	if p.status == 0 {
		e := &Error{Method: r.method(), Path: path, ClientRequestID: envelope.clientRequestID,
			RequestID: envelope.header.Get("request-id"), Date: envelope.date, Err: errors.New("missing in the answer to the batch")}
		err := unknown(fault.After(pm.failed(f), fault.GraphUnavailable, e))
		return BatchResponse{ID: r.id, Date: envelope.date, RequestID: e.RequestID, Err: err}
	}
	a := newAnswer(r.method(), path, p.status, p.header, p.body, c.now())
	a.secret = true
	if a.date.IsZero() {
		a.date = envelope.date
	}
	if a.clientRequestID == "" {
		a.clientRequestID = envelope.clientRequestID
	}
	response := BatchResponse{ID: r.id, Status: p.status, Date: a.date, answer: a, RequestID: p.header.Get("request-id")}
	if response.RequestID == "" {
		response.RequestID = envelope.header.Get("request-id")
	}
	if p.status >= 200 && p.status < 300 {
		pm.succeeded(f)
		return response
	}
	response.Err = classify(a, f, pm)
	if r.action == resetPasscode && maybeExecuted(p.status) {
		response.Err = unknown(response.Err)
	}
	diag.Add(ctx, diag.Step{At: c.now(), Kind: diag.KindCall, Text: "part of a batch: " + r.method() + " " + path,
		Status: p.status, ErrorCode: a.odata().Error.Code, RequestID: response.RequestID, ClientRequestID: a.clientRequestID,
		RetryAfter: p.header.Get("Retry-After"), Throttle: a.throttle()})
	return response
}

func checkBatch(tenant, version string, requests []BatchRequest) error {
	if err := checkIDs("tenant", tenant); err != nil {
		return err
	}
	invalid := func(format string, args ...any) error {
		return fault.Permanentf(fault.InvalidRequest, "batch: "+format, args...)
	}
	if len(requests) == 0 || len(requests) > MaxBatch {
		return invalid("%d requests, want 1 to %d", len(requests), MaxBatch)
	}
	seen := map[string]bool{}
	for _, r := range requests {
		if err := r.check(); err != nil {
			return invalid("%w", err)
		}
		if key := strings.ToLower(r.id); seen[key] {
			return invalid("id %q is used twice", bounded(r.id))
		} else {
			seen[key] = true
		}
		if (r.action != 0) != (requests[0].action != 0) {
			return invalid("reads and actions go by different identities")
		}
	}
	switch {
	case version != V1 && version != Beta:
		return invalid("version %q", bounded(version))
	case version != V1 && requests[0].action != 0:
		return invalid("actions go to %s", V1)
	}
	return nil
}

// add puts a demand to those of its family.
func add(all []demand, d demand) []demand {
	for i := range all {
		if all[i].family == d.family {
			all[i].calls += d.calls
			all[i].units += d.units
			all[i].writes += d.writes
			return all
		}
	}
	return append(all, d)
}
