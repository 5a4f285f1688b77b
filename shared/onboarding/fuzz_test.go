package onboarding_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"pinreset/shared/onboarding"
)

// FuzzState: of all texts, only the very states that were signed with the key are taken back, until they expire, and they
// say what they were made with.
func FuzzState(f *testing.F) {
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	links := func(key string) onboarding.Links {
		return onboarding.Links{Authority: "https://login.example", Callback: "https://pinreset.example/consent/callback",
			Key: []byte(key), NewID: func() string { return "nonce" }, Now: func() time.Time { return now }}
	}
	issue := func(key, tenant string) string {
		link := links(key).For(tenant, onboarding.Consent{RequestID: "r-1"}, onboarding.Step{Name: onboarding.StepApp, AppID: "app"}, "op-1")
		u, err := url.Parse(link.URL)
		if err != nil {
			f.Fatal(err)
		}
		return u.Query().Get("state")
	}
	own := map[string]string{}
	for _, tenant := range []string{"aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002", "\"}{", ""} {
		state := issue("key", tenant)
		own[state] = tenant
		payload, mac, _ := strings.Cut(state, ".")
		for _, s := range []string{state, issue("another key", tenant), payload, "." + mac, payload + ".", payload + "=." + mac, state + ".", strings.ToUpper(state), payload + "." + mac + "\n"} {
			f.Add(s)
		}
	}
	f.Add("")
	f.Add(strings.Repeat("A", 4000) + ".A")
	f.Fuzz(func(t *testing.T, state string) {
		got, err := links("key").Check(state)
		tenant, ok := own[state]
		switch {
		case ok && (err != nil || got.Tenant != tenant || got.Request != "r-1" || got.App != "app" || got.Who != "op-1" || got.Nonce != "nonce"):
			t.Fatalf("own state: %+v, %v", got, err)
		case !ok && (!errors.Is(err, onboarding.ErrState) || got != onboarding.Returned{}):
			t.Fatalf("taken: %q says %+v, %v", state, got, err)
		}
		later := links("key")
		later.Now = func() time.Time { return now.Add(onboarding.StateLife) }
		if _, err := later.Check(state); !errors.Is(err, onboarding.ErrState) {
			t.Fatalf("taken after its expiry: %v", err)
		}
	})
}
