package web_test

import (
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"pinreset/functions/web/portal"
)

// firstLoad is how much a browser that has nothing yet may load for a page, compressed, in bytes.
const firstLoad = 60 << 10

var loaded = regexp.MustCompile(`(?:src|href)="(/assets/[^"]+)"`)

// TestFirstLoad: a page with everything it loads is small, everything is ours, and all of it is compressed for a browser that takes that.
func TestFirstLoad(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	b := f.browser().signIn(f.admin)
	size := func(path string) (int, []byte) {
		t.Helper()
		plain := b.get(path)
		plain.want(t, http.StatusOK)
		packed := b.do(http.MethodGet, path, nil, header("Accept-Encoding", "gzip"))
		if packed.header.Get("Content-Encoding") != "gzip" || packed.header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: encoding %q, vary %q", path, packed.header.Get("Content-Encoding"), packed.header.Get("Vary"))
		}
		return len(packed.body), plain.body
	}
	own := f.furnish(contoso, pixel)
	paths := []string{"/"}
	for _, pattern := range portal.Routes() {
		if path, isGet := strings.CutPrefix(pattern, "GET "); isGet && !strings.HasSuffix(path, "/events") {
			r := route{path: path}
			paths = append(paths, r.in(contoso, own.ids[r.idKind()]))
		}
	}
	for _, path := range paths {
		total, page := size(path)
		for _, m := range loaded.FindAllSubmatch(page, -1) {
			n, _ := size(string(m[1]))
			total += n
		}
		if total > firstLoad || total < 5<<10 {
			t.Errorf("%s: %d bytes", path, total)
		}
	}
	id := own.ids["reset"]
	f.issue(contoso, id, canary)
	at := "/tenants/" + contoso + "/resets/" + id
	shown := b.do(http.MethodPost, at+"/reveal", url.Values{"key": {b.get(at).key(t)}, "reason": {"user on the phone"}}, header("Accept-Encoding", "gzip"))
	if shown.want(t, http.StatusOK); shown.header.Get("Content-Encoding") != "" {
		t.Error("a page with a code is compressed")
	}
	res, err := http.Get(f.server.URL + "/assets/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, _ = io.Copy(io.Discard, res.Body); res.StatusCode != http.StatusNotFound {
		t.Errorf("the folder answers %d", res.StatusCode)
	}
}
