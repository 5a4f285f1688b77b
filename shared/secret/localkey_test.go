package secret_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"pinreset/shared/secret"
)

func TestLocalKeyFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "root-key")
	k, err := secret.OpenLocalKey(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() != 32 {
		t.Fatalf("%v: %v", info, err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %o", info.Mode().Perm())
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("beside the key there is %v: %v", entries, err)
	}
	wrapped, err := k.Wrap(t.Context(), []byte("a data key"), []byte("bound"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := secret.OpenLocalKey(path) // after a restart
	if err != nil {
		t.Fatal(err)
	}
	if key, err := again.Unwrap(t.Context(), wrapped, []byte("bound")); err != nil || string(key) != "a data key" {
		t.Errorf("unwrapped %q: %v", key, err)
	}
}

// TestLocalKeyOfAnotherLength proves that a file which can't be the key is refused and left as it is.
func TestLocalKeyOfAnotherLength(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 16, 31, 33, 64} {
		path := filepath.Join(t.TempDir(), "root-key")
		data := bytes.Repeat([]byte{7}, n)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if k, err := secret.OpenLocalKey(path); err == nil || k != nil {
			t.Errorf("a key of %d bytes was taken", n)
		}
		if left, err := os.ReadFile(path); err != nil || !bytes.Equal(left, data) {
			t.Errorf("the file of %d bytes was changed: %v", n, err)
		}
	}
	for what, path := range map[string]string{"a folder": t.TempDir(), "in no folder": filepath.Join(t.TempDir(), "none", "root-key")} {
		if _, err := secret.OpenLocalKey(path); err == nil {
			t.Errorf("%s was taken for a key", what)
		}
	}
}

// TestLocalKeyOpenedAtOnce proves that all who open a key that is not there yet get the same one, which is the one that stays:
// a code sealed under any other would be lost.
func TestLocalKeyOpenedAtOnce(t *testing.T) {
	t.Parallel()
	const openers, rounds = 8, 10
	for range rounds {
		path := filepath.Join(t.TempDir(), "root-key")
		derived := make([][]byte, openers)
		errs := make([]error, openers)
		begin := make(chan struct{})
		var wait sync.WaitGroup
		for i := range openers {
			wait.Go(func() {
				<-begin
				k, err := secret.OpenLocalKey(path)
				if err == nil {
					derived[i], err = k.Derive("test")
				}
				errs[i] = err
			})
		}
		close(begin)
		wait.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		stays, err := secret.OpenLocalKey(path)
		if err != nil {
			t.Fatal(err)
		}
		want, err := stays.Derive("test")
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range derived {
			if !bytes.Equal(got, want) {
				t.Fatalf("opener %d has another key than the file", i)
			}
		}
		if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
			t.Errorf("beside the key there is %v: %v", entries, err)
		}
	}
}

func TestDerive(t *testing.T) {
	t.Parallel()
	k, other := localKey(t), localKey(t)
	seen := map[string]string{}
	for _, key := range []*secret.LocalKey{k, other} {
		for _, purpose := range []string{"consent-state", "session", "", "session "} {
			a, err := key.Derive(purpose)
			if err != nil || len(a) != 32 {
				t.Fatalf("%d bytes: %v", len(a), err)
			}
			if b, err := key.Derive(purpose); err != nil || !bytes.Equal(a, b) {
				t.Errorf("%q gives another key each time: %v", purpose, err)
			}
			if before, twice := seen[string(a)]; twice {
				t.Errorf("%q and %q give the same key", purpose, before)
			}
			seen[string(a)] = purpose
		}
	}
}

func TestUnwrapOfWhatWasNotWrapped(t *testing.T) {
	t.Parallel()
	k := localKey(t)
	bound := []byte("tenant and id")
	wrapped, err := k.Wrap(t.Context(), []byte("a data key"), bound)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := k.Wrap(t.Context(), []byte("a data key"), bound); err != nil || bytes.Equal(again, wrapped) {
		t.Errorf("wrapped twice it looks the same: %v", err)
	}
	refused := func(what string, k *secret.LocalKey, wrapped, bound []byte) {
		t.Helper()
		if key, err := k.Unwrap(t.Context(), wrapped, bound); !errors.Is(err, secret.ErrBinding) || key != nil {
			t.Errorf("%s: %q, %v", what, key, err)
		}
	}
	refused("other bound", k, wrapped, []byte("tenant and ie"))
	refused("no bound", k, wrapped, nil)
	refused("other key", localKey(t), wrapped, bound)
	for n := range wrapped {
		refused("cut short", k, wrapped[:n], bound)
		changed := bytes.Clone(wrapped)
		changed[n] ^= 0x40
		refused("changed", k, changed, bound)
	}
}
