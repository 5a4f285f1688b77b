package graph

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestOneDiscoveryForAllTenants: the document of one tenant leads each other one to its own token endpoint, for a day.
func TestOneDiscoveryForAllTenants(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	asked, signedIn := 0, map[string]int{}
	now := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)
	s := serve(t, answerWith(http.StatusOK, nil, `{"value":[{"id":"`+tenantA+`"}]}`))
	s.token = func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		signedIn[strings.Split(r.URL.Path, "/")[1]]++
		answerWith(http.StatusOK, nil, `{"token_type":"Bearer","expires_in":3600,"access_token":"token"}`)(w, r)
	}
	s.Config.Handler = counted(s.Config.Handler, func(r *http.Request) {
		if strings.HasSuffix(r.URL.Path, discoverySuffix) {
			mu.Lock()
			defer mu.Unlock()
			asked++
		}
	})
	cfg := s.config()
	cfg.Now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	cfg.App = cfg.SecretApp("app", "a client secret")
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	read := func(tenant string, want int) {
		t.Helper()
		if _, err := c.Domains(t.Context(), tenant); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		defer mu.Unlock()
		if asked != want {
			t.Errorf("after tenant %s the authority was asked %d times, want %d", tenant, asked, want)
		}
	}
	read(tenantA, 1)
	read(tenantB, 1)
	mu.Lock()
	now = now.Add(discoveryLife)
	mu.Unlock()
	read(spX, 2)
	for _, tenant := range []string{tenantA, tenantB, spX} {
		if signedIn[tenant] != 1 {
			t.Errorf("tokens by tenant: %v", signedIn)
		}
	}
}

func counted(next http.Handler, count func(*http.Request)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		count(r)
		next.ServeHTTP(w, r)
	})
}
