// Package webhook signs and checks requests by Standard Webhooks 1.0.
//
// A request carries three headers: webhook-id names the message, the same in every retry; webhook-timestamp is the time of
// this attempt in seconds since 1970; webhook-signature lists signatures, separated by spaces, of
//
//	id "." timestamp "." body
//
// Scheme v1 is HMAC-SHA256 with a shared key ("whsec_…"), v1a is Ed25519 with a private key ("whsk_…") whose public half
// ("whpk_…") checks. Signatures of other schemes are passed over.
//
// [Check] proves who sent these bytes, and when. It does not know which ids it has seen: whoever acts on a request
// keeps them in the commit of the effect, because a retry comes under the same id with a new timestamp, days later.
//
// Source: the specification "Standard Webhooks", sections "Webhook headers" and "Signature scheme".
package webhook
