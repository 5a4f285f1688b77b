package main

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"pinreset/functions/consent"
	"pinreset/functions/passcodereset"
	"pinreset/shared/client"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/passcode"
	"pinreset/shared/tracing"
)

// observable is a whole server with a simulated cloud that gives out theCode, and a client that sends the trace context.
type observable struct {
	*server
	api   *client.Client
	token string
}

// observe starts one.
func observe(ctx context.Context, t *testing.T, tracer *tracing.Tracer, traceparent string) observable {
	t.Helper()
	dir := t.TempDir()
	cloud, err := graphsim.Start(graphsim.Options{Dir: filepath.Join(dir, "cloud"), Passcode: func() string { return theCode },
		Timing: graphsim.Timing{EntryDelay: -1, PickUp: 20 * time.Millisecond, Work: 20 * time.Millisecond, ReplicationLag: -1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cloud.Close() })
	cfg, err := loadConfig(func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	cfg.Listen, cfg.Data, cfg.SimAt = "127.0.0.1:0", filepath.Join(dir, "data"), filepath.Join(dir, "cloud")
	s, err := start(ctx, cfg, startOptions{
		pace: pace{
			consent: consent.Schedule{First: 50 * time.Millisecond, Longest: time.Second, Deadline: time.Hour},
			reset:   passcodereset.Schedule{Looks: []time.Duration{50 * time.Millisecond}, Trace: 5 * time.Second, Lost: time.Minute},
		},
		logger: slog.New(slog.DiscardHandler), tracer: tracer,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.stop() })
	token, err := os.ReadFile(filepath.Join(cfg.Data, "admin-token"))
	if err != nil {
		t.Fatal(err)
	}
	o := observable{server: s, token: strings.TrimSpace(string(token))}
	o.api, err = client.New(client.Options{Server: s.url, Token: o.token, HTTP: &http.Client{Transport: sending{"traceparent", traceparent}}})
	if err != nil {
		t.Fatal(err)
	}
	waitProven(t, o.api)
	return o
}

// sending adds a header to requests, unless it is empty.
type sending struct{ name, value string }

func (s sending) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.value != "" {
		r = r.Clone(r.Context())
		r.Header.Set(s.name, s.value)
	}
	return http.DefaultTransport.RoundTrip(r)
}

// reset resets the device of that name and waits for its end.
func (o observable) reset(ctx context.Context, t *testing.T, device string) client.Reset {
	t.Helper()
	for d, err := range o.api.Devices(ctx, graphsim.Contoso, device) {
		if err != nil {
			t.Fatal(err)
		}
		r, _, err := o.api.StartReset(ctx, graphsim.Contoso, d.ID, "forgot it", "INC-1")
		if err == nil {
			r, err = o.api.WaitReset(ctx, graphsim.Contoso, r.ID, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	t.Fatalf("no device %s", device)
	return client.Reset{}
}

// TestTrace resets a device on a whole server and follows the trace that the click began: the request, the run that it was
// accepted for, the call of Graph, the look at the device and the announcement are one trace, each below the one it came of.
// No span holds the code, a name, or a query.
func TestTrace(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	const clicked = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	kept := tracetest.NewInMemoryExporter()
	tracer := tracing.New(kept, "test")
	o := observe(ctx, t, tracer, clicked)
	r := o.reset(ctx, t, "sales-pixel-12")
	if r.State != passcode.Issued {
		t.Fatalf("the reset is %s", r.State)
	}
	shown, err := o.api.Reveal(ctx, graphsim.Contoso, r.ID, "read to the user", "INC-1")
	if err != nil || shown.Passcode.Clear() != theCode {
		t.Fatalf("the code is not %s: %v", theCode, err) // else the search would prove nothing
	}
	if failed := o.reset(ctx, t, "hr-laptop-11"); failed.State != passcode.Failed {
		t.Fatalf("the reset of a laptop is %s", failed.State)
	}
	if err := o.stop(); err != nil { // every run has ended
		t.Fatal(err)
	}
	if err := tracer.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	spans := kept.GetSpans()

	byID := map[trace.SpanID]tracetest.SpanStub{}
	for _, s := range spans {
		byID[s.SpanContext.SpanID()] = s
	}
	// The way up from the call.
	const call = "POST /v1.0/deviceManagement/managedDevices/{id}/resetPasscode"
	var calls, looks, announced int
	for _, s := range spans {
		if s.SpanContext.TraceID().String() != clicked[3:35] {
			continue
		}
		switch s.Name {
		case call:
			calls++
			run := byID[s.Parent.SpanID()]
			request := byID[run.Parent.SpanID()]
			if run.Name != "run passcodereset" || request.Name != "POST /v1/tenants/{tenant}/devices/{id}/resets" || request.Parent.SpanID().String() != clicked[36:52] {
				t.Errorf("the call is below %q, below %q, below %s", run.Name, request.Name, request.Parent.SpanID())
			}
			if s.SpanKind != tracing.Client || run.SpanKind != tracing.Consumer || request.SpanKind != tracing.Server {
				t.Errorf("kinds %s, %s, %s", request.SpanKind, run.SpanKind, s.SpanKind)
			}
			if said(request, "http.response.status_code") != "202" || said(run, "pinreset.request") != r.ID || said(run, "pinreset.verdict") != "done" {
				t.Errorf("the request says %v, its run %v", request.Attributes, run.Attributes)
			}
			if s.StartTime.Before(run.StartTime) || run.StartTime.Before(request.StartTime) || s.EndTime.After(run.EndTime) {
				t.Errorf("the call is not within its run")
			}
		case "run passcodereset":
			if said(s, "pinreset.kind") == "passcode.reset.checkdue.v1" && byID[s.Parent.SpanID()].Name == "run passcodereset" {
				looks++
			}
		case "run announcement":
			if byID[s.Parent.SpanID()].Name != "run passcodereset" {
				t.Errorf("an announcement is below %q", byID[s.Parent.SpanID()].Name)
			}
			announced++
		}
	}
	if calls != 1 || looks < 1 || announced != 2 {
		t.Errorf("the trace holds %d calls, %d looks and %d announcements: %v", calls, looks, announced, names(spans))
	}

	searched := 0
	for _, s := range spans {
		for _, said := range texts(s) {
			searched++
			for _, secret := range []string{theCode, o.token, "forgot it", "INC-1", "sales-pixel", "hr-laptop", "Contoso", "$select", "$filter", "?", "@"} {
				if strings.Contains(said, secret) || len(found([]byte(said), theCode)) > 0 {
					t.Errorf("span %s says %q", s.Name, said)
				}
			}
		}
	}
	if searched < 100 {
		t.Errorf("only %d texts were searched", searched)
	}
	t.Logf("%d spans, %d texts", len(spans), searched)
}

// said is the value of an attribute.
func said(s tracetest.SpanStub, key string) string {
	for _, a := range s.Attributes {
		if string(a.Key) == key {
			return a.Value.String()
		}
	}
	return ""
}

// texts are all that a span says.
func texts(s tracetest.SpanStub) []string {
	all := []string{s.Name, s.Status.Description, s.SpanContext.TraceState().String()}
	for _, a := range s.Attributes {
		all = append(all, string(a.Key), a.Value.String())
	}
	for _, e := range s.Events {
		all = append(all, e.Name)
		for _, a := range e.Attributes {
			all = append(all, a.Value.String())
		}
	}
	return all
}

func names(spans tracetest.SpanStubs) (all []string) {
	for _, s := range spans {
		all = append(all, s.Name)
	}
	return all
}
