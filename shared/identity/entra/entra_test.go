package entra_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pinreset/shared/clocktest"
	"pinreset/shared/identity"
	"pinreset/shared/identity/entra"
)

const (
	home      = "aaaaaaaa-0000-4000-8000-000000000001"
	other     = "bbbbbbbb-0000-4000-8000-000000000002"
	consumers = "9188040d-6c67-4c5b-b112-36a304b66dad"
	object    = "11111111-0000-4000-8000-00000000000a"
	client    = "99999999-0000-4000-8000-000000000009" // ours
	program   = "88888888-0000-4000-8000-000000000008" // may call for people
	stranger  = "77777777-0000-4000-8000-000000000007" // may not
)

var started = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

// keys are made once: it takes a while.
var keys = sync.OnceValue(func() map[string]*rsa.PrivateKey {
	made := map[string]*rsa.PrivateKey{}
	for id, bits := range map[string]int{"common": 2048, "other": 2048, "consumer": 2048, "nobody": 2048, "unpublished": 2048, "encrypts": 2048, "short": 1024} {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			panic(err)
		}
		made[id] = key
	}
	return made
})

// provider is a model of Entra's endpoints.
type provider struct {
	*clocktest.Clock
	*httptest.Server
	*entra.Provider

	broken atomic.Bool
	reads  atomic.Int64 // of the keys
	mu     sync.Mutex
	late   []map[string]any // keys that are published later
	answer string           // the ID token that a code gets
	form   url.Values       // that came with it
}

func setUp(t *testing.T) *provider {
	t.Helper()
	p := &provider{Clock: clocktest.New(started)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /organizations/v2.0/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		if p.broken.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		writeJSON(w, map[string]any{
			"issuer": p.URL + "/{tenantid}/v2.0", "authorization_endpoint": p.URL + "/organizations/authorize",
			"token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		p.reads.Add(1)
		p.mu.Lock()
		defer p.mu.Unlock()
		set := []any{
			p.jwk("common", "sig", p.issuer("{tenantid}")), p.jwk("other", "sig", p.issuer(other)), p.jwk("consumer", "sig", p.issuer(consumers)),
			p.jwk("nobody", "sig", ""), p.jwk("encrypts", "enc", p.issuer("{tenantid}")), p.jwk("short", "sig", p.issuer("{tenantid}")),
			map[string]any{"kty": "oct", "use": "sig", "kid": "symmetric", "k": "c2VjcmV0", "issuer": p.issuer("{tenantid}")},
		}
		for _, k := range p.late {
			set = append(set, k)
		}
		writeJSON(w, map[string]any{"keys": set})
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.form = r.PostForm
		if r.PostForm.Get("code") != "good" {
			w.WriteHeader(http.StatusBadRequest)
			writeJSON(w, map[string]any{"error": "invalid_grant", "error_codes": []int{54005}})
			return
		}
		writeJSON(w, map[string]any{"id_token": p.answer})
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	p.Provider = entra.New(entra.Config{
		Authority: p.URL, ClientID: client, Secret: "secret", Redirect: "https://pinreset.example/sign-in/return", Clients: []string{program}, Now: p.Now,
	})
	return p
}

func writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}

func (p *provider) issuer(tenant string) string { return p.URL + "/" + tenant + "/v2.0" }

func (p *provider) jwk(id, use, issuer string) map[string]any {
	k := map[string]any{"kty": "RSA", "use": use, "kid": id, "n": raw(keys()[id].N.Bytes()), "e": "AQAB"}
	if issuer != "" {
		k["issuer"] = issuer
	}
	return k
}

func raw(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func segment(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw(text)
}

// token is one that is to be changed and signed.
type token struct {
	header map[string]any
	claims map[string]any
	sign   func(text string) []byte // in place of the header's key
	whole  func(text string) string // changes the finished token
}

func rs256(id string) func(string) []byte {
	return func(text string) []byte {
		sum := sha256.Sum256([]byte(text))
		signature, err := rsa.SignPKCS1v15(rand.Reader, keys()[id], crypto.SHA256, sum[:])
		if err != nil {
			panic(err)
		}
		return signature
	}
}

func (k token) text() string {
	if k.sign == nil {
		k.sign = rs256(k.header["kid"].(string))
	}
	text := segment(k.header) + "." + segment(k.claims)
	text += "." + raw(k.sign(text))
	if k.whole != nil {
		text = k.whole(text)
	}
	return text
}

// access is a good access token.
func (p *provider) access() *token {
	return &token{
		header: map[string]any{"alg": "RS256", "typ": "JWT", "kid": "common"},
		claims: map[string]any{
			"aud": client, "iss": p.issuer(home), "iat": started.Unix(), "nbf": started.Unix(), "exp": started.Add(time.Hour).Unix(),
			"azp": program, "azpacr": "1", "scp": "access_as_user", "name": "Kim", "oid": object, "preferred_username": "kim@contoso.example",
			"sub": "pairwise", "tid": home, "uti": "x", "ver": "2.0", "roles": []string{"HelpDesk"},
		},
	}
}

// id is a good ID token for an attempt with the nonce.
func (p *provider) id(nonce string) *token {
	k := p.access()
	for _, name := range []string{"azp", "azpacr", "scp"} {
		delete(k.claims, name)
	}
	k.claims["nonce"] = nonce
	return k
}

// A defect makes a good token a bad one.
type defect struct {
	what string
	make func(p *provider, k *token)
}

func claim(name string, value any) func(*provider, *token) {
	return func(_ *provider, k *token) { k.claims[name] = value }
}

func without(names ...string) func(*provider, *token) {
	return func(_ *provider, k *token) {
		for _, name := range names {
			delete(k.claims, name)
		}
	}
}

func headed(name string, value any) func(*provider, *token) {
	return func(_ *provider, k *token) { k.header[name] = value }
}

// at is a time of the token, so far from now.
func at(name string, d time.Duration) func(*provider, *token) {
	return claim(name, started.Add(d).Unix())
}

func hs(algorithm string, secret func(p *provider) []byte) func(*provider, *token) {
	return func(p *provider, k *token) {
		k.header["alg"] = algorithm
		k.sign = func(text string) []byte {
			h := hmac.New(sha256.New, secret(p))
			if algorithm == "HS512" {
				h = hmac.New(sha512.New, secret(p))
			}
			h.Write([]byte(text))
			return h.Sum(nil)
		}
	}
}

func whole(f func(string) string) func(*provider, *token) {
	return func(_ *provider, k *token) { k.whole = f }
}

// signedBy is a token of the tenant, with the key.
func signedBy(key, tenant string) func(*provider, *token) {
	return func(p *provider, k *token) {
		k.header["kid"] = key
		k.claims["iss"], k.claims["tid"] = p.issuer(tenant), tenant
	}
}

// common are defects of either kind of token.
func common() []defect {
	return []defect{
		{"audience: another application", claim("aud", stranger)},
		{"audience: Microsoft Graph", claim("aud", "https://graph.microsoft.com")},
		{"audience: our id as an address", claim("aud", "api://"+client)},
		{"audience: ours and another", claim("aud", []string{client, stranger})},
		{"audience: a letter more", claim("aud", client+"A")},
		{"audience: none", without("aud")},
		{"audience: empty", claim("aud", "")},
		{"audience: a number", claim("aud", 7)},
		{"issuer: another tenant's", func(p *provider, k *token) { k.claims["iss"] = p.issuer(other) }},
		{"issuer: another host", claim("iss", "https://evil.example/"+home+"/v2.0")},
		{"issuer: version 1", func(p *provider, k *token) { k.claims["iss"] = p.URL + "/" + home + "/" }},
		{"issuer: sts.windows.net", claim("iss", "https://sts.windows.net/"+home+"/")},
		{"issuer: the template", func(p *provider, k *token) { k.claims["iss"] = p.issuer("{tenantid}") }},
		{"issuer: a slash more", func(p *provider, k *token) { k.claims["iss"] = p.issuer(home) + "/" }},
		{"issuer: none", without("iss")},
		{"issuer: organizations", func(p *provider, k *token) { k.claims["iss"] = p.issuer("organizations") }},
		{"tenant: another", claim("tid", other)},
		{"tenant: none", without("tid")},
		{"tenant: no GUID", func(p *provider, k *token) {
			k.claims["iss"], k.claims["tid"] = p.issuer("contoso.example"), "contoso.example"
		}},
		{"tenant: a way out of the issuer", func(p *provider, k *token) {
			k.claims["iss"], k.claims["tid"] = p.issuer(home+"/../"+other), home+"/../"+other
		}},
		{"tenant: personal accounts, with their own key", signedBy("consumer", consumers)},
		{"tenant: personal accounts, with a common key", signedBy("common", consumers)},
		{"tenant: personal accounts in capitals", signedBy("common", strings.ToUpper(consumers))},
		{"object: none", without("oid")},
		{"object: no GUID", claim("oid", "kim@contoso.example")},
		{"subject: none", without("sub")},
		{"key: another tenant's", signedBy("other", home)},
		{"key: the personal accounts'", signedBy("consumer", home)},
		{"key: for no issuer", signedBy("nobody", home)},
		{"key: not published", signedBy("unpublished", home)},
		{"key: for encryption", signedBy("encrypts", home)},
		{"key: too short", signedBy("short", home)},
		{"key: symmetric", func(_ *provider, k *token) { k.header["kid"] = "symmetric"; k.sign = rs256("common") }},
		{"key: another one's id", func(_ *provider, k *token) { k.sign = rs256("other") }},
		{"key: no id", func(_ *provider, k *token) { delete(k.header, "kid"); k.sign = rs256("common") }},
		{"key: an empty id", func(_ *provider, k *token) { k.header["kid"] = ""; k.sign = rs256("common") }},
		{"key: an id that is a number", func(_ *provider, k *token) { k.header["kid"] = 1; k.sign = rs256("common") }},
		{"key: brought along", func(p *provider, k *token) {
			k.header["kid"], k.header["jwk"] = "common", p.jwk("unpublished", "sig", "")
			k.sign = rs256("unpublished")
		}},
		{"header: jwk beside a good signature", headed("jwk", map[string]any{"kty": "RSA"})},
		{"header: jku", headed("jku", "https://evil.example/keys")},
		{"header: x5u", headed("x5u", "https://evil.example/cert")},
		{"header: x5c", headed("x5c", []string{"MIIB"})},
		{"header: crit", headed("crit", []string{"exp"})},
		{"header: b64", headed("b64", false)},
		{"header: another type", headed("typ", "at+jwt+other")},
		{"algorithm: none", func(_ *provider, k *token) { k.header["alg"] = "none"; k.sign = func(string) []byte { return nil } }},
		{"algorithm: None", func(_ *provider, k *token) { k.header["alg"] = "None"; k.sign = func(string) []byte { return nil } }},
		{"algorithm: none, and a signature", headed("alg", "none")},
		{"algorithm: empty", headed("alg", "")},
		{"algorithm: left out", func(_ *provider, k *token) { delete(k.header, "alg") }},
		{"algorithm: HS256 with the public key", hs("HS256", func(*provider) []byte { return keys()["common"].N.Bytes() })},
		{"algorithm: HS256 with the registration's secret", hs("HS256", func(*provider) []byte { return []byte("secret") })},
		{"algorithm: HS512 with the client id", hs("HS512", func(*provider) []byte { return []byte(client) })},
		{"algorithm: RS512", func(_ *provider, k *token) {
			k.header["alg"] = "RS512"
			k.sign = func(text string) []byte {
				sum := sha512.Sum512([]byte(text))
				signature, _ := rsa.SignPKCS1v15(rand.Reader, keys()["common"], crypto.SHA512, sum[:])
				return signature
			}
		}},
		{"algorithm: PS256", func(_ *provider, k *token) {
			k.header["alg"] = "PS256"
			k.sign = func(text string) []byte {
				sum := sha256.Sum256([]byte(text))
				signature, _ := rsa.SignPSS(rand.Reader, keys()["common"], crypto.SHA256, sum[:], nil)
				return signature
			}
		}},
		{"algorithm: ES256", func(_ *provider, k *token) {
			k.header["alg"] = "ES256"
			k.sign = func(text string) []byte {
				key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
				sum := sha256.Sum256([]byte(text))
				r, s, _ := ecdsa.Sign(rand.Reader, key, sum[:])
				return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
			}
		}},
		{"expiry: over", at("exp", -2*time.Minute)},
		{"expiry: none", without("exp")},
		{"expiry: zero", claim("exp", 0)},
		{"expiry: text", claim("exp", "tomorrow")},
		{"expiry: before its issue", func(p *provider, k *token) { at("iat", 10*time.Second)(p, k); at("exp", 5*time.Second)(p, k) }},
		{"not before: later", at("nbf", 2*time.Minute)},
		{"not before: none", without("nbf")},
		{"issued: later", at("iat", 2*time.Minute)},
		{"issued: never", without("iat")},
		{"version: 1.0", claim("ver", "1.0")},
		{"version: none", without("ver")},
		{"version: a number", claim("ver", 2)},
		{"version: both", claim("appid", program)},
		{"application's own", func(_ *provider, k *token) { k.claims["idtyp"] = "app"; delete(k.claims, "scp") }},
		{"application's own, with a scope", claim("idtyp", "app")},
		{"a device's", claim("idtyp", "device")},
		{"acting: by an actor token", claim("actort", "eyJ")},
		{"acting: for somebody", claim("act", map[string]any{"sub": "x"})},
		{"roles: too many", func(_ *provider, k *token) { k.claims["roles"] = strings.Split(strings.Repeat("r ", 300), " ") }},
		{"roles: not a list", claim("roles", "HelpDesk")},
		{"contexts: not a list", claim("acrs", "c1")},
		{"signature: cut", whole(func(s string) string { return s[:len(s)-4] })},
		{"signature: none", whole(func(s string) string { return s[:strings.LastIndexByte(s, '.')+1] })},
		{"signature: left out", whole(func(s string) string { return s[:strings.LastIndexByte(s, '.')] })},
		{"signature: one bit", whole(func(s string) string {
			b, _ := base64.RawURLEncoding.DecodeString(s[strings.LastIndexByte(s, '.')+1:])
			b[17] ^= 1
			return s[:strings.LastIndexByte(s, '.')+1] + raw(b)
		})},
		{"claims: changed after signing", whole(func(s string) string {
			parts := strings.Split(s, ".")
			text, _ := base64.RawURLEncoding.DecodeString(parts[1])
			parts[1] = raw([]byte(strings.Replace(string(text), "HelpDesk", "Approver", 1)))
			return strings.Join(parts, ".")
		})},
		{"claims: not JSON", func(_ *provider, k *token) {
			k.whole = func(string) string {
				text := segment(k.header) + "." + raw([]byte("{"))
				return text + "." + raw(rs256("common")(text))
			}
		}},
		{"form: four parts", whole(func(s string) string { return s + ".x" })},
		{"form: encrypted", whole(func(s string) string { return "eyJhbGciOiJSU0EtT0FFUCJ9.a.b.c.d" })},
		{"form: padding", whole(func(s string) string { return s + "==" })},
		{"form: a line break", whole(func(s string) string { return s[:40] + "\n" + s[40:] })},
		{"form: too long", func(_ *provider, k *token) { k.claims["name"] = strings.Repeat("x", 20<<10) }},
		{"form: empty", whole(func(string) string { return "" })},
		{"form: points alone", whole(func(string) string { return ".." })},
		{"form: JSON", whole(func(string) string { return `{"alg":"none"}` })},
	}
}

// TestBadTokens is the list of what is wrong with a token; none is accepted (security rules TOK-1 to TOK-7).
func TestBadTokens(t *testing.T) {
	t.Parallel()
	p := setUp(t)
	classes, tokens := 0, 0
	refused := func(what string, who identity.Person, err error) {
		t.Helper()
		tokens++
		if !errors.Is(err, identity.ErrUnauthenticated) {
			t.Errorf("%s: accepted as %+v, %v", what, who, err)
		}
	}
	// What the defects are made of is good.
	if who, err := p.AccessToken(t.Context(), p.access().text()); err != nil || who.ID() != identity.PersonID(home, object) {
		t.Fatalf("%+v, %v", who, err)
	}
	if who, err := p.finish(t.Context(), p.id); err != nil || who.ID() != identity.PersonID(home, object) {
		t.Fatalf("%+v, %v", who, err)
	}
	for _, d := range common() {
		classes++
		k := p.access()
		d.make(p, k)
		who, err := p.AccessToken(t.Context(), k.text())
		refused("access token, "+d.what, who, err)
		who, err = p.finish(t.Context(), func(nonce string) *token {
			k := p.id(nonce)
			d.make(p, k)
			return k
		})
		refused("ID token, "+d.what, who, err)
	}
	for _, d := range []defect{
		{"client: one that may not", claim("azp", stranger)},
		{"client: none", without("azp")},
		{"client: empty", claim("azp", "")},
		{"scope: another", claim("scp", "User.Read openid")},
		{"scope: part of ours", claim("scp", "access_as_use")},
		{"scope: more than ours", claim("scp", "access_as_user_too")},
		{"scope: none", without("scp")},
		{"scope: an application's roles alone", func(_ *provider, k *token) {
			delete(k.claims, "scp")
			delete(k.claims, "azp")
			k.claims["idtyp"] = "app"
		}},
		{"an ID token", func(p *provider, k *token) { k.claims = p.id("n").claims }},
		{"an ID token without a nonce", func(p *provider, k *token) { k.claims = p.id("n").claims; delete(k.claims, "nonce") }},
		{"an ID token with a scope", func(p *provider, k *token) { k.claims["nonce"] = "n" }},
	} {
		classes++
		k := p.access()
		d.make(p, k)
		who, err := p.AccessToken(t.Context(), k.text())
		refused("access token, "+d.what, who, err)
	}
	for _, d := range []defect{
		{"nonce: another", claim("nonce", "another")},
		{"nonce: none", without("nonce")},
		{"nonce: empty", claim("nonce", "")},
		{"an access token", func(p *provider, k *token) { k.claims = p.access().claims }},
		{"an access token with the nonce", claim("scp", "access_as_user")},
		{"client: another", claim("azp", stranger)},
		{"client: a program that may call", claim("azp", program)},
	} {
		classes++
		who, err := p.finish(t.Context(), func(nonce string) *token {
			k := p.id(nonce)
			d.make(p, k)
			return k
		})
		refused("ID token, "+d.what, who, err)
	}
	if classes < 60 {
		t.Errorf("only %d classes", classes)
	}
	if !t.Failed() {
		t.Logf("%d classes of bad tokens, %d tokens, none accepted", classes, tokens)
	}
}

// finish signs in with the ID token that is made for the attempt's nonce.
func (p *provider) finish(ctx context.Context, make func(nonce string) *token) (identity.Person, error) {
	attempt, _, err := p.Begin(ctx, "", "")
	if err != nil {
		return identity.Person{}, err
	}
	p.mu.Lock()
	p.answer = make(attempt.Nonce).text()
	p.mu.Unlock()
	return p.Finish(ctx, attempt, url.Values{"state": {attempt.State}, "code": {"good"}})
}

func TestWhoATokenIsOf(t *testing.T) {
	t.Parallel()
	p := setUp(t)
	for what, c := range map[string]struct {
		claims map[string]any
		guest  bool
		name   string
	}{
		"a member":                          {nil, false, "Kim"},
		"a member, said twice":              {map[string]any{"idp": p.issuer(home), "acct": 0}, false, "Kim"},
		"a guest by the identity provider":  {map[string]any{"idp": p.issuer(other)}, true, "Kim"},
		"a guest by a provider of its own":  {map[string]any{"idp": "google.com"}, true, "Kim"},
		"a guest by the account's kind":     {map[string]any{"acct": 1}, true, "Kim"},
		"a name that wants to be a log":     {map[string]any{"name": "Kim\nadmin"}, false, "person " + object},
		"the tenant and object in capitals": {map[string]any{"oid": strings.ToUpper(object)}, false, "Kim"},
	} {
		k := p.access()
		maps.Copy(k.claims, c.claims)
		who, err := p.AccessToken(t.Context(), k.text())
		if err != nil || who.Guest != c.guest || who.Name != c.name || who.Tenant != home || who.Object != object {
			t.Errorf("%s: %+v, %v", what, who, err)
		}
	}
	// A clock a little off is forgiven, either way.
	for what, change := range map[string]func(*provider, *token){"early": at("nbf", 59*time.Second), "late": at("exp", -59*time.Second)} {
		k := p.access()
		at("iat", -time.Hour)(p, k)
		change(p, k)
		if _, err := p.AccessToken(t.Context(), k.text()); err != nil {
			t.Errorf("a minute %s: %v", what, err)
		}
	}
}

func TestAttempt(t *testing.T) {
	t.Parallel()
	p := setUp(t)
	a, to, err := p.Begin(t.Context(), home, "c1")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	sum := sha256.Sum256([]byte(a.Verifier))
	if u.Path != "/"+home+"/authorize" || q.Get("state") != a.State || q.Get("nonce") != a.Nonce || q.Get("code_challenge") != raw(sum[:]) ||
		q.Get("code_challenge_method") != "S256" || !strings.Contains(q.Get("claims"), `"c1"`) || strings.Contains(to, a.Verifier) {
		t.Errorf("%s", to)
	}
	p.answer = p.id(a.Nonce).text()
	for what, answer := range map[string]url.Values{
		"no state":        {"code": {"good"}},
		"another state":   {"code": {"good"}, "state": {a.State + "x"}},
		"no code":         {"state": {a.State}},
		"a code that was": {"state": {a.State}, "code": {"used"}},
	} {
		if who, err := p.Finish(t.Context(), a, answer); !errors.Is(err, identity.ErrUnauthenticated) {
			t.Errorf("%s: %+v, %v", what, who, err)
		}
	}
	if _, err := p.Finish(t.Context(), entra.Attempt{}, url.Values{"code": {"good"}, "state": {""}}); !errors.Is(err, identity.ErrUnauthenticated) {
		t.Errorf("no attempt: %v", err)
	}
	if _, err := p.Finish(t.Context(), a, url.Values{"state": {a.State}, "error": {"access_denied"}}); !errors.Is(err, entra.ErrDeclined) {
		t.Errorf("declined: %v", err)
	}
	if _, err := p.Finish(t.Context(), a, url.Values{"state": {a.State}, "code": {"good"}}); err != nil {
		t.Error(err)
	}
	if p.form.Get("code_verifier") != a.Verifier || p.form.Get("client_secret") != "secret" || p.form.Get("redirect_uri") == "" {
		t.Errorf("the code was redeemed with %v", p.form)
	}
	p.Advance(entra.AttemptLife)
	if _, err := p.Finish(t.Context(), a, url.Values{"state": {a.State}, "code": {"good"}}); !errors.Is(err, identity.ErrUnauthenticated) {
		t.Errorf("too late: %v", err)
	}
}

// Keys are read once a day and when a new one turns up; made-up ids don't make us call at will; what can't be read is no verdict.
// TestAssertion: a registration that trusts a workload has no secret, and proves itself anew for each sign-in.
func TestAssertion(t *testing.T) {
	t.Parallel()
	p := setUp(t)
	proofs, broken := 0, errors.New("no identity here")
	for _, failure := range []error{nil, broken, nil} {
		signIn := entra.New(entra.Config{Authority: p.URL, ClientID: client, Secret: "secret", Redirect: "https://pinreset.example/sign-in/return", Now: p.Now,
			Assertion: func(context.Context) (string, error) { proofs++; return fmt.Sprintf("proof-%d", proofs), failure }})
		a, _, err := signIn.Begin(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		p.answer = p.id(a.Nonce).text()
		if _, err := signIn.Finish(t.Context(), a, url.Values{"state": {a.State}, "code": {"good"}}); !errors.Is(err, failure) {
			t.Errorf("%v, want %v", err, failure)
		}
	}
	if p.form.Get("client_assertion") != "proof-3" || p.form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" || p.form.Has("client_secret") {
		t.Errorf("the code was redeemed with %v", p.form)
	}
}

func TestKeysAreKept(t *testing.T) {
	t.Parallel()
	p := setUp(t)
	p.broken.Store(true)
	if _, err := p.AccessToken(t.Context(), p.access().text()); err == nil || errors.Is(err, identity.ErrUnauthenticated) {
		t.Errorf("keys that can't be read: %v", err)
	}
	p.broken.Store(false)
	p.Advance(time.Minute)
	for range 20 {
		if _, err := p.AccessToken(t.Context(), p.access().text()); err != nil {
			t.Fatal(err)
		}
	}
	made := p.access()
	made.header["kid"] = "made-up"
	made.sign = rs256("common")
	for range 20 {
		if _, err := p.AccessToken(t.Context(), made.text()); !errors.Is(err, identity.ErrUnauthenticated) {
			t.Fatal(err)
		}
	}
	if n := p.reads.Load(); n != 1 {
		t.Errorf("the keys were read %d times", n)
	}
	p.mu.Lock()
	p.late = append(p.late, p.jwk("unpublished", "sig", p.issuer("{tenantid}")))
	p.mu.Unlock()
	p.Advance(2 * time.Minute)
	fresh := p.access()
	fresh.header["kid"] = "unpublished"
	if _, err := p.AccessToken(t.Context(), fresh.text()); err != nil {
		t.Errorf("a key that came later: %v", err)
	}
	// Microsoft can't be reached for a while: the keys of before are good.
	p.broken.Store(true)
	p.Advance(25 * time.Hour)
	k := p.access()
	for _, name := range []string{"iat", "nbf"} {
		k.claims[name] = p.Now().Unix()
	}
	k.claims["exp"] = p.Now().Add(time.Hour).Unix()
	if _, err := p.AccessToken(t.Context(), k.text()); err != nil {
		t.Errorf("during an outage: %v", err)
	}
	p.Advance(48 * time.Hour)
	if _, err := p.AccessToken(t.Context(), k.text()); err == nil || errors.Is(err, identity.ErrUnauthenticated) {
		t.Errorf("keys of three days ago: %v", err)
	}
}
