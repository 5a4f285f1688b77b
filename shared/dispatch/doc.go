// Package dispatch turns a delivery into a run of its handler, and the handler's error into a verdict that is acted on.
//
//	decode → deadline, panic guard, record → handler → commit rows, messages, record and settlement together
//
// Dispatch is the one place that retries. Adapters classify (package fault), handlers decide, and dispatch backs off,
// postpones, fails a request, or sets a message aside as a dead letter. For every request that fails it commits one failure
// with a diagnostics page and one failure event, in the same commit as the handler's own rows.
//
// One call of [Dispatcher.Process] runs on its caller's goroutine from end to end and starts none, so that a simulator can
// run it step by step. Leases are renewed by the host; see package host/local.
package dispatch
