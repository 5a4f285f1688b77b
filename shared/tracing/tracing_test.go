package tracing_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"pinreset/events"
	"pinreset/shared/tracing"
)

const caller = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// TestNil: without a tracer nothing changes and nothing breaks.
func TestNil(t *testing.T) {
	t.Parallel()
	var none *tracing.Tracer
	ctx := events.WithTrace(t.Context(), caller)
	got, span := none.Start(ctx, tracing.Server, "x")
	if got != ctx || span != nil || span.Trace() != "" {
		t.Errorf("a nil tracer began %v", span)
	}
	span.Name("x")
	span.Text("a", "b")
	span.Int("a", 1)
	span.Fail("x")
	span.End()
	if none.Transport(http.DefaultTransport, nil) != http.DefaultTransport {
		t.Error("a nil tracer wrapped a transport")
	}
	if err := errors.Join(none.Flush(ctx), none.Close(ctx)); err != nil {
		t.Error(err)
	}
}

// TestStart: a span goes on with the trace of its context, whose events then name the span; a caller that does not sample is
// not recorded, and a context without a trace, or with one that means nothing, begins a new one.
func TestStart(t *testing.T) {
	t.Parallel()
	kept := tracetest.NewInMemoryExporter()
	tracer := tracing.New(kept, "test")
	t.Cleanup(func() { _ = tracer.Close(context.Background()) })

	ctx, outer := tracer.Start(events.WithTrace(t.Context(), caller), tracing.Server, "outer")
	inner, below := tracer.Start(ctx, tracing.Client, "inner")
	below.Fail("code")
	below.End()
	outer.End()
	if !strings.HasPrefix(events.TraceFrom(inner), caller[:36]) || events.TraceFrom(inner) == events.TraceFrom(ctx) {
		t.Errorf("the trace went %s, %s, %s", caller, events.TraceFrom(ctx), events.TraceFrom(inner))
	}
	quiet, unsampled := tracer.Start(events.WithTrace(t.Context(), strings.TrimSuffix(caller, "1")+"0"), tracing.Server, "unsampled")
	unsampled.End()
	if got := events.TraceFrom(quiet); !strings.HasPrefix(got, caller[:36]) || !strings.HasSuffix(got, "-00") {
		t.Errorf("an unsampled trace went on as %s", got)
	}
	for _, parent := range []string{"", "00-" + strings.Repeat("0", 32) + "-00f067aa0ba902b7-01", "nonsense"} {
		_, root := tracer.Start(events.WithTrace(t.Context(), parent), tracing.Consumer, "root")
		root.End()
		if trace := root.Trace(); len(trace) != 32 || trace == strings.Repeat("0", 32) {
			t.Errorf("after %q the trace is %q", parent, trace)
		}
	}
	if err := tracer.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	spans := kept.GetSpans()
	if len(spans) != 5 {
		t.Fatalf("%d spans", len(spans))
	}
	if spans[0].Parent.SpanID() != spans[1].SpanContext.SpanID() || spans[1].Parent.SpanID().String() != "00f067aa0ba902b7" || !spans[1].Parent.IsRemote() {
		t.Errorf("the parents are %v and %v", spans[0].Parent, spans[1].Parent)
	}
	if spans[0].Status.Code != codes.Error || spans[0].Status.Description != "" {
		t.Errorf("the failed span says %v", spans[0].Status)
	}
}

type refusing struct{}

func (refusing) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("Get https://graph.example/?$filter=upn eq 'canary'")
}

// TestTransport: a span of a request holds neither query nor header nor the text of an error, and the request no trace.
func TestTransport(t *testing.T) {
	t.Parallel()
	kept := tracetest.NewInMemoryExporter()
	tracer := tracing.New(kept, "test")
	t.Cleanup(func() { _ = tracer.Close(context.Background()) })
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("traceparent") != "" {
			t.Error("the trace was sent along")
		}
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	t.Cleanup(s.Close)
	path := func(p string) string { return strings.ReplaceAll(p, "canary", "{id}") }
	for _, next := range []http.RoundTripper{http.DefaultTransport, refusing{}} {
		req, err := http.NewRequestWithContext(events.WithTrace(t.Context(), caller), http.MethodGet, s.URL+"/devices/canary?$filter=canary", strings.NewReader("canary"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer canary")
		if resp, err := tracer.Transport(next, path).RoundTrip(req); err == nil {
			resp.Body.Close()
		}
	}
	if err := tracer.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	spans := kept.GetSpans()
	if len(spans) != 2 {
		t.Fatalf("%d spans", len(spans))
	}
	for i, reason := range []string{"429", "no_answer"} {
		if spans[i].Name != "GET /devices/{id}" || spans[i].SpanContext.TraceID().String() != caller[3:35] || spans[i].Status.Code != codes.Error {
			t.Errorf("span %v", spans[i])
		}
		found := false
		for _, a := range spans[i].Attributes {
			if found = found || a.Key == "error.type" && a.Value.AsString() == reason; strings.Contains(a.Value.String(), "canary") {
				t.Errorf("attribute %s is %s", a.Key, a.Value.String())
			}
		}
		if !found {
			t.Errorf("no reason %s in %v", reason, spans[i].Attributes)
		}
	}
}

// TestOverHTTP sends to a collector, and then to one that never answers: closing waits for it no longer than it is told to.
func TestOverHTTP(t *testing.T) {
	t.Parallel()
	got := make(chan []byte, 1)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil && r.Header.Get("Content-Encoding") == "gzip" {
			if z, e := gzip.NewReader(bytes.NewReader(body)); e == nil {
				body, err = io.ReadAll(z)
			}
		}
		if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Api-Key") != "of the collector" || r.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("%s %v: %v", r.URL.Path, r.Header, err)
		}
		got <- body
	}))
	t.Cleanup(s.Close)
	tracer, err := tracing.OverHTTP(t.Context(), s.URL, "v0", http.Header{"Api-Key": {"of the collector"}})
	if err != nil {
		t.Fatal(err)
	}
	_, span := tracer.Start(t.Context(), tracing.Consumer, "run passcodereset")
	span.End()
	if err := tracer.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if body := <-got; !bytes.Contains(body, []byte("run passcodereset")) || !bytes.Contains(body, []byte("pinreset")) {
		t.Errorf("the collector got %q", body)
	}

	gone := make(chan struct{})
	stuck := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-gone }))
	t.Cleanup(stuck.Close)
	t.Cleanup(func() { close(gone) })
	tracer, err = tracing.OverHTTP(t.Context(), stuck.URL, "v0", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, span = tracer.Start(t.Context(), tracing.Consumer, "run")
	span.End()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if began, err := time.Now(), tracer.Close(ctx); err == nil || time.Since(began) > 5*time.Second {
		t.Errorf("closing took %s: %v", time.Since(began), err)
	}
}
