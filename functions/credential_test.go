package main

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pinreset/shared/credential"
	"pinreset/shared/secret/keyvault"
	"pinreset/shared/secret/keyvault/keyvaulttest"
	"pinreset/shared/work/sqlitework"
)

// TestCredentialIsChosen: what a way of signing in needs is asked for, and a setting that would be ignored is refused.
func TestCredentialIsChosen(t *testing.T) {
	t.Parallel()
	const id, vault = "PINRESET_CLIENT_ID=6d2f0d0e-55f4-4b7e-b3ad-0f5d0d7a6c01", "PINRESET_KEY_VAULT_KEY=https://example.vault.azure.net/keys/pinreset"
	for _, c := range []struct {
		set  string
		want []string // names of variables, each once; none: it is good
	}{
		{"", nil},
		{id + " PINRESET_CLIENT_SECRET_FILE=a", nil},
		{id + " PINRESET_CREDENTIAL=secret PINRESET_CLIENT_SECRET_FILE=a PINRESET_PRIVILEGED_CLIENT_ID=b PINRESET_PRIVILEGED_SECRET_FILE=c", nil},
		{id + " PINRESET_CREDENTIAL=managed-identity PINRESET_PRIVILEGED_CLIENT_ID=b PINRESET_IDENTITY_CLIENT_ID=c " + vault, nil},
		{id + " PINRESET_CREDENTIAL=workload-identity AZURE_FEDERATED_TOKEN_FILE=a PINRESET_HOME_TENANT=b " + vault, nil},
		{id + " PINRESET_CREDENTIAL=client-assertion PINRESET_ASSERTION_FILE=a PINRESET_PRIVILEGED_CLIENT_ID=b", nil},
		{id + " PINRESET_CREDENTIAL=developer", nil},
		{id + " PINRESET_CREDENTIAL=aws AWS_REGION=eu-central-1 PINRESET_PRIVILEGED_CLIENT_ID=b PINRESET_HOME_TENANT=c " + vault, nil},
		{id + " PINRESET_CREDENTIAL=aws " + vault, []string{"HOME_TENANT", "CREDENTIAL"}},
		{id + " PINRESET_CREDENTIAL=aws AWS_REGION=eu-central-1 PINRESET_CLIENT_SECRET_FILE=a", []string{"CLIENT_SECRET_FILE"}},

		{id, []string{"CLIENT_SECRET_FILE"}},
		{id + " PINRESET_CREDENTIAL=default", []string{"CREDENTIAL"}},
		{id + " PINRESET_CLIENT_SECRET_FILE=a PINRESET_PRIVILEGED_CLIENT_ID=b", []string{"PRIVILEGED_SECRET_FILE"}},
		{id + " PINRESET_CLIENT_SECRET_FILE=a PINRESET_PRIVILEGED_SECRET_FILE=b", []string{"PRIVILEGED_SECRET_FILE"}},
		{id + " PINRESET_CREDENTIAL=managed-identity PINRESET_CLIENT_SECRET_FILE=a", []string{"CLIENT_SECRET_FILE", "IDENTITY_CLIENT_ID"}},
		{id + " PINRESET_CREDENTIAL=managed-identity PINRESET_IDENTITY_CLIENT_ID=c PINRESET_ASSERTION_FILE=a PINRESET_HOME_TENANT=b", []string{"ASSERTION_FILE", "HOME_TENANT"}},
		{id + " PINRESET_CREDENTIAL=workload-identity", []string{"CREDENTIAL"}},
		{id + " PINRESET_CREDENTIAL=client-assertion", []string{"ASSERTION_FILE"}},
		{id + " PINRESET_CREDENTIAL=client-assertion PINRESET_ASSERTION_FILE=a PINRESET_IDENTITY_CLIENT_ID=b", []string{"IDENTITY_CLIENT_ID"}},
		{id + " PINRESET_CREDENTIAL=developer PINRESET_PRIVILEGED_CLIENT_ID=a", []string{"PRIVILEGED_CLIENT_ID"}},
		{id + " PINRESET_CLIENT_SECRET_FILE=a " + vault, []string{"HOME_TENANT"}},
		{id + " PINRESET_CREDENTIAL=managed-identity PINRESET_IDENTITY_CLIENT_ID=c PINRESET_KEY_VAULT_KEY=https://example.vault.azure.net", []string{"KEY_VAULT_KEY"}},
		{"PINRESET_CREDENTIAL=managed-identity", []string{"CREDENTIAL"}},
		{"PINRESET_CLIENT_SECRET_FILE=a", []string{"CLIENT_SECRET_FILE"}},
		{vault, []string{"KEY_VAULT_KEY"}},
	} {
		env := map[string]string{}
		for pair := range strings.FieldsSeq(c.set) {
			name, value, _ := strings.Cut(pair, "=")
			env[name] = value
		}
		_, err := loadConfig(func(name string) string { return env[name] })
		var got []string
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				name, _, _ := strings.Cut(strings.TrimPrefix(line, "PINRESET_"), " ")
				got = append(got, name)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: problems with %v, want %v: %v", c.set, got, c.want, err)
		}
	}
}

// TestDoctorSaysHowItSignsIn: every way has its own words.
func TestDoctorSaysHowItSignsIn(t *testing.T) {
	t.Parallel()
	said := map[string]bool{}
	for _, way := range credential.Ways {
		x := &examination{config: config{
			ClientID: "a", PrivilegedClientID: "b", PublicURL: "https://pinreset.example.com", Listen: "127.0.0.1:8080", Credential: way, IdentityClientID: "the-identity",
		}}
		x.configured(nil)
		i := slices.IndexFunc(x.findings, func(f finding) bool { return f.Check == "credential" })
		if i < 0 {
			t.Errorf("%s: the doctor does not say how it signs in: %+v", way, x.findings)
			continue
		}
		f := x.findings[i]
		if !strings.HasPrefix(f.Found, string(way)+": ") || said[f.Found] || (f.State == warned) != (way == credential.Developer) {
			t.Errorf("%s: %+v", way, f)
		}
		said[f.Found] = true
	}
}

// TestKeysUnderKeyVault: what one process sealed the next one opens, and nothing of it is in a file; the loop tidies at its start.
func TestKeysUnderKeyVault(t *testing.T) {
	t.Parallel()
	vault := keyvaulttest.NewServer(t)
	vault.Rotate(t, "pinreset")
	data := t.TempDir()
	ring, err := sqlitework.Open(filepath.Join(data, keysDir), sqlitework.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ring.Close() })
	logged := make(lines, 10)
	now := func() time.Time { return time.Date(2026, 11, 22, 8, 20, 0, 0, time.UTC) }
	process := func() (*program, keyEncryption) {
		t.Helper()
		root, err := keyvault.Open(vault.Key("pinreset"), vault.Credential(), vault.Transport())
		if err != nil {
			t.Fatal(err)
		}
		p := &program{stores: stores{keys: ring}, logger: logTo(logged, slog.LevelInfo)}
		k, err := p.keysUnder(t.Context(), root, now)
		if err != nil {
			t.Fatal(err)
		}
		p.chain = k.chain
		return p, k
	}
	_, first := process()
	second, next := process()
	if len(first.consent) != 32 || !bytes.Equal(first.consent, next.consent) {
		t.Error("two processes sign the state of consents with different keys")
	}
	bound := []byte("bound")
	for what, w := range map[string][2]interface {
		Wrap(ctx context.Context, key, bound []byte) ([]byte, error)
		Unwrap(ctx context.Context, wrapped, bound []byte) ([]byte, error)
	}{"codes": {first.codes, next.codes}, "devices": {first.devices, next.devices}} {
		wrapped, err := w[0].Wrap(t.Context(), []byte("a key"), bound)
		if err != nil {
			t.Fatal(err)
		}
		if key, err := w[1].Unwrap(t.Context(), wrapped, bound); err != nil || string(key) != "a key" {
			t.Errorf("%s: the next process unwraps %q: %v", what, key, err)
		}
	}
	if files, err := filepath.Glob(filepath.Join(data, keysDir, rootKeyFile)); err != nil || len(files) != 0 {
		t.Errorf("there is a root key in %v: %v", files, err)
	}
	if can, err := canUnwrap(t.Context(), data, ring); err != nil || !can {
		t.Errorf("a restore takes the keys for lost: %v", err)
	}

	vault.Rotate(t, "pinreset")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		second.tidyKeys(ctx)
	}()
	select {
	case line := <-logged: // the key of the hour and the one for devices
		if !strings.Contains(line, `"destroyed":0,"rewrapped":2`) {
			t.Errorf("logged %s", line)
		}
	case <-time.After(time.Minute):
		t.Error("the keys were not tidied")
	}
	cancel()
	<-done
}

// lines are what is written, one at a time.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}
