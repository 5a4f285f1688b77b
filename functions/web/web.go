package web

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"pinreset/functions/web/api"
	"pinreset/functions/web/callback"
	"pinreset/functions/web/internal/desk"
	"pinreset/functions/web/internal/problem"
	"pinreset/functions/web/portal"
	"pinreset/shared/devicekey"
	"pinreset/shared/fault"
	"pinreset/shared/grant"
	"pinreset/shared/graph"
	"pinreset/shared/identity"
	"pinreset/shared/identity/entra"
	"pinreset/shared/live"
	"pinreset/shared/notice"
	"pinreset/shared/onboarding"
	"pinreset/shared/tracing"
	"pinreset/shared/work"
)

// Options are the parts of the server. Those without a default are required.
type Options struct {
	Store    work.Store
	Devices  desk.Devices      // Graph
	Policies desk.PolicyReader // Graph; without it no policy is shown or planned
	Vault    desk.Vault
	Pace     interface{ Snapshot() graph.LimiterSnapshot } // of Graph's limits; nil for none
	Wake     func()                                        // has a run over all tenants sent at once; nil where the timer alone does it
	Eraser   desk.Eraser                                   // of Store; without it and Keys no tenant can be offboarded
	Keys     desk.Eraser                                   // of the key ring
	Links    onboarding.Links
	Tokens   *identity.Tokens
	Sessions *identity.Sessions
	SignIn   *entra.Provider // signs people in with Microsoft Entra ID; nil where only tokens do
	KEK      kek             // seals the keys of devices, and the addresses and keys of notifications
	Metrics  http.Handler    // behind the permission metrics.read; default none
	Ready    func(context.Context) error
	Now      func() time.Time
	NewID    func() string
	Logger   *slog.Logger    // default none
	Tracer   *tracing.Tracer // makes each request a span; nil for none
	Version  string

	// Live tells pages of changes while they are open, and is told by Store of what is written; see package live. It is nil where a front
	// end takes whole answers only; the pages then load themselves again.
	Live *live.Feed

	// Changed stages what is to be done when Microsoft tells of a change in a tenant; see package callback. Counted is told of each call
	// of a device or of Graph. Both may be nil.
	Changed func(ctx context.Context, u *work.Unit, at time.Time) error
	// Notified says that Graph can reach the callback, so that tenants may opt into its notifications. Subscriptions ends them with a
	// tenant's offboarding; nil where there are none.
	Notified      bool
	Subscriptions interface {
		Unsubscribe(ctx context.Context, tenant, id string) error
	}
	Counted func(callback.Result)

	// LocalNotices says that notifications may be posted to this machine, by http: for simulated tenants. Mails says that this server is
	// set up to send mail.
	LocalNotices, Mails bool

	// SampleNotice is a sentence on every page, such as that the tenants are simulated, with SampleLink beside it.
	SampleNotice string
	SampleLink   string
}

// kek is a key-encryption key.
type kek interface {
	Wrap(ctx context.Context, key, bound []byte) (wrapped []byte, err error)
	Unwrap(ctx context.Context, wrapped, bound []byte) (key []byte, err error)
}

// New returns the server. It panics on a wiring mistake.
func New(o Options) http.Handler {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Ready == nil || o.Sessions == nil || o.KEK == nil {
		panic("web: Ready, Sessions and KEK are required")
	}
	deviceKeys := devicekey.New(o.KEK)
	people := grant.NewBook(o.Store, o.Now)
	auth := callers{o.Tokens, o.SignIn, people}
	d := desk.New(desk.Options{
		People: people,
		Store:  o.Store, Devices: o.Devices, Vault: o.Vault, Links: o.Links, Tokens: o.Tokens, Now: o.Now, NewID: o.NewID,
		Eraser: o.Eraser, Keys: o.Keys, Wake: o.Wake, Pace: o.Pace, Policies: o.Policies, DeviceKeys: deviceKeys,
		Notices: notice.NewSeals(o.KEK), LocalNotices: o.LocalNotices, Mails: o.Mails,
		Notified: o.Notified, Subscriptions: o.Subscriptions,
	})
	mux := http.NewServeMux()
	api.Mount(mux, api.Options{Desk: d, Auth: auth, Now: o.Now, Version: o.Version})
	portal.Mount(mux, portal.Options{
		Desk: d, Auth: auth, Tokens: o.Tokens, Sessions: o.Sessions, Now: o.Now, Notice: o.SampleNotice, NoticeLink: o.SampleLink,
		SignIn: o.SignIn, People: people, Key: o.Links.Key, Live: o.Live,
	})
	callback.Mount(mux, callback.Options{
		Store: o.Store, Links: o.Links, Now: o.Now, NewID: o.NewID, Notice: o.SampleNotice, NoticeLink: o.SampleLink,
		Keys: deviceKeys, Changed: o.Changed, Counted: o.Counted,
	})
	mux.HandleFunc("GET /healthz", o.health)
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) { o.metrics(w, r, auth) })
	return observed(o.Logger, o.Tracer, o.Now, secured(recovered(o.Logger, mux)))
}

type health struct {
	Status  string `json:"status"`
	Store   string `json:"store"`
	Version string `json:"version"`
}

// health says whether work can be taken. It names no cause: it is for everybody.
func (o Options) health(w http.ResponseWriter, r *http.Request) {
	said, status := health{Status: "ok", Store: "ok", Version: o.Version}, http.StatusOK
	if err := o.Ready(r.Context()); err != nil {
		problem.Note(r.Context(), err)
		said.Status, said.Store, status = "unavailable", "unavailable", http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "5")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(said) // a client that went away is not told
}

// metrics asks for a token, because numbers tell about tenants too.
func (o Options) metrics(w http.ResponseWriter, r *http.Request, auth identity.Authenticator) {
	refuse := func(err error) {
		problem.Note(r.Context(), err)
		problem.Of(r.Context(), err, o.Now()).Write(w)
	}
	who, err := auth.Authenticate(r)
	switch {
	case err != nil:
		refuse(err)
	case !who.Can(identity.MetricsRead):
		refuse(problem.Refuse(fault.Forbidden, "The permission "+string(identity.MetricsRead)+" is missing."))
	case o.Metrics == nil:
		refuse(problem.Refuse(fault.NotFound, ""))
	default:
		o.Metrics.ServeHTTP(w, r)
	}
}
