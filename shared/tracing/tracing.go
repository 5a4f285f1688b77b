package tracing

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"pinreset/events"
)

// Kinds of spans.
const (
	Server   = trace.SpanKindServer   // an HTTP request that we answer
	Consumer = trace.SpanKindConsumer // a run of a handler
	Client   = trace.SpanKindClient   // a request that we send
)

// Tracer begins spans. A nil one does nothing. It is safe for concurrent use.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// New returns a tracer that hands ended spans to the exporter in batches. Whoever made it closes it. What OpenTelemetry's
// own variables say of sampling holds; without them everything is recorded, except what a caller has marked as not sampled.
func New(exporter sdktrace.SpanExporter, version string) *Tracer {
	about := resource.NewSchemaless(attribute.String("service.name", "pinreset"), attribute.String("service.version", version))
	p := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	return &Tracer{provider: p, tracer: p.Tracer("pinreset")}
}

// OverHTTP returns a tracer that sends to an OpenTelemetry collector, OTLP over HTTP, at endpoint + "/v1/traces", with the headers, such
// as a collector's key; nil for none. Nothing is sent before a span has ended, and a collector that does not answer holds nothing up: what does not fit is dropped.
func OverHTTP(ctx context.Context, endpoint, version string, headers http.Header) (*Tracer, error) {
	exporter, err := otlptrace.New(ctx, &collector{address: endpoint + "/v1/traces", headers: headers, client: &http.Client{Timeout: 10 * time.Second}})
	if err != nil {
		return nil, fmt.Errorf("trace to %s: %w", endpoint, err)
	}
	return New(exporter, version), nil
}

// Close sends what has ended and stops, at the latest when ctx ends.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

// Flush sends what has ended.
func (t *Tracer) Flush(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.ForceFlush(ctx)
}

// Start begins a span below the one that ctx names (events.TraceFrom), or a new trace where it names none, and returns a
// context that names the new one. The span ends with [Span.End].
func (t *Tracer) Start(ctx context.Context, kind trace.SpanKind, name string) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	var w3c propagation.TraceContext
	above := w3c.Extract(context.Background(), propagation.MapCarrier{"traceparent": events.TraceFrom(ctx)})
	below, span := t.tracer.Start(above, name, trace.WithSpanKind(kind))
	carrier := propagation.MapCarrier{}
	w3c.Inject(below, carrier)
	return events.WithTrace(ctx, carrier["traceparent"]), &Span{span}
}

// Span is one thing that takes time. All methods do nothing on nil.
type Span struct{ span trace.Span }

// Trace returns the id of the trace, 32 hexadecimal digits; "" on nil.
func (s *Span) Trace() string {
	if s == nil {
		return ""
	}
	return s.span.SpanContext().TraceID().String()
}

// Name changes the name, for what is known only at the end.
func (s *Span) Name(name string) {
	if s != nil {
		s.span.SetName(name)
	}
}

// maxText bounds an attribute, of which some are what another server says.
const maxText = 256

// Text sets an attribute, cut to what an id or a path can have, unless it is empty.
func (s *Span) Text(key, value string) {
	if s != nil && value != "" {
		value = strings.ToValidUTF8(value[:min(len(value), maxText)], "")
		s.span.SetAttributes(attribute.String(key, value))
	}
}

// Int sets an attribute.
func (s *Span) Int(key string, value int) {
	if s != nil {
		s.span.SetAttributes(attribute.Int(key, value))
	}
}

// Fail marks the span as failed, for a stable reason such as a code: never the text of an error.
func (s *Span) Fail(reason string) {
	if s != nil {
		s.span.SetAttributes(attribute.String("error.type", reason))
		s.span.SetStatus(codes.Error, "")
	}
}

// End ends the span.
func (s *Span) End() {
	if s != nil {
		s.span.End()
	}
}
