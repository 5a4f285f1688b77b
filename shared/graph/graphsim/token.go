package graphsim

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
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
	x, y := k.coordinates()
	sum := sha256.Sum256(append(x, y...))
	return raw64.EncodeToString(sum[:12])
}

// coordinates are those of the public key's point, 32 bytes each.
func (k *keys) coordinates() (x, y []byte) {
	point, err := k.token.PublicKey.Bytes()
	if err != nil || len(point) != 65 {
		panic("graphsim: the key that signs tokens is not on P-256") // loadKeys has looked
	}
	return point[1:33:33], point[33:]
}

// sign returns the claims as an ES256 JWT. Entra signs with RS256: to a client an
// access token is opaque, and this is fifty times cheaper where ten thousand
// tenants sign in at once.
func (k *keys) sign(c claims) (string, error) {
	payload, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	text := k.header + "." + raw64.EncodeToString(payload)
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, k.token, sum[:])
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	token := text + "." + raw64.EncodeToString(signature)
	k.verified.add(sha256.Sum256([]byte(token)), c)
	return token, nil
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
	if err != nil || len(signature) != 64 {
		return c, errToken
	}
	whole := sha256.Sum256([]byte(token))
	if said, ok := k.verified.get(whole); ok {
		return said, nil
	}
	sum := sha256.Sum256([]byte(token[:i]))
	if !ecdsa.Verify(&k.token.PublicKey, sum[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
		return c, errToken
	}
	if err := decodeSegment(token, 1, &c); err != nil {
		return c, errToken
	}
	k.verified.add(whole, c)
	return c, nil
}

// maxVerified bounds the tokens that are remembered as good.
const maxVerified = 4_000

// A verdictCache remembers the claims of tokens with a good signature, by
// hashes: checking one costs more than all the rest of a call. Expiry and claims
// are looked at each time.
type verdictCache struct {
	mu   sync.RWMutex
	good map[[sha256.Size]byte]claims
}

func (v *verdictCache) get(sum [sha256.Size]byte) (claims, bool) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	c, ok := v.good[sum]
	return c, ok
}

func (v *verdictCache) add(sum [sha256.Size]byte, c claims) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.good == nil || len(v.good) >= maxVerified {
		v.good = make(map[[sha256.Size]byte]claims)
	}
	v.good[sum] = c
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
	x, y := k.coordinates()
	return map[string]any{"keys": []any{map[string]any{
		"kty": "EC", "use": "sig", "alg": "ES256", "kid": k.keyID(), "crv": "P-256",
		"x": raw64.EncodeToString(x), "y": raw64.EncodeToString(y),
	}}}
}

// newSecret returns a client secret.
func newSecret() string {
	var b [24]byte
	rand.Read(b[:])
	return raw64.EncodeToString(b[:])
}
