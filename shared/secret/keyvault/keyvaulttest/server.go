// Package keyvaulttest is a model of Azure Key Vault for tests: keys with versions, and the operations get, wrapKey and unwrapKey,
// over HTTPS, as Microsoft's "Key Vault REST API reference" describes them. The unmodified azkeys client runs against it.
//
// What it models: the challenge (an answer of 401 that names authority and resource, to a request without a valid token); the
// api-version that every request needs; the newest version where none is named; RSA-OAEP-256 only; versions that are disabled
// (403, "KeyDisabled"); keys and versions that do not exist (404, "KeyNotFound"); what a version did not wrap (400,
// "BadParameter"); throttling and outages on demand.
//
// What it does not: soft delete, permissions of an identity, Managed HSM, key policies, limits by time. Where no version is named and
// the newest is disabled, it refuses; what the service does there its pages leave open.
package keyvaulttest

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// host is a name that the client of an httptest server takes to the server. Its parent domain is the resource: the client
// insists that a vault's name is below the resource that its challenge names.
const (
	host     = "vault.example.com"
	resource = "https://example.com"
	// Tenant is the directory that the challenge names.
	Tenant = "9f3f1c52-7d0c-4f0e-9a53-0d7a2b1c6e11"
)

// Server is a vault. Its methods are safe for concurrent use.
type Server struct {
	server *httptest.Server

	mu       sync.Mutex
	keys     map[string][]*version // oldest first
	tokens   map[string]bool
	failures []int
	requests map[string]int
}

type version struct {
	id       string
	key      *rsa.PrivateKey
	disabled bool
}

// NewServer starts a vault without keys, which ends with the test.
func NewServer(t testing.TB) *Server {
	t.Helper()
	s := &Server{keys: map[string][]*version{}, tokens: map[string]bool{}, requests: map[string]int{}}
	s.server = httptest.NewTLSServer(s)
	t.Cleanup(s.server.Close)
	return s
}

// Key is the address of a key, as configuration names it.
func (s *Server) Key(name string) string { return "https://" + host + "/keys/" + name }

// Transport takes requests for the vault to this server.
func (s *Server) Transport() policy.Transporter { return s.server.Client() }

// Rotate adds a version to the key, which it makes if there is none, and returns it.
func (s *Server) Rotate(t testing.TB, name string) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	v := &version{id: random(), key: key}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[name] = append(s.keys[name], v)
	return v.id
}

// Disable refuses every operation with the version.
func (s *Server) Disable(name, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.find(name, id); v != nil {
		v.disabled = true
	}
}

// Fail answers the next requests that have a token with these statuses.
func (s *Server) Fail(statuses ...int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = append(s.failures, statuses...)
}

// Revoke makes all tokens invalid that were given out.
func (s *Server) Revoke() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

// Requests counts requests by what became of them: "challenge", "get", "wrapkey", "unwrapkey", "refused", "failed".
func (s *Server) Requests(kind string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[kind]
}

// Credential returns one whose tokens the vault takes.
func (s *Server) Credential() azcore.TokenCredential { return credential{s} }

type credential struct{ server *Server }

func (c credential) GetToken(_ context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if len(o.Scopes) != 1 || o.Scopes[0] != resource+"/.default" || o.TenantID != Tenant {
		return azcore.AccessToken{}, fmt.Errorf("a token of %s for %v was asked for", o.TenantID, o.Scopes)
	}
	token := random()
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	c.server.tokens[token] = true
	return azcore.AccessToken{Token: token, ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// operation is the body of wrapKey and unwrapKey, and of their answers.
type operation struct {
	Algorithm string `json:"alg,omitempty"`
	KID       string `json:"kid,omitempty"`
	Value     string `json:"value"`
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.tokens[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")] {
		s.requests["challenge"]++
		w.Header().Set("WWW-Authenticate", fmt.Sprintf("Bearer authorization=%q, resource=%q", "https://login.example.com/"+Tenant, resource))
		s.refuse(w, http.StatusUnauthorized, "Unauthorized", "")
		return
	}
	if len(s.failures) > 0 {
		status := s.failures[0]
		s.failures = s.failures[1:]
		s.requests["failed"]++
		s.refuse(w, status, http.StatusText(status), "")
		return
	}
	if r.Host != host || r.URL.Query().Get("api-version") == "" {
		s.refuse(w, http.StatusBadRequest, "BadParameter", "")
		return
	}
	// /keys/{name}[/{version}][/{operation}]; without a version its segment is empty, or is not there.
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	name, id, what := "", "", ""
	if len(parts) > 1 && parts[0] == "keys" {
		name, parts = parts[1], parts[2:]
	}
	if r.Method == http.MethodPost && len(parts) > 0 {
		what, parts = parts[len(parts)-1], parts[:len(parts)-1]
	}
	if len(parts) > 0 {
		id = parts[0]
	}
	v := s.find(name, id)
	switch {
	case v == nil:
		s.refuse(w, http.StatusNotFound, "KeyNotFound", "")
	case v.disabled:
		s.refuse(w, http.StatusForbidden, "Forbidden", "KeyDisabled")
	case r.Method == http.MethodGet:
		s.requests["get"]++
		answer(w, http.StatusOK, map[string]any{
			"key": map[string]any{
				"kid": s.Key(name) + "/" + v.id, "kty": "RSA", "key_ops": []string{"wrapKey", "unwrapKey"},
				"n": base64.RawURLEncoding.EncodeToString(v.key.N.Bytes()),
				"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(v.key.E)).Bytes()),
			},
			"attributes": map[string]any{"enabled": true},
		})
	default:
		s.operate(w, r, name, what, v)
	}
}

func (s *Server) operate(w http.ResponseWriter, r *http.Request, name, what string, v *version) {
	var o operation
	if err := json.NewDecoder(r.Body).Decode(&o); err != nil || o.Algorithm != "RSA-OAEP-256" {
		s.refuse(w, http.StatusBadRequest, "BadParameter", "")
		return
	}
	in, err := base64.RawURLEncoding.DecodeString(o.Value)
	var out []byte
	switch {
	case err != nil:
	case what == "wrapkey":
		out, err = rsa.EncryptOAEP(sha256.New(), rand.Reader, &v.key.PublicKey, in, nil)
	case what == "unwrapkey":
		out, err = rsa.DecryptOAEP(sha256.New(), nil, v.key, in, nil)
	default:
		err = http.ErrNotSupported
	}
	if err != nil {
		s.refuse(w, http.StatusBadRequest, "BadParameter", "")
		return
	}
	s.requests[what]++
	answer(w, http.StatusOK, operation{KID: s.Key(name) + "/" + v.id, Value: base64.RawURLEncoding.EncodeToString(out)})
}

// find returns a version of the key, the newest if id is "".
func (s *Server) find(name, id string) *version {
	versions := s.keys[name]
	for i := len(versions) - 1; i >= 0; i-- {
		if v := versions[i]; v.id == id || id == "" {
			return v
		}
	}
	return nil
}

func (s *Server) refuse(w http.ResponseWriter, status int, code, inner string) {
	if status != http.StatusUnauthorized {
		s.requests["refused"]++
	}
	e := map[string]any{"code": code, "message": "refused by the model"}
	if inner != "" {
		e["innererror"] = map[string]any{"code": inner}
	}
	answer(w, status, map[string]any{"error": e})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func random() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}
