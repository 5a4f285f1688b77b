package graph

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// secretCredential signs an app in to one tenant with a client secret: the one request of Microsoft's page "OAuth 2.0 client credentials
// flow on the Microsoft identity platform". azidentity's own credential asks the authority where its token endpoint is, once for each
// tenant, and keeps a cache for each; to a program that signs in to ten thousand tenants that is half of its sign-in time, for an address
// whose form is published. Its errors are azidentity's.
type secretCredential struct {
	endpoint  string // of tokens, of the tenant
	form      url.Values
	transport policy.Transporter

	mu   sync.Mutex
	last azcore.AccessToken // what was got before it is needed is there when it is: see Client.PrepareReset
}

// early is how long before its end a token is no longer used. azcore's policy asks for another as early.
const early = 5 * time.Minute

// GetToken returns the token that is there, or asks for one. A refusal is an *azidentity.AuthenticationFailedError with the response, and
// an answer that is none of Entra's one without; anything else means that there was no answer.
func (c *secretCredential) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	c.mu.Lock()
	last := c.last
	c.mu.Unlock()
	// Ends of tokens are by the machine's clock, which azcore asks too, and not by the client's.
	now := time.Now()
	if o.Claims == "" && now.Before(last.ExpiresOn.Add(-early)) && (last.RefreshOn.IsZero() || now.Before(last.RefreshOn)) {
		return last, nil
	}
	t, err := c.ask(ctx, o)
	if err == nil {
		c.mu.Lock()
		c.last = t
		c.mu.Unlock()
	}
	return t, err
}

func (c *secretCredential) ask(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	form := url.Values{"scope": {strings.Join(o.Scopes, " ")}}
	for name, values := range c.form {
		form[name] = values
	}
	if claims, err := claimsFor(o); err != nil {
		return azcore.AccessToken{}, err
	} else if claims != "" {
		form.Set("claims", claims)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return azcore.AccessToken{}, errors.New("make request for a token") // the cause would quote the address
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	r.Header.Set("client-request-id", randomUUID())
	asked := time.Now()
	resp, err := c.transport.Do(r)
	if err != nil {
		return azcore.AccessToken{}, err
	}
	defer resp.Body.Close()
	var said struct {
		Token     string `json:"access_token"`
		ExpiresIn int64  `json:"expires_in"` // seconds, as the other one
		RefreshIn int64  `json:"refresh_in"`
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return azcore.AccessToken{}, err
	}
	if resp.StatusCode != http.StatusOK || json.Unmarshal(body, &said) != nil || said.Token == "" || said.ExpiresIn <= 0 {
		if resp.StatusCode == http.StatusOK {
			return azcore.AccessToken{}, &azidentity.AuthenticationFailedError{} // a proxy's page; or there may be a token in it
		}
		resp.Body = io.NopCloser(bytes.NewReader(body))
		return azcore.AccessToken{}, &azidentity.AuthenticationFailedError{RawResponse: resp}
	}
	t := azcore.AccessToken{Token: said.Token, ExpiresOn: asked.Add(time.Duration(said.ExpiresIn) * time.Second).UTC()}
	if said.RefreshIn > 0 {
		t.RefreshOn = asked.Add(time.Duration(said.RefreshIn) * time.Second).UTC()
	}
	return t, nil
}

// claimsFor is the claims parameter: what a claims challenge asked for, and that this client understands such challenges (Microsoft's
// page "Claims challenges, claims requests, and client capabilities").
func claimsFor(o policy.TokenRequestOptions) (string, error) {
	if !o.EnableCAE {
		return o.Claims, nil
	}
	claims := map[string]map[string]any{}
	if o.Claims != "" {
		if err := json.Unmarshal([]byte(o.Claims), &claims); err != nil {
			return "", errors.New("claims challenge is not the JSON that was expected")
		}
	}
	if claims["access_token"] == nil {
		claims["access_token"] = map[string]any{}
	}
	claims["access_token"]["xms_cc"] = map[string]any{"values": []string{"CP1"}}
	text, err := json.Marshal(claims)
	return string(text), err
}
