package view

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"pinreset/functions/web/internal/problem"
	"pinreset/shared/fault"
)

//go:embed templates/*.html assets/*
var files embed.FS

// Chrome is what every page has around its content.
type Chrome struct {
	Title      string
	Who        string // name of who is signed in; "" when nobody is
	Notice     string // such as that the tenants are simulated
	NoticeLink string
	Tenant     string    // id of the tenant that the page is about
	TenantName string    // its name
	MayGrant   bool      // who is signed in decides who else is let in to the tenant
	Section    string    // which of the tenant's pages this is
	Now        time.Time // the server's
	Live       int       // seconds after which the page loads itself again; 0: never
	Paused     bool      // it would, but was asked not to
	Streamed   bool      // the browser can be told of the tenant's changes while the page is open
	About      string    // id of the one thing that the page shows; "" where any change in the tenant may show on it
	Calm       int       // seconds instead of Live while the browser is told of changes; 0 where not all of what the page shows is told
	Self       string    // its own path; of a page that answers a form, the path of the page that the form is on
	Idle       int       // seconds after which whoever does nothing is signed out; 0 where nobody is signed in
	// Compress says that the browser takes gzip. A page with a code on it is never compressed: beside what others can put into a page, its
	// length would tell about the code.
	Compress bool
}

// Page is what a template gets.
type Page struct {
	Chrome
	Data any
}

// Form is what somebody typed, and what is wrong with it.
type Form struct {
	Key    string // idempotency key, made when the form was first shown
	Reason string
	Ticket string
	Name   string
	ID     string
	Create bool
	Errors []problem.Field
}

// Wrong says what is wrong with the field, "" where nothing is.
func (f Form) Wrong(field string) string {
	var all []string
	for _, e := range f.Errors {
		if e.Location == field {
			all = append(all, e.Message)
		}
	}
	return strings.Join(all, "; ")
}

// Message is a page with a few words.
type Message struct {
	Lines     []string
	Fix       []string
	LearnMore []string
	Code      fault.Code
	Instance  string
	Reference string // correlation id
	Back      string // path to go on to
	BackText  string
}

// pages are parsed at their first use: a process that serves no page, as a queue's in Azure Functions, has no need of them.
var pages = sync.OnceValue(parse)

// parse makes each page's template: the layout and the shared parts with the page's own blocks.
func parse() map[string]*template.Template {
	shared := template.Must(template.New("").Funcs(functions).ParseFS(files, "templates/layout.html", "templates/parts.html"))
	names, err := fs.Glob(files, "templates/*.html")
	if err != nil {
		panic(err) // the pattern is right
	}
	all := map[string]*template.Template{}
	for _, name := range names {
		base := strings.TrimSuffix(path.Base(name), ".html")
		if base == "layout" || base == "parts" {
			continue
		}
		all[base] = template.Must(template.Must(shared.Clone()).ParseFS(files, name))
	}
	return all
}

// Render answers with the named page. The page is made whole before its first byte is sent, so that a mistake in it is an
// error and not half a page.
func Render(w http.ResponseWriter, status int, name string, p Page) {
	t, ok := pages()[name]
	if !ok {
		panic("view: no page " + name)
	}
	var body bytes.Buffer
	if err := t.ExecuteTemplate(&body, "layout", p); err != nil {
		panic(fmt.Errorf("page %s: %w", name, err))
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Vary", "Accept-Encoding")
	if p.Compress && body.Len() >= worthwhile {
		body = compressed(body.Bytes())
		h.Set("Content-Encoding", "gzip")
	}
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // a browser that went away is not told
}

// RenderPart answers with what the named page has inside its layout, for a script that puts it into a page.
func RenderPart(w http.ResponseWriter, name string, p Page) {
	var body bytes.Buffer
	if err := pages()[name].ExecuteTemplate(&body, "content", p); err != nil {
		panic(fmt.Errorf("part %s: %w", name, err))
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(body.Bytes()) // a browser that went away is not told
}

// NotFound answers with the one page for everything that does not exist, or not for who asks.
func NotFound(w http.ResponseWriter) {
	e := fault.Lookup(fault.NotFound)
	Render(w, http.StatusNotFound, "message", Page{
		Chrome: Chrome{Title: e.Title},
		Data:   Message{Lines: []string{e.Cause, "Perhaps you have to sign in first."}, Back: "/sign-in", BackText: "Sign in"},
	})
}

// Refused answers with the page of a problem.
func Refused(w http.ResponseWriter, p *problem.Problem) {
	for name, values := range p.GetHeaders() {
		w.Header()[name] = values
	}
	m := Message{
		Lines: []string{p.Detail}, Fix: p.Fix, LearnMore: p.LearnMore, Code: p.Code, Instance: p.Instance, Reference: p.CorrelationID,
		Back: "/", BackText: "Back to the tenants",
	}
	if p.Code == fault.Unauthenticated {
		m.Lines, m.Fix = []string{"Your session has ended, or you have not signed in."}, nil
		m.Back, m.BackText = "/sign-in", "Sign in"
	}
	Render(w, p.Status, "message", Page{Chrome: Chrome{Title: p.Title}, Data: m})
}

// WantsHTML reports whether the answer is for a browser.
func WantsHTML(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "text/html")
}
