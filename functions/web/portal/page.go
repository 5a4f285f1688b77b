package portal

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"pinreset/functions/web/internal/desk"
	"pinreset/functions/web/internal/problem"
	"pinreset/functions/web/internal/view"
	"pinreset/shared/callercheck"
	"pinreset/shared/fault"
	"pinreset/shared/grant"
	"pinreset/shared/identity"
	"pinreset/shared/identity/entra"
	"pinreset/shared/live"
)

// Options are the parts of the pages. All but the notice are required.
type Options struct {
	Desk       *desk.Desk
	Auth       identity.Authenticator // for programs that read a diagnostics page
	Tokens     *identity.Tokens
	Sessions   *identity.Sessions
	SignIn     *entra.Provider // nil where nobody signs in with Microsoft Entra ID
	People     *grant.Book
	Key        []byte     // seals what a browser keeps while its person signs in; the same in every process
	Live       *live.Feed // nil where answers can't be streamed
	Now        func() time.Time
	Notice     string // shown on every page
	NoticeLink string
}

type pages struct {
	Options
	cross   *http.CrossOriginProtection
	attempt attempts
}

// refresh is how often a page with something pending loads itself again where it is not told of changes, in seconds.
const refresh = 4

// calm is how often a page does that is told of all that matters on it: the times that it shows go on, too.
const calm = 30

// maxForm bounds a form, in bytes.
const maxForm = 64 << 10

// Mount adds the pages' routes to mux.
func Mount(mux *http.ServeMux, o Options) {
	p := &pages{Options: o, cross: http.NewCrossOriginProtection(), attempt: newAttempts(o.Key)}
	for pattern, handle := range p.ofNoTenant() {
		mux.HandleFunc(pattern, handle)
	}
	for pattern, handle := range p.ofTenant() {
		mux.HandleFunc(pattern, p.signedIn(p.inRoom(handle)))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { p.fail(w, r, problem.Refuse(fault.NotFound, "")) })
}

// ofNoTenant are the pages that ask by themselves who it is.
func (p *pages) ofNoTenant() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"GET /assets/":                    view.Assets,
		"GET /sign-in":                    p.askSignIn,
		"POST /sign-in":                   p.signIn,
		"POST /sign-out":                  p.signOut,
		"GET " + microsoftPath:            p.toMicrosoft,
		"GET " + ReturnPath:               p.fromMicrosoft,
		"GET /problems/{code}":            p.problem,
		"GET /tenants/{tenant}/diag/{id}": p.diagnostics,
		"GET /{$}":                        p.signedIn(p.home),
		"GET /find":                       p.signedIn(p.find),
		"GET /suggest":                    p.signedIn(p.suggest),
		"POST /tenants":                   p.signedIn(p.addTenant),
		"GET " + callerPath:               p.signedIn(p.caller),
		"POST " + callerPath:              p.signedIn(p.confirmCaller),
	}
}

// ofTenant are the pages of one tenant. Whoever does not see the tenant gets the answer for one that does not exist.
func (p *pages) ofTenant() map[string]handler {
	return map[string]handler{
		"GET /tenants/{tenant}":                          p.tenant,
		"POST /tenants/{tenant}/consent":                 p.startConsent,
		"GET /tenants/{tenant}/settings":                 p.settings,
		"POST /tenants/{tenant}/settings":                p.change,
		"GET /tenants/{tenant}/notifications":            p.notifications,
		"POST /tenants/{tenant}/notifications":           p.tell,
		"POST /tenants/{tenant}/notifications/key":       p.rotateKey,
		"GET /tenants/{tenant}/events":                   p.events,
		"GET /tenants/{tenant}/devices":                  p.devices,
		"GET /tenants/{tenant}/readiness":                p.readiness,
		"GET /tenants/{tenant}/rollouts":                 p.rollouts,
		"POST /tenants/{tenant}/rollouts":                p.startRollout,
		"POST /tenants/{tenant}/rollouts/plan":           p.plan,
		"GET /tenants/{tenant}/rollouts/{id}":            p.rollout,
		"POST /tenants/{tenant}/rollouts/{id}/rollback":  p.rollBack,
		"GET /tenants/{tenant}/audits":                   p.audits,
		"POST /tenants/{tenant}/audits":                  p.startAudit,
		"GET /tenants/{tenant}/audits/{id}":              p.auditReport,
		"GET /tenants/{tenant}/devices/{id}":             p.device,
		"GET /tenants/{tenant}/devices/{id}/readiness":   p.deviceReadiness,
		"POST /tenants/{tenant}/devices/{id}/reset":      p.startReset,
		"POST /tenants/{tenant}/devices/{id}/caller":     p.askCaller(callercheck.Reset),
		"POST /tenants/{tenant}/resets/{id}/caller":      p.askCaller(callercheck.Reveal),
		"GET /tenants/{tenant}/resets":                   p.resets,
		"GET /tenants/{tenant}/resets/{id}":              p.reset,
		"GET /tenants/{tenant}/resets/{id}/cancel":       p.askCancel,
		"POST /tenants/{tenant}/resets/{id}/cancel":      p.cancel,
		"POST /tenants/{tenant}/resets/{id}/reveal":      p.reveal,
		"POST /tenants/{tenant}/resets/{id}/outcome":     p.outcome,
		"GET /tenants/{tenant}/bulk-resets":              p.bulks,
		"GET /tenants/{tenant}/bulk-resets/{id}":         p.bulk,
		"POST /tenants/{tenant}/bulk-resets/{id}/cancel": p.cancelBulk,
		"GET /tenants/{tenant}/failures":                 p.failures,
		"GET /tenants/{tenant}/deadletters":              p.letters,
		"GET /tenants/{tenant}/deadletters/{id}":         p.letter,
		"POST /tenants/{tenant}/deadletters/{id}/settle": p.settle,
		"GET /tenants/{tenant}/audit":                    p.log,
		"POST /tenants/{tenant}/audit/export":            p.exportLog,
		"GET /tenants/{tenant}/approvals/{id}":           p.approval,
		"POST /tenants/{tenant}/approvals/{id}/decide":   p.decide,
		"GET /tenants/{tenant}/people":                   p.people,
		"POST /tenants/{tenant}/people":                  p.giveGrant,
		"POST /tenants/{tenant}/people/{id}/revoke":      p.revokeGrant,
		"POST /tenants/{tenant}/people/{id}/lift":        p.lift,
	}
}

// Routes are the patterns of the pages of a tenant, for tests that must leave none out.
func Routes() []string { return slices.Sorted(maps.Keys((&pages{}).ofTenant())) }

// AllRoutes are the patterns of all pages, those of a tenant among them.
func AllRoutes() []string {
	return slices.Sorted(slices.Values(append(Routes(), slices.Collect(maps.Keys((&pages{}).ofNoTenant()))...)))
}

// visit is one request of somebody who is signed in.
type visit struct {
	w    http.ResponseWriter
	r    *http.Request
	who  identity.Principal
	room *desk.Room // of a tenant's page
	name string     // the tenant's name
}

// handler serves a visit; its error is shown as a page.
type handler func(*visit) error

// signedIn runs handle for the holder of the session, and sends everybody else to sign in.
func (p *pages) signedIn(handle handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who, err := p.holder(r)
		if errors.Is(err, identity.ErrUnauthenticated) {
			if r.Header.Get("HX-Request") != "" { // a part of a page: what takes its place is the whole page to sign in
				w.Header().Set("HX-Redirect", "/sign-in")
				p.fail(w, r, err)
				return
			}
			if r.Method != http.MethodGet && r.Method != http.MethodHead {
				p.fail(w, r, err)
				return
			}
			http.Redirect(w, r, "/sign-in?return="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
			return
		}
		if err != nil {
			p.fail(w, r, err)
			return
		}
		problem.Asked(r.Context(), who.ID)
		if r.Method == http.MethodPost {
			if err := p.ownForm(w, r); err != nil {
				p.fail(w, r, err)
				return
			}
		}
		v := &visit{w: w, r: r, who: who}
		if err := handle(v); err != nil {
			p.fail(w, r, err)
		}
	}
}

// inRoom enters the tenant of the path first.
func (p *pages) inRoom(handle handler) handler {
	return func(v *visit) error {
		room, err := p.Desk.Enter(v.r.Context(), v.who, v.r.PathValue("tenant"))
		if err != nil {
			return err
		}
		v.room, v.name = room, room.Name()
		return handle(v)
	}
}

// ownForm reads a form that was sent from one of our own pages. A browser says where a form comes from; a request with a
// cookie that says nothing is refused too.
func (p *pages) ownForm(w http.ResponseWriter, r *http.Request) error {
	if r.Header.Get("Origin") == "" && r.Header.Get("Sec-Fetch-Site") == "" {
		return problem.Refuse(fault.Forbidden, "The browser does not say which page the form is from.")
	}
	return p.form(w, r)
}

func (p *pages) form(w http.ResponseWriter, r *http.Request) error {
	if err := p.cross.Check(r); err != nil {
		return &problem.Refusal{Code: fault.Forbidden, Detail: "The form is from another site.", Err: err}
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return &problem.Refusal{Code: fault.RequestTooLarge, Err: err}
		}
		return &problem.Refusal{Code: fault.InvalidRequest, Detail: "The form could not be read.", Err: err}
	}
	return nil
}

// chrome is the page around a visit's content.
func (p *pages) chrome(v *visit, section, title string) view.Chrome {
	c := view.Chrome{
		Title: title, Who: v.who.Name, Notice: p.Notice, NoticeLink: p.NoticeLink, Section: section, Now: p.Now(),
		Self: v.r.URL.Path, Paused: v.r.URL.Query().Get("live") == "off", Idle: int(identity.SessionIdle.Seconds()),
		Compress: view.TakesGzip(v.r), Streamed: p.Live != nil,
	}
	if v.r.Method == http.MethodPost { // a form is sent to a path below its page's
		c.Self = path.Dir(v.r.URL.Path)
	}
	if v.room != nil {
		c.Tenant, c.TenantName = v.room.ID(), v.name
		c.MayGrant = v.room.Can(identity.GrantWrite)
	}
	return c
}

func (p *pages) show(v *visit, name string, c view.Chrome, data any) error {
	return p.showStatus(v, http.StatusOK, name, c, data)
}

func (p *pages) showStatus(v *visit, status int, name string, c view.Chrome, data any) error {
	view.Render(v.w, status, name, view.Page{Chrome: c, Data: data})
	return nil
}

// fail answers with the page, or the problem, of an error.
func (p *pages) fail(w http.ResponseWriter, r *http.Request, err error) {
	problem.Note(r.Context(), err)
	said := problem.Of(r.Context(), err, p.Now())
	if refusal, ok := errors.AsType[*problem.Refusal](err); ok && refusal.StepUp != "" && p.SignIn != nil && view.WantsHTML(r) {
		p.showStepUp(w, r, refusal.StepUp, said)
		return
	}
	switch {
	case !view.WantsHTML(r):
		said.Write(w)
	case said.Status == http.StatusNotFound:
		view.NotFound(w)
	default:
		view.Refused(w, said)
	}
}

// typed is the form that was sent.
func typed(r *http.Request) view.Form {
	return view.Form{
		Key: r.PostFormValue("key"), Reason: strings.TrimSpace(r.PostFormValue("reason")), Ticket: strings.TrimSpace(r.PostFormValue("ticket")),
		Name: strings.TrimSpace(r.PostFormValue("name")), ID: strings.TrimSpace(r.PostFormValue("id")), Create: r.PostFormValue("create") == "yes",
	}
}

// wrong returns the form with what is wrong in it, where that is what err says.
func wrong(f view.Form, err error) (view.Form, bool) {
	refusal, ok := errors.AsType[*problem.Refusal](err)
	if !ok || len(refusal.Fields) == 0 {
		return f, false
	}
	for _, field := range refusal.Fields {
		field.Location = strings.TrimPrefix(strings.TrimPrefix(field.Location, "body."), "query.")
		f.Errors = append(f.Errors, field)
	}
	return f, true
}

// fresh is an empty form with a key of its own.
func fresh() view.Form {
	key := make([]byte, 16)
	_, _ = rand.Read(key)
	return view.Form{Key: hex.EncodeToString(key)}
}

// paged is the page of a list that the request asks for.
func paged(r *http.Request) desk.Page { return desk.Page{Cursor: r.URL.Query().Get("cursor")} }

// next is the path of the next page, "" on the last one.
func next(r *http.Request, cursor string) string {
	if cursor == "" {
		return ""
	}
	q := r.URL.Query()
	q.Set("cursor", cursor)
	return r.URL.Path + "?" + q.Encode()
}

func (v *visit) redirect(to string) error {
	http.Redirect(v.w, v.r, to, http.StatusSeeOther)
	return nil
}
