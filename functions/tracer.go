package main

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel"

	"pinreset/shared/tracing"
)

// newTracer returns the configured tracer: none, unless a collector is named.
func newTracer(ctx context.Context, c config, logger *slog.Logger) (*tracing.Tracer, error) {
	if c.TraceTo == "" {
		return nil, nil //nolint:nilnil // a nil tracer is one that does nothing
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { logger.Warn("traces", "cause", err.Error()) }))
	return tracing.OverHTTP(ctx, c.TraceTo, version(), c.TraceHeaders)
}

// closeTracer gives the last spans a moment to leave. That they could not is no reason to fail: nobody's work is lost.
func closeTracer(t *tracing.Tracer, logger *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := t.Close(ctx); err != nil {
		logger.Warn("the last traces could not be sent", "cause", err.Error())
	}
}
