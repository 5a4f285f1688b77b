package graphsim

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// SignInScope is the scope for an access token to pinreset's own API, behind "api://CLIENT-ID/".
const SignInScope = "access_as_user"

// codeLife is how long an authorization code is good for. Microsoft's page says that they are short-lived, about ten minutes.
const codeLife = 10 * time.Minute

// SignIn returns the registration that people sign in with. It has no permissions on Graph, and no tenant consents to it.
func (c *Cloud) SignIn() App {
	// From the other secret, so that a directory of before there was this app needs nothing new.
	sum := sha256.Sum256([]byte("sign in " + c.meta.Secret))
	return App{Name: "pinreset sign-in", ClientID: guid("app pinreset sign-in"), Secret: raw64.EncodeToString(sum[:24])}
}

// codes are the authorization codes that were handed out and not used yet.
type codes struct {
	mu   sync.Mutex
	open map[string]authorization
}

// authorization is what a person agreed to.
type authorization struct {
	redirect, scope, nonce, challenge string
	account                           Account
	contexts                          []string
	expires                           time.Time
}

func (s *codes) issue(a authorization, now time.Time) string {
	code := newSecret()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = make(map[string]authorization)
	}
	for old, other := range s.open {
		if !now.Before(other.expires) {
			delete(s.open, old)
		}
	}
	s.open[code] = a
	return code
}

// take returns what the code stands for; it is gone afterwards, whatever comes of it.
func (s *codes) take(code string) (authorization, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.open[code]
	delete(s.open, code)
	return a, ok
}

// multiTenant reports whether a path's tenant stands for all of them.
func multiTenant(ref string) bool { return ref == "common" || ref == "organizations" }

// A signInPage is the data of signin.html.
type signInPage struct {
	Action   string
	Contexts []string
	Tenants  []signInTenant
}

type signInTenant struct {
	Name     string
	Accounts []Account
}

// signInPeople is the authorization endpoint of the code flow with PKCE (page "Microsoft identity platform and OAuth 2.0 authorization
// code flow"). In the place of a password people pick who they are.
func (c *Cloud) signInPeople(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	redirect, f := c.asksToSignIn(q)
	if f != nil {
		c.errorPage(w, r, *f)
		return
	}
	contexts, err := contextsAsked(q.Get("claims"))
	if err != nil {
		c.errorPage(w, r, refusal{code: 900144, message: "The claims parameter is not valid JSON."})
		return
	}
	if r.Method == http.MethodGet {
		p := signInPage{Action: r.URL.RequestURI(), Contexts: contexts}
		for _, s := range seeds() {
			if ref := r.PathValue("tenant"); !multiTenant(ref) && ref != s.id && ref != s.domain {
				continue
			}
			t, err := c.lookup(s.id)
			if err != nil {
				c.pageFailed(w, r, err)
				return
			}
			p.Tenants = append(p.Tenants, signInTenant{s.name, c.accountsOf(t)})
		}
		if len(p.Tenants) == 0 {
			c.errorPage(w, r, unknownTenant(r.PathValue("tenant")))
			return
		}
		c.page(w, http.StatusOK, "signin.html", p, redirect.Scheme+"://"+redirect.Host)
		return
	}
	answer := redirect.Query()
	if state := q.Get("state"); state != "" {
		answer.Set("state", state)
	}
	switch key := r.PostFormValue("account"); key {
	case "":
		answer.Set("error", "access_denied")
		answer.Set("error_description", "AADSTS65004: the user cancelled.")
	default:
		who, err := c.findAccount(key)
		if err != nil {
			c.page(w, http.StatusNotFound, "error.html", err.Error(), "")
			return
		}
		answer.Set("code", c.codes.issue(authorization{
			redirect: q.Get("redirect_uri"), scope: q.Get("scope"), nonce: q.Get("nonce"), challenge: q.Get("code_challenge"),
			account: who, contexts: contexts, expires: c.now().Add(codeLife),
		}, c.now()))
	}
	redirect.RawQuery = answer.Encode()
	http.Redirect(w, r, redirect.String(), http.StatusFound)
}

// asksToSignIn checks a request of the authorization endpoint.
func (c *Cloud) asksToSignIn(q url.Values) (*url.URL, *refusal) {
	for _, name := range []string{"client_id", "redirect_uri", "scope", "nonce", "code_challenge"} {
		if q.Get(name) == "" {
			f := missingParameter(name)
			return nil, &f
		}
	}
	if !strings.EqualFold(q.Get("client_id"), c.SignIn().ClientID) {
		return nil, &refusal{code: 700016, message: fmt.Sprintf("Application with identifier '%s' was not found in the directory.", q.Get("client_id"))}
	}
	redirect, ok := c.redirectTarget(q.Get("redirect_uri"))
	switch {
	case !ok:
		return nil, &refusal{code: 50011, message: fmt.Sprintf("The redirect URI '%s' specified in the request does not match the redirect URIs configured for the application '%s'.", q.Get("redirect_uri"), q.Get("client_id"))}
	case q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || q.Get("response_mode") != "" && q.Get("response_mode") != "query":
		return nil, &refusal{code: 90014, message: "This model knows only response_type=code with response_mode=query and code_challenge_method=S256."}
	case !slices.Contains(strings.Fields(q.Get("scope")), "openid"):
		return nil, &refusal{code: 70011, message: "The provided value for the input parameter 'scope' is not valid: it lacks openid."}
	}
	return redirect, nil
}

// contextsAsked reads the authentication contexts of a claims request, such as {"id_token":{"acrs":{"essential":true,"value":"c1"}}}
// (page "Developers' guide to Conditional Access authentication context").
func contextsAsked(text string) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	type member struct {
		Value  string   `json:"value"`
		Values []string `json:"values"`
	}
	var asked map[string]map[string]*member
	if err := json.Unmarshal([]byte(text), &asked); err != nil {
		return nil, err
	}
	var contexts []string
	for _, token := range asked {
		if m := token["acrs"]; m != nil {
			contexts = append(contexts, m.Values...)
			if m.Value != "" {
				contexts = append(contexts, m.Value)
			}
		}
	}
	slices.Sort(contexts)
	return slices.Compact(contexts), nil
}

// redeem is the authorization code grant of the token endpoint. A code is good once.
func (c *Cloud) redeem(w http.ResponseWriter, r *http.Request) {
	form, app := r.PostForm, c.SignIn()
	for _, name := range []string{"client_id", "code", "redirect_uri", "code_verifier"} {
		if form.Get(name) == "" {
			c.refuse(w, r, missingParameter(name))
			return
		}
	}
	if !strings.EqualFold(form.Get("client_id"), app.ClientID) || subtle.ConstantTimeCompare([]byte(form.Get("client_secret")), []byte(app.Secret)) != 1 {
		c.refuse(w, r, refusal{http.StatusUnauthorized, "invalid_client", 7000215, "Invalid client secret provided."})
		return
	}
	grant, ok := c.codes.take(form.Get("code"))
	now := c.now()
	sum := sha256.Sum256([]byte(form.Get("code_verifier")))
	switch {
	case !ok || !now.Before(grant.expires):
		c.refuse(w, r, refusal{http.StatusBadRequest, "invalid_grant", 54005, "OAuth2 Authorization code was already redeemed, or has expired; please retry with a new valid code."})
		return
	case form.Get("redirect_uri") != grant.redirect:
		c.refuse(w, r, refusal{http.StatusBadRequest, "invalid_grant", 500112, "The reply address does not match the one of the request for the code."})
		return
	case subtle.ConstantTimeCompare([]byte(raw64.EncodeToString(sum[:])), []byte(grant.challenge)) != 1:
		c.refuse(w, r, refusal{http.StatusBadRequest, "invalid_grant", 501481, "The Code_Verifier does not match the code_challenge supplied in the authorization request."})
		return
	}
	life := c.timing.TokenLifetime
	idClaims := claimsOf(grant.account, origin(r), app.ClientID, now, life)
	idClaims.Nonce, idClaims.Contexts = grant.nonce, grant.contexts
	idToken, err := c.keys.signPerson(idClaims)
	said := map[string]any{"token_type": "Bearer", "expires_in": int(life / time.Second), "scope": grant.scope, "id_token": idToken}
	if err == nil && slices.Contains(strings.Fields(grant.scope), "api://"+app.ClientID+"/"+SignInScope) {
		access := claimsOf(grant.account, origin(r), app.ClientID, now, life)
		access.Azp, access.AzpProof, access.Scopes, access.Contexts = app.ClientID, "1", SignInScope, grant.contexts
		said["access_token"], err = c.keys.signPerson(access)
	}
	if err != nil {
		c.log.ErrorContext(r.Context(), "token not issued", "err", err)
		http.Error(w, "the simulated cloud could not sign", http.StatusInternalServerError)
		return
	}
	c.log.InfoContext(r.Context(), "person signed in", "tenant", grant.account.TenantID, "object", grant.account.ObjectID)
	writeJSON(w, http.StatusOK, said)
}
