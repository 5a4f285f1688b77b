package onboarding_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"pinreset/shared/onboarding"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

const (
	contoso  = "0b7e2d4c-6a51-4f3e-9d28-5c1a7f90e364"
	fabrikam = "7c1d9e02-33b4-4a6f-8f15-0d2e6b8a4c97"
	ownApp   = "2d9a71c4-8e05-4b3d-a6f2-91c0e7d45b38"
	callback = "https://pinreset.example/callback/consent"
)

var now = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

func links() onboarding.Links {
	serial := 0
	return onboarding.Links{
		Graph:     "https://graph.microsoft.com",
		Authority: "https://login.microsoftonline.com", Microsoft: "https://login.windows.net", Callback: callback,
		Key: []byte("0123456789abcdef0123456789abcdef"), Now: func() time.Time { return now },
		NewID: func() string { serial++; return fmt.Sprint("nonce-", serial) },
	}
}

// TestMicrosoftsLinks compares the links of Microsoft's two applications with those that its page prints: the same but for
// the tenant in place of "common", and the state, which is a constant there and proves nothing.
func TestMicrosoftsLinks(t *testing.T) {
	t.Parallel()
	for step, printed := range map[string]string{
		onboarding.StepService: "https://login.windows.net/common/oauth2/authorize?response_type=code&client_id=b8456c59-1230-44c7-a4a2-99b085333e84&resource=https%3A%2F%2Fgraph.windows.net&redirect_uri=https%3A%2F%2Fcred.microsoft.com&state=e9191523-6c2f-4f1d-a4f9-c36f26f89df0&prompt=admin_consent",
		onboarding.StepClient:  "https://login.windows.net/common/oauth2/authorize?response_type=code&client_id=9115dd05-fad5-4f9c-acc7-305d08b1b04e&resource=https%3A%2F%2Fcred.microsoft.com%2F&redirect_uri=ms-appx-web%3A%2F%2FMicrosoft.AAD.BrokerPlugin%2F9115dd05-fad5-4f9c-acc7-305d08b1b04e&state=6765f8c5-f4a7-4029-b667-46a6776ad611&prompt=admin_consent",
	} {
		l := links().For(contoso, onboarding.Consent{RequestID: "r"}, onboarding.Step{Name: step}, "op-1")
		got, want := parse(t, l.URL), parse(t, printed)
		if got.Scheme != want.Scheme || got.Host != want.Host || got.Path != strings.Replace(want.Path, "common", contoso, 1) || got.Fragment != "" {
			t.Errorf("%s: %s", step, l.URL)
		}
		query := want.Query()
		query.Del("state")
		if got.Query().Encode() != query.Encode() {
			t.Errorf("%s: query %s, want %s", step, got.Query().Encode(), query.Encode())
		}
		if l.Step != step || !strings.Contains(l.Warning, "normal") {
			t.Errorf("%s: no warning of what Accept looks like: %q", step, l.Warning)
		}
	}
}

// TestOwnLink proves the link of pinreset's own applications: the page v2-admin-consent, for this tenant, with our state.
func TestOwnLink(t *testing.T) {
	t.Parallel()
	ls := links()
	for _, step := range []string{onboarding.StepApp, onboarding.StepPrivileged} {
		l := ls.For(contoso, onboarding.Consent{RequestID: "run-1"}, onboarding.Step{Name: step, AppID: ownApp}, "op-1")
		u := parse(t, l.URL)
		if u.Scheme+"://"+u.Host+u.Path != "https://login.microsoftonline.com/"+contoso+"/v2.0/adminconsent" {
			t.Errorf("link %s", l.URL)
		}
		q := u.Query()
		state := q.Get("state")
		q.Del("state")
		want := url.Values{"client_id": {ownApp}, "scope": {"https://graph.microsoft.com/.default"}, "redirect_uri": {callback}}
		if q.Encode() != want.Encode() {
			t.Errorf("query %s, want %s", q.Encode(), want.Encode())
		}
		got, err := ls.Check(state)
		if err != nil || got.Tenant != contoso || got.Request != "run-1" || got.App != ownApp || got.Who != "op-1" || got.Nonce == "" {
			t.Errorf("state says %+v: %v", got, err)
		}
		again, err := ls.Check(parse(t, ls.For(contoso, onboarding.Consent{RequestID: "run-1"}, onboarding.Step{Name: step, AppID: ownApp}, "op-1").URL).Query().Get("state"))
		if err != nil || again.Nonce == got.Nonce {
			t.Errorf("two links share the nonce %q: %v", again.Nonce, err)
		}
	}
}

func parse(t *testing.T, link string) *url.URL {
	t.Helper()
	u, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func stateOf(t *testing.T, l onboarding.Links) string {
	t.Helper()
	link := l.For(contoso, onboarding.Consent{RequestID: "run-1"}, onboarding.Step{Name: onboarding.StepApp, AppID: ownApp}, "op-1")
	return parse(t, link.URL).Query().Get("state")
}

// TestChangedState proves that a state with any one character changed, added or taken away is not ours.
func TestChangedState(t *testing.T) {
	t.Parallel()
	l := links()
	state := stateOf(t, l)
	if _, err := l.Check(state); err != nil {
		t.Fatal(err)
	}
	refused := func(what, token string) {
		t.Helper()
		if got, err := l.Check(token); !errors.Is(err, onboarding.ErrState) || got != (onboarding.Returned{}) {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	const others = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \n\r\x00"
	for i := range len(state) {
		for _, c := range []byte(others) {
			if c != state[i] {
				refused(fmt.Sprintf("byte %d is %q", i, c), state[:i]+string(c)+state[i+1:])
			}
		}
		refused(fmt.Sprintf("byte %d is missing", i), state[:i]+state[i+1:])
		for _, c := range []string{"\n", "\r", "=", "A", "."} {
			refused(fmt.Sprintf("%q before byte %d", c, i), state[:i]+c+state[i:])
		}
	}
	payload, mac, _ := strings.Cut(state, ".")
	for what, token := range map[string]string{
		"empty": "", "a dot": ".", "no signature": payload, "empty signature": payload + ".", "signature only": "." + mac,
		"line end after it": state + "\n", "padded": state + "=", "twice": state + "." + mac, "long": payload + strings.Repeat("A", 4096) + "." + mac,
	} {
		refused(what, token)
	}
}

// TestForgedState proves that what a payload says counts only under our signature.
func TestForgedState(t *testing.T) {
	t.Parallel()
	l := links()
	payload, mac, _ := strings.Cut(stateOf(t, l), ".")
	raw, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(raw, &claims); err != nil {
		t.Fatal(err)
	}
	claims["t"] = fabrikam
	forged, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Check(base64.RawURLEncoding.EncodeToString(forged) + "." + mac); !errors.Is(err, onboarding.ErrState) {
		t.Errorf("state for another tenant: %v", err)
	}
	other := links()
	other.Key = []byte("another key, as long as the first")
	if _, err := l.Check(stateOf(t, other)); !errors.Is(err, onboarding.ErrState) {
		t.Errorf("state under another key: %v", err)
	}
	// An old key gives no claim either once it is replaced.
	if _, err := other.Check(stateOf(t, l)); !errors.Is(err, onboarding.ErrState) {
		t.Errorf("state under the old key: %v", err)
	}
}

func TestStateExpires(t *testing.T) {
	t.Parallel()
	l := links()
	state := stateOf(t, l)
	for _, c := range []struct {
		after time.Duration
		ok    bool
	}{{0, true}, {onboarding.StateLife - time.Second, true}, {onboarding.StateLife, false}, {onboarding.StateLife + time.Hour, false}, {365 * 24 * time.Hour, false}} {
		l.Now = func() time.Time { return now.Add(c.after) }
		if _, err := l.Check(state); (err == nil) != c.ok || err != nil && !errors.Is(err, onboarding.ErrState) {
			t.Errorf("after %s: %v", c.after, err)
		}
	}
}

func TestConsent(t *testing.T) {
	t.Parallel()
	s, err := sqlitework.Open(t.TempDir(), sqlitework.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	unit := func(tenant string) *work.Unit { return work.NewUnit(s, tenant, now, func() string { return "id" }) }
	if _, err := onboarding.Read(t.Context(), unit(contoso)); !errors.Is(err, work.ErrNotFound) {
		t.Errorf("consent of a tenant without one: %v", err)
	}
	c := onboarding.Consent{RequestID: "run-1", State: onboarding.Pending, Steps: []onboarding.Step{
		{Name: onboarding.StepApp, State: onboarding.StepProven}, {Name: onboarding.StepService, State: onboarding.StepSeen},
		{Name: onboarding.StepClient, State: onboarding.StepProven},
	}}
	u := unit(contoso)
	if err := errors.Join(onboarding.Write(u, c), u.Commit(t.Context())); err != nil {
		t.Fatal(err)
	}
	got, err := onboarding.Read(t.Context(), unit(contoso))
	if err != nil || got.RequestID != "run-1" || !slices.EqualFunc(got.Steps, c.Steps, func(a, b onboarding.Step) bool { return a.Name == b.Name && a.State == b.State }) {
		t.Errorf("read %+v: %v", got, err)
	}
	if _, err := onboarding.Read(t.Context(), unit(fabrikam)); !errors.Is(err, work.ErrNotFound) {
		t.Errorf("another tenant's consent: %v", err)
	}
	// Half a consent is none: only all steps proven are complete.
	if next := got.Next(); got.Complete() || next == nil || next.Name != onboarding.StepService {
		t.Errorf("complete %t, next %+v", got.Complete(), got.Next())
	}
	for _, state := range []string{onboarding.StepWaiting, onboarding.StepSeen, onboarding.StepDisabled, onboarding.StepUnread, ""} {
		if got.Step(onboarding.StepService).State = state; got.Complete() {
			t.Errorf("complete with a step in state %q", state)
		}
	}
	if got.Step(onboarding.StepService).State = onboarding.StepProven; !got.Complete() || got.Next() != nil {
		t.Errorf("not complete: %+v", got.Steps)
	}
	if got.Step("nonsense") != nil {
		t.Error("there is a step of nonsense")
	}
	if (&onboarding.Consent{}).Complete() {
		t.Error("a consent without steps is complete")
	}
}
