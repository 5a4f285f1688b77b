package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"pinreset/shared/client"
	"pinreset/shared/fault"
	"pinreset/shared/onboarding"
)

const (
	contoso = "8f1e0c52-7d7a-4c0e-9a53-1f5b1c1d2e3f"
	pixel   = "3b7c2a90-5e14-4f6b-8d21-c09a4e7f6b13"
	token   = "pr_canary-token-5f1d"
)

// script is a server that answers request after request from a list, and keeps what it was sent. The last answer repeats.
type script struct {
	t       *testing.T
	answers []http.HandlerFunc

	mu   sync.Mutex
	seen []seen
}

type seen struct {
	method, uri, key, auth, content, body string
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Errorf("read request: %v", err)
	}
	s.mu.Lock()
	n := min(len(s.seen), len(s.answers)-1)
	s.seen = append(s.seen, seen{r.Method, r.RequestURI, r.Header.Get("Idempotency-Key"), r.Header.Get("Authorization"), r.Header.Get("Content-Type"), string(body)})
	s.mu.Unlock()
	s.answers[n](w, r)
}

func (s *script) requests() []seen {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]seen(nil), s.seen...)
}

// serve starts the script and returns a client of it whose pauses take no time and are counted.
func serve(t *testing.T, answers ...http.HandlerFunc) (*client.Client, *script, *pauses) {
	t.Helper()
	s := &script{t: t, answers: answers}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	slept := &pauses{}
	c, err := client.New(client.Options{Server: server.URL, Token: token, Sleep: slept.sleep})
	if err != nil {
		t.Fatalf("new client: %v", err)
	}
	return c, s, slept
}

// pauses stands for the clock.
type pauses struct {
	mu  sync.Mutex
	all []time.Duration
}

func (p *pauses) sleep(ctx context.Context, d time.Duration) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, d)
	return context.Cause(ctx)
}

func (p *pauses) list() []time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]time.Duration(nil), p.all...)
}

func says(status int, body any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}
}

func refuses(status int, code fault.Code, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{
			"type": "/problems/" + code, "title": "Title of it", "status": status, "detail": "What happened.", "code": code,
			"correlationId": "corr-1", "fix": []string{"Do this."}, "instance": "/tenants/t/diag/7KQ4MXWD", "retryable": status == 503,
		})
	}
}

// hangsUp ends the connection after the request was read: nobody knows whether it had its effect.
func hangsUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func TestKeyedCallIsRepeatedUnderItsKey(t *testing.T) {
	t.Parallel()
	c, s, slept := serve(t, hangsUp, refuses(503, fault.Unavailable, "Retry-After", "3"), says(202, map[string]any{"id": "r1", "state": "accepted", "open": true}))
	r, existing, err := c.StartReset(t.Context(), contoso, pixel, "forgot it", "INC-1")
	if err != nil || existing || r.ID != "r1" {
		t.Fatalf("StartReset = %+v, %v, %v", r, existing, err)
	}
	got := s.requests()
	if len(got) != 3 {
		t.Fatalf("%d requests, want 3", len(got))
	}
	for i, q := range got {
		want := seen{"POST", "/v1/tenants/" + contoso + "/devices/" + pixel + "/resets", got[0].key, "Bearer " + token, "application/json", `{"reason":"forgot it","ticket":"INC-1"}`}
		if q != want || q.key == "" {
			t.Errorf("request %d = %+v, want %+v", i, q, want)
		}
	}
	if p := slept.list(); len(p) != 2 || p[0] < 200*time.Millisecond || p[0] >= 300*time.Millisecond || p[1] != 3*time.Second {
		t.Errorf("paused %v", p)
	}
}

func TestEachCallHasItsOwnKey(t *testing.T) {
	t.Parallel()
	c, s, _ := serve(t, says(200, map[string]any{"id": "r1"}))
	for range 2 {
		if _, existing, err := c.StartReset(t.Context(), contoso, pixel, "r", ""); err != nil || !existing {
			t.Fatalf("existing %v, error %v", existing, err)
		}
	}
	if got := s.requests(); got[0].key == got[1].key || len(got[0].key) < 20 {
		t.Errorf("keys %q and %q", got[0].key, got[1].key)
	}
}

func TestWhatMayBeRepeated(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		call  func(*client.Client) error
		keyed bool
		sent  int
	}{
		"read": {func(c *client.Client) error { _, err := c.Tenant(t.Context(), contoso); return err }, false, 4},
		"cancel": {func(c *client.Client) error {
			_, err := c.CancelReset(t.Context(), contoso, "r", "why")
			return err
		}, true, 4},
		"event":  {func(c *client.Client) error { _, err := c.SendEvent(t.Context(), []byte(`{}`)); return err }, false, 4},
		"reveal": {func(c *client.Client) error { _, err := c.Reveal(t.Context(), contoso, "r", "why", ""); return err }, false, 1},
		"settings": {func(c *client.Client) error {
			_, err := c.ChangeSettings(t.Context(), contoso, client.SettingsChange{})
			return err
		}, false, 1},
	} {
		for kind, answer := range map[string]http.HandlerFunc{"lost": hangsUp, "503": refuses(503, fault.Unavailable)} {
			t.Run(name+" "+kind, func(t *testing.T) {
				t.Parallel()
				api, s, _ := serve(t, answer)
				err := c.call(api)
				if err == nil {
					t.Fatal("no error")
				}
				_, lost := errors.AsType[*client.Unreachable](err)
				if lost != (kind == "lost") || client.IsCode(err, fault.Unavailable) != (kind == "503") {
					t.Errorf("error %v", err)
				}
				got := s.requests()
				if len(got) != c.sent || (got[0].key != "") != c.keyed {
					t.Errorf("sent %d times with key %q, want %d", len(got), got[0].key, c.sent)
				}
			})
		}
	}
}

func TestRefusalsAreNotRepeated(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 400, 401, 403, 404, 409, 413, 422, 500, 502} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			c, s, _ := serve(t, refuses(status, fault.StateConflict, "Location", "/elsewhere"))
			_, err := c.Tenant(t.Context(), contoso)
			p, ok := errors.AsType[*client.Problem](err)
			if !ok || p.Status != status || len(s.requests()) != 1 {
				t.Errorf("%d requests, error %v", len(s.requests()), err)
			}
		})
	}
}

func TestLongRetryAfterIsPassedOn(t *testing.T) {
	t.Parallel()
	c, s, _ := serve(t, refuses(503, fault.GraphThrottled, "Retry-After", "600"))
	_, err := c.Tenant(t.Context(), contoso)
	p, ok := errors.AsType[*client.Problem](err)
	if !ok || p.RetryAfter != 10*time.Minute || len(s.requests()) != 1 {
		t.Errorf("%d requests, error %v", len(s.requests()), err)
	}
}

func TestProblem(t *testing.T) {
	t.Parallel()
	c, _, _ := serve(t, refuses(409, fault.StateConflict))
	_, err := c.AddTenant(t.Context(), client.NewTenant{TenantID: contoso, DisplayName: "Contoso"})
	p, ok := errors.AsType[*client.Problem](err)
	if !ok {
		t.Fatalf("error %v", err)
	}
	if p.Error() != "Title of it: What happened." || p.Code != fault.StateConflict || p.CorrelationID != "corr-1" || p.Fix[0] != "Do this." ||
		p.Diagnostics != c.Server()+"/tenants/t/diag/7KQ4MXWD" {
		t.Errorf("problem %+v", p)
	}
	p.Detail, p.Errors = "body.reason: is missing", []client.FieldProblem{{Location: "body.reason", Message: "is missing"}, {Location: "body.ticket", Message: "is too long"}}
	if got := p.Error(); got != "Title of it: body.reason: is missing; body.ticket is too long" {
		t.Errorf("text %q", got)
	}
}

func TestAnswersThatAreNotOurs(t *testing.T) {
	t.Parallel()
	page := func(status int, media, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", media)
			w.Header().Set("X-Correlation-Id", "corr-9")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	for name, answer := range map[string]http.HandlerFunc{
		"gateway page":     page(502, "text/html", "<h1>Bad Gateway</h1>"),
		"problem, no code": page(400, "application/problem+json", `{"title":"x"}`),
		"broken problem":   page(400, "application/problem+json", `{"title":`),
		"redirect":         page(302, "text/html", ""),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, _, _ := serve(t, answer)
			_, err := c.Tenant(t.Context(), contoso)
			p, ok := errors.AsType[*client.Problem](err)
			if !ok || p.Code != fault.Internal || p.CorrelationID != "corr-9" || strings.Contains(err.Error(), "<h1>") {
				t.Errorf("error %v", err)
			}
		})
	}
	t.Run("success that is not JSON", func(t *testing.T) {
		t.Parallel()
		c, _, _ := serve(t, page(200, "text/html", "hello 4711"))
		if _, err := c.Reveal(t.Context(), contoso, "r", "why", ""); err == nil || strings.Contains(err.Error(), "4711") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("endless", func(t *testing.T) {
		t.Parallel()
		c, _, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
			block := []byte(strings.Repeat("x", 1<<20))
			for r.Context().Err() == nil {
				if _, err := w.Write(block); err != nil {
					return
				}
			}
		})
		if _, err := c.Tenant(t.Context(), contoso); err == nil || !strings.Contains(err.Error(), "larger than") {
			t.Errorf("error %v", err)
		}
	})
}

func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	elsewhere, other, _ := serve(t, says(200, map[string]any{}))
	c, _, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.Server()+"/steal", http.StatusTemporaryRedirect)
	})
	if _, err := c.Tenant(t.Context(), contoso); err == nil {
		t.Error("no error")
	}
	if got := other.requests(); len(got) != 0 {
		t.Errorf("redirected to %+v", got)
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	page := func(next string, ids ...string) http.HandlerFunc {
		items := make([]map[string]any, len(ids))
		for i, id := range ids {
			items[i] = map[string]any{"id": id}
		}
		return says(200, map[string]any{"items": items, "next": next})
	}
	collect := func(c *client.Client, most int) (ids []string, err error) {
		for d, err := range c.Devices(t.Context(), contoso, "a&b=c d") {
			if err != nil {
				return ids, err
			}
			if ids = append(ids, d.ID); len(ids) == most {
				break
			}
		}
		return ids, nil
	}
	t.Run("all", func(t *testing.T) {
		t.Parallel()
		c, s, _ := serve(t, page("c1", "a", "b"), page("c2"), page("", "c"))
		ids, err := collect(c, 0)
		if err != nil || strings.Join(ids, "") != "abc" {
			t.Errorf("ids %v, error %v", ids, err)
		}
		want := "/v1/tenants/" + contoso + "/devices?cursor=c2&limit=200&search=a%26b%3Dc+d"
		if got := s.requests(); len(got) != 3 || got[2].uri != want {
			t.Errorf("requests %+v, last should be %s", got, want)
		}
	})
	t.Run("left early", func(t *testing.T) {
		t.Parallel()
		c, s, _ := serve(t, page("c1", "a", "b"), page("", "c"))
		if ids, _ := collect(c, 1); len(ids) != 1 || len(s.requests()) != 1 {
			t.Errorf("ids %v after %d requests", ids, len(s.requests()))
		}
	})
	t.Run("error on a later page", func(t *testing.T) {
		t.Parallel()
		c, _, _ := serve(t, page("c1", "a"), refuses(400, fault.InvalidRequest))
		if ids, err := collect(c, 0); len(ids) != 1 || !client.IsCode(err, fault.InvalidRequest) {
			t.Errorf("ids %v, error %v", ids, err)
		}
	})
	t.Run("same cursor for ever", func(t *testing.T) {
		t.Parallel()
		c, _, _ := serve(t, page("c1", "a"))
		if ids, err := collect(c, 0); len(ids) != 2 || err != nil {
			t.Errorf("ids %v, error %v", ids, err)
		}
	})
}

func TestIDsStayInTheirSegment(t *testing.T) {
	t.Parallel()
	c, s, _ := serve(t, says(200, map[string]any{}))
	if _, err := c.Reset(t.Context(), contoso, "../x?y#z/%2e"); err != nil {
		t.Fatal(err)
	}
	if got, want := s.requests()[0].uri, "/v1/tenants/"+contoso+"/resets/..%2Fx%3Fy%23z%2F%252e"; got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
	for _, id := range []string{"", ".", ".."} {
		if _, err := c.Reset(t.Context(), contoso, id); !client.IsCode(err, fault.NotFound) {
			t.Errorf("id %q: error %v", id, err)
		}
	}
	if n := len(s.requests()); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

func TestServerAddress(t *testing.T) {
	t.Parallel()
	for address, ok := range map[string]bool{
		"http://127.0.0.1:8080": true, "http://localhost:1/": true, "http://[::1]:8080": true, "https://pinreset.example/base": true,
		"http://10.0.0.1:8080": false, "http://pinreset.example": false, "http://127.0.0.1.example": false,
		"ftp://127.0.0.1": false, "127.0.0.1:8080": false, "": false, "https://": false, "https://u:p@h": false, "https://h?x=1": false, "http:opaque": false,
	} {
		c, err := client.New(client.Options{Server: address, Token: token})
		if (err == nil) != ok {
			t.Errorf("New(%q) = %v", address, err)
		}
		if err != nil && strings.Contains(err.Error(), ":p@") {
			t.Errorf("error shows a password: %v", err)
		}
		if ok && strings.Contains(fmt.Sprintf("%+v %#v", c, c), token) {
			t.Errorf("printing the client shows the token")
		}
	}
	if _, err := client.New(client.Options{Server: "https://h", Token: "a\nb"}); err == nil {
		t.Error("token with a line end was accepted")
	}
}

func TestLink(t *testing.T) {
	t.Parallel()
	c, err := client.New(client.Options{Server: "https://h.example/base/"})
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"": "", "/tenants/t/diag/X": "https://h.example/base/tenants/t/diag/X", "https://x.example/y": "https://x.example/y", "7KQ4MXWD": "7KQ4MXWD",
	} {
		if got := c.Link(in); got != want {
			t.Errorf("Link(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestSecretIsNotPrinted(t *testing.T) {
	t.Parallel()
	c, _, _ := serve(t, says(200, map[string]any{"passcode": "canary-4711", "views": 1}))
	r, err := c.Reveal(t.Context(), contoso, "r", "why", "")
	if err != nil || r.Passcode.Clear() != "canary-4711" {
		t.Fatalf("Reveal = %v, %v", r, err)
	}
	encoded, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if all := fmt.Sprintf("%v %+v %#v %s %s", r, r, r.Passcode, encoded, r.Passcode); strings.Contains(all, "4711") || strings.Count(all, "[redacted]") != 5 {
		t.Errorf("printed %s", all)
	}
}

func TestWaitReset(t *testing.T) {
	t.Parallel()
	state := func(state string, open bool) http.HandlerFunc {
		return says(200, map[string]any{"id": "r1", "state": state, "open": open})
	}
	t.Run("ends", func(t *testing.T) {
		t.Parallel()
		c, _, slept := serve(t, state("accepted", true), hangsUp, state("waiting", true), state("issued", false))
		var states []string
		r, err := c.WaitReset(t.Context(), contoso, "r1", func(r client.Reset) { states = append(states, string(r.State)) })
		if err != nil || r.State != "issued" || strings.Join(states, " ") != "accepted waiting issued" {
			t.Errorf("%s, states %v, error %v", r.State, states, err)
		}
		if p := slept.list(); len(p) < 2 || p[0] != 250*time.Millisecond || p[len(p)-1] != 375*time.Millisecond {
			t.Errorf("paused %v", p)
		}
	})
	t.Run("time is up", func(t *testing.T) {
		t.Parallel()
		up := errors.New("time is up")
		ctx, cancel := context.WithCancelCause(t.Context())
		c, _, _ := serve(t, state("waiting", true))
		r, err := c.WaitReset(ctx, contoso, "r1", func(client.Reset) { cancel(up) })
		if !errors.Is(err, up) || r.State != "waiting" {
			t.Errorf("%s, error %v", r.State, err)
		}
	})
	t.Run("not found", func(t *testing.T) {
		t.Parallel()
		c, s, _ := serve(t, refuses(404, fault.NotFound))
		if _, err := c.WaitReset(t.Context(), contoso, "r1", nil); !client.IsCode(err, fault.NotFound) || len(s.requests()) != 1 {
			t.Errorf("error %v after %d requests", err, len(s.requests()))
		}
	})
	t.Run("server never comes back", func(t *testing.T) {
		t.Parallel()
		c, _, _ := serve(t, state("waiting", true), hangsUp)
		_, err := c.WaitReset(t.Context(), contoso, "r1", nil)
		if _, lost := errors.AsType[*client.Unreachable](err); !lost {
			t.Errorf("error %v", err)
		}
	})
}

func TestWaitConsent(t *testing.T) {
	t.Parallel()
	run := func(request, state string) http.HandlerFunc {
		return says(200, map[string]any{"requestId": request, "state": state, "steps": []any{}})
	}
	c, s, _ := serve(t, run("old", onboarding.Failed), run("", onboarding.Pending), run("new", onboarding.Pending), run("new", onboarding.Proven))
	got, err := c.WaitConsent(t.Context(), contoso, "new", nil)
	if err != nil || got.State != onboarding.Proven || len(s.requests()) != 4 {
		t.Errorf("%+v after %d requests, error %v", got, len(s.requests()), err)
	}
}

func TestCancelledCallEndsAtOnce(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	c, s, _ := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done() // the client hangs up
	})
	if _, err := c.Tenant(ctx, contoso); !errors.Is(err, context.Canceled) || len(s.requests()) != 1 {
		t.Errorf("error %v after %d requests", err, len(s.requests()))
	}
}

func TestObserve(t *testing.T) {
	t.Parallel()
	s := &script{t: t, answers: []http.HandlerFunc{hangsUp, says(200, map[string]any{})}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	var got []client.Exchange
	c, err := client.New(client.Options{Server: server.URL, Sleep: (&pauses{}).sleep, Observe: func(e client.Exchange) { got = append(got, e) }})
	if err != nil {
		t.Fatal(err)
	}
	for range c.Devices(t.Context(), contoso, "ada@contoso.example") {
		t.Error("a device")
	}
	if len(got) != 2 || got[0].Status != 0 || got[1].Status != 200 || got[1].Attempt != 2 || strings.Contains(got[1].Path, "ada") {
		t.Errorf("observed %+v", got)
	}
	if s.requests()[0].auth != "" {
		t.Error("a client without a token sent one")
	}
}
