package graphsim

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A Reach is what another process needs to call a cloud that keeps its state in
// a directory.
type Reach struct {
	URL        string `json:"url"`   // tokens and Graph
	Pages      string `json:"pages"` // people's pages and the control plane
	General    App    `json:"general"`
	Privileged App    `json:"privileged"`
	SignIn     App    `json:"signIn"` // what people sign in with

	RootCAs *x509.CertPool `json:"-"` // of URL
}

// reachFile is written at each start: the ports may be other ones.
const reachFile = "reach.json"

func (c *Cloud) writeReach(dir string) error {
	if dir == "" {
		return nil
	}
	r := Reach{URL: c.url, Pages: c.pagesURL}
	r.General, r.Privileged = c.Apps()
	r.SignIn = c.SignIn()
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", reachFile, err)
	}
	return replaceFile(filepath.Join(dir, reachFile), append(text, '\n'))
}

// Find reads how to call the cloud of a directory, as its latest start left it
// there. It does not say whether that cloud still runs. A directory without one
// is ErrUnknown.
func Find(dir string) (Reach, error) {
	var r Reach
	text, err := os.ReadFile(filepath.Join(dir, reachFile))
	if errors.Is(err, fs.ErrNotExist) {
		return r, fmt.Errorf("find simulated cloud in %s: %w", dir, ErrUnknown)
	}
	if err != nil {
		return r, fmt.Errorf("find simulated cloud: %w", err)
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("decode %s of %s: %w", reachFile, dir, err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return r, fmt.Errorf("find simulated cloud: %w", err)
	}
	r.RootCAs = x509.NewCertPool()
	if !r.RootCAs.AppendCertsFromPEM(ca) {
		return r, fmt.Errorf("find simulated cloud: ca.pem of %s has no certificate", dir)
	}
	return r, nil
}
