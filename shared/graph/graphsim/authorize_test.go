package graphsim

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestPersonSignsIn walks the code flow as a browser and a server do, and then each way in which it must fail.
func TestPersonSignsIn(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: noLag})
	app := s.SignIn()
	client := &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.RootCAs()}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	const verifier, redirect = "a-verifier-of-forty-three-characters-or-more-x", "http://127.0.0.1:1/back"
	sum := sha256.Sum256([]byte(verifier))
	asked := url.Values{
		"client_id": {app.ClientID}, "response_type": {"code"}, "redirect_uri": {redirect}, "scope": {"openid"}, "nonce": {"n"}, "state": {"s"},
		"code_challenge": {raw64.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}, "claims": {`{"id_token":{"acrs":{"essential":true,"value":"c1"}}}`},
	}
	post := func(to string, form url.Values) *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, to, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		got, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = got.Body.Close() })
		return got
	}
	accounts := s.Accounts()
	code := func() string {
		got := post(s.PagesURL()+"/organizations/oauth2/v2.0/authorize?"+asked.Encode(), url.Values{"account": {accounts[0].Key()}})
		back, err := got.Location()
		if err != nil || back.Query().Get("state") != "s" || !strings.HasPrefix(back.String(), redirect) {
			t.Fatalf("%d, %v, %v", got.StatusCode, back, err)
		}
		return back.Query().Get("code")
	}
	redeem := func(change url.Values) (status int, idToken string) {
		form := url.Values{"client_id": {app.ClientID}, "client_secret": {app.Secret}, "grant_type": {"authorization_code"}, "redirect_uri": {redirect}, "code_verifier": {verifier}}
		for name, values := range change {
			form[name] = values
		}
		got := post(s.URL()+"/organizations/oauth2/v2.0/token", form)
		var said struct {
			IDToken string `json:"id_token"`
		}
		if err := json.NewDecoder(got.Body).Decode(&said); err != nil {
			t.Fatal(err)
		}
		return got.StatusCode, said.IDToken
	}
	good := code()
	status, token := redeem(url.Values{"code": {good}})
	var said personClaims
	if err := decodeSegment(token, 1, &said); err != nil || status != http.StatusOK {
		t.Fatal(status, err)
	}
	if said.Nonce != "n" || said.ObjectID != accounts[0].ObjectID || said.TenantID != accounts[0].TenantID || said.Audience != app.ClientID ||
		len(said.Contexts) != 1 || said.Contexts[0] != "c1" || said.Issuer != s.URL()+"/"+said.TenantID+"/v2.0" {
		t.Errorf("%+v", said)
	}
	for what, change := range map[string]url.Values{
		"a code that was used": {"code": {good}},
		"no such code":         {"code": {"x"}},
		"another verifier":     {"code": {code()}, "code_verifier": {verifier + "y"}},
		"another address":      {"code": {code()}, "redirect_uri": {redirect + "/else"}},
		"another secret":       {"code": {code()}, "client_secret": {"x"}},
		"no verifier":          {"code": {code()}, "code_verifier": {""}},
	} {
		if status, token := redeem(change); status == http.StatusOK || token != "" {
			t.Errorf("%s: %d", what, status)
		}
	}
	late := code()
	s.clock.Advance(codeLife)
	if status, _ := redeem(url.Values{"code": {late}}); status == http.StatusOK {
		t.Error("an old code")
	}
	for name, value := range map[string]string{"redirect_uri": "https://evil.example/back", "code_challenge_method": "plain", "response_type": "token", "client_id": newID(), "scope": "profile", "nonce": "", "claims": "{"} {
		bad := url.Values{}
		for k, v := range asked {
			bad[k] = v
		}
		bad.Set(name, value)
		if got := post(s.PagesURL()+"/organizations/oauth2/v2.0/authorize?"+bad.Encode(), url.Values{"account": {accounts[0].Key()}}); got.StatusCode != http.StatusBadRequest {
			t.Errorf("%s=%s: %d", name, value, got.StatusCode)
		}
	}
}
