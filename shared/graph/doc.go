// Package graph is the client of Microsoft Graph: the calls that pinreset makes, each a method that returns a plain struct or
// an error that is a verdict. Those that only read exist as a [Read] too, which can be part of a batch.
//
// What it rests on: azcore's pipeline and an unmodified azidentity credential. Endpoint, authority and trust are
// configuration, so the simulated tenant (package graphsim) and a real one meet the same code.
//
// The contract:
//
//   - A call is sent once. The client never repeats one by itself, with one exception: an answer of 401 is followed by
//     one try with a new token, because a refused token proves that nothing was done.
//   - Every error says what to do (package fault): permanent with a code, or not before a delay. [Error] inside it has
//     what Microsoft's support asks for. Not found is [ErrNotFound] without a verdict, because only the caller knows what
//     absence means.
//   - A call that must not be repeated ([Client.ResetPasscode], [Client.CreatePolicy], [Client.SubscribeMembers]) fails with
//     [ErrOutcomeUnknown] whenever Graph may have carried it out. The caller reads before it decides.
//   - Published limits are kept per application, tenant and family of resources (file limiter.go). A share of each is
//     reserved for calls that a person waits for ([WithPriority]). A wait that is longer than a moment is an error with a
//     delay, never a sleep. Several processes keep the limits together, where they lease shares of them (package quota).
//   - Each call leaves a step in the run's record (package diag): status, ids and times, never a body or a query value.
//   - A list is read to its end or not at all. What could not be read is an error and never an empty list.
//   - A passcode goes from the decoder straight into secret.Text and is in no error, step or log.
//
// What it is not: a general Graph library. It caches nothing but tokens, keeps no state of devices, and polls nothing.
//
// Facts about Graph come from Microsoft's Graph reference (the pages named in the comments) and its published schema (package
// graphschema).
package graph
