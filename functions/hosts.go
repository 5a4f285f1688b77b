package main

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// checkExposure refuses to serve plain HTTP to a network: tokens and codes would cross it in the clear.
func checkExposure(listen, publicURL string) error {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("listen address %q: %w", listen, err)
	}
	if host == "localhost" || net.ParseIP(host).IsLoopback() || strings.HasPrefix(publicURL, "https://") {
		return nil
	}
	return fmt.Errorf("%s can be reached from the network, where tokens and codes would travel in the clear: listen on 127.0.0.1, or put TLS in front and set PINRESET_PUBLIC_URL to the https address that people use", listen)
}

// onlyHosts answers requests for this server and refuses those that name another: a page elsewhere whose name was made to
// point here (DNS rebinding) must not be able to speak for the person who has it open. Health checks may come by any name.
func onlyHosts(next http.Handler, serverURL, publicURL string) http.Handler {
	allowed := map[string]bool{}
	for _, address := range []string{serverURL, publicURL} {
		if u, err := url.Parse(address); err == nil && u.Host != "" {
			allowed[strings.ToLower(u.Host)] = true
			if _, port, err := net.SplitHostPort(u.Host); err == nil {
				allowed["localhost:"+port], allowed["127.0.0.1:"+port], allowed["[::1]:"+port] = true, true, true
			}
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !allowed[strings.ToLower(r.Host)] && r.URL.Path != "/healthz" {
			http.Error(w, "This server has another name.", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}
