package web_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pinreset/events"
)

var tenantOf = regexp.MustCompile(`/tenants/[0-9a-f-]{36}`)

// FuzzBody: whatever the body of a changing call is, the real server answers in JSON, not with a failure of its own, and the
// same again when the call is repeated under its idempotency key.
func FuzzBody(f *testing.F) {
	x := setUp(f)
	reset := x.startReset(contoso, pixel)
	x.issue(contoso, reset, canary)
	_, letter := x.setAside(contoso, []byte("{}"))
	placed := x.startRollout(contoso)
	x.place(contoso, placed)
	var routes []route
	for _, r := range x.routes() {
		if r.method != http.MethodGet {
			routes = append(routes, r)
		}
	}
	slices.SortFunc(routes, func(a, b route) int { return strings.Compare(a.path, b.path) })
	for i := range routes {
		for _, body := range []string{`{"reason":"forgot it","ticket":"INC-1"}`, `{"tenantId":"` + nowhere + `","displayName":"N"}`, `{"passcodeHours":24}`, `{"createServicePrincipals":true}`,
			`{"name":"x","tenants":["*"],"permissions":["tenant.read"],"days":30}`, ``, `null`, `[]`, `{"reason":"a\u0000b"}`, `{"reason":"\ud800"}`, `{"reason":1e999}`, `{"a":{"a":{"a":[[[`, "\xff\xfe{}"} {
			f.Add(i, []byte(body))
		}
	}
	for _, kind := range events.Kinds() {
		raw, ok := events.Example(kind)
		if !ok {
			f.Fatalf("no example of %s", kind)
		}
		f.Add(slices.IndexFunc(routes, func(r route) bool { return r.path == "/v1/events" }), tenantOf.ReplaceAll(raw, []byte("/tenants/"+contoso)))
	}
	handler, n := x.handler(), 0
	f.Fuzz(func(t *testing.T, which int, body []byte) {
		r := routes[(which%len(routes)+len(routes))%len(routes)]
		id := map[string]string{"device": laptop, "reset": reset, "dead letter": letter, "token": nowhere, "failure": nowhere, "bulk reset": nowhere, "rollout": placed, "approval": nowhere}[r.idKind()]
		n++
		key := fmt.Sprintf("fuzz-%d", n)
		send := func() *httptest.ResponseRecorder {
			req := httptest.NewRequest(r.method, r.in(contoso, id), bytes.NewReader(body))
			req.Header.Set("Authorization", "Bearer "+x.admin)
			req.Header.Set("Content-Type", "application/json")
			if r.path == "/v1/events" {
				req.Header.Set("Content-Type", "application/cloudevents+json")
			}
			req.Header.Set("Idempotency-Key", key)
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, req)
			return w
		}
		first := send()
		if first.Code >= 500 || first.Code < 200 || first.Code >= 300 && first.Code < 400 {
			t.Fatalf("%s %s answers %d to %q: %s", r.method, r.path, first.Code, body, first.Body)
		}
		if !json.Valid(first.Body.Bytes()) || !utf8.Valid(first.Body.Bytes()) {
			t.Fatalf("%s %s answers what is no JSON to %q: %s", r.method, r.path, body, first.Body)
		}
		reveals := strings.HasSuffix(r.path, "/reveal") && first.Code == http.StatusOK
		if !reveals && bytes.Contains(first.Body.Bytes(), []byte(canary)) {
			t.Fatalf("%s %s answers with the code", r.method, r.path)
		}
		if first.Code < 300 && r.keyed && r.path != "/v1/tokens" && !strings.HasSuffix(r.path, "/keys") { // a token or a key is shown once
			if again := send(); again.Code != first.Code || !bytes.Equal(again.Body.Bytes(), first.Body.Bytes()) {
				t.Fatalf("%s %s, repeated: %d %s, then %d %s", r.method, r.path, first.Code, first.Body, again.Code, again.Body)
			}
		}
	})
}

// FuzzCursor: whatever the cursor and limit of a list are, the real server answers with a page or a refusal, and only a cursor
// that it gave out itself goes on.
func FuzzCursor(f *testing.F) {
	x := setUp(f)
	for range 4 {
		x.setAside(contoso, []byte("{}"))
		x.setAside(fabrikam, []byte("{}"))
	}
	mine := x.may("tenant.read")
	path := "/v1/tenants/" + contoso + "/failures"
	good := x.cursor(path, mine)
	// Keys differ from run to run, so the corpus has names in place of cursors.
	named := strings.NewReplacer("$GOOD", good, "$LETTERS", x.cursor("/v1/tenants/"+contoso+"/deadletters", mine), "$COLLEAGUE", x.cursor(path, x.may("tenant.read")),
		"$STRANGER", x.cursor("/v1/tenants/"+fabrikam+"/failures", x.admin))
	for _, c := range []string{"$GOOD", "$LETTERS", "$COLLEAGUE", "$STRANGER", "$GOOD$GOOD", "$GOOD=", "A$GOOD", "$GOODA", "", "AAAA", "%00", strings.Repeat("A", 3000)} {
		for _, limit := range []string{"1", "0", "-1", "201", "x", "99999999999999999999", "1&limit=2"} {
			f.Add(c, limit)
		}
	}
	handler := x.handler()
	f.Fuzz(func(t *testing.T, cursor, limit string) {
		cursor = named.Replace(cursor)
		req := httptest.NewRequest(http.MethodGet, path, nil)
		q := req.URL.Query()
		q.Set("cursor", cursor)
		req.URL.RawQuery = q.Encode() + "&limit=" + limit
		req.Header.Set("Authorization", "Bearer "+mine)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, req)
		switch {
		case w.Code >= 500 || !json.Valid(w.Body.Bytes()):
			t.Fatalf("cursor %q, limit %q: %d %s", cursor, limit, w.Code, w.Body)
		case w.Code == http.StatusOK && cursor != "" && !sameBytes(cursor, good) && !strings.ContainsAny(limit, "&;#"):
			t.Fatalf("cursor %q was taken, the one given out is %q", cursor, good)
		case strings.Contains(w.Body.String(), fabrikam):
			t.Fatalf("cursor %q shows another tenant: %s", cursor, w.Body)
		}
	})
}

// sameBytes reports whether two cursors are spellings of the same bytes: the last character of base64 may have bits to spare.
func sameBytes(a, b string) bool {
	x, err := base64.RawURLEncoding.DecodeString(a)
	y, wrong := base64.RawURLEncoding.DecodeString(b)
	return err == nil && wrong == nil && bytes.Equal(x, y)
}
