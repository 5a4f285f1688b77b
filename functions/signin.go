package main

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"pinreset/events"
	"pinreset/functions/web/portal"
	"pinreset/shared/credential"
	"pinreset/shared/identity/entra"
)

// signInProblems says what is missing for people to sign in with Microsoft Entra ID.
func (c config) signInProblems(problem func(name, format string, args ...any)) {
	switch {
	case c.SignInClientID == "" && (c.SignInSecretFile != "" || len(c.SignInClients) > 0):
		problem("SIGNIN_CLIENT_ID", "is needed with the other settings of the sign-in")
	case c.SignInClientID == "":
	case c.ClientID == "":
		problem("SIGNIN_CLIENT_ID", "needs PINRESET_CLIENT_ID: without it the tenants are simulated, and so is the sign-in")
	case !events.IsGUID(c.SignInClientID):
		problem("SIGNIN_CLIENT_ID", "must be a GUID")
	case c.SignInSecretFile == "" && (c.Credential == credential.Secret || c.Credential == credential.Developer):
		problem("SIGNIN_CLIENT_SECRET_FILE", "is needed with PINRESET_SIGNIN_CLIENT_ID, or a way of signing in (PINRESET_CREDENTIAL) that the registration can trust")
	}
	for _, id := range c.SignInClients {
		if !events.IsGUID(id) {
			problem("SIGNIN_CLIENTS", "must be GUIDs, with commas between them")
		}
	}
}

// people is who signs people in; nil where no registration is configured. One without a secret trusts what the source proves itself with.
func (t cloud) people(c config, source *credential.Source, now func() time.Time) *entra.Provider {
	if t.signIn.id == "" {
		return nil
	}
	var assertion func(context.Context) (string, error)
	if t.signIn.secret == "" {
		assertion = source.Assertion()
	}
	cfg := graphConfig(t, now, nil)
	return entra.New(entra.Config{
		Authority: t.authority, ClientID: t.signIn.id, Secret: t.signIn.secret, Assertion: assertion, Redirect: c.PublicURL + portal.ReturnPath,
		Clients: c.SignInClients, Client: &http.Client{Transport: cmp.Or[http.RoundTripper](cfg.Transport, http.DefaultTransport)}, Now: now,
	})
}
