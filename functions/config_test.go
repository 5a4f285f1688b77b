package main

import (
	"strings"
	"testing"
	"time"

	"pinreset/functions/passcodereset"
	"pinreset/shared/graph/graphsim"
)

func TestPatienceIsConfigured(t *testing.T) {
	t.Parallel()
	load := func(again, giveUp string) (config, error) {
		return loadConfig(func(name string) string {
			return map[string]string{"PINRESET_CALL_AGAIN_AFTER": again, "PINRESET_GIVE_UP_AFTER": giveUp}[name]
		})
	}
	c, err := load("", "")
	if p := c.pace().reset; err != nil || p.Trace != passcodereset.DefaultSchedule.Trace || p.Lost != passcodereset.DefaultSchedule.Lost {
		t.Errorf("by default %+v, %v", p, err)
	}
	c, err = load("90s", "30m")
	if p := c.pace().reset; err != nil || p.Trace != 90*time.Second || p.Lost != 30*time.Minute || len(p.Looks) == 0 {
		t.Errorf("as configured %+v, %v", p, err)
	}
	for _, wrong := range [][2]string{{"4s", ""}, {"2h", ""}, {"soon", ""}, {"60", ""}, {"", "9s"}, {"", "25h"}, {"", "-1m"}} {
		if _, err := load(wrong[0], wrong[1]); err == nil || !strings.Contains(err.Error(), "_AFTER must be a time from ") {
			t.Errorf("%v: %v", wrong, err)
		}
	}
	if _, err := load("x", "x"); err == nil || strings.Count(err.Error(), "must be a time") != 2 {
		t.Errorf("both wrong, and it says: %v", err)
	}
}

func TestSimAtWithoutASimulator(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	got := runBinary(t, nil, nil, "up", "--listen", "127.0.0.1:0", "--data", dir+"/data", "--sim-at", dir+"/nothing")
	got.has(t, exitError, "pinreset sim --data")

	// What a cloud left in its directory leads to it.
	cloud, err := graphsim.Start(graphsim.Options{Dir: dir + "/cloud"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cloud.Close() })
	at, err := graphsim.Find(dir + "/cloud")
	general, privileged := cloud.Apps()
	if err != nil || at.URL != cloud.URL() || at.Pages != cloud.PagesURL() || at.General.Secret != general.Secret || at.Privileged.ClientID != privileged.ClientID || !at.RootCAs.Equal(cloud.RootCAs()) {
		t.Errorf("found %s and %s, %v", at.URL, at.Pages, err)
	}
}

// TestTraceToIsChecked: where traces go is an address without anything secret in it, and a mistake does not quote one.
func TestTraceToIsChecked(t *testing.T) {
	t.Parallel()
	load := func(endpoint string) (config, error) {
		return loadConfig(func(name string) string { return map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}[name] })
	}
	if c, err := load("http://localhost:4318/"); err != nil || c.TraceTo != "http://localhost:4318" {
		t.Errorf("traces go to %q: %v", c.TraceTo, err)
	}
	for _, wrong := range []string{"localhost:4318", "ftp://localhost", "http://", "http://user:hunter2@localhost:4318", "http://localhost:4318?key=hunter2"} {
		if _, err := load(wrong); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", wrong, err)
		}
	}
	if c, err := load(""); err != nil {
		t.Error(err)
	} else if tracer, err := newTracer(t.Context(), c, nil); tracer != nil || err != nil {
		t.Errorf("without a collector there is a tracer %v: %v", tracer, err)
	}
}

// TestTraceHeaders: a collector's key goes with the spans, and a mistake does not quote it.
func TestTraceHeaders(t *testing.T) {
	t.Parallel()
	load := func(text string) (config, error) {
		return loadConfig(func(name string) string { return map[string]string{"OTEL_EXPORTER_OTLP_HEADERS": text}[name] })
	}
	c, err := load("api-key=a%20key, x-team = ops")
	if err != nil || c.TraceHeaders.Get("Api-Key") != "a key" || c.TraceHeaders.Get("X-Team") != "ops" || len(c.TraceHeaders) != 2 {
		t.Errorf("headers %v: %v", c.TraceHeaders, err)
	}
	for _, wrong := range []string{"hunter2", "=hunter2", "api key=hunter2", "k=hunter2%0d%0aevil: 1", "k=hunter2%zz"} {
		if _, err := load(wrong); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}
