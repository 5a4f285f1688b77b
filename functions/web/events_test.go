package web_test

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"pinreset/shared/identity"
	"pinreset/shared/live"
)

// streaming serves with a feed, whose clock is the fixture's and whose beat is quick.
func streaming(t *testing.T) *fixture {
	t.Helper()
	f := setUp(t)
	f.live = live.New(live.Options{Store: f.store, Now: f.Now, Poll: time.Hour, Rest: time.Millisecond, Beat: 20 * time.Millisecond})
	server := httptest.NewUnstartedServer(f.handler())
	server.Config.ReadTimeout = 50 * time.Millisecond // of a request; a stream outlasts it
	server.Start()
	f.server.Close()
	f.server = server
	t.Cleanup(func() {
		f.live.Close()
		server.Close()
	})
	return f
}

// stream is a page's.
type stream struct {
	t     *testing.T
	lines *bufio.Scanner
	res   *http.Response
}

func (b *browser) stream(t *testing.T, tenant, position string) *stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.f.server.URL+"/tenants/"+tenant+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	if position != "" {
		r.Header.Set("Last-Event-ID", position)
	}
	res, err := b.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return &stream{t, bufio.NewScanner(res.Body), res}
}

// until reads to the first line with the text, and returns what was read; ok is false where the stream ends before.
func (s *stream) until(text string) (read string, ok bool) {
	for s.lines.Scan() {
		read += s.lines.Text() + "\n"
		if strings.Contains(s.lines.Text(), text) {
			return read, true
		}
	}
	return read, false
}

func (s *stream) must(text string) string {
	s.t.Helper()
	read, ok := s.until(text)
	if !ok {
		s.t.Fatalf("the stream ended (%v) without %q: %s", s.lines.Err(), text, read)
	}
	return read
}

// TestStream follows a reset: what is told has its id and its state, and no name, reason or code; and it is told across a restart.
func TestStream(t *testing.T) {
	t.Parallel()
	f := streaming(t)
	b := f.browser().signIn(f.may(identity.Permissions()...))
	s := b.stream(t, contoso, "")
	if s.res.StatusCode != http.StatusOK || s.res.Header.Get("Content-Type") != "text/event-stream" || s.res.Header.Get("Cache-Control") != "no-store" ||
		!strings.Contains(s.res.Header.Get("Content-Security-Policy"), "connect-src 'self'") {
		t.Errorf("%d %v", s.res.StatusCode, s.res.Header)
	}
	s.must("data: []")
	f.startReset(fabrikam, foreign)
	id := f.startReset(contoso, pixel)
	said := s.must(`"state":"requested"`)
	if !strings.Contains(said, `{"kind":"reset","id":"`+id+`"`) {
		t.Errorf("told %s", said)
	}
	if strings.Count(said, `"kind"`) != 1 {
		t.Errorf("another's change is told: %s", said)
	}
	for range 10 { // longer than the server gives a request
		said += s.must(":")
	}
	for _, never := range []string{"forgot it", "INC-1", hostile, pixel, "kim@", fabrikam, canary} {
		if strings.Contains(said, never) {
			t.Errorf("%q is told: %s", never, said)
		}
	}
	position := ""
	for line := range strings.Lines(said) {
		if p, ok := strings.CutPrefix(line, "id: "); ok {
			position = strings.TrimSpace(p)
		}
	}
	f.live.Close() // the process ends
	if rest, ok := s.until("never"); ok || strings.Contains(rest, "kind") {
		t.Errorf("after the end: %s", rest)
	}
	f.issue(contoso, id, canary)
	b.post("/tenants/"+contoso+"/resets/"+id+"/reveal", map[string][]string{"reason": {"at the desk"}}).want(t, http.StatusOK)

	f.live = live.New(live.Options{Store: f.store, Now: f.Now, Poll: time.Hour, Beat: time.Hour}) // and another is started
	f.server = httptest.NewServer(f.handler())
	t.Cleanup(f.server.Close)
	t.Cleanup(f.live.Close)
	said = b.stream(t, contoso, position).must(`"state":"revealed"`)
	if strings.Contains(said, `"state":"requested"`) || strings.Count(said, "event: changes") != 1 || strings.Contains(said, canary) {
		t.Errorf("told after the restart: %s", said)
	}
}

// TestStreamIsAPageOfItsTenant: whoever may not see the tenant gets the answer for one that is not there, and who is not signed in is sent
// to sign in.
func TestStreamIsAPageOfItsTenant(t *testing.T) {
	t.Parallel()
	f := streaming(t)
	b := f.browser().signIn(f.may(identity.Permissions()...))
	x, y := b.get("/tenants/"+fabrikam+"/events"), b.get("/tenants/"+nowhere+"/events")
	x.want(t, http.StatusNotFound)
	if string(x.shape(fabrikam)) != string(y.shape(nowhere)) {
		t.Errorf("another's differs from a missing one's: %s\n%s", x.body, y.body)
	}
	limited := f.browser()
	limited.post("/sign-in", map[string][]string{"token": {f.may(identity.ResetStart)}})
	limited.get("/tenants/"+contoso+"/events").want(t, http.StatusForbidden)
	if a := f.browser().get("/tenants/" + contoso + "/events"); a.header.Get("Final-Path") != "/sign-in" {
		t.Errorf("without a session: %s", a.header.Get("Final-Path"))
	}
}

// TestStreamEndsWithItsRight: with the session, with the token that it was opened with, and after its life; watching keeps no session open.
func TestStreamEndsWithItsRight(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(f *fixture, b *browser, tokenID string){
		"signed out": func(_ *fixture, b *browser, _ string) { b.post("/sign-out", map[string][]string{}) },
		"token revoked": func(f *fixture, _ *browser, id string) {
			f.call(http.MethodPost, "/v1/tokens/"+id+"/revoke", f.admin, nil)
		},
		"long enough": func(f *fixture, _ *browser, _ string) { f.Advance(200 * time.Second) },
		"not used":    func(f *fixture, _ *browser, _ string) { f.Advance(identity.SessionIdle) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := streaming(t)
			id, token := f.token(identity.Grant{Name: "operator", Tenants: []string{contoso}, Permissions: identity.Permissions(), Days: 1})
			b := f.browser().signIn(token)
			s := b.stream(t, contoso, "")
			s.must("data: []")
			f.Advance(170 * time.Second)
			s.must(":")
			s.must(":")
			end(f, b, id)
			if _, ok := s.until("never"); ok || s.lines.Err() != nil {
				t.Errorf("the stream ended with %v", s.lines.Err())
			}
		})
	}
}

// TestWhereNothingIsStreamed the answer has a browser not ask again, and the page says nothing of a stream.
func TestWhereNothingIsStreamed(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	b := f.browser().signIn(f.may(identity.Permissions()...))
	b.get("/tenants/"+contoso+"/events").want(t, http.StatusNoContent)
	id := f.startReset(contoso, pixel)
	if page := string(b.get("/tenants/" + contoso + "/resets/" + id).body); !strings.Contains(page, `data-live="4"`) || strings.Contains(page, "data-events") {
		t.Error("the page does not load itself again, or asks for a stream")
	}
	with := streaming(t)
	id = with.startReset(contoso, pixel)
	page := string(with.browser().signIn(with.may(identity.Permissions()...)).get("/tenants/" + contoso + "/resets/" + id).body)
	for _, want := range []string{`data-live="4"`, `data-events="/tenants/` + contoso + `/events"`, `data-about="` + id + `"`, `data-calm="30"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %s", want)
		}
	}
}
