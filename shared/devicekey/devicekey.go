// Package devicekey keeps the keys with which devices sign what they report.
//
// A key belongs to one device of one tenant, for good: who signed a report is told by the key that it came under, never by
// what the report says. There is no key for a fleet. Two keys of a device may be valid side by side, so that one can be
// changed for another without a gap.
//
// Of an HMAC key pinreset needs the key itself to check a signature; it is stored sealed under the key-encryption key, bound
// to tenant, device and id, so that a row copied elsewhere opens nothing. Of an Ed25519 key only the public half is stored. The
// device's half is shown once, in the answer to the request that made it; who lost it revokes the key and makes another.
package devicekey

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/shared/audit"
	"pinreset/shared/webhook"
	"pinreset/shared/work"
)

const (
	// Prefix is the row prefix of keys. Their field "revokedAt" says since when one is of no use.
	Prefix       = "devicekey|"
	devicePrefix = "devicekeys|" // ids of a device's keys
	publicPrefix = "devicepub|"  // public keys of the keys that are kept, revoked ones too, so that no two devices share one

	// MaxValid is how many keys of a device may be valid at once.
	MaxValid = 2
	kept     = 20 // keys of a device that are listed
)

var (
	// ErrTooMany: the device has MaxValid valid keys; one must be revoked first.
	ErrTooMany = errors.New("device has as many valid keys as it may have")
	// ErrShared: the public key was given before. A key is of one device, and a revoked one does not come back while it is kept.
	ErrShared = errors.New("public key was given before")
	// ErrUnknown: there is no valid key at the address.
	ErrUnknown = errors.New("no valid key at this address")
)

// Key is a key as it is shown: all but the key itself.
type Key struct {
	ID        string         `json:"id"`
	DeviceID  string         `json:"deviceId"` // Intune's id, in lower case
	Scheme    webhook.Scheme `json:"scheme"`
	PublicKey string         `json:"publicKey,omitempty"` // of an Ed25519 key
	CreatedAt time.Time      `json:"createdAt"`
	CreatedBy events.Actor   `json:"createdBy"`
	RevokedAt time.Time      `json:"revokedAt,omitzero"`
	RevokedBy string         `json:"revokedBy,omitempty"` // id of the actor
}

// Valid reports whether what the key signs is believed.
func (k Key) Valid() bool { return k.RevokedAt.IsZero() }

// Address is the last part of the path that the key's device reports to. It names the tenant, in whose partition the key is.
func (k Key) Address(tenant string) string { return strings.ReplaceAll(tenant, "-", "") + "." + k.ID }

// ParseAddress takes an address apart; ok is false for a text that is none.
func ParseAddress(address string) (tenant, id string, ok bool) {
	packed, id, ok := strings.Cut(address, ".")
	if !ok || len(packed) != 32 || packed != strings.ToLower(packed) || id == "" || len(id) > 64 {
		return "", "", false
	}
	tenant = strings.Join([]string{packed[:8], packed[8:12], packed[12:16], packed[16:20], packed[20:]}, "-")
	return tenant, id, events.IsGUID(tenant)
}

type keyRow struct {
	Key
	Sealed []byte `json:"sealed,omitempty"` // an HMAC key under the key-encryption key
}

type deviceRow struct {
	Keys []string `json:"keys"` // ids, newest first
}

type publicRow struct {
	Key string `json:"key"`
}

// wrapper seals keys.
type wrapper interface {
	Wrap(ctx context.Context, key, bound []byte) (wrapped []byte, err error)
	Unwrap(ctx context.Context, wrapped, bound []byte) (key []byte, err error)
}

// Keys makes, opens and revokes keys. It is safe for concurrent use.
type Keys struct{ kek wrapper }

// New returns keys that are sealed under kek.
func New(kek wrapper) *Keys { return &Keys{kek} }

// Request asks for a key of a device.
type Request struct {
	Device string // Intune's id
	Scheme webhook.Scheme
	Public string // the public half where the device made its own Ed25519 pair; else a pair is made
	Reason string // why, for the audit log
	By     events.Actor
}

// Add stages a key on a unit of the tenant, with its audit entry, and returns it with what the device is to sign with, which
// is stored nowhere; that is "" where the device has it already. A wrong public key is webhook.ErrKey.
func (k *Keys) Add(ctx context.Context, u *work.Unit, want Request) (key Key, clear string, err error) {
	device := strings.ToLower(want.Device)
	index, err := readIndex(ctx, u, device)
	if err != nil {
		return Key{}, "", err
	}
	var valid, revoked []string
	for _, id := range index.Keys {
		switch earlier, err := read(ctx, u, id); {
		case errors.Is(err, work.ErrNotFound): // of long ago
		case err != nil:
			return Key{}, "", err
		case earlier.Valid():
			valid = append(valid, id)
		default:
			revoked = append(revoked, id)
		}
	}
	if len(valid) >= MaxValid {
		return Key{}, "", fmt.Errorf("device %s has %d: %w", device, len(valid), ErrTooMany)
	}
	row := keyRow{Key: Key{ID: u.NewID(), DeviceID: device, Scheme: want.Scheme, CreatedAt: u.Now(), CreatedBy: want.By}}
	switch {
	case want.Scheme == webhook.HMAC && want.Public == "":
		signer := webhook.NewShared()
		clear = signer.Clear()
		if row.Sealed, err = k.kek.Wrap(ctx, []byte(clear), bound(u.Partition(), row.Key)); err != nil {
			return Key{}, "", fmt.Errorf("seal key %s: %w", row.ID, err)
		}
	case want.Scheme == webhook.Ed25519 && want.Public == "":
		signer := webhook.NewPair()
		clear, row.PublicKey = signer.Clear(), signer.Checker().Clear()
	case want.Scheme == webhook.Ed25519:
		checker, err := webhook.ParseChecker(want.Public)
		if err != nil || checker.Scheme() != webhook.Ed25519 {
			return Key{}, "", fmt.Errorf("public key: %w", webhook.ErrKey)
		}
		row.PublicKey = checker.Clear()
	default:
		return Key{}, "", fmt.Errorf("scheme %q with a public key %t: %w", want.Scheme, want.Public != "", webhook.ErrKey)
	}
	if row.PublicKey != "" {
		if err := claim(ctx, u, row.PublicKey, row.ID); err != nil {
			return Key{}, "", err
		}
	}
	// Only revoked keys leave the list, however old a valid one is: one that is not listed is not counted and cannot be found to be
	// revoked. Ids are in the order in which keys were made.
	valid = append(valid, row.ID)
	index.Keys = append(valid, revoked[:min(len(revoked), kept-len(valid))]...)
	slices.Sort(index.Keys)
	slices.Reverse(index.Keys)
	return row.Key, clear, errors.Join(
		u.Create(Prefix+row.ID, row),
		u.Put(devicePrefix+device, index),
		audit.Append(u, audit.Entry{Actor: want.By, Action: audit.DeviceKeyAdded, DeviceID: device, RequestID: row.ID, Reason: want.Reason,
			Change: map[string]string{"scheme": string(row.Scheme)}}))
}

// claim notes that a public key is taken.
func claim(ctx context.Context, u *work.Unit, public, id string) error {
	row := claimRow(public)
	var earlier publicRow
	switch err := u.Get(ctx, row, &earlier); {
	case err == nil:
		return fmt.Errorf("public key of %s: %w", earlier.Key, ErrShared)
	case !errors.Is(err, work.ErrNotFound):
		return err
	}
	return u.Put(row, publicRow{Key: id})
}

func claimRow(public string) string {
	sum := sha256.Sum256([]byte(public))
	return publicPrefix + base64.RawURLEncoding.EncodeToString(sum[:])
}

// Forget stages the removal of a key that was revoked before the time, and of all that names it: three rows at most. A later key of
// the device stays, and so does one that is valid; one that is not there is no error.
func Forget(ctx context.Context, u *work.Unit, id string, before time.Time) error {
	row, err := read(ctx, u, id)
	if errors.Is(err, work.ErrNotFound) || err == nil && (row.Valid() || row.RevokedAt.After(before)) {
		return nil
	}
	if err != nil {
		return err
	}
	u.Delete(Prefix + id)
	if row.PublicKey != "" {
		var claimed publicRow
		switch err := u.Get(ctx, claimRow(row.PublicKey), &claimed); {
		case err == nil && claimed.Key == id:
			u.Delete(claimRow(row.PublicKey))
		case err != nil && !errors.Is(err, work.ErrNotFound):
			return err
		}
	}
	index, err := readIndex(ctx, u, row.DeviceID)
	if err != nil || !slices.Contains(index.Keys, id) {
		return err
	}
	if index.Keys = slices.DeleteFunc(index.Keys, func(k string) bool { return k == id }); len(index.Keys) == 0 {
		u.Delete(devicePrefix + row.DeviceID)
		return nil
	}
	return u.Put(devicePrefix+row.DeviceID, index)
}

// Revoke stages the end of a device's key: what arrives after the commit is not believed. A key that is revoked already stays
// as it is; one that is not there, or is another device's, is work.ErrNotFound.
func Revoke(ctx context.Context, u *work.Unit, device, id, reason string, by events.Actor) (Key, error) {
	row, err := read(ctx, u, id)
	if err != nil {
		return Key{}, err
	}
	if row.DeviceID != strings.ToLower(device) {
		return Key{}, fmt.Errorf("key %s is of another device: %w", id, work.ErrNotFound)
	}
	if !row.Valid() {
		return row.Key, nil
	}
	row.RevokedAt, row.RevokedBy, row.Sealed = u.Now(), by.ID, nil
	return row.Key, errors.Join(
		u.Put(Prefix+id, row),
		audit.Append(u, audit.Entry{Actor: by, Action: audit.DeviceKeyRevoked, DeviceID: row.DeviceID, RequestID: id, Reason: reason}))
}

// List returns the keys of a device of the unit's tenant, newest first.
func List(ctx context.Context, u *work.Unit, device string) ([]Key, error) {
	index, err := readIndex(ctx, u, strings.ToLower(device))
	if err != nil {
		return nil, err
	}
	var keys []Key
	for _, id := range index.Keys {
		row, err := read(ctx, u, id)
		if errors.Is(err, work.ErrNotFound) {
			continue // of long ago
		}
		if err != nil {
			return nil, err
		}
		keys = append(keys, row.Key)
	}
	return keys, nil
}

// ListAll returns a page of the valid keys of all devices of a tenant.
func ListAll(ctx context.Context, s work.Store, tenant, page string) (keys []Key, next string, err error) {
	p, err := s.List(ctx, work.Query{Partition: tenant, Prefix: Prefix, Page: page})
	if err != nil {
		return nil, "", fmt.Errorf("list device keys of %s: %w", tenant, err)
	}
	for _, r := range p.Rows {
		var row keyRow
		if err := json.Unmarshal(r.Value, &row); err != nil {
			return nil, "", fmt.Errorf("decode %s: %w", r.Row, err)
		}
		if row.Valid() {
			keys = append(keys, row.Key)
		}
	}
	return keys, p.Next, nil
}

// Open returns the key with the id and what checks its signatures. A key that is not there or was revoked is ErrUnknown. A
// report that is under way while its key is revoked may still be taken.
func (k *Keys) Open(ctx context.Context, u *work.Unit, id string) (Key, webhook.Checker, error) {
	row, err := read(ctx, u, id)
	if errors.Is(err, work.ErrNotFound) {
		return Key{}, webhook.Checker{}, fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	if err != nil {
		return Key{}, webhook.Checker{}, err
	}
	if !row.Valid() {
		return row.Key, webhook.Checker{}, fmt.Errorf("key %s was revoked: %w", id, ErrUnknown)
	}
	text := row.PublicKey
	if row.Scheme == webhook.HMAC {
		clear, err := k.kek.Unwrap(ctx, row.Sealed, bound(u.Partition(), row.Key))
		if err != nil {
			return row.Key, webhook.Checker{}, fmt.Errorf("open key %s: %w", id, err)
		}
		text = string(clear)
	}
	checker, err := webhook.ParseChecker(text)
	if err != nil || checker.Scheme() != row.Scheme {
		return row.Key, webhook.Checker{}, fmt.Errorf("open key %s: %w", id, webhook.ErrKey)
	}
	return row.Key, checker, nil
}

func read(ctx context.Context, u *work.Unit, id string) (keyRow, error) {
	var row keyRow
	err := u.Get(ctx, Prefix+id, &row)
	if errors.Is(err, work.ErrBadKey) {
		err = work.ErrNotFound
	}
	if err != nil {
		return keyRow{}, fmt.Errorf("read device key: %w", err)
	}
	return row, nil
}

func readIndex(ctx context.Context, u *work.Unit, device string) (deviceRow, error) {
	var index deviceRow
	err := u.Get(ctx, devicePrefix+device, &index)
	if errors.Is(err, work.ErrNotFound) {
		return deviceRow{}, nil
	}
	if err != nil {
		return deviceRow{}, fmt.Errorf("read keys of device %s: %w", device, err)
	}
	return index, nil
}

// bound is what a sealed key is authenticated with.
func bound(tenant string, k Key) []byte {
	return []byte("pinreset/devicekey/1|" + tenant + "|" + k.DeviceID + "|" + k.ID)
}
