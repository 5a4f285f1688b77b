package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pinreset/shared/credential"
	"pinreset/shared/graph"
	"pinreset/shared/secret"
	"pinreset/shared/secret/keyvault"
)

// credentialProblems says what is missing for the way of signing in, and what contradicts it. A setting that would be ignored is a
// mistake: whoever set it believes that it holds.
func (c config) credentialProblems(problem func(name, format string, args ...any)) {
	if !slices.Contains(credential.Ways, c.Credential) {
		names := make([]string, len(credential.Ways))
		for i, w := range credential.Ways {
			names[i] = string(w)
		}
		problem("CREDENTIAL", "must be one of %s, not %q", strings.Join(names, ", "), c.Credential)
		return
	}
	for _, s := range []struct {
		name, value string
		needed      bool // by the way, where pinreset is an app at all
		allowed     bool
	}{
		{"CLIENT_SECRET_FILE", c.ClientSecretFile, c.Credential == credential.Secret, c.Credential == credential.Secret},
		{"PRIVILEGED_SECRET_FILE", c.PrivilegedSecretFile, c.Credential == credential.Secret && c.PrivilegedClientID != "", c.Credential == credential.Secret},
		{"PRIVILEGED_CLIENT_ID", c.PrivilegedClientID, false, c.Credential != credential.Developer},
		{"IDENTITY_CLIENT_ID", c.IdentityClientID, c.Credential == credential.ManagedIdentity, c.Credential == credential.ManagedIdentity},
		{"ASSERTION_FILE", c.AssertionFile, c.Credential == credential.ClientAssertion, c.Credential == credential.ClientAssertion},
		{"HOME_TENANT", c.HomeTenant, c.needsHome() && c.Credential != credential.ManagedIdentity, c.Credential != credential.ManagedIdentity},
	} {
		switch {
		case s.value == "" && s.needed && c.ClientID != "":
			problem(s.name, "is needed with PINRESET_CREDENTIAL=%s", c.Credential)
		case s.value != "" && !s.allowed:
			problem(s.name, "has no meaning with PINRESET_CREDENTIAL=%s: remove one of the two", c.Credential)
		}
	}
	if c.ClientID == "" {
		for _, s := range []struct{ name, value string }{
			{"CLIENT_SECRET_FILE", c.ClientSecretFile}, {"PRIVILEGED_CLIENT_ID", c.PrivilegedClientID}, {"KEY_VAULT_KEY", c.KeyVaultKey},
		} {
			if s.value != "" {
				problem(s.name, "needs PINRESET_CLIENT_ID: without it the tenants are simulated")
			}
		}
		if c.Credential != credential.Secret {
			problem("CREDENTIAL", "needs PINRESET_CLIENT_ID: without it the tenants are simulated")
		}
	}
	if c.PrivilegedClientID == "" && c.PrivilegedSecretFile != "" {
		problem("PRIVILEGED_SECRET_FILE", "needs PINRESET_PRIVILEGED_CLIENT_ID")
	}
	if c.Credential == credential.WorkloadIdentity && c.WorkloadTokenFile == "" {
		problem("CREDENTIAL", "is workload-identity, and AZURE_FEDERATED_TOKEN_FILE is not set: the pod has no token, because its service account or its label is missing")
	}
	if c.Credential == credential.AWS && c.AWS != nil && c.AWS.Region == "" {
		problem("CREDENTIAL", "is aws, and AWS_REGION is not set")
	}
	if c.KeyVaultKey != "" {
		if err := keyvault.Check(c.KeyVaultKey); err != nil {
			problem("KEY_VAULT_KEY", "%v", err)
		}
	}
}

// signsInBy says in words how the configuration signs in.
func (c config) signsInBy() string {
	switch c.Credential {
	case credential.Secret:
		return "by client secrets in files"
	case credential.ManagedIdentity:
		return "by the managed identity " + c.IdentityClientID + ", without a secret"
	case credential.WorkloadIdentity:
		return "by the workload identity whose token is in " + c.WorkloadTokenFile
	case credential.AWS:
		return "by a token that AWS signs for this role, without a secret"
	case credential.ClientAssertion:
		return "by the assertion in " + c.AssertionFile
	}
	return "as the person who is signed in to the Azure CLI: for trying things, not for running them"
}

// settings are those of the credentials.
func (t cloud) settings() credential.Settings {
	s := t.sign
	s.App = credential.Registration{ClientID: t.app.id, Secret: t.app.secret}
	s.Second = credential.Registration{ClientID: t.privileged.id, Secret: t.privileged.secret}
	if s.Way == "" {
		s.Way = credential.Secret // a simulated cloud's
	}
	return s
}

func (c config) signSettings() credential.Settings {
	s := credential.Settings{Way: c.Credential, Identity: c.IdentityClientID, File: c.AssertionFile, Home: c.HomeTenant, Account: c.AWS}
	if c.Credential == credential.WorkloadIdentity {
		s.File = c.WorkloadTokenFile
	}
	return s
}

// signedIn is the configuration of a client of Graph with its apps, and where their credentials come from.
func (t cloud) signedIn(now func() time.Time, wrap func(http.RoundTripper) http.RoundTripper) (graph.Config, *credential.Source, error) {
	cfg := graphConfig(t, now, wrap)
	source, err := credential.Open(t.settings(), cfg, nil)
	if err != nil {
		return cfg, nil, err
	}
	cfg.App, cfg.Privileged = source.Apps()
	return cfg, source, nil
}

// keyEncryption is what wraps keys: those of codes, which end with their codes, and those of devices, which last.
type keyEncryption struct {
	codes, devices interface {
		Wrap(ctx context.Context, key, bound []byte) (wrapped []byte, err error)
		Unwrap(ctx context.Context, wrapped, bound []byte) (key []byte, err error)
	}
	consent []byte        // the key that signs the state of consents
	chain   *secret.Chain // nil: a file of this machine wraps
}

const consentPurpose = "consent-state"

// openKeys opens the key-encryption keys: under a key in Key Vault where one is set, else in a file: of this machine beside the key
// ring, or one that all processes have.
func (p *program) openKeys(ctx context.Context, c config, source *credential.Source, now func() time.Time) (k keyEncryption, err error) {
	if c.KeyVaultKey == "" {
		file, err := secret.OpenLocalKey(cmp.Or(c.RootKeyFile, filepath.Join(c.Data, keysDir, rootKeyFile)))
		if err != nil {
			return k, err
		}
		k.codes, k.devices = file, file
		k.consent, err = file.Derive(consentPurpose)
		return k, err
	}
	root, err := rootKey(c, source)
	if err != nil {
		return k, err
	}
	return p.keysUnder(ctx, root, now)
}

func (p *program) keysUnder(ctx context.Context, root *keyvault.Key, now func() time.Time) (k keyEncryption, err error) {
	k.chain = secret.NewChain(p.keys, root, now)
	k.codes, k.devices = k.chain, k.chain.Standing()
	k.consent, err = k.chain.Standing().Derive(ctx, consentPurpose)
	return k, err
}

func rootKey(c config, source *credential.Source) (*keyvault.Key, error) {
	azure, err := source.Azure()
	if err != nil {
		return nil, fmt.Errorf("sign in to Key Vault: %w", err)
	}
	return keyvault.Open(c.KeyVaultKey, azure, nil)
}

// tidyEvery is how often keys whose codes have expired are destroyed, and those of an older version of the root wrapped again.
const tidyEvery = time.Hour

// tidyKeys runs until ctx ends. Where it fails, it is done an hour later.
func (p *program) tidyKeys(ctx context.Context) {
	if p.chain == nil {
		return
	}
	for ticker := time.NewTicker(tidyEvery); ; {
		p.tidy(ctx)
		select {
		case <-ctx.Done():
			ticker.Stop()
			return
		case <-ticker.C:
		}
	}
}

// tidy does it once.
func (p *program) tidy(ctx context.Context) {
	switch done, err := p.chain.Tidy(ctx); {
	case ctx.Err() != nil:
	case err != nil:
		p.logger.WarnContext(ctx, "tidy key-encryption keys", "cause", err.Error())
	case done != secret.Tidied{}:
		p.logger.InfoContext(ctx, "tidied key-encryption keys", "destroyed", done.Destroyed, "rewrapped", done.Rewrapped)
	}
}
