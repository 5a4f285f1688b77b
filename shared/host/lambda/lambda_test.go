package lambda_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pinreset/shared/host/lambda"
	"pinreset/shared/work"
)

// backend takes every record and runs what the test wants.
type backend struct {
	mu       sync.Mutex
	took     map[string]lambda.Message
	returned map[string]time.Duration
	run      func(context.Context, work.Delivery) error
}

func newBackend(run func(context.Context, work.Delivery) error) *backend {
	return &backend{took: map[string]lambda.Message{}, returned: map[string]time.Duration{}, run: run}
}

func (b *backend) Take(_ context.Context, queue work.Queue, m lambda.Message) (work.Delivery, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.took[m.ID] = m
	return work.Delivery{Message: work.Message{ID: m.ID, Queue: queue, Body: m.Body}}, m.ID != "done before", nil
}

func (b *backend) Process(ctx context.Context, d work.Delivery) error { return b.run(ctx, d) }

func (b *backend) Return(_ context.Context, _ work.Queue, handle string, after time.Duration) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.returned[handle] = after
	return nil
}

// host is one with the functions, that ends with the test.
func host(t *testing.T, f lambda.Functions) *lambda.Host {
	t.Helper()
	return lambda.New(t.Context(), lambda.Options{}, func(context.Context) (lambda.Functions, error) { return f, nil })
}

func (b *backend) functions() lambda.Functions {
	return lambda.Functions{Queues: map[string]work.Queue{"audit": "audit"}, Intake: b, Processor: b, Return: b.Return}
}

const batch = `{"Records":[
{"messageId":"good","receiptHandle":"h-good","body":"{\"a\":\"ü\"}","attributes":{"ApproximateReceiveCount":"3","SentTimestamp":"1760000000000"},
 "messageAttributes":{"traceparent":{"stringValue":"00-a","dataType":"String"},"raw":{"binaryValue":"AAE=","dataType":"Binary"}},"eventSource":"aws:sqs","eventSourceARN":"arn:aws:sqs:eu-central-1:123456789012:audit"},
{"messageId":"panics","receiptHandle":"h-panics","body":"","attributes":{"ApproximateReceiveCount":"2"},"eventSourceARN":"arn:aws:sqs:eu-central-1:123456789012:audit"},
{"messageId":"fails","receiptHandle":"h-fails","body":"","attributes":{},"eventSourceARN":"arn:aws:sqs:eu-central-1:123456789012:audit"},
{"messageId":"done before","receiptHandle":"h-done","body":"","attributes":{},"eventSourceARN":"arn:aws:sqs:eu-central-1:123456789012:audit"},
{"messageId":"elsewhere","receiptHandle":"h-elsewhere","body":"","attributes":{},"eventSourceARN":"arn:aws:sqs:eu-central-1:123456789012:lunch"}]}`

// TestBatch: each record is a unit of work of its own; those that were not settled are named, and no other.
func TestBatch(t *testing.T) {
	t.Parallel()
	b := newBackend(func(_ context.Context, d work.Delivery) error {
		switch d.ID {
		case "panics":
			panic("at the disco")
		case "fails":
			return errors.New("not settled")
		}
		return nil
	})
	answer, err := host(t, b.functions()).Invoke(t.Context(), []byte(batch))
	if want := `{"batchItemFailures":[{"itemIdentifier":"panics"},{"itemIdentifier":"fails"},{"itemIdentifier":"elsewhere"}]}`; err != nil || string(answer) != want {
		t.Errorf("%s, %v\nwant %s", answer, err, want)
	}
	m := b.took["good"]
	if string(m.Body) != `{"a":"ü"}` || m.Deliveries != 3 || m.Handle != "h-good" || m.Attributes["traceparent"] != "00-a" || len(m.Attributes) != 1 || m.SentAt.Year() != 2025 {
		t.Errorf("the record is %+v", m)
	}
	if len(b.returned) != 2 || b.returned["h-panics"] != 4*time.Second || b.returned["h-fails"] != 2*time.Second {
		t.Errorf("visible again after %v", b.returned)
	}
}

// TestRest: what others wait for is given back once for each event, when its records have run and before its answer; that it can't be
// changes no answer.
func TestRest(t *testing.T) {
	t.Parallel()
	ran, rested := 0, 0
	b := newBackend(func(context.Context, work.Delivery) error { ran++; return nil })
	f := b.functions()
	f.Rest = func(ctx context.Context) error {
		if rested++; ran != rested {
			t.Errorf("%d records had run at the rest number %d", ran, rested)
		}
		if _, ok := ctx.Deadline(); !ok {
			t.Error("a rest may take for ever")
		}
		return errors.New("the store is away")
	}
	h := host(t, f)
	one := `{"Records":[{"messageId":"1","eventSourceARN":"arn:aws:sqs:eu-central-1:123456789012:audit"}]}`
	for range 2 {
		if answer, err := h.Invoke(t.Context(), []byte(one)); err != nil || string(answer) != `{"batchItemFailures":[]}` {
			t.Errorf("%s, %v", answer, err)
		}
	}
	if rested != 2 {
		t.Errorf("%d rests", rested)
	}
}

// TestBatchAllGood: nothing to name is an empty list, and never null.
func TestBatchAllGood(t *testing.T) {
	t.Parallel()
	b := newBackend(func(context.Context, work.Delivery) error { return nil })
	one := `{"Records":[{"messageId":"1","eventSourceARN":"arn:aws:sqs:eu-central-1:123456789012:audit"}]}`
	if answer, err := host(t, b.functions()).Invoke(t.Context(), []byte(one)); err != nil || string(answer) != `{"batchItemFailures":[]}` {
		t.Errorf("%s, %v", answer, err)
	}
}

// TestBatchInTime: runs are told to end ahead of the platform's time, and one that does not is named all the same.
func TestBatchInTime(t *testing.T) {
	t.Parallel()
	never := make(chan struct{})
	t.Cleanup(func() { close(never) })
	b := newBackend(func(ctx context.Context, d work.Delivery) error {
		if d.ID == "fails" {
			<-never
		}
		<-ctx.Done()
		return nil // given back
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	answer, err := host(t, b.functions()).Invoke(ctx, []byte(batch))
	if ctx.Err() != nil {
		t.Error("the answer came after the platform's time")
	}
	if want := `{"batchItemFailures":[{"itemIdentifier":"fails"},{"itemIdentifier":"elsewhere"}]}`; err != nil || string(answer) != want {
		t.Errorf("%s, %v", answer, err)
	}
}

// TestEnding: a process that is told to end tells its runs, and begins none.
func TestEnding(t *testing.T) {
	t.Parallel()
	ending, end := context.WithCancel(t.Context())
	b := newBackend(func(ctx context.Context, _ work.Delivery) error {
		end()
		<-ctx.Done()
		return nil
	})
	h := lambda.New(ending, lambda.Options{}, func(context.Context) (lambda.Functions, error) { return b.functions(), nil })
	one := `{"Records":[{"messageId":"1","eventSourceARN":"arn:aws:sqs:eu-central-1:123456789012:audit"}]}`
	if answer, err := h.Invoke(t.Context(), []byte(one)); err != nil || string(answer) != `{"batchItemFailures":[]}` {
		t.Errorf("%s, %v", answer, err)
	}
	if answer, err := h.Invoke(t.Context(), []byte(one)); err != nil || string(answer) != `{"batchItemFailures":[{"itemIdentifier":"1"}]}` {
		t.Errorf("after the end: %s, %v", answer, err)
	}
}

// TestStart: functions are made at the first event; while that fails, each event fails, and the next one tries again.
func TestStart(t *testing.T) {
	t.Parallel()
	tries, flushed := 0, 0
	b := newBackend(func(context.Context, work.Delivery) error { return nil })
	h := lambda.New(t.Context(), lambda.Options{Flush: func(context.Context) error { flushed++; return nil }}, func(context.Context) (lambda.Functions, error) {
		if tries++; tries == 1 {
			return lambda.Functions{}, errors.New("not yet")
		}
		return b.functions(), nil
	})
	for i, want := range []bool{false, true, true} {
		if _, err := h.Invoke(t.Context(), []byte(batch)); (err == nil) != want {
			t.Errorf("event %d: %v", i, err)
		}
	}
	if tries != 2 || flushed != 3 {
		t.Errorf("made %d times, flushed %d times", tries, flushed)
	}
}

// TestSchedules: a schedule is named by its input, or by the end of its rule's name.
func TestSchedules(t *testing.T) {
	t.Parallel()
	var ran []string
	h := host(t, lambda.Functions{Schedules: map[string]func(context.Context) error{
		"audit": func(context.Context) error { ran = append(ran, "audit"); return nil },
		"sweep": func(context.Context) error { panic("dust") },
	}})
	for payload, want := range map[string]bool{
		`{"schedule":"audit"}`: true, `{"schedule":"sweep"}`: false, `{"schedule":"my-audit"}`: false, `{}`: false, `[]`: false,
		`{"detail-type":"Scheduled Event","resources":["arn:aws:events:eu-central-1:123456789012:rule/pinreset-audit"]}`: true,
		`{"detail-type":"Scheduled Event","resources":["arn:aws:events:eu-central-1:123456789012:rule/lunch"]}`:          false,
	} {
		if _, err := h.Invoke(t.Context(), []byte(payload)); (err == nil) != want {
			t.Errorf("%s: %v", payload, err)
		}
	}
	if !slices.Equal(ran, []string{"audit", "audit"}) {
		t.Errorf("ran %v", ran)
	}
}

// answer is what a function URL reads.
type answer struct {
	StatusCode      int
	Headers         map[string]string
	Cookies         []string
	Body            string
	IsBase64Encoded bool
}

func ask(t *testing.T, payload string, serve http.HandlerFunc) answer {
	t.Helper()
	text, err := host(t, lambda.Functions{HTTP: serve}).Invoke(t.Context(), []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	var a answer
	if err := json.Unmarshal(text, &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// TestURL: the handler gets the request as it was made, byte by byte, and the caller its answer.
func TestURL(t *testing.T) {
	t.Parallel()
	body := []byte{0, 1, 0xff, '"', '\n'}
	payload := `{"version":"2.0","rawPath":"//a%2Fb/","rawQueryString":"x=1&x=2&y=%20","cookies":["a=1","b=\"2\""],
		"headers":{"host":"pinreset.example","content-type":"application/octet-stream","webhook-signature":"v1,abc v1,def"},
		"requestContext":{"domainName":"id.lambda-url.eu-central-1.on.aws","http":{"method":"POST","path":"//a/b/","protocol":"HTTP/1.1","sourceIp":"2001:db8::1"}},
		"body":"` + base64.StdEncoding.EncodeToString(body) + `","isBase64Encoded":true}`
	a := ask(t, payload, func(w http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		if err != nil || !slices.Equal(got, body) || r.ContentLength != int64(len(body)) {
			t.Errorf("the body is %q, %d bytes: %v", got, r.ContentLength, err)
		}
		if r.Method != "POST" || r.URL.EscapedPath() != "//a%2Fb/" || r.URL.RawQuery != "x=1&x=2&y=%20" || r.Host != "pinreset.example" || r.RemoteAddr != "[2001:db8::1]:0" {
			t.Errorf("%s %s ? %s at %s from %s", r.Method, r.URL.EscapedPath(), r.URL.RawQuery, r.Host, r.RemoteAddr)
		}
		if r.Header.Get("Webhook-Signature") != "v1,abc v1,def" || r.Header.Get("Cookie") != `a=1; b="2"` || r.Header.Get("Host") != "" {
			t.Errorf("headers %v", r.Header)
		}
		w.Header().Add("Set-Cookie", "one=1; Path=/")
		w.Header().Add("Set-Cookie", "two=2")
		w.Header().Add("Vary", "Cookie")
		w.Header().Add("Vary", "Accept")
		w.WriteHeader(http.StatusTeapot)
		w.Header().Set("Too", "late")
		_, _ = w.Write(body)
	})
	if sent, err := base64.StdEncoding.DecodeString(a.Body); err != nil || !a.IsBase64Encoded || !slices.Equal(sent, body) {
		t.Errorf("the answer's body is %q: %v", a.Body, err)
	}
	if a.StatusCode != http.StatusTeapot || !slices.Equal(a.Cookies, []string{"one=1; Path=/", "two=2"}) || a.Headers["Vary"] != "Cookie, Accept" || a.Headers["Too"] != "" || a.Headers["Set-Cookie"] != "" {
		t.Errorf("the answer is %+v", a)
	}
}

// TestURLRefuses: what can't be read, what panics and what is too large are answers too.
func TestURLRefuses(t *testing.T) {
	t.Parallel()
	get := `{"version":"2.0","rawPath":"/","headers":{"host":"h"},"requestContext":{"http":{"method":"GET","sourceIp":"192.0.2.1"}}}`
	for _, c := range []struct {
		payload string
		serve   http.HandlerFunc
		status  int
	}{
		{get, func(http.ResponseWriter, *http.Request) {}, http.StatusOK},
		{get, func(http.ResponseWriter, *http.Request) { panic("no") }, http.StatusInternalServerError},
		{get, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("x", 6<<20)) }, http.StatusBadGateway},
		{`{"version":"2.0","rawPath":"/%zz","headers":{"host":"h"},"requestContext":{"http":{"method":"GET"}}}`, nil, http.StatusBadRequest},
		{`{"version":"2.0","rawPath":"/","isBase64Encoded":true,"body":"?","requestContext":{"http":{"method":"GET"}}}`, nil, http.StatusBadRequest},
	} {
		if a := ask(t, c.payload, c.serve); a.StatusCode != c.status {
			t.Errorf("%s: %d, want %d", c.payload[:60], a.StatusCode, c.status)
		}
	}
	if _, err := host(t, lambda.Functions{}).Invoke(t.Context(), []byte(get)); err == nil {
		t.Error("a function without HTTP answered a request")
	}
}
