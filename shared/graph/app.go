package graph

import (
	"container/list"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"pinreset/shared/fault"
)

// App is an app registration: who calls Graph.
type App struct {
	ClientID string
	// Credential makes a credential for a tenant. It is called again when Graph refuses a token, and then must return one
	// that does not remember it. It must not block.
	Credential func(tenant string) (azcore.TokenCredential, error)
}

// SecretApp returns an app that signs in with a client secret, at the authority and by the transport of cfg, which must be
// set before.
func (cfg Config) SecretApp(clientID, clientSecret string) App {
	options := cfg.credentialOptions()
	return App{ClientID: clientID, Credential: func(tenant string) (azcore.TokenCredential, error) {
		return azidentity.NewClientSecretCredential(tenant, clientID, clientSecret, &azidentity.ClientSecretCredentialOptions{
			ClientOptions: options, DisableInstanceDiscovery: cfg.DisableInstanceDiscovery,
		})
	}}
}

// AssertionApp returns an app that signs in with a signed assertion, such as the token of a managed identity or of a
// workload; assertion gets a fresh one, and should keep it: it is called twice for a token.
func (cfg Config) AssertionApp(clientID string, assertion func(context.Context) (string, error)) App {
	options := cfg.credentialOptions()
	return App{ClientID: clientID, Credential: func(tenant string) (azcore.TokenCredential, error) {
		credential, err := azidentity.NewClientAssertionCredential(tenant, clientID, assertion, &azidentity.ClientAssertionCredentialOptions{
			ClientOptions: options, DisableInstanceDiscovery: cfg.DisableInstanceDiscovery,
		})
		return asserted{credential, assertion}, err
	}}
}

// asserted is a credential that tells its own failure to make an assertion from the authority's answer, which azidentity does not.
type asserted struct {
	azcore.TokenCredential
	assertion func(context.Context) (string, error)
}

func (a asserted) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if _, err := a.assertion(ctx); err != nil {
		return azcore.AccessToken{}, fault.After(maxBackoff, fault.GraphUnavailable, fmt.Errorf("prove who we are: %w", err))
	}
	return a.TokenCredential.GetToken(ctx, o)
}

func (cfg Config) credentialOptions() policy.ClientOptions {
	return policy.ClientOptions{
		Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: cfg.Authority},
		Transport: cfg.signIn(),
		Retry:     noRetry,
	}
}

func (cfg Config) signIn() *signIn {
	return &signIn{client: httpClient(cfg.wrapped(cfg.transport())), now: cfg.clock(), discovery: discovery{now: cfg.clock()}}
}

func (a App) validate(name string) error {
	if a.ClientID == "" || a.Credential == nil {
		return fmt.Errorf("%s has no client id or no credential", name)
	}
	return nil
}

// identity is an app with a session for each tenant in which it was lately used.
type identity struct {
	client    *Client
	app       App
	transport policy.Transporter
	scope     string
	limit     int
	pipeline  runtime.Pipeline

	mu       sync.Mutex
	sessions map[string]*list.Element // of *session
	byUse    list.List                // front: used last
}

// session is an app signed in to a tenant: a credential, and the policy that keeps its token.
type session struct {
	tenant     string
	born       time.Time
	credential *ahead
	bearer     *runtime.BearerTokenPolicy
}

// authorization gives a request the token of its session. One pipeline serves all tenants: making one costs more than a call.
type authorization struct{}

func (authorization) Do(req *policy.Request) (*http.Response, error) {
	x, ok := req.Raw().Context().Value(exchangeKey{}).(*exchange)
	if !ok {
		return nil, errors.New("request outside of the client")
	}
	return x.session.bearer.Do(req)
}

// newIdentity makes an identity. Its calls go by transport, those that must not reach Graph twice by single.
func (c *Client) newIdentity(app App, transport, single http.RoundTripper, limit int) *identity {
	id := &identity{
		client:    c,
		app:       app,
		transport: &boundedTransport{httpClient(transport), httpClient(single)},
		scope:     c.base.Scheme + "://" + c.base.Host + "/.default",
		limit:     limit,
		sessions:  map[string]*list.Element{},
	}
	id.pipeline = runtime.NewPipeline("graph", "v1", runtime.PipelineOptions{
		PerRetry: []policy.Policy{authorization{}, admission{}},
	}, &policy.ClientOptions{
		Transport: id.transport,
		Retry:     noRetry,
		Telemetry: policy.TelemetryOptions{ApplicationID: "pinreset"},
	})
	return id
}

// session finds or makes the session of a tenant. No token is asked for before the first call.
func (id *identity) session(tenant string) (*session, error) {
	id.mu.Lock()
	defer id.mu.Unlock()
	if e := id.sessions[tenant]; e != nil {
		id.byUse.MoveToFront(e)
		return e.Value.(*session), nil
	}
	credential, err := id.app.Credential(tenant)
	if err != nil {
		return nil, fault.Permanentf(fault.GraphUnauthorized, "make credential of app %s: %w", id.app.ClientID, err)
	}
	first := newAhead(apart{credential}, id.scope)
	s := &session{tenant: tenant, born: id.client.now(), credential: first, bearer: runtime.NewBearerTokenPolicy(first, []string{id.scope}, nil)}
	if id.byUse.Len() >= id.limit {
		delete(id.sessions, id.byUse.Remove(id.byUse.Back()).(*session).tenant)
	}
	id.sessions[tenant] = id.byUse.PushFront(s)
	return s, nil
}

// forget drops a session, and with it its token, unless it was replaced already. A nil session means whichever is there.
func (id *identity) forget(tenant string, s *session) {
	id.mu.Lock()
	defer id.mu.Unlock()
	if e := id.sessions[tenant]; e != nil && (s == nil || e.Value.(*session) == s) {
		id.byUse.Remove(e)
		delete(id.sessions, tenant)
	}
}

// noRetry turns off azcore's own retries, which would repeat every method. Dispatch retries.
var noRetry = policy.RetryOptions{MaxRetries: -1, ShouldRetry: func(*http.Response, error) bool { return false }}

// noAccess are Entra's numbers for an app that has no access to the tenant: 65001 no consent, 650052 and 650057 the
// resource is not there for it, 700016 not in the directory, 7000112 disabled, 7000229 no service principal, 90002 no
// such tenant.
var noAccess = []int{65001, 650052, 650057, 700016, 7000112, 7000229, 90002}

// signInVerdict classifies the failure to get a token. It looks at numbers and at the status, never at a text; and it
// keeps nothing of err, because a request for a token has the app's secret in it.
func signInVerdict(err error, f Family, pm *permit, now time.Time) error {
	if _, ok := fault.As(err); ok {
		return err
	}
	failed, ok := errors.AsType[*azidentity.AuthenticationFailedError](err)
	if !ok {
		e := &Error{Method: http.MethodPost, Path: tokenPath, Err: errors.New("credential gave no token")}
		_, unreachable := errors.AsType[net.Error](err)
		_, unsent := errors.AsType[*url.Error](err)
		if unreachable || unsent || errors.Is(err, context.DeadlineExceeded) {
			return fault.After(pm.failed(f), fault.GraphUnavailable, e)
		}
		return fault.Permanent(fault.GraphUnauthorized, e)
	}
	if failed.RawResponse == nil {
		// azidentity drops the cause of a call that got no answer.
		e := &Error{Method: http.MethodPost, Path: tokenPath, Err: errors.New("no answer from the authority")}
		return fault.After(pm.failed(f), fault.GraphUnavailable, e)
	}
	body, _ := runtime.Payload(failed.RawResponse)
	said, e := tokenRefusal(failed.RawResponse, body, now)
	switch {
	case e.Status == http.StatusTooManyRequests, e.Status == http.StatusRequestTimeout, e.Status >= 500:
		code := fault.GraphUnavailable
		if e.Status == http.StatusTooManyRequests {
			code = fault.GraphThrottled
		}
		if d, ok := retryAfter(failed.RawResponse.Header.Get("Retry-After"), now); ok {
			return fault.After(d, code, e)
		}
		return fault.After(pm.failed(f), code, e)
	case slices.ContainsFunc(said.ErrorCodes, func(n int) bool { return slices.Contains(noAccess, n) }):
		return fault.Permanent(fault.AppNotConsented, e)
	}
	return fault.Permanent(fault.GraphUnauthorized, e)
}

// refusal is the body of the token endpoint's error.
type refusal struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
	ErrorCodes  []int  `json:"error_codes"`
	TraceID     string `json:"trace_id"`
}

func tokenRefusal(resp *http.Response, body []byte, now time.Time) (refusal, *Error) {
	var r refusal
	if json.Unmarshal(body, &r) != nil {
		r = refusal{} // a proxy's page, not Entra's answer
	}
	a := newAnswer(http.MethodPost, tokenPath, resp.StatusCode, resp.Header, nil, now)
	e := a.failure()
	e.Code = token(r.Error)
	if len(r.ErrorCodes) > 0 {
		e.Code = "AADSTS" + strconv.Itoa(r.ErrorCodes[0])
	}
	e.Message = bounded(r.Description)
	e.RequestID = token(r.TraceID)
	return r, e
}
