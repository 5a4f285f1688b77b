package credential

import (
	"net/http"

	"pinreset/shared/graph"
)

// transporter sends what a credential for an Azure service sends, by the transport that Graph's credentials use.
type transporter struct{ cfg graph.Config }

func (t transporter) Do(req *http.Request) (*http.Response, error) {
	client := http.Client{Transport: t.cfg.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return client.Do(req)
}
