// Package identity says who is asking and what they may do.
//
// A [Principal] has permissions, and a set of tenants on which it has them. Nothing implies anything: whoever may start a
// reset may not reveal its code, and whoever may reveal may not read the audit log. Who asks is found out anew at every
// request, so that a token that was revoked a moment ago opens nothing, and no session outlives its token.
//
// Somebody holds one of our [Tokens], random and stored as hashes, or is a [Person] who signed in with Microsoft Entra ID (package
// entra). What a person may do differs from tenant to tenant: app roles reach the person's own tenant, grants (package grant) others.
// [Sessions] puts a browser's cookie in the place of either.
//
// It decides nothing about tenants, devices or codes: it answers [Principal.Can] and [Principal.Sees], and the callers ask.
package identity
