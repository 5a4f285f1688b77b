package credential_test

import (
	"errors"
	"net/http"

	"pinreset/shared/credential/credentialtest"
)

// recorder notes the resource that a token is asked for.
type recorder struct {
	*credentialtest.Metadata
	resource string
}

func (r *recorder) Do(req *http.Request) (*http.Response, error) {
	r.resource = req.URL.Query().Get("resource")
	return r.Metadata.Do(req)
}

// nowhere is a network without a way out.
type nowhere struct{}

func (nowhere) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("no network") }
