package graphsim

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// SignInRoles are the app roles of the registration for signing in, as the sample people hold them in their own tenant. Everybody
// else holds none.
var SignInRoles = map[string][]string{
	"adele": {"Administrator", "HelpDesk"},
	"carla": {"Approver", "Auditor"},
	"hana":  {"HelpDesk"},
}

// An Account is somebody who can sign in to a tenant.
type Account struct {
	TenantID string
	ObjectID string
	Name     string
	UPN      string
	Home     string // the guest's own tenant, "" for a member
	Roles    []string
}

// Key names the Account in a form.
func (a Account) Key() string { return a.TenantID + "/" + a.ObjectID }

// accountsOf lists who can sign in to a tenant: its users, and in Contoso a guest from Fabrikam.
func (c *Cloud) accountsOf(t *tenant) []Account {
	c.lock(t)
	defer t.mu.Unlock()
	var all []Account
	for _, u := range t.users {
		local, _, _ := strings.Cut(u.upn, "@")
		all = append(all, Account{TenantID: t.id, ObjectID: u.id, Name: u.name, UPN: u.upn, Roles: SignInRoles[local]})
	}
	if t.id == Contoso {
		const guest = "hana@fabrikam.example"
		all = append(all, Account{
			TenantID: t.id, ObjectID: guid(t.domain + " guest " + guest), Name: "Hana Help (Fabrikam)", UPN: guest, Home: Fabrikam, Roles: []string{"HelpDesk"},
		})
	}
	return all
}

// Accounts lists everybody who can sign in to the sample tenants.
func (c *Cloud) Accounts() []Account {
	var all []Account
	for _, s := range seeds() {
		if t, err := c.lookup(s.id); err == nil { // sample data are always there
			all = append(all, c.accountsOf(t)...)
		}
	}
	return all
}

// findAccount returns the Account with the key, "tenant/object".
func (c *Cloud) findAccount(key string) (Account, error) {
	tenantID, _, _ := strings.Cut(key, "/")
	t, err := c.lookup(tenantID)
	if err != nil {
		return Account{}, err
	}
	for _, a := range c.accountsOf(t) {
		if a.Key() == key {
			return a, nil
		}
	}
	return Account{}, fmt.Errorf("account %q: %w", key, ErrUnknown)
}

// personClaims are those of an ID token or of a person's access token, as the pages "ID token claims reference" and "Access token
// claims reference" name them.
type personClaims struct {
	Audience  string   `json:"aud"`
	Issuer    string   `json:"iss"`
	Provider  string   `json:"idp,omitempty"` // of a guest
	IssuedAt  int64    `json:"iat"`
	NotBefore int64    `json:"nbf"`
	Expires   int64    `json:"exp"`
	Azp       string   `json:"azp,omitempty"` // access tokens
	AzpProof  string   `json:"azpacr,omitempty"`
	Scopes    string   `json:"scp,omitempty"`
	Name      string   `json:"name"`
	Nonce     string   `json:"nonce,omitempty"` // ID tokens
	ObjectID  string   `json:"oid"`
	UPN       string   `json:"preferred_username"`
	Roles     []string `json:"roles,omitempty"`
	Subject   string   `json:"sub"`
	TenantID  string   `json:"tid"`
	ID        string   `json:"uti"`
	Version   string   `json:"ver"`
	Contexts  []string `json:"acrs,omitempty"`
}

// claimsOf are what both of a person's tokens say. base is the address of the sign-in service.
func claimsOf(a Account, base, client string, now time.Time, life time.Duration) personClaims {
	sum := sha256.Sum256([]byte(client + " " + a.ObjectID)) // pairwise: another one for each app
	said := personClaims{
		Audience: client, Issuer: base + "/" + a.TenantID + "/v2.0",
		IssuedAt: now.Unix(), NotBefore: now.Unix(), Expires: now.Add(life).Unix(),
		Name: a.Name, ObjectID: a.ObjectID, UPN: a.UPN, Roles: a.Roles,
		Subject: raw64.EncodeToString(sum[:]), TenantID: a.TenantID, ID: newID(), Version: "2.0",
	}
	if a.Home != "" {
		said.Provider = base + "/" + a.Home + "/v2.0"
	}
	return said
}

// signPerson returns the claims as an RS256 JWT: what a client verifies is signed as Entra signs it.
func (k *keys) signPerson(c personClaims) (string, error) {
	key, err := k.person()
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	header, err := json.Marshal(map[string]string{"alg": "RS256", "typ": "JWT", "kid": personKeyID(key)})
	if err != nil {
		return "", err
	}
	text := raw64.EncodeToString(header) + "." + raw64.EncodeToString(payload)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return text + "." + raw64.EncodeToString(signature), nil
}

func personKeyID(key *rsa.PrivateKey) string {
	sum := sha256.Sum256(key.N.Bytes())
	return raw64.EncodeToString(sum[:12])
}

// personJWK is the public half of the key that signs people's tokens, with the issuer that it is for: Entra's keys have one each.
func personJWK(key *rsa.PrivateKey, issuer string) map[string]any {
	exponent := binary.BigEndian.AppendUint32(nil, uint32(key.E)) //nolint:gosec // 65537
	return map[string]any{
		"kty": "RSA", "use": "sig", "kid": personKeyID(key), "issuer": issuer,
		"n": raw64.EncodeToString(key.N.Bytes()), "e": raw64.EncodeToString(exponent[1:]),
	}
}
