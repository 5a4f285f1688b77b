package tablestest

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"pinreset/shared/nodetest"
)

// TestLockNamesNoRegistry: whoever installs takes the registry that his own npm is set to, and checks what comes by its sum.
func TestLockNamesNoRegistry(t *testing.T) {
	t.Parallel()
	if bytes.Contains(lock, []byte("resolved")) || bytes.Contains(lock, []byte("registry.")) {
		t.Error("the lock file names a registry; make it with npm install --omit-lockfile-registry-resolved")
	}
	var locked struct {
		Packages map[string]struct{ Version, Integrity string }
	}
	if err := json.Unmarshal(lock, &locked); err != nil {
		t.Fatal(err)
	}
	for name, p := range locked.Packages {
		if name != "" && !strings.HasPrefix(p.Integrity, "sha512-") {
			t.Errorf("%s has no sum", name)
		}
	}
	if v := locked.Packages["node_modules/azurite"].Version; !strings.Contains(string(manifest), `"azurite": "`+v+`"`) {
		t.Errorf("azurite is locked at %s, which package.json does not name", v)
	}
}

// TestAzuriteEndsWithItsLeash: it does so too when we are killed, because the pipe is closed then.
func TestAzuriteEndsWithItsLeash(t *testing.T) {
	t.Parallel()
	a, err := startAzurite(t.Context())
	if errors.Is(err, nodetest.ErrMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, endpoint, _ := strings.Cut(a.connectionString, "TableEndpoint=")
	u, err := url.Parse(strings.TrimSuffix(endpoint, ";"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", u.Host)
	if err != nil {
		t.Fatalf("it does not listen: %v", err)
	}
	_ = c.Close()
	_ = a.leash.Close()
	select {
	case <-a.ended:
	case <-time.After(30 * time.Second):
		t.Errorf("it goes on: %v", a.command.Process.Kill())
	}
	if a.command.ProcessState == nil {
		t.Error("it was not waited for")
	}
}
