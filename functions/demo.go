package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pinreset/functions/consent"
	"pinreset/functions/passcodereset"
	"pinreset/functions/policyrollout"
	"pinreset/functions/tenantaudit"
	"pinreset/shared/client"
	"pinreset/shared/graph"
	"pinreset/shared/graph/graphsim"
)

// demoConfig is what the demo is told.
type demoConfig struct {
	Output  string // "json" and "jsonl" give one object a step; anything else is for people
	Verbose bool
}

// demoStep is one step of the story, as printed.
type demoStep struct {
	Step        string  `json:"step"`
	OK          bool    `json:"ok"`
	Detail      string  `json:"detail"`
	Diagnostics string  `json:"diagnostics,omitempty"`
	Seconds     float64 `json:"seconds"`
}

// demoWrites is how many resets a tenant may ask for in demoWindow in the demo, in place of Microsoft's 200 in 20 s, so that
// reaching the limit takes a handful of devices and waiting for it takes seconds.
const (
	demoWrites = 5
	demoWindow = 8 * time.Second
)

// demo is a run of the whole product in this process: the server, the simulated cloud, and a client that does what a help
// desk and a tenant's administrator do.
type demo struct {
	*server
	api   *client.Client
	out   io.Writer
	err   io.Writer
	json  bool
	fails int
	// diagnostics links that were shown; each must answer.
	links []string
}

// runDemo tells the whole story end to end in a temporary directory and checks each step. It is an error when a step did not
// end as it should.
func runDemo(ctx context.Context, c demoConfig, stdout, stderr io.Writer) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 100*time.Second, errors.New("the demo took too long"))
	defer cancel()
	dir, err := os.MkdirTemp("", "pinreset-demo-")
	if err != nil {
		return fmt.Errorf("make a directory for the demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cfg, err := loadConfig(func(string) string { return "" }) // the demo is the same whatever is configured
	if err != nil {
		return err
	}
	cfg.Listen, cfg.Data, cfg.NoSample = "127.0.0.1:0", filepath.Join(dir, "data"), true
	cfg.SimListen, cfg.SimPages, cfg.SimData = "127.0.0.1:0", "127.0.0.1:0", filepath.Join(dir, "sim")
	logger := slog.New(slog.DiscardHandler)
	if c.Verbose {
		logger = logTo(stderr, slog.LevelInfo)
	}
	limits := graph.PublishedLimits()
	devices := limits.Families[graph.Devices]
	devices.Write = graph.Window{Limit: demoWrites, Per: demoWindow}
	limits.Families[graph.Devices] = devices
	s, err := start(ctx, cfg, startOptions{
		pace: pace{
			consent: consent.Schedule{First: 300 * time.Millisecond, Longest: time.Second, Deadline: time.Hour},
			reset:   passcodereset.Schedule{Looks: []time.Duration{300 * time.Millisecond, 500 * time.Millisecond, time.Second}, Trace: 5 * time.Second, Lost: time.Minute},
			rollout: policyrollout.Schedule{Looks: []time.Duration{300 * time.Millisecond}, Watch: time.Hour, Withdraw: time.Hour, Trace: 5 * time.Second,
				Turn: 300 * time.Millisecond, Replicas: 10 * time.Second},
			audit: tenantaudit.DefaultSchedule,
		},
		timing: graphsim.Timing{ReplicationLag: time.Second, EntryDelay: 200 * time.Millisecond, PickUp: 300 * time.Millisecond, Work: 300 * time.Millisecond},
		limits: &limits, sim: graphsim.Limits{DeviceWrites: graphsim.Limit{N: demoWrites, Per: demoWindow}}, logger: logger,
	})
	if err != nil {
		return err
	}
	d := &demo{server: s, out: stdout, err: stderr, json: c.Output == "json" || c.Output == "jsonl"}
	began := time.Now()
	defer func() {
		if err = errors.Join(err, s.stop()); err != nil {
			d.say("The demo's server has stopped; its links answer no more.")
			return
		}
		d.say(fmt.Sprintf("Done in %.0f s. Start your own: go run ./functions up", time.Since(began).Seconds()))
		d.say("The links worked until now; the demo's server has stopped.")
	}()
	token, err := os.ReadFile(filepath.Join(cfg.Data, "admin-token"))
	if err != nil {
		return fmt.Errorf("read administrator's token: %w", err)
	}
	d.api, err = client.New(client.Options{Server: s.url, Token: strings.TrimSpace(string(token))})
	if err != nil {
		return err
	}
	d.say("A model of Microsoft's cloud and pinreset run in this process; nothing reaches Microsoft.")
	return d.tell(ctx, d.story())
}

// tell runs scenes in their order, each for at most stepLimit. It goes on after one that failed, and ends with an error then.
func (d *demo) tell(ctx context.Context, story []scene) error {
	for _, s := range story {
		if !d.json {
			fmt.Fprintf(d.err, "… %s\n", s.name)
		}
		t := time.Now()
		detail, diagnostics, err := d.play(ctx, s)
		step := demoStep{Step: s.name, OK: err == nil, Detail: detail, Diagnostics: d.api.Link(diagnostics), Seconds: float64(time.Since(t).Milliseconds()) / 1000}
		if err != nil {
			d.fails++
			step.Detail = strings.TrimPrefix(detail+"; ", "; ") + err.Error()
		}
		d.print(step)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	if d.fails > 0 {
		return fmt.Errorf("of %d steps of the demo, %d did not end as they should", len(story), d.fails)
	}
	return nil
}

// stepLimit is how long a scene may take; the longest takes a third of it.
const stepLimit = 40 * time.Second

func (d *demo) play(ctx context.Context, s scene) (detail, diagnostics string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, stepLimit, errors.New("the step took too long"))
	defer cancel()
	return s.run(ctx)
}

func (d *demo) say(text string) {
	if !d.json {
		fmt.Fprintln(d.out, text)
	}
}

func (d *demo) print(s demoStep) {
	if d.json {
		line, err := json.Marshal(s)
		if err != nil {
			panic(err) // plain fields always encode
		}
		fmt.Fprintf(d.out, "%s\n", line)
		return
	}
	mark := "ok  "
	if !s.OK {
		mark = "FAIL"
	}
	fmt.Fprintf(d.out, "%s %s (%.1f s)\n     %s\n", mark, s.Step, s.Seconds, s.Detail)
	if s.Diagnostics != "" {
		fmt.Fprintf(d.out, "     %s\n", s.Diagnostics)
	}
}
