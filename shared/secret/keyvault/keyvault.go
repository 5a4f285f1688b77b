// Package keyvault wraps key-encryption keys with a key in Azure Key Vault or Managed HSM, for package secret. The key never
// leaves the service; what it wraps is stored in the key ring with the key's version.
//
// The identity needs to read, wrap and unwrap: the role "Key Vault Crypto Service Encryption User" on the key (Microsoft's page
// "Azure built-in roles for Security"). Rotation is a new version of the key: it wraps from then on, and what older ones
// wrapped stays readable while they are enabled.
//
// Deleting a key there is not instant: by soft delete it can be recovered for 7 to 90 days (page "Azure Key Vault soft-delete
// overview"). So nothing is destroyed in the service; see package secret for what is.
package keyvault

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
)

// Bounds of one operation. A repeated wrap or unwrap does no harm.
const (
	deadline   = 15 * time.Second
	tryTimeout = 4 * time.Second
	retries    = 3
)

// algorithm is RSA-OAEP with SHA-256, which RSA keys have in every tier (page "Key types, algorithms, and operations").
const algorithm = azkeys.EncryptionAlgorithmRSAOAEP256

// Key is a key in a vault. It is safe for concurrent use.
type Key struct {
	client *azkeys.Client
	name   string
}

// Open returns the key at an address such as https://example.vault.azure.net/keys/pinreset. It sends nothing. The address must not
// name a version: the newest one wraps. transport may be nil.
func Open(address string, credential azcore.TokenCredential, transport policy.Transporter) (*Key, error) {
	vault, name, err := parse(address)
	if err != nil {
		return nil, err
	}
	client, err := azkeys.NewClient(vault, credential, &azkeys.ClientOptions{ClientOptions: azcore.ClientOptions{
		Transport: transport,
		Retry:     policy.RetryOptions{MaxRetries: retries, TryTimeout: tryTimeout, RetryDelay: 200 * time.Millisecond, MaxRetryDelay: 2 * time.Second},
		Telemetry: policy.TelemetryOptions{ApplicationID: "pinreset"},
	}})
	if err != nil {
		return nil, fmt.Errorf("open key %s: %w", name, err)
	}
	return &Key{client: client, name: name}, nil
}

// Check reports what is wrong with a key's address.
func Check(address string) error {
	_, _, err := parse(address)
	return err
}

func parse(address string) (vault, name string, err error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", "", fmt.Errorf("key %q is not an https address", address)
	}
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	if len(parts) != 2 || parts[0] != "keys" || parts[1] == "" {
		return "", "", fmt.Errorf("key %q must end in /keys/NAME, without a version", address)
	}
	return "https://" + u.Host, parts[1], nil
}

// Wrap encrypts key with the newest version and tells which that was.
func (k *Key) Wrap(ctx context.Context, key []byte) (wrapped []byte, version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	alg := algorithm
	r, err := k.client.WrapKey(ctx, k.name, "", azkeys.KeyOperationParameters{Algorithm: &alg, Value: key}, nil)
	if err != nil {
		return nil, "", fmt.Errorf("wrap with key %s: %w", k.name, err)
	}
	if r.KID == nil || r.KID.Version() == "" || len(r.Result) == 0 {
		return nil, "", fmt.Errorf("wrap with key %s: %w", k.name, errIncomplete)
	}
	return r.Result, r.KID.Version(), nil
}

// Unwrap decrypts what the version wrapped.
func (k *Key) Unwrap(ctx context.Context, wrapped []byte, version string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	alg := algorithm
	r, err := k.client.UnwrapKey(ctx, k.name, version, azkeys.KeyOperationParameters{Algorithm: &alg, Value: wrapped}, nil)
	if err != nil {
		return nil, fmt.Errorf("unwrap with key %s version %s: %w", k.name, version, err)
	}
	return r.Result, nil
}

// Newest returns the version that wraps.
func (k *Key) Newest(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	r, err := k.client.GetKey(ctx, k.name, "", nil)
	if err != nil {
		return "", fmt.Errorf("read key %s: %w", k.name, err)
	}
	if r.Key == nil || r.Key.KID == nil || r.Key.KID.Version() == "" {
		return "", fmt.Errorf("read key %s: %w", k.name, errIncomplete)
	}
	return r.Key.KID.Version(), nil
}

var errIncomplete = errors.New("the answer has no key version")
