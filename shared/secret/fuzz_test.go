package secret_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/shared/audit"
	"pinreset/shared/secret"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

// keyRing is a ring whose one row is given.
type keyRing struct {
	row []byte
}

func (k *keyRing) Get(_ context.Context, key work.Key) (work.Row, error) {
	if k.row == nil {
		return work.Row{}, fmt.Errorf("read %s: %w", key.Row, work.ErrNotFound)
	}
	return work.Row{Key: key, Value: k.row}, nil
}

func (k *keyRing) List(context.Context, work.Query) (work.Page, error) { return work.Page{}, nil }

func (k *keyRing) Commit(_ context.Context, b work.Batch) error {
	k.row = b.Writes[0].Value
	return nil
}

func (k *keyRing) Erase(context.Context, ...work.Key) error {
	k.row = nil
	return nil
}

// FuzzEnvelope: an envelope that differs from what was sealed, or whose key does, opens nothing; whoever stored it may have
// chosen every field of it, where it is said to be found included. The text of the error has no secret in it.
func FuzzEnvelope(f *testing.F) {
	const text = "Canary-48151623"
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	kek, err := secret.OpenLocalKey(filepath.Join(f.TempDir(), "root-key"))
	if err != nil {
		f.Fatal(err)
	}
	ring := &keyRing{}
	where := secret.Binding{Tenant: "tenant", Device: "device", Request: "request"}
	env, err := secret.NewVault(ring, kek, clock).Seal(f.Context(), "secret-1", where, secret.NewText(text), now.Add(time.Hour))
	if err != nil {
		f.Fatal(err)
	}
	// Corpora outlive keys, so the parts that are random are put in by name.
	key := ring.row
	store, err := sqlitework.Open(f.TempDir(), sqlitework.Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = store.Close() })
	receipt, err := audit.Commit(f.Context(), work.NewUnit(store, "tenant", now, func() string { return "audit-1" }),
		audit.Entry{Actor: events.Pinreset(), Action: audit.PasscodeRevealed}, env.ID)
	if err != nil {
		f.Fatal(err)
	}
	whole, err := json.Marshal(env)
	if err != nil {
		f.Fatal(err)
	}
	var names map[string]any
	if err := json.Unmarshal(whole, &names); err != nil {
		f.Fatal(err)
	}
	real := strings.NewReplacer("$NONCE", names["nonce"].(string), "$SEALED", names["sealed"].(string))
	named := strings.NewReplacer(names["nonce"].(string), "$NONCE", names["sealed"].(string), "$SEALED").Replace(string(whole))
	f.Add([]byte(named), []byte("$KEY"), -1, byte(0))
	for _, change := range [][2]string{{"tenant", "tenanu"}, {`"secret-1"`, `""`}, {"$NONCE", ""}, {"$NONCE", "AAAA"}, {"$SEALED", ""}, {"$SEALED", "$NONCE"}, {"2026", "2027"}, {"08:", "09:"}, {`"nonce"`, `"NONCE"`}} {
		f.Add([]byte(strings.Replace(named, change[0], change[1], 1)), []byte("$KEY"), -1, byte(0))
	}
	for i := range 40 {
		f.Add([]byte(named), []byte("$KEY"), i*7, byte(1<<(i%8)))
	}
	f.Add([]byte(named), []byte(`{"wrapped":""}`), -1, byte(0))
	f.Add([]byte(named), []byte(`{"wrapped":"AAAA"}`), -1, byte(0))
	f.Add([]byte(`null`), []byte(`null`), -1, byte(0))

	f.Fuzz(func(t *testing.T, envelope, row []byte, at int, flip byte) {
		raw := []byte(real.Replace(string(envelope)))
		stored := bytes.ReplaceAll(row, []byte("$KEY"), key)
		if at >= 0 && len(raw)+len(stored) > 0 { // one byte of either
			if at %= len(raw) + len(stored); at < len(raw) {
				raw[at] ^= flip
			} else {
				stored[at-len(raw)] ^= flip
			}
		}
		var got secret.Envelope
		if json.Unmarshal(raw, &got) != nil {
			return
		}
		opened, err := secret.NewVault(&keyRing{row: stored}, kek, clock).Open(t.Context(), got, got.Binding, receipt)
		clear := opened.Expose()
		same := got.ID == env.ID && got.Binding == env.Binding && got.CreatedAt.Equal(env.CreatedAt) && got.ExpiresAt.Equal(env.ExpiresAt) &&
			bytes.Equal(got.Nonce, env.Nonce) && bytes.Equal(got.Sealed, env.Sealed)
		switch {
		case err == nil && !same:
			t.Fatalf("another envelope opened: %s", raw)
		case err == nil && clear != text:
			t.Fatalf("it opened as %q", clear)
		case err != nil && (clear != "" || strings.Contains(err.Error(), text)):
			t.Fatalf("%q with the error %v", clear, err)
		case err != nil && same && bytes.Equal(stored, key):
			t.Fatalf("it does not open: %v", err)
		}
		if _, err := secret.NewVault(&keyRing{row: stored}, kek, func() time.Time { return now.Add(time.Hour) }).Open(t.Context(), got, got.Binding, receipt); err == nil && same {
			t.Fatal("it opens after its expiry")
		}
		if _, err := secret.NewVault(&keyRing{row: stored}, kek, clock).Open(t.Context(), got, got.Binding, audit.Receipt{}); err == nil {
			t.Fatal("it opens without a receipt")
		}
	})
}
