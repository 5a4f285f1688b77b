package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestOnlyHosts(t *testing.T) {
	t.Parallel()
	h := onlyHosts(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {}), "http://127.0.0.1:8080", "https://pinreset.example")
	for _, c := range []struct {
		host, path string
		status     int
	}{
		{"127.0.0.1:8080", "/", 200}, {"LOCALHOST:8080", "/", 200}, {"pinreset.example", "/v1/tenants", 200},
		{"evil.example:8080", "/", 421}, {"127.0.0.1:9", "/", 421}, {"", "/", 421}, {"10.0.0.7", "/healthz", 200},
	} {
		r := httptest.NewRequest(http.MethodGet, c.path, nil)
		r.Host = c.host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.status {
			t.Errorf("%s as %q: %d, want %d", c.path, c.host, w.Code, c.status)
		}
	}
}

func TestExposure(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		listen, public string
		ok             bool
	}{
		{"127.0.0.1:8080", "", true}, {"localhost:8080", "", true}, {"[::1]:8080", "", true},
		{"0.0.0.0:8080", "", false}, {":8080", "", false}, {"192.0.2.1:8080", "http://192.0.2.1:8080", false},
		{"0.0.0.0:8080", "https://pinreset.example", true},
	} {
		if err := checkExposure(c.listen, c.public); (err == nil) != c.ok {
			t.Errorf("%s with %q: %v", c.listen, c.public, err)
		}
	}
}
