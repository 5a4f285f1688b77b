package events

import "context"

type traceKey struct{}

// WithTrace returns a context whose events carry on the W3C trace context; an ill-formed one is dropped.
func WithTrace(ctx context.Context, traceparent string) context.Context {
	if !tracePattern.MatchString(traceparent) {
		return ctx
	}
	return context.WithValue(ctx, traceKey{}, traceparent)
}

// TraceFrom returns the trace context of ctx, "" when there is none.
func TraceFrom(ctx context.Context) string {
	t, _ := ctx.Value(traceKey{}).(string)
	return t
}
