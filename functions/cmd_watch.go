package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// watch are the flags of commands that can wait for the end of what they started.
type watch struct {
	on      bool
	timeout time.Duration
}

const defaultTimeout = 10 * time.Minute

// errStillPending: --watch ran out of time.
var errStillPending = errors.New("still pending")

func (w *watch) flags(c *cobra.Command) {
	c.Flags().BoolVarP(&w.on, "watch", "w", false, "wait until it has ended")
	c.Flags().DurationVar(&w.timeout, "timeout", defaultTimeout, "how long --watch waits")
}

func (w *watch) check() error {
	switch {
	case w.timeout <= 0:
		return &mistake{"--timeout must be longer than nothing"}
	case w.timeout != defaultTimeout && !w.on:
		return &mistake{"--timeout needs --watch"}
	}
	return nil
}

// run waits with wait if --watch was given; errStillPending is the end of its time.
func (w *watch) run(ctx context.Context, p *process, wait func(context.Context, *progress) error) error {
	if !w.on {
		return nil
	}
	limited, stop := context.WithTimeoutCause(ctx, w.timeout, errStillPending)
	defer stop()
	line := p.progress()
	defer line.end()
	return wait(limited, line)
}

// progress shows where long work stands: one line that changes on a terminal, a line a change elsewhere.
type progress struct {
	p       *process
	live    bool
	started time.Time
	last    string
}

func (p *process) progress() *progress {
	return &progress{p: p, live: terminal(p.stderr) && !p.verbose, started: p.now()}
}

func (g *progress) show(text string) {
	if g.p.quiet {
		return
	}
	if g.live {
		fmt.Fprintf(g.p.stderr, "\r\x1b[K%s (%s)", clean(text), g.p.now().Sub(g.started).Round(time.Second))
	} else if text != g.last {
		fmt.Fprintln(g.p.stderr, clean(text))
	}
	g.last = text
}

func (g *progress) end() {
	if g.live && g.last != "" {
		fmt.Fprintln(g.p.stderr)
	}
}
