// Package identity says who is asking and what they may do.
//
// A [Principal] has permissions, and a set of tenants on which it has them. Nothing implies anything: whoever may start a
// reset may not reveal its code, and whoever may reveal may not read the audit log. Who asks is found out anew at every
// request, so that a token that was revoked a moment ago opens nothing, and no session outlives its token.
//
// [Authenticator] is the seam for other ways to sign in, such as OpenID Connect. [Tokens] is the one that is here: random
// tokens, stored as hashes. [Sessions] puts a browser's cookie in the place of a token.
//
// It decides nothing about tenants, devices or codes: it answers [Principal.Can] and [Principal.Sees], and the callers ask.
package identity
