// Package client calls pinreset's own HTTP API. The command line, the demonstration and the tests use it; a program that
// embeds pinreset's API can do the same.
//
// Each method is one logical call. A call that changes something gets a fresh Idempotency-Key, and is repeated under the
// same key when no answer came or the server said 503, so that a lost connection never does the work twice. What can't be
// repeated safely (revealing a passcode, changing settings) is sent once.
//
// Errors are a [*Problem] when the server said no, an [*Unreachable] when no answer came, or the context's own error. Ids are
// opaque; times are UTC. Lists are iterators that read page after page as they are ranged over; after an error they stop.
//
// The package decides nothing that the server decides, and holds no state but the credential. It knows nothing of Microsoft
// Graph.
package client
