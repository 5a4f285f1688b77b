package graphsim

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Cloud is one running model of the Microsoft cloud. All methods are safe for
// concurrent use.
type Cloud struct {
	now      func() time.Time
	timing   Timing
	limits   Limits
	passcode func() string
	log      *slog.Logger
	fleet    Fleet
	latency  time.Duration
	garden   garden
	codes    codes // of people who sign in

	webhooks   *http.Client
	running    context.Context // until Close
	stop       context.CancelFunc
	deliveries sync.WaitGroup // of change notifications

	keys       *keys
	journal    *journal
	meta       meta
	appWindows windows // of each app over all tenants
	secure     *http.Server
	pages      *http.Server
	url        string
	pagesURL   string

	mu        sync.Mutex
	seeds     map[string]seed // the sample tenants by id, domain and name, lower case
	tenants   map[string]*tenant
	saved     map[string]map[string]json.RawMessage // of tenants not used yet: tenant id → key → value
	redirects []string
}

// meta belongs to the whole cloud and is made once per directory.
type meta struct {
	Epoch            time.Time `json:"epoch"` // when the state began; sample times are relative to it
	Secret           string    `json:"secret"`
	PrivilegedSecret string    `json:"privilegedSecret"`
}

// Start listens on both addresses and serves until Close.
func Start(o Options) (*Cloud, error) {
	c := &Cloud{
		now: o.Now, passcode: o.Passcode, log: o.Logger,
		fleet: o.Fleet, latency: o.Latency,
		timing: o.Timing.withDefaults(), limits: o.Limits.withDefaults(),
		seeds:     make(map[string]seed),
		tenants:   make(map[string]*tenant),
		redirects: slices.Clone(o.RedirectURIs),
	}
	c.running, c.stop = context.WithCancel(context.Background())
	c.webhooks = &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // never off the loopback host
	}
	if c.now == nil {
		c.now = time.Now
	}
	if c.passcode == nil {
		c.passcode = randomPasscode
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	for _, s := range seeds() {
		for _, ref := range []string{s.id, s.domain, s.name} {
			c.seeds[strings.ToLower(ref)] = s
		}
	}
	if o.Dir != "" {
		if err := os.MkdirAll(o.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("make state directory: %w", err)
		}
	}
	secure, err := listen(o.Listen)
	if err != nil {
		return nil, err
	}
	pages, err := listen(o.ListenHTTP)
	if err != nil {
		secure.Close()
		return nil, err
	}
	if err := c.open(o.Dir); err != nil {
		secure.Close()
		pages.Close()
		return nil, err
	}
	c.url = "https://" + secure.Addr().String()
	c.pagesURL = "http://" + pages.Addr().String()
	if err := c.writeReach(o.Dir); err != nil {
		return nil, errors.Join(err, secure.Close(), pages.Close(), c.journal.close())
	}
	c.secure = c.server(c.routes(true))
	c.secure.TLSConfig = &tls.Config{Certificates: []tls.Certificate{c.keys.server}, MinVersion: tls.VersionTLS12}
	c.pages = c.server(c.routes(false))
	go c.secure.ServeTLS(secure, "", "")
	go c.pages.Serve(pages)
	c.log.Info("simulated cloud started", "url", c.url, "pages", c.pagesURL)
	return c, nil
}

// listen opens a loopback address.
func listen(address string) (net.Listener, error) {
	if address == "" {
		address = "127.0.0.1:0"
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", address, err)
	}
	if !loopback(host) {
		return nil, fmt.Errorf("listen on %q: only loopback addresses, the control plane has no sign-in: %w", address, ErrInvalid)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", address, err)
	}
	return l, nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// open loads keys and state from the directory, or makes new ones.
func (c *Cloud) open(dir string) error {
	var err error
	if c.keys, err = loadKeys(dir, []string{"127.0.0.1", "::1", "localhost"}); err != nil {
		return fmt.Errorf("load keys: %w", err)
	}
	var saved map[string]json.RawMessage
	if c.journal, saved, err = openJournal(dir); err != nil {
		return err
	}
	if err := c.openMeta(saved["meta"]); err != nil {
		return errors.Join(err, c.journal.close())
	}
	c.saved = make(map[string]map[string]json.RawMessage)
	for key, value := range saved {
		kind, rest, ok := strings.Cut(key, "/")
		if !ok {
			continue
		}
		tenantID, id, _ := strings.Cut(rest, "/")
		if c.saved[tenantID] == nil {
			c.saved[tenantID] = make(map[string]json.RawMessage)
		}
		c.saved[tenantID][kind+"/"+id] = value
	}
	if redirects, ok := saved["redirects"]; ok {
		var list []string
		if err := json.Unmarshal(redirects, &list); err != nil {
			return errors.Join(fmt.Errorf("decode redirects: %w", err), c.journal.close())
		}
		c.redirects = append(c.redirects, list...)
	}
	return nil
}

func (c *Cloud) openMeta(saved json.RawMessage) error {
	if saved != nil {
		if err := json.Unmarshal(saved, &c.meta); err != nil {
			return fmt.Errorf("decode meta: %w", err)
		}
		return nil
	}
	fresh := meta{Epoch: c.now().UTC().Truncate(time.Second), Secret: newSecret(), PrivilegedSecret: newSecret()}
	return c.commit(change{"meta", fresh, func() { c.meta = fresh }})
}

func (c *Cloud) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(c.log.Handler(), slog.LevelDebug),
	}
}

// routes builds the handler; api adds what belongs on the HTTPS listener only.
func (c *Cloud) routes(api bool) http.Handler {
	mux := http.NewServeMux()
	if api {
		mux.HandleFunc("GET /{tenant}/v2.0/.well-known/openid-configuration", c.discovery)
		mux.HandleFunc("GET /{tenant}/discovery/v2.0/keys", c.publishKeys)
		mux.HandleFunc("POST /{tenant}/oauth2/v2.0/token", c.token)
	}
	people := http.NewServeMux()
	c.consentRoutes(people)
	c.controlRoutes(people)
	// A page on another site must neither accept a consent nor turn a knob.
	guarded := http.NewCrossOriginProtection().Handler(people)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if !loopback(host) { // another name for a loopback address: DNS rebinding
			http.Error(w, "ask for this server by a loopback name", http.StatusMisdirectedRequest)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
		guarded.ServeHTTP(w, r)
	})
	if !api {
		return mux
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Not in the mux: "/v1.0/" and "/{tenant}/v2.0/…" would overlap.
		if strings.HasPrefix(r.URL.Path, "/v1.0/") || strings.HasPrefix(r.URL.Path, "/beta/") {
			c.graph(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// URL returns https://host:port: the authority host and the base of Graph.
func (c *Cloud) URL() string { return c.url }

// PagesURL returns http://host:port of people's pages.
func (c *Cloud) PagesURL() string { return c.pagesURL }

// RootCAs returns a pool with the certificate authority of URL.
func (c *Cloud) RootCAs() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(c.keys.ca)
	return pool
}

// CAFile returns the path of the authority's PEM file, "" without a directory.
func (c *Cloud) CAFile() string { return c.keys.caFile }

// Apps returns our two multi-tenant app registrations: the general one for
// audit and roll-out, and the privileged one that may only read devices and run
// actions on them.
func (c *Cloud) Apps() (general, privileged App) {
	for _, a := range catalogue {
		if !a.ours() {
			continue
		}
		app := App{Name: a.name, ClientID: a.id, Secret: c.secretOf(a), Roles: slices.Clone(a.roles)}
		if slices.Contains(a.roles, "DeviceManagementManagedDevices.PrivilegedOperations.All") {
			privileged = app
		} else {
			general = app
		}
	}
	return general, privileged
}

// secretOf returns the secret of one of our apps, "" for others.
func (c *Cloud) secretOf(a application) string {
	switch {
	case !a.ours():
		return ""
	case slices.Contains(a.roles, "DeviceManagementManagedDevices.PrivilegedOperations.All"):
		return c.meta.PrivilegedSecret
	}
	return c.meta.Secret
}

// RegisterRedirect registers a redirect URI for both of our apps.
func (c *Cloud) RegisterRedirect(uri string) error {
	u, err := url.Parse(uri)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return fmt.Errorf("redirect URI %q: %w", uri, ErrInvalid)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.Contains(c.redirects, uri) {
		return nil
	}
	next := append(slices.Clone(c.redirects), uri)
	return c.commit(change{"redirects", next, func() { c.redirects = next }})
}

// Close stops serving at once. A call in progress loses its answer, as when the
// process dies; whatever was answered is on disk.
func (c *Cloud) Close() error {
	c.stop()
	err := errors.Join(c.secure.Close(), c.pages.Close())
	c.deliveries.Wait()
	return errors.Join(err, c.journal.close())
}
