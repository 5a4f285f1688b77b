package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"pinreset/shared/credential/credentialtest"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/secret/keyvault/keyvaulttest"
)

// The managed identity of the test, and what tokens are for.
const (
	identityID     = "0d9c1b7e-5f0a-4f57-8a5e-3a1f6f3e2b11"
	identityObject = "7a4e8f10-2b6d-4c3f-9c57-61d0b8e4f522"

	forTables   = "https://storage.azure.com"
	forBus      = "https://servicebus.azure.net"
	forVault    = "https://example.com" // the model's
	forExchange = "api://AzureADTokenExchange"

	tablesHost = "tables.example.com"
	vaultHost  = "vault.example.com"
)

// carries says why a token is not one of the managed identity for the audience; nil says that it is.
func carries(token, audience string) error {
	_, rest, _ := strings.Cut(token, ".")
	part, _, _ := strings.Cut(rest, ".")
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		return errors.New("no token")
	}
	var c struct{ Iss, Sub, Aud string }
	if err := json.Unmarshal(text, &c); err != nil {
		return err
	}
	if c.Iss != credentialtest.Issuer || c.Sub != identityObject || strings.TrimSuffix(c.Aud, "/") != audience {
		return fmt.Errorf("a token of %s for %s, want one of %s for %s", c.Sub, c.Aud, identityObject, audience)
	}
	return nil
}

// fronts are what stands before the models, because these know keys and tokens of their own, or plain connections: TLS, and a look at
// the identity's token.
type fronts struct {
	t       *testing.T
	tls     tls.Certificate
	ca      string            // file with the certificate
	servers map[string]string // addresses by host, for the proxy
	mu      sync.Mutex
	refused map[string]int // tokens, by audience
}

// newFronts makes a certificate for the hosts and the address.
func newFronts(t *testing.T, address net.IP) *fronts {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{tablesHost, vaultHost}, IPAddresses: []net.IP{address, net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	f := &fronts{t: t, tls: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, ca: filepath.Join(t.TempDir(), "ca.pem"), servers: map[string]string{}, refused: map[string]int{}}
	if err := os.WriteFile(f.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

// allowed is carries, and counts.
func (f *fronts) allowed(token, audience string) error {
	err := carries(token, audience)
	if err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.refused[audience]++
	}
	return err
}

func (f *fronts) refusals(audience string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refused[audience]
}

// serve starts a server over TLS and returns its address.
func (f *fronts) serve(h http.Handler) string {
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{f.tls}}
	s.StartTLS()
	f.t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func bearer(r *http.Request) string {
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
}

// tables stands before Azurite: who has a token for storage gets what the account's key gets, as Microsoft's page "Authorize with
// Shared Key" says of SharedKeyLite for tables. It returns the address that the account is told by.
func (f *fronts) tables(connection string) string {
	parts := map[string]string{}
	for pair := range strings.SplitSeq(connection, ";") {
		name, value, _ := strings.Cut(pair, "=")
		parts[name] = value
	}
	account := parts["AccountName"]
	key, err := base64.StdEncoding.DecodeString(parts["AccountKey"])
	if err != nil {
		f.t.Fatal(err)
	}
	azurite, err := url.Parse(parts["TableEndpoint"])
	if err != nil {
		f.t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.Out.URL.Scheme, p.Out.URL.Host, p.Out.Host = azurite.Scheme, azurite.Host, azurite.Host
		date := time.Now().UTC().Format(http.TimeFormat)
		p.Out.Header.Set("x-ms-date", date)
		mac := hmac.New(sha256.New, key)
		_, _ = io.WriteString(mac, date+"\n/"+account+p.Out.URL.EscapedPath()) // it never fails
		p.Out.Header.Set("Authorization", "SharedKeyLite "+account+":"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}}
	f.servers[tablesHost] = f.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := f.allowed(bearer(r), forTables); err != nil {
			http.Error(w, `{"odata.error":{"code":"AuthenticationFailed","message":{"lang":"en-US","value":"refused by the model"}}}`, http.StatusForbidden)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	return "https://" + tablesHost + "/" + account
}

// vault stands before the model of Key Vault, which takes tokens of its own. A request without a token passes, to be challenged.
func (f *fronts) vault(v *keyvaulttest.Server) {
	f.servers[vaultHost] = f.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := r.Clone(r.Context())
		out.RequestURI, out.URL.Scheme, out.URL.Host = "", "https", vaultHost
		if token := bearer(r); token != "" && f.allowed(token, forVault) == nil {
			own, err := v.Credential().GetToken(r.Context(), policy.TokenRequestOptions{Scopes: []string{forVault + "/.default"}, TenantID: keyvaulttest.Tenant})
			if err != nil {
				f.t.Error(err)
			}
			out.Header.Set("Authorization", "Bearer "+own.Token)
		}
		resp, err := v.Transport().Do(out)
		if err != nil {
			http.Error(w, "no vault", http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		for name, values := range resp.Header {
			w.Header()[name] = values
		}
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	}))
}

// cloud stands before the simulated cloud, which knows client secrets: an assertion of the identity stands for one. It returns its
// address, for tokens and for Graph.
func (f *fronts) cloud(sim *graphsim.Cloud) string {
	target, err := url.Parse(sim.URL())
	if err != nil {
		f.t.Fatal(err)
	}
	general, privileged := sim.Apps()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: sim.RootCAs()}
	proxy := &httputil.ReverseProxy{Transport: transport, Rewrite: func(p *httputil.ProxyRequest) {
		p.Out.URL.Scheme, p.Out.URL.Host = target.Scheme, target.Host
		p.Out.Host = p.In.Host // it names itself by this in its answers
	}}
	return "https://" + f.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/oauth2/v2.0/token") {
			if err := r.ParseForm(); err != nil {
				f.t.Error(err)
			}
			form := r.PostForm
			form.Set("scope", sim.URL()+"/.default") // it was asked for by the front's name
			if f.allowed(form.Get("client_assertion"), forExchange) == nil {
				form.Del("client_assertion")
				form.Del("client_assertion_type")
				form.Set("client_secret", general.Secret)
				if form.Get("client_id") == privileged.ClientID {
					form.Set("client_secret", privileged.Secret)
				}
			}
			text := form.Encode()
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
		}
		proxy.ServeHTTP(w, r)
	}))
}

// pipe lets TLS connections to the listener go on to the address without it.
func (f *fronts) pipe(listener net.Listener, to string) {
	secure := tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{f.tls}})
	f.t.Cleanup(func() { _ = secure.Close() })
	go func() {
		for {
			in, err := secure.Accept()
			if err != nil {
				return
			}
			go f.join(in, to)
		}
	}()
}

// join connects a connection with the address, until one end closes.
func (f *fronts) join(in net.Conn, to string) {
	defer in.Close()
	out, err := (&net.Dialer{}).DialContext(f.t.Context(), "tcp", to)
	if err != nil {
		return
	}
	defer out.Close()
	go func() {
		_, _ = io.Copy(out, in)
		_ = out.Close()
	}()
	_, _ = io.Copy(in, out)
}

// proxy is what HTTPS_PROXY names: it takes the hosts to their servers, and nothing else anywhere.
func (f *fronts) proxy() string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to, known := f.servers[r.URL.Hostname()]
		if r.Method != http.MethodConnect || !known {
			f.t.Errorf("%s %s was asked for", r.Method, r.URL.Host)
			http.Error(w, "unknown", http.StatusBadGateway)
			return
		}
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			f.t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
		f.join(conn, to)
	}))
	f.t.Cleanup(s.Close)
	return s.URL
}
