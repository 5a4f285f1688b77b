package web

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/functions/web/internal/problem"
	"pinreset/functions/web/internal/view"
	"pinreset/shared/fault"
	"pinreset/shared/tracing"
)

// correlationHeader is on every answer, refusals included.
const correlationHeader = "X-Correlation-Id"

var traceParent = regexp.MustCompile(`^00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$`)

// observed gives each request its trace and writes its log line.
func observed(logger *slog.Logger, tracer *tracing.Tracer, now func() time.Time, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := now()
		trace, parent := traceOf(r.Header.Get("traceparent"))
		ctx := r.Context()
		var span *tracing.Span
		if r.URL.Path != "/healthz" && r.URL.Path != "/metrics" { // asked every few seconds, and nothing comes of it
			ctx, span = tracer.Start(events.WithTrace(ctx, r.Header.Get("traceparent")), tracing.Server, "request")
			defer span.End()
		}
		if span != nil {
			trace, parent = span.Trace(), events.TraceFrom(ctx)
		}
		w.Header().Set(correlationHeader, trace)
		ctx, record := problem.NewContext(events.WithTrace(ctx, parent), trace)
		r = r.WithContext(ctx)
		answer := &answer{ResponseWriter: w}
		next.ServeHTTP(answer, r)

		who, cause := record.Said()
		attrs := []any{"method", r.Method, "route", r.Pattern, "path", r.URL.Path, "status", answer.status(), "bytes", answer.bytes,
			"ms", float64(now().Sub(started).Microseconds()) / 1000, "who", who, "trace", trace}
		level := slog.LevelInfo
		if cause != nil {
			attrs = append(attrs, "cause", cause.Error())
		}
		if answer.status() >= http.StatusInternalServerError {
			level = slog.LevelWarn
		}
		logger.Log(ctx, level, "request", attrs...)
		if r.Pattern != "" {
			span.Name(r.Pattern)
			span.Text("http.route", r.Pattern)
		}
		span.Int("http.response.status_code", answer.status())
		if answer.status() >= http.StatusInternalServerError {
			span.Fail(strconv.Itoa(answer.status()))
		}
	})
}

// traceOf goes on with the trace that the caller sent, or begins one; the span is ours.
func traceOf(header string) (trace, parent string) {
	random := make([]byte, 24)
	_, _ = rand.Read(random)
	trace = hex.EncodeToString(random[:16])
	if m := traceParent.FindStringSubmatch(header); m != nil && strings.Trim(m[1], "0") != "" {
		trace = m[1]
	}
	return trace, "00-" + trace + "-" + hex.EncodeToString(random[16:]) + "-01"
}

// policy lets a page load our own stylesheet and scripts, ask us for more, and send forms to us, and nothing else. Nothing inline runs.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// secured sets what keeps a browser from doing harm. An answer that may be kept says so itself.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if r.TLS != nil {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}

// recovered turns a panic into a 500. The value may hold anything, so only its type and the place are kept.
func recovered(logger *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler {
				panic(p)
			}
			problem.Note(r.Context(), fmt.Errorf("panic of type %T", p))
			logger.ErrorContext(r.Context(), "request panicked", "type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			if a, ok := w.(*answer); ok && a.wrote {
				panic(http.ErrAbortHandler) // half an answer must not pass for a whole one
			}
			said := problem.New(r.Context(), fault.Internal, "")
			if view.WantsHTML(r) {
				view.Refused(w, said)
				return
			}
			said.Write(w)
		}()
		next.ServeHTTP(w, r)
	})
}

// answer counts what is written.
type answer struct {
	http.ResponseWriter
	code  int
	bytes int
	wrote bool
}

func (a *answer) status() int {
	if a.code == 0 {
		return http.StatusOK
	}
	return a.code
}

func (a *answer) WriteHeader(code int) {
	if !a.wrote {
		a.code, a.wrote = code, code >= http.StatusOK // 1xx are not the answer
	}
	a.ResponseWriter.WriteHeader(code)
}

func (a *answer) Write(data []byte) (int, error) {
	a.wrote = true
	n, err := a.ResponseWriter.Write(data)
	a.bytes += n
	return n, err
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
