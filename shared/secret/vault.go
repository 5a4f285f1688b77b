package secret

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"pinreset/shared/audit"
	"pinreset/shared/work"
)

// MaxLife is how long a passcode may be readable: Intune's portal shows it for seven days.
const MaxLife = 7 * 24 * time.Hour

var (
	// ErrGone: the secret has expired or was destroyed. It looks the same whether it ever existed.
	ErrGone = errors.New("secret is gone")
	// ErrBinding: the envelope does not belong to where it was found, or its receipt is for something else.
	ErrBinding = errors.New("secret does not belong here")
)

// Binding says whose secret it is. All of it is authenticated with the ciphertext.
type Binding struct {
	Tenant  string `json:"tenant"`
	Device  string `json:"device"`
	Request string `json:"request"`
}

// Envelope is a sealed secret. It is safe to store and useless without its key.
type Envelope struct {
	ID        string    `json:"id"`
	Binding   Binding   `json:"binding"`
	CreatedAt time.Time `json:"createdAt"`
	ExpiresAt time.Time `json:"expiresAt"`
	Nonce     []byte    `json:"nonce"`
	Sealed    []byte    `json:"sealed"`
}

// ring is the key ring: a store apart from the one that holds envelopes, left out of backups.
type ring interface {
	Get(context.Context, work.Key) (work.Row, error)
	List(context.Context, work.Query) (work.Page, error)
	Commit(context.Context, work.Batch) error
	Erase(context.Context, ...work.Key) error
}

// wrapper wraps data keys with a key-encryption key.
type wrapper interface {
	Wrap(ctx context.Context, key, bound []byte) (wrapped []byte, err error)
	Unwrap(ctx context.Context, wrapped, bound []byte) (key []byte, err error)
}

// Vault seals, opens and destroys.
type Vault struct {
	ring ring
	kek  wrapper
	now  func() time.Time
}

// NewVault returns a vault over the key ring, whose data keys kek wraps.
func NewVault(keys ring, kek wrapper, now func() time.Time) *Vault {
	return &Vault{ring: keys, kek: kek, now: now}
}

type ringRow struct {
	Wrapped   []byte    `json:"wrapped"`
	Request   string    `json:"request"` // where the envelope is, to tell a key that nothing refers to
	CreatedAt time.Time `json:"createdAt"`
	ExpiresAt time.Time `json:"expiresAt"`
}

const (
	keyPrefix  = "key|"
	nonceBytes = 12 // GCM's standard nonce
)

// Seal encrypts text under a fresh key and stores the wrapped key. The key is written before the envelope can be: a crash
// in between leaves a key that opens nothing, and never an envelope without its key. expires is cut to [MaxLife] from now.
func (v *Vault) Seal(ctx context.Context, id string, b Binding, text Text, expires time.Time) (Envelope, error) {
	now := v.now().UTC()
	if limit := now.Add(MaxLife); expires.After(limit) {
		expires = limit
	}
	env := Envelope{ID: id, Binding: b, CreatedAt: now, ExpiresAt: expires.UTC(), Nonce: make([]byte, nonceBytes)}
	key := newKey()
	defer clear(key)
	_, _ = rand.Read(env.Nonce)
	bound := env.bound()
	aead, err := newGCM(key)
	if err != nil {
		return Envelope{}, fmt.Errorf("seal %s: %w", id, err)
	}
	env.Sealed = aead.Seal(nil, env.Nonce, []byte(text.value()), bound)
	wrapped, err := v.kek.Wrap(ctx, key, bound)
	if err != nil {
		return Envelope{}, fmt.Errorf("wrap key of %s: %w", id, err)
	}
	row, err := json.Marshal(ringRow{Wrapped: wrapped, Request: b.Request, CreatedAt: now, ExpiresAt: env.ExpiresAt})
	if err != nil {
		return Envelope{}, fmt.Errorf("encode key of %s: %w", id, err)
	}
	err = v.ring.Commit(ctx, work.Batch{Partition: b.Tenant, Writes: []work.Write{{Row: keyPrefix + id, Value: row}}})
	if err != nil {
		return Envelope{}, fmt.Errorf("store key of %s: %w", id, err)
	}
	return env, nil
}

// Open returns the clear text. want is where the caller found the envelope; receipt must be for the envelope's id.
// A secret at or past its expiry is ErrGone, whether or not its key has been destroyed yet.
func (v *Vault) Open(ctx context.Context, env Envelope, want Binding, receipt audit.Receipt) (Text, error) {
	// An empty subject is the zero receipt, which nobody has committed. A nonce of another length would make GCM panic.
	if env.Binding != want || receipt.Subject() == "" || receipt.Subject() != env.ID || len(env.Nonce) != nonceBytes {
		return Text{}, ErrBinding
	}
	if !v.now().Before(env.ExpiresAt) {
		return Text{}, ErrGone
	}
	row, err := v.ring.Get(ctx, work.Key{Partition: env.Binding.Tenant, Row: keyPrefix + env.ID})
	if errors.Is(err, work.ErrNotFound) {
		return Text{}, ErrGone
	}
	if err != nil {
		return Text{}, fmt.Errorf("read key of %s: %w", env.ID, err)
	}
	var stored ringRow
	if err := json.Unmarshal(row.Value, &stored); err != nil {
		return Text{}, fmt.Errorf("decode key of %s: %w", env.ID, err)
	}
	bound := env.bound()
	key, err := v.kek.Unwrap(ctx, stored.Wrapped, bound)
	if err != nil {
		return Text{}, fmt.Errorf("unwrap key of %s: %w", env.ID, err)
	}
	defer clear(key)
	aead, err := newGCM(key)
	if err != nil {
		return Text{}, fmt.Errorf("open %s: %w", env.ID, err)
	}
	clearText, err := aead.Open(nil, env.Nonce, env.Sealed, bound)
	if err != nil {
		return Text{}, fmt.Errorf("open %s: %w", env.ID, ErrBinding)
	}
	if !v.now().Before(env.ExpiresAt) {
		return Text{}, ErrGone // reading the key took until then
	}
	return NewText(string(clearText)), nil
}

// Has reports whether the key of the tenant's secret is in the ring, so that its envelope can be opened until it expires.
func (v *Vault) Has(ctx context.Context, tenant, id string) (bool, error) {
	_, err := v.ring.Get(ctx, work.Key{Partition: tenant, Row: keyPrefix + id})
	if errors.Is(err, work.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for key of %s: %w", id, err)
	}
	return true, nil
}

// Destroy erases the secret's key, so that no copy of its envelope can be opened again. Destroying twice is no error.
func (v *Vault) Destroy(ctx context.Context, tenant, id string) error {
	if err := v.ring.Erase(ctx, work.Key{Partition: tenant, Row: keyPrefix + id}); err != nil {
		return fmt.Errorf("destroy key of %s: %w", id, err)
	}
	return nil
}

// bound is what the ciphertext is authenticated with: length-prefixed, so that no two bindings share an encoding.
func (e Envelope) bound() []byte {
	out := []byte("pinreset/secret/1")
	for _, part := range []string{e.Binding.Tenant, e.Binding.Device, e.Binding.Request, e.ID} {
		out = binary.BigEndian.AppendUint32(out, uint32(len(part)))
		out = append(out, part...)
	}
	out = binary.BigEndian.AppendUint64(out, uint64(e.CreatedAt.UnixNano()))
	return binary.BigEndian.AppendUint64(out, uint64(e.ExpiresAt.UnixNano()))
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
