package entra

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"pinreset/events"
	"pinreset/shared/identity"
)

const (
	// leeway is how far our clock may be from Microsoft's.
	leeway = time.Minute
	// maxToken bounds a token, in bytes. Roles make it long; Microsoft bounds those.
	maxToken = 16 << 10
	maxRoles = 200
	// consumers is the tenant of personal Microsoft accounts, in which nobody has devices to look after.
	consumers = "9188040d-6c67-4c5b-b112-36a304b66dad"
	version   = "2.0"
)

// claims are those of a token that are looked at. Of the rest nothing is used.
type claims struct {
	jwt.RegisteredClaims
	Version  string   `json:"ver"`
	TenantID string   `json:"tid"`
	ObjectID string   `json:"oid"`
	Nonce    string   `json:"nonce"`
	Azp      string   `json:"azp"`
	AppID    string   `json:"appid"` // tokens of version 1.0
	Scopes   string   `json:"scp"`
	Roles    []string `json:"roles"`
	Contexts []string `json:"acrs"`
	Kind     string   `json:"idtyp"`
	Provider string   `json:"idp"`
	Account  *int     `json:"acct"` // 0 a member, 1 a guest; an optional claim
	Name     string   `json:"name"`
	Actor    any      `json:"actort"`
	OnBehalf any      `json:"act"`
	AuthTime *int64   `json:"auth_time"` // an optional claim
}

// refuse says why a token is not believed; for the log.
func refuse(format string, args ...any) error {
	return fmt.Errorf("token: %s: %w", fmt.Sprintf(format, args...), identity.ErrUnauthenticated)
}

// verify checks what ID tokens and access tokens have in common, and returns the claims.
func (p *Provider) verify(ctx context.Context, text string) (claims, error) {
	var c claims
	if len(text) > maxToken {
		return c, refuse("too long")
	}
	var unread error // the keys could not be read
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithTimeFunc(p.now), jwt.WithLeeway(leeway), jwt.WithStrictDecoding(),
		jwt.WithExpirationRequired(), jwt.WithNotBeforeRequired(), jwt.WithIssuedAt())
	_, err := parser.ParseWithClaims(text, &c, func(t *jwt.Token) (any, error) {
		for name := range t.Header {
			// A header may not bring its own key along, or ask for what is not understood here.
			if slices.Contains([]string{"jwk", "jku", "x5u", "x5c", "crit", "b64"}, name) {
				return nil, fmt.Errorf("header has %s", name)
			}
		}
		if kind, ok := t.Header["typ"].(string); ok && !strings.EqualFold(kind, "JWT") {
			return nil, fmt.Errorf("type %q", kind)
		}
		id, ok := t.Header["kid"].(string)
		if !ok || id == "" {
			return nil, errors.New("no key id")
		}
		key, issuer, known, err := p.directory.key(ctx, id)
		if err != nil {
			unread = err
			return nil, err
		}
		if !known {
			return nil, fmt.Errorf("key %q is not known", id)
		}
		return key.public, c.from(key, issuer)
	})
	if unread != nil {
		return c, fmt.Errorf("read signing keys: %w", unread)
	}
	if err != nil {
		return c, refuse("%v", err)
	}
	return c, p.common(&c)
}

// from checks that the issuer is that of the token's tenant, and that the key may sign for it.
func (c *claims) from(key signingKey, template string) error {
	if !events.IsGUID(c.TenantID) {
		return errors.New("tenant is not a GUID")
	}
	if strings.EqualFold(c.TenantID, consumers) {
		return errors.New("a personal account")
	}
	in := func(template string) string { return strings.ReplaceAll(template, "{tenantid}", c.TenantID) }
	if c.Issuer == "" || c.Issuer != in(template) {
		return fmt.Errorf("issuer %q is not that of tenant %s", c.Issuer, c.TenantID)
	}
	if key.issuer == "" || c.Issuer != in(key.issuer) {
		return fmt.Errorf("the key is for %q", key.issuer)
	}
	return nil
}

// common checks the claims of a token with a good signature.
func (p *Provider) common(c *claims) error {
	audience := []string(c.Audience)
	switch {
	case len(audience) != 1 || audience[0] != p.clientID:
		return refuse("audience %q", audience)
	case c.Version != version:
		return refuse("version %q", c.Version)
	case !events.IsGUID(c.ObjectID):
		return refuse("object id is not a GUID")
	case c.Subject == "":
		return refuse("no subject")
	case c.IssuedAt == nil || c.ExpiresAt.Before(c.IssuedAt.Time):
		return refuse("no time of issue, or it ends before that")
	case c.Kind != "" && c.Kind != "user":
		return refuse("kind %q", c.Kind)
	case c.Actor != nil || c.OnBehalf != nil:
		return refuse("somebody acts for somebody else")
	case c.AppID != "":
		return refuse("version 1.0's claims in a token of version 2.0")
	case len(c.Roles) > maxRoles:
		return refuse("%d roles", len(c.Roles))
	}
	return nil
}

// person is who the claims are about.
func (c *claims) person() identity.Person {
	name := c.Name
	if events.CheckText("name", name, events.MaxActorName, true) != nil {
		name = "person " + strings.ToLower(c.ObjectID)
	}
	at := c.IssuedAt.Time
	if c.AuthTime != nil && time.Unix(*c.AuthTime, 0).Before(at) {
		at = time.Unix(*c.AuthTime, 0)
	}
	return identity.Person{
		Tenant: strings.ToLower(c.TenantID), Object: strings.ToLower(c.ObjectID), Name: name,
		Guest: c.Provider != "" && c.Provider != c.Issuer || c.Account != nil && *c.Account != 0,
		Roles: c.Roles, Contexts: c.Contexts, SignedInAt: at.UTC(), IssuedAt: c.IssuedAt.UTC(),
	}
}

// idToken checks an ID token that answers the attempt.
func (p *Provider) idToken(ctx context.Context, text, nonce string) (identity.Person, error) {
	c, err := p.verify(ctx, text)
	switch {
	case err != nil:
		return identity.Person{}, err
	case nonce == "" || c.Nonce != nonce:
		return identity.Person{}, refuse("nonce of another sign-in")
	case c.Scopes != "":
		return identity.Person{}, refuse("an access token in place of an ID token")
	case c.Azp != "" && c.Azp != p.clientID:
		return identity.Person{}, refuse("asked for by %q", c.Azp)
	}
	return c.person(), nil
}

// AccessToken returns the person for whom a program sent an access token.
func (p *Provider) AccessToken(ctx context.Context, text string) (identity.Person, error) {
	c, err := p.verify(ctx, text)
	switch {
	case err != nil:
		return identity.Person{}, err
	case c.Nonce != "":
		return identity.Person{}, refuse("an ID token in place of an access token")
	case !slices.Contains(strings.Fields(c.Scopes), Scope):
		// An application's own token has no scopes at all.
		return identity.Person{}, refuse("scope %q", c.Scopes)
	case !slices.Contains(p.clients, c.Azp):
		return identity.Person{}, refuse("client %q", c.Azp)
	}
	return c.person(), nil
}
