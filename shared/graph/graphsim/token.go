package graphsim

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// claims are those of an app-only access token. Both the v1 and the v2 name of
// the client are present.
type claims struct {
	Audience string   `json:"aud"`
	Issuer   string   `json:"iss"`
	IssuedAt int64    `json:"iat"`
	NotValid int64    `json:"nbf"` // before
	Expires  int64    `json:"exp"`
	AppID    string   `json:"appid"`
	Azp      string   `json:"azp"`
	Type     string   `json:"idtyp"`
	ObjectID string   `json:"oid"`
	Subject  string   `json:"sub"`
	TenantID string   `json:"tid"`
	Roles    []string `json:"roles,omitempty"`
	ID       string   `json:"uti"`
	Version  string   `json:"ver"`
}

var raw64 = base64.RawURLEncoding

// keyID names the signing key by its public part.
func (k *keys) keyID() string {
	sum := sha256.Sum256(k.token.N.Bytes())
	return raw64.EncodeToString(sum[:12])
}

// sign returns the claims as an RS256 JWT.
func (k *keys) sign(c claims) (string, error) {
	header, err := json.Marshal(map[string]string{"alg": "RS256", "typ": "JWT", "kid": k.keyID()})
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	text := raw64.EncodeToString(header) + "." + raw64.EncodeToString(payload)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, k.token, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return text + "." + raw64.EncodeToString(signature), nil
}

var errToken = errors.New("not a token of this cloud")

// verify returns the claims of a token that sign made. The algorithm is ours to
// choose, so the header is not asked.
func (k *keys) verify(token string) (claims, error) {
	var c claims
	i := strings.LastIndexByte(token, '.')
	if i < 0 {
		return c, errToken
	}
	signature, err := raw64.DecodeString(token[i+1:])
	if err != nil {
		return c, errToken
	}
	sum := sha256.Sum256([]byte(token[:i]))
	if err := rsa.VerifyPKCS1v15(&k.token.PublicKey, crypto.SHA256, sum[:], signature); err != nil {
		return c, errToken
	}
	if err := decodeSegment(token, 1, &c); err != nil {
		return c, errToken
	}
	return c, nil
}

// decodeSegment decodes one part of a JWT without checking its signature.
func decodeSegment(token string, n int, into any) error {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return errToken
	}
	text, err := raw64.DecodeString(strings.TrimRight(parts[n], "="))
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// jwks is the public half of the signing key.
func (k *keys) jwks() map[string]any {
	return map[string]any{"keys": []any{map[string]any{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": k.keyID(),
		"n": raw64.EncodeToString(k.token.N.Bytes()),
		"e": raw64.EncodeToString(big.NewInt(int64(k.token.E)).Bytes()),
	}}}
}

// newSecret returns a client secret.
func newSecret() string {
	var b [24]byte
	rand.Read(b[:])
	return raw64.EncodeToString(b[:])
}
