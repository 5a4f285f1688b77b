package graph

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// discoveryLife is how long the document of one tenant stands for those of all. It hardly ever changes; a day is how long Microsoft's
// own libraries may keep one.
const discoveryLife = 24 * time.Hour

const discoverySuffix = "/v2.0/.well-known/openid-configuration"

// discovery answers for OpenID configuration documents, each of which a credential asks for once. Those of an authority's tenants differ
// in the tenant's id in their addresses (Microsoft's page "OpenID Connect on the Microsoft identity platform"), so the first one
// that was read gives all the others: ten thousand tenants cost one call and not ten thousand. Whether a tenant
// exists its token endpoint says.
type discovery struct {
	now func() time.Time

	mu    sync.Mutex
	known map[string]document // by the authority's address
}

// document is what a credential takes from one, with "{tenant}" in place of the id.
type document struct {
	text string
	read time.Time
}

const tenantPlace = "{tenant}"

// asked splits the address of a document; ok is false for any other request.
func (*discovery) asked(req *http.Request) (authority, tenant string, ok bool) {
	path, ok := strings.CutSuffix(req.URL.Path, discoverySuffix)
	tenant = strings.TrimPrefix(path, "/")
	return req.URL.Scheme + "://" + req.URL.Host, tenant, ok && req.Method == http.MethodGet && isGUID(tenant)
}

// answer is the document that was asked for, nil where none is known.
func (d *discovery) answer(req *http.Request) *http.Response {
	authority, tenant, ok := d.asked(req)
	if !ok {
		return nil
	}
	d.mu.Lock()
	doc, known := d.known[authority]
	d.mu.Unlock()
	if !known || d.now().Sub(doc.read) >= discoveryLife {
		return nil
	}
	text := strings.ReplaceAll(doc.text, tenantPlace, tenant)
	return &http.Response{Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json; charset=utf-8"}}, Request: req,
		Body: io.NopCloser(strings.NewReader(text)), ContentLength: int64(len(text))}
}

// learn keeps the document that came, and leaves its body to be read. One that does not name its tenant says nothing about others.
func (d *discovery) learn(req *http.Request, resp *http.Response) error {
	authority, tenant, ok := d.asked(req)
	if !ok || resp.StatusCode != http.StatusOK {
		return nil
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		return err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	var used struct {
		Issuer        string `json:"issuer"`
		Authorization string `json:"authorization_endpoint"`
		Token         string `json:"token_endpoint"`
	}
	if json.Unmarshal(body, &used) != nil || !strings.Contains(used.Token, tenant) {
		return nil // the credential says what is wrong with it
	}
	text, err := json.Marshal(used)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known == nil {
		d.known = map[string]document{}
	}
	d.known[authority] = document{strings.ReplaceAll(string(text), tenant, tenantPlace), d.now()}
	return nil
}
