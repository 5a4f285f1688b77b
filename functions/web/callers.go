package web

import (
	"net/http"
	"strings"

	"pinreset/shared/grant"
	"pinreset/shared/identity"
	"pinreset/shared/identity/entra"
)

// callers finds out who sends a request of the API: the holder of a token of ours, or a person for whom a program has an access token
// of Microsoft Entra ID. What the person may do is looked up at each request.
type callers struct {
	tokens *identity.Tokens
	people *entra.Provider // nil where nobody signs in with Entra ID
	grants *grant.Book
}

// Authenticate implements identity.Authenticator.
func (c callers) Authenticate(r *http.Request) (identity.Principal, error) {
	scheme, text, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	// A token of Entra ID is three parts with points between them; ours has none.
	if c.people == nil || !ok || !strings.EqualFold(scheme, "Bearer") || !strings.Contains(text, ".") {
		return c.tokens.Authenticate(r)
	}
	person, err := c.people.AccessToken(r.Context(), strings.TrimSpace(text))
	if err != nil {
		return identity.Principal{}, err
	}
	return c.grants.Principal(r.Context(), person)
}
