// Package tracing follows a request from the click to the call of Graph: one OpenTelemetry trace over the HTTP request, the
// messages that came of it, the runs that handled them, and the calls that the runs made.
//
// The trace travels as the W3C trace context that contexts and events carry already (events.WithTrace, the traceparent of a
// CloudEvent), so it outlives the process: a look at a device hours later is a span of the same trace.
//
// A nil [Tracer] does nothing and costs nothing; that is the default, and events then carry the trace that logs name.
// A span holds methods, route patterns, addresses with {id} in place of ids, status codes, durations, and the ids that the log
// has too. It never holds a body, a query, a header that is not an id, the text of an error, or a name.
package tracing
