package azure_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"pinreset/shared/host/azure"
	"pinreset/shared/work"
)

// backend takes every message and runs what the test wants.
type backend struct {
	mu   sync.Mutex
	took []azure.Message
	skip bool
	err  error
	run  func(context.Context, work.Delivery) error
}

func (b *backend) Take(_ context.Context, queue work.Queue, m azure.Message) (work.Delivery, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.took = append(b.took, m)
	return work.Delivery{Message: work.Message{ID: m.ID, Queue: queue, Body: m.Body}}, !b.skip, b.err
}

func (b *backend) Process(ctx context.Context, d work.Delivery) error { return b.run(ctx, d) }

// served is a host on a real socket.
type served struct {
	t      *testing.T
	url    string
	client *http.Client
	stop   context.CancelFunc
	ended  chan error
	log    *bytes.Buffer // read after the end
}

// serve starts a host. Its log may be read once it has ended.
func serve(t *testing.T, o azure.Options, build func(context.Context) (azure.Functions, error)) *served {
	t.Helper()
	s := &served{t: t, client: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("redirected") }}, ended: make(chan error, 1), log: &bytes.Buffer{}}
	l, err := azure.Listen(t.Context(), "0")
	if err != nil {
		t.Fatal(err)
	}
	s.url = "http://" + l.Addr().String()
	o.Logger = slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	s.stop = cancel
	go func() { s.ended <- azure.Serve(ctx, l, o, build) }()
	t.Cleanup(cancel)
	return s
}

// with are functions that are there at once.
func with(f azure.Functions) func(context.Context) (azure.Functions, error) {
	return func(context.Context) (azure.Functions, error) { return f, nil }
}

func (s *served) do(method, path, body string, headers ...string) (status int, text string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.ContentLength = -1 // chunked, as the host sends it
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := s.client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, string(answer)
}

func (s *served) invoke(function, body string) (status int) {
	s.t.Helper()
	status, text := s.do(http.MethodPost, "/"+function, body, "X-Azure-Functions-InvocationId", "i-1", "Content-Type", "application/json; charset=utf-8")
	var object map[string]any
	if err := json.Unmarshal([]byte(text), &object); err != nil || object == nil {
		s.t.Errorf("%s answered %d %q, which the host takes for no end", function, status, text)
	}
	return status
}

func (s *served) end() string {
	s.t.Helper()
	s.stop()
	if err := <-s.ended; err != nil {
		s.t.Error(err)
	}
	return s.log.String()
}

func message(id, body string) string {
	return fmt.Sprintf(`{"Data":{"message":%q},"Metadata":{"MessageId":%q,"DeliveryCount":"1"}}`, base64.StdEncoding.EncodeToString([]byte(body)), `"`+id+`"`)
}

// TestEndsOfInvocations: whatever becomes of a run, the host gets an answer that it takes for what it is.
func TestEndsOfInvocations(t *testing.T) {
	t.Parallel()
	flushed := 0
	b := &backend{}
	s := serve(t, azure.Options{Flush: func(context.Context) error { flushed++; return nil }}, with(azure.Functions{
		Queues: map[string]work.Queue{"consent": "consent-queue"}, Intake: b, Processor: b,
		Timers: map[string]func(context.Context) error{"tick": func(context.Context) error { return nil }, "stuck": func(context.Context) error { return errors.New("no") }},
	}))
	runs := 0
	for _, c := range []struct {
		name, function, body string
		run                  func() error
		skip                 bool
		err                  error
		want                 int
		runs                 int
	}{
		{"done", "consent", message("m", "x"), func() error { return nil }, false, nil, 200, 1},
		{"not settled", "consent", message("m", "x"), func() error { return errors.New("store is away") }, false, nil, 500, 1},
		{"panic", "consent", message("m", "x"), func() error { panic("secret") }, false, nil, 500, 1},
		{"nothing to run", "consent", message("m", "x"), nil, true, nil, 200, 0},
		{"not taken", "consent", message("m", "x"), nil, false, errors.New("store is away"), 500, 0},
		{"no bytes", "consent", `{"Data":{"message":"plain text"},"Metadata":{"MessageId":"m"}}`, nil, false, nil, 500, 0},
		{"no JSON", "consent", `<x/>`, nil, false, nil, 500, 0},
		{"too large", "consent", message("m", strings.Repeat("x", 1<<20)), nil, false, nil, 500, 0},
		{"other case", "Consent", message("m", "x"), nil, false, nil, 500, 0},
		{"unknown", "nothing", message("m", "x"), nil, false, nil, 500, 0},
		{"unclean path", "/consent", message("m", "x"), nil, false, nil, 500, 0},
		{"tick", "tick", `{"Data":{"timer":{"IsPastDue":false}},"Metadata":{}}`, nil, false, nil, 200, 0},
		{"failed tick", "stuck", `{"Data":{"timer":{"IsPastDue":true}},"Metadata":{}}`, nil, false, nil, 500, 0},
	} {
		before := runs
		b.skip, b.err = c.skip, c.err
		b.run = func(_ context.Context, d work.Delivery) error {
			runs++
			if d.Queue != "consent-queue" || d.ID != "m" || string(d.Body) != "x" {
				t.Errorf("%s: delivery %+v", c.name, d)
			}
			return c.run()
		}
		if status := s.invoke(c.function, c.body); status != c.want || runs-before != c.runs {
			t.Errorf("%s: %d after %d runs, want %d after %d", c.name, status, runs-before, c.want, c.runs)
		}
	}
	if flushed != 13 {
		t.Errorf("flushed %d times", flushed)
	}
	if log := s.end(); strings.Contains(log, "secret") || !strings.Contains(log, "store is away") {
		t.Errorf("the log is %s", log)
	}
}

// TestAnswersBeforeItIsBuilt: the host's question is answered meanwhile, and an invocation waits.
func TestAnswersBeforeItIsBuilt(t *testing.T) {
	t.Parallel()
	b := &backend{run: func(context.Context, work.Delivery) error { return nil }}
	build := make(chan struct{})
	s := serve(t, azure.Options{}, func(context.Context) (azure.Functions, error) {
		<-build
		return azure.Functions{Queues: map[string]work.Queue{"consent": "q"}, Intake: b, Processor: b}, nil
	})
	answered := make(chan int, 1)
	go func() { answered <- s.invoke("consent", message("m", "x")) }()
	if status, _ := s.do(http.MethodGet, "/", ""); status != http.StatusOK {
		t.Errorf("the question was answered by %d", status)
	}
	select {
	case status := <-answered:
		t.Errorf("answered %d before anything was built", status)
	default:
	}
	close(build)
	if status := <-answered; status != http.StatusOK {
		t.Errorf("answered %d", status)
	}
	s.end()
}

func TestBuildFails(t *testing.T) {
	t.Parallel()
	wrong := errors.New("no store")
	s := serve(t, azure.Options{}, func(context.Context) (azure.Functions, error) { return azure.Functions{}, wrong })
	if err := <-s.ended; !errors.Is(err, wrong) {
		t.Errorf("Serve: %v", err)
	}
}

// TestPassesHTTP: a request goes through as it came, whatever its path is, and its answer comes back so.
func TestPassesHTTP(t *testing.T) {
	t.Parallel()
	body := "{\"a\": 1}\r\n\x00\xff"
	s := serve(t, azure.Options{}, with(azure.Functions{
		Queues: map[string]work.Queue{"consent": "q"},
		HTTP: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got, err := io.ReadAll(r.Body)
			if err != nil || string(got) != body || r.Method != http.MethodPost || r.Header.Get("Webhook-Signature") != "v1,x" || r.Header.Get("X-Ms-Invocation-Id") != "" {
				t.Errorf("%s %s %q %v %v", r.Method, r.RequestURI, got, r.Header, err)
			}
			w.Header().Set("X-Uri", r.RequestURI)
			w.WriteHeader(http.StatusTeapot)
			_, _ = w.Write(got)
		}),
	}))
	for _, path := range []string{"/", "/consent", "/a//b/../c%2Fd?x=1;y=%20"} {
		status, text := s.do(http.MethodPost, path, body, "X-Ms-Invocation-Id", "i", "X-Azure-Functions-InvocationId", "i", "Webhook-Signature", "v1,x")
		if status != http.StatusTeapot || text != body {
			t.Errorf("%s: %d %q", path, status, text)
		}
	}
	s.end()
}

// TestForgedInvocation: what came through a proxy is no invocation, whatever its headers say.
func TestForgedInvocation(t *testing.T) {
	t.Parallel()
	b := &backend{run: func(context.Context, work.Delivery) error { t.Error("ran"); return nil }}
	s := serve(t, azure.Options{}, with(azure.Functions{Queues: map[string]work.Queue{"consent": "q"}, Intake: b, Processor: b, HTTP: http.NotFoundHandler()}))
	for _, header := range []string{"X-Ms-Invocation-Id", "X-Forwarded-For", "X-ARR-LOG-ID", "Disguised-Host"} {
		if status, _ := s.do(http.MethodPost, "/consent", message("m", "x"), "X-Azure-Functions-InvocationId", "i", header, "y"); status != http.StatusNotFound {
			t.Errorf("with %s: %d", header, status)
		}
	}
	if status, _ := s.do(http.MethodPost, "/consent", message("m", "x")); status != http.StatusOK || len(b.took) > 0 {
		t.Errorf("without an invocation's header: %d, took %v", status, b.took)
	}
	s.end()
}

// TestDeadline: a run that does not notice its end is answered for; one that does gives its message back.
func TestDeadline(t *testing.T) {
	t.Parallel()
	never := make(chan struct{})
	defer close(never)
	b := &backend{run: func(ctx context.Context, d work.Delivery) error {
		<-ctx.Done()
		if d.ID == "stuck" {
			<-never
		}
		return nil // given back
	}}
	s := serve(t, azure.Options{Deadline: 50 * time.Millisecond}, with(azure.Functions{Queues: map[string]work.Queue{"consent": "q"}, Intake: b, Processor: b}))
	if status := s.invoke("consent", message("polite", "x")); status != http.StatusOK {
		t.Errorf("a run that ended at the deadline: %d", status)
	}
	if status := s.invoke("consent", message("stuck", "x")); status != http.StatusInternalServerError {
		t.Errorf("a run that did not end: %d", status)
	}
	s.end()
}

// TestEnd: when the process is told to end, runs under way are, and their invocations are answered.
func TestEnd(t *testing.T) {
	t.Parallel()
	began := make(chan struct{})
	b := &backend{run: func(ctx context.Context, _ work.Delivery) error {
		close(began)
		<-ctx.Done()
		return nil
	}}
	s := serve(t, azure.Options{}, with(azure.Functions{Queues: map[string]work.Queue{"consent": "q"}, Intake: b, Processor: b}))
	answered := make(chan int, 1)
	go func() { answered <- s.invoke("consent", message("m", "x")) }()
	<-began
	s.end()
	if status := <-answered; status != http.StatusOK {
		t.Errorf("answered %d", status)
	}
}
