// Package events is the contract between pinreset's parts and everything beside it: CloudEvents 1.0 in structured JSON.
//
// An event says what was asked for or what happened, for one tenant (its source) and often one device (its subject). It
// carries references and never a secret. Its id is the dedup key. The payload of each kind is a Go struct in the file of its
// subject (tenant.go, consent.go, passcode.go, failure.go), with Validate naming the field that is wrong, a JSON Schema in
// schema/ and a whole example in examples/; a test holds the three together.
//
// A kind's name is noun, past verb and version: "passcode.reset.requested.v1". A change that is not additive gets a new
// version. Nothing here does I/O.
package events
