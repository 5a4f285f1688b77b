package graph

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	azlog "github.com/Azure/azure-sdk-for-go/sdk/azcore/log"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"pinreset/shared/diag"
	"pinreset/shared/fault"
)

const (
	tenantA = "11111111-1111-1111-1111-111111111111"
	tenantB = "22222222-2222-2222-2222-222222222222"
	deviceX = "33333333-3333-3333-3333-333333333333"
	spX     = "44444444-4444-4444-4444-444444444444"
	appX    = "b8456c59-1230-44c7-a4a2-99b085333e84"
)

// service is a server of tokens and of one handler's idea of Graph, for answers that the simulated tenant does not give.
type service struct {
	*httptest.Server
	graph  http.HandlerFunc
	token  http.HandlerFunc // nil: a token
	tokens atomic.Int64     // token requests
	posts  atomic.Int64     // POSTs to Graph
}

func serve(t *testing.T, graph http.HandlerFunc) *service {
	t.Helper()
	s := &service{graph: graph}
	s.Server = httptest.NewUnstartedServer(s)
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // cut connections are wanted
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration"):
		base := s.URL + strings.TrimSuffix(r.URL.Path, "/v2.0/.well-known/openid-configuration")
		fmt.Fprintf(w, `{"issuer":"%[1]s/v2.0","authorization_endpoint":"%[1]s/oauth2/v2.0/authorize","token_endpoint":"%[1]s/oauth2/v2.0/token"}`, base)
	case strings.HasSuffix(r.URL.Path, "/oauth2/v2.0/token"):
		n := s.tokens.Add(1)
		if s.token != nil {
			s.token(w, r)
			return
		}
		fmt.Fprintf(w, `{"token_type":"Bearer","expires_in":3600,"access_token":"token-%d"}`, n)
	default:
		if r.Method == http.MethodPost {
			s.posts.Add(1)
		}
		s.graph(w, r)
	}
}

func (s *service) config() Config {
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig.RootCAs = roots
	cfg := Config{Graph: s.URL, Authority: s.URL, Transport: transport, DisableInstanceDiscovery: true}
	cfg.App = cfg.SecretApp("app", "a client secret")
	return cfg
}

func (s *service) client(t *testing.T, change func(*Config)) *Client {
	t.Helper()
	cfg := s.config()
	if change != nil {
		change(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func answerWith(status int, header map[string]string, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		for k, v := range header {
			w.Header().Set(k, v)
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

const odataBody = `{"error":{"code":"SomeCode","message":"some message","innerError":{"request-id":"from-body"}}}`

func TestAnswersBecomeVerdicts(t *testing.T) {
	t.Parallel()
	inAMinute := "Mon, 05 Jan 2026 10:01:00 GMT"
	serverDate := "Mon, 05 Jan 2026 10:00:00 GMT"
	for _, c := range []struct {
		name     string
		status   int
		header   map[string]string
		code     fault.Code // "": not found
		min, max time.Duration
		unknown  bool // when it answers resetPasscode
	}{
		{"400", 400, nil, fault.GraphRefused, 0, 0, false},
		{"401", 401, nil, fault.GraphUnauthorized, 0, 0, false},
		{"403", 403, nil, fault.GraphForbidden, 0, 0, false},
		{"404", 404, nil, "", 0, 0, false},
		{"405", 405, nil, fault.GraphRefused, 0, 0, false},
		{"408", 408, nil, fault.GraphUnavailable, time.Second, 2 * time.Second, true},
		{"409", 409, nil, fault.GraphRefused, 0, 0, false},
		{"302", 302, map[string]string{"Location": "/elsewhere"}, fault.GraphRefused, 0, 0, true},
		{"429 seconds", 429, map[string]string{"Retry-After": "17"}, fault.GraphThrottled, 17 * time.Second, 17 * time.Second, true},
		{"429 date", 429, map[string]string{"Retry-After": inAMinute, "Date": serverDate}, fault.GraphThrottled, time.Minute, time.Minute, true},
		{"429 bare", 429, nil, fault.GraphThrottled, time.Second, 2 * time.Second, true},
		{"503 seconds", 503, map[string]string{"Retry-After": "120"}, fault.GraphUnavailable, 120 * time.Second, 120 * time.Second, true},
		{"503 bare", 503, nil, fault.GraphUnavailable, time.Second, 2 * time.Second, true},
		{"500", 500, nil, fault.GraphUnavailable, time.Second, 2 * time.Second, true},
		{"504", 504, nil, fault.GraphUnavailable, time.Second, 2 * time.Second, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			header := map[string]string{"request-id": "the-request", "x-ms-throttle-scope": "Tenant/Read"}
			for k, v := range c.header {
				header[k] = v
			}
			s := serve(t, answerWith(c.status, header, odataBody))
			check := func(t *testing.T, err error, unknown bool) {
				t.Helper()
				e, ok := errors.AsType[*Error](err)
				if !ok || e.Status != c.status || e.Code != "SomeCode" || e.RequestID != "the-request" || e.ClientRequestID == "" || e.Date.IsZero() {
					t.Fatalf("error %#v of %v", e, err)
				}
				v, judged := fault.As(err)
				switch {
				case c.code == "":
					if judged || !errors.Is(err, ErrNotFound) {
						t.Errorf("error %v, want not found without a verdict", err)
					}
				case !judged || v.Code != c.code || v.Delay < c.min || v.Delay > c.max:
					t.Errorf("verdict %+v, want %s between %s and %s", v, c.code, c.min, c.max)
				}
				if errors.Is(err, ErrOutcomeUnknown) != unknown {
					t.Errorf("outcome unknown is %v, want %v: %v", !unknown, unknown, err)
				}
			}
			_, err := s.client(t, nil).ManagedDevice(t.Context(), tenantA, deviceX)
			check(t, err, false)
			if e, _ := errors.AsType[*Error](err); e.Message != "some message" || e.Path != "/deviceManagement/managedDevices/{id}" {
				t.Errorf("error %+v", e)
			}
			s.tokens.Store(0)
			_, err = s.client(t, nil).ResetPasscode(t.Context(), tenantA, deviceX)
			check(t, err, c.unknown)
			sends, tokens := int64(1), int64(1)
			if c.status == 401 {
				sends, tokens = 2, 2 // once more with a new token, since nothing was done
			}
			if s.posts.Load() != sends || s.tokens.Load() != tokens {
				t.Errorf("%d POSTs and %d tokens, want %d and %d", s.posts.Load(), s.tokens.Load(), sends, tokens)
			}
		})
	}
}

func TestNewTokenAfter401(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer token-1" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, `{"id":%q}`, deviceX)
	})
	c := s.client(t, nil)
	for range 2 {
		if _, err := c.ManagedDevice(t.Context(), tenantA, deviceX); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.tokens.Load(); n != 2 {
		t.Errorf("%d tokens, want 2", n)
	}
}

func TestClaimsChallenge(t *testing.T) {
	t.Parallel()
	var claims atomic.Value
	calls := atomic.Int64{}
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnt9fQ=="`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, `{"id":%q}`, deviceX)
	})
	s.token = func(w http.ResponseWriter, r *http.Request) {
		claims.Store(r.PostFormValue("claims"))
		fmt.Fprintf(w, `{"token_type":"Bearer","expires_in":3600,"access_token":"t%d"}`, s.tokens.Load())
	}
	if _, err := s.client(t, nil).ManagedDevice(t.Context(), tenantA, deviceX); err != nil {
		t.Fatal(err)
	}
	if got, _ := claims.Load().(string); !strings.Contains(got, "access_token") || s.tokens.Load() != 2 {
		t.Errorf("claims %q after %d tokens", got, s.tokens.Load())
	}
}

func TestForbiddenWithAnOldTokenGetsANewOne(t *testing.T) {
	t.Parallel()
	s := serve(t, answerWith(403, nil, odataBody))
	ck := newClock()
	c := s.client(t, func(cfg *Config) { cfg.Now = ck.Now })
	for range 3 {
		c.ManagedDevice(t.Context(), tenantA, deviceX)
	}
	if n := s.tokens.Load(); n != 1 {
		t.Errorf("%d tokens within a minute, want 1", n)
	}
	ck.Advance(2 * time.Minute)
	for range 2 {
		c.ManagedDevice(t.Context(), tenantA, deviceX)
	}
	if n := s.tokens.Load(); n != 2 {
		t.Errorf("%d tokens, want 2", n)
	}
}

func TestSignInFailures(t *testing.T) {
	t.Parallel()
	refusal := func(codes ...int) string {
		data, _ := json.Marshal(map[string]any{"error": "invalid_client", "error_description": "AADSTS1: text", "error_codes": codes, "trace_id": "trace"})
		return string(data)
	}
	for _, c := range []struct {
		name  string
		token http.HandlerFunc
		code  fault.Code
		delay time.Duration // 0: permanent; -1: any
	}{
		{"not in directory", answerWith(400, nil, refusal(700016)), fault.AppNotConsented, 0},
		{"no consent", answerWith(400, nil, refusal(65001)), fault.AppNotConsented, 0},
		{"no resource", answerWith(400, nil, refusal(650052)), fault.AppNotConsented, 0},
		{"no service principal", answerWith(401, nil, refusal(7000229)), fault.AppNotConsented, 0},
		{"one of many", answerWith(401, nil, refusal(50000, 7000229)), fault.AppNotConsented, 0},
		{"wrong secret", answerWith(401, nil, refusal(7000215)), fault.GraphUnauthorized, 0},
		{"number in the text only", answerWith(401, nil, `{"error":"invalid_client","error_description":"AADSTS700016"}`), fault.GraphUnauthorized, 0},
		{"throttled", answerWith(429, map[string]string{"Retry-After": "9"}, `{}`), fault.GraphThrottled, 9 * time.Second},
		{"down", answerWith(503, nil, `busy`), fault.GraphUnavailable, -1},
		{"not JSON", answerWith(200, nil, `canary-token`), fault.GraphUnavailable, -1},
		{"cut off", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, fault.GraphUnavailable, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, answerWith(204, nil, ""))
			s.token = c.token
			var record diag.Record
			_, err := s.client(t, nil).ResetPasscode(diag.NewContext(t.Context(), &record), tenantA, deviceX)
			v, ok := fault.As(err)
			if !ok || v.Code != c.code || c.delay >= 0 && v.Delay != c.delay || c.delay < 0 && v.Permanent() {
				t.Errorf("error %v", err)
			}
			if errors.Is(err, ErrOutcomeUnknown) || s.posts.Load() != 0 {
				t.Errorf("nothing was sent, yet: %v", err)
			}
			for _, secret := range []string{"a client secret", "canary-token"} {
				if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, v), secret) {
					t.Errorf("the error shows %q", secret)
				}
			}
			steps, _ := record.Steps()
			if len(steps) == 0 || !strings.HasPrefix(steps[len(steps)-1].Text, "POST /{id}/oauth2/v2.0/token") {
				t.Errorf("steps %+v", steps)
			}
			if c.name == "not in directory" && steps[len(steps)-1].ErrorCode != "AADSTS700016" {
				t.Errorf("step %+v", steps[len(steps)-1])
			}
		})
	}
}

// A credential of another make than azidentity's: what it could not reach is tried again, all else is final.
func TestOtherCredentials(t *testing.T) {
	t.Parallel()
	s := serve(t, answerWith(204, nil, ""))
	for _, c := range []struct {
		err       error
		code      fault.Code
		permanent bool
	}{
		{errors.New("canary: no certificate"), fault.GraphUnauthorized, true},
		{&net.DNSError{Err: "no such host", Name: "login"}, fault.GraphUnavailable, false},
		{fmt.Errorf("get token: %w", context.DeadlineExceeded), fault.GraphUnavailable, false},
	} {
		client := s.client(t, func(cfg *Config) {
			cfg.App.Credential = func(string) (azcore.TokenCredential, error) { return failing{c.err}, nil }
		})
		_, err := client.ResetPasscode(t.Context(), tenantA, deviceX)
		v, ok := fault.As(err)
		if !ok || v.Code != c.code || v.Permanent() != c.permanent || errors.Is(err, ErrOutcomeUnknown) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%v: %v", c.err, err)
		}
	}
	broken := s.client(t, func(cfg *Config) {
		cfg.App.Credential = func(string) (azcore.TokenCredential, error) { return nil, errors.New("no key") }
	})
	if _, err := broken.ManagedDevice(t.Context(), tenantA, deviceX); fault.CodeOf(err) != fault.GraphUnauthorized {
		t.Errorf("error %v", err)
	}
	if s.posts.Load() != 0 {
		t.Error("something was sent")
	}
}

type failing struct{ err error }

func (f failing) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{}, f.err
}

// The answer to the POST is lost after Graph took it: sent once, outcome unknown.
func TestLostAcknowledgement(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Config){
		"HTTP/1.1": nil,
		"HTTP/2":   func(cfg *Config) { cfg.Transport = opaque{cfg.Transport} },
	} {
		var proto string
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			proto = r.Proto
			panic(http.ErrAbortHandler)
		})
		_, err := s.client(t, change).ResetPasscode(t.Context(), tenantA, deviceX)
		v, ok := fault.As(err)
		if !errors.Is(err, ErrOutcomeUnknown) || !ok || v.Code != fault.GraphUnavailable || v.Permanent() {
			t.Errorf("%s: error %v", name, err)
		}
		if n := s.posts.Load(); n != 1 || !strings.HasPrefix(proto, name) {
			t.Errorf("%s: %d POSTs over %s", name, n, proto)
		}
	}
}

// opaque is a transport that the client can't look into.
type opaque struct{ http.RoundTripper }

func TestDevicesAreActedOnOverHTTP1(t *testing.T) {
	t.Parallel()
	var protos sync.Map
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		protos.Store(r.Method, r.Proto)
		if r.Method == http.MethodGet {
			fmt.Fprint(w, `{}`)
			return
		}
		if r.ContentLength != 0 {
			t.Errorf("the POST has a body of %d", r.ContentLength)
		}
		w.WriteHeader(204)
	})
	c := s.client(t, nil)
	if _, err := c.ManagedDevice(t.Context(), tenantA, deviceX); err != nil {
		t.Fatal(err)
	}
	if err := c.SyncDevice(t.Context(), tenantA, deviceX); err != nil {
		t.Fatal(err)
	}
	if got, _ := protos.Load("POST"); got != "HTTP/1.1" {
		t.Errorf("actions go over %v", got)
	}
	if got, _ := protos.Load("GET"); got != "HTTP/2.0" {
		t.Errorf("reads go over %v", got)
	}
}

func TestTimeoutAndCancellation(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{}, 10)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if strings.HasSuffix(r.URL.Path, "/syncDevice") || r.URL.Query().Has("$filter") {
			io.WriteString(w, "{}")
			return
		}
		arrived <- struct{}{}
		<-r.Context().Done()
	})
	c := s.client(t, func(cfg *Config) { cfg.Timeout = 2 * time.Second })
	// Tokens and connections first, so that the time runs out in the call.
	if err := c.SyncDevice(t.Context(), tenantA, deviceX); err != nil {
		t.Fatal(err)
	}
	for _, err := range c.ManagedDevices(t.Context(), tenantA, DeviceFilter{Name: "x"}) {
		t.Fatal(err)
	}
	_, err := c.ResetPasscode(t.Context(), tenantA, deviceX)
	if v, ok := fault.As(err); !errors.Is(err, ErrOutcomeUnknown) || !ok || v.Code != fault.GraphUnavailable {
		t.Errorf("after a timeout: %v", err)
	}
	<-arrived
	_, err = c.ManagedDevice(t.Context(), tenantA, deviceX)
	if v, ok := fault.As(err); !ok || v.Code != fault.GraphUnavailable || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("read after a timeout: %v", err)
	}
	<-arrived

	slow := s.client(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	_, err = slow.ResetPasscode(ctx, tenantA, deviceX)
	if _, judged := fault.As(err); judged || !errors.Is(err, ErrOutcomeUnknown) || !errors.Is(err, context.Canceled) {
		t.Errorf("after a cancellation: %v", err)
	}
	_, err = slow.ResetPasscode(ctx, tenantA, deviceX)
	if errors.Is(err, ErrOutcomeUnknown) || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
	if n := s.posts.Load(); n != 3 {
		t.Errorf("%d POSTs, want the sync and two resets", n)
	}
}

// The connection for the POST can't be made: nothing was sent, and the permit is there for the next call.
func TestDialFailureIsNotUnknown(t *testing.T) {
	t.Parallel()
	s := serve(t, answerWith(204, nil, ""))
	dead := httptest.NewTLSServer(nil)
	dead.Close()
	c := s.client(t, func(cfg *Config) { cfg.Graph = dead.URL })
	_, err := c.ResetPasscode(t.Context(), tenantA, deviceX)
	v, ok := fault.As(err)
	if errors.Is(err, ErrOutcomeUnknown) || !ok || v.Code != fault.GraphUnavailable {
		t.Errorf("error %v", err)
	}
	if f := c.Snapshot().Families[0]; f.Calls != 0 || f.Used != 0 {
		t.Errorf("snapshot %+v", f)
	}
}

func TestRefusedByTheLimiterIsNotSent(t *testing.T) {
	t.Parallel()
	s := serve(t, answerWith(429, map[string]string{"Retry-After": "30"}, odataBody))
	ck := newClock()
	c := s.client(t, func(cfg *Config) { cfg.Now = ck.Now })
	_, err := c.ResetPasscode(t.Context(), tenantA, deviceX)
	if !errors.Is(err, ErrOutcomeUnknown) {
		t.Errorf("error %v", err)
	}
	_, err = c.ResetPasscode(t.Context(), tenantA, deviceX)
	if errors.Is(err, ErrOutcomeUnknown) || s.posts.Load() != 1 {
		t.Errorf("error %v after %d POSTs", err, s.posts.Load())
	}
	wantDelay(t, err, fault.GraphThrottled, 30*time.Second)
	_, err = c.ResetPasscode(t.Context(), tenantB, deviceX) // another tenant goes on
	if s.posts.Load() != 2 || err == nil {
		t.Errorf("%d POSTs, error %v", s.posts.Load(), err)
	}
	f := c.Snapshot()
	if f.RetryAfterViolations != 0 || f.Families[0].Throttled != 2 || f.Families[0].Refused != 1 {
		t.Errorf("snapshot %+v", f)
	}
}

func TestPriorityAndHeaders(t *testing.T) {
	t.Parallel()
	var got http.Header
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Clone()
		w.Header().Set("request-id", "req")
		fmt.Fprint(w, `{}`)
	})
	c := s.client(t, func(cfg *Config) { cfg.NewID = func() string { return "my-id" } })
	var record diag.Record
	ctx := diag.NewContext(t.Context(), &record)
	if _, err := c.ManagedDevice(WithPriority(ctx, People), tenantA, deviceX); err != nil {
		t.Fatal(err)
	}
	if got.Get("x-ms-throttle-priority") != "high" || got.Get("client-request-id") != "my-id" || got.Get("Accept") != "application/json" {
		t.Errorf("headers %v", got)
	}
	if _, err := c.ManagedDevice(ctx, tenantA, deviceX); err != nil {
		t.Fatal(err)
	}
	if got.Get("x-ms-throttle-priority") != "" {
		t.Error("bulk calls are sent with priority")
	}
	steps, _ := record.Steps()
	last := steps[len(steps)-1]
	if last.Kind != diag.KindCall || last.Text != "GET /deviceManagement/managedDevices/{id}" || last.Status != 200 ||
		last.RequestID != "req" || last.ClientRequestID != "my-id" || last.ServerDate == "" || last.Milliseconds <= 0 {
		t.Errorf("step %+v", last)
	}
}

func TestPagesStayOnOurHost(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		link string
		ok   bool
	}{
		{"BASE/v1.0/deviceManagement/managedDevices?$skiptoken=a%2Fb%20c&x=(1)", true},
		{"https://evil.example/v1.0/deviceManagement/managedDevices", false},
		{"http://HOST/v1.0/deviceManagement/managedDevices", false},
		{"https://user@HOST/v1.0/deviceManagement/managedDevices", false},
		{"BASE/beta/deviceManagement/managedDevices", false},
		{"BASE/elsewhere", false},
		{"SAME", false},
	} {
		calls := 0
		var second string
		s := serve(t, nil)
		s.graph = func(w http.ResponseWriter, r *http.Request) {
			calls++
			link := strings.NewReplacer("BASE", s.URL, "HOST", strings.TrimPrefix(s.URL, "https://"),
				"SAME", s.URL+"/v1.0/deviceManagement/managedDevices?$skiptoken=same").Replace(c.link)
			if calls > 1 {
				second = r.RequestURI
				if c.ok {
					link = ""
				}
			}
			json.NewEncoder(w).Encode(map[string]any{"value": []any{map[string]any{"id": fmt.Sprint(calls)}}, "@odata.nextLink": link})
		}
		var ids []string
		var failed error
		for d, err := range s.client(t, nil).ManagedDevices(t.Context(), tenantA, DeviceFilter{}) {
			if err != nil {
				failed = err
				break
			}
			ids = append(ids, d.ID)
		}
		if c.ok {
			if failed != nil || !slices.Equal(ids, []string{"1", "2"}) || !strings.HasSuffix(c.link, strings.TrimPrefix(second, "/v1.0")) {
				t.Errorf("%s: %v %v, second request %q", c.link, ids, failed, second)
			}
		} else if failed == nil {
			t.Errorf("%s was followed", c.link)
		}
	}
}

// TestDevicePageGoesOn reads a list in two calls, and refuses places that are not in a list of devices of our Graph.
func TestDevicePageGoesOn(t *testing.T) {
	t.Parallel()
	var asked []string
	s := serve(t, nil)
	link := s.URL + "/v1.0/deviceManagement/managedDevices?$skiptoken=a%2Fb%20c"
	s.graph = func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.RequestURI)
		body := map[string]any{"value": []any{map[string]any{"id": fmt.Sprint(len(asked)), "lastSyncDateTime": "2026-11-20T10:00:00+02:00"}}}
		if len(asked) == 1 {
			body["@odata.nextLink"] = link
		}
		json.NewEncoder(w).Encode(body)
	}
	c := s.client(t, nil)
	first, next, err := c.DevicePage(t.Context(), tenantA, DeviceFilter{Name: "x"}, "")
	if err != nil || len(first) != 1 || next != "/deviceManagement/managedDevices?$skiptoken=a%2Fb%20c" || first[0].LastSync.Location() != time.UTC {
		t.Fatalf("first page %v, next %q, %v", first, next, err)
	}
	second, end, err := c.DevicePage(t.Context(), tenantA, DeviceFilter{Name: "x"}, next)
	if err != nil || len(second) != 1 || second[0].ID != "2" || end != "" || asked[1] != "/v1.0"+next {
		t.Fatalf("second page %v, next %q, %v; asked %q", second, end, err, asked)
	}
	for _, after := range []string{
		"https://evil.example/deviceManagement/managedDevices?x=1", "//evil.example/deviceManagement/managedDevices?x=1", "/organization",
		"/deviceManagement/managedDevices/../../organization", "/deviceManagement/managedDevices/" + deviceX, "/deviceManagement%2FmanagedDevices?x=1",
		"deviceManagement/managedDevices", "@evil.example", "?x=1", "/deviceManagement/managedDevices?x=1#y", "%zz",
	} {
		if _, _, err := c.DevicePage(t.Context(), tenantA, DeviceFilter{}, after); fault.CodeOf(err) != fault.InvalidRequest {
			t.Errorf("%s: %v", after, err)
		}
	}
	if len(asked) != 2 {
		t.Errorf("something was sent: %q", asked[2:])
	}
	for _, wrong := range []string{"https://evil.example/v1.0/deviceManagement/managedDevices?x=1", s.URL + "/v1.0/organization?x=1", s.URL + "/v1.0" + next} {
		asked, link = nil, wrong
		if _, got, err := c.DevicePage(t.Context(), tenantA, DeviceFilter{}, next); err == nil || got != "" {
			t.Errorf("a next link to %s was taken: %q", wrong, got)
		}
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	var got string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.URL.Query().Get("$filter")
		fmt.Fprint(w, `{"value":[]}`)
	})
	c := s.client(t, nil)
	for range c.ManagedDevices(t.Context(), tenantA, DeviceFilter{Name: "O'Hara's phone & co", User: "a+b@x.example"}) {
		t.Error("a device out of nowhere")
	}
	if want := "deviceName eq 'O''Hara''s phone & co' and userPrincipalName eq 'a+b@x.example'"; got != want {
		t.Errorf("filter %q, want %q", got, want)
	}
}

func TestIdsAreGUIDs(t *testing.T) {
	t.Parallel()
	s := serve(t, answerWith(204, nil, ""))
	c := s.client(t, nil)
	for _, id := range []string{"", "x", deviceX + "/wipe", deviceX[:35] + "/", "../" + deviceX[3:], strings.Replace(deviceX, "-", "/", 1)} {
		_, err := c.ResetPasscode(t.Context(), tenantA, id)
		if fault.CodeOf(err) != fault.InvalidRequest {
			t.Errorf("device %q: %v", id, err)
		}
		if _, err := c.Batch(t.Context(), tenantA, V1, []BatchRequest{BatchResetPasscode("1", id)}); fault.CodeOf(err) != fault.InvalidRequest {
			t.Errorf("device %q in a batch: %v", id, err)
		}
		if _, err := c.ManagedDevice(t.Context(), id, deviceX); fault.CodeOf(err) != fault.InvalidRequest {
			t.Errorf("tenant %q: %v", id, err)
		}
	}
	if s.posts.Load() != 0 || s.tokens.Load() != 0 {
		t.Error("something was sent")
	}
}

func TestPrivilegedAppIsUsedForActionsOnly(t *testing.T) {
	t.Parallel()
	var users sync.Map
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		users.Store(r.Method+" "+r.URL.Path, r.Header.Get("Authorization"))
		if r.Method == http.MethodGet {
			fmt.Fprintf(w, `{"value":[{"id":%q}]}`, tenantA)
			return
		}
		w.WriteHeader(204)
	})
	s.token = func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"token_type":"Bearer","expires_in":3600,"access_token":%q}`, r.PostFormValue("client_id"))
	}
	c := s.client(t, func(cfg *Config) {
		app := cfg.SecretApp("privileged", "another secret")
		cfg.Privileged = &app
	})
	prove := func() error {
		return errors.Join(c.Prove(t.Context(), tenantA), c.ProvePrivileged(t.Context(), tenantA))
	}
	if err := prove(); err != nil {
		t.Fatal(err)
	}
	if n := s.tokens.Load(); n != 2 {
		t.Errorf("%d tokens for a proof, want one of each app", n)
	}
	if err := prove(); err != nil || s.tokens.Load() != 4 {
		t.Errorf("a second proof used old tokens: %d, %v", s.tokens.Load(), err)
	}
	accepted, err := c.ResetPasscode(t.Context(), tenantA, deviceX)
	if err != nil || accepted.ServerDate.IsZero() {
		t.Fatal(accepted, err)
	}
	want := map[string]string{
		"GET /v1.0/organization": "Bearer app",
		"POST /v1.0/deviceManagement/managedDevices/" + deviceX + "/resetPasscode": "Bearer privileged",
	}
	users.Range(func(k, v any) bool {
		if want[k.(string)] != v {
			t.Errorf("%s was sent by %s", k, v)
		}
		delete(want, k.(string))
		return true
	})
	if len(want) != 0 {
		t.Errorf("not sent: %v", want)
	}
}

func TestProveComparesTheTenant(t *testing.T) {
	t.Parallel()
	s := serve(t, answerWith(200, nil, `{"value":[{"id":"`+tenantB+`"}]}`))
	if err := s.client(t, nil).Prove(t.Context(), tenantA); fault.CodeOf(err) != fault.GraphUnauthorized {
		t.Errorf("error %v", err)
	}
}

func TestSessionsAreBounded(t *testing.T) {
	t.Parallel()
	s := serve(t, answerWith(200, nil, `{}`))
	c := s.client(t, func(cfg *Config) { cfg.Sessions = 3 })
	for i := range 10 {
		if _, err := c.ManagedDevice(t.Context(), fmt.Sprintf("11111111-1111-1111-1111-%012d", i), deviceX); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(c.general.sessions); n != 3 || c.general.byUse.Len() != 3 {
		t.Errorf("%d sessions", n)
	}
}

func TestBodyIsBounded(t *testing.T) {
	t.Parallel()
	s := serve(t, answerWith(200, nil, `{"id":"`+strings.Repeat("x", maxBody)+`"}`))
	_, err := s.client(t, nil).ManagedDevice(t.Context(), tenantA, deviceX)
	if _, judged := fault.As(err); judged || !errors.Is(err, errTooLarge) {
		t.Errorf("error %v", err)
	}
}

func TestConfigMistakes(t *testing.T) {
	t.Parallel()
	_, err := New(Config{Graph: "http://graph", Authority: "login", Reserve: 1.5, Limits: &Limits{Global: Window{Limit: 5}}})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"graph", "authority", "client id", "reserve", "limit global"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q says nothing about %s", err, want)
		}
	}
}

func TestTransientFailureOfAFreshServicePrincipal(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method == http.MethodPatch {
			if r.Header.Get("Prefer") != "create-if-missing" || string(body) != "{}" {
				t.Errorf("upsert with %q and %q", r.Header.Get("Prefer"), body)
			}
			w.WriteHeader(http.StatusCreated)
			fmt.Fprintf(w, `{"id":%q,"appId":%q,"accountEnabled":true}`, spX, appX)
			return
		}
		w.WriteHeader(http.StatusNotFound) // the replica does not know it yet
	})
	c := s.client(t, nil)
	sp, err := c.CreateServicePrincipal(t.Context(), tenantA, appX)
	if err != nil || sp.ID != spX || !sp.Enabled() {
		t.Errorf("%+v %v", sp, err)
	}
	if _, err := c.ServicePrincipal(t.Context(), tenantA, appX); !errors.Is(err, ErrNotFound) {
		t.Errorf("error %v", err)
	}
}

// The listener of azcore's log is one for the process; TestPasscodeIsNowhere fills it while it runs.
var azureLog struct {
	mu    sync.Mutex
	lines []string
}

func listenToAzureLog(t *testing.T) func() string {
	azlog.SetListener(func(e azlog.Event, text string) {
		azureLog.mu.Lock()
		defer azureLog.mu.Unlock()
		azureLog.lines = append(azureLog.lines, string(e)+": "+text)
	})
	t.Cleanup(func() { azlog.SetListener(nil) })
	return func() string {
		azureLog.mu.Lock()
		defer azureLog.mu.Unlock()
		return strings.Join(azureLog.lines, "\n")
	}
}
