package secret_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
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

const (
	contoso  = "0b7e2d4c-6a51-4f3e-9d28-5c1a7f90e364"
	fabrikam = "7c1d9e02-33b4-4a6f-8f15-0d2e6b8a4c97"
	device   = "5f0c3a91-27de-4b68-8e14-d3b96a7c0f52"
	canary   = "4711-canary-0815"
)

var (
	start = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	place = secret.Binding{Tenant: contoso, Device: device, Request: "req-1"}
)

// safe is a vault over a real key ring, beside a real store for receipts.
type safe struct {
	*secret.Vault
	t      *testing.T
	ring   *sqlitework.Store
	dir    string // of the ring
	rows   *sqlitework.Store
	kek    *spy
	now    time.Time
	serial int
}

// spy is a key-encryption key that notes what it wrapped.
type spy struct {
	*secret.LocalKey
	keys, wrapped [][]byte
}

func (s *spy) Wrap(ctx context.Context, key, bound []byte) ([]byte, error) {
	wrapped, err := s.LocalKey.Wrap(ctx, key, bound)
	s.keys, s.wrapped = append(s.keys, bytes.Clone(key)), append(s.wrapped, bytes.Clone(wrapped))
	return wrapped, err
}

func open(t *testing.T) *safe {
	t.Helper()
	s := &safe{t: t, now: start, dir: filepath.Join(t.TempDir(), "ring")}
	store := func(dir string) *sqlitework.Store {
		st, err := sqlitework.Open(dir, sqlitework.Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = st.Close() })
		return st
	}
	s.ring, s.rows = store(s.dir), store(filepath.Join(t.TempDir(), "rows"))
	s.kek = &spy{LocalKey: localKey(t)}
	s.Vault = secret.NewVault(s.ring, s.kek, func() time.Time { return s.now })
	return s
}

func localKey(t *testing.T) *secret.LocalKey {
	t.Helper()
	k, err := secret.OpenLocalKey(filepath.Join(t.TempDir(), "root-key"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func (s *safe) seal(id string, b secret.Binding, text string) secret.Envelope {
	s.t.Helper()
	env, err := s.Seal(s.t.Context(), id, b, secret.NewText(text), s.now.Add(24*time.Hour))
	if err != nil {
		s.t.Fatal(err)
	}
	return env
}

// receipt commits an audit entry for the subject.
func (s *safe) receipt(subject string) audit.Receipt {
	s.t.Helper()
	u := work.NewUnit(s.rows, contoso, s.now, func() string { s.serial++; return fmt.Sprintf("01%024d", s.serial) })
	r, err := audit.Commit(s.t.Context(), u, audit.Entry{Actor: events.Pinreset(), Action: audit.PasscodeRevealed}, subject)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *safe) wantRefused(what string, env secret.Envelope, want secret.Binding, r audit.Receipt, causes ...error) {
	s.t.Helper()
	text, err := s.Open(s.t.Context(), env, want, r)
	if err == nil || !text.Empty() {
		s.t.Errorf("%s: opened %q, %v", what, text.Expose(), err)
		return
	}
	for _, cause := range causes {
		if errors.Is(err, cause) {
			return
		}
	}
	s.t.Errorf("%s: %v, want %v", what, err, causes)
}

func TestSealAndOpen(t *testing.T) {
	t.Parallel()
	s := open(t)
	for i, text := range []string{canary, "", "ß∂\x00", strings.Repeat("9", 10_000)} {
		env := s.seal(fmt.Sprint("s-", i), place, text)
		raw, err := json.Marshal(env)
		if err != nil || text != "" && bytes.Contains(raw, []byte(text)) {
			t.Fatalf("envelope %s: %v", raw, err)
		}
		var stored secret.Envelope // as it comes out of a row
		if err := json.Unmarshal(raw, &stored); err != nil {
			t.Fatal(err)
		}
		for range 2 { // as often as the policy allows
			if got, err := s.Open(t.Context(), stored, place, s.receipt(stored.ID)); err != nil || got.Expose() != text {
				t.Errorf("opened %d bytes, want %d: %v", len(got.Expose()), len(text), err)
			}
		}
	}
	if a, b := s.seal("a", place, canary), s.seal("b", place, canary); bytes.Equal(a.Nonce, b.Nonce) || bytes.Equal(a.Sealed, b.Sealed) || bytes.Equal(s.kek.keys[0], s.kek.keys[1]) {
		t.Error("two secrets share a key or a nonce")
	}
	// Sealed again under its id, as after a crash: the new envelope opens and the old one does not.
	first, second := s.seal("again", place, "first"), s.seal("again", place, "second")
	if got, err := s.Open(t.Context(), second, place, s.receipt("again")); err != nil || got.Expose() != "second" {
		t.Errorf("opened %q: %v", got, err)
	}
	s.wantRefused("replaced envelope", first, place, s.receipt("again"), secret.ErrBinding)
}

// TestWrongPlace proves that an envelope opens only where it belongs, against a receipt of its own.
func TestWrongPlace(t *testing.T) {
	t.Parallel()
	s := open(t)
	env := s.seal("s-1", place, canary)
	own := s.receipt("s-1")
	for what, b := range map[string]secret.Binding{
		"tenant":  {Tenant: fabrikam, Device: device, Request: "req-1"},
		"device":  {Tenant: contoso, Device: fabrikam, Request: "req-1"},
		"request": {Tenant: contoso, Device: device, Request: "req-2"},
		"shifted": {Tenant: contoso, Device: device + "r", Request: "eq-1"},
		"none":    {},
	} {
		s.wantRefused("found at another "+what, env, b, own, secret.ErrBinding)
		moved := env // and its own words changed to suit
		moved.Binding = b
		s.wantRefused("moved to another "+what, moved, b, own, secret.ErrBinding, secret.ErrGone, work.ErrBadKey)
	}
	// The place of a tenant whose ring has a key of that id as well.
	other := place
	other.Tenant = fabrikam
	s.seal("s-1", other, "another code")
	moved := env
	moved.Binding = other
	s.wantRefused("moved onto another tenant's key", moved, other, own, secret.ErrBinding)

	s.wantRefused("receipt for another secret", env, place, s.receipt("s-2"), secret.ErrBinding)
	s.wantRefused("receipt for a part of the id", env, place, s.receipt("s-"), secret.ErrBinding)
	s.wantRefused("no receipt", env, place, audit.Receipt{}, secret.ErrBinding)
	nameless := s.seal("", place, canary)
	s.wantRefused("no receipt for a secret without a name", nameless, place, audit.Receipt{}, secret.ErrBinding)

	renamed := env
	renamed.ID = "s-9"
	s.wantRefused("renamed", renamed, place, s.receipt("s-9"), secret.ErrGone)
	s.seal("s-9", place, "another code")
	s.wantRefused("renamed to one that is there", renamed, place, s.receipt("s-9"), secret.ErrBinding)
}

// TestEveryBit flips each bit of each field of an envelope.
func TestEveryBit(t *testing.T) {
	t.Parallel()
	s := open(t)
	env := s.seal("s-1", place, canary)
	own := s.receipt("s-1")
	flips := 0
	try := func(what string, e secret.Envelope, r audit.Receipt, causes ...error) {
		t.Helper()
		flips++
		s.wantRefused(what, e, e.Binding, r, append(causes, secret.ErrBinding)...)
	}
	flip := func(in []byte, bit int) []byte {
		out := bytes.Clone(in)
		out[bit/8] ^= 1 << (bit % 8)
		return out
	}
	for name, field := range map[string]func(*secret.Envelope) *[]byte{
		"nonce":  func(e *secret.Envelope) *[]byte { return &e.Nonce },
		"sealed": func(e *secret.Envelope) *[]byte { return &e.Sealed },
	} {
		for bit := range 8 * len(*field(&env)) {
			e := env
			*field(&e) = flip(*field(&env), bit)
			try(fmt.Sprintf("bit %d of %s", bit, name), e, own)
		}
		whole := *field(&env)
		for what, value := range map[string][]byte{"no": nil, "short": whole[:len(whole)-1], "long": append(bytes.Clone(whole), 0)} {
			e := env
			*field(&e) = value
			try(what+" "+name, e, own)
		}
	}
	for name, field := range map[string]func(*secret.Envelope) *string{
		"tenant":  func(e *secret.Envelope) *string { return &e.Binding.Tenant },
		"device":  func(e *secret.Envelope) *string { return &e.Binding.Device },
		"request": func(e *secret.Envelope) *string { return &e.Binding.Request },
		"id":      func(e *secret.Envelope) *string { return &e.ID },
	} {
		for bit := range 8 * len(*field(&env)) {
			e, r := env, own
			*field(&e) = string(flip([]byte(*field(&env)), bit))
			if name == "id" {
				r = s.receipt(e.ID)
			}
			// The key's own place is named by tenant and id, so that a flip there finds none.
			try(fmt.Sprintf("bit %d of %s", bit, name), e, r, secret.ErrGone, work.ErrBadKey)
		}
	}
	for name, field := range map[string]func(*secret.Envelope) *time.Time{
		"created": func(e *secret.Envelope) *time.Time { return &e.CreatedAt },
		"expires": func(e *secret.Envelope) *time.Time { return &e.ExpiresAt },
	} {
		for bit := range 64 {
			e := env
			at := time.Unix(0, field(&env).UnixNano()^(1<<bit)).UTC()
			*field(&e) = at
			causes := []error{}
			if name == "expires" && !s.now.Before(at) {
				causes = append(causes, secret.ErrGone)
			}
			try(fmt.Sprintf("bit %d of %s", bit, name), e, own, causes...)
		}
	}
	if flips < 1000 {
		t.Errorf("only %d changes were tried", flips)
	}
	if got, err := s.Open(t.Context(), env, place, own); err != nil || got.Expose() != canary {
		t.Errorf("the envelope itself: %q, %v", got, err)
	}
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	s := open(t)
	env := s.seal("s-1", place, canary)
	r := s.receipt("s-1")
	if !env.ExpiresAt.Equal(start.Add(24*time.Hour)) || !env.CreatedAt.Equal(start) || env.ExpiresAt.Location() != time.UTC {
		t.Fatalf("sealed at %s until %s", env.CreatedAt, env.ExpiresAt)
	}
	s.now = env.ExpiresAt.Add(-time.Nanosecond)
	if got, err := s.Open(t.Context(), env, place, r); err != nil || got.Expose() != canary {
		t.Errorf("just before its expiry: %q, %v", got, err)
	}
	for _, after := range []time.Duration{0, time.Nanosecond, 365 * 24 * time.Hour} {
		s.now = env.ExpiresAt.Add(after)
		s.wantRefused(fmt.Sprintf("%s after its expiry", after), env, place, r, secret.ErrGone)
	}
	longer := env
	longer.ExpiresAt = env.ExpiresAt.Add(time.Hour)
	s.now = env.ExpiresAt
	s.wantRefused("with an expiry put off", longer, place, r, secret.ErrBinding)
}

func TestLongestLife(t *testing.T) {
	t.Parallel()
	if secret.MaxLife != 7*24*time.Hour {
		t.Errorf("a code can be read for %s; Intune's portal shows it for seven days", secret.MaxLife)
	}
	s := open(t)
	for asked, want := range map[time.Duration]time.Duration{
		time.Hour: time.Hour, secret.MaxLife - 1: secret.MaxLife - 1, secret.MaxLife: secret.MaxLife, secret.MaxLife + 1: secret.MaxLife,
		100 * 365 * 24 * time.Hour: secret.MaxLife,
	} {
		env, err := s.Seal(t.Context(), "s-1", place, secret.NewText(canary), start.Add(asked))
		if err != nil || env.ExpiresAt.Sub(start) != want {
			t.Errorf("asked for %s, got %s, want %s: %v", asked, env.ExpiresAt.Sub(start), want, err)
		}
	}
}

// TestKeyOfAnotherSecret proves that a key row put in another's place opens nothing there.
func TestKeyOfAnotherSecret(t *testing.T) {
	t.Parallel()
	s := open(t)
	a, b := s.seal("a", place, "code of a"), s.seal("b", place, "code of b")
	row, err := s.ring.Get(t.Context(), work.Key{Partition: contoso, Row: "key|a"})
	if err != nil {
		t.Fatal(err)
	}
	err = s.ring.Commit(t.Context(), work.Batch{Partition: contoso, Writes: []work.Write{{Row: "key|b", Value: row.Value}}})
	if err != nil {
		t.Fatal(err)
	}
	s.wantRefused("b under the key of a", b, place, s.receipt("b"), secret.ErrBinding)
	both := b // and with a's words in b's envelope
	both.Nonce, both.Sealed = a.Nonce, a.Sealed
	s.wantRefused("a in the envelope of b, under the key of a", both, place, s.receipt("b"), secret.ErrBinding)
	if got, err := s.Open(t.Context(), a, place, s.receipt("a")); err != nil || got.Expose() != "code of a" {
		t.Errorf("a: %q, %v", got, err)
	}
}

func TestAnotherRootKey(t *testing.T) {
	t.Parallel()
	s := open(t)
	env := s.seal("s-1", place, canary)
	other := secret.NewVault(s.ring, localKey(t), func() time.Time { return s.now })
	if got, err := other.Open(t.Context(), env, place, s.receipt("s-1")); !errors.Is(err, secret.ErrBinding) || !got.Empty() {
		t.Errorf("opened %q: %v", got, err)
	}
}

// TestDestroy proves that a destroyed secret is gone for good, that nothing else is, and that no byte of its key or of its
// clear text is left in a file of the key ring.
func TestDestroy(t *testing.T) {
	t.Parallel()
	s := open(t)
	const n, dead = 12, 8
	texts, envelopes := make([]string, n), make([]secret.Envelope, n)
	for i := range n {
		texts[i] = fmt.Sprintf("code-%08d-of-a-device", i*7919)
		envelopes[i] = s.seal(fmt.Sprint("s-", i), place, texts[i])
	}
	found := func(i int) (places []string) {
		for _, trace := range [][]byte{
			s.kek.keys[i], []byte(hex.EncodeToString(s.kek.keys[i])), []byte(base64.StdEncoding.EncodeToString(s.kek.keys[i])),
			s.kek.wrapped[i], []byte(base64.StdEncoding.EncodeToString(s.kek.wrapped[i])), []byte(texts[i]),
		} {
			places = append(places, search(t, s.dir, trace)...)
		}
		return places
	}
	for i := range n {
		if len(found(i)) == 0 {
			t.Fatalf("the wrapped key of secret %d is in no file while it is alive: the search is broken", i)
		}
		if places := search(t, s.dir, s.kek.keys[i], []byte(texts[i])); len(places) != 0 {
			t.Errorf("key or text of secret %d is in the clear in %v", i, places)
		}
	}
	for i := range dead {
		for range 2 { // twice is no error
			if err := s.Destroy(t.Context(), contoso, envelopes[i].ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range n {
		if i < dead {
			s.wantRefused("destroyed", envelopes[i], place, s.receipt(envelopes[i].ID), secret.ErrGone)
			if places := found(i); len(places) != 0 {
				t.Errorf("secret %d is destroyed and left traces in %v", i, places)
			}
			continue
		}
		if got, err := s.Open(t.Context(), envelopes[i], place, s.receipt(envelopes[i].ID)); err != nil || got.Expose() != texts[i] {
			t.Errorf("secret %d, which lives: %q, %v", i, got, err)
		}
		if len(found(i)) == 0 {
			t.Errorf("the wrapped key of secret %d is in no file: the search is broken", i)
		}
	}
	if err := s.Destroy(t.Context(), fabrikam, "never-there"); err != nil {
		t.Errorf("destroy what never was: %v", err)
	}
	never := envelopes[n-1]
	never.ID = "never-there"
	s.wantRefused("never there", never, place, s.receipt("never-there"), secret.ErrGone)
}

// search returns the files below dir that have one of the byte sequences.
func search(t *testing.T, dir string, traces ...[]byte) (found []string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files++
		for _, trace := range traces {
			if bytes.Contains(data, trace) {
				found = append(found, e.Name())
			}
		}
		return nil
	})
	if err != nil || files == 0 {
		t.Fatalf("%d files searched: %v", files, err)
	}
	return found
}

// TestBrokenRing proves that an error of the key ring is neither a secret that is gone nor one that opens.
func TestBrokenRing(t *testing.T) {
	t.Parallel()
	s := open(t)
	env, r := s.seal("s-1", place, canary), s.receipt("s-1")
	if err := s.ring.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Open(t.Context(), env, place, r); err == nil || errors.Is(err, secret.ErrGone) || !got.Empty() {
		t.Errorf("open: %q, %v", got, err)
	}
	if _, err := s.Seal(t.Context(), "s-2", place, secret.NewText(canary), start.Add(time.Hour)); err == nil || strings.Contains(err.Error(), canary) {
		t.Errorf("seal: %v", err)
	}
	if err := s.Destroy(t.Context(), contoso, "s-1"); err == nil {
		t.Error("a key was destroyed in a ring that is closed")
	}
}
