package entra

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/shared/identity"
)

const (
	// Scope is what a program asks for to call our API for a person, behind "api://CLIENT-ID/".
	Scope = "access_as_user"
	// AttemptLife is how long somebody may take to sign in.
	AttemptLife = 10 * time.Minute

	callTime = 10 * time.Second // for one call of the provider
)

// Config says which registration people sign in with. Clients and Client may be left out.
type Config struct {
	Authority string // https://login.microsoftonline.com, or a national cloud's
	ClientID  string // of the registration, which is multi-tenant and has tokens of version 2.0
	Secret    string // of the registration
	// Assertion proves the registration without a secret: with a token that a federated credential of it trusts. It goes before Secret.
	Assertion func(context.Context) (string, error)
	Redirect  string       // where the browser returns to; it is registered there
	Clients   []string     // client ids of the programs that may call our API for people; the registration itself always may
	Client    *http.Client // how the provider is called
	Now       func() time.Time
}

// Provider signs people in. It is safe for concurrent use.
type Provider struct {
	clientID, secret, redirect string
	assertion                  func(context.Context) (string, error)
	clients                    []string
	directory                  directory
	now                        func() time.Time
}

// New returns a provider. Nothing is called before somebody signs in.
func New(c Config) *Provider {
	if !events.IsGUID(c.ClientID) || c.Now == nil || c.Authority == "" || c.Redirect == "" {
		panic("entra: a part of the configuration is missing")
	}
	client := http.Client{}
	if c.Client != nil {
		client = *c.Client
	}
	// What is asked for goes to the addresses that were named, and nowhere else.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	clients := []string{strings.ToLower(c.ClientID)} // as tokens have them
	for _, id := range c.Clients {
		clients = append(clients, strings.ToLower(id))
	}
	return &Provider{
		clientID: clients[0], secret: c.Secret, assertion: c.Assertion, redirect: c.Redirect, clients: clients, now: c.Now,
		directory: directory{config: c.Authority + "/organizations/v2.0/.well-known/openid-configuration", client: &client, now: c.Now},
	}
}

// ClientID returns the registration's client id.
func (p *Provider) ClientID() string { return p.clientID }

// Attempt is one sign-in that was begun. The browser that began it keeps it, sealed, so that nobody can finish it in another one.
type Attempt struct {
	State    string    `json:"state"`
	Nonce    string    `json:"nonce"`
	Verifier string    `json:"verifier"`
	Expires  time.Time `json:"expires"`
}

// Begin starts a sign-in and returns where to send the browser. With a context, an id such as c1, the person must pass what the
// tenant's Conditional Access asks for in it. tenant, if not "", is that of who is to sign in.
func (p *Provider) Begin(ctx context.Context, tenant, authContext string) (Attempt, string, error) {
	meta, err := p.directory.metadata(ctx)
	if err != nil {
		return Attempt{}, "", fmt.Errorf("begin sign-in: %w", err)
	}
	to, err := url.Parse(meta.Authorize)
	if err != nil || to.Host == "" {
		return Attempt{}, "", fmt.Errorf("begin sign-in: authorization endpoint %q", meta.Authorize)
	}
	if tenant != "" {
		to.Path = strings.Replace(to.Path, "/organizations/", "/"+tenant+"/", 1)
	}
	a := Attempt{State: random(), Nonce: random(), Verifier: random(), Expires: p.now().Add(AttemptLife)}
	sum := sha256.Sum256([]byte(a.Verifier))
	q := url.Values{
		"client_id": {p.clientID}, "response_type": {"code"}, "response_mode": {"query"}, "redirect_uri": {p.redirect}, "scope": {"openid profile"},
		"state": {a.State}, "nonce": {a.Nonce}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	if authContext != "" {
		text, err := json.Marshal(map[string]any{"id_token": map[string]any{"acrs": map[string]any{"essential": true, "value": authContext}}})
		if err != nil {
			return Attempt{}, "", err
		}
		q.Set("claims", string(text))
	} else {
		q.Set("prompt", "select_account")
	}
	to.RawQuery = q.Encode()
	return a, to.String(), nil
}

// ErrDeclined: the person, or the provider, ended the sign-in.
var ErrDeclined = errors.New("the sign-in was not finished")

// Finish ends the attempt with what the provider sent the browser back with, and returns who it is. A code that was made up, used or is
// of another attempt is identity.ErrUnauthenticated; ErrDeclined is what the provider itself said.
func (p *Provider) Finish(ctx context.Context, a Attempt, answer url.Values) (identity.Person, error) {
	var nobody identity.Person
	switch {
	case a.State == "" || subtle.ConstantTimeCompare([]byte(answer.Get("state")), []byte(a.State)) != 1:
		return nobody, refuse("state of another sign-in")
	case !p.now().Before(a.Expires):
		return nobody, refuse("the sign-in took too long")
	case answer.Get("error") != "":
		return nobody, fmt.Errorf("%w: %s", ErrDeclined, code(answer.Get("error")))
	case answer.Get("code") == "":
		return nobody, refuse("no code")
	}
	token, err := p.redeem(ctx, a, answer.Get("code"))
	if err != nil {
		return nobody, err
	}
	return p.idToken(ctx, token, a.Nonce)
}

// redeem trades the code for an ID token.
func (p *Provider) redeem(ctx context.Context, a Attempt, authorization string) (string, error) {
	meta, err := p.directory.metadata(ctx)
	if err != nil {
		return "", fmt.Errorf("finish sign-in: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	form := url.Values{
		"client_id": {p.clientID}, "grant_type": {"authorization_code"}, "code": {authorization}, "redirect_uri": {p.redirect},
		"code_verifier": {a.Verifier}, "scope": {"openid profile"},
	}
	switch {
	case p.assertion != nil:
		proof, err := p.assertion(ctx)
		if err != nil {
			return "", fmt.Errorf("finish sign-in: %w", err)
		}
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", proof)
	case p.secret != "":
		form.Set("client_secret", p.secret)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, meta.Token, strings.NewReader(form.Encode()))
	if err != nil {
		return "", fmt.Errorf("finish sign-in: %w", err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	got, err := p.directory.client.Do(r)
	if err != nil {
		return "", fmt.Errorf("finish sign-in: %w", err)
	}
	defer got.Body.Close()
	var said struct {
		IDToken string `json:"id_token"`
		Error   string `json:"error"`
		Codes   []int  `json:"error_codes"`
	}
	if err := json.NewDecoder(io.LimitReader(got.Body, maxDocument)).Decode(&said); err != nil {
		return "", fmt.Errorf("finish sign-in: status %d: %w", got.StatusCode, err)
	}
	switch {
	case got.StatusCode == http.StatusOK && said.IDToken != "":
		return said.IDToken, nil
	case got.StatusCode == http.StatusOK:
		return "", refuse("no ID token for the code")
	case said.Error == "invalid_grant":
		return "", refuse("the code was refused, AADSTS%v", said.Codes)
	}
	return "", fmt.Errorf("finish sign-in: status %d, %s, AADSTS%v", got.StatusCode, code(said.Error), said.Codes)
}

// code keeps an error's name where it is one; anybody can write an address with another text in it.
func code(name string) string {
	if slices.ContainsFunc([]byte(name), func(b byte) bool { return b != '_' && (b < 'a' || b > 'z') }) || len(name) > 64 {
		return "an error without a name"
	}
	return name
}

// random makes 256 random bits.
func random() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // crypto/rand never fails: it ends the program instead
	return base64.RawURLEncoding.EncodeToString(b)
}
