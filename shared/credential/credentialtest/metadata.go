// Package credentialtest is a model of what a credential meets, for tests: the endpoint of managed identities, in both of its forms,
// and Entra's token endpoint with apps that trust a federated identity. The unmodified azidentity runs against it.
//
// The endpoint's forms are IMDS, which virtual machines have, and that of App Service and Functions (Microsoft's pages "How to use
// managed identities for Azure resources on an Azure VM to acquire an access token" and "How to use managed identities for App
// Service and Azure Functions"). Modelled are the header that proves a local caller, user-assigned identities and those that are not assigned, the audience, and
// how long a token lives. Not modelled: Azure Arc, Service Fabric, throttling.
package credentialtest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Metadata is an endpoint of managed identities.
type Metadata struct {
	server *httptest.Server
	header string

	mu         sync.Mutex
	identities map[string]string // object id by client id
	issued     int
	down       bool
}

// NewMetadata starts an endpoint, which ends with the test. identities are object ids of user-assigned identities by client id.
func NewMetadata(t testing.TB, identities map[string]string) *Metadata {
	t.Helper()
	m := &Metadata{header: "header-of-" + t.Name(), identities: identities}
	m.server = httptest.NewServer(m)
	t.Cleanup(m.server.Close)
	return m
}

// AppService returns what IDENTITY_ENDPOINT and IDENTITY_HEADER are set to.
func (m *Metadata) AppService() (endpoint, header string) {
	return m.server.URL + "/msi/token", m.header
}

// Do takes requests to the address of IMDS to this endpoint: a credential's transport.
func (m *Metadata) Do(req *http.Request) (*http.Response, error) {
	if req.URL.Host == "169.254.169.254" {
		req = req.Clone(req.Context())
		req.URL.Host, req.Host = m.server.Listener.Addr().String(), ""
	}
	return m.server.Client().Do(req)
}

// Down lets every request fail, or no longer.
func (m *Metadata) Down(down bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.down = down
}

// Issued is how many tokens were asked for and given.
func (m *Metadata) Issued() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.issued
}

func (m *Metadata) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := r.URL.Query()
	object, known := m.identities[q.Get("client_id")]
	imds := r.URL.Path == "/metadata/identity/oauth2/token" && r.Header.Get("Metadata") == "true" && q.Get("api-version") == "2018-02-01"
	appService := r.URL.Path == "/msi/token" && r.Header.Get("X-IDENTITY-HEADER") == m.header && q.Get("api-version") == "2019-08-01"
	switch {
	case m.down:
		refuse(w, http.StatusInternalServerError, "internal_error")
	case r.Method != http.MethodGet || !imds && !appService:
		refuse(w, http.StatusUnauthorized, "invalid_request")
	case !known || q.Get("resource") == "":
		refuse(w, http.StatusBadRequest, "invalid_request") // "Identity not found"
	default:
		m.issued++
		ends := time.Now().Add(24 * time.Hour)
		answer(w, http.StatusOK, map[string]any{
			"access_token": Token(Issuer, object, q.Get("resource"), ends), "expires_in": "86399",
			"expires_on": strconv.FormatInt(ends.Unix(), 10), "resource": q.Get("resource"), "token_type": "Bearer",
		})
	}
}

// Issuer is who issues the tokens of managed identities: the directory that the Azure resources belong to.
const Issuer = "https://login.microsoftonline.com/" + Home + "/v2.0"

// Home is the directory that the Azure resources belong to.
const Home = "2d7c4e0a-6f11-4b0b-9f43-5f0f7d1f8a01"

// Token returns a token in the form of a JSON web token. Nothing here checks signatures.
func Token(issuer, subject, audience string, ends time.Time) string {
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	claims := fmt.Sprintf(`{"iss":%q,"sub":%q,"aud":%q,"exp":%d}`, issuer, subject, audience, ends.Unix())
	return part(`{"alg":"RS256","typ":"JWT"}`) + "." + part(claims) + "." + part("signature")
}

func refuse(w http.ResponseWriter, status int, code string) {
	answer(w, status, map[string]any{"error": code, "error_description": "refused by the model"})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
