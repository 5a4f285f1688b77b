package entra

import (
	"context"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"sync"
	"time"
)

const (
	// keyLife is how long the metadata and the keys are good for; Microsoft's page "Signing key rollover" says to look every 24 hours.
	keyLife = 24 * time.Hour
	// keyPause is how soon an unknown key id makes them be read again: whoever sends made-up ids must not make us call at will.
	keyPause = time.Minute
	// maxDocument bounds what is read of one document, in bytes.
	maxDocument = 1 << 20
	minKeyBits  = 2048
)

// metadata is what is used of the OpenID configuration.
type metadata struct {
	Issuer    string `json:"issuer"`
	Authorize string `json:"authorization_endpoint"`
	Token     string `json:"token_endpoint"`
	Keys      string `json:"jwks_uri"`
}

// signingKey is one of the keys that tokens are signed with.
type signingKey struct {
	public *rsa.PublicKey
	issuer string // of the tokens that it may sign, perhaps with {tenantid} in it; "" signs for nobody
}

// directory keeps what the provider publishes. It is safe for concurrent use.
type directory struct {
	config string // address of the OpenID configuration
	client *http.Client
	now    func() time.Time

	mu    sync.Mutex
	meta  metadata
	keys  map[string]signingKey
	at    time.Time // when both were read
	tried time.Time // when they were last asked for
	err   error     // of that
}

// metadata returns the endpoints and the issuer.
func (d *directory) metadata(ctx context.Context) (metadata, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.fresh(ctx, false)
	return d.meta, err
}

// key returns the key with the id, the issuer's template with it. An id that is not known is looked for again, at most once in
// [keyPause].
func (d *directory) key(ctx context.Context, id string) (key signingKey, issuer string, known bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.fresh(ctx, false); err != nil {
		return signingKey{}, "", false, err
	}
	if key, known = d.keys[id]; !known && d.now().Sub(d.tried) >= keyPause {
		if err := d.fresh(ctx, true); err != nil {
			return signingKey{}, "", false, err
		}
		key, known = d.keys[id]
	}
	return key, d.meta.Issuer, known, nil
}

// fresh reads the documents where they are old or again is set. The caller holds the lock, so that many who wait read once. When they
// can't be read, old ones stay good for a while: keys are published long before they are used.
func (d *directory) fresh(ctx context.Context, again bool) error {
	now := d.now()
	if !again && d.keys != nil && now.Sub(d.at) < keyLife {
		return nil
	}
	if d.err != nil && now.Sub(d.tried) < keyPause/6 {
		return d.err
	}
	d.tried = now
	var meta metadata
	if d.err = d.get(ctx, d.config, &meta); d.err != nil {
		return d.staleOr(now)
	}
	var set struct {
		Keys []jwk `json:"keys"`
	}
	if d.err = d.get(ctx, meta.Keys, &set); d.err != nil {
		return d.staleOr(now)
	}
	keys := map[string]signingKey{}
	for _, k := range set.Keys {
		if public, ok := k.rsa(); ok {
			keys[k.ID] = signingKey{public: public, issuer: k.Issuer}
		}
	}
	d.meta, d.keys, d.at = meta, keys, now
	return nil
}

// staleOr returns the error of the last reading, unless what was read before is recent enough.
func (d *directory) staleOr(now time.Time) error {
	if d.keys != nil && now.Sub(d.at) < 2*keyLife {
		return nil
	}
	return d.err
}

func (d *directory) get(ctx context.Context, address string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("read %s: %w", address, err)
	}
	answer, err := d.client.Do(r)
	if err != nil {
		return fmt.Errorf("read %s: %w", address, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("read %s: status %d", address, answer.StatusCode)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxDocument+1))
	if err == nil && len(text) > maxDocument {
		err = errors.New("too long")
	}
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", address, err)
	}
	return nil
}

// jwk is a key as it is published (RFC 7517), with the issuer that Microsoft adds.
type jwk struct {
	Type   string `json:"kty"`
	Use    string `json:"use"`
	ID     string `json:"kid"`
	Issuer string `json:"issuer"`
	N      string `json:"n"`
	E      string `json:"e"`
}

// rsa returns the key where it is one that can sign RS256.
func (k jwk) rsa() (*rsa.PublicKey, bool) {
	if k.Type != "RSA" || k.Use != "sig" || k.ID == "" {
		return nil, false
	}
	n, err := base64.RawURLEncoding.DecodeString(k.N)
	if err != nil {
		return nil, false
	}
	e, err := base64.RawURLEncoding.DecodeString(k.E)
	if err != nil || len(e) > 4 {
		return nil, false
	}
	public := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	return public, public.N.BitLen() >= minKeyBits && public.E >= 3
}
