package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"pinreset/shared/graph/graphsim"
)

func (p *process) upCommand() *cobra.Command {
	var o config
	var c *cobra.Command
	c = p.verb("up", "Start the server with everything on this machine", func(ctx context.Context, _ []string) error {
		settings, err := p.settings(c, func(s *config) map[string]*string {
			return map[string]*string{
				"listen": &s.Listen, "data": &s.Data, "public-url": &s.PublicURL, "log-level": &s.LogLevel,
				"sim-data": &s.SimData, "sim-listen": &s.SimListen, "sim-pages": &s.SimPages, "sim-at": &s.SimAt,
			}
		})
		if err != nil {
			return err
		}
		settings.NoSample = settings.NoSample || o.NoSample
		return untilStopped(ctx, runUp(ctx, settings, p.stdout, p.stderr))
	})
	c.Long = "Start the server with everything on this machine.\n\nWithout the settings of a real application (PINRESET_CLIENT_ID and its neighbours) the tenants\n" +
		"are simulated: a model of Entra ID, Intune and a fleet of devices runs beside the server, and\nnothing reaches Microsoft."
	f := c.Flags()
	f.String("listen", "", "host:port of the API and the pages (default "+defaultListen+")")
	f.String("data", "", "data directory (default "+defaultData+")")
	f.String("public-url", "", "how browsers reach the server (default its own address)")
	f.String("log-level", "", "debug, info, warn or error (default warn)")
	f.String("sim-data", "", "directory of the simulated cloud (default beside the data directory)")
	f.String("sim-listen", "", "https host:port of the simulated cloud (default 127.0.0.1:8443)")
	f.String("sim-pages", "", "http host:port of the simulated cloud's pages (default 127.0.0.1:8081)")
	f.String("sim-at", "", "use the simulated cloud that \"pinreset sim\" runs in this directory; it outlives this process")
	f.BoolVar(&o.NoSample, "no-sample", false, "do not register the sample tenant at the first start")
	complete(c, "log-level", fixed("debug", "info", "warn", "error"))
	return c
}

// settings are those of the environment with the flags of the command over them. fields says which setting a flag is.
func (p *process) settings(c *cobra.Command, fields func(*config) map[string]*string) (config, error) {
	s, err := loadConfig(p.getenv)
	if err != nil {
		return s, &mistake{strings.ReplaceAll(err.Error(), "\n", "; ")}
	}
	for flag, field := range fields(&s) {
		if c.Flags().Changed(flag) {
			*field = c.Flag(flag).Value.String()
		}
	}
	if err := s.validate(); err != nil {
		return s, &mistake{strings.ReplaceAll(err.Error(), "\n", "; ")}
	}
	return s, nil
}

func (p *process) demoCommand() *cobra.Command {
	return p.verb("demo", "Tell the whole story from onboarding to audits, against a simulated Microsoft cloud", func(ctx context.Context, _ []string) error {
		return runDemo(ctx, demoConfig{Output: string(p.format), Verbose: p.verbose}, p.stdout, p.stderr)
	})
}

func (p *process) simCommand() *cobra.Command {
	var c *cobra.Command
	var timing graphsim.Timing
	c = p.verb("sim", "Start only the simulated Microsoft cloud", func(ctx context.Context, _ []string) error {
		s, err := p.settings(c, func(s *config) map[string]*string {
			return map[string]*string{"listen": &s.SimListen, "listen-http": &s.SimPages, "data": &s.SimData}
		})
		if err != nil {
			return err
		}
		if s.SimData == "" {
			s.SimData = filepath.Clean(s.Data) + "-sim" // where up has it
		}
		return untilStopped(ctx, runSim(ctx, graphsim.Options{Listen: s.SimListen, ListenHTTP: s.SimPages, Dir: s.SimData, Timing: timing}, p.stdout, p.stderr))
	})
	f := c.Flags()
	f.String("listen", "", "https host:port of tokens and Graph (default 127.0.0.1:8443)")
	f.String("listen-http", "", "http host:port of the pages for people (default 127.0.0.1:8081)")
	f.String("data", "", "directory that keeps its state (default that of up)")
	f.DurationVar(&timing.EntryDelay, "entry-delay", 0, "from a reset that was taken to its entry at the device (default 2s)")
	f.DurationVar(&timing.PickUp, "pick-up", 0, "from there until the device has picked it up (default 3s)")
	f.DurationVar(&timing.Work, "work", 0, "from there until the device has finished (default 2s)")
	f.DurationVar(&timing.ReplicationLag, "replication-lag", 0, "until every replica of the directory shows a change (default 8s)")
	return c
}

// untilStopped makes the end by Ctrl-C a clean one: stopping is how a server is meant to end.
func untilStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return nil
	}
	return err
}

// runSim serves the simulated cloud until ctx ends, and prints where it is and who may call it.
func runSim(ctx context.Context, o graphsim.Options, stdout, stderr io.Writer) error {
	o.Logger = logTo(stderr, slog.LevelWarn)
	sim, err := graphsim.Start(o)
	if err != nil {
		return fmt.Errorf("start the simulated cloud: %w", err)
	}
	general, privileged := sim.Apps()
	fmt.Fprintf(stdout, "graph and sign-in  %s   (certificate: %s)\npages              %s\n", sim.URL(), sim.CAFile(), sim.PagesURL())
	fmt.Fprintf(stdout, "application        %s\nfor resets         %s\n", general.ClientID, privileged.ClientID)
	<-ctx.Done()
	return sim.Close()
}
