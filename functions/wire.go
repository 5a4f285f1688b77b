package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"pinreset/events"
	"pinreset/functions/housekeeping"
	"pinreset/functions/tenantaudit"
	"pinreset/functions/web"
	"pinreset/shared/credential"
	"pinreset/shared/dispatch"
	"pinreset/shared/graph"
	"pinreset/shared/host/local"
	"pinreset/shared/identity"
	"pinreset/shared/live"
	"pinreset/shared/onboarding"
	"pinreset/shared/quota"
	"pinreset/shared/readiness"
	"pinreset/shared/secret"
	"pinreset/shared/work"
)

// cloud is the tenant side: where Graph and its sign-in are, and who calls.
type cloud struct {
	graph, authority string // of the API
	consent          string // where administrators consent to pinreset's applications
	microsoft        string // where they consent to Microsoft's
	app, privileged  application
	signIn           application         // that people sign in with; none where its id is ""
	sign             credential.Settings // how they sign in; the zero value is by their secrets
	roots            *x509.CertPool      // nil: the system's
	limits           *graph.Limits       // nil: the published ones
	notice           string              // shown on every page when the tenants are not real
	noticeLink       string
}

type application struct{ id, secret string }

// program is everything that runs in this process.
type program struct {
	stores
	tokens     *identity.Tokens
	admin      string // id of the administrator's token
	session    *identity.Sessions
	web        func() http.Handler // the API and the pages; made at the first call
	host       *local.Host
	dispatcher *dispatch.Dispatcher
	triggers   map[string]work.Queue // by the function that a host calls
	timer      *housekeeping.Timer
	audits     *tenantaudit.Timer
	graph      *graph.Client
	live       *live.Feed    // nil where answers can't be streamed
	chain      *secret.Chain // of key-encryption keys; nil where a file is the only one
	logger     *slog.Logger
	health     struct {
		mu  sync.Mutex
		at  time.Time
		err error
	}
}

// wire puts the program together. Nothing runs yet; close releases what is open.
func wire(ctx context.Context, c config, t cloud, o startOptions) (_ *program, err error) {
	logger, now, newID := o.logger, time.Now, newIDs()
	prog := &program{logger: logger}
	defer func() {
		if err != nil {
			prog.close()
		}
	}()

	cfg, source, err := t.signedIn(now, func(next http.RoundTripper) http.RoundTripper { return o.tracer.Transport(next, graph.Template) })
	if err != nil {
		return nil, err
	}
	if prog.stores, err = openStores(ctx, c, source, now, newID, logger); err != nil {
		return nil, err
	}
	if prog.shared != nil {
		cfg.Shares = quota.New(prog.rows, quota.Options{Process: newID(), Common: dispatch.SystemPartition, Now: now})
	}
	if prog.graph, err = graph.New(cfg); err != nil {
		return nil, err
	}
	kek, err := prog.openKeys(ctx, c, source, now)
	if err != nil {
		return nil, err
	}
	if prog.shared != nil {
		if err := sameRoot(ctx, prog.keys, kek.consent); err != nil {
			return nil, err
		}
	}
	prog.chain = kek.chain
	vault := secret.NewVault(prog.keys, kek.codes, now)
	links := onboarding.Links{
		Authority: t.consent, Microsoft: t.microsoft, Graph: t.graph, Callback: c.PublicURL + "/consent/callback", Key: kek.consent, NewID: newID, Now: now,
	}
	callback := t.callback(c.PublicURL)
	outside, err := c.outbound(onLoopback(t.graph), kek.devices)
	if err != nil {
		return nil, err
	}
	m := newMetrics(prog.local, prog.graph)
	n := needs{
		store: prog.rows, graph: prog.graph, vault: vault, app: t.app.id, privileged: t.privileged.id, links: links, callback: callback, place: t.place(), outbound: outside, pace: o.pace, logger: logger, metrics: m,
	}
	var rows live.Rows = prog.rows
	if o.streams {
		prog.live = live.New(live.Options{Store: prog.rows, Now: now, Watched: o.watched})
		rows = prog.live.Waking(prog.rows)
	}
	table := routes(n)
	m.expect(table)
	prog.triggers = triggers(table)
	prog.dispatcher = dispatch.New(rows, rows, table, dispatch.Options{Now: now, NewID: newID, Logger: logger, Observe: m.observe, Tracer: o.tracer})
	prog.host = local.New(prog.rows, prog.dispatcher, queues, logger)
	wake := make(chan struct{}, 1)
	prog.audits = &tenantaudit.Timer{Store: prog.rows, Cron: c.AuditSchedule, Now: now, NewID: newID, Logger: logger, Since: now(), Wake: wake}
	prog.timer = &housekeeping.Timer{Store: prog.rows, Handler: n.housekeeping(), Now: now, NewID: newID, Logger: logger}

	if prog.shared != nil {
		prog.timer.Outbox = prog.shared
	}

	prog.tokens = identity.NewTokens(prog.rows, now, newID)
	switch {
	case prog.local != nil:
		prog.admin, err = prog.tokens.EnsureAdmin(ctx, c.Data)
	case c.Data != "":
		prog.admin, err = prog.tokens.ShareAdmin(ctx, c.Data)
	}
	if err != nil {
		return nil, err
	}
	prog.session = identity.NewSessions(prog.rows, now)
	pages := web.Options{
		Eraser: prog.rows, Keys: prog.keys, KEK: kek.devices, Counted: m.calledBack, Changed: auditBy(events.AuditByNotification), Pace: prog.graph,
		Wake: func() {
			select {
			case wake <- struct{}{}:
			default: // it is about to look anyhow
			}
		},
		Store: rows, Live: prog.live, Devices: prog.graph, Policies: prog.graph, Vault: openings{vault, m.reveals}, Tokens: prog.tokens, Sessions: prog.session, SignIn: t.people(c, source, now),
		Links: links, Notified: callback != "", Subscriptions: prog.graph, LocalNotices: onLoopback(t.graph), Mails: outside.mail != nil,
		Metrics: m.handler(), Ready: prog.ready, Now: now, NewID: newID, Logger: logger, Tracer: o.tracer, Version: version(),
		SampleNotice: t.notice, SampleLink: t.noticeLink,
	}
	prog.web = sync.OnceValue(func() http.Handler { return web.New(pages) })
	return prog, nil
}

// graphConfig says where Graph is and how it is reached. It has no apps.
func graphConfig(t cloud, now func() time.Time, wrap func(http.RoundTripper) http.RoundTripper) graph.Config {
	cfg := graph.Config{Graph: t.graph, Authority: t.authority, Limits: t.limits, Now: now, Wrap: wrap, Sessions: sessions}
	// An authority on this machine is a simulated one: Microsoft knows nothing of it, and is not to be asked.
	cfg.DisableInstanceDiscovery = onLoopback(t.authority)
	if t.roots != nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.TLSClientConfig = &tls.Config{RootCAs: t.roots}
		transport.MaxIdleConnsPerHost = 128
		cfg.Transport = transport
	}
	return cfg
}

// callback is where Graph sends change notifications to: it takes https addresses only. The simulated one sends to this machine, however
// it is reached.
func (t cloud) callback(public string) string {
	if !strings.HasPrefix(public, "https://") && !onLoopback(t.graph) {
		return ""
	}
	return public + "/callbacks/graph"
}

// place is which of Microsoft's clouds Graph's address is of.
func (t cloud) place() readiness.Cloud {
	u, err := url.Parse(t.graph)
	switch {
	case err != nil:
	case strings.HasSuffix(u.Hostname(), ".microsoft.us"):
		return readiness.USGovernment
	case strings.HasSuffix(u.Hostname(), ".chinacloudapi.cn"):
		return readiness.China
	}
	return readiness.Commercial
}

// sessions is how many tenants' tokens are kept. An audit of ten thousand tenants signs in to each for a moment; what it leaves
// behind must not be the process's size. They are more than the audits that run at once, each of which makes several calls.
const sessions = 448

func onLoopback(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
}

// ready reports whether the store can take work, by writing to it. Many may ask; one write in a few seconds answers all.
func (p *program) ready(ctx context.Context) error {
	p.health.mu.Lock()
	defer p.health.mu.Unlock()
	if now := time.Now(); now.Sub(p.health.at) > healthLife {
		row := work.Write{Row: "health", Value: []byte(`{"at":"` + now.UTC().Format(time.RFC3339) + `"}`)}
		p.health.err = p.rows.Commit(ctx, work.Batch{Partition: dispatch.SystemPartition, Writes: []work.Write{row}})
		p.health.at = now
	}
	return p.health.err
}

// healthLife is how long an answer about health is good for.
const healthLife = 3 * time.Second

// close releases the stores. What was accepted is stored.
func (p *program) close() {
	if p.stores.close == nil {
		return
	}
	if p.shared != nil && p.graph != nil {
		ctx, cancel := context.WithTimeout(context.Background(), shutdown)
		defer cancel()
		// Not handed back, they end with their leases.
		if err := p.graph.Release(ctx); err != nil {
			p.logger.WarnContext(ctx, "hand back shares of Graph's limits", "cause", err.Error())
		}
	}
	if err := p.stores.close(); err != nil {
		p.logger.Error("close store", "cause", err.Error())
	}
}

// newIDs returns a source of ULIDs: their text order is the order of creation, within a millisecond too.
func newIDs() func() string {
	entropy := &ulid.LockedMonotonicReader{MonotonicReader: ulid.Monotonic(rand.Reader, 0)}
	return func() string { return ulid.MustNew(ulid.Now(), entropy).String() }
}

// realCloud is the tenant side as configured.
func realCloud(c config) (_ cloud, err error) {
	t := cloud{
		graph: c.Graph, authority: c.Authority, consent: c.Authority, microsoft: c.MicrosoftConsent,
		app: application{id: c.ClientID}, privileged: application{id: c.PrivilegedClientID}, sign: c.signSettings(),
	}
	if t.signIn.id = c.SignInClientID; c.SignInSecretFile != "" {
		if t.signIn.secret, err = readSecret(c.SignInSecretFile); err != nil {
			return cloud{}, err
		}
	}
	if c.Credential != credential.Secret {
		return t, nil
	}
	if t.app.secret, err = readSecret(c.ClientSecretFile); err != nil {
		return cloud{}, err
	}
	if c.PrivilegedClientID != "" {
		if t.privileged.secret, err = readSecret(c.PrivilegedSecretFile); err != nil {
			return cloud{}, err
		}
	}
	return t, nil
}

var errNoPublicURL = errors.New("PINRESET_PUBLIC_URL is needed with a real tenant: Entra ID sends administrators back there")

func logTo(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}

func wrapListen(err error, listen string) error {
	return fmt.Errorf("listen on %s: %w; choose another address with --listen", listen, err)
}
