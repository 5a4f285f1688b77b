package graph

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"pinreset/shared/fault"
	"pinreset/shared/quota"
)

// Versions of Graph.
const (
	V1   = "v1.0"
	Beta = "beta"
)

// Defaults of Config.
const (
	DefaultReserve    = 0.2
	DefaultWaitPeople = 2 * time.Second
	DefaultWaitBulk   = 250 * time.Millisecond
	DefaultTimeout    = 30 * time.Second
	DefaultSessions   = 10_000
)

// Config is what a Client needs to know. Graph and App are required, and Authority for the apps that Config makes.
type Config struct {
	Graph     string // base address without a version, "https://graph.microsoft.com"; national clouds and the simulator have their own
	Authority string // where tokens come from, "https://login.microsoftonline.com"; used by the credentials that Config makes

	// Transport sends the requests, to Graph and for tokens. Nil means one that suits many calls to one host; set it to
	// trust another certificate authority. Redirects are never followed. Of an *http.Transport, device actions and creates use a copy
	// without HTTP/2, which could send a POST twice; of another kind that is to be seen to by whoever made it.
	Transport http.RoundTripper
	// Wrap puts something around the transports, such as tracing; nil puts nothing. It is called for each of them.
	Wrap func(http.RoundTripper) http.RoundTripper
	// DisableInstanceDiscovery keeps azidentity from asking Microsoft whether the authority is one of its own.
	DisableInstanceDiscovery bool

	App        App
	Privileged *App // the identity of device actions, and of nothing else; nil means App

	Limits  *Limits // nil means PublishedLimits
	Reserve float64 // share of each limit that bulk calls leave to people, up to 5,000 calls or units: 0 means DefaultReserve, negative none
	// Shares divides the limits among the processes that call with the same applications. Nil means that this process is the
	// only one. Its clock must be Now.
	Shares *quota.Ledger

	WaitPeople time.Duration // the longest wait for a permit that is no error; 0 means DefaultWaitPeople, negative none
	WaitBulk   time.Duration // the same for bulk calls
	Timeout    time.Duration // of one call, tokens included; 0 means DefaultTimeout
	Sessions   int           // tenants whose tokens are kept, for each App; 0 means DefaultSessions

	Now   func() time.Time // nil means time.Now
	NewID func() string    // makes client-request-id; nil means random UUIDs
	// Jitter is a number of 0 to below 1, by which calls that wait for the same limit do not come back all at once; nil means a
	// random one.
	Jitter func() float64
}

// Client calls Microsoft Graph. It is safe for concurrent use.
type Client struct {
	base       *url.URL
	timeout    time.Duration
	now        func() time.Time
	newID      func() string
	limiter    *limiter
	general    *identity
	privileged *privileged
}

// New checks the configuration and makes a client. It sends nothing.
func New(cfg Config) (*Client, error) {
	var mistakes []error
	base, err := httpsURL("graph", cfg.Graph)
	mistakes = append(mistakes, err)
	if cfg.Authority != "" {
		_, err = httpsURL("authority", cfg.Authority)
		mistakes = append(mistakes, err)
	}
	mistakes = append(mistakes, cfg.App.validate("app"))
	if cfg.Privileged != nil {
		mistakes = append(mistakes, cfg.Privileged.validate("privileged app"))
	}
	limits := PublishedLimits()
	if cfg.Limits != nil {
		limits = *cfg.Limits
	}
	mistakes = append(mistakes, limits.validate())
	reserve := max(0, orDefault(cfg.Reserve, DefaultReserve))
	if reserve >= 1 {
		mistakes = append(mistakes, fmt.Errorf("reserve %v leaves nothing to bulk calls", reserve))
	}
	if err := errors.Join(mistakes...); err != nil {
		return nil, fmt.Errorf("graph client: %w", err)
	}

	c := &Client{base: base, timeout: orDefault(cfg.Timeout, DefaultTimeout), now: cfg.clock(), newID: cfg.NewID}
	if c.newID == nil {
		c.newID = randomUUID
	}
	inline := [2]time.Duration{
		Bulk:   max(0, orDefault(cfg.WaitBulk, DefaultWaitBulk)),
		People: max(0, orDefault(cfg.WaitPeople, DefaultWaitPeople)),
	}
	c.limiter = newLimiter(limits, reserve, inline, c.now)
	c.limiter.shares = newShares(cfg.Shares)
	if cfg.Jitter != nil {
		c.limiter.jitter = cfg.Jitter
	}

	sessions := orDefault(cfg.Sessions, DefaultSessions)
	transport := cfg.transport()
	single := cfg.wrapped(once(transport))
	c.general = c.newIdentity(cfg.App, cfg.wrapped(transport), single, sessions)
	actor := cfg.App
	if cfg.Privileged != nil {
		actor = *cfg.Privileged
	}
	c.privileged = &privileged{identity: c.newIdentity(actor, single, single, sessions), own: cfg.Privileged != nil}
	return c, nil
}

// Release hands back this process's shares of Graph's limits, for others to use at once. It is for a process that ends or
// rests, after its last call; without it the shares come back when their leases have ended. A call after it asks for a share again.
func (c *Client) Release(ctx context.Context) error { return c.limiter.release(ctx) }

// Snapshot returns the limiter's figures.
func (c *Client) Snapshot() LimiterSnapshot { return c.limiter.snapshot() }

func (cfg Config) clock() func() time.Time {
	if cfg.Now != nil {
		return cfg.Now
	}
	return time.Now
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

func httpsURL(name, s string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSuffix(s, "/"))
	if err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.User != nil {
		return nil, fmt.Errorf("%s %q is not an https address", name, s)
	}
	return u, nil
}

func randomUUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// checkID refuses what is not a GUID before it gets into an address. All ids that the client puts there are GUIDs.
func checkID(what, id string) error {
	if !isGUID(id) {
		return fault.Permanentf(fault.InvalidRequest, "%s %q is not a GUID", what, bounded(id))
	}
	return nil
}

func isGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case '0' <= c && c <= '9', 'a' <= c && c <= 'f', 'A' <= c && c <= 'F':
		default:
			return false
		}
	}
	return true
}
