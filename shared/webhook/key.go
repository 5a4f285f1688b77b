package webhook

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// Scheme is how a signature is made.
type Scheme string

// Schemes.
const (
	HMAC    Scheme = "v1"
	Ed25519 Scheme = "v1a"
)

// Prefixes of keys in text form; standard base64 follows.
const (
	SharedPrefix  = "whsec_"
	PrivatePrefix = "whsk_"
	PublicPrefix  = "whpk_"
)

// Lengths of a shared key in bytes, by the specification.
const (
	minShared = 24
	maxShared = 64
	newShared = 32
)

// ErrKey: a text is not a key of the kind that is needed.
var ErrKey = errors.New("webhook key is not valid")

// Signer is a key that signs. Its text form is a secret: printing a Signer shows the scheme alone.
type Signer struct {
	scheme  Scheme
	sign    func(message []byte) []byte
	text    func() string
	checker Checker
}

// Checker is a key that checks. That of a shared key can sign as well, so it is a secret too.
type Checker struct {
	scheme Scheme
	check  func(message, signature []byte) bool
	text   func() string
}

// NewShared makes a shared key.
func NewShared() Signer {
	key := make([]byte, newShared)
	_, _ = rand.Read(key) // crypto/rand never fails: it ends the program instead
	return shared(key)
}

// NewPair makes a private key with its public half.
func NewPair() Signer {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		panic(err) // from crypto/rand, which never fails
	}
	return pair(private)
}

// ParseSigner reads a shared or a private key. A private key may be its seed of 32 bytes or the seed with the public key, 64.
func ParseSigner(text string) (Signer, error) {
	if key, ok := decode(text, SharedPrefix); ok && len(key) >= minShared && len(key) <= maxShared {
		return shared(key), nil
	}
	key, ok := decode(text, PrivatePrefix)
	switch {
	case ok && len(key) == ed25519.SeedSize:
		return pair(ed25519.NewKeyFromSeed(key)), nil
	case ok && len(key) == ed25519.PrivateKeySize:
		whole := ed25519.NewKeyFromSeed(key[:ed25519.SeedSize])
		if !whole.Equal(ed25519.PrivateKey(key)) {
			return Signer{}, fmt.Errorf("halves do not belong together: %w", ErrKey)
		}
		return pair(whole), nil
	}
	return Signer{}, ErrKey
}

// ParseChecker reads a shared or a public key.
func ParseChecker(text string) (Checker, error) {
	if key, ok := decode(text, SharedPrefix); ok && len(key) >= minShared && len(key) <= maxShared {
		return shared(key).checker, nil
	}
	if key, ok := decode(text, PublicPrefix); ok && len(key) == ed25519.PublicKeySize {
		return public(key), nil
	}
	return Checker{}, ErrKey
}

func decode(text, prefix string) ([]byte, bool) {
	rest, ok := strings.CutPrefix(text, prefix)
	if !ok || len(rest) > 200 {
		return nil, false
	}
	key, err := base64.StdEncoding.Strict().DecodeString(rest)
	return key, err == nil
}

func shared(key []byte) Signer {
	sign := func(message []byte) []byte {
		h := hmac.New(sha256.New, key)
		h.Write(message)
		return h.Sum(nil)
	}
	text := func() string { return SharedPrefix + base64.StdEncoding.EncodeToString(key) }
	return Signer{scheme: HMAC, sign: sign, text: text, checker: Checker{
		scheme: HMAC, text: text,
		check: func(message, signature []byte) bool { return subtle.ConstantTimeCompare(sign(message), signature) == 1 },
	}}
}

func pair(key ed25519.PrivateKey) Signer {
	return Signer{
		scheme:  Ed25519,
		sign:    func(message []byte) []byte { return ed25519.Sign(key, message) },
		text:    func() string { return PrivatePrefix + base64.StdEncoding.EncodeToString(key) },
		checker: public([]byte(key.Public().(ed25519.PublicKey))),
	}
}

func public(key []byte) Checker {
	return Checker{
		scheme: Ed25519,
		check: func(message, signature []byte) bool {
			return len(signature) == ed25519.SignatureSize && ed25519.Verify(key, message, signature)
		},
		text: func() string { return PublicPrefix + base64.StdEncoding.EncodeToString(key) },
	}
}

// Scheme returns how the key signs.
func (s Signer) Scheme() Scheme { return s.scheme }

// Checker returns the key that checks what this one signs.
func (s Signer) Checker() Checker { return s.checker }

// Clear returns the key in text form, to be handed to whoever is to sign with it.
func (s Signer) Clear() string { return s.text() }

// String keeps the key out of logs.
func (s Signer) String() string { return "webhook key " + string(s.scheme) + " [redacted]" }

// GoString keeps the key out of logs.
func (s Signer) GoString() string { return s.String() }

// Scheme returns how the signatures are made that the key checks.
func (c Checker) Scheme() Scheme { return c.scheme }

// Clear returns the key in text form. That of [HMAC] is a secret.
func (c Checker) Clear() string { return c.text() }

// String keeps the key out of logs.
func (c Checker) String() string { return "webhook key " + string(c.scheme) + " [redacted]" }

// GoString keeps the key out of logs.
func (c Checker) GoString() string { return c.String() }
