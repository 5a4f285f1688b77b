package portal

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"

	"pinreset/functions/web/internal/problem"
	"pinreset/functions/web/internal/view"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
)

// Names of the cookie: with the prefix, browsers accept it only over TLS, for this very host and every path of it.
const (
	secureCookie = "__Host-pinreset"
	localCookie  = "pinreset" // plain HTTP to this machine, where browsers disagree about secure cookies
)

// cookieOf says under which name and how this request's browser keeps its session.
func cookieOf(r *http.Request) (name string, secure bool) {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	if r.TLS == nil && (host == "localhost" || ip != nil && ip.IsLoopback()) {
		return localCookie, false
	}
	return secureCookie, true
}

// holder is who holds the session of the request.
func (p *pages) holder(r *http.Request) (identity.Principal, error) {
	name, _ := cookieOf(r)
	cookie, err := r.Cookie(name)
	if err != nil {
		return identity.Principal{}, identity.ErrUnauthenticated
	}
	byItself := r.URL.Query().Get("live") == "auto" || strings.HasSuffix(r.Pattern, "/events")
	holder, err := p.Sessions.Holder(r.Context(), cookie.Value, !byItself)
	if err != nil {
		return identity.Principal{}, err
	}
	if holder.Person != nil {
		return p.People.Principal(r.Context(), *holder.Person)
	}
	return p.Tokens.Holder(r.Context(), holder.Token)
}

type signInData struct {
	Code    string
	Return  string
	Problem string
	Entra   string // where to sign in with Microsoft; "" where that is not offered
}

// askSignIn shows the way in. A code in the address is only shown as a button: a preview of the link must not use it up.
func (p *pages) askSignIn(w http.ResponseWriter, r *http.Request) {
	p.showSignIn(w, http.StatusOK, signInData{Code: r.URL.Query().Get("code"), Return: safeReturn(r.URL.Query().Get("return"))})
}

func (p *pages) showSignIn(w http.ResponseWriter, status int, d signInData) {
	if p.SignIn != nil {
		d.Entra = microsoftPath + "?return=" + url.QueryEscape(d.Return)
	}
	view.Render(w, status, "signin", view.Page{
		Chrome: view.Chrome{Title: "Sign in", Notice: p.Notice, NoticeLink: p.NoticeLink}, Data: d,
	})
}

func (p *pages) signIn(w http.ResponseWriter, r *http.Request) {
	if err := p.form(w, r); err != nil {
		p.fail(w, r, err)
		return
	}
	d := signInData{Return: safeReturn(r.PostFormValue("return"))}
	session, err := p.open(r)
	switch {
	case errors.Is(err, identity.ErrCode):
		d.Problem = "The link was used before, or is older than ten minutes. Sign in with a token."
		p.showSignIn(w, http.StatusUnauthorized, d)
		return
	case errors.Is(err, identity.ErrUnauthenticated):
		problem.Note(r.Context(), err)
		d.Problem = "This token is not valid."
		p.showSignIn(w, http.StatusUnauthorized, d)
		return
	case err != nil:
		p.fail(w, r, err)
		return
	}
	p.setCookie(w, r, session, int(identity.SessionLife.Seconds()))
	http.Redirect(w, r, d.Return, http.StatusSeeOther)
}

// open opens a session with the code or the token of the form. The session that the browser had, if any, ends.
func (p *pages) open(r *http.Request) (session string, err error) {
	if code := r.PostFormValue("code"); code != "" {
		session, err = p.Sessions.Redeem(r.Context(), code)
	} else {
		var who identity.Principal
		if who, err = p.Tokens.Check(r.Context(), strings.TrimSpace(r.PostFormValue("token"))); err == nil {
			session, err = p.Sessions.Start(r.Context(), identity.Holder{Token: who.ID})
		}
	}
	if err != nil {
		return "", err
	}
	return session, p.endSession(r)
}

func (p *pages) signOut(w http.ResponseWriter, r *http.Request) {
	if err := p.ownForm(w, r); err != nil {
		p.fail(w, r, err)
		return
	}
	if err := p.endSession(r); err != nil {
		p.fail(w, r, err)
		return
	}
	p.setCookie(w, r, "", -1)
	http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
}

// endSession closes the session that the browser has, if any.
func (p *pages) endSession(r *http.Request) error {
	name, _ := cookieOf(r)
	old, err := r.Cookie(name)
	if err != nil {
		return nil //nolint:nilerr // it has none
	}
	return p.Sessions.End(r.Context(), old.Value)
}

func (p *pages) setCookie(w http.ResponseWriter, r *http.Request, value string, maxAge int) {
	name, secure := cookieOf(r)
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: maxAge, Secure: secure, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// safeReturn keeps a path of ours; anything else becomes the first page.
func safeReturn(to string) string {
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || strings.Contains(to, `\`) ||
		!strings.HasPrefix(to, "/tenants/") && to != callerPath {
		return "/"
	}
	return u.RequestURI()
}

// problem explains a code of the catalogue, as a page or as JSON.
func (p *pages) problem(w http.ResponseWriter, r *http.Request) {
	code := fault.Code(r.PathValue("code"))
	if !fault.Known(code) {
		p.fail(w, r, problem.Refuse(fault.NotFound, ""))
		return
	}
	e := fault.Lookup(code)
	if !view.WantsHTML(r) {
		writeJSON(w, e)
		return
	}
	view.Render(w, http.StatusOK, "message", view.Page{
		Chrome: view.Chrome{Title: e.Title, Notice: p.Notice, NoticeLink: p.NoticeLink},
		Data:   view.Message{Lines: []string{e.Cause}, Fix: e.Fix, LearnMore: e.LearnMore, Code: code},
	})
}
