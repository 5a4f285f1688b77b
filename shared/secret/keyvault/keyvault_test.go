package keyvault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"pinreset/shared/secret"
	"pinreset/shared/secret/keyvault"
	"pinreset/shared/secret/keyvault/keyvaulttest"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

func open(t *testing.T, s *keyvaulttest.Server) *keyvault.Key {
	t.Helper()
	k, err := keyvault.Open(s.Key("pinreset"), s.Credential(), s.Transport())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func wantStatus(t *testing.T, what string, err error, status int) {
	t.Helper()
	e, ok := errors.AsType[*azcore.ResponseError](err)
	if !ok || e.StatusCode != status {
		t.Errorf("%s: %v, want an answer of %d", what, err, status)
	}
}

func TestKeyVault(t *testing.T) {
	t.Parallel()
	s := keyvaulttest.NewServer(t)
	first := s.Rotate(t, "pinreset")
	k := open(t, s)
	key := bytes.Repeat([]byte{7}, 32)
	wrapped, version, err := k.Wrap(t.Context(), key)
	if err != nil || version != first || bytes.Contains(wrapped, key) {
		t.Fatalf("wrapped by %s, want %s: %v", version, first, err)
	}
	if n := s.Requests("challenge"); n != 1 {
		t.Errorf("%d requests without a token, want one", n)
	}
	back := func(wrapped []byte, version string) {
		t.Helper()
		if got, err := k.Unwrap(t.Context(), wrapped, version); err != nil || !bytes.Equal(got, key) {
			t.Errorf("unwrapped %x: %v", got, err)
		}
	}
	back(wrapped, version)

	second := s.Rotate(t, "pinreset")
	wrappedNext, next, err := k.Wrap(t.Context(), key)
	if err != nil || next != second {
		t.Errorf("after rotation wrapped by %s, want %s: %v", next, second, err)
	}
	if newest, err := k.Newest(t.Context()); err != nil || newest != second {
		t.Errorf("the newest is %s, want %s: %v", newest, second, err)
	}
	back(wrapped, version)
	back(wrappedNext, next)
	_, err = k.Unwrap(t.Context(), wrapped, second)
	wantStatus(t, "another version's", err, http.StatusBadRequest)
	_, err = k.Unwrap(t.Context(), wrapped, "0000")
	wantStatus(t, "no such version", err, http.StatusNotFound)

	s.Fail(http.StatusServiceUnavailable, http.StatusTooManyRequests) // tried again
	back(wrapped, version)
	s.Revoke() // a new token is asked for
	back(wrapped, version)
	if n := s.Requests("failed"); n != 2 {
		t.Errorf("%d failures met, want 2", n)
	}

	s.Disable("pinreset", first)
	_, err = k.Unwrap(t.Context(), wrapped, first)
	wantStatus(t, "a disabled version", err, http.StatusForbidden)
	back(wrappedNext, next)
	s.Disable("pinreset", second)
	_, _, err = k.Wrap(t.Context(), key)
	wantStatus(t, "a disabled key", err, http.StatusForbidden)

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := k.Wrap(ended, key); !errors.Is(err, context.Canceled) {
		t.Errorf("a wrap that nobody waits for: %v", err)
	}
}

func TestKeyAddress(t *testing.T) {
	t.Parallel()
	for address, good := range map[string]bool{
		"https://example.vault.azure.net/keys/pinreset":       true,
		"https://example.vault.azure.cn/keys/pinreset/":       true,
		"https://example.vault.azure.net/keys/pinreset/4f2a":  false,
		"https://example.vault.azure.net/secrets/pinreset":    false,
		"https://example.vault.azure.net":                     false,
		"http://example.vault.azure.net/keys/pinreset":        false,
		"https://u:p@example.vault.azure.net/keys/pinreset":   false,
		"https://example.vault.azure.net/keys/pinreset?x=1":   false,
		"https://example.vault.azure.net/keys/pinreset#x":     false,
		"example.vault.azure.net/keys/pinreset":               false,
		"https://example.vault.azure.net/keys/pinreset/4f/2a": false,
	} {
		if err := keyvault.Check(address); (err == nil) != good {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// chain is a chain of keys in a real ring under the model of Key Vault.
type chain struct {
	*secret.Chain
	server *keyvaulttest.Server
	ring   *secret.Ring
	now    time.Time
}

func newChain(t *testing.T) *chain {
	t.Helper()
	store, err := sqlitework.Open(filepath.Join(t.TempDir(), "ring"), sqlitework.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	c := &chain{server: keyvaulttest.NewServer(t), ring: secret.NewRing(store), now: time.Date(2026, 11, 22, 8, 20, 0, 0, time.UTC)}
	c.server.Rotate(t, "pinreset")
	c.Chain = c.again(t)
	return c
}

// again is the chain of another process.
func (c *chain) again(t *testing.T) *secret.Chain {
	return secret.NewChain(c.ring, open(t, c.server), func() time.Time { return c.now })
}

var bound = []byte("bound")

func (c *chain) wrap(t *testing.T) []byte {
	t.Helper()
	w, err := c.Wrap(t.Context(), []byte("a data key"), bound)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func wantOpen(t *testing.T, what string, c *secret.Chain, wrapped []byte) {
	t.Helper()
	if key, err := c.Unwrap(t.Context(), wrapped, bound); err != nil || string(key) != "a data key" {
		t.Errorf("%s: %q, %v", what, key, err)
	}
}

// TestChainAsksSeldom: one operation of Key Vault in an hour wraps, and one in ten minutes unwraps, however many codes there are.
func TestChainAsksSeldom(t *testing.T) {
	t.Parallel()
	c := newChain(t)
	wrapped := make([][]byte, 200)
	for i := range wrapped {
		wrapped[i] = c.wrap(t)
	}
	for _, w := range wrapped {
		wantOpen(t, "its own", c.Chain, w)
	}
	if w, u := c.server.Requests("wrapkey"), c.server.Requests("unwrapkey"); w != 1 || u != 0 {
		t.Errorf("%d wraps and %d unwraps, want one and none", w, u)
	}
	other := c.again(t)
	for _, w := range wrapped {
		wantOpen(t, "another process", other, w)
	}
	if u := c.server.Requests("unwrapkey"); u != 1 {
		t.Errorf("%d unwraps, want one", u)
	}
	c.now = c.now.Add(time.Hour)
	c.wrap(t)
	if w := c.server.Requests("wrapkey"); w != 2 {
		t.Errorf("%d wraps in two hours, want two", w)
	}
}

// TestChainForgets: once the key is disabled, no process opens anything for longer than ten minutes.
func TestChainForgets(t *testing.T) {
	t.Parallel()
	c := newChain(t)
	newest, err := open(t, c.server).Newest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w := c.wrap(t)
	c.server.Disable("pinreset", newest)
	c.now = c.now.Add(10*time.Minute - 1)
	wantOpen(t, "within ten minutes", c.Chain, w)
	c.now = c.now.Add(1)
	_, err = c.Unwrap(t.Context(), w, bound)
	wantStatus(t, "after ten minutes", err, http.StatusForbidden)
}

func TestChainRotation(t *testing.T) {
	t.Parallel()
	c := newChain(t)
	old, err := open(t, c.server).Newest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before := c.wrap(t)
	device, err := c.Standing().Wrap(t.Context(), []byte("a device's key"), bound)
	if err != nil {
		t.Fatal(err)
	}
	derived, err := c.Standing().Derive(t.Context(), "consent-state")
	if err != nil {
		t.Fatal(err)
	}
	if done, err := c.Tidy(t.Context()); err != nil || done != (secret.Tidied{}) {
		t.Errorf("nothing to do, and did %+v: %v", done, err)
	}

	c.server.Rotate(t, "pinreset")
	c.now = c.now.Add(time.Hour)
	after := c.wrap(t)
	if done, err := c.Tidy(t.Context()); err != nil || done != (secret.Tidied{Rewrapped: 2}) {
		t.Errorf("did %+v, want two keys wrapped again: %v", done, err)
	}
	if done, err := c.again(t).Tidy(t.Context()); err != nil || done != (secret.Tidied{}) {
		t.Errorf("another process did %+v: %v", done, err)
	}
	c.server.Disable("pinreset", old)
	fresh := c.again(t)
	wantOpen(t, "from before the rotation", fresh, before)
	wantOpen(t, "from after it", fresh, after)
	if key, err := fresh.Standing().Unwrap(t.Context(), device, bound); err != nil || string(key) != "a device's key" {
		t.Errorf("a device's key: %q, %v", key, err)
	}
	if again, err := fresh.Standing().Derive(t.Context(), "consent-state"); err != nil || !bytes.Equal(again, derived) {
		t.Errorf("derived another key: %v", err)
	}

	c.now = c.now.Add(secret.MaxLife)
	if done, err := c.Tidy(t.Context()); err != nil || done.Destroyed != 1 {
		t.Errorf("did %+v, want the key of the first hour destroyed: %v", done, err)
	}
	if _, err := fresh.Unwrap(t.Context(), before, bound); !errors.Is(err, secret.ErrGone) {
		t.Errorf("a key of a destroyed hour: %v", err)
	}
	if _, err := fresh.Standing().Unwrap(t.Context(), device, bound); err != nil {
		t.Errorf("the standing key is never destroyed: %v", err)
	}
}

// TestChainCutShort ends the making and the re-wrapping of keys at each commit, before it and after it. What was given out opens.
func TestChainCutShort(t *testing.T) {
	t.Parallel()
	for _, after := range []bool{false, true} {
		c := newChain(t)
		torn := &torn{Store: c.ring.Store, after: after}
		cut := secret.NewChain(secret.NewRing(torn), open(t, c.server), func() time.Time { return c.now })
		torn.commits = 1
		if _, err := cut.Wrap(t.Context(), []byte("a data key"), bound); !errors.Is(err, errTorn) {
			t.Errorf("after %v: wrapped with a key that may not be in the ring: %v", after, err)
		}
		w := c.wrap(t)
		wantOpen(t, "once it was made", cut, w)
		c.server.Rotate(t, "pinreset")
		torn.commits = 1
		if _, err := cut.Tidy(t.Context()); !errors.Is(err, errTorn) {
			t.Errorf("after %v: tidied over a ring that failed: %v", after, err)
		}
		wantOpen(t, "with its re-wrapping cut short", c.again(t), w)
		want := 1
		if after {
			want = 0
		}
		if done, err := c.again(t).Tidy(t.Context()); err != nil || done.Rewrapped != want {
			t.Errorf("after %v: %+v, want %d: %v", after, done, want, err)
		}
		wantOpen(t, "in the end", c.again(t), w)
	}
}

var errTorn = errors.New("the process died here")

type torn struct {
	work.Store
	commits int
	after   bool
}

func (s *torn) Commit(ctx context.Context, b work.Batch) error {
	if s.commits == 0 {
		return s.Store.Commit(ctx, b)
	}
	s.commits--
	if s.after {
		if err := s.Store.Commit(ctx, b); err != nil {
			return err
		}
	}
	return errTorn
}

func TestUnwrapOfWhatNoChainWrapped(t *testing.T) {
	t.Parallel()
	c := newChain(t)
	w := c.wrap(t)
	for i := range w {
		changed := bytes.Clone(w)
		changed[i] ^= 1
		if _, err := c.Unwrap(t.Context(), changed, bound); !errors.Is(err, secret.ErrBinding) && !errors.Is(err, secret.ErrGone) {
			t.Errorf("byte %d changed: %v", i, err)
		}
		if _, err := c.Unwrap(t.Context(), w[:i], bound); !errors.Is(err, secret.ErrBinding) {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
	}
	if _, err := c.Unwrap(t.Context(), w, []byte("another")); !errors.Is(err, secret.ErrBinding) {
		t.Errorf("bound to something else: %v", err)
	}
}

// TestNoKeyInTheRing: neither a data key nor a key-encryption key stands in the ring in the clear.
func TestNoKeyInTheRing(t *testing.T) {
	t.Parallel()
	c := newChain(t)
	if chained, err := secret.Chained(t.Context(), c.ring); chained || err != nil {
		t.Errorf("an empty ring has keys of a chain: %v", err)
	}
	c.wrap(t)
	if chained, err := secret.Chained(t.Context(), c.ring); !chained || err != nil {
		t.Errorf("the ring has no keys of a chain: %v", err)
	}
	if _, err := c.Standing().Derive(t.Context(), "p"); err != nil {
		t.Fatal(err)
	}
	p, err := c.ring.List(t.Context(), work.Query{Partition: "key-encryption"})
	if err != nil || len(p.Rows) != 2 {
		t.Fatalf("%d rows: %v", len(p.Rows), err)
	}
	for _, row := range p.Rows {
		// 256 bytes of RSA-OAEP as base64 and little else.
		if text := string(row.Value); !strings.Contains(text, `"version":"`) || len(text) < 340 || len(text) > 520 {
			t.Errorf("row %s: %d bytes: %s", row.Row, len(text), fmt.Sprintf("%.60s", text))
		}
	}
}
