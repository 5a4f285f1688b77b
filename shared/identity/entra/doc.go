// Package entra finds out, by OpenID Connect, which person of which Microsoft Entra tenant is asking.
//
// A [Provider] signs people in by the authorization code flow with PKCE ([Provider.Begin], [Provider.Finish]) and reads the access
// tokens that programs send for them ([Provider.AccessToken]). Both end in an [identity.Person], known by tenant and object id and by
// nothing else: addresses and names change hands.
//
// People of every tenant sign in with one registration, so what other libraries check by comparing with one issuer is checked here:
//
//   - the issuer is the metadata's template with the token's own tenant in it (page "Access tokens", Validate the issuer);
//   - a signing key counts only for the tenants that its own issuer is for, so the consumer service's key signs for nobody else
//     (the same page, Validate the signing key issuer);
//   - the audience, the version, the client that asked (azp), the nonce, the times, and that a token is what it is taken for: an ID token
//     is no access token, and an application's token is nobody's.
//
// Every check fails closed. A refused token is [identity.ErrUnauthenticated] with a reason for the log; keys that can't be read are
// another error, because then nothing is known about the token.
//
// What a person may do is not decided here.
package entra
